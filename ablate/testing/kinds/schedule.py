"""Checks of a schedule: the signal fades, the noise grows, and time can be found again."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ablate.kinds.schedule import DiscreteSchedule, Schedule
from ablate.testing import fitted as following
from ablate.testing.case import Case, Check, NotApplicable, fitted
from ablate.testing.processes import times

INSIDE = (0.11111, 0.34567, 0.55555, 0.9)  # between the entries of a table


def is_finite_everywhere(case: Case) -> None:
    """α and σ are float64, finite and not negative, shaped like t whatever its shape."""
    for part in _variants(case):
        for t in (times(), times(12).reshape(3, 4), torch.tensor(0.5, dtype=torch.float64)):
            for name, value in (("alpha", part.alpha(t)), ("sigma", part.sigma(t))):
                assert value.dtype == torch.float64, f"{part!r}: {name} is {value.dtype}"
                assert value.shape == t.shape, f"{part!r}: {name} is {tuple(value.shape)} for t {tuple(t.shape)}"
                assert value.isfinite().all() and (value >= 0).all(), f"{part!r}: {name} leaves [0, inf)"


def falls_from_signal_to_noise(case: Case) -> None:
    """The ratio of signal to noise falls strictly from t = 0 to t = 1, over all of time."""
    for part in _variants(case):
        steps = part.log_snr(times(4001)).diff()
        assert (steps < 0).all(), f"{part!r}: log SNR does not fall at t = {int((steps >= 0).nonzero()[0]) / 4000:g}"


def finds_time_again(case: Case) -> None:
    """`time` is the inverse of `log_snr`, and beyond both ends it is 0 and 1."""
    for part in _variants(case):
        t = times(257)
        distance = float((part.time(part.log_snr(t)) - t).abs().max())
        assert distance <= 1e-6, f"{part!r}: time(log_snr(t)) is {distance:.2g} from t"
        beyond = torch.tensor([1e4, -1e4, float("inf"), float("-inf")], dtype=torch.float64)
        ends = part.time(beyond).tolist()
        assert ends == [0, 1, 0, 1], f"{part!r}: beyond its ends time is {ends}, not [0, 1, 0, 1]"


def has_its_slope(case: Case) -> None:
    """`slope` is the derivative of `log_snr`, also where gradients are switched off."""
    t, h = torch.tensor(INSIDE, dtype=torch.float64), 1e-7
    for part in _variants(case):
        numeric = (part.log_snr(t + h) - part.log_snr(t - h)) / (2 * h)
        with torch.inference_mode():
            slope = part.slope(t)
        assert torch.allclose(slope, numeric, rtol=1e-4), f"{part!r}: slope {slope.tolist()}, not {numeric.tolist()}"


def keeps_its_promises(case: Case) -> None:
    """It says "zero_terminal_snr" where no signal is left at t = 1, "variance_preserving" where α² + σ² = 1."""
    for part in _variants(case):
        t, provided = times(), part.provides()
        silent = float(part.alpha(t[-1])) == 0
        assert silent == ("zero_terminal_snr" in provided), f"{part!r}: α(1) is {float(part.alpha(t[-1])):g}"
        distance = float((part.alpha(t) ** 2 + part.sigma(t) ** 2 - 1).abs().max())
        assert (distance <= 1e-9) == ("variance_preserving" in provided), (
            f"{part!r}: α² + σ² is up to {distance:.2g} from 1"
        )


def goes_through_its_table(case: Case) -> None:
    """A discrete schedule has ᾱ of its table at t = i/(T − 1), and β between 0 and 1, for any number of steps."""
    if not isinstance(case.component, DiscreteSchedule):
        raise NotApplicable("it is not given by a table")
    for part in _variants(case):
        assert isinstance(part, DiscreteSchedule) and "discrete" in part.provides()
        for steps in (10, 1000):
            betas = part.betas(steps)
            assert betas.shape == (steps,) and betas.dtype == torch.float64
            assert ((betas > 0) & (betas < 1)).all(), f"{part!r}: a β of {steps} steps lies outside (0, 1)"
        distance = float((part.alpha(times(part.steps)) ** 2 - part.alphas_bar(part.steps)).abs().max())
        assert distance <= 1e-9, f"{part!r}: {distance:.2g} from its table"


def _variants(case: Case) -> Iterator[Schedule]:
    for part in map(fitted, case.variants(numbers=True)):
        assert isinstance(part, Schedule)
        yield part


CHECKS: tuple[Check, ...] = (
    is_finite_everywhere,
    falls_from_signal_to_noise,
    finds_time_again,
    has_its_slope,
    keeps_its_promises,
    goes_through_its_table,
    *following.CHECKS,
)
