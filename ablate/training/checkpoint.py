"""Checkpoints: safetensors for tensors and JSON for the rest, atomic, newest good one first.

The JSON carries its own checksum and that of the tensors: a file that was changed since does not count.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ablate.io.files import write_json, write_with
from ablate.io.sealed import read_sealed, sealed

KEPT = 2  # the newest, and the one before it should the newest be damaged


@dataclass(frozen=True)
class Checkpoint:
    """What a learner needs to go on as if nothing had happened."""

    images: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]  # JSON


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `<images>.safetensors`, then `<images>.json`, which makes it count; drop all but the newest two.

    Raises OSError where the disk refuses.
    """
    name = f"{checkpoint.images:012d}"
    file = folder / f"{name}.safetensors"
    write_tensors(file, checkpoint.tensors)
    own = {"schema": 1, "images": checkpoint.images, "sha256": _hash(file)}
    facts = json.loads(json.dumps({**own, **checkpoint.facts}, allow_nan=False))  # as they will be read
    write_json(folder / f"{name}.json", sealed(facts))
    kept = sorted(path.stem for path in folder.glob("[0-9]*.json") if path.stem <= name)[-KEPT:]
    for path in folder.iterdir():  # older ones, damaged ones from further on, what a killed process left half written
        if path.stem not in kept:
            path.unlink(missing_ok=True)


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write one file of safetensors atomically. Raises OSError where the disk refuses."""
    held = _apart(tensors)
    with _plain_errors():
        write_with(file, lambda temporary: save_file(held, temporary))


def newest(folder: Path, device: str) -> Checkpoint | None:
    """The newest checkpoint that is whole; None where there is none."""
    for file in sorted(folder.glob("[0-9]*.json"), reverse=True):
        try:
            facts = read_sealed(file)
            weights = file.with_suffix(".safetensors")
            own = facts.get("trial", folder.parent.name) == folder.parent.name  # not copied from another trial
            if own and _hash(weights) == facts["sha256"]:
                return Checkpoint(facts["images"], load_file(weights, device=device), facts)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            continue  # damaged: an older one may be whole
    return None


def flatten_optimizer(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's per-parameter state as tensors by `index.name`, and its plain numbers as JSON."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, held in state["state"].items():
        for key, value in held.items():
            (tensors if isinstance(value, Tensor) else numbers)[f"{index}.{key}"] = value
    return tensors, numbers


def restore_optimizer(
    state: Mapping[str, Any], tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> dict[str, Any]:
    """The inverse of `flatten_optimizer`, with the parameter groups of a fresh optimizer's `state`."""
    held: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **numbers}.items():
        index, _, key = name.partition(".")
        held.setdefault(int(index), {})[key] = value
    return {"state": held, "param_groups": state["param_groups"]}


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


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each in memory of its own: safetensors refuses weights that are tied."""
    apart: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().contiguous()
        place = value.untyped_storage().data_ptr()
        apart[name] = value.clone() if place in taken else value
        taken.add(place)
    return apart


def _hash(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """The operating system's errors as OSError: safetensors tells their number in words alone."""
    try:
        yield
    except SafetensorError as error:
        found = re.search(r"os error (\d+)", str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from error
