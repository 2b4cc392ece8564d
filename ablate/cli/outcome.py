"""Exit codes: what is raised inside a command becomes one message and a code.

0    done
1    ran, but some trials failed
2    the user's input is wrong, or the machine refuses (a folder, a full disk): one message on stderr
70   a defect of ablate or of a plugin: its traceback on stderr
130  interrupted; the same command goes on from there
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from ablate.cli.terminal import wrapped
from ablate.errors import InputError
from ablate.io.text import message as printable
from ablate.runtime import stdout

DONE, SOME_FAILED, WRONG_INPUT, DEFECT, INTERRUPTED = 0, 1, 2, 70, 130


class Commands(TyperGroup):
    """The group of all commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the words of the command, so that it can be told how to go on after an interruption."""
        ctx.meta["ablate.words"] = list(args)
        if strange := next((word for word in args if "\0" in word), None):
            fail(f"{strange!r} holds a NUL, which no name and no value has")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what we or the operating system refuse ends it with its code."""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")  # a terminal that has no ± shall still get its table
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except InputError as error:
            fail(error.at_command_line())
        except BrokenPipeError:
            hush()  # whoever read this, such as `head`, has read enough
            raise typer.Exit(DONE) from None
        except OSError as error:
            fail(refusal(error))
        except KeyboardInterrupt:
            again = shlex.join(["ablate", *ctx.meta["ablate.words"]])
            complain(f"interrupted; what was measured is kept. To go on: {again}")
            raise typer.Exit(INTERRUPTED) from None
        return result


class Command(TyperCommand):
    """A command; with --json, stdout holds one document and nothing that a plugin or a library prints."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with stdout.reserve_stdout() if ctx.params.get("as_json") else contextlib.nullcontext():
            return super().invoke(ctx)


def fail(message: str) -> NoReturn:
    """End the command: the input is wrong."""
    complain(f"error: {message}")
    raise typer.Exit(WRONG_INPUT) from None


def complain(message: str) -> None:
    """Print a message on stderr, if there is still anyone to read it."""
    try:
        print(wrapped(printable(message), sys.stderr), file=sys.stderr, flush=True)
    except OSError:
        hush()


def refusal(error: OSError) -> str:
    """Explain what the operating system refuses, and what to do about it."""
    file = error.filename2 or error.filename  # of a renaming: what it was to become
    message = f"{file}: {error.strerror}" if file else error.strerror or str(error)
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"{message}; make room, then give the same command again: it goes on from what is there"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"{message}; choose another folder, or change who may write there"
    return message


def hush() -> None:
    """Send further output nowhere: its reader is gone, and Python would complain of that at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed already, or no real file
            os.dup2(nowhere, stream.fileno())
