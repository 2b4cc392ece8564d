"""Figure for papers: samples of candidates from the same latents, a row a candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.errors import InputError
from ablate.results.candidates import find
from ablate.results.figures.leading import leading
from ablate.results.figures.samples import stored, strip
from ablate.results.plots.paper import COLUMN, axes_of, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ablate.results.findings import StudyFindings

ROWS = 8  # candidates, where none are named


def samples(
    data: StudyFindings,
    ax: Axes | None = None,
    candidates: Sequence[str | Mapping[str, Any]] | None = None,
    columns: int = 8,
    seed: int | None = None,
) -> Axes:
    """Draw samples, a row a candidate; in each column all start from the same latents.

    data: `Results`, whose folder has kept samples. candidates: some of them, by name, labels or hash; by default the
    baseline, the front and the best, eight in all. seed: the one that most candidates have by default. Raises
    InputError where no samples were kept, or a candidate has none of that seed.
    """
    chosen = leading(data, ROWS) if candidates is None else [find(data.candidates, one) for one in candidates]
    kept = {c: stored(data, c) for c in chosen}
    seeds = [s for own in kept.values() for s in own]
    if not seeds:
        raise InputError("no samples of these candidates are in the folder", str(data.path))
    shared = seed if seed is not None else max(sorted(set(seeds)), key=seeds.count)
    rows = {c: own[shared] for c, own in kept.items() if shared in own}
    lacking = [c.label for c in chosen if c not in rows]
    if not rows or (lacking and candidates is not None):
        raise InputError(f"no samples of seed {shared} were kept of {', '.join(lacking)}", "seed")
    images = [np.asarray(strip(grid, columns)) for grid in rows.values()]
    widest = max(image.shape[1] for image in images)
    side = images[0].shape[0]
    canvas = np.full((side * len(images), widest, 3), 255, dtype=np.uint8)
    for i, image in enumerate(images):
        colours = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
        canvas[i * side : (i + 1) * side, : image.shape[1]] = colours
    ax = axes_of(ax, height=0.2 + COLUMN * 0.75 * len(images) / columns)
    ax.imshow(canvas, interpolation="nearest")
    names = [short(c.label, 26) for c in rows]
    ax.set_yticks([(i + 0.5) * side - 0.5 for i in range(len(names))], names, fontsize=7, parse_math=False)
    ax.set_xticks([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax
