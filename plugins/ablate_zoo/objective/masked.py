"""objective `masked`: the loss of masked training, on patches that the network sees, and on those that it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Choice, Host, Objective, Process

if TYPE_CHECKING:
    from torch import nn

LEAST = 0.01  # of the image in the target of pure noise, below which the image is not found from the prediction


class Masked(Objective):
    """MaskDiT's loss: the visible patches denoise, the hidden ones reconstruct the noisy image (Zheng et al. 2023).

    "Fast Training of Diffusion Models with Masked Transformers", eq. 5 to 7: the candidate's `loss` and `weighting`, as
    a mean over the visible patches alone, plus `reconstruction` (λ) times the mean of (D − x)² over the hidden ones: D
    the clean image that the network finds there, and x the noisy one, of which it sees nothing there. That term has no
    weight of the noise level; it is shown with its factor λ. At λ = 0 what is predicted for hidden patches is not
    trained. The authors' code takes x with mean 0 and variance 1 in each patch, which the paper does not tell, and this
    does not. Where nothing was hidden, it is the loss of `denoise`.
    """

    name = "masked"
    one_pass = True

    reconstruction: Annotated[float, Field(ge=0, le=100), Choice(0.0, 0.1, 1.0)] = 0.1  # λ

    def provides(self) -> frozenset[str]:
        """Activations at the batch; where patches are hidden, the prediction is not of the target."""
        return frozenset({"activations"})

    def requires(self) -> Mapping[str, str]:
        """Hidden patches, and a loss that can be taken over the others."""
        return {
            "masked_patches": "it tells patches that the network sees from those that it does not; use routing 'mask' "
            "of a transformer, or objective 'denoise'",
            "elementwise": "it takes the loss over the visible patches alone, and one of a learned variance, or of an "
            "image as a whole, has no such part; use loss 'mse', and no learned_sigma",
        }

    def unfit(self, process: Process) -> str | None:
        """A target that says nothing of the image in pure noise, where that image is compared."""
        import torch

        noise = process.level(torch.ones(1, dtype=torch.float64)).guarded
        if self.reconstruction == 0 or float(process.target.coefficients(noise)[0].abs()) >= LEAST:
            return None
        return (
            f"hidden patches are judged by the image that is found, of which target {process.target.name!r} says "
            "nothing in pure noise; use target 'v', 'x0' or 'flow', or reconstruction: 0"
        )

    def build(self, host: Host) -> nn.Module:
        """Nothing that is trained beside the network."""
        from ablate_zoo.objective._masked import MaskedLoss

        return MaskedLoss(self.reconstruction)
