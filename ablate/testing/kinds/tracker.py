"""Checks of a tracker: it takes a study's trials, goes on with a run, and writes below the study's folder alone."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ablate.kinds.tracker import Log, TrackedStudy, TrackedTrial, Tracker
from ablate.testing.case import Case, Check, NotApplicable

LONGEST = 1000  # signs of a handle
ODD = "</script><script>alert(1)</script> ../../x \x1b[31m ü 😀 =1+1 \"quotes' $x_1$ | # `code`\n[a](b)" * 3


def logs_trials_side_by_side(case: Case) -> None:
    """Several trials are open at a time, and end as `complete`, `diverged` and `failed`, with or without values."""
    with _log(case) as (log, _):
        trials = [_trial(seed) for seed in range(3)]
        for trial in trials:
            log.begin(trial, None)
        for images in (100, 200):
            for trial in trials:
                log.log(trial.trial, images, {"loss": 1.0 / images, "kid_pixels": 0.5}, images / 100)
        log.log(trials[0].trial, 150, {"fd_pixels": 2.0}, None)  # of what is measured more seldom
        log.picture(trials[0].trial, 200, np.zeros((8, 24, 3), np.uint8))
        log.end(trials[0].trial, "complete", {"loss": 0.005}, None)
        log.end(trials[1].trial, "diverged", {}, "loss is nan")
        log.end(trials[2].trial, "failed", {}, "ValueError: <b>no</b>")


def goes_on_with_a_run(case: Case) -> None:
    """What `begin` returns finds the run again, in another connection too: it is short text, or None."""
    trial = _trial(0)
    with tempfile.TemporaryDirectory() as folder:
        with _log(case, folder) as (log, _):
            handle = log.begin(trial, None)
            assert handle is None or isinstance(handle, str), f"begin returns {handle!r}, which is no text"
            assert len(handle or "") <= LONGEST, f"what begin returns is {len(handle or '')} signs long"
            log.log(trial.trial, 100, {"loss": 0.5}, 1.0)
        with _log(case, folder) as (log, _):
            again = log.begin(trial, handle)
            assert again == handle, f"a run that is gone on with was {handle!r}, and is {again!r}"
            log.log(trial.trial, 200, {"loss": 0.25}, 2.0)
            log.end(trial.trial, "complete", {"loss": 0.25}, None)


def takes_names_as_text(case: Case) -> None:
    """Names, labels and messages may hold any signs; they lead to no file outside of the study's folder."""
    odd = _trial(0)._replace(candidate=ODD, choices={"a.b": ODD, "number": 1, "switch": True, "none": None})
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer) / "study"
        folder.mkdir()
        with _log(case, str(folder), question=ODD) as (log, _):
            log.begin(odd, None)
            log.log(odd.trial, 100, {"term_<b>": 1.0}, None)
            log.end(odd.trial, "failed", {}, ODD)
        outside = sorted(path.name for path in Path(outer).iterdir() if path != folder)
        assert not outside, f"it writes {', '.join(outside)} beside the study's folder"


def closes_with_trials_open(case: Case) -> None:
    """`close` ends the connection while trials are open: the study was interrupted."""
    with _log(case) as (log, _):
        log.begin(_trial(0), None)
        log.log(_trial(0).trial, 100, {"loss": 0.5}, None)


@contextlib.contextmanager
def _log(case: Case, folder: str | None = None, question: str = "Does it?") -> Iterator[tuple[Log, TrackedStudy]]:
    tracker = case.component
    assert isinstance(tracker, Tracker)
    if (command := tracker.missing()) is not None:
        raise NotApplicable(f"what it needs is not installed: {command}")
    with contextlib.ExitStack() as stack:
        place = folder if folder is not None else stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(_same_environment())
        study = TrackedStudy("study", question, Path(place))
        with tracker.offline().open(study) as log:
            yield log, study


@contextlib.contextmanager
def _same_environment() -> Iterator[None]:
    """Bring environment variables back: libraries of trackers set some, in what is a process of their own otherwise."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _trial(seed: int) -> TrackedTrial:
    choices: Mapping[str, Any] = {"backbone.conditioning": "adaln", "batch": 32}
    facts = {"params": 1000.0, "gflops": 0.5}
    return TrackedTrial(f"0123456789ab-s{seed}", "adaln", "0123456789abcdef" * 4, seed, seed == 0, choices, facts)


CHECKS: tuple[Check, ...] = (
    logs_trials_side_by_side,
    goes_on_with_a_run,
    takes_names_as_text,
    closes_with_trials_open,
)
