"""Studies in a store, `s3://bucket/folder`: where on this machine their files are meanwhile."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import platformdirs

from ablate.errors import InputError
from ablate.io.files import read_json, write_json
from ablate.io.locks import is_locked, locked
from ablate.io.mirror import STATE, Mirror, is_small
from ablate.io.stores import Store, is_url, name_of, normal_url
from ablate.runtime.machine import cache_folder

SIGNS = ".signs.json"  # in a copy: what driver and workers last said of themselves
DRIVER = ".driver"  # held by the `ablate run` that is at work in a folder


def driver_folder(url: str) -> Path:
    """Return the folder in which this machine's driver of a study works: what is in it may be nowhere else yet."""
    home = os.environ.get("ABLATE_STORES") or platformdirs.user_data_path("ablate") / "stores"
    return Path(home).absolute() / name_of(url)


def copy_folder(url: str) -> Path:
    """Return the folder of what this machine has read of a study; it may be removed."""
    return cache_folder() / "stores" / name_of(url)


def readable(place: str | Path) -> Path:
    """Return a folder to read a study from: the one named, or of a URL a copy of what is new there, without networks.

    Where this machine's own driver is at work on the URL, its folder is it, which is newer than the store. Raises
    StoreError where the store cannot be reached, InputError where it has no study there.
    """
    text = str(place)
    if not is_url(text):
        return Path(text.removeprefix("file://")) if text.startswith("file://") else Path(place)
    url = normal_url(text)
    if is_locked(driver_folder(url) / DRIVER):
        return driver_folder(url)
    store = Store(url)
    store.reach()
    if store.read("lock.json") is None:
        raise InputError("is no study's folder: there is no lock.json", url)
    folder = copy_folder(url)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".mirror"):
        Mirror(store, folder).pull(is_small)
        write_json(folder / SIGNS, _signs(store), durable=False)
    return folder


def _signs(store: Store) -> dict[str, Any]:
    """Return what driver and workers last said of themselves, for `ablate status`."""
    names = [name for name in store.listing("workers/present") if name.endswith(".json")]
    texts = {name: store.read(name) for name in ("workers/driver.json", *names)}
    said = {name: json.loads(text) for name, text in texts.items() if text is not None}
    return {"driver": said.pop("workers/driver.json", None), "workers": list(said.values())}


def url_of(folder: Path) -> str | None:
    """Return the URL that a folder of this machine stands for; None where it stands for itself."""
    try:
        content = read_json(folder / STATE)
        return str(content["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
