"""The diffusion process of a candidate: its parts composed, and the exact algebra between what is known of x.

The parts (schedule, target, precondition, weighting) are kinds of their own; `Process` composes
them, and is what losses and solvers see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from ablate.kinds.conditions import PREDICTION, Told, class_labels, told_record
from ablate.kinds.guides import DenoisedGuidance, Denoisers
from ablate.kinds.noised import Denoised, Level, Noised, noise_label, over

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.kinds.conditions import Labels
    from ablate.kinds.guidance import Companion, Guidance
    from ablate.kinds.precondition import Coefficients, Precondition
    from ablate.kinds.schedule import Schedule
    from ablate.kinds.solver import Denoiser
    from ablate.kinds.target import Target
    from ablate.kinds.weighting import Weighting

# (x, c_noise, labels) -> output; with a second noise label: (x, c_noise, labels, second c_noise)
Network = Callable[..., "Tensor"]


@dataclass(frozen=True)
class Process:
    """Schedule, target, preconditioning and weighting of one candidate, composed."""

    schedule: Schedule
    target: Target
    precondition: Precondition
    weighting: Weighting
    sigma_data: float  # root mean square of the data in [-1, 1]
    uncertainty: Callable[[Tensor], Tensor] | None = None  # what the weighting built: c_noise -> u
    flow_map: bool = False  # the network was trained for the way between two levels, and is told both in sampling
    self_conditioned: bool = False  # ... and is told, as PREDICTION, the image that it found at the step before

    def level(self, t: Tensor) -> Level:
        """Return the noise level at t in [0, 1]."""
        return Level(t, self.schedule.alpha(t), self.schedule.sigma(t))

    def diffuse(self, x0: Tensor, noise: Tensor, level: Level) -> Noised:
        """Add noise: x = α·x0 + σ·ε."""
        return Noised(x0, noise, over(level.alpha, x0) * x0 + over(level.sigma, x0) * noise, level)

    def prior(self, noise: Tensor, t: float = 1.0) -> Tensor:
        """Return x at the time t where the solver starts sampling, from standard normal noise: σ(t)·ε."""
        return noise * float(_level_at(self.schedule, t).sigma)

    def predict(
        self, network: Network, x: Tensor, level: Level, labels: Labels, towards: Level | None = None
    ) -> Tensor:
        """Compute the network's prediction in the target's own terms, y = c_skip·x + c_out·F(c_in·x, c_noise).

        Channels beyond those of x (a learned variance) pass through as they are. towards: the level whose c_noise is
        the network's second noise label; None: it is given none.
        """
        c = self._coefficients(level)
        further = () if towards is None else (_labels_of(x, self._coefficients(towards).noise),)
        output = network(over(c.input, x) * x, _labels_of(x, c.noise), labels, *further).to(x.dtype)
        channels = x.shape[1]
        mean = over(c.skip, x) * x + over(c.output, x) * output[:, :channels]
        if output.shape[1] == channels:
            return mean
        import torch

        return torch.cat([mean, output[:, channels:]], dim=1)

    def _coefficients(self, level: Level) -> Coefficients:
        return self.precondition.coefficients(level.guarded, self.target, self.sigma_data)

    def noise_labels(self, x: Tensor, level: Level) -> Tensor:
        """Return c_noise of each image, (B,): the label that the network is given of its noise level."""
        return _labels_of(x, self._coefficients(level).noise)

    def shown(self, x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """Return the input of a further network: x at unit variance, and the label c_noise = ln(σ/α)/4, (B,)."""
        level = level.guarded
        scaled = over(((level.alpha * self.sigma_data) ** 2 + level.sigma**2).rsqrt(), x) * x
        return scaled, (x.new_ones(len(x), dtype=level.t.dtype) * noise_label(level)).to(x.dtype)

    def denoised(self, prediction: Tensor, x: Tensor, level: Level) -> Denoised:
        """Compute x0 and ε from a prediction y = u·x0 + v·ε at x, by solving the two linear equations.

        At the end points, where x is all signal or all noise, the level is guarded: what y and x
        together determine is right to 1e-6, the rest is finite.
        """
        level = level.guarded
        u, v = self.target.coefficients(level)
        det = level.alpha * v - level.sigma * u
        y, extra = prediction[:, : x.shape[1]], prediction[:, x.shape[1] :]
        return Denoised(
            x0=over(v / det, x) * x - over(level.sigma / det, x) * y,
            noise=over(level.alpha / det, x) * y - over(u / det, x) * x,
            variance=extra if extra.shape[1] else None,
        )

    def denoiser(
        self,
        network: Network,
        guidance: Guidance,
        labels: Labels,
        null: int,
        companion: Companion | None = None,
        weaker: Network | None = None,
    ) -> Denoiser:
        """Return the function that a solver calls for one batch: (x, t) -> x0 and ε, under guidance.

        `null` is the null class. `companion` is the network that the guidance has trained for itself, `weaker` the
        weaker version of the network that it goes away from, if it has one.
        """
        guide = guidance.begin() if isinstance(guidance, DenoisedGuidance) else None
        told = labels

        def denoise(x: Tensor, t: float, to: float | None = None, /) -> Denoised:
            found = answer(x, t, to)
            if self.self_conditioned:
                nonlocal told
                told = told_record(labels).tell(PREDICTION, Told(found.x0), held=True)
            return found

        def answer(x: Tensor, t: float, to: float | None) -> Denoised:
            level = _level_at(self.schedule, t)
            towards = _level_at(self.schedule, to) if to is not None and self.flow_map else None

            def predict(x: Tensor, labels: Labels) -> Tensor:
                return self.predict(network, x, level, labels, towards)

            if guide is not None:
                other = None if weaker is None else partial(self._image, weaker, level, towards)
                return guide(Denoisers(partial(self._image, network, level, towards), other), x, told, null, level)
            denoised = self.denoised(guidance.predict(predict, x, told, null, level), x, level)
            if companion is None:
                return denoised
            return guidance.shift(lambda x: companion(*self.shown(x, level)), denoised, x, class_labels(labels), level)

        return denoise

    def _image(self, network: Network, level: Level, towards: Level | None, x: Tensor, labels: Labels) -> Denoised:
        """Compute x0 and ε as a network sees them, in fp32."""
        return self.denoised(self.predict(network, x, level, labels, towards), x, level)

    def x0_weight(self, level: Level) -> Tensor:
        """Compute the effective weight on the squared x0-error, whatever the target is. (B,) float64."""
        weight = self._weight(level)
        return weight if self.weighting.apply == "x0" else weight / self._x0_per_target(level)

    def target_weight(self, level: Level) -> Tensor:
        """Compute the same weight as a factor of the target's own squared error. (B,) float64.

        An error e_y of the prediction is an error −σ/det·e_y of x0, so w·e_x0² = w·(σ/det)²·e_y².
        """
        weight = self._weight(level)
        return weight * self._x0_per_target(level) if self.weighting.apply == "x0" else weight

    def log_variance(self, level: Level) -> Tensor | None:
        """Compute the learned u that is added to an image's loss, (B,); None where the weighting learns nothing."""
        return None if self.uncertainty is None else self.uncertainty(noise_label(level).float())

    def _weight(self, level: Level) -> Tensor:
        """Compute the weighting's own weight, times e^(−u) where it learns u."""
        weight = self.weighting.weight(level.guarded, self.sigma_data)
        learned = self.log_variance(level)
        return weight if learned is None else weight * (-learned).exp()

    def _x0_per_target(self, level: Level) -> Tensor:
        level = level.guarded
        u, v = self.target.coefficients(level)
        return (level.sigma / (level.alpha * v - level.sigma * u)) ** 2


def _labels_of(x: Tensor, noise: Tensor) -> Tensor:
    """Return c_noise for each image of x, (B,), in the type of x."""
    return x.new_ones(len(x)) * (noise if noise.ndim == 0 else noise.to(device=x.device, dtype=x.dtype)).to(x.dtype)


@lru_cache(maxsize=4096)
def _level_at(schedule: Schedule, t: float) -> Level:
    """Return one level on the CPU, made once: a solver asks for the same times with every batch."""
    import torch

    with torch.inference_mode(False):
        at = torch.tensor(t, dtype=torch.float64, device="cpu")
        return Level(at, schedule.alpha(at), schedule.sigma(at))
