"""Names that were given up go on to be read: of components and of fields, with one warning, and with the same hash."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from renamed_for_tests import NEW, OLD

from ablate.discovery.catalog import Catalog
from ablate.errors import SpecError
from ablate.kinds.weighting import Weighting
from ablate.spec import renamed
from ablate.spec.fields import find_field
from ablate.spec.renamed import listening


@pytest.fixture(autouse=True)
def _nothing_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renamed, "_told", set())


def of(folder: Path, text: str, name: str = "mine.py") -> Catalog:
    (folder / name).write_text(text)
    components = Catalog([folder / name])
    assert not components.broken, components.broken
    return components


def test_the_old_name_gives_the_new_component_with_the_old_hash(tmp_path: Path) -> None:
    before = of(tmp_path, OLD).create("weighting", {"type": "soft", "gamma": 2.0})
    components = of(tmp_path, NEW)
    with listening() as heard:
        after = components.create("weighting", {"type": "soft", "gamma": 2.0})
    assert after.spec() == {"type": "soft_min", "apply": "x0", "tau": 2.0}
    assert after.digest() == before.digest() and after.active() == before.active()
    assert components.create("weighting", after.spec()) == after
    assert [str(one).partition(":")[0] for one in heard] == [
        "field 'gamma' of weighting 'soft_min' is called 'tau' now",
        "weighting 'soft' is called 'soft_min' now",
    ]
    assert "soft" not in components.names("weighting") and "soft_min" in components.names("weighting")
    assert next(iter(components.used([after]))) == "weighting/soft", "records know it by its first name"


def test_it_is_warned_of_once(tmp_path: Path) -> None:
    components = of(tmp_path, NEW)
    with pytest.warns(DeprecationWarning, match="'soft' is called 'soft_min' now"):
        components.create("weighting", "soft")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        components.create("weighting", "soft")
        components.create("weighting", "soft_min")


def test_a_field_by_both_its_names_is_refused(tmp_path: Path) -> None:
    components = of(tmp_path, NEW)
    with pytest.raises(SpecError, match="'tau' and 'gamma' are one field, which is called 'tau' now: say it once"):
        components.create("weighting", {"type": "soft_min", "tau": 1.0, "gamma": 2.0})
    cls = components.get("weighting", "soft_min")
    with pytest.warns(DeprecationWarning, match="'gamma' of weighting 'soft_min' is called 'tau'"):
        assert cls(gamma=3.0).tau == 3.0


def test_dotted_paths_may_say_the_old_names(tmp_path: Path) -> None:
    from ablate.candidates.candidate import Candidate

    components = of(tmp_path, NEW)
    for spec in ({"type": "soft"}, {"type": "soft_min", "gamma": 1.0}):
        for field in ("gamma", "tau"):
            info = find_field(Candidate, {"weighting": spec}, ("weighting", field), components)
            assert info is components.get("weighting", "soft_min").model_fields["tau"]


def test_a_name_that_was_given_up_is_not_given_to_another(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(NEW + OLD.split("import Weighting")[1].replace("class Soft(", "class Other("))
    (broken,) = Catalog([tmp_path / "mine.py"]).broken
    assert "it is, or was, called weighting 'soft', and so is Soft" in broken.reason
    (tmp_path / "fields.py").write_text(NEW.replace("    def", "    gamma: float = 1.0\n\n    def"))
    (broken,) = Catalog([tmp_path / "fields.py"]).broken
    assert "'gamma' is the former name of a field, and of another field too" in broken.reason
    (tmp_path / "words.py").write_text(NEW.replace('("soft",)', '"soft"'))
    (broken,) = Catalog([tmp_path / "words.py"]).broken
    assert "give the names that it had before" in broken.reason


def test_a_stranger_who_has_the_old_name_is_told_apart(tmp_path: Path) -> None:
    """Both would be known by one name to an identity: so each is said with its distribution."""
    for name, text in (("mine.py", NEW), ("theirs.py", OLD)):
        (tmp_path / name).write_text(text)
    components = Catalog([tmp_path / "mine.py", tmp_path / "theirs.py"])
    with pytest.raises(SpecError, match="say 'mine:soft_min' or 'theirs:soft'"):
        components.create("weighting", "soft")
    assert {"soft_min", "theirs:soft"} <= set(components.names("weighting"))
    mine, theirs = (components.create("weighting", name) for name in ("soft_min", "theirs:soft"))
    assert mine.digest() != theirs.digest()


def test_a_class_below_a_renamed_one_has_a_name_of_its_own(tmp_path: Path) -> None:
    text = NEW + '\n\nclass Softer(Soft):\n    """Softer."""\n    name = "softer"\n'
    softer = of(tmp_path, text).create("weighting", "softer")
    assert isinstance(softer, Weighting) and softer.active()["type"] == "softer"
