"""`ablate watch`: who gets an answer, what it says, and that a page which follows its study keeps what was chosen."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from results_folders import METRIC, Study, blobs, fill_conditioning, measurement, write
from waiting_for_tests import until_it_holds

from ablate.cli import main
from ablate.kinds.tracker import Log
from ablate.results.live.folder import WatchedStudy
from ablate.results.live.server import Server
from ablate.training.checkpoint_files import SO_FAR
from ablate.worker import previews

pytest.importorskip("plotly")
PATIENCE = 500


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four conditionings with two seeds each that have ended, and one trial at work."""
    study = fill_conditioning(Study(tmp_path / "conditioning"), seeds=2, diverge=False)
    running(study)
    return study.path


def running(study: Study, seed: int = 7, points: int = 3) -> Path:
    """A trial without a record, as its worker leaves it while it is at work."""
    trial = study.trial({"backbone.conditioning": "adaln"}, seed, state="running")
    rows = [{"images": 1000 * i, "loss": 0.5 / i, "lr": 1e-3, "seconds": 1.0 * i} for i in range(1, points + 1)]
    write(trial / SO_FAR, {"curve": rows, "metrics": []})
    write(trial / "progress.json", {"phase": "train", "images": 1000 * points, "total": 200_000, "loss": 0.1})
    for i in range(1, points + 1):
        previews.keep(trial, 1000 * i, blobs(seed, 0.1, n=4))
    return trial


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    yield from serving(folder)


