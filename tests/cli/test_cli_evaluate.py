"""`ablate evaluate` as a user calls it."""

import json
import shutil

import pytest

from ablate.execute.local import InProcessPool, Local


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Lets `local` measure in this process; tests/study/test_evaluate.py does it in another."""
    monkeypatch.setattr(Local, "start", lambda self, work, device: InProcessPool(work))


def test_it_measures_again_and_shows_the_front_along_what_was_asked(ended, within, tmp_path):
    _, folder = ended
    place = shutil.copytree(folder, tmp_path / "study")
    call = ["evaluate", place, "--nfe", "2,3", "--samples", "16", "--executor", "local"]
    result = within(*call, cwd=folder.parents[1])
    assert result.returncode == 0, result.stderr
    assert "4 measured, 0 were there already" in result.stdout
    for steps in ("2 steps", "3 steps"):  # in so few the solver decides what is measured
        assert f"with {steps} on grid" in result.stderr and "part of every metric is the solver's" in result.stderr
    assert "nfe" in result.stdout and "on_front" in result.stdout
    assert (place / "figures" / "axes.png").is_file()
    result = within(*call, "--json", "--no-figures", cwd=folder.parents[1])
    document = json.loads(result.stdout)
    assert (document["measured"], document["reused"], document["failed"]) == (0, 4, {})
    assert {row["nfe"] for row in document["front"]} == {2, 3}, "what the study measured on other numbers of samples"


def test_two_grids_stand_apart_in_what_is_printed(ended, within, tmp_path):
    _, folder = ended
    place = shutil.copytree(folder, tmp_path / "study")
    call = ["evaluate", place, "--nfe", "2,3", "--set", "solver.grid=[karras, trailing]", "--executor", "local"]
    result = within(*call, "--no-figures", cwd=folder.parents[1])
    assert result.returncode == 0, result.stderr
    assert "grid=karras" in result.stdout and "grid=trailing" in result.stdout and "clip" not in result.stdout
    lines = [line for line in result.stdout.splitlines() if line.startswith("[")]
    told = [line.partition("(")[2].partition(",")[0] + line.partition("grid=")[2].partition(",")[0] for line in lines]
    assert sorted(told) == sorted(2 * [f"{n} evaluations{grid}" for n in (2, 3) for grid in ("karras", "trailing")])
    result = within(*call[:4], "--set", "solver.grid=karras", "--json", "--no-figures", cwd=folder.parents[1])
    document = json.loads(result.stdout)
    assert document["measured"] == 0 and {row["nfe"] for row in document["front"]} == {2, 3}
    values = {row[next(name for name in row if name.startswith("kid"))] for row in document["front"]}
    assert len(values) == len(document["front"]), "what was asked for, not the study's own table"


def test_wrong_words_are_told(ended, within):
    _, folder = ended
    for more, message in (
        (("--nfe", "2,x"), "expected whole numbers"),
        (("--nfe", "0"), "from 1 to 10000"),
        (("--set", "backbone.width=3"), "all else is training"),
        (("--executor", "nowhere"), "there is no executor"),
    ):
        result = within("evaluate", folder, *more, cwd=folder.parents[1])
        assert result.returncode == 2 and message in result.stderr, result.stderr
