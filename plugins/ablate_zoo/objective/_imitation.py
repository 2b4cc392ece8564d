"""The module of the objective `imitate`: the loss of data, and the same loss towards a teacher's prediction."""

from __future__ import annotations

from torch import Tensor, nn

from ablate.api import Labels, Model, Noised


class ImitationLoss(nn.Module):
    """(1 − weight)·the candidate's loss, and weight·its loss with the teacher's image and noise as the true ones."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, noised: Noised, labels: Labels, model: Model) -> dict[str, Tensor]:
        """One or two terms: `teacher`, and `denoise` where it has a share."""
        prediction = model.predict(noised.x, noised.level, labels)
        taught = model.process.denoised(model.teacher(noised.x, noised.level, labels), noised.x, noised.level)
        wanted = Noised(taught.x0, taught.noise, noised.x, noised.level, noised.origin)
        learned = model.process.log_variance(noised.level)
        terms = {"teacher": self.weight * model.loss.compute(prediction, wanted, model.process)}
        if self.weight < 1:
            terms["denoise"] = (1 - self.weight) * model.loss.compute(prediction, noised, model.process)
        return terms if learned is None else {**terms, "teacher": terms["teacher"] + learned}
