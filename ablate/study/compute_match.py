"""Compute-matched candidates: a size of each (such as its width) is searched until all take as many Gflops."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Annotated, Any, get_args

import annotated_types as limits
from pydantic import BeforeValidator, Field
from pydantic.fields import FieldInfo

from ablate.candidates.candidate import Candidate, cost_of
from ablate.errors import Problem, SpecError
from ablate.spec.component import Config, InputSpec, Resolver
from ablate.spec.explain import short
from ablate.spec.fields import find_field, get, put, why_not

TRIES = 24  # sizes that are looked at for one candidate; about six are enough
REACH = 64  # next to a size that does not work, how far to look for one that does
MOST_GFLOPS = 1e9  # a forward pass of one image
MOST = 1 << 20  # a size without a limit of its own ends here


def _asked(gflops: Any) -> Any:
    if gflops != "base" and (not isinstance(gflops, int | float) or not 0 < gflops <= MOST_GFLOPS):
        raise ValueError(f"expected a number of Gflops above 0, or 'base', not {short(gflops)}")
    return gflops


class Match(Config):
    """`match: {gflops: 0.25, by: backbone.width}`: what remains of a difference is then not one of cost."""

    gflops: Annotated[float | str, BeforeValidator(_asked)]  # of every candidate; 'base': as many as the base takes
    by: str  # dotted path below base of a whole number on which the cost grows, such as backbone.width
    within: Annotated[float, Field(gt=0, lt=1)] = 0.02  # the most that a candidate may be off, relative

    def problems(self, base: Mapping[str, Any], moved: Mapping[str, Any], resolver: Resolver) -> Iterator[Problem]:
        """What is wrong with it for such a base and such a `vary`, as far as can be told without counting."""
        path = self.by.split(".")
        info = find_field(Candidate, base, path, resolver)
        if info is None:
            yield Problem(("match", "by"), f"{self.by!r}: {why_not(Candidate, base, path, resolver)}")
        elif int not in (info.annotation, *get_args(info.annotation)):
            yield Problem(("match", "by"), f"{self.by!r} is no whole number; a width or a depth is")
        if self.by in moved:
            yield Problem(("match", "by"), f"{self.by!r} is varied too; what is matched cannot be a choice")

    def apply(
        self,
        spec: Mapping[str, Any],
        base: Mapping[str, Any],
        setting: InputSpec,
        resolver: Resolver,
        compose: Callable[[Mapping[str, Any]], Candidate],
    ) -> Candidate:
        """The candidate of a spec, with the size at `by` that brings its cost nearest to what is asked for.

        Counts on the meta device, so it imports torch. Raises SpecError where no size comes near enough.
        """
        target = self.gflops
        if isinstance(target, str):
            target = cost_of(compose(base).backbone, setting).gflops
        path = self.by.split(".")
        info = find_field(Candidate, spec, path, resolver)
        if info is None:
            raise SpecError([Problem(tuple(path), "this candidate has no such field, so its cost cannot be matched")])

        def made(size: int) -> Candidate:
            moved = deepcopy(dict(spec))
            put(moved, path, size)
            return compose(moved)

        search = _Search(lambda size: cost_of(made(size).backbone, setting).gflops, *_limits(info))
        held = get(compose(spec).spec(), path)
        size, found = search.nearest(int(held), target)
        if abs(found / target - 1) > self.within:
            near = f"{self.by} {size} gives {found:.4g}, {100 * (found / target - 1):+.1f} %"
            told = f"nothing brings it within {100 * self.within:g} % of {target:.4g} Gflops: {near}; "
            advice = "let 'by' move in finer steps (fewer groups or heads), or say a larger 'within'"
            raise SpecError([Problem((), told + advice)])
        return made(size)


class _Search:
    """Looks for the size at which a growing cost is nearest to a target, among the sizes that work."""

    def __init__(self, cost: Callable[[int], float], low: int, high: int, step: int) -> None:
        self.low, self.high, self.step = low, high, step
        self._cost = cost
        self._known: dict[int, float | None] = {}  # None: refused

    def nearest(self, start: int, target: float) -> tuple[int, float]:
        """The size and its cost. Bracketed by the rule that cost grows like the square, then by bisection."""
        size, below, above = start, None, None
        for _ in range(TRIES):
            at = self._working(size, below, above)
            if at is None:
                break
            size, cost = at
            if cost <= target:
                below = size
            if cost >= target:
                above = size
            if below == above:
                break
            if below is None or above is None:
                size = self._snapped(size * math.sqrt(target / cost))
                if size in (below, above):
                    size += self.step if below is not None else -self.step
            else:
                size = self._snapped((below + above) / 2)
            if not self.low <= size <= self.high or size in (below, above):
                break
        return min(
            ((size, cost) for size, cost in self._known.items() if cost is not None),
            key=lambda pair: abs(pair[1] - target),
        )

    def _working(self, size: int, below: int | None, above: int | None) -> tuple[int, float] | None:
        """The nearest size that is not refused, strictly between those two."""
        for k in range(REACH):
            for near in dict.fromkeys((size + k * self.step, size - k * self.step)):
                inside = (below is None or near > below) and (above is None or near < above)
                if inside and self.low <= near <= self.high and self._look(near) is not None:
                    cost = self._look(near)
                    assert cost is not None
                    return near, cost
        return None

    def _look(self, size: int) -> float | None:
        if size not in self._known:
            try:
                self._known[size] = self._cost(size)
            except SpecError:
                self._known[size] = None
        return self._known[size]

    def _snapped(self, size: float) -> int:
        return max(self.low, min(self.high, round(size / self.step) * self.step))


def _limits(info: FieldInfo) -> tuple[int, int, int]:
    """The least and the largest value that a field allows, and the step between values."""
    low, high, step = 1, MOST, 1
    for meta in info.metadata:
        if isinstance(meta, limits.Ge):
            low = max(low, math.ceil(float(meta.ge)))  # type: ignore[arg-type]
        elif isinstance(meta, limits.Gt):
            low = max(low, math.floor(float(meta.gt)) + 1)  # type: ignore[arg-type]
        elif isinstance(meta, limits.Le):
            high = min(high, math.floor(float(meta.le)))  # type: ignore[arg-type]
        elif isinstance(meta, limits.Lt):
            high = min(high, math.ceil(float(meta.lt)) - 1)  # type: ignore[arg-type]
        elif isinstance(meta, limits.MultipleOf):
            step = int(meta.multiple_of)  # type: ignore[call-overload]
    return math.ceil(low / step) * step, high, step
