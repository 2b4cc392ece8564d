"""Checkpoints: safetensors for tensors and JSON for the rest, atomic, newest good one first.

The JSON carries its own checksum and that of the tensors: a file that was changed since does not count.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ablate.io.files import TEMPORARY, write_json, write_with
from ablate.io.sealed import read_sealed, sealed
from ablate.training.checkpoint_files import stem

CHECKPOINTS, KEPT = "checkpoint", "kept"  # folders of a trial: its newest checkpoints, and those that stay for good
NEWEST = 2  # the newest, and the one before it should the newest be damaged


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training, from which it resumes to the same numbers."""

    images: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]  # JSON


def save(folder: Path, checkpoint: Checkpoint, kept: str | None = None) -> str:
    """Save a checkpoint: `<images>.safetensors`, then `<images>.json`, which makes it count; keep the newest two.

    Return the hash of its tensors. kept: that hash, where these very tensors are in their file already: then the facts
    alone are written. Raises OSError where the disk refuses.
    """
    name = stem(checkpoint.images)
    file = folder / f"{name}.safetensors"
    written = kept is None
    if kept is None:
        write_tensors(file, checkpoint.tensors, durable=False)
        kept = _hash(file)
    header = {"schema": 1, "images": checkpoint.images, "sha256": kept}
    facts = json.loads(json.dumps({**header, **checkpoint.facts}, allow_nan=False))  # as they will be read
    # Synced together: facts that come to the disk before their tensors do not fit them, and the older one counts.
    write_json(folder / f"{name}.json", sealed(facts), beside=[file] if written else [])
    # Removed are older ones, damaged ones from further on, and what a killed process left half written.
    _keep(folder, sorted(path.stem for path in folder.glob("[0-9]*.json") if path.stem <= name)[-NEWEST:])
    return kept


def keep_newest(folder: Path) -> None:
    """Keep the newest checkpoint alone, where a training rests for long: it takes half the room."""
    _keep(folder, sorted(path.stem for path in folder.glob("[0-9]*.json"))[-1:])


def _keep(folder: Path, names: Collection[str]) -> None:
    for path in folder.iterdir():
        if path.stem not in names:
            path.unlink(missing_ok=True)


def write_tensors(file: Path, tensors: Mapping[str, Tensor], durable: bool = True) -> None:
    """Write one file of safetensors atomically. Raises OSError where the disk refuses."""
    separate = _separate_storages(tensors)
    with _plain_errors():
        write_with(file, lambda temporary: save_file(separate, temporary), durable)


def retain(folder: Path, into: Path, images: int) -> None:
    """Keep the checkpoint after so many images for good, in another folder; a link, where the file system has them."""
    into.mkdir(parents=True, exist_ok=True)
    for suffix in (".safetensors", ".json"):  # the one that makes it count comes last
        name = f"{images:012d}{suffix}"
        temporary = into / f".{name}{TEMPORARY}"
        temporary.unlink(missing_ok=True)
        try:
            os.link(folder / name, temporary)
        except OSError:
            shutil.copy2(folder / name, temporary)
        temporary.replace(into / name)


def newest(folder: Path, device: str) -> Checkpoint | None:
    """Load the newest checkpoint that is whole; None where there is none."""
    files = sorted(folder.glob("[0-9]*.json"), reverse=True)
    whole = (checkpoint for file in files if (checkpoint := _load(file, device)) is not None)
    return next(whole, None)


def after(folders: Iterable[Path], images: int, device: str) -> Checkpoint | None:
    """Load the checkpoint after so many images from the first of the folders that has it whole; None where none has."""
    files = [folder / f"{images:012d}.json" for folder in folders]
    whole = (checkpoint for file in files if (checkpoint := _load(file, device)) is not None)
    return next(whole, None)


def facts_of(file: Path) -> dict[str, Any] | None:
    """Return the facts of a checkpoint, without its tensors; None where they are damaged, or of another trial."""
    try:
        facts = read_sealed(file)
    except (OSError, ValueError):
        return None
    trial = file.parent.parent.name
    return facts if facts.get("trial", trial) == trial else None  # not copied from another trial


def _load(file: Path, device: str) -> Checkpoint | None:
    """Load a checkpoint by the file of its facts; None where it is damaged: an older one may be whole."""
    facts, weights = facts_of(file), file.with_suffix(".safetensors")
    try:
        if facts is not None and _hash(weights) == facts["sha256"]:
            return Checkpoint(facts["images"], load_file(weights, device=device), facts)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        pass
    return None


def flatten_optimizer(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimizer's state_dict into tensors by `index.name` and plain numbers (JSON)."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, values in state["state"].items():
        for key, value in values.items():
            (tensors if isinstance(value, Tensor) else numbers)[f"{index}.{key}"] = value
    return tensors, numbers


def restore_optimizer(
    state: Mapping[str, Any], tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> dict[str, Any]:
    """Rebuild an optimizer's state_dict from `flatten_optimizer`, with the parameter groups of a fresh `state`."""
    per_parameter: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **numbers}.items():
        index, _, key = name.partition(".")
        per_parameter.setdefault(int(index), {})[key] = value
    return {"state": per_parameter, "param_groups": state["param_groups"]}


def with_prefix(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of one part of a checkpoint (network, optimizer, …) under the names `part.name`."""
    return {f"{part}.{name}": value for name, value in tensors.items()}


def by_prefix(tensors: Mapping[str, Tensor]) -> Mapping[str, dict[str, Tensor]]:
    """Split a checkpoint's tensors into its parts, {part: {name: tensor}}, the inverse of `with_prefix`.

    A part of which there is nothing is empty; a tensor without a prefix is a part whose only name is "".
    """
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for prefixed, value in tensors.items():
        part, _, name = prefixed.partition(".")
        parts[part][name] = value
    return parts


def _separate_storages(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with storages of their own: safetensors refuses tied weights."""
    separate: dict[str, Tensor] = {}
    addresses: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().contiguous()
        address = value.untyped_storage().data_ptr()
        separate[name] = value.clone() if address in addresses else value
        addresses.add(address)
    return separate


def _hash(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Raise the operating system's errors as OSError: safetensors gives their number only in its message."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"(?:os error |code: )(\d+)", str(error))  # the second before safetensors 0.6
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
