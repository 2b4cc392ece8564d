"""Samples of every candidate from the same latents, as pictures inside the page, as many as its size allows."""

from __future__ import annotations

import base64
import io
from collections import Counter
from typing import TYPE_CHECKING, Any

from ablate.results.figures.leading import leading
from ablate.results.figures.samples import as_recorded, stored, strip

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ablate.results.analysis import StudyAnalysis
    from ablate.results.candidates import CandidateRow

COLUMNS = (12, 8, 6, 4, 2)  # images of a candidate: the first number with which all fit
BYTES = 2_200_000  # of all pictures of up to FEW candidates
FEW, MORE, MOST = 100, 4_000, 8_000_000  # bytes that each further candidate adds, and how many at the most
MEASURED = 8  # candidates by whose pictures the size of all is estimated


def pictures(results: StudyAnalysis) -> dict[str, Any]:
    """Return the samples of each candidate, {"rows": {hash: data URI, seed, columns}, "seed", "note"}; {} without any.

    Paired seeds share their latents: a column shows what each candidate makes of the same noise. Where all would make
    the page too large, fewer images of each are shown, then those of the leading candidates alone; `note` says so.
    """
    import numpy as np

    grids = {c: by_seed for c in results.candidates if (by_seed := stored(results, c))}
    if not grids:
        return _previews(results)
    seeds = Counter(seed for by_seed in grids.values() for seed in by_seed)
    shared = max(sorted(seeds), key=lambda seed: seeds[seed])
    chosen = {c: (shared if shared in own else next(iter(own)), own.get(shared)) for c, own in grids.items()}
    images = {c: grids[c][seed] if grid is None else grid for c, (seed, grid) in chosen.items()}
    allowed = min(BYTES + MORE * max(len(images) - FEW, 0), MOST)
    columns, shown = _fitting(images, allowed, leading(results))
    rows = {
        c.config_hash: {
            "src": uri(np.asarray(strip(images[c], columns))),
            "seed": chosen[c][0],
            "columns": min(columns, len(images[c])),
        }
        for c in shown
    }
    return {"rows": rows, "seed": shared, "note": _note(images, columns, len(shown))}


def _fitting(
    images: dict[CandidateRow, NDArray[np.uint8]], allowed: int, first: list[CandidateRow]
) -> tuple[int, list[CandidateRow]]:
    """Return how many images of each candidate are shown, and of which candidates."""
    few = [images[c] for c in list(images)[:: max(1, len(images) // MEASURED)][:MEASURED]]
    for columns in COLUMNS:
        if _size(few, columns) * len(images) <= allowed:
            return columns, list(images)
    some = [c for c in first if c in images]
    fits = max(int(allowed / _size(few, COLUMNS[1])), 1)
    return COLUMNS[1], some[:fits]


def _size(grids: list[NDArray[np.uint8]], columns: int) -> float:
    """Return the bytes of a candidate's picture in the page, the mean of some."""
    return sum(len(uri(strip(grid, columns))) for grid in grids) / len(grids)


def _note(images: dict[CandidateRow, NDArray[np.uint8]], columns: int, shown: int) -> str:
    most = max(len(grid) for grid in images.values())
    notes = [f"{columns} of {most} kept samples of each candidate"] if columns < most else []
    if shown < len(images):
        notes.append(f"of {shown} of {len(images):,} candidates: the baseline, the front and the best")
    return f"Shown are {', '.join(notes)}, so that the page stays small." if notes else ""


def _previews(results: StudyAnalysis) -> dict[str, Any]:
    """Return the trials' own pictures of samples, where a published folder has kept these alone."""
    rows: dict[str, dict[str, Any]] = {}
    trials, size = results.trials.sort_values("seed"), 0
    for name, trial, seed in zip(trials["config_hash"], trials["trial"], trials["seed"], strict=True):
        path = results.path / "trials" / str(trial) / "samples.png"
        try:
            content = path.read_bytes() if name not in rows and as_recorded(path) else b""
        except OSError:
            continue
        size += len(content)
        if content[:8] == b"\x89PNG\r\n\x1a\n" and size < BYTES:
            uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
            rows[str(name)] = {"src": uri, "seed": int(seed), "columns": 0}
    return {"rows": rows, "seed": None, "note": ""} if rows else {}


def uri(row: NDArray[np.uint8]) -> str:
    """Encode a row of images, (H, W) grey or (H, W, 3), as a PNG in a data URI."""
    return f"data:image/png;base64,{base64.b64encode(png(row)).decode()}"


def png(row: NDArray[np.uint8]) -> bytes:
    """Encode a row of images as a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(row).save(buffer, "png", optimize=False)
    return buffer.getvalue()
