"""What a candidate's own parts tell the network: the parameters of an augmentation, and its last prediction."""

from __future__ import annotations

import math

import pytest
import torch
from learners import CPU, SETTING, candidate, learner, same, train

from ablate.candidates.candidate import cost_of, misfits
from ablate.evaluation.sampling import Sampler
from ablate.kinds.conditions import PREDICTION, Conditions, class_labels, told_record
from ablate.runtime.randomness import RandomStreams
from ablate_zoo.augmentation._geometric import _resampled, _rotation, _translation
from ablate_zoo.augmentation.edm import Edm


def augmented(part: Edm, count: int = 400):
    """Smooth images, what becomes of them, and what the network is told."""
    side = torch.linspace(-1, 1, 16)
    x0 = torch.stack([torch.sin(2 * side[:, None] + i) * torch.cos(side[None, :] * (1 + i % 3)) for i in range(count)])
    draws = RandomStreams(0, CPU)
    found = part.apply(x0[:, None], lambda stream: draws.uniform(stream, 0, count))
    return x0[:, None], found.images, found.told["augmentation"]


def test_edm_tells_what_it_does_and_leaves_alone_what_it_does_not_tell_of():
    x0, images, told = augmented(Edm(probability=0.2))
    alone = (told == 0).all(1)
    assert 0.1 < alone.float().mean() < 0.5 and torch.equal(images[alone], x0[alone])
    mirrored = (told[:, 0] == 1) & (told[:, 1:] == 0).all(1)
    assert mirrored.any() and torch.equal(images[mirrored], x0[mirrored].flip(-1))
    upside = (told[:, 1] == 1) & (told[:, [0, *range(2, 9)]] == 0).all(1)
    assert upside.any() and torch.equal(images[upside], x0[upside].flip(-2))
    for columns, share in (([0], 0.5), ([1], 0.1), ([2], 0.2), ([3, 4], 0.2), ([5, 6], 0.2), ([7, 8], 0.2)):
        assert (told[:, columns] != 0).any(1).float().mean() == pytest.approx(share, abs=0.07)
    nothing = augmented(Edm(probability=0.0, mirror=0.0))
    assert torch.equal(nothing[0], nothing[1]) and not nothing[2].any()


def test_edm_turns_and_shifts_as_its_matrices_say():
    x = augmented(Edm(), 4)[0]
    quarter = _resampled(x, _rotation(torch.full((4,), math.pi / 2, dtype=torch.float64)).inverse())
    assert (quarter - x.rot90(-1, (2, 3))).abs().max() < 0.02
    by = torch.full((4,), 2 / 16 * 3, dtype=torch.float64)  # three pixels of sixteen to the right
    shifted = _resampled(x, _translation(by, 0 * by).inverse())
    assert (shifted[..., 3:] - x[..., :-3]).abs().max() < 0.02
    wide = torch.cat([x, x], dim=3)  # not square: a turn by 180 degrees is still one
    half = _resampled(wide, _rotation(torch.full((4,), math.pi, dtype=torch.float64)).inverse())
    assert (half - wide.flip(-1, -2))[..., 2:-2, 2:-2].abs().max() < 0.1


@pytest.mark.parametrize(
    ("parts", "name"), [({"augmentation": "edm"}, "augmentation"), ({"objective": "self_conditioning"}, PREDICTION)]
)
def test_the_network_takes_it_in_and_the_labels_stay_those_of_before(parts, name):
    made, plain = candidate(**parts), candidate()
    assert not misfits(made, None, SETTING, provided={"labels"})
    (spec,) = made.inputs(SETTING).conditions
    assert spec.name == name and spec.held and made.inputs(made.inputs(SETTING)) == made.inputs(SETTING)
    told, before = cost_of(made.backbone, made.inputs(SETTING)), cost_of(plain.backbone, SETTING)
    assert told.params > before.params
    one, other = learner(**parts), learner()
    labels = one.batch()[1]
    assert isinstance(labels, Conditions) and torch.equal(class_labels(labels), other.batch()[1])


def test_self_conditioning_tells_some_images_what_the_network_found_without_being_told():
    made = train(learner(objective={"type": "self_conditioning", "rate": 0.5}), 3)
    calls = []
    network = made.network
    network.register_forward_pre_hook(lambda module, inputs: calls.append(inputs))
    made.gradients(*made.batch())
    (first, second) = calls
    assert torch.equal(first[0], second[0]) and PREDICTION not in first[2]
    told = second[2][PREDICTION]
    assert 0 < told.present.sum() < len(told.present) and not told.value.requires_grad
    noised, labels = made.batch()
    with torch.no_grad():
        alone = made.process.predict(made.predict, noised.x, noised.level, labels)
    assert torch.equal(told.value, made.process.denoised(alone, noised.x, noised.level).x0)


def test_sampling_tells_the_image_of_the_evaluation_before():
    made = train(learner(objective="self_conditioning", guidance={"type": "cfg", "scale": 2}), 2)
    seen = []

    def spy(module, inputs, output):
        seen.append((told_record(inputs[2]).get(PREDICTION), output))

    sampler = Sampler(made.candidate, made.process, SETTING, 0, CPU)
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: spy(module, inputs, output) if type(module) is type(made.network) else None
    )
    try:
        list(sampler.batches(made.network, {}, 4, 4))
    finally:
        handle.remove()
    assert len(seen) == 3 and seen[0][0] is None
    for told, _ in seen[1:]:
        assert told.value.shape == (8, 1, 8, 8)  # both halves of the guided batch are told the same
        assert torch.equal(told.value[:4], told.value[4:]) and told.present is None


def test_it_goes_on_from_a_checkpoint_to_the_same_weights():
    parts = {"objective": "self_conditioning", "augmentation": "edm"}
    whole = train(learner(**parts), 4)
    half = train(learner(**parts), 2)
    again = learner(**parts)
    again.load(half.state({}))
    assert same(train(again, 2).network.state_dict(), whole.network.state_dict())
