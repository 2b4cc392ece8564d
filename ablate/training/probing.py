"""The schedule of the probes of one training: when each observes, what it is shown, and its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ablate.kinds.conditions import Labels
from ablate.kinds.noised import Noised
from ablate.kinds.probe import HELD, HistoryObserver, Observer, PassObserver, Probe, Readings, Seen, StepObserver
from ablate.runtime.randomness import RandomStreams, mix
from ablate.training.batches import told_of
from ablate.training.learner import Learner

LEVELS = 16  # noise levels in the held batch


@dataclass
class _Active:
    """A probe, its observer, and when it observes next."""

    probe: Probe
    observer: Observer
    next: float = 0  # images at which it looks again


class Probing:
    """Runs the probes within the training loop. Without probes every call returns at once, and no module has a hook.

    What is found stays on the device until `settle`, which training calls where it reads the losses.
    """

    def __init__(self, probes: Sequence[Probe], seed: int, count: int = HELD) -> None:
        self._seed = seed
        self._count = count  # images of the held batch
        self._active = {probe.name: _Active(probe, probe.build()) for probe in probes}
        self._rows: list[dict[str, Any]] = []
        self._waiting: list[tuple[str, int, Readings]] = []  # not read yet
        self._watching: list[tuple[str, int, StepObserver]] = []  # looking at the step that is being taken
        self._last: list[tuple[str, int]] = []  # observations that were made because no step came after
        self._batch: tuple[Noised, Labels] | None = None

    def before(self, learner: Learner, horizon: float, last: bool) -> Sequence[StepObserver]:
        """Observe the network before its next step where that is due; return the observers of the step itself.

        horizon: images of the whole training, as far as is known. last: whether no step comes after.
        """
        self._collect()
        if not self._active:
            return ()
        seen = learner.images_seen
        due = [name for name, active in self._active.items() if seen >= active.next]
        for name in due:
            active = self._active[name]
            active.next = self._next_observation(active.probe, seen, learner.candidate.batch, horizon)
        self._pass([name for name in due if isinstance(self._active[name].observer, PassObserver)], learner)
        for name, active in self._active.items():
            if isinstance(active.observer, StepObserver) and (last or name in due):
                self._watching.append((name, seen, active.observer))
                self._last += [] if name in due else [(name, seen)]
        return [observer for _, _, observer in self._watching]

    def step(self, images: int, loss: float, norm: float) -> None:
        """Give the probes of the history the numbers of a step, in order; `images` seen with it."""
        for name, active in self._active.items():
            if isinstance(active.observer, HistoryObserver):
                for site, value in active.observer.step(loss, norm):
                    self._add_row(name, images, site, None, value)

    def settle(self, images: float = math.inf) -> None:
        """Read the observations from the device into rows; drop those after so many images (past a divergence)."""
        self._collect()
        if not self._waiting:
            return
        values = torch.cat([readings.values.float() for _, _, readings in self._waiting]).tolist()
        waiting, self._waiting = self._waiting, []
        for name, seen, readings in waiting:
            own, values = values[: len(readings.sites)], values[len(readings.sites) :]
            if seen <= images:
                for site, x, value in zip(readings.sites, readings.x, own, strict=True):
                    self._add_row(name, seen, site, x, value)

    def finish(self, learner: Learner) -> None:
        """Observe the trained network a last time."""
        self._collect()
        self._pass(
            [name for name, active in self._active.items() if isinstance(active.observer, PassObserver)], learner
        )
        self.settle()

    def state(self) -> dict[str, Any]:
        """Return the probes' state for a checkpoint, as JSON."""
        histories = {n: o.observer.state() for n, o in self._active.items() if isinstance(o.observer, HistoryObserver)}
        following = {n: o.next for n, o in self._active.items()}
        return {"rows": self._rows, "next": following, "history": histories, "last": self._last}

    def load(self, state: Mapping[str, Any] | None) -> None:
        """Resume from a checkpoint. A probe that was not there then begins now; one that is gone is forgotten."""
        stored = state or {}
        self._rows = [dict(row) for row in stored.get("rows", ()) if row["probe"] in self._active]
        self._last = [(name, images) for name, images in stored.get("last", ())]
        for name, images in stored.get("next", {}).items():
            if name in self._active:
                self._active[name].next = images
        for name, history in stored.get("history", {}).items():
            if name in self._active and isinstance(observer := self._active[name].observer, HistoryObserver):
                observer.load(history)

    def prolong(self, state: Mapping[str, Any] | None) -> None:
        """Resume from a checkpoint of a shorter training: without what was observed because that one ended."""
        stored = state or {}
        last = {(name, images) for name, images in stored.get("last", ())}
        rows = [row for row in stored.get("rows", ()) if (row["probe"], row["images"]) not in last]
        self.load({**stored, "rows": rows, "last": ()})

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows {"probe", "images", "site", "x", "value"}, probe by probe, each in the order of images."""
        return [row for name in self._active for row in self._rows_of(name)]

    def axes(self) -> dict[str, str]:
        """Return what `x` is, by probe."""
        return {name: active.probe.axis for name, active in self._active.items()}

    def summaries(self) -> dict[str, float | None]:
        """Return one number a probe; None where it found nothing, or nothing finite."""
        summaries = {name: active.probe.summary(self._rows_of(name)) for name, active in self._active.items()}
        return {
            name: value if value is not None and math.isfinite(value) else None for name, value in summaries.items()
        }

    def _rows_of(self, name: str) -> list[dict[str, Any]]:
        return sorted((row for row in self._rows if row["probe"] == name), key=lambda row: row["images"])

    def _add_row(self, name: str, images: int, site: str, x: float | None, value: float) -> None:
        finite = value if math.isfinite(value) else None
        self._rows.append({"probe": name, "images": images, "site": site, "x": x, "value": finite})

    def _next_observation(self, probe: Probe, seen: int, batch: int, horizon: float) -> float:
        """Return the images at which a probe that observed after `seen` of them observes again."""
        if probe.every is not None:
            return float((seen // probe.every + 1) * probe.every)
        return seen + probe.interval(batch, horizon)

    def _collect(self) -> None:
        """Collect the readings of the last step's observers."""
        self._waiting += [(name, seen, observer.read()) for name, seen, observer in self._watching]
        self._watching = []

    def _pass(self, names: Sequence[str], learner: Learner) -> None:
        """Pass the held batch through the network for these probes."""
        if not names:
            return
        observers = [o for name in names if isinstance(o := self._active[name].observer, PassObserver)]
        if self._batch is None:
            self._batch = held_batch(learner, self._seed, self._count)
        show(learner, self._batch, observers)
        seen = learner.images_seen
        self._waiting += [(name, seen, active.read()) for name, active in zip(names, observers, strict=True)]


