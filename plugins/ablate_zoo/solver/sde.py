"""solver `sde`: the reverse SDE with a diffusion coefficient of one's choice (Ma et al. 2024, "SiT")."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ablate.api import Denoiser, Point, Range, Schedule, Solver, State, noise_like

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Sde(Solver):
    """dx = [v + w/2·ε/σ]·dt + √w·dW, from noise to image; v is the flow, and w(t) is to be chosen.

    Every w gives the same distribution at every time, where the network is perfect; a larger one forgets the network's
    mistakes, and takes more steps (Ma et al. 2024, "SiT: Exploring Flow and Diffusion-based Generative Models with
    Scalable Interpolant Transformers"). `diffusion` says what w is `scale` times of: `sigma` σ; `linear` t; `cosine`
    (1 − cos(π·t))²/4; `sine` sin²(π·t); `forward` that of the forward process, −σ²·d(log SNR)/dt, which makes it the
    reverse SDE of Song et al. 2021. All vanish at the clean image. A step from t to t' is
    x' = α'·x0 + √(σ'² − s²)·ε + s·z with s² = w·(t − t'), at most σ'²: to first order that of Euler and Maruyama, and
    noise never exceeds what the level has. The last step, to the clean image, adds none.
    """

    name = "sde"

    steps: Annotated[int, Field(ge=1, le=10_000), Range(10, 1000, log=True)] = 250  # as many as SiT takes
    diffusion: Literal["sigma", "linear", "cosine", "sine", "forward"] = "sigma"
    scale: Annotated[float, Field(gt=0, le=100), Range(0.25, 4, log=True)] = 1.0

    def nfe(self) -> int:
        """One call a step."""
        return self.steps

    def sample(self, denoise: Denoiser, x: Tensor, schedule: Schedule, generator: torch.Generator) -> Iterator[State]:
        """A state after each step."""
        for nfe, (now, then) in enumerate(self.intervals(schedule), 1):
            denoised = self.denoised(denoise, x, now)
            fresh = min(self.fresh_variance(now, then), then.sigma**2)
            x = then.alpha * denoised.x0 + math.sqrt(then.sigma**2 - fresh) * denoised.noise
            if fresh > 0:
                x = x + math.sqrt(fresh) * noise_like(x, generator)
            yield State(x, denoised.x0, then.t, nfe)

    def fresh_variance(self, now: Point, then: Point) -> float:
        """Compute w·(t − t'), the variance of the noise that a step adds."""
        if self.diffusion == "forward":  # σ² times the rise of log SNR, whatever t is
            if now.alpha == 0 or then.sigma == 0:
                return math.inf
            return self.scale * now.sigma**2 * 2 * (math.log(now.ratio) - math.log(then.ratio))
        angle = math.pi * now.t
        cosine, sine = (1 - math.cos(angle)) ** 2 / 4, math.sin(angle) ** 2
        w = {"sigma": now.sigma, "linear": now.t, "cosine": cosine, "sine": sine}[self.diffusion]
        return self.scale * w * (now.t - then.t)
