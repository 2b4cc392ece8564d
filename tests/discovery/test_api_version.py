"""The version of the plugin API that a plugin was written for: a newer one is refused, an older one is warned of."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.discovery import api_version
from ablate.discovery.catalog import Catalog

TEXT = '''
from ablate.api import Weighting
{line}
class Mine(Weighting):
    """Mine."""
    name = "mine"

    def weight(self, level, sigma_data):
        return level.snr
'''


def load(folder: Path, line: str) -> Catalog:
    (folder / "mine.py").write_text(TEXT.format(line=line))
    return Catalog([folder / "mine.py"])


@pytest.mark.parametrize("line", ["", "api_version = 1"])
def test_a_plugin_of_this_version_or_of_none_is_taken_as_it_is(tmp_path: Path, line: str) -> None:
    components = load(tmp_path, line)
    assert "mine" in components.names("weighting")
    assert components.broken == [] and components.outdated == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("api_version = 2", "was written for version 2 of the plugin API, and this ablate has 1: update ablate"),
        ("api_version = '1.0'", "api_version is '1.0': say the version of the plugin API as a whole number"),
        ("api_version = 0", "api_version is 0: say the version"),
    ],
)
def test_a_newer_and_an_unknown_one_are_refused_in_one_sentence(tmp_path: Path, line: str, why: str) -> None:
    components = load(tmp_path, line)
    (broken,) = components.broken
    assert why in broken.reason and broken.summary == broken.reason
    assert "mine" not in components.names("weighting")


def test_an_older_one_goes_on_for_a_release_and_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_version, "VERSION", 3)
    monkeypatch.setattr(api_version, "OLDEST", 2)
    components = load(tmp_path, "api_version = 2")
    (outdated,) = components.outdated
    assert "mine" in components.names("weighting") and components.broken == []
    assert "written for version 2 of the plugin API, and 3 is today's" in str(outdated)
    (broken,) = load(tmp_path, "api_version = 1").broken
    assert "version 1 of the plugin API, and this ablate has 2 to 3: update the plugin" in broken.reason


def test_a_package_states_it_for_its_modules_and_a_module_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lab_of_versions"
    package.mkdir()
    (package / "__init__.py").write_text("api_version = 1\n")
    (package / "fine.py").write_text(TEXT.format(line=""))
    (package / "ahead.py").write_text(TEXT.format(line="api_version = 9").replace('"mine"', '"ahead"'))
    monkeypatch.syspath_prepend(str(tmp_path))
    components = Catalog(["lab_of_versions"])
    (broken,) = components.broken
    assert broken.module == "lab_of_versions.ahead" and "version 9" in broken.reason
    assert "mine" in components.names("weighting")
