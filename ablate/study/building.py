"""The limit of building: a candidate's network is built in another process first, which may hang or crash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ablate.candidates.candidate import Candidate
from ablate.errors import InputError
from ablate.kinds.executor import Executor, Limits
from ablate.spec.quantities import format_seconds

if TYPE_CHECKING:
    from ablate.engine import Plan
    from ablate.execute.local import Child

WORK = "ablate.worker.building:run"
STARTING = 300.0  # seconds that the process has to import what it needs


class BuildError(RuntimeError):
    """Raised where building a network does not come to an end, or ends the process."""


def check_limits(executor: Executor) -> None:
    """Raise InputError for a limit that ends every trial before it has written anything that lasts."""
    if executor.limits is None or executor.limits.trial is None:
        return
    from ablate.training.loop import CHECKPOINT_SECONDS  # imports torch

    if executor.limits.trial < CHECKPOINT_SECONDS:
        message = f"is {format_seconds(executor.limits.trial)}, and a trial writes its first checkpoint after "
        message += f"{format_seconds(CHECKPOINT_SECONDS)}: allow more, or leave it out"
        raise InputError(message, "executor.limits.trial")


@contextmanager
def building(limits: Limits | None, plan: Plan) -> Iterator[Plan]:
    """Give the plan with networks that are built in another process first; as it is where there is no limit.

    Its functions raise BuildError where building takes longer than `limits.build`, or the process dies. An exception
    of the component's own is left to whoever builds the network next, and reports it.
    """
    if limits is None or limits.build is None:
        yield plan
        return
    from ablate.execute.local import Child

    seconds, memory = limits.build, limits.memory
    child: Child | None = None
    known: dict[str, BuildError | None] = {}  # by the candidate's digest

    def try_build(candidate: Candidate) -> None:
        digest = plan.trial_settings.digest(candidate)
        if digest not in known:
            known[digest] = error_of(candidate)
        if (error := known[digest]) is not None:
            raise BuildError(str(error))

    def flops(candidate: Candidate) -> float:
        try_build(candidate)
        return plan.flops(candidate)

    def error_of(candidate: Candidate) -> BuildError | None:
        nonlocal child
        reports: SimpleQueue[str] = SimpleQueue()
        specs = plan.trial_settings.jobs(candidate, 1, {}, plan.plugins, plan.folder / "trials", None)
        job = {**specs[0], **plan.source_keys(candidate)}
        if child is None:
            child = Child(WORK)
            _report(child, {**job, "begin": True}, STARTING, None, reports)
        report = _report(child, job, seconds, memory, reports)
        if report["status"] in ("lost", "oom") or report.get("late"):
            child.close(grace=0)
            child = None
            return BuildError(f"building its network: {report['message']}\n{report.get('traceback') or ''}".rstrip())
        return None

    try:
        yield replace(plan, try_build=try_build, flops=flops)
    finally:
        if child is not None:
            child.close(grace=0)


def _report(
    child: Child, job: dict[str, Any], seconds: float, memory: int | None, reports: SimpleQueue[str]
) -> dict[str, Any]:
    """Return the report of one job in the process, `late` where it had to be ended."""
    child.begin(job["job"], json.dumps(job, default=str), reports)
    waited, late = 0.0, False
    while True:
        try:
            return {**json.loads(reports.get(timeout=min(0.25, seconds))), "late": late}
        except Empty:
            waited += min(0.25, seconds)
        if memory is not None and child.limit(memory):
            continue
        if waited >= seconds and not late:
            late = True
            child.abandon(
                job["job"], f"not done after {format_seconds(seconds)}: `executor.limits.build` gives it no more"
            )
