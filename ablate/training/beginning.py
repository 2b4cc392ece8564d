"""The weights that a training begins with, where a network was trained before; and that network, where it teaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ablate.candidates.beginning import lacking
from ablate.candidates.candidate import Candidate
from ablate.errors import InputError
from ablate.spec.component import InputSpec


@dataclass(frozen=True)
class Beginning:
    """Trained weights, {name: tensor}, of a network that has the candidate's own weights and perhaps others."""

    weights: Mapping[str, Tensor]

    def enter(self, network: nn.Module) -> None:
        """Load them into a network, by name; those that it has no place for are left.

        Raises InputError where the network has weights that are not among them, or of another shape.
        """
        if problem := lacking(network.state_dict(), self.weights):
            raise InputError(problem, "start")
        network.load_state_dict({name: self.weights[name] for name in network.state_dict()})

    def teacher(self, candidate: Candidate, setting: InputSpec, device: torch.device) -> nn.Module | None:
        """Return the network that they come from, frozen, for an objective that learns from it; None for another."""
        if not candidate.objective.taught_by_start:
            return None
        with device:
            network = (candidate.start.backbone or candidate.backbone).build(setting)
        self.enter(network)
        return network.eval().requires_grad_(False)
