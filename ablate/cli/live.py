"""A study while it runs: a screen that is kept up to date, or plain lines where there is no screen."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ablate.cli.outcome import hush
from ablate.cli.standing import Standing, best_front
from ablate.cli.terminal import console, duration, lively, say
from ablate.io.columns import Column, layout
from ablate.io.text import label, message
from ablate.results.numbers import number

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ablate.candidates.trial import Constraint, Objective
    from ablate.engine import Progress, Running

EVERY = 30.0  # seconds between two plain lines on how far it is
FRONT_ROWS = 8


class View:
    """Takes the engine's snapshots; a context, outside of which nothing is drawn."""

    def __init__(self, name: str, objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()) -> None:
        self.name = name
        self.objectives = objectives
        self.constraints = constraints
        self.begun = time.monotonic()
        self.progress: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def __call__(self, progress: Progress) -> None:
        """Show one snapshot. What was the reader of a pipe may be gone: the study goes on without it."""
        self.progress = progress
        try:
            self.show(progress)
        except OSError:
            hush()

    def show(self, progress: Progress) -> None:
        """Print or draw it."""
        raise NotImplementedError


class Lines(View):
    """One line an event, and at most every 30 s one on how far it is."""

    def __init__(self, name: str, objectives: Sequence[Objective], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name, objectives)
        self.clock = clock
        self.told = clock()

    def show(self, progress: Progress) -> None:
        """Print what happened since the last snapshot."""
        for line in progress.lines:
            say(f"[{_ended(progress)}/{progress.total}] {line}")
        if self.clock() - self.told >= EVERY and progress.running:
            self.told = self.clock()
            say(f"... {_summary(progress)}; {_working(progress.running)}")


class Screen(View):
    """The lines scroll by above a picture of what is going on."""

    def __enter__(self) -> Self:
        import sys

        from rich.live import Live

        self.front: list[Standing] = []
        self.counted = -1
        self.console = console()
        self.live = Live(
            console=self.console,
            get_renderable=self.frame,
            refresh_per_second=2,
            transient=True,
            redirect_stderr=sys.stderr.isatty(),
        )
        self.live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.live.__exit__(kind, error, at)
        except OSError:
            hush()

    def show(self, progress: Progress) -> None:
        """Print the lines, and take what the picture shows; it is drawn twice a second by rich's own thread."""
        from rich.text import Text

        for line in progress.lines:
            self.console.print(Text(message(line)))
        if len(progress.records) != self.counted:  # here and not in `frame`, which another thread calls
            self.counted = len(progress.records)
            self.front = best_front(progress.records, self.objectives, self.constraints, progress.names)

    def frame(self) -> RenderableType:
        """The picture."""
        from rich.console import Group
        from rich.text import Text

        elapsed = duration(time.monotonic() - self.begun)
        if self.progress is None:
            return Text(f"{self.name}: starting … {elapsed}", style="dim")
        front = self._best()
        room = max(1, self.console.size.height - 4 - len(front))
        return Group(
            self._head(self.progress, elapsed),
            *self._running(self.progress.running, room),
            *(Text(line, style="green", overflow="fold") for line in ["", *front] if front),
        )

    def _head(self, progress: Progress, elapsed: str) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(width=20)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        left = "" if progress.seconds_left is None else f", about {duration(progress.seconds_left)} left"
        bar = ProgressBar(total=max(progress.total, 1), completed=_ended(progress), width=20)
        grid.add_row(Text(self.name, style="bold"), bar, Text(f"{_summary(progress, False)}; {elapsed}{left}"))
        return grid

    def _running(self, running: Sequence[Running], room: int) -> list[RenderableType]:
        """A line for each trial that is worked on; the bars only where there is room for them."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        if not running:
            assert self.progress is not None
            begun = _ended(self.progress) > 0
            return [] if begun else [Text("preparing the data and what is measured against", style="dim")]
        grid = Table.grid(padding=(0, 2))
        bars = self.console.width >= 100
        grid.add_column(no_wrap=True, overflow="ellipsis", max_width=40)
        for width in (8, 8, *([12] if bars else [])):
            grid.add_column(no_wrap=True, width=width)
        for _ in range(3):
            grid.add_column(no_wrap=True, justify="right")
        shown = running if len(running) <= room else running[: room - 1]
        for one in shown:
            cells: list[RenderableType] = [Text(label(one.label)), Text(f"seed {one.seed}"), Text(one.phase)]
            if bars:
                cells.append(ProgressBar(total=1.0, completed=one.share, width=12))
            grid.add_row(*cells, *map(Text, _numbers(one)))
        more = len(running) - len(shown)
        return [grid, Text(f"… and {more} more", style="dim")] if more else [grid]

    def _best(self) -> list[str]:
        """The front's lines, fitted to the terminal: names give way, numbers stay whole."""
        if not self.front:
            return []
        rows = self.front[:FRONT_ROWS]
        columns = [Column("best front so far", tuple(row.label for row in rows), name=True)]
        for i, objective in enumerate(self.objectives):
            columns.append(Column(objective.name, tuple(number(row.values[i]) for row in rows), right=True))
        columns.append(Column("seeds", tuple(str(row.seeds) for row in rows), right=True))
        return [line.told for line in layout(columns, self.console.width)]


def view(name: str, objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()) -> View:
    """What suits the terminal that there is."""
    return Screen(name, objectives, constraints) if lively() else Lines(name, objectives)


def _ended(progress: Progress) -> int:
    return progress.done + progress.failed


def _summary(progress: Progress, left: bool = True) -> str:
    """`3/12 trials, 1 diverged, about 5 min left`."""
    parts = [f"{_ended(progress)}/{progress.total} trials"]
    parts += [f"{n} {word}" for n, word in ((progress.failed, "failed"), (progress.diverged, "diverged")) if n]
    if left and progress.seconds_left is not None:
        parts.append(f"about {duration(progress.seconds_left)} left")
    return ", ".join(parts)


def _working(running: Sequence[Running]) -> str:
    """The trials that are being worked on, in one line; the first four of many."""
    told = []
    for one in running[:4]:
        numbers = ", ".join(cell for cell in _numbers(one) if cell)
        told.append(f"{label(one.label)} seed {one.seed} {one.phase}" + (f" ({numbers})" if numbers else ""))
    more = len(running) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def _numbers(one: Running) -> tuple[str, str, str]:
    """Images, loss and speed, each empty where there is none."""
    images = f"{one.images:,}".replace(",", " ")
    if one.total:
        images += f"/{one.total:,}".replace(",", " ")
    if one.limit:
        images += f" ({duration(one.seconds)} of {duration(one.limit)})"
    loss = "" if one.loss is None else f"loss {number(one.loss, 3)}"
    speed = "" if one.images_per_second is None else f"{number(one.images_per_second, 3)} images/s"
    return (images if one.images or one.total else ""), loss, speed
