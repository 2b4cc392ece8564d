"""Main effects and interactions: against statsmodels, and what a design cannot tell."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from results_folders import METRIC, Study
from scipy.stats import t as student

from ablate.errors import InputError
from ablate.results import Results, load

LEVELS: dict[str, list[Any]] = {"schedule": ["cosine", "edm", "flow"], "target": ["v", "x0"], "batch": [16, 32]}
BASE = {"schedule": "cosine", "target": "v", "batch": 16}
GRID = [dict(zip(LEVELS, row, strict=True)) for row in itertools.product(*LEVELS.values())]


def value(choices: dict[str, Any]) -> float:
    """What no seed changes: two main effects and one interaction."""
    own = {"edm": 2.0, "flow": -1.0, "x0": 4.0, 32: 0.5}
    both = 3.0 if (choices["schedule"], choices["target"]) == ("edm", "x0") else 0.0
    return 10 + sum(own.get(label, 0.0) for label in choices.values()) + both


def made(path: Path, candidates: list[dict[str, Any]], seeds: int = 2, noise: float = 0.0) -> Results:
    draws, study = np.random.default_rng(0), Study(path)
    study.head(lock={"baseline": BASE})
    for seed, choices in itertools.product(range(seeds), candidates):
        study.trial(choices, seed, {METRIC: value(choices) + 5 * seed + noise * draws.normal()})
    return load(path)


def test_effects_are_those_that_were_put_in(tmp_path: Path) -> None:
    results = made(tmp_path, GRID)
    table = results.main_effects(pairs=[("target", "schedule")]).set_index("effect")
    told = table["difference"].to_dict()
    assert told == pytest.approx(
        {
            "schedule=edm": 2 + 3 / 2,  # averaged over the two targets
            "schedule=flow": -1,
            "target=x0": 4 + 3 / 3,
            "batch=32": 0.5,
            "schedule=edm × target=x0": 3,
            "schedule=flow × target=x0": 0,
        }
    )
    assert table["n"].tolist() == [8, 8, 12, 12, 4, 4]
    assert (table["low"] <= table["difference"]).all() and table.index[0].startswith("schedule")


def test_differences_and_intervals_are_those_of_statsmodels(tmp_path: Path) -> None:
    results = made(tmp_path, GRID, noise=1.0)
    frame = results.trials.rename(columns={f"m.{METRIC}": "y", **{f"c.{path}": path for path in LEVELS}})
    frame["batch"] = frame["batch"].astype(str)
    theirs = smf.ols("y ~ C(seed) + schedule + C(target, Treatment('v')) + batch", frame).fit()
    table = results.main_effects().set_index("effect")
    names = {
        "schedule=edm": "schedule[T.edm]",
        "schedule=flow": "schedule[T.flow]",
        "target=x0": "C(target, Treatment('v'))[T.x0]",
        "batch=32": "batch[T.32]",
    }
    low, high = theirs.conf_int()[0], theirs.conf_int()[1]
    for name, other in names.items():
        row = table.loc[name]
        expected = [theirs.params[other], low[other], high[other], theirs.pvalues[other]]
        assert row[["difference", "low", "high", "p"]].tolist() == pytest.approx(expected), name
    assert results.main_effects().attrs["degrees"] == theirs.df_resid


def test_an_interaction_is_that_of_statsmodels(tmp_path: Path) -> None:
    results = made(tmp_path, GRID, noise=1.0)
    frame = results.trials.rename(columns={f"m.{METRIC}": "y", **{f"c.{path}": path for path in LEVELS}})
    theirs = smf.ols("y ~ C(seed) + schedule * C(target, Treatment('v')) + C(batch)", frame).fit()
    table = results.main_effects(pairs=[("schedule", "target")]).set_index("effect")
    other = "schedule[T.edm]:C(target, Treatment('v'))[T.x0]"
    assert table.loc["schedule=edm × target=x0", "difference"] == pytest.approx(theirs.params[other])
    assert table.loc["schedule=edm × target=x0", "high"] == pytest.approx(theirs.conf_int().loc[other, 1])


HALF = [c for c in GRID if c["schedule"] != "flow" and sum(c[p] != BASE[p] for p in BASE) % 2 == 0]


def test_a_fraction_tells_main_effects_and_says_what_it_cannot_tell(tmp_path: Path) -> None:
    """Half of 2³: each main effect is mixed up with the interaction of the other two."""
    results = made(tmp_path, HALF)
    assert len(HALF) == 4 and len(results.main_effects()) == 3
    table = results.main_effects(pairs=[("batch", "target")]).set_index("effect")
    told = table["difference"].notna()
    assert told.to_dict() == {"schedule=edm": False, "target=x0": True, "batch=32": True, "target=x0 × batch=32": False}
    assert "cannot tell the effect of schedule from that of target × batch: ask for fewer" in table["note"].iloc[0]
    assert table.loc["target=x0", "note"] == "" and "cannot tell" in table.attrs["note"]
    with pytest.raises(InputError, match="cannot tell"):
        results.main_effects(pairs="all")


def test_one_level_and_a_choice_that_not_all_have_are_said_and_left_out(tmp_path: Path) -> None:
    more = [{**c, "fusion": "add"} if c["target"] == "x0" else c for c in GRID if c["batch"] == 16]
    results = made(tmp_path, more)
    table = results.main_effects()
    assert set(table["factor"]) == {"schedule", "target"}
    with pytest.raises(InputError, match="batch has one level in the complete trials, 16"):
        results.cell_means("target", "batch")
    assert table.attrs["left_out"]["batch"] == "batch has one level in the complete trials, 16"
    assert "fusion does not exist for every candidate" in table.attrs["left_out"]["fusion"]
    assert "one level" in table.attrs["note"] and "does not exist" in table.attrs["note"]


def test_unbalanced_seeds_are_those_of_the_mixed_model_of_statsmodels(tmp_path: Path) -> None:
    rng, study = np.random.default_rng(1), Study(tmp_path)
    study.head(lock={"baseline": BASE})
    moves = rng.normal(size=4)
    for i, choices in enumerate(GRID):
        for seed in range(4):
            if (i + seed) % 4 or i % 3:
                study.trial(choices, seed, {METRIC: value(choices) + moves[seed] + 0.2 * rng.normal()})
    results = load(tmp_path)
    frame = results.trials.rename(columns={f"m.{METRIC}": "y", **{f"c.{path}": path for path in LEVELS}})
    model = "y ~ schedule * C(target, Treatment('v')) + C(batch)"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = smf.mixedlm(model, frame, groups="seed").fit(reml=True)
    table = results.main_effects(pairs=[("schedule", "target")]).set_index("effect")
    row = table.loc["schedule=edm × target=x0"]
    other = "schedule[T.edm]:C(target, Treatment('v'))[T.x0]"
    assert row["difference"] == pytest.approx(theirs.params[other], rel=1e-3)
    half = float(student.ppf(0.975, table.attrs["degrees"])) * theirs.bse[other]
    assert row["high"] - row["difference"] == pytest.approx(half, rel=0.02)
    assert table.attrs["model"] == "seeds as random effects" and "other seeds (3 to 4 each)" in table.attrs["note"]


def test_seeds_of_one_candidate_are_no_further_candidates(tmp_path: Path) -> None:
    """What a candidate has beside its choices counts once, however many seeds it has: else chance were an effect."""
    found = []
    for i in range(16):
        rng, study = np.random.default_rng(i), Study(tmp_path / str(i))
        study.head(lock={"baseline": BASE})
        for choices in [GRID[0], *(GRID[k] for k in rng.permutation(range(1, 12))[:8])]:
            own = rng.normal()
            for seed in range(3):
                study.trial(choices, seed, {METRIC: own + 0.05 * rng.normal()})
        try:
            table = load(study.path).main_effects()
        except InputError:
            continue
        assert table.attrs["model"] == "candidates' means over seeds" and table.attrs["additive"] < 0.01
        found += (table["p"] < 0.05).tolist()
    assert len(found) > 32 and np.mean(found) < 0.12


def test_seeds_that_only_some_levels_have_tell_nothing_of_these(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.head(lock={"baseline": BASE})
    for choices in (c for c in GRID if c["schedule"] != "flow"):
        for seed in (0, 1):
            study.trial(choices, seed + 10 * (choices["target"] == "x0"), {METRIC: value(choices)})
    table = load(tmp_path).main_effects().set_index("effect")
    assert np.isnan(table.loc["target=x0", "difference"]) and "the same seeds" in table.loc["target=x0", "note"]
    assert np.isfinite(table.loc["batch=32", "difference"])


def test_without_a_trial_to_spare_there_is_no_interval(tmp_path: Path) -> None:
    table = made(tmp_path, HALF, seeds=1).main_effects()
    assert table["low"].isna().all() and table["p"].isna().all() and "add seeds" in table.attrs["note"]


@pytest.mark.parametrize(
    ("candidates", "pairs", "message"),
    [
        ([BASE], (), "no choice differs"),
        ([BASE, {"schedule": "cosine", "target": "v"}], (), "batch does not exist for every candidate"),
        (GRID, [("shedule", "target")], "no factor is 'shedule'; did you mean 'schedule'"),
        (GRID, ["schedule"], "expected 'all', or pairs"),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path: Path, candidates: Any, pairs: Any, message: str) -> None:
    study = Study(tmp_path)
    study.head(lock={"baseline": BASE})
    for choices in candidates:
        study.trial(choices, 0, {METRIC: 1.0})
    with pytest.raises(InputError, match=message):
        load(tmp_path).main_effects(pairs=pairs)


def test_diverged_trials_are_told(tmp_path: Path) -> None:
    results = made(tmp_path, GRID)
    Study(tmp_path).trial({**BASE, "target": "x0", "batch": 64}, 0, {METRIC: 1.0}, state="diverged")
    assert "1 diverged and left out" in load(tmp_path).main_effects().attrs["note"]
    assert isinstance(results.main_effects(), pd.DataFrame)
