"""Checkouts of Git repositories, one a commit, in the cache folder."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ablate.errors import InputError
from ablate.io.files import write_atomic
from ablate.io.locks import locked
from ablate.runtime.machine import cache_folder, usable

SECONDS = 120  # after which a repository counts as one that does not answer
SCHEMES = ("https", "http", "ssh", "git", "file")
EXAMPLE = "git+https://host/mine@v1"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Checkout:
    """A commit of a repository on this machine."""

    url: str
    commit: str
    folder: Path  # of the commit's files, or of what is below them
    below: str  # the subfolder, as it was named


@cache
def checkout(name: str) -> Checkout:
    """Return the files of `URL@REVISION`, or of `URL@REVISION#subdirectory=FOLDER`; what is not here is fetched.

    Raises InputError where the name, the repository or the revision is wrong.
    """
    url, revision, below = _parts(name)
    if shutil.which("git") is None:
        raise InputError(f"git+{name}: needs git, which is not installed here")
    home = usable(cache_folder()) / "plugins" / hashlib.sha256(url.encode()).hexdigest()[:16]
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / ".lock", lambda: None):
        commit = _commit(home / "repository.git", url, revision, name)
        files = home / commit
        if not files.is_dir() or _tree(files) != _noted(files):
            shutil.rmtree(files, ignore_errors=True)  # edited, or cut short
            _extract(home / "repository.git", commit, files)
    folder = (files / below).resolve()
    if not folder.is_relative_to(files.resolve()) or not folder.is_dir():
        raise InputError(f"git+{name}: commit {commit[:12]} has no folder {below!r}")
    return Checkout(url, commit, folder, below)


def _parts(name: str) -> tuple[str, str, str]:
    """Return (URL, revision, subfolder) of a name. Raises InputError where one is wrong or missing."""
    plain, _, fragment = name.partition("#")
    key, _, below = fragment.partition("=")
    if fragment and (key != "subdirectory" or not below):
        raise InputError(f"git+{name}: behind '#' stands subdirectory=FOLDER, not {fragment!r}")
    parts = urlsplit(plain)
    path, _, revision = parts.path.partition("@")
    if parts.scheme not in SCHEMES or not path.strip("/"):
        raise InputError(f"git+{name}: is no address of a repository; such as {EXAMPLE}")
    if not revision or revision.startswith("-") or re.search(r"[\s~^:?*\[\\]|\.\.|@\{", revision):
        what = f"{revision!r} is no name of a revision" if revision else "names no revision"
        raise InputError(f"git+{name}: {what}: say a commit, a tag or a branch behind '@', such as {EXAMPLE}")
    return parts._replace(path=path).geturl(), revision, unquote(below)


def _commit(repository: Path, url: str, revision: str, name: str) -> str:
    """Return the commit of a revision; what is not here is fetched, and a branch or tag always."""
    if not repository.is_dir():
        _git("init", "--quiet", "--bare", str(repository))
    if _COMMIT.fullmatch(revision) and (here := _resolved(repository, revision)):
        return here
    before = _resolved(repository, revision)
    everything = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    fetched = _git("fetch", "--quiet", "--prune", "--no-write-fetch-head", url, *everything, inside=repository)
    if fetched is not None:
        known = f"; to use commit {before}, which is here, say that in its place" if before else ""
        raise InputError(f"git+{name}: cannot be fetched: {fetched}{known}")
    commit = _resolved(repository, revision)
    if commit is None:
        raise InputError(
            f"git+{name}: the repository has no revision {revision!r}, neither a commit, a tag nor a branch"
        )
    return commit


def _resolved(repository: Path, revision: str) -> str | None:
    words = [
        "git",
        "-C",
        str(repository),
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        f"{revision}^{{commit}}",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=_environment())
    return done.stdout.strip() or None if done.returncode == 0 else None


def _extract(repository: Path, commit: str, files: Path) -> None:
    """Write the files of a commit, all or none."""
    with tempfile.TemporaryDirectory(prefix=".checkout-", dir=files.parent) as temporary:
        archive, written = Path(temporary) / "files.tar", Path(temporary) / "files"
        if (problem := _git("archive", "--format=tar", f"--output={archive}", commit, inside=repository)) is not None:
            raise InputError(f"commit {commit[:12]} cannot be written: {problem}", str(repository))
        with tarfile.open(archive) as tar:
            tar.extractall(written, filter="data")
        write_atomic(files.with_suffix(".sha256"), _tree(written))
        written.rename(files)


def _tree(folder: Path) -> str:
    """Compute the SHA-256 over the files of a checkout, without what Python adds."""
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            total.update(f"{file.relative_to(folder).as_posix()}\0".encode())
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def _noted(files: Path) -> str | None:
    note = files.with_suffix(".sha256")
    return note.read_text(encoding="utf-8") if note.is_file() else None


def _git(*words: str, inside: Path | None = None) -> str | None:
    """Run git; return what went wrong in one line, or None."""
    place = () if inside is None else ("-C", str(inside))
    try:
        done = subprocess.run(
            ["git", *place, *words], capture_output=True, text=True, timeout=SECONDS, check=False, env=_environment()
        )
    except subprocess.TimeoutExpired:
        return f"no answer for {SECONDS} seconds"
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("fatal:")]
    return (fatal or lines or [f"git {words[0]} failed"])[0].removeprefix("fatal: ").strip()


def _environment() -> dict[str, str]:
    """Return the environment without what a hook or a terminal would change."""
    kept = {
        key: value for key, value in os.environ.items() if key not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    }
    return {"GIT_SSH_COMMAND": "ssh -oBatchMode=yes", **kept, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
