"""Figures: labels that never overlap, and every degenerate study."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from PIL import Image
from results_folders import METRIC, Study, blobs, measurement, write

from ablate.results import index, load, trial_rows
from ablate.results.figures import curves, front, leading, quality, samples, style
from ablate.results.figures.place import Box, place, spread

AREA = Box(0, 0, 800, 500)


@given(st.integers(0, 10_000), st.integers(1, 24), st.booleans())
@settings(deadline=None, max_examples=25)
def test_labels_never_overlap(seed: int, n: int, crowded: bool) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (n, 2)) * ((3, 3) if crowded else (800, 500))
    sizes = [(float(w), 14.0) for w in rng.uniform(20, 180, n)]
    boxes = place(points, sizes, AREA)
    assert np.allclose([(b.x1 - b.x0, b.y1 - b.y0) for b in boxes], sizes)
    assert all(boxes[i].overlap(boxes[j]) < 1e-6 for i in range(n) for j in range(i))


def test_a_lone_label_is_right_of_its_point() -> None:
    (box,) = place(np.array([[100.0, 100.0]]), [(50.0, 10.0)], AREA)
    assert 105 < box.x0 < 115
    assert box.y0 < 100 < box.y1
    (box,) = place(np.array([[795.0, 100.0]]), [(50.0, 10.0)], AREA)
    assert box.x1 < 795


@given(st.lists(st.floats(0, 100), min_size=1, max_size=12), st.floats(1, 8))
def test_spread_keeps_order_and_distance(targets: list[float], height: float) -> None:
    centres = spread(targets, [height] * len(targets), 0, 100)
    order = sorted(range(len(targets)), key=lambda i: (targets[i], i))
    steps = np.diff([centres[i] for i in order])
    assert (steps >= height - 1e-6).all()
    assert min(centres) >= height / 2 - 1e-6
    assert max(centres) <= 100 - height / 2 + 1e-6


def names(paths: list[Path]) -> set[str]:
    for path in paths:
        assert path.stat().st_size > 1000
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
                assert min(image.size) > 200
        else:
            assert "<svg" in path.read_text()[:1000]
    assert {p.stem for p in paths if p.suffix == ".svg"} == {p.stem for p in paths if p.suffix == ".png"}
    return {p.stem for p in paths}


def test_the_whole_study(conditioning: Study) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    paths = load(conditioning.path).figures()
    assert names(paths) == {"front", "curves", "samples", "effects"}
    assert {p.parent for p in paths} == {conditioning.path / "figures"}
    assert dict(mpl.rcParams) == before
    again = load(conditioning.path).figures(conditioning.path / "again")
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]


def drawn(study: Study) -> tuple[Figure, list[Annotation]]:
    with style.theme():
        figure = front.draw(load(study.path))
    assert figure is not None
    texts = [a for a in figure.axes[0].texts if isinstance(a, Annotation) and a.xycoords == "data"]
    return figure, texts


def test_every_candidate_is_labelled_once_and_apart(conditioning: Study) -> None:
    _, texts = drawn(conditioning)
    assert sorted(t.get_text() for t in texts) == [
        "adaln",
        "adaln_zero (baseline)",
        "cross_attention",
        "in_context, 1 diverged",
    ]
    extents = [t.get_window_extent() for t in texts]
    assert not any(extents[i].overlaps(extents[j]) for i in range(4) for j in range(i))


@pytest.mark.parametrize(("ratio", "scale"), [(2, "linear"), (20, "log")])
def test_a_wide_range_of_cost_is_logarithmic(study: Study, ratio: float, scale: str) -> None:
    study.head()
    for label, gflops in (("adaln", 1.0), ("adaln_zero", ratio)):
        study.trial({"backbone.conditioning": label}, 0, {METRIC: 0.1}, gflops=gflops)
    assert drawn(study)[0].axes[0].get_xscale() == scale


def test_equal_costs_stand_apart(study: Study) -> None:
    study.head()
    for label in ("adaln", "adaln_zero", "in_context"):
        study.trial({"backbone.conditioning": label}, 0, {METRIC: 0.1})
    points = [tuple(c.get_offsets()[0]) for c in drawn(study)[0].axes[0].collections if len(c.get_offsets()) == 1]
    places = sorted(x for x, _ in points if x > 0)
    assert len(set(places)) == 3
    assert places[1] == 0.5  # one is where it belongs, the others beside it


def test_a_candidate_looks_the_same_everywhere(conditioning: Study) -> None:
    results = load(conditioning.path)
    looks = {style.look(c) for c in results.candidates}
    assert len(looks) == 4
    assert style.look(results.candidates[0]).colour == style.BASELINE


def test_one_candidate_one_seed(study: Study) -> None:
    study.head()
    curve = [(1000 * i, 1 / i) for i in range(1, 10)]
    study.trial({"backbone.conditioning": "adaln_zero"}, 0, {METRIC: 0.1}, curve=curve, samples=blobs(0, 0.1))
    assert names(load(study.path).figures()) == {"front", "curves", "samples"}


def test_figures_that_would_mix_are_left_out(study: Study) -> None:
    study.head()
    for label, count in (("adaln", 500), ("adaln_zero", 2000)):
        of = {"backbone.conditioning": label}
        study.trial(of, 0, {METRIC: 0.1}, curve=[(1000, 0.5), (2000, 0.4)], identity={"samples": count})
    assert names(load(study.path).figures()) == {"curves"}


def test_the_loss_as_an_objective(study: Study) -> None:
    study.head(lock={"objectives": ["loss", "gflops"], "metrics": {}})
    for label, loss in (("adaln", 0.2), ("adaln_zero", 0.1)):
        study.trial({"backbone.conditioning": label}, 0, {}, loss=loss)
    results = load(study.path)
    assert results.front()["loss"].tolist() == [0.1, 0.2]
    assert results.effects()["difference"].tolist() == pytest.approx([0.1])
    assert "has the best loss, 0.1 with one seed" in results.summary(plain=True)
    assert names(results.figures()) == {"front", "effects"}


def test_no_metric(study: Study) -> None:
    study.head(lock={"objectives": ["gflops"], "metrics": {}})
    study.trial({"backbone.conditioning": "adaln"}, 0, {}, curve=[(1000, 0.5), (2000, 0.4)])
    assert names(load(study.path).figures()) == {"curves"}


def test_all_diverged(study: Study) -> None:
    study.head()
    for label in ("adaln", "adaln_zero"):
        study.trial({"backbone.conditioning": label}, 0, state="diverged", curve=[(1000, 0.5), (2000, 1e9)])
    assert names(load(study.path).figures()) == {"front", "curves"}


def test_nothing_yet(study: Study) -> None:
    study.head()
    assert load(study.path).figures() == []
    study.trial({"backbone.conditioning": "adaln"}, 0, state="running")
    load(study.path).figures()


def test_of_many_candidates_the_leading_ones_are_named_and_the_rest_is_grey(study: Study) -> None:
    study.head(lock={"baseline": {"backbone.width": 64}})
    for i in range(60):
        line = [(1000.0 * k, 1 / k + 0.01 * i) for k in range(1, 5)]
        study.trial({"backbone.width": 64 + i}, 0, {METRIC: 0.1 + 0.01 * (i * 7 % 60)}, curve=line, gflops=1.0 + i)
    results = load(study.path)
    figure, texts = drawn(study)
    labels = {t.get_text() for t in texts}
    front_ = results.front()
    best = front_.sort_values(METRIC)["config_hash"].head(5)
    on = {c.config_hash: str(c.index + 1) for c in results.candidates}
    assert len(labels) == 24 and all(text.isdigit() for text in labels)
    assert "1" in labels  # the baseline
    assert {on[h] for h in (*best, *front_.loc[front_["on_front"], "config_hash"])} <= labels
    assert any("36 more" in t.get_text() for t in figure.axes[0].texts)
    assert sum(len(c.get_offsets()) for c in figure.axes[0].collections if len(c.get_offsets()) > 1) == 36
    paths = results.figures(study.path / "f", formats=("png",), names=["front", "curves", "effects"])
    for path in paths:
        with Image.open(path) as image:
            assert max(image.size) < 2600, path


def test_of_very_many_candidates_some_have_a_grey_line_and_it_is_said(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leading, "OTHERS", 5)
    monkeypatch.setattr(leading, "SOME", 3)
    monkeypatch.setattr(index, "FEWEST", 1)
    study.head(lock={"baseline": {"backbone.width": 0}})
    for i in range(34):
        rows = [measurement(METRIC, (1 + i) / n, n, samples=100) for n in (1000, 2000, 4000)]
        line = [(1000.0 * k, 1 / k + 0.01 * i) for k in range(1, 5)]
        study.trial({"backbone.width": i}, 0, metrics=rows, curve=line, gflops=1.0)
    for i in range(7):
        rows = [measurement(METRIC, (1 + i) / n, n, samples=100) for n in (1000, 2000)]
        stopped = study.trial({"backbone.width": 100 + i}, 0, metrics=rows)
        record = json.loads((stopped / "record.json").read_text())
        write(stopped / "paused.json", {**record, "state": "paused", "images": 2000})
        (stopped / "record.json").unlink()
    results, read = load(study.path), list[str]()
    curve_of = trial_rows.curve_columns
    monkeypatch.setattr(
        trial_rows, "curve_columns", lambda trial, rows: (read.append(trial.name), curve_of(trial, rows))[1]
    )
    with style.theme():
        pictures = [curves.draw(results), quality.draw(results)]
    for picture in pictures:
        assert picture is not None
        texts = " ".join(text.get_text() for text in picture.axes[0].texts)
        assert "24 in all; grey: 3 of 17 more, from the best to the worst" in texts
    (lines,) = pictures[0].axes[0].collections  # type: ignore[union-attr]
    starts = sorted(float(path.vertices[0, 1]) for path in lines.get_paths())
    assert starts == pytest.approx([1.24, 1.28, 1.33])  # the best and the worst of the others are among them
    assert len(read) == 27, "a curve that is not drawn is not read"
    panel = pictures[1].axes[0]  # type: ignore[union-attr]
    assert any("grey: 3 of 7 trials that were paused" in text.get_text() for text in panel.texts)
    gaps = [int(np.isnan(np.asarray(line.get_ydata(), dtype=float)).sum()) for line in panel.lines]
    assert gaps == [2, 2] + [0] * 24, "three lines of each kind, with gaps between them"


def test_very_many_points_are_small() -> None:
    assert style.dot(12, 300) == 12 and 20_000 * style.dot(12, 20_000) == pytest.approx(2000 * 12)


def test_a_file_holds_all_that_is_drawn(conditioning: Study, tmp_path: Path) -> None:
    figure, _ = drawn(conditioning)
    with style.theme():
        figure.savefig(tmp_path / "tight.png", bbox_inches="tight", pad_inches=style.MARGIN)
        figure.savefig(tmp_path / "area.png", bbox_inches=style.drawn_area(figure))
    with Image.open(tmp_path / "tight.png") as tight, Image.open(tmp_path / "area.png") as area:
        assert np.array_equal(np.asarray(tight), np.asarray(area))


def test_an_effects_figure_without_a_pair_is_not_written(study: Study) -> None:
    study.head(lock={"baseline": {"clip": "none"}})
    study.trial({"clip": "none"}, 0, state="diverged")
    study.trial({"clip": "agc"}, 0, {METRIC: 0.2})
    paths = load(study.path).figures(formats=("png",))
    assert "effects.png" not in {path.name for path in paths} and "front.png" in {path.name for path in paths}


def test_samples_of_one_seed_in_colour_and_damage(study: Study) -> None:
    study.head()
    study.trial({"backbone.conditioning": "adaln_zero"}, 0, {METRIC: 0.1}, samples=blobs(0, 0, channels=3))
    study.trial({"backbone.conditioning": "adaln_zero"}, 1, {METRIC: 0.1}, samples=blobs(1, 0, channels=3))
    study.trial({"backbone.conditioning": "adaln"}, 1, {METRIC: 0.1}, samples=blobs(1, 0, n=3, channels=3))
    broken = study.trial({"backbone.conditioning": "in_context"}, 1, {METRIC: 0.1})
    (broken / "samples.npy").write_bytes(b"\x93NUMPY cut short")
    with style.theme():
        figure = samples.draw(load(study.path))
    assert figure is not None
    assert any("seed 1" in t.get_text() for t in figure.texts)  # the one that both have
    strips = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert [np.asarray(a).ndim for a in strips] == [3, 3]
    assert [t.get_text() for axes in figure.axes for t in axes.texts].count("no samples") == 1
    first = [np.asarray(a)[2:34, 2:34] for a in strips]
    assert np.array_equal(*first)  # the same latent in the same place
