"""`match`: candidates of one cost."""

import math

import pytest

from ablate import load
from ablate.errors import InputError, SpecError
from ablate.study.compute_match import _Search
from ablate.study.launch import launch
from ablate.study.load import load_study
from ablate.study.plan import plan


def study(**changed):
    backbone = {"type": "dit", "patch": 2, "depth": 2, "width": 96, "heads": 1}
    return {
        "study": "matched",
        "data": "digits",
        "base": {"backbone": backbone},
        "vary": {"backbone.conditioning": "all"},
        "match": {"gflops": "base", "by": "backbone.width", "within": 0.04},
        "budget": {"images": 128},
        "evaluate": {"metrics": [], "samples": 4},
        **changed,
    }


def test_every_candidate_costs_what_the_base_costs():
    table = plan(load_study(study())).set_index("candidate")
    base = table.loc["adaln_zero"]
    assert base["match.backbone.width"] == 96
    assert (table["gflops"] / base["gflops"] - 1).abs().max() <= 0.04
    assert len(set(table["match.backbone.width"])) > 1, "else the test shows nothing"
    free = plan(load_study(study(match=None))).set_index("candidate")
    assert (free["gflops"] / base["gflops"] - 1).abs().max() > 0.04
    assert table.loc["adaln_zero", "config_hash"] == free.loc["adaln_zero", "config_hash"], "the base was not moved"


def test_a_number_of_gflops_can_be_asked_for():
    table = plan(load_study(study(match={"gflops": 0.02, "by": "backbone.width", "within": 0.05})))
    assert (table["gflops"] / 0.02 - 1).abs().max() <= 0.05


def test_the_size_stands_in_the_tables(tmp_path):
    launch(
        study(vary={"backbone.conditioning": ["adaln_zero", "in_context"]}),
        out=tmp_path / "o",
        executor="local",
        figures=False,
    )
    trials = load(tmp_path / "o").trials.set_index("c.backbone.conditioning")
    planned = plan(load_study(study())).set_index("candidate")
    for name in ("adaln_zero", "in_context"):
        assert trials.loc[name, "match.backbone.width"] == planned.loc[name, "match.backbone.width"]
        assert math.isclose(trials.loc[name, "gflops"], planned.loc[name, "gflops"])


@pytest.mark.parametrize(
    ("match", "message"),
    [
        ({"gflops": 0, "by": "backbone.width"}, "above 0, or 'base'"),
        ({"gflops": "bsae", "by": "backbone.width"}, "above 0, or 'base'"),
        ({"gflops": "base", "by": "backbone.widht"}, "did you mean 'width'"),
        ({"gflops": "base", "by": "schedule"}, "no whole number"),
        ({"gflops": "base", "by": "backbone.conditioning"}, "no whole number"),
        ({"gflops": "base", "by": "backbone.width", "withn": 0.1}, "withn"),
        ({"gflops": "base"}, "by"),
        (3, "expected a mapping"),
    ],
)
def test_what_is_wrong_is_told_when_the_study_is_read(match, message):
    with pytest.raises(InputError, match=message):
        load_study(study(match=match))


def test_what_is_matched_cannot_be_varied():
    vary = {"backbone.width": [96, 192]}
    with pytest.raises(InputError, match="cannot be a choice"):
        load_study(study(vary=vary))


def test_a_cost_that_no_size_has_is_refused_with_the_nearest(tmp_path):
    loaded = load_study(study(match={"gflops": "base", "by": "backbone.width", "within": 0.0001}))
    with pytest.raises(SpecError, match=r"=adaln: nothing brings it within .* backbone.width \d+ gives"):
        plan(loaded)
    with pytest.raises(InputError, match="nothing brings it within"):
        launch(study(match={"gflops": "base", "by": "backbone.width", "within": 0.0001}), out=tmp_path / "o")
    assert not (tmp_path / "o" / "lock.json").exists()


@pytest.mark.parametrize("target", [1, 7, 63, 64.4, 1000, 123_456, 1e12])
@pytest.mark.parametrize("start", [3, 64, 5000])
@pytest.mark.parametrize("works", [lambda n: True, lambda n: n % 7 == 0, lambda n: n % 24 == 3])
def test_the_search_finds_the_nearest_size_that_works(target, start, works):
    def cost(size):
        if not works(size):
            raise SpecError([])
        return float(size * size + 5)

    start = next(n for n in range(start, start + 30) if works(n))
    found, value = _Search(cost, 1, 1 << 20, 1).nearest(start, target)
    sizes = [n for n in range(1, 40_000) if works(n)] if target < 1e9 else [n for n in range(1, 1 << 20) if works(n)]
    best = min(abs(n * n + 5 - target) for n in sizes)
    assert works(found) and value == found * found + 5
    assert abs(value - target) <= best
