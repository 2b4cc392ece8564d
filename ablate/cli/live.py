"""The live view of a running study: progress bars, trials at work, the Pareto front so far; plain lines in a pipe."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ablate.cli.front import FrontPoint, best_front
from ablate.cli.outcome import hush
from ablate.cli.terminal import console, duration, echo, lively
from ablate.io.columns import Column, layout
from ablate.io.text import label, message
from ablate.results.numbers import number

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ablate.candidates.objectives import Constraint, Objective
    from ablate.engine import Progress, Running

EVERY = 30.0  # seconds between two plain lines on how far it is
FRONT_ROWS = 8
BAR = 20  # cells of the bar over all trials
NAME = 20  # cells of a trial's name at the least, if it has as many


class View:
    """Displays the engine's progress; a context, outside of which nothing is drawn."""

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
    """Prints a line for each event, and at most every 30 s one on the progress."""

    def __init__(self, name: str, objectives: Sequence[Objective], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name, objectives)
        self.clock = clock
        self.last_line = clock()

    def show(self, progress: Progress) -> None:
        """Print what happened since the last snapshot."""
        for line in progress.lines:
            echo(f"[{_ended(progress)}/{progress.total}] {line}")
        if self.clock() - self.last_line >= EVERY and progress.running:
            self.last_line = self.clock()
            echo(f"... {_summary(progress)}; {_working(progress.running)}")


class Screen(View):
    """Prints a line for each event, above a picture of the trials at work."""

    def __enter__(self) -> Self:
        import sys

        from rich.live import Live

        self.front: list[FrontPoint] = []
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
        """Return the picture: lines that each fit the terminal's width, no more of them than it is high."""
        from rich.console import Group
        from rich.text import Text

        elapsed = duration(time.monotonic() - self.begun)
        if self.progress is None:
            return Text(f"{label(self.name)}: starting … {elapsed}", style="dim", overflow="fold")
        head = self._head(self.progress, elapsed)
        height = self.console.size.height - len(head) - 2
        front = self._best(max(1, height - 2))
        return Group(
            *head,
            *self._running(self.progress.running, max(1, height - len(front))),
            *(Text(line, style="green", overflow="fold") for line in ["", *front] if front),
        )

    def _head(self, progress: Progress, elapsed: str) -> list[RenderableType]:
        """Return the study's name, a bar, and how far it is; where that is too wide, lines without the bar."""
        from rich.cells import cell_len
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        remaining = "" if progress.seconds_left is None else f", about {duration(progress.seconds_left)} left"
        name, summary = label(self.name), f"{_summary(progress, False)}; {elapsed}{remaining}"
        width = self.console.width
        if cell_len(name) + BAR + cell_len(summary) + 2 > width:
            names = [Text(line, style="bold") for line in self._wrapped(name)]
            return [*names, *map(Text, self._wrapped(summary))]
        grid = Table.grid(padding=(0, 1))
        for column in (None, BAR, None):
            grid.add_column(no_wrap=True, width=column)
        bar = ProgressBar(total=max(progress.total, 1), completed=_ended(progress), width=BAR)
        grid.add_row(Text(name, style="bold"), bar, Text(summary))
        return [grid]

    def _running(self, running: Sequence[Running], room: int) -> list[RenderableType]:
        """Return the trials that are worked on: a row each, with bars where there is room; else wrapped text.

        room: lines at the most.
        """
        from rich.cells import cell_len
        from rich.text import Text

        if not running:
            assert self.progress is not None
            begun = _ended(self.progress) > 0
            return [] if begun else [Text("preparing the data and what is measured against", style="dim")]
        rows = [(label(one.label), f"seed {one.seed}", one.phase, *_numbers(one)) for one in running]
        widths = [max(cell_len(row[i]) for row in rows) for i in range(len(rows[0]))]
        beside = sum(widths[1:]) + 2 * (len(widths) - 1)  # what is never cut
        fits = self.console.width - beside >= min(widths[0], NAME)
        if fits:
            visible = running if len(running) <= room else running[: room - 1]
            pictured = [self._grid(visible, self.console.width - beside)] if visible else []
        else:
            lines = [self._wrapped(_sentence(one)) for one in running]
            used = list(itertools.accumulate(map(len, lines)))
            count = sum(lines_so_far <= room - (i + 1 < len(lines)) for i, lines_so_far in enumerate(used))
            visible = running[: max(1, count)]
            pictured = [Text(line) for one in lines[: len(visible)] for line in one]
        more = len(running) - len(visible)
        return [*pictured, Text(f"… and {more} more", style="dim")] if more else pictured

    def _grid(self, running: Sequence[Running], width: int) -> RenderableType:
        """Return a table with a row for each trial; `width`: of the names at the most, whose middle gives way."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        bars = width >= NAME + 14
        grid = Table.grid(padding=(0, 2))
        for _ in range(3 + bars):
            grid.add_column(no_wrap=True)
        for _ in range(3):
            grid.add_column(no_wrap=True, justify="right")
        for one in running:
            cells: list[RenderableType] = [Text(label(one.label, width - 14 if bars else width))]
            cells += [Text(f"seed {one.seed}"), Text(one.phase)]
            if bars:
                cells.append(ProgressBar(total=1.0, completed=one.share, width=12))
            grid.add_row(*cells, *map(Text, _numbers(one)))
        return grid

    def _wrapped(self, text: str) -> list[str]:
        """Wrap a text into lines of the terminal's width."""
        from rich.text import Text

        return [line.plain for line in Text(text).wrap(self.console, self.console.width, overflow="fold")]

    def _best(self, height: int) -> list[str]:
        """Return the front's lines, fitted to the terminal: names give way, numbers stay whole, the best first.

        height: lines at the most, as long as one candidate alone does not take more.
        """
        for count in range(min(len(self.front), FRONT_ROWS), 0, -1):
            rows = self.front[:count]
            columns = [Column("best front so far", tuple(row.label for row in rows), name=True)]
            for i, objective in enumerate(self.objectives):
                columns.append(Column(objective.name, tuple(number(row.values[i]) for row in rows), right=True))
            columns.append(Column("seeds", tuple(str(row.seeds) for row in rows), right=True))
            lines = [line.text for line in layout(columns, self.console.width)]
            if len(lines) <= height or count == 1:
                return lines
        return []


