"""The process in which `examine_apart` runs checks: it writes a line of JSON for each thing that it begins and ends."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any


def run(log: str, target: str, after: str, plugins: list[str]) -> None:
    """Load a target and run its checks behind `after` (`component: check`), or all of them; exit by itself.

    Lines, each with the bytes that were `printed` to stdout by then: {"loading": target}, then {"error": …} or
    {"loaded": [component, …], "broken": [[plugin, module, reason, traceback], …]}, then {"begin": [component, check]}
    and {"outcome": {…}} in turns, {"done": true} at the end.
    """
    with open(log, "a", encoding="utf-8") as file:  # noqa: PTH123 - held open

        def tell(**content: Any) -> None:
            sys.stdout.flush()
            file.write(json.dumps({**content, "printed": os.fstat(1).st_size}) + "\n")
            file.flush()

        with contextlib.suppress(AttributeError, ValueError, OSError):  # on systems without signals
            faulthandler.enable()
            faulthandler.register(signal.SIGUSR1, all_threads=True)
        tell(loading=target)
        _examine(tell, target, after, plugins)
        tell(done=True)
    sys.stdout.flush()
    os._exit(0)  # a thread that the plugin left would keep the process


def _examine(tell: Any, target: str, after: str, plugins: list[str]) -> None:
    from ablate.errors import InputError
    from ablate.testing.case import Case
    from ablate.testing.run import checks, outcome_of
    from ablate.testing.target import find

    try:
        found = find(target, tuple(plugins))
    except InputError as error:
        tell(error={"message": error.message, "where": error.where and str(error.where)})
        return
    broken = [[one.plugin, one.module, one.reason, one.traceback] for one in found.broken]
    tell(loaded=[f"{e.kind}/{e.name}" for e in found.entries], broken=broken)
    skipping = bool(after)
    for entry in found.entries:
        case, name = Case(entry, found.catalog), f"{entry.kind}/{entry.name}"
        for check in checks(entry.cls):
            if skipping:
                skipping = f"{name}: {check.__name__}" != after
                continue
            tell(begin=[name, check.__name__])
            outcome = outcome_of(name, check, case)
            tell(outcome=asdict(outcome))
            if check.__name__ == "makes_from_defaults" and outcome.state != "passed":
                break


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], sys.argv[3], [str(Path(p)) for p in sys.argv[4:]])
