import sys
import types
from dataclasses import replace

import optuna
import pytest
from pydantic import ValidationError

from ablate.api import Dimension, InputError
from ablate_zoo.design.chosen import Chosen
from ablate_zoo.design.grid import Grid
from ablate_zoo.design.one_factor import OneFactor
from ablate_zoo.design.random import Random
from ablate_zoo.design.search import Search
from ablate_zoo.design.sobol import Sobol

CONDITIONING = Dimension("backbone.conditioning", ("in_context", "adaln", "adaln_zero"), baseline="adaln_zero")
TARGET = Dimension("target", ("epsilon", "v"), baseline="epsilon")
BATCH = Dimension("batch", (64, 128), baseline=32)  # the base has a value that `vary` does not list
RATE = Dimension("optimizer.lr", low=1e-5, high=1e-2, log=True, baseline=1e-4)


def test_one_factor_changes_one_thing_at_a_time():
    base = {"backbone.conditioning": "adaln_zero", "target": "epsilon", "batch": 32}
    proposals = OneFactor().proposals([CONDITIONING, TARGET, BATCH])
    assert proposals == [
        base,
        {**base, "backbone.conditioning": "in_context"},
        {**base, "backbone.conditioning": "adaln"},
        {**base, "target": "v"},
        {**base, "batch": 64},
        {**base, "batch": 128},
    ]
    assert OneFactor().candidates([CONDITIONING, TARGET, BATCH]) == 6


def test_one_factor_leaves_out_what_a_change_replaces():
    backbone = Dimension("backbone", ("dit", "unet"), baseline="dit")
    proposals = OneFactor().proposals([backbone, CONDITIONING, TARGET])
    assert proposals[1] == {"backbone": "unet", "target": "epsilon"}
    assert proposals[2] == {"backbone": "dit", "target": "epsilon", "backbone.conditioning": "in_context"}


def test_one_factor_varies_what_the_base_does_not_have_where_it_may_exist():
    guidance = Dimension("guidance", ("none", "cfg"), baseline="none")
    scale = Dimension("guidance.scale", (1.5, 3.0))
    proposals = OneFactor().proposals([guidance, scale, TARGET])
    base = {"guidance": "none", "target": "epsilon"}
    assert proposals == [
        base,
        {**base, "guidance": "cfg"},
        {**base, "guidance": "cfg", "guidance.scale": 1.5},
        {**base, "guidance": "cfg", "guidance.scale": 3.0},
        {**base, "target": "v"},
    ]
    decay = Dimension("optimizer.decay", ("constant", "cosine"), baseline="constant")
    final = Dimension("optimizer.final", (0.1,))  # read only while the decay is cosine
    assert OneFactor().proposals([decay, final])[2] == {"optimizer.decay": "cosine", "optimizer.final": 0.1}
    inner = Dimension("guidance.scale.rule", ("a", "b"))  # two changes deep
    assert {"guidance": "cfg", "guidance.scale": 3.0, "guidance.scale.rule": "b"} in OneFactor().proposals(
        [guidance, scale, inner]
    )


def test_a_ladder_puts_each_choice_on_top_of_those_before_in_the_order_of_vary():
    base = {"backbone.conditioning": "adaln_zero", "target": "epsilon", "batch": 32}
    dimensions = [
        replace(TARGET, place=2),
        replace(BATCH, place=1),
        replace(CONDITIONING, place=0),
    ]  # as a space has them
    assert OneFactor(changes="ladder").proposals(dimensions) == [
        base,
        {**base, "backbone.conditioning": "in_context"},
        {**base, "backbone.conditioning": "adaln"},
        {**base, "backbone.conditioning": "adaln", "batch": 64},
        {**base, "backbone.conditioning": "adaln", "batch": 128},
        {"backbone.conditioning": "adaln", "batch": 128, "target": "v"},
    ]


def test_leave_one_out_is_the_whole_and_the_whole_without_each_line():
    base = {"backbone.conditioning": "adaln_zero", "target": "epsilon", "batch": 32}
    whole = {"backbone.conditioning": "adaln", "target": "v", "batch": 128}
    assert OneFactor(changes="leave_one_out").proposals([CONDITIONING, TARGET, BATCH]) == [
        base,
        whole,
        {**whole, "backbone.conditioning": "adaln_zero"},
        {**whole, "target": "epsilon"},
        {**whole, "batch": 32},
    ]


