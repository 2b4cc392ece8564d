"""The process of one tracker: it reads the study's folder, and tells the tracker what is new, until its input ends.

A line of JSON on stdin says what to do; a line on stdout says why the tracker is given up.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EVERY, SHARE = (
    3.0,
    0.1,
)  # seconds between two readings of the folder, at the least; their share of the time, at the most


def main() -> None:
    """Do what stdin says. What libraries print to stdout goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(10)  # what is trained comes first
    task = json.loads(sys.stdin.readline())
    ended = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(ended,), daemon=True).start()
    try:
        _track(task, ended)
    except BaseException as error:  # noqa: BLE001 - whatever a library does, it is this tracker's end alone
        import traceback

        traceback.print_exc()
        answers.write(_one_line(error) + "\n")
        answers.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that a library left would keep the process


def _track(task: Mapping[str, Any], ended: threading.Event) -> None:
    from ablate.candidates.names import Names
    from ablate.discovery.catalog import catalog
    from ablate.kinds.tracker import TrackedStudy, Tracker

    name, question, folder = task["study"]
    names = Names.read({"names": task["names"], "baseline": task["baseline"]}) or Names()
    tracker = catalog(tuple(task["plugins"])).at(task["root"]).create(Tracker, task["tracker"])
    study = TrackedStudy(name, question, Path(folder))
    with tracker.open(study) as log:
        follower = Follower(log, study.folder, names, Path(task["state"]))
        wait = EVERY
        while not ended.wait(wait):
            begun = time.monotonic()
            follower.look()
            wait = max(EVERY, (time.monotonic() - begun) / SHARE)
        follower.look()


class Follower:
    """Tells a tracker what is new in a study's folder. state: the file that says what it knows."""

    def __init__(self, log: Any, folder: Path, names: Any, state: Path) -> None:
        from ablate.io.files import read_json
        from ablate.results.tracked import Told

        self.log, self.trials, self.names, self.state = log, folder / "trials", names, state
        self.open: set[str] = set()  # trials whose run was begun here
        stored: Any = {}
        with contextlib.suppress(OSError, ValueError):
            stored = read_json(state)
        known = stored.get("trials") if isinstance(stored, dict) else None
        self.told = {str(k): Told.of(v) for k, v in known.items()} if isinstance(known, dict) else {}

    def look(self) -> None:
        """Read the trials that have not ended as far as the tracker knows."""
        from ablate.io.files import write_json
        from ablate.results.tracked import Told, observed, tell

        if not self.trials.is_dir():
            return
        before = json.dumps({name: vars(told) for name, told in self.told.items()})
        try:
            for folder in sorted(self.trials.iterdir()):
                told = self.told.get(folder.name, Told())
                if told.state is not None and not self._begun_again(folder, told):
                    continue
                seen = observed(folder, self.names)
                if seen is None:
                    continue
                if folder.name not in self.open:
                    told.state = None
                    told.handle = self.log.begin(seen.trial, told.handle)
                    self.open.add(folder.name)
                    self.told[folder.name] = told
                tell(self.log, seen, told)
                if told.state is not None:
                    self.open.discard(folder.name)
        finally:  # what was logged is not logged twice, also where the tracker fails in the middle
            after = {name: vars(told) for name, told in self.told.items()}
            if json.dumps(after) != before:
                with contextlib.suppress(OSError):
                    write_json(self.state, {"schema": 1, "trials": after}, durable=False)

    def _begun_again(self, folder: Path, told: Any) -> bool:
        """Return whether a trial that had failed runs again, or has its record now."""
        return told.state == "failed" and not (folder / "failure.json").exists()


def _wait_for_the_end(ended: threading.Event) -> None:
    with contextlib.suppress(OSError, ValueError):
        while sys.stdin.readline():
            pass
    ended.set()


def _one_line(error: BaseException) -> str:
    from ablate.errors import InputError
    from ablate.io.text import label

    words = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    return label(" ".join(words.split()), 400)


if __name__ == "__main__":
    main()
