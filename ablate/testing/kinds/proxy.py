"""Checks of a proxy: it gives a number, the same for the same weights, and of a training that can begin afterwards."""

from __future__ import annotations

import math

import torch

from ablate.candidates.candidate import Candidate, compose
from ablate.kinds.backbone import Backbone
from ablate.kinds.proxy import Proxy
from ablate.spec.component import InputSpec
from ablate.testing.case import Case, Check, NotApplicable
from ablate.testing.small import settle, shrink
from ablate.testing.trained import images_of_noise, optimizer_of
from ablate.training.untrained import measure

CPU = torch.device("cpu")
BATCH = 4
BACKBONES = 2  # with so many networks it is tried, at the most
STEPS = 2  # of a training, where it takes some


def gives_a_number(case: Case) -> None:
    """It gives a number; NaN, or infinity, not for all networks that are there, whatever its options are."""
    values = [_measured(part, *network, 0) for part in _variants(case) for network in _candidates(case)]
    assert any(map(math.isfinite, values)), f"gives {values[0]} for each of {len(values)} networks"


def gives_the_same_again(case: Case) -> None:
    """The same candidate with the same seed has the same number."""
    for part in _variants(case):
        candidate, setting = _candidates(case)[0]
        once, again = (_measured(part, candidate, setting, 0) for _ in range(2))
        assert once == again or (math.isnan(once) and math.isnan(again)), f"{part!r}: gives {once}, and then {again}"


def differs_between_networks(case: Case) -> None:
    """Networks of other sizes do not all have one number: it would order nothing."""
    found = [_measured(part, *_candidates(case)[i], seed) for part in _variants(case) for i, seed in ((0, 0), (-1, 1))]
    assert len(set(found)) > 1 or len(found) == 1, f"gives {found[0]} for every network"


def _measured(part: Proxy, candidate: Candidate, setting: InputSpec, seed: int) -> float:
    (value,) = measure(candidate, setting, images_of_noise(setting), [part], seed, CPU, 1000.0).values()
    assert isinstance(value, float), f"{part!r}: gives a {type(value).__name__}"
    return value


def _variants(case: Case) -> list[Proxy]:
    """Return its variants, with few steps where it trains."""
    parts = [part for part in case.variants() if isinstance(part, Proxy)]
    return [part.model_copy(update={"steps": STEPS}) if "steps" in type(part).model_fields else part for part in parts]


def _candidates(case: Case) -> list[tuple[Candidate, InputSpec]]:
    """Return small networks of several kinds, each with data for it."""
    candidates = []
    for part in case.partners("backbone"):
        if isinstance(part, Backbone) and not part.requires():
            setting = settle(part)
            spec = {"backbone": shrink(part, setting).spec(), "batch": BATCH, "optimizer": optimizer_of(case)}
            candidates.append((compose(spec, case.catalog), setting))
    if not candidates:
        raise NotApplicable("there is no backbone to measure")
    return candidates[:BACKBONES]


CHECKS: tuple[Check, ...] = (gives_a_number, gives_the_same_again, differs_between_networks)
