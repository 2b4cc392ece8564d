"""The training loop of a trial: from the newest checkpoint until the budget is spent, or the training diverges.

A divergence (a loss or a gradient that is not finite) is the only reason for early stopping.
"""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import torch

from ablate.candidates.evaluation import Evaluation
from ablate.candidates.trial import Budget
from ablate.io.files import write_json
from ablate.kinds.executor import Stop, Stopped
from ablate.kinds.probe import StepObserver
from ablate.runtime.isolation import Before
from ablate.runtime.memory import Gauge, out_of_memory
from ablate.training.busy import BusyGauge
from ablate.training.checkpoint import CHECKPOINTS, KEPT, Checkpoint, newest, retain, save
from ablate.training.checkpoint_files import SO_FAR
from ablate.training.divergence import examine, weight_norm
from ablate.training.health import MOST_SKIPS, Curve, Diagnosis, Divergence, TrainingHealth
from ablate.training.learner import Learner
from ablate.training.placement import Shards, settle
from ablate.training.probing import Probing
from ablate.training.prolonged import BEGUN, ShorterTraining
from ablate.training.quality import QualityCurve
from ablate.training.snapshots import Snapshots
from ablate.training.steps import TrainingStep

ROWS = 100  # of the curve, over a whole training
STEPPING = "this candidate, in a step of training,"
LOOK_SECONDS = 1.0  # between two looks at the device's numbers, each of which waits for it
SHOWN_SECONDS = 2.0  # between two writings of the curve so far, for who watches: three milliseconds each
CHECKPOINT_SECONDS = 60.0  # between two checkpoints, at the least
CHECKPOINT_SHARE = 0.02  # of the time, at the most, that goes into checkpoints

T = TypeVar("T")
Wanted = tuple[float, Sequence[StepObserver]]  # the next step, as `Learner.step` takes it
Steps = Generator[Wanted, TrainingStep, T]  # asks for steps, one after the other, and returns a T


