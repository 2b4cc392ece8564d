"""What is inside the networks: words of before keep their identity, and each new part equals a direct computation."""

from __future__ import annotations

import re
from pathlib import Path

import learners
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import ablate
from ablate.api import InputSpec, Layout
from ablate.candidates.candidate import Candidate, compose, cost_of, misfits
from ablate.candidates.trial import Budget
from ablate.candidates.vary import make_space
from ablate.discovery.catalog import catalog
from ablate.errors import SpecError
from ablate.runtime.randomness import seed_all
from ablate.study.jsonschema import study_schema
from ablate.testing import check_component, common, find
from ablate.training.training_cost import train_gflops
from ablate_zoo.mixer._recurrence import scan
from ablate_zoo.mixer._windows import WindowProduct
from ablate_zoo.routing._modules import Drop, Mask, Merge

DIT = {"type": "dit", "patch": 2, "depth": 6, "width": 32, "heads": 4}
SETTING, SETTING_16 = InputSpec((3, 8, 8), 10), InputSpec((3, 16, 16), 3)
GUIDE = Path(__file__).parents[2] / "docs" / "networks.md"

# By the version in which these fields held words; the first 16 digits.
IDENTITIES = [
    ({"type": "dit"}, "4b90d517166435e1"),
    ({"type": "uvit"}, "02641bad531b4d2f"),
    ({"type": "unet"}, "084b2e4c590aad4a"),
    (
        {"type": "dit", "mlp": "swiglu", "norm": "rms", "positions": "rope", "attention": "linear"},
        "c9fe5641ebee44df",
    ),
    ({"type": "dit", "residual": "fixed"}, "61279c9f9e45b63e"),
    ({"type": "dit", "residual": "learned", "residual_beta": 0.5}, "9386c0036ba40dcd"),
    ({"type": "dit", "residual": "none", "residual_beta": 0.5}, "4b90d517166435e1"),
    ({"type": "uvit", "positions": "rope", "mlp": "gelu_tanh"}, "a468e752753829a5"),
    ({"type": "uvit", "mlp": "swiglu"}, "074a67b58e1f6b16"),
    ({"type": "unet", "attention": "linear", "norm": "rms"}, "a189adaf36da284c"),
    ({"type": "unet", "attention": "full"}, "084b2e4c590aad4a"),
]


@pytest.mark.parametrize(("spec", "identity"), IDENTITIES, ids=lambda v: v if isinstance(v, str) else None)
def test_a_word_that_became_a_slot_keeps_its_identity(spec, identity):
    part = ablate.create("backbone", spec)
    assert part.digest().startswith(identity)
    assert ablate.create("backbone", part.spec()).digest() == part.digest()  # written out, as in study.yaml


def test_what_decides_beyond_the_word_is_hashed():
    plain = ablate.create("backbone", DIT).digest()
    windows = [{"type": "windowed", "window": side} for side in (2, 4)]
    others = [*({"attention": one} for one in windows), {"registers": 1}, {"routing": "drop"}, {"routing": "merge"}]
    digests = {ablate.create("backbone", {**DIT, **other}).digest() for other in others}
    assert len(digests) == len(others) and plain not in digests
    assert ablate.create("backbone", {**DIT, "attention": {"type": "softmax"}, "routing": "none"}).digest() == plain


def space(base, vary):
    return make_space(Candidate, {"backbone": base}, vary, catalog(), lambda spec: None)


def test_the_search_goes_on_with_the_words_of_before():
    made = space({"type": "unet"}, {"backbone.attention": ["full", "linear"]})
    assert made.dimensions[0].baseline == "full"
    assert compose(made.apply({"backbone.attention": "full"}), catalog()).backbone.attention.name == "softmax"
    lines = {
        "backbone.residual_beta": {"low": 0.1, "high": 1.0},
        "backbone.residual": ["none", "fixed"],
        "backbone.mlp": "all",
        "backbone.attention.window": [2, 4],
        "backbone.attention": ["softmax", "windowed"],
    }
    made = space(DIT, lines)
    depends = {d.path: d.depends for d in made.dimensions}
    assert depends["backbone.residual_beta"] == ("backbone.residual",)
    assert depends["backbone.attention.window"] == ("backbone.attention",)
    assert {"gelu", "gelu_tanh", "swiglu"} <= set(next(d for d in made.dimensions if d.path.endswith("mlp")).choices)
    with pytest.raises(SpecError, match="'residual_beta' only while 'residual' is 'fixed' or 'learned'"):
        space(DIT, {"backbone.residual_beta": {"low": 0.1, "high": 1.0}})
    schema = study_schema(catalog())["$defs"]["backbone.unet"]["properties"]["attention"]
    assert {"enum": ["full"]} in schema["anyOf"] and schema["default"] == "softmax"


