"""A study stays in its folder: one that is renamed while it runs ends the run, and goes on under its new name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ablate.engine import Progress
from ablate.errors import InputError
from ablate.results import load
from ablate.study.launch import launch

STUDY: dict[str, Any] = {
    "study": "place",
    "data": "digits",
    "base": {
        "backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2},
        "solver": {"type": "ddim", "steps": 2},
        "guidance": "none",
        "batch": 8,
    },
    "vary": {"optimizer.lr": [0.001, 0.002]},
    "design": {"type": "one_factor", "seeds": 2},
    "budget": {"steps": 1},
    "evaluate": {"previews": 0},
    "objectives": ["loss", "gflops"],
    "executor": {"type": "local", "in_process": True},
}


def test_a_folder_that_is_renamed_ends_the_run_though_another_takes_its_place(tmp_path: Path) -> None:
    out, moved = tmp_path / "out", tmp_path / "moved"

    def rename(progress: Progress) -> None:
        if not moved.exists():
            out.rename(moved)
            (out / "trials").mkdir(parents=True)

    with pytest.raises(InputError, match=r"there is no lock\.json any more: the folder was renamed"):
        launch(STUDY, out=out, figures=False, device="cpu", watch=rename)
    assert not (out / "trials.parquet").exists()
    assert launch(STUDY, out=moved, figures=False, device="cpu").outcome.failed == 0
    assert list(load(moved).trials["state"]) == ["complete"] * 4
