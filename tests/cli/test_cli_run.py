"""`ablate run` and `plan`, with real processes: exit codes, what goes where, interruptions."""

import io
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from command_line import HERE_ALONE, LOCAL, PATIENCE, ablate, environment, words
from trial_files import record_files

from ablate.results.numbers import number


def records(folder):
    return {p.parent.name: p.read_bytes() for p in record_files(folder)}


def test_failed_trials_make_it_one_and_their_reasons_are_told(ended):
    ran, folder = ended
    assert ran.returncode == 1
    assert "a wire is loose" in ran.stdout and "diverged at step" in ran.stdout
    assert f"ablate status {folder}" in ran.stderr and "Traceback" not in ran.stderr
    assert len(records(folder)) == 3  # diverged is a result


def test_a_run_ends_with_a_table_and_says_where_the_files_are(ended):
    ran, folder = ended
    lines = ran.stdout.splitlines()
    assert sum(line.startswith("[") and "kid" in line for line in lines) == 2
    assert any(line.startswith("candidate") for line in lines) and f"files: {folder}" in ran.stdout
    assert "\x1b" not in ran.stdout  # no terminal: nothing is drawn


def test_a_second_run_measures_nothing_again(ended, within, tmp_path):
    place = shutil.copytree(ended[1].parents[1], tmp_path / "again")
    before = records(place / "results" / "tiny")
    ran = within("run", "tiny.yaml", *HERE_ALONE, cwd=place)
    assert ran.returncode == 1  # what failed is tried again
    assert records(place / "results" / "tiny") == before
    assert "3 of the trials were measured before" in ran.stdout


def test_set_and_plugin_reach_the_study(place, within):
    (place / "tiny.py").rename(place / "other.py")
    (place / "tiny.yaml").write_text((place / "tiny.yaml").read_text().replace("plugins: [tiny.py]\n", ""))
    arguments = ("tiny.yaml", "--plugin", "other.py", "--set", "budget.images=64", "--set", "backbone.width=[4, 6]")
    wrong = within("plan", *arguments, cwd=place)
    assert wrong.returncode == 2 and "backbone" in wrong.stderr
    document = json.loads(within("plan", *arguments[:-1], "vary={backbone.width: [4, 6]}", "--json", cwd=place).stdout)
    assert [row["images"] for row in document["candidates"]] == [64, 64]
    assert {row["c.backbone.width"] for row in document["candidates"]} == {4, 6}


def test_plan_counts_and_trains_nothing(place, within):
    text = within("plan", "tiny.yaml", "--set", "design.seeds=3", cwd=place)
    document = json.loads(within("plan", "tiny.yaml", "--set", "design.seeds=3", "--json", cwd=place).stdout)
    assert text.returncode == 0 and text.stderr == ""
    assert "2 candidates × 3 seeds = 6 trials" in text.stdout
    assert document["trials"] == 6 and document["study"] == "tiny"
    params = {row["c.backbone.width"]: row["params"] for row in document["candidates"]}
    assert params == {w: (9 + 1) * w + 2 * w + 9 * w + 1 for w in (4, 8)}  # two convolutions and a linear layer
    assert sorted(p.name for p in place.iterdir() if p.name != "__pycache__") == ["tiny.py", "tiny.yaml"]


def test_a_plan_shows_what_sampling_and_training_cost_beside_gflops(place, within):
    call = ["plan", "tiny.yaml", "--set", "vary={solver.steps: [10, 40]}"]
    text, rows = (within(*call, *more, cwd=place).stdout for more in ((), ("--json",)))
    assert "Gflops a sample" in text and "training Gflops" in text
    for row in json.loads(rows)["candidates"]:
        assert number(row["sample_gflops"], 4) in text and number(row["train_gflops"], 4) in text
        assert row["train_gflops"] == 3 * row["gflops"] * row["images"]


