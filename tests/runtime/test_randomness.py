"""Every draw is a function of (seed, stream, number of the image), and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.evaluation.sampling import random_labels, sample_labels
from ablate.kinds.solver import noise_like
from ablate.runtime.randomness import RandomStreams, SampleGenerator, block_size, mix, seed_everything

CPU = torch.device("cpu")


def normal(draws: RandomStreams, stream: str, counter: int) -> torch.Tensor:
    return torch.randn(8, generator=draws.at(stream, counter))


def test_entries_do_not_depend_on_what_was_drawn_before() -> None:
    one, two = RandomStreams(3, CPU), RandomStreams(3, CPU)
    for counter in (5, 2, 9):
        normal(one, "noise", counter)
    torch.rand(3)
    assert torch.equal(normal(one, "noise", 4), normal(two, "noise", 4))


@given(st.integers(0, 2**31), st.integers(0, 10**12), st.integers(0, 2**31), st.integers(0, 10**12))
def test_mix_tells_its_arguments_apart(seed: int, counter: int, other: int, another: int) -> None:
    assert 0 <= mix(seed, "noise", counter) < 2**63
    assert mix(seed, "noise", counter) != mix(seed, "levels", counter)
    if (seed, counter) != (other, another):
        assert mix(seed, "noise", counter) != mix(other, "noise", another)


def test_mix_is_the_same_in_every_process() -> None:
    assert mix(0, "noise", 0) == 9144587515262914129


def test_streams_look_independent() -> None:
    draws = RandomStreams(0, CPU)
    values = torch.stack([torch.randn(2000, generator=draws.at("noise", i)) for i in range(6)])
    off = torch.corrcoef(values) - torch.eye(6)
    assert float(off.abs().max()) < 0.1  # 4.5 standard errors
    assert abs(float(values.mean())) < 0.04
    assert abs(float(values.std()) - 1) < 0.04


@given(st.integers(1, 50), st.lists(st.integers(1, 70), min_size=1, max_size=12), st.integers(0, 5))
def test_order_is_one_endless_sequence_of_permutations(total: int, counts: list[int], seed: int) -> None:
    draws, seen = RandomStreams(seed, CPU), []
    for count in counts:
        part = draws.order(len(seen), count, total).tolist()
        assert len(part) == count
        seen.extend(part)
    assert seen == RandomStreams(seed, CPU).order(0, len(seen), total).tolist()
    for begin in range(0, len(seen) - total + 1, total):
        assert sorted(seen[begin : begin + total]) == list(range(total))


def test_orders_differ_between_seeds_and_epochs() -> None:
    one = RandomStreams(0, CPU).order(0, 200, 100)
    assert not torch.equal(one[:100], one[100:])
    assert not torch.equal(one, RandomStreams(1, CPU).order(0, 200, 100))


def test_global_generator_is_set() -> None:
    seed_everything(1, "dropout", 7)
    one = torch.rand(4)
    torch.rand(3)
    seed_everything(1, "dropout", 7)
    assert torch.equal(one, torch.rand(4))


@settings(max_examples=30)
@given(st.integers(0, 300), st.lists(st.integers(1, 200), min_size=1, max_size=5), st.integers(0, 5))
def test_draws_of_an_image_do_not_depend_on_the_batch_it_comes_in(first: int, sizes: list[int], seed: int) -> None:
    total, cut = sum(sizes), RandomStreams(seed, CPU)
    shape = (total, 2, 3)
    whole = RandomStreams(seed, CPU).normal("noise", first, shape)
    levels = RandomStreams(seed, CPU).uniform("levels", first, total, torch.float64)
    starts = [first + sum(sizes[:i]) for i in range(len(sizes))]
    parts = [
        (cut.normal("noise", at, (size, 2, 3)), cut.uniform("levels", at, size, torch.float64))
        for at, size in zip(starts, sizes, strict=True)
    ]
    assert torch.equal(torch.cat([noise for noise, _ in parts]), whole)
    assert torch.equal(torch.cat([uniform for _, uniform in parts]), levels)


@pytest.mark.parametrize("batch", [1, 60, 250, 333])
def test_what_a_solver_draws_for_an_image_does_not_depend_on_the_batch(batch: int) -> None:
    def drawn(size: int) -> torch.Tensor:
        rows = []
        for first in range(0, 600, size):
            shape = (min(size, 600 - first), 3)
            generator = SampleGenerator.of(7, first, shape, CPU)
            latents = generator.normal(shape, torch.float32)
            rows.append(torch.stack([latents, *(noise_like(latents, generator) for _ in range(2))], dim=1))
        return torch.cat(rows)

    assert torch.equal(drawn(batch), drawn(600))


def test_streams_and_entries_of_one_can_be_held_together() -> None:
    draws = RandomStreams(0, CPU)
    one, two, three = draws.at("noise", 0), draws.at("levels", 0), draws.at("noise", 1)
    assert torch.equal(torch.randn(4, generator=three), normal(RandomStreams(0, CPU), "noise", 1)[:4])
    assert torch.equal(torch.randn(4, generator=one), normal(RandomStreams(0, CPU), "noise", 0)[:4])
    assert torch.equal(torch.randn(4, generator=two), normal(RandomStreams(0, CPU), "levels", 0)[:4])


def test_large_images_come_in_smaller_blocks() -> None:
    assert block_size(128, (3, 32, 32)) == 128
    assert block_size(128, (3, 512, 512)) == 5
    assert block_size(128, (10**9,)) == 1


@given(st.lists(st.integers(0, 500), min_size=1, max_size=20).filter(any), st.integers(1, 400))
def test_samples_have_the_training_images_shares_of_the_classes(counts: list[int], samples: int) -> None:
    of = np.asarray(counts)
    labels = sample_labels(of, samples)
    drawn = np.bincount(labels, minlength=len(of))
    assert len(labels) == samples
    assert np.all(np.abs(drawn - samples * of / of.sum()) < 1 + 1e-9)
    assert not drawn[of == 0].any()


def test_classes_of_one_size_take_turns() -> None:
    assert sample_labels(np.full(10, 450), 1000).tolist() == [i % 10 for i in range(1000)]
    assert len(set(np.diff(sample_labels(np.full(10, 450), 5)))) == 1  # not the first five


def test_random_labels_follow_the_shares_and_are_the_same_however_many_are_drawn():
    counts = np.array([1, 0, 3, 6])
    many = random_labels(counts, 20_000, seed=3)
    found = np.bincount(many, minlength=4) / 20_000
    assert np.abs(found - counts / 10).max() < 4 * 0.5 / np.sqrt(20_000) and found[1] == 0
    assert (random_labels(counts, 500, seed=3) == many[:500]).all()
    assert (random_labels(counts, 500, seed=4) != many[:500]).any()
    spread = [np.bincount(random_labels(np.ones(4), 400, seed), minlength=4).std() for seed in range(20)]
    assert 6 < np.mean(spread) < 11, "as of independent draws, sqrt(400·3/16) = 8.7"
