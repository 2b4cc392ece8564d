"""design `search`: hyperparameter search with Optuna, for one objective or the Pareto front of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ablate.api import Design, Dimension, Extent, When

if TYPE_CHECKING:
    import optuna


class Search(Design):
    """NSGA-II (Deb et al. 2002), TPE (Bergstra et al. 2011; for several objectives Ozaki et al. 2022), or chance."""

    name = "search"

    algorithm: Literal["nsga2", "tpe", "random"] = "nsga2"
    trials: Annotated[int, Field(ge=1, le=1_000_000), Extent()] = 50  # different candidates
    population: Annotated[int, Field(ge=2, le=10_000), When("algorithm", ("nsga2",))] = 20  # candidates a generation

    def candidates(self, dimensions: Sequence[Dimension]) -> int:
        """As many different ones as are asked for, where there are so many."""
        return self.trials

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """It keeps nothing in itself: what it decides by stands in Optuna's study."""
        import optuna

        if self.algorithm == "nsga2":
            return optuna.samplers.NSGAIISampler(population_size=self.population, seed=seed)
        if self.algorithm == "tpe":
            return optuna.samplers.TPESampler(seed=seed)
        return optuna.samplers.RandomSampler(seed=seed)
