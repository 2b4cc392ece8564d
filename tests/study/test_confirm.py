"""The confirmation of a study: its best candidates on fresh seeds, in a folder of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from segments_for_tests import CACHE
from studies_for_tests import marks, study

import ablate
from ablate.errors import InputError

SPEC: dict[str, Any] = {
    **study(vary={"backbone.width": [2, 4], "backbone.knack": ["none", "half"]}),
    "design": {"type": "grid", "seeds": 1},
    "executor": {"type": "local", "in_process": True},
}


def run(folder: Path, **more: Any) -> ablate.Results:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ABLATE_CACHE", str(CACHE))
        return ablate.run(SPEC, out=folder, device="cpu", figures=False, **more)


def test_the_best_and_the_baseline_run_on_fresh_seeds_and_are_told_by_themselves(tmp_path: Path) -> None:
    results = run(tmp_path, confirm=1, confirm_seeds=2)
    alone = results.confirmation
    assert alone is not None and len(results.trials) == 4 and set(results.trials["seed"]) == {0}
    assert set(alone.trials["seed"]) == {100, 101} and len(alone.candidates) == 2 and alone.baseline is not None
    best = [c for c in results.front()["config_hash"] if c != results.baseline.config_hash][:1]  # type: ignore[union-attr]
    assert {c.config_hash for c in alone.candidates} == {*best, alone.baseline.config_hash}
    assert results.front()["n"].tolist() == [1] * 4, "what was chosen is not mixed with what chose it"
    assert len(alone.effects()) == 1 and "confirmed on fresh seeds" in results.summary(plain=True)
    before = marks(tmp_path / "confirmed")
    wider = run(tmp_path, confirm=2, confirm_seeds=2).confirmation
    assert wider is not None and len(wider.candidates) == 3
    assert before.items() <= marks(tmp_path / "confirmed").items(), "it resumes: one more joins what was measured"


@pytest.mark.parametrize(("count", "seeds", "message"), [(0, 5, "1 or more, not 0"), (2, 1, "two seeds or more")])
def test_numbers_that_confirm_nothing_are_refused_before_anything_runs(
    tmp_path: Path, count: int, seeds: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(tmp_path / "o", confirm=count, confirm_seeds=seeds)
    assert not (tmp_path / "o").exists()
