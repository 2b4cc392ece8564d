"""Checks of an embedder: what it makes of a condition, and of one that is dropped."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from ablate.kinds.conditions import Told
from ablate.kinds.embedder import Embedded, Embedder, EmbedderSite
from ablate.spec.inputs import ConditionSpec, InputSpec
from ablate.testing import modules
from ablate.testing.case import Case, Check
from ablate.testing.networks import close

BATCH, WIDTH = 4, 16
SHAPE = (3, 8, 8)
PRESENT = torch.tensor([True, False, True, False])
SPECS = (
    ConditionSpec("told", "class", (), 5),
    ConditionSpec("told", "text", (6,), 11),
    ConditionSpec("told", "text", (6, 7)),
    ConditionSpec("told", "scalars", (3,)),
    ConditionSpec("told", "image", (2, 8, 8)),
)


def embeds_what_it_says(case: Case) -> None:
    """A vector (B, E), tokens (B, L, E) with their mask (B, L), or as many channels as it says, of the image's size.

    Finite, and on the meta device of the same shapes.
    """
    for part, spec in _placed(case):
        told = _told(spec)
        with torch.no_grad():
            embedded = modules.live(partial(_build, part, spec))(told)
        with torch.no_grad(), torch.device("meta"):
            counted = _build(part, spec)(
                Told(told.value.to("meta"), mask=None if told.mask is None else told.mask.to("meta"))
            )
        assert isinstance(embedded, Embedded) and embedded[:2] + embedded[3:] != (None,) * 3, (
            f"{part!r}: gives no vector, tokens or channels"
        )
        vector, tokens, mask, channels = embedded
        count = part.channels(spec)
        assert vector is None or vector.shape == (BATCH, WIDTH), f"{part!r}: a vector {tuple(vector.shape)}"
        assert tokens is None or (tokens.ndim == 3 and tokens.shape[::2] == (BATCH, WIDTH)), f"{part!r}: {tokens}"
        assert mask is None or (tokens is not None and mask.dtype == torch.bool and mask.shape == tokens.shape[:2]), (
            f"{part!r}: the mask is not (B, L) bool, for the tokens"
        )
        found = None if channels is None else tuple(channels.shape)
        assert found == ((BATCH, count, *SHAPE[1:]) if count else None), (
            f"{part!r}: channels of shape {found}, and it says that it joins {count} of {SHAPE[1]}×{SHAPE[2]}"
        )
        for one, other in zip(embedded, counted, strict=True):
            assert one is other is None or (one is not None and other is not None and one.shape == other.shape), (
                f"{part!r}: other shapes on the meta device"
            )
            assert one is None or one.isfinite().all(), f"{part!r}: gives numbers that are not finite"


def does_without_a_dropped_condition(case: Case) -> None:
    """What is told makes a difference; where it is dropped its value makes none, nor does padding of a text."""
    for part, spec in _placed(case):
        module, told, other = modules.live(partial(_build, part, spec)), _told(spec), _told(spec, seed=2)
        embedded, without = _embedded(module, told), _embedded(module, told._replace(present=PRESENT))
        changed = _embedded(module, other._replace(present=PRESENT, mask=told.mask))
        assert not close(embedded[~PRESENT], without[~PRESENT]), f"{part!r}: makes no difference where it is dropped"
        assert close(embedded[PRESENT], without[PRESENT]), f"{part!r}: dropping it for one image changes another"
        assert torch.equal(changed[~PRESENT], without[~PRESENT]), f"{part!r}: reads a value that is dropped"
        assert not close(changed[PRESENT], without[PRESENT]), f"{part!r}: does not read the value"
        if told.mask is not None:
            longer = told.mask.view(*told.mask.shape, *(1,) * (told.value.ndim - 2))
            padded = _embedded(module, told._replace(value=torch.where(longer, told.value, other.value)))
            assert close(padded, embedded), f"{part!r}: reads what stands in the place of padding"


def embeds_each_image_by_itself(case: Case) -> None:
    """What becomes of an image's condition depends on nothing else in the batch, and is the same the second time."""
    for part, spec in _placed(case):
        module, told = modules.live(partial(_build, part, spec)), _told(spec)._replace(present=PRESENT)
        embedded = _embedded(module, told)
        assert torch.equal(_embedded(module, told), embedded), f"{part!r}: in eval(), it is not repeatable"
        alone = torch.cat([_embedded(module, told.rows(slice(i, i + 1))) for i in range(BATCH)])
        assert close(alone, embedded), f"{part!r}: the rest of the batch makes a difference"


