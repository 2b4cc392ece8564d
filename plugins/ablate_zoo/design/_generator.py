"""A guided diffusion over encoded candidates as a sampler of Optuna's (after DiffusionNAG, An et al. 2024).

Its network is small and trained anew for each candidate, on what Optuna's study holds and from a seed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor
from torch.nn import functional as F

from ablate.api import CUT_SHORT, Denoised, Schedule, Solver
from ablate_zoo.design._evolution import index_of, order

WIDTH, RATE, WAVES = 64, 0.01, 4
LEAST = 1e-3  # of α and σ, which divide


class Encoding:
    """Candidates as vectors: a choice is one-hot of ±1, a range one number in [-1, 1]; what does not exist is 0."""

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self.distributions = {name: d for name, d in sorted(distributions.items()) if not d.single()}
        self._places: dict[str, slice] = {}
        size = 0
        for name, d in self.distributions.items():
            count = len(d.choices) if isinstance(d, CategoricalDistribution) else 1
            self._places[name] = slice(size, size + count)
            size += count
        self.size = size

    def encode(self, params: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return the vector, (size,), of a candidate's choices."""
        vector = np.zeros(self.size, dtype=np.float32)
        for name, d in self.distributions.items():
            if name in params:
                vector[self._places[name]] = _numbers(params[name], d)
        return vector

    def decode(self, vector: NDArray[np.float32]) -> dict[str, Any]:
        """Return the choices that are nearest to a vector, all of them: which exist follows from the others."""
        return {name: _nearest(vector[self._places[name]], d) for name, d in self.distributions.items()}


def _numbers(value: Any, d: BaseDistribution) -> NDArray[np.float32]:
    if isinstance(d, CategoricalDistribution):
        one_hot = -np.ones(len(d.choices), dtype=np.float32)
        one_hot[index_of(value, d.choices)] = 1.0
        return one_hot
    low, high = _ends(d)
    return np.array([2 * (_scaled(float(value), d) - low) / (high - low) - 1], dtype=np.float32)


def _nearest(numbers: NDArray[np.float32], d: BaseDistribution) -> Any:
    if isinstance(d, CategoricalDistribution):
        return d.choices[int(numbers.argmax())]
    if not isinstance(d, FloatDistribution | IntDistribution):
        raise TypeError(f"a generator knows no {d}")
    low, high = _ends(d)
    place = low + (float(np.clip(numbers[0], -1, 1)) + 1) / 2 * (high - low)
    value = math.exp(place) if d.log else place
    if d.step is not None and not d.log:
        value = d.low + round((value - d.low) / d.step) * d.step
    value = min(max(value, d.low), d.high)
    return round(value) if isinstance(d, IntDistribution) else value


def _scaled(value: float, d: Any) -> float:
    return math.log(value) if d.log else value


def _ends(d: Any) -> tuple[float, float]:
    return _scaled(float(d.low), d), _scaled(float(d.high), d)


