"""Checks of a guidance's companion, the network that is trained beside the main one."""

from __future__ import annotations

import torch
from torch import Tensor

from ablate.kinds.guidance import TrainedGuidance
from ablate.kinds.noised import Denoised, Level
from ablate.spec.component import InputSpec
from ablate.testing.case import Case, Check, NotApplicable
from ablate.testing.networks import BATCH, STEPS, batch

SETTINGS = [InputSpec((channels, side, side), 3) for side in (8, 16, 32, 64) for channels in (3, 1)]


def trains_its_companion(case: Case) -> None:
    """Its loss is one finite fp32 number an image and falls; a gradient reaches every parameter."""
    part, setting = _part(case)
    network = part.companion(setting).train()
    optimizer = part.optimizer(network.parameters())
    x, noise, labels = batch(setting)
    reached: set[str] = set()
    losses = []
    for _ in range(STEPS):
        loss = part.loss(network(x, noise / 999), labels)
        assert loss.shape == (BATCH,) and loss.dtype == torch.float32, f"a loss {tuple(loss.shape)} {loss.dtype}"
        assert loss.isfinite().all(), "the loss is not finite"
        optimizer.zero_grad()
        loss.mean().backward()  # type: ignore[no-untyped-call]
        reached.update(name for name, p in network.named_parameters() if p.grad is not None and p.grad.any())
        optimizer.step()
        losses.append(float(loss.detach().mean()))
    unused = [name for name, p in network.named_parameters() if p.requires_grad and name not in reached]
    assert not unused, f"no gradient reaches {', '.join(unused[:5])}"
    assert losses[-1] < losses[0], f"the loss does not fall in {STEPS} steps: {losses[0]:.4g} to {losses[-1]:.4g}"


def moves_image_and_noise_together(case: Case) -> None:
    """What was found stays a reading of x, α·x0 + σ·ε = x, and an image moves by its own gradient alone."""
    part, setting = _part(case)
    network = part.companion(setting).eval()
    x, _, labels = batch(setting)
    schedule = next(iter(case.partners("schedule")))
    for t in (0.1, 0.5, 0.9):
        time = torch.tensor(t, dtype=torch.float64)
        level = Level(time, schedule.alpha(time), schedule.sigma(time))
        alpha, sigma = float(level.alpha), float(level.sigma)

        def judge(x: Tensor, level: Level = level) -> Tensor:
            output: Tensor = network(x, x.new_full((len(x),), float(-level.log_snr / 8)))
            return output

        denoised = Denoised(x0=0.5 * x, noise=(x - alpha * 0.5 * x) / sigma)
        with torch.inference_mode():
            moved = part.shift(judge, denoised, x, labels, level)
            one = Denoised(denoised.x0[:1], denoised.noise[:1])
            alone = part.shift(judge, one, x[:1], None if labels is None else labels[:1], level)
        again = alpha * moved.x0 + sigma * moved.noise
        assert moved.x0.isfinite().all() and moved.noise.isfinite().all(), f"not finite at t = {t}"
        assert torch.allclose(again, x, atol=1e-3), (
            f"at t = {t}, α·x0 + σ·ε is {float((again - x).abs().max()):.2g} off x"
        )
        assert torch.allclose(alone.x0, moved.x0[:1], atol=1e-3), "depends on the rest of the batch"


def _part(case: Case) -> tuple[TrainedGuidance, InputSpec]:
    part = case.component
    if not isinstance(part, TrainedGuidance):
        raise NotApplicable("it has no companion")
    setting = next((s for s in SETTINGS if part.refuse(s) is None), None)
    if setting is None:
        raise NotApplicable(f"it refuses images of 8 to 64 pixels: {part.refuse(SETTINGS[0])}")
    return part, setting


CHECKS: tuple[Check, ...] = (trains_its_companion, moves_image_and_noise_together)
