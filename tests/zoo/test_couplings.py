"""Couplings against the assignment of their own definition, and augmentation: the noise and the draws stay paired."""

from __future__ import annotations

import itertools

import pytest
import torch
from learners import candidate, images, learner
from scipy.spatial.distance import cdist
from torch import Tensor

from ablate.discovery.catalog import catalog
from ablate.kinds.coupling import Coupling

POWER = {"immiscible": 1, "minibatch_ot": 2}  # of the distance


def coupling(name: str, **fields: object) -> Coupling:
    made = catalog().create("coupling", {"type": name, **fields})
    assert isinstance(made, Coupling)
    return made


def batch(count: int) -> tuple[Tensor, Tensor, Tensor]:
    x0, noise = torch.randn(2, count, 1, 4, 4, generator=torch.Generator().manual_seed(count))
    return x0.clamp(-1, 1), noise, torch.arange(count) % 2


def costs(name: str, x0: Tensor, noise: Tensor) -> Tensor:
    return torch.from_numpy(cdist(x0.flatten(1).double(), noise.flatten(1).double())) ** POWER[name]


@pytest.mark.parametrize("name", POWER)
def test_no_permutation_costs_less(name: str) -> None:
    """Of all 5,040 of seven images, distances in float64; the two differ in the power of the distance."""
    x0, noise, labels = batch(7)
    table = costs(name, x0, noise)
    order = coupling(name).order(x0, noise, labels)
    best = min(sum(float(table[i, p]) for i, p in enumerate(one)) for one in itertools.permutations(range(7)))
    assert sum(float(table[i, p]) for i, p in enumerate(order.tolist())) == pytest.approx(best)


def test_immiscible_and_optimal_transport_are_two() -> None:
    """The sum of distances and that of their squares have other optima."""
    orders = {name: [coupling(name).order(*batch(n)[:2], None).tolist() for n in range(20, 40)] for name in POWER}
    assert orders["immiscible"] != orders["minibatch_ot"]


@pytest.mark.parametrize("name", POWER)
def test_within_a_class_noise_stays_with_the_class(name: str) -> None:
    x0, noise, labels = batch(24)
    order = coupling(name, within_class=True).order(x0, noise, labels)
    assert torch.equal(labels[order], labels)
    for label in (0, 1):
        members = torch.where(labels == label)[0]
        alone = coupling(name).order(x0[members], noise[members], None)
        assert torch.equal(order[members], members[alone])
    assert torch.equal(coupling(name, within_class=True).order(x0, noise, None), coupling(name).order(x0, noise, None))


@pytest.mark.parametrize("name", POWER)
def test_the_same_noise_enters_and_nothing_else_changes(name: str) -> None:
    """Pairs over candidates stay: images, levels, labels and the set of noises are those of `independent`."""
    plain, _ = learner(batch=16).batch()
    coupled, _ = learner(batch=16, coupling=name).batch()
    assert torch.equal(plain.x0, coupled.x0) and torch.equal(plain.level.t, coupled.level.t)
    assert not torch.equal(plain.noise, coupled.noise)
    rows = [sorted(map(tuple, noise.flatten(1).tolist())) for noise in (plain.noise, coupled.noise)]
    assert rows[0] == rows[1]
    near = [costs(name, one.x0, one.noise).diagonal().sum() for one in (plain, coupled)]
    assert near[1] < 0.95 * near[0]


def test_the_whole_batch_is_coupled_whatever_its_parts() -> None:
    """Gradient accumulation changes nothing."""
    totals = [learner(micro=micro, coupling="immiscible") for micro in (None, 2)]
    losses = [float(who.gradients(*who.batch())) for who in totals]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for one, two in zip(*(who.parameters for who in totals), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-6)


def test_flips_are_drawn_by_the_image_whatever_the_batch() -> None:
    large, small = learner(batch=32, augmentation="flip"), learner(batch=8, augmentation="flip")
    whole, _ = large.batch()
    parts = []
    for _ in range(4):
        parts.append(small.batch()[0])
        small.steps_done += 1
    assert torch.equal(whole.x0, torch.cat([part.x0 for part in parts]))
    plain, _ = learner(batch=32).batch()
    mirrored = whole.origin.mirrored
    assert 8 < int(mirrored.sum()) < 24
    assert torch.equal(whole.x0, torch.where(mirrored[:, None, None, None], plain.x0.flip(-1), plain.x0))
    assert torch.equal(whole.noise, plain.noise)


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0.0), (1.0, 1.0)])
def test_the_probability_of_a_flip(probability: float, share: float) -> None:
    who = learner(batch=16, augmentation={"type": "flip", "probability": probability})
    assert float(who.batch()[0].origin.mirrored.double().mean()) == share


def test_augmentation_leaves_the_data_alone() -> None:
    data = images()
    before = data.stored.clone()
    config = candidate(augmentation="flip")
    config.augmentation.apply(data.take(torch.arange(8)), lambda stream: torch.zeros(8))
    assert torch.equal(data.stored, before)
