"""`ablate evaluate` as a user calls it."""

import json
import shutil


def test_it_measures_again_and_shows_the_front_along_what_was_asked(ended, within, tmp_path):
    _, folder = ended
    place = shutil.copytree(folder, tmp_path / "study")
    call = ["evaluate", place, "--nfe", "2,3", "--samples", "16", "--executor", "local"]
    told = within(*call, cwd=folder.parents[1])
    assert told.returncode == 0, told.stderr
    assert "4 measured, 0 were there already" in told.stdout
    assert "nfe" in told.stdout and "on_front" in told.stdout
    assert (place / "figures" / "axes.png").is_file()
    told = within(*call, "--json", cwd=folder.parents[1])
    found = json.loads(told.stdout)
    assert (found["measured"], found["reused"], found["failed"]) == (0, 4, {})
    assert {row["nfe"] for row in found["front"]} == {2, 3}, "what the study measured on other numbers of samples"


def test_wrong_words_are_told(ended, within):
    _, folder = ended
    for more, said in (
        (("--nfe", "2,x"), "expected whole numbers"),
        (("--nfe", "0"), "from 1 on"),
        (("--set", "backbone.width=3"), "all else is training"),
        (("--executor", "nowhere"), "there is no executor"),
    ):
        told = within("evaluate", folder, *more, cwd=folder.parents[1])
        assert told.returncode == 2 and said in told.stderr, told.stderr
