"""gate `product`: the product of two gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Gate, slot

if TYPE_CHECKING:
    from torch import nn


class ProductGate(Gate):
    """Product of two gates, g = g₁·g₂: open where both are. A product in a product makes three."""

    name = "product"

    first: Gate = slot("time")
    second: Gate = slot("channel")

    def provides(self) -> frozenset[str]:
        """What both provide."""
        return self.first.provides() & self.second.provides()

    def build(self, channels: int, skip_channels: int, embedding: int) -> nn.Module | None:
        """See `ablate_zoo.gate._modules`; one that is always open is left out."""
        from ablate_zoo.gate._modules import ProductGate as Module

        built = [gate.build(channels, skip_channels, embedding) for gate in (self.first, self.second)]
        gates = [gate for gate in built if gate is not None]
        return Module(*gates) if gates else None
