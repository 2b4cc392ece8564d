"""Where ranks reverse, between budgets and between costs; and how two factors work together."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from results_folders import METRIC, Study, measurement

from ablate.errors import InputError
from ablate.results import Results, load

BASE = {"width": 8, "conditioning": "adaln"}


def crossed(path: Path, noise: float = 0.02, seeds: int = 3) -> Results:
    """In small networks `cross` is better, in large ones worse; `in_context` is always worst."""
    rng, study = np.random.default_rng(0), Study(path)
    study.head(lock={"baseline": BASE})
    own = {"adaln": 1.0, "cross": 1.0, "in_context": 2.0}
    for width, name, seed in itertools.product((8, 16, 32), own, range(seeds)):
        turn = {8: -0.3, 16: 0.0, 32: 0.3}[width] if name == "cross" else 0.0
        value = own[name] + turn + 4 / width + 0.1 * seed + noise * rng.normal()
        study.trial({"width": width, "conditioning": name}, seed, {METRIC: value}, gflops=float(width))
    return load(path)


def test_a_rank_that_reverses_with_the_cost_is_found_and_told(tmp_path: Path) -> None:
    results = crossed(tmp_path)
    table = results.reversals()
    first = table.iloc[0]
    assert [first["between"], first["first"], first["second"]] == ["width", "8", "32"]
    assert {first["one"], first["other"]} == {"conditioning=adaln", "conditioning=cross"} and first["p_holm"] < 0.05
    assert first["difference_first"] * first["difference_second"] < 0
    assert first["p"] == max(first["p_first"], first["p_second"])
    assert not table.loc[table["p_holm"] < 0.05, ["one", "other"]].isin(["conditioning=in_context"]).any(axis=None)
    summary = results.summary(plain=True)
    assert (
        "ranks reverse: conditioning=adaln is worse than conditioning=cross at width=8, and better at width=32"
        in summary
    )


def test_main_effects_stand_below_the_table_and_say_that_choices_do_not_add_up(tmp_path: Path) -> None:
    lines = crossed(tmp_path).summary(plain=True).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"main effects on {METRIC}"))
    assert "seeds as random effects" in lines[at]
    assert lines[at + 1].startswith("  width=16 ") and "Holm p" in lines[at + 1]
    assert any("choices do not add up" in line for line in lines[at:])


def test_means_of_two_factors_and_their_figure(tmp_path: Path) -> None:
    results = crossed(tmp_path, noise=0.0)
    cells = results.cell_means("conditioning", "width").set_index(["one", "other"])
    trials = results.trials
    for name, width in itertools.product(("adaln", "cross"), (8, 32)):
        own = trials[(trials["c.conditioning"] == name) & (trials["c.width"] == width)]
        assert cells.loc[(name, str(width)), "mean"] == pytest.approx(own[f"m.{METRIC}"].mean())
    noisy = crossed(tmp_path / "noisy")
    cells = noisy.cell_means("conditioning", "width")
    assert ((cells["low"] < cells["mean"]) & (cells["mean"] < cells["high"])).all()
    drawn = {path.name for path in noisy.figures(tmp_path / "f", ("png",), ["interactions"])}
    assert drawn == {"interactions.png"}
    with pytest.raises(InputError, match="no factor is 'widht'; did you mean 'width'"):
        noisy.cell_means("conditioning", "widht")


def test_equal_candidates_reverse_no_rank_beyond_chance(tmp_path: Path) -> None:
    told = 0
    for i in range(8):
        rng, study = np.random.default_rng(i), Study(tmp_path / str(i))
        study.head(lock={"baseline": BASE})
        for width, name, seed in itertools.product((8, 16), ("adaln", "cross", "in_context"), range(3)):
            value = 4 / width + 0.1 * rng.normal()
            study.trial({"width": width, "conditioning": name}, seed, {METRIC: value}, gflops=float(width))
        table = load(study.path).reversals()
        told += bool((table["p_holm"] < 0.05).any())
    assert told <= 1


def test_a_rank_that_reverses_during_the_training_is_found(tmp_path: Path) -> None:
    """`early` leads at 500 images, `late` at the end; `worst` is behind both."""
    rng, study = np.random.default_rng(0), Study(tmp_path)
    study.head(lock={"baseline": {"kind": "early"}})
    levels = {"early": (5.0, 3.0), "late": (8.0, 2.0), "worst": (12.0, 9.0)}
    for (name, values), seed in itertools.product(levels.items(), range(3)):
        rows = [
            measurement(METRIC, value * float(np.exp(0.02 * rng.normal())), images, samples=100)
            for images, value in zip((500, 2000), values, strict=True)
        ]
        end = measurement(METRIC, rows[-1]["value"], 2000)
        study.trial({"kind": name}, seed, {}, images=2000, metrics=[end, *rows])
    table = load(tmp_path).reversals()
    assert len(table) == 1 and table.attrs["compared"] == 3
    row = table.iloc[0]
    assert [row["between"], row["first"], row["second"]] == ["images", 500, 2000] and row["p_holm"] < 0.05
    assert {row["one"], row["other"]} == {"early", "late"}