def held_batch(learner: Learner, seed: int, count: int = HELD) -> tuple[Noised, Labels]:
    """Draw the fixed batch for the probes: training images at LEVELS timesteps, in the middle of equal parts of [0, 1].

    The same for all candidates of a seed, whatever levels they train on.
    """
    draws = RandomStreams(mix(seed, "probe", 0), learner.device)
    index = draws.order(0, count, len(learner.data))
    x0 = learner.data.take(index)
    at = torch.device("cpu") if learner.device.type == "mps" else learner.device  # which has no fp64
    t = (torch.arange(count, dtype=torch.float64, device=at) % LEVELS + 0.5) / LEVELS
    noise = torch.randn(x0.shape, device=learner.device, generator=draws.at("noise", 0))
    labels = told_of(learner.setting, learner.data, index, x0, lambda s: draws.uniform(s, 0, count))
    return learner.process.diffuse(x0, noise, learner.process.level(t)), labels


@torch.no_grad()
def show(learner: Learner, batch: tuple[Noised, Labels], observers: Sequence[PassObserver]) -> None:
    """Run one forward pass in micro-batches with the observers' hooks; no weight, buffer or hook is left behind."""
    network, process, candidate = learner.network, learner.process, learner.candidate
    was_training = network.training
    handles = [handle for observer in observers for handle in observer.attach(network)]
    network.eval()
    try:
        for part, labels in learner.parts(*batch):
            prediction = process.predict(learner.predict, part.x, part.level, labels)
            loss = candidate.loss.compute(prediction, part, process)
            learned = process.log_variance(part.level)
            for observer in observers:
                observer.take(Seen(part, prediction, loss if learned is None else loss + learned, process))
    finally:
        for handle in handles:
            handle.remove()
        network.train(was_training)
