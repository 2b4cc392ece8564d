"""The source code of a trial: its hashes in a job, compared by a worker with its own, and stored in a record.

All numbers of a study come from one state of the source. The driver freezes the hashes, every worker compares what it
imported itself, before it trains: on another machine there may be another copy, and a file may change under a study.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path

from ablate.discovery import provenance
from ablate.discovery.catalog import Catalog, catalog_of
from ablate.errors import InputError, SpecError
from ablate.kinds.executor import Job
from ablate.spec.component import Component
from ablate.worker.messages import SourceChange, WorkerReport


class OtherSourceError(Exception):
    """Raised where a process imported other source than its job asks for."""

    def __init__(self, changes: list[SourceChange]) -> None:
        super().__init__("; ".join(f"{change['component']} is other source here" for change in changes))
        self.changes = changes


def hashes_of(parts: Iterable[Component], catalog: Catalog) -> dict[str, str]:
    """Return {kind/name: hash of its source} of components, and that of the framework as `ablate`."""
    hashes = {name: entry.source_hash for name, entry in catalog.used(parts).items()}
    return {**hashes, provenance.FRAMEWORK: provenance.framework()}


def checked_catalog(job: Job) -> Catalog:
    """Return the catalog of a job, of what this process imported. Raises OtherSourceError where its source is another.

    Also where a plugin's file is not to be found here at all: no trial of the study can be trained on such a machine.
    """
    try:
        catalog = catalog_of(job)  # a file that this process imported earlier may be gone by now
    except InputError:
        missing = [plugin for plugin in job["plugins"] if plugin.endswith(".py") and not Path(plugin).is_file()]
        if not missing:
            raise
        raise OtherSourceError([_change(f"plugin {Path(file).name}", None, None, file) for file in missing]) from None
    check(job, catalog)
    return catalog


def check(job: Job, catalog: Catalog) -> None:
    """Raise OtherSourceError where what this process imported is not what the job was made with."""
    if job.get("hashes", provenance.SCHEME) != provenance.SCHEME:
        raise InputError(f"the job was made by another version of ablate than there is on {socket.gethostname()}")
    changes = []
    for name, source_hash in job.get("sources", {}).items():
        hash_here, file = _source_here(name, catalog)
        if hash_here != source_hash:
            changes.append(_change(name, source_hash, hash_here, file))
    if changes:
        raise OtherSourceError(changes)


def report(job: Job, error: OtherSourceError) -> WorkerReport:
    """Return a worker's report of other source code: neither a result nor the candidate's failure."""
    return {"job": job["job"], "status": "failed", "message": str(error), "other_source": error.changes}


def refuse(report: WorkerReport) -> None:
    """Raise InputError where a worker imported other source: with it no trial can be trained, today or later."""
    changes = report.get("other_source")
    if not changes:
        return
    lines = [
        f"  {change['component']}: "
        + (f"{short(change['wanted'])} in this run, " if change["wanted"] else "")
        + f"{short(change['found'])} on {change['host']}"
        + (f", {change['file']}" if change["file"] else "")
        for change in changes
    ]
    raise InputError(
        "a worker imported other source code than this run began with:\n" + "\n".join(lines) + "\n"
        "nothing was recorded with it, and what was measured is kept. Bring the source of all machines to the same "
        "state (that of this run, where trials are complete), then give the same command again"
    )


def short(source_hash: str | None) -> str:
    """Return the digits of a hash that a message shows."""
    return source_hash[: provenance.SHOWN] if source_hash else "not there"


def _change(component: str, run_hash: str | None, hash_here: str | None, file: str | None) -> SourceChange:
    host = socket.gethostname()
    return {"component": component, "wanted": run_hash, "found": hash_here, "file": file, "host": host}


def _source_here(name: str, catalog: Catalog) -> tuple[str | None, str | None]:
    """Return the hash and the file of a component's source in this process; None where it is not there."""
    if name == provenance.FRAMEWORK:
        return provenance.framework(), provenance.home()
    kind, _, component = name.partition("/")
    try:
        entry = catalog.entry(kind, component)
    except SpecError:
        return None, None
    return entry.source_hash, str(entry.file)
