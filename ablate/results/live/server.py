"""The server of live pages: the loopback alone, read only, behind a token in the address."""

from __future__ import annotations

import hmac
import json
import secrets
import socket
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from markupsafe import Markup

from ablate.errors import InputError
from ablate.results.live.folder import WatchedStudy
from ablate.results.report import environment_of_pages, page, text_of

LOOPBACK = "127.0.0.1"
FIRST_PORT, PORTS = 8090, 20  # that are tried where none is asked for; then the system chooses
SILENCE = 30  # seconds after which a connection that says nothing is closed
SAFE = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Server(ThreadingHTTPServer):
    """Serves the pages of studies' folders until `shutdown`. token: what every address has to begin with."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, folders: Sequence[Path], port: int | None) -> None:
        self.studies = [WatchedStudy(folder) for folder in folders]
        self.token = secrets.token_urlsafe(18)
        super().__init__((LOOPBACK, _free_port(port)), _Handler)

    @property
    def address(self) -> str:
        """The address of the pages, with the token."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a reader that has gone away."""


def _free_port(port: int | None) -> int:
    """Return the port, or the first that is free. Raises InputError where the one that was asked for is taken."""
    for one in [*range(FIRST_PORT, FIRST_PORT + PORTS), 0] if port is None else [port]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, one))
            except OSError as error:
                if port is not None:
                    why = error.strerror or error
                    raise InputError(f"cannot listen at {LOOPBACK}:{port}: {why}; choose another --port") from None
                continue
            return one
    raise InputError(f"no port of {LOOPBACK} is free")


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "ablate"
    sys_version = ""
    timeout = SILENCE

    def do_GET(self) -> None:
        """Answer with a page, or what a page asks for."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer without the content."""
        self._answer()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # POST, DELETE, and whatever else there is
            return self._only_read
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:
        """Write no line a request: a page asks every two seconds."""

    def _only_read(self) -> None:
        self.close_connection = True  # what it sends is not read
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, b"this server only shows\n", more={"Allow": "GET, HEAD"})

    def _answer(self) -> None:
        first, *rest = [unquote(part) for part in urlsplit(self.path).path.split("/")[1:]] or [""]
        if not self._is_ours():
            self._send(HTTPStatus.FORBIDDEN, b"this server answers to its own address alone\n")
        elif not hmac.compare_digest(first.encode("utf-8", "replace"), self.server.token.encode()):
            self._send(HTTPStatus.FORBIDDEN, b"the address lacks the token that `ablate watch` has printed\n")
        else:
            try:
                self._serve(rest)
            except OSError:
                raise
            except Exception as error:  # noqa: BLE001 - one answer fails, the server goes on
                self._send(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}\n".encode())

    def _is_ours(self) -> bool:
        """Return whether the request names this server: a name that another site lets point here is refused."""
        hosts = {f"{name}:{self.server.server_port}" for name in (LOOPBACK, "localhost")}
        return self.headers.get_all("Host", []) in [[host] for host in hosts]

    def _serve(self, rest: list[str]) -> None:
        studies = self.server.studies
        match rest:
            case [""] if len(studies) == 1:
                self._redirect("0/")
            case [""]:
                self._html(_overview())
            case ["cards"]:
                self._json([study.card() for study in studies])
            case [number, *what] if number.isdecimal() and int(number) < len(studies):
                self._study(studies[int(number)], what, int(number))
            case _:
                self._missing()

    def _study(self, study: WatchedStudy, what: list[str], number: int) -> None:
        match what:
            case []:
                self._redirect(f"{number}/")
            case [""]:
                version, parts = study.content()
                several = Markup('<a href="../">All studies</a>; ') if len(self.server.studies) > 1 else ""
                running = environment_of_pages().from_string(text_of("running.html.j2")).render(overview=several)
                self._html(page(study.name, parts, running, version))
            case ["state"]:
                self._json(study.state())
            case ["content"]:
                version, parts = study.content()
                self._json({"version": version, **parts._asdict()})
            case ["samples", name] if name.endswith(".png"):
                picture = study.picture(name.removesuffix(".png"))
                if picture is None:
                    self._missing()
                else:
                    self._send(HTTPStatus.OK, picture, "image/png")
            case _:
                self._missing()

    def _html(self, text: str) -> None:
        self._send(HTTPStatus.OK, text.encode("utf-8", "replace"), "text/html; charset=utf-8")

    def _json(self, data: Any) -> None:
        text = json.dumps(data, allow_nan=False, default=float, ensure_ascii=True)
        self._send(HTTPStatus.OK, text.encode(), "application/json")

    def _missing(self) -> None:
        self._send(HTTPStatus.NOT_FOUND, b"there is no such page\n")

    def _redirect(self, below: str) -> None:
        self._send(HTTPStatus.FOUND, b"", more={"Location": f"/{self.server.token}/{below}"})

    def _send(
        self,
        status: HTTPStatus,
        content: bytes,
        kind: str = "text/plain; charset=utf-8",
        more: dict[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {**SAFE, "Content-Type": kind, "Content-Length": str(len(content)), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _overview() -> str:
    """Make the page with a card for each study."""
    environment = environment_of_pages()
    style = environment.from_string(text_of("page.css")).render()
    return environment.from_string(text_of("overview.html.j2")).render(
        style=Markup(style), program=Markup(text_of("overview.js"))
    )
