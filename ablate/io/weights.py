"""Pretrained weights, identified by SHA-256: found on disk, downloaded with resume, checked before use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from ablate.errors import InputError
from ablate.io.files import file_hash
from ablate.io.locks import locked

_CHUNK = 2**20
_SECONDS = 30.0  # without a byte, after which a connection counts as dead


@dataclass(frozen=True)
class WeightsFile:
    """A file of pretrained weights that is on this machine, or can be downloaded."""

    name: str
    url: str
    sha256: str
    size: int  # bytes
    also: tuple[str, ...] = ()  # names under which other programs keep it

    def find(self, location: str | None, folders: Sequence[Path]) -> Path | None:
        """Find the file: the given one, or the first of its names in the folders. It is not opened.

        Raises InputError where `location` is no file.
        """
        if location is not None:
            path = Path(location).expanduser()
            if not path.is_file():
                raise InputError(f"there is no such file of weights; it should hold {self._description()}", location)
            return path
        paths = [folder / name for folder in folders for name in (self.name, *self.also)]
        return next((path for path in paths if path.is_file()), None)

    def check(self, path: Path) -> Path:
        """Verify the hash of a file, and return its path. Raises InputError where it is another."""
        actual = sha256_of(path)
        if actual != self.sha256:
            raise InputError(
                f"these are other weights, or they are damaged: SHA-256 {actual[:12]}…, not {self.sha256[:12]}…; "
                f"remove the file, or put {self._description()} in its place",
                str(path),
            )
        return path

    def fetch(self, folder: Path, pause: Callable[[], None]) -> Path:
        """Download into the folder, resuming an earlier attempt; return the checked file.

        Of several processes one downloads, the others wait. Raises InputError, with what to do by
        hand, where that is not possible.
        """
        path = folder / self.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / f".{self.name}.lock", pause):
                if not path.is_file():
                    self._download(folder / f"{self.name}.part", pause).replace(path)
        except OSError as error:
            reason = getattr(error, "reason", None) or error
            message = f"cannot be downloaded ({reason}); bring {self._description()} to {path}"
            raise InputError(message, self.url) from None
        return path

    def _description(self) -> str:
        return f"{self.name} (SHA-256 {self.sha256}, from {self.url})"

    def _download(self, part: Path, pause: Callable[[], None]) -> Path:
        """Download what is missing of a partial file; a part with a wrong hash is removed."""
        import urllib.request
        from http.client import HTTPException

        present = part.stat().st_size if part.is_file() else 0
        if present < self.size:
            request = urllib.request.Request(self.url, headers={"Range": f"bytes={present}-"} if present else {})
            try:
                with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
                    self._write(answer, part, present if answer.status == 206 else 0, pause)
            except HTTPException as error:
                raise OSError(f"{type(error).__name__}: {error}") from None
        if part.stat().st_size < self.size:
            raise OSError(f"the connection ended after {part.stat().st_size} of {self.size} bytes; try again")
        if part.stat().st_size > self.size or sha256_of(part) != self.sha256:
            part.unlink()
            raise OSError(f"what is sent has not the SHA-256 {self.sha256[:12]}…")
        return part

    def _write(self, answer: IO[bytes], part: Path, written: int, pause: Callable[[], None]) -> None:
        """Append the response to the file; no more than one block beyond the size is ever written."""
        with part.open("ab" if written else "wb") as file:
            for block in _with_progress(iter(lambda: answer.read(_CHUNK), b""), self.name, written, self.size):
                pause()
                written += file.write(block)
                if written > self.size:
                    break


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file's content, in hexadecimal; a file that has not changed is read once a process.

    A copy can have the size and the time of another file; the time of its last change (`ctime`) nobody can set.
    """
    stat = path.stat()
    return _sha256_of(path, (stat.st_dev, stat.st_ino, stat.st_ctime_ns, stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=4096)
def _sha256_of(path: Path, state: tuple[int, ...]) -> str:
    return file_hash(path)


def _with_progress(blocks: Iterator[bytes], name: str, written: int, size: int) -> Iterator[bytes]:
    """Yield the blocks, with a progress line on stderr where that is a terminal."""
    visible = sys.stderr.isatty()
    for block in blocks:
        written += len(block)
        if visible:
            print(f"\r{name}: {written / 2**20:.0f} of {size / 2**20:.0f} MiB", end="", file=sys.stderr, flush=True)
        yield block
    if visible:
        print(file=sys.stderr)
