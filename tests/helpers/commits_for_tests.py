"""A driver that dies at a commit of its database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy


class Killed(BaseException):
    """Nothing that anybody catches."""


@contextmanager
def killed_at(number: int) -> Iterator[list[int]]:
    """Dies instead of the `number`-th commit to SQLite; what was not committed is lost, as by a kill -9."""
    counted = [0]

    def count(connection: sqlalchemy.Connection) -> None:
        counted[0] += 1
        if counted[0] == number:
            raise Killed

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", count)
    try:
        yield counted
    finally:
        sqlalchemy.event.remove(sqlalchemy.engine.Engine, "commit", count)
