"""The figures of a study, each as PNG and SVG; matplotlib and seaborn load when one is drawn."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ablate.results.results import Results


def figures(results: Results, out: Path) -> list[Path]:
    """Draw each figure for which there is something to show, and write it atomically to `out`.

    A figure that would mix values that may not be compared is left out: the summary tells why.
    """
    from ablate.errors import InputError
    from ablate.results.figures import axes, curves, effects, front, probes, samples, scaling, style

    drawings = {
        "front": front.draw,
        "curves": curves.draw,
        "samples": samples.draw,
        "effects": effects.draw,
        "axes": axes.draw,
        "scaling": scaling.draw,
    }
    with style.theme():
        drawn = {}
        for name, draw in drawings.items():
            with contextlib.suppress(InputError):
                drawn[name] = draw(results)
        drawn.update(probes.draw(results))
        return [path for name, figure in drawn.items() if figure is not None for path in _save(figure, out / name)]


def _save(figure: Figure, stem: Path) -> list[Path]:
    from ablate.files import write_with

    # Without dates and random ids: the same study gives the same file.
    metadata = {"png": {"Software": "ablate"}, "svg": {"Date": None, "Creator": "ablate"}}
    paths = []
    for kind, said in metadata.items():
        paths.append(stem.with_name(f"{stem.name}.{kind}"))
        write_with(
            paths[-1],
            lambda path, kind=kind, said=said: figure.savefig(  # type: ignore[misc]
                path, format=kind, metadata=said, bbox_inches="tight", pad_inches=0.15
            ),
        )
    return paths
