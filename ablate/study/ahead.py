"""Other processes measure networks of a plan that has many, from its end on, while this one begins at its beginning.

What they measure is taken over by whoever asks for it here, and what they do not is measured here: a plan is the same
with and without them.
"""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import count
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ablate.candidates import elsewhere
from ablate.candidates.asked import Asked
from ablate.candidates.candidate import Candidate
from ablate.errors import SpecError
from ablate.execute.share import cores
from ablate.study.loaded import LoadedStudy

if TYPE_CHECKING:
    from ablate.execute.local import Child

WORK = "ablate.worker.measuring:run"
NETWORKS = 100  # for each other process, at least: it imports about as long as measuring that many takes
AT_ONCE = 8  # networks that a process is given
Key = tuple[Asked, int]  # with the images of a forward pass


class Ahead:
    """Networks that are to be measured, and the processes that measure some of them."""

    def __init__(self, loaded: LoadedStudy, candidates: Mapping[Key, Candidate], processes: int) -> None:
        self._loaded = loaded
        self._left = dict(candidates)  # of which nobody measures any yet
        self._away: dict[str, tuple[Child, dict[Key, Candidate]]] = {}  # by the job's name: who measures what
        self._ended: SimpleQueue[str] = SimpleQueue()
        self._names = map(str, count())
        self._shared: dict[str, Any] = {}  # of all jobs
        self._children: list[Child] = []
        for _ in range(processes):
            with contextlib.suppress(OSError):  # the system gives no more
                self._children.append(_child())

    def begin(self, device: str) -> None:
        """Give each process its first networks. device: as `ablate.study.estimate.memory_bytes` takes it."""
        if not self._children:
            return
        loaded = self._loaded
        self._shared = {
            "plugins": list(loaded.catalog.plugins),
            "root": str(loaded.root),
            "setting": asdict(loaded.trial_settings.setting),
            "device": "cpu" if device == "auto" else device,
            **loaded.sources(*self._left.values()),
        }
        for child in self._children:
            self._hand_out(child)

    def before(self, candidate: Candidate) -> None:
        """Take over what has been measured, and wait where this candidate's network is being measured just now."""
        if not self._children:
            return
        key = _key(candidate)
        while self._take(wait=any(key in measured_now for _, measured_now in self._away.values())):
            pass
        self._left.pop(key, None)

    def close(self) -> None:
        """End the processes."""
        for child in self._children:
            child.close(grace=0)
        elsewhere.COSTS.clear()
        elsewhere.FOOTPRINTS.clear()

    def _take(self, wait: bool) -> bool:
        """Take over one report, and give its process more to do; return whether there was one."""
        try:
            report = json.loads(self._ended.get(block=wait))
        except Empty:
            return False
        child, candidates = self._away.pop(report["job"])
        if report["status"] == "done":  # otherwise it gets no more, and all is measured here
            for (key, candidate), measured in zip(candidates.items(), report["measured"], strict=True):
                self._keep(key, candidate, measured)
            self._hand_out(child)
        return True

    def _keep(self, key: Key, candidate: Candidate, measured: Mapping[str, Any] | None) -> None:
        from ablate.candidates.flops import Cost
        from ablate.training.memory_estimate import Footprint

        if measured is not None:
            (asked, images), setting, device = key, self._loaded.trial_settings.setting, self._shared["device"]
            elsewhere.COSTS[candidate.backbone, candidate.inputs(setting)] = Cost(**measured["cost"])
            elsewhere.FOOTPRINTS[asked, setting, device, images] = Footprint(**measured["footprint"])

    def _hand_out(self, child: Child) -> None:
        """Give a process the last networks of those that are left."""
        taken = dict(self._left.popitem() for _ in range(min(AT_ONCE, len(self._left))))
        if not taken:
            return
        name = next(self._names)
        job = {"job": name, **self._shared, "candidates": [candidate.spec() for candidate in taken.values()]}
        if child.begin(name, json.dumps(job), self._ended):
            self._away[name] = child, taken


@contextlib.contextmanager
def ahead(loaded: LoadedStudy) -> Iterator[Ahead]:
    """Give what measures networks ahead of this process: nobody, where they are few or there is one core."""
    networks: dict[Key, dict[Key, Candidate]] = {}  # by what their passes ask: the same process measures all of one
    assignments = loaded.proposals() or []
    spare = cores() - 1 if hasattr(signal, "pthread_sigmask") else 0
    if spare and len(assignments) >= NETWORKS:
        for assignment in assignments:
            with contextlib.suppress(SpecError):  # told where it is planned
                candidate = loaded.candidate(assignment)
                alike = networks.setdefault(_key(candidate, of_passes=True), {})
                alike.setdefault(_key(candidate), candidate)
    candidates = {key: candidate for alike in networks.values() for key, candidate in alike.items()}
    others = Ahead(loaded, candidates, min(spare, len(networks) // NETWORKS))
    try:
        yield others
    finally:
        others.close()


def _key(candidate: Candidate, of_passes: bool = False) -> Key:
    return Asked(candidate, of_passes), candidate.pass_images()


def _child() -> Child:
    from ablate.execute.local import Child

    return Child(WORK)
