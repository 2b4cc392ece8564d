"""Fractions of the full factorial design, as rows of level numbers: those from which chosen effects can be told."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ablate.api import InputError

Pair = tuple[int, int]  # numbers of two factors
Rows = tuple[tuple[int, ...], ...]  # one row a candidate: of each factor the number of its level

MOST_EFFECTS = 150  # whose selection takes some seconds
MOST_ROWS = 1000
POOL = 4096  # combinations among which a selection is made; of a larger grid a sample
STARTS = 360  # beginnings times rows: exchanges end in a local optimum, and take longer the more rows there are
ORDERS = 1000  # of the factors over the columns of a regular fraction that are tried
RIDGE = 1e-6  # keeps the information matrix invertible while there are fewer rows than effects


def effects(levels: Sequence[int], pairs: Iterable[Pair]) -> int:
    """Return how many numbers the model has: the baseline's, those of main effects, and those of the pairs."""
    changes = [n - 1 for n in levels]
    return 1 + sum(changes) + sum(changes[a] * changes[b] for a, b in pairs)


def model(rows: NDArray[np.int64], levels: Sequence[int], pairs: Iterable[Pair]) -> NDArray[np.float64]:
    """Return the model matrix (rows, effects): a constant, each change from level 0, and their products in pairs."""
    main = [(rows[:, [i]] == np.arange(1, n)).astype(float) for i, n in enumerate(levels)]
    products = [(main[a][:, :, None] * main[b][:, None, :]).reshape(len(rows), -1) for a, b in pairs]
    return np.hstack([np.ones((len(rows), 1)), *main, *products])


@lru_cache(maxsize=64)
def fraction(levels: tuple[int, ...], pairs: tuple[Pair, ...], size: int | None) -> Rows:
    """Return the rows, that of the baseline (all 0) first; their model matrix has full rank.

    levels: of each factor how many, at least 2. size: at most so many rows, at least `effects`; None: for factors of
    two levels a regular fraction of resolution IV, for others half as many again as there are effects. The whole grid
    where it is not larger. Raises InputError for more than 150 effects.
    """
    if (count := effects(levels, pairs)) > MOST_EFFECTS:
        message = f"there are {count:,} effects to tell apart, of at most {MOST_EFFECTS}"
        raise InputError(f"{message}: give fewer choices or pairs, or take 'design: search'", "design")
    most = size or math.ceil(1.5 * count)
    if math.prod(levels) <= most:
        rows = list(itertools.product(*map(range, levels)))
    else:
        rows = (_regular(len(levels), pairs, size) if set(levels) == {2} else None) or _selected(levels, pairs, most)
    return tuple(sorted(rows))


def _regular(factors: int, pairs: Sequence[Pair], size: int | None) -> list[tuple[int, ...]] | None:
    """Return the regular two-level fraction that tells the pairs; None where none of at most that size does.

    Regular: two effects are orthogonal, or one and the same. Under a `size` it has the highest resolution that fits.
    """
    try:
        from pydoe import fracfact_by_res
    except ImportError:
        message = "the design 'fractional' needs pyDOE for lines of two choices: pip install 'ablate[fractional]'"
        raise InputError(message, "design") from None
    chance = random.Random(0)
    most = {4: math.inf, 5: 2 * (1 + factors + len(pairs))} if size is None else dict.fromkeys((5, 4, 3), size)
    for resolution, limit in most.items():
        try:
            signs = fracfact_by_res(factors, resolution)  # (rows, factors) of -1 and 1
        except ValueError:  # it has none for so many factors
            continue
        if len(signs) > limit:
            continue
        for attempt in range(ORDERS if pairs else 1):
            columns = signs[:, chance.sample(range(factors), factors) if attempt else range(factors)]
            products = [columns[:, a] * columns[:, b] for a, b in pairs]
            contrasts = np.column_stack([np.ones(len(columns)), columns, *products])
            if np.count_nonzero(contrasts.T @ contrasts) == contrasts.shape[1]:  # all orthogonal: none is another's
                return [tuple(row) for row in (columns != columns[0]).astype(int).tolist()]
    return None


def _selected(levels: Sequence[int], pairs: Sequence[Pair], size: int) -> list[tuple[int, ...]]:
    """Return the rows with the largest determinant of the information matrix that exchanges find (D-optimal design).

    Fedorov's exchange (1972) of the one row that gains most, from several beginnings; the baseline stays. Generalized
    subset designs (Surowiec et al. 2017) are a share of the grid: of 486 combinations 81 where 18 tell the 12 effects.
    """
    rows = np.array(_pool(levels))
    matrix = model(rows, levels, pairs)
    chance = random.Random(0)
    found: list[tuple[float, list[int]]] = []
    for start in range(max(1, min(10, STARTS // size))):
        begun = chance.sample(range(1, len(rows)), matrix.shape[1] // 2 if start else 0)
        chosen = _exchanged(matrix, _grown(matrix, [0, *begun], size))
        found.append((round(np.linalg.slogdet(_information(matrix[chosen]))[1], 6), chosen))
    _, best = max(found, key=lambda one: one[0])
    assert np.linalg.matrix_rank(matrix[best]) == matrix.shape[1], "some effect cannot be told from these rows"
    return [tuple(row) for row in rows[best].tolist()]


def _pool(levels: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the grid, or a sample of it, the same each time; row 0 is the baseline."""
    if math.prod(levels) <= POOL:
        return list(itertools.product(*map(range, levels)))
    chance = random.Random(0)
    rows = {(0,) * len(levels): None}
    while len(rows) < POOL:
        rows[tuple(chance.randrange(n) for n in levels)] = None
    return list(rows)


def _information(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return matrix.T @ matrix + RIDGE * np.eye(matrix.shape[1])


def _grown(matrix: NDArray[np.float64], chosen: list[int], size: int) -> list[int]:
    """Add rows, each the one about which the others say least."""
    while len(chosen) < size:
        unknown = np.einsum("ij,ij->i", matrix @ np.linalg.inv(_information(matrix[chosen])), matrix)
        unknown[chosen] = 0
        chosen = [*chosen, int(np.argmax(np.round(unknown, 6)))]  # rounded: the same choice on every machine
    return chosen


def _exchanged(matrix: NDArray[np.float64], chosen: list[int]) -> list[int]:
    """Exchange rows for others, the best exchange first, until none makes the determinant larger; row 0 stays."""
    while True:
        inverse = np.linalg.inv(_information(matrix[chosen]))
        spread = matrix @ inverse
        variance = np.einsum("ij,ij->i", spread, matrix)
        ratio = (1 + variance)[:, None] * (1 - variance[chosen])[None, :] + (spread @ matrix[chosen].T) ** 2
        ratio[chosen], ratio[:, 0] = 0, 0
        entering, leaving = divmod(int(np.argmax(np.round(ratio, 6))), len(chosen))
        if ratio[entering, leaving] <= 1 + 1e-5:
            return chosen
        chosen = [*chosen[:leaving], entering, *chosen[leaving + 1 :]]
