"""Which search finds the front with the least training? Samplers and fidelities on a recorded table (docs/replay.md).

    python benchmarks/searches.py [--csv FILE] [--figure FILE] [--rounds 30] [--only NAME,NAME] [--table FILE]...

Each repeat is a study of its own seed with one worker. Candidates are asked for, told, paused and let go on by the
engine's own ledger and ladder, and what a training would have given is read from the table, so that a repeat takes a
second. Counted is the training compute (three forward passes an image, Gflops) until the candidates that were trained
to the end cover 95 % of the hypervolume of all candidates in the table, with log axes, up to the worst of the table;
and, beside it, with linear axes. A search that ends before that has not reached it. Compute is given as a share of what
it takes to train the whole table.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bench
import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from rules import MoAsha, WeightedSum

import ablate
from ablate.candidates.objectives import TRAIN_PASSES, Objective, share_key
from ablate.engine.ladder import Ladder
from ablate.engine.ledger import Ledger
from ablate.engine.score import Group
from ablate.engine.sound import key
from ablate.errors import SpecError
from ablate.kinds.design import Assignment, Design
from ablate.kinds.fidelity import Fidelity
from ablate.results.front import hypervolume
from ablate.spec.slots import create
from ablate.study.load import load_study

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "studies" / "recorded_table.yaml"
TABLES = ROOT / "results" / "recorded"
GOAL = 0.95
FEW = 2  # repeats of `gp`, of which one takes minutes
LEVELS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)  # compute, as shares of the whole table's
COLUMNS = (
    *("method", "repeat", "asked", "ended", "compute", "compute_linear", "cpu_seconds"),
    *(f"at_{level:g}" for level in LEVELS),
)
SHOWN = (  # in the figure
    *(
        "random",
        "tpe",
        "evolution",
        "evolution + pareto_asha 1/3",
        "random + pareto_asha 1/3",
        "random + bands 1/3",
        "random + mo_asha 1/3",
    ),
    *("random + weighted sum", "random + freeze_thaw", "tpe + pareto_asha 1/3"),
)
TPE = {"type": "search", "algorithm": "tpe", "joint": True}
SAMPLERS: dict[str, dict[str, Any]] = {
    "random": {"type": "random"},
    "nsga2": {"type": "search", "algorithm": "nsga2"},
    "nsga3": {"type": "search", "algorithm": "nsga3"},
    "evolution": {"type": "search", "algorithm": "evolution"},
    "generator": {"type": "generator"},
    "tpe": TPE,
    "gp": {"type": "search", "algorithm": "gp"},
}
NINTH, THIRD = {"first": 0.1111}, {"first": 0.3333}  # where the first rung is
FIDELITIES: dict[str, Any] = {
    "pareto_asha": {"type": "pareto_asha", **NINTH},
    "pareto_asha 1/3": {"type": "pareto_asha", **THIRD},
    "freeze_thaw": "freeze_thaw",
    "asha": {"type": "asha", **NINTH},
    "weighted sum": WeightedSum(**NINTH),
    "weighted sum 1/3": WeightedSum(**THIRD),
    "mo_asha": MoAsha(**NINTH),
    "mo_asha 1/3": MoAsha(**THIRD),
    "bands": {"type": "pareto_asha", "by": "bands", **NINTH},
    "bands 1/3": {"type": "pareto_asha", "by": "bands", **THIRD},
}
METHODS: dict[str, tuple[str, str]] = {
    **{name: (name, "none") for name in SAMPLERS},
    **{f"{name} + pareto_asha": (name, "pareto_asha") for name in SAMPLERS},
    **{f"{name} + pareto_asha 1/3": (name, "pareto_asha 1/3") for name in ("random", "nsga2", "evolution", "tpe")},
    **{f"{name} + freeze_thaw": (name, "freeze_thaw") for name in ("random", "nsga2", "tpe")},
    **{f"random + {name}": ("random", name) for name in FIDELITIES if not name.startswith(("pareto", "freeze"))},
}


@dataclass
class Table:
    """A recorded space: its candidates, and what each is worth after shares of its budget."""

    loaded: Any
    records: Mapping[str, Mapping[str, Any]]  # by config_hash, as a trial's record
    hashes: Mapping[str, str | None] = field(default_factory=dict)  # by the key of an assignment; None: it is refused
    assignments: Sequence[tuple[Assignment, str | None]] = ()  # the same, by what they are

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """Quality and Gflops."""
        objectives: tuple[Objective, ...] = self.loaded.objectives
        return objectives

    def point(self, config_hash: str) -> tuple[float, float]:
        """Return (quality at the end, Gflops)."""
        quality, cost = (objective.value(self.records[config_hash]) for objective in self.objectives)
        assert quality is not None and cost is not None
        return quality, cost

    def training(self, config_hash: str) -> float:
        """Return the Gflops of a candidate's training."""
        record = self.records[config_hash]
        return float(TRAIN_PASSES * record["gflops"] * record["images"])


