"""The nodes of a Ray cluster that was joined: which of them can run a study's trials, and how many at a time.

Nodes come and go. Each is asked once whether it has the versions, the study's folder and the sources that the driver
has; one that has not is named and gets no trial.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ablate.errors import InputError
from ablate.execute.presence import other_versions, versions
from ablate.execute.share import Share
from ablate.execute.work import with_plugins
from ablate.worker import sources

LOOK = 2.0  # seconds between two looks at the nodes
ANSWER = 120.0  # seconds that nodes have to answer before the first trial is given to those that did
OTHER_SOURCE = "it has other source than the driver"
KEYS = ("plugins", "root", "hashes", "sources")  # of a job: what the source of a trial is known by


class Nodes:
    """The nodes of the cluster. each: what a worker gets; workers: how many at the most; None: as many as fit.

    study: the study's folder, which every node has to see; None: nobody asks. runtime_env: Ray's, of what is asked.
    news: lines for the user.
    """

    def __init__(
        self, each: Share, workers: int | None, study: Path | None, runtime_env: dict[str, Any] | None = None
    ) -> None:
        self._options = {} if runtime_env is None else {"runtime_env": runtime_env}
        self._each = each
        self._workers = workers
        self._study = study
        self._mark = None if study is None else study / f".ray-{uuid.uuid4().hex}"
        self._room: dict[str, int] = {}  # trials at a time, of nodes that are there
        self._names: dict[str, str] = {}
        self._asked: dict[str, Any] = {}  # object references of answers that are still to come
        self._unfit: dict[str, str] = {}  # why
        self._other_source: set[str] = set()  # of these
        self._left: set[str] = set()  # nodes that are gone, whatever the list says: one that comes back is another
        self._at_work: Counter[str] = Counter()
        self._terms: dict[str, Any] | None = None
        self._looked = float("-inf")
        self._listing: _Listing | None = None
        self.news: list[str] = []
        self.look(ANSWER)
        if self._listing is not None:
            raise InputError(
                f"the Ray cluster did not say within {ANSWER:.0f} s which nodes it has; is its head there?"
            )

    @property
    def slots(self) -> int:
        """How many trials run at a time, at least 1."""
        total = sum(self._room[node] for node in self._fit())
        return max(1, total if self._workers is None else min(total, self._workers))

    def look(self, patience: float = 0.0) -> None:
        """Look which nodes there are, and what they answered, now and then. patience: seconds to wait for the list."""
        if self._listing is None:
            if time.monotonic() - self._looked < LOOK:
                return
            self._looked = time.monotonic()
            self._listing = _Listing()
        if (listed := self._listing.get(patience)) is None:
            return
        self._listing = None
        there = {node["NodeID"]: node for node in listed if node["Alive"] and node["NodeID"] not in self._left}
        for gone in set(self._room) - set(there):
            self._forget(gone)
        for node, facts in there.items():
            if node not in self._room and (room := self._room_of(facts["Resources"])):
                self._room[node] = room
                self._names[node] = f"{facts['NodeManagerHostname']} ({facts['NodeManagerAddress']})"
                if self._terms is not None:
                    self._ask(node)
        self._hear(0.0)

    def ask(self, job: Mapping[str, Any]) -> None:
        """Ask all nodes whether they can run such a job, once for all jobs; wait for their answers.

        Raises InputError where none can, with why.
        """
        if self._terms is not None and (self._terms["job"] is not None or "sources" not in job):
            return
        if self._mark is not None:
            self._mark.touch()
        wanted = {key: job[key] for key in KEYS if key in job} if "sources" in job else None
        mark = None if self._mark is None else str(self._mark)
        self._terms = {"driver": {"versions": versions()}, "mark": mark, "job": wanted}
        self._asked.clear()
        for node in self._room:
            self._ask(node)
        end = time.monotonic() + ANSWER
        while self._asked and time.monotonic() < end:
            self._hear(1.0)
        self._check()

    def place(self) -> str:
        """Return the node that the next trial goes to: the one with most room left. Raises InputError without any."""
        self._check()
        node = max(self._fit(), key=lambda one: self._room[one] - self._at_work[one])
        self._at_work[node] += 1
        return node

    def release(self, node: str) -> None:
        """Note that a trial of a node has ended."""
        self._at_work[node] -= 1

    def leave(self, node: str) -> None:
        """Note that a node is gone, which the cluster's list may say some seconds later."""
        self._left.add(node)
        self._forget(node)

    def pass_over(self, node: str, why: str) -> bool:
        """Give a node no more trials; False where there is no other one."""
        if all(other == node for other in self._fit()):
            return False
        self._refuse(node, why)
        return True

    def end(self) -> None:
        """Remove what was put into the study's folder."""
        if self._mark is not None:
            self._mark.unlink(missing_ok=True)

    def _fit(self) -> list[str]:
        """Return the nodes that get trials: those that said so, or, where none has yet, those that were asked.

        Where all have other source than the driver, the first trial's worker says so with all that is to be said.
        """
        able = [node for node in self._room if node not in self._unfit]
        return [node for node in able if node not in self._asked] or able or [*self._room.keys() & self._other_source]

    def _forget(self, node: str) -> None:
        for kept in (self._room, self._asked, self._unfit, self._at_work):
            kept.pop(node, None)
        self._other_source.discard(node)

    def _room_of(self, resources: Mapping[str, float]) -> int:
        room = int(resources.get("CPU", 0) // self._each.cpus)
        if self._each.gpus:
            gpus = resources.get("GPU", 0.0)
            whole = gpus // self._each.gpus if self._each.gpus > 1 else gpus * int(1 / self._each.gpus + 1e-9)
            room = min(room, int(whole))
        return room

    def _ask(self, node: str) -> None:
        ray = _ray()
        on = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        remote = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=on, **self._options)
        task = remote(_asking(list(sys.path)))
        self._asked[node] = task.remote(json.dumps(self._terms))

    def _hear(self, timeout: float) -> None:
        """Take in the answers that are there, after waiting for the first."""
        ray = _ray()
        if not self._asked:
            return
        ready, _ = ray.wait(list(self._asked.values()), num_returns=1, timeout=timeout or 0)
        for node, reference in list(self._asked.items()):
            if reference in ready:
                del self._asked[node]
                try:
                    why = ray.get(reference)
                except ray.exceptions.RayTaskError as error:  # such as a package that is missing there
                    why = str(error.cause if error.cause is not None else error).strip().splitlines()[-1]
                except ray.exceptions.RuntimeEnvSetupError as error:
                    why = f"it cannot set up executor.runtime_env: {str(error).strip().partition(chr(10))[0]}"
                except ray.exceptions.RayError:  # it is gone
                    continue
                if why is not None:
                    self._refuse(node, why)
                    if why.startswith(OTHER_SOURCE):
                        self._other_source.add(node)

    def _refuse(self, node: str, why: str) -> None:
        if node not in self._unfit:
            self._unfit[node] = why
            self.news.append(f"warning: node {self._names[node]} is passed over: {why}")

    def _check(self) -> None:
        """Raise InputError where no node is fit."""
        if self._room and not self._fit():
            reasons = "; ".join(f"{self._names[node]}: {why}" for node, why in self._unfit.items())
            raise InputError(f"no node of the Ray cluster can run this study's trials: {reasons}")
        if not self._room:
            raise InputError("the Ray cluster has no node left that a worker fits on")


