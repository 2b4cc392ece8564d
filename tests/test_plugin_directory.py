"""docs/directory.py against a server that speaks a package index's interfaces: what it lists of real wheels."""

from __future__ import annotations

import importlib.util
import json
import threading
import xmlrpc.client
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
WEIGHTING = """
from ablate.api import Weighting

api_version = 1

class Square(Weighting):
    \"\"\"w = SNR².\"\"\"
    name = "square_of_an_index"

    def weight(self, level, sigma_data):
        return (level.alpha / level.sigma) ** 4
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("directory_script", ROOT / "docs" / "directory.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(folder: Path, name: str, source: str) -> Path:
    module, file = name.replace("-", "_"), folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
    about = f"{module}-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{module}.py", source)
        archive.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nSummary: Of an index\n"
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/entry_points.txt", f"[ablate]\nmine = {module}\n")
        archive.writestr(f"{about}/RECORD", "")
    return file


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """Two plugins with the classifier, of which one is broken, and one without it."""
    wheels = {
        name: wheel(tmp_path, name, source)
        for name, source in (
            ("square-lab", WEIGHTING),
            ("broken-lab", "import nothing_of_the_kind\n"),
            ("other-lab", WEIGHTING),
        )
    }

    class Index(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            words, method = xmlrpc.client.loads(content)
            assert method == "browse" and words == (["Framework :: Ablate"],)
            found = [[name, "1.0"] for name in ("square-lab", "broken-lab")]
            self._send(xmlrpc.client.dumps((found,), methodresponse=True).encode(), "text/xml")

        def do_GET(self) -> None:
            parts = self.path.strip("/").split("/")
            if parts[0] == "pypi":
                self._send(json.dumps({"info": {"version": "1.0"}}).encode(), "application/json")
            elif parts[0] == "simple":
                file = wheels[parts[1]]
                self._send(f'<a href="/files/{file.name}">{file.name}</a>'.encode(), "text/html")
            else:
                self._send((tmp_path / parts[1]).read_bytes(), "application/zip")

        def _send(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.thorough
@pytest.mark.slow
def test_what_an_index_has_is_listed_with_what_it_brings_and_whether_it_conforms(
    script: ModuleType, index: str
) -> None:
    listed = {one.name: one for one in script.of_index(index, script.CLASSIFIER, [])}
    assert set(listed) == {"square-lab", "broken-lab"}
    square = listed["square-lab"]
    assert (square.version, square.summary, square.api_version) == ("1.0", "Of an index", 1)
    assert square.components == ("weighting/square_of_an_index",) and square.kinds == ()
    assert square.conformance["status"] == "passed" and square.conformance["passed"] >= 10
    broken = listed["broken-lab"].conformance
    assert broken["status"] == "not loaded" and "nothing_of_the_kind" in broken["why"]


def test_what_has_no_entry_point_or_no_module_is_listed_with_the_reason(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "1"\n[project.entry-points.ablate]\na = "gone"\n'
    )
    listed = script.of_folder(tmp_path, "pip install x")
    assert listed.conformance["status"] == "not loaded" and "names the module 'gone'" in listed.conformance["why"]
