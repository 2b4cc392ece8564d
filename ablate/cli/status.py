"""`ablate status`: how far a study is, what runs, what failed and why; also while it runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.cli.options import Json, Readable

if TYPE_CHECKING:
    from ablate.results import Results

OPEN = ("running", "unreadable", "paused")  # states of trials that a worker may be at
SILENT = 300.0  # seconds without a sign of life after which it is worth a word


def status(folder: Readable, as_json: Json = False) -> None:
    """Show how far a study is, also while it runs.

    Counts by state, running trials with their last sign of life, failures with their reasons, the table so far.
    """
    from ablate.results import load
    from ablate.results.store import without_collection

    with without_collection():
        _show(load(folder), folder, as_json)


def _show(results: Results, folder: Path, as_json: bool) -> None:
    from ablate.cli.terminal import console, emit_json, lively

    if as_json:
        emit_json(status_of(results))
        return
    facts = _progress(results)
    _print(facts, _left_out(results), folder)
    if any(facts["states"].get(state) for state in ("complete", "diverged", "failed", "paused")):
        print()
        if lively():
            console().print(results.summary())
        else:
            print(results.summary(plain=True), end="")


def status_of(results: Results) -> dict[str, Any]:
    """Return all that `ablate status` prints, as plain data."""
    from ablate.results.tables import grouped

    table = grouped(results)
    return {
        **_progress(results),
        "candidates": table.astype(object).where(table.notna(), None).to_dict("records"),
        "left_out": _left_out(results),
        "warnings": [*table.attrs["problems"], *results.warnings],
    }


def _progress(results: Results) -> dict[str, Any]:
    """Return how far the study is, without its table of candidates."""
    from ablate.results.signs import driven, unfinished

    trials = results.trials[["trial", "candidate", "seed", "state", "failure", "message", "seconds"]]
    whole = trials["state"] == "complete"  # as nearly all of thousands are
    rest = trials[~whole].astype(object)
    rows = [
        {str(key): value for key, value in row.items()} for row in rest.where(rest.notna(), None).to_dict("records")
    ]
    at_work = driven(results.path)
    open_, failures, states = [], [], {"complete": int(whole.sum()), "diverged": 0, "failed": 0}
    for row in rows:
        who = {"trial": row["trial"], "candidate": row["candidate"], "seed": row["seed"]}
        one = asdict(unfinished(results.path, row["trial"], at_work)) if row["state"] in OPEN else {}
        if one and (row["state"] != "paused" or one["state"] == "running"):
            open_.append({**who, **one})
            states[one["state"]] = states.get(one["state"], 0) + 1
            continue
        states[row["state"]] = states.get(row["state"], 0) + 1
        if row["state"] not in ("complete", "paused"):
            failures.append({**who, "state": row["state"], "class": row["failure"], "message": row["message"]})
    timed = trials[trials["seconds"].notna()]
    spent = dict(zip(timed["trial"].tolist(), timed["seconds"].tolist(), strict=True))
    for one in open_:
        if (trained := _trained_seconds(results.path / "trials" / one["trial"])) is not None:
            spent[one["trial"]] = trained
    return {
        "study": results.name,
        "folder": str(results.path),
        "at_work": at_work,
        "planned": _planned(results, len(trials)),
        "states": states,
        "unfinished": open_,
        "failures": failures,
        "trial_seconds": sum(spent.values()),
    }


def _trained_seconds(trial: Path) -> float | None:
    """Return the seconds of training in a trial's curve; None where it has none. Only its own is read."""
    from ablate.worker import records

    try:
        rows = records.content(trial, records.CURVE)
    except (OSError, ValueError):  # not there yet, or damaged, which is told where it is read for a table
        return None
    seconds = [float(row["seconds"]) for row in rows if isinstance(row.get("seconds"), int | float)]
    return max(seconds, default=None)


def _left_out(results: Results) -> list[str]:
    if not (names := results.lock.get("left_out")):
        return []
    from ablate.study.ineffective import left_out

    return list(left_out(names))


def _planned(results: Results, trials: int) -> int | None:
    """Return how many trials the first launch meant to run; None where a later one means more, or it is not known."""
    from ablate.results.unequal import ended

    if ended(results).get("trials") == trials:
        return trials
    planned = results.lock.get("planned")
    if not isinstance(planned, int):
        planned = _asked_of_design(results.lock)
    return planned if planned is not None and planned >= trials else None


def _asked_of_design(lock: dict[str, Any]) -> int | None:
    """Return how many trials a lock's design asks for, where an earlier version has not written it down."""
    from ablate.discovery.catalog import catalog  # half a second
    from ablate.errors import InputError
    from ablate.kinds.design import Design, Dimension

    try:
        design = catalog().create(Design, lock["spec"]["design"])
        base = lock["baseline"]
        listed = [Dimension(path, tuple(labels), baseline=base.get(path)) for path, labels in lock["choices"].items()]
        ranged = [Dimension(path, **bounds, baseline=base.get(path)) for path, bounds in lock["ranges"].items()]
        return design.candidates([*listed, *ranged]) * design.seeds
    except (InputError, KeyError, TypeError, AttributeError):  # the design is a plugin's, or the lock is damaged
        return None


def _print(facts: dict[str, Any], left_out: list[str], folder: Path) -> None:
    from ablate.cli.terminal import duration, echo, table

    if facts["at_work"]:
        doing = "at work"
    elif facts["unfinished"]:
        doing = "interrupted; the same `ablate run` goes on from here"
    else:
        doing = "nobody is at work here"
    echo(f"{facts['study']}: {doing}")
    counts = [f"{n} {state}" for state, n in facts["states"].items() if n]
    of = f" of {facts['planned']}" if facts["planned"] is not None else ""
    echo(f"trials{of}: {', '.join(counts) or 'none yet'}; {duration(facts['trial_seconds'])} of work")
    for line in left_out:
        echo(line)
    if facts["unfinished"]:
        print()
        columns = ("candidate", "seed", "state", "phase", "images", "loss", "images/s", "last sign of life")
        table(columns, [_open_row(one) for one in facts["unfinished"]])
    if facts["failures"]:
        print()
        table(
            ("candidate", "seed", "state", "why", "trial"), [_failure_row(one) for one in facts["failures"]], wrap="why"
        )
        if any(one["state"] == "failed" for one in facts["failures"]):
            echo(f"tracebacks: {folder}/trials/<trial>/failure.json; `ablate run` tries failed trials again")


def _open_row(one: dict[str, Any]) -> list[str]:
    from ablate.cli.terminal import duration
    from ablate.results.numbers import number

    images = "" if one["images"] is None else str(one["images"])
    if images and one["total"]:
        images += f"/{one['total']}"
    age = one["age_seconds"]
    sign = "" if age is None else f"{duration(age)} ago"
    if age is not None and age > SILENT and one["state"] == "running" and one["phase"] == "train":
        sign += " (silent)"
    return [
        _text(one["candidate"]),
        _text(one["seed"]),
        one["state"],
        _text(one["phase"]),
        images,
        "" if one["loss"] is None else number(one["loss"], 3),
        "" if one["images_per_second"] is None else number(one["images_per_second"], 3),
        sign,
    ]


def _failure_row(one: dict[str, Any]) -> list[str]:
    why = (one["message"] or "").strip() or "no message"
    if one["class"] not in (None, "failed"):
        why = f"{one['class']}: {why}"
    return [_text(one["candidate"]), _text(one["seed"]), one["state"], why, one["trial"]]


def _text(value: Any) -> str:
    if value is None:
        return "?"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
