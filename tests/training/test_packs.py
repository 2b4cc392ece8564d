"""Trainings of one network shape as one: they come to what each would have come to alone."""

import copy

import pytest
import torch
from learners import CPU, SETTING, candidate, images
from torch import nn

from ablate.kinds.clip import Norms
from ablate.kinds.probe import StepObserver
from ablate.training.checkpoint import Checkpoint
from ablate.training.learner import Learner
from ablate.training.pack import MemberError, Pack
from ablate.training.packed_pass import PackedPass, PackedPassError, refusal
from ablate_zoo.layers.mlp import MLP

TOLERANCE = 1e-4  # of losses, and of the way that all weights have moved together, fp32: sums in another order
# Single weights may differ by more: the gradient of a key's bias is zero but for rounding, and Adam makes a step of it.
HORIZON = 1000.0
NETWORK = {"type": "dit", "patch": 2, "depth": 2, "width": 16, "heads": 2}
DIFFERENT = {  # candidates of one network
    "rate": {"optimizer": {"type": "adamw", "lr": 5e-3, "weight_decay": 0.1}},
    "weighting": {"weighting": "min_snr"},
    "schedule": {"schedule": "cosine", "target": "epsilon", "levels": "logit_normal"},
    "edm": {
        "schedule": "edm",
        "target": "x0",
        "precondition": "edm",
        "weighting": "edm2",
    },
    "average": {"ema": "power", "clip": "global_norm", "optimizer": {"type": "sgd", "lr": 1e-2}},
    "guidance": {"guidance": {"type": "classifier"}},
}


def learner(seed: int = 0, micro: int | None = None, **parts: object) -> Learner:
    made = Learner(candidate(backbone=NETWORK, **parts), SETTING, images(), seed, CPU, micro)
    made.network.train()
    return made


def close(one: Learner, other: Learner) -> bool:
    """Everything that decides the steps to come: each kind of it as one vector, over the way that it has come."""
    begun = Learner(other.candidate, SETTING, images(), other.seed, CPU, other.micro).state({}).tensors
    a, b = one.state({}), other.state({})
    assert a.facts == b.facts
    assert a.tensors.keys() == b.tensors.keys()
    for kind in {_kind(name) for name in a.tensors}:
        names = [name for name in a.tensors if _kind(name) == kind]
        mine, wanted = (torch.cat([t[n].double().flatten() for n in names]) for t in (a.tensors, b.tensors))
        start = torch.cat([begun.get(n, torch.zeros_like(b.tensors[n])).double().flatten() for n in names])
        if float((mine - wanted).norm()) > TOLERANCE * float((wanted - start).nan_to_num().norm()) + 1e-12:
            return False
    return True


def _kind(name: str) -> str:
    """`network`, `average`, `optimizer.exp_avg` and the like."""
    part, _, rest = name.partition(".")
    return f"{part}.{rest.rpartition('.')[2]}" if part == "optimizer" else part


def test_seeds_and_candidates_of_one_network_train_as_one_as_they_do_alone() -> None:
    """Loss, norm of the gradient, weights, moments, averages, learned weighting, guidance's own network."""
    which = [(0, {}), (1, {}), *((2, parts) for parts in DIFFERENT.values())]
    packed = [learner(seed, **parts) for seed, parts in which]
    alone = [learner(seed, **parts) for seed, parts in which]
    before = alone[0].state({}).tensors["network.head.linear.weight"].clone()
    pack = Pack(packed)
    for _ in range(4):
        steps = pack.step([(HORIZON, ())] * len(packed))
        for own, one in zip(alone, steps, strict=True):
            step = own.step(HORIZON)
            assert not isinstance(one, Exception)
            assert (one.number, one.images, one.rate) == (step.number, step.images, step.rate)
            for name in ("loss", "gradient_norm", "clipped_norm", "companion_loss"):
                got, wanted = getattr(one, name), getattr(step, name)
                assert (got is None) == (wanted is None)
                assert got is None or torch.allclose(got, wanted, rtol=TOLERANCE, atol=1e-6), name
    assert all(close(*pair) for pair in zip(packed, alone, strict=True))
    assert not torch.equal(before, alone[0].state({}).tensors["network.head.linear.weight"])


