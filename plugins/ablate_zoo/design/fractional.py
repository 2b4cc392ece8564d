"""design `fractional`: a fraction of the grid, from which main effects and chosen interactions can be told."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ablate.api import Assignment, Dimension, InputError
from ablate_zoo.design._fractions import MOST_ROWS, effects, fraction
from ablate_zoo.design._listed import Listed, identity


def _in_order(pairs: Any) -> Any:
    """Return each pair once, the same whichever of the two paths is named first; `all` as it is."""
    if pairs == "all":
        return pairs
    listed = list(pairs) if isinstance(pairs, list | tuple) else [pairs]
    for pair in listed:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(path, str) for path in pair):
            raise ValueError(f"expected 'all', or pairs of paths as [[path, path], ...], not {pair!r}")
        if pair[0] == pair[1]:
            raise ValueError(f"a pair is of two paths, and here {pair[0]!r} is both")
    return sorted({(min(pair), max(pair)) for pair in listed})


class Fractional(Listed):
    """A fractional factorial design (Box & Hunter 1961): every candidate tells of every dimension at once.

    With two choices a line: a regular fraction (of pyDOE) from which the `pairs` can be told, where there is one;
    without `size` of resolution IV or V, so that no interaction of two is taken for a main effect. Otherwise a
    D-optimal selection from the grid (Fedorov 1972), half as many again as there are effects, for which other pairs are
    taken to add up. The baseline is the first candidate, and its value a level of each dimension, listed or not. All
    lines of `vary` must exist under all choices.
    """

    name = "fractional"

    pairs: Annotated[Literal["all"] | tuple[tuple[str, str], ...], BeforeValidator(_in_order)] = ()
    """pairs of paths of `vary` whose interaction can be told too, as [[path, path], ...], or all"""

    size: Annotated[int | None, Field(ge=2, le=MOST_ROWS)] = None
    """at most so many candidates, at least as many as there are effects: 1, each change and each pair of changes"""

    def listed(self, dimensions: Sequence[Dimension]) -> Iterator[Assignment]:
        """The baseline first. Raises InputError for a dimension that not all candidates have, and for too small a size.

        The order of the lines in `vary` makes no difference.
        """
        for d in dimensions:
            if d.depends or d.baseline is None:
                under = f"some choices of {' and '.join(d.depends)}" if d.depends else "other choices than the base's"
                raise InputError(
                    f"{d.path} exists only under {under}, so design {self.name!r} cannot combine it with all others: "
                    "vary it in a study of its own, or take 'design: one_factor' or 'design: search'",
                    f"vary.{d.path}",
                )
        levels = {d.path: _levels(d) for d in sorted(dimensions, key=lambda d: d.path)}
        varied = [path for path, labels in levels.items() if len(labels) > 1]
        counts, pairs = tuple(len(levels[path]) for path in varied), self._pairs(varied)
        if self.size is not None and self.size < (least := effects(counts, pairs)):
            told = "the baseline, each change and each pair of changes" if pairs else "the baseline and each change"
            raise InputError(
                f"{self.size} candidates cannot tell {least} effects apart ({told}): give a size of at least {least}",
                "design.size",
            )
        for row in fraction(counts, pairs, self.size):
            chosen = dict(zip(varied, row, strict=True))
            yield {d.path: levels[d.path][chosen.get(d.path, 0)] for d in dimensions}

    def _pairs(self, varied: Sequence[str]) -> tuple[tuple[int, int], ...]:
        """Return the pairs by the places of their paths. Raises InputError for a path that is not varied."""
        if self.pairs == "all":
            return tuple(combinations(range(len(varied)), 2))
        for path in (path for pair in self.pairs for path in pair if path not in varied):
            near = difflib.get_close_matches(path, varied, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(varied) or 'none'}"
            raise InputError(f"pairs: no line of 'vary' with two levels is called {path!r}; {hint}", "design.pairs")
        return tuple((varied.index(a), varied.index(b)) for a, b in self.pairs)


def _levels(d: Dimension) -> list[bool | int | float | str]:
    """Return the levels of a dimension, the baseline's first."""
    return [d.baseline, *(choice for choice in d.choices if identity(choice) != identity(d.baseline))]
