"""A learner: what it draws is paired, and how a batch is cut does not matter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from segments_for_tests import CACHE, DATA, candidate
from torch import Tensor

from ablate.candidates.candidate import Candidate
from ablate.training.learner import Images, Learner

CPU = torch.device("cpu")
IMAGES = Images(DATA.load(CACHE), CPU)


def learner(config: Candidate | None = None, seed: int = 0, micro: int | None = None) -> Learner:
    return Learner(config or candidate(), DATA.setting(), IMAGES, seed, CPU, micro)


def drawn(trained: Learner) -> list[Tensor]:
    noised, labels = trained.batch()
    return [noised.x0, noised.noise, noised.level.t, labels]


def test_candidates_of_one_seed_see_the_same() -> None:
    one = learner(candidate(width=2, more={"guidance": {"type": "cfg", "drop": 0.3}}))
    two = learner(candidate(width=8, dropout=0.5, more={"target": "v", "guidance": {"type": "cfg", "drop": 0.3}}))
    other = learner(seed=1)
    for _ in range(3):
        ours, theirs, others = drawn(one), drawn(two), drawn(other)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
        assert not any(torch.equal(a, b) for a, b in zip(ours, others, strict=True))
        one.step(1e3)
        two.step(1e3)
        other.step(1e3)


def test_what_an_image_is_shown_with_does_not_depend_on_the_batch() -> None:
    """Candidates that differ in `batch` are paired image by image: noise, level, class and whether it is dropped."""
    more = {"guidance": {"type": "cfg", "drop": 0.3}}
    large, small = learner(candidate(batch=96, more=more)), learner(candidate(batch=32, more=more))
    whole, parts = drawn(large), []
    for _ in range(3):
        parts.append(drawn(small))
        small.steps_done += 1
    for one, of in zip(whole, zip(*parts, strict=True), strict=True):
        assert torch.equal(one, torch.cat(of))


def test_dropped_labels_become_the_null_class() -> None:
    keeping = learner(candidate(batch=200))
    dropped = learner(candidate(batch=200, more={"guidance": {"type": "cfg", "drop": 0.3}}))
    labels, some = drawn(keeping)[3], drawn(dropped)[3]
    null = DATA.setting().classes
    assert int(labels.max()) < null
    assert torch.equal(labels[some != null], some[some != null])
    assert 30 < int((some == null).sum()) < 90


def test_every_epoch_shows_every_image_once_whatever_the_batch() -> None:
    orders = {}
    for batch in (32, 100, len(IMAGES) + 7):
        trained, seen = learner(candidate(batch=batch)), []
        while len(seen) < 2 * len(IMAGES):
            seen.extend(trained.draws.order(trained.images_seen, batch, len(IMAGES)).tolist())
            trained.steps_done += 1
        orders[batch] = seen[: 2 * len(IMAGES)]
        first, second = orders[batch][: len(IMAGES)], orders[batch][len(IMAGES) :]
        assert sorted(first) == sorted(second) == list(range(len(IMAGES)))
        assert first != second
    assert orders[32] == orders[100] == orders[len(IMAGES) + 7]


SIGMA = {"backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2, "learned_sigma": True}}


@pytest.mark.parametrize("micro", [1, 5, 16, 31])
@pytest.mark.parametrize("more", [{}, {"weighting": "min_snr", "target": "v"}, {"loss": "hybrid_vlb", **SIGMA}])
def test_parts_of_a_batch_give_its_gradients(micro: int, more: dict[str, Any]) -> None:
    whole, parts = learner(candidate(more=more)), learner(candidate(more=more), micro=micro)
    losses = [trained.gradients(*trained.batch()) for trained in (whole, parts)]
    torch.testing.assert_close(losses[0], losses[1])
    for one, two in zip(whole.parameters, parts.parameters, strict=True):
        assert one.grad is not None
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-6)


def test_no_more_than_micro_images_pass_at_once() -> None:
    trained = learner(micro=5)
    sizes: list[int] = []
    trained.network.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    trained.step(1e3)
    assert sizes == [5, 5, 5, 5, 5, 5, 2]
    assert learner(micro=500).micro == 32


def test_rate_follows_the_images() -> None:
    trained = learner(candidate(more={"optimizer": {"type": "adamw", "lr": 1e-2, "warmup": 128}}))
    assert [trained.step(1e3).rate for _ in range(5)] == pytest.approx([2.5e-3, 5e-3, 7.5e-3, 1e-2, 1e-2])


def test_it_learns() -> None:
    trained = learner(candidate(width=8, more={"optimizer": {"type": "adamw", "lr": 1e-2}}))
    losses = [float(trained.step(1e4).loss) for _ in range(60)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_initial_weights_belong_to_the_seed() -> None:
    one, two, other = (learner(seed=seed).network.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["inward.weight"], other["inward.weight"])


def test_counting_costs_on_the_meta_device_draws_nothing() -> None:
    """The driver counts candidates while a training in its other thread draws from the same generator."""
    from ablate.candidates.candidate import cost_of

    before = torch.get_rng_state()
    for name in ("dit", "probe"):
        backbone = candidate(more={"backbone": {"type": name}}).backbone
        cost_of.__wrapped__(backbone, DATA.setting())
    assert torch.equal(before, torch.get_rng_state())
