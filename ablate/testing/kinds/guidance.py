"""Checks of a guidance: what it asks of training, and what it makes of predictions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.candidates.candidate import cost_of, meta_network
from ablate.candidates.flops import example_inputs
from ablate.errors import InputError
from ablate.kinds.backbone import Backbone
from ablate.kinds.conditions import Labels, class_labels, told_record
from ablate.kinds.guidance import Guidance, Predictor
from ablate.kinds.guides import DenoisedGuidance, Denoisers, WeakerGuidance
from ablate.kinds.noised import Denoised, Level, over
from ablate.kinds.process import Process
from ablate.spec.component import InputSpec
from ablate.testing import companions
from ablate.testing.case import Case, Check, NotApplicable
from ablate.testing.processes import processes
from ablate.testing.small import settle

NULL = 10
# What a guidance may need and still be an average of predictions.
PLAIN = {"null_class", "labels", "conditions", "snapshots", "tokens"}


def asks_for_a_share_of_labels(case: Case) -> None:
    """`drop_rate` lies in [0, 1); it is 0 where the null class is not required."""
    for part in _variants(case):
        assert 0 <= part.drop_rate() < 1, f"{part!r}: drop_rate() is {part.drop_rate()}"
        if "null_class" not in part.requires():
            assert part.drop_rate() == 0, f"{part!r}: drops labels, but does not require 'null_class'"


def names_itself(case: Case) -> None:
    """`describe`, its identity in the results, says something, and tells of the fields that can be searched."""
    names = [part.describe() for part in _variants(case)]
    assert all(name.strip() for name in names), f"describe() says nothing: {names}"
    assert len(names) == 1 or len(set(names)) > 1, f"describe() says {names[0]!r} whatever the fields are"


def keeps_shape_and_batch(case: Case) -> None:
    """(B, C, H, W), finite, fp32; an image's prediction depends on no other, and is the same twice."""
    for part in _variants(case):
        for level in _levels(case):
            x, labels = torch.randn(3, 2, 4, 4), torch.tensor([1, 2, 3])
            y = _answer(part, _network, x, labels, level)
            alone = _answer(part, _network, x[1:2], labels[1:2], level)
            assert y.shape == x.shape and y.dtype == torch.float32, f"{part!r}: {tuple(y.shape)} {y.dtype}"
            assert y.isfinite().all(), f"{part!r}: not finite"
            assert torch.allclose(alone, y[1:2], atol=1e-6), f"{part!r}: depends on the rest of the batch"
            assert torch.equal(_answer(part, _network, x, labels, level), y), f"{part!r}: is not repeatable"


def works_without_labels(case: Case) -> None:
    """A guidance that does not require labels takes None for them."""
    if not case.component.requires().keys().isdisjoint({"labels", "conditions"}):
        raise NotApplicable("it requires labels, or conditions")
    for part in _variants(case):
        for level in _levels(case):
            x = torch.randn(3, 2, 4, 4)
            assert _answer(part, _network, x, None, level).shape == x.shape


def leaves_alone_what_the_class_does_not_change(case: Case) -> None:
    """Where the network says the same for every class, so does the guided prediction; a learned variance is kept."""
    _only_averages(case)
    for part in _variants(case):
        for level in _levels(case):
            x, labels = torch.randn(3, 4, 2, 2), torch.tensor([1, 2, 3])
            y = _answer(part, lambda x, labels: 2 * x, x, labels, level)
            assert torch.allclose(y, 2 * x, atol=1e-5), f"{part!r}: changes a prediction on which all classes agree"


def means_the_same_for_every_target(case: Case) -> None:
    """Networks that say the same in terms of other targets are guided to the same image."""
    _only_averages(case)
    for part in _variants(case):
        images = [(process, _guided(part, process)) for process in processes(case, part)]
        for process, image in images:
            first = next(one for other, one in images if other.schedule == process.schedule)
            assert torch.allclose(image, first, atol=1e-4), f"{part!r}: another image for {process.target!r}"


def keeps_image_and_noise_together(case: Case) -> None:
    """A guidance of denoised images leaves a reading of x, α·x0 + σ·ε = x, at each call of a batch of samples."""
    for part in _variants(case):
        if not isinstance(part, DenoisedGuidance):
            raise NotApplicable("it combines predictions")
        guide = part.begin()
        for level in reversed(_levels(case)):
            x, labels = torch.randn(3, 2, 4, 4), torch.tensor([1, 2, 3])
            found = guide(_denoisers(_network, level), x, labels, NULL, level)
            again = over(level.alpha, x) * found.x0 + over(level.sigma, x) * found.noise
            off = float((again - x).abs().max())
            assert off <= 1e-3 * max(1.0, float(found.x0.abs().max())), f"{part!r}: α·x0 + σ·ε is {off:.2g} off x"


def weakens_a_copy_of_the_network(case: Case) -> None:
    """The weaker network gives what the network gives in shape, on the CPU and on the meta device."""
    part = case.component
    if not isinstance(part, WeakerGuidance):
        raise NotApplicable("it has no weaker network")
    x, noise, labels = torch.randn(2, 2, 4, 4), torch.zeros(2), torch.tensor([0, 1])
    with torch.no_grad():
        output = part.weaken(_Blocks())(x, noise, labels)
        with torch.device("meta"):
            shape = part.weaken(_Blocks())(x.to("meta"), noise.to("meta"), labels.to("meta")).shape
    assert output.shape == shape == x.shape, f"{tuple(output.shape)} for images {tuple(x.shape)}"
    assert output.isfinite().all(), "the weaker network gives numbers that are not finite"


