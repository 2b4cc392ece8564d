"""Checks of a weighting: no level counts less than nothing, and none without bound."""

from __future__ import annotations

import torch

from ablate.kinds.weighting import Weighting
from ablate.testing import fitted as following
from ablate.testing.case import Case, Check, fitted
from ablate.testing.processes import SIGMA_DATA, processes, times


def is_finite_and_not_negative(case: Case) -> None:
    """The weight is float64 shaped like the level, finite, at least 0, and not 0 everywhere."""
    for part in map(fitted, case.variants(numbers=True)):
        assert isinstance(part, Weighting)
        for process in processes(case, part):
            level = process.level(times(501))
            weight = part.weight(level.guarded, SIGMA_DATA)
            assert weight.dtype == torch.float64 and weight.shape == level.t.shape, f"{part!r}: of another shape"
            for where, effective in (("x0", process.x0_weight(level)), ("the target", process.target_weight(level))):
                subject = f"{part!r}: the weight on {where} for {process.schedule!r} and {process.target!r}"
                assert effective.float().isfinite().all(), f"{subject} is not finite in fp32"
                assert (effective >= 0).all(), f"{subject} is negative"
                assert effective.max() > 0, f"{subject} is zero everywhere"


CHECKS: tuple[Check, ...] = (is_finite_and_not_negative, *following.CHECKS)