def view(name: str, objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()) -> View:
    """Return the view that suits the terminal."""
    return Screen(name, objectives, constraints) if lively() else Lines(name, objectives)


def _ended(progress: Progress) -> int:
    return progress.done + progress.failed + progress.paused


def _summary(progress: Progress, with_time: bool = True) -> str:
    """Format the progress: `3/12 trials, 1 diverged, about 5 min left`."""
    parts = [f"{_ended(progress)}/{progress.total} trials"]
    counts = ((progress.paused, "paused"), (progress.failed, "failed"), (progress.diverged, "diverged"))
    parts += [f"{n} {word}" for n, word in counts if n]
    if with_time and progress.seconds_left is not None:
        parts.append(f"about {duration(progress.seconds_left)} left")
    return ", ".join(parts)


def _working(running: Sequence[Running]) -> str:
    """Format the trials that are being worked on, in one line; the first four of many."""
    sentences = [_sentence(one) for one in running[:4]]
    more = len(running) - len(sentences)
    return "; ".join(sentences) + (f"; and {more} more" if more else "")


def _sentence(one: Running) -> str:
    """Format a trial that is being worked on: `adaln seed 0 train (500/1 000, loss 0.25, 100 images/s)`."""
    numbers = ", ".join(cell for cell in _numbers(one) if cell)
    return f"{label(one.label)} seed {one.seed} {one.phase}" + (f" ({numbers})" if numbers else "")


def _numbers(one: Running) -> tuple[str, str, str]:
    """Format images, loss and speed, each empty where there is none."""
    images = f"{one.images:,}".replace(",", " ")
    if one.total:
        images += f"/{one.total:,}".replace(",", " ")
    if one.limit:
        images += f" ({duration(one.seconds)} of {duration(one.limit)})"
    loss = "" if one.loss is None else f"loss {number(one.loss, 3)}"
    speed = "" if one.images_per_second is None else f"{number(one.images_per_second, 3)} images/s"
    return (images if one.images or one.total else ""), loss, speed