def counted(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[int]:
    """Count the calls of a method."""
    calls: list[int] = []
    plain = getattr(owner, name)

    def call(self: object, *given: object) -> object:
        calls.append(1)
        return plain(self, *given)

    monkeypatch.setattr(owner, name, call)
    return calls


ALIKE = {
    "adamw": {
        "optimizer": {"type": "adamw", "lr": 5e-3, "weight_decay": 0.1, "layer_decay": 0.5, "warmup": 20},
        "clip": {"type": "global_norm", "max_norm": 0.1},
    },
    "adam": {"optimizer": {"type": "adam", "weight_decay": 0.1}, "ema": "post_hoc", "clip": "per_layer"},
    "sgd": {"optimizer": {"type": "sgd", "lr": 1e-2, "decay": "cosine"}, "ema": "power"},
    "radam": {"optimizer": "radam", "ema": "none"},
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.thorough] * (n in ("adam", "radam"))) for n in ALIKE]
)
def test_seeds_of_a_candidate_take_one_step_of_the_optimizer_and_of_the_average(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What each takes by itself, up to the rounding of vectors' ends; a checkpoint on the way goes on alone."""
    packed, apart, alone = ([learner(seed, **ALIKE[name]) for seed in range(3)] for _ in range(3))
    together, each = Pack(packed), Pack(apart, stacked=False)
    optimizer, average = type(packed[0].optimizer), type(packed[0].average)
    steps, updates = (counted(monkeypatch, owner, own) for owner, own in ((optimizer, "step"), (average, "update")))
    for number in range(3):
        for pack, times in ((together, 1), (each, 3)):
            steps.clear()
            updates.clear()
            pack.step([(HORIZON, ())] * 3)
            assert len(steps) == times
            assert len(updates) == (3 if name == "radam" else times)  # no average: nothing to be stacked
        if number == 1:
            middle = packed[1].state({})
            resumed = learner(1, **ALIKE[name])
            tensors = {key: value.clone() for key, value in middle.tensors.items()}
            resumed.load(Checkpoint(middle.images, tensors, middle.facts))
    for one, other in zip(packed, apart, strict=True):
        for key, value in one.state({}).tensors.items():
            torch.testing.assert_close(value, other.state({}).tensors[key], rtol=1e-5, atol=1e-8)
    together.dissolve()
    for one in alone:
        for _ in range(4):
            one.step(HORIZON)
    for one in (*packed, resumed, resumed):
        one.step(HORIZON)
    assert all(close(*pair) for pair in zip([*packed, resumed], [*alone, alone[1]], strict=True))


def test_neighbours_that_are_alike_step_as_one_beside_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seeds of each of two candidates, which have rates of their own, and two whose optimizer follows matrices."""
    fast, whole = {"optimizer": {"type": "adamw", "lr": 5e-3}}, {"optimizer": {"type": "adafactor"}}
    which = [(0, {}), (1, {}), (0, fast), (1, fast), (0, whole), (1, whole)]
    packed, alone = ([learner(seed, **parts) for seed, parts in which] for _ in range(2))
    steps = counted(monkeypatch, torch.optim.AdamW, "step")
    pack = Pack(packed)
    for _ in range(3):
        pack.step([(HORIZON, ())] * len(packed))
    assert len(steps) == 2 * 3
    for one in alone:
        for _ in range(3):
            one.step(HORIZON)
    assert all(close(*pair) for pair in zip(packed, alone, strict=True))


def test_one_whose_clip_fails_steps_not_and_the_others_do() -> None:
    packed, alone = [learner(seed) for seed in range(3)], learner(2)

    class Fails(StepObserver):
        def graded(self, network: nn.Module) -> None:
            raise ZeroDivisionError("mine")

        def moved(self, network: nn.Module) -> None: ...

        def read(self) -> None: ...  # type: ignore[override]

    pack = Pack(packed)
    pack.step([(HORIZON, ())] * 3)
    _, failed, step = pack.step([(HORIZON, ()), (HORIZON, (Fails(),)), (HORIZON, ())])
    assert isinstance(failed, ZeroDivisionError) and not isinstance(step, Exception)
    pack.dissolve()
    Pack(packed[::2]).step([(HORIZON, ())] * 2)
    for _ in range(3):
        alone.step(HORIZON)
    assert close(packed[2], alone) and packed[1].steps_done == 1


def test_gradients_that_a_clip_puts_in_the_place_of_others_are_those_that_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed, alone = [learner(0), learner(1)], learner(1)

    def doubled(self: Learner, observers: object = ()) -> Norms:
        for p in self.trainable.values():
            p.grad = None if p.grad is None else p.grad * 2
        return Norms(torch.zeros(()), torch.zeros(()))

    monkeypatch.setattr(Learner, "bound", doubled)
    pack = Pack(packed)
    for _ in range(3):
        pack.step([(HORIZON, ())] * 2)
        alone.step(HORIZON)
    assert close(packed[1], alone)


def test_who_leaves_a_pack_goes_on_alone_and_the_others_together() -> None:
    """From an ordinary checkpoint too, with batches in parts."""
    packed, alone = ([learner(seed, micro=4) for seed in range(3)] for _ in range(2))
    Pack(packed).step([(HORIZON, ())] * 3)
    pack = Pack(packed[1:])
    pack.step([(HORIZON, ())] * 2)
    packed[0].step(HORIZON)
    resumed = learner(1, micro=4)
    state = packed[1].state({})
    resumed.load(
        Checkpoint(state.images, {name: tensor.clone() for name, tensor in state.tensors.items()}, state.facts)
    )
    pack.dissolve()
    for one in (*packed, resumed):
        one.step(HORIZON)
    for one in alone:
        for _ in range(3):
            one.step(HORIZON)
    assert all(close(*pair) for pair in zip(packed, alone, strict=True))
    assert close(resumed, alone[1])


def test_what_is_not_finite_in_one_member_stays_there() -> None:
    packed, alone = [learner(0), learner(1)], learner(1)
    with torch.no_grad():
        packed[0].network.head.linear.bias.fill_(torch.inf)
    pack = Pack(packed)
    for _ in range(2):
        bad, _ = pack.step([(HORIZON, ())] * 2)
        alone.step(HORIZON)
    assert not isinstance(bad, Exception)
    assert not bad.loss.isfinite()
    assert close(packed[1], alone)


def test_where_one_members_own_part_fails_nobody_takes_the_step() -> None:
    packed, alone = [learner(0), learner(1)], learner(0)

    def fails() -> None:
        raise ZeroDivisionError("mine")

    packed[1].batch = fails  # type: ignore[assignment]
    pack = Pack(packed)
    with pytest.raises(MemberError, match="mine") as raised:
        pack.step([(HORIZON, ())] * 2)
    assert raised.value.member == 1
    assert close(packed[0], alone)


def test_observers_of_a_step_see_their_own_members_gradients() -> None:
    seen: list[dict[str, torch.Tensor]] = []

    class Look(StepObserver):
        def graded(self, network: nn.Module) -> None:
            seen.append({name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None})

        def moved(self, network: nn.Module) -> None: ...

        def read(self) -> None: ...  # type: ignore[override]

    pack = Pack([learner(0), learner(1)])
    pack.step([(HORIZON, ())] * 2)
    pack.step([(HORIZON, ()), (HORIZON, (Look(),))])
    one = learner(1)
    one.step(HORIZON)
    one.step(HORIZON, [Look()])
    mine, wanted = seen
    assert mine.keys() == wanted.keys()
    assert all(torch.allclose(mine[name], wanted[name], atol=TOLERANCE, rtol=1e-4) for name in mine)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({}, None),
        ({"dropout": 0.1}, "random"),
        (
            {"conditioning": "in_context", "qk_norm": "cosine", "positions": "rope", "mlp": "swiglu", "norm": "rms"},
            None,
        ),
    ],
)
def test_a_network_that_cannot_be_taken_as_one_is_told_before(more: dict[str, object], why: str | None) -> None:
    reason = refusal(candidate(backbone={**NETWORK, **more}).backbone, SETTING)
    assert (reason is None) == (why is None), reason
    assert why is None or why in str(reason)


def test_unet_can_be_taken_as_one() -> None:
    backbone = candidate(backbone={"type": "unet", "width": 8, "multipliers": [1, 2], "blocks": 1}).backbone
    assert refusal(backbone, SETTING) is None


def test_networks_of_two_shapes_are_no_pack() -> None:
    with pytest.raises(PackedPassError, match="one shape"):
        PackedPass([nn.Linear(2, 3), nn.Linear(2, 4)])


class Branching(nn.Module):
    """Control flow by numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) if x.sum() > 0 else x


