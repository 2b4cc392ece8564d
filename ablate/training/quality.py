"""Quality during training: at which points it is due, and what was measured there; part of a training's checkpoints."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from ablate.candidates.evaluation import Evaluation, EvaluationPoints
from ablate.candidates.objectives import share_key

PICTURED = 16  # points of a training of which samples are kept, about, and the end
OTHER_SOURCE = "measured with other source code than the rest of the trial"


class QualityCurve:
    """The points of a training at which quality is measured, and the measurements so far.

    evaluation: at which points. batch: images a step; images: of the whole training, None where it takes `seconds`.
    sources: hashes of the source that measures: what other source measured before an interruption does not count.

    rows: of the metrics table, `images` says at which point. train_seconds: of training until then, by images.
    unmeasured: why there are no rows, by images. seconds: that the measuring took.
    shares: `images`, `loss`, `train_seconds` and `evaluate_seconds` (that all points until then took to be measured) at
    each share of the budget that was asked for, by share.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        batch: int,
        images: int | None,
        seconds: float = math.inf,
        sources: Mapping[str, str] | None = None,
    ) -> None:
        self._points = EvaluationPoints(evaluation, batch, images, seconds)
        self._asked = {"at": list(evaluation.at), "every": evaluation.every}
        self._sources = dict(sources or {})
        self._passed = 0  # points that lie behind
        self.rows: list[dict[str, Any]] = []
        self.train_seconds: dict[str, float] = {}
        self.unmeasured: dict[str, str] = {}
        self.shares: dict[str, dict[str, float | None]] = {}
        self.seconds = 0.0

    def is_due(self, images: int, train_seconds: float) -> bool:
        """Return whether a point is reached that was not measured yet."""
        return self._points.passed(images, train_seconds) > self._passed

    def is_pictured(self, images: int, train_seconds: float) -> bool:
        """Return whether samples of the point that is reached are kept: of many points, some at equal distances."""
        number, count = self._points.passed(images, train_seconds), self._points.count
        if count is None:
            return number <= PICTURED
        return number % math.ceil(count / PICTURED) == 0

    def has_passed(self, share: float) -> bool:
        """Return whether the point at a share of the budget lies behind, and was measured."""
        return self._passed >= bisect_right(self._points.shares, share)

    def close_point(self, images: int, train_seconds: float, seconds: float, loss: float | None = None) -> None:
        """Note that a point was measured, in so many seconds; its rows have been added. loss: of the training there."""
        before, self._passed = self._passed, self._points.passed(images, train_seconds)
        self.seconds += seconds
        point = {"images": images, "loss": loss, "train_seconds": train_seconds, "evaluate_seconds": self.seconds}
        for share in self._points.shares[before : self._passed]:
            self.shares[share_key(share)] = dict(point)
        self.train_seconds[str(images)] = train_seconds

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint, as JSON."""
        return {
            "asked": self._asked,
            "sources": self._sources,
            "passed": self._passed,
            "rows": self.rows,
            "train_seconds": self.train_seconds,
            "unmeasured": self.unmeasured,
            "shares": self.shares,
            "seconds": self.seconds,
        }

    def prolong(self, state: Mapping[str, Any], images: int) -> None:
        """Go on from the state of a shorter training after so many images: with what it measured at these points.

        What lies at these very images is measured anew.
        """
        closed = state.get("train_seconds", {})
        for share, point in self._points.at:
            if point >= images:
                break
            self._passed += 1
            self.rows += [row for row in state.get("rows", ()) if row["images"] == point]
            if (why := state.get("unmeasured", {}).get(str(point))) is not None:
                self.unmeasured[str(point)] = why
            if (seconds := closed.get(str(point))) is not None:
                self.train_seconds[str(point)] = seconds
            same = (dict(known) for known in state.get("shares", {}).values() if known["images"] == point)
            if share is not None and (known := next(same, None)) is not None:
                self.shares[share_key(share)] = known
        self.seconds = float(state.get("seconds", 0.0))

    def load(self, state: Mapping[str, Any], images: int, train_seconds: float) -> None:
        """Resume from what `state` returned, after so many images; {} of a training without points.

        Where other points are asked for than before, those that lie behind stay unmeasured.
        """
        self.rows = list(state.get("rows", ()))
        self.train_seconds = dict(state.get("train_seconds", {}))
        self.shares = dict(state.get("shares", {}))
        same = state.get("asked") == self._asked
        behind = images if str(images) in self.train_seconds else images - 1  # the one reached last may be still open
        self._passed = int(state["passed"]) if same else self._points.passed(behind, train_seconds)
        self.unmeasured = dict(state.get("unmeasured", {}))
        self.seconds = float(state.get("seconds", 0.0))
        if self.rows and state.get("sources") != self._sources:
            self.unmeasured |= {str(row["images"]): OTHER_SOURCE for row in self.rows}
            self.rows = []
