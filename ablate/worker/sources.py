"""The source that a trial stands on: what its job carries, what a worker compares, what its record keeps.

One study's numbers come from one source. The driver freezes the hashes, every worker compares what it imported
itself, before it trains: on another machine there may be another copy, and a file may change under a study.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ablate.discovery import provenance
from ablate.discovery.catalog import Catalog, catalog_of
from ablate.errors import InputError, SpecError
from ablate.kinds.executor import Job, Report
from ablate.spec.component import Component

CHANGED = "other_source"  # the key of a report that tells of it


class OtherSourceError(Exception):
    """Raised where a process imported other source than its job asks for.

    changes: for each component {"component", "wanted", "found" (a hash; None: it is not there), "file", "host"}.
    """

    def __init__(self, changes: list[dict[str, Any]]) -> None:
        super().__init__("; ".join(f"{one['component']} is other source here" for one in changes))
        self.changes = changes


def of(parts: Iterable[Component], known: Catalog) -> dict[str, str]:
    """{kind/name: hash of its source} of components, and that of the framework as `ablate`."""
    hashes = {name: entry.source_hash for name, entry in known.used(parts).items()}
    return {**hashes, provenance.FRAMEWORK: provenance.framework()}


def known(job: Job) -> Catalog:
    """The catalog of what this process imported, for a job. Raises OtherSourceError where it is not what it asks for.

    Also where a plugin's file is not to be found here at all: no trial of the study can be trained on such a machine.
    """
    try:
        found = catalog_of(job)  # a file that this process imported earlier may be gone by now
    except InputError:
        gone = [one for one in job["plugins"] if one.endswith(".py") and not Path(one).is_file()]
        if not gone:
            raise
        told = {"wanted": None, "found": None, "host": socket.gethostname()}
        changes = [{"component": f"plugin {Path(one).name}", "file": one, **told} for one in gone]
        raise OtherSourceError(changes) from None
    check(job, found)
    return found


def check(job: Job, known: Catalog) -> None:
    """Raises OtherSourceError where what this process imported is not what the job was made with."""
    if job.get("hashes", provenance.SCHEME) != provenance.SCHEME:
        raise InputError(f"the job was made by another version of ablate than there is on {socket.gethostname()}")
    changes = []
    for name, wanted in job.get("sources", {}).items():
        found, file = _here(name, known)
        if found != wanted:
            told = {"component": name, "wanted": wanted, "found": found, "file": file, "host": socket.gethostname()}
            changes.append(told)
    if changes:
        raise OtherSourceError(changes)


def report(job: Job, error: OtherSourceError) -> Report:
    """What a worker says of it: neither a result nor the candidate's failure."""
    return {"job": job["job"], "status": "failed", "message": str(error), CHANGED: error.changes}


def refuse(report: Report) -> None:
    """Raises InputError where a worker imported other source: with it no trial can be trained, today or later."""
    changes = report.get(CHANGED)
    if not changes:
        return
    lines = [
        f"  {one['component']}: "
        + (f"{short(one['wanted'])} in this run, " if one["wanted"] else "")
        + f"{short(one['found'])} on {one['host']}"
        + (f", {one['file']}" if one["file"] else "")
        for one in changes
    ]
    raise InputError(
        "a worker imported other source code than this run began with:\n" + "\n".join(lines) + "\n"
        "nothing was recorded with it, and what was measured is kept. Bring the source of all machines to the same "
        "state (that of this run, where trials are complete), then give the same command again"
    )


def short(of: str | None) -> str:
    """The digits of a hash that a message shows."""
    return of[: provenance.SHOWN] if of else "not there"


def _here(name: str, known: Catalog) -> tuple[str | None, str | None]:
    if name == provenance.FRAMEWORK:
        return provenance.framework(), provenance.home()
    kind, _, called = name.partition("/")
    try:
        entry = known.entry(kind, called)
    except SpecError:
        return None, None
    return entry.source_hash, str(entry.file)
