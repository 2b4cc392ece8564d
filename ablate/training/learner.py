"""The training step: forward and backward pass with gradient accumulation, clipping, optimizer, moving averages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ablate.candidates.candidate import Candidate, format_component
from ablate.errors import InputError
from ablate.kinds.augmentation import Uniform
from ablate.kinds.backbone import constrained, network_blocks
from ablate.kinds.clip import Norms
from ablate.kinds.conditions import CLASS, Conditions, Labels, Told, dropped, rows
from ablate.kinds.ema import Weights
from ablate.kinds.guidance import TrainedGuidance
from ablate.kinds.noised import Noised, Origin
from ablate.kinds.objective import Pictures
from ablate.kinds.optimizer import RATE_SHARE
from ablate.kinds.parameters import trained_parameters
from ablate.kinds.probe import StepObserver
from ablate.kinds.process import Network
from ablate.kinds.routing import hiding
from ablate.runtime.isolation import Watch, watched
from ablate.runtime.randomness import RandomStreams, seed_everything
from ablate.runtime.recompute import outermost, recomputed
from ablate.spec.component import Component, InputSpec
from ablate.training.beginning import Beginning
from ablate.training.captured import CapturedStep, Learned
from ablate.training.checkpoint import Checkpoint, by_prefix, flatten_optimizer, restore_optimizer, with_prefix
from ablate.training.companion import CompanionLearner
from ablate.training.compiled import CompiledNetwork, forget_compiled
from ablate.training.group import Group, Order
from ablate.training.images import Images as Images
from ablate.training.inheritance import Inheritance
from ablate.training.sibling import SiblingLearner
from ablate.training.terms import StepModel, Terms, teacher_like
from ablate.training.widths import base_shapes


class TrainingStep(NamedTuple):
    """The numbers of one training step. The tensors are on the device: reading them waits for it."""

    number: int  # from 1
    images: int  # seen so far
    loss: Tensor
    gradient_norm: Tensor  # before clipping
    clipped_norm: Tensor  # after it
    rate: float
    companion_loss: Tensor | None = None  # of the network that guidance trains, where it does
    terms: Mapping[str, Tensor] = {}  # the loss in parts, by name, where it has several


def new_network(
    candidate: Candidate,
    setting: InputSpec,
    seed: int,
    device: torch.device,
    watch: Watch | None = None,
    stream: str = "weights",
) -> nn.Module:
    """Build the network of a candidate with the initial weights of the trial of that seed."""
    seed_everything(seed, stream, 0)
    network: nn.Module = _build(candidate.backbone, lambda: candidate.backbone.build(setting), device, watch or Watch())
    return network


class Learner:
    """The state of a training: network, optimizer, averages of the weights (EMA), loss scaler, steps done.

    It takes steps; what is logged, saved or stopped is up to the caller. micro: images a forward pass; a batch of more
    is split, and its gradients are accumulated. None: as the candidate says. teacher: the weights of the network from
    which the objective learns, and from which the training starts; None where there is none, or no step is taken.
    beginning: trained weights, where the candidate starts from some; None too where a checkpoint is loaded anyway.
    is_sibling: whether it trains the smaller network beside another one: it begins with weights of its own, and trains
    nothing beside itself. waits: whether weights, moments and averages stand in host memory until they are sharded, or
    settled on the device.
    """

    def __init__(
        self,
        candidate: Candidate,
        setting: InputSpec,
        images: Images,
        seed: int,
        device: torch.device,
        micro: int | None,
        teacher: Mapping[str, Tensor] | None = None,
        is_sibling: bool = False,
        beginning: Beginning | Inheritance | None = None,
        waits: bool = False,
    ) -> None:
        candidate = self.candidate = candidate.for_setting(setting)
        self.setting = setting = candidate.inputs(setting)
        self.data = images
        self.device = device
        self.seed = seed
        self.micro = candidate.pass_images(micro)
        watch = Watch()
        own = "sibling/" if is_sibling else ""  # streams of initial weights
        self.network: nn.Module = new_network(candidate, setting, seed, device, watch, f"{own}weights")
        if candidate.layout == "channels_last":
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher: nn.Module | None = None
        if teacher is not None:
            self.network.load_state_dict(dict(teacher))
            self.teacher = teacher_like(candidate, self.network)
        if beginning is not None:
            beginning.enter(self.network)
            self.teacher = beginning.teacher(candidate, setting, device)
        if candidate.adapter.freezes:
            seed_everything(seed, "adapter", 0)
            _adapt(candidate, self.network, device, watch)
        self.home = torch.device("cpu") if waits else device  # of weights and moments
        if waits:
            self.network.to(self.home)
        seed_everything(seed, f"{own}uncertainty", 0)
        self.uncertainty = _build(candidate.weighting, candidate.weighting.build, device, watch)
        self.process = candidate.process(images.sigma_data, self.uncertainty)
        self.companion: CompanionLearner | None = None
        if isinstance(candidate.guidance, TrainedGuidance):
            with watch.over(f"{format_component(candidate.guidance)}, while its companion is built,"):
                self.companion = CompanionLearner(candidate.guidance, self.process, setting, seed, device)
        whole = candidate.needs_whole_batches()
        if whole is not None and self.micro < candidate.batch:
            raise InputError(
                f"{whole} compares the images of a whole batch, which cannot be cut into {self.micro} each"
            )
        seed_everything(seed, f"{own}objective", 0)
        self.terms = Terms(candidate, setting, lambda part, build: _build(part, build, device, watch))
        self._take_parameters(watch)
        with watch.over(f"{format_component(candidate.precision)}, while its scaler is built,"):
            self.scaler = candidate.precision.scaler(device)
        self.sibling: SiblingLearner | None = None
        sibling = None if is_sibling else candidate.sibling(setting)
        if sibling is not None:
            spec = candidate.of_sibling(sibling)
            smaller = Learner(spec, setting, images, seed, device, micro, is_sibling=True)
            self.sibling = SiblingLearner(smaller, sibling.until)
        self.compiled = None if candidate.compile == "none" else CompiledNetwork(self.network, candidate.compile)
        self.group: Group | None = None  # of processes that share the steps, where there are several
        self.is_sharded = False  # whether its weights lie in shards over the group
        self._is_sibling = is_sibling
        self._recomputed = outermost(network_blocks(self.network).values()) if candidate.recompute else []
        self.draws = RandomStreams(seed, device)
        self.captured = None if candidate.capture == "none" or is_sibling else CapturedStep(self)
        self._read_blocks = self.terms.blocks(self.network)  # whose activations the terms read
        self._hiding = hiding(self.network)
        self._constrained = constrained(self.network)
        self.horizon = math.inf  # images of the whole training, as far as is known
        self.steps_done = 0
        self.notice_progress: Callable[[], None] | None = None  # called where a term reads how far the training is

    def _take_parameters(self, watch: Watch) -> None:
        """Build what holds the parameters: the optimizer, and the averages."""
        candidate = self.candidate
        beside = {"uncertainty": self.uncertainty, "objective": self.terms}
        self.parameters = trained_parameters(self.network, beside, base_shapes(candidate, self.setting))
        with watch.over(f"{format_component(candidate.optimizer)}, while it is built,"):
            self.optimizer = candidate.optimizer.build(self.parameters)
        inner = {} if self.uncertainty is None else dict(self.uncertainty.named_parameters(prefix="uncertainty"))
        inner |= dict(self.terms.named_parameters(prefix="objective"))
        by_name = {**inner, **dict(self.network.named_parameters())}  # the network's last layer comes last
        self.trainable = {name: p for name, p in by_name.items() if p.requires_grad}
        with watch.over(f"{format_component(candidate.ema)}, while it is built,"):
            self.average = candidate.ema.build(dict(self.network.named_parameters()))

    def shard(self, group: Group) -> None:
        """Let the weights, gradients, moments and averages lie in shards over a group, which has the same state.

        Raises InputError where the network cannot be sharded.
        """
        from ablate.training.sharded import shard

        state = self.state({})
        try:
            shard(self.network, self.device, group.size)
        except ValueError as error:
            raise InputError(
                f"layout: fsdp does not go with backbone {self.candidate.backbone.name!r}: {error}; leave layout out"
            ) from None
        self.group, self.is_sharded = group, True
        self._take_parameters(Watch())
        self.load(state)

    def settle(self) -> None:
        """Bring what waits in host memory to the device."""
        if self.home == self.device:
            return
        state, self.home = self.state({}), self.device
        self.network.to(self.device)
        self._take_parameters(Watch())
        self.load(state)

    @property
    def progress(self) -> float:
        """The share of the training that is done, as far as its length is known."""
        return min(1.0, self.images_seen / self.horizon)

    @property
    def images_seen(self) -> int:
        """Return the number of training images so far, repeats included."""
        return self.steps_done * self.candidate.batch

    def predict(self, x: Tensor, c_noise: Tensor, labels: Labels, *second: Tensor) -> Tensor:
        """Evaluate the network in mixed precision, with activation checkpointing, as the candidate says."""
        with self._autocast(), recomputed(self._recomputed if torch.is_grad_enabled() else [], self._autocast):
            output: Tensor = (self.compiled or self.network)(x, c_noise, labels, *second)
        return output

    def prepare(self, pause: Callable[[], None]) -> None:
        """Do what comes before the first step: the terms look at the training images, the network is compiled.

        `pause` is called now and then.
        """
        if self.compiled is not None and not self._is_sibling:
            forget_compiled()
        if self.sibling is not None:
            self.sibling.learner.prepare(pause)
        with watched("the terms of this candidate, while they look at the training images,"):
            self.terms.prepare(Pictures(self.data.dataset, self.data.cache, self.device, pause))
        if self.compiled is not None:
            self._compile(self.compiled)
        if self.captured is not None:
            self.captured.prepare()

    def _compile(self, compiled: CompiledNetwork) -> None:
        """Compile the network by the passes of the next step, of which nothing is left."""
        held = [(buffer, buffer.clone()) for part in (self.network, self.terms) for buffer in part.buffers()]
        try:
            self.seed_dropout()
            compiled.warm_up(lambda: self.accumulate(*self.batch()), self.device, self.data.cache)
        finally:
            self.optimizer.zero_grad(set_to_none=True)
            with torch.no_grad():
                for buffer, value in held:
                    buffer.copy_(value)

    def _autocast(self) -> AbstractContextManager[Any]:
        return self.candidate.precision.forward(self.device)

    def batch(self) -> tuple[Noised, Labels]:
        """Draw the next batch: noisy images, and labels or conditions, of which some are dropped (label dropout).

        What is drawn for an image follows from its number in the training, not from the batch it comes in.
        """
        size, first = self.candidate.batch, self.images_seen
        index = self.draws.order(first, size, len(self.data))
        mirrored = self.data.mirrors(self.draws, first, size)
        x0 = self.data.pick(index, mirrored, self.draws, first)
        altered = self.candidate.augmentation.apply(x0, lambda s: self.draws.uniform(f"augmentation/{s}", first, size))
        if altered.mirrored is not None:
            mirrored = altered.mirrored if mirrored is None else mirrored ^ altered.mirrored
        uniform = self.draws.uniform("levels", first, size, torch.float64)
        level = self.process.level(self.candidate.levels.draw(uniform, self.candidate.schedule))
        noise = self.draws.normal("noise", first, x0.shape)
        classes = None if self.data.labels is None else self.data.labels[index]
        order = self.candidate.coupling.order(altered.images, noise, classes)
        noise = noise if order is None else noise[order]
        told = self.told(index, altered.images, lambda s: self.draws.uniform(s, first, size), altered.told)
        labels = self._dropped(told, first, size)
        noised = self.process.diffuse(altered.images, noise, level)
        return noised._replace(origin=Origin(first, index, mirrored)), labels

    def told(self, index: Tensor, x0: Tensor, uniform: Uniform, further: Mapping[str, Tensor] | None = None) -> Labels:
        """Return what the network is told of training images, with nothing dropped: labels, or a record of conditions.

        x0: the images after augmentation, `further` what that tells. uniform: draws for them, by the name of a stream.
        """
        classes = None if self.data.labels is None else self.data.labels[index]
        if not self.setting.conditions:
            return classes
        told = self.data.told(index, x0, uniform)
        for spec in self.setting.conditions:
            if further and spec.name in further:
                told = told.tell(spec.name, Told(further[spec.name]), spec.held)
        return told if classes is None else told.tell(CLASS, Told(classes))

    def _dropped(self, labels: Labels, first: int, size: int) -> Labels:
        """Drop labels and conditions at random, as guidance wants it: all together, and each alone."""
        drops, null = self.candidate.drops(), self.setting.classes or 0
        if labels is not None and drops.together > 0:
            which = self.draws.uniform("drop", first, size) < drops.together
            labels = dropped(labels, which, null, drops.names)
        if labels is not None and drops.each > 0:
            for name in drops.names or (labels if isinstance(labels, Conditions) else (CLASS,)):
                which = self.draws.uniform(f"drop/{name}", first, size) < drops.each
                labels = dropped(labels, which, null, [name])
        return labels

    def loss(self, noised: Noised, labels: Labels) -> Tensor:
        """Compute the loss of each image of a batch, (B,) fp32: the objective with its auxiliary terms."""
        return self._losses(noised, labels)[0]

    def _losses(
        self, noised: Noised, labels: Labels, predict: Network | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        model = StepModel(
            self.candidate,
            self.process,
            self.network,
            predict or self.predict,
            self._autocast,
            lambda: next(iter(self.average.weights().values())),
            self.draws,
            self._read_blocks,
            self.progress,
            self.setting.classes or 0,
            self.teacher,
            self._hiding,
            self.notice_progress,
        )
        losses: tuple[Tensor, dict[str, Tensor]] = self.terms(noised, labels, model)
        return losses

    def parts(self, noised: Noised, labels: Labels) -> Iterator[tuple[Noised, Labels]]:
        """Split the batch, or this process's share of it, into micro-batches of at most `micro` images."""
        if self.group is not None:
            noised, labels = _cut(noised, labels, self.group.share(len(noised.x)))
        return _split_batch(noised, labels, self.micro)

    def gradients(
        self,
        noised: Noised,
        labels: Labels,
        image_losses: list[Tensor] | None = None,
        term_means: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Accumulate the gradients of a batch over its micro-batches in the parameters; return its mean loss.

        The loss of each image is added to `image_losses`, (B,) a part; the mean of each term to `term_means`.
        """
        self.seed_dropout()
        total = self.accumulate(noised, labels, image_losses, term_means)
        if self.group is not None:  # gradients of shards are summed by the backward pass
            own = () if self.is_sharded else self.trainable.values()
            self.group.sum(own, [total, *(term_means or {}).values()])
        return total

    def seed_dropout(self) -> None:
        """Seed the global generators for the next step, which dropout and the like draw from."""
        own = "dropout" if self.group is None or self.group.rank == 0 else f"dropout/{self.group.rank}"
        seed_everything(self.seed, own, self.steps_done)

    def accumulate(
        self,
        noised: Noised,
        labels: Labels,
        image_losses: list[Tensor] | None = None,
        term_means: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Do what `gradients` does with this process's share of the batch, drawing on from where the generators are."""
        total = torch.zeros((), device=self.device)
        for part, part_labels in self.parts(noised, labels):
            total += self.backward(part, part_labels, image_losses, term_means)
        return total

    def backward(
        self,
        part: Noised,
        labels: Labels,
        image_losses: list[Tensor] | None = None,
        term_means: dict[str, Tensor] | None = None,
        predict: Network | None = None,
    ) -> Tensor:
        """Add the gradients of one part of a batch, as `gradients` does; return what it adds to the mean loss.

        predict: gives the network's output in the place of the network itself.
        """
        losses, terms = self._losses(part, labels, predict)
        if image_losses is not None:
            image_losses.append(losses.detach())
        if term_means is not None:
            for name, values in terms.items():
                mean = values.detach().sum() / self.candidate.batch
                term_means[name] = term_means[name] + mean if name in term_means else mean
        loss = losses.sum() / self.candidate.batch
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def step(self, budget: float, observers: Sequence[StepObserver] = ()) -> TrainingStep:
        """Take one optimizer step over the next batch.

        `budget` is the whole training in images, which the learning rate follows; `observers` look at the step.
        """
        self.horizon = budget
        if self.group is not None and self.group.rank == 0:
            self.group.order(Order.STEP, budget)
        learned = None if self.captured is None or observers else self.captured.step()
        if learned is not None:
            return self._counted(learned)
        noised, labels = self.batch()
        return self.completed(noised, labels, self.learn(noised, labels, observers))

    def completed(self, noised: Noised, labels: Labels, learned: Learned) -> TrainingStep:
        """Take the step of what guidance trains beside the network, whose own is taken; return the whole step."""
        beside: Tensor | None = None
        if self.companion is not None:
            beside = self.companion.step(self.parts(noised, labels), self.candidate.batch, self.group)
        elif self.sibling is not None:
            beside = self.sibling.step(noised, labels, self.horizon)
        return self._counted(learned, beside)

    def _counted(self, learned: Learned, beside: Tensor | None = None) -> TrainingStep:
        """Return a step that was taken, with the loss of what is trained beside the network."""
        loss, norms, rate, terms = learned
        numbers = (loss, norms.before, norms.after, rate, beside, terms)
        return TrainingStep(self.steps_done, self.images_seen, *numbers)

    def learn(self, noised: Noised, labels: Labels, observers: Sequence[StepObserver] = ()) -> Learned:
        """Take one optimizer step of the network alone, on a given batch."""
        terms: dict[str, Tensor] = {}
        loss = self.gradients(noised, labels, term_means=terms)
        return self.finish_step(loss, terms, observers)

    def finish_step(self, loss: Tensor, terms: Mapping[str, Tensor], observers: Sequence[StepObserver] = ()) -> Learned:
        """Take the rest of a step whose gradients are in the parameters: rate, clipping, optimizer, average."""
        rate = self.set_rate()
        norms = self.descend(observers)
        self.count_step()
        return Learned(loss, norms, rate, terms)

    def set_rate(self) -> float:
        """Give the optimizer the learning rate of the next step, and return it."""
        rate = self.candidate.optimizer.rate(self.images_seen + self.candidate.batch, self.horizon)
        for group in self.optimizer.param_groups:
            own = rate * group.get(RATE_SHARE, 1.0)
            if isinstance(group["lr"], Tensor):  # of a captured step, which reads it where it stands
                group["lr"].fill_(own)
            else:
                group["lr"] = own
        return rate

    def descend(self, observers: Sequence[StepObserver] = ()) -> Norms:
        """Clip the gradients that are in the parameters, and take the optimizer's step; return their norms."""
        norms = self.bound(observers)
        self.take()
        self.settle_step(observers)
        return norms

    def bound(self, observers: Sequence[StepObserver] = ()) -> Norms:
        """Clip the gradients that are in the parameters; return their norms."""
        self.scaler.unscale_(self.optimizer)
        for observer in observers:
            observer.graded(self.network)
        norms = self.candidate.clip.apply(self.trainable)
        if self.is_sharded:
            from ablate.training.sharded import whole

            norms = Norms(whole(norms.before), whole(norms.after))
        return norms

    def take(self) -> None:
        """Take the optimizer's step, on the gradients that are in the parameters."""
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def settle_step(self, observers: Sequence[StepObserver] = ()) -> None:
        """Do what follows the optimizer's step: constraints on weights, and the gradients go."""
        for module in self._constrained:
            module.after_step()
        for observer in observers:
            observer.moved(self.network)
        self.optimizer.zero_grad(set_to_none=True)

    def count_step(self) -> None:
        """Count a step that was taken, and update the average."""
        self.steps_done += 1
        self.update_average()

    def update_average(self) -> None:
        """Update the average after a step that is counted."""
        self.average.update(self.images_seen, self.candidate.batch)

    @property
    def companion_network(self) -> nn.Module | None:
        """The auxiliary network of guidance (such as a noisy classifier), if it trains one."""
        return None if self.companion is None else self.companion.network

    @property
    def averaged_sibling(self) -> tuple[nn.Module, Weights] | None:
        """The smaller network of guidance, if it trains one, and its averaged weights."""
        return None if self.sibling is None else self.sibling.averaged()

    @property
    def companion_loss(self) -> float | None:
        """The recent loss of what guidance trains beside; None before the first step, and where it is not finite."""
        beside = self.companion or self.sibling
        loss = math.nan if beside is None else float(beside.recent_loss)
        return loss if math.isfinite(loss) else None

    def state(self, facts: Mapping[str, Any]) -> Checkpoint:
        """Return a checkpoint: everything that decides the steps to come.

        Of shards the first process has the whole, and the others, which take part in it, have nothing of it.
        """
        moments, numbers = flatten_optimizer(self.optimizer.state_dict())
        tensors = with_prefix("network", self.network.state_dict())
        tensors |= with_prefix("average", self.average.state())
        tensors |= with_prefix("optimizer", moments)
        if self.is_sharded:
            tensors = self._gathered(tensors, Order.STATE)
        own = {"steps": self.steps_done, "optimizer": numbers, "scaler": self.scaler.state_dict()}
        if self.uncertainty is not None:
            tensors |= with_prefix("uncertainty", self.uncertainty.state_dict())
        tensors |= with_prefix("objective", self.terms.state_dict())  # nothing, where no term keeps anything
        if self.companion is not None:
            companion_tensors, own["companion"] = self.companion.state()
            tensors |= with_prefix("companion", companion_tensors)
        if self.sibling is not None:
            sibling = self.sibling.state()
            tensors, own["sibling"] = tensors | with_prefix("sibling", sibling.tensors), sibling.facts
        return Checkpoint(self.images_seen, tensors, {**facts, **own})

    def snapshot(self) -> Mapping[str, Tensor]:
        """Return what the averages store for good, as they give it; see `state` for shards."""
        tensors = self.average.snapshot()
        return self._gathered(tensors, Order.SNAPSHOT) if self.is_sharded else tensors

    def _gathered(self, tensors: Mapping[str, Tensor], order: Order) -> dict[str, Tensor]:
        from ablate.training.sharded import gathered

        assert self.group is not None
        leads = self.group.rank == 0
        if leads:
            self.group.order(order)
        return gathered(tensors, leads)

    def load(self, checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint of the same candidate and seed."""
        parts = by_prefix(checkpoint.tensors)
        network, average = parts["network"], parts["average"]
        fresh = self.optimizer.state_dict()
        moments = restore_optimizer(fresh, parts["optimizer"], checkpoint.facts["optimizer"])
        if self.is_sharded:
            from ablate.training.sharded import spread, spread_state

            network, average = spread(network, self.network.state_dict()), spread(average, self.average.state())
            moments = spread_state(moments, self.optimizer)
        self.network.load_state_dict(network)
        self.average.load(average)
        self.optimizer.load_state_dict(moments)
        if self.candidate.layout == "channels_last":
            _lay_out_as_parameters(self.optimizer)
        if checkpoint.facts["scaler"]:
            self.scaler.load_state_dict(checkpoint.facts["scaler"])
        if self.uncertainty is not None:
            self.uncertainty.load_state_dict(parts["uncertainty"])
        self.terms.load_state_dict(parts["objective"])
        if self.companion is not None:
            self.companion.load(parts["companion"], checkpoint.facts["companion"])
        if self.sibling is not None:
            self.sibling.load(parts["sibling"], checkpoint.facts["sibling"])
        self.steps_done = checkpoint.facts["steps"]


def _lay_out_as_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Bring an optimizer's state, as it was loaded, into the order in memory that its parameters have.

    Fused kernels go through both in the order of memory.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _build(part: Component, build: Callable[[], Any], device: torch.device, watch: Watch) -> Any:
    """Build what a component describes on the device. Raises GlobalStateError where that changes what is global."""

    def make() -> Any:
        with device:
            return build()

    with watch.over(f"{format_component(part)}, while it is built,", make):
        return make()


def _adapt(candidate: Candidate, network: nn.Module, device: torch.device, watch: Watch) -> None:
    """Let the adapter change the network. Raises InputError where that has nothing to adapt."""
    adapter = candidate.adapter
    with watch.over(f"{format_component(adapter)}, while it is built,"), device:
        try:
            adapter.apply(network)
        except ValueError as error:
            raise InputError(str(error), f"adapter {adapter.name!r}") from None


def _split_batch(noised: Noised, labels: Labels, size: int) -> Iterator[tuple[Noised, Labels]]:
    """Split the batch into parts of at most `size` images."""
    total = len(noised.x)
    if size >= total:
        yield noised, labels
        return
    for begin in range(0, total, size):
        yield _cut(noised, labels, slice(begin, begin + size))


def _cut(noised: Noised, labels: Labels, cut: slice) -> tuple[Noised, Labels]:
    """Return some neighbouring images of a batch."""
    level = type(noised.level)(*(value[cut] for value in noised.level))
    part = Noised(noised.x0[cut], noised.noise[cut], noised.x[cut], level, _origin(noised.origin, cut))
    return part, rows(labels, cut)


def _origin(origin: Origin | None, cut: slice) -> Origin | None:
    if origin is None:
        return None
    mirrored = None if origin.mirrored is None else origin.mirrored[cut]
    return Origin(origin.first + cut.start, origin.indices[cut], mirrored)
