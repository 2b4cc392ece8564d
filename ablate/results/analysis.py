"""The analysis of a study: its objectives, Pareto front, effects against the baseline and scaling law."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.candidates.objectives import STATIC, Objective
from ablate.errors import Argument, InputError
from ablate.results import data_dictionary, origins
from ablate.results.candidates import find
from ablate.results.constraints import violations
from ablate.results.contents import StudyContents
from ablate.results.declared import Declared, declared, named
from ablate.results.effects import effects
from ablate.results.factors.main_effects import main_effects
from ablate.results.factors.model import Pairs
from ablate.results.front import front
from ablate.results.inherited import Starts, alike, apart, inherited
from ablate.results.inherited import check as check_starts
from ablate.results.looks import describe_looks, looked, race
from ablate.results.measurements import check_where
from ablate.results.objectives import own_objectives, resolve
from ablate.results.pairs import all_pairs
from ablate.results.quality_curves import Compute, NoPointsError, time_to_quality
from ablate.results.scaling import Scaling, not_of_size, scaling
from ablate.results.spread import Spread, allocation, spread

if TYPE_CHECKING:
    import pandas as pd

    from ablate.kinds.analysis import Analysis
    from ablate.results.paper_table import PaperTable


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
        starts: Starts = "fresh",
    ) -> pd.DataFrame:
        """Compute the Pareto front: each candidate's mean and deviation over seeds, and whether it is non-dominated.

        objectives: names such as `["kid", "gflops"]` of metrics, costs and probes; the study's own by default.
        A candidate that breaks a constraint of the study is not on it. where: which measurements count, as
        in `{"samples": 2000}`, where there are several. along: fields such as `["nfe"]` or `["guidance"]`,
        of which each value makes a point of its own; `nfe` may also be an objective, as in
        `front(["kid", "nfe"])`. Where a seeding gave candidates other numbers of seeds, means are least-squares means:
        as if each had all seeds. reference: {objective: value}, the point up to which `attrs["hypervolume"]`
        counts; that of the study (`reference:`) by default, where these are its objectives; only hypervolumes of one
        reference point compare. starts: where a search inherits weights, whether the front is of candidates that began
        anew ("fresh"), of the others ("inherited"), or of "all"; `violates` says why the rest is not on it. See
        `ablate.results.front.front` for the columns.

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
            stored, broken, raced = self._stored, self.violations(where, starts), bool(self.lock.get("seeding"))
            return front(stored.trials, stored.metrics, self.candidates, goals, where, along, broken, given, raced)

        asked = [(goal.source, goal.sign) for goal in goals]  # one metric may have two names
        table = self.once(("front", asked, dict(where or {}), list(along), given, starts), compute)
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

    def violations(self, where: Mapping[str, Any] | None = None, starts: Starts = "fresh") -> dict[str, str] | None:
        """Return {config_hash: why} of candidates that may not be on the front: they break a constraint.

        Or they inherited weights, where the front is of those that began anew; `starts` as for `front`. None where the
        study has neither. Raises InputError where values of one metric differ in what decides it.
        """
        begun = apart(self._stored.trials, starts)
        broken = violations(self._stored.trials, self._stored.metrics, self.lock, where)
        if not begun:
            return broken
        both = dict(begun)
        for config_hash, why in (broken or {}).items():
            both[config_hash] = f"{why}; {both[config_hash]}" if config_hash in both else why
        return both

    def effects(
        self,
        metric: str | None = None,
        baseline: str | Mapping[str, Any] | None = None,
        where: Mapping[str, Any] | None = None,
        test: str | Mapping[str, Any] | Analysis | None = None,
    ) -> pd.DataFrame:
        """Compare each candidate with the baseline, paired by seed: difference, confidence interval, p-value, answer.

        Of a search that inherits weights, those that began as the baseline did: anew. baseline: labels such as
        `{"backbone.conditioning": "adaln"}`, a candidate's name, or the start of its hash; the study's own by default.
        test: another one than the study declared (`analysis`), such as
        "permutation"; the verdict never uses it, and `attrs["declared"]` is False. See `ablate.results.effects.effects`
        for the columns, and for what p is where seeds were added while one looked. Raises InputError where the metric,
        the baseline or the test is not to be found, and for another test where seeds were added while one looked.
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

        plan, looks = self._judged_by(test), looked(self.lock)

        def compute() -> pd.DataFrame:
            stored = self._stored
            chosen = alike(self.candidates, against, stored.trials)
            return effects(stored.trials, stored.metrics, chosen, objective, against, where, looks, plan)

        asked = (objective.source, objective.sign, against.config_hash, dict(where or {}), plan)
        return self.once(("effects", *asked), compute)

    def table(self, metrics: Sequence[str] | None = None) -> PaperTable:
        """Return the table for a paper, a row a candidate, the best first; `.style` shows it with the best in bold.

        Means over the complete seeds with 95 % intervals, and which candidates the study's test does not tell from the
        best. metrics: names such as `["kid"]`; all by default. See `ablate.results.paper_table.PaperTable` for the
        columns. Raises InputError for a metric that is not there, and for values that may not be compared.
        """
        from ablate.results.paper_table import paper_table

        return paper_table(self, metrics)

    def pairs(
        self,
        metric: str | None = None,
        candidates: Sequence[str | Mapping[str, Any]] | None = None,
        where: Mapping[str, Any] | None = None,
        test: str | Mapping[str, Any] | Analysis | None = None,
    ) -> pd.DataFrame:
        """Compare every two candidates by the study's declared test, corrected for all pairs.

        candidates: some of them, by name, labels or hash; all by default, up to 200, but for those that inherited
        weights. test: as for `effects`. See
        `ablate.results.pairs.all_pairs` for the columns. Raises InputError where seeds were added while one looked:
        `race` says what is shown then.
        """
        objective = self.objective(metric) if metric else self.quality
        if objective is None:
            raise InputError("no metric was measured; name a cost, such as 'gflops'", "metric")
        if (looks := looked(self.lock)) is not None:
            raise InputError(f"{describe_looks(looks)}; `race` says what is shown of each candidate")
        chosen = self.candidates if candidates is None else tuple(find(self.candidates, one) for one in candidates)
        if candidates is None and (first := self.baseline) is not None:
            chosen = tuple(alike(chosen, first, self._stored.trials))
        origins.check(self._stored.trials)
        check_where(self._stored.metrics, [objective], where)
        plan = self._judged_by(test)

        def compute() -> pd.DataFrame:
            return all_pairs(self._stored.trials, self._stored.metrics, chosen, objective, plan, where)

        asked = (objective.source, objective.sign, [c.config_hash for c in chosen], dict(where or {}), plan)
        return self.once(("pairs", *asked), compute)

    def spread(
        self, metric: str | None = None, where: Mapping[str, Any] | None = None, scale: str | None = None
    ) -> Spread:
        """Estimate how a metric scatters: over seeds, about candidate and seed, and by its samples; see `Spread`.

        scale: plain or log; that of the study's analysis by default. Raises InputError where no two candidates share
        two seeds, and on the log scale where a value is not above 0.
        """
        objective = self.objective(metric) if metric else self.quality
        if objective is None:
            raise InputError("no metric was measured", "metric")
        if scale not in (None, "plain", "log"):
            raise InputError(f"the scales are plain and log, not {scale!r}", Argument("scale"))
        check_where(self._stored.metrics, [objective], where)
        stored = self._stored
        return spread(stored.trials, stored.metrics, self.candidates, objective, scale or self.declared.scale, where)

    def allocation(self, seconds: float | None = None, metric: str | None = None) -> pd.DataFrame:
        """Return how many samples and how many seeds are worth it, for so many seconds of work on the same candidates.

        seconds: of all trials, one after another; by default what this study took. From the spread and the times that
        were measured here. See `ablate.results.spread.allocation` for the columns. Raises InputError for a metric that
        gives no error of its own, such as a Fréchet distance, and as `spread` does.
        """
        trials = self._stored.trials
        complete = trials[trials["state"] == "complete"]
        training, evaluation = (float(complete[c].mean()) for c in ("train_seconds", "evaluate_seconds"))
        budget = float(trials["seconds"].sum()) if seconds is None else seconds
        return allocation(self.spread(metric), training, evaluation, budget, len(self.candidates))

    @cached_property
    def declared(self) -> Declared:
        """The analysis that the study declared: its test, level, margin, scale and looks; see docs/verdict.md.

        Of a folder of before there was a choice, the paired permutation test. Raises InputError where the lock is
        damaged, or its test is a plugin's that is not here.
        """
        return declared(self.lock, self._plugins)

    def _judged_by(self, test: str | Mapping[str, Any] | Analysis | None) -> Declared:
        """Return the study's own analysis, or the same with another test; InputError where none can be asked for."""
        if test is None:
            return self.declared
        if (looks := looked(self.lock)) is not None:
            raise InputError(f"{describe_looks(looks)}; so no other test can be asked for", Argument("test"))
        return self.declared.other(named(test, self._plugins))

    @property
    def _plugins(self) -> tuple[str, ...]:
        """The plugin files and packages of the last launch: its test may be among them."""
        given = self.launches[-1].get("plugins") if len(self.launches) else None
        return tuple(map(str, given)) if isinstance(given, list) else ()

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

        It needs quality during training (`evaluate.at`). Candidates that inherited weights are left out. value: by
        default the one that every seed of the baseline has
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
        objective, known = self.during_training(objective), inherited(self._stored.trials)
        anew = [candidate for candidate in self.candidates if candidate.config_hash not in known]
        return time_to_quality(self._stored.trials, self._stored.metrics, anew, objective, value, of)

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
        origins.check(self._stored.trials)
        check_starts(self._stored.trials)
        refusal = "a law of size is told of candidates that differ in the size of one network alone"
        if why := not_of_size(self.candidates, {}):  # by their choices, before their means are computed
            raise InputError(f"{refusal}: {why}")
        table = self.front([objective.column, "gflops", "params"], where)
        costs = zip(table["gflops"].astype(float), table["params"].astype(float), strict=True)
        sizes = dict(zip(table["config_hash"].astype(str), costs, strict=True))
        if why := not_of_size(self.candidates, sizes):
            raise InputError(f"{refusal}: {why}")
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
            ("pairs", self.pairs),
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
