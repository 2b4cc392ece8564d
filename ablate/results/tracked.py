"""What a tracker is told of a trial: the points of its training, its samples, how it ended; read from its folder."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.candidates.names import Names, show
from ablate.io.files import read_json
from ablate.kinds.tracker import Log, TrackedTrial
from ablate.results.divergence import describe_divergence
from ablate.results.frames import CURVE, METRIC, TERM
from ablate.results.trial_rows import rows_of
from ablate.training.checkpoint_files import SO_FAR
from ablate.worker import previews

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from ablate.results.analysis import StudyAnalysis

ENDED = ("complete", "diverged", "failed")  # states that a trial stays in
FACTS = ("params", "gflops", "macs")
LAST = (*("loss", "seconds", "train_seconds", "evaluate_seconds", "peak_memory_bytes", "sample_gflops"), *FACTS)
OBSERVED = tuple(name for name in CURVE if name not in ("trial", "images", "seconds"))
COLUMNS = 8  # images of a picture

Point = tuple[int, dict[str, float], float | None]  # images, values, seconds of training
Row = Mapping[str, Any]


@dataclass
class Observed:
    """A trial as far as it has come. pictures: reads {images: samples, uint8 (N, C, H, W)}, in order."""

    trial: TrackedTrial
    state: str
    points: list[Point]
    last: dict[str, float]
    message: str | None = None
    pictures: Callable[[], Mapping[int, NDArray[np.uint8]]] = dict


@dataclass
class Told:
    """What a tracker was told of a trial: where its run is, up to which images by name, and in which state it ended."""

    handle: str | None = None
    upto: dict[str, int] = field(default_factory=dict)
    state: str | None = None

    @classmethod
    def of(cls, stored: Any) -> Told:
        """Take what `vars` of one gave, as JSON; a new one where it is no such thing."""
        if not isinstance(stored, Mapping) or not isinstance(stored.get("upto"), Mapping):
            return cls()
        upto = {str(k): v for k, v in stored["upto"].items() if isinstance(v, int)}
        return cls(stored.get("handle"), upto, stored.get("state"))


def observed(folder: Path, names: Names) -> Observed | None:
    """Read a trial's folder, whatever state it is in; None where nothing is known of it yet."""
    trials, metrics, curve = rows_of(folder)
    if not trials or not isinstance(trials[0].get("choices"), Mapping) or "config_hash" not in trials[0]:
        return None
    row, samples = trials[0], None
    if row["state"] not in ENDED:
        samples = _samples_at_the_end(folder)
        so_far = _so_far(folder)
        curve, metrics = so_far.get("curve") or curve, so_far.get("metrics") or metrics
    message = row.get("message")
    if isinstance(row.get("divergence"), Mapping):
        message = describe_divergence(row["divergence"])
    return _observed(row, curve, metrics, row["choices"], names, message, lambda: previews.read(folder), samples)


def observed_of(results: StudyAnalysis) -> Iterator[Observed]:
    """Yield every trial of a study that has ended, from its tables; those alone may be left of it."""
    curves, metrics = _by_trial(results.curves), _by_trial(results.metrics)
    for record in results.trials.astype(object).to_dict("records"):
        row = {str(key): value for key, value in record.items()}
        if row["state"] not in ENDED:
            continue
        choices = {k[2:]: v for k, v in row.items() if k.startswith("c.") and not _missing(v)}
        folder = results.path / "trials" / str(row["trial"])
        curve = [{k.replace("term.", TERM): v for k, v in one.items()} for one in curves.get(row["trial"], ())]
        message = None if _missing(row.get("message")) else str(row["message"])
        yield _observed(
            row,
            curve,
            metrics.get(row["trial"], []),
            choices,
            results.names,
            message,
            lambda folder=folder: previews.read(folder),  # type: ignore[misc]
        )


def tell(log: Log, seen: Observed, told: Told) -> None:
    """Tell a tracker what it does not know of a trial yet, and note in `told` what it knows then."""
    trial = seen.trial.trial
    for images, values, seconds in seen.points:
        new = {name: value for name, value in values.items() if images > told.upto.get(name, -1)}
        if new:
            log.log(trial, images, new, seconds)
            told.upto.update(dict.fromkeys(new, images))
    for images, samples in seen.pictures().items():
        if images > told.upto.get("samples", -1):
            log.picture(trial, images, picture(samples))
            told.upto["samples"] = images
    if seen.state in ENDED:
        log.end(trial, seen.state, seen.last, seen.message)
        told.state = seen.state


