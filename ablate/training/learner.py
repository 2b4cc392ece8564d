"""The training step: forward and backward pass with gradient accumulation, clipping, optimizer, moving averages."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ablate.candidates.candidate import Candidate, format_component
from ablate.errors import InputError
from ablate.kinds.backbone import constrained, network_blocks
from ablate.kinds.clip import Norms
from ablate.kinds.conditions import Labels
from ablate.kinds.ema import Weights
from ablate.kinds.noised import Noised
from ablate.kinds.objective import Pictures
from ablate.kinds.optimizer import RATE_SHARE
from ablate.kinds.probe import StepObserver
from ablate.kinds.process import Network
from ablate.kinds.routing import hiding
from ablate.runtime.isolation import Watch, watched
from ablate.runtime.randomness import RandomStreams, seed_everything
from ablate.runtime.recompute import outermost, recomputed
from ablate.spec.component import InputSpec
from ablate.training.batches import cut_batch, draw_batch, split_batch
from ablate.training.beginning import Beginning
from ablate.training.building import build_holders, build_modules
from ablate.training.captured import CapturedStep
from ablate.training.checkpoint import Checkpoint
from ablate.training.compiled import CompiledNetwork, compile_step, forget_compiled
from ablate.training.group import Order
from ablate.training.images import Images as Images
from ablate.training.inheritance import Inheritance
from ablate.training.learner_state import load_into, state_of
from ablate.training.placement import Placement, Whole
from ablate.training.sibling import SiblingLearner
from ablate.training.steps import Learned, TrainingStep
from ablate.training.terms import StepModel


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
        self.home = torch.device("cpu") if waits else device  # of weights and moments
        whole = candidate.needs_whole_batches()
        if whole is not None and self.micro < candidate.batch:
            raise InputError(
                f"{whole} compares the images of a whole batch, which cannot be cut into {self.micro} each"
            )
        watch = Watch()
        whence = (teacher, beginning, "sibling/" if is_sibling else "")
        modules = build_modules(candidate, setting, images.sigma_data, seed, device, self.home, *whence, watch)
        self.modules = modules
        self.network, self.teacher, self.terms = modules.network, modules.teacher, modules.terms
        self.uncertainty, self.process, self.companion = modules.uncertainty, modules.process, modules.companion
        self.hold(watch)
        with watch.over(f"{format_component(candidate.precision)}, while its scaler is built,"):
            self.scaler = candidate.precision.scaler(device)
        self.sibling: SiblingLearner | None = None
        if not is_sibling and (sibling := candidate.sibling(setting)) is not None:
            own = (candidate.of_sibling(sibling), setting, images, seed, device, micro)
            self.sibling = SiblingLearner(Learner(*own, is_sibling=True), sibling.until)
        self.compiled = None if candidate.compile == "none" else CompiledNetwork(self.network, candidate.compile)
        self.placement: Placement = Whole()
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

    def hold(self, watch: Watch) -> None:
        """Build what holds the parameters, as they lie now: optimizer and averages."""
        held = build_holders(self.candidate, self.setting, self.modules, watch)
        self.parameters, self.trainable = held.parameters, held.trainable
        self.optimizer, self.average = held.optimizer, held.average

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
        """Let the terms look at the training images, and compile the network; `pause` is called now and then."""
        if self.compiled is not None and not self._is_sibling:
            forget_compiled()
        if self.sibling is not None:
            self.sibling.learner.prepare(pause)
        with watched("the terms of this candidate, while they look at the training images,"):
            self.terms.prepare(Pictures(self.data.dataset, self.data.cache, self.device, pause))
        if self.compiled is not None:
            compile_step(self, self.compiled)
        if self.captured is not None:
            self.captured.prepare()

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        return self.candidate.precision.forward(self.device)

    def batch(self) -> tuple[Noised, Labels]:
        """Draw the next batch: noisy images, and labels or conditions."""
        return draw_batch(self.candidate, self.setting, self.data, self.process, self.draws, self.images_seen)

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
        share = self.placement.share(len(noised.x))
        return split_batch(*cut_batch(noised, labels, share), self.micro)

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
        self.placement.sum(self.trainable.values(), [total, *(term_means or {}).values()])
        return total

    def seed_dropout(self) -> None:
        """Seed the global generators for the next step, which dropout and the like draw from."""
        seed_everything(self.seed, self.placement.dropout, self.steps_done)

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
        """Take one optimizer step over the next batch, of a training of `budget` images, while `observers` look on."""
        self.horizon = budget
        self.placement.announce(Order.STEP, budget)
        learned = None if self.captured is None or observers else self.captured.step()
        if learned is not None:
            return self._counted(learned)
        noised, labels = self.batch()
        return self.completed(noised, labels, self.learn(noised, labels, observers))

    def completed(self, noised: Noised, labels: Labels, learned: Learned) -> TrainingStep:
        """Take the step of what guidance trains beside the network, whose own is taken; return the whole step."""
        beside: Tensor | None = None
        if self.companion is not None:
            beside = self.companion.step(self.parts(noised, labels), self.candidate.batch, self.placement.group)
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
        return self.placement.norms(self.candidate.clip.apply(self.trainable))

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
        """Return a checkpoint: everything that decides the steps to come."""
        return state_of(self, facts)

    def load(self, checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint of the same candidate and seed."""
        load_into(self, checkpoint)

    def snapshot(self) -> Mapping[str, Tensor]:
        """Return what the averages store for good, as they give it."""
        return self.placement.gather(self.average.snapshot(), Order.SNAPSHOT)
