"""`Results`: a study's folder, read; everything that is asked of it is a method here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.candidates.names import Names
from ablate.candidates.objectives import STATIC, Objective
from ablate.errors import InputError, did_you_mean, in_python
from ablate.io import launches
from ablate.io.files import nameable
from ablate.io.sealed import unsealed
from ablate.io.text import label, printable
from ablate.results import data_dictionary, origins, probes, store
from ablate.results.candidates import CandidateRow, candidates, find
from ablate.results.constraints import violations
from ablate.results.effects import effects
from ablate.results.front import front
from ablate.results.objectives import check_where, own_objectives, resolve
from ablate.results.readable import read_mapping, read_yaml
from ablate.results.scaling import Scaling, not_of_size, scaling
from ablate.results.unequal import noisy

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn


def load(folder: str | Path) -> Results:
    """The results in a study's folder, finished or not. Raises InputError where it is no study."""
    path = nameable(Path(folder))
    if not path.exists():
        near = [p.name for p in path.parent.iterdir() if store.is_study(p)] if path.parent.is_dir() else []
        raise InputError(f"there is no such folder{did_you_mean(path.name, near)}", str(path))
    if not path.is_dir() or not store.is_study(path):
        hint = "; this is a file: give a folder, such as results/NAME" if path.is_file() else ""
        told = "is no study's folder: it holds neither lock.json nor trials; ablate run makes one"
        raise InputError(f"{told}{hint}", str(path))
    return Results(path)


