"""The parts of `ablate doctor`: each yields (what, whether it works or None, text)."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.cli.terminal import size
from ablate.errors import InputError, SpecError
from ablate.kinds.autoencoder import Autoencoder
from ablate.kinds.data import Data
from ablate.kinds.executor import Executor
from ablate.kinds.features import Features
from ablate.spec.component import InputSpec, K

if TYPE_CHECKING:
    from ablate.discovery.catalog import Entry

Row = tuple[str, bool | str | None, str]
AWAY = "not here"

NEEDED = ("torch", "optuna", "pydantic", "pandas", "moocore")


class _NotHereError(Exception):
    """It works, once what it needs was downloaded."""


def versions() -> Iterator[Row]:
    """Check Python, ablate and the packages that it needs."""
    yield "python", None, f"{platform.python_version()}, {platform.system()} {platform.machine()}, {sys.executable}"
    for name in ("ablate", *NEEDED):
        version = _version(name)
        yield name, version is not None, version or f"not installed; run: pip install {name}"
    for extra, names in _extras().items():
        lacking = [name for name in names if _version(name) is None]
        text = ", ".join(f"{name} {_version(name)}" for name in names)
        if lacking:
            text = f'{", ".join(lacking)} not installed; only where a study needs it: pip install "ablate[{extra}]"'
        yield f"extra {extra}", None if lacking else True, text


def devices() -> Iterator[Row]:
    """Check the CPU, and every GPU that torch sees."""
    try:
        import torch
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything
        yield "torch", False, f"cannot be imported: {error}"
        return
    yield "device cpu", True, f"{torch.get_num_threads()} threads"
    if torch.backends.mps.is_available():
        yield "device mps", True, "without fp64: objectives and weightings that compute in it are refused there"
    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = (
            f"torch is built for CUDA {built}, and sees no GPU: check nvidia-smi"
            if built
            else (
                "this torch is built without CUDA; on a machine with a GPU install another: https://pytorch.org/get-started"
            )
        )
        yield "device cuda", False, why
        return
    for i in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(i)
        facts = f"{gpu.name}, {size(gpu.total_memory)}, compute capability {gpu.major}.{gpu.minor}"
        yield f"device cuda:{i}", True, facts


def machine() -> Iterator[Row]:
    """Report cores and memory, as far as this process may use them."""
    import psutil

    from ablate.execute.share import cores

    yield "cores", None, f"{cores()} for this process, {os.cpu_count()} in the machine"
    memory = psutil.virtual_memory()
    yield "memory", None, f"{size(memory.available)} free of {size(memory.total)}"


def plugins() -> Iterator[Row]:
    """Check every entry point: what it brings, and what could not be loaded."""
    from ablate.discovery.catalog import catalog
    from ablate.discovery.hooks import GROUP

    components = catalog()
    for point in importlib.metadata.entry_points(group=GROUP):
        distribution = point.dist.name if point.dist else "unknown"
        package = point.module
        count = sum(
            e.distribution == distribution and f"{e.cls.__module__}.".startswith(f"{package}.")
            for e in components.entries()
        )
        broken = [b for b in components.broken if b.plugin == f"{distribution}:{point.name}"]
        text = f"{count} components from {point.value}"
        if broken:
            text += f"; {len(broken)} modules are broken, the first says: {broken[0].reason}; see: ablate plugins"
        yield f"plugin {distribution}:{point.name}", not broken, text


def data() -> Iterator[Row]:
    """Check of each data component whether its images are here."""

    def look(part: Data) -> str:
        setting = part.setting()
        classes = f", {setting.classes} classes" if setting.classes else ""
        return f"{'×'.join(map(str, setting.shape))}{classes}"

    yield from _components(Data, look)


def features() -> Iterator[Row]:
    """Check of each features component whether its weights are here. They are not loaded."""
    from ablate.runtime.machine import cache_folder

    def look(part: Features) -> str:
        reason = part.refuse(InputSpec((3, 64, 64), None))
        if reason is not None:
            raise InputError(reason)
        download = part.missing(cache_folder())
        if download is not None:
            raise _NotHereError(f"needs a download: {download}")
        try:
            return f"weights {part.weights_hash()[:12]}"
        except InputError as error:  # they come of a study's own data
            return error.message

    yield from _components(Features, look)


def autoencoders() -> Iterator[Row]:
    """Check of each autoencoder whether what reads its weights is installed, and who says where they are."""
    from ablate.discovery.catalog import catalog

    for entry in catalog().entries("autoencoder"):
        assert issubclass(entry.cls, Autoencoder)
        try:
            command, part = entry.cls.lacking(), _default(Autoencoder, entry)
            if command is not None:
                yield f"autoencoder {entry.name}", False, f"cannot be read here; only where a study needs it: {command}"
            elif isinstance(part, str):
                text = f"evaluate.autoencoder of a study says where its weights are ({part}); they are looked for then"
                yield f"autoencoder {entry.name}", None, text
            else:
                yield f"autoencoder {entry.name}", True, ""
        except Exception as error:  # noqa: BLE001 - a stranger's plugin may raise anything
            yield f"autoencoder {entry.name}", False, f"broken: {type(error).__name__}: {error}"


def executors() -> Iterator[Row]:
    """Check of each executor whether it can run here."""
    from ablate.discovery.catalog import catalog

    for entry in catalog().entries("executor"):
        assert issubclass(entry.cls, Executor)
        try:
            able = entry.cls.available()
            yield f"executor {entry.name}", able, "" if able else "cannot run here: what it needs is not installed"
        except Exception as error:  # noqa: BLE001 - a stranger's plugin may raise anything
            yield f"executor {entry.name}", False, f"broken: {type(error).__name__}: {error}"


def cache() -> Iterator[Row]:
    """Check the folder of data and features: where it is, and whether it can be written."""
    from ablate.runtime.machine import cache_folder

    folder = cache_folder()
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        yield "cache", False, f"{folder} cannot be written ({error.strerror}); name another one in ABLATE_CACHE"
        return
    yield "cache", True, f"{folder}, {size(_bytes(folder))}" if folder.exists() else f"{folder}, not made yet"


def _components(kind: type[K], look: Callable[[K], str]) -> Iterator[Row]:
    from ablate.discovery.catalog import catalog

    for entry in catalog().entries(kind.kind):
        part = _default(kind, entry)
        if isinstance(part, str):
            yield f"{kind.kind} {entry.name}", None, part
            continue
        try:
            yield f"{kind.kind} {entry.name}", True, look(part)
        except _NotHereError as away:
            yield f"{kind.kind} {entry.name}", AWAY, str(away)
        except InputError as error:
            yield f"{kind.kind} {entry.name}", False, str(error)
        except Exception as error:  # noqa: BLE001 - a stranger's plugin may raise anything
            yield f"{kind.kind} {entry.name}", False, f"broken: {type(error).__name__}: {error}"


def _default(kind: type[K], entry: Entry) -> K | str:
    """Return the component with its defaults; where a field has none, what a study has to say."""
    from ablate.discovery.catalog import catalog

    try:
        return catalog().create(kind, {"type": entry.full_name})
    except SpecError as error:
        return f"needs to be told: {error.message}"


def _extras() -> dict[str, list[str]]:
    """Return {extra of ablate: packages that it brings}: what `pip install "ablate[extra]"` installs."""
    from packaging.requirements import Requirement

    packages: dict[str, list[str]] = {}
    try:
        requirements = importlib.metadata.requires("ablate") or []
    except importlib.metadata.PackageNotFoundError:
        return packages
    for one in map(Requirement, requirements):
        extra = re.search(r"extra == [\"']([\w.-]+)[\"']", str(one.marker or ""))
        if extra and extra[1] not in ("dev", "test", "docs"):
            packages.setdefault(extra[1], []).append(one.name)
    return packages


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
