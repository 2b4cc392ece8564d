"""The analysis of a study: its objectives, Pareto front, effects against the baseline and scaling law."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.candidates.objectives import STATIC, Objective
from ablate.errors import InputError
from ablate.results import data_dictionary, origins
from ablate.results.candidates import find
from ablate.results.constraints import violations
from ablate.results.contents import StudyContents
from ablate.results.effects import effects
from ablate.results.factors.main_effects import main_effects
from ablate.results.factors.model import Pairs
from ablate.results.front import front
from ablate.results.looks import looked, race
from ablate.results.measurements import check_where
from ablate.results.objectives import own_objectives, resolve
from ablate.results.quality_curves import Compute, NoPointsError, time_to_quality
from ablate.results.scaling import Scaling, not_of_size, scaling

if TYPE_CHECKING:
    import pandas as pd


class StudyAnalysis(StudyContents):
    """Compare the candidates of a study. The second of the two bases of `Results`; figures and texts use it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._computed: dict[str, tuple[pd.DataFrame, dict[Any, Any]]] = {}  # tables and their attrs, by what was asked
        self._remembered: dict[str, Any] = {}  # the same of what is no table

    def objective(self, name: str) -> Objective:
        """Return the objective with this short name, column or cost; InputError where there is none."""
        objective = resolve(name, self._stored.trials, self.lock)
        return objective if objective.is_cost else resolve(name, self._stored.trials, self._checked_lock())

    def objectives(self, names: Sequence[str] | None = None) -> list[Objective]:
        """Return the named objectives; the study's own by default."""
        if isinstance(names, str):
            names = [names]
        if names is not None and not names:
            raise InputError("a front needs at least one objective", "objectives")
        if names is None:
            return own_objectives(self._stored.trials, self._checked_lock())
        return [self.objective(n) for n in names]

    @property
    def quality(self) -> Objective | None:
        """The metric that the study is about: the first objective that is no cost, else the first metric."""
        return next((o for o in [*self.objectives(), *self.measured] if not o.is_cost), None)

    @property
    def measured(self) -> list[Objective]:
        """All metrics that have a value (the loss and probes, if they are objectives), the study's first one first."""
        columns = [c for c in self._stored.trials.columns if c.startswith("m.")]
        first = [o.column for o in self.objectives()]
        others = [o.column for o in self.objectives() if o.is_recorded and not o.is_cost]  # the loss, probes
        goals = [self.objective(c) for c in (*columns, *others)]
        return sorted(goals, key=lambda o: first.index(o.column) if o.column in first else len(first))

    def front(
        self,
        objectives: Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
        along: Sequence[str] = (),
        reference: Mapping[str, float] | None = None,
    ) -> pd.DataFrame:
        """Compute the Pareto front: each candidate's mean and deviation over seeds, and whether it is non-dominated.

        objectives: names such as `["kid", "gflops"]` of metrics, costs and probes; the study's own by default.
        A candidate that breaks a constraint of the study is not on it. where: which measurements count, as
        in `{"samples": 2000}`, where there are several. along: fields such as `["nfe"]` or `["guidance"]`,
        of which each value makes a point of its own; `nfe` may also be an objective, as in
        `front(["kid", "nfe"])`. Where a seeding gave candidates other numbers of seeds, means are least-squares means:
        as if each had all seeds. reference: {objective: value}, the point up to which `attrs["hypervolume"]`
        counts; that of the study (`reference:`) by default, where these are its objectives; only hypervolumes of one
        reference point compare. See `ablate.results.front.front` for the columns.

        Raises InputError for an unknown name, and where values of one metric differ in what decides
        it (samples, features, reference, solver, NFE, EMA, guidance, quantisation), over all points, or where
        trials were measured with different source of one component.
        """
        goals = self.objectives(objectives)
        along = [along] if isinstance(along, str) else along
        columns = [goal.column for goal in goals]
        given = self.fixed_reference(columns) if reference is None else self.reference_point(reference)
        if any(goal.column not in STATIC for goal in goals):
            origins.check(self._stored.trials)
        check_where(self._stored.metrics, goals, where)

        def compute() -> pd.DataFrame:
            stored, broken, raced = self._stored, self.violations(where), bool(self.lock.get("seeding"))
            return front(stored.trials, stored.metrics, self.candidates, goals, where, along, broken, given, raced)

        asked = [(goal.source, goal.sign) for goal in goals]  # one metric may have two names
        table = self.once(("front", asked, dict(where or {}), list(along), given), compute)
        table.attrs["reference_from"] = "front" if given is None else "study" if reference is None else "argument"
        if reference is not None and "refused" in table.attrs:
            raise InputError(table.attrs["refused"], "reference")
        return table

    def reference_point(self, point: Mapping[str, float]) -> dict[str, float]:
        """Return a reference point by columns, given by short names too. Raises InputError for an unknown name."""
        return {self.objective(str(name)).column: float(value) for name, value in point.items()}

    def fixed_reference(self, columns: Sequence[str]) -> dict[str, float] | None:
        """Return the reference point that the study fixes; None without one, and where it is of other objectives."""
        own = self.lock.get("reference")
        point = self.reference_point(own) if isinstance(own, Mapping) and own else None
        return point if point is not None and set(point) == set(columns) else None

    def once(self, question: object, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Return a copy of a table that is computed once: the stored tables that it comes from do not change."""
        key = repr(question)
        if key not in self._computed:
            table = compute()
            attrs, table.attrs = table.attrs, {}
            self._computed[key] = (table, attrs)
        table, attrs = self._computed[key]
        copied = table.copy()
        copied.attrs = dict(attrs)  # pandas would copy what is in them, for thousands of candidates
        return copied

    def remember(self, question: object, compute: Callable[[], Any]) -> Any:
        """Return what is no table and is computed once; whoever asks does not change it."""
        key = repr(question)
        if key not in self._remembered:
            self._remembered[key] = compute()
        return self._remembered[key]

    def violations(self, where: Mapping[str, Any] | None = None) -> dict[str, str] | None:
        """Return {config_hash: what it breaks} of candidates that break a constraint; None where the study has none.

        Raises InputError where values of one metric differ in what decides it.
        """
        return violations(self._stored.trials, self._stored.metrics, self.lock, where)

    def effects(
        self,
        metric: str | None = None,
        baseline: str | Mapping[str, Any] | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Compare each candidate with the baseline, paired by seed: mean difference, confidence interval, p-value.

        baseline: labels such as `{"backbone.conditioning": "adaln"}`, a candidate's name, or the
        start of its hash; the study's own by default. See `ablate.results.effects.effects` for the
        columns, and for what p is where seeds were added while one looked. Raises InputError where the metric or the
        baseline is not to be found.
        """
        objective = self.objective(metric) if metric else self.quality
        if objective is None:
            raise InputError("no metric was measured; name a cost, such as 'gflops'", "metric")
        against = find(self.candidates, baseline) if baseline is not None else self.baseline
        if against is None:
            names = ", ".join(c.label for c in self.candidates) or "none yet"
            raise InputError(f"the study's baseline has no trial; name another one of: {names}", "baseline")
        origins.check(self._stored.trials)
        check_where(self._stored.metrics, [objective], where)

        def compute() -> pd.DataFrame:
            stored, looks = self._stored, looked(self.lock)
            return effects(stored.trials, stored.metrics, self.candidates, objective, against, where, looks)

        return self.once(("effects", objective.source, objective.sign, against.config_hash, dict(where or {})), compute)

    def race(self) -> pd.DataFrame:
        """Return what is shown of each candidate where the study's seeding added seeds: its verdict and membership.

        See `ablate.results.looks.race` for the columns. Raises InputError where every candidate has the design's seeds.
        """
        looks = looked(self.lock)
        if looks is None:
            raise InputError("no seeds were added in this study: every candidate has those of its design", "seeding")
        goals = self.objectives()
        origins.check(self._stored.trials)

        def compute() -> pd.DataFrame:
            stored = self._stored
            return race(stored.trials, stored.metrics, self.candidates, goals, looks, self.violations())

        return self.once(("race", goals), compute)

    def main_effects(
        self, metric: str | None = None, pairs: Pairs = (), where: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Estimate the main effects of a factorial design, and the interactions of `pairs` of paths, or of "all".

        For designs whose candidates differ in several choices at once, such as `grid` and `fractional`. metric: the
        study's own first one by default. See `ablate.results.factors.main_effects` for the model and the columns.
        Raises InputError where these candidates cannot tell an effect from others, where a choice does not exist for
        every candidate, and as `effects` does.
        """
        objective = self.objective(metric) if metric else self.quality
        if objective is None:
            raise InputError("no metric was measured; name a cost, such as 'gflops'", "metric")
        origins.check(self._stored.trials)
        check_where(self._stored.metrics, [objective], where)

        def compute() -> pd.DataFrame:
            stored, base = self._stored, self._baseline_labels or {}
            return main_effects(stored.trials, stored.metrics, objective, base, pairs, where)

        return self.once(("main effects", objective, pairs, dict(where or {})), compute)

    def time_to_quality(
        self, value: float | None = None, metric: str | None = None, of: Compute = "train_gflops"
    ) -> pd.DataFrame:
        """Compute what each candidate takes to reach a value of a metric: its time to quality. A row a candidate.

        It needs quality during training (`evaluate.at`). value: by default the one that every seed of the baseline has
        reached in the end. metric: the study's own first one by default. of: `train_gflops` (of training, forward and
        backward), `images`, or `train_seconds`, which another machine needs others of.

        Columns: candidate, config_hash, `c.*`; time_to_quality, the geometric mean over the complete seeds, where all
        of them reach the value; low and high, its 95 % interval (Student's t in the logarithm, with one deviation for
        all candidates; missing with one seed each); reached, how many seeds reach it, and n, of how many. The quickest
        first. Between two points it is interpolated, by a power law where values are positive; what is reached at the
        first point is put there.
        `attrs`: metric, value, of, samples.

        Raises InputError where the metric was not measured during training, and where its curves differ in what decides
        a value (samples, features, solver …), as for `front`.
        """
        objective = self.objective(metric) if metric else self.quality
        if objective is None:
            raise NoPointsError("no metric was measured", "metric")
        objective = self.during_training(objective)
        return time_to_quality(self._stored.trials, self._stored.metrics, self.candidates, objective, value, of)

    def during_training(self, objective: Objective) -> Objective:
        """Return a metric as it is called at points of the training, where it may have too few samples for its name."""
        columns = self.lock.get("during")
        column = columns.get(objective.column) if isinstance(columns, Mapping) else None
        return objective if column is None else replace(objective, name=str(column), column=str(column))

    def scaling(self, metric: str | None = None, where: Mapping[str, Any] | None = None) -> Scaling:
        """Fit how a metric follows Gflops over sizes of one network: correlation and power law, over their means.

        metric: the study's own first one by default. Candidates of which a seed diverged are left out. See
        `ablate.results.scaling.Scaling`. Raises InputError where candidates differ in more than their size,
        or cost too much the same, and where the metric is not to be found.
        """
        objective = self.objective(metric) if metric else self.quality
        if objective is None:
            raise InputError("no metric was measured", "metric")
        table = self.front([objective.column, "gflops", "params"], where)
        costs = zip(table["gflops"].astype(float), table["params"].astype(float), strict=True)
        sizes = dict(zip(table["config_hash"].astype(str), costs, strict=True))
        if why := not_of_size(self.candidates, sizes):
            raise InputError(f"a law of size is told of candidates that differ in the size of one network alone: {why}")
        table = table[table["diverged"] == 0]  # what the other seeds gave is too good
        return scaling(table["candidate"], table["gflops"], table[objective.column])

    @property
    def columns(self) -> pd.DataFrame:
        """What the columns of this study's tables mean: a row a column with table, column, meaning, unit, better.

        Of trials, metrics, curves, probes, and of the front, the effects and others where they can be computed. better:
        "smaller", "larger", or "" where neither is; docs/columns.md lists the columns of every study.
        """
        from ablate.results.tables_of_findings import tables_of_findings

        tables = {"trials": self.trials, "metrics": self.metrics, "curves": self.curves, "probes": self.probes}
        computed: tuple[tuple[str, Callable[[], pd.DataFrame]], ...] = (
            *(("front", self.front), ("effects", self.effects), ("main_effects", self.main_effects)),
            ("race", self.race),
            ("time_to_quality", self.time_to_quality),
            *tables_of_findings(self),
        )
        for name, compute in computed:
            with contextlib.suppress(InputError):  # values that may not be compared, no baseline, no points
                tables[name] = compute()
        measured = [c for c in self._stored.trials.columns if c[:2] in ("m.", "p.")]
        goals = [self.objective(c) for c in measured]
        return data_dictionary.describe(tables, {goal.column: goal.larger_is_better for goal in goals})

    def _checked_lock(self) -> dict[str, Any]:
        """Return the lock, which says which way metrics are better; InputError where it is there and cannot be read.

        Without it the study's objectives, and which way is better, would be guessed.
        """
        if not self.lock and (self.path / "lock.json").exists():
            why = next((line for line in self._warnings if "lock.json" in line), "says nothing")
            raise InputError(
                f"{why}: which way the study's metrics are better is not known; restore it, or remove it to go by "
                "guesses"
            )
        return self.lock
