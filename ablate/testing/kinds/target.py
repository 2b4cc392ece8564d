"""Checks of a target: what is predicted, together with x, says what the image and the noise are."""

from __future__ import annotations

import torch

from ablate.kinds.target import Target
from ablate.testing.case import Case, Check, fitting
from ablate.testing.processes import level_of, noised, processes, times


def says_more_than_x(case: Case) -> None:
    """Both u and v are finite float64 shaped like the level, and α·v ≠ σ·u wherever there is signal and noise."""
    for part in case.variants(numbers=True):
        assert isinstance(part, Target)
        for schedule in fitting(case.partners("schedule"), part):
            level = level_of(schedule, times()).guarded
            u, v = part.coefficients(level)
            for name, value in (("u", u), ("v", v)):
                assert value.dtype == torch.float64 and value.shape == level.t.shape, (
                    f"{part!r}: {name} of another shape"
                )
                assert value.isfinite().all(), f"{part!r}: {name} is not finite for {schedule!r}"
            apart = (level.alpha * v - level.sigma * u).abs()
            assert (apart > 0).all(), (
                f"{part!r}: says nothing beside x at t = {level.t[apart == 0][0]:g} of {schedule!r}"
            )


def gives_back_image_and_noise(case: Case) -> None:
    """From the exact value of the target and x, x0 and ε follow, away from the very ends."""
    for part in case.variants(numbers=True):
        for process in processes(case, part):
            batch = noised(process, times(21)[1:-1])
            denoised = process.denoised(process.target.value(batch.x0, batch.noise, batch.level), batch.x, batch.level)
            signal = batch.level.guarded.alpha.reshape(-1, 1, 1, 1)
            distance = float(((denoised.x0 - batch.x0) * signal).abs().max())
            assert distance <= 1e-7, f"{part!r}: x0 comes back {distance:.2g} off for {process.schedule!r}"


def depends_on_the_level_alone(case: Case) -> None:
    """A batch of levels gives what each level gives for itself."""
    part = case.component
    assert isinstance(part, Target)
    for schedule in fitting(case.partners("schedule"), part):
        t = times(9)
        together = torch.stack(part.coefficients(level_of(schedule, t).guarded), 1)
        alone = torch.stack([torch.stack(part.coefficients(level_of(schedule, one).guarded)) for one in t])
        assert torch.allclose(together, alone, rtol=1e-12), f"{part!r}: levels influence each other"


CHECKS: tuple[Check, ...] = (says_more_than_x, gives_back_image_and_noise, depends_on_the_level_alone)