def test_one_factor_as_it_was_before_there_was_a_choice_keeps_its_identity():
    assert OneFactor().active() == {"type": "one_factor"}
    assert OneFactor(changes="ladder").digest() != OneFactor().digest()


def test_labels_of_other_types_are_other_choices():
    steps = Dimension("steps", (1, 1.0, 2), baseline=1)
    flag = Dimension("flag", (True, False), baseline=True)
    assert len(OneFactor().proposals([steps, flag])) == 3
    mixed = Dimension("mixed", (1, True), baseline=1)
    assert len(OneFactor().proposals([mixed])) == len(Grid().proposals([mixed])) == 2


def test_grid_is_the_product_and_starts_at_the_baseline():
    proposals = Grid().proposals([CONDITIONING, TARGET])
    assert proposals[0] == {"backbone.conditioning": "adaln_zero", "target": "epsilon"}
    assert len(proposals) == Grid().candidates([CONDITIONING, TARGET]) == 6
    assert {tuple(p.values()) for p in proposals} == {(c, t) for c in CONDITIONING.choices for t in TARGET.choices}
    without = Grid().proposals([CONDITIONING, BATCH])  # the baseline's batch is no choice
    assert without[0] == {"backbone.conditioning": "in_context", "batch": 64}
    assert len(without) == 6


def test_nothing_to_vary_is_the_baseline_alone():
    assert OneFactor().proposals([]) == Grid().proposals([]) == [{}]


@pytest.mark.parametrize("design", [OneFactor(), Grid()])
def test_a_range_cannot_be_listed(design):
    for call in (design.proposals, design.candidates):
        with pytest.raises(InputError, match=r"optimizer\.lr varies from 1e-05 to 0\.01.*give the values") as told:
            call([TARGET, RATE])
        assert told.value.where == "vary.optimizer.lr"


def run(design, seed, trials=12):
    """The candidates that a search asks for, its sampler made anew for each, as the engine does."""
    study = optuna.create_study(directions=["minimize", "minimize"])
    asked = []
    for number in range(trials):
        study.sampler = design.sampler(seed * 1000 + number)
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        kind = trial.suggest_categorical("kind", ["a", "b", "c"])
        asked.append((x, kind))
        study.tell(trial, [x, abs(x - 0.5) + (kind != "b")])
    return asked


SEARCHES = {
    "nsga2": Search(algorithm="nsga2", population=4, trials=30),
    "nsga3": Search(algorithm="nsga3", population=4, trials=30),
    "tpe": Search(algorithm="tpe", trials=30),
    "tpe, joint": Search(algorithm="tpe", joint=True, trials=30),
    "gp": Search(algorithm="gp", trials=30),
    "chance": Search(algorithm="random", trials=30),
    "by import path": Search(algorithm="optuna.samplers:TPESampler", arguments={"n_startup_trials": 3}, trials=30),
    "random": Random(trials=30),
    "sobol": Sobol(trials=30),
}


@pytest.mark.parametrize("design", SEARCHES.values(), ids=SEARCHES)
def test_a_search_is_decided_by_its_seed(design):
    assert design.proposals([TARGET, RATE]) is None
    assert design.candidates([TARGET, RATE]) == 30
    first = run(design, 1)
    assert first == run(design, 1)
    assert first != run(design, 2) or design.name == "sobol"
    assert len(set(first)) > 6  # a sampler that is made anew does not ask the same again


def test_a_sequence_of_sobol_is_more_even_than_chance():
    halves = [sum(x < 0.5 for x, _ in run(Sobol(), seed, 32)[16:]) for seed in range(3)]
    assert halves == [8, 8, 8]
    assert run(Sobol(sequence=1), 0) != run(Sobol(), 0)


def test_the_algorithms_are_those_that_they_are_called():
    names = {label: type(design.sampler(0)).__name__ for label, design in SEARCHES.items()}
    assert list(names.values()) == [
        *("NSGAIISampler", "NSGAIIISampler", "TPESampler", "TPESampler", "GPSampler", "RandomSampler"),
        *("TPESampler", "RandomSampler", "QMCSampler"),
    ]