@pytest.mark.parametrize(
    ("grid", "window", "shift", "joined"),
    [((4, 4), 2, 0, 0), ((4, 4), 2, 1, 2), ((5, 7), 3, 0, 1), ((5, 7), 3, 1, 3), ((3, 6), 4, 2, 1), ((2, 2), 8, 4, 1)],
)
def test_windows_are_softmax_over_what_lies_in_them(grid, window, shift, joined):
    """Against attention over all tokens with a mask."""
    rows, columns = grid

    def number(place: Tensor, size: int) -> Tensor:
        side = min(window, size)
        return (place - shift).div(side, rounding_mode="floor") if side < size else 0 * place

    row, column = number(torch.arange(rows), rows), number(torch.arange(columns), columns)
    windows = torch.cartesian_prod(row, column)
    same = torch.ones(joined + rows * columns, joined + rows * columns, dtype=torch.bool)
    same[joined:, joined:] = (windows[:, None] == windows[None]).all(-1)
    q, k, v = torch.randn(3, 2, 3, len(same), 4)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=same)
    assert torch.allclose(WindowProduct(grid, window, shift)(q, k, v), expected, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_the_recurrence_is_its_loop(count):
    decay, value = torch.rand(2, count, 3), torch.randn(2, count, 3)
    h, expected = torch.zeros(2, 3), []
    for t in range(count):
        h = decay[:, t] * h + value[:, t]
        expected.append(h)
    found = scan(decay.transpose(0, 1), value.transpose(0, 1)).transpose(0, 1)  # the tokens first
    assert torch.allclose(found, torch.stack(expected, dim=1), atol=1e-6)


def test_every_second_block_has_shifted_windows():
    blocks = ablate.create("backbone", {**DIT, "attention": {"type": "windowed", "window": 3}}).build(SETTING).blocks
    first, second = (block.attention.branch.product for block in blocks[:2])
    assert (first.before, second.before) == ((0, 0), (2, 2))
    unet = {"type": "unet", "attention": "windowed", "multipliers": [1], "width": 8, "zero_init": False}
    x, noise = torch.randn(2, 3, 16, 16), torch.rand(2)
    with torch.no_grad():
        made = [ablate.create("backbone", {**unet, "attention": one}) for one in ("windowed", "full")]
        seed_all(0)
        windowed = made[0].build(SETTING_16)(x, noise, torch.tensor([0, 1]))
        seed_all(0)
        full = made[1].build(SETTING_16)(x, noise, torch.tensor([0, 1]))
    assert windowed.shape == x.shape and not torch.allclose(windowed, full)  # one network, of equal weights


def laid_out(batch=2, count=12, joined=2, width=8):
    """Tokens whose first number is their own, with rotations that are it too."""
    tokens = torch.randn(batch, joined + count, width)
    tokens[..., 0] = torch.arange(joined + count)
    angles = torch.arange(joined + count).float()[:, None].expand(-1, 2)
    return tokens, Layout(joined, (3, 4), (angles, -angles))


class Seeing:
    """Blocks that add 1 to what they see, and remember it."""

    def __init__(self, number):
        self.seen = [[] for _ in range(number)]
        self.blocks = [self.block(one) for one in self.seen]

    def block(self, seen):
        def see(tokens, layout):
            seen.append((tokens, layout))
            return tokens + torch.tensor([0.0, *[1.0] * (tokens.shape[-1] - 1)])

        return see


@pytest.mark.parametrize("module", [Drop(0.5, 1, 2), Mask(0.25, 2, 12, 8)], ids=["drop", "mask"])
def test_patches_that_pass_by_come_back_and_the_others_keep_their_positions(module):
    tokens, layout = laid_out()
    seeing = Seeing(6)
    torch.manual_seed(1)
    out = module(tokens, layout, seeing.blocks)
    before = 1 if isinstance(module, Drop) else 0
    stay = 6 if isinstance(module, Drop) else 9
    for i, ((seen, told),) in enumerate(seeing.seen):
        if before <= i < 4:
            assert seen.shape[1] == 2 + stay and told.grid is None
            cos, sin = told.rotation
            assert torch.equal(cos[:, 0, :, 0], seen[..., 0]) and torch.equal(sin, -cos)  # each with its own angle
        else:
            assert seen.shape[1] == 14 and told is layout
    ones = torch.tensor([0.0, *[1.0] * 7])
    (middle, _) = seeing.seen[before][0]
    stayed = [set(row.tolist()) for row in middle[..., 0]]
    assert stayed[0] != stayed[1] and all({0.0, 1.0} <= row for row in stayed)
    for image, row in enumerate(stayed):
        for place in range(14):
            if place in row:
                expected = tokens[image, place] + 6 * ones
            elif isinstance(module, Drop):
                expected = tokens[image, place] + 3 * ones  # one block before, two after
            else:
                expected = module.vectors[place - 2] + 2 * ones
            assert torch.allclose(out[image, place], expected, atol=1e-5)
    torch.manual_seed(1)
    assert torch.equal(module(tokens, layout, Seeing(6).blocks), out)  # torch's global generator decides
    assert torch.allclose(module.eval()(tokens, layout, Seeing(6).blocks), tokens + 6 * ones, atol=1e-5)


@pytest.mark.parametrize(("grid", "square", "share"), [((4, 4), 2, 0.5), ((3, 5), 2, 0.4), ((6, 6), 3, 0.7)])
def test_merging_is_its_bookkeeping_done_by_hand(grid, square, share):
    """Against loops over the patches of one image, as Bolya & Hoffman 2023, section 4.2, tell it."""
    rows, columns = grid
    count, joined, width = rows * columns, 2, 8
    tokens = torch.randn(2, joined + count, width)
    angles = torch.arange(joined + count).float()[:, None].expand(-1, 2)
    layout = Layout(joined, grid, (angles, -angles))
    seen = []

    def block(some, told):
        seen.append((some, told))
        return some + torch.sin(some) * some.mean(dim=1, keepdim=True)

    out = Merge(share, square, grid, 0, 0, True)(tokens, layout, [block])
    (some, told) = seen[0]
    assert some.shape[1] == joined + count - round(share * count) and told.grid is None
    for image in range(2):
        patches = tokens[image, joined:]
        targets = [r * columns + c for r in range(0, rows, square) for c in range(0, columns, square)]
        best = {}
        for one in sorted(set(range(count)) - set(targets)):
            alike = [float(F.cosine_similarity(patches[one], patches[t], dim=0)) for t in targets]
            best[one] = (max(alike), targets[alike.index(max(alike))])
        joining = sorted(best, key=lambda one: -best[one][0])[: round(share * count)]
        groups = {t: [t, *(one for one in joining if best[one][1] == t)] for t in targets}
        staying = [one for one in best if one not in joining]
        rows_of = [*([one] for one in staying), *groups.values()]
        sequence = torch.stack([*tokens[image, :joined], *(patches[group].mean(0) for group in rows_of)])
        assert torch.allclose(some[image], sequence, atol=1e-5)
        numbers = torch.tensor([0, 1, *(joined + group[0] for group in rows_of)]).float()
        assert torch.equal(told.rotation[0][image, 0, :, 0], numbers)
        added = torch.sin(sequence) * sequence.mean(0)
        expected = tokens[image].clone()
        expected[:joined] += added[:joined]
        for group, change in zip(rows_of, added[joined:], strict=True):
            expected[[joined + one for one in group]] += change
        assert torch.allclose(out[image], expected, atol=1e-4)


def test_what_a_step_and_a_sample_compute_is_counted():
    """A block costs in proportion to its tokens, but for attention's products, which go with their square."""
    tokens, width, blocks = 16, 32, 4  # blocks in the middle
    plain, dropped, masked, merged = (
        compose({"backbone": {**DIT, "routing": routing}}, catalog())
        for routing in ("none", {"type": "drop", "before": 1, "after": 1}, {"type": "mask", "after": 2}, "merge")
    )
    cost = cost_of(plain.backbone, SETTING).gflops
    assert cost_of(dropped.backbone, SETTING).gflops == cost_of(masked.backbone, SETTING).gflops == cost
    linear, product = 12 * width**2, 2 * width  # a token; a pair of tokens
    saved = 3 * blocks * (linear * tokens / 2 + product * (tokens**2 - (tokens // 2) ** 2)) / 1e9
    steps = [train_gflops(one, SETTING) for one in (plain, dropped, masked)]
    assert steps[0] - steps[1] == pytest.approx(saved, rel=1e-9) == steps[0] - steps[2]
    alike = 6 * 12 * 4 * width / 1e9  # the cosines of 12 patches with 4
    fewer = 6 * (linear * 8 + product * (tokens**2 - 8**2) + 2 * width * 8) / 1e9  # the last: two norms
    assert cost_of(merged.backbone, SETTING).gflops == pytest.approx(cost - fewer + alike, rel=1e-9)
    passes = cost_of(dropped.backbone, SETTING)
    assert passes.trained_gflops == pytest.approx(cost - saved / 3 - 2 * blocks * width * tokens / 2 / 1e9, rel=1e-9)
    assert cost_of(merged.backbone, SETTING).train_pass_gflops is None  # in sampling it is the same
    assert Budget(train_gflops=3e3 * cost).images_for(1, cost) == 1000
    assert Budget(train_gflops=3e3 * cost).images_for(1, passes.trained_gflops) == round(
        1e3 * cost / passes.trained_gflops
    )
    sampling = compose({"backbone": {**DIT, "routing": {"type": "merge", "training": False}}}, catalog())
    assert train_gflops(sampling, SETTING) == pytest.approx(steps[0]) and train_gflops(merged, SETTING) < steps[0]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"type": "uvit", "routing": "drop"}, "backbone 'uvit' does not go with 'routed_tokens': its long skips"),
        ({"attention": "windowed", "routing": "merge"}, "mixer 'windowed' does not go with 'routed_tokens': windows"),
        ({"depth": 4, "routing": "drop"}, "'drop' leaves out the first 2 and the last 2 of 4 blocks, which is all"),
        ({"depth": 2, "routing": "mask"}, "'mask' leaves out the last 2 of 2 blocks"),
        ({"routing": {"type": "merge", "share": 0.8}}, "one patch of each 2×2 of 4×4: at most a share of 0.75"),
        ({"routing": {"type": "drop", "share": 1.0}}, "less than 1"),
        ({"mlp": "swigl"}, "did you mean 'swiglu'"),
    ],
)
def test_what_does_not_go_together_is_refused_when_it_is_read(fields, told):
    with pytest.raises(SpecError, match=re.escape(told)):
        problems = misfits(compose({"backbone": {**DIT, **fields}}, catalog()), None, SETTING)
        raise SpecError(problems)


