"""Weights that are fetched: a real server on this machine, connections that break, files that are others."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ablate.errors import InputError
from ablate.io.weights import WeightsFile

CONTENT = bytes(range(256)) * 9000  # 2.3 MB, more than two blocks


class Handler(BaseHTTPRequestHandler):
    """Sends CONTENT, or what is asked of it by Range; `stops` bytes at most, `sends` in its place."""

    stops, sends, ranges, asked = None, None, True, []

    def do_GET(self):
        content, begin = self.sends or CONTENT, 0
        requested = self.headers.get("Range")
        type(self).asked.append(requested)
        if requested and self.ranges:
            begin = int(requested.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        self.wfile.write(content[begin : begin + self.stops if self.stops else None])
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    handler = type("Own", (Handler,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def file(server):
    url = f"http://127.0.0.1:{server.server_port}/eyes.pth"
    return WeightsFile("eyes.pth", url, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


def test_a_download_goes_on_where_the_connection_broke(server, file, tmp_path):
    handler, blocks = server.RequestHandlerClass, []
    handler.stops = 1_500_000
    with pytest.raises(InputError, match=r"1500000 of 2304000 bytes.*bring eyes.pth \(SHA-256 \w{64}.* to .*eyes.pth"):
        file.fetch(tmp_path, lambda: None)
    assert not (tmp_path / "eyes.pth").exists()
    handler.stops = None
    path = file.fetch(tmp_path, lambda: blocks.append(1))
    assert path.read_bytes() == CONTENT and blocks
    assert handler.asked == [None, "bytes=1500000-"]
    assert file.fetch(tmp_path, lambda: None) == path and len(handler.asked) == 2  # it is there
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == ["eyes.pth"]


def test_a_server_without_ranges_sends_all_of_it_again(server, file, tmp_path):
    handler = server.RequestHandlerClass
    handler.ranges = False
    (tmp_path / "eyes.pth.part").write_bytes(CONTENT[:1000])
    assert file.fetch(tmp_path, lambda: None).read_bytes() == CONTENT


@pytest.mark.parametrize("sent", [CONTENT[::-1], CONTENT * 3])
def test_what_is_not_the_file_is_never_kept(server, file, tmp_path, sent):
    server.RequestHandlerClass.sends = sent
    with pytest.raises(InputError, match="has not the SHA-256"):
        file.fetch(tmp_path, lambda: None)
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    server.RequestHandlerClass.sends = None
    assert file.check(file.fetch(tmp_path, lambda: None)).read_bytes() == CONTENT


def test_without_a_connection_one_message_names_file_place_and_hash(file, tmp_path):
    unreachable = WeightsFile(file.name, "http://127.0.0.1:9/eyes.pth", file.sha256, file.size)
    with pytest.raises(InputError) as error:
        unreachable.fetch(tmp_path, lambda: None)
    for part in ("eyes.pth", str(tmp_path / "eyes.pth"), file.sha256, unreachable.url):
        assert part in str(error.value)


def test_a_stop_leaves_the_part_for_the_next_attempt(server, file, tmp_path):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        file.fetch(tmp_path, stop)
    assert file.fetch(tmp_path, lambda: None).read_bytes() == CONTENT


def test_a_changed_file_is_told_and_not_used(file, tmp_path):
    path = tmp_path / "eyes.pth"
    path.write_bytes(CONTENT)
    assert file.find(None, [tmp_path / "nowhere", tmp_path]) == path == file.check(path)
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(InputError, match=r"eyes.pth: these are other weights, or they are damaged: SHA-256 \w+…, not"):
        file.check(path)
    with pytest.raises(InputError, match="no such file"):
        file.find(str(tmp_path / "none"), [tmp_path])
    assert file.find(None, [tmp_path / "nowhere"]) is None
