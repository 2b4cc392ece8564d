"""The page's tables beside that of the candidates: every trial, what failed and why, what it cost, and versions."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ablate.candidates.objectives import COST_NAMES
from ablate.io.text import label
from ablate.results.numbers import count, number

if TYPE_CHECKING:
    from ablate.results.analysis import StudyAnalysis

TIMES = {"train_seconds": "training", "evaluate_seconds": "sampling and measuring", "overhead_seconds": "the rest"}
SOUND = ("complete", "running", "paused")  # states that nothing has to be said of


def trials(results: StudyAnalysis) -> pd.DataFrame:
    """Format the trials, a row each: candidate and metrics first, the folder last; hashes by their beginning."""
    frame = results.trials.drop(columns=["versions", "config_hash", "sources"], errors="ignore").astype(object)
    frame = frame.where(frame.notna(), "").map(_cell)
    frame = frame[[c for c in frame.columns if c == "trial" or (frame[c] != "").any()]]
    first = [
        c for c in ("candidate", "seed", "state", *(c for c in frame if str(c)[:2] == "m."), *COST_NAMES) if c in frame
    ]
    return frame[[*first, *(c for c in frame if c not in (*first, "trial")), "trial"]]


def failures(results: StudyAnalysis) -> list[tuple[str, str, str, str]]:
    """Return what has no value, a row a trial: candidate, seed, state with its class, and why."""
    lost = results.trials[~results.trials["state"].isin(SOUND)].astype(object)
    lost = lost.where(lost.notna(), "").sort_values(["state", "candidate", "seed"], key=lambda c: c.astype(str))
    return [
        (
            label(row["candidate"]),
            str(row["seed"]),
            " ".join(filter(None, (str(row["state"]), str(row.get("failure", ""))))),
            label(row.get("message") or "no reason was recorded", 400),
        )
        for row in lost.to_dict("records")
    ]


def costs(results: StudyAnalysis) -> list[tuple[str, str]]:
    """Return what the study took, in words: trials, time and its parts, compute, memory, devices."""
    frame = results.trials
    states = ", ".join(f"{n:,} {state}" for state, n in sorted(results.states.items()))
    lines = [("trials", f"{states}; of {len(results.candidates):,} candidates")]
    total = _sum(frame, "seconds")
    if total:
        parts = [f"{duration(_sum(frame, column))} {what}" for column, what in TIMES.items() if _sum(frame, column)]
        lines.append(("work", duration(total) + (f": {', '.join(parts)}" if parts else "")))
        timed = frame["seconds"].dropna().astype(float)
        lines.append(
            ("a trial", f"{duration(float(timed.median()))} in the median, {duration(float(timed.max()))} most")
        )
    if images := _sum(frame, "images"):
        lines.append(("training images", f"{count(images)} in all"))
    for column, what in (("peak_memory_bytes", "peak memory"), ("train_memory_bytes", "memory of training")):
        if column in frame and len(known := frame[column].dropna().astype(float)):
            lines.append((what, f"{number(float(known.max()) / 2**30, 3)} GiB at the most"))
    if "device" in frame and len(devices := frame["device"].dropna().astype(str).value_counts()):
        lines.append(("devices", ", ".join(f"{label(name, 60)} ({n} trials)" for name, n in devices.items())))
    return lines


def versions(results: StudyAnalysis) -> list[str]:
    """Return the versions of packages that trials were run with, a line for each set of them."""
    return [_versions(text) for text in sorted(set(results.trials["versions"].dropna()))]


def duration(seconds: float) -> str:
    """Format a time for people: `42 s`, `12 min`, `3.4 h`, `2.1 days`."""
    for size, unit in ((172_800, "days"), (7_200, "h"), (120, "min")):
        if seconds >= size:
            return f"{number(seconds / {'days': 86_400, 'h': 3_600, 'min': 60}[unit], 3)} {unit}"
    return f"{number(seconds, 3)} s"


def _sum(frame: pd.DataFrame, column: str) -> float:
    return float(np.nansum(frame[column].astype(float))) if column in frame else 0.0


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", str(value))


def _versions(text: str) -> str:
    """Format a trial's versions, which are JSON: `ablate 0.1.0, torch 2.13.0`."""
    try:
        return ", ".join(f"{name} {version}" for name, version in json.loads(text).items())
    except (ValueError, AttributeError):  # of a table that others wrote
        return text