class Products(nn.Module):
    """Linear layers over images and over tokens, with a bias and without, and the zoo's MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 8), nn.Linear(8, 8, bias=False)
        self.mlp = MLP(8, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mlp(self.second(self.first(x).tanh()) + self.first(x[:, 0])[:, None])


def test_on_the_cpu_products_are_those_of_each_network_alone() -> None:
    """Bit for bit, with their gradients: they are taken one after the other."""
    networks = [Products() for _ in range(3)]
    inputs, alone = [torch.randn(5, 4, 3) for _ in networks], [copy.deepcopy(network) for network in networks]
    packed = PackedPass(networks)
    output = packed([[x] for x in inputs])
    packed.backward(output, list(output.detach()))
    packed.hand_over()
    for network, own, x, got in zip(networks, alone, inputs, output, strict=True):
        wanted = own(x)
        wanted.backward(wanted.detach())
        assert torch.equal(got, wanted)
        for mine, theirs in zip(network.parameters(), own.parameters(), strict=True):
            assert mine.grad is not None and theirs.grad is not None
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-6, atol=1e-6)


def test_control_flow_by_numbers_is_refused_in_the_pass() -> None:
    packed = PackedPass([Branching(), Branching()])
    with pytest.raises(PackedPassError, match=r"torch\.func"):
        packed([[torch.ones(3, 2)], [torch.ones(3, 2)]])


class Counting(nn.Module):
    """Writes into a buffer that all members share, or that each has for itself."""

    def __init__(self, begin: int, anew: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("passes", torch.full((), begin))
        self.anew = anew

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.anew:
            self.passes = self.passes + 1
        else:
            self.passes += 1
        return self.linear(x) * self.passes


@pytest.mark.parametrize("anew", [False, True])
def test_a_buffer_is_written_for_every_member_or_not_at_all(anew: bool) -> None:
    same = PackedPass([Counting(0, anew), Counting(0, anew)])
    with pytest.raises(PackedPassError, match="buffer passes"):
        same([[torch.ones(3, 2)], [torch.ones(3, 2)]])
    networks = [Counting(0, anew), Counting(5, anew)]
    own = PackedPass(networks)
    if anew:
        with pytest.raises(PackedPassError, match="buffer passes"):
            own([[torch.ones(3, 2)], [torch.ones(3, 2)]])
        return
    output = own([[torch.ones(3, 2)], [torch.ones(3, 2)]])
    assert [int(network.passes) for network in networks] == [1, 6]
    assert torch.allclose(output[1], 6 * networks[1].linear(torch.ones(3, 2)))
