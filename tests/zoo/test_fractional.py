"""Design `fractional`: few candidates, from which main effects and the chosen pairs can be told."""

import itertools
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ablate.api import Dimension, InputError
from ablate.discovery.catalog import catalog
from ablate.errors import SpecError
from ablate.study.load import load_study
from ablate_zoo.design._fractions import effects, fraction, model
from ablate_zoo.design.fractional import Fractional
from ablate_zoo.design.grid import Grid

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def pydoe():
    return pytest.importorskip("pydoe")


def dimensions(*levels):
    """Dimensions a, b, ... of so many choices each; the last choice is the baseline's."""
    return [Dimension(LETTERS[i], tuple(range(n)), baseline=n - 1) for i, n in enumerate(levels)]


def matrix(proposals, dims, pairs=()):
    """The model matrix of candidates, coded by changes from the baseline."""
    labels = {d.path: [d.baseline, *(c for c in d.choices if c != d.baseline)] for d in dims}
    rows = np.array([[labels[d.path].index(one[d.path]) for d in dims] for one in proposals])
    return model(rows, [len(labels[d.path]) for d in dims], pairs)


@st.composite
def spaces(draw):
    levels = draw(st.lists(st.integers(2, 4), min_size=1, max_size=5).filter(lambda n: set(n) != {2} or len(n) < 3))
    every = list(itertools.combinations(range(len(levels)), 2))
    return levels, draw(st.lists(st.sampled_from(every), unique=True, max_size=3)) if every else []


@settings(deadline=None, max_examples=40)
@given(spaces(), st.randoms(use_true_random=False))
def test_every_effect_can_be_told_from_few_candidates(space, chance):
    levels, pairs = space
    dims = dimensions(*levels)
    design = Fractional(pairs=[(LETTERS[a], LETTERS[b]) for a, b in pairs])
    proposals = design.proposals(dims)
    assert proposals[0] == {d.path: d.baseline for d in dims}
    assert {(d.path, c) for d in dims for c in d.choices} == {item for one in proposals for item in one.items()}
    assert len({tuple(one.values()) for one in proposals}) == len(proposals) == design.candidates(dims)
    assert np.linalg.matrix_rank(matrix(proposals, dims, pairs)) == effects(levels, pairs)
    assert len(proposals) == min(math.prod(levels), math.ceil(1.5 * effects(levels, pairs)))
    fraction.cache_clear()
    assert design.proposals(dims) == proposals
    mixed = chance.sample(dims, len(dims))
    assert design.proposals(mixed) == proposals, "the order of the lines makes a difference"


@pytest.mark.parametrize(
    ("levels", "pairs", "size", "count"),
    [
        ((2,) * 5, (), None, 16),  # resolution V, which is IV too
        ((2,) * 6, (), None, 16),
        ((2,) * 7, (), None, 16),
        ((2,) * 7, (), 8, 8),  # resolution III
        ((2,) * 7, (), 31, 16),
        ((2,) * 7, (), 128, 128),
        ((2,) * 6, ((0, 1), (2, 3), (0, 5)), None, 16),
        ((2,) * 6, tuple(itertools.combinations(range(6), 2)), None, 32),
        ((2,) * 7, tuple(itertools.combinations(range(7), 2)), None, 44),  # the regular one has 64
        ((2,) * 4, ((0, 1), (2, 3)), None, 11),  # no regular fraction tells both
        ((2,) * 15, (), None, 32),
        ((2,) * 30, (), None, 64),
        ((3, 4, 2, 2, 2), (), None, 14),
        ((3, 4, 2, 2, 2), ((0, 1),), 24, 24),
        ((3, 3, 3, 3), (), 9, 9),  # Taguchi's L9
        ((4,) * 8, (), None, 38),  # of 65,536
        ((4,) * 6, (), 300, 300),
    ],
)
def test_how_many_candidates_there_are(pydoe, levels, pairs, size, count):
    rows = np.array(fraction(levels, pairs, size))
    assert len(rows) == len({tuple(row) for row in rows.tolist()}) == count
    assert not rows[0].any() and (rows.max(axis=0) == np.array(levels) - 1).all()
    assert np.linalg.matrix_rank(model(rows, levels, pairs)) == effects(levels, pairs) <= count


@pytest.mark.parametrize("factors", [4, 5, 6, 7, 8, 11, 16])
def test_of_two_levels_no_pair_is_taken_for_a_main_effect(pydoe, factors):
    """Resolution IV: main effects are orthogonal to each other, and to every product of two."""
    signs = 1 - 2 * np.array(fraction((2,) * factors, (), None))
    assert not signs.sum(axis=0).any()
    assert (signs.T @ signs == len(signs) * np.eye(factors)).all()
    for a, b in itertools.combinations(range(factors), 2):
        assert not (signs.T @ (signs[:, a] * signs[:, b])).any()


@pytest.mark.parametrize(
    ("levels", "pairs", "size", "least"),
    [
        ((3, 4, 2, 2, 2), (), None, 0.95),
        ((3, 3, 2, 2), (), 12, 0.95),
        ((3, 3, 3, 3), (), 9, 0.9999),
        ((4, 4, 4), (), 16, 0.93),
        ((3, 4, 2, 2, 2), ((0, 1),), 24, 0.9999),
        ((3,) * 9, (), None, 0.9),  # from a sample of the grid
    ],
)
def test_a_candidate_says_nearly_as_much_as_one_of_the_grid(levels, pairs, size, least):
    """D-efficiency against the grid, which is the best there is: the p-th root of the determinants' ratio."""

    def information(rows):
        of = model(np.array(rows), levels, pairs)
        return np.linalg.slogdet(of.T @ of / len(of))[1]

    grid = list(itertools.product(*map(range, levels)))
    ratio = information(fraction(levels, pairs, size)) - information(grid)
    assert math.exp(ratio / effects(levels, pairs)) > least


