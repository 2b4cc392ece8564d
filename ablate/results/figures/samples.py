"""Figure: a grid of samples, a row a candidate, a column a latent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ablate.errors import InputError
from ablate.io.files import file_hash
from ablate.results.figures import style
from ablate.results.numbers import plus_minus
from ablate.worker import records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ablate.results.analysis import StudyAnalysis
    from ablate.results.candidates import CandidateRow

COLUMNS = 12
ROWS = 24
SIDE = 0.72  # inches of an image


def draw(results: StudyAnalysis) -> Figure | None:
    """Draw the first samples of every candidate, all of one seed where possible; None without samples.

    Paired seeds share their latents, so a column shows what each candidate makes of the same noise.
    Of more than 24 candidates the best are shown.
    """
    from matplotlib.figure import Figure

    candidates, scores = _selection(results)
    samples = {c: stored(results, c) for c in candidates}
    seeds = Counter(seed for by_seed in samples.values() for seed in by_seed)
    if not seeds:
        return None
    shared = max(sorted(seeds), key=lambda seed: seeds[seed])  # of equally common seeds the lowest
    grids = {c: by_seed.get(shared, next(iter(by_seed.values()), None)) for c, by_seed in samples.items()}
    columns = min(COLUMNS, max(len(g) for g in grids.values() if g is not None))
    names = {c: _name(c, scores, samples[c], shared) for c in candidates}
    longest = max(len(line) for text in names.values() for line in text.split("\n"))
    margin = 0.25 + 0.076 * longest
    figure = Figure(figsize=(margin + columns * SIDE, 0.75 + len(candidates) * SIDE))
    for row, candidate in enumerate(candidates):
        axes = figure.add_axes(_cell(figure.get_size_inches(), margin, row, columns))
        axes.set_axis_off()
        text: dict[str, Any] = {"ha": "right", "va": "center", "transform": axes.transAxes}
        colour = style.look(candidate).colour
        name, _, value = names[candidate].partition("\n")
        weight = "bold" if candidate.baseline else "normal"
        axes.text(-0.1 / columns, 0.6 if value else 0.5, name, color=colour, fontsize=10, fontweight=weight, **text)
        axes.text(-0.1 / columns, 0.3, value, color=style.MUTED, fontsize=8, **text)
        if (grid := grids[candidate]) is None:
            axes.text(0.01, 0.5, "no samples", color=style.MUTED, fontsize=9, va="center", transform=axes.transAxes)
            continue
        row_of_images = strip(grid, columns)
        axes.imshow(row_of_images, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="equal")
    omitted = len(results.candidates) - len(candidates)
    note = f"seed {shared}; each column starts from the same noise"
    if scores and results.quality:
        note += f"; below the name: {results.quality.column}"
    if omitted:
        note += f"; the best {len(candidates)}, {omitted} more are not shown"
    figure.text(0.01, 1 - 0.12 / figure.get_figheight(), "Samples", fontsize=13, fontweight="bold", va="top")
    figure.text(0.01, 1 - 0.42 / figure.get_figheight(), note, fontsize=9, color=style.MUTED, va="top")
    return figure


def _selection(results: StudyAnalysis) -> tuple[list[CandidateRow], dict[str, str]]:
    """Return the candidates to show, the baseline first, and {config_hash: quality as text}."""
    candidates, quality = list(results.candidates), results.quality
    if quality is None:
        return candidates[:ROWS], {}
    try:
        table = results.front([quality.column])
    except InputError:  # values that may not be compared decide nothing here
        return candidates[:ROWS], {}
    mean, spread = table[quality.column], table[f"{quality.column}.sd"]
    texts = {h: plus_minus(m, s) for h, m, s in zip(table["config_hash"], mean, spread, strict=True) if np.isfinite(m)}
    if len(candidates) > ROWS:
        order = list(table.iloc[(mean * quality.sign).argsort(kind="stable")]["config_hash"])
        best = set(order[: ROWS - 1])
        candidates = [c for c in candidates if c.baseline or c.config_hash in best]
    return candidates, texts


def _name(candidate: CandidateRow, scores: dict[str, str], samples: Mapping[int, object], shared: int) -> str:
    """Return the text beside a row: the candidate, and below it its quality, and its seed if that is not the shared."""
    lines = [scores[candidate.config_hash]] if candidate.config_hash in scores else []
    if samples and shared not in samples:
        lines.append(f"(seed {next(iter(samples))})")
    return "\n".join([candidate.label, " ".join(lines)] if lines else [candidate.label])


def stored(results: StudyAnalysis, candidate: CandidateRow) -> dict[int, NDArray[np.uint8]]:
    """Read {seed: samples, uint8 (N, C, H, W)} of the candidate's trials that have readable ones."""
    trials = results.trials[results.trials["config_hash"] == candidate.config_hash].sort_values("seed")
    samples = {}
    for trial, seed in zip(trials["trial"], trials["seed"], strict=True):
        images = _load(results.path / "trials" / str(trial))
        if images is not None:
            samples[int(seed)] = images
    return samples


def _load(trial: Path) -> NDArray[np.uint8] | None:
    """Read a trial's samples; None where they are gone, cut short, or not those that it recorded."""
    path = trial / "samples.npy"
    try:
        if not as_recorded(path):
            return None
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or cut short
        return None
    valid = images.ndim == 4 and len(images) and images.shape[1] >= 1 and images.dtype == np.uint8
    return images if valid else None


def as_recorded(path: Path) -> bool:
    """Return whether a file of a trial is the one that its record answers for. Raises OSError where it is gone."""
    record = records.read_valid(path.parent)
    hashes = {} if record is None else record.get("files") or {}
    own_hash = file_hash(path)
    return bool(hashes.get(path.name, own_hash) == own_hash)


def strip(images: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Join the first images side by side on white: (H, W) grey or (H, W, 3), one pixel apart."""
    images = images[:columns]
    n, channels, height, width = images.shape
    colours = images[:, :3] if channels >= 3 else images[:, :1]
    gap = max(round(height / 20), 1)
    canvas = np.full((colours.shape[1], height + 2 * gap, columns * (width + 2 * gap)), 255, dtype=np.uint8)
    for i in range(n):
        x = i * (width + 2 * gap) + gap
        canvas[:, gap : gap + height, x : x + width] = colours[i]
    return canvas[0] if len(canvas) == 1 else canvas.transpose(1, 2, 0)


def _cell(size: NDArray[np.float64], margin: float, row: int, columns: int) -> tuple[float, float, float, float]:
    width, height = (float(v) for v in size)
    bottom = height - 0.75 - (row + 1) * SIDE
    return margin / width, bottom / height, columns * SIDE / width, SIDE / height