def test_registers_join_and_leave():
    seed_all(0)
    network = ablate.create("backbone", {**DIT, "registers": 3, "conditioning": "in_context"}).build(SETTING).eval()
    x, condition = torch.randn(2, 3, 8, 8), network.condition(torch.rand(2), torch.tensor([1, 2]))
    tokens, layout = network.tokens(x, condition)
    assert tokens.shape[1] == 3 + 2 + 16 and layout.joined == 5
    assert torch.equal(tokens[0, :3], network.tokens.registers)
    assert network(x, torch.rand(2), torch.tensor([1, 2])).shape == x.shape


@pytest.mark.parametrize("routing", ["drop", "mask", "merge"])
def test_training_goes_on_exactly_with_routing(routing):
    """What is drawn follows from the step, so a training that was interrupted is that which was not."""
    attention = {"type": "softmax", "value_residual": "learned"}
    backbone = {
        "type": "dit",
        "patch": 2,
        "depth": 5,
        "width": 16,
        "heads": 2,
        "routing": routing,
        "attention": attention,
    }
    whole, first, second = (learners.learner(backbone=backbone) for _ in range(3))
    learners.train(whole, 4)
    learners.train(first, 2)
    torch.rand(7)  # what is drawn between
    second.load(first.state({}))
    learners.train(second, 2)
    assert learners.same(whole.state({}).tensors, second.state({}).tensors)


