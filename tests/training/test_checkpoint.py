"""Checkpoints: whole or not at all, and never a damaged one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from ablate.training.checkpoint import Checkpoint, flatten_optimizer, newest, restore_optimizer, save


def at(images: int) -> Checkpoint:
    tensors = {
        "a": torch.full((3, 2), float(images)),
        "n": torch.tensor(images),
        "h": torch.ones(5, dtype=torch.bfloat16),
    }
    return Checkpoint(images, tensors, {"steps": images, "rates": [0.1, 1 / 3]})


def test_round_trip(tmp_path: Path) -> None:
    assert newest(tmp_path, "cpu") is None
    save(tmp_path, at(7))
    loaded = newest(tmp_path, "cpu")
    assert loaded is not None
    assert (loaded.images, loaded.facts["steps"], loaded.facts["rates"]) == (7, 7, [0.1, 1 / 3])
    for name, value in at(7).tensors.items():
        assert torch.equal(loaded.tensors[name], value) and loaded.tensors[name].dtype == value.dtype


def test_newest_by_number_of_images_and_two_are_kept(tmp_path: Path) -> None:
    for images in (5, 90, 1000, 12_345_678_901):
        save(tmp_path, at(images))
    assert newest(tmp_path, "cpu").images == 12_345_678_901
    assert sorted(int(path.stem) for path in tmp_path.glob("*.json")) == [1000, 12_345_678_901]
    assert len(list(tmp_path.iterdir())) == 4


def test_new_facts_of_tensors_that_are_kept_leave_their_file_alone(tmp_path: Path) -> None:
    kept = save(tmp_path, at(7))
    file = tmp_path / f"{7:012d}.safetensors"
    written = file.stat().st_ino, file.read_bytes()
    assert save(tmp_path, Checkpoint(7, at(7).tensors, {"steps": 7, "measured": True}), kept) == kept
    assert (file.stat().st_ino, file.read_bytes()) == written
    loaded = newest(tmp_path, "cpu")
    assert loaded is not None and loaded.facts["measured"] and torch.equal(loaded.tensors["a"], at(7).tensors["a"])


@pytest.mark.parametrize("name", ["safetensors", "json"])
@pytest.mark.parametrize("how", ["cut", "bit", "empty", "gone", "nonsense"])
def test_damage_gives_way_to_the_older_one(tmp_path: Path, name: str, how: str) -> None:
    save(tmp_path, at(1))
    save(tmp_path, at(2))
    file = tmp_path / f"{2:012d}.{name}"
    content = file.read_bytes()
    damaged = {"cut": content[: len(content) // 2], "bit": content[:40] + b"\x00" + content[41:], "empty": b""}
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(damaged.get(how, b"[1, 2]"))
    loaded = newest(tmp_path, "cpu")
    assert loaded is not None and loaded.images == 1
    save(tmp_path, at(2))
    assert newest(tmp_path, "cpu").images == 2


def test_tied_and_overlapping_tensors(tmp_path: Path) -> None:
    base = torch.arange(12.0)
    tensors = {"one": base, "same": base, "part": base[3:7], "grid": base.reshape(3, 4).T, "wide": base[:1].expand(4)}
    save(tmp_path, Checkpoint(1, tensors, {}))
    loaded = newest(tmp_path, "cpu").tensors
    assert all(torch.equal(loaded[name], value) for name, value in tensors.items())


@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad, torch.optim.NAdam])
def test_optimizers_round_trip(tmp_path: Path, make: type[torch.optim.Optimizer]) -> None:
    def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            model(torch.ones(2, 3)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    torch.manual_seed(0)
    one = nn.Linear(3, 2)
    first = make(one.parameters(), lr=0.1, **({"momentum": 0.9} if make is torch.optim.SGD else {}))
    steps(one, first, 3)
    tensors, numbers = flatten_optimizer(first.state_dict())
    save(tmp_path, Checkpoint(3, tensors, {"numbers": numbers}))
    loaded = newest(tmp_path, "cpu")
    two = nn.Linear(3, 2)
    two.load_state_dict(one.state_dict())
    second = make(two.parameters(), lr=0.1, **({"momentum": 0.9} if make is torch.optim.SGD else {}))
    second.load_state_dict(restore_optimizer(second.state_dict(), loaded.tensors, loaded.facts["numbers"]))
    steps(one, first, 3)
    steps(two, second, 3)
    assert torch.equal(one.weight, two.weight)


def test_facts_that_were_changed_or_are_another_trials_do_not_count(tmp_path: Path) -> None:
    """The curve, the clock and the averages' lengths stand in them: a changed number would join the record."""
    folder, other = (tmp_path / name / "checkpoint" for name in ("a", "b"))
    for images in (10, 20):
        save(folder, Checkpoint(images, {"w": torch.ones(2)}, {"seconds": 1.0, "trial": "a"}))
    file = folder / "000000000020.json"
    whole = file.read_text()
    file.write_text(whole.replace('"seconds": 1.0', '"seconds": 9.0'))
    assert newest(folder, "cpu").images == 10
    file.write_text(whole)
    assert newest(folder, "cpu").images == 20
    shutil.copytree(folder, other)
    assert newest(other, "cpu") is None