class Training:
    """The training loop of one trial: steps, learning curve, checkpoints, progress file. `stop` is asked at every step.

    make: a new learner. gflops: of a forward pass, an image. memory: is told of every step.
    sources: hashes of the source that trains; a checkpoint of other source is not gone on with, the trial begins anew.
    evaluation: says at which points `measure` is called, which adds to `quality`. measured_with: hashes of its source.
    until: the share of the budget, one of the evaluation's points, at which the training pauses; None: at no point.
    shorter: a shorter training from whose checkpoint it begins, where it has none of its own. keep: shares of the
    budget after which a checkpoint stays for good, beside the newest ones. clock: seconds of this training's own;
    settle: waits for the device where that is no time of its own alone.
    Raises Stopped when told to stop.
    """

    def __init__(
        self,
        make: Callable[[], Learner],
        budget: Budget,
        gflops: float,
        folder: Path,
        stop: Stop,
        probing: Probing | None = None,
        memory: Gauge | None = None,
        sources: Mapping[str, str] | None = None,
        evaluation: Evaluation | None = None,
        measure: Callable[[], None] = lambda: None,
        measured_with: Mapping[str, str] | None = None,
        until: float | None = None,
        shorter: ShorterTraining | None = None,
        keep: Sequence[float] = (),
        clock: Callable[[], float] | None = None,
        settle: Callable[[], None] | None = None,
    ) -> None:
        self._make = make
        self._clock, self._settle = monotonic if clock is None else clock, settle
        self._sources = dict(sources or {})
        self._folder = folder
        self._stop = stop
        self._budget = budget
        self.probing = probing or Probing((), 0)
        self._memory = memory
        self._measure = measure
        self._until = until
        self._shorter = shorter
        self.continued_from: Mapping[str, Any] | None = None  # a shorter training, as a record says it
        self.curve = Curve()
        self.health = TrainingHealth()
        self.seconds = 0.0  # of training alone: without set-up and checkpoints
        self.snapshots = Snapshots(folder / "snapshots")
        self._saved: tuple[int, str] | None = None  # images of the checkpoint on disk, and the hash of its tensors
        self.learner, facts = self._resume()
        self.busy = BusyGauge(self.learner.device)
        if facts:
            self.curve, self.seconds = Curve(facts["curve"]), float(facts["seconds"])
            self.health = TrainingHealth(facts.get("vitals"))
        batch = self.learner.candidate.batch
        self.total = budget.images_for(batch, gflops)  # images; None where time decides
        limit = math.inf if self.total is not None else self._limit
        self.quality = QualityCurve(evaluation or Evaluation(), batch, self.total, limit, measured_with)
        self._every = max(1, (self.total or 0) // batch // ROWS)  # steps between two rows
        if facts:
            self._take_up(facts)
        # Images: the last step that does not go beyond the share.
        self._kept_at = {batch * int(round(share * self.total, 6) // batch) for share in keep if self.total is not None}
        self._written_at = float("-inf")
        self._shown_at = monotonic()
        self._shown = (0, 0)  # rows of the curve, and of the quality, when it was written last
        self._phase = "train"

    def _take_up(self, facts: Mapping[str, Any]) -> None:
        """Take up what was observed and measured until a checkpoint, which may be that of a shorter training."""
        self.continued_from = facts.get(BEGUN)
        images, quality = self.learner.images_seen, facts.get("quality", {})
        if _is_own(facts, self._folder):
            self.probing.load(facts.get("probes"))
            self.quality.load(quality, images, self.seconds)
        else:
            self.curve.prolong(self.learner.steps_done // self._every)
            self.probing.prolong(facts.get("probes"))
            self.quality.prolong(quality, images)

    def run(self) -> Divergence | None:
        """Train until the budget is spent, or to where the training pauses.

        Return None, or why the training diverged (a record's `divergence`).
        """
        return self.drive(self.steps())

    def drive(self, steps: Steps[T]) -> T:
        """Take the steps that a generator asks for, one after the other; return what it returns."""
        try:
            wanted = next(steps)
            while True:
                try:
                    step = self._take_step(*wanted)
                except Exception as error:  # noqa: BLE001 - for the generator, which raises it
                    wanted = steps.throw(error)
                else:
                    wanted = steps.send(step)
        except StopIteration as end:
            result: T = end.value
            return result

    def steps(self) -> Steps[Divergence | None]:
        """Do what `run` does, and ask the caller for each step; what is thrown in its place is raised again."""
        self.learner.network.train()
        self.learner.prepare(self.pause)
        state, first = Before(restored_outside=True), True
        if self.continued_from is not None and self._saved is None:
            self._save()  # from here on it needs the shorter training no more
        self._keep_if_due()  # where an earlier run was stopped before
        self._measure_if_due()
        waiting: list[TrainingStep] = []  # steps whose numbers are still on the device
        clock, looked, saved = self._clock(), monotonic(), monotonic()
        interval = CHECKPOINT_SECONDS
        while not (self._budget_is_spent() or self.is_paused):
            observers = self.probing.before(self.learner, self._horizon(), self._next_step_is_last())
            try:
                waiting.append((yield self._horizon(), observers))
            except Exception as error:  # where the step fails after a change of global state, that is the error
                if not out_of_memory(error):
                    state.check_failed(STEPPING, error)
                raise
            if first:
                state.check(STEPPING, self._repeat_step)
                first = False
            if self._memory is not None:
                self._memory.step_done()
            stopping = self._stop()
            due = self.learner.average.due(self.learner.images_seen, self.learner.candidate.batch, self._horizon())
            point = self._point_is_due(self._clock() - clock)
            row = self._row_is_due(self._clock() - clock)
            kept = self.learner.images_seen in self._kept_at
            if not (stopping or due or point or row or kept or monotonic() - looked >= LOOK_SECONDS):
                continue
            if self._settle is not None:
                self._settle()
            bad = self._add_to_curve(waiting)
            now = self._clock()
            self.seconds += now - clock
            if bad is not None:
                state.check(STEPPING, self._repeat_step)
                return self._diagnose(bad)
            last = waiting[-1]
            if self._row_is_due():
                self.curve.close_row(last.images, last.rate, self.seconds)
            self.tell("train", float(last.loss), len(waiting) * self.learner.candidate.batch / max(now - clock, 1e-9))
            now = monotonic()
            if due or self._budget_is_spent():
                self.snapshots.keep(last.images, self.learner.snapshot())
                now = monotonic()
            if self._budget_is_spent() or stopping or point or kept or now - saved >= interval:
                state.check(STEPPING, self._repeat_step)  # nothing is kept that was trained in another state
                self._save()
                saved = monotonic()
                interval = max(CHECKPOINT_SECONDS, (saved - now) / CHECKPOINT_SHARE)
            if stopping:  # nothing that was trained is trained again
                raise Stopped
            self._keep_if_due()
            self._measure_if_due()
            clock, looked, waiting = self._clock(), monotonic(), []
        if not self.is_paused:
            self.probing.finish(self.learner)
        return None

    @property
    def is_paused(self) -> bool:
        """Whether the training has come to where it pauses; its checkpoint is written, and a later run goes on."""
        return self._until is not None and not self._budget_is_spent() and self.quality.has_passed(self._until)

    def _take_step(self, horizon: float, observers: Sequence[StepObserver]) -> TrainingStep:
        self.busy.before_step()
        return self.learner.step(horizon, observers)

    def _repeat_step(self) -> None:
        """Take a step that does not count, to locate a change of global state."""
        self.learner.step(self._horizon())

    def _point_is_due(self, more: float = 0.0) -> bool:
        """Return whether quality is to be measured now; `more` seconds are not in `seconds` yet."""
        due = self.quality.is_due(self.learner.images_seen, self.seconds + more)
        return due and not self._budget_is_spent()

    def _measure_if_due(self) -> None:
        """Measure the quality where a point of the training is reached, and save that it is measured."""
        if not self._point_is_due():
            return
        if self._memory is not None:
            self._memory.end_training()
        begun = monotonic()
        self.tell("measure")
        stepping, self.learner = self.learner, self.whole_learner()
        self._measure()
        self.learner = stepping
        seconds, loss = monotonic() - begun, self.curve.final_loss()
        self.quality.close_point(self.learner.images_seen, self.seconds, seconds, loss)
        self._save()
        self._show_so_far()
        self._phase = "train"

    def whole_learner(self) -> Learner:
        """Return the learner; of one whose weights are sharded, one that has all of them, to be measured alone.

        That one has no moments, and takes no step.
        """
        if not isinstance(self.learner.placement, Shards):
            return self.learner
        state = self.learner.state({})
        tensors = {name: value for name, value in state.tensors.items() if not name.startswith("optimizer.")}
        learner = self._make()
        settle(learner)
        learner.load(Checkpoint(state.images, tensors, {**state.facts, "optimizer": {}}))
        return learner

    def _keep_if_due(self) -> None:
        """Keep the checkpoint of this step for good, where the study wants it."""
        images = self.learner.images_seen
        if images in self._kept_at and not (self._folder / KEPT / f"{images:012d}.json").exists():
            retain(self._folder / CHECKPOINTS, self._folder / KEPT, images)

    def pause(self) -> None:
        """Raise Stopped if the executor wants the worker back; else write the progress file (heartbeat)."""
        if self._stop():
            raise Stopped
        if monotonic() - self._written_at >= LOOK_SECONDS:
            self.tell(self._phase)

    def beat(self) -> None:
        """Write the progress file where it has grown old: others of this process are at work, and this one waits."""
        if monotonic() - self._written_at >= 10 * LOOK_SECONDS:
            self.tell(self._phase)

    def tell(self, phase: str, loss: float | None = None, speed: float | None = None) -> None:
        """Write the progress file (heartbeat) for whoever watches the folder, once a second; not worth an fsync."""
        if phase == "train" and monotonic() - self._written_at < LOOK_SECONDS:
            return
        self._written_at, self._phase = monotonic(), phase
        numbers = {"images": self.learner.images_seen, "total": self.total, "loss": loss, "images_per_second": speed}
        spent = {"seconds": self.seconds, "limit": None if self.total is not None else self._limit}
        with contextlib.suppress(OSError):
            write_json(self._folder / "progress.json", {"phase": phase, **numbers, **spent}, durable=False)
        if monotonic() - self._shown_at >= SHOWN_SECONDS:
            self._show_so_far()

    def _show_so_far(self) -> None:
        """Write the curve and the quality so far, where there is more of them, for whoever watches the folder."""
        rows = len(self.curve.rows), len(self.quality.rows)
        if rows == self._shown:
            return
        self._shown_at, self._shown = monotonic(), rows
        content = {"curve": self.curve.rows, "metrics": self.quality.rows}
        with contextlib.suppress(OSError, ValueError):  # a disk that is full, a number that is none: not needed
            write_json(self._folder / SO_FAR, content, durable=False)

    def _budget_is_spent(self) -> bool:
        if self.total is not None:
            return self.learner.images_seen >= self.total
        return self.seconds >= self._limit

    def _next_step_is_last(self) -> bool:
        """Return whether the next step is known to be the last."""
        return self.total is not None and self.learner.images_seen + self.learner.candidate.batch >= self.total

    @property
    def _limit(self) -> float:
        """The training time in seconds, where the budget is a time."""
        assert self._budget.minutes is not None
        return 60 * self._budget.minutes

    def _row_is_due(self, more: float = 0.0) -> bool:
        """Return whether a row of the curve is due; `more` seconds are not in `seconds` yet."""
        if self.total is not None:
            return self._budget_is_spent() or self.learner.steps_done % self._every == 0
        return self._budget_is_spent() or self.seconds + more - self.curve.seconds >= self._limit / ROWS

    def _horizon(self) -> float:
        """Return the images that the learning rate follows; for a budget of time, estimated from the speed so far."""
        if self.total is not None:
            return float(self.total)
        return self.curve.images / self.curve.seconds * self._limit if self.curve.seconds else math.inf

    def _add_to_curve(self, waiting: list[TrainingStep]) -> TrainingStep | None:
        """Add the steps' numbers to the curve, up to the first that diverged, which is returned.

        A norm that is not finite is no harm where the loss is scaled: that step was skipped, and is counted.
        """
        names = list(dict.fromkeys(name for step in waiting for name in step.terms))
        columns = [
            torch.stack([step.loss for step in waiting]),
            torch.stack([step.gradient_norm for step in waiting]),
            torch.stack([step.clipped_norm for step in waiting]),
            torch.stack([step.loss if step.companion_loss is None else step.companion_loss for step in waiting]),
            *(
                torch.stack([step.terms.get(name, torch.full_like(step.loss, math.nan)) for step in waiting])
                for name in names
            ),
        ]
        values = torch.stack(columns, dim=1).tolist()  # the one place that waits for the device
        for step, (loss, norm, after, companion_loss, *terms) in zip(waiting, values, strict=True):
            can_go_on = self.health.take(step.number, loss, norm, self.learner.scaler.is_enabled())
            if not (can_go_on and math.isfinite(companion_loss)):
                self.probing.settle(step.images - self.learner.candidate.batch)
                return step
            parts = {f"term_{name}": value for name, value in zip(names, terms, strict=True)}
            self.curve.add({"loss": loss, "grad_norm": norm, "grad_norm_clipped": after, **parts})
            self.probing.step(step.images, loss, norm)
        self.probing.settle()
        return None

    def _diagnose(self, bad: TrainingStep) -> Divergence:
        """Diagnose a divergence: train again from the last checkpoint to the bad step, and look at every module."""
        self.curve.close_row(bad.images - self.learner.candidate.batch, bad.rate, self.seconds)
        del self.learner  # there may not be room for two
        self.learner, _ = self._resume()
        try:
            diagnosis = self._repeated(bad)
        except Exception as error:
            if not self.learner.candidate.is_sharded or not out_of_memory(error):
                raise
            message = "the step could not be repeated: on one device there is no room for it"
            diagnosis = {"module": None, "message": message, "log_snr": None, "worst": []}
        norm = weight_norm(self.learner.network)
        if self.health.stuck:
            diagnosis["message"] += f"; the loss scale has fallen for {MOST_SKIPS} steps in a row, and it did not help"
        return {"step": bad.number, "images": bad.images, **diagnosis, "last": self.health.last, "weight_norm": norm}

    def _repeated(self, bad: TrainingStep) -> Diagnosis:
        """Train again to the bad step, on one device, and look at every module in it."""
        settle(self.learner)
        self.learner.network.train()
        self.learner.prepare(self.pause)
        self.learner.horizon = self._horizon()
        while self.learner.steps_done < bad.number - 1:
            self.learner.step(self._horizon())
            self.pause()
        return examine(self.learner).record()

    def _resume(self) -> tuple[Learner, Mapping[str, Any]]:
        """Return a learner resumed from the newest good checkpoint, and the facts of that checkpoint."""
        learner = self._make()
        checkpoint = newest(self._folder / CHECKPOINTS, str(learner.home))
        if checkpoint is not None and checkpoint.facts.get("sources", {}) != self._sources:
            checkpoint = None
        if checkpoint is None and self._shorter is not None:
            checkpoint = self._shorter.load(str(learner.home), self._sources)
        own = checkpoint if checkpoint is not None and _is_own(checkpoint.facts, self._folder) else None
        self.snapshots.expect({} if own is None else own.facts.get("snapshots", {}))
        self.snapshots.drop_after(0 if own is None else own.images)
        self._saved = None if own is None else (own.images, own.facts["sha256"])
        if own is None:
            shutil.rmtree(self._folder / KEPT, ignore_errors=True)  # of a training that does not count
        if checkpoint is None:
            return learner, {}
        learner.load(checkpoint)
        return learner, checkpoint.facts

    def _save(self) -> None:
        """Save a checkpoint; where there is one of this step, its tensors are the same, and the facts alone are new."""
        checkpoint = self.learner.state(
            {
                "curve": self.curve.state(),
                "seconds": self.seconds,
                "vitals": self.health.state(),
                "probes": self.probing.state(),
                "quality": self.quality.state(),
                "sources": self._sources,
                "trial": self._folder.name,
                "snapshots": self.snapshots.hashes,
                **({} if self.continued_from is None else {BEGUN: self.continued_from}),
            }
        )
        images, tensors = self._saved or (None, None)
        kept = tensors if images == checkpoint.images else None
        self._saved = checkpoint.images, save(self._folder / CHECKPOINTS, checkpoint, kept)


def _is_own(facts: Mapping[str, Any], folder: Path) -> bool:
    """Return whether a checkpoint is of the trial in a folder; else it is of a shorter training."""
    return bool(facts.get("trial", folder.name) == folder.name)
