"""A fault that is injected into a run, and what is held of the runs after it: the tables, the records, the messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from faulty_runs import GOT_OVER, Ended, Lab, Run
from kills_for_tests import marks

TRIES = 4  # runs after a fault until the study is whole
HIDDEN = {".lock", ".driver", ".launches.jsonl.lock", ".mirror", ".signs.json", ".store.json"}  # the last of a copy

Marks = dict[str, tuple[int, int]]  # of records, as `marks` returns them


@dataclass
class Fault:
    """One injected fault: what was done, how runs ended, and what is not as it should be."""

    kind: str
    executor: str
    number: int
    what: str = ""
    ends: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    cpu: float = 0.0


def finish(
    fault: Fault,
    lab: Lab,
    out: Path,
    before: Marks | None = None,
    again: Callable[[], Run] | None = None,
    folder: Callable[[], Path] | None = None,
) -> None:
    """Run the study until it is whole; compare it with the undisturbed one, and see that nothing is measured again.

    again: runs it; in this process's executor by default. folder: in which it lies then; `out` by default.
    """
    before = marks(out) if before is None else before
    for _ in range(TRIES):
        ended = (again() if again else Run(lab.file, out, "within")).wait()
        first(fault, ended, 0)
        if ended.code == 0:
            break
    out = folder() if folder else out
    after = marks(out)
    if changed := [trial for trial, mark in before.items() if after.get(trial) != mark]:
        fault.wrong.append(f"measured again, or gone: {changed}")
    if len(after) != lab.records:
        fault.wrong.append(f"{len(after)} records of {lab.records}")
    fault.wrong += lab.differs(out)
    hidden = {path.name for path in out.rglob(".*") if path.is_file()} - HIDDEN
    if hidden:
        fault.wrong.append(f"left behind: {sorted(hidden)}")


def first(fault: Fault, ended: Ended, *codes: int | None) -> None:
    """Note how a run ended, and what is wrong about that. codes: with which it may end; None: by a signal."""
    fault.ends.append("killed" if ended.code is None else str(ended.code))
    fault.cpu += ended.cpu
    if fault.executor == "ray" and "Ray does not start on this machine" in ended.err:
        codes = (*codes, 2)  # a machine that is too busy for it
    if ended.code not in codes:
        fault.wrong.append(f"exit code {ended.code}: {ended.err[-1500:]}")
    if "Traceback" in ended.err or "Traceback" in ended.out:
        fault.wrong.append(f"a traceback: {(ended.err + ended.out)[-1500:]}")
    if ended.code == 2:
        lines = [line for line in ended.message if not line.startswith(GOT_OVER)]
        if len(lines) != 1 or not lines[0].startswith("error: "):
            fault.wrong.append(f"not one message: {ended.message}")
