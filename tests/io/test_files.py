"""Files that are synced together: what one answers for is on the disk before it takes its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ablate.io import files
from ablate.worker import records


def test_a_record_takes_its_place_after_all_that_it_answers_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        order.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    def replaced(source: str, target: str | Path) -> None:
        order.append(f"-> {Path(target).name}")
        replace(source, target)

    folder = tmp_path / "aaaaaaaaaaaa-s0"
    folder.mkdir()
    for name in ("curve.json", "samples.npy", "probes.json"):
        (folder / name).write_text("0")
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    record = {"state": "paused", "files": {"curve.json": "0", "samples.npy": "0", "samples.png": "gone"}}
    records.write(folder, record)  # type: ignore[arg-type]
    assert order[-1] == "-> paused.json"
    temporary = {name for name in order[:-1] if name.startswith(".paused.json.")}
    assert len(temporary) == 1 and {*order[:-1]} - temporary == {"curve.json", "samples.npy", "probes.json"}
    order.clear()
    records.write(folder, {"state": "complete", "files": {"samples.npy": "0"}}, {})  # type: ignore[typeddict-item]
    assert order[-1] == f"-> {records.PACKED}" and "samples.npy" in order and len(order) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["samples.npy", records.PACKED]


def test_a_disk_that_refuses_one_file_is_told_and_nothing_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, file = tmp_path / "other", tmp_path / "file"
    other.write_text("0")
    file.write_text("before")
    fsync = os.fsync

    def refused(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").readlink().name == "other":
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(OSError, match="No space left"):
        files.write_atomic(file, "after", beside=[other])
    assert file.read_text() == "before" and sorted(path.name for path in tmp_path.iterdir()) == ["file", "other"]
