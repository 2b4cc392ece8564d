"""A folder in an object store, by an fsspec URL such as `s3://bucket/folder`: whole objects, and nothing but these.

An object is there whole or not at all, and is never renamed. The one thing that decides between two writers is
`create`: of all that create one name, one does (S3: `If-None-Match: *`; Google: `ifGenerationMatch=0`). Stores that do
not keep that condition are told apart by trying.

A store that answers 503, or not, is asked again, with longer and longer pauses.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from ablate.errors import InputError, did_you_mean
from ablate.io.files import write_with

_URL = re.compile(r"^([a-z][a-z0-9+.-]*)://(.*)$", re.IGNORECASE)
CONDITIONAL = ("s3", "s3a", "gs", "gcs", "memory")  # whose filesystems send the condition; of other ones it is unknown
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
EXTRAS = {"s3fs": "s3"}  # of this package
PATIENCE = 600.0  # seconds that a store may be away
SHORT = 20.0  # the same before anything has begun
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between two tries
AT_ONCE = 8  # objects on their way
_OURS = (TypeError, AttributeError, NameError, AssertionError, ImportError, MemoryError)  # no store is at fault
_FOR_GOOD = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "ParamValidationError")
CREDENTIALS = "credentials are those of the store's own variables and files, such as AWS_ACCESS_KEY_ID or ~/.aws"
AGAIN = "see whether the address and the network are in order, then give the same command again"

T = TypeVar("T")


class StoreError(InputError):
    """Raised where a store cannot be reached, or refuses; its text says what to do."""


class _OneAtATime:
    """Lets threads of one process create in memory one after the other: there it is a look and a write."""

    lock = threading.Lock()


@dataclass(frozen=True)
class Object:
    """What a listing says of an object. mark: a text that changes with its content."""

    size: int
    mark: str


def is_url(text: object) -> bool:
    """Return whether a text names a store, and no folder of this machine."""
    return isinstance(text, str) and (match := _URL.match(text)) is not None and match[1].lower() != "file"


def normal_url(text: str) -> str:
    """Return a URL without what is no part of a name. Raises InputError where it names no folder of a store.

    One that holds a password is refused: it would stand in logs and records.
    """
    match = _URL.match(text)
    if match is None:
        raise InputError(f"{text!r} is no URL of a store, such as s3://bucket/folder")
    protocol, rest = match[1].lower(), match[2].strip("/")
    if re.match(r"[^/@]*:[^/@]*@", rest):
        raise InputError(
            f"the URL {protocol}://… holds a password; leave it out, and let the environment or the credentials file "
            "of the store's own tools hold it"
        )
    parts = PurePosixPath(rest).parts
    if not parts or any(part in (".", "..") for part in parts) or "\0" in rest or "//" in rest:
        raise InputError(f"{text!r} names no folder of a store; expected {protocol}://bucket/folder")
    if len(parts) < 2 and protocol != "memory":
        raise InputError(f"{text!r} names a whole bucket; name a folder in it: {protocol}://{parts[0]}/folder")
    return f"{protocol}://{rest}"


class Store:
    """Objects below one URL; names are relative to it.

    patience: seconds that it may be away before a call raises StoreError. say: takes lines for the user.
    """

    def __init__(self, url: str, patience: float = PATIENCE, say: Callable[[str], None] = lambda line: None) -> None:
        self.url = normal_url(url)
        self.patience = patience
        self._say = say
        self._protocol, self._root = self.url.split("://", 1)
        self._fs = _filesystem(self._protocol, self.url)
        self._told = 0.0

    # --- one object -----------------------------------------------------------------------------------

    def read(self, name: str) -> bytes | None:
        """Return an object's content; None where there is none."""

        def read() -> bytes | None:
            try:
                return bytes(self._fs.cat_file(self._key(name)))
            except FileNotFoundError:
                return None

        return self._patiently(read)

    def write(self, name: str, content: bytes) -> None:
        """Write an object, in the place of what was there."""
        self._patiently(lambda: self._fs.pipe_file(self._key(name), content))

    def create(self, name: str, content: bytes) -> bool:
        """Write an object where there is none; False where there is one, of others.

        content must be like no other's: a store may have done what it was asked, and its answer be lost. Who asks
        again then finds its own.
        """

        def create() -> bool:
            with _OneAtATime.lock if self._protocol == "memory" else contextlib.nullcontext():
                try:
                    self._fs.pipe_file(self._key(name), content, mode="create")
                except FileExistsError:
                    return False
            return True

        return self._patiently(create) or self.read(name) == content

    # --- many of them ---------------------------------------------------------------------------------

    def listing(self, folder: str = "") -> dict[str, Object]:
        """Return all objects below a folder, by name."""

        def look() -> dict[str, Any]:
            self._fs.invalidate_cache()
            with contextlib.suppress(FileNotFoundError):
                return dict(self._fs.find(self._key(folder), detail=True))
            return {}

        found = {}
        for key, facts in self._patiently(look).items():
            name = str(key).lstrip("/").removeprefix(self._root).lstrip("/")
            if facts.get("type") == "file" and name and _is_inside(name):
                mark = next((facts[k] for k in ("ETag", "etag", "generation", "mtime", "created") if facts.get(k)), "")
                found[name] = Object(int(facts.get("size") or 0), str(mark).strip('"'))
        return found

    def upload(self, files: Mapping[str, Path]) -> list[str]:
        """Write files as objects, {name: file}; return the names of those that are there: others may remove them."""

        def one(name: str) -> str | None:
            def put() -> str | None:
                try:
                    self._fs.put_file(str(files[name]), self._key(name))
                except FileNotFoundError:
                    if files[name].exists():
                        raise
                    return None
                return name

            return self._patiently(put)

        return [name for name in self._together(one, files) if name is not None]

    def download(self, files: Mapping[str, Path]) -> list[str]:
        """Write objects as files, each whole, {name: file}; return the names of those that there were."""

        def one(name: str) -> str | None:
            def get() -> str | None:
                with contextlib.suppress(FileNotFoundError):
                    write_with(files[name], lambda path: self._fs.get_file(self._key(name), str(path)), durable=False)
                    return name
                return None

            return self._patiently(get)

        return [name for name in self._together(one, files) if name is not None]

    def copy(self, pairs: Mapping[str, str]) -> None:
        """Copy objects within the store, {name: name of the copy}. Raises FileNotFoundError where one is gone."""
        self._together(
            lambda name: self._patiently(lambda: self._fs.copy(self._key(name), self._key(pairs[name]))), pairs
        )

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; those that are not there are no error."""

        def one(name: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                self._patiently(lambda: self._fs.rm_file(self._key(name)))

        self._together(one, list(names))

    # --- what it can do -------------------------------------------------------------------------------

    def check(self) -> bool:
        """Try whether it can be reached, read and written; return whether two writers of one name are told apart.

        Raises StoreError, in one message, where it cannot.
        """
        name, content = f"workers/.try-{uuid.uuid4().hex}", uuid.uuid4().bytes
        before, self.patience = self.patience, min(self.patience, SHORT)
        try:
            if self._protocol in CONDITIONAL:
                first = self.create(name, content)
                conditional = first and not self.create(name, uuid.uuid4().bytes)
            else:
                self.write(name, content)
                conditional = False
            if self.read(name) is None or name not in self.listing("workers"):
                raise StoreError("does not show what was just written to it", self.url)
            self.remove([name])
        finally:
            self.patience = before
        return conditional

    def reach(self) -> None:
        """Try whether it can be reached and read. Raises StoreError, in one message, where it cannot."""
        before, self.patience = self.patience, min(self.patience, SHORT)
        try:
            self.read("lock.json")
        finally:
            self.patience = before

    # --- within ---------------------------------------------------------------------------------------

    def _key(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _together(self, one: Callable[[str], T], names: Iterable[str]) -> list[T]:
        listed = list(names)
        if len(listed) < 2:
            return [one(name) for name in listed]
        with ThreadPoolExecutor(min(AT_ONCE, len(listed)), thread_name_prefix="ablate-store") as threads:
            return list(threads.map(one, listed))

    def _patiently(self, action: Callable[[], T]) -> T:
        """Do it, again where the store does not answer. What it says for good is raised at once."""
        begun, pause, tries = time.monotonic(), FIRST_PAUSE, 0
        while True:
            tries += 1
            try:
                return action()
            except (FileNotFoundError, FileExistsError) as error:
                if "bucket" in str(error).lower() and "exist" in str(error).lower():
                    raise StoreError(f"there is no such bucket ({error})", self.url) from None
                raise
            except PermissionError as error:
                raise StoreError(f"refuses: {_reason(error)}; {CREDENTIALS}", self.url) from None
            except _OURS:
                raise
            except Exception as error:
                if isinstance(error, OSError) and error.filename is not None:
                    raise  # the disk here
                forbidden = getattr(error, "code", None) in (401, 403) or str(error).startswith("Forbidden")
                if type(error).__name__ in _FOR_GOOD or forbidden:
                    raise StoreError(f"refuses: {_reason(error)}; {CREDENTIALS}", self.url) from None
                waited = time.monotonic() - begun
                if waited + pause > self.patience:
                    message = f"cannot be reached, after {tries} tries in {waited:.0f} s: {_reason(error)}; {AGAIN}"
                    raise StoreError(message, self.url) from None
                self._tell(f"{self.url} does not answer ({_reason(error)}); it is asked again")
                time.sleep(pause * random.uniform(0.75, 1.0))
                pause = min(2 * pause, LONGEST_PAUSE)

    def _tell(self, line: str) -> None:
        """Tell it, but not more than once a minute."""
        now = time.monotonic()
        if now - self._told > 60 or not self._told:
            self._told = now
            self._say(f"warning: {line}")


def _reason(error: BaseException) -> str:
    """Return what a store says, in one line."""
    text = " ".join(str(error.strerror if isinstance(error, OSError) and error.strerror else error).split())
    return text[:200] or type(error).__name__


def _is_inside(name: str) -> bool:
    """Return whether a name leads to no other place, wherever its folder is put."""
    parts = name.split("/")
    return "\\" not in name and "\0" not in name and not any(part in ("", ".", "..") for part in parts)


def _filesystem(protocol: str, url: str) -> Any:
    import fsspec  # a tenth of a second

    known = set(fsspec.available_protocols())
    if protocol not in known:
        raise InputError(f"there is no kind of store {protocol!r}{did_you_mean(protocol, CONDITIONAL)}", url)
    try:
        options = {} if protocol == "memory" else {"skip_instance_cache": True, "use_listings_cache": False}
        return fsspec.filesystem(protocol, **options)
    except ImportError as error:
        package = PACKAGES.get(protocol)
        extra = f"ablate[{EXTRAS[package]}]" if package in EXTRAS else package
        advice = f"install {package}: pip install '{extra}'" if package else str(error)
        raise InputError(f"{protocol}:// needs a package that is not installed; {advice}", url) from None
    except Exception as error:  # noqa: BLE001 - of a filesystem's own package
        raise StoreError(f"cannot be opened: {_reason(error)}", url) from None


def name_of(url: str) -> str:
    """Return a folder's name for a URL, that no other URL has."""
    import hashlib

    normal = normal_url(url)
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", normal.split("://", 1)[1])[-40:].strip("-.")
    return f"{readable}-{hashlib.sha256(normal.encode()).hexdigest()[:12]}"


def sameness(path: Path | os.DirEntry[str]) -> str:
    """Return a text that changes when a local file does."""
    stat = path.stat()
    return f"{stat.st_ino}:{stat.st_size}@{stat.st_mtime_ns}"
