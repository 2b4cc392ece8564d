"""`ablate plugins search`, over the list that ships, over one that a server sends, and what is said offline."""

from __future__ import annotations

import json
import threading
import tomllib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ablate.cli import main
from ablate.discovery import directory

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def search(capsys: pytest.CaptureFixture[str]):
    def search(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["plugins", "search", *words])
        return ended.value.code or 0, *capsys.readouterr()

    return search


def a_list(**changes) -> dict:
    plugin = {
        "name": "lab-gates",
        "version": "2.1",
        "summary": "Gates \x1b[31mof a lab <script>",
        "components": ["gate/square"],
        "kinds": ["brew"],
        "api_version": 99,
        "install": "pip install lab-gates",
        "conformance": {"status": "failed", "passed": 9, "failed": 2, "skipped": 0, "ablate": "0.1.0", "why": "x"},
    }
    return {"schema": 1, "made": "2999-01-01", "from": "an index", "plugins": [{**plugin, **changes}]}


def test_the_list_that_ships_is_that_of_the_examples(search) -> None:
    """With versions, what they bring, and that they conform: as docs/directory.py wrote it."""
    code, out, _ = search("--json")
    found = json.loads(out)
    assert code == 0 and found["from"] == "folders of this repository"
    by_name = {one["name"]: one for one in found["plugins"]}
    for folder in (ROOT / "plugins").glob("ablate-example*"):
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        listed = by_name.pop(project["name"])
        assert (listed["version"], listed["summary"]) == (project["version"], project["description"])
        assert listed["conformance"]["status"] == "passed" and listed["conformance"]["failed"] == 0
        assert listed["api_version"] == 1 and listed["refused"] is None
    assert by_name == {}, "only what is real is listed"
    code, out, _ = search("stem", "MIXER")
    assert code == 0 and "ablate-example-kind" in out and "kind stem" in out and "backbone/token_mixer" in out
    assert "pip install ./plugins/ablate-example-kind" in out and "ablate-example:" not in out
    code, out, _ = search("patchs")
    assert code == 0 and "none of 2 plugins" in out


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "plugins.json").write_text(json.dumps(a_list()))
    (folder / "page.html").write_text("<html>")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


def test_a_list_that_was_fetched_is_kept_and_offline_it_is_said_which_one_is_shown(search, server, tmp_path) -> None:
    code, out, err = search("--list", f"{server}/plugins.json")
    assert code == 0 and "failed (2)" in out and "gate/square" in out
    assert "was written for version 99 of the plugin API" in out and "\x1b" not in out
    cached = tmp_path / "cache" / "plugins" / "directory.json"
    code, out, err = search("gates")
    assert code == 0 and "lab-gates" in out and f"list of 2999-01-01, from an index: {cached}" in out
    code, out, err = search("--list", "http://127.0.0.1:9/none.json")
    assert code == 0 and "cannot be reached" in err and "lab-gates" in out
    code, _, err = search("--list", f"{server}/page.html")
    assert code == 2 and "is no list of plugins" in err
    cached.write_text("{")  # damaged: the one that ships is taken
    code, out, _ = search("stem")
    assert code == 0 and str(directory.SHIPPED) in out


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"api_version": "1"}, "is no list of plugins"),
        ({"conformance": {"status": "fine"}}, "conformance 'fine'"),
        ({"name": 3}, "3 is no text"),
    ],
)
def test_a_wrong_list_is_one_message(search, tmp_path, change, why) -> None:
    file = tmp_path / "list.json"
    file.write_text(json.dumps(a_list(**change)))
    code, _, err = search("--list", str(file))
    assert code == 2 and why in err
    file.write_text(json.dumps({**a_list(), "schema": 2}))
    code, _, err = search("--list", str(file))
    assert code == 2 and "schema 2" in err and err.count("\n") == 1
    code, _, err = search("--list", "nowhere.json")
    assert code == 2 and "no such file" in err
