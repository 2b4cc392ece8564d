import optuna
import pytest
from pydantic import ValidationError

from ablate.api import Dimension, InputError
from ablate_zoo.design.grid import Grid
from ablate_zoo.design.one_factor import OneFactor
from ablate_zoo.design.search import Search

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


@pytest.mark.parametrize("algorithm", ["nsga2", "tpe", "random"])
def test_a_search_is_decided_by_its_seed(algorithm):
    design = Search(algorithm=algorithm, population=4, trials=30)
    assert design.proposals([TARGET, RATE]) is None
    assert design.candidates([TARGET, RATE]) == 30
    first = run(design, 1)
    assert first == run(design, 1)
    assert first != run(design, 2)
    assert len(set(first)) > 6  # a sampler that is made anew does not ask the same again


def test_the_algorithms_are_those_that_they_are_called():
    samplers = [type(Search(algorithm=a).sampler(0)).__name__ for a in ("nsga2", "tpe", "random")]
    assert samplers == ["NSGAIISampler", "TPESampler", "RandomSampler"]


@pytest.mark.parametrize("algorithm", ["nsga2", "tpe"])
def test_a_search_learns(algorithm):
    """In the second half of 60 trials it asks near the front (x in [0, 0.5], kind b) more often than by chance."""
    asked = run(Search(algorithm=algorithm, population=8), 3, 60)[30:]
    assert sum(kind == "b" and x <= 0.55 for x, kind in asked) > 15  # by chance 5.5


def test_how_much_is_searched_is_no_part_of_what_is_measured():
    assert Search(trials=10).digest() == Search(trials=99, seeds=4).digest()
    assert Search(algorithm="tpe", population=5).digest() == Search(algorithm="tpe").digest()
    assert Search(population=5).digest() != Search().digest()
    assert [d.default for d in (OneFactor, Grid, Search)] == [True, False, False]
    with pytest.raises(ValidationError):
        Search(algorithm="annealing")
