"""Value residuals: the first block's values in later blocks, whichever tokens pass through which of them."""

from __future__ import annotations

import gc
import re
import weakref
from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ablate
from ablate.api import Carry, InputSpec, Layout
from ablate.candidates.candidate import compose, cost_of, misfits
from ablate.discovery.catalog import catalog
from ablate.kinds.backbone import network_blocks
from ablate.runtime.randomness import seed_all
from ablate.runtime.recompute import recomputed
from ablate_zoo.backbone._transformer_modules import Block

SETTING = InputSpec((3, 8, 8), 10)
DIT = {"type": "dit", "patch": 2, "depth": 4, "width": 32, "heads": 4, "positions": "rope"}
LEARNED = {"type": "softmax", "value_residual": "learned"}
FIXED = {"type": "softmax", "value_residual": "fixed", "value_weight": 0.3}


def network(**fields):
    """A network somewhere in training."""
    seed_all(0)
    made = ablate.create("backbone", {**DIT, "attention": LEARNED, **fields}).build(SETTING)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.1 * torch.randn(p.shape))
    return made


def inputs():
    torch.manual_seed(1)
    return torch.randn(3, 3, 8, 8), torch.rand(3) * 999, torch.arange(3)


class Transcribed(nn.Module):
    """Attention as modded-nanogpt writes it: the first values lie in a list, v = (1 - lamb)·v + lamb·v1."""

    def __init__(self, ours, lamb, firsts):
        super().__init__()
        self.ours, self.lamb, self.firsts = ours, lamb, firsts

    def forward(self, x, layout):
        (b, n, width), heads = x.shape, self.ours.heads
        q, k, v = (part.view(b, n, heads, -1).transpose(1, 2) for part in self.ours.qkv(x).split(width, dim=-1))
        if layout.rotation is not None:
            (cos, sin), half = layout.rotation, width // heads // 2
            q, k = (
                torch.cat([a[..., :half] * cos - a[..., half:] * sin, a[..., half:] * cos + a[..., :half] * sin], -1)
                for a in (q, k)
            )
        if self.lamb is None:
            self.firsts.append(v)
        else:
            v = (1 - self.lamb) * v + self.lamb * self.firsts[-1]
        y = F.softmax(q @ k.transpose(2, 3) / (width // heads) ** 0.5, dim=-1) @ v
        return self.ours.out(y.transpose(1, 2).flatten(2))


def gradients(made):
    return {n.replace("ours.", "").replace("lamb", "values.weight"): p.grad for n, p in made.named_parameters()}


@pytest.mark.parametrize("fields", [{}, {"type": "uvit", "registers": 2}, {"attention": FIXED}])
def test_it_is_the_transcribed_formula(fields):
    made, firsts = network(**fields), []
    other = deepcopy(made)
    blocks = [block for block in network_blocks(other).values() if isinstance(block, Block)]
    for i, block in enumerate(blocks):
        ours = block.attention.branch
        block.attention.branch = Transcribed(ours, ours.values.weight if i else None, firsts)
    x, noise, labels = inputs()
    ys = [one(x, noise, labels) for one in (made, other)]
    assert torch.allclose(*ys, atol=1e-4)
    for y in ys:
        y.square().mean().backward()
    grads = [gradients(one) for one in (made, other)]
    learned = [n for n in grads[0] if n.endswith("values.weight")]
    assert len(learned) == (0 if fields.get("attention") else len(blocks) - 1)
    assert all(torch.allclose(grads[0][n], grads[1][n], atol=1e-4) for n in grads[0])
    plain = network(attention="softmax")
    assert not torch.allclose(plain(x, noise, labels), ys[0], atol=1e-2)


def test_each_token_finds_what_was_left_for_it():
    """Numbers of tokens are left by some of them, and looked for by others: each finds its own, or that it has none."""
    joined, patches, batch = 2, 12, 3
    layout = Layout(joined, (3, 4))
    generator = torch.Generator().manual_seed(0)

    def some(count):
        return torch.rand(batch, patches, generator=generator).argsort(dim=1)[:, :count]

    def numbers(lie):
        index = torch.arange(patches).expand(batch, -1) if lie.patches is None else lie.patches
        return torch.cat([torch.arange(joined).expand(batch, -1), joined + index], dim=1)[..., None].double()

    for leaving in (layout, layout.select(some(5))):
        for finding in (layout, layout.select(some(7)), leaving):
            carry, found = Carry(patches), []

            def leave(tokens, lie):
                lie.leave("number", tokens)
                return tokens

            def find(tokens, lie, found=found):
                found.append(lie.carried["number"])
                return tokens

            carry.through(leave, numbers(leaving), leaving)
            carry.through(find, numbers(finding), finding)
            (one,) = found
            left = [set(row.flatten().tolist()) for row in numbers(leaving)]
            known = torch.tensor(
                [[n in left[i] for n in row.flatten().tolist()] for i, row in enumerate(numbers(finding))]
            )
            assert known.all() if one.known is None else torch.equal(one.known[..., 0], known)
            assert torch.equal(one.values[known], numbers(finding)[known])
    with pytest.raises(ValueError, match="5 patches of 12, and the layout does not say which"):
        carry.through(leave, torch.zeros(batch, joined + 5, 1), layout)


@pytest.mark.parametrize("routing", [{"type": "mask", "after": 2}, {"type": "drop", "before": 0, "after": 2}])
def test_tokens_that_did_not_pass_through_the_first_block_keep_their_own_values(routing):
    """With λ = 1 nothing changes for them, and all others have the first values alone."""
    made = network(routing=routing).train()
    seen = []
    for i, block in enumerate(made.blocks):
        values = block.attention.branch.values
        values.register_forward_hook(lambda m, inputs, out, i=i: seen.append((i, inputs[0], inputs[1], out)))
        if i:
            values.weight.data.fill_(1.0)
    made(*inputs())
    (first, _, told, v1), (last, own, whole, mixed) = seen[0], seen[-1]
    assert (first, last) == (0, 3) and told.patches.shape == (3, 8) and whole.patches is None
    for image in range(3):
        stayed = told.patches[image].tolist()
        for patch in range(16):
            expected = v1[image, :, stayed.index(patch)] if patch in stayed else own[image, :, patch]
            assert torch.allclose(mixed[image, :, patch], expected, atol=1e-6)


@pytest.mark.parametrize("routing", ["none", {"type": "merge", "share": 0.5}])
def test_blocks_are_computed_again_to_the_same_gradients_and_nothing_is_held(routing):
    x, noise, labels = inputs()
    grads = []
    for recompute in (False, True):
        made = network(routing=routing)
        with recomputed(list(made.blocks), nullcontext) if recompute else nullcontext():
            made(x, noise, labels).square().mean().backward()
            grads.append([p.grad for p in made.parameters()])
            made(x, noise, labels)  # a pass without a way back, as where memory runs out
    assert all(map(torch.equal, *grads))
    gone = weakref.ref(made.blocks[0].attention.branch.qkv.weight)
    del made
    gc.collect()
    assert gone() is None


def test_costs_and_identity():
    plain, fixed, learned = (
        ablate.create("backbone", {**DIT, "attention": {"type": "softmax", "value_residual": one}})
        for one in ("none", "fixed", "learned")
    )
    assert plain == ablate.create("backbone", DIT) and plain.active()["attention"] == "softmax"
    assert len({one.digest() for one in (plain, fixed, learned)}) == 3
    costs = [cost_of(one, SETTING) for one in (plain, fixed, learned)]
    assert [one.params - costs[0].params for one in costs] == [0, 0, 3]  # a λ in each block but the first
    assert {(one.gflops, one.macs) for one in costs} == {(costs[0].gflops, costs[0].macs)}


def test_a_network_that_hands_nothing_on_is_refused():
    candidate = compose({"backbone": {"type": "unet", "attention_resolutions": [8], "attention": LEARNED}}, catalog())
    (problem,) = misfits(candidate, None, SETTING)
    told = "mixer 'softmax' needs 'carry', which nothing here provides: values go from the first block to later ones"
    assert re.search(told, problem.message) and problem.path == ("backbone", "attention")
