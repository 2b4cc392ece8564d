"""Main effects and interactions: against statsmodels, and what a design cannot tell."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from results_folders import METRIC, Study

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


def test_a_fraction_tells_main_effects_and_refuses_what_it_cannot_tell(tmp_path: Path) -> None:
    """Half of 2³: each main effect is mixed up with the interaction of the other two."""
    results = made(tmp_path, HALF)
    assert len(HALF) == 4 and len(results.main_effects()) == 3
    with pytest.raises(InputError, match=r"cannot tell the effects of .*target.* × batch.*ask for fewer pairs"):
        results.main_effects(pairs=[("batch", "target")])
    with pytest.raises(InputError, match="cannot tell"):
        results.main_effects(pairs="all")


def test_without_a_trial_to_spare_there_is_no_interval(tmp_path: Path) -> None:
    table = made(tmp_path, HALF, seeds=1).main_effects()
    assert table["low"].isna().all() and table["p"].isna().all() and "add seeds" in table.attrs["note"]


@pytest.mark.parametrize(
    ("candidates", "pairs", "message"),
    [
        ([BASE], (), "no choice differs"),
        ([BASE, {"schedule": "edm", "target": "v"}], (), "batch does not exist for every candidate"),
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
