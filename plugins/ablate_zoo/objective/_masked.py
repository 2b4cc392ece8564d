"""The module of the objective `masked`: what is denoised where the network sees, and reconstructed where not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.api import Labels, Model, Noised
from ablate_zoo.objective._modules import with_variance


class MaskedLoss(nn.Module):
    """The candidate's loss of the visible part, and the squared error of the noisy image in the hidden one."""

    def __init__(self, reconstruction: float) -> None:
        super().__init__()
        self.reconstruction = reconstruction

    def forward(self, noised: Noised, labels: Labels, model: Model) -> dict[str, Tensor]:
        """Two terms, `denoise` and `reconstruction`; the first alone where the second has no weight."""
        prediction = model.predict(noised.x, noised.level, labels)
        hidden = model.hidden  # (B, 1, H, W)
        if hidden is None:
            hidden = torch.zeros_like(noised.x[:, :1], dtype=torch.bool)
        terms = {"denoise": with_variance(_of_visible(prediction, hidden, noised, model), noised, model)}
        if self.reconstruction:
            image = model.process.denoised(prediction, noised.x, noised.level).x0
            error = torch.where(hidden, image - noised.x, 0).float().square().mean(1).flatten(1).sum(1)
            terms["reconstruction"] = self.reconstruction * error / hidden.flatten(1).sum(1).clamp(min=1)
        return terms


def _of_visible(prediction: Tensor, hidden: Tensor, noised: Noised, model: Model) -> Tensor:
    """Compute the candidate's loss as a mean over visible numbers, (B,).

    The target stands in for the prediction where the image is hidden, and costs nothing there.
    """
    target = model.process.target.value(noised.x0, noised.noise, noised.level)
    seen = torch.where(hidden, target.to(prediction), prediction)
    visible = (~hidden).flatten(1)
    return model.loss.compute(seen, noised, model.process) * (visible.shape[1] / visible.sum(1))
