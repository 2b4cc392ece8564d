"""backbone: the network, (noisy image, noise label, class label) -> prediction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from ablate.kinds.embedder import Embedder
from ablate.spec.component import Component, InputSpec

if TYPE_CHECKING:
    from torch import nn


class Backbone(Component):
    """Builds the denoising network of a candidate.

    Capabilities that other components look for: "null_class" (takes the label `classes` as "no
    class"), "learned_variance" (gives 2·C channels, the second half for Σ), "second_label" (takes a
    second noise label), and whatever its own slots need of it, such as "tokens" or "feature_maps" for a
    conditioning.
    """

    kind: ClassVar[str] = "backbone"

    def reads(self, setting: InputSpec) -> frozenset[str]:
        """Return the names of the conditions that it reads: those of its embedders."""
        embedders = (part for _, part in self.parts() if isinstance(part, Embedder))
        return frozenset(part.condition(setting).name for part in embedders if part.refuse(setting) is None)

    @abstractmethod
    def build(self, setting: InputSpec) -> nn.Module:
        """Build a module `forward(x, noise, labels)`.

        x: (B, C, H, W) float; noise: (B,) float, the label c_noise of the noise level; labels:
        (B,) int64 in [0, classes], where `classes` is the null class, or None for data without
        labels; where the setting has further conditions, a record of them (`Conditions`), of which any may be missing.
        With "second_label" a fourth argument may follow, (B,) float, the label of the level
        towards which it predicts; without it, that is the first label itself. Returns (B, C, H, W), or
        (B, 2·C, H, W) with "learned_variance". It draws its initial weights from torch's global
        generator, and can be built on the meta device. What its blocks are, it may say itself: see
        `network_blocks`. Modules whose weights have to keep something are told of each step: see `Constrained`.
        """

    def at_base_width(self) -> Backbone | None:
        """Return the same network as wide as the base from which its widths count; None: it has none.

        Under the maximal update parametrization (muP; Yang et al. 2022) initial weights and rates follow the width over
        that of the base. The network begins its weights so, and requires "rates_by_width" of the optimizer, which is
        told how much wider the input of each parameter is (`Trained.fan_in`). Its parameters have the same names.
        """
        return None

    def places(self, parent: Backbone, names: Sequence[str]) -> Mapping[str, str]:
        """Return {name: the parent's} of the parameters and buffers that stand at the same place in a parent's network.

        For a search whose candidates inherit weights. names: of its own network. By default those of the same name;
        names that the parent's network does not have do no harm.
        """
        return {name: name for name in names}

    def axis_parts(self, name: str, axis: int, size: int) -> tuple[int, ...] | None:
        """Return the sizes of what an axis of a parameter is made of, the outermost first, such as (3, heads, width).

        Their product is its size. Where a parent's parameter has another shape, the leading part of each is taken over;
        None, the default: then nothing is.
        """
        return None

    def pass_through(self, network: nn.Module, new: Collection[str]) -> None:
        """Begin what is new in a network so that it passes on what it is given, in place, as far as that can be.

        new: names of parameters that have no place in the parent's. By default they keep their initial weights.
        """
        return


@runtime_checkable
class Constrained(Protocol):
    """A module of a network whose weights keep something, such as their norm, whatever the optimizer does."""

    def after_step(self) -> None:
        """Bring the weights back, in place. Called after each step of the optimizer; twice is as good as once."""
        ...


def constrained(network: nn.Module) -> list[Constrained]:
    """Return the modules of a network that are to be told of each step of the optimizer."""
    return [module for module in network.modules() if isinstance(module, Constrained)]


def network_blocks(network: nn.Module) -> dict[str, nn.Module]:
    """Return the blocks of a network in their order, {name: module}, each once.

    They are what probes show over depth, and what activation checkpointing computes again. A network
    may name them itself, by a method `sites()` that gives {name: module} in the order of computation.
    Otherwise they are what it repeats: the members of its outermost `nn.ModuleList`s, such as
    `blocks.0`; a member without a forward pass of its own (another list, a dict) is looked into.
    Empty where it repeats nothing.
    """
    sites = getattr(network, "sites", None)
    blocks: Mapping[str, nn.Module] = sites() if callable(sites) else dict(_repeated(network, False))
    first: dict[int, str] = {}
    for name, block in blocks.items():
        first.setdefault(id(block), name)
    return {name: block for name, block in blocks.items() if first[id(block)] == name}


def _repeated(module: nn.Module, within_list: bool, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    from torch import nn

    for name, child in module.named_children():
        if within_list and type(child).forward is not nn.Module.forward:
            yield f"{prefix}{name}", child
        else:
            yield from _repeated(child, within_list or isinstance(child, nn.ModuleList), f"{prefix}{name}.")
