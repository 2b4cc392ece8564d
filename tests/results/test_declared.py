"""A verdict stands on the test that the study declared, and says so; what no test can say is said too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from results_folders import METRIC, Study

from ablate.errors import InputError
from ablate.results import load
from ablate.results.verdict import verdict

TWO_WAY = {"type": "two_way", "variance": "checked", "check": 0.002}
VALUES = {"adaln_zero": [1.0, 1.2, 1.1], "adaln": [3.0, 3.1, 3.15], "in_context": [1.05, 1.25, 1.1]}


def analysis(**changes: Any) -> dict[str, Any]:
    plan = {"test": TWO_WAY, "alpha": 0.05, "delta": None, "scale": "plain", "most_seeds": None}
    return {**plan, "looks": [[0, 1, 2]], "provenance": {"module": "ablate_zoo.analysis.two_way"}, **changes}


def folder(study: Study, values: dict[str, list[float | None]], ended: bool = True, **lock: Any) -> Path:
    """A study's folder; None: the run diverged."""
    study.head(lock=lock)
    for label, of in values.items():
        for seed, value in enumerate(of):
            metrics = {} if value is None else {METRIC: value}
            state = "diverged" if value is None else "complete"
            study.trial({"backbone.conditioning": label}, seed, metrics, state=state)
    if ended:
        (study.path / "ended.json").write_text('{"trials": 9}')
    return study.path


def test_the_declared_test_decides_with_three_seeds(study: Study) -> None:
    results = load(folder(study, VALUES, analysis=analysis()))
    effects = results.effects().set_index("candidate")
    assert effects["answer"].to_dict() == {"adaln": "worse", "in_context": "open"}
    assert effects.loc["adaln", "p_holm"] == pytest.approx(2 * effects.loc["adaln", "p"] / 0.8)
    told = verdict(results)
    assert "; adaln is distinguishably worse (Holm p < 0.05). Test: t-test in the two-way model" in told
    assert "declared beforehand" in told and "ahead of time" not in told
    assert "of the test: " in results.summary(plain=True) and "times as noisy" in results.summary(plain=True)
    assert "t-test in the two-way model" in load(study.path).effects().attrs["test"]
    assert results.figures(study.path / "f", ["png"], ["effects"])


def test_a_folder_that_declared_nothing_is_judged_as_then_and_says_so(study: Study) -> None:
    results = load(folder(study, VALUES))
    effects = results.effects()
    assert effects["p"].min() == 0.25 and set(effects["answer"]) == {"open"}
    assert "it takes 6 seeds" in verdict(results) or "it takes 7 seeds" in verdict(results)
    assert "No test was declared when this study was run; it is judged as then, by the paired permutation" in verdict(
        results
    )
    other = results.effects(test="two_way")
    assert other.set_index("candidate").loc["adaln", "answer"] == "worse" and not other.attrs["declared"]
    with pytest.raises(InputError, match="did you mean 'welch'"):
        results.effects(test="welsh")


def test_what_was_declared_late_or_is_looked_at_early_is_told(study: Study) -> None:
    late = load(folder(study, VALUES, ended=False, analysis=analysis(after=2)))
    assert "was declared after 2 seeds had results" in verdict(late)
    assert "has not come to its end: this is a look ahead of time" in verdict(late)


def test_small_differences_are_equivalent_within_the_margin(study: Study) -> None:
    results = load(folder(study, VALUES, analysis=analysis(delta=0.5, most_seeds=3)))
    effects = results.effects().set_index("candidate")
    assert effects["answer"].to_dict() == {"adaln": "worse", "in_context": "equivalent"}
    assert effects.loc["in_context", "p_equivalent"] < 0.05
    told = verdict(results)
    assert "adaln is distinguishably worse (Holm p < 0.05), and in_context is equivalent to it within ±0.5." in told


def test_on_the_log_scale_ratios_are_compared(study: Study) -> None:
    results = load(folder(study, VALUES, analysis=analysis(scale="log", delta=0.2, most_seeds=3)))
    row = results.effects().set_index("candidate").loc["adaln"]
    geometric = [np.exp(np.log(VALUES[name]).mean()) for name in ("adaln", "adaln_zero")]
    assert (row["mean"], row["baseline_mean"]) == pytest.approx(geometric)
    assert row["ratio"] == pytest.approx(geometric[0] / geometric[1]) and np.isnan(row["low"])
    assert row["ratio_low"] < row["ratio"] < row["ratio_high"] and row["answer"] == "worse"
    assert "equivalent to it within 20 %" in verdict(results)
    assert results.figures(study.path / "f", ["png"], ["effects"])
    study.trial({"backbone.conditioning": "adaln"}, 0, {METRIC: -0.1})
    told = load(study.path)
    with pytest.raises(InputError, match="not above 0"):
        told.effects()
    assert verdict(told).startswith("No verdict: ") and "log" in verdict(told)


