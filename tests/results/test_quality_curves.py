"""Curves of quality during training, and the compute that it takes to reach a value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from results_folders import METRIC, Study, measurement

from ablate import load
from ablate.errors import InputError
from ablate.results.quality_curves import interval_half_widths

POINTS = (20_000, 50_000, 100_000, 200_000)
EFFECTS = {"adaln_zero": 1.0, "adaln": 1.25, "in_context": 2.0}  # of the factor of a power law


def law(factor: float, images: float) -> float:
    return factor * (images / 1000) ** -0.5


def watched(study: Study, scatter: float = 0.0, seeds: int = 2, samples: int = 100) -> Study:
    """Three candidates whose quality follows a power law in images: measured at four points, on fewer samples."""
    study.head()
    for place, (name, factor) in enumerate(EFFECTS.items()):
        for seed in range(seeds):
            noise = np.exp(scatter * np.random.default_rng(10 * place + seed).normal(size=len(POINTS)))
            values = [law(factor, n) * float(noise[i]) for i, n in enumerate(POINTS)]
            at_points = [measurement(METRIC, v, n, samples=samples) for n, v in zip(POINTS, values, strict=True)]
            study.trial(
                {"backbone.conditioning": name},
                seed,
                curve=[(n, 1.0) for n in (2_000, 50_000, 200_000)],
                gflops=0.5,
                metrics=[measurement(METRIC, 0.9 * law(factor, POINTS[-1]), POINTS[-1]), *at_points],
                train_seconds_at={str(n): n / 400 for n in POINTS[:-1]},
                train_seconds=500.0,
            )
    return study


def test_curves_hold_quality_against_images_gflops_and_seconds(study: Study) -> None:
    results = load(watched(study).path)
    curves = results.curves
    own = curves[curves["trial"] == curves["trial"].iloc[0]].sort_values("images")
    assert own["images"].tolist() == [2_000, *POINTS]
    assert own["train_gflops"].tolist() == [3 * 0.5 * n for n in own["images"]]
    assert own["seconds"].tolist() == [4.0, 50.0, 100.0, 250.0, 400.0]
    assert np.isnan(own[f"m.{METRIC}"].iloc[0]) and own["loss"].notna().tolist() == [True, False, True, False, True]
    assert own[f"m.{METRIC}"].iloc[1:].tolist() == pytest.approx([law(1.25, n) for n in POINTS])
    trials = results.trials.set_index("trial")
    assert trials[f"m.{METRIC}"].iloc[0] == pytest.approx(0.9 * law(1.25, POINTS[-1])), "of the end, on all samples"
    described = results.columns.query("table == 'time_to_quality'")
    assert len(described) == 8 and (described["meaning"] != "").all()


def test_time_to_quality_is_where_the_law_reaches_the_value(study: Study) -> None:
    results = load(watched(study).path)
    table = results.time_to_quality(value=0.14).set_index("candidate")
    for name in ("adaln_zero", "adaln"):
        images = 1000 * (EFFECTS[name] / 0.14) ** 2
        assert table.loc[name, "time_to_quality"] == pytest.approx(1.5 * images)
        assert (table.loc[name, "reached"], table.loc[name, "n"]) == (2, 2)
    assert np.isnan(table.loc["in_context", "time_to_quality"]) and table.loc["in_context", "reached"] == 0
    assert results.time_to_quality(0.14, of="images")["time_to_quality"].iloc[0] == pytest.approx(1000 / 0.14**2)
    assert results.time_to_quality(9.9)["time_to_quality"].tolist() == pytest.approx([1.5 * POINTS[0]] * 3)
    default = results.time_to_quality()
    assert (
        default.attrs["value"] == pytest.approx(law(1.0, POINTS[-1])) and default["candidate"].iloc[0] == "adaln_zero"
    )
    assert default.attrs["samples"] == 100


def test_where_larger_is_better_the_first_point_above_the_value_counts(study: Study) -> None:
    study.head({"larger_is_better": [METRIC]})
    rows = [measurement(METRIC, value, n, samples=100) for n, value in zip(POINTS, (0.1, 0.2, 0.4, 0.8), strict=True)]
    study.trial({"backbone.conditioning": "adaln_zero"}, 0, metrics=rows, gflops=0.5)
    table = load(study.path).time_to_quality(0.4, of="images")
    assert table["time_to_quality"].tolist() == [pytest.approx(100_000)]


def test_values_that_are_not_positive_are_interpolated_along_the_value(study: Study) -> None:
    study.head()
    rows = [measurement(METRIC, value, n, samples=100) for n, value in zip(POINTS, (3.0, 1.0, -1.0, -1.5), strict=True)]
    study.trial({"backbone.conditioning": "adaln_zero"}, 0, metrics=rows, gflops=0.5)
    table = load(study.path).time_to_quality(0.0, of="images")
    assert table["time_to_quality"].tolist() == [pytest.approx(np.sqrt(50_000 * 100_000))]


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        groups = rng.normal(size=(4, 2))
        covered += abs(groups[0].mean()) <= interval_half_widths(groups)(2)
    assert 365 <= covered <= 394, "of 400: 380 in the mean"
    assert np.isnan(interval_half_widths([np.array([1.0]), np.array([2.0])])(1))


def test_without_points_there_is_no_curve_and_the_reason_is_said(conditioning: Study) -> None:
    results = load(conditioning.path)
    with pytest.raises(InputError, match=r"was not measured during training: say when, evaluate\.at"):
        results.time_to_quality()
    assert "m." not in "".join(results.curves.columns) and len(results.curves)
    assert "quality" not in {path.stem for path in results.figures(conditioning.path / "drawn", ("png",))}
    assert "Gflops to" not in str(results.summary())


def test_curves_on_other_numbers_of_samples_do_not_compare(study: Study) -> None:
    watched(study)
    rows = [measurement(METRIC, 1.0 / n, n, samples=250) for n in POINTS]
    study.trial({"backbone.conditioning": "adaln_zero"}, 7, metrics=rows, gflops=0.5)
    results = load(study.path)
    with pytest.raises(InputError, match=r"differ in samples, so they do not measure the same thing: 100.*; 250"):
        results.time_to_quality()
    assert "differ in samples" in str(results.summary()) and "Gflops to" not in str(results.summary())
    assert "quality" not in {path.stem for path in results.figures(study.path / "drawn", ("png",))}


def test_curves_of_other_features_do_not_compare(study: Study) -> None:
    watched(study)
    rows = [measurement(METRIC, 1.0 / n, n, samples=100, features_hash="e" * 64) for n in POINTS]
    study.trial({"backbone.conditioning": "adaln_zero"}, 7, metrics=rows, gflops=0.5)
    with pytest.raises(InputError, match="differ in features_hash"):
        load(study.path).time_to_quality()


def test_what_was_not_measured_at_a_point_is_told(study: Study) -> None:
    study.head()
    study.trial(
        {"backbone.conditioning": "adaln"}, 0, {METRIC: 1.0}, unmeasured={"20000": "samples are not all finite"}
    )
    (line,) = [line for line in load(study.path).warnings if "not measured" in line]
    assert line.endswith("its quality after 20000 images was not measured: samples are not all finite")


def test_the_figure_and_the_table_show_it(study: Study, tmp_path: Path) -> None:
    results = load(watched(study, scatter=0.05).path)
    (picture,) = [path for path in results.figures(tmp_path, ("png",)) if path.stem == "quality"]
    with Image.open(picture) as image:
        image.load()
        assert min(image.size) > 400
    text = str(results.summary())
    assert "Gflops to 0.0" in text and "0 of 2" in text and " to " in text
    lines = results.columns.query("table == 'curves'")["column"].tolist()
    assert "train_gflops" in lines and f"m.{METRIC}" in lines


def test_committed_tables_hold_the_curves(study: Study, tmp_path: Path) -> None:
    from ablate.results import write_tables

    watched(study)
    before = load(study.path).time_to_quality()
    write_tables(study.path)
    for folder in (study.path / "trials").iterdir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    after = load(study.path).time_to_quality()
    assert after.equals(before)


def test_a_metric_that_has_another_name_on_fewer_samples_keeps_its_curve(study: Study) -> None:
    study.head({"metrics": {"fid": "fid"}, "objectives": ["fid", "gflops"], "during": {"fid": "fd_inception_v3"}})
    rows = [measurement("fd_inception_v3", 1000.0 / n, n, samples=1000) for n in POINTS]
    end = measurement("fid", 3.0, POINTS[-1], samples=10_000)
    study.trial({"backbone.conditioning": "adaln_zero"}, 0, metrics=[end, *rows], gflops=0.5)
    results = load(study.path)
    assert results.quality is not None and results.quality.column == "fid"
    assert results.time_to_quality().attrs["metric"] == "fd_inception_v3"
    assert results.front()["fid"].tolist() == [3.0]
