"""analysis `bootstrap`: the two-way model with the distribution of its residuals in place of the normal one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ablate.api import Analysis, Compared
from ablate_zoo.analysis._student import student
from ablate_zoo.analysis._two_way import fit
from ablate_zoo.analysis._words import pairing_words, spread_words

FREEDOM = 6.0  # degrees of freedom of the residuals: of fewer there is no distribution to draw from
CHECK = 0.05  # level at which a candidate is said to be noisier than the others
BLOCK = 2**22  # numbers that are drawn at once


class BootstrapTest(Analysis):
    """The two-way model, its t compared with that of resampled residuals (the bootstrap-t, Efron & Tibshirani 1993).

    For errors that are not normal but of one shape and spread for all candidates: residuals of all of them are drawn
    with replacement, the model is fitted to each draw, and a difference's t is judged by theirs. All seeds
    have to be there, and (candidates − 1)(seeds − 1) to be 6 or more; else no comparison is answered.
    """

    name = "bootstrap"
    called: ClassVar[str] = "bootstrap of the two-way model's residuals"

    draws: Annotated[int, Field(ge=1_000, le=10_000_000)] = 20_000  # of one difference, from all comparisons together

    def compare(self, values: NDArray[np.float64], pairs: NDArray[np.int64], null: float = 0.0) -> Compared:
        """(b, k, n) values and (m, 2) pairs -> differences, errors and p, (b, m)."""
        model = fit(values, pairs)
        plain = student(model, model.pooled, np.broadcast_to(model.df, model.pooled.shape), null)
        drawn = [self._drawn(one, pairs) for one in values]  # (b) sorted |t| of equals
        with np.errstate(invalid="ignore", divide="ignore"):
            t = np.abs(plain.difference - null) / plain.error
        p = np.array(
            [
                (1 + len(own) - np.searchsorted(own, row * (1 - 1e-12))) / (1 + len(own)) if len(own) else row * 0 + 1
                for own, row in zip(drawn, t, strict=True)
            ]
        ).reshape(t.shape)
        p = np.where(np.isfinite(t), p, np.where(np.isfinite(plain.difference), plain.p, np.nan))

        def critical(level: float) -> NDArray[np.float64]:
            ends = [np.quantile(own, 1 - level) if len(own) else np.nan for own in drawn]
            return np.broadcast_to(np.array(ends)[:, None], t.shape)

        return Compared(plain.difference, plain.error, p, critical)

    def _drawn(self, values: NDArray[np.float64], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return |t| of differences between equals, sorted: of (k, n) values with their own residuals drawn again."""
        k, n = values.shape
        if not np.isfinite(values).all() or (k - 1) * (n - 1) < FREEDOM:
            return np.empty(0)
        residuals = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
        repeats = -(-self.draws // len(pairs))
        generator = np.random.default_rng(0)
        found = []
        step = max(1, BLOCK // (k * n))
        for start in range(0, repeats, step):
            drawn = generator.choice(residuals.ravel(), size=(min(step, repeats - start), k, n))
            means, seeds = drawn.mean(axis=2), drawn.mean(axis=1)
            squares = np.einsum("bkn,bkn->b", drawn, drawn) + k * n * means.mean(axis=1) ** 2
            squares -= n * (means**2).sum(axis=1) + k * (seeds**2).sum(axis=1)  # of residuals about candidate and seed
            variance = np.maximum(squares, 0.0) / ((k - 1) * (n - 1))
            with np.errstate(invalid="ignore", divide="ignore"):
                difference = means[:, pairs[:, 0]] - means[:, pairs[:, 1]]
                found.append(np.abs(difference) / np.sqrt(2 * variance / n)[:, None])
        t = np.concatenate(found).ravel()
        return np.sort(np.nan_to_num(t, nan=0.0, posinf=np.finfo(float).max))

    def assumptions(self, values: NDArray[np.float64], names: Sequence[str]) -> tuple[str, ...]:
        """Say what pairing gains, whether the spreads may be taken for one, and whether it could be drawn at all."""
        found = fit(values[None], np.zeros((1, 2), dtype=np.int64), CHECK).common
        k, n = values.shape
        able = np.isfinite(values).all() and (k - 1) * (n - 1) >= FREEDOM
        why = () if able else ("the bootstrap needs all seeds, and (candidates − 1)(seeds − 1) of 6 or more",)
        return (*pairing_words(values), *spread_words(found, names, CHECK), *why)
