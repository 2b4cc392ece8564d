"""What is wrong is told in one message, with the candidate's name; what is right beside it is shown all the same."""

import io
import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from command_line import CACHE, environment, words

from ablate.cli import main

BROKEN = '''
import time

from ablate.api import Backbone


class Loose(Backbone):
    """Its build raises."""

    name = "loose"

    def build(self, setting):
        raise ValueError("a wire\\nis loose")


class Sleepy(Backbone):
    """Its build does not come back."""

    name = "sleepy"

    def build(self, setting):
        time.sleep(1e6)


class Leaving(Backbone):
    """Its build ends the process."""

    name = "leaving"

    def build(self, setting):
        raise SystemExit(0)
'''


def with_broken(place, name):
    text = (place / "tiny.yaml").read_text().replace("[tiny.py]", "[tiny.py, broken.py]")
    (place / "tiny.yaml").write_text(text.replace("  backbone.width: [4, 8]", f"  backbone: [tiny, {name}]"))
    (place / "broken.py").write_text(BROKEN)


def test_a_plan_names_the_candidate_that_cannot_be_built_and_shows_the_others(place, within):
    with_broken(place, "loose")
    result = within("plan", "tiny.yaml", cwd=place)
    assert result.returncode == 1
    assert "cannot be built" in result.stdout and "tiny " in result.stdout
    assert [line for line in result.stderr.splitlines() if not line.startswith("still ")] == [  # a slow machine
        f"error: loose: backbone 'loose' cannot be built: ValueError: a wire is loose ({place / 'broken.py'}:13)"
    ]
    rows = json.loads(within("plan", "tiny.yaml", "--json", cwd=place).stdout)["candidates"]
    assert [(row["candidate"], row["params"] is None) for row in rows] == [("tiny", False), ("loose", True)]
    assert isinstance(rows[0]["params"], int) and "a wire is loose" in rows[1]["failure"]


def test_a_plan_of_a_candidate_whose_build_ends_the_process_says_so_and_does_not_end_well(place, within):
    with_broken(place, "leaving")
    result = within("plan", "tiny.yaml", cwd=place)
    assert result.returncode == 1 and "tiny " in result.stdout
    reason = f"its code ends the process: SystemExit: 0 ({place / 'broken.py'}:31); raise an exception instead"
    assert f"error: leaving: {reason}" in result.stderr.splitlines()


LOUD = '''
import atexit
import ctypes
import os
import subprocess
import sys

from tiny import Tiny

atexit.register(lambda: print("loud: at exit, ray is imported:", "ray" in sys.modules))


class Loud(Tiny):
    """It prints wherever it is asked: by Python, by the file descriptor, by native code, by a child."""

    name = "loud"

    def provides(self):
        print("loud: provides")
        return frozenset()

    def build(self, setting):
        print("loud: build", file=sys.__stdout__)
        os.write(1, b"loud: write\\n")
        ctypes.CDLL(None).puts(b"loud: native")
        subprocess.run(["echo", "loud: child"], check=True)
        return super().build(setting)
'''


def test_with_json_stdout_is_one_document_whatever_a_plugin_prints(place, within, monkeypatch):
    (place / "loud.py").write_text(LOUD)
    (place / "tiny.yaml").write_text((place / "tiny.yaml").read_text().replace("backbone: tiny", "backbone: loud"))
    arguments = words("plan", "tiny.yaml", "--plugin", "loud.py", "--json", "--device", "cpu")
    ran = subprocess.run(
        arguments,
        cwd=place,
        env=environment(PYTHONPATH=f"{place}:{os.environ.get('PYTHONPATH', '')}"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert [row["candidate"] for row in json.loads(ran.stdout)["candidates"]] == ["width=4", "width=8"]
    for where in ("provides", "build", "write", "native", "child", "at exit, ray is imported: False"):
        assert f"loud: {where}\n" in ran.stderr
    monkeypatch.syspath_prepend(place)
    for arguments in (["plugins", "show", "backbone/loud", "--json"], ["plugins", "--json"], ["schema"]):
        result = within(*arguments, "--plugin", place / "loud.py")
        assert result.returncode == 0 and json.loads(result.stdout)


def test_a_plan_that_hangs_says_at_which_candidate_and_can_be_interrupted(place, monkeypatch):
    """In this process, which is sent what Ctrl-C sends once it has said what it waits for."""
    with_broken(place, "sleepy")
    told, over, planning = io.StringIO(), threading.Event(), threading.get_ident()

    def press():
        while not over.wait(0.05):
            if "sleepy" in told.getvalue():  # the first lines may be of others, on a busy machine
                signal.pthread_kill(planning, signal.SIGINT)
                return

    monkeypatch.chdir(place)
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
    monkeypatch.setattr(sys, "stderr", told)
    pressing = threading.Thread(target=press)
    pressing.start()
    try:
        with pytest.raises(SystemExit) as ended:
            main(["plan", "tiny.yaml", "--device", "cpu"])
    finally:
        over.set()
        pressing.join()
    assert "still building the network of sleepy …" in told.getvalue().splitlines()
    assert ended.value.code == 130 and "Traceback" not in told.getvalue()


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "x", "--out", "a\0b"],
        ["plugins", "new", "n", "--out", "a\udc80"],
        ["plan", "x", "--plugin", "\udc80"],
    ],
)
def test_a_name_that_no_file_can_have_is_one_message(capsys, tmp_path, arguments) -> None:
    study = tmp_path / "x"
    study.write_text("study: x")
    with pytest.raises(SystemExit) as ended:
        main([str(study) if word == "x" else word for word in arguments])
    message = capsys.readouterr().err
    assert ended.value.code == 2 and message.count("error: ") == 1 and "Traceback" not in message
