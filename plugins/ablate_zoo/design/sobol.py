"""design `sobol`: quasi-random search, a scrambled Sobol sequence over the space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate_zoo.design._sampled import Sampled, experimental

if TYPE_CHECKING:
    import optuna


class Sobol(Sampled):
    """Points of a Sobol sequence (Sobol' 1967), more even than chance; learns nothing.

    It covers the ranges and choices that every candidate has; what exists under some choices alone is drawn by chance.
    Most even after 2ⁿ candidates.
    """

    name = "sobol"

    sequence: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0  # which scrambling of the sequence

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """The sequence stands in Optuna's study; `seed` decides what it does not cover."""
        import optuna

        independent = optuna.samplers.RandomSampler(seed=seed)
        with experimental():
            return optuna.samplers.QMCSampler(
                scramble=True, seed=self.sequence, independent_sampler=independent, warn_independent_sampling=False
            )
