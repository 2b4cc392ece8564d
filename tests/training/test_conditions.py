"""The record of conditions: dropped together and each alone, drawn by the image, and nothing where there are labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from learners import CPU, SETTING, candidate, learner, same, train
from segments_for_tests import CACHE
from torch import Tensor

from ablate.candidates.candidate import Candidate
from ablate.discovery.catalog import catalog
from ablate.evaluation.drawn_for import DrawnFor
from ablate.evaluation.sampling import Sampler
from ablate.kinds.conditions import CLASS, Conditions, Told, dropped, joined, told_record, without
from ablate.kinds.data import Data, Encoding, image_setting, load_data
from ablate.spec.slots import create
from ablate.training.learner import Images, Learner

TEXT = {"type": "text", "length": 3}
DATA = create(
    Data, {"type": "digits", "conditions": [TEXT, {"type": "low_resolution", "factor": 2}, "inpainting"]}, catalog()
)
EMBEDDERS = ["tokens", {"type": "channels", "of": "low_resolution"}, {"type": "channels", "of": "inpainting"}]
NAMES = {CLASS, "text", "low_resolution", "inpainting"}


@pytest.fixture(scope="module")
def dataset():
    return load_data(DATA, CACHE)


@pytest.fixture(scope="module")
def told_images(dataset):
    return Images(dataset, CPU)


def told_candidate(**parts) -> Candidate:
    backbone = {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2, "embedders": EMBEDDERS}
    return candidate(**{"backbone": backbone, **parts})


@pytest.fixture
def teller(told_images):
    def made(micro: int | None = None, **parts) -> Learner:
        return Learner(told_candidate(**parts), image_setting(DATA), told_images, 0, CPU, micro)

    return made


# --- the record by itself ------------------------------------------------------------------------


@st.composite
def records(draw, count: int = 6):
    """Some of the conditions of so many images, each with some dropped or none."""
    flags = st.lists(st.booleans(), min_size=count, max_size=count)
    told = {}
    shapes = {CLASS: (), "text": (4,), "size": (2,), "image": (1, 2, 2)}
    for name in draw(st.lists(st.sampled_from(sorted(shapes)), min_size=1, unique=True)):
        value = torch.arange(count * int(np.prod(shapes[name])) or count).view(count, *shapes[name])
        present = draw(st.none() | flags)
        mask = torch.arange(4).expand(count, 4) < torch.arange(1, count + 1)[:, None] if name == "text" else None
        told[name] = Told(value, None if present is None else torch.tensor(present), mask)
    return Conditions(told, draw(st.lists(st.sampled_from(sorted(told)), unique=True)))


def alike(one: Conditions, other: Conditions) -> bool:
    """The same values and masks, and the same that are there."""
    return (
        one.keys() == other.keys()
        and one.held == other.held
        and all(
            torch.equal(one[n].value, other[n].value)
            and torch.equal(one[n].there(), other[n].there())
            and (one[n].mask is other[n].mask is None or torch.equal(one[n].mask, other[n].mask))
            for n in one
        )
    )


@given(records(), st.lists(st.booleans(), min_size=6, max_size=6), st.integers(1, 5), st.data())
def test_rows_joined_and_drop_commute(record, flags, cut, data):
    which, null = torch.tensor(flags), 99
    names = data.draw(st.none() | st.lists(st.sampled_from([*record, "unknown"]), unique=True))
    first, rest = slice(0, cut), slice(cut, 6)
    gone = dropped(record, which, null, names)
    assert alike(joined(record.rows(first), record.rows(rest)), record)
    assert alike(joined(gone.rows(first), gone.rows(rest)), gone)
    assert alike(gone.rows(first), dropped(record.rows(first), which[first], null, names))
    assert alike(dropped(gone, which, null, names), gone)
    chosen = set(record if names is None else names) & set(record) - record.held
    for name, told in gone.items():
        kept = ~which if name in chosen else torch.ones(6, dtype=torch.bool)
        assert torch.equal(told.there(), record[name].there() & kept)
        assert name == CLASS or torch.equal(told.value, record[name].value)
    if CLASS in chosen:
        assert torch.equal(gone.labels, record.labels.masked_fill(which, null))
    everywhere = torch.ones(6, dtype=torch.bool)
    assert alike(without(record, null, names), dropped(record, everywhere, null, names))
    assert alike(record.rows(torch.tensor([5, 0])).rows(torch.tensor([1, 0])), record.rows(torch.tensor([0, 5])))


# --- labels alone ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["dit", "uvit", "unet"])
def test_labels_stay_a_tensor_and_a_record_of_them_trains_to_the_bit(backbone):
    small = {"type": "unet", "width": 8, "multipliers": [1, 2], "blocks": 1, "attention_resolutions": [4], "groups": 4}
    spec = small if backbone == "unet" else {"type": backbone, "patch": 4, "depth": 3, "width": 16, "heads": 2}
    parts = {"backbone": spec, "guidance": {"type": "cfg", "drop": 0.3}}
    plain, record = learner(**parts), learner(**parts)
    labels = plain.batch()[1]
    assert isinstance(labels, Tensor) and SETTING.classes in labels

    drawn = record.batch
    record.batch = lambda: (lambda noised, labels: (noised, told_record(labels)))(*drawn())
    assert isinstance(record.batch()[1], Conditions)
    train(plain, 3)
    train(record, 3)
    assert same(plain.network.state_dict(), record.network.state_dict())


def test_a_field_for_conditions_that_is_empty_changes_no_identity():
    spec = {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2}
    assert candidate(backbone={**spec, "embedders": []}).digest() == candidate(backbone=spec).digest()
    cfg = {"type": "cfg", "scale": 2.0}
    one, other = (candidate(guidance={**cfg, **more}) for more in ({}, {"of": None, "drop_each": 0.0}))
    assert one.digest() == other.digest() != candidate(guidance={**cfg, "drop_each": 0.1}).digest()


# --- what is drawn ---------------------------------------------------------------------------------


def drawn(who: Learner, batches: int = 1) -> Conditions:
    parts = []
    for _ in range(batches):
        parts.append(who.batch()[1])
        who.steps_done += 1
    return joined(*parts)


DROPS = {"guidance": {"type": "cfg", "drop": 0.3, "drop_each": 0.2}}


def test_what_is_told_of_an_image_does_not_depend_on_the_batch(teller):
    """Candidates that differ in `batch` are told the same: texts, holes, and what is dropped."""
    one, other = drawn(teller(batch=24, **DROPS)), drawn(teller(batch=8, **DROPS), 3)
    assert one.keys() == NAMES and alike(one, other)
    holes = one["inpainting"].value[:, -1].flatten(1).sum(1)
    assert len(holes.unique()) > 5  # each image has a hole of its own
    assert not torch.equal(
        one["inpainting"].value, drawn(teller(batch=24, **DROPS), 2).rows(slice(24, 48))["inpainting"].value
    )


def test_what_is_told_is_what_the_network_is_to_denoise(teller):
    who = teller(batch=32)
    noised, record = who.batch()
    pooled = torch.nn.functional.avg_pool2d(noised.x0, 2)
    enlarged = torch.nn.functional.interpolate(pooled, scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.equal(record["low_resolution"].value, enlarged)
    image, hole = record["inpainting"].value.split(1, dim=1)
    assert torch.equal(image, noised.x0 * (1 - hole)) and 0 < hole.mean() < 1
    assert [chr(c) for c in record["text"].value[:, 0]] == [str(label) for label in record.labels.tolist()]
    assert record["text"].mask.tolist() == [[True, False, False]] * 32


@pytest.mark.parametrize("of", [None, ["text", "inpainting"]])
def test_conditions_are_dropped_together_and_each_alone(teller, of):
    who = teller(batch=2000, guidance={"type": "cfg", "drop": 0.3, "drop_each": 0.2, "of": of})
    record = drawn(who)
    chosen = NAMES if of is None else set(of)
    gone = {name: ~told.there() for name, told in record.items()}
    assert all(not gone[name].any() for name in NAMES - chosen)
    every = torch.stack([gone[name] for name in sorted(chosen)])
    assert every.all(0).float().mean() == pytest.approx(0.3 + 0.7 * 0.2 ** len(chosen), abs=0.04)
    for name in chosen:  # each by itself, independently of the others
        assert every[:, ~every.all(0)].float().mean() < 0.3
        assert gone[name].float().mean() == pytest.approx(1 - 0.7 * 0.8, abs=0.04)
    if CLASS in chosen:
        assert torch.equal(record.labels == 10, gone[CLASS])
    assert who.setting.classes == 10


def test_how_a_batch_is_cut_changes_no_gradient(teller):
    gradients = []
    for micro in (None, 4):
        who = teller(micro=micro, batch=16, **DROPS)
        train(who, 2)
        who.gradients(*who.batch())
        gradients.append([p.grad for p in who.network.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


def test_training_goes_on_exactly(teller):
    whole, first, second = (teller(**DROPS) for _ in range(3))
    train(whole, 4)
    train(first, 2)
    second.load(first.state({}))
    assert same(train(second, 2).state({}).tensors, whole.state({}).tensors)


# --- what samples are drawn for --------------------------------------------------------------------


def test_samples_are_drawn_for_pictures_of_the_reference_each_once_a_round(dataset):
    total = len(dataset.reference_images)
    drawn_for = DrawnFor(dataset, total + 50, 0, CPU)
    whole = drawn_for.rows(0, total + 50)
    assert sorted(drawn_for.order[:total].tolist()) == list(range(total))
    assert drawn_for.order[:total].tolist() != list(range(total))
    pictures = torch.from_numpy(dataset.reference_images[drawn_for.order]).float() / 127.5 - 1
    image, hole = whole["inpainting"].value.split(1, dim=1)
    assert torch.equal(image, pictures * (1 - hole))
    assert torch.equal(whole.labels, torch.from_numpy(dataset.reference_labels[drawn_for.order]))
    parts = [drawn_for.rows(first, min(77, total + 50 - first)) for first in range(0, total + 50, 77)]
    assert alike(joined(*parts), whole)  # whatever the batch
    assert alike(DrawnFor(dataset, 40, 0, CPU).rows(0, 40), whole.rows(slice(0, 40)))  # the first of more are the same
    assert not alike(DrawnFor(dataset, 40, 1, CPU).rows(0, 40), whole.rows(slice(0, 40)))


def test_samples_do_not_depend_on_how_many_are_drawn_at_a_time(teller, dataset):
    who = train(teller(guidance={"type": "cfg", "scale": 2.0, "of": ["text"]}), 3)
    samples = []
    for batch in (4, 12):
        sampler = Sampler(who.candidate, who.process, image_setting(DATA), 0, CPU, dataset=dataset)
        assert sampler.of_the_reference
        samples.append(torch.cat([images for images, _ in sampler.batches(who.network, {}, 12, batch)]))
    assert (samples[0].int() - samples[1].int()).abs().max() <= 1  # rounding, at the edge of two bytes


def test_what_reads_a_latent_is_not_given_a_picture(dataset):
    latents = np.zeros((len(dataset.images), 2, 4, 4), np.float32)
    encoded = replace(dataset, images=latents, encoding=Encoding((0.0, 0.0), (1.0, 1.0)))
    text = DrawnFor(replace(encoded, conditions=dataset.conditions[:1]), 8, 0, CPU).rows(0, 8)["text"]
    assert not text.value.is_meta
    with pytest.raises(RuntimeError, match="meta"):
        DrawnFor(encoded, 8, 0, CPU).rows(0, 8)


def test_cfg_of_one_condition_keeps_the_others(teller):
    """Brooks et al. 2023 (InstructPix2Pix), eq. 3 at its scale 1: y(image) + s·(y(image, text) − y(image))."""
    who = teller()
    record = who.batch()[1]
    asked = []

    def predict(x, labels):
        asked.append(labels)
        there = torch.stack([told.there().float() for told in labels.values()])  # (conditions, B)
        weights = torch.tensor([10.0**i for i in range(len(labels))])
        return (there * weights[:, None]).sum(0).view(-1, 1, 1, 1).expand_as(x)

    x, count = torch.zeros(8, 1, 8, 8), len(record.labels)
    level = who.process.level(torch.tensor(0.5, dtype=torch.float64))
    place = list(record).index("text")
    for of, gap in ((("text",), 10.0**place), (None, sum(10.0**i for i in range(4)))):
        guidance = told_candidate(guidance={"type": "cfg", "scale": 3.0, "of": of}).guidance
        y = guidance.predict(predict, x, record, 10, level)
        (labels,) = asked[-1:]
        given, away = labels.rows(slice(0, count)), labels.rows(slice(count, 2 * count))
        assert all(told.there().all() for told in given.values())
        assert {n for n, told in away.items() if not told.there().any()} == (set(record) if of is None else {"text"})
        full = sum(10.0**i for i in range(4))
        assert torch.allclose(y, torch.full_like(y, full - gap + 3.0 * gap))
