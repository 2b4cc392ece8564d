"""Files: atomic writes (a file is there whole or not at all, also after kill -9 and a full disk), JSON, hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from ablate.errors import InputError

TEMPORARY = ".tmp"
DIGESTED = 2**28  # bytes of one file that a digest of its content reads, at the most
_BLOCK = 2**20


def write_with(path: Path, write: Callable[[Path], object], durable: bool = True) -> None:
    """Write atomically: `write` fills a temporary file beside `path`, which is synced (if `durable`) and renamed.

    Raises what `write` raises, and OSError; the old file is then untouched.
    """
    with _replacing(path) as temporary:
        open(temporary, "xb").close()  # so that a folder which cannot be written is an OSError, whatever `write` raises
        write(Path(temporary))
        with open(temporary, "rb+") as file:
            _settle(file, durable)


def write_atomic(path: Path, content: str | bytes, durable: bool = True, beside: Iterable[Path] = ()) -> None:
    """Write text (UTF-8) or bytes atomically.

    beside: files that were written with `durable=False`, and are synced together with this one before it takes its
    place: what it answers for is on the disk when it is.
    """
    data = content.encode() if isinstance(content, str) else content
    with _replacing(path) as temporary, open(temporary, "xb") as file:
        file.write(data)
        others = list(beside)
        if others and durable:
            file.flush()
            sync([Path(temporary), *others])
        _settle(file, durable and not others)


def sync(files: Sequence[Path]) -> None:
    """Sync files to the disk, all at once: a journal then commits once for all. Those that are not there are left out.

    Raises OSError where the disk refuses one of them.
    """
    errors: list[OSError] = []

    def one(file: Path) -> None:
        try:
            handle = os.open(file, os.O_RDONLY)
        except FileNotFoundError:
            return
        except OSError as error:
            errors.append(error)
            return
        try:
            os.fsync(handle)
        except OSError as error:
            errors.append(error)
        finally:
            os.close(handle)

    threads = [threading.Thread(target=one, args=(file,)) for file in files[1:]]
    for thread in threads:
        thread.start()
    for file in files[:1]:
        one(file)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[str]:
    """Give the name of a temporary file beside `path`, which takes its place after the `with`, or is removed.

    Names are texts here, as a worker writes half a dozen files a trial, and a Path of each takes as long as the file.
    """
    folder, name = os.path.split(path)
    if folder and not os.path.isdir(folder):
        os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{name}.{os.urandom(8).hex()}{TEMPORARY}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _settle(file: IO[bytes], durable: bool) -> None:
    file.flush()
    if durable:
        os.fsync(file.fileno())
    os.chmod(file.name, 0o644)


def write_json(path: Path, data: Any, durable: bool = True, beside: Iterable[Path] = ()) -> None:
    """Write JSON atomically; NaN and infinity are refused, so that any reader understands it. See `write_atomic`."""
    write_atomic(path, json.dumps(data, indent=1, allow_nan=False) + "\n", durable, beside)


def read_json(path: Path) -> Any:
    """Read JSON. Raises OSError, and ValueError for what is none, or lies deeper in itself than Python follows."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def digest(data: Any) -> str:
    """Compute the SHA-256 of canonical JSON (sorted keys, no spaces), in hexadecimal."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(file: Path) -> str:
    """Compute the SHA-256 of a file's content, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stamp(path: Path) -> str:
    """Return a text that changes when a file does, without reading it: its inode, size and times.

    Size and time of the content are not enough: a copy that keeps its times (cp -p, an unpacked archive) may share
    both with another file. The time of the last change of the entry itself cannot be set by a program.
    """
    stat = path.stat()
    return f"{stat.st_ino}:{stat.st_size}@{stat.st_mtime_ns}/{stat.st_ctime_ns}"


def content_digest(path: Path) -> str:
    """Compute the SHA-256 of a file's size and content; of a file beyond 256 MiB, of blocks spread evenly over it."""
    size = path.stat().st_size
    total = hashlib.sha256(str(size).encode())
    blocks, most = -(-size // _BLOCK), DIGESTED // _BLOCK
    with path.open("rb") as file:
        for i in range(min(blocks, most)):
            file.seek((i if blocks <= most else i * (blocks - 1) // (most - 1)) * _BLOCK)
            total.update(file.read(_BLOCK))
    return total.hexdigest()


def nameable(path: Path, where: str = "") -> Path:
    """Check a path. Raises InputError for one that no file can have, or that no text file could name again."""
    name = str(path)
    if "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
        raise InputError(f"{name!r} is no name of a file: it holds signs that are no text", where)
    return path


def fit_for_a_file(path: Path, where: str = "") -> Path:
    """Check the path of a file that is to be written, before the work for it. Raises InputError where none can be."""
    nameable(path, where)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it, such as {path / 'NAME'}", where)
    _fit_above(path, where)
    return path


def fit_for_a_folder(path: Path, where: str = "") -> Path:
    """Check the path of a folder that is to be written into. Raises InputError where there can be none."""
    nameable(path, where)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; name a folder", where)
    _fit_above(path, where)
    return path


def _fit_above(path: Path, where: str) -> None:
    above = next((one for one in path.parents if one.exists()), None)
    if above is not None and not above.is_dir():
        raise InputError(f"{above} is a file, and no folder can be below it; name another place", where)


def sweep(folder: Path) -> None:
    """Delete the temporary files of killed processes, and SQLite's journals of them; where nobody else writes."""
    for path in folder.glob(f".*{TEMPORARY}*"):
        path.unlink(missing_ok=True)
