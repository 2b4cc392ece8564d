"""guidance `classifier`: classifier guidance, up the gradient of a noisy classifier (Dhariwal & Nichol 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Choice, Course, Denoised, InputSpec, Labels, Level, Predictor, Range, TrainedGuidance, over
from ablate_zoo.guidance._interval import IntervalGuidance

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class Classifier(IntervalGuidance, TrainedGuidance):
    """Classifier guidance: ε̂ = ε − scale·σ·∇_x log p(label | x, σ) (Dhariwal & Nichol 2021, Alg. 2).

    "Diffusion Models Beat GANs on Image Synthesis"; for ancestral sampling it is Alg. 1, the mean
    moved by the step's β times the gradient. The image moves along: x̂0 = x0 + scale·σ²/α·∇_x. The
    classifier is trained with cross entropy beside the main network, on the same noised images;
    neither the steps of training nor Gflops and NFE count it. The main network still sees the label.
    Guides between `sigma_low` and `sigma_high`, in σ/α.
    """

    name = "classifier"

    scale: Annotated[float, Field(ge=0, le=100), Range(0.5, 5.0)] = 1.0
    width: Annotated[int, Field(ge=8, le=512, multiple_of=8), Choice(32, 64)] = 32  # channels at full size
    lr: Annotated[float, Field(gt=0, le=1), Range(1e-4, 3e-3, log=True)] = 1e-3  # of the classifier's own AdamW
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.05

    def requires(self) -> Mapping[str, str]:
        """Labels."""
        return {"labels": "a classifier learns from labelled images, and guides towards a label"}

    def excludes(self) -> Mapping[str, str]:
        """Zero terminal SNR, unless the noisiest levels are left alone: σ²/α is infinite there."""
        if self.sigma_high is not None:
            return {}
        return {
            "zero_terminal_snr": "the gradient moves the image by σ²/α, which is infinite without signal; "
            "give a 'sigma_high' such as 20 beyond which nothing is guided, or use 'cfg'"
        }

    def idle(self, course: Course) -> Iterable[str]:
        """A classifier that is trained and never asked."""
        if self.scale == 0:
            yield "scale: 0 guides nowhere, and its classifier is trained all the same"

    def drop_rate(self) -> float:
        """Zero: no prediction without a label is needed."""
        return 0.0

    def predict(self, predict: Predictor, x: Tensor, labels: Labels, null: int, level: Level) -> Tensor:
        """The conditional prediction; what guides comes after it."""
        return predict(x, labels)

    def companion(self, setting: InputSpec) -> nn.Module:
        """A small convolutional classifier."""
        from ablate_zoo.guidance._noisy_classifier import NoisyClassifier

        assert setting.classes is not None, "data without labels were refused"
        return NoisyClassifier(setting.shape, setting.classes, self.width)

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """AdamW at a constant rate."""
        import torch

        return torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)

    def loss(self, output: Tensor, labels: Tensor | None) -> Tensor:
        """The cross entropy of each image, in nats."""
        from torch.nn.functional import cross_entropy

        if labels is None:
            raise ValueError("a classifier needs labels to learn from")
        return cross_entropy(output.float(), labels, reduction="none")

    def shift(
        self, judge: Callable[[Tensor], Tensor], found: Denoised, x: Tensor, labels: Tensor | None, level: Level
    ) -> Denoised:
        """Noise and image, moved by the gradient; arithmetic in fp32."""
        import torch

        if labels is None:
            raise ValueError("classifier guidance needs labels to guide towards")
        if not self.guides(level):
            return found
        # Tensors that were made in inference mode can take no part in a gradient: outside it, copies can.
        with torch.inference_mode(False), torch.enable_grad():
            at = x.detach().clone().requires_grad_()
            likelihood = -self.loss(judge(at), labels.clone()).sum()
            (gradient,) = torch.autograd.grad(likelihood, at)
        _, alpha, sigma = level.guarded
        return found._replace(
            x0=found.x0 + over(self.scale * sigma**2 / alpha, x) * gradient,
            noise=found.noise - over(self.scale * sigma, x) * gradient,
        )

    def describe(self) -> str:
        """Such as `classifier(1)`, or `classifier(1, 0-20)`."""
        return f"classifier({', '.join([f'{self.scale:g}', *self.interval()])})"
