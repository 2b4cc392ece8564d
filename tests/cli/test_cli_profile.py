"""`ablate profile`: where the time of a training step goes."""

import json

import pytest

from ablate.training.step_profile import union


def test_the_profile_of_a_step(place, within):
    """As JSON with its trace, and for people within 80 columns."""
    ran = within("profile", "tiny.yaml", "--json", "--steps", "2", "--device", "cpu", "--trace", "t.json", cwd=place)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["study"], told["device"], told["batch"], told["micro"], told["steps"]) == ("tiny", "cpu", 32, 32, 2)
    assert told["images_per_second"] == pytest.approx(32 / told["step_seconds"])
    assert 0 < told["busy"] <= 1 and told["launches"] > 10
    names = [operator["name"] for operator in told["operators"]]
    assert len(names) == 10 and any("conv" in name for name in names)
    assert not [name for name in names if name.startswith(("ablate", "Optimizer", "ProfilerStep"))]
    shares = [operator["share"] for operator in told["operators"]]
    assert shares == sorted(shares, reverse=True) and sum(shares) <= 1 + 1e-9
    assert told["compilation"] is None and isinstance(told["advice"], list)
    trace = json.loads((place / "t.json").read_text())
    assert any("conv" in str(event.get("name")) for event in trace["traceEvents"])
    assert not (place / "results").exists()

    words = ("--set", "base.micro=16", "--candidate", "width=8")
    shown = within("profile", "tiny.yaml", "--steps", "1", "--device", "cpu", *words, cwd=place)
    assert shown.returncode == 0 and shown.stdout.startswith("tiny: width=8, on cpu\n")
    assert "for a batch of 32 in parts of 16" in shown.stdout and "leave micro out" in shown.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--candidate", "width=9"), "no candidate is called 'width=9'"),
        (("--trace", "nowhere/t.json"), "name a file in a folder that exists"),
    ],
)
def test_what_cannot_be_profiled_is_told(place, within, words, message):
    ran = within("profile", "tiny.yaml", *words, "--device", "cpu", cwd=place)
    assert ran.returncode == 2 and message in ran.stderr and len(ran.stderr.splitlines()) < 4


def test_times_that_overlap_count_once():
    assert union([(0, 2), (5, 6), (1, 3), (2.5, 2.7), (6, 6.5)]) == 4.5
    assert union([]) == 0