def test_plan_of_a_search_tells_its_space(place, within):
    arguments = ("--set", "design={type: search, trials: 7}", "--set", "vary={backbone.width: {low: 2, high: 9}}")
    ran = within("plan", "tiny.yaml", *arguments, cwd=place)
    assert ran.returncode == 0
    assert "7 candidates × 1 seed = 7 trials" in ran.stdout and "backbone.width: 2 to 9" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["run", "tiny.yml"], "tiny.y"),
        (["run", "tiny.yaml", "--set", "bugdet.images=3"], "budget"),
        (["run", "tiny.yaml", "--set", "budget.images"], "--set"),
        (["run", "tiny.yaml", "--executor", "lokal"], "'local'"),
        (["run", "tiny.yaml", "--device", "cdua"], "'cuda'"),
        (["plan", "tiny.yaml", "--device", "cdua"], "'cuda'"),
        (["run", "tiny.yaml", "--plugin", "tinny.py"], "tiny.py"),
        (["run", "tiny.yaml", "--profile", "big"], "big"),
        (["run", "tiny.yaml", "--out", "/dev/null/results"], "/dev/null/results"),
        (["run", "."], "."),
        (["status", "nowhere"], "nowhere"),
        (["report", "."], "no study"),
        (["export", "nowhere"], "nowhere"),
    ],
)
def test_wrong_input_is_two_with_one_message_and_nothing_written(place, within, monkeypatch, arguments, hint):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = sorted(place.rglob("*"))
    ran = within(*arguments, cwd=place)
    assert ran.returncode == 2 and ran.stdout == ""
    assert ran.stderr.startswith("error: ") and hint in ran.stderr and "Traceback" not in ran.stderr
    assert sorted(place.rglob("*")) == before


def training(place):
    """Whether a trial of the study is being trained."""
    for file in place.glob("results/tiny/trials/*/progress.json"):
        with suppress(FileNotFoundError, ValueError):  # it is being written
            progress = json.loads(file.read_text())
            return progress["phase"] == "train" and progress["total"] is not None
    return False


@contextmanager
def begun(place, *arguments):
    """A run that has got as far as training, and takes minutes for it."""
    with subprocess.Popen(
        words("run", "tiny.yaml", *arguments),
        cwd=place,
        env=environment(TINY_SLEEP="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        end = time.monotonic() + PATIENCE
        while not training(place):
            assert running.poll() is None and time.monotonic() < end, running.communicate()
            time.sleep(0.05)
        yield running
        running.kill()


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        (signal.SIGTERM, HERE_ALONE),
        (signal.SIGHUP, HERE_ALONE),
        pytest.param(signal.SIGTERM, LOCAL, marks=pytest.mark.thorough),
    ],
)
def test_to_be_terminated_is_to_be_interrupted(place, within, monkeypatch, sent, where):
    """The driver is this process, which gets the signal; with LOCAL its worker is another."""
    monkeypatch.setenv("TINY_SLEEP", "1")
    over, sender = threading.Event(), threading.get_ident()

    def send():
        while not over.wait(0.05):
            if training(place):
                signal.pthread_kill(sender, sent)
                return

    before = signal.getsignal(sent)
    waiting = threading.Thread(target=send)
    waiting.start()
    try:
        ran = within("run", "tiny.yaml", "--set", "budget.images=32000", *where, cwd=place)
    finally:
        over.set()
        waiting.join()
    assert ran.returncode == 130 and signal.getsignal(sent) == before
    assert "To go on: ablate run tiny.yaml --set budget.images=32000" in ran.stderr and "Traceback" not in ran.stderr


