"""Samples that are still noise are told from pictures by a number, whatever the metric."""

import csv
from pathlib import Path

import numpy as np
import pytest
from pictures_for_tests import waves as pictures

import ablate
from ablate.evaluation.noisiness import THRESHOLD, noise
from ablate.results.verdict import verdict


@pytest.mark.parametrize("strength", [5, 40, 200])
def test_noise_of_any_strength_is_noise_and_pictures_are_none(strength):
    drawn = np.random.default_rng(0).normal(127, strength, (40, 1, 16, 16)).clip(0, 255).astype(np.uint8)
    assert noise(drawn, pictures(40, 1)) > 0.9
    assert abs(noise(pictures(40, 2), pictures(40, 1))) < 0.05
    assert noise(np.zeros((0, 1, 16, 16), np.uint8), pictures(40, 1)) is None
    assert noise(pictures(40, 1), drawn) is None  # nothing tells them apart there


def test_the_threshold_parts_short_trainings_from_those_whose_samples_show_shapes():
    table = Path(__file__).parents[2] / "benchmarks" / "noisiness.csv"  # looked at by eye: benchmarks/README.md
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert min(float(row["noise"]) for row in rows if int(row["images"]) <= 1000) > THRESHOLD
    assert max(float(row["noise"]) for row in rows if int(row["images"]) >= 8000) < THRESHOLD


def test_a_run_of_two_steps_says_that_its_samples_are_noise(tmp_path):
    study = {
        "study": "short",
        "data": {"type": "mnist", "size": 16},
        "base": {"backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 32, "heads": 2}, "batch": 16,
                 "guidance": "none", "solver": {"type": "ddim", "steps": 4}},
        "vary": {}, "design": "one_factor", "budget": {"steps": 2},
        "evaluate": {"previews": 16}, "objectives": ["loss"], "executor": {"type": "local", "in_process": True},
    }  # fmt: skip
    results = ablate.run(study, tmp_path / "out", executor="local", device="cpu", figures=False)
    assert results.trials["noise"][0] > THRESHOLD
    assert any("hardly better than noise" in line and "train longer" in line for line in results.warnings)
    assert "hardly better than noise" in results.summary(plain=True)
    assert "Samples of base (" in verdict(results) and "are hardly better than noise" in verdict(results)
