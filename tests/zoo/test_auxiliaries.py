"""Auxiliary terms against their equations worked out directly, and the teacher's table."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learners import SETTING, candidate, images, learner, train
from safetensors.numpy import save_file
from torch.nn import functional as F

from ablate.api import InputSpec
from ablate.candidates.candidate import misfits
from ablate.discovery.catalog import catalog
from ablate.errors import InputError
from ablate.kinds.data import Dataset
from ablate.training.learner import Images, Learner
from ablate_zoo.auxiliary._alignment import TeacherTable, grid_of
from ablate_zoo.features._small_classifier import SmallClassifier

CPU = torch.device("cpu")
CLASSIFIER = {"type": "classifier", "steps": 1, "width": 8, "size": 16}
REPA = {"type": "repa", "teacher": CLASSIFIER, "depth": 1.0}


def aligned(folder: Path, data: Images | None = None, **repa: Any) -> Learner:
    who = Learner(candidate(auxiliary=[{**REPA, **repa}]), SETTING, data or images(), 0, CPU, None)
    who.data.cache = folder
    who.prepare(lambda: None)
    return who


def activation(who: Learner, noised: Any, labels: Any, site: str = "blocks.0") -> torch.Tensor:
    kept = []
    handle = who.network.get_submodule(site).register_forward_hook(lambda module, inputs, output: kept.append(output))
    who.process.predict(who.predict, noised.x, noised.level, labels)
    handle.remove()
    return kept[0].detach()


def detached(who: Learner, noised: Any, labels: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    loss, terms = who._losses(noised, labels)
    return loss.detach(), {name: value.detach() for name, value in terms.items()}


@pytest.mark.parametrize("distance", ["l2", "cosine"])
def test_dispersive_is_its_equation(distance: str) -> None:
    """log of the mean over all B² pairs of exp(−D/τ) (Wang & He 2025), one pair at a time."""
    who = train(learner(auxiliary=[{"type": "dispersive", "distance": distance, "temperature": 0.7}]), 2)
    noised, labels = who.batch()
    z = activation(who, noised, labels).flatten(1).double()
    total = 0.0
    for one in z:
        for other in z:
            far = (one - other).square().mean() if distance == "l2" else -F.cosine_similarity(one, other, dim=0)
            total += math.exp(-float(far) / 0.7)
    values = who._losses(noised, labels)[1]["dispersive"].detach()
    assert values.unique().numel() == 1
    assert float(values[0]) == pytest.approx(math.log(total / len(z) ** 2), abs=1e-5)


@pytest.mark.parametrize("target", ["flow", "v"])
def test_contrastive_is_its_equation(target: str) -> None:
    """−|ŷ − ỹ|² to the target of the next image and noise (Stoica et al. 2025), with the weighting's factor."""
    more = {"target": target, "schedule": "rectified_flow", "weighting": "min_snr"}
    who = train(learner(auxiliary=[{"type": "contrastive", "weight": 0.1}], **more), 2)
    noised, labels = who.batch()
    loss, terms = detached(who, noised, labels)
    y = who.process.predict(who.predict, noised.x, noised.level, labels).detach()
    for i in range(len(y)):
        j = i - 1
        alpha, sigma = float(noised.level.alpha[i]), float(noised.level.sigma[i])
        u, v = (-1.0, 1.0) if target == "flow" else (-sigma, alpha)
        other = u * noised.x0[j] + v * noised.noise[j]
        weight = float(who.process.target_weight(noised.level)[i])
        wanted = -weight * float((y[i] - other).square().mean())
        assert float(terms["contrastive"][i]) == pytest.approx(wanted, rel=1e-4)
    torch.testing.assert_close(loss, terms["denoise"] + 0.1 * terms["contrastive"])


@pytest.mark.parametrize("precondition", ["none", "edm"])
def test_deep_supervision_is_its_equation(precondition: str) -> None:
    """w·mean (ŷ − y)² at the block's resolution; image and target are sums over 4×4 pixels, over 4."""
    process = {"schedule": "cosine", "target": "x0" if precondition == "edm" else "v", "weighting": "min_snr"}
    who = train(learner(auxiliary=["deep_supervision"], precondition=precondition, **process), 2)
    noised, labels = who.batch()
    loss, terms = detached(who, noised, labels)
    torch.testing.assert_close(loss, terms["denoise"] + 0.25 * terms["deep_supervision"])
    head = dict(who.terms.named_parameters())
    h = activation(who, noised, labels)[:, -4:].double()  # 2×2 patches of 4×4 pixels

    def of_head(name: str) -> torch.Tensor:
        return next(p for n, p in head.items() if n.endswith(name)).detach().double()

    maps = F.layer_norm(h, h.shape[-1:], of_head("norm.weight"), of_head("norm.bias"), eps=1e-6)
    maps = maps.transpose(1, 2).unflatten(2, (2, 2))
    output = F.conv2d(maps, of_head("convolution.weight"), of_head("convolution.bias"), padding=1)

    def summed(image: torch.Tensor) -> torch.Tensor:
        return image.double().unflatten(3, (2, 4)).unflatten(2, (2, 4)).sum((3, 5)) / 4

    predicted = who.process.predict(lambda *_: output, summed(noised.x), noised.level, labels)
    target = summed(who.process.target.value(noised.x0, noised.noise, noised.level))
    wanted = who.process.target_weight(noised.level) * (predicted - target).square().flatten(1).mean(1)
    torch.testing.assert_close(terms["deep_supervision"].double(), wanted, rtol=1e-4, atol=1e-6)