def test_a_run_lets_no_other_into_its_folder_and_an_interrupted_one_says_how_to_go_on_and_does(place, within):
    arguments = ("--set", "budget.images=3200")
    folder = place / "results" / "tiny"
    with begun(place, *arguments, *HERE_ALONE) as running:
        document = json.loads(within("status", folder, "--json").stdout)
        assert document["at_work"] and document["states"]["running"] == 1 and document["planned"] == 2
        assert document["unfinished"][0]["total"] == 3200 and document["unfinished"][0]["age_seconds"] >= 0
        second = within("run", "tiny.yaml", *arguments, *HERE_ALONE, "--out", folder, cwd=place)
        refusal = f"error: another `ablate run` is at work in {folder}; see `ablate status {folder}`"
        assert (second.returncode, second.stdout) == (2, "")
        assert [line for line in second.stderr.splitlines() if line.startswith("error: ")] == [refusal]
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130
    assert "To go on: ablate run tiny.yaml --set budget.images=3200" in errors and "Traceback" not in errors
    after = json.loads(within("status", folder, "--json").stdout)
    assert not after["at_work"] and after["states"]["interrupted"] == 1
    assert "interrupted; the same `ablate run` goes on" in within("status", folder).stdout
    assert within("run", "tiny.yaml", *arguments, *HERE_ALONE, cwd=place).returncode == 0
    assert len(records(folder)) == 2


@pytest.mark.thorough
def test_a_reader_that_goes_away_does_not_end_the_study(place):
    line = f"{shlex.join(words('run', 'tiny.yaml', *HERE_ALONE))} | head -n 1; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(
        ["bash", "-c", line], cwd=place, env=environment(), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0 and ran.stdout.count("\n") == 1
    usual = ("data: ", "still ")  # the latter on a slow machine
    assert all(line.startswith(usual) for line in ran.stderr.splitlines())
    assert len(records(place / "results" / "tiny")) == 2


def test_a_broken_pipe_is_quiet():
    line = f"{' '.join(words('plugins', 'list'))} | true; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", line], env=environment(), capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_wrong_input_in_a_process_of_its_own(place):
    ran = ablate("run", "tiny.yaml", "--set", "bugdet.images=3", cwd=place)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_is_told():
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ran = subprocess.run(
            words("plugins", "list"), env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ran.returncode == 2
    assert "No space left" in ran.stderr and "make room" in ran.stderr and "Traceback" not in ran.stderr


def test_a_terminal_without_unicode_gets_its_table(ended, within, monkeypatch):
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding="ascii", errors="strict", write_through=True))
    assert within("status", ended[1]).returncode == 0
    assert b"candidate" in output.getvalue()


@pytest.fixture
def drawn(place, within, monkeypatch):
    """What a run writes to a terminal of 100 columns."""

    def drawn(**more):
        for name in set(os.environ) - set(environment()):
            monkeypatch.delenv(name)
        for name, value in environment(**{"TINY_SLEEP": "0.1", "COLUMNS": "100", "LINES": "30", **more}).items():
            monkeypatch.setenv(name, value)
        ours, theirs = pty.openpty()
        parts = []

        def read():
            with suppress(OSError):  # the other end is closed
                while part := os.read(ours, 65536):
                    parts.append(part)

        reading = threading.Thread(target=read)
        reading.start()
        with monkeypatch.context() as patch:
            for name, mode in (("stdout", "w"), ("stderr", "w"), ("stdin", "r")):
                patch.setattr(sys, name, open(os.dup(theirs), mode, encoding="utf-8"))  # noqa: PTH123, SIM115
            os.close(theirs)
            ran = within("run", "tiny.yaml", *HERE_ALONE, cwd=place)
            for name in ("stdout", "stderr", "stdin"):
                getattr(sys, name).close()
        reading.join()
        os.close(ours)
        output = b"".join(parts).decode()
        assert ran.returncode == 0, output
        return output

    return drawn


def test_a_terminal_shows_what_runs_and_the_best_so_far(drawn):
    output = drawn()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    assert plain != output
    assert "starting" in plain and "images/s" in plain and "/2 trials" in plain
    assert "best front so far" in plain and "seed 0" in plain
    assert "\x1b[?25h" in output  # the cursor is given back


def test_a_dumb_terminal_gets_lines(drawn):
    output = drawn(TERM="dumb", TINY_SLEEP="0")
    assert "\x1b" not in output and "[2/2]" in output
