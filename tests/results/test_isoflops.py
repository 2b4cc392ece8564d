"""Iso-FLOP curves: the best size for a compute of training."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from results_folders import METRIC, Study, measurement

from ablate.errors import InputError
from ablate.results import Results, load
from ablate.results.isoflops import isoflops

SIZES = {f"{n}": float(n) for n in (1e5, 3e5, 1e6, 3e6, 1e7)}
POINTS = np.geomspace(1e9, 1e14, 40)  # images


def loss(size: float, compute: np.ndarray) -> np.ndarray:
    """Hoffmann et al.'s own form, in compute = 6 · size · images: the best size is proportional to its root."""
    return 1.7 + 400 / size**0.34 + 400 / (compute / (6 * size)) ** 0.34


def curves(noise: float = 0.0, seeds: int = 1) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    rng = np.random.default_rng(0)
    return {
        label: [(POINTS, loss(size, POINTS) * np.exp(noise * rng.normal())) for _ in range(seeds)]
        for label, size in SIZES.items()
    }


def test_the_optimum_is_that_of_the_law_and_its_exponent_a_half() -> None:
    computes = [3e12, 1e13, 3e13]
    found = isoflops(curves(), SIZES, "params", 1, computes)
    expected = [math.sqrt(c / 6) for c in computes]
    assert found.optima["size"].tolist() == pytest.approx(expected, rel=0.15)
    assert found.exponent == pytest.approx(0.5, abs=0.05) and math.isnan(found.low)
    assert "one seed each" in found.note and "grow as compute^0.49" in str(found)
    larger = {label: [(x, -y) for x, y in seeds] for label, seeds in curves().items()}
    assert isoflops(larger, SIZES, "params", -1, computes).exponent == pytest.approx(found.exponent, abs=0.1)


def test_seeds_give_an_interval_and_no_point_is_taken_beyond_what_was_measured() -> None:
    found = isoflops(curves(0.01, seeds=4), SIZES, "params", 1, [3e12, 1e13, 3e13])
    assert found.low < found.exponent < found.high and found.high - found.low < 0.6
    optima = found.optima
    assert (optima["low"] <= optima["size"]).all() and (optima["size"] <= optima["high"]).all()
    beyond = isoflops(curves(), SIZES, "params", 1, [1e15])
    assert beyond.points.empty and "too few sizes" in beyond.note and str(beyond).startswith("no optimal size")


def test_a_best_size_at_the_end_of_those_that_were_tried_is_no_optimum() -> None:
    found = isoflops(curves(), SIZES, "params", 1, [9e13])
    few = {label: seeds for label, seeds in curves().items() if SIZES[label] < 2e6}
    at_end = isoflops(few, {label: SIZES[label] for label in few}, "params", 1, [9e13])
    assert found.optima["size"].notna().all() and at_end.optima["size"].isna().all()
    assert "the best size is the largest that was tried" in at_end.note


def test_sizes_that_share_no_compute_are_refused() -> None:
    apart = {label: [(POINTS[:2] * 10.0 ** (6 * i), np.ones(2))] for i, label in enumerate(SIZES)}
    with pytest.raises(InputError, match="take 3 sizes that were measured at one compute"):
        isoflops(apart, SIZES, "params", 1)


def sized(path: Path, **more: object) -> Results:
    study = Study(path).head(lock={"baseline": {"backbone.width": 8}})
    for width in (8, 16, 32, 64):
        gflops = (width / 64) ** 2
        images = np.geomspace(200, 20_000, 8) * 8 / width
        for seed in range(2):
            values = 2 + 10 / width**0.7 + 300 / images**0.7 + 0.001 * seed
            rows = [measurement(METRIC, float(v), int(x), samples=100) for x, v in zip(images, values, strict=True)]
            end = measurement(METRIC, float(values[-1]), int(images[-1]))
            choices = {"backbone.width": width, **more} if width == 64 else {"backbone.width": width}
            fields = {"gflops": gflops, "params": width**2 * 100, "images": int(images[-1]), "metrics": [end, *rows]}
            study.trial(choices, seed, {}, **fields)
    return load(path)


def test_a_study_of_sizes_has_its_curves_its_line_and_its_figure(tmp_path: Path) -> None:
    results = sized(tmp_path)
    found = results.isoflops()
    assert set(found.points["label"]) == {c.label for c in results.candidates} and len(found.optima) == 6
    assert "optimal" in results.summary(plain=True)
    drawn = {path.name for path in results.figures(tmp_path / "f", ("png",), ["isoflops"])}
    assert drawn == {"isoflops.png"}
    assert results.isoflops(size="gflops", budgets=3).size == "gflops"
    with pytest.raises(InputError, match="params or gflops, not in 'depth'"):
        results.isoflops(size="depth")


def test_candidates_that_differ_in_more_than_their_size_have_no_best_size(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the size of one network alone: schedule varies too"):
        sized(tmp_path, schedule="edm").isoflops()
