"""A record counts only where it is whole and the trial's own; and what was reported lies in the study's folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from studies_for_tests import Driver, marks, results, study, trials
from trial_files import lay_open

from ablate.execute.local import Local
from ablate.io.sealed import sealed
from ablate.kinds.executor import Pool, Report
from ablate.results import load


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured") / "probes"
    Driver(folder, study(**{"vary": {"backbone.width": [2, 4]}, "design.seeds": 1})).run()
    return folder


def changed(record: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    (row,) = record["metrics"]
    return {**record, "metrics": [{**row, "value": row["value"] + 0.001}]}


def without(*keys: str) -> Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]:
    return lambda record, other: {key: value for key, value in record.items() if key not in keys}


@pytest.mark.parametrize(
    "damage",
    [
        lambda record, other: {},
        lambda record, other: [],
        lambda record, other: {"state": "complete"},
        changed,
        lambda record, other: other,
        lambda record, other: sealed({**record, "state": "done"}),
        lambda record, other: sealed({**record, "seed": record["seed"] + 1}),
        lambda record, other: sealed({**record, "config_hash": "0" * 64}),
        lambda record, other: sealed({**record, "metrics": [{"value": 1}]}),
        lambda record, other: sealed(without("metrics")(record, other)),
        lambda record, other: "cut sho",
    ],
)
def test_a_damaged_record_never_counts_and_its_trial_is_measured_again(
    measured: Path, tmp_path: Path, damage: Callable[..., Any]
) -> None:
    folder = shutil.copytree(measured, tmp_path / "probes")
    before = results(folder)
    victim, other = sorted(before)
    lay_open(folder)
    marks_before = marks(folder)
    file = folder / "trials" / victim / "record.json"
    file.write_text(json.dumps(damage(*(trials(folder)[name] for name in (victim, other)))))
    loaded = load(folder)
    assert dict(zip(loaded.trials["trial"], loaded.trials["state"], strict=True)) == {
        victim: "unreadable",
        other: "complete",
    }
    assert victim not in set(loaded.metrics["trial"]) and any(str(file) in warning for warning in loaded.warnings)
    driver = Driver(folder, study(**{"vary": {"backbone.width": [2, 4]}, "design.seeds": 1}))
    outcome = driver.run()
    assert (outcome.measured, outcome.reused, outcome.failed) == (1, 1, 0)
    assert sum(str(file) in line for line in driver.lines) == 1
    assert (file.parent / "record.damaged-1.json").is_file()
    assert results(folder) == before
    assert marks(folder)[other] == marks_before[other]


def test_a_record_of_an_earlier_version_has_no_checksum_and_counts(measured: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(measured, tmp_path / "probes")
    lay_open(folder)
    for name, record in trials(folder).items():
        old = without("checksum", "files", "host", "sources")(record, {})
        (folder / "trials" / name / "record.json").write_text(json.dumps(old))
    assert load(folder).states == {"complete": 2}
    assert Driver(folder, study(**{"vary": {"backbone.width": [2, 4]}, "design.seeds": 1})).run().reused == 2


def test_files_beside_a_record_are_those_that_were_recorded(measured: Path, tmp_path: Path) -> None:
    folder = lay_open(shutil.copytree(measured, tmp_path / "probes"))
    first, second = sorted(trials(folder))
    curve = folder / "trials" / first / "curve.json"
    curve.write_text(curve.read_text().replace('"loss": ', '"loss": 9'))
    loaded = load(folder)
    assert set(loaded.curves["trial"]) == {second} and any(str(curve) in warning for warning in loaded.warnings)
    job = folder / "trials" / second / "job.json"
    (folder / "trials" / second / "record.json").unlink()
    shutil.copy(folder / "trials" / first / "job.json", job)
    loaded = load(folder)
    assert any(f"{job}: is of another trial" in warning for warning in loaded.warnings)
    assert (folder / "trials" / first / "failure.json").write_text('{"state": "complete"}')
    assert load(folder).states["complete"] == 1


class Unshared(Pool):
    """A worker whose trial's folder is another machine's: nothing that it writes is seen here."""

    def __init__(self, pool: Pool, blind: Callable[[str], bool]) -> None:
        self.pool, self.blind, self.slots, self.folders = pool, blind, pool.slots, {}

    def submit(self, job: Any) -> None:
        self.folders[job["job"]] = job["folder"]
        self.pool.submit(job)

    def wait(self, seconds: float) -> Sequence[Report]:
        reports = self.pool.wait(seconds)
        for report in reports:
            if report["job"] != "prepare" and self.blind(report["job"]):
                shutil.rmtree(self.folders[report["job"]])
        return reports

    def close(self) -> None:
        self.pool.close()


def test_what_a_worker_reported_stands_in_the_table_though_its_files_did_not_arrive(tmp_path: Path) -> None:
    """A node without a share of the folder: the driver says 4 of 4, and so does the table."""
    with Local(in_process=True).start("ablate.worker.trial_run:run", "cpu") as pool:
        driver = Driver(tmp_path, study(vary={"backbone.width": [2, 4]}), Unshared(pool, lambda t: t[-1] == "1"))
        outcome = driver.run()
    assert outcome.measured == 4 and load(tmp_path).states == {"complete": 4}
    lost = [line for line in driver.lines if "did not arrive" in line]
    assert len(lost) == 2 and all("seed 1" in line and "host" in line for line in lost)
    assert all(record["checksum"] == sealed(record)["checksum"] for record in trials(tmp_path).values())


def test_a_report_that_is_no_record_fails_its_trial(tmp_path: Path) -> None:
    class Wrong(Unshared):
        def wait(self, seconds: float) -> Sequence[Report]:
            reports = self.pool.wait(seconds)
            return [{**one, "record": {"state": "complete"}} if "record" in one else one for one in reports]

    with Local(in_process=True).start("ablate.worker.trial_run:run", "cpu") as pool:
        outcome = Driver(tmp_path, study(**{"design.seeds": 1}), Wrong(pool, lambda t: False)).run()
    assert (outcome.measured, outcome.failed) == (0, 3)
