"""Mutated study files and command lines through the command line in this process, and what must hold for each."""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import shutil
import signal
import socketserver
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from mutated_commands import command_lines, commands_of
from mutated_studies import mutated

from ablate.cli import main

ROOT = Path(__file__).parents[2]
MOST_CPU = 10.0  # seconds that a refusal may take
HANGS = 60.0  # seconds of CPU after which it is ended
NOBODY = "no-such-candidate"
# A terminal's own codes, and what turns the order of a line around.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]")
LONGEST = 20_000  # letters of a message


class TooSlowError(BaseException):
    """Raised into what takes too long."""


@dataclass
class Tried:
    """One command line: how it ended, and what about that was not as it should be."""

    what: str
    outcome: str
    cpu: float
    input: str
    stderr: str
    wrong: list[str] = field(default_factory=list)


def cpu() -> float:
    """Return the seconds of CPU of this process and of its children that have ended."""
    return sum(
        u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def contents(place: Path) -> dict[str, tuple[int, int]]:
    """Return what lies in a folder: of each file its size and when it changed."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in place.rglob("*") if not path.is_dir()
    } | {str(path): (0, 0) for path in place.rglob("*") if path.is_dir()}


def call(words: Sequence[str], what: str, place: Path, given: str) -> Tried:
    """Run a command line in this process, in a folder, and check what holds for each."""
    out, err = io.StringIO(), io.StringIO()
    before, began = contents(place), cpu()
    code: object = None
    wrong: list[str] = []

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlowError

    handler = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, HANGS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("default")
            main(list(words))
    except SystemExit as ended:
        code = ended.code
    except TooSlowError:
        wrong.append(f"it took more than {HANGS:.0f} s: {''.join(traceback.format_exc().splitlines(True)[-12:])}")
    except BaseException as error:  # noqa: BLE001 - whatever comes out of it is what is looked for
        wrong.append(f"it raised {error!r}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
    took, told = cpu() - began, err.getvalue()
    lines = [line for line in told.splitlines() if not line.startswith("still ")]  # a slow machine
    if code == 2:
        wrong += refused(lines, out.getvalue())
        if contents(place) != before:
            wrong.append(f"it wrote {sorted(set(contents(place).items()) ^ set(before.items()))[:5]}")
    elif code not in (0, 1):
        wrong.append(f"exit code {code}")
    if "Traceback" in told or re.search(r"^\S+\.py:\d+: \w*Warning", told, re.MULTILINE):
        wrong.append("a traceback, or a warning of Python's")
    if took > MOST_CPU and code == 2:
        wrong.append(f"it took {took:.1f} s of CPU")
    return Tried(what, f"exit code {code}", took, given, told[-3000:], wrong)


def refused(lines: Sequence[str], stdout: str) -> list[str]:
    """Return what is not as it should be about a refusal."""
    wrong = []
    begins = [line for line in lines if line.startswith(("error: ", "Error: ", "Usage: "))]
    if len([line for line in begins if not line.startswith("Usage: ")]) != 1:
        wrong.append("not one message")
    if not lines or (lines[0] not in begins and not lines[0].startswith("warning: ")):
        wrong.append("the message is not what it begins with")
    if stdout:
        wrong.append(f"on stdout: {stdout[:200]!r}")
    text = "\n".join(lines)
    if CONTROLS.search(text):
        wrong.append(f"a control character: {CONTROLS.search(text)!r}")
    if len(text) > LONGEST:
        wrong.append(f"a message of {len(text):,} letters")
    return wrong


def lay_out(place: Path) -> list[Path]:
    """Put the ready studies into a folder, with what they name beside them; return the studies."""
    shutil.copytree(ROOT / "studies", place / "studies")
    (place / "results").symlink_to(ROOT / "results")
    return sorted((place / "studies").glob("*.yaml"))


def names() -> list[str]:
    """Return the names of all components and of their fields."""
    from ablate.discovery.catalog import catalog
    from ablate.study.schema import Study

    known = catalog()
    found = {name for kind in known.kinds() for name in known.names(kind)}
    fields = {f for kind in known.kinds() for name in known.names(kind) for f in known.get(kind, name).model_fields}
    return sorted(found | fields | set(Study.model_fields))


def _interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def inside(place: Path) -> Iterator[None]:
    """Work in a folder, where no network answers."""
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("ABLATE_CACHE", str(place.parent / f"{place.name}-cache"))
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setattr(socketserver.BaseServer, "serve_forever", _interrupted)  # `watch` of a study in order
        os.chdir(place)
        try:
            yield
        finally:
            os.chdir(before)


def _drawn(number: int, count: int, what: st.SearchStrategy[object], one: object) -> None:
    """Call a function on as many examples, always the same for a number."""
    quiet = settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    seed(number)(quiet(given(what)(one)))()  # type: ignore[arg-type]


def _nothing(one: Tried) -> None:
    pass


def try_studies(
    number: int, count: int, place: Path, tell: Callable[[Tried], None] = _nothing, whole: int = 10
) -> list[Tried]:
    """Give so many mutated study files to `ablate plan`; of those in order, one in `whole` to its end.

    tell: gets each as soon as it was tried.
    """
    texts = [file.read_text() for file in lay_out(place)]
    file, tried = place / "studies" / "mutated.yaml", list[Tried]()

    def one(raw: bytes) -> None:
        file.write_bytes(raw)
        given = raw.decode(errors="backslashreplace")
        # A candidate that nobody has: the study is read and checked, and no network is built.
        words = ["plan", str(file), "--device", "cpu", "--network", "--candidate", NOBODY]
        first = call(words, "studies", place, given)
        if NOBODY in first.stderr and "no candidate is called" in first.stderr:
            first.outcome = "in order"
            first.wrong = [why for why in first.wrong if not why.startswith("a message of")]  # it lists all candidates
            if len(tried) % whole == 0:
                planned = call(["plan", str(file), "--device", "cpu"], "studies", place, given)
                planned.outcome = f"in order, planned: {planned.outcome}"
                planned.wrong = [why for why in planned.wrong if "of CPU" not in why]
                first = planned
        tried.append(first)
        tell(first)

    with inside(place):
        _drawn(number, count, mutated(texts, names()), one)
    return tried


def try_command_lines(number: int, count: int, place: Path, tell: Callable[[Tried], None] = _nothing) -> list[Tried]:
    """Give so many command lines to the command line."""
    import typer

    from ablate.cli.app import app

    study = lay_out(place)[0]
    (place / "empty").mkdir()
    (place / "broken.yaml").write_text("study: [\n")
    (place / "plugin.py").write_text("import nothing_of_this_name\n")
    shutil.copytree(ROOT / "tests" / "fixtures" / "older", place / "folder")
    where = {
        "empty": "empty",
        "broken": "broken.yaml",
        "plugin": "plugin.py",
        "folder": "folder",
        "missing": "missing.yaml",
    }
    where |= {"here": ".", "binary": sys.executable, "study": str(study.relative_to(place))}
    tried = list[Tried]()

    def one(words: list[str]) -> None:
        if words[0] == "run":  # of a study in order it would train
            words = [*words, "--set", "budget.images=-1"]
        tried.append(call(words, "lines", place, " ".join(map(repr, words))))
        tell(tried[-1])

    with inside(place):
        _drawn(number, count, command_lines(commands_of(typer.main.get_command(app)), where), one)
    return tried


def report(tried: Sequence[Tried]) -> str:
    """Return what was not as it should be, for a failing test."""
    found = [one for one in tried if one.wrong]
    return "\n\n".join(f"{one.wrong}\n{one.stderr}\nof:\n{one.input[:3000]}" for one in found[:5])
