"""The report's page: what its charts are drawn from, its size, and how it behaves in a browser."""

from __future__ import annotations

import html.parser
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from results_folders import METRIC, Study, blobs, fill_conditioning, measurement, write
from waiting_for_tests import until_it_holds

from ablate.results import load
from ablate.results.page import pictures
from ablate.results.report import report

pytest.importorskip("plotly")


class Page(html.parser.HTMLParser):
    """Tags of a page with their attributes, and the data of its charts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = path.read_text(encoding="utf-8")
        self.data: Any = None
        self._open = False
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = dict(attrs).get("id") == "data"

    def handle_data(self, data: str) -> None:
        if self._open:
            self.data = json.loads(data)
            self._open = False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four conditionings, with quality during training and a probe."""
    study = fill_conditioning(Study(tmp_path_factory.mktemp("page") / "conditioning"))
    for record in study.path.glob("trials/*/record.json"):
        content = json.loads(record.read_text())
        if content["state"] == "complete":
            last = next(row for row in content["metrics"] if row["metric"] == METRIC)
            for images in (50_000, 100_000):
                early = measurement(METRIC, last["value"] * 200_000 / images, images)
                content["metrics"].append(early)
            write(record, content)
    return study.path


def page_of(folder: Path, out: Path) -> Page:
    return Page(report(load(folder), out))


def test_charts_are_drawn_from_what_the_tables_say(folder: Path, tmp_path: Path) -> None:
    results = load(folder)
    data = page_of(folder, tmp_path / "page.html").data
    front = results.front().set_index("config_hash")
    chances = results.membership().set_index("config_hash")["probability"]
    assert [one["hash"] for one in data["candidates"]] == list(results.front([METRIC])["config_hash"])  # the best first
    for one in data["candidates"]:
        row = front.loc[one["hash"]]
        mean, low, high = data["measures"][METRIC]["values"][one["hash"]]
        assert mean == pytest.approx(row[METRIC]) and low < mean < high
        assert (one["name"], one["front"]) == (row["candidate"], row["on_front"])
        assert one["chance"] == pytest.approx(chances[one["hash"]])
        changed = [["backbone.conditioning", "adaln_zero", row["candidate"]]]
        assert one["diff"] == ([] if one["baseline"] else changed)
        assert one["hash"].startswith(one["id"]) and len(one["id"]) == 7
    widths = {round((v[2] - v[1]) * math.sqrt(n), 9) for v, n in _with_n(data)}
    assert len(widths) == 1  # one deviation for all
    lost = {one["name"]: one["lost"] for one in data["candidates"]}
    assert lost == {"adaln_zero": "", "adaln": "", "cross_attention": "", "in_context": "1 diverged"}
    effects = results.effects().set_index("config_hash")
    for row in data["effects"]["rows"]:
        of = effects.loc[row["hash"]]
        assert row["value"] == pytest.approx(of["difference"])
        assert row["low"] is None if math.isnan(of["low"]) else row["low"] == pytest.approx(of["low"])
    assert data["axes"] == {"x": "gflops", "y": METRIC, "log": False}
    line = next(iter(data["during"]["lines"].values()))
    assert line["images"] == [50_000, 100_000, 200_000]
    assert list(data["during"]["axes"]) == ["images", "train_gflops"]  # seconds were not recorded
    assert all(a < b < c for a, b, c in zip(line["low"], line["value"], line["high"], strict=True))
    assert len(data["losses"]["lines"]) == 4


def _with_n(data: Any) -> Iterator[tuple[list[float], int]]:
    for one in data["candidates"]:
        yield data["measures"][METRIC]["values"][one["hash"]], one["n"]


def test_what_the_study_took_and_lost_is_told(folder: Path, tmp_path: Path) -> None:
    page = page_of(folder, tmp_path / "page.html")
    assert "11 complete, 1 diverged; of 4 candidates" in page.text
    failed = page.text.split('id="failures"')[1].split("</section>")[0]
    assert "in_<wbr>context" in failed and "loss is nan" in failed and ">2<" in failed
    assert [href for tag, of in page.tags for href in (of.get("href"), of.get("src")) if href and href[:1] != "#"] == [
        uri for tag, of in page.tags if tag == "img" and (uri := of["src"]) is not None
    ]
    assert all(of["src"].startswith("data:image/") for tag, of in page.tags if tag == "img" and of["src"])
    assert "default-src 'none'" in page.text  # a browser fetches nothing for it, whatever is in it
    anchors = {of["href"] for tag, of in page.tags if tag == "a"}
    assert {a[1:] for a in anchors if a} <= {of.get("id") for _, of in page.tags}


