"""Other processes may measure networks of a plan: it is the same plan, however they end."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from toy_study import TEXT, written

from ablate.candidates import candidate as candidates
from ablate.candidates import elsewhere, flops
from ablate.spec.component import InputSpec
from ablate.spec.inputs import ConditionSpec
from ablate.study import ahead
from ablate.study.load import load_study
from ablate.study.loaded import LoadedStudy
from ablate.study.plan import plan
from ablate.training import memory_estimate
from ablate.worker.measuring import setting_of


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedStudy:
    text = TEXT.replace("    - 8\n    - 16", "    [8, 12, 16]\n  clip: [none, global_norm]").replace(
        "toy_one_factor", "grid"
    )
    return load_study(written(tmp_path, text))


def planned(loaded: LoadedStudy, monkeypatch: pytest.MonkeyPatch, cores: int) -> tuple[pd.DataFrame, int]:
    """The plan, and how many networks this process counted for it."""
    candidates.cost_of.cache_clear()
    memory_estimate._simulate.cache_clear()
    memory_estimate._simulate_passes.cache_clear()
    counted = []
    measure = flops.measure
    with monkeypatch.context() as patch:
        patch.setattr(ahead, "NETWORKS", 1)
        patch.setattr(ahead, "AT_ONCE", 2)
        patch.setattr(ahead, "cores", lambda: cores)
        patch.setattr(flops, "measure", lambda *given: counted.append(1) or measure(*given))  # type: ignore[func-returns-value]
        frame = plan(loaded, "cpu")
    assert not elsewhere.COSTS and not elsewhere.FOOTPRINTS
    return frame.drop(columns="seconds"), len(counted)


def failing(job: dict[str, Any], stop: Any) -> Any:
    raise RuntimeError("measures nothing")


def ending(job: dict[str, Any], stop: Any) -> Any:
    os._exit(1)


def failing_to_measure(job: dict[str, Any], stop: Any) -> Any:
    return {"job": job["job"], "status": "done", "measured": [None for _ in job["candidates"]]}


def test_what_others_measure_is_what_is_measured_here(loaded: LoadedStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    alone, networks = planned(loaded, monkeypatch, cores=1)
    assert networks == 6 and len(alone) == 12  # a clip changes nothing of what is measured
    together, fewer = planned(loaded, monkeypatch, cores=3)
    assert fewer <= networks - 4  # two processes have been given two each
    pd.testing.assert_frame_equal(alone, together, check_exact=True)


@pytest.mark.parametrize("work", [failing, ending, failing_to_measure], ids=lambda work: work.__name__)
def test_what_others_do_not_measure_is_measured_here(
    loaded: LoadedStudy, monkeypatch: pytest.MonkeyPatch, work: Any
) -> None:
    alone, networks = planned(loaded, monkeypatch, cores=1)
    monkeypatch.setattr(ahead, "WORK", f"test_plan_ahead:{work.__name__}")
    monkeypatch.setattr("sys.path", [str(Path(__file__).parent), *sys.path])
    together, all_the_same = planned(loaded, monkeypatch, cores=2)
    assert all_the_same == networks
    pd.testing.assert_frame_equal(alone, together, check_exact=True)


def test_of_a_plugin_that_changed_nothing_is_taken_over(
    tmp_path: Path, loaded: LoadedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, networks = planned(loaded, monkeypatch, cores=1)
    monkeypatch.setattr(LoadedStudy, "sources", lambda *_: {"sources": {"backbone/toy_tokens": "another"}})
    assert planned(loaded, monkeypatch, cores=2)[1] == networks


def test_nobody_is_asked_for_few_networks(loaded: LoadedStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "cores", lambda: 8)
    monkeypatch.setattr(ahead, "_child", lambda: pytest.fail("a process was started"))
    with ahead.ahead(loaded):
        pass


def test_a_setting_comes_back_as_it_was() -> None:
    told = ConditionSpec("caption", "text", (32,), 256)
    for setting in (InputSpec((3, 8, 8), 10), InputSpec((1, 8, 8), None, (told,))):
        assert setting_of(asdict(setting)) == setting