class Results:
    """What a study found, read from its folder when it is first asked for.

    >>> results = ablate.load("results/dit_conditioning")   # doctest: +SKIP
    >>> results.front(["kid", "gflops"])                    # doctest: +SKIP
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._warnings: list[str] = []
        self._computed: dict[str, pd.DataFrame] = {}  # fronts and effects, by what was asked for

    # --- what the folder holds -------------------------------------------------------------------

    @cached_property
    def _stored(self) -> store.Stored:
        return store.read(self.path)

    @cached_property
    def lock(self) -> dict[str, Any]:
        """What the first launch froze; {} where the folder has no lock file."""
        return unsealed(read_mapping(self.path / "lock.json", self._warnings))

    def _judging(self) -> dict[str, Any]:
        """The lock, by which candidates are judged. Raises InputError where it is there and says nothing.

        Without it the study's objectives, and which way is better, would be guessed.
        """
        if not self.lock and (self.path / "lock.json").exists():
            why = next((line for line in self._warnings if "lock.json" in line), "says nothing")
            raise InputError(
                f"{why}: which way the study's metrics are better is not known; restore it, or remove it to go by "
                "guesses"
            )
        return self.lock

    @cached_property
    def study(self) -> dict[str, Any]:
        """study.yaml as plain data, with all that was said beside it; {} where the folder has none."""
        return read_yaml(self.path / "study.yaml", self._warnings)

    @cached_property
    def launches(self) -> list[dict[str, Any]]:
        """Each `ablate run` and `ablate evaluate` in this folder, the oldest first: command, options, date, host."""
        return launches.read(self.path)

    @property
    def name(self) -> str:
        """The study's name, for people: printable, and not longer than a label."""
        return label(self.lock.get("study") or self.study.get("study") or self.path.resolve().name)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row a trial: trial, config_hash, seed, state, costs, `c.<path>` choices, `m.<metric>` values."""
        frame = self._stored.trials.copy()
        labels = {c.config_hash: c.label for c in self.candidates}
        frame["candidate"] = frame["config_hash"].map(labels)
        return frame

    def among(self, metrics: pd.DataFrame) -> Results:
        """The same trials with these measurements alone, which are rows of `metrics`."""
        made = Results(self.path)
        made.__dict__["_stored"] = replace(self._stored, metrics=metrics)
        return made

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Long: a row a measurement, with everything that decides its value; candidate, seed and `c.<path>` choices."""
        return self._with_choices(self._stored.metrics)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Long: a row a logged point of training, with candidate, seed and `c.<path>` choices.

        Empty where only the tables were committed.
        """
        return self._with_choices(self._stored.curves)

    @cached_property
    def probes(self) -> pd.DataFrame:
        """Long: a row an observation of a probe at one site: trial, probe, images, site, x, value.

        Then candidate, seed and `c.<path>` choices. `attrs["axes"]` says by probe what x is: a depth, a log SNR.
        """
        return self._with_choices(probes.read(self.path, self._warnings))

    def _with_choices(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Rows of trials, with what each trial is: its candidate, its seed and its choices."""
        trials = self.trials.set_index("trial")
        told = ["candidate", "seed", *(c for c in trials.columns if str(c).startswith("c."))]
        beside = trials[told].reindex(frame["trial"]).set_index(frame.index)
        found = frame.assign(**{str(name): beside[name] for name in told})
        found.attrs = dict(frame.attrs)
        return found

    @cached_property
    def candidates(self) -> tuple[CandidateRow, ...]:
        """Every configuration, the baseline first, then in the study's order."""
        order = self.lock.get("choices") or self.study.get("vary")
        listed = order if isinstance(order, Mapping) else None
        return candidates(self._stored.trials, self._baseline_labels, listed, Names.read(self.lock))

    @property
    def names(self) -> Names:
        """What candidates are called, by their choices."""
        return Names.read(self.lock) or Names.among([c.choices for c in self.candidates], self._baseline_labels)

    @property
    def warnings(self) -> list[str]:
        """Files that could not be read, each with the reason; candidates whose samples are still noise."""
        _ = self.lock, self.study
        return [*self._warnings, *self._stored.warnings, *self._noisy()]

    def _noisy(self) -> list[str]:
        return [
            f"samples of {name} are hardly better than noise ({share:.2f}; 0: as smooth as the data, 1: noise): "
            "train longer, or raise the learning rate"
            for name, share in noisy(self).items()
        ]

    @property
    def states(self) -> dict[str, int]:
        """How many trials are complete, diverged, failed, running."""
        return {str(k): int(v) for k, v in self._stored.trials["state"].value_counts().items()}

    @property
    def _baseline_labels(self) -> dict[str, Any] | None:
        held = self.lock.get("baseline")
        return dict(held) if isinstance(held, Mapping) and held else None

    @property
    def baseline(self) -> CandidateRow | None:
        """The candidate that the lock names as the baseline, if it has a trial."""
        return next((c for c in self.candidates if c.baseline), None)

    # --- what was trained ------------------------------------------------------------------------

    def network(
        self, trial: str, average: str | float | None = None, device: str = "cpu", plugins: Sequence[str] = ()
    ) -> nn.Module:
        """The trained network of a trial, in eval mode, with averaged weights.

        trial: its name, as in the column `trial` of `trials`. average: the label of one (`ema` in `metrics`), a
        relative length to rebuild; the one that the study measures by default. device: `cpu`, `cuda` or `auto`.
        plugins: files or packages; one stands in for a file of the same name that has moved.

        `network(x, c_noise, labels)` as for `ablate.build`. Raises InputError where the trial's weights were not
        kept, a plugin is missing, or the source or the data are not those that it was trained with.
        """
        from ablate.worker import trained

        with in_python():
            return trained.network(self.path, trial, average, device, plugins)

    def sample(
        self,
        trial: str,
        n: int | None = None,
        average: str | float | None = None,
        device: str = "auto",
        plugins: Sequence[str] = (),
    ) -> Tensor:
        """Images of a trial, (n, C, H, W) uint8 on the CPU, by its own solver, guidance and random draws.

        They are those that the trial's metrics were measured on, bit for bit on the same device with as many threads:
        the first n of them, all by default. More than were measured are drawn as `ablate evaluate --samples n` draws
        them, with labels in the shares of n. Latents are decoded where the study decodes them. The other arguments,
        and what is refused, are as for `network`.
        """
        from ablate.worker import trained

        with in_python():
            return trained.sample(self.path, trial, n, average, device, plugins)

    # --- what it means ---------------------------------------------------------------------------

    def objective(self, name: str) -> Objective:
        """The objective meant by a short name, a column or a cost; InputError where there is none."""
        found = resolve(name, self._stored.trials, self.lock)
        return found if found.is_cost else resolve(name, self._stored.trials, self._judging())

    def objectives(self, names: Sequence[str] | None = None) -> list[Objective]:
        """The named objectives; the study's own by default."""
        if isinstance(names, str):
            names = [names]
        if names is not None and not names:
            raise InputError("a front needs at least one objective", "objectives")
        if names is None:
            return own_objectives(self._stored.trials, self._judging())
        return [self.objective(n) for n in names]

    @property
    def quality(self) -> Objective | None:
        """The metric that the study is about: the first objective that is no cost, else the first metric."""
        return next((o for o in [*self.objectives(), *self.measured] if not o.is_cost), None)

    @property
    def measured(self) -> list[Objective]:
        """All metrics that have a value (the loss and probes, if they are objectives), the study's first one first."""
        columns = [c for c in self._stored.trials.columns if c.startswith("m.")]
        wanted = [o.column for o in self.objectives()]
        others = [o.column for o in self.objectives() if o.is_recorded and not o.is_cost]  # the loss, probes
        found = [self.objective(c) for c in (*columns, *others)]
        return sorted(found, key=lambda o: wanted.index(o.column) if o.column in wanted else len(wanted))

    def front(
        self,
        objectives: Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
        along: Sequence[str] = (),
        reference: Mapping[str, float] | None = None,
    ) -> pd.DataFrame:
        """Every candidate's mean and standard deviation over seeds, and whether it is non-dominated.

        objectives: names such as `["kid", "gflops"]` of metrics, costs and probes; the study's own by default.
        A candidate that breaks a constraint of the study is not on it. where: which measurements count, as
        in `{"samples": 2000}`, where there are several. along: fields such as `["nfe"]` or `["guidance"]`,
        of which each value makes a point of its own; `nfe` may also be an objective, as in
        `front(["kid", "nfe"])`. reference: {objective: value}, the point up to which `attrs["hypervolume"]`
        counts; only hypervolumes of one reference point compare. See `ablate.results.front.front` for the columns.

        Raises InputError for an unknown name, and where values of one metric differ in what decides
        it (samples, features, reference, solver, NFE, EMA, guidance, quantisation), over all points, or where
        trials were measured with different source of one component.
        """
        goals = self.objectives(objectives)
        along = [along] if isinstance(along, str) else along
        if reference is not None:  # of short names too
            reference = {self.objective(str(name)).column: float(value) for name, value in reference.items()}
        if any(goal.column not in STATIC for goal in goals):
            origins.check(self._stored.trials)
        check_where(self._stored.metrics, goals, where)

        def compute() -> pd.DataFrame:
            stored, broken = self._stored, self.violations(where)
            return front(stored.trials, stored.metrics, self.candidates, goals, where, along, broken, reference)

        return self._once(("front", goals, dict(where or {}), list(along), reference), compute)

    def _once(self, question: object, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Return a copy of a table that is computed once: the stored tables that it comes from do not change."""
        key = repr(question)
        if key not in self._computed:
            self._computed[key] = compute()
        return self._computed[key].copy()

    def violations(self, where: Mapping[str, Any] | None = None) -> dict[str, str] | None:
        """{config_hash: what it breaks} of the candidates that break a constraint; None where the study has none.

        Raises InputError where values of one metric differ in what decides it.
        """
        return violations(self._stored.trials, self._stored.metrics, self.lock, where)

    def effects(
        self,
        metric: str | None = None,
        baseline: str | Mapping[str, Any] | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Each candidate against the baseline, paired by seed.

        baseline: labels such as `{"backbone.conditioning": "adaln"}`, a candidate's name, or the
        start of its hash; the study's own by default. See `ablate.results.effects.effects` for the
        columns. Raises InputError where the metric or the baseline is not to be found.
        """
        objective = self.objective(metric) if metric else self.quality
        if objective is None:
            raise InputError("no metric was measured; name a cost, such as 'gflops'", "metric")
        against = find(self.candidates, baseline) if baseline is not None else self.baseline
        if against is None:
            known = ", ".join(c.label for c in self.candidates) or "none yet"
            raise InputError(f"the study's baseline has no trial; name another one of: {known}", "baseline")
        origins.check(self._stored.trials)
        check_where(self._stored.metrics, [objective], where)

        def compute() -> pd.DataFrame:
            return effects(self._stored.trials, self._stored.metrics, self.candidates, objective, against, where)

        return self._once(("effects", objective, against.config_hash, dict(where or {})), compute)

    def scaling(self, metric: str | None = None, where: Mapping[str, Any] | None = None) -> Scaling:
        """How a metric follows Gflops over sizes of one network: correlation and power law, over their means.

        metric: the study's own first one by default. Candidates of which a seed diverged are left out. See
        `ablate.results.scaling.Scaling`. Raises InputError where candidates differ in more than their size,
        or cost too much the same, and where the metric is not to be found.
        """
        objective = self.objective(metric) if metric else self.quality
        if objective is None:
            raise InputError("no metric was measured", "metric")
        table = self.front([objective.column, "gflops", "params"], where)
        costs = table.set_index("config_hash")[["gflops", "params"]]
        sizes = {str(name): (float(row["gflops"]), float(row["params"])) for name, row in costs.iterrows()}
        if why := not_of_size(self.candidates, sizes):
            raise InputError(f"a law of size is told of candidates that differ in the size of one network alone: {why}")
        table = table[table["diverged"] == 0]  # what the other seeds gave is too good
        return scaling(table["candidate"], table["gflops"], table[objective.column])

    @property
    def columns(self) -> pd.DataFrame:
        """What the columns of this study's tables mean: a row a column with table, column, meaning, unit, better.

        Of trials, metrics, curves, probes, and of the front and the effects where they can be computed. better:
        "smaller", "larger", or "" where neither is; docs/columns.md lists the columns of every study.
        """
        tables = {"trials": self.trials, "metrics": self.metrics, "curves": self.curves, "probes": self.probes}
        for name, compute in (("front", self.front), ("effects", self.effects)):
            with contextlib.suppress(InputError):  # values that may not be compared, or no baseline
                tables[name] = compute()
        named = [c for c in self._stored.trials.columns if c[:2] in ("m.", "p.")]
        goals = [self.objective(c) for c in named]
        return data_dictionary.describe(tables, {goal.column: goal.larger_is_better for goal in goals})

    # --- how it is told --------------------------------------------------------------------------

    def summary(self, plain: bool = False) -> Any:
        """A table of the candidates, the verdict, and where the files are.

        For `rich` and for notebooks, or text without markup where `plain` is true (for logs and pipes).
        """
        from ablate.results import summary

        return summary.plain(self) if plain else summary.Summary(self)

    def figures(
        self,
        out: str | Path | None = None,
        formats: Sequence[str] = ("png", "svg"),
        names: Sequence[str] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> list[Path]:
        """Draw all figures for which there is something to show; their paths.

        A figure that would mix values that may not be compared is left out; `summary` says which. One that cannot
        be drawn is named in one line by `say` (a Python warning by default), and the others are drawn.

        out: a folder, `figures/` in the study's folder by default. formats: of `png`, `svg` and `pdf`. names: such as
        `["front", "curves"]`, or all. Raises InputError for an unknown format or name.
        """
        from ablate.results.figures import figures

        return figures(self, nameable(Path(out)) if out is not None else self.path / "figures", formats, names, say)

    def __repr__(self) -> str:
        told = ", ".join(f"{n} {state}" for state, n in sorted(self.states.items())) or "no trials"
        return f"<Results {self.name!r} in {self.path}: {len(self.candidates)} candidates, {told}>"

    def _repr_html_(self) -> str:
        from ablate.results.verdict import verdict

        try:
            front = self.front()
            front.columns = front.columns.map(printable)
            front = front.map(lambda v: label(v) if isinstance(v, str) else v)
            # The class keeps a notebook from taking what stands between two dollars for a formula.
            table = front.to_html(
                index=False, float_format=lambda v: f"{v:.4g}", na_rep="", classes="tex2jax_ignore mathjax_ignore"
            )
        except InputError as error:
            table = f"<p>{escape(printable(error))}</p>"
        told = f"<h3>{escape(self.name)}</h3><p>{escape(printable(verdict(self)))}</p>{table}"
        return f'<div class="tex2jax_ignore mathjax_ignore">{told}</div>'
