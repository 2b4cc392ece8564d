"""Compute-matched candidates: searches a size of each (such as its width) until all take the same Gflops."""

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


def _gflops(gflops: Any) -> Any:
    if gflops != "base" and (not isinstance(gflops, int | float) or not 0 < gflops <= MOST_GFLOPS):
        raise ValueError(f"expected a number of Gflops above 0, or 'base', not {short(gflops)}")
    return gflops


class Match(Config):
    """`match: {gflops: 0.25, by: backbone.width}`: what remains of a difference is then not one of cost."""

    gflops: Annotated[float | str, BeforeValidator(_gflops)]  # of every candidate; 'base': as many as the base takes
    by: str  # dotted path below base of a whole number on which the cost grows, such as backbone.width
    within: Annotated[float, Field(gt=0, lt=1)] = 0.02  # the most that a candidate may be off, relative

    def problems(self, base: Mapping[str, Any], moved: Mapping[str, Any], resolver: Resolver) -> Iterator[Problem]:
        """Yield what is wrong with it for a base and a `vary`, as far as that is known without counting Gflops."""
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
        """Return the candidate of a spec, with the size at `by` that brings its cost nearest to the target.

        Counts on the meta device, so it imports torch. Raises SpecError where no size comes near enough.
        """

        def gflops(candidate: Candidate) -> float:
            return cost_of(candidate.backbone, candidate.inputs(setting)).gflops

        target = self.gflops
        if isinstance(target, str):
            target = gflops(compose(base))
        path = self.by.split(".")
        info = find_field(Candidate, spec, path, resolver)
        if info is None:
            raise SpecError([Problem(tuple(path), "this candidate has no such field, so its cost cannot be matched")])

        def with_size(size: int) -> Candidate:
            resized = deepcopy(dict(spec))
            put(resized, path, size)
            return compose(resized)

        search = _Search(lambda size: gflops(with_size(size)), *_limits(info))
        start = get(compose(spec).spec(), path)
        size, found = search.nearest(int(start), target)
        if abs(found / target - 1) > self.within:
            nearest = f"{self.by} {size} gives {found:.4g}, {100 * (found / target - 1):+.1f} %"
            problem = f"nothing brings it within {100 * self.within:g} % of {target:.4g} Gflops: {nearest}; "
            advice = "let 'by' move in finer steps (fewer groups or heads), or say a larger 'within'"
            raise SpecError([Problem((), problem + advice)])
        return with_size(size)


class _Search:
    """Finds the size at which a growing cost is nearest to a target, among the sizes that work."""

    def __init__(self, cost: Callable[[int], float], low: int, high: int, step: int) -> None:
        self.low, self.high, self.step = low, high, step
        self._cost = cost
        self._costs: dict[int, float | None] = {}  # by size; None: refused

    def nearest(self, start: int, target: float) -> tuple[int, float]:
        """Return the size and its cost. Bracketed by the rule that cost grows like the square, then by bisection."""
        size, below, above = start, None, None
        for _ in range(TRIES):
            point = self._nearest_working(size, below, above)
            if point is None:
                break
            size, cost = point
            if cost <= target:
                below = size
            if cost >= target:
                above = size
            if below == above:
                break
            if below is None or above is None:
                size = self._rounded(size * math.sqrt(target / cost))
                if size in (below, above):
                    size += self.step if below is not None else -self.step
            else:
                size = self._rounded((below + above) / 2)
            if not self.low <= size <= self.high or size in (below, above):
                break
        return min(
            ((size, cost) for size, cost in self._costs.items() if cost is not None),
            key=lambda pair: abs(pair[1] - target),
        )

    def _nearest_working(self, size: int, below: int | None, above: int | None) -> tuple[int, float] | None:
        """Return the nearest size that is not refused, strictly between those two, and its cost."""
        for k in range(REACH):
            for near in dict.fromkeys((size + k * self.step, size - k * self.step)):
                inside = (below is None or near > below) and (above is None or near < above)
                if inside and self.low <= near <= self.high and (cost := self._cost_at(near)) is not None:
                    return near, cost
        return None

    def _cost_at(self, size: int) -> float | None:
        """Return the cost at a size, counted once; None where the size is refused."""
        if size not in self._costs:
            try:
                self._costs[size] = self._cost(size)
            except SpecError:
                self._costs[size] = None
        return self._costs[size]

    def _rounded(self, size: float) -> int:
        return max(self.low, min(self.high, round(size / self.step) * self.step))


def _limits(info: FieldInfo) -> tuple[int, int, int]:
    """Return the least and the largest value that a field allows, and the step between values."""
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