@pytest.mark.parametrize(
    ("algorithm", "arguments", "message"),
    [
        ("nowhere:Sampler", {}, "cannot be imported: No module named 'nowhere'"),
        ("optuna.samplers:Nothing", {}, "there is no 'Nothing' in 'optuna.samplers'"),
        ("optuna:Study", {}, "is no sampler of Optuna's"),
        ("optuna.samplers:TPESampler", {"wings": 2}, "does not take these arguments: .*wings"),
        ("optunahub:samplers/auto_sampler", {}, "pip install optunahub|OptunaHub gives no package"),
    ],
)
def test_a_sampler_that_cannot_be_had_is_refused_before_anything_is_asked(algorithm, arguments, message):
    with pytest.raises(InputError, match=message) as told:
        Search(algorithm=algorithm, arguments=arguments).proposals([TARGET, RATE])
    assert told.value.where in ("design.algorithm", "design.arguments")


def test_a_package_of_the_hub_gives_its_one_sampler(monkeypatch):
    package = types.ModuleType("package")
    package.Own = type("Own", (optuna.samplers.RandomSampler,), {"__module__": "package"})
    hub = types.ModuleType("optunahub")
    hub.load_module = {"samplers/own": package}.__getitem__
    monkeypatch.setitem(sys.modules, "optunahub", hub)
    assert type(Search(algorithm="optunahub:samplers/own").sampler(0)) is package.Own
    with pytest.raises(InputError, match="OptunaHub gives no package 'samplers/other': KeyError"):
        Search(algorithm="optunahub:samplers/other").sampler(0)


@pytest.mark.parametrize("algorithm", ["nsga2", "tpe"])
def test_a_search_learns(algorithm):
    """In the second half of 60 trials it asks near the front (x in [0, 0.5], kind b) more often than by chance."""
    asked = run(Search(algorithm=algorithm, population=8), 3, 60)[30:]
    assert sum(kind == "b" and x <= 0.55 for x, kind in asked) > 15  # by chance 5.5


def test_how_much_is_searched_is_no_part_of_what_is_measured():
    assert Search(trials=10).digest() == Search(trials=99, seeds=4).digest()
    assert Search(algorithm="tpe", population=5).digest() == Search(algorithm="tpe").digest()
    assert Search(algorithm="nsga2", population=5).digest() != Search(algorithm="nsga2").digest()
    assert [d.default for d in (OneFactor, Grid, Search)] == [True, False, False]
    with pytest.raises(ValidationError, match=r"expected one of nsga2, .*, or a sampler as package\.module:Class"):
        Search(algorithm="annealing")
    with pytest.raises(ValidationError, match="arguments go with a sampler by its import path"):
        Search(algorithm="gp", arguments={"seed": 1})
    assert Search(algorithm="a:B", arguments={"x": [1]}).spec()["arguments"] == [["x", [1]]]


def test_chosen_candidates_are_those_that_are_named_and_the_baseline_first():
    dimensions = [CONDITIONING, TARGET, RATE]
    named = [
        {"target": "v", "optimizer.lr": 1e-3},
        {"backbone.conditioning": "adaln"},
        {"target": "v", "optimizer.lr": 1e-3},
    ]
    proposals = Chosen(named=named).proposals(dimensions)
    base = {"backbone.conditioning": "adaln_zero", "target": "epsilon", "optimizer.lr": 1e-4}
    assert proposals == [base, *named[:2]] and Chosen(named=named).candidates(dimensions) == 3
    assert Chosen().proposals(dimensions) == [base]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (
            {"backbone.conditionin": "adaln"},
            "no line of 'vary' is called 'backbone.conditionin'; there is: backbone.cond",
        ),
        ({"target": "x0"}, "target has no choice 'x0'; there is: epsilon, v"),
        ({"optimizer.lr": 1.0}, "optimizer.lr goes from 1e-05 to 0.01, which 1.0 is not within"),
    ],
)
def test_what_the_study_does_not_have_cannot_be_chosen(named, message):
    with pytest.raises(InputError, match=message):
        Chosen(named=[named]).proposals([CONDITIONING, TARGET, RATE])
