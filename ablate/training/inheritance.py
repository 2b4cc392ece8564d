"""Weights that a network inherits from that of another candidate: whatever stands at the same place and fits.

A network is changed and goes on training, as in Net2Net (Chen et al. 2016), network morphism (Wei et al. 2016) and
LEMONADE (Elsken et al. 2019). What stands at the same place, the backbone says (`Backbone.places`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ablate.candidates.candidate import Candidate
from ablate.kinds.backbone import Backbone
from ablate.kinds.conditions import told_zeros
from ablate.spec.component import InputSpec

INHERITED = "inherited"  # key of a record
IMAGES = 8  # on which the networks of child and parent are compared

Place = tuple[Backbone, str]  # a parameter of a backbone's network


@dataclass(frozen=True)
class Lineage:
    """Whom a trial inherits from: the parent, how many ancestors there are, and their training (Gflops) in all."""

    parent: str  # start of its config_hash
    ancestors: int
    train_gflops: float


@dataclass(frozen=True)
class Inheritance:
    """Trained weights of a parent's network, and how they get into that of a child.

    setting: that of the data. facts: filled when the weights are entered, as a record has them.
    """

    weights: Mapping[str, Tensor]
    parent: Candidate
    candidate: Candidate
    setting: InputSpec
    lineage: Lineage
    facts: dict[str, Any] = field(default_factory=dict, compare=False)

    def enter(self, network: nn.Module) -> None:
        """Take over what fits, in place; what is new then passes on what it is given, where the backbone knows how.

        Where nothing fits, the network begins anew.
        """
        own, parameters = network.state_dict(), dict(network.named_parameters())
        child, parent = self.candidate.backbone, self.parent.backbone
        places = child.places(parent, list(own))
        shared, new = 0, set[str]()
        with torch.no_grad():
            for name, tensor in own.items():
                source = self.weights.get(places.get(name, ""))
                if source is not None and source.shape == tensor.shape:
                    tensor.copy_(source)
                    shared += tensor.numel() if name in parameters else 0
                elif source is not None and name in parameters:
                    shared += _take_leading(tensor, source, (child, name), (parent, places[name]))
                elif name in parameters:
                    new.add(name)
            if shared:
                child.pass_through(network, new)
        count = sum(parameter.numel() for parameter in parameters.values())
        self.facts.update(vars(self.lineage), share=shared / max(count, 1), gap=self._gap(network))

    def teacher(self, candidate: Candidate, setting: InputSpec, device: torch.device) -> nn.Module | None:
        """None: nobody learns from a parent."""
        return None

    def _gap(self, network: nn.Module) -> float | None:
        """Return how far the network's output is from the parent's, over the root mean square of that: 0 is the same.

        On noise, at noise levels from little to much, of the first class. None where the two are told other things,
        or give other shapes.
        """
        told = self.candidate.inputs(self.setting)
        if told != self.parent.inputs(self.setting):
            return None
        device = next(network.parameters()).device
        with device:
            before = self.parent.backbone.build(told)
        before.load_state_dict(dict(self.weights))
        x = torch.randn(IMAGES, *told.shape, generator=torch.Generator().manual_seed(0)).to(device)
        process = self.candidate.for_setting(told).process(0.5)
        level = process.level(torch.linspace(0, 1, IMAGES + 2, dtype=torch.float64)[1:-1])
        noise = process.noise_labels(x, level)
        labels = told_zeros(told, IMAGES, device)
        training = network.training
        with torch.no_grad():
            then, now = (one.eval()(x, noise, labels).double() for one in (before, network))
        network.train(training)
        if then.shape != now.shape:
            return None
        return float((now - then).square().mean().sqrt() / then.square().mean().sqrt().clamp(min=1e-12))


def _take_leading(own: Tensor, source: Tensor, mine: Place, theirs: Place) -> int:
    """Copy the leading part along each axis of another shape, in place, and return how many numbers that is.

    Where an axis is made of several things, such as heads, of each of them (`Backbone.axis_parts`). 0 where that is not
    known, or the two are not made alike.
    """
    if own.ndim != source.ndim:
        return 0
    sizes, source_sizes = list[int](), list[int]()
    for axis, (size, given) in enumerate(zip(own.shape, source.shape, strict=True)):
        parts = [backbone.axis_parts(name, axis, n) for (backbone, name), n in ((mine, size), (theirs, given))]
        if size == given:
            parts = [(size,), (given,)]
        if parts[0] is None or parts[1] is None or len(parts[0]) != len(parts[1]):
            return 0
        sizes += parts[0]
        source_sizes += parts[1]
    whole, given_whole = own.reshape(sizes).clone(), source.reshape(source_sizes)
    leading = tuple(slice(0, min(pair)) for pair in zip(sizes, source_sizes, strict=True))
    whole[leading] = given_whole[leading]
    own.copy_(whole.reshape(own.shape))
    return int(given_whole[leading].numel())
