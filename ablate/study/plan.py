"""The plan of a study, before anything is trained: every candidate's size, memory and time."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ablate.candidates.candidate import Candidate
from ablate.candidates.objectives import TRAIN_PASSES
from ablate.candidates.sample_cost import sample_gflops
from ablate.engine.contained import contained
from ablate.errors import Argument, InputError
from ablate.kinds.data import describe_data
from ablate.kinds.design import Assignment
from ablate.results.candidates import candidates as labelled
from ablate.runtime.machine import cache_folder, choose_device
from ablate.runtime.patient import doing
from ablate.runtime.seldom import seldom_collected
from ablate.spec.explain import exception_summary
from ablate.statistics.power import POWER
from ablate.study.ahead import Ahead, ahead
from ablate.study.building import check_limits
from ablate.study.detect import check_sought, detection
from ablate.study.estimate import memory_bytes, seconds
from ablate.study.examine import examined
from ablate.study.loaded import LoadedStudy
from ablate.study.packs import describe_packs
from ablate.study.points import describe_points
from ablate.study.rungs import describe_fidelity
from ablate.study.seeds import describe_seeding
from ablate.study.taught import describe_taught

if TYPE_CHECKING:
    from ablate.candidates.flops import Cost


def plan(
    loaded: LoadedStudy,
    device: str = "auto",
    watch: Callable[[str], None] = lambda candidate: None,
    folder: Path | None = None,
    effect: float | None = None,
    power: float = POWER,
    others: Ahead | None = None,
) -> pd.DataFrame:
    """Return a table of one row a candidate, in the order in which they run; nothing is trained.

    Columns: candidate (its label), c.<path> for each choice, match.<path> of the size by which costs are
    matched, params, gflops and macs (forward, an image), memory_bytes (of training) and seconds (of one
    trial), both estimates: see `ablate.study.estimate`; images (None where time decides), seeds, first_seed
    (where it is not 0), config_hash, failure (why the candidate cannot be built; then it has no numbers).
    `watch` is told which candidate is looked at next. folder: of the study's results, whose trials of smaller budgets
    may be gone on with. others: who measures networks ahead (`ablate.study.ahead`); None: they are found here.
    Where a sampler finds the candidates, the row is the baseline's, and `attrs` says so: `note`,
    `trials` (how many candidates, times seeds), and `space` ({path: choices or range}); `warnings` tells
    what would be slow on this device, and what solvers do to samples by themselves; `detection` what the
    declared test finds with a chance of `power`, and the seeds that `effect` takes (see `ablate.study.detect`). Raises
    InputError for what cannot be trained on it, and for an effect that cannot be sought.
    """
    check_sought(effect, power)
    if loaded.study.executor is not None:
        check_limits(loaded.study.executor)
    proposals = loaded.proposals()
    shown = [loaded.baseline] if proposals is None else proposals
    design = loaded.study.design
    rows: dict[str, dict[str, Any]] = {}
    with seldom_collected(), ahead(loaded) if others is None else nullcontext(others) as others:
        others.begin(device)
        with doing("examining the study's settings", 6):
            warnings = examined(loaded, device)
        for assignment in shown:
            name = loaded.names(assignment)
            watch(name)
            with doing(f"building the network of {name}"):
                candidate = loaded.candidate(assignment)
                others.before(candidate)
                row = _row(loaded, assignment, candidate, device)
            rows.setdefault(row["config_hash"], row)  # two ways to say one candidate are run once
    frame = pd.DataFrame(list(rows.values())).astype({"images": "Int64", "seconds": float})
    if frame["failure"].notna().any():
        frame = frame.astype(dict.fromkeys(("params", "macs", "memory_bytes"), "Int64"))
    names = {c.config_hash: c.label for c in labelled(frame, loaded.baseline, dict(_space(loaded)), loaded.names)}
    frame.insert(0, "candidate", frame["config_hash"].map(names))
    count = len(frame) if proposals is not None else design.candidates(loaded.space.dimensions)
    frame.attrs = {"study": loaded.study.study, "trials": count * design.seeds, "space": dict(_space(loaded))}
    frame.attrs["warnings"] = warnings
    frame.attrs["points"] = [*describe_points(loaded), *describe_fidelity(loaded.study.fidelity, count)]
    frame.attrs["points"] += [*describe_seeding(loaded.study, count), *describe_taught(loaded)]
    frame.attrs["points"] += describe_packs(loaded, choose_device(device))
    from ablate.study.prolong import Prolong  # imports torch, as other processes do already

    lines, left = Prolong(loaded, folder, choose_device(device)).describe() if folder is not None else ([], 1.0)
    frame.attrs["points"] += lines
    # Of the training that all of them to the end would take.
    frame.attrs["share"] = loaded.study.fidelity.share(count) * left
    with doing("simulating what its seeds can find", 6):
        frame.attrs["detection"] = detection(loaded, count, float(frame["seconds"].mean()), effect, power)
    frame.attrs["data"] = describe_data(loaded.study.data, cache_folder())
    if proposals is None:
        frame.attrs["note"] = f"design {design.name!r} finds {count} candidates by itself; this is the baseline"
    return frame


def candidate_by_name(loaded: LoadedStudy, name: str | None) -> tuple[str, Candidate]:
    """Return the candidate of a name that `plan` shows, with its label; the baseline where none is given.

    Raises InputError where the study lists no such candidate.
    """
    proposals = loaded.proposals()
    labels = {loaded.names(a): a for a in ([loaded.baseline] if proposals is None else proposals)}
    label = loaded.names(loaded.baseline) if name is None else name
    if name is not None and name not in labels:
        near = difflib.get_close_matches(name, labels, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(labels)}"
        raise InputError(f"no candidate is called {name!r}; {hint}", Argument("candidate"))
    return label, loaded.candidate(labels.get(label, loaded.baseline))


def _row(loaded: LoadedStudy, assignment: Assignment, candidate: Candidate, device: str) -> dict[str, Any]:
    settings = loaded.trial_settings
    numbers: dict[str, Any] = dict.fromkeys(
        (
            "params",
            "gflops",
            "gflops_edm2",
            "macs",
            "sample_gflops",
            "train_gflops",
            "memory_bytes",
            "seconds",
            "images",
        )
    )
    failure = None
    try:
        with contained():
            numbers |= _numbers(loaded, candidate, device)
    except InputError as error:  # such as a BuildError, or code that ends the process
        failure = str(error)
    except Exception as error:  # noqa: BLE001 - a plugin's own code; the other candidates are shown all the same
        failure = exception_summary(error)
    return {
        **{f"c.{path}": label for path, label in assignment.items()},
        **{f"match.{path}": size for path, size in settings.size(candidate).items()},
        **numbers,
        "seeds": loaded.study.design.seeds,
        **({"first_seed": first} if (first := loaded.study.design.first_seed) else {}),
        "config_hash": settings.digest(candidate),
        "failure": failure,
    }


def _numbers(loaded: LoadedStudy, candidate: Candidate, device: str) -> dict[str, Any]:
    settings = loaded.trial_settings
    cost = settings.cost(candidate)
    images = settings.budget.images_for(candidate.batch, cost.trained_gflops)
    return {
        "params": cost.params,
        **({} if cost.trainable is None else {"trainable_params": cost.trainable}),
        "gflops": cost.gflops,
        "gflops_edm2": cost.gflops_edm2,
        "macs": cost.macs,
        "sample_gflops": sample_gflops(candidate, settings.setting, cost.gflops),
        "train_gflops": None if images is None else TRAIN_PASSES * cost.trained_gflops * images,
        "memory_bytes": memory_bytes(candidate, settings.setting, device),
        "seconds": _seconds(loaded, candidate, cost, images, device),
        "images": images,
    }


def _seconds(loaded: LoadedStudy, candidate: Candidate, cost: Cost, images: int | None, device: str) -> float:
    settings = loaded.trial_settings
    samples = settings.evaluation.drawn_in_all(candidate.batch, images)
    if images is None:
        assert settings.budget.minutes is not None
        return 60 * settings.budget.minutes + seconds(candidate, settings.setting, cost, 0, samples, device)
    return seconds(candidate, settings.setting, cost, images, samples, device)


def _space(loaded: LoadedStudy) -> Iterator[tuple[str, list[Any] | Mapping[str, Any]]]:
    for d in loaded.space.dimensions:
        ends = {key: value for key, value in asdict(d).items() if key in ("low", "high", "log", "step")}
        yield d.path, loaded.space.labels(d) if d.choices else ends
