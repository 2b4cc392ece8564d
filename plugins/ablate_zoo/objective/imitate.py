"""objective `imitate`: the network learns to predict what the larger one predicts whose weights it begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ablate.api import Choice, Host, Objective

if TYPE_CHECKING:
    from torch import nn


class Imitate(Objective):
    """Knowledge distillation after pruning: (1 − w)·denoising loss + w·the same loss towards a teacher's prediction.

    The teacher is the network from which the training starts, whole, frozen, by its averaged weights; the student is
    what is left of it (`without` of the backbone). The output distillation of Kim et al. 2023, "BK-SDM", whose features
    are matched too, which is not done here. Both losses are the candidate's `loss` under its `weighting`: the
    teacher's prediction stands in the place of the image and the noise that the target asks for. A step takes a forward
    pass of the teacher beside its own, which `train_pass_gflops` counts.
    """

    name = "imitate"
    taught_by_start: ClassVar[bool] = True

    weight: Annotated[float, Field(gt=0, le=1), Choice(0.5, 1.0)] = 0.5  # w, of the teacher

    def provides(self) -> frozenset[str]:
        """Activations at the batch, and its prediction."""
        return frozenset({"activations", "prediction"})

    def requires(self) -> Mapping[str, str]:
        """A trained network, of which more is known than its weights."""
        return {
            "start_network": "its teacher is the network that the training starts from: say start: baseline, or "
            "{trial: …}; of a file it is not known what network it holds"
        }

    def excludes(self) -> Mapping[str, str]:
        """A learned variance, which a teacher's prediction does not teach."""
        return {"variance_loss": "the teacher's variance is not learned from; use loss 'mse', and no learned_sigma"}

    def build(self, host: Host) -> nn.Module:
        """Nothing that is trained."""
        from ablate_zoo.objective._imitation import ImitationLoss

        return ImitationLoss(self.weight)