def test_a_base_that_is_not_listed_is_a_level_and_one_choice_alone_is_none():
    batch, fixed = Dimension("batch", (64, 128), baseline=32), Dimension("fixed", ("x",), baseline="x")
    proposals = Fractional(size=6).proposals([*dimensions(3), batch, fixed])
    assert len(proposals) == 6 and {one["fixed"] for one in proposals} == {"x"}
    assert {one["batch"] for one in proposals} == {32, 64, 128}
    assert Fractional().proposals([]) == [{}] and Fractional().proposals([fixed]) == [{"fixed": "x"}]
    flags = Fractional().proposals([Dimension("mixed", (1, True), baseline=1)])
    assert [type(one["mixed"]) for one in flags] == [int, bool]


@pytest.mark.parametrize(
    ("design", "change", "message", "where"),
    [
        ({}, {"choices": (), "low": 0.1, "high": 0.5}, "varies from 0.1 to 0.5, of which design 'frac", "vary.b"),
        ({}, {"depends": ("a",)}, "b exists only under some choices of a, so design 'fractional' cannot", "vary.b"),
        ({}, {"baseline": None}, "b exists only under other choices than the base's, so design", "vary.b"),
        ({"size": 5}, {}, "5 candidates cannot tell 6 effects apart .* size of at least 6", "design.size"),
        ({"pairs": [["a", "b"]], "size": 9}, {}, "9 candidates cannot tell 12 effects", "design.size"),
        ({"pairs": [["a", "bb"]]}, {}, "no line of 'vary' with two levels is called 'bb'; did", "design.pairs"),
        ({"pairs": [["a", "x.y.z"]]}, {}, "called 'x.y.z'; there is: a, b", "design.pairs"),
        ({"pairs": "all"}, {"choices": tuple(range(60))}, "180 effects to tell apart, of at most 150", "design"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_refused(design, change, message, where):
    a, b = dimensions(3, 4)
    with pytest.raises(InputError, match=message) as told:
        Fractional(**design).proposals([a, replace(b, **change)])
    assert told.value.where == where


def test_a_missing_pydoe_is_told_where_it_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoe", None)
    fraction.cache_clear()
    assert len(Fractional().proposals(dimensions(3, 3, 2))) < 18
    with pytest.raises(InputError, match=r"pip install 'ablate\[fractional\]'"):
        Fractional().proposals(dimensions(2, 2, 2, 2))


def test_pairs_are_the_same_in_any_order_and_part_of_the_identity():
    one = Fractional(pairs=[["a", "b"], ["c", "a"], ["b", "a"]])
    assert one.pairs == (("a", "b"), ("a", "c"))
    assert one.digest() == Fractional(pairs=[("a", "c"), ("b", "a")]).digest() != Fractional().digest()
    assert Fractional(size=16).digest() != Fractional().digest() == Fractional(seeds=5).digest()
    for design in (one, Fractional(pairs="all", size=20)):
        assert catalog().create("design", design.spec()) == design
    with pytest.raises(ValidationError, match="a pair is of two paths, and here 'a' is both"):
        Fractional(pairs=[["a", "a"]])
    for wrong in ("every", [["a"]], ["a", "b"], [["a", "b", "c"]], 3):
        with pytest.raises(SpecError, match="expected 'all', or pairs of paths as"):
            catalog().create("design", {"type": "fractional", "pairs": wrong})


STUDY = """
study: fraction
data: digits
base:
  backbone: {type: dit, patch: 4, depth: 1, width: 32, heads: 2}
  target: v
vary:
  target: [epsilon, x0, v]
  schedule: [linear, cosine]
  backbone.width: [32, 64]
  optimizer.lr: [1e-3, 2e-3, 4e-3]
design: {type: fractional, pairs: [[schedule, target]], size: 16, seeds: 2}
budget: {images: 512}
evaluate: {samples: 20, previews: 0}
objectives: [loss]
"""


def test_a_study_file_gives_its_candidates_and_comes_back(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(STUDY, encoding="utf-8")
    loaded = load_study(file)
    proposals = loaded.proposals()
    assert len(proposals) == 16 and proposals[0] == loaded.baseline
    assert len({loaded.trial_settings.digest(loaded.candidate(one)) for one in proposals}) == 16
    assert len(loaded.space.proposals(Grid())) == 36
    again = load_study(loaded.study.spec())
    assert again.study.design.digest() == loaded.study.design.digest() and again.proposals() == proposals


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("{guidance: [none, cfg], guidance.scale: [1.5, 3]}", "vary.guidance.scale: .* under some choices of guidance"),
        ("{optimizer.decay: [constant, cosine], optimizer.final: [0, 0.1]}", "some choices of optimizer.decay"),
        (
            "{backbone: [dit, unet], backbone.patch: [2, 4]}",
            "patch exists only under some choices of backbone",
        ),
    ],
)
def test_paths_that_some_candidates_lack_are_refused(tmp_path, vary, message):
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.replace(", pairs: [[schedule, target]], size: 16", ""), encoding="utf-8")
    with pytest.raises(InputError, match=message) as told:
        load_study(file, overrides=[f"vary={vary}"])
    assert "\n" not in str(told.value)
