"""Which workers there are: each has a file in `workers/present` that it touches, and its name says where it runs."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import socket
import time
from pathlib import Path
from typing import Any

import psutil

from ablate.discovery import provenance
from ablate.execute.leases import Jobs, Observer
from ablate.io.files import read_json, write_json

PACKAGES = ("ablate", "torch", "numpy")  # whose versions decide results
DRIVER = "driver.json"
SILENCE = 60.0  # seconds after which a worker, or a driver, that gives no sign of life is thought to be away


class Presence:
    """A file of this process among the workers, as long as it works for the folder. name: of the worker."""

    def __init__(self, jobs: Jobs) -> None:
        process = psutil.Process()
        self.name = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"
        self._jobs = jobs
        self._file = jobs.present / f"{self.name}.json"
        facts = {"machine": machine(), "pid": process.pid, "created": process.create_time(), "versions": versions()}
        write_json(self._file, facts, durable=False)

    def beat(self) -> None:
        """Give a sign of life."""
        with contextlib.suppress(OSError):  # the leases count
            os.utime(self._file)

    def end(self) -> None:
        """Remove the file; and the folder, where neither workers nor a driver are left in it."""
        with contextlib.suppress(OSError):
            self._file.unlink()
            if not (self._jobs.root / DRIVER).exists():
                self._jobs.clear()


def live(jobs: Jobs, observer: Observer, silence: float = SILENCE) -> list[str]:
    """Return the names of the workers that are there; those that surely are not, and hold nothing, lose their file."""
    names = []
    with contextlib.suppress(FileNotFoundError):
        for file in sorted(jobs.present.glob("*.json")):
            if not is_dead(jobs, file.stem):
                names += [file.stem] if observer.age(file) < silence else []
            elif not any(f"@{file.stem}." in place.name for _, place in jobs.places()):  # by it others see that it died
                file.unlink(missing_ok=True)
    return names


def is_dead(jobs: Jobs, worker: str) -> bool:
    """Return whether a worker of this machine is no more; False where that cannot be known."""
    try:
        return is_gone(read_json(jobs.present / f"{worker}.json")) is True
    except (OSError, ValueError):
        return False


def is_gone(content: Any) -> bool | None:
    """Return whether the process of a sign is no more; None where that cannot be known from this machine."""
    try:
        if content["machine"] != machine():
            return None
        process = psutil.Process(content["pid"])
        return bool(process.create_time() != content["created"] or process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except (KeyError, TypeError, ValueError, psutil.Error):
        return None


@functools.cache
def machine() -> str:
    """Return what tells this machine, since it was started, and this container from all others."""
    parts = [socket.gethostname()]
    for file in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            link = Path(file)
            parts.append(str(link.readlink()) if link.is_symlink() else link.read_text().strip())
    return " ".join(parts)


def versions() -> dict[str, str]:
    """Return the versions that decide results, without what says how torch was built (`+cpu`)."""
    found = {"python": ".".join(platform.python_version_tuple()[:2]), "hashes": provenance.SCHEME}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name).partition("+")[0]
    return found


class DriverSign:
    """The driver's sign of life in the folder, with the terms on which workers may join."""

    def __init__(self, jobs: Jobs) -> None:
        self._file = jobs.root / DRIVER
        write_json(self._file, {"host": socket.gethostname(), "pid": os.getpid(), "versions": versions()})

    def beat(self) -> None:
        """Give a sign of life."""
        with contextlib.suppress(OSError):
            os.utime(self._file)

    def end(self) -> None:
        """Remove the file."""
        self._file.unlink(missing_ok=True)


def driver_of(jobs: Jobs) -> dict[str, Any] | None:
    """Return what the driver of a folder says of itself; None where there is none."""
    with contextlib.suppress(OSError, ValueError):
        content = read_json(jobs.root / DRIVER)
        return content if isinstance(content, dict) else None
    return None


def other_versions(driver: dict[str, Any]) -> str | None:
    """Return what is another version here than at the driver; None where all are the same."""
    there, here = driver.get("versions", {}), versions()
    other = [f"{name} {there.get(name)} there, {here.get(name)} here" for name in here if there.get(name) != here[name]]
    return ", ".join(other) or None


def refuse(jobs: Jobs, why: str) -> None:
    """Leave word for the driver that a worker on this machine does not take part, and why."""
    name = f"{socket.gethostname()}-{os.getpid()}-{int(time.time())}.json"
    with contextlib.suppress(OSError):
        write_json(jobs.refused / name, {"host": socket.gethostname(), "why": why}, durable=False)
