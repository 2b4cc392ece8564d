"""The conditional space: which paths exist, what a choice means, what is refused."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.candidates.candidate import Candidate, compose
from ablate.candidates.space import Space, label_of, labels_of
from ablate.candidates.vary import make_space
from ablate.discovery.catalog import catalog
from ablate.errors import SpecError
from ablate.spec.component import Component
from ablate.spec.fields import put

CATALOG = catalog((str(Path(__file__).parents[1] / "helpers" / "plugin_for_tests.py"),))
BASE: dict[str, Any] = {"backbone": {"type": "toy_tokens", "conditioning": {"type": "toy_scale", "gain": 2.0}}}


def space(vary: Mapping[str, Any], base: Mapping[str, Any] = BASE) -> Space:
    return make_space(Candidate, base, vary, CATALOG, lambda spec: None)


def refusal(vary: Mapping[str, Any], base: Mapping[str, Any] = BASE) -> str:
    with pytest.raises(SpecError) as caught:
        space(vary, base)
    return str(caught.value)


def design(name: str) -> Any:
    return CATALOG.create("design", name)


def test_a_dimension_knows_the_place_of_its_line_though_what_it_depends_on_comes_first() -> None:
    vary = {
        "backbone.conditioning.gain": [1.0, 2.0],
        "target": ["epsilon", "v"],
        "backbone.conditioning": ["toy_scale"],
    }
    assert {d.path: d.place for d in space(vary).dimensions} == {path: i for i, path in enumerate(vary)}
    assert [d.path for d in space(vary).dimensions] == ["target", "backbone.conditioning", "backbone.conditioning.gain"]


def test_a_bare_name_of_the_base_means_the_base_as_it_stands() -> None:
    whole = space({"backbone.conditioning": ["toy_scale", "toy_shift"]})
    assert whole.dimensions[0].baseline == "toy_scale"
    assert whole.apply({"backbone.conditioning": "toy_scale"}) == BASE
    assert whole.apply({"backbone.conditioning": "toy_shift"})["backbone"]["conditioning"] == "toy_shift"


def test_a_choice_that_says_the_same_as_the_base_is_the_baseline() -> None:
    same = {"gain": 2, "type": "toy_scale"}  # other order, other number type
    whole = space({"backbone.conditioning": [{"type": "toy_scale", "gain": 1.0}, same]})
    assert whole.dimensions[0].baseline == "toy_scale(gain=2)"
    defaults = space({"backbone.conditioning": [{"type": "toy_scale", "gain": 1.0}]}, {"backbone": "toy_tokens"})
    assert defaults.dimensions[0].baseline == "toy_scale(gain=1.0)"  # written out or not


def test_a_base_that_is_not_listed_is_its_own_choice_of_a_finite_design() -> None:
    whole = space({"backbone.conditioning": ["toy_shift"]})
    proposals = whole.proposals(design("toy_one_factor"))
    assert proposals == [{"backbone.conditioning": "toy_scale(gain=2.0)"}, {"backbone.conditioning": "toy_shift"}]
    assert whole.apply(proposals[0]) == BASE
    wider = whole.admitting(proposals)
    assert wider.labels(wider.dimensions[0]) == ["toy_shift", "toy_scale(gain=2.0)"]
    assert wider.proposals(design("toy_one_factor")) == proposals


def test_paths_exist_with_the_component_above_them() -> None:
    vary = {
        "backbone.conditioning.gain": [2.0, 3.0],
        "backbone.conditioning": ["toy_scale", "toy_shift"],
        "backbone.groups": "all",
        "backbone.norm": ["layer", "group"],
    }
    whole = space(vary)
    paths = [d.path for d in whole.dimensions]
    assert paths.index("backbone.conditioning") < paths.index("backbone.conditioning.gain")
    assert paths.index("backbone.norm") < paths.index("backbone.groups")
    assert whole.present({}, "backbone.conditioning.gain")
    assert not whole.present({"backbone.conditioning": "toy_shift"}, "backbone.conditioning.gain")
    assert not whole.present({}, "backbone.groups")
    assert whole.present({"backbone.norm": "group"}, "backbone.groups")
    by_path = {d.path: d for d in whole.dimensions}
    assert by_path["backbone.groups"].choices == (2, 4)
    assert by_path["backbone.groups"].baseline is None
    assert {path: d.depends for path, d in by_path.items() if d.depends} == {
        "backbone.conditioning.gain": ("backbone.conditioning",),
        "backbone.groups": ("backbone.norm",),
    }
    families = space({"backbone": ["toy_tokens", "toy_maps"], "backbone.depth": [1, 2]})
    assert [d.depends for d in families.dimensions] == [(), ()]  # both have a depth
    assert whole.context("backbone.groups") == {"backbone.norm": "group"}


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional={
    "backbone": st.sampled_from(["toy_tokens", "toy_maps"]),
    "backbone.conditioning": st.sampled_from(["toy_scale", "toy_shift"]),
    "backbone.conditioning.gain": st.sampled_from([2.0, 3.0]),
    "backbone.norm": st.sampled_from(["layer", "group"]),
    "backbone.groups": st.sampled_from([2, 4]),
    "batch": st.sampled_from([64, 128]),
}))  # fmt: skip
def test_a_completed_assignment_names_what_exists_and_changes_nothing_else(assignment: dict[str, Any]) -> None:
    whole = space({
        "backbone": ["toy_tokens", "toy_maps"],
        "backbone.conditioning": ["toy_scale", "toy_shift"],
        "backbone.conditioning.gain": [2.0, 3.0],
        "backbone.norm": ["layer", "group"],
        "backbone.groups": [2, 4],
        "batch": "all",
    })  # fmt: skip
    complete = whole.complete(assignment)
    assert set(complete) == {d.path for d in whole.dimensions if whole.present(complete, d.path)}
    assert all(complete[path] == label for path, label in assignment.items() if path in complete)
    assert whole.complete(complete) == complete
    existing = {path: label for path, label in assignment.items() if path in complete}
    assert compose(whole.apply(complete), CATALOG).digest() == compose(whole.apply(existing), CATALOG).digest()


def test_two_ways_to_say_one_candidate_are_one_proposal() -> None:
    whole = space({"backbone.conditioning": ["toy_scale", "toy_shift"], "backbone.conditioning.gain": [2.0, 3.0]})
    assert whole.proposals(design("toy_grid")) == [
        {"backbone.conditioning": "toy_scale", "backbone.conditioning.gain": 2.0},
        {"backbone.conditioning": "toy_scale", "backbone.conditioning.gain": 3.0},
        {"backbone.conditioning": "toy_shift"},
    ]
    assert whole.proposals(design("toy_search")) is None


def test_optuna_is_asked_for_what_exists_only() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    whole = space({
        "backbone.conditioning": ["toy_scale", "toy_shift"],
        "backbone.conditioning.gain": {"low": 0.1, "high": 10, "log": True},
        "backbone.depth": {"low": 1, "high": 7, "step": 2},
    })  # fmt: skip
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    suggested = [whole.suggest(study.ask()) for _ in range(40)]
    for assignment in suggested:
        scaled = assignment["backbone.conditioning"] == "toy_scale"
        assert ("backbone.conditioning.gain" in assignment) == scaled
        assert assignment["backbone.depth"] in (1, 3, 5, 7)
        assert type(assignment["backbone.depth"]) is int
        compose(whole.apply(assignment), CATALOG)
    assert {a["backbone.conditioning"] for a in suggested} == {"toy_scale", "toy_shift"}


def test_all_means_the_declared_range_or_what_is_admitted() -> None:
    whole = space({"backbone.conditioning.gain": "all", "backbone.width": "all", "backbone.depth": "all"})
    by_path = {d.path: d for d in whole.dimensions}
    gain = by_path["backbone.conditioning.gain"]
    assert (gain.low, gain.high, gain.log, gain.integer) == (0.1, 10, True, False)
    assert by_path["backbone.width"].choices == (8, 16)
    assert by_path["backbone.depth"].integer
    words = space({"solver.grid": "all", "schedule.zero_terminal_snr": "all"}).dimensions
    assert [d.choices for d in words] == [("trailing", "uniform", "karras"), (False, True)]

    def admit(spec: Mapping[str, Any]) -> str | None:
        return "no" if spec["backbone"]["conditioning"] == "toy_map_scale" else None

    whole = make_space(Candidate, BASE, {"backbone.conditioning": "all"}, CATALOG, admit)
    names = CATALOG.names("conditioning")
    assert "toy_map_scale" in names
    assert list(whole.dimensions[0].choices) == [name for name in names if name != "toy_map_scale"]
    with pytest.raises(SpecError, match=r"no conditioning works here .*toy_scale: never"):
        make_space(Candidate, BASE, {"backbone.conditioning": "all"}, CATALOG, lambda spec: "never")


def test_choices_of_a_component_may_have_names_of_their_own() -> None:
    wide = {"type": "toy_scale", "gain": 3.0}
    named = {"narrow": {"type": "toy_scale", "gain": 2}, "wide": wide, "shift": "toy_shift"}
    whole = space({"backbone.conditioning": named})
    (d,) = whole.dimensions
    assert d.choices == ("narrow", "wide", "shift") and d.baseline == "narrow"  # which says what the base says
    assert whole.apply({"backbone.conditioning": "wide"})["backbone"]["conditioning"] == wide
    assert whole.apply({"backbone.conditioning": "narrow"}) == BASE
    assert [a["backbone.conditioning"] for a in whole.proposals(design("grid")) or ()] == list(named)
    assert "holds no number" in refusal({"backbone.conditioning": {"low": "toy_scale", "high": "toy_shift"}})
    assert "a range has no 'max'" in refusal({"backbone.depth": {"min": 1, "max": 3}})  # numbers have no names


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({"backbone.widht": [1]}, "backbone.widht: backbone 'toy_tokens' has no field 'widht'; did you mean 'width'?"),
        ({"backbon.width": [1]}, "a candidate has no field 'backbon'; did you mean 'backbone'?"),
        ({"width": [1]}, "width: a candidate has no field 'width'; did you mean backbone.width?"),
        ({"backbone.width.x": [1]}, "nothing to vary there"),
        ({"backbone.groups": [2]}, "reads 'groups' only while 'norm' is 'group'"),
        ({"backbone.width": []}, "expected a list of choices, 'all', or low and high, not []"),
        ({"backbone.width": 3}, "expected a list of choices"),
        ({"backbone.width": [8, 8]}, "the same choice stands twice"),
        ({"backbone.patch": "all"}, "it declares no default search range"),
        ({"backbone.depth": {"low": 3, "high": 3}}, "numbers low < high"),
        ({"backbone.depth": {"low": 1}}, "numbers low < high, not 1 and None"),
        ({"backbone.depth": {"low": 1, "hihg": 3}}, "a range has no 'hihg'; did you mean 'high'?"),
        ({"backbone.depth": {"low": 1.5, "high": 3}}, "takes whole numbers"),
        ({"backbone.depth": {"low": 1, "high": 3, "step": 0}}, "expected a number above 0, not 0"),
        ({"backbone.conditioning.gain": {"low": 0, "high": 3, "log": True}}, "a logarithmic range needs low > 0"),
        ({"backbone.conditioning": {"low": 1, "high": 3}}, "holds no number"),
    ],
)
def test_what_cannot_vary_is_refused(vary: Mapping[str, Any], message: str) -> None:
    assert message in refusal(vary)


def test_all_refusals_come_at_once() -> None:
    message = refusal({"backbone.widht": [1], "backbone.depth": {"low": 9, "high": 3}})
    assert "widht" in message
    assert "low < high" in message


def test_put_makes_mappings_of_names() -> None:
    spec: dict[str, Any] = {"a": "x"}
    put(spec, ["a", "b", "c"], 1)
    assert spec == {"a": {"type": "x", "b": {"c": 1}}}


def test_labels() -> None:
    assert label_of("adaln") == "adaln"
    assert label_of({"type": "dit", "depth": 3, "gate": {"type": "soft"}}) == "dit(depth=3, gate=soft)"
    assert label_of([1, 2]) == "[1, 2]"
    assert label_of(True) is True


def test_a_space_needs_neither_torch_nor_optuna_to_be_made() -> None:
    assert issubclass(Candidate.model_fields["backbone"].annotation or object, Component)
    import subprocess

    code = (
        "import sys; from ablate.candidates.candidate import Candidate; from ablate.candidates.vary import make_space;"
        "from ablate.discovery.catalog import catalog;"
        "make_space(Candidate, {}, {'batch': 'all'}, catalog(), lambda s: None);"
        "assert not {'torch', 'optuna', 'pandas', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_labels_say_what_tells_choices_apart():
    small, large = {"type": "dit", "patch": 4, "width": 96}, {"type": "dit", "patch": 4, "width": 192}
    assert list(labels_of([small, large])) == ["dit(width=96)", "dit(width=192)"]
    assert list(labels_of([small, {"type": "unet", "width": 8}, "uvit"])) == ["dit", "unet", "uvit"]
    assert list(labels_of([small, "dit"])) == ["dit(patch=4, width=96)", "dit"]
    assert list(labels_of([{"type": "dit"}, small])) == ["dit", "dit(patch=4, width=96)"]
    assert len(labels_of([small, dict(small)])) == 1
    assert list(labels_of([small, "uvit"], large)) == ["dit(width=96)", "uvit"]
    assert list(labels_of([small, "uvit"], "dit")) == ["dit(patch=4, width=96)", "uvit"]
    assert list(labels_of([small, "uvit"], small)) == ["dit", "uvit"]
    assert list(labels_of([1, None, [1, 2]])) == [1, "null", "[1, 2]"]


@settings(deadline=None)
@given(
    st.sampled_from(["one_factor", "grid"]),
    st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True),
    st.integers(1, 8),
    st.sampled_from([["toy_tokens"], ["toy_maps"], ["toy_tokens", "toy_maps"]]),
    st.integers(1, 8),
)
def test_what_a_family_has_by_itself_is_no_choice_of_another(
    of: str, depths: list[int], base_depth: int, families: list[str], own: int
) -> None:
    base = {"backbone": {"type": "toy_tokens", "depth": base_depth}}
    listed = [{"type": name, "depth": own} if name == "toy_maps" else name for name in families]
    whole = space({"backbone": listed, "backbone.depth": depths}, base)
    proposals = whole.proposals(design(of))
    assert proposals is not None
    fitting = whole.admitting(proposals)
    assert fitting.proposals(design(of)) == proposals  # what is known of them adds none
    for assignment in proposals:
        allowed = {*depths, own} if "toy_maps" in str(assignment["backbone"]) else {*depths, base_depth}
        assert assignment["backbone.depth"] in allowed
        assert assignment["backbone.depth"] in fitting.labels(next(d for d in fitting.dimensions if "depth" in d.path))
