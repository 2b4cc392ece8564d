"""The kit tells what is wrong: components with known faults fail by the checks that name them."""

import sys
import textwrap
from pathlib import Path

import pytest
import torch
from distributions_for_tests import WEIGHTING

from ablate.errors import InputError
from ablate.testing import Case, check_component, checks, common, conformance, examine, find, run
from ablate.testing.small import settle, shrink

TARGETS = [find(str(file)) for file in sorted(Path(__file__).parent.glob("wrong_*.py"))]
WRONG = [(entry, target.catalog) for target in TARGETS for entry in target.entries]
IN_A_NETWORK = ("conditioning", "fusion", "mixer", "mlp", "norm", "positions", "residual", "routing")
BY_NAME = {entry.name: (entry, catalog) for entry, catalog in WRONG}


@pytest.fixture(autouse=True)
def _autocast():
    """One of the wrong components switches it on for good."""
    yield
    torch.set_autocast_enabled("cpu", False)


@pytest.fixture
def alike_elsewhere(monkeypatch):
    """A digest is the same in another process: none is started for it."""
    monkeypatch.setattr(common, "digest_elsewhere", lambda case: case.component.digest())


@pytest.mark.parametrize(("entry", "catalog"), WRONG, ids=[f"{e.kind}/{e.name}" for e, _ in WRONG])
def test_the_checks_that_name_a_fault_tell_it(entry, catalog, monkeypatch, request):
    """A component without a fault passes all checks; of one that has a fault only those run that have to tell it."""
    if entry.cls.fails:
        monkeypatch.setattr(run, "checks", lambda cls: [one for one in checks(cls) if one.__name__ in cls.fails])
    else:
        request.getfixturevalue("alike_elsewhere")
    outcomes = {one.check: one for one in examine(entry, catalog)}
    failed = {name for name, one in outcomes.items() if one.state == "failed"}
    assert failed == set(entry.cls.fails), outcomes
    assert all(outcomes[name].reason for name in failed)


def test_every_check_can_fail():
    """A check that cannot fail checks nothing: each is failed by one of the wrong components."""
    assert [broken.traceback for target in TARGETS for broken in target.catalog.broken] == []
    failed = {}
    for entry, _ in WRONG:
        failed.setdefault(entry.kind, set()).update(entry.cls.fails)
    common = {check.__name__ for check in checks("no_such_kind")}
    unshown = {"": common - set().union(*failed.values()) - {"imports_without_torch"}}
    for kind, names in failed.items():
        own = {check.__name__ for check in checks(kind)} - common
        shared = failed["backbone"] if kind in IN_A_NETWORK else set()
        unshown[kind] = own - names - shared
    assert {kind: names for kind, names in unshown.items() if names} == {}


def test_a_component_that_conforms_passes_and_one_that_does_not_tells_all(alike_elsewhere):
    check_component(*BY_NAME["net"])
    with pytest.raises(AssertionError) as raised:
        check_component(*BY_NAME["odd name"])
    for check in ("is_named", "says_what_it_is", "round_trips_as_json", "searches_what_is_valid"):
        assert check in str(raised.value)


def test_what_a_backbone_holds_is_made_small_with_it():
    entry, catalog = BY_NAME["wrapping"]
    wrapping = Case(entry, catalog).component
    small = shrink(wrapping, settle(wrapping))
    assert small.inner.width < wrapping.inner.width and small.inner.name == "bulky"


def test_a_fusion_is_tried_in_a_backbone_that_has_a_place_for_it(tmp_path, alike_elsewhere):
    file = tmp_path / "skips.py"
    file.write_text(SKIPS)
    target = find(str(file))
    outcomes = {e.name: {o.check: o for o in examine(e, target.catalog)} for e in target.entries}
    assert {o.state for o in outcomes["plus"].values()} - {"skipped"} == {"passed"}
    assert outcomes["plus"]["trains"].state == "passed"
    assert outcomes["other"]["trains"].state == "skipped"  # needs what no backbone provides
    assert "'nothing_has_this'" in outcomes["other"]["trains"].reason


SKIPS = textwrap.dedent('''
    """A backbone with one long skip, and two fusions for it."""

    import torch
    from torch import nn

    from ablate.api import Backbone, Context, Fusion, slot


    class Skipping(nn.Module):
        def __init__(self, channels, classes, fuse):
            super().__init__()
            self.inward = nn.Conv2d(channels, 8, 3, padding=1)
            self.label = nn.Embedding((classes or 0) + 1, 8)
            self.middle = nn.Conv2d(8, 16, 3, padding=1)
            self.fuse = fuse
            self.outward = nn.Conv2d(16, channels, 3, padding=1)

        def forward(self, x, noise, labels):
            embedding = torch.outer(noise / 1000, torch.ones(8, device=x.device))
            if labels is not None:
                embedding = embedding + self.label(labels)
            skip = torch.relu(self.inward(x) + embedding[:, :, None, None])
            context = Context(embedding, embedding[:, None], noise)
            return self.outward(self.fuse(self.middle(skip), skip, context))


    class Backbone_(Backbone):
        """One skip."""

        name = "one_skip"
        fusion: Fusion = slot("plus")

        def provides(self):
            return frozenset({"skips"})

        def build(self, setting):
            return Skipping(setting.shape[0], setting.classes, self.fusion.build(16, 8, 8))


    class Add(nn.Module):
        def __init__(self, channels, skip):
            super().__init__()
            self.project = nn.Conv2d(skip, channels, 1)

        def forward(self, d, s, context):
            return d + self.project(s)


    class Plus(Fusion):
        """d + W·s."""

        name = "plus"

        def requires(self):
            return {"skips": "it fuses them"}

        def build(self, channels, skip_channels, embedding):
            return Add(channels, skip_channels)


    class Other(Plus):
        """The same, for a backbone that nobody has."""

        name = "other"

        def requires(self):
            return {"nothing_has_this": "so nothing fits"}
''')


