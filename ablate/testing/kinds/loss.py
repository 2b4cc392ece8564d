"""Checks of a loss: one finite number an image, least where the prediction is right."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ablate.kinds.loss import Loss
from ablate.kinds.noised import Noised
from ablate.kinds.process import Process
from ablate.testing.case import Case, Check, NotApplicable
from ablate.testing.processes import noised, processes, times

OF_THE_NETWORK = {"learned_variance"}  # what a loss may need of the network; the rest is of the process


def is_a_number_an_image(case: Case) -> None:
    """(B,) in fp32, finite from the cleanest to the noisiest level, with finite gradients."""
    for part, process, batch in _batches(case):
        prediction = (_right(part, process, batch) + 0.1).requires_grad_()
        loss = part.compute(prediction, batch, process)
        where = f"{part!r} with {process.schedule!r} and {process.target!r}"
        assert loss.shape == batch.level.t.shape, f"{where}: {tuple(loss.shape)} for {len(batch.x0)} images"
        assert loss.dtype == torch.float32, f"{where}: {loss.dtype}, not fp32"
        assert loss.isfinite().all(), f"{where}: not finite at t = {batch.level.t[~loss.isfinite()][0]:g}"
        (gradient,) = torch.autograd.grad(loss.sum(), prediction)
        assert gradient.isfinite().all(), f"{where}: its gradient is not finite"
        assert gradient.count_nonzero(), f"{where}: no gradient reaches the prediction"


def is_least_where_the_prediction_is_right(case: Case) -> None:
    """A prediction with an error costs at least as much as one without, and together more."""
    for part, process, batch in _batches(case):
        right = _right(part, process, batch)
        wrong = right.clone()
        wrong[:, : batch.x0.shape[1]] += 0.2
        least, more = part.compute(right, batch, process), part.compute(wrong, batch, process)
        where = f"{part!r} with {process.schedule!r} and {process.target!r}"
        assert (more >= least - 1e-6 * least.abs()).all(), f"{where}: an error is rewarded"
        assert more.sum() > least.sum(), f"{where}: an error costs nothing"


def keeps_images_apart(case: Case) -> None:
    """The loss of an image does not depend on the others."""
    for part, process, batch in _batches(case):
        prediction = _right(part, process, batch) + 0.1
        loss = part.compute(prediction, batch, process)
        one = Noised(batch.x0[2:3], batch.noise[2:3], batch.x[2:3], type(batch.level)(*(v[2:3] for v in batch.level)))
        alone = part.compute(prediction[2:3], one, process)
        assert torch.allclose(alone, loss[2:3], rtol=1e-5), (
            f"{part!r}: {float(alone):g} alone, {float(loss[2]):g} beside others"
        )


def is_a_mean_over_numbers_where_it_says_so(case: Case) -> None:
    """With "elementwise": what is right costs nothing, and errors in two parts of an image what they do together."""
    for part, process, batch in _batches(case):
        if "elementwise" not in part.provides():
            raise NotApplicable("it does not say that it is a mean over numbers")
        right = _right(part, process, batch)
        error = 0.3 * torch.randn(right.shape, generator=torch.Generator().manual_seed(1))
        here = torch.arange(right.shape[-1]) % 3 == 0
        nothing, one, other, both = (
            part.compute(right + error * where, batch, process) for where in (0 * here, here, ~here, 1)
        )
        assert (nothing <= 1e-5 * both).all(), f"{part!r}: what is right costs {float(nothing.max()):g}"
        assert torch.allclose(one + other, both, rtol=1e-3), f"{part!r}: the errors of two parts do not add up"


def _batches(case: Case) -> Iterator[tuple[Loss, Process, Noised]]:
    tried = False
    for part in case.variants(numbers=True):
        assert isinstance(part, Loss)
        for process in processes(case, part):
            parts = (process.schedule, process.target, process.precondition, process.weighting, part)
            provided = frozenset[str]().union(*(one.provides() for one in parts))
            if part.requires().keys() - OF_THE_NETWORK <= provided:
                tried = True
                yield part, process, noised(process, times(7), torch.float32)
    if not tried:
        raise NotApplicable("no process here provides what it requires")


def _right(part: Loss, process: Process, batch: Noised) -> Tensor:
    """Return the exact prediction, with a variance between its bounds where the loss asks for one."""
    mean = process.target.value(batch.x0, batch.noise, batch.level)
    return torch.cat([mean, torch.zeros_like(mean)], 1) if "learned_variance" in part.requires() else mean


CHECKS: tuple[Check, ...] = (
    is_a_number_an_image,
    is_least_where_the_prediction_is_right,
    keeps_images_apart,
    is_a_mean_over_numbers_where_it_says_so,
)
