"""An S3 server on the loopback (moto's), one request at a time, that can be told to answer 503 for a while.

`python object_server.py PORT`; `POST /-/faults?answers=N&after=1&at=M` makes it answer N requests with 503, after the
next M, and with `after=1` only once it has done what each asks for, as where an answer is lost on its way.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
HEADERS = [("Content-Type", "application/xml"), ("Content-Length", str(len(SLOW_DOWN)))]


class Server:
    """moto's application, behind a lock: its own check and write of a conditional put are two steps."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app

        self._app = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self._faults = 0
        self._after = False
        self._waiting = 0  # requests that are answered before
        self.requests = 0

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/-/"):
            query = parse_qs(environ.get("QUERY_STRING", ""))
            if "answers" in query:
                self._faults, self._after = int(query["answers"][0]), query.get("after") == ["1"]
                self._waiting = int(query.get("at", ["0"])[0])
            start("200 OK", [("Content-Type", "text/plain")])
            return [f"{self._faults} {self.requests}".encode()]
        with self._lock:
            self.requests += 1
            self._waiting = max(self._waiting - 1, -1)
            if self._waiting >= 0:
                return list(self._app(environ, start))
            if self._faults and not self._after:
                self._faults -= 1
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start("503 Slow Down", HEADERS)
                return [SLOW_DOWN]
            if self._faults and environ["REQUEST_METHOD"] in ("PUT", "POST", "DELETE"):
                self._faults -= 1
                b"".join(self._app(environ, lambda *answer: None))
                start("503 Slow Down", HEADERS)
                return [SLOW_DOWN]
            return list(self._app(environ, start))


def main() -> None:
    """Serve until the parent is gone."""
    import logging

    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, Server(), threaded=True)
    print(server.port, flush=True)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    server.serve_forever()


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


class ObjectServer:
    """A running server. variables: of the environment, by which a client finds it."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.variables = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "not-to-be-told",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        for number in range(100):
            try:
                self._ask("PUT", "/bucket")
                return
            except OSError:
                time.sleep(0.1 * (number < 99))
        raise RuntimeError("the server did not come up")

    def fail(self, answers: int, after: bool = False, at: int = 0) -> None:
        """Let it answer so many requests with 503, after `at` others; after: only once it has done what they ask."""
        self._ask("POST", f"/-/faults?answers={answers}&after={int(after)}&at={at}")

    @property
    def requests(self) -> int:
        """How many it was asked so far."""
        return int(self._ask("GET", "/-/").split()[1])

    def _ask(self, method: str, path: str) -> str:
        request = urllib.request.Request(self.endpoint + path, method=method, data=b"" if method != "GET" else None)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())


@contextmanager
def object_server() -> Iterator[ObjectServer]:
    """Run a server in a process of its own, with a bucket named `bucket`."""
    command = [sys.executable, str(Path(__file__).resolve())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield ObjectServer(int(process.stdout.readline()))
        finally:
            process.kill()


if __name__ == "__main__":
    main()
