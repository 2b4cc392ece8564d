"""ema `post_hoc`: post-hoc EMA, of any length, rebuilt after training from snapshots (Karras et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from pydantic import Field, model_validator

from ablate.api import Average, Weights
from ablate_zoo.ema._post_hoc import Profile, exponent, rebuild, share
from ablate_zoo.ema._snapshots import ROUNDING, SnapshotEma

MISSED = 0.014  # of a profile, L2, at the most: keeps rebuilt weights within about 1e-3 of tracked ones
ROUNDED = 1e-3  # of the weights, at the most, by the number format of the files


class PostHocEma(SnapshotEma):
    """Post-hoc EMA: two power-function averages, and any other from their snapshots (Karras et al. 2024, section 3.2).

    They are summed up by least squares. A length is refused where these miss more than 1.4 % of its
    profile (L2 over time, known in closed form before anything is trained), or where rounding to
    `store` would cost more than 1e-3. 16 snapshots in fp16 give lengths from 0.038 to 0.172, 32 in
    fp32 from 0.028 to 0.226. On disk: two copies of the weights a snapshot.
    """

    name = "post_hoc"

    short: Annotated[float, Field(ge=0.005, le=0.28)] = 0.05  # σ_rel of the two that are tracked
    long: Annotated[float, Field(ge=0.005, le=0.28)] = 0.1

    @model_validator(mode="after")
    def _two_lengths(self) -> PostHocEma:
        if self.short >= self.long:
            raise ValueError(f"short ({self.short:g}) has to be below long ({self.long:g})")
        return self

    def safe_lengths(self) -> tuple[float, float]:
        """The two that are tracked: the last snapshot holds them."""
        return self.short, self.long

    def provides(self) -> frozenset[str]:
        """Each number is averaged by itself."""
        return super().provides() | {"stackable"}

    def build(self, parameters: Weights) -> Average:
        """Both averages, `short` first."""
        from ablate_zoo.ema._averages import RunningAverages

        rules = {self.label(length): partial(share, exponent(length)) for length in (self.short, self.long)}
        return RunningAverages(parameters, rules, self.snapshots, self.dtype)

    def recipe(self, length: float, images: Sequence[int]) -> list[dict[str, float]]:
        """The least squares' coefficients of `short` (place 0) and `long` (place 1) at each snapshot."""
        coefficients = rebuild(Profile(exponent(length), images[-1]), self._profiles(images)).coefficients
        return [{"0": float(a), "1": float(b)} for a, b in coefficients.reshape(-1, 2)]

    def reason(self, length: float, images: Sequence[int]) -> str | None:
        """The least squares' own error, and what rounding adds."""
        combination = rebuild(Profile(exponent(length), images[-1]), self._profiles(images))
        if combination.error > MISSED:
            return f"they miss {combination.error:.1%} of its profile, and {MISSED:.1%} is the limit"
        rounded = combination.spread * ROUNDING[self.store]
        if rounded > ROUNDED:
            return f"rounding to {self.store} costs {rounded:.1e} of the weights, and {ROUNDED:.0e} is the limit"
        return None

    def _profiles(self, images: Sequence[int]) -> list[Profile]:
        gammas = [exponent(self.short), exponent(self.long)]
        return [Profile(gamma, float(at)) for at in images for gamma in gammas]
