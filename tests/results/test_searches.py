"""Searches explained: importance, marginals, what a front has in common, progress, and the luck of the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from results_folders import METRIC, Study
from scipy.stats import hypergeom

from ablate.errors import InputError
from ablate.results import Results, load
from ablate.results.front import hypervolume
from ablate.results.remarks import explanations
from ablate.results.searches.best import best
from ablate.results.searches.importance import ped_anova
from ablate.results.searches.marginals import groups

BASE = {"backbone": "dit", "backbone.width": 8, "target": "v", "lr": 1e-3}
RANGES = {"lr": {"low": 1e-4, "high": 1e-2, "log": True, "step": None}}


def candidates(n: int = 40) -> list[dict[str, object]]:
    """A conditional space: only `unet` has a fusion. The first is the baseline."""
    rng, made = np.random.default_rng(0), [dict(BASE)]
    while len(made) < n:
        one: dict[str, object] = {
            "backbone": str(rng.choice(["dit", "unet"])),
            "backbone.width": int(rng.choice([8, 16, 32])),
        }
        one |= {"target": str(rng.choice(["v", "x0"])), "lr": float(10 ** rng.uniform(-4, -2))}
        made.append(
            one | ({"backbone.fusion": str(rng.choice(["add", "concat"]))} if one["backbone"] == "unet" else {})
        )
    return made


def quality(one: dict[str, object]) -> float:
    """`target` decides, the width helps a little, the rest does nothing."""
    return 5.0 * (one["target"] == "x0") + 8 / float(str(one["backbone.width"])) + 1.0


@pytest.fixture
def searched(tmp_path: Path) -> Results:
    study = Study(tmp_path / "search")
    study.head(lock={"baseline": BASE, "ranges": RANGES})
    for i, one in enumerate(candidates()):
        noise = 0.02 * math.sin(7 * i)
        gflops = float(str(one["backbone.width"])) / 8
        study.trial(one, 0, {METRIC: quality(one) + noise}, gflops=gflops, images=1000, ended=1000.0 + i)
    return load(study.path)


def test_importance_is_that_of_optuna_and_finds_what_decides(searched: Results) -> None:
    table = searched.importance().set_index("path")
    assert table.index[0] == "target" and table.loc["target", "p"] < 0.05 < table.loc["lr", "p"]
    assert table["importance"].sum() == pytest.approx(1) and np.isnan(table.loc["lr", "choices"])
    assert (table["low"] <= table["importance"]).all() and (table["importance"] <= table["high"]).all()
    assert table.loc["backbone.fusion", "n"] < 40
    space = {
        "backbone": CategoricalDistribution(["dit", "unet"]),
        "backbone.width": CategoricalDistribution(["16", "32", "8"]),
        "target": CategoricalDistribution(["v", "x0"]),
        "lr": FloatDistribution(1e-4, 1e-2, log=True),
        "backbone.fusion": CategoricalDistribution(["add", "concat"]),
    }
    values = searched.front([METRIC]).set_index("config_hash")[METRIC]
    choices = [candidate.choices for candidate in searched.candidates]
    theirs = of_optuna(choices, [float(values[candidate.config_hash]) for candidate in searched.candidates], space)
    assert table["importance"].to_dict() == pytest.approx(theirs)


def of_optuna(
    choices: Sequence[Mapping[str, Any]], goodness: Sequence[float], space: Mapping[str, BaseDistribution]
) -> dict[str, float]:
    """The same by Optuna's own evaluator."""
    study = optuna.create_study()
    for one, value in zip(choices, goodness, strict=True):
        params = {p: str(label) if isinstance(space[p], CategoricalDistribution) else label for p, label in one.items()}
        own = {path: space[path] for path in params}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=own, value=value))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