def trains_a_smaller_sibling(case: Case) -> None:
    """A sibling has fewer parameters, gives what the network gives in shape, and learns for a part of the training."""
    found = 0
    for part in [one for one in _variants(case) if isinstance(one, WeakerGuidance)]:
        for backbone in case.partners("backbone"):
            try:
                setting = settle(backbone)
                sibling = part.sibling(backbone, setting)
            except (InputError, NotApplicable):
                continue
            if sibling is None:
                continue
            found += 1
            own, less = (cost_of(one, setting).params for one in (backbone, sibling.backbone))
            assert less < own, f"{part!r}: its sibling has {less:,} parameters, the network {own:,}"
            shapes = [_shape(one, setting) for one in (backbone, sibling.backbone)]
            assert shapes[0] == shapes[1], f"{part!r}: its sibling gives {shapes[1]}, the network {shapes[0]}"
            assert 0 < sibling.until <= 1, f"{part!r}: its sibling learns for {sibling.until} of the training"
    if not found:
        raise NotApplicable("it trains no sibling")


def _shape(backbone: Backbone, setting: InputSpec) -> torch.Size:
    with torch.no_grad():
        output: Tensor = meta_network(backbone, setting)(*example_inputs(setting))
    return output.shape


class _Blocks(nn.Module):
    """A network of three blocks, each of which gives what it reads in shape."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Conv2d(2, 2, 1) for _ in range(3))

    def forward(self, x: Tensor, noise: Tensor, labels: Labels) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        for block in self.blocks:
            x = x + block(x)
        return x


def _answer(part: Guidance, network: Predictor, x: Tensor, labels: Labels, level: Level) -> Tensor:
    """Return what it makes of predictions; of denoised images the image, where the network predicts images."""
    if not isinstance(part, DenoisedGuidance):
        return part.predict(network, x, labels, NULL, level)
    return part.begin()(_denoisers(network, level), x, labels, NULL, level).x0


def _denoisers(network: Predictor, level: Level) -> Denoisers:
    """Return denoisers whose image is what the network says, the same for both networks."""

    def denoise(x: Tensor, labels: Labels) -> Denoised:
        x0 = network(x, labels)[:, : x.shape[1]]
        _, alpha, sigma = level.guarded
        return Denoised(x0, (x - over(alpha, x) * x0) / over(sigma, x))

    return Denoisers(denoise, denoise)


def _guided(part: Guidance, process: Process) -> Tensor:
    """Return x0 at the middle of time, from a network that knows an image for each class."""
    level = process.level(torch.tensor(0.4, dtype=torch.float64))
    x = torch.randn(2, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def network(x: Tensor, noise: Tensor, labels: Labels) -> Tensor:
        classes = class_labels(labels)
        assert classes is not None
        x0 = (0.3 - 0.05 * classes.to(x.dtype)).reshape(-1, 1, 1, 1).expand_as(x)
        seen = process.target.value(x0, (raw(x) - level.alpha * x0) / level.sigma, level)
        c = process.precondition.coefficients(level.guarded, process.target, process.sigma_data)
        return (seen - c.skip * raw(x)) / c.output

    def raw(x: Tensor) -> Tensor:
        """Return x as it was before c_in, for one or two copies of the batch."""
        c = process.precondition.coefficients(level.guarded, process.target, process.sigma_data)
        return x / c.input

    labels = torch.tensor([1, 2])
    return process.denoiser(network, part, labels, NULL, weaker=network)(x, 0.4).x0.float()


def _only_averages(case: Case) -> None:
    if case.component.requires().keys() - PLAIN:
        raise NotApplicable("it takes more into account than predictions")


def _variants(case: Case) -> list[Guidance]:
    return [part for part in case.variants(numbers=True) if isinstance(part, Guidance)]


def _levels(case: Case) -> list[Level]:
    schedule = next(iter(case.partners("schedule")))
    times = (torch.tensor(t, dtype=torch.float64) for t in (0.05, 0.5, 1.0))
    return [Level(t, schedule.alpha(t), schedule.sigma(t)) for t in times]


def _network(x: Tensor, labels: Labels) -> Tensor:
    classes = class_labels(labels)
    return x if classes is None else x * (1 + classes.to(x.dtype).reshape(-1, 1, 1, 1) / 10)


def guides_by_conditions(case: Case) -> None:
    """Unless it asks for labels, a record of conditions is guided as labels are: `without` and `joined` do both."""
    if "labels" in case.component.requires():
        raise NotApplicable("it asks for labels")
    for part in _variants(case):
        for level in _levels(case):
            x, labels = torch.randn(3, 2, 4, 4), torch.tensor([1, 2, 3])
            by_labels = _answer(part, _network, x, labels, level)
            by_record = _answer(part, _network, x, told_record(labels), level)
            assert torch.equal(by_labels, by_record), f"{part!r}: a record is guided otherwise than labels"


CHECKS: tuple[Check, ...] = (
    guides_by_conditions,
    asks_for_a_share_of_labels,
    names_itself,
    keeps_shape_and_batch,
    works_without_labels,
    leaves_alone_what_the_class_does_not_change,
    means_the_same_for_every_target,
    keeps_image_and_noise_together,
    weakens_a_copy_of_the_network,
    trains_a_smaller_sibling,
    *companions.CHECKS,
)