def is_reached_by_gradients(case: Case) -> None:
    """Every parameter is reached by a finite gradient, from a batch in which some are dropped."""
    for part, spec in _placed(case):
        module = modules.live(partial(_build, part, spec))
        parameters = list(module.named_parameters())
        if parameters:
            told = _told(spec, covering=True)
            modules.expect_gradients(_numbers(module(told._replace(present=_some(len(told.value))))), parameters)


def keeps_the_state_of_its_module(case: Case) -> None:
    """A state dict gives an equal module."""
    for part, spec in _placed(case):
        modules.expect_state(partial(_Numbers.of, part, spec), _told(spec))


class _Numbers(nn.Module):
    """A module whose output is one tensor."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    @classmethod
    def of(cls, part: Embedder, spec: ConditionSpec) -> nn.Module:
        """Build it."""
        return cls(_build(part, spec))

    def forward(self, told: Told) -> Tensor:
        """All that is embedded, an image a row."""
        return _numbers(self.module(told))


def _placed(case: Case) -> Iterator[tuple[Embedder, ConditionSpec]]:
    """Yield the component and its switches turned, for each condition that it takes."""
    for part in case.variants(numbers=True):
        assert isinstance(part, Embedder)
        assert part.forms, f"{part!r}: `forms` says which forms of conditions it embeds, and is empty"
        found = 0
        for spec in SPECS:
            setting = InputSpec(SHAPE, None, (spec,))
            if spec.form in part.forms and part.refuse(setting) is None:
                found += 1
                yield part, part.condition(setting)
        assert found, f"{part!r}: refuses every condition of its forms, {', '.join(part.forms)}"


def _build(part: Embedder, spec: ConditionSpec) -> nn.Module:
    return part.build(spec, EmbedderSite(WIDTH, SHAPE))


def _told(spec: ConditionSpec, seed: int = 1, covering: bool = False) -> Told:
    """Return values of a condition; texts are of different lengths. covering: each number comes once."""
    generator = torch.Generator().manual_seed(seed)
    mask = None
    if spec.form == "text":
        mask = torch.arange(spec.shape[0]) < torch.tensor([6, 3, 4, 5])[:, None]
    if spec.count is None:
        return Told(torch.randn(BATCH, *spec.shape, generator=generator), mask=mask)
    if covering:
        count = spec.count * 2  # every second is dropped
        value = torch.arange(count).div(2, rounding_mode="floor").view(count, *(1,) * len(spec.shape))
        value = value.expand(count, *spec.shape)
        return Told(value, mask=None if mask is None else mask[torch.arange(count) % BATCH])
    value = torch.randperm(spec.count, generator=generator)[:BATCH].view(BATCH, *(1,) * len(spec.shape))
    return Told((value + torch.arange(spec.shape[0]) if spec.shape else value) % spec.count, mask=mask)


def _some(count: int) -> Tensor:
    return torch.arange(count) % 2 == 0


def _embedded(module: nn.Module, told: Told) -> Tensor:
    with torch.no_grad():
        return _numbers(module(told))


def _numbers(embedded: Embedded) -> Tensor:
    """Return all numbers of what is embedded, an image a row; tokens that do not count are left out."""
    vector, tokens, mask, channels = embedded
    if tokens is not None and mask is not None:
        tokens = torch.where(mask[..., None], tokens, 0.0)
    return torch.cat([part.flatten(1) for part in (vector, tokens, channels) if part is not None], dim=1)


CHECKS: tuple[Check, ...] = (
    embeds_what_it_says,
    does_without_a_dropped_condition,
    embeds_each_image_by_itself,
    is_reached_by_gradients,
    keeps_the_state_of_its_module,
)
