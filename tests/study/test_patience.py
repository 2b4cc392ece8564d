"""What the driver waits for is named: a plugin's code that runs in its process may wait for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.errors import InputError
from ablate.runtime import patient
from ablate.runtime.patient import doing, telling
from ablate.study.launch import launch

WAITING = '''
import time
from pathlib import Path

from ablate.errors import InputError
from ablate_zoo.data.digits import Digits
from ablate_zoo.solver.ddim import Ddim


def wait(what):
    while not (Path(__file__).parent / what).exists():
        time.sleep(0.01)


wait("import")


class WaitingSolver(Ddim):
    """Its sampling waits."""

    name = "waiting_for_patience"

    def sample(self, *args):
        wait("sample")
        yield from super().sample(*args)


class WaitingData(Digits):
    """It waits, and then is not there."""

    name = "waiting_for_patience"

    def check(self, cache):
        wait("read")
        raise InputError("these data are nowhere")
'''


def test_import_solver_and_data_that_wait_are_named_before_a_study_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each goes on only when it was named: without that this would not end."""
    plugin = tmp_path / "waiting.py"
    plugin.write_text(WAITING)
    monkeypatch.setattr(patient, "SECONDS", 0.02)
    waiting = {
        f"still importing {plugin} …": "import",
        "still looking at what solver 'waiting_for_patience' with 4 steps on grid ": "sample",
        "still reading data 'waiting_for_patience'": "read",
    }
    seen = []

    def say(line: str) -> None:
        for begin, waits in waiting.items():
            if line.startswith(begin):
                (tmp_path / waits).touch()
                seen.append(waits)

    study = {
        "study": "waiting",
        "plugins": [str(plugin)],
        "data": {"type": "waiting_for_patience"},
        "base": {
            "backbone": {"type": "dit", "width": 16, "depth": 1, "heads": 2},
            "solver": {"type": "waiting_for_patience", "steps": 4},
        },
        "vary": {"batch": [16, 32]},
        "design": {"type": "one_factor", "seeds": 1},
        "budget": {"steps": 1},
        "evaluate": {"metrics": []},
    }
    with pytest.raises(InputError, match="these data are nowhere"):
        launch(study, out=tmp_path / "out", executor="local", figures=False, say=say)
    assert list(dict.fromkeys(seen)) == ["import", "sample", "read"]


def test_what_waits_long_is_told_again_and_nothing_where_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "SECONDS", 0.01)
    lines: list[str] = []
    with telling(lines.append):
        with doing("waiting"), telling(lambda line: lines.append("twice")):
            with doing("seldom so long", 1e9):
                pass
            while len(lines) < 3:
                pass
        before = len(lines)
    assert (
        lines[0].startswith("still waiting …") and "twice" not in lines and not any("seldom" in line for line in lines)
    )
    with doing("unheard"):
        pass
    assert len(lines) <= before + 1
