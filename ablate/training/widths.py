"""The shapes that a candidate's parameters have at the base width of its parametrization (muP)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch

from ablate.candidates.candidate import Candidate
from ablate.runtime.isolation import isolated
from ablate.runtime.meta_device import OnMeta
from ablate.spec.component import InputSpec
from ablate.training.terms import Terms


@lru_cache(maxsize=256)
def base_shapes(candidate: Candidate, setting: InputSpec) -> Mapping[str, torch.Size] | None:
    """Return {name: shape} of the parameters of network and objective at the base width; None without one.

    Names are those of `trained_parameters`. On the meta device: nothing is allocated.
    """
    base = candidate.backbone.at_base_width()
    if base is None:
        return None
    with isolated(), OnMeta():
        network = base.build(setting)
        terms = Terms(candidate.model_copy(update={"backbone": base}), setting, lambda _, build: build())
    named = {**dict(network.named_parameters()), **dict(terms.named_parameters(prefix="objective"))}
    return {name: parameter.shape for name, parameter in named.items()}