def picture(samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the first samples side by side, (H, W, 3)."""
    from ablate.results.figures.samples import strip

    row = strip(samples, min(COLUMNS, len(samples)))
    return row if row.ndim == 3 else np.repeat(row[:, :, None], 3, axis=2)


def _observed(
    row: Row,
    curve: Iterable[Row],
    metrics: Sequence[Row],
    choices: Mapping[str, Any],
    names: Names,
    message: str | None,
    pictures: Callable[[], Mapping[int, NDArray[np.uint8]]],
    samples: int | None = None,
) -> Observed:
    """samples: that are drawn at the end; None where the first measurement says so: it is of the end."""
    own = {str(path): value if _plain(value) else show(value) for path, value in choices.items()}
    base = names.baseline
    trial = TrackedTrial(
        str(row["trial"]),
        names(choices),
        str(row["config_hash"]),
        int(row["seed"]),
        bool(base) and all(show(base.get(path)) == show(value) for path, value in choices.items()),
        own,
        _finite(row, FACTS),
    )
    measured = _measured(metrics, samples)
    last = {name: value for images, values, _ in measured for name, value in values.items()}
    if row["state"] != "complete":
        last = {}
    return Observed(
        trial, str(row["state"]), [*_curve(curve), *measured], {**_finite(row, LAST), **last}, message, pictures
    )


def _curve(rows: Iterable[Row]) -> list[Point]:
    points: list[Point] = []
    for row in rows:
        names = [*OBSERVED, *(key for key in row if str(key).startswith(TERM))]
        values = _finite(row, names)
        if values and not _missing(row.get("images")):
            points.append((int(row["images"]), values, _finite(row, ["seconds"]).get("seconds")))
    return points


def _measured(rows: Sequence[Row], at_the_end: int | None) -> list[Point]:
    """Return the measurements, ascending by images: those on as many samples as at the end under the metric's name.

    Others (fewer samples, at points of the training) have a name of their own: values that differ in what decides them
    stand on no curve together. Of several averages of the weights the first one counts, which is the study's own.
    """
    sound = [row for row in rows if not _missing(row.get("value")) and not _missing(row.get("images"))]
    if not sound:
        return []
    first: dict[str, Row] = {}
    for row in sound:
        first.setdefault(row["metric"], row)
    points: dict[int, dict[str, float]] = defaultdict(dict)
    for row in sound:
        if any(str(row.get(key)) != str(first[row["metric"]].get(key)) for key in ALIKE):
            continue
        samples, own = _whole(row.get("samples")), at_the_end or _whole(first[row["metric"]].get("samples"))
        name = row["metric"] if samples == own else f"{row['metric']}_of_{samples}"
        points[int(row["images"])].setdefault(name, float(row["value"]))
    return [(images, points[images], None) for images in sorted(points)]


# What does not differ between the points of one curve; how far the training was does, and how many samples.
ALIKE = tuple(
    key
    for key in METRIC
    if key in ("ema", "solver", "nfe", "guidance", "features", "solver_settings", "quantisation", "labels")
)


def _samples_at_the_end(folder: Path) -> int | None:
    try:
        found = read_json(folder / "job.json")["evaluation"]["samples"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) else None


def _so_far(folder: Path) -> dict[str, Any]:
    try:
        found = read_json(folder / SO_FAR)
    except (OSError, ValueError):
        return {}
    sound = {key: value for key, value in found.items() if isinstance(value, list)} if isinstance(found, dict) else {}
    return {key: [row for row in rows if isinstance(row, dict)] for key, rows in sound.items()}


def _by_trial(frame: pd.DataFrame) -> dict[Any, list[dict[str, Any]]]:
    rows: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in frame.astype(object).to_dict("records"):
        rows[row["trial"]].append({str(key): value for key, value in row.items()})
    return rows


def _finite(row: Row, names: Iterable[str]) -> dict[str, float]:
    numbers = {name: row.get(name) for name in names}
    return {
        name: float(value)
        for name, value in numbers.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _missing(value: Any) -> bool:
    return value is None or (not isinstance(value, str | bool) and value != value)


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _whole(value: Any) -> int:
    return 0 if _missing(value) else int(value)
