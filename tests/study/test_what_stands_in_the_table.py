"""Whatever is done to a study: what stands in its table was measured by the code, data and settings of its row.

Plugins are edited, pictures replaced, files damaged, samples changed, seeds added and folders moved, in any order.
The metric's value tells what it was measured with, so no number can lie. More cases: ABLATE_CASES=50 pytest ...
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pictures_for_tests import write_folder
from segments_for_tests import PLUGIN
from trial_files import lay_open, record_files, record_of

import ablate
from ablate.errors import InputError
from ablate.io.sealed import sealed
from ablate.results.measurements import DECIDES
from ablate.results.results import Results
from ablate.study.evaluate import remeasure
from ablate.study.launch import launch
from ablate.study.request import Request

CASES = int(os.environ.get("ABLATE_CASES", "2"))
METRIC = "mark_pixels"
# code · 10^6 + samples · 10^3 + what the reference's pictures are
SOURCE = '''
import numpy as np
from ablate.api import Measurement, Metric

class Mark(Metric):
    """Tells what it was measured with."""

    name = "mark"

    def compute(self, generated, reference):
        return Measurement(float({code} * 10**6 + len(generated) * 10**3 + int(reference.mean() * 255) // 20))
'''


def pictures(mark: int) -> np.ndarray:
    """Pictures whose mean tells them apart: 20 grey levels a mark."""
    rng = np.random.default_rng(mark)
    return (20 * mark + rng.integers(4, 16, (24, 1, 8, 8))).astype(np.uint8)


class AnyStudy(RuleBasedStateMachine):
    """A study of two candidates in a folder to which everything happens that happens to folders."""

    @initialize()
    def begin(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="ablate-any-"))
        os.environ["ABLATE_CACHE"] = str(self.place / "cache")
        self.out, self.seeds, self.moves = self.place / "out", 1, 0
        self.codes: dict[str, int] = {}  # {hash of the metric's source, as records name it: its code}
        self.data: dict[str, int] = {}  # {hash of the data, as records name it: what the pictures are}
        self.edit(1)
        self.replace(1)
        self.run()

    def teardown(self) -> None:
        if hasattr(self, "place"):
            shutil.rmtree(self.place, ignore_errors=True)

    @property
    def study(self) -> dict[str, Any]:
        return {
            "study": "any",
            "plugins": [PLUGIN, str(self.place / "mark.py")],
            "data": {"type": "folder", "path": str(self.place / "set"), "reference": 8},
            "base": {"backbone": "probe", "solver": {"type": "ddim", "steps": 1}, "batch": 8},
            "vary": {"backbone.width": [2, 4]},
            "design": {"type": "grid", "seeds": self.seeds},
            "budget": {"steps": 1},
            "evaluate": {"metrics": [{"type": "mark", "features": "pixels"}], "samples": 4, "batch": 4, "previews": 0},
            "objectives": ["mark", "gflops"],
        }

    @rule(code=st.integers(1, 3))
    def edit(self, code: int) -> None:
        self.code = code
        (self.place / "mark.py").write_text(SOURCE.format(code=code))

    @rule()
    def comment(self) -> None:
        with (self.place / "mark.py").open("a") as file:
            file.write("# a remark\n")

    @rule(mark=st.integers(1, 3))
    def replace(self, mark: int) -> None:
        self.mark = mark
        shutil.rmtree(self.place / "set", ignore_errors=True)
        write_folder(self.place / "set", pictures(mark))

    @rule()
    def run(self) -> None:
        with contextlib.suppress(InputError):  # refused is no wrong number
            launch(self.study, out=self.out, executor="local", device="cpu")

    @precondition(lambda self: self.out.is_dir())
    @rule(samples=st.sampled_from([4, 6]))
    def evaluate(self, samples: int) -> None:
        with contextlib.suppress(InputError):
            remeasure(self.out, Request(samples=samples), "local", device="cpu")

    @rule()
    def more_seeds(self) -> None:
        self.seeds = min(3, self.seeds + 1)

    @precondition(lambda self: self.out.is_dir())
    @rule()
    def move(self) -> None:
        self.moves += 1
        self.out = Path(shutil.move(self.out, self.place / f"out-{self.moves}"))

    @precondition(lambda self: any(record_files(self.out)))
    @rule(
        which=st.integers(0, 5),
        what=st.sampled_from(["digit", "empty", "claim", "cut", "other"]),
        where=st.sampled_from(["record.json", "trial.jsonl.gz", "measured/*.json", "job.json", "checkpoint/*.json"]),
    )
    def damage(self, which: int, what: str, where: str) -> None:
        if where.endswith(".json"):
            lay_open(self.out)  # as earlier versions left it: text, in which a single digit can be another
        files = sorted(file for file in self.out.glob(f"trials/*/{where}") if ".damaged-" not in file.name)
        if not files:
            return
        file, other = files[which % len(files)], files[(which + 1) % len(files)]
        content = file.read_bytes()
        wrong = {"empty": b"{}", "claim": b'{"state": "complete"}', "cut": content[: len(content) // 2]}
        wrong |= {"digit": content.replace(b'"value": ', b'"value": 1'), "other": other.read_bytes()}
        file.write_bytes(wrong[what])

    @precondition(lambda self: any(record_files(self.out)))
    @rule(which=st.integers(0, 5))
    def forge(self, which: int) -> None:
        """A digit of what was measured is changed: the damage that looks most like a result."""
        files = sorted(lay_open(self.out).glob("trials/*/record.json"))
        if not files:
            return
        file = files[which % len(files)]
        file.write_text(file.read_text().replace('"value": ', '"value": 1'))

    @invariant()
    def every_row_was_measured_as_it_says(self) -> None:
        if not hasattr(self, "out") or not (self.out / "lock.json").is_file():
            return
        results = ablate.load(self.out)
        trials = results.trials.set_index("trial")
        assert set(trials["state"]) <= {"complete", "unreadable", "running", "failed"}
        rows = results.metrics
        for row in rows.to_dict("records"):
            code, samples, mark = (int(row["value"]) // 10**6, int(row["value"]) // 1000 % 1000, row["value"] % 1000)
            assert samples == row["samples"]
            of = trials.loc[row["trial"]]
            assert self.data.setdefault(of["data_hash"], int(mark)) == mark
            assert of["state"] == "complete"
            source = self.source(row["trial"], row["value"])
            assert source is None or self.codes.setdefault(source, code) == code
        assert len({value // 10**6 for value in map(int, rows["value"])}) <= 1, "two states of the code in one table"
        once = ["trial", "metric", "images", *(name for name in DECIDES if name in rows)]
        assert not rows.astype(str).duplicated(once).any(), "what was measured is there once"
        self.front(results)

    def source(self, trial: str, value: float) -> str | None:
        """The hash of the metric's source, as the file says in which a value stands."""
        for file in (self.out / "trials" / trial).glob("[rm]*/*.json"):
            content = json.loads(file.read_text()) if ".damaged-" not in file.name else {}
            if any(row.get("value") == value for row in content.get("metrics", []) if isinstance(row, dict)):
                return content.get("sources", {}).get("metric/mark")
        content = record_of(self.out / "trials" / trial)
        assert sealed(content) == content
        return content["sources"]["metric/mark"] if any(r["value"] == value for r in content["metrics"]) else None

    def front(self, results: Results) -> None:
        """Values that differ in what decides them never meet: the mean of a point is of one kind of value."""
        try:
            table = results.front(["mark", "gflops"])
        except InputError:
            return
        values = table[METRIC].dropna()
        assert len({int(value) for value in values}) <= 1 and all(value == int(value) for value in values)


def test_what_stands_in_the_table_was_measured_as_its_row_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    monkeypatch.setattr(Results, "figures", lambda self, **options: [])
    monkeypatch.setenv("ABLATE_CACHE", "")
    few = settings(
        max_examples=CASES,
        stateful_step_count=8,
        deadline=None,
        derandomize=CASES == 2,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(AnyStudy, settings=few)
