"""The parameters that an optimizer trains, each with its name, its role, and the layer in which it lies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Literal, NamedTuple, overload

from ablate.kinds.backbone import network_blocks

if TYPE_CHECKING:
    from torch import nn

Role = Literal["weight", "bias", "norm", "embedding"]


class Trained(NamedTuple):
    """A parameter, and what is known of its place in the network.

    role: "weight" of a linear layer or a convolution, "bias", "norm" (gain or bias of a normalisation layer),
    "embedding" (a table of classes or positions). layer: 0 before the first block of the network (`network_blocks`),
    1 to `blocks` within one, blocks + 1 behind the last. Without a name nothing is known: blocks is 0.
    fan_in: how many times as many numbers an output is summed over as at the base width of muP
    (`Backbone.at_base_width`); 1 where that does not follow the width, and without a base.
    """

    parameter: nn.Parameter
    name: str = ""  # as in the network's state dict; `uncertainty.…` of a learned weighting, `objective.…`
    role: Role = "weight"
    layer: int = 0
    blocks: int = 0
    fan_in: float = 1.0


class Parameters(Sequence["nn.Parameter"]):
    """Parameters in the order of the network: a sequence of tensors, of which `named` tells names, roles and layers."""

    def __init__(self, named: Iterable[Trained]) -> None:
        self.named = tuple(named)

    @classmethod
    def of(cls, parameters: Iterable[nn.Parameter]) -> Parameters:
        """Return the parameters as they are if they have names, else without."""
        return parameters if isinstance(parameters, cls) else cls(map(Trained, parameters))

    def where(self, keep: Callable[[Trained], bool]) -> Parameters:
        """Return those for which `keep` holds, in the same order."""
        return Parameters(one for one in self.named if keep(one))

    @overload
    def __getitem__(self, index: int) -> nn.Parameter: ...

    @overload
    def __getitem__(self, index: slice) -> list[nn.Parameter]: ...

    def __getitem__(self, index: int | slice) -> nn.Parameter | list[nn.Parameter]:
        """Return the tensor at a place, or those of a slice."""
        if isinstance(index, slice):
            return [one.parameter for one in self.named[index]]
        return self.named[index].parameter

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.named)


def trained_parameters(
    network: nn.Module,
    beside: Mapping[str, nn.Module | None] | None = None,
    at_base: Mapping[str, Sequence[int]] | None = None,
) -> Parameters:
    """Return what is trained of a network, and of modules beside it: each once, in the order of registration.

    beside: {prefix of its names: module or None}, such as what a weighting or an objective has built. A
    parameter between two blocks counts to the block before it. at_base: shapes of parameters at the base width of muP,
    by name; None: there is none. Raises ValueError where one is missing there.
    """
    blocks = list(network_blocks(network).values())
    block_of = {id(p): place for place, block in enumerate(blocks, 1) for p in block.parameters()}
    parameters = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    last = max((i for i, (_, p) in enumerate(parameters) if id(p) in block_of), default=-1)

    def entries() -> Iterator[Trained]:
        layer = 0
        for i, (name, p) in enumerate(parameters):
            layer = block_of.get(id(p), layer if i < last else len(blocks) + 1)
            role = _role(network, name, p)
            yield Trained(p, name, role, layer, len(blocks), _fan_in(name, role, p, at_base))
        for prefix, module in (beside or {}).items():
            for name, p in module.named_parameters(prefix=prefix) if module is not None else ():
                if p.requires_grad:
                    role = "bias" if p.ndim < 2 else "weight"
                    yield Trained(p, name, role, len(blocks) + 1, len(blocks), _fan_in(name, role, p, at_base))

    return Parameters(entries())


def _fan_in(name: str, role: Role, parameter: nn.Parameter, at_base: Mapping[str, Sequence[int]] | None) -> float:
    if at_base is None or role != "weight" or name.startswith("uncertainty."):
        return 1.0
    if name not in at_base:
        raise ValueError(f"at its base width the network has no parameter {name!r}: the names have to be the same")
    return prod(parameter.shape[1:]) / prod(at_base[name][1:])


def _role(network: nn.Module, name: str, parameter: nn.Parameter) -> Role:
    from torch import nn

    above, _, own = name.rpartition(".")
    owner = network.get_submodule(above)
    if "norm" in type(owner).__name__.lower():
        return "norm"
    if parameter.ndim < 2:
        return "bias"
    is_table = (
        isinstance(owner, nn.Embedding) or "embedding" in type(owner).__name__.lower() or not own.endswith("weight")
    )
    return "embedding" if is_table else "weight"
