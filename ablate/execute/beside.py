"""The driver's side of `ablate.execute.head`: Ray is started, or tried, in a process that may be ended by it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from ablate.execute.local import later

CODE = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from ablate.execute.head import main; main()"
LOOK = 0.1  # seconds between two looks at what Ray complains about
UNAUTHORIZED = ("authenticat", "auth token", "authtoken", "unauthorized", "rejected")  # in Ray's words, lower case
_STAMP = re.compile(r"^\[[^\]]*\]\s*(\(\w+\)\s*)?([\w./]+:\d+:)?\s*")  # date, process and line of code


class RayError(RuntimeError):
    """Ray did not start, or did not let us in. Its text is one line; `whole` is all that Ray said."""

    def __init__(self, message: str, whole: str = "") -> None:
        super().__init__(message)
        self.whole = whole or message


class Beside:
    """A process that calls `ray.init` with these arguments. stay: it holds the cluster until `close`."""

    def __init__(self, init: Mapping[str, Any], environment: Mapping[str, str], *, loopback: bool, stay: bool) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - the process writes to it as long as it lives
        path = json.dumps([entry or os.getcwd() for entry in sys.path])  # noqa: PTH109 - what "" stands for
        wanted = json.dumps({"init": dict(init), "loopback": loopback, "stay": stay})
        with later():
            self._process = subprocess.Popen(
                [sys.executable, "-c", CODE, path, wanted, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the process, whose children Ray's servers are."""
        return self._process.pid

    def address(self, seconds: float) -> str:
        """Where Ray is. Raises RayError where it is not, or does not say so within that time."""
        out, end = self._process.stdout, time.monotonic() + seconds
        assert out is not None
        while not select.select([out], [], [], LOOK)[0]:
            complaint = self._complaint()
            if any(word in complaint.lower() for word in UNAUTHORIZED):  # Ray tries that twenty times
                raise RayError(_plain(complaint), complaint)
            if time.monotonic() > end:
                told = _plain(complaint)
                raise RayError(f"no answer for {seconds:.0f} s{f': {told}' if told else ''}", complaint)
        line = out.readline().decode()
        complaint = self._complaint()
        if not line.endswith("\n"):
            code = self._process.wait()
            told = _plain(complaint) or f"exit code {code}"
            raise RayError(f"ended by its native code: {told}", complaint)
        found = json.loads(line)
        if "error" in found:
            raise RayError(found["error"].strip().partition("\n")[0], f"{found['error']}\n{complaint}")
        return str(found["address"])

    def close(self) -> None:
        """End the process, and by that what the kernel ends with it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]

    def _complaint(self) -> str:
        size = os.fstat(self._said.fileno()).st_size
        return os.pread(self._said.fileno(), size, 0).decode(errors="replace")


def _plain(complaint: str) -> str:
    """Of Ray's lines the one that tells most: its first fatal one, else its last; without date and place."""
    lines = [line for line in map(str.strip, complaint.splitlines()) if line.startswith("[")]
    fatal = [line for line in lines if re.match(r"^\[[^\]]* [CF] ", line)]
    chosen = (fatal[:1] or lines[-1:] or complaint.strip().splitlines()[-1:] or [""])[0]
    return _STAMP.sub("", chosen)[:300]
