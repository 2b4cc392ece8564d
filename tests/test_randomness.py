"""Every draw is a function of (seed, stream, counter), and of nothing else."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.randomness import Draws, mix, seed_everything

CPU = torch.device("cpu")


def normal(draws: Draws, stream: str, counter: int) -> torch.Tensor:
    return torch.randn(8, generator=draws.at(stream, counter))


def test_entries_do_not_depend_on_what_was_drawn_before() -> None:
    one, two = Draws(3, CPU), Draws(3, CPU)
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
    draws = Draws(0, CPU)
    values = torch.stack([torch.randn(2000, generator=draws.at("noise", i)) for i in range(6)])
    off = torch.corrcoef(values) - torch.eye(6)
    assert float(off.abs().max()) < 0.1  # 4.5 standard errors
    assert abs(float(values.mean())) < 0.04
    assert abs(float(values.std()) - 1) < 0.04


@given(st.integers(1, 50), st.lists(st.integers(1, 70), min_size=1, max_size=12), st.integers(0, 5))
def test_order_is_one_endless_sequence_of_permutations(total: int, counts: list[int], seed: int) -> None:
    draws, seen = Draws(seed, CPU), []
    for count in counts:
        part = draws.order(len(seen), count, total).tolist()
        assert len(part) == count
        seen.extend(part)
    assert seen == Draws(seed, CPU).order(0, len(seen), total).tolist()
    for begin in range(0, len(seen) - total + 1, total):
        assert sorted(seen[begin : begin + total]) == list(range(total))


def test_orders_differ_between_seeds_and_epochs() -> None:
    one = Draws(0, CPU).order(0, 200, 100)
    assert not torch.equal(one[:100], one[100:])
    assert not torch.equal(one, Draws(1, CPU).order(0, 200, 100))


def test_global_generator_is_set() -> None:
    seed_everything(1, "dropout", 7)
    one = torch.rand(4)
    torch.rand(3)
    seed_everything(1, "dropout", 7)
    assert torch.equal(one, torch.rand(4))