class Memory:
    """Optuna's study in memory: for nothing is resumed here."""

    def __init__(self) -> None:
        self.study = optuna.create_study(directions=["minimize", "minimize"])

    def trial(self, number: int) -> optuna.trial.Trial:
        """Return a trial, to write on."""
        return optuna.trial.Trial(self.study, self.study.get_trials(deepcopy=False)[number]._trial_id)

    def replace(self, trials: Sequence[optuna.trial.FrozenTrial]) -> None:
        """Nothing that was told is corrected here."""
        raise NotImplementedError

    def close(self) -> None:
        """There is nothing to close."""


def read(files: Sequence[Path]) -> Table:
    """Read tables of one study into one, and narrow the study to the space that they hold."""
    frame = pd.concat([ablate.recorded(file) for file in files])
    frame = frame[frame["seed"] == 0]
    narrowed = [f"vary.{name}=[{', '.join(frame[f'c.{name}'].unique())}]" for name in ("schedule", "weighting")]
    loaded = load_study(STUDY, overrides=narrowed)
    records = {str(name): _record(rows) for name, rows in frame.groupby("config_hash", sort=False, observed=True)}
    assignments = []
    for assignment in loaded.space.everything():
        try:
            digest = loaded.trial_settings.digest(loaded.candidate(assignment))
        except SpecError:  # it does not go together
            digest = None
        assignments.append((assignment, digest if digest in records else None))
    return Table(loaded, records, {key(one): digest for one, digest in assignments}, assignments)


def _record(rows: pd.DataFrame) -> dict[str, Any]:
    """Return what a trial's record says, as far as a search asks for it."""
    end = rows[rows["share"] == 1]
    points = rows[rows["share"] < 1]
    return {
        "state": rows["state"].iloc[0],
        "gflops": float(rows["gflops"].iloc[0]),
        "images": int(end["images"].iloc[0]),
        "shares": {share_key(p["share"]): {"images": p["images"], "loss": p["loss"]} for _, p in points.iterrows()},
        "metrics": [
            {name: row[name] for name in ("metric", "images", "samples", "value")}
            for _, row in pd.concat([end, points]).iterrows()
        ],
    }


def search(table: Table, design: Design, fidelity: Fidelity, seed: int) -> Iterator[tuple[float, str | None]]:
    """Run one study; yield the training compute until then and the candidate that has come to its end, or None.

    What the engine does with one worker: who is paused goes on where the fidelity has one, else a new one is asked for.
    """
    spent, seen, baseline = 0.0, set[str](), table.loaded.space.complete({})
    ladder = Ladder(fidelity, table.objectives, (), {})
    space, objectives = table.loaded.space, table.objectives
    ledger = Ledger(Path(), "replayed", space, design, objectives, seed, share=ladder.until(0), store=Memory())
    while True:
        group, before = ladder.promote(closing=False), None
        if group is None and (entry := ledger.ask()) is not None:
            digest = table.hashes[key(entry.assignment)]
            if digest is None:
                ledger.refuse(entry, "not in the table")
                continue
            if digest in seen:
                ledger.repeat(entry)
                continue
            seen.add(digest)
            group = Group(entry, (digest,), rung=len(ladder.rungs) if entry.assignment == baseline else 0)
        elif group is None and (group := ladder.promote(closing=True)) is None:
            break
        else:
            before = ladder.until(group.rung - 1)
        (digest,) = group.trials
        until = ladder.until(group.rung)
        spent += table.training(digest) * ((until or 1.0) - (before or 0.0))
        group.pauses = {digest: table.records[digest]} if until is not None else {}  # type: ignore[dict-item]
        group.records = {} if until is not None else {digest: table.records[digest]}  # type: ignore[dict-item]
        if group.entry.assignment != baseline:
            ladder.stand(group)
        if before is None:
            ledger.tell(group.entry, ladder.scores(group, 0))
        yield spent, digest if until is None else None


class Cover:
    """The share of the table's hypervolume that candidates cover, with axes as a function changes them."""

    def __init__(self, table: Table, axes: Any) -> None:
        self._points = {name: axes(np.array(table.point(name))) for name in table.records}
        whole = np.array(list(self._points.values()))
        self._reference = whole.max(axis=0)
        self._whole = hypervolume(whole, self._reference)

    def __call__(self, names: Sequence[str]) -> float:
        """Return the share, in [0, 1]."""
        points: NDArray[np.float64] = np.array([self._points[name] for name in names])
        return hypervolume(points, self._reference) / self._whole if len(names) else 0.0


