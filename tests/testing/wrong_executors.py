"""Executors that are wrong; `fails` says which checks have to tell."""

from typing import ClassVar

from ablate.api import Executor
from ablate.execute.local import LocalPool


class TwicePool(LocalPool):
    def wait(self, timeout):
        return [report for report in super().wait(timeout) for _ in range(2)]


class Twice(Executor):
    """Reports every job twice."""

    name = "twice"
    fails: ClassVar = ("runs_every_job_once",)
    pool: ClassVar = TwicePool

    def start(self, work, device):
        return self.pool(work)


class SilentPool(LocalPool):
    def wait(self, timeout):
        return [{key: report[key] for key in report if key != "traceback"} for report in super().wait(timeout)]


class Silent(Twice):
    """Keeps the traceback to itself."""

    name = "silent"
    fails: ClassVar = ("reports_what_fails",)
    pool: ClassVar = SilentPool


class GivingUpPool(LocalPool):
    def wait(self, timeout):
        lost = {"lost": "failed"}
        return [{**report, "status": lost.get(report["status"], report["status"])} for report in super().wait(timeout)]


class GivingUp(Twice):
    """A worker that died fails its job for good."""

    name = "giving_up"
    fails: ClassVar = ("replaces_a_worker_that_dies",)
    pool: ClassVar = GivingUpPool


class EndlessPool(LocalPool):
    def close(self):
        pass  # the checks' own job ends all the same, and its worker with this process


class Endless(Twice):
    """Lets running jobs run on when it is closed."""

    name = "endless"
    fails: ClassVar = ("waits_and_closes",)
    pool: ClassVar = EndlessPool
