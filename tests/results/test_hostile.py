"""A study all of whose words are hostile: every writer of results, and every figure, gives them back as mere text."""

import html.parser
import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pandas as pd
import pytest
from results_folders import METRIC, Study, blobs, write
from rich.console import Console

from ablate.cli.status import status_of
from ablate.engine import Progress, Running
from ablate.errors import InputError
from ablate.results import load
from ablate.results.export import export
from ablate.results.figures import curves
from ablate.results.live.folder import WatchedStudy
from ablate.results.report import page as render
from ablate.results.report import report
from ablate.study.notebook import Bar

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]")
LABELS = (
    "$x_1$ and $",
    "=HYPERLINK(1)",
    "<script>alert(1)</script>",
    "\x1b[2J\x9b31m\x07",
    "two\r\nlines | and a \\ `tick`",
    "\u202edesrever",
    "[bold]x[/bold] [/]",
    "\ud800",
    '"quoted\' onerror="alert(2) 😀',
    "word " * 2000,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    study = Study(tmp_path_factory.mktemp("hostile") / "hostile")
    question = "Is $\\frac{1}{0$ <b>bold</b> \x1b[31m? " + "x" * 10_000
    study.head(lock={"study": "s\x1b[31m" + "n" * 100_000, "baseline": {"a.note": LABELS[0]}}, question=question)
    for i, label in enumerate(LABELS):
        for seed in range(2):
            values = {METRIC: 0.1 + 0.01 * i + 0.003 * seed}
            line = [(1000.0 * k, 0.5 / k + 0.01 * i) for k in range(1, 6)]
            study.trial({"a.note": label}, seed, values, curve=line, samples=blobs(seed, 0.1, n=2), gflops=0.5 + i)
    failed = study.trial({"a.note": LABELS[3]}, 2, state="failed", message="\x1b]0;owned\x07 <i>" + "y" * 100_000)
    trial = failed.parent / next(p.name for p in failed.parent.iterdir() if p.name.endswith("-s0"))
    write(trial / "probes.json", [])
    return study.path


def shown(renderable):
    console = Console(width=100, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


class Page(html.parser.HTMLParser):
    """Which tags a page has."""

    def __init__(self, page):
        super().__init__()
        self.tags = set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)


def test_every_figure_is_drawn_and_a_dollar_is_a_dollar(folder, tmp_path):
    warnings = []
    paths = load(folder).figures(tmp_path, formats=("svg",), say=warnings.append)
    assert warnings == []
    assert {path.stem for path in paths} >= {"front", "curves", "samples", "effects"}
    for path in paths:
        ET.parse(path)
        assert not CONTROLS.search(path.read_text(encoding="utf-8"))


def test_what_is_told_in_a_terminal_is_plain(folder):
    results = load(folder)
    for text in (results.summary(plain=True), shown(results.summary())):
        assert not CONTROLS.search(text)
        assert len(text) < 60_000
        assert "[bold]x[/bold] [/]" in text


def test_the_pages_hold_no_tag_and_no_control_of_a_label(folder):
    page = report(load(folder)).read_text(encoding="utf-8")
    page, program = page.split("\n<script>\n")  # the page's own, behind its data
    assert len(program.splitlines()) > 100 and len(Page(program).tags & {"script"}) == 0
    page = re.sub(r'<script type="(application/json" id="data|text/plain" id="library)">[^<>]*</script>', "", page)
    for one in (page, load(folder)._repr_html_(), load(folder).summary()._repr_html_()):
        assert not Page(one).tags & {"script", "b", "i"}
        assert not CONTROLS.search(one)


def test_what_a_live_page_asks_for_is_text_too(folder):
    """What the server of `ablate watch` gives, and the bar in a notebook."""
    watched = WatchedStudy(folder)
    version, parts = watched.content()
    page = render(watched.name, parts, "<section></section>", version)
    shown = re.sub(r'<script type="(application/json" id="data|text/plain" id="library)">[^<>]*</script>', "", page)
    shown = shown.split("\n<script>\n")[0]
    assert not Page(shown).tags & {"script", "b", "i"} and not CONTROLS.search(shown)
    card = json.dumps(watched.card(), allow_nan=False)
    assert not CONTROLS.search(
        json.loads(card)["question"] + json.loads(card)["verdict"] + str(json.loads(card)["best"])
    )
    drawn = []
    bar = Bar(drawn.append)
    at_work = Running("trial", LABELS[2] + LABELS[3], 0, LABELS[10 - 1], 1, 2, 0.5, None)
    bar(Progress(2, 1, 0, 0, (at_work,), 60.0, {}, (LABELS[3], LABELS[5], LABELS[2]), study=LABELS[2]))
    assert not Page(drawn[-1]).tags & {"script", "i"} and not CONTROLS.search(drawn[-1])
    assert "1 of 2 trials, about 60 s left" in drawn[-1] and "&lt;script&gt;" in drawn[-1]


def test_the_tables_hold_a_row_a_candidate_and_no_formula(folder, tmp_path):
    for path in export(load(folder), tmp_path):
        content = path.read_text(encoding="utf-8")
        assert not CONTROLS.search(content)
        if path.suffix == ".csv":
            table = pd.read_csv(path)
            assert len(table) == len(LABELS)
            assert table[METRIC].dtype == float
            assert not [c for c in table["candidate"] if c[:1] in "=+-@"]
        else:
            rows = [line for line in content.splitlines() if not line.startswith(("%", "\\", "| :--"))]
            assert len(rows) == len(LABELS) + 1  # and the head
    assert "<script>" not in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_names_stay_apart_after_they_were_made_fit(folder):
    results = load(folder)
    assert len({c.label for c in results.candidates}) == len(LABELS)
    assert {one["candidate"] for one in status_of(results)["failures"]} <= {c.label for c in results.candidates}


def test_a_figure_that_cannot_be_drawn_is_told_and_the_others_are_drawn(folder, tmp_path, monkeypatch):
    def fails(results):
        raise ValueError("Image size of 99999x9 pixels is too large\nand more")

    monkeypatch.setattr(curves, "draw", fails)
    warnings = []
    paths = load(folder).figures(tmp_path, formats=("png", "pdf"), names=["front", "curves"], say=warnings.append)
    assert warnings == [
        "warning: figure 'curves' could not be drawn: ValueError: Image size of 99999x9 pixels is too large and more"
    ]
    assert {path.name for path in paths} == {"front.png", "front.pdf"}
    with pytest.raises(InputError, match="no figure 'fornt'; did you mean 'front'"):
        load(folder).figures(tmp_path, names=["fornt"])
    with pytest.warns(UserWarning, match="figure 'curves' could not be drawn"):
        load(folder).figures(tmp_path, names=["curves"])


def test_status_of_such_a_study_in_a_pipe(folder):
    command = [sys.executable, "-m", "ablate.cli", "status", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="strict", timeout=550)
    assert done.returncode == 0, done.stderr
    assert not CONTROLS.search(done.stdout)
    assert max(map(len, done.stdout.splitlines())) < 3_000
