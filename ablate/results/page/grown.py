"""Samples over training: what each candidate makes of the same latents, at each point where quality was measured."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.io.text import label
from ablate.results.figures.leading import leading
from ablate.results.figures.samples import strip
from ablate.results.numbers import count
from ablate.results.page.pictures import uri
from ablate.worker import previews, records

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ablate.results.analysis import StudyAnalysis

    Grown = Mapping[int, NDArray[np.uint8]]  # {images: (N, C, H, W)}

LATENTS = (4, 3, 2)  # rows of a picture: the first number with which all candidates fit
POINTS = 8  # columns at the most
CANDIDATES = 24
BYTES = 1_200_000  # of all pictures


def over_training(results: StudyAnalysis) -> dict[str, Any]:
    """Return a picture a candidate, rows the same latents and columns the points; {} without such samples.

    {"rows": [{hash, name, src, latents, points}], "seed", "points", "note"}: of the seed that most candidates have.
    """
    drawn = leading(results, CANDIDATES)
    kept = {c.config_hash: _of(results, c.config_hash) for c in drawn}
    seeds = Counter(seed for by_seed in kept.values() for seed in by_seed)
    if not seeds:
        return {}
    seed = max(sorted(seeds), key=lambda one: seeds[one])
    chosen = [(c, _thinned(kept[c.config_hash][seed])) for c in drawn if seed in kept[c.config_hash]]
    for latents in LATENTS:
        rows: list[dict[str, Any]] = [
            {
                "hash": c.config_hash,
                "name": label(c.label),
                "src": uri(_grid(points, latents)),
                "latents": min(latents, min(map(len, points.values()))),
                "points": [count(images) for images in points],
            }
            for c, points in chosen
        ]
        if sum(len(str(row["src"])) for row in rows) <= BYTES:
            break
    while len(rows) > 1 and sum(len(str(row["src"])) for row in rows) > BYTES:
        rows.pop()
    note = "" if len(rows) == len(results.candidates) else _note(len(rows), len(results.candidates))
    return {"rows": rows, "seed": seed, "points": max((row["points"] for row in rows), key=len), "note": note}


def _note(shown: int, of: int) -> str:
    return f"Shown are {shown} of {of:,} candidates: the baseline, the front and the best that have such samples."


def _of(results: StudyAnalysis, config_hash: str) -> dict[int, Grown]:
    """Read {seed: samples at two points or more} of a candidate's trials that are complete."""
    trials = results.trials[(results.trials["config_hash"] == config_hash) & (results.trials["state"] == "complete")]
    found = {}
    for trial, seed in zip(trials["trial"], trials["seed"], strict=True):
        own = _sound(results.path / "trials" / str(trial))
        if len(own) > 1:
            found[int(seed)] = own
    return found


def _sound(folder: Path) -> Grown:
    """Read a trial's samples at points; {} where they are not those that it recorded."""
    try:
        record = records.read_valid(folder)
    except OSError:
        return {}
    hashes = {} if record is None else record.get("files") or {}
    now = records.hashes(folder, [previews.PREVIEWS])
    return previews.read(folder) if all(hashes.get(name, now[name]) == now[name] for name in now) else {}


def _thinned(points: Grown) -> Grown:
    images = sorted(points)
    if len(images) > POINTS:
        images = [images[round(i * (len(images) - 1) / (POINTS - 1))] for i in range(POINTS)]
    return {at: points[at] for at in images}


def _grid(points: Grown, latents: int) -> NDArray[np.uint8]:
    """Join samples in a grid: a row a latent, a column a point; (H, W) grey or (H, W, 3)."""
    n = min(latents, min(map(len, points.values())))
    return np.concatenate([strip(np.stack([one[i] for one in points.values()]), len(points)) for i in range(n)])
