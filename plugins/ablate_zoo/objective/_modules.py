"""The module that the denoising objective builds; those of the others stand in files of their own."""

from __future__ import annotations

from torch import Tensor, nn

from ablate.api import Model, Noised


class DenoisingLoss(nn.Module):
    """The candidate's loss at the noised batch."""

    def forward(self, noised: Noised, labels: Tensor | None, model: Model) -> dict[str, Tensor]:
        """One term, `denoise`."""
        prediction = model.predict(noised.x, noised.level, labels)
        loss = model.loss.compute(prediction, noised, model.process)
        learned = model.process.log_variance(noised.level)
        return {"denoise": loss if learned is None else loss + learned}
