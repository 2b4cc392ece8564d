"""A trial on data with conditions: interrupted it ends the same, and it keeps what its samples were drawn for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segments_for_tests as segments
from segments_for_tests import CACHE, KNOWN, after, job, read, run, timeless

from ablate.candidates.candidate import Candidate, compose
from ablate.kinds.data import Data, load_data
from ablate.kinds.executor import Stopped
from ablate.spec.slots import create
from ablate.training import loop

CONDITIONS = [{"type": "text", "length": 2}, "inpainting"]
DATA = create(Data, {"type": "digits", "conditions": CONDITIONS}, KNOWN)


@pytest.fixture(autouse=True)
def _told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data of the jobs have conditions; a look and a checkpoint at every step."""
    monkeypatch.setattr(segments, "DATA", DATA)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", float("inf"))
    monkeypatch.setattr(loop, "LOOK_SECONDS", 0.0)


def candidate() -> Candidate:
    backbone = {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2, "embedders": ["tokens", "channels"]}
    guidance = {"type": "cfg", "scale": 2.0, "drop": 0.2, "drop_each": 0.1, "of": ["text"]}
    return compose({"backbone": backbone, "guidance": guidance, "solver": {"steps": 2}, "batch": 32}, KNOWN)


def test_an_interrupted_trial_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole, cut = job(tmp_path / "whole", candidate()), job(tmp_path / "cut", candidate())
    report = run(whole)
    for steps in (3, 4):
        with pytest.raises(Stopped):
            run(cut, after(steps))
    run(cut)
    assert timeless(read(whole, "record.json")) == timeless(read(cut, "record.json"))
    assert timeless(read(whole, "curve.json")) == timeless(read(cut, "curve.json"))
    for name in ("samples.npy", "samples.json"):
        assert Path(whole["folder"], name).read_bytes() == Path(cut["folder"], name).read_bytes()
    (row,) = report["record"]["metrics"]
    assert row["labels"] == "reference" and row["guidance"] == "cfg(2, of=text)"
    assert "samples.json" in report["record"]["files"]


def test_what_samples_were_drawn_for_is_kept(tmp_path: Path) -> None:
    trial = job(tmp_path, candidate())
    run(trial)
    told: list[dict[str, Any]] = json.loads(Path(trial["folder"], "samples.json").read_text())
    dataset = load_data(DATA, CACHE)
    assert len(told) == len(np.load(Path(trial["folder"], "samples.npy"))) == 4
    assert [one["class"] for one in told] == [int(dataset.reference_labels[one["reference"]]) for one in told]
