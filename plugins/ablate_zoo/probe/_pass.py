"""What a forward pass shows: activations, attention logits, skips, and the loss at each noise level."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ablate.api import PassObserver, Readings, Seen
from ablate_zoo.probe._sites import first_tensor, mean_square, modules_named, place, sites

LOGITS = 2**24  # so many attention logits at a time: 64 MiB


class Hooked(PassObserver):
    """Collects 0-d tensors by site while modules run; the depth of a site is its place among all of them."""

    def __init__(self) -> None:
        self.entries: dict[str, list[Any]] = {}  # by site, an entry a part of the batch
        self.depths: dict[str, int] = {}

    def watch(self, modules: dict[str, nn.Module], look: Callable[..., None]) -> Sequence[RemovableHandle]:
        """Hooks that call look(site, depth, module, inputs, output)."""
        return [
            module.register_forward_hook(partial(look, name, depth))
            for depth, (name, module) in enumerate(modules.items())
        ]

    def add(self, site: str, depth: int, entry: Any) -> None:
        """One more entry of a site."""
        self.entries.setdefault(site, []).append(entry)
        self.depths[site] = depth

    @abstractmethod
    def combine(self, entries: Sequence[Any]) -> Tensor:
        """All entries of a site as one 0-d tensor."""

    def read(self) -> Readings:
        """A value a site that ran."""
        entries, self.entries = self.entries, {}
        names = sorted(entries, key=self.depths.__getitem__)
        values = [self.combine(entries[name]) for name in names]
        return Readings(names, [self.depths[n] for n in names], torch.stack(values) if values else torch.zeros(0))


class ActivationVariance(Hooked):
    """The variance of all numbers that leave a block, over images, places and channels together."""

    def attach(self, network: nn.Module) -> Sequence[RemovableHandle]:
        """At every block."""
        return self.watch(sites(network), self._look)

    def _look(self, name: str, depth: int, module: nn.Module, inputs: object, output: object) -> None:
        x = first_tensor(output)
        if x is not None and x.is_floating_point():
            variance, mean = torch.var_mean(x.detach().float(), correction=0)
            self.add(place(name, x), depth, (x.numel(), mean, variance))

    def combine(self, entries: Sequence[tuple[int, Tensor, Tensor]]) -> Tensor:
        """The variance over several parts: the mean of variances, and the variance of means."""
        total = sum(n for n, _, _ in entries)
        mean = sum((m * (n / total) for n, m, _ in entries), start=torch.zeros_like(entries[0][1]))
        parts = ((v + (m - mean).square()) * (n / total) for n, m, v in entries)
        return sum(parts, start=torch.zeros_like(mean))


class AttentionLogits(Hooked):
    """The largest |logit| of an attention, over heads, queries, keys and some images."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images
        self._seen: dict[str, int] = {}

    def attach(self, network: nn.Module) -> Sequence[RemovableHandle]:
        """At every submodule that is called `query_key`."""
        self._seen = {}
        products = modules_named(network, "query_key")
        return self.watch({path.rpartition(".")[0]: module for path, module in products.items()}, self._look)

    def _look(self, name: str, depth: int, module: nn.Module, inputs: object, output: tuple[Tensor, Tensor]) -> None:
        remaining = self.images - self._seen.get(name, 0)
        q, k = (x.detach()[:remaining].float() for x in output)  # (B, heads, N, d), (B, heads, M, d)
        if not len(q):
            return
        self._seen[name] = self._seen.get(name, 0) + len(q)
        scale = getattr(module, "scale", None)
        scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
        at_once = max(1, LOGITS // (q[0, ..., 0].numel() * k.shape[-2]))
        with torch.autocast(q.device.type, enabled=False):
            for queries, keys in zip(q.split(at_once), k.split(at_once), strict=True):
                low, high = torch.aminmax(queries @ keys.mT * scale)
                self.add(name, depth, torch.maximum(-low, high))

    def combine(self, entries: Sequence[Tensor]) -> Tensor:
        """The largest."""
        return torch.stack(list(entries)).amax()


class SkipRatio(Hooked):
    """|s| / |d| at a fusion: the root mean square of the skip feature over that of the decoder's."""

    def attach(self, network: nn.Module) -> Sequence[RemovableHandle]:
        """At every submodule that is called `fusion`: it takes (d, s, ...)."""
        return self.watch(modules_named(network, "fusion"), self._look)

    def _look(self, name: str, depth: int, module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        d, s = inputs[:2]
        self.add(place(name, d), depth, torch.stack([mean_square(s), mean_square(d)]) * len(d))

    def combine(self, entries: Sequence[Tensor]) -> Tensor:
        """Both squares over all images, then their ratio."""
        skip, decoder = torch.stack(list(entries)).sum(dim=0)
        return (skip / decoder).sqrt()


class LossByLevel(PassObserver):
    """The loss as it is trained on, and the mean squared error of x0, at each noise level of the batch."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []
        self._levels: list[Tensor] = []  # of the first pass only: all passes see the same
        self._x: list[float] = []
        self._group: Tensor | None = None  # the level of each image, and how many images each level has
        self._counts = torch.zeros(0)

    def take(self, seen: Seen) -> None:
        """The errors of each image, (2, B)."""
        x0 = seen.process.denoised(seen.prediction, seen.noised.x, seen.noised.level).x0
        error = (x0 - seen.noised.x0).square().flatten(1).mean(dim=1)
        self._parts.append(torch.stack([seen.loss.float(), error.float()]))
        if self._group is None:
            self._levels.append(seen.noised.level.log_snr)

    def read(self) -> Readings:
        """The means over the images of each level, in the order of log SNR."""
        errors, self._parts = torch.cat(self._parts, dim=1), []
        if self._group is None:  # once a training: this waits for the device
            levels, self._group, self._counts = torch.cat(self._levels).unique(return_inverse=True, return_counts=True)
            self._x, self._levels = levels.tolist(), []
        sums = errors.new_zeros(2, len(self._x)).index_add_(1, self._group, errors)
        means = sums / self._counts
        return Readings(["loss"] * len(self._x) + ["x0_error"] * len(self._x), self._x * 2, means.flatten())
