"""The driver's side of `ablate.execute.head`: starts or tries Ray in another process, which Ray may end."""

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

from ablate.execute.local import signals_deferred

CODE = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from ablate.execute.head import main; main()"
LOOK = 0.1  # seconds between two looks at what Ray complains about
UNAUTHORIZED = ("authenticat", "auth token", "authtoken", "unauthorized", "rejected")  # in Ray's words, lower case
_STAMP = re.compile(r"^\[[^\]]*\]\s*(\(\w+\)\s*)?([\w./]+:\d+:)?\s*")  # date, process and line of code


class RayError(RuntimeError):
    """Raised where Ray did not start, or refused the connection. Its text is one line; `output` is all of Ray's."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output or message


class Beside:
    """A process beside the driver, which calls `ray.init(**init)`. stay: it holds the cluster until `close`."""

    def __init__(self, init: Mapping[str, Any], environment: Mapping[str, str], *, loopback: bool, stay: bool) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - the process writes to it as long as it lives
        path = json.dumps([entry or os.getcwd() for entry in sys.path])  # noqa: PTH109 - what "" stands for
        request = json.dumps({"init": dict(init), "loopback": loopback, "stay": stay})
        with signals_deferred():
            self._process = subprocess.Popen(
                [sys.executable, "-c", CODE, path, request, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process's id; Ray's servers are its children."""
        return self._process.pid

    def address(self, seconds: float) -> str:
        """Return Ray's address. Raises RayError where there is none, or none within that time."""
        out, end = self._process.stdout, time.monotonic() + seconds
        assert out is not None
        while not select.select([out], [], [], LOOK)[0]:
            errors = self._errors()
            if any(word in errors.lower() for word in UNAUTHORIZED):  # Ray tries that twenty times
                raise RayError(_main_line(errors), errors)
            if time.monotonic() > end:
                cause = _main_line(errors)
                raise RayError(f"no answer for {seconds:.0f} s{f': {cause}' if cause else ''}", errors)
        line = out.readline().decode()
        errors = self._errors()
        if not line.endswith("\n"):
            code = self._process.wait()
            cause = _main_line(errors) or f"exit code {code}"
            raise RayError(f"ended by its native code: {cause}", errors)
        answer = json.loads(line)
        if "error" in answer:
            raise RayError(answer["error"].strip().partition("\n")[0], f"{answer['error']}\n{errors}")
        return str(answer["address"])

    def close(self) -> None:
        """End the process, and by that what the kernel ends with it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]

    def _errors(self) -> str:
        """Return all that the process has written to stderr."""
        size = os.fstat(self._stderr.fileno()).st_size
        return os.pread(self._stderr.fileno(), size, 0).decode(errors="replace")


def _main_line(errors: str) -> str:
    """Return the line of Ray's errors that says most: the first fatal one, else the last; without date and place."""
    lines = [line for line in map(str.strip, errors.splitlines()) if line.startswith("[")]
    fatal = [line for line in lines if re.match(r"^\[[^\]]* [CF] ", line)]
    main_line = (fatal[:1] or lines[-1:] or errors.strip().splitlines()[-1:] or [""])[0]
    return _STAMP.sub("", main_line)[:300]
