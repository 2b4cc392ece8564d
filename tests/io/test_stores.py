"""Folders in a store, in memory here: objects, conditional writes, and the like of a folder."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from ablate.errors import InputError
from ablate.io import stores
from ablate.io.mirror import STATE, Mirror, is_small
from ablate.io.stores import Store, StoreError, normal_url

_numbers = itertools.count()


@pytest.fixture
def url() -> Iterator[str]:
    name = f"test-{next(_numbers)}"
    yield f"memory://{name}"
    if fsspec.filesystem("memory").exists(f"/{name}"):
        fsspec.filesystem("memory").rm(f"/{name}", recursive=True)


@pytest.fixture
def store(url: str) -> Store:
    return Store(url)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("s3://bucket", "names a whole bucket"),
        ("s3://bucket/../other", "names no folder of a store"),
        ("s3://key:sesame@bucket/x", "holds a password"),
    ],
)
def test_a_url_that_names_no_folder_or_holds_a_password_is_refused(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as refused:
        normal_url(text)
    assert "sesame" not in str(refused.value)


def test_kinds_of_stores_that_are_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="no kind of store 's4'; there is: gcs, gs, memory, s3"):
        Store("s4://bucket/folder")


def test_of_two_that_create_one_name_one_does_and_a_lost_answer_is_no_refusal(store: Store) -> None:
    assert store.check() and not store.listing()  # what it tried with is gone
    assert store.create("log/1", b"mine") and not store.create("log/1", b"yours")
    assert store.read("log/1") == b"mine" and store.read("log/2") is None
    assert store.create("log/1", b"mine")  # done before, and the answer was lost


class Failing:
    """The store's own filesystem, which does not answer a few times: as a server that says 503."""

    def __init__(self, behind: object, answers: int) -> None:
        self._behind, self._answers = behind, answers

    def __getattr__(self, name: str) -> object:
        def call(*given: object, **more: object) -> object:
            if self._answers:
                self._answers -= 1
                raise OSError(16, "Please reduce your request rate.")
            return getattr(self._behind, name)(*given, **more)

        return call


def test_a_store_that_does_not_answer_is_asked_again_and_given_up_in_one_message(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "FIRST_PAUSE", 0.001)
    lines: list[str] = []
    store._say, store._fs = lines.append, Failing(store._fs, 4)
    store.write("a", b"1")
    assert store.read("a") == b"1"
    assert len(lines) == 1 and "does not answer (Please reduce" in lines[0]
    store._fs, store.patience = Failing(store._fs, 10**6), 0.05
    with pytest.raises(StoreError, match=r"cannot be reached, after \d+ tries in .*: Please reduce"):
        store.read("a")


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def files(folder: Path) -> dict[str, str]:
    found = {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}
    return {name: text for name, text in found.items() if name != STATE}


def test_what_is_new_travels_and_nothing_else(store: Store, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for name in ("lock.json", "trials/t/record.json", "trials/t/checkpoint/1.safetensors"):
        write(here, name, "1")
    for name in ("trials/t/.lock", ".driver", "trials/t/.x.tmp", "workers/job", "optuna.db-journal"):
        write(here, name, "not of the study")
    mirror, reader = Mirror(store, here), Mirror(store, there)
    assert mirror.push() == 3 and mirror.push() == 0
    assert reader.pull(is_small) == 2 and reader.pull(is_small) == 0
    assert files(there) == {"lock.json": "1", "trials/t/record.json": "1"}
    write(here, "lock.json", "2")
    (here / "trials/t/record.json").unlink()
    assert Mirror(store, here).push() == 2  # also by a process that begins anew
    assert Mirror(store, there).pull(is_small) == 1 and files(there) == {"lock.json": "2"}
    assert "trials/t/checkpoint/1.safetensors" in store.listing()


def test_what_was_measured_here_and_did_not_come_there_stays_when_another_was_at_work(
    store: Store, tmp_path: Path
) -> None:
    mine, others = tmp_path / "mine", tmp_path / "others"
    write(mine, "lock.json", "1")
    write(mine, "trials/a/record.json", "mine")
    mirror = Mirror(store, mine)
    mirror.push()
    other = Mirror(store, others)
    other.pull()
    write(others, "lock.json", "2")
    write(others, "trials/b/record.json", "theirs")
    write(mine, "trials/b/record.json", "mine too, later")
    write(mine, "trials/c/record.json", "mine alone")
    write(mine, "trials/d/progress.json", "half way")
    other.push()
    mirror.adopt(is_small)
    assert files(mine) == {
        "lock.json": "2",
        "trials/a/record.json": "mine",
        "trials/b/record.json": "theirs",
        "trials/c/record.json": "mine alone",
    }
    mirror.push()
    other.pull()
    assert files(others) == files(mine)


def test_a_folder_whose_store_was_emptied_fills_it_again(store: Store, tmp_path: Path) -> None:
    write(tmp_path, "lock.json", "1")
    mirror = Mirror(store, tmp_path)
    mirror.push()
    store.remove(store.listing())
    mirror.adopt(is_small)
    assert mirror.push() == 1 and files(tmp_path) == {"lock.json": "1"}
