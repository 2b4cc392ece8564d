"""Containment of a plugin's own code in the driver: what would end the process fails as an exception does."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from ablate.errors import InputError
from ablate.runtime.isolation import staying
from ablate.spec.explain import exception_summary

TERMINATED = (signal.SIGTERM, -signal.SIGTERM)  # Ray's handler of SIGTERM exits with it


class ProcessEndError(InputError):
    """A component's code would have ended the driver."""


@contextmanager
def contained() -> Iterator[None]:
    """Raise ProcessEndError within a `with` where code would end the process (`sys.exit`, `os._exit`).

    Ctrl-C and SIGTERM pass. Native code that crashes is not held: that would take a process of its own.
    """
    with staying():
        try:
            yield
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            if isinstance(error, SystemExit) and error.code in TERMINATED:
                raise
            reason = exception_summary(error)
            raise ProcessEndError(f"its code ends the process: {reason}; raise an exception instead") from error