def repeat(table: Table, method: str, seed: int, trials: int, covers: Sequence[Cover]) -> dict[str, Any]:
    """Run one study of a method until it covers enough, by all measures, and return its row."""
    sampler, fidelity = METHODS[method]
    catalog = table.loaded.catalog
    design = create(Design, {**SAMPLERS[sampler], "trials": trials}, catalog)
    judged = create(Fidelity, FIDELITIES.get(fidelity, fidelity), catalog)
    whole = sum(map(table.training, table.records))
    begun, ended, asked = time.process_time(), list[str](), 0
    reached: list[float | None] = [None] * len(covers)
    course = [(0.0, 0.0)]
    for spent, digest in search(table, design, judged, seed):
        asked += 1
        if digest is None:
            continue
        ended.append(digest)
        shares = [cover(ended) for cover in covers]
        course.append((spent / whole, shares[0]))
        reached = [spent / whole if r is None and s >= GOAL else r for r, s in zip(reached, shares, strict=True)]
        if None not in reached:
            break
    row = {"method": method, "repeat": seed, "asked": asked, "ended": len(ended)}
    row |= {name: None if r is None else round(r, 5) for name, r in zip(COLUMNS[4:6], reached, strict=True)}
    row["cpu_seconds"] = round(time.process_time() - begun, 2)
    at = {f"at_{level:g}": [share for spent, share in course if spent <= level][-1] for level in LEVELS}
    return row | {name: round(share, 4) for name, share in at.items()}


def main() -> None:
    parser = bench.options(__doc__, rounds=30)
    parser.add_argument("--only", help="methods, with commas between them")
    parser.add_argument("--table", type=Path, action="append", help="of one study; all in results/recorded by default")
    parser.add_argument("--trials", type=int, help="candidates of a study; two thirds of the table by default")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--add", action="store_true", help="to the rows that the CSV file has; the figure shows all")
    arguments = parser.parse_args()
    table = read(arguments.table or sorted(TABLES.glob("*.parquet")))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(f"{len(table.records)} candidates of {len(table.hashes)} combinations")
    trials = arguments.trials or len(table.records) * 2 // 3
    covers = [Cover(table, np.log), Cover(table, np.asarray)]
    names = arguments.only.split(",") if arguments.only else list(METHODS)
    rows = []
    for name in names:
        rounds = min(arguments.rounds, FEW) if name.startswith("gp") else arguments.rounds
        own = [repeat(table, name, seed, trials, covers) for seed in range(rounds)]
        bench.keep(own, COLUMNS, arguments.csv, add=arguments.add or bool(rows))
        rows += own
        print(f"{name:28} {_told(own, 'compute')}   linear {_told(own, 'compute_linear')}", end="   ")
        print(f"{statistics.median(row['cpu_seconds'] for row in own):.2f} CPU s, {own[0]['asked']} steps", flush=True)
    if arguments.figure is not None:
        draw(pd.read_csv(arguments.csv) if arguments.csv else pd.DataFrame(rows), arguments.figure)


def _told(rows: Sequence[Mapping[str, Any]], column: str) -> str:
    """Return the median of the compute and its quartiles; what was not reached counts as endless."""
    values = sorted(np.inf if row[column] is None else row[column] for row in rows)
    low, middle, high = np.percentile(values, [25, 50, 75], method="inverted_cdf")
    return f"{middle:.3f} ({low:.3f} to {high:.3f}; {sum(np.isfinite(values))} of {len(values)})"


def draw(frame: pd.DataFrame, file: Path) -> None:
    """Draw the median share of the hypervolume against the training compute, with quartiles."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    shares = [f"at_{level:g}" for level in LEVELS]
    for i, name in enumerate(name for name in SHOWN if (frame["method"] == name).any()):
        own = frame.loc[frame["method"] == name, shares].clip(upper=GOAL)
        low, middle, high = (own.quantile(q).to_numpy() for q in (0.25, 0.5, 0.75))
        (line,) = axes.plot(LEVELS, middle, label=name, marker="o", markersize=3, linestyle="-" if i < 4 else "--")
        axes.fill_between(LEVELS, low, high, alpha=0.12, color=line.get_color(), linewidth=0)
    axes.axhline(GOAL, color="0.6", linewidth=0.8)
    axes.set(xscale="log", xlabel="training compute (share of training every candidate of the table)")
    axes.set(ylabel="share of the table's hypervolume (log axes)", xlim=(LEVELS[0], LEVELS[-1]), ylim=(0.4, 0.97))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xticks(LEVELS[:6:2] + LEVELS[6::3])
    axes.minorticks_off()
    axes.legend(loc="lower right", fontsize="small")
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    main()
