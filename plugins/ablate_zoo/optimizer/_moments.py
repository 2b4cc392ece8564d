"""What optimizers share that step by the gradient's mean over the root of its mean square."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ablate.api import Range
from ablate_zoo.optimizer._decaying import Decaying


class Moments(Decaying):
    """An optimizer with two running averages of each gradient (Kingma & Ba 2015)."""

    # at 1e-4 a run of some ten thousand images hardly trains (benchmarks/short_run_defaults.py)
    lr: Annotated[float, Field(gt=0, le=10), Range(1e-5, 1e-2, log=True)] = 1e-3
    beta1: Annotated[float, Field(ge=0, lt=1), Range(0.8, 0.95)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1), Range(0.9, 0.9999)] = 0.999
    eps: Annotated[float, Field(gt=0, le=1), Range(1e-10, 1e-6, log=True)] = 1e-8

    @property
    def betas(self) -> tuple[float, float]:
        """As torch takes them."""
        return self.beta1, self.beta2
