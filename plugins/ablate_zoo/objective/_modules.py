"""The module that the denoising objective builds; those of the others stand in files of their own."""

from __future__ import annotations

from torch import Tensor, nn

from ablate.api import PREDICTION, Labels, Model, Noised, Told, told_record


class DenoisingLoss(nn.Module):
    """The candidate's loss at the noised batch."""

    def forward(self, noised: Noised, labels: Labels, model: Model) -> dict[str, Tensor]:
        """One term, `denoise`."""
        prediction = model.predict(noised.x, noised.level, labels)
        return {"denoise": with_variance(model.loss.compute(prediction, noised, model.process), noised, model)}


def with_variance(loss: Tensor, noised: Noised, model: Model) -> Tensor:
    """Add the log-variance u to the loss of each image, where the weighting learns one."""
    learned = model.process.log_variance(noised.level)
    return loss if learned is None else loss + learned


class SelfConditionedLoss(DenoisingLoss):
    """The candidate's loss of a network that is told, for a share of the images, what it finds without being told."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, noised: Noised, labels: Labels, model: Model) -> dict[str, Tensor]:
        """One term, `denoise`."""
        before = model.detached(noised.x, noised.level, labels)
        found = model.process.denoised(before, noised.x, noised.level).x0
        which = model.uniform("self-conditioning", noised) < self.rate
        told = told_record(labels).tell(PREDICTION, Told(found, which), held=True)
        return super().forward(noised, told, model)