def test_samples_are_thinned_until_they_fit_and_the_page_says_so(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.head()
    names = ["adaln_zero", *(f"n{i}" for i in range(39))]
    for i, name in enumerate(names):
        noise = np.random.default_rng(i).integers(0, 256, (16, 3, 16, 16)).astype(np.uint8)  # which nothing packs
        study.trial({"backbone.conditioning": name}, 0, {METRIC: 1.0 + i}, samples=noise)
    results = load(study.path)
    every = pictures.pictures(results)
    assert len(every["rows"]) == 40 and {one["columns"] for one in every["rows"].values()} == {12}
    assert every["note"] == "Shown are 12 of 16 kept samples of each candidate, so that the page stays small."
    monkeypatch.setattr(pictures, "BYTES", 200_000)
    fewer = pictures.pictures(results)
    assert {one["columns"] for one in fewer["rows"].values()} == {4} and "4 of 16 kept samples" in fewer["note"]
    monkeypatch.setattr(pictures, "BYTES", 60_000)
    few = pictures.pictures(results)
    assert 1 < len(few["rows"]) < 24 and f"of {len(few['rows'])} of 40 candidates: the baseline" in few["note"]
    assert sum(len(one["src"]) for one in few["rows"].values()) < 66_000
    assert results.baseline is not None and results.baseline.config_hash in few["rows"]


def test_an_empty_study_has_a_page_too(study: Study) -> None:
    study.head()
    study.trial({"backbone.conditioning": "adaln"}, 0, state="failed")
    page = Page(report(load(study.path)))
    assert page.data["axes"] is None and "out of memory" in page.text
    assert not [of for _, of in page.tags if of.get("id") == "front"]


# ----------------------------------------------------------------------------------------------------- in a browser


def opened(browser: Any, path: Path, **options: Any) -> tuple[Any, list[str]]:
    """Open a page, and return it once its charts are drawn, with the list that its errors go to."""
    page = browser.new_page(**options)
    told: list[str] = []
    page.on("console", lambda line: told.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("dialog", lambda dialog: (told.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on(
        "request", lambda request: None if request.url[:5] in ("file:", "data:", "blob:") else told.append(request.url)
    )
    page.goto(path.as_uri())
    until_it_holds(page, "document.documentElement.dataset.drawn === 'true'")
    return page, told


def test_pointing_clicking_sorting_and_filtering(browser: Any, folder: Path, tmp_path: Path) -> None:
    path = report(load(folder), tmp_path / "page.html")
    page, told = opened(browser, path, viewport={"width": 1280, "height": 900})
    at = page.evaluate(
        "() => { const chart = document.getElementById('front-chart'), box = chart.getBoundingClientRect(),"
        " { xaxis, yaxis } = chart._fullLayout, i = chart.data[1].customdata.length - 2;"
        " return [box.left + xaxis._offset + xaxis.d2p(chart.data[1].x[i]),"
        " box.top + yaxis._offset + yaxis.d2p(chart.data[1].y[i]), chart.data[1].customdata[i]]; }"
    )
    name = load(folder).front().set_index("config_hash").loc[at[2], "candidate"]
    page.mouse.move(at[0] - 30, at[1] - 30)
    page.mouse.move(at[0], at[1], steps=5)
    page.wait_for_selector("#detail article")
    detail = page.inner_text("#detail")
    assert name in detail and "backbone.conditioning" in detail and "adaln_zero" in detail
    assert page.get_attribute("#detail img", "src").startswith("data:image/png")
    page.mouse.click(at[0], at[1])
    page.wait_for_selector("#detail article button")
    page.keyboard.press("Tab")  # all of it works without a mouse
    page.locator("#table .pin").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#detail article").count() == 2  # side by side
    boxes = [page.locator("#detail article").nth(i).bounding_box() for i in range(2)]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    page.select_option("#front-x", "seconds")
    until_it_holds(page, "document.getElementById('front-chart').layout.xaxis.title.text.includes('seconds')")

    def first() -> str:
        return str(page.inner_text("#table tbody tr:not([hidden]) td:nth-child(2)"))

    page.get_by_role("button", name="Gflops", exact=True).click()
    assert page.get_attribute("#table th[aria-sort]", "aria-sort") == "ascending" and first() == "adaln"
    page.get_by_role("button", name="Gflops", exact=True).click()
    assert first() == "cross_attention"
    page.fill("#filter", "context")
    assert page.inner_text("#filter-count") == "1 of 4 candidates" and first() == "in_context"
    assert told == []
    page.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_is_accessible_and_nothing_is_cut_off(
    browser: Any, folder: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    path = report(load(folder), tmp_path / "page.html")
    page, told = opened(browser, path, viewport={"width": width, "height": 900}, color_scheme=scheme)
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    ends = "(e) => [...e.querySelectorAll('td, th')].map((cell) => cell.getBoundingClientRect().right)"
    assert max(page.locator("#table").evaluate(ends)) <= width
    cut = page.evaluate(
        "() => [...document.querySelectorAll('.xtitle, .ytitle')].filter((title) => {"
        " const own = title.getBoundingClientRect(), chart = title.closest('.chart').getBoundingClientRect();"
        " return own.left < chart.left - 1 || own.right > chart.right + 1 || own.top < chart.top - 1"
        " || own.bottom > chart.bottom + 1; }).map((title) => title.textContent)"
    )
    assert cut == []
    assert told == []
    page.close()


def test_words_of_others_are_words_in_the_browser(browser: Any, study: Study) -> None:
    study.head(
        question="<img src=x onerror=alert(1)> </script><script>alert(2)</script>", lock={"baseline": {"a": "b"}}
    )
    labels = (
        "b",
        "<img src=x onerror=alert(3)>",
        "</script><script>alert(4)</script>",
        "javascript:alert(5)",
        "😀 \x1b[31m\n",
    )
    for i, label in enumerate(labels):
        for seed in range(2):
            values = {METRIC: 1.0 + i + 0.1 * seed}
            study.trial(
                {"a": label},
                seed,
                values,
                samples=blobs(seed, 0.1, n=2),
                gflops=0.5 + i,
                curve=[(1e3, 0.5), (2e3, 0.4)],
            )
    page, told = opened(browser, report(load(study.path)), viewport={"width": 1280, "height": 900})
    for i in range(len(labels)):
        page.locator("#table .pin").nth(i).click()
    shown = page.inner_text("#detail") + page.inner_text("#table")
    assert all(label in shown for label in labels[:4]) and r"\x1b[31m" in shown
    assert page.locator("img[src='x']").count() == 0 and told == []
    drawn = page.evaluate(
        "document.getElementById('front-chart').innerText + document.getElementById('effects-chart').textContent"
    )
    assert "alert(4)" in drawn and not re.search(r"[\x1b]", drawn)
    page.close()
