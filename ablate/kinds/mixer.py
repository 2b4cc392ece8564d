"""mixer: what lets the tokens of a sequence see each other, such as self-attention."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, runtime_checkable

from ablate.kinds.conditioning import Conditioning, Site
from ablate.kinds.positions import Positions
from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import Tensor, nn


class Carried(NamedTuple):
    """What the mixer of an earlier block has left for the tokens that a later one sees."""

    values: Tensor  # (B, L + K, F)
    known: Tensor | None = None  # (B, L + K, 1) bool: which tokens passed through that block; None: all


class Layout(NamedTuple):
    """How the tokens of a sequence (B, L + N, D) lie: L tokens without a place, then those of the patches in rows."""

    joined: int  # L: registers, and tokens of the condition
    grid: tuple[int, int] | None  # (rows, columns) of the patches; None: some have left, or were merged
    # cos and sin by which queries and keys turn, each (L + N, d/2) or (B, 1, L + N, d/2), d the width of a head
    rotation: tuple[Tensor, Tensor] | None = None
    patches: Tensor | None = None  # (B, K), the numbers of those that are there; None: all, in their order
    carried: Mapping[str, Carried] = {}  # what mixers of earlier blocks have left for these tokens, by name
    left: dict[str, Tensor] | None = None  # where `leave` puts it; None: this network hands nothing on

    def select(self, index: Tensor) -> Layout:
        """Return the layout of some patches behind the same L tokens. index: (B, K), numbers of patches from 0."""
        if self.rotation is None:
            return Layout(self.joined, None, None, index)
        cos, sin = (_select(angles, self.joined, index) for angles in self.rotation)
        return Layout(self.joined, None, (cos, sin), index)

    def leave(self, name: str, values: Tensor) -> None:
        """Leave numbers of each token, (B, L + K, F), for the mixers of later blocks; the last ones of a name count."""
        if self.left is not None:
            self.left[name] = values


def _select(angles: Tensor, joined: int, index: Tensor) -> Tensor:
    """Return (B, 1, L + K, d/2) of (L + N, d/2)."""
    import torch

    front = angles[:joined].expand(len(index), -1, -1)
    return torch.cat([front, angles[joined:][index]], dim=1)[:, None]


class Carry:
    """What mixers hand on to those of later blocks, token by token: a network makes one for each of its passes.

    A routing may take patches away, or bring them back, between two blocks: each block finds what was left for the
    tokens that it sees. Blocks get tensors, and keep no hold of what the pass has kept, so that activation
    checkpointing computes them again from what they were given.
    """

    def __init__(self, patches: int) -> None:
        self._patches = patches  # N
        self._kept: dict[str, Carried] = {}

    def through(self, block: Callable[[Tensor, Layout], Tensor], tokens: Tensor, layout: Layout) -> Tensor:
        """Take the tokens through a block, (B, L + K, D) -> the same, and keep what it leaves for later ones.

        Raises ValueError where what it leaves is not of each token.
        """
        left: dict[str, Tensor] = {}
        carried = {name: self._seen(one, layout) for name, one in self._kept.items()}
        out = block(tokens, layout._replace(carried=carried, left=left))
        for name, values in left.items():
            if values.ndim != 3 or values.shape[:2] != tokens.shape[:2]:
                shapes = f"{tuple(values.shape)} for tokens {tuple(tokens.shape)}"
                raise ValueError(f"what a block leaves as {name!r} is of each token, (B, L + K, F); not {shapes}")
            self._kept[name] = self._of_all(values, layout)
        left.clear()  # a block that is computed again holds its layout
        return out

    def _seen(self, one: Carried, layout: Layout) -> Carried:
        if layout.patches is None:
            return one
        values = _take(one.values, layout.joined, layout.patches)
        return Carried(values, None if one.known is None else _take(one.known, layout.joined, layout.patches))

    def _of_all(self, values: Tensor, layout: Layout) -> Carried:
        """Return what was left by some of the patches as that of all."""
        import torch

        joined, index = layout.joined, layout.patches
        if index is None:
            if values.shape[1] != joined + self._patches:
                count = values.shape[1] - joined
                raise ValueError(f"{count} patches of {self._patches}, and the layout does not say which: use select()")
            return Carried(values)

        def put(front: Tensor, some: Tensor) -> Tensor:
            every = some.new_zeros(len(some), self._patches, some.shape[2])
            return torch.cat([front, every.scatter(1, index[..., None].expand_as(some), some)], dim=1)

        known = torch.ones_like(values[..., :1], dtype=torch.bool)
        return Carried(
            put(values[:, :joined], values[:, joined:]),
            put(known[:, :joined], known[:, joined:]),
        )


def _take(values: Tensor, joined: int, index: Tensor) -> Tensor:
    """Return (B, L + K, F) of (B, L + N, F)."""
    import torch

    some = values[:, joined:].gather(1, index[..., None].expand(-1, -1, values.shape[2]))
    return torch.cat([values[:, :joined], some], dim=1)


def no_norm() -> None:
    """Build no norm of queries and keys."""


@dataclass(frozen=True)
class MixerSite(Site):
    """The place of a mixer in the network, and what the network says of its queries and keys."""

    zero_init: bool = False  # whether the mixer's last layer starts at zero, so that it adds nothing
    bias: bool = True  # whether the layers that make queries, keys and values have biases
    # Builds a module (q, k) -> (q, k) over (B, heads, N, d), d = width/heads, or gives None: as they are.
    query_key_norm: Callable[[], nn.Module | None] = no_norm


@runtime_checkable
class Projects(Protocol):
    """What the module of a mixer that says "projections" has beside its forward pass."""

    def projections(self) -> Mapping[str, Tensor]:
        """Return the matrices that make queries, keys and values, and the one that takes what is attended back.

        {"query", "key", "value", "output": (outputs, inputs)}: parameters, or views into them, so that what is written
        there is what the module begins with. Two of them may be the same.
        """
        ...


class Mixer(Component):
    """Builds the first branch of a transformer's block, or the attention of a U-Net: tokens see each other.

    A mixer that reads `layout.grid` as that of all patches says so in `excludes()`: "routed_tokens" is there where a
    network's routing takes patches away. One that leaves something for those of later blocks (`layout.leave`), and
    finds it there (`layout.carried`), requires "carry": a network that hands it on. One of queries, keys and values
    whose module tells their matrices (`Projects`) says "projections" in `provides()`: initialisations ask for them.
    """

    kind: ClassVar[str] = "mixer"
    # What it reads of its site and of the layout; a study is told of what it sets beside a mixer that does not read it.
    reads: ClassVar[frozenset[str]] = frozenset({"heads", "bias", "query_key_norm", "rotation"})

    @abstractmethod
    def build(self, site: MixerSite) -> nn.Module:
        """Build a module `forward(x, layout)`.

        x: (B, L + N, site.width), normalised and modulated; layout: a `Layout`. Returns the same shape, which is added
        to the features that pass by. `site.resolution` is (rows, columns) of the patches. A network begins the linear
        layers below by its own initialisation. A probe sees queries and keys where a submodule `query_key` passes
        them, as (B, heads, N, d).
        """


def unread_options(
    fields: Mapping[str, Sequence[str]], mixer: Mixer, conditioning: Conditioning, positions: Positions | None = None
) -> dict[str, str]:
    """Return the fields of a network that its parts do not read, {field: why}.

    fields: of each word of `Mixer.reads` the fields that say it. Heads may be the conditioning's too, and positions
    that are added to the tokens are read by every mixer.
    """
    read = set(mixer.reads)
    if conditioning.reads_heads:
        read.add("heads")
    if positions is not None and not positions.rotates_only:
        read.add("rotation")
    unread = {field: word for word, names in fields.items() if word not in read for field in names}
    return {
        field: f"attention {mixer.name!r} does not {'turn queries and keys' if word == 'rotation' else 'read it'}"
        for field, word in unread.items()
    }
