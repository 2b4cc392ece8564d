"""A study's text with a mistake in it, and what is said of that."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_study import TEXT, written

from ablate.errors import InputError
from ablate.study.load import load_study
from ablate.study.loaded import LoadedStudy


def load(folder: Path, text: str, **how: object) -> LoadedStudy:
    return load_study(written(folder, text), **how)  # type: ignore[arg-type]


def refusal(folder: Path, text: str, **how: object) -> list[str]:
    """The lines of the one message, as the command line shows it, without the folder."""
    with pytest.raises(InputError) as caught:
        load(folder, text, **how)
    return caught.value.at_command_line().replace(f"{folder}/", "").splitlines()


def bent(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)
