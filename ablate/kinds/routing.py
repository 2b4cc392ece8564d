"""routing: which tokens pass through which blocks of a transformer."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from ablate.kinds.conditioning import Site
from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import Tensor, nn


ROUTED = "routed_tokens"  # the capability of what hands a block other tokens than all of them
MASKED = "masked_patches"  # ... and of what hides patches in training


@runtime_checkable
class HidesPatches(Protocol):
    """What the module of a routing that says "masked_patches" has beside its forward pass."""

    def hidden_patches(self) -> Tensor | None:
        """Return which patches its last pass hid, (B, rows, columns) bool, True where hidden; None where it hid none.

        Nothing of the image in a hidden patch reaches the tokens that come back. Of each image some are hidden, and
        some are not.
        """
        ...


def hiding(network: nn.Module) -> HidesPatches | None:
    """Return the module within a network that hides patches, the first one; None where there is none."""
    return next((module for module in network.modules() if isinstance(module, HidesPatches)), None)


class Routing(Component):
    """Builds what sends the tokens through a stack of blocks: all through all, or fewer, so that a pass costs less.

    A routing that hands a block other tokens than all of them in their order says "routed_tokens" in `provides()`: what
    reads the tokens as feature maps excludes that. One that hides patches in training says "masked_patches" too, and
    its module says which (`HidesPatches`): objectives read that as `hidden` of their model. What is computed is
    counted: of a training step in train() mode (`train_gflops`), of sampling in eval() mode (`gflops`).
    """

    kind: ClassVar[str] = "routing"

    @abstractmethod
    def build(self, site: Site) -> nn.Module | None:
        """Build a module `forward(tokens, layout, blocks)`; None: all tokens pass through all blocks.

        tokens: (B, L + N, site.width), L = layout.joined tokens without a place, then N patches; layout: a `Layout`;
        blocks: functions (tokens, layout) -> tokens in their order, `site.blocks` of them, each of which takes any
        number of patches behind the L tokens; `layout.select(index)` is the layout of some. Returns all tokens, in
        their order. In training it may draw from torch's global generator; in eval() its output is repeatable.
        """

    def refuse_at(self, site: Site) -> str | None:
        """Return one sentence, why it cannot work with so many blocks or patches; None if it can."""
        return None
