"""The linear model of a factorial design: its matrix, and the questions that it answers or cannot answer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ablate.errors import InputError, did_you_mean

Pairs = Literal["all"] | Sequence[tuple[str, str]]
Array = NDArray[np.float64]
Codes = Mapping[str, NDArray[np.int64]]  # by path the number of each trial's level
Change = tuple[str, int]  # path, number of the level

ESTIMABLE = 1e-8  # how far a contrast may lie outside what the rows span


@dataclass(frozen=True)
class Model:
    """The columns of a model: 1, each change of a factor, and each two changes of the pairs."""

    levels: Mapping[str, Sequence[str]]
    pairs: tuple[tuple[str, str], ...]
    terms: Mapping[tuple[Change, ...], int]  # {(change, ...): column}; column 0 is the constant

    @classmethod
    def of(cls, levels: Mapping[str, Sequence[str]], pairs: Pairs) -> Model:
        """Make the model of these factors. Raises InputError for a pair that is none of two of them."""
        chosen = _pairs(pairs, list(levels))
        terms: list[tuple[Change, ...]] = [((path, i),) for path in levels for i in range(1, len(levels[path]))]
        for a, b in chosen:
            ones, others = ([(path, i) for i in range(1, len(levels[path]))] for path in (a, b))
            terms += list(itertools.product(ones, others))
        return cls(levels, tuple(chosen), {term: i for i, term in enumerate(terms, start=1)})

    @property
    def size(self) -> int:
        """How many columns it has."""
        return len(self.terms) + 1

    def matrix(self, codes: Codes) -> Array:
        """Return the model matrix (trials, columns)."""
        rows = len(next(iter(codes.values())))
        changed = (np.prod([codes[path] == level for path, level in term], axis=0) for term in self.terms)
        return np.column_stack([np.ones(rows), *changed]).astype(float)

    def contrasts(self) -> Iterator[Contrast]:
        """Yield the change of each factor, averaged over the levels of what it is paired with, then the pairs'."""
        for term, column in self.terms.items():
            weights = np.zeros(self.size)
            weights[column] = 1.0
            if len(term) == 1:
                ((path, _),) = term
                for other in (b if path == a else a for a, b in self.pairs if path in (a, b)):
                    for both, place in self.terms.items():
                        if len(both) == 2 and term[0] in both and other in (both[0][0], both[1][0]):
                            weights[place] = 1.0 / len(self.levels[other])
            yield Contrast(term, weights)

    def at(self, places: Mapping[str, int]) -> Array:
        """Return the weights of the mean at these levels, {path: number}, averaged over those of the other factors."""
        weights = np.zeros(self.size)
        weights[0] = 1.0
        for term, column in self.terms.items():
            shares = (
                float(places[path] == level) if path in places else 1.0 / len(self.levels[path]) for path, level in term
            )
            weights[column] = float(np.prod(list(shares)))
        return weights

    def name(self, term: tuple[Change, ...]) -> str:
        """Return the name of changes: `path=level`, two of them with × between."""
        return " × ".join(f"{path}={self.levels[path][level]}" for path, level in term)


@dataclass(frozen=True)
class Contrast:
    """A question to the model: the change of one factor, or the change that one makes to the change of another."""

    changes: tuple[Change, ...]
    weights: Array  # (columns,) of the model matrix

    @property
    def factor(self) -> str:
        """The path that changes, or the two."""
        return " × ".join(path for path, _ in self.changes)


def estimable(matrix: Array, weights: Sequence[Array]) -> list[bool]:
    """Return which combinations of a matrix's columns its rows (trials, columns) tell."""
    spanned = np.linalg.pinv(matrix) @ matrix
    return [bool(np.abs(one @ spanned - one).max() <= ESTIMABLE) for one in weights]


def _pairs(pairs: Pairs, paths: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of factors in the order of the factors. Raises InputError for a path that is no factor."""
    if pairs == "all":
        return list(itertools.combinations(paths, 2))
    chosen: dict[tuple[str, str], None] = {}
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2 or pair[0] == pair[1]:
            raise InputError(f"expected 'all', or pairs of two paths as [(path, path), ...], not {pair!r}", "pairs")
        for path in pair:
            if path not in paths:
                raise InputError(f"no factor is {path!r}{did_you_mean(path, paths)}", "pairs")
        a, b = sorted(pair, key=paths.index)
        chosen[a, b] = None
    return list(chosen)
