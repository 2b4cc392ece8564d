"""A PostgreSQL server in a temporary folder, on a unix socket there and a port of the loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def why_not() -> str | None:
    """Why no server can be had here; None where it can."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed"
    if not PROGRAMS and shutil.which("postgres") is None:
        return "PostgreSQL is not installed"
    if os.getuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no other user"
    return None


def _user() -> str | None:
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    return None


class Postgres:
    """A running server. port: on the loopback. secret: the password of its user `ablate`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.secret = "not-to-be-told"

    def url(self, database: str) -> str:
        """The URL of a new database."""
        self.sql(f"CREATE DATABASE {database}")
        return f"postgresql://ablate@127.0.0.1:{self.port}/{database}"

    def sql(self, command: str, database: str = "postgres") -> str:
        """What `psql` prints."""
        program = PROGRAMS[0] / "psql" if PROGRAMS else "psql"
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "ablate", "-d", database]
        return subprocess.run(
            [str(program), *where, "-Atc", command],
            env={**os.environ, "PGPASSWORD": self.secret},
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        ).stdout.strip()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server, as another user where this one is root."""
    folder = Path(tempfile.mkdtemp(prefix="ablate-pg-", dir="/tmp"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Postgres(folder, port)
    other = _user() if os.getuid() == 0 else None
    (folder / "password").write_text(server.secret)
    folder.chmod(0o700)
    if other is not None:
        shutil.chown(folder, other)
        shutil.chown(folder / "password", other)
    prefix = ["runuser", "-u", other, "--"] if other is not None else []

    def program(name: str, *words: str) -> None:
        path = str(PROGRAMS[0] / name) if PROGRAMS else name
        command = [*prefix, path, *words]
        subprocess.run(command, check=True, capture_output=True, timeout=500, cwd=folder, stdin=subprocess.DEVNULL)

    data, log = str(folder / "data"), str(folder / "log")
    program("initdb", "-D", data, "-U", "ablate", "--auth=scram-sha-256", "--pwfile", str(folder / "password"), "-N")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off -c max_connections=20"
    program("pg_ctl", "-D", data, "-l", log, "-w", "-t", "300", "-o", options, "start")
    try:
        yield server
    finally:
        program("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)