def test_larger_is_better_turns_the_answers_and_the_intervals(study: Study) -> None:
    results = load(folder(study, VALUES, analysis=analysis(), larger_is_better=[METRIC]))
    row = results.effects().set_index("candidate").loc["adaln"]
    assert row["answer"] == "better" and 0 < row["low"] < row["difference"] < row["high"]
    assert "adaln has the best" in verdict(results) and "is distinguishable from chance" in verdict(results)


def test_runs_that_diverged_are_outcomes(study: Study) -> None:
    values: dict[str, list[float | None]] = {name: list(of) * 3 for name, of in VALUES.items()}
    values["adaln"] = [None] * 8 + [0.5]
    results = load(folder(study, values, analysis=analysis(looks=[list(range(9))], most_seeds=9)))
    row = results.effects().set_index("candidate").loc["adaln"]
    assert row["answer"] == "worse" and row["n"] == 1 and row["diverged"] == 8, "one lucky run does not outweigh eight"
    assert "8 diverged of 9 seeds (a rate of 52 to 100 %): compared by ranks, diverged runs last" in row["note"]
    assert row["smallest_p"] == 2 / 2**9
    assert any("signed ranks" in text for text in results.effects().attrs["assumptions"])


def test_without_a_baseline_all_pairs_are_compared(study: Study) -> None:
    results = load(folder(study, VALUES, analysis=analysis(), baseline={}))
    pairs = results.pairs()
    assert len(pairs) == 3 and pairs.attrs["comparisons"] == 3
    told = {
        frozenset((a, b)): word for a, b, word in zip(pairs["candidate"], pairs["other"], pairs["answer"], strict=True)
    }
    assert told[frozenset(("adaln_zero", "in_context"))] == "open"
    assert told[frozenset(("adaln", "in_context"))] in ("better", "worse")
    assert re.search(r"adaln is distinguishably worse than it \(all 3 pairs, Holm p < 0\.05\)", verdict(results))
    assert list(results.pairs(candidates=["adaln", "in_context"])["n"]) == [3]
    assert (results.pairs(test="permutation")["p"] >= 0.25).all() and not results.pairs(test="welch").attrs["declared"]


def test_missing_seeds_are_fitted_not_dropped(study: Study) -> None:
    values = {**VALUES, "in_context": [1.05, 1.3]}
    effects = load(folder(study, {**values, "adaln": VALUES["adaln"][:1]}, analysis=analysis())).effects()
    row = effects.set_index("candidate").loc["in_context"]
    assert row["n"] == 2 and np.isfinite(row["low"])
    assert "3 of 9 runs are missing" in effects.attrs["assumptions"][0]
    one = effects.set_index("candidate").loc["adaln"]
    assert one["n"] == 1 and one["p"] < 1 and one["smallest_p"] == 0 and not one["note"], (
        "the others tell the deviation"
    )


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"test": None}, "expected the name of an analysis"),
        ({"test": {"type": "mine_alone"}, "provenance": {}}, "there is no analysis 'mine_alone'"),
        ({"alpha": "much"}, "what it says of the analysis is damaged"),
        ({"looks": 3}, "what it says of the analysis is damaged"),
    ],
)
def test_a_test_that_is_not_known_gives_no_verdict(study: Study, damage: dict[str, Any], told: str) -> None:
    results = load(folder(study, VALUES, analysis=analysis(**damage)))
    assert re.search(told, verdict(results)) and verdict(results).startswith("No verdict: ")
    assert "adaln" in results.summary(plain=True)


def test_changed_source_of_the_test_is_told(study: Study) -> None:
    known = {"module": "ablate_zoo.analysis.two_way", "source_hash": "f" * 64}
    results = load(folder(study, VALUES, analysis=analysis(provenance=known)))
    assert any("source of this test has changed" in text for text in results.effects().attrs["assumptions"])


def test_the_spread_is_told_apart_and_what_samples_are_worth(study: Study) -> None:
    results = load(folder(study, VALUES, analysis=analysis()))
    found = results.spread()
    own = np.array(list(VALUES.values()))
    residuals = own - own.mean(axis=1, keepdims=True) - own.mean(axis=0) + own.mean()
    assert found.paired == pytest.approx(np.sqrt((residuals**2).sum() / 4)) and found.df == 4
    assert found.seeds == pytest.approx(np.sqrt(own.var(axis=1, ddof=1).mean())) and found.sampling == 0.002
    assert np.std(found.residuals) == pytest.approx(found.paired)
    assert found.training == pytest.approx(np.sqrt(found.seeds**2 - 0.002**2))
    table = results.allocation(seconds=2000)
    assert table["best"].sum() == 1 and (table["seconds"] <= 2000).all()
    halved = table[table["samples"] == 1000].iloc[0]
    assert halved["seeds"] == int(2000 / (3 * (50.0 + 4.5)))
    ratios = np.log(own) - np.log(own).mean(axis=1, keepdims=True) - np.log(own).mean(axis=0) + np.log(own).mean()
    assert results.spread(scale="log").paired == pytest.approx(np.sqrt((ratios**2).sum() / 4))
    with pytest.raises(InputError, match="plain and log, not 'logs'"):
        results.spread(scale="logs")
    with pytest.raises(InputError, match="seconds of work"):
        results.allocation(seconds=0)
