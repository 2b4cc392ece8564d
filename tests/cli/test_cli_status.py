"""`ablate status`, `report`, `export` of a study's folder."""

import csv
import fcntl
import io
import json
import os
import shutil

import pytest
from trial_files import record_files, records_of

from ablate.io.files import write_json
from ablate.io.sealed import sealed
from ablate.results.signs import driven, unfinished
from ablate.worker.records import JOB, PACKED, job


@pytest.fixture
def folder(ended, tmp_path):
    """A copy of a finished study."""
    return shutil.copytree(ended[1], tmp_path / "tiny")


def test_status_counts_and_tells_the_reasons(ended, within):
    _, folder = ended
    ran = within("status", folder)
    document = json.loads(within("status", folder, "--json").stdout)
    assert ran.returncode == 0 and ran.stderr == ""
    assert document["states"] == {"complete": 2, "diverged": 1, "failed": 1}
    assert (document["study"], document["at_work"], document["planned"]) == ("tiny", False, 4)
    assert document["unfinished"] == []
    failed = next(one for one in document["failures"] if one["state"] == "failed")
    assert failed["message"] == "RuntimeError: a wire is loose"
    assert "2 complete, 1 diverged, 1 failed" in ran.stdout and "a wire is loose" in ran.stdout
    recorded = [record["seconds"] for record in records_of(folder).values()]
    assert document["trial_seconds"] == pytest.approx(sum(recorded))
    assert len(document["candidates"]) == 4 and "files:" in ran.stdout


def test_a_trial_that_is_held_is_running_and_otherwise_interrupted(folder, within):
    trial = record_files(folder)[0].parent
    write_json(trial / JOB, sealed(job(trial)))  # as while it was trained
    (trial / PACKED).unlink()
    (trial / "progress.json").write_text('{"phase": "train", "images": 96, "total": 320, "loss": 0.5}')
    os.utime(trial / "progress.json", (0, 0))
    assert unfinished(folder, trial.name, False).state == "interrupted"
    assert unfinished(folder, trial.name, True).state == "waiting"
    handle = os.open(trial / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        trial_state = unfinished(folder, trial.name, True)
        output = within("status", folder).stdout
    finally:
        os.close(handle)
    assert (trial_state.state, trial_state.images, trial_state.total, trial_state.loss) == ("running", 96, 320, 0.5)
    assert trial_state.age_seconds > 1e9
    assert "96/320" in output and "(silent)" in output


def test_status_tells_what_all_left_out(folder, within):
    lock = json.loads((folder / "lock.json").read_text())
    lock["left_out"] = {"backbone": {"uvit": "backbone 'uvit' needs 'tokens', which nothing here provides"}}
    write_json(folder / "lock.json", sealed(lock))
    line = "vary.backbone: all leaves out uvit: backbone needs 'tokens', which nothing here provides"
    assert line in within("status", folder).stdout
    assert json.loads(within("status", folder, "--json").stdout)["left_out"] == [line]


def test_a_driver_is_noticed_by_its_lock(tmp_path):
    assert not driven(tmp_path)
    handle = os.open(tmp_path / ".driver", os.O_CREAT | os.O_RDWR)
    try:
        assert not driven(tmp_path)
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert driven(tmp_path)
    finally:
        os.close(handle)
    assert not driven(tmp_path)


def test_status_of_damaged_files_names_them(folder, within):
    trial = record_files(folder)[0].parent
    (trial / PACKED).write_text('{"cut sho')
    (trial / "progress.json").write_text("")
    document = json.loads(within("status", folder, "--json").stdout)
    assert any(str(trial / PACKED) in warning for warning in document["warnings"])
    assert document["states"]["complete"] + document["states"]["diverged"] + document["states"]["interrupted"] == 3


def test_status_without_the_plugins_still_tells(folder, within):
    lock = json.loads((folder / "lock.json").read_text())
    lock["spec"]["design"] = {"type": "a_strangers", "seeds": 1}
    (folder / "lock.json").write_text(json.dumps(sealed(lock)))
    document = json.loads(within("status", folder, "--json").stdout)
    assert document["states"]["complete"] == 2 and document["planned"] == 4  # it ran to its end
    (folder / "ended.json").unlink()
    assert json.loads(within("status", folder, "--json").stdout)["planned"] == 4  # as its lock says
    del lock["planned"]  # of an earlier version, which left that to the design
    write_json(folder / "lock.json", sealed(lock))
    assert json.loads(within("status", folder, "--json").stdout)["planned"] is None


def test_report_is_one_page(folder, within):
    ran = within("report", folder)
    assert ran.returncode == 0
    written = ran.stdout.splitlines()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert written[0] == str(folder / "report.html") and all(os.path.exists(path) for path in written)  # noqa: PTH110
    assert "Does the width matter?" in page


def test_export_writes_what_is_asked_for(folder, tmp_path, within):
    out = tmp_path / "tables"
    ran = within("export", folder, "--format", "csv", "--out", out)
    assert ran.returncode == 0 and ran.stdout.splitlines() == [str(out / "table.csv")]
    rows = list(csv.DictReader(io.StringIO((out / "table.csv").read_text())))
    assert len(rows) == 4 and {row["diverged"] for row in rows} == {"0", "1"}
    assert len(within("export", folder, "--out", out).stdout.splitlines()) == 3
    assert sorted(p.name for p in out.iterdir()) == ["table.csv", "table.md", "table.tex"]


def test_export_knows_its_formats(folder, within):
    ran = within("export", folder, "--format", "latx")
    assert ran.returncode == 2 and "did you mean 'latex'" in ran.stderr
    assert not (folder / "tables").exists()
