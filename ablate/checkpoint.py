"""Checkpoints: safetensors for tensors and JSON for the rest, atomic, newest good one first."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ablate.files import read_json, write_json, write_with


@dataclass(frozen=True)
class Checkpoint:
    """What a learner needs to go on as if nothing had happened."""

    images: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]  # JSON


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `<images>.safetensors`, then `<images>.json`, which makes it count; drop older ones."""
    name = f"{checkpoint.images:012d}"
    tensors = {key: value.detach().contiguous() for key, value in checkpoint.tensors.items()}
    file = folder / f"{name}.safetensors"
    write_with(file, lambda temporary: save_file(tensors, temporary))
    facts = {"schema": 1, "images": checkpoint.images, "bytes": file.stat().st_size, **checkpoint.facts}
    write_json(folder / f"{name}.json", facts)
    for old in sorted(folder.glob("*.json"))[:-1]:
        with contextlib.suppress(OSError):
            old.unlink()
            old.with_suffix(".safetensors").unlink()


def newest(folder: Path, device: str) -> Checkpoint | None:
    """The newest checkpoint that is whole; None where there is none."""
    for file in sorted(folder.glob("*.json"), reverse=True):
        try:
            facts = read_json(file)
            weights = file.with_suffix(".safetensors")
            if weights.stat().st_size == facts["bytes"]:
                return Checkpoint(facts["images"], load_file(weights, device=device), facts)
        except (OSError, json.JSONDecodeError, KeyError, TypeError, SafetensorError):
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
