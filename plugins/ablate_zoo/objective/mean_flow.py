"""objective `mean_flow`: MeanFlow, the mean velocity between two times, for samples in few steps (Geng et al. 2025)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Choice, Host, Objective

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn


class MeanFlow(Objective):
    """MeanFlow: the network learns the mean velocity u over the path from t to r, so that x_r = x_t − (t − r)·u.

    Geng et al. 2025, "Mean Flows for One-step Generative Modeling", eq. 6: u = v − (t − r)·du/dt, whose right side is
    computed with the network as it is, du/dt along (v, 1) by forward differentiation, and v = ε − x0 of the image
    itself. t and r are two draws of the candidate's levels, and equal for all images but a share `apart`; the paper's
    levels are `{type: logit_normal, mean: -0.4, std: 1.0}`. The error is divided by (error + floor)^power
    (adaptive weighting, section 4.3): at power 1 the loss is near 1 whatever the error. Neither `loss` nor `weighting`
    is read. Sample with solver `flow_map`; with another one r = t, as in flow matching. A guidance combines mean
    velocities as it does velocities, in sampling; the paper's guidance within the training is not here.
    """

    name = "mean_flow"
    unread = ("loss", "weighting")

    apart: Annotated[float, Field(ge=0, le=1), Choice(0.25, 0.5, 0.75)] = 0.25  # share of images with r < t
    power: Annotated[float, Field(ge=0, le=2), Choice(0.0, 0.5, 1.0)] = 1.0  # 0: the squared error
    floor: Annotated[float, Field(gt=0, le=1)] = 1e-3

    def provides(self) -> frozenset[str]:
        """Activations at a noised batch; a network that leads from one time to another."""
        return frozenset({"activations", "flow_map"})

    def requires(self) -> Mapping[str, str]:
        """A network of two times, and straight paths."""
        return {
            "second_label": "the mean velocity is over a way between two noise levels; give the backbone "
            "'second_label: true'",
            "straight_paths": "its velocity is that of straight paths; use schedule 'rectified_flow'",
            "straight_velocity": "it learns a mean of velocities; use target 'flow'",
        }

    def excludes(self) -> Mapping[str, str]:
        """A learned variance, which it would not train."""
        return {"variance_loss": "it trains no variance; use loss 'mse', and no learned_sigma"}

    def build(self, host: Host) -> nn.Module:
        """Nothing that is trained beside the network."""
        from ablate_zoo.objective._modules import MeanFlowLoss

        return MeanFlowLoss(self.apart, self.power, self.floor)
