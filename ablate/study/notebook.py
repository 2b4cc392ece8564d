"""The progress of a study in a notebook: a bar, and what every worker does, in the place of one output."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from ablate.io.text import label

if TYPE_CHECKING:
    from ablate.engine import Progress

EVERY = 1.0  # seconds between two drawings
SHOWN = 8  # trials at work, and last lines


def in_notebook() -> bool:
    """Return whether this runs in Jupyter, or in what shows HTML as that does."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def output() -> Callable[[str], None]:
    """Make an output below the running cell; return what replaces its HTML."""
    from IPython.display import HTML, display  # type: ignore[import-not-found, unused-ignore]

    handle = display(HTML(""), display_id=True)
    return lambda html: handle.update(HTML(html))


class Bar:
    """Draws progress as HTML. show: replaces what was drawn; nothing that a study says is markup in it."""

    def __init__(self, show: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._show = show
        self._clock = clock
        self._due = 0.0
        self._lines: list[str] = []

    def say(self, line: str) -> None:
        """Keep a line for the next drawing."""
        self._lines = [*self._lines, line][-SHOWN:]

    def __call__(self, progress: Progress) -> None:
        """Draw a snapshot, once a second at the most, and the last one always."""
        for line in progress.lines:
            self.say(line)
        ended = progress.done + progress.failed + progress.paused
        if self._clock() < self._due and (progress.running or ended < progress.total):
            return
        self._due = self._clock() + EVERY
        self._show(self._html(progress, ended))

    def _html(self, progress: Progress, ended: int) -> str:
        counts = {"diverged": progress.diverged, "failed": progress.failed, "paused": progress.paused}
        words = [f"{ended} of {progress.total} trials", *(f"{n} {word}" for word, n in counts.items() if n)]
        if progress.seconds_left is not None:
            words.append(f"about {_time(progress.seconds_left)} left")
        rows = "".join(
            f"<tr><td>{_text(one.label)}</td><td>seed {one.seed}</td><td>{_text(one.phase)}</td>"
            f"<td><progress max='1' value='{one.share:.3f}'></progress></td>"
            f"<td>{'' if one.loss is None else f'loss {one.loss:.3g}'}</td></tr>"
            for one in progress.running[:SHOWN]
        )
        more = len(progress.running) - SHOWN
        lines = "".join(f"<div><small>{_text(line)}</small></div>" for line in self._lines)
        return (
            f'<div class="tex2jax_ignore mathjax_ignore"><b>{_text(progress.study)}</b> '
            f"<progress max='{max(progress.total, 1)}' value='{ended}'></progress> {_text(', '.join(words))}"
            f"<table>{rows}</table>{f'<div>and {more} more</div>' if more > 0 else ''}{lines}</div>"
        )


def watching(wanted: bool | None) -> dict[str, Any]:
    """Return `watch` and `say` for `launch`: a bar in a notebook, or where it is wanted; {} elsewhere."""
    if wanted is False or not (wanted or in_notebook()):
        return {}
    bar = Bar(output() if in_notebook() else _lines())
    return {"watch": bar, "say": bar.say}


def _lines() -> Callable[[str], None]:
    """Return what writes a bar outside of a notebook: a line on stderr, without markup."""
    import re
    from html import unescape

    def show(html: str) -> None:
        head = unescape(re.sub(r"<[^>]*>", "", html.partition("<table>")[0]))
        print(" ".join(head.split()), file=sys.stderr, flush=True)

    return show


def _text(words: object) -> str:
    return escape(label(words, 400))


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
