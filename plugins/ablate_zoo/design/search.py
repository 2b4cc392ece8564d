"""design `search`: hyperparameter search with Optuna, for one objective or the Pareto front of several."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from ablate.api import Added, Dimension, When
from ablate_zoo.design._sampled import Sampled, experimental

if TYPE_CHECKING:
    import optuna

KNOWN = ("nsga2", "nsga3", "evolution", "tpe", "gp", "random")


def _known(algorithm: str) -> str:
    if algorithm in KNOWN or re.fullmatch(r"[^:\s]+:[^:\s]+", algorithm):
        return algorithm
    raise ValueError(f"expected one of {', '.join(KNOWN)}, or a sampler as package.module:Class, not {algorithm!r}")


Algorithm = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "examples": list(KNOWN)})]


def _pairs(value: Any) -> Any:
    """Return the pairs of a mapping, which has no hash; anything else as it is."""
    return tuple(value.items()) if isinstance(value, Mapping) else value


Arguments = Annotated[
    tuple[tuple[str, Any], ...], BeforeValidator(_pairs), WithJsonSchema({"type": ["object", "array"]})
]


class Search(Sampled):
    """A sampler that learns from the candidates before.

    `tpe` (Bergstra et al. 2011; for several objectives Ozaki et al. 2022), which found the front of the first recorded
    table with the least training (docs/decisions/0039), `nsga2` (Deb et al. 2002), `nsga3` (Deb & Jain 2014), `gp` (a
    Gaussian process and the expected improvement of the hypervolume, Ament et al. 2023; seconds for a candidate once
    there are hundreds), or chance. Any other sampler by its import path (package.module:Class), or of OptunaHub
    (optunahub:samplers/auto_sampler), with its own `arguments`.

    With `inherit` the children of `evolution` are trained on from the weights of their parents (Elsken et al. 2019,
    LEMONADE; Chen et al. 2016, Net2Net; docs/decisions/0064). A child's parent is part of its identity, and it stands
    on no front beside candidates that begin anew.
    """

    name = "search"

    algorithm: Algorithm = "tpe"  # tpe, nsga2, nsga3, evolution, gp, random, or package.module:Class
    population: Annotated[int, Field(ge=2, le=10_000), When("algorithm", ("nsga2", "nsga3", "evolution"))] = (
        20  # candidates a generation; of evolution the newest, of which one becomes a parent
    )
    tournament: Annotated[int, Field(ge=1, le=10_000), Added(before=5), When("algorithm", ("evolution",))] = (
        5  # candidates that are drawn from the population, of which the best becomes the parent
    )
    inherit: Annotated[bool, Added(before=False), When("algorithm", ("evolution",))] = (
        False  # a child begins with its parent's trained weights, as far as they fit
    )
    joint: Annotated[bool, Added(before=False), When("algorithm", ("tpe",))] = (
        True  # TPE models all choices together, in groups that exist together
    )
    arguments: Annotated[Arguments, Added(before=[])] = ()  # {name: value} for a sampler by its import path

    @model_validator(mode="after")
    def _arguments_of_an_import(self) -> Search:
        if self.arguments and ":" not in self.algorithm:
            raise ValueError(f"arguments go with a sampler by its import path, not with algorithm {self.algorithm!r}")
        return self

    @model_validator(mode="after")
    def _tournament_of_the_population(self) -> Search:
        if self.algorithm == "evolution" and self.tournament > self.population:
            raise ValueError(
                f"a tournament of {self.tournament} cannot be drawn from a population of {self.population}"
            )
        return self

    def proposals(self, dimensions: Sequence[Dimension]) -> None:
        """None: the sampler finds them. Raises InputError for a sampler that cannot be had or does not take these."""
        if ":" in self.algorithm:
            self.sampler(0)

    @property
    def learns(self) -> bool:
        """Chance learns nothing."""
        return self.algorithm != "random"

    @property
    def inherits(self) -> bool:
        """Whether children begin with their parents' weights."""
        return self.algorithm == "evolution" and self.inherit

    def parent(self, sampler: optuna.samplers.BaseSampler) -> int | None:
        """That of the newest child, where there are any."""
        from ablate_zoo.design._evolution import EvolutionSampler

        return sampler.parent if isinstance(sampler, EvolutionSampler) else None

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """It keeps nothing in itself: what it decides by stands in Optuna's study."""
        import optuna

        with experimental():
            if ":" in self.algorithm:
                from ablate_zoo.design._imported import imported_sampler

                return imported_sampler(self.algorithm, dict(self.arguments), seed)
            if self.algorithm in ("nsga2", "nsga3"):
                from ablate_zoo.design._genetic import NSGAIIISampler, NSGAIISampler

                genetic = NSGAIISampler if self.algorithm == "nsga2" else NSGAIIISampler
                return genetic(population_size=self.population, seed=seed)
            if self.algorithm == "evolution":
                from ablate_zoo.design._evolution import EvolutionSampler

                return EvolutionSampler(self.population, self.tournament, seed)
            if self.algorithm == "tpe":
                more: dict[str, Any] = {"multivariate": True, "group": True} if self.joint else {}
                return optuna.samplers.TPESampler(seed=seed, **more)
            if self.algorithm == "gp":
                return optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)
            return optuna.samplers.RandomSampler(seed=seed)
