"""The budget of a whole study: after how many trials, how much training or how many hours nothing more begins."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from ablate.spec.component import Config


class Total(Config):
    """The budget of a whole study, over all of its launches. Where several are given, the first that is used up counts.

    Nothing begins beyond it; what has begun comes to its end. More can be given later: the study goes on.
    """

    trials: Annotated[int | None, Field(ge=1, le=10**9)] = None  # a candidate's seeds are begun together or not at all
    train_gflops: Annotated[float | None, Field(gt=0, le=1e18)] = None  # of training: forward, backward, recomputation
    hours: Annotated[float | None, Field(gt=0, le=1e6)] = None  # of work, all trials together (GPU hours)

    @model_validator(mode="after")
    def _at_least_one(self) -> Total:
        if self.trials is None and self.train_gflops is None and self.hours is None:
            raise ValueError("say at least one of trials, train_gflops and hours")
        return self
