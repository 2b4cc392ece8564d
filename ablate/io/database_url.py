"""URLs of databases, as a study's file may hold them: without a password."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
EXPECTED = "expected postgresql://host/database"


def checked(text: str) -> str:
    """Return the URL. Raises ValueError, which does not repeat it, where it is none, or holds a password."""
    try:
        parts = urlsplit(text)
        scheme, password, query = parts.scheme, parts.password, parse_qs(parts.query, keep_blank_values=True)
        port = parts.port  # noqa: F841 - which is no number where it raises
    except ValueError:
        raise ValueError(f"is no URL of a database; {EXPECTED}") from None
    if scheme not in SCHEMES:
        raise ValueError(f"the ledger lives in SQLite, in the study's folder, or in PostgreSQL; {EXPECTED}")
    if password is not None or any("pass" in key.lower() for key in query):
        raise ValueError(
            "holds a password, which would stand in the study's lock and logs; leave it out, and put it into "
            "PGPASSWORD or ~/.pgpass"
        )
    if len(parts.path) < 2:
        raise ValueError(f"names no database; {EXPECTED}")
    return text
