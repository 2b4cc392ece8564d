"""objective `mean_flow`: MeanFlow, the mean velocity between two times, for samples in few steps (Geng et al. 2025)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Added, Choice, Course, Host, Objective, Range

if TYPE_CHECKING:
    from torch import nn


class MeanFlow(Objective):
    """MeanFlow: the network learns the mean velocity u over the path from t to r, so that x_r = x_t − (t − r)·u.

    Geng et al. 2025, "Mean Flows for One-step Generative Modeling", eq. 6: u = v − (t − r)·du/dt, whose right side is
    computed with the network as it is, du/dt along (v, 1) by forward differentiation, and v = ε − x0 of the image
    itself. t and r are two draws of the candidate's levels, and equal for all images but a share `apart`; the paper's
    levels are `{type: logit_normal, mean: -0.4, std: 1.0}`. The error is divided by (error + floor)^power
    (adaptive weighting, section 4.3): at power 1 the loss is near 1 whatever the error. Neither `loss` nor `weighting`
    is read. Sample with solver `flow_map`; with another one r = t, as in flow matching.

    With `scale` (ω) and `kappa` (κ) the network learns the guided velocities themselves, so that a guided sample takes
    one evaluation (section 4.2 and appendix B.1, eq. 18 to 21): v becomes
    ω·v + κ·u(x, t, t | class) + (1 − ω − κ)·u(x, t, t), of the network as it is, which is classifier-free guidance at
    the scale ω/(1 − κ). For that a share `drop` of the labels is dropped in training, and v is plain there. Sample it
    with guidance `none`: another one would be added to it.
    """

    name = "mean_flow"
    unread = ("loss", "weighting")

    apart: Annotated[float, Field(ge=0, le=1), Choice(0.25, 0.5, 0.75)] = 0.25  # share of images with r < t
    power: Annotated[float, Field(ge=0, le=2), Choice(0.0, 0.5, 1.0)] = 1.0  # 0: the squared error
    floor: Annotated[float, Field(gt=0, le=1)] = 1e-3
    scale: Annotated[float, Field(ge=0, le=100), Range(1.0, 3.0), Added(before=1.0)] = 1.0  # ω; 1 and κ = 0: none
    kappa: Annotated[float, Field(ge=0, lt=1), Choice(0.0, 0.5, 0.8), Added(before=0.0)] = 0.0  # κ
    drop: Annotated[float, Field(ge=0, lt=1), Added(before=0.1)] = 0.1  # share of labels that are dropped for guidance

    @property
    def is_guided(self) -> bool:
        """Whether the network learns guided velocities."""
        return self.scale != 1 or self.kappa > 0

    def provides(self) -> frozenset[str]:
        """Activations at a noised batch; a network that leads from one time to another."""
        return frozenset({"activations", "flow_map"})

    def requires(self) -> Mapping[str, str]:
        """A network of two times, and straight paths; with guidance labels, and a network that can do without."""
        guidance = {
            "null_class": "guidance in training compares with the velocity for no class, which the backbone must know",
            "conditions": "guidance in training is towards a class or a condition: the data need labels, or conditions",
        }
        return {
            "second_label": "the mean velocity is over a way between two noise levels; give the backbone "
            "'second_label: true'",
            "straight_paths": "its velocity is that of straight paths; use schedule 'rectified_flow'",
            "straight_velocity": "it learns a mean of velocities; use target 'flow'",
            **(guidance if self.is_guided else {}),
        }

    def excludes(self) -> Mapping[str, str]:
        """A learned variance, which it would not train."""
        return {"variance_loss": "it trains no variance; use loss 'mse', and no learned_sigma"}

    def idle(self, course: Course) -> Iterable[str]:
        """A comparison with what is never trained; a drop without guidance."""
        if self.is_guided and self.drop == 0:
            yield "guidance compares with the null class, which drop: 0 never trains; say a drop above 0"
        elif not self.is_guided and self.drop != 0.1:
            yield f"drop: {self.drop:g} has no effect without guidance; say a scale other than 1, or a kappa above 0"

    def drop_rate(self) -> float:
        """`drop`, with guidance."""
        return self.drop if self.is_guided else 0.0

    def build(self, host: Host) -> nn.Module:
        """Nothing that is trained beside the network."""
        from ablate_zoo.objective._mean_flow import MeanFlowLoss

        guidance = (self.scale, self.kappa) if self.is_guided else None
        return MeanFlowLoss(self.apart, self.power, self.floor, guidance)
