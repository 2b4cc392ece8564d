"""Samples that are all alike are told by a number, and in words."""

import numpy as np
import pytest
from pictures_for_tests import waves as pictures
from results_folders import METRIC, study

from ablate import load
from ablate.evaluation.collapse import THRESHOLD, variety
from ablate.results.verdict import verdict

__all__ = ["study"]


def test_pictures_differ_as_the_data_do_and_one_picture_again_and_again_does_not():
    data = pictures(200, 1)
    assert variety(pictures(40, 2), data) == pytest.approx(1, abs=0.1)
    for level in (0, 128, 255):
        assert variety(np.full((40, 1, 16, 16), level, np.uint8), data) == 0
    alike = np.repeat(pictures(1, 3), 40, axis=0)
    assert variety(alike, data) == 0
    grain = np.random.default_rng(0).integers(-9, 9, alike.shape)
    assert 0 < variety(np.clip(alike + grain, 0, 255).astype(np.uint8), data) < THRESHOLD


def test_where_there_is_nothing_to_compare_there_is_no_number():
    assert variety(pictures(1, 0), pictures(40, 1)) is None
    assert variety(pictures(0, 0), pictures(40, 1)) is None
    assert variety(pictures(40, 0), np.zeros((40, 1, 16, 16), np.uint8)) is None


def test_a_candidate_that_collapsed_is_named(study):
    study.head()
    for name, share in (("adaln", 0.02), ("adaln_zero", 0.9)):
        study.trial({"backbone.conditioning": name}, 0, {METRIC: 1.0}, variety=share)
    results = load(study.path)
    (line,) = [line for line in results.warnings if "alike" in line]
    assert line.startswith("samples of adaln are nearly all alike (0.02;")
    assert "Samples of adaln are nearly all alike: they collapsed." in verdict(results)
    assert results.trials.set_index("candidate")["variety"].to_dict() == {"adaln": 0.02, "adaln_zero": 0.9}