def serving(*folders: Path) -> Iterator[Server]:
    server = Server(folders, None)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def ask(
    server: Server, path: str, method: str = "GET", headers: dict[str, str] | None = None, token: str | None = None
) -> tuple[int, bytes, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=PATIENCE)
    prefix = server.token if token is None else token
    connection.request(method, f"/{prefix}{path}", headers=headers or {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, answer.headers


def test_only_who_has_the_token_and_the_right_host_is_answered(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1" and len(server.token) >= 20
    assert ask(server, "/0/state")[0] == 200
    for token in ("", "x", server.token[:-1], server.token + "a", "%00", "%C3%A9"):
        status, content, _ = ask(server, "/0/state", token=token)
        assert status == 403 and b"conditioning" not in content
    for host in ("evil.example", f"evil.example:{server.server_port}", "127.0.0.1", "[::1]:1", ""):
        assert ask(server, "/0/state", headers={"Host": host})[0] == 403  # another site's name that leads here
    assert ask(server, "/0/state", headers={"Host": f"localhost:{server.server_port}"})[0] == 200


def test_nothing_can_be_changed_and_nothing_else_is_read(server: Server, folder: Path) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"):
        status, _, headers = ask(server, "/0/", method)
        assert status == 405 and headers["Allow"] == "GET, HEAD"
    status, content, headers = ask(server, "/0/", "HEAD")
    assert (status, content) == (200, b"") and int(headers["Content-Length"]) > 1000
    for path in (
        "/0/../../etc/passwd",
        "/0/samples/../../../study.yaml.png",
        "/0/samples/%2e%2e%2f%2e%2e%2fx.png",
        "/9/",
        "/-1/",
        "/0/nothing",
        "/study.yaml",
    ):
        assert ask(server, path)[0] == 404
    _, _, headers = ask(server, "/0/")
    assert headers["Referrer-Policy"] == "no-referrer" and headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY" and "Server" in headers and "Python" not in headers["Server"]


def test_the_state_tells_of_trials_at_work_as_they_come(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ablate.results.live import folder as live

    monkeypatch.setattr(live.signs, "is_locked", lambda path: True)
    watched = WatchedStudy(folder)
    state = watched.state()
    assert (state["states"], state["doing"]) == ({"complete": 8, "at work": 1}, "At work")
    (trial,) = state["trials"]
    assert (trial["name"], trial["seed"], trial["images"], trial["total"]) == ("adaln", 7, 3000, 200_000)
    assert trial["curve"] == [(1000, 0.5), (2000, 0.25), (3000, pytest.approx(0.5 / 3))] and trial["pictured"] == 3000
    assert watched.picture(trial["trial"]) is not None and watched.picture("../study.yaml") is None
    version, parts = watched.content()
    assert "adaln_<wbr>zero" in parts.main and version == WatchedStudy(folder).content()[0]
    running(Study(folder), points=5)  # more of the same trial is no new result
    assert WatchedStudy(folder).content()[0] == version
    Study(folder).trial({"backbone.conditioning": "adaln"}, 7, {METRIC: 0.05})
    assert WatchedStudy(folder).content()[0] != version


def test_what_cannot_be_read_yet_is_told_and_the_page_goes_on(tmp_path: Path) -> None:
    study = Study(tmp_path / "begun").head()
    watched = WatchedStudy(study.path)
    assert watched.state()["trials"] == [] and watched.content()[1].header
    study.trial({"backbone.conditioning": "adaln"}, 0, {METRIC: 0.05})
    watched._due = 0.0
    assert "adaln" in watched.content()[1].main


def test_a_taken_port_is_one_message(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as busy, pytest.raises(SystemExit, match="2"):
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        main(["watch", str(folder), "--port", str(busy.getsockname()[1])])
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "choose another --port" in err


def test_the_command_ends_in_one_line(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "ablate.cli", "watch", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as server:
        line = server.stdout.readline()  # type: ignore[union-attr]
        assert line.startswith("http://127.0.0.1:") and f"shows {folder}" in line
        os.kill(server.pid, signal.SIGINT)
        out, err = server.communicate(timeout=PATIENCE)
    assert (server.returncode, err) == (0, "") and out == "watched no longer; the studies themselves go on\n"


# ----------------------------------------------------------------------------------------------------- in a browser


def test_a_page_that_follows_its_study_keeps_what_the_reader_chose(
    browser: Any, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ablate.results.live import folder as live

    monkeypatch.setattr(live.signs, "is_locked", lambda path: True)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(1000 * PATIENCE)
    told: list[str] = []
    page.on("console", lambda line: told.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: told.append(str(error)))
    page.goto(server.address)
    until_it_holds(page, "() => document.documentElement.dataset.drawn === 'true'")
    page.wait_for_selector("#running-table tbody tr")
    assert page.url == f"{server.address}0/"
    assert "adaln" in page.inner_text("#running-table") and page.locator("#running-samples img").count() == 1
    until_it_holds(page, "() => document.querySelector('#running-samples img').naturalWidth > 0")
    page.wait_for_selector("#running-chart .scatterlayer .trace")
    page.get_by_role("button", name="Gflops", exact=True).click()
    page.fill("#filter", "adaln")
    page.locator("#table tbody tr:not([hidden]) .pin").first.click()
    page.select_option("#front-x", "seconds")
    page.locator("#losses-chart").scroll_into_view_if_needed()
    area = page.locator("#losses-chart .nsewdrag").first.bounding_box()
    y = area["y"] + area["height"] / 2
    page.mouse.move(area["x"] + area["width"] / 4, y)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] / 2, y, steps=4)
    page.mouse.up()
    ranges = "document.getElementById('losses-chart')._fullLayout.xaxis.range"
    until_it_holds(page, f"() => {ranges}[0] > 20000")
    zoomed = page.evaluate(ranges)
    page.locator("#filter").focus()
    before, pinned = page.evaluate("document.documentElement.dataset.version"), page.inner_text("#detail h3")
    Study(folder).trial({"backbone.conditioning": "new_one"}, 0, {METRIC: 0.01}, curve=[(1e3, 0.5), (2e3, 0.4)])
    until_it_holds(page, f"() => document.documentElement.dataset.version !== {json.dumps(before)}")
    until_it_holds(page, "() => document.querySelectorAll('#table tbody tr').length === 5")
    assert page.inner_text("#detail h3") == pinned and page.locator("#table tr.pinned").count() == 1
    assert page.input_value("#filter") == "adaln" and page.inner_text("#filter-count") == "2 of 5 candidates"
    assert page.get_attribute("#table th[aria-sort]", "aria-sort") == "ascending"
    assert page.input_value("#front-x") == "seconds"
    assert page.evaluate("document.activeElement.id") == "filter"
    assert page.evaluate(ranges) == zoomed
    assert told == []
    page.context.set_offline(True)
    until_it_holds(page, "() => document.getElementById('live').classList.contains('lost')")
    page.close()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Server]:
    """A server of two studies with hostile questions."""
    studies = [Study(tmp_path / name) for name in ("one", "two")]
    for i, study in enumerate(studies):
        fill_conditioning(study, seeds=2, diverge=False)
        lock = {"study": study.path.name, "baseline": {}}
        study.head(lock=lock, question=f"<img src=x onerror=alert({i})> which?")
    yield from serving(*(study.path for study in studies))


@pytest.mark.thorough
def test_several_studies_stand_side_by_side(browser: Any, two: Server) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(1000 * PATIENCE)
    told: list[str] = []
    page.on("console", lambda line: told.append(line.text) if line.type in ("error", "warning") else None)
    page.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
    page.goto(two.address)
    page.wait_for_selector("#cards article:nth-child(2)", timeout=1000 * PATIENCE)
    boxes = [page.locator("#cards article").nth(i).bounding_box() for i in range(2)]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert "<img src=x onerror=alert(0)> which?" in page.inner_text("#cards") and told == []
    page.get_by_role("link", name="two").click()
    page.wait_for_selector("#table tbody tr", timeout=1000 * PATIENCE)
    assert page.get_by_role("link", name="All studies").count() == 1
    until_it_holds(page, "() => document.documentElement.dataset.drawn === 'true'")
    page.set_viewport_size({"width": 390, "height": 800})
    until_it_holds(page, "() => document.documentElement.scrollWidth === 390")
    page.close()


def test_samples_over_training_stand_in_the_report(folder: Path) -> None:
    """A picture a candidate: rows are latents, columns the points; of what is not as it was recorded, none."""
    from ablate.results import load
    from ablate.results.page.grown import over_training

    assert over_training(load(folder)) == {}
    for i, trial in enumerate(sorted((folder / "trials").glob("*/record.json"))):
        for images in (50_000, 100_000, 200_000):
            previews.keep(trial.parent, images, blobs(images, 0.1, n=8))
        if i == 0:
            write(trial, {**json.loads(trial.read_text()), "files": {previews.PREVIEWS: "0" * 64}})
    grown = over_training(load(folder))
    assert len(grown["rows"]) in (3, 4) and grown["points"] == ["50 k", "100 k", "200 k"]
    assert {one["latents"] for one in grown["rows"]} == {4}
    assert np.all([one["src"].startswith("data:image/png;base64,") for one in grown["rows"]])


def test_values_on_other_numbers_of_samples_are_on_no_curve_together(study: Study) -> None:
    """While a trial is at work, and when it has ended, a point of the training has one name; and the end another."""
    from ablate.candidates.names import Names
    from ablate.results.tracked import Told, observed, tell

    study.head()
    trial = study.trial({"backbone.conditioning": "adaln"}, 0, state="running")
    write(trial / "job.json", {**json.loads((trial / "job.json").read_text()), "evaluation": {"samples": 2000}})
    points = [measurement(METRIC, 0.5 / i, 1000 * i, samples=200) for i in (1, 2)]
    write(trial / SO_FAR, {"curve": [{"images": 500, "loss": 1.0}, {"images": 1000, "loss": None}], "metrics": points})
    log, told = Lines(), Told()
    seen = observed(trial, Names())
    assert seen is not None and seen.state == "running"
    tell(log, seen, told)
    assert log.lines == [(500, {"loss": 1.0}), (1000, {f"{METRIC}_of_200": 0.5}), (2000, {f"{METRIC}_of_200": 0.25})]
    study.trial({"backbone.conditioning": "adaln"}, 0, {METRIC: 0.2}, curve=[(500, 1.0), (1000, 0.5)])
    record = json.loads((trial / "record.json").read_text())
    write(trial / "record.json", {**record, "metrics": [*record["metrics"], *points]})
    log.lines.clear()
    ended = observed(trial, Names())
    assert ended is not None
    tell(log, ended, told)
    assert [line for line in log.lines if METRIC in line[1] or f"{METRIC}_of_200" in line[1]] == [
        (200_000, {METRIC: 0.2})  # what was told before is not told again
    ]
    assert log.ended == ("complete", pytest.approx(0.2))


class Lines(Log):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self.ended: Any = None

    def begin(self, trial: Any, handle: str | None) -> str | None:
        return None

    def log(self, trial: str, images: int, values: Any, seconds: float | None) -> None:
        self.lines.append((images, dict(values)))

    def picture(self, trial: str, images: int, picture: Any) -> None:
        pass

    def end(self, trial: str, state: str, values: Any, message: str | None) -> None:
        self.ended = state, values[METRIC]

    def close(self) -> None:
        pass
