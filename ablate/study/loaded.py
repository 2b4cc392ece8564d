"""A loaded study: its space, its candidates and their names, the source that they use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ablate.candidates.candidate import Candidate, compose
from ablate.candidates.names import Names
from ablate.candidates.objectives import Constraint, Objective
from ablate.candidates.space import Space
from ablate.candidates.trial import TrialSettings
from ablate.discovery import provenance
from ablate.discovery.catalog import Catalog, Entry
from ablate.discovery.plugin_origins import Origin
from ablate.errors import Problem, SpecError
from ablate.kinds.design import Assignment
from ablate.spec.renamed import Renaming
from ablate.study.fit import Fit
from ablate.study.schema import Study
from ablate.study.yaml import Document
from ablate.worker import sources


@dataclass(frozen=True)
class LoadedStudy:
    """A study that was read, completed and checked."""

    study: Study
    document: Document
    catalog: Catalog
    space: Space
    trial_settings: TrialSettings
    fit: Fit
    root: Path  # the folder to which paths in it are relative
    baseline: Assignment  # the base's own labels, at every dimension that it has
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    renamings: tuple[Renaming, ...] = ()  # names in it that are others today
    origins: tuple[Origin, ...] = ()  # plugins that are named by a place, and what they stand for

    def candidate(self, assignment: Assignment) -> Candidate:
        """Compose the candidate of an assignment. Raises SpecError for what does not fit together."""
        spec, fit = self.space.apply(assignment), self.fit
        if self.study.match is None:
            return fit.compose(spec)
        try:
            return self.study.match.apply(spec, self.space.base, fit.setting, self.catalog, fit.compose)
        except SpecError as error:
            choices = ", ".join(f"{path}={label}" for path, label in assignment.items())
            problems = [Problem(p.path, f"{choices}: {p.message}") for p in error.problems]
            raise SpecError(problems, self.document.where(("match",))) from None

    @cached_property
    def names(self) -> Names:
        """The names of its candidates, for messages and tables."""
        proposals, space = self.proposals(), self.space
        if proposals is not None:
            return Names.among(proposals, self.baseline)
        listed = {d.path: space.labels(d) for d in space.dimensions if d.choices}
        return Names.of_space(listed, [d.path for d in space.dimensions if not d.choices], self.baseline)

    @cached_property
    def used(self) -> dict[str, Entry]:
        """Every component that a trial of the study can use, by `kind/name`."""
        configs = (self.study.data, self.study.evaluate, *self.study.probes, *self._representatives())
        return self.catalog.used(part for config in configs for _, part in config.parts())

    def sources(self, *candidates: Candidate) -> dict[str, Any]:
        """Return the keys of candidates' jobs about the source that they need: `hashes` and `sources`."""
        settings = self.trial_settings
        configs = (*candidates, settings.data, settings.evaluation, *settings.probes)
        hashes = sources.hashes_of((part for config in configs for _, part in config.parts()), self.catalog)
        return {"hashes": provenance.SCHEME, "sources": hashes}

    def _representatives(self) -> Iterator[Candidate]:
        """Yield the base, and candidates that together have every choice, whether they go together or not."""
        yield self.study.base
        space, proposals = self.space, self.proposals()
        if proposals is not None:
            yield from map(self.candidate, proposals)
            return
        for d in space.dimensions:
            above = [context for context in space.contexts(d.path) if space.present(context, d.path)]
            for choice in d.choices:
                for context in above:
                    with contextlib.suppress(SpecError):  # a field that this choice has not
                        yield compose(space.apply({**context, d.path: choice}), self.catalog)
                        break

    def proposals(self) -> list[Assignment] | None:
        """Return all candidates in order, each once and complete; None where the design's sampler finds them."""
        return self.space.proposals(self.study.design)
