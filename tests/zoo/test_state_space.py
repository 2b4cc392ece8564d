"""State-space mixers: against the recurrence written out token by token, and in which order tokens are read."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ablate
from ablate.errors import SpecError
from ablate.kinds.mixer import Layout, Mixer, MixerSite
from ablate_zoo.mixer._mamba import selective_scan
from ablate_zoo.mixer._orders import PATHS, Sequence, zigzag
from ablate_zoo.mixer._recurrence import recurrence, scan

GRID = (3, 5)
LAYOUT = Layout(2, GRID)


def mixer(spec: Any, block: int = 0) -> nn.Module:
    component = ablate.create("mixer", spec)
    assert isinstance(component, Mixer)
    torch.manual_seed(0)
    return component.build(MixerSite(8, 8, block=block, blocks=8, resolution=GRID)).double()


def gradients(output: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    torch.manual_seed(3)
    return list(torch.autograd.grad((output * torch.randn_like(output)).sum(), inputs, retain_graph=True))


def test_a_recurrence_is_the_sum_that_it_is_written_as() -> None:
    torch.manual_seed(0)
    decay, value = (torch.rand(37, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    state, states = torch.zeros(2, 3, dtype=torch.float64), []
    for a, v in zip(decay, value, strict=True):
        state = a * state + v
        states.append(state)
    expected = torch.stack(states)
    for found in (recurrence(decay, value), scan(decay, value)):
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(gradients(found, [decay, value]), gradients(expected, [decay, value]))


@pytest.mark.parametrize("held", [1, 7, 10_000])
def test_the_selective_scan_is_the_one_written_out(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts of any length: Gu & Dao 2023, algorithm 2, with B discretised as Δ·B."""
    monkeypatch.setattr("ablate_zoo.mixer._mamba.NUMBERS", held * 2 * 3 * 4)
    torch.manual_seed(0)
    step, x = (torch.rand(19, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    a = (-torch.rand(3, 4, dtype=torch.float64)).requires_grad_()
    b, c = (torch.randn(19, 2, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    state, outputs = torch.zeros(2, 3, 4, dtype=torch.float64), []
    for t in range(19):
        state = (step[t, :, :, None] * a).exp() * state + x[t, :, :, None] * b[t, :, None]
        outputs.append((state * c[t, :, None]).sum(-1))
    expected, inputs = torch.stack(outputs), [step, x, a, b, c]
    found = selective_scan(*inputs)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(found, inputs), gradients(expected, inputs))


def test_s4d_is_its_state_equation_in_both_directions() -> None:
    """Zero-order hold: h_t = exp(Δa)·h_{t−1} + (exp(Δa) − 1)/a·x_t, y_t = 2·Re(c·h_t), from both ends, plus d·x."""
    module = mixer({"type": "s4d", "state": 6})
    x = torch.randn(2, 17, 8, dtype=torch.float64)
    decay = torch.complex(-module.log_decay.exp(), module.frequency)
    hold = (decay * module.log_step.exp()[:, None]).exp()

    def one_way(x: Tensor, c: Tensor) -> Tensor:
        state, outputs = torch.zeros(2, 8, 3, dtype=torch.complex128), []
        for t in range(x.shape[1]):
            state = hold * state + (hold - 1) / decay * x[:, t, :, None]
            outputs.append(2 * (c * state).sum(-1).real)
        return torch.stack(outputs, dim=1)

    c = torch.view_as_complex(module.readout)
    expected = one_way(x, c[0]) + one_way(x.flip(1), c[1]).flip(1) + x * module.direct
    torch.testing.assert_close(module.mixed(x), expected)


@pytest.mark.parametrize("grid", [(3, 5), (4, 4), (1, 6)])
def test_zigzag_paths_are_eight_ways_over_neighbours(grid: tuple[int, int]) -> None:
    paths = [tuple(zigzag(grid, number)) for number in range(PATHS)]
    for path in paths:
        assert sorted(path) == list(range(grid[0] * grid[1]))
        places = [divmod(patch, grid[1]) for patch in path]
        assert all(abs(r - s) + abs(c - d) == 1 for (r, c), (s, d) in itertools.pairwise(places))
    if min(grid) > 1:
        assert len(set(paths)) == PATHS
    assert zigzag((2, 3), 0) == [0, 1, 2, 5, 4, 3]
    assert zigzag((2, 3), 1) == [0, 3, 4, 1, 2, 5]


@pytest.mark.parametrize("name", ["ssm", "s4d", "mamba"])
def test_zigzag_is_rows_on_rearranged_tokens(name: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 17, 8, dtype=torch.float64)
    path = torch.tensor([0, 1, *(2 + patch for patch in zigzag(GRID, 5))])
    rows, along = mixer(name), mixer({"type": name, "order": "zigzag"}, block=5)
    along.load_state_dict(rows.state_dict())
    torch.testing.assert_close(along(x, LAYOUT)[:, path], rows(x[:, path], LAYOUT))


@pytest.mark.parametrize("name", ["ssm", "s4d", "mamba"])
@pytest.mark.parametrize("order", ["rows", "zigzag"])
def test_patches_that_are_there_are_read_in_their_order(name: str, order: str) -> None:
    """However they lie: the outcome is that of the patches in order, laid back."""
    torch.manual_seed(0)
    module = mixer({"type": name, "order": order}, block=3)
    patches = torch.tensor([[7, 2, 11, 0]])
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    shuffled = torch.tensor([3, 1, 0, 2])
    other = torch.cat([x[:, :2], x[:, 2:][:, shuffled]], dim=1)
    one, two = module(x, LAYOUT.select(patches)), module(other, LAYOUT.select(patches[:, shuffled]))
    torch.testing.assert_close(two[:, 2:], one[:, 2:][:, shuffled])
    torch.testing.assert_close(two[:, :2], one[:, :2])


def test_a_set_without_order_is_refused() -> None:
    spec = {
        "type": "dit",
        "patch": 4,
        "depth": 4,
        "width": 32,
        "heads": 2,
        "routing": {"type": "merge", "before": 1, "after": 1},
    }
    for name in ("ssm", "s4d", "mamba"):
        with pytest.raises(SpecError, match="merged tokens are a set") as refused:
            ablate.cost({"backbone": {**spec, "attention": name}}, (3, 16, 16), 10)
        assert len(refused.value.problems) == 1
    ablate.cost({"backbone": {**spec, "attention": "softmax"}}, (3, 16, 16), 10)
    with pytest.raises(ValueError, match="a set of tokens has no order"):
        Sequence()(torch.randn(1, 4, 8), Layout(0, None))
