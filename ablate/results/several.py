"""Several studies side by side: their tables as one, with a column `study`, and one front over all candidates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, final

import pandas as pd

from ablate.candidates.objectives import Objective
from ablate.errors import InputError, did_you_mean
from ablate.io.text import label, printable
from ablate.results import origins
from ablate.results.categories import with_categories
from ablate.results.frames import stacked
from ablate.results.front import front
from ablate.results.results import Results, load


def load_several(folders: Sequence[str | Path]) -> SeveralResults:
    """Load several studies' folders. Raises InputError for none, for one twice, and where one is no study."""
    if not folders:
        raise InputError("give at least one folder, such as results/NAME", "folders")
    paths = [Path(folder).resolve() for folder in folders]
    if twice := [path for path, count in Counter(paths).items() if count > 1]:
        raise InputError("is given twice", str(twice[0]))
    return SeveralResults([load(folder) for folder in folders])


@final
class SeveralResults:
    """The results of several studies: `ablate.load([DIR, DIR])`.

    `trials`, `metrics`, `curves`, `probes`: the tables of all, one below the other, with the columns of the single
    studies (docs/columns.md) and first `study`, a categorical: the study's name, with its folder's where two have the
    same. `results["name"]` is one of them, and iteration gives all; effects, and all else that is of one baseline, are
    theirs.
    """

    def __init__(self, studies: Sequence[Results]) -> None:
        names = [one.name for one in studies]
        counts = Counter(names)
        shown = [f"{n} ({one.path.name})" if counts[n] > 1 else n for n, one in zip(names, studies, strict=True)]
        counts = Counter(shown)
        self._studies = {
            f"{n} {one.path.resolve()}" if counts[n] > 1 else n: one for n, one in zip(shown, studies, strict=True)
        }

    def __getitem__(self, study: str) -> Results:
        if study not in self._studies:
            raise InputError(f"there is no study {study!r} here{did_you_mean(study, self._studies)}", "study")
        return self._studies[study]

    def __iter__(self) -> Iterator[Results]:
        return iter(self._studies.values())

    def __len__(self) -> int:
        return len(self._studies)

    @property
    def names(self) -> list[str]:
        """The studies' names, as in the column `study`."""
        return list(self._studies)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The tables of trials, with `study`."""
        return self._joined(lambda one: one.trials)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """The tables of measurements, with `study`."""
        return self._joined(lambda one: one.metrics)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The tables of training curves, with `study`."""
        return self._joined(lambda one: one.curves)

    @cached_property
    def probes(self) -> pd.DataFrame:
        """The tables of probes, with `study`; `attrs["axes"]` of all."""
        found = self._joined(lambda one: one.probes)
        found.attrs["axes"] = {k: v for one in self for k, v in dict(one.probes.attrs.get("axes", {})).items()}
        return found

    @property
    def warnings(self) -> list[str]:
        """The warnings of all, each behind its study's name."""
        return [f"{name}: {line}" for name, one in self._studies.items() for line in one.warnings]

    def front(self, objectives: Sequence[str] | None = None, where: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Compute one Pareto front over the candidates of all studies.

        objectives: names such as `["kid", "gflops"]`; those of the first study by default. Columns: study, then those
        of `Results.front`. A candidate of two studies stands there twice. Raises InputError where the studies were
        trained on other data, or values of a metric differ in what decides it (samples, features, reference, solver,
        NFE, EMA, guidance) without a study varying it, and where a name means other metrics in them.
        """
        goals = self._objectives(objectives)
        trials, metrics, candidates, broken = [], [], [], dict[str, str]()
        for name, one in self._studies.items():
            origins.check(one.trials)
            own, measured = one.trials.copy(), one.metrics.copy()
            own["config_hash"] = name + "\n" + own["config_hash"].astype(str)
            own["trial"], measured["trial"] = (name + "\n" + t["trial"].astype(str) for t in (own, measured))
            trials.append(own)
            metrics.append(measured)
            candidates += [replace(c, config_hash=f"{name}\n{c.config_hash}") for c in one.candidates]
            broken |= {f"{name}\n{h}": why for h, why in (one.violations() or {}).items()}
        table = front(
            stacked(trials),
            stacked(metrics),
            candidates,
            goals,
            where,
            violations=broken or None,
        )
        parts = table["config_hash"].str.split("\n", n=1)
        table.insert(0, "study", pd.Series(pd.Categorical(parts.str[0], categories=self.names), index=table.index))
        table["config_hash"] = parts.str[1]
        return table

    def _objectives(self, names: Sequence[str] | None) -> list[Objective]:
        first = next(iter(self))
        goals = first.objectives(names)
        asked = [goal.name for goal in goals]
        for name, one in self._studies.items():
            for goal, own in zip(goals, one.objectives(asked), strict=True):
                if (own.column, own.larger_is_better) != (goal.column, goal.larger_is_better):
                    raise InputError(
                        f"{goal.name} is {goal.column} in {self.names[0]} and {own.column} in {name}: name the column "
                        "of a metric that all have",
                        "objectives",
                    )
        return goals

    def _joined(self, table: Callable[[Results], pd.DataFrame]) -> pd.DataFrame:
        """Return the tables below each other; columns that a study does not have are missing there."""
        parts = []
        for name, one in self._studies.items():
            part = table(one).copy()
            part.attrs = {}
            part.insert(0, "study", name)
            parts.append(part)
        joined = stacked(parts)
        joined["study"] = pd.Categorical(joined["study"], categories=self.names)
        orders: dict[str, list[Any]] = {}
        for part in parts:
            for column in part.select_dtypes("category"):
                orders.setdefault(str(column), []).extend(part[column].cat.categories)
        return with_categories(joined, orders)

    def __repr__(self) -> str:
        return f"<SeveralResults of {len(self)} studies: {', '.join(self.names)}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(printable(name))}</td><td>{len(one.candidates)}</td><td>{len(one.trials)}</td>"
            f"<td>{escape(label(one.study.get('question', '')))}</td></tr>"
            for name, one in self._studies.items()
        )
        head = "".join(f"<th>{text}</th>" for text in ("study", "candidates", "trials", "question"))
        return (
            '<div class="tex2jax_ignore mathjax_ignore"><table><thead><tr>'
            f"{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )
