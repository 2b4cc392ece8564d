"""`ablate plugins check` in a process of its own: who hangs, ends it, takes all memory or prints is named."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ablate.errors import InputError
from ablate.testing import Outcome, apart, examine_apart
from ablate.testing.apart import Apart

HEAD = '"""Weightings that do what they must not."""\n\nfrom ablate.api import Weighting\n'
WEIGHTING = '''

class {title}(Weighting):
    """w = SNR."""

    name = "{name}"

    def weight(self, level, sigma_data):
        {line}
        return level.snr
'''


LIMIT = 600  # seconds, which no step takes but one that hangs


class Clock:
    """Time as it is, until a file is there that the plugin writes before it hangs: then the limit passes at once.

    What was written to the log before the file was is read once more first.
    """

    def __init__(self, hanging: Path) -> None:
        self._hanging, self._seen, self._passed = hanging, 0, 0

    def monotonic(self) -> float:
        return time.monotonic() + self._passed

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
        self._seen += self._hanging.exists()
        if self._seen == 2:
            self._passed = LIMIT + 1


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says that the plugin hangs."""
    file = tmp_path / "hanging"
    monkeypatch.setattr(apart, "time", Clock(file))
    return file


def plugin(folder: Path, **lines: str) -> Path:
    file = folder / "badly_behaved.py"
    parts = [WEIGHTING.format(title=name.capitalize(), name=name, line=line) for name, line in lines.items()]
    file.write_text(HEAD + "".join(parts))
    return file


def by_check(outcomes: list[Outcome], name: str) -> dict[str, Outcome]:
    return {one.check: one for one in outcomes if one.component == f"weighting/{name}"}


def test_who_hangs_is_named_with_its_line_and_the_others_are_checked(tmp_path: Path, hanging: Path) -> None:
    line = f"import time; open({str(hanging)!r}, 'w').close(); time.sleep(10_000)"
    file, known = plugin(tmp_path, hangs=line, prints="print('hello', 'there')"), Apart()
    outcomes = list(examine_apart(str(file), seconds=LIMIT, into=known))
    assert known.components == ["weighting/hangs", "weighting/prints"] and known.broken == []
    hangs, prints = by_check(outcomes, "hangs"), by_check(outcomes, "prints")
    assert [name for name, one in hangs.items() if one.state == "failed"] == ["is_finite_and_not_negative"]
    at = file.read_text().splitlines().index(f"        {line}") + 1
    assert hangs["is_finite_and_not_negative"].reason == f"hangs: no answer for {LIMIT} seconds ({file}:{at})"
    assert set(hangs) == set(prints)  # those behind it too
    assert not [one for one in prints.values() if one.state == "failed"]
    assert prints["is_finite_and_not_negative"].reason.startswith("prints 'hello there' and ")


@pytest.mark.thorough
def test_who_crashes_or_takes_all_memory_is_named(tmp_path: Path) -> None:
    file = plugin(
        tmp_path,
        crashes="import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        allocates="import numpy; self.__dict__['kept'] = [numpy.ones(2**26) for _ in range(64)]",
        sound="",
    )
    outcomes = list(examine_apart(str(file), gib=2))
    crashes, allocates = (by_check(outcomes, name)["is_finite_and_not_negative"] for name in ("crashes", "allocates"))
    assert crashes.reason.startswith(f"ends the process: SIGSEGV ({file}:")
    assert allocates.state == "failed" and "GiB of memory, more than 2" in allocates.reason
    assert not [one for one in by_check(outcomes, "sound").values() if one.state == "failed"]


def test_a_file_that_hangs_when_it_is_imported_is_named(tmp_path: Path, hanging: Path) -> None:
    file = tmp_path / "never.py"
    file.write_text(f"import time\n\nopen({str(hanging)!r}, 'w').close()\ntime.sleep(10_000)\n")
    (outcome,) = examine_apart(str(file), seconds=LIMIT)
    assert (outcome.check, outcome.state) == ("loads", "failed")
    assert outcome.reason == f"hangs: no answer for {LIMIT} seconds ({file}:4)"


def test_a_wrong_target_or_limit_is_one_message() -> None:
    with pytest.raises(InputError, match="a limit is above 0"):
        list(examine_apart("weighting/uniform", seconds=0))
    with pytest.raises(InputError, match="there is no weighting 'unifrm'; did you mean 'uniform'"):
        list(examine_apart("weighting/unifrm"))
