"""A design whose candidates a sampler of Optuna's proposes, one after the other."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

from pydantic import Field

from ablate.api import Design, Dimension, Extent


class Sampled(Design):
    """Base of the designs that ask a sampler for so many different candidates."""

    trials: Annotated[int, Field(ge=1, le=1_000_000), Extent()] = 50  # different candidates

    def candidates(self, dimensions: Sequence[Dimension]) -> int:
        """As many different ones as are asked for, where there are so many."""
        return self.trials


@contextmanager
def experimental() -> Iterator[None]:
    """Do not repeat for each candidate that Optuna calls a sampler, or an argument of one, experimental."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
