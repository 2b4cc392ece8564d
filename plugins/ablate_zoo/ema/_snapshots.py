"""Averages put together from snapshots after training: which lengths are measured, and how each is rebuilt."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from ablate.api import Average, Choice, Ema, InputError, Kept, Range, Weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Length = Annotated[float, Field(ge=0.001, le=0.2886)]
SEARCHED = (0.005, 0.2886)  # where the ends of what can be rebuilt are looked for
ROUNDING = {"fp16": 2.0**-12, "fp32": 2.0**-25}  # root mean square, relative


class SnapshotEma(Ema):
    """An average of any length, put together from snapshots after the training."""

    length: Annotated[Length, Range(0.04, 0.17)] = 0.1  # σ_rel of the one that counts
    also: tuple[Length, ...] = ()  # further lengths that are measured at the end of training
    snapshots: Annotated[int, Field(ge=8, le=1024), Choice(8, 16, 32)] = 16  # evenly over the training
    store: Literal["fp16", "fp32"] = "fp16"  # number format of the files

    @abstractmethod
    def recipe(self, length: float, images: Sequence[int]) -> list[dict[str, float]]:
        """For each snapshot {place: coefficient}, as `Average.snapshot` names the places."""

    @abstractmethod
    def reason(self, length: float, images: Sequence[int]) -> str | None:
        """Why a length cannot be rebuilt from snapshots at these images; None if it can."""

    @abstractmethod
    def safe_lengths(self) -> tuple[float, float]:
        """Return two lengths, the shorter first, that any snapshots give."""

    @model_validator(mode="after")
    def _can_be_rebuilt(self) -> SnapshotEma:
        planned = range(1, self.snapshots + 1)
        for length in (self.length, *self.also):
            reason = self.reason(length, planned)
            if reason is not None:
                raise ValueError(self._refusal(length, reason, planned))
        return self

    def provides(self) -> frozenset[str]:
        """Snapshots, of which an earlier state of the weights can be had."""
        return frozenset({"snapshots"})

    def same_until(self, images: int) -> float:
        """Before the first snapshot: a longer training takes it later."""
        return (images - 1) / self.snapshots

    def earlier(self, images: int, kept: Kept) -> Weights:
        """Those of place 0: of `post_hoc` the shorter average, of `checkpoints` the weights."""
        return {name.removeprefix("0."): value for name, value in kept.load(images).items() if name.startswith("0.")}

    def measured(self, average: Average, kept: Kept) -> dict[str, Weights]:
        """`length` and then `also`: tracked all along where they are, else rebuilt."""
        lengths = list(dict.fromkeys((self.length, *self.also)))
        tracked = average.weights()
        missing = [length for length in lengths if self.label(length) not in tracked]
        weights = {**tracked, **(self._combined(missing, kept) if missing else {})}
        return {self.label(length): weights[self.label(length)] for length in lengths}

    def measured_during(self, average: Average, kept: Kept) -> dict[str, Weights]:
        """`length`: tracked all along where it is, else rebuilt from the snapshots so far, where they suffice."""
        label, tracked = self.label(self.length), average.weights()
        return {label: tracked[label]} if label in tracked else self.rebuild([self.length], kept)

    def lengths(self, images: Sequence[int]) -> tuple[float, float] | None:
        """To three digits, and all between them; None where there is no snapshot."""
        if not images:
            return None
        shortest, longest = self.safe_lengths()
        return self._end(shortest, SEARCHED[0], images), self._end(longest, SEARCHED[1], images)

    def rebuild(self, lengths: Sequence[float], kept: Kept) -> dict[str, Weights]:
        """Each snapshot is read once, and summed up in fp32."""
        images = kept.images
        if not images:
            raise InputError(f"ema {self.name!r}: this trial has no snapshots, so no average can be rebuilt")
        for length in lengths:
            reason = None if SEARCHED[0] <= length <= SEARCHED[1] else "it is no relative length (0.2886: all alike)"
            reason = reason or self.reason(length, images)
            if reason is not None:
                raise InputError(self._refusal(length, reason, images))
        return self._combined(lengths, kept)

    def label(self, length: float) -> str:
        """The name of an average in the tables."""
        return f"{self.name}({length:.6g})"

    def _combined(self, lengths: Sequence[float], kept: Kept) -> dict[str, Weights]:
        from ablate_zoo.ema._averages import add

        images = kept.images
        recipes = {length: self.recipe(length, images) for length in lengths}
        averages: dict[float, dict[str, Tensor]] = {length: {} for length in lengths}
        for i, at in enumerate(images):
            tensors = kept.load(at)
            for length, recipe in recipes.items():
                add(averages[length], tensors, recipe[i])
        return {self.label(length): weights for length, weights in averages.items()}

    def _end(self, inside: float, outside: float, images: Sequence[int]) -> float:
        """The last length on the way from `inside` to `outside` that can be rebuilt, by bisection."""
        if self.reason(outside, images) is None:
            return outside
        while abs(outside - inside) > 5e-4 * outside:
            middle = (inside + outside) / 2
            if self.reason(middle, images) is None:
                inside = middle
            else:
                outside = middle
        return inside

    def _refusal(self, length: float, reason: str, images: Sequence[int]) -> str:
        ends = self.lengths(images) or self.safe_lengths()
        return (
            f"length {length:g} cannot be rebuilt from {len(images)} snapshots: {reason}; "
            f"lengths from {ends[0]:.4f} to {ends[1]:.4f} can, and more snapshots reach further"
        )

    @property
    def dtype(self) -> torch.dtype:
        """Of the files."""
        import torch

        return torch.float16 if self.store == "fp16" else torch.float32