class _Listing:
    """The list of nodes, asked for in a thread: Ray waits for a head that is away as long as it is, in native code."""

    def __init__(self) -> None:
        self._answers: SimpleQueue[list[dict[str, Any]] | BaseException] = SimpleQueue()
        threading.Thread(target=self._ask, name="ablate-nodes", daemon=True).start()

    def get(self, patience: float) -> list[dict[str, Any]] | None:
        """Return the list; None where there is none yet. Raises what Ray raised."""
        try:
            answer = self._answers.get(patience > 0, patience)
        except Empty:
            return None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _ask(self) -> None:
        try:
            self._answers.put(_ray().nodes())
        except BaseException as error:  # noqa: BLE001 - it is raised where the list is wanted
            self._answers.put(error)


def _ray() -> Any:
    """Import Ray when it is needed, and not before."""
    return importlib.import_module("ray")


def _asking(path: list[str]) -> Callable[[str], str | None]:
    """Return what runs on a node: a closure, which travels by value."""

    def answer(terms: str) -> str | None:
        sys.path.extend(entry for entry in path if entry not in sys.path)
        from ablate.execute.nodes import unfit

        return unfit(json.loads(terms))

    return answer


def unfit(terms: Mapping[str, Any]) -> str | None:
    """Return why this machine cannot run a study's trials; None where it can."""
    if (other := other_versions(terms["driver"])) is not None:
        return f"it has other versions than the driver: {other}"
    if (mark := terms["mark"]) is not None:
        folder = Path(mark).parent
        with contextlib.suppress(OSError):
            list(folder.iterdir())  # a network's file system asks the server again
        if not Path(mark).exists():
            return f"it does not see the study's folder {folder}"
    if (job := terms["job"]) is not None:
        try:
            sources.checked_catalog(with_plugins(job, None if mark is None else Path(mark).parent))
        except sources.OtherSourceError as error:
            return f"{OTHER_SOURCE}: {error}"
        except InputError as error:
            return str(error)
    return None