def test_repa_is_its_equation(tmp_path: Path) -> None:
    """−mean cosine between projected tokens and the teacher's patches at the same places (Yu et al. 2024, eq. 8)."""
    who = train(aligned(tmp_path), 2)
    noised, labels = who.batch()
    h = activation(who, noised, labels)  # (B, 4, 16)
    part = who.candidate.auxiliary[0].teacher.prepare(who.data.dataset, tmp_path, CPU, lambda: None)
    seen = torch.from_numpy(who.data.dataset.images)[noised.origin.indices]
    patches = part.build_patches(CPU)(seen)  # (B, 32, 4, 4)
    value = who._losses(noised, labels)[1]["repa"].detach()
    for i in range(len(h)):
        cosines = []
        for place in range(4):
            row, column = divmod(place, 2)
            wanted = patches[i, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean((1, 2))
            projected = who.terms.auxiliary[0].projector(h[i, place]).detach()
            cosines.append(float(F.cosine_similarity(projected, wanted, dim=0)))
        assert float(value[i]) == pytest.approx(-sum(cosines) / 4, abs=2e-3)  # the table is in half precision


def test_a_teacher_with_one_vector_is_compared_with_it_at_every_place(tmp_path: Path) -> None:
    who = aligned(tmp_path, teacher={"type": "efficientnet_lite0", "size": 32})
    term = who.terms.auxiliary[0]
    assert term.kept == (1280, 1, 1) and term.grid == (2, 2)
    assert who.step(1000).terms["repa"].isfinite()


def test_the_teacher_looks_at_each_image_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its features are kept in the cache: another trial, and other epochs, find them there."""
    looked = []
    plain = SmallClassifier.forward

    def counted(self: SmallClassifier, x: torch.Tensor, heads: Any) -> Any:
        looked.extend(x if "maps" in heads else [])
        return plain(self, x, heads)

    monkeypatch.setattr(SmallClassifier, "forward", counted)
    who = aligned(tmp_path)
    assert len(looked) == len(who.data)
    train(who, 20)  # 160 images of 64
    aligned(tmp_path).step(1000)
    assert len(looked) == len(who.data)
    assert len(list(tmp_path.glob("teachers/*.npy"))) == 1


@pytest.mark.parametrize("augmentation", [False, True])
def test_mirrored_images_have_the_features_of_mirrored_images(tmp_path: Path, augmentation: bool) -> None:
    """Whether the data mirror them or the augmentation does."""
    plain = images().dataset
    data = Dataset(plain.images, plain.labels, plain.images, plain.labels, 2, "flips", flip=not augmentation)
    config = candidate(auxiliary=[REPA], augmentation="flip" if augmentation else "none", batch=64)
    who = Learner(config, SETTING, Images(data, CPU, cache=tmp_path), 0, CPU, None)
    who.prepare(lambda: None)
    noised, _ = who.batch()
    mirrored = noised.origin.mirrored
    assert 16 < int(mirrored.sum()) < 48
    pixels = ((noised.x0 + 1) * 127.5).round().to(torch.uint8)
    original = torch.from_numpy(plain.images)[noised.origin.indices]
    assert torch.equal(pixels[mirrored], original[mirrored].flip(-1))
    assert torch.equal(pixels[~mirrored], original[~mirrored])
    term = who.terms.auxiliary[0]
    look = term.table.teacher.build_patches(CPU)
    wanted = F.adaptive_avg_pool2d(look(pixels), term.kept[1:])
    torch.testing.assert_close(term.table.rows(noised.origin.indices, mirrored), wanted, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("flip", ["none", "stored"])
def test_the_teacher_sees_the_pictures_behind_latents(tmp_path: Path, flip: str) -> None:
    """In their order, and mirrored where the latent of the mirrored picture was drawn."""
    labels = np.arange(40) % 2
    pictures = np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "encoded.npz", images=pictures, labels=labels)
    np.savez(tmp_path / "held_out.npz", images=pictures[:8])
    pooled = F.avg_pool2d(torch.from_numpy(pictures).float(), 2).numpy() / 64  # an encoder of three channels
    tensors = {"latents": pooled, "latents_flip": pooled[..., ::-1].copy(), "labels": labels}
    save_file(tensors, tmp_path / "z.safetensors")
    paths = {name: str(tmp_path / file) for name, file in (("path", "z.safetensors"), ("reference", "held_out.npz"))}
    data = catalog().create(
        "data", {"type": "latents", **paths, "flip": flip, "pictures": str(tmp_path / "encoded.npz")}
    )
    config = candidate(auxiliary=[REPA], batch=40)
    alone = data.model_copy(update={"pictures": None})
    assert misfits(config, data, data.setting()) == []
    assert ["needs 'pictures'" in p.message for p in misfits(config, alone, alone.setting())] == [True]
    who = Learner(config, data.setting(), Images(data.load(tmp_path), CPU, cache=tmp_path), 0, CPU, None)
    who.prepare(lambda: None)
    noised, _ = who.batch()
    origin, term = noised.origin, who.terms.auxiliary[0]
    mirrored = torch.zeros(40, dtype=torch.bool) if origin.mirrored is None else origin.mirrored
    assert mirrored.any() == (flip == "stored")
    seen = torch.from_numpy(pictures)[origin.indices]
    seen = torch.where(mirrored[:, None, None, None], seen.flip(-1), seen)
    wanted = F.adaptive_avg_pool2d(term.table.teacher.build_patches(CPU)(seen), term.kept[1:])
    torch.testing.assert_close(term.table.rows(origin.indices, origin.mirrored), wanted, rtol=2e-3, atol=2e-3)
    assert who.step(1000).terms["repa"].isfinite()


def test_a_large_table_stays_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resident = aligned(tmp_path).step(1000).loss
    monkeypatch.setattr("ablate_zoo.auxiliary._alignment.RESIDENT", 0)
    who = aligned(tmp_path)
    assert isinstance(who.terms.auxiliary[0].table, TeacherTable) and not who.terms.auxiliary[0].table.resident
    assert torch.equal(who.step(1000).loss, resident)


def test_tokens_lie_on_a_grid_behind_those_that_have_joined() -> None:
    wide = InputSpec((3, 16, 32), None)
    assert grid_of((64, 8, 16), wide) == (8, 16)  # maps
    assert grid_of((128, 96), wide) == (8, 16) == grid_of((130, 96), wide)
    assert grid_of((64, 96), wide) is None  # half of them were left out
    assert grid_of((7,), wide) is None


def test_u_nets_and_in_context_tokens_are_aligned(tmp_path: Path) -> None:
    unet = {"type": "unet", "width": 8, "multipliers": [1, 1], "blocks": 1, "attention_resolutions": []}
    dit = {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2, "conditioning": "in_context"}
    for backbone, site in ((unet, "encoder.0"), (dit, "blocks.0")):
        config = candidate(backbone=backbone, auxiliary=[{**REPA, "site": site, "depth": 0.25}])
        who = Learner(config, SETTING, images(), 0, CPU, None)
        who.data.cache = tmp_path
        who.prepare(lambda: None)
        assert who.step(1000).terms["repa"].isfinite()


def test_what_a_teacher_cannot_see_is_refused() -> None:
    latents = {"labels", "latents"}
    (problem,) = misfits(candidate(auxiliary=[REPA]), None, SETTING, provided=latents)
    assert "data of pictures" in problem.message
    assert [p.path for p in misfits(candidate(auxiliary=[REPA]), None, InputSpec((4, 8, 8), 2), provided={"labels"})]
    flip = candidate(augmentation="flip")
    (problem,) = misfits(flip, None, SETTING, provided={"labels", "mirrored_pictures"})
    assert "already" in problem.message


def test_other_weights_of_the_teacher_are_told(tmp_path: Path) -> None:
    """A training that goes on with another teacher than it began with would be nobody's."""
    who = train(aligned(tmp_path / "one", teacher={**CLASSIFIER, "steps": 3}), 1)
    state = who.state({})
    again = Learner(who.candidate, SETTING, images(), 0, CPU, None)
    again.load(state)
    again.data.dataset = Dataset(
        255 - again.data.dataset.images, np.arange(64) % 2, again.data.dataset.images, None, 2, "others"
    )
    again.data.cache = tmp_path / "two"
    with pytest.raises(InputError, match="teacher 'classifier' has other weights"):
        again.prepare(lambda: None)


def test_defaults_are_in_the_catalog() -> None:
    assert catalog().names("auxiliary") == ["contrastive", "deep_supervision", "dispersive", "repa"]
