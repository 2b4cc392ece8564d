"""Figures for papers: into axes of one's own, with names that keep apart at any size."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from results_folders import METRIC, Study, fill_conditioning

from ablate.errors import InputError
from ablate.results import Results, load, plots
from ablate.results.plots.names import Names

CURATED = Path(__file__).parents[2] / "results" / "curated"


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return load(fill_conditioning(Study(tmp_path_factory.mktemp("plots") / "conditioning")).path)


def crowd(study: Study, n: int = 40) -> Results:
    """Candidates with long names, of which many cost the same."""
    base = {"note": "a long name of the baseline $x_1$ & <b>", "k": 0}
    study.head(lock={"baseline": base})
    rng = np.random.default_rng(0)
    for i in range(n):
        choices = base if i == 0 else {"note": f"candidate with a rather long name, number {i}" * 2, "k": i}
        for seed in range(2):
            study.trial(choices, seed, {METRIC: float(rng.uniform(1, 9))}, gflops=float(1 + i // 4))
    return load(study.path)


def named(ax: Axes) -> Names:
    return next(one for one in ax.artists if isinstance(one, Names))


def texts_apart(figure: Figure) -> None:
    """No two texts of a figure overlap, and none leaves it."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    texts = [t for t in figure.findobj(mpl.text.Text) if t.get_text().strip() and t.get_visible()]
    whole = figure.bbox
    boxes = []
    across = {id(text): ax for ax in figure.axes for text in ax.get_xticklabels()}
    up = {id(text): ax for ax in figure.axes for text in ax.get_yticklabels()}
    for text in texts:
        box = text.get_window_extent(renderer)
        if (ax := across.get(id(text))) and not ax.bbox.x0 - 0.01 <= (box.x0 + box.x1) / 2 <= ax.bbox.x1 + 0.01:
            continue  # of a tick beyond the axes, which is not drawn
        if (ax := up.get(id(text))) and not ax.bbox.y0 - 0.01 <= (box.y0 + box.y1) / 2 <= ax.bbox.y1 + 0.01:
            continue
        assert box.x0 >= whole.x0 - 1 and box.x1 <= whole.x1 + 1, text.get_text()
        assert box.y0 >= whole.y0 - 1 and box.y1 <= whole.y1 + 1, text.get_text()
        boxes.append((text.get_text(), box))
    for (one, a), (other, b) in combinations(boxes, 2):
        inside = min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
        assert not inside, (one, other)


@pytest.mark.parametrize("width", [plots.COLUMN, 7.0])
def test_names_of_forty_candidates_keep_apart_and_within(study: Study, width: float) -> None:
    figure, ax = plt.subplots(figsize=(width, 2.6), layout="constrained")
    assert plots.front(crowd(study), ax) is ax
    figure.canvas.draw()
    boxes = named(ax).boxes
    assert len(boxes) >= 3
    for (_, a), (_, b) in combinations(boxes, 2):
        assert not a.overlaps(b)
    for name, box in boxes:
        assert len(name) <= 34
        assert box.x0 >= ax.bbox.x0 and box.x1 <= ax.bbox.x1 and box.y0 >= ax.bbox.y0 and box.y1 <= ax.bbox.y1
    front = load(study.path).front()
    best = front.loc[front["on_front"], "candidate"]
    assert any(name[:10] == str(label)[:10] for name, _ in boxes for label in best)  # the front's come first
    texts_apart(figure)


def test_a_column_of_forty_effects_has_every_name_and_nothing_is_cut(study: Study, tmp_path: Path) -> None:
    ax = plots.effects(crowd(study))
    figure = ax.figure
    assert isinstance(figure, Figure) and figure.get_figwidth() == plots.COLUMN
    figure.canvas.draw()
    texts_apart(figure)
    assert len(ax.get_yticklabels()) == 39
    assert ax.get_xlabel().startswith("KID (efficientnet_lite0) ↓\ndifference from note=a long na…")


def test_what_is_drawn_is_what_the_tables_say(results: Results) -> None:
    ax = plots.effects(results)
    table = results.effects()
    points = [line for line in ax.lines if line.get_marker() not in (None, "None", "") and len(line.get_xdata()) == 1]
    assert [float(line.get_xdata()[0]) for line in points] == pytest.approx(table["difference"].tolist())
    ax = plots.front(results)
    front = results.front().set_index("candidate")
    drawn = {(float(p.get_xdata()[0]), float(p.get_ydata()[0])) for p in ax.lines if len(p.get_xdata()) == 1}
    assert drawn == {(row["gflops"], row[METRIC]) for _, row in front.iterrows()}
    assert ax.get_xlabel() == "Gflops (forward, one image)" and ax.get_ylabel() == "KID (efficientnet_lite0) ↓"
    of_table = plots.front(results.front())
    assert len(of_table.lines) == len(ax.lines)
    ax = plots.curves(results)
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {c.label for c in results.candidates}
    shades = plots.samples(results, columns=4, candidates=["adaln_zero", "adaln"])
    assert [t.get_text() for t in shades.get_yticklabels()] == ["adaln_zero", "adaln"]


def test_real_studies_and_files(tmp_path: Path) -> None:
    stability, sizes = load(CURATED / "dit_stability"), load(CURATED / "dit_scaling")
    search, conditionings = load(CURATED / "pareto_search"), load(CURATED / "dit_conditioning")
    drawn = [
        plots.probes(stability, probe="attention_logits"),
        plots.scaling(sizes),
        plots.interaction(sizes, "backbone.width", "backbone.patch"),
        plots.importance(search),
        plots.attainment(conditionings),
        plots.curves(conditionings),
    ]
    for ax in drawn:
        assert isinstance(ax.figure, Figure)
        ax.figure.canvas.draw()
        texts_apart(ax.figure)
        assert (ax.get_xlabel() and ax.get_ylabel()) or ax is drawn[3]
    low, high = sizes.scaling().points["quality"].min(), sizes.scaling().points["quality"].max()
    assert drawn[1].get_ylim()[0] <= low < high <= drawn[1].get_ylim()[1]
    for ending, begins in (("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", b"\x89PNG")):
        path = plots.save(drawn[1], tmp_path / f"one.{ending}")
        assert path.read_bytes()[:5].startswith(begins)
    first = (tmp_path / "one.pdf").read_bytes()
    assert plots.save(drawn[1].figure, tmp_path / "one.pdf").read_bytes() == first
    assert "Gflops (forward, one image)" in (tmp_path / "one.svg").read_text()  # text stays text


def test_wrong_input_is_one_message(results: Results, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pdf"):
        plots.save(plots.front(results), tmp_path / "figure.docx")
    with pytest.raises(InputError, match="of two objectives, not of 1"):
        plots.front(results, objectives=["kid"])
    with pytest.raises(InputError, match="no column 'los'; did you mean 'loss'"):
        plots.curves(results, y="los")
    with pytest.raises(InputError, match="no probe 'x' was observed"):
        plots.probes(results, probe="x")
    with pytest.raises(InputError, match=r"DataFrame of `Results.effects`, not str"):
        plots.effects("results/mine")
    with pytest.raises(InputError, match="no column 'difference'"):
        plots.effects(results.trials)
