"""The trackers of a running study: a process each, which reads the study's folder, and is left alone where it fails.

Nothing that a tracker does can hold up or change what is trained: it may hang, raise, print, or be killed. It is told
that the study has ended by the end of its input, then it tells its tracker the rest, and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ablate.candidates.names import Names
from ablate.discovery.catalog import Catalog
from ablate.io.files import digest
from ablate.kinds.tracker import TrackedStudy, Tracker

FOLDER = "trackers"  # in a study's folder: what each was told, and what it printed
CLOSING = 60.0  # seconds in which a tracker has to send what is left, at the end of a study


@contextmanager
def tracked(
    trackers: Sequence[Tracker], study: TrackedStudy, catalog: Catalog, names: Names, say: Callable[[str], None]
) -> Iterator[Callable[[], None]]:
    """Run trackers beside a study, within the `with`; give what is to be called now and then, to say their warnings."""
    running = [_Process(tracker, study, catalog, names) for tracker in trackers]

    def tell() -> None:
        for one in running:
            while one.news:
                say(one.news.popleft())

    try:
        yield tell
    finally:
        for one in running:
            one.release()
        end = time.monotonic() + CLOSING
        for one in running:
            one.close(end)
        tell()


def left_alone(name: str, why: object, folder: Path) -> str:
    """Say that a tracker is given up."""
    return (
        f"warning: tracker {name!r} is left alone: {why}; the study goes on, and "
        f"`ablate export {folder} --to {name}` logs it later"
    )


class _Process:
    """One tracker's process. news: lines for the user."""

    def __init__(self, tracker: Tracker, study: TrackedStudy, catalog: Catalog, names: Names) -> None:
        self.name = tracker.name
        self.study = study
        self.news: deque[str] = deque()
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None
        self._told = False
        if (command := tracker.missing()) is not None:
            self._give_up(f"it is not installed: {command}")
            return
        place = study.folder / FOLDER
        state = place / f"{tracker.name}-{digest(tracker.spec())[:8]}.json"
        task = {
            "tracker": {**tracker.spec(), "type": catalog.locate(type(tracker)).full_name},
            "study": [study.name, study.question, str(study.folder)],
            "plugins": list(catalog.plugins),
            "root": None if catalog.root is None else str(catalog.root),
            "names": names.to_json(),
            "baseline": dict(names.baseline),
            "state": str(state),
        }
        try:
            place.mkdir(exist_ok=True)
            with (place / f"{tracker.name}.log").open("ab") as printed:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "ablate.study.track_child"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=printed,
                    text=True,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                    start_new_session=True,  # Ctrl-C is for the study: what is logged is sent all the same
                )
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
            self._listener = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
            self._listener.start()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def release(self) -> None:
        """Tell it that the study has ended."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def close(self, end: float) -> None:
        """Wait until it has sent all, or the time is over."""
        if self._process is None:
            return
        try:
            code = self._process.wait(max(0.0, end - time.monotonic()))
            if self._listener is not None:  # it has read all that the process wrote
                self._listener.join(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            self._give_up(f"it has not sent what was left within {CLOSING:.0f} s")
            return
        if code != 0:
            self._give_up(f"its process ended with code {code}; see {self.study.folder / FOLDER / self.name}.log")

    def _listen(self, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                self._give_up(line.strip())

    def _give_up(self, why: object) -> None:
        if not self._told:  # one warning
            self._told = True
            self.news.append(left_alone(self.name, why, self.study.folder))
