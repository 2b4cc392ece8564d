"""Checks of a gate: between closed and open, decided by each image alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ablate.kinds.conditioning import Context
from ablate.kinds.gate import Gate
from ablate.runtime.randomness import seed_all
from ablate.testing import networks
from ablate.testing.case import SEED, Case, Check, NotApplicable

BATCH, EMBEDDING, CHANNELS, SKIP = 3, 24, 16, 32
SIZES = [(8, 8), (5, 7), (3, 1), (1, 1)]  # maps that halve and maps that do not, and a few tokens
# Labels on both usual scales: ln(σ/α)/4, and 999·t.
LEVELS = torch.cat([torch.linspace(-4, 4, 101), torch.linspace(5, 999, 200)])
ROUNDING = 1e-6


def gives_numbers_from_0_to_1(case: Case) -> None:
    """What it gives broadcasts to s, is finite, in [0, 1] and fp32, also under autocast to bfloat16.

    On the meta device it has the same shape.
    """
    for part in case.variants():
        for height, width in SIZES:
            inputs = _features(height, width)
            with torch.device("meta"):
                module = _build(part)
            if module is None:
                continue
            counted = module(*_to_meta(*inputs))
            for module in _live(part):
                for autocast in (False, True):
                    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                        g = module(*inputs)
                    assert g.shape == counted.shape, "has another shape on the meta device"
                    assert g.ndim == 4, f"gives {tuple(g.shape)}, not four dimensions"
                    fits = all(of_g in (1, of_s) for of_g, of_s in zip(g.shape, inputs[1].shape, strict=True))
                    assert fits, f"{tuple(g.shape)} does not broadcast to s, {tuple(inputs[1].shape)}"
                    assert g.dtype == torch.float32, f"gives {g.dtype}{' under autocast' if autocast else ''}"
                    assert ((g >= 0) & (g <= 1)).all(), f"gives {float(g.min()):g} to {float(g.max()):g}"


def decides_for_each_image_alone(case: Case) -> None:
    """The gate of an image depends on that image alone, and is the same twice."""
    d, s, context = _features(*SIZES[1])
    for module in _live(case.component):
        with torch.no_grad():
            g = module(d, s, context)
            assert torch.equal(module(d, s, context), g), "in eval(), the output is not repeatable"
            embedding, tokens, noise = context.embedding, context.tokens, context.noise
            alone = module(d[1:2], s[1:2], Context(embedding[1:2], tokens[1:2], noise[1:2]))
            assert networks.close(alone, g[1:2]), "depends on the rest of the batch"


def is_reached_by_gradients(case: Case) -> None:
    """Every parameter is reached by a finite gradient."""
    for module in _live(case.component):
        g = module(*_features(*SIZES[0]))
        (g * torch.randn(g.shape)).sum().backward()
        for name, p in module.named_parameters():
            assert p.grad is not None and p.grad.count_nonzero(), f"no gradient reaches {name}"
            assert p.grad.isfinite().all(), f"the gradient of {name} is not finite"


def keeps_the_state_of_its_module(case: Case) -> None:
    """A state dict gives an equal module."""
    inputs = _features(*SIZES[0])
    for module, other in zip(_live(case.component), _live(case.component, seed=5), strict=True):
        other.load_state_dict(module.state_dict())
        with torch.no_grad():
            assert torch.equal(other(*inputs), module(*inputs)), "a state that the state dict does not hold decides"


def never_opens_with_noise_where_it_says_so(case: Case) -> None:
    """With "monotone_in_noise", g does not rise with the noise label, whatever the weights, d and s being held."""
    if "monotone_in_noise" not in case.component.provides():
        raise NotApplicable("does not provide 'monotone_in_noise'")
    count = len(LEVELS)
    d, s, context = _features(4, 4)
    d, s, embedding, tokens = (x[:1].expand(count, *x.shape[1:]) for x in (d, s, context.embedding, context.tokens))
    at_levels = Context(embedding, tokens, LEVELS)
    for part in case.variants():
        for seed in range(5):
            for module in _live(part, seed, scale=0.1 * 4**seed):
                with torch.no_grad():
                    g = module(d, s, at_levels)
                rise = float(g.expand(count, -1, -1, -1).diff(dim=0).max())
                assert rise <= ROUNDING, f"{part!r}: g rises by {rise:.2g} from one level to the next"


def _build(part: object) -> nn.Module | None:
    assert isinstance(part, Gate)
    return part.build(CHANNELS, SKIP, EMBEDDING)


def _live(part: object, seed: int = 0, scale: float = 0.05) -> Iterator[nn.Module]:
    """Yield the module as it is somewhere in training, in eval(); nothing where the gate builds none."""
    seed_all(SEED + seed)
    module = _build(part)
    if module is not None:
        with torch.no_grad():
            for p in module.parameters():
                p.add_(scale * torch.randn(p.shape))
        yield module.eval()


def _features(height: int, width: int) -> tuple[Tensor, Tensor, Context]:
    d, s = torch.randn(BATCH, CHANNELS, height, width), torch.randn(BATCH, SKIP, height, width)
    return d, s, Context(torch.randn(BATCH, EMBEDDING), torch.randn(BATCH, 2, EMBEDDING), torch.rand(BATCH) * 999)


def _to_meta(d: Tensor, s: Tensor, context: Context) -> tuple[Tensor, Tensor, Context]:
    embedding, tokens, noise = context.embedding, context.tokens, context.noise
    return d.to("meta"), s.to("meta"), Context(embedding.to("meta"), tokens.to("meta"), noise.to("meta"))


CHECKS: tuple[Check, ...] = (
    gives_numbers_from_0_to_1,
    decides_for_each_image_alone,
    is_reached_by_gradients,
    keeps_the_state_of_its_module,
    never_opens_with_noise_where_it_says_so,
)