@pytest.mark.parametrize("seed", range(4))
def test_importance_of_ranges_is_that_of_optuna(seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = {
        "depth": IntDistribution(2, 30),
        "width": IntDistribution(16, 256, step=16),
        "batch": IntDistribution(1, 4096, log=True),
        "decay": FloatDistribution(0.0, 1.0),
        "share": FloatDistribution(0.1, 0.9, step=0.1),
        "lr": FloatDistribution(1e-5, 1e-1, log=True),
    }
    ranges = {path: {key: getattr(one, key) for key in ("low", "high", "log", "step")} for path, one in space.items()}
    choices = [
        {
            "depth": int(rng.integers(2, 31)),
            "width": 16 * int(rng.integers(1, 17)),
            "batch": int(2 ** rng.uniform(0, 12)),
            "decay": float(rng.beta(0.5, 0.5)),
            "share": round(0.1 * int(rng.integers(1, 10)), 1),
        }
        | ({"lr": float(10 ** rng.uniform(-5, -1))} if rng.random() < 0.7 else {})
        for _ in range(60)
    ]
    goodness = np.array([one["depth"] + 5 * one["share"] for one in choices]) + rng.normal(size=60)
    table = ped_anova(choices, goodness, ranges, resamples=20).set_index("path")
    assert table["importance"].to_dict() == pytest.approx(of_optuna(choices, goodness.tolist(), space), abs=1e-12)


def test_importance_for_the_front_and_of_a_search_that_lost_trials(searched: Results) -> None:
    table = searched.importance("front", 20)
    assert table.attrs["of"] == f"the front of {METRIC}, gflops" and table["path"].iloc[0] == "target"
    lost = {**BASE, "target": "x0", "lr": 0.004}
    Study(searched.path).trial(lost, 0, state="diverged")
    assert load(searched.path).importance(resamples=20).attrs["candidates"] == 41, "it is an outcome: the worst"


def test_few_candidates_have_no_importance() -> None:
    with pytest.raises(InputError, match="takes 16 candidates that have ended; there are 3"):
        ped_anova([{"a": i} for i in range(3)], np.arange(3.0))
    with pytest.raises(InputError, match="no choice differs"):
        ped_anova([{"a": 1}] * 20, np.arange(20.0))


def test_what_does_nothing_is_told_as_rarely_as_it_says() -> None:
    rng, told = np.random.default_rng(0), []
    for _ in range(12):
        choices = [{"a": str(rng.integers(2)), "b": str(rng.integers(3)), "c": float(rng.random())} for _ in range(32)]
        told += (ped_anova(choices, rng.normal(size=32), resamples=20)["p"] < 0.05).tolist()
    assert np.mean(told) < 0.12


def test_marginals_are_means_by_choice(searched: Results) -> None:
    table = searched.marginals().set_index(["path", "choice"])
    points = searched.slices()
    for choice in ("v", "x0"):
        own = points.loc[(points["path"] == "target") & (points["choice"] == choice), "value"]
        row = table.loc[("target", choice)]
        assert [row["n"], row["mean"], row["best"]] == pytest.approx([len(own), own.mean(), own.min()])
        assert row["low"] < row["mean"] < row["high"]
    front = searched.front()
    assert table.loc[("target", "v"), "on_front"] + table.loc[("target", "x0"), "on_front"] == front["on_front"].sum()
    assert len(table.loc["lr"]) == 4 and " to " in table.loc["lr"].index[0]


def test_many_numbers_are_counted_in_quarters() -> None:
    assert groups([1, 2, 2, 1]) == ["1", "2", "2", "1"] and groups(["add", 3]) == ["add", "3"]
    counts = pd.Series(groups([float(i) for i in range(40)])).value_counts(sort=False)
    assert counts.to_dict() == {"0 to 9": 10, "10 to 19": 10, "20 to 29": 10, "30 to 39": 10}


def test_what_the_front_has_in_common_is_told_by_fishers_test(searched: Results) -> None:
    table = searched.common().set_index(["path", "choice"])
    row = table.loc[("target", "v")]
    total, on = len(searched.candidates), int(searched.front()["on_front"].sum())
    chosen = row["front"] + row["others"]
    assert row["front"] == on == row["of_front"] and row["of_others"] == total - on
    assert row["p"] == pytest.approx(hypergeom.sf(row["front"] - 1, total, chosen, on))
    assert (table["p_holm"] >= table["p"]).all() and table.index[0][0] == "target"


def test_progress_is_the_best_and_the_hypervolume_against_the_training_until_then(searched: Results) -> None:
    table = searched.progress(reference={"kid": 20.0, "gflops": 10.0})
    trials = searched.trials.sort_values("ended")
    assert table["train_gflops"].tolist() == pytest.approx((3 * trials["gflops"] * 1000).cumsum().tolist())
    assert table["best"].tolist() == pytest.approx(trials[f"m.{METRIC}"].cummin().tolist())
    assert table["share"].iloc[-1] == 1 and table["hypervolume"].is_monotonic_increasing
    points = trials[[f"m.{METRIC}", "gflops"]].to_numpy()
    for k in range(len(points)):
        assert table["hypervolume"].iloc[k] == pytest.approx(hypervolume(points[: k + 1], np.array([20.0, 10.0])))


def test_without_the_ends_of_trials_there_is_no_progress(study: Study) -> None:
    study.head()
    study.trial({"backbone.conditioning": "adaln"}, 0, {METRIC: 1.0})
    with pytest.raises(InputError, match="when trials ended is not recorded"):
        load(study.path).progress()


def test_the_best_are_taken_front_by_front(searched: Results) -> None:
    front = searched.front()
    names = [c.config_hash for c in best(searched, 100)]
    baseline = searched.candidates[0].config_hash
    on = set(front.loc[front["on_front"], "config_hash"]) - {baseline}
    assert set(names[: len(on)]) == on and baseline not in names and len(names) == 39
    assert [c.config_hash for c in best(searched, 3)] == names[:3]


def test_a_search_tells_at_its_end_what_mattered_and_has_its_figures(
    searched: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablate.results.searches.importance.BUDGET", 0)  # as few resamples as there can be
    lines = explanations(searched)
    assert len(lines) == 2 and lines[0].startswith(f"importance for {METRIC}: target 0.")
    assert "; not told from chance: " in lines[0] and "lr 0." in lines[0].partition(";")[2]
    summary = searched.summary(plain=True)
    assert "on the front have no choice in common, beside the " in summary
    monkeypatch.setattr("ablate.results.remarks.ALPHA", 2.0)
    assert "on the front have in common: target=v" in searched.summary(plain=True)
    assert "ablate run … --confirm 3" in summary
    names = {"importance", "slices", "progress"}
    drawn = {path.stem for path in searched.figures(searched.path / "f", ("png",), sorted(names))}
    assert drawn == names


def test_the_luck_of_the_best_is_told_where_seeds_tell_the_spread(study: Study) -> None:
    study.head(lock={"baseline": {"width": 0}})
    rng = np.random.default_rng(3)
    for i in range(24):
        for seed in range(2):
            study.trial({"width": i}, seed, {METRIC: float(np.exp(0.2 * rng.normal()))})
    results = load(study.path)
    table = results.expected()
    first = table.iloc[0]
    assert first["mean"] < 0.9 < first["expected"] and first["low"] < first["expected"] < first["high"]
    assert table.attrs["relative"] and table.attrs["spread"] == pytest.approx(0.2, rel=0.3)
    assert "the best of 24 was partly lucky" in results.summary(plain=True)
    study.trial({"width": 50}, 0, {METRIC: 0.01})
    study.trial({"width": 50}, 1, state="diverged")
    lost = load(study.path).expected().set_index("c.width").loc[50]
    assert math.isnan(lost["expected"])
