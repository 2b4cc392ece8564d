"""What the benchmarks have in common: their options, a stopwatch, and the rows that they print and keep."""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Name = TypeVar("Name", bound=Hashable)


def options(about: str | None, rounds: int) -> argparse.ArgumentParser:
    """Those that most have; `about` is the benchmark's own first lines."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--csv", type=Path, help="write the rows here")
    made.add_argument("--device", default="cpu")
    made.add_argument("--rounds", type=int, default=rounds)
    made.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: the process's own seconds")
    return made


class Stopwatch:
    """Seconds that a piece of work takes on a device, by one of the clocks."""

    def __init__(self, device: torch.device | str, clock: str = "wall") -> None:
        self.device = torch.device(device)
        self.clock = CLOCKS[clock]

    def __call__(self, work: Callable[[], object]) -> float:
        """Seconds from an idle device to an idle device."""
        self._wait()
        begun = self.clock()
        work()
        self._wait()
        return self.clock() - begun

    def turn(self, works: Mapping[Name, Callable[[], object]], number: int) -> dict[Name, float]:
        """Seconds of each in one round; another one begins in the next, so that a drift of speed falls on all."""
        names = list(works)
        first = number % len(names)
        return {name: self(works[name]) for name in names[first:] + names[:first]}

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def show(row: Mapping[str, Any], columns: Sequence[str]) -> None:
    """One line."""
    print("  ".join(f"{column} {row[column]}" for column in columns), flush=True)


def keep(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], file: Path | None, add: bool = False) -> None:
    """Write the rows to a CSV file, or add them to those that it has."""
    if file is None:
        return
    more = add and file.exists()
    with file.open("a" if add else "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns, lineterminator="\n")
        if not more:
            writer.writeheader()
        writer.writerows(rows)


def at_most(limit: float, ratios: Mapping[str, float]) -> int:
    """Exit code: 1 where a ratio is above the limit, which is told."""
    above = [f"{name}: {ratio}" for name, ratio in ratios.items() if ratio > limit]
    print(f"above {limit}: {'; '.join(above)}" if above else f"every ratio is at most {limit}")
    return 1 if above else 0


def at_least(limit: float, ratios: Mapping[str, float]) -> int:
    """Exit code: 1 where a ratio is below the limit, which is told."""
    below = [f"{name}: {ratio}" for name, ratio in ratios.items() if ratio < limit]
    print(f"below {limit}: {'; '.join(below)}" if below else f"every ratio is at least {limit}")
    return 1 if below else 0
