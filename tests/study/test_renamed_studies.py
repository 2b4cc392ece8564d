"""A plugin renames its component and a field: studies, folders and locks of before go on to be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from renamed_for_tests import NEW, OLD
from segments_for_tests import CACHE
from studies_for_tests import study

import ablate
from ablate.errors import InputError
from ablate.spec import renamed
from ablate.study import lock
from ablate.study.launch import launch
from ablate.study.load import load_study
from ablate.study.renamed import old_names


def weighted(weighting: dict[str, Any]) -> dict[str, Any]:
    return {**study()["base"], "weighting": weighting}


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
    monkeypatch.setattr(renamed, "_told", set())


def test_a_folder_of_before_is_read_and_its_identity_stays(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(OLD)
    spec = study(
        design={"type": "grid", "seeds": 1},
        vary={"weighting.gamma": [2.0, 3.0]},
        base=weighted({"type": "soft", "gamma": 2.0}),
    )
    spec["plugins"] = [*spec["plugins"], str(plugin)]
    spec["executor"] = {"type": "local", "in_process": True}
    before = ablate.run(spec, out=tmp_path / "run", device="cpu", figures=False)
    hashes = set(before.trials["config_hash"])
    plugin.write_text(NEW)

    loaded = load_study(tmp_path / "run" / "study.yaml")
    locked = lock.read(tmp_path / "run")
    assert locked is not None and loaded.study.digest() == locked["identity"]
    assert {loaded.trial_settings.digest(loaded.candidate(a)) for a in loaded.proposals() or ()} == hashes
    lines = old_names(loaded)
    assert len(lines) == 2 and all("run/study.yaml:" in line for line in lines)
    assert any("weighting 'soft' is called 'soft_min' now: write that" in line for line in lines)
    assert any("field 'gamma' of weighting 'soft_min' is called 'tau' now" in line for line in lines)
    read = ablate.load(tmp_path / "run")
    assert set(read.trials["config_hash"]) == hashes and len(read.front()) >= 1
    # Renaming is a change of source like any other: what is complete stands on the source of then.
    with pytest.raises(InputError, match=r"(?s)was begun with other source code.*weighting/soft: "):
        launch(tmp_path / "run" / "study.yaml", out=tmp_path / "run", device="cpu")


def test_the_new_names_give_the_same_candidate(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(NEW)
    digests = set()
    for weighting in ({"type": "soft", "gamma": 2.0}, {"type": "soft_min", "tau": 2.0}):
        spec = study(base=weighted(weighting))
        spec["plugins"] = [*spec["plugins"], str(plugin)]
        loaded = load_study(spec)
        digests.add(loaded.study.digest())
    assert len(digests) == 1 and old_names(loaded) == []
