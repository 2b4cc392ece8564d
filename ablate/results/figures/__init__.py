"""The figures of a study as PNG, SVG or PDF; matplotlib and seaborn are imported when one is drawn."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ablate.results.analysis import StudyAnalysis

# Without dates and random ids: the same study gives the same file.
METADATA: Mapping[str, dict[str, Any]] = {
    "png": {"Software": "ablate"},
    "svg": {"Date": None, "Creator": "ablate"},
    "pdf": {"CreationDate": None, "Creator": "ablate"},
}
NAMES = (  # and probe_<name> of each probe
    *("front", "curves", "quality", "samples", "effects", "axes", "scaling"),
    *("isoflops", "interactions", "importance", "slices", "progress"),
)


def figures(
    results: StudyAnalysis,
    out: Path,
    formats: Sequence[str] = ("png", "svg"),
    names: Sequence[str] | None = None,
    say: Callable[[str], None] | None = None,
) -> list[Path]:
    """Draw each figure for which there is something to show, and write it atomically to `out`.

    A figure that would mix values that may not be compared is left out: the summary tells why. One that cannot be
    drawn (a library's limits, a damaged file) is named in one line, and the others are drawn: a picture is no reason
    to end a run that has measured everything.
    """
    from ablate.errors import InputError
    from ablate.results.figures import style
    from ablate.runtime.seldom import seldom_collected

    _check(formats, METADATA, "format")
    if names is not None:
        _check([name for name in names if not name.startswith("probe_")], NAMES, "figure")
    paths: list[Path] = []
    with style.theme(), seldom_collected():
        for name, draw in _drawings(results):
            if names is not None and name not in names:
                continue
            try:
                figure = draw()
                if figure is not None:
                    paths += _save(figure, out / name, formats)
            except InputError:
                continue
            except OSError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever matplotlib or seaborn raise for what is in the folder
                _warn(f"warning: figure {name!r} could not be drawn: {type(error).__name__}: {error}", say)
    return paths


def _drawings(results: StudyAnalysis) -> Iterable[tuple[str, Callable[[], Figure | None]]]:
    from ablate.results.figures import probes

    for name in NAMES:  # each is a module's too
        module = importlib.import_module(f"{__name__}.{name}")
        yield name, lambda module=module: module.draw(results)  # type: ignore[misc]
    for name in probes.names(results):
        yield name, lambda name=name: probes.draw(results, name)  # type: ignore[misc]


def _check(names: Sequence[str], choices: Iterable[str], what: str) -> None:
    from ablate.errors import InputError, did_you_mean

    for name in names:
        if name not in choices:
            raise InputError(f"there is no {what} {name!r}{did_you_mean(name, choices)}")


def _warn(line: str, say: Callable[[str], None] | None) -> None:
    from ablate.io.text import label

    line = label(line, 500)
    if say is not None:
        say(line)
    else:
        warnings.warn(line.removeprefix("warning: "), stacklevel=4)


def _save(figure: Figure, stem: Path, formats: Sequence[str]) -> list[Path]:
    from matplotlib.text import Text

    from ablate.io.files import write_with
    from ablate.io.text import printable
    from ablate.results.figures import style

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        content = text.get_text()
        if (clean := printable(content, lines=True)) != content:  # an SVG with a control in it is none
            text.set_text(clean)
    paths, box = [], style.drawn_area(figure)
    for kind in formats:
        paths.append(stem.with_name(f"{stem.name}.{kind}"))
        write_with(
            paths[-1],
            lambda path, kind=kind: figure.savefig(  # type: ignore[misc]
                path, format=kind, metadata=METADATA[kind], bbox_inches=box
            ),
        )
    return paths
