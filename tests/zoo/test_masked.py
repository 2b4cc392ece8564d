"""MaskDiT's loss: by hand, patch by patch; which patches are hidden, as a term reads it; and what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from learners import SETTING, candidate, learner
from torch import Tensor, nn

from ablate.api import Host, InputSpec
from ablate.candidates.candidate import misfits
from ablate.kinds.routing import hiding
from ablate.training.learner import Learner
from ablate.training.terms import StepModel

MASK = {"type": "mask", "share": 0.4, "after": 1}
DIT = {"type": "dit", "patch": 2, "depth": 3, "width": 16, "heads": 2, "routing": MASK}
PARTS: dict[str, Any] = {"backbone": DIT, "objective": {"type": "masked", "reconstruction": 0.3}}


def moved(network: nn.Module) -> nn.Module:
    """The network, in training, when it has left its zeros."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return network.train()


def made(**parts: Any) -> Learner:
    who = learner(**{**PARTS, **parts})
    moved(who.network)
    return who


def model_of(who: Learner, network: nn.Module) -> StepModel:
    parts = (who.candidate, who.process, network, network, who._autocast, dict, who.draws, {})
    return StepModel(*parts, hiding=hiding(network))


def by_patch(image: Tensor) -> Tensor:
    """(C, 8, 8) -> (16, numbers of a patch of 2×2)."""
    return torch.stack([image[:, r : r + 2, c : c + 2].flatten() for r in range(0, 8, 2) for c in range(0, 8, 2)])


def test_it_is_the_sum_over_patches_done_by_hand() -> None:
    """Zheng et al. 2023, eq. 5 to 7, with weighting and learned variance in the first; and what it is a slope of."""
    who = made(weighting="edm2", schedule="cosine")
    noised, labels = who.batch()
    model = model_of(who, who.network)
    torch.manual_seed(0)
    terms = who.terms.objective(noised, labels, model)
    y, hidden, process = model.prediction, model.hidden, who.process
    assert hidden is not None
    model.detached(noised.x, noised.level, labels)  # another pass, which hides others
    assert model.hidden is hidden
    alpha, sigma = (v.float().reshape(-1, 1, 1, 1) for v in (noised.level.alpha, noised.level.sigma))
    target, image = alpha * noised.noise - sigma * noised.x0, alpha * noised.x - sigma * y
    weight, learned = process.target_weight(noised.level), process.log_variance(noised.level)
    assert learned is not None
    for i in range(len(y)):
        patches = by_patch(hidden[i]).all(1)
        assert torch.equal(patches, by_patch(hidden[i]).any(1)) and int(patches.sum()) == 6  # 0.4 of 16
        error = by_patch((y - target)[i]).square()[~patches].mean() * weight[i] + learned[i]
        rebuilt = by_patch((image - noised.x)[i]).square()[patches].mean() * 0.3
        torch.testing.assert_close(terms["denoise"][i], error.float(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(terms["reconstruction"][i], rebuilt.float(), rtol=1e-4, atol=1e-5)
    for name, there in (("denoise", ~hidden), ("reconstruction", hidden)):
        (slope,) = torch.autograd.grad(terms[name].sum(), y, retain_graph=True)
        assert torch.equal(slope != 0, there)
    torch.manual_seed(0)
    alone = who.candidate.objective.model_copy(update={"reconstruction": 0.0}).build(Host(SETTING, {}))
    (only,) = alone(noised, labels, model_of(who, who.network)).items()
    assert only[0] == "denoise" and torch.equal(only[1], terms["denoise"])


def test_hidden_is_where_the_network_does_not_see() -> None:
    """On a grid that is no square."""
    who = made()
    network = moved(who.candidate.backbone.build(InputSpec((1, 8, 12), 2)))
    model = model_of(who, network)
    with pytest.raises(RuntimeError, match="no shared pass yet"):
        _ = model.hidden
    x = torch.randn(3, 1, 8, 12, requires_grad=True)
    y = model.predict(x, who.process.level(torch.full((3,), 0.5, dtype=torch.float64)), torch.tensor([0, 1, 2]))
    (slope,) = torch.autograd.grad((y * torch.randn_like(y)).sum(), x)
    assert model.hidden is not None and torch.equal(slope == 0, model.hidden)


def test_where_nothing_is_hidden_it_is_the_denoising_loss() -> None:
    """In eval(); the mask of the pass before is not told again."""
    who, plain = made(), made(objective="denoise")
    for one in (who, plain):
        one.loss(*one.batch())
        one.network.eval()
    loss, terms = who._losses(*who.batch())
    assert torch.equal(loss, plain.loss(*plain.batch())) and not terms["reconstruction"].any()


@pytest.mark.parametrize("how", [{"micro": 2}, {"recompute": True}], ids=["micro", "recompute"])
def test_parts_of_a_batch_and_recomputation_give_the_same(how: dict[str, Any]) -> None:
    whole, other = made().step(1000), made(**how).step(1000)
    assert list(whole.terms) == list(other.terms) == ["denoise", "reconstruction"]
    for name, one in {**whole.terms, "gradient": whole.gradient_norm}.items():
        two = {**other.terms, "gradient": other.gradient_norm}[name]
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)
    assert float(whole.loss) == pytest.approx(sum(map(float, whole.terms.values())))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({}, None),
        (
            {"backbone": {**DIT, "routing": {"type": "drop", "before": 1, "after": 1}}},
            "needs 'masked_patches'.*use routing 'mask'",
        ),
        ({"target": "epsilon"}, "target 'epsilon' says nothing in pure noise; use target 'v'"),
        ({"target": "epsilon", "objective": {"type": "masked", "reconstruction": 0}}, None),
        (
            {"backbone": {**DIT, "learned_sigma": True}, "loss": "hybrid_vlb", "schedule": "linear"},
            "needs 'elementwise'.*use loss 'mse', and no learned_sigma",
        ),
        ({"auxiliary": ["contrastive"]}, "'contrastive' needs 'prediction'"),
    ],
    ids=["fits", "drop", "epsilon", "epsilon_alone", "variance", "contrastive"],
)
def test_what_does_not_go_with_it_is_refused_when_the_study_is_read(parts: dict[str, Any], reason: str | None) -> None:
    problems = [one.message for one in misfits(candidate(**{**PARTS, **parts}), None, SETTING, provided={"labels"})]
    assert len(problems) == (0 if reason is None else 1)
    assert all(re.search(str(reason), one) for one in problems), problems