class Network:
    """A multilayer perceptron of a noisy vector and its time: (B, D), (B,) -> (B, outputs); two hidden layers."""

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator) -> None:
        sizes = [inputs + 2 * WAVES, WIDTH, WIDTH, outputs]
        self.weights = [
            (torch.randn(b, a, generator=generator) / math.sqrt(a)).requires_grad_()
            for a, b in itertools.pairwise(sizes)
        ]
        self.biases = [torch.zeros(size, requires_grad=True) for size in sizes[1:]]

    @property
    def parameters(self) -> list[Tensor]:
        """All that is trained."""
        return [*self.weights, *self.biases]

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Compute the output."""
        angles = t[:, None] * math.pi * 2.0 ** torch.arange(WAVES)
        h = torch.cat([x, angles.sin(), angles.cos()], dim=1)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = F.silu(F.linear(h, weight, bias))
        return F.linear(h, self.weights[-1], self.biases[-1])


class GuidedDiffusion:
    """A diffusion over vectors x0 (N, D), and a predictor of how good a noisy one is: one network with D + 1 outputs.

    goodness: (N,), standardised. The denoiser predicts x0; the gradient of the predictor moves what it predicts.
    """

    def __init__(self, x0: Tensor, goodness: Tensor, schedule: Schedule, fits: int, generator: torch.Generator) -> None:
        self._schedule = schedule
        self._network = Network(x0.shape[1], x0.shape[1] + 1, generator)
        optimizer = torch.optim.Adam(self._network.parameters, lr=RATE)
        wanted = torch.cat([x0, goodness[:, None]], dim=1)
        weights = torch.ones(wanted.shape[1]) / x0.shape[1]
        weights[-1] = 1.0  # the one number counts as much as the vector
        for _ in range(fits):
            t = torch.rand(len(x0), generator=generator)
            alpha, sigma = self._levels(t)
            noisy = alpha * x0 + sigma * torch.randn(x0.shape, generator=generator)
            wrong = ((self._network(noisy, t) - wanted).square() * weights).sum(dim=1).mean()
            optimizer.zero_grad()
            wrong.backward()
            optimizer.step()

    def draw(self, count: int, solver: Solver, scale: float, generator: torch.Generator) -> Tensor:
        """Draw vectors, (count, D), along `scale` times the predictor's gradient; the best by it come first."""
        size = self._network.weights[-1].shape[0] - 1
        start = solver.start(self._schedule)
        x = torch.randn(count, size, generator=generator) * start.sigma

        def denoise(x: Tensor, t: float, to: float | None = None, /) -> Denoised:
            times = torch.full((len(x),), t)
            alpha, sigma = self._levels(times)
            with torch.enable_grad():
                at = x.float().detach().requires_grad_()
                told = self._network(at, times)
                (gradient,) = torch.autograd.grad(told[:, -1].sum(), at)
            with torch.no_grad():
                noise = (x - alpha * told[:, :-1]) / sigma - scale * sigma * gradient
                return Denoised((x - sigma * noise) / alpha, noise)

        with torch.no_grad():
            for state in solver.sample(denoise, x, self._schedule, generator):
                x = state.x.float()
            values = self._network(x, torch.zeros(len(x)))[:, -1]
        return x[values.argsort(descending=True, stable=True)]

    def _levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        exact = t.double()
        alpha, sigma = self._schedule.alpha(exact), self._schedule.sigma(exact)
        return (one.clamp(min=LEAST).float()[:, None] for one in (alpha, sigma))  # type: ignore[return-value]


class GeneratorSampler(optuna.samplers.BaseSampler):
    """Proposes the best of what a guided diffusion draws, as soon as there are `first` candidates to learn from."""

    def __init__(
        self, first: int, draws: int, guidance: float, fits: int, schedule: Schedule, solver: Solver, seed: int
    ) -> None:
        self._first = first
        self._draws = draws
        self._guidance = guidance
        self._fits = fits
        self._schedule = schedule
        self._solver = solver
        self._seed = seed
        self._chance = optuna.samplers.RandomSampler(seed=seed)
        self._drawn: dict[str, Any] = {}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the choices that were drawn; none where there is nothing to learn from, or nothing new was drawn."""
        trials = study.get_trials(deepcopy=False)
        ended = [t for t in trials if t.state == TrialState.COMPLETE and t.params]
        self._drawn = {}
        if len(ended) < self._first:
            return {}
        encoding = Encoding({name: d for t in ended for name, d in t.distributions.items()})
        if not encoding.size:
            return {}
        asked = [t.params for t in trials if t.number != trial.number and t.params and CUT_SHORT not in t.user_attrs]
        for drawn in self._candidates(ended, encoding, study.directions):
            if not any(params.items() <= drawn.items() for params in asked):
                self._drawn = drawn
                return dict(encoding.distributions)
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the choices that were drawn; those that do not exist under them are not asked for."""
        return {name: self._drawn[name] for name in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a choice by chance: of the first candidates, and where nothing new was drawn."""
        return self._chance.sample_independent(study, trial, param_name, param_distribution)

    def _candidates(
        self,
        ended: Sequence[FrozenTrial],
        encoding: Encoding,
        directions: Sequence[optuna.study.StudyDirection],
    ) -> list[dict[str, Any]]:
        """Return what was drawn, decoded, the best first."""
        generator = torch.Generator().manual_seed(self._seed)
        x0 = torch.from_numpy(np.stack([encoding.encode(t.params) for t in ended]))
        goodness = torch.empty(len(ended))
        goodness[order(ended, directions)] = torch.linspace(1.7, -1.7, len(ended))  # about unit variance
        diffusion = GuidedDiffusion(x0, goodness, self._schedule, self._fits, generator)
        drawn = diffusion.draw(self._draws, self._solver, self._guidance, generator)
        return [encoding.decode(vector) for vector in drawn.numpy()]
