"""What optimizers with weight decay share: whom the decay spares, rates by layer, whether torch has one kernel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ablate.api import Added, Course, Optimizer, Parameters, Range, Trained

if TYPE_CHECKING:
    import torch

_FUSED = {"cpu", "cuda", "mps", "xpu"}  # devices for which torch has one kernel for the whole step


class Decaying(Optimizer):
    """An optimizer that also pulls weights towards zero, and may train parts of the network at rates of their own.

    `layer_decay` is layer-wise learning-rate decay (Clark et al. 2020, "ELECTRA", appendix A; Bao et al. 2022, "BEiT"):
    the rate of a layer is `layer_decay` to the number of layers behind it, as `Trained` counts them. What stands before
    the first block is the first layer, and what stands behind the last block trains at the full rate. A network
    without blocks has one layer. `embedding_rate` and `vector_rate` are the rates of tables, and of biases, gains and
    the like, over that of matrices. All of them multiply.
    """

    weight_decay: Annotated[float, Field(ge=0, le=10), Range(1e-4, 0.3, log=True)] = 0.0
    decay_vectors: bool = False  # biases, gains of norms and the like decay too
    decay_embeddings: Annotated[bool, Added(before=True)] = True  # tables of classes and positions decay too
    layer_decay: Annotated[float, Field(gt=0, le=1), Range(0.5, 1.0), Added(before=1.0)] = 1.0
    """rate of a layer over that of the next one"""
    embedding_rate: Annotated[float, Field(gt=0, le=1000), Range(0.1, 10, log=True), Added(before=1.0)] = 1.0
    """of tables of classes and positions, over `lr`"""
    vector_rate: Annotated[float, Field(gt=0, le=1000), Range(0.1, 10, log=True), Added(before=1.0)] = 1.0
    """of biases, gains of norms and the like, over `lr`"""

    def provides(self) -> frozenset[str]:
        """Weight decay, where there is some."""
        return frozenset({"weight_decay"} if self.weight_decay else ())

    def idle(self, course: Course) -> Iterator[str]:
        """Nothing decays, and some are spared."""
        yield from super().idle(course)
        if not self.weight_decay and not self.decay_embeddings:
            yield "decay_embeddings: nothing decays, as weight_decay is 0"

    def groups(self, parameters: Iterable[torch.nn.Parameter]) -> list[dict[str, Any]]:
        """The parameters as torch's groups, of one weight decay and one share of the rate each; without empty ones."""
        groups: dict[tuple[bool, float, float], list[torch.nn.Parameter]] = {}
        for one in Parameters.of(parameters).named:
            groups.setdefault((self._decays(one), self._rate_share(one), one.fan_in), []).append(one.parameter)
        by_decay = sorted(groups.items(), key=lambda group: not group[0][0])  # those that decay come first
        has_shares = any(share != 1 or fan_in != 1 for _, share, fan_in in groups)
        return [
            {
                "params": members,
                "weight_decay": self.weight_decay * fan_in if decays else 0.0,
                **({"rate_share": share / fan_in} if has_shares else {}),
            }
            for (decays, share, fan_in), members in by_decay
        ]

    def _decays(self, one: Trained) -> bool:
        if not self.weight_decay:
            return True
        if one.role == "embedding" and not self.decay_embeddings:
            return False
        return self.decay_vectors or one.parameter.ndim >= 2

    def _rate_share(self, one: Trained) -> float:
        share = self.layer_decay ** (one.blocks + 1 - one.layer) if one.blocks else 1.0
        if one.role == "embedding":
            return share * self.embedding_rate
        return share * self.vector_rate if one.parameter.ndim < 2 else share


def fused(groups: Sequence[dict[str, Any]]) -> bool:
    """Return whether every parameter is where torch's fused kernels work; elsewhere foreach is torch's own default."""
    return all(p.device.type in _FUSED and p.is_floating_point() for group in groups for p in group["params"])


def plain(groups: Sequence[dict[str, Any]]) -> bool:
    """Return whether every parameter is a tensor of torch's own, and not such as a shard over several devices."""
    import torch

    return all(type(p.data) is torch.Tensor for group in groups for p in group["params"])


class AdamLike(Decaying):
    """An optimizer with two running averages of each gradient (Kingma & Ba 2015).

    Of a network with a base width (muP) the rate of a layer goes with 1/(the width of its input), and its weight decay
    with that width, so that rate times decay stays (Yang et al. 2022, table 3).
    """

    # at 1e-4 a run of some ten thousand images hardly trains (benchmarks/short_run_defaults.py)
    lr: Annotated[float, Field(gt=0, le=10), Range(1e-5, 1e-2, log=True)] = 1e-3
    beta1: Annotated[float, Field(ge=0, lt=1), Range(0.8, 0.95)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1), Range(0.9, 0.9999)] = 0.999
    eps: Annotated[float, Field(gt=0, le=1), Range(1e-10, 1e-6, log=True)] = 1e-8

    def provides(self) -> frozenset[str]:
        """Rates that follow the width: a step of Adam's has one size, whatever the gradient's is. Each number's own."""
        return super().provides() | {"rates_by_width", "stackable"}

    @property
    def betas(self) -> tuple[float, float]:
        """As torch takes them."""
        return self.beta1, self.beta2