def test_a_component_without_defaults_is_checked_with_an_example(tmp_path, request):
    file = tmp_path / "needy.py"
    file.write_text(
        textwrap.dedent('''
        """A weighting that has to be told."""

        from ablate.api import Weighting


        class Needy(Weighting):
            """w = the number that it is given."""

            name = "needy"
            number: float

            def weight(self, level, sigma_data):
                return level.alpha * 0 + self.number
        ''')
    )
    target = find(str(file))
    (entry,) = target.entries
    (only,) = examine(entry, target.catalog)
    assert (only.state, only.check) == ("skipped", "makes_from_defaults") and "number" in only.reason
    states = {o.check: o.state for o in examine(entry, target.catalog, {"number": 2.0})}
    assert states["has_one_identity"] == "passed" and "failed" not in states.values()
    request.getfixturevalue("alike_elsewhere")
    bad = {o.check: o.state for o in examine(entry, target.catalog, {"number": -2.0})}
    assert bad["is_finite_and_not_negative"] == "failed"


def test_a_new_kind_has_the_checks_of_all_kinds(tmp_path, alike_elsewhere):
    file = tmp_path / "newkind.py"
    file.write_text(
        textwrap.dedent('''
        """A kind of its own."""

        from typing import ClassVar

        from ablate.api import Component


        class Brew(Component):
            """How the coffee is made."""

            kind: ClassVar[str] = "brew"


        class Filter(Brew):
            """Slowly."""

            name = "filter"
        ''')
    )
    target = find(str(file))
    (entry,) = target.entries
    assert checks("brew") == checks("no_such_kind") == checks(entry.cls) != []
    check_component(entry, target.catalog)
    with_checks = tmp_path / "brew_with_checks.py"
    with_checks.write_text(file.read_text() + BREWED_WITH_CHECKS)
    target = find(str(with_checks))
    outcomes = {e.name: {o.check: o.state for o in examine(e, target.catalog)} for e in target.entries}
    assert outcomes["filter"]["is_hot"] == outcomes["moka"]["is_hot"] == outcomes["moka"]["is_strong"] == "passed"
    assert outcomes["cold"]["is_hot"] == "failed" and "is_strong" not in outcomes["cold"]


BREWED_WITH_CHECKS = textwrap.dedent('''

    def is_hot(case):
        """It is hot."""
        assert case.component.celsius > 60, f"{case.component.celsius} degrees"


    def is_strong(case):
        """What this one promises."""
        assert case.component.name == "moka"


    Brew.celsius = 90
    Brew.conformance_checks = classmethod(lambda cls: [is_hot])


    class Cold(Brew):
        """Over night."""

        name = "cold"
        celsius: ClassVar[int] = 5


    class Moka(Brew):
        """Under pressure."""

        name = "moka"

        @classmethod
        def conformance_checks(cls):
            return [*super().conformance_checks(), is_strong]
    ''')


def test_what_is_meant_by_a_target():
    assert {e.distribution for e in find("ablate").entries} == {"ablate"}
    assert [e.name for e in find("schedule/cosine").entries] == ["cosine"]
    assert {e.name for e in find("ablate.execute").entries} == {"local", "ray", "replay", "slurm", "workers"}


@pytest.mark.parametrize(
    ("target", "message"),
    [("no_such_plugin.py", "no plugin file"), ("ablat", "did you mean 'ablate'"), ("schedule/cosin", "'cosine'")],
)
def test_a_target_that_is_none_is_told(target, message):
    with pytest.raises(InputError, match=message):
        find(target)


def test_a_folder_that_is_not_installed_says_how(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "nobody-has-this"\n')
    with pytest.raises(InputError, match="pip install -e"):
        find(str(tmp_path))
    (tmp_path / "pyproject.toml").write_text("[tool]\n")
    with pytest.raises(InputError, match="names no project"):
        find(str(tmp_path))


def test_two_lines_test_a_plugin_and_fail_where_it_cannot_be_loaded(tmp_path, capsys, monkeypatch, alike_elsewhere):
    (tmp_path / "good.py").write_text(f'"""A weighting."""\n{WEIGHTING.format(name="good", weight=2)}')
    (tmp_path / "bad.py").write_text("import no_such_module_at_all\n")
    for name in ("good", "bad"):
        lines = f"from ablate.testing import conformance\n\ntest = conformance({str(tmp_path / name)!r} + '.py')\n"
        (tmp_path / f"test_{name}.py").write_text(lines)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    words = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-W", "error", str(tmp_path)]
    assert pytest.main(words) == pytest.ExitCode.TESTS_FAILED
    output = capsys.readouterr().out
    for name in ("good", "bad"):
        del sys.modules[f"test_{name}"]
    target = find(str(tmp_path / "good.py"))
    states = [o.state for e in target.entries for o in examine(e, target.catalog)]
    passed, skipped = states.count("passed") + 1, states.count("skipped")
    assert skipped and "failed" not in states
    assert output.splitlines()[-1].startswith(f"1 failed, {passed} passed, {skipped} skipped")
    assert "test_bad.py" in output and "No module named 'no_such_module_at_all'" in output


def test_a_case_says_that_it_cannot_be_made():
    with pytest.raises(AssertionError, match="cannot be made"):
        _ = Case(*BY_NAME["odd name"], {"power": -1}).component


def test_conformance_of_nothing_is_an_error(tmp_path):
    (tmp_path / "empty.py").write_text('"""Nothing."""\n')
    with pytest.raises(InputError, match="brings no component"):
        conformance(tmp_path / "empty.py")