def test_parts_of_the_guide_conform_and_take_part_in_a_study(tmp_path, monkeypatch):
    """docs/networks.md: one file, checked, and each of its parts trained beside ours on local workers."""
    file = tmp_path / "my_parts.py"
    file.write_text(re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL).group(1))
    target = find(str(file))
    assert {entry.kind for entry in target.entries} == {"mixer", "mlp", "norm", "positions", "residual", "routing"}
    monkeypatch.setattr(common, "digest_elsewhere", lambda case: case.component.digest())  # no process for each
    for entry in target.entries:
        check_component(entry, target.catalog)
    parts = {"attention" if e.kind == "mixer" else e.kind: e.name for e in target.entries}
    study = {
        "study": "parts",
        "plugins": [str(file)],
        "data": {"type": "digits", "size": 8},
        "base": {
            "backbone": {**DIT, "depth": 2, "width": 16, "heads": 2, **parts},
            "batch": 16,
            "solver": {"steps": 2},
        },
        "vary": {"backbone.routing": ["lottery", "none"], "backbone.attention": ["pooling", "softmax"]},
        "budget": {"images": 32},
        "evaluate": {"samples": 8, "previews": 0},
        "objectives": ["loss"],
        "executor": {"type": "local", "in_process": True},
    }
    results = ablate.run(study, out=tmp_path / "out", figures=False)
    assert results.states == {"complete": 3}
    assert set(results.trials["c.backbone.routing"]) == {"none", "lottery"}
    assert results.trials["loss"].notna().all()
