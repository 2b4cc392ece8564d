"""Workers as jobs of a batch system, by submitit's local one; and what Slurm refuses."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import psutil
import pytest
from waiting_for_tests import PATIENCE, collect, run, until

from ablate.errors import InputError
from ablate.execute.leases import Jobs
from ablate.execute.slurm import Slurm
from ablate.io.files import read_json

pytest.importorskip("submitit")
WORK = "work_for_tests:work"
HERE = Path(__file__).parents[1] / "helpers"


def holder(jobs: Jobs) -> psutil.Process:
    """The process of the job that holds a trial."""
    ((_, place),) = jobs.places()
    return psutil.Process(read_json(jobs.present / f"{place.name.partition('@')[2].rpartition('.')[0]}.json")["pid"])


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGUSR1, pytest.param(signal.SIGTERM, marks=pytest.mark.thorough)])
def test_a_job_that_is_told_to_go_puts_its_trial_back_and_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: int
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH")))))
    store, mark = Jobs(tmp_path), tmp_path / "marks"
    with Slurm(system="local").in_folder(tmp_path).start(WORK, "cpu") as pool:
        pool.submit({"job": "one", "do": "mark", "folder": str(store.trials / "one"), "file": str(mark)})
        until(lambda: pool.wait(0.01) or (mark.exists() and mark.read_text()), PATIENCE, "the job never began")
        first = holder(store)
        first.send_signal(sent)
        until(lambda: pool.wait(0.01) or len(mark.read_text().split()) == 2, PATIENCE, "it was not sent again")
        assert holder(store).pid != first.pid
        mark.with_suffix(".enough").touch()
        report = collect(pool, 1)["one"]
        assert report["status"] == "done" and (store.trials / "one" / "result").read_text() == str(report["pid"])
        assert run(pool, do="echo")["status"] == "done"
        last = [psutil.Process(read_json(file)["pid"]) for file in store.present.glob("*.json")]
    until(lambda: not any(process.is_running() for process in last), PATIENCE, "a job goes on without a driver")


def test_what_slurm_refuses_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"Slurm takes no jobs .* are you indeed on a slurm cluster"):
        Slurm(partition="nowhere").in_folder(tmp_path / "study").start(WORK, "cpu")
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("srun", "sbatch"):
        (commands / name).write_text(
            "#!/bin/sh\necho 'sbatch: error: invalid partition specified: nowhere' >&2; exit 1\n"
        )
        (commands / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    with pytest.raises(
        InputError, match=r"Slurm takes no jobs \(.*invalid partition specified: nowhere\); put it right"
    ):
        Slurm(partition="nowhere", workers=3, time="90min", ram="4GiB", options=("constraint=a100",)).in_folder(
            tmp_path / "study"
        ).start(WORK, "cpu")
    assert capfd.readouterr() == ("", "")  # the message is all
    left = {file.name for file in (tmp_path / "study").iterdir()}
    assert left == {"slurm", "trials"}  # what sbatch was given, and no sign of a driver
    (script,) = (tmp_path / "study").glob("slurm/**/*.sh")
    lines = script.read_text().splitlines()
    for wanted in (
        "partition=nowhere",
        "time=90",
        "array=0-2",
        "mem=4GB",
        "constraint=a100",
        "requeue",
        "cpus-per-task=1",
    ):
        assert any(line.startswith(f"#SBATCH --{wanted}") for line in lines), (wanted, lines)
    assert any("--signal=USR2@150" in line for line in lines)
