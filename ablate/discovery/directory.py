"""The directory of plugins: a list of what strangers publish, as it came with ablate or was fetched since.

A JSON document, made by docs/directory.py:

    {"schema": 1, "made": "2026-11-30", "from": "https://pypi.org",
     "plugins": [{"name", "version", "summary", "components": ["conditioning/adaln_lora", ...], "kinds": [of its own],
                  "api_version": 1 | null, "install": "pip install ...",
                  "conformance": {"status": "passed" | "failed" | "not loaded", "passed", "failed", "skipped",
                                  "ablate": "0.1.0", "why": ""}}, ...]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ablate.discovery.api_version import why_not
from ablate.errors import InputError
from ablate.io.files import write_atomic
from ablate.runtime.machine import cache_folder, usable

SCHEMA = 1
SHIPPED = Path(__file__).parents[1] / "reference" / "plugins.json"
SECONDS = 30.0
MOST_BYTES = 5_000_000
STATUSES = ("passed", "failed", "not loaded")


@dataclass(frozen=True)
class Listed:
    """A plugin of the list."""

    name: str  # of its distribution
    version: str
    summary: str
    components: tuple[str, ...]  # kind/name
    kinds: tuple[str, ...]  # that it brings itself
    api_version: int | None  # of ablate's plugin API, for which it was written; None: it does not say
    install: str
    conformance: Mapping[str, Any]

    @property
    def installed(self) -> str | None:
        """The version of it that is installed here; None where none is."""
        try:
            return metadata.version(self.name)
        except (metadata.PackageNotFoundError, ValueError):
            return None

    @property
    def refusal(self) -> str | None:
        """Why it cannot be used with this ablate; None where it can, as far as it says."""
        return why_not(self.api_version)

    def has(self, words: Sequence[str]) -> bool:
        """Return whether all words stand in its name, its summary, or the names of what it brings."""
        text = " ".join((self.name, self.summary, *self.components, *self.kinds)).lower()
        return all(word.lower() in text for word in words)


@dataclass(frozen=True)
class Directory:
    """A list of plugins, and where it is from."""

    plugins: tuple[Listed, ...]
    made: str  # the day
    source: str  # the index that was asked
    place: str  # the file that was read

    def to_json(self) -> dict[str, Any]:
        """Return it as `read` takes it."""
        plugins = [asdict(one) for one in self.plugins]
        return {"schema": SCHEMA, "made": self.made, "from": self.source, "plugins": plugins}


def stored() -> Directory:
    """Return the newest list on this machine: the one that was fetched last, or the one that came with ablate."""
    shipped = read(SHIPPED)
    fetched = _fetched()
    if not fetched.is_file():
        return shipped
    try:
        cached = read(fetched)
    except InputError:
        return shipped
    return cached if cached.made >= shipped.made else shipped


def fetch(address: str) -> Directory:
    """Read a list from a file or an address (http, https), and keep it for the next time.

    Raises OSError where it cannot be reached, InputError where it is no list.
    """
    if not address.startswith(("http://", "https://")):
        path = Path(address)
        if not path.is_file():
            raise InputError("there is no such file; name one, or an address with https://", address)
        return read(path)
    import urllib.request
    from http.client import HTTPException

    try:
        with urllib.request.urlopen(address, timeout=SECONDS) as answer:
            content = answer.read(MOST_BYTES + 1)
    except HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from None
    if len(content) > MOST_BYTES:
        raise InputError(f"is more than {MOST_BYTES:,} bytes, and no list of plugins", address)
    found = _parsed(content, address)
    usable(cache_folder())
    _fetched().parent.mkdir(exist_ok=True)
    write_atomic(_fetched(), content)
    return found


def read(file: Path) -> Directory:
    """Read a list. Raises InputError where the file is none."""
    return _parsed(file.read_bytes(), str(file))


def _fetched() -> Path:
    return cache_folder() / "plugins" / "directory.json"


def _parsed(content: bytes, place: str) -> Directory:
    try:
        document = json.loads(content)
        if document["schema"] != SCHEMA:
            raise InputError(f"is a list of schema {document['schema']!r}, and this ablate reads {SCHEMA}", place)
        plugins = tuple(_listed(one) for one in document["plugins"])
        return Directory(plugins, _text(document["made"]), _text(document["from"]), place)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"is no list of plugins ({type(error).__name__}: {error})", place) from None


def _listed(one: Mapping[str, Any]) -> Listed:
    version, conformance = one["api_version"], one["conformance"]
    if version is not None and (isinstance(version, bool) or not isinstance(version, int)):
        raise TypeError(f"api_version {version!r}")
    if conformance["status"] not in STATUSES:
        raise ValueError(f"conformance {conformance['status']!r}")
    texts = (_text(one[key]) for key in ("name", "version", "summary"))
    lists = (tuple(map(_text, one[key])) for key in ("components", "kinds"))
    return Listed(*texts, *lists, version, _text(one["install"]), dict(conformance))  # type: ignore[call-arg, arg-type]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
