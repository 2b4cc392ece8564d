"""`ablate plugins show KIND[/NAME] --plot`: a picture of a schedule, levels or a weighting beside its kind."""

import numpy as np
import pytest
from command_line import HERE
from PIL import Image

from ablate.cli.picture import DRAWINGS, Line, _merged, _within
from ablate.discovery.catalog import catalog
from ablate.results.figures import style

TINY = HERE / "plugins" / "tiny.py"


@pytest.mark.parametrize("kind", DRAWINGS)
def test_a_picture_is_written(within, tmp_path, kind):
    name = catalog().names(kind)[0]
    for suffix in ("png", "svg"):
        file = tmp_path / f"it.{suffix}"
        ran = within("plugins", "show", f"{kind}/{name}", "--plot", "--out", file)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.split() == [str(file)]
    with Image.open(tmp_path / "it.png") as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    blue = np.array([0x01, 0x73, 0xB2])
    assert (np.abs(pixels.astype(int) - blue).sum(1) < 12).sum() > 500  # the one that stands out
    assert "<svg" in (tmp_path / "it.svg").read_text()


@pytest.mark.parametrize("kind", DRAWINGS)
def test_every_component_is_in_the_picture_of_its_kind(kind):
    with style.theme():
        figure = DRAWINGS[kind](catalog(), None)
        again = DRAWINGS[kind](catalog(), catalog().entries(kind)[1].full_name)
    for one in (figure, again):
        labels = {part for axes in one.axes for line in axes.lines for part in str(line.get_label()).split(", ")}
        assert labels >= {entry.name for entry in catalog().entries(kind)}
    widths = [line.get_linewidth() for axes in again.axes for line in axes.lines]
    assert max(widths) > 2 * sorted(widths)[len(widths) // 2]


def test_the_picture_goes_to_the_working_directory_by_default(within, tmp_path):
    ran = within("plugins", "show", "schedule/cosine", "--plot", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "schedule-cosine.png"
    assert (tmp_path / "schedule-cosine.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("solver/ddim", "--plot"), "there is one of schedule, levels, weighting"),
        (("schedule/cosin", "--plot"), "did you mean 'cosine'"),
        (("schedul", "--plot"), "did you mean 'schedule'"),
        (("schedule/cosine", "--plot", "--out", "it.jpg"), "not as 'it.jpg'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(within, words, message):
    ran = within("plugins", "show", *words)
    assert ran.returncode == 2
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


def test_curves_that_coincide_share_a_name():
    x, y = np.arange(3.0), np.array([1.0, 2.0, 4.0])
    lines = [Line("a", x, y), Line("b", x, 2 * y), Line("c", x, y, highlighted=True)]
    assert [(line.name, line.highlighted) for line in _merged(lines)] == [("a, c", True), ("b", False)]


def test_a_curve_ends_at_zero_where_its_range_ends():
    y = _within(np.array([7.0, 1.0, 2.0, np.inf, 7.0, 7.0]), np.array([False, True, True, True, False, False]))
    assert y[:5].tolist() == [0, 1, 2, 0, 0]
    assert np.isnan(y[5])
