"""Checks of a probe: it changes nothing, tells plain numbers, and goes on where it stopped."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import Any

import torch

from ablate.candidates.candidate import Candidate, compose
from ablate.kinds.backbone import Backbone
from ablate.kinds.probe import HistoryObserver, Probe
from ablate.spec.component import InputSpec
from ablate.testing.case import Case, Check
from ablate.testing.small import settle, shrink
from ablate.testing.trained import images_of_noise, optimizer_of
from ablate.training.learner import Learner
from ablate.training.probing import LEVELS, Probing

CPU = torch.device("cpu")
BATCH = 4
STEPS = 2
BACKBONES = 2  # with so many networks it is tried, at the most


def changes_nothing(case: Case) -> None:
    """With it and without it training ends in the same weights, to the bit; no hook and no gradient is left behind."""
    for part in _variants(case):
        for candidate, setting in _candidates(case):
            watched, alone = (_trained(candidate, setting, *probes)[0] for probes in ([part], []))
            for name, value in alone.network.state_dict().items():
                assert torch.equal(watched.network.state_dict()[name], value), f"{part!r}: {name} is trained otherwise"
            hooked = [n for n, m in watched.network.named_modules() if m._forward_hooks or m._forward_pre_hooks]
            assert not hooked, f"{part!r}: leaves hooks on {', '.join(hooked[:5])}"
            assert watched.network.training, f"{part!r}: leaves the network in eval()"


def tells_plain_numbers(case: Case) -> None:
    """Every row has a site and a finite value; its summary is one number, or None where nothing was to be seen."""
    for part in _variants(case):
        for candidate, setting in _candidates(case):
            probing = _trained(candidate, setting, part)[1]
            rows = probing.rows()
            for row in rows:
                assert isinstance(row["site"], str), f"{part!r}: {row['site']!r} is no site"
                assert row["value"] is not None, f"{part!r}: not finite at {row['site']!r} after {row['images']} images"
            json.dumps(rows, allow_nan=False)
            summary = probing.summaries()[part.name]
            assert summary is None or math.isfinite(summary), f"{part!r}: sums up as {summary}"
            assert part.summary([]) in (None, 0), f"{part!r}: sums up nothing as {part.summary([])}"


def resumes_where_it_stopped(case: Case) -> None:
    """Taken up from its state as JSON, in the middle of a training, it tells the same."""
    for part in _variants(case):
        for candidate, setting in _candidates(case)[:1]:
            whole, pieces = (_trained(candidate, setting, part, stop=stop)[1].rows() for stop in (None, 1))
            assert pieces == whole, f"{part!r}: tells otherwise after an interruption"
        observer = part.build()
        if isinstance(observer, HistoryObserver):
            _resumes_its_history(part, observer)


def _resumes_its_history(part: Probe, observer: HistoryObserver) -> None:
    other, pairs = part.build(), []
    assert isinstance(other, HistoryObserver)
    for step in range(60):
        values = (100.0 if step % 17 == 16 else 1 + 0.01 * step, math.inf if step % 13 == 12 else 2.0)
        pairs.append((list(observer.step(*values)), list(other.step(*values))))
        fresh = part.build()
        assert isinstance(fresh, HistoryObserver)
        fresh.load(json.loads(json.dumps(other.state(), allow_nan=False)))
        other = fresh
    assert all(one == two for one, two in pairs), f"{part!r}: finds other events after it was taken up again"


def _variants(case: Case) -> list[Probe]:
    return [part for part in case.variants() if isinstance(part, Probe)]


def _candidates(case: Case) -> list[tuple[Candidate, InputSpec]]:
    """Return small networks of several kinds, each with data for it."""
    candidates = []
    for part in case.partners("backbone"):
        if isinstance(part, Backbone) and not part.requires():
            setting = settle(part)
            spec: dict[str, Any] = {"backbone": shrink(part, setting).spec(), "batch": BATCH}
            candidates.append((compose({**spec, "optimizer": optimizer_of(case)}, case.catalog), setting))
    assert candidates, "there is no backbone to train"
    return candidates[:BACKBONES]


@lru_cache(maxsize=8)
def _trained(
    candidate: Candidate, setting: InputSpec, *probes: Probe, stop: int | None = None
) -> tuple[Learner, Probing]:
    """Train a few steps, with an observation before each; at step `stop` the probes resume from their state."""
    learner = Learner(candidate, setting, images_of_noise(setting), 0, CPU, None)
    learner.network.train()
    often = [probe.model_copy(update={"every": BATCH}) for probe in probes]
    probing = Probing(often, 0, LEVELS)
    for step in range(STEPS):
        if step == stop:
            probing.settle()
            state = json.loads(json.dumps(probing.state(), allow_nan=False))
            probing = Probing(often, 0, LEVELS)
            probing.load(state)
        observers = probing.before(learner, BATCH * STEPS, step == STEPS - 1)
        outcome = learner.step(BATCH * STEPS, observers)
        probing.step(outcome.images, float(outcome.loss), float(outcome.gradient_norm))
    probing.settle()
    probing.finish(learner)
    return learner, probing


CHECKS: tuple[Check, ...] = (changes_nothing, tells_plain_numbers, resumes_where_it_stopped)
