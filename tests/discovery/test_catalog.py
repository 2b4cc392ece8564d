"""The catalog: what is found, where it comes from, and that one broken plugin breaks nothing else."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.discovery.catalog import Catalog
from ablate.discovery.plugin_sources import installed
from ablate.errors import InputError, SpecError

GATE = """
from ablate.api import Fusion

class {cls}(Fusion):
    name = "{name}"

    def build(self, channels, skip_channels, embedding):
        from torch import nn
        return nn.Identity()
"""


def plugin(folder: Path, file: str, cls: str = "Gate", name: str = "test_gate") -> Path:
    path = folder / file
    path.write_text(GATE.format(cls=cls, name=name))
    return path


def distribution(folder: Path, name: str, points: str, version: str = "1.2") -> None:
    """An installed distribution, as an installer leaves it."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[ablate]\n{points}\n")


def ask(folder: Path, code: str) -> object:
    """What `code` prints as JSON, in a process that has `folder` among its installed packages."""
    program = (
        f"import sys, json; sys.path.insert(0, {str(folder)!r})\nfrom ablate.discovery.catalog import Catalog\n{code}"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_the_zoo_is_found_as_a_strangers_package_is() -> None:
    components = Catalog()
    assert components.broken == []
    assert {"backbone", "schedule", "metric", "design", "executor"} <= set(components.kinds())
    entry = components.entry("schedule", "linear")
    assert entry.distribution == "ablate"
    assert "class Linear" in entry.file.read_text().splitlines()[entry.line - 1]
    assert components.create("schedule", {"type": "linear", "steps": 10}).spec()["steps"] == 10
    assert components.locate(entry.cls) == entry
    assert len({e.cls for e in components.entries()}) == len(components.entries())


def test_every_component_has_one_default_at_most() -> None:
    components = Catalog()
    for kind in components.kinds():
        declared = [e.name for e in components.entries(kind) if e.cls.default]
        assert len(declared) <= 1
        assert components.default(kind) == (f"ablate:{declared[0]}" if declared else None)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(SpecError, match=r"there is no schedule 'linaer'; did you mean 'linear'\?"):
        Catalog().get("schedule", "linaer")
    with pytest.raises(SpecError, match=r"there is no kind 'schedul'; did you mean 'schedule'\?"):
        Catalog().names("schedul")


def test_a_local_file_is_a_plugin(tmp_path: Path) -> None:
    path = plugin(tmp_path, "gates.py")
    components = Catalog([path, path])  # twice is once
    entry = components.entry("fusion", "test_gate")
    assert (entry.distribution, entry.full_name, entry.file) == ("gates", "gates:test_gate", path)
    assert entry.version == hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    with pytest.raises(InputError, match=r"there is no plugin file nowhere\.py"):
        Catalog(["nowhere.py"])


def test_two_plugins_under_one_name_are_both_reachable(tmp_path: Path) -> None:
    both = Catalog([plugin(tmp_path, "ours.py"), plugin(tmp_path, "theirs.py"), plugin(tmp_path, "x.py", "X", "other")])
    assert both.names("fusion") == sorted({*both.names("fusion"), "ours:test_gate", "theirs:test_gate", "other"})
    assert "test_gate" not in both.names("fusion")
    with pytest.raises(SpecError, match="two plugins bring fusion 'test_gate': say 'ours:test_gate' or 'theirs:test_"):
        both.get("fusion", "test_gate")
    assert both.get("fusion", "ours:test_gate") is not both.get("fusion", "theirs:test_gate")
    ours, theirs = (both.create("fusion", f"{name}:test_gate") for name in ("ours", "theirs"))
    assert both.create("fusion", theirs.spec()) == theirs
    assert theirs.digest() != ours.digest()
    assert both.create("fusion", "x:other").spec()["type"] == "other"
    assert both.broken == []


def test_an_alias_is_no_second_component(tmp_path: Path) -> None:
    path = plugin(tmp_path, "aliased.py")
    path.write_text(path.read_text() + "\nSame = Gate\n")
    assert Catalog([path]).names("fusion").count("test_gate") == 1


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
        ("def f(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError"),
        ("from ablate.api import Fusion\nclass G(Fusion):\n    name = 'g'", "lacks what its kind asks for: build"),
        ("from ablate.api import Fusion\nclass G(Fusion):\n    name = 'g'\n    x: 'Nowhere' = 1", None),
        (
            "from ablate.api import hookimpl\n@hookimpl\ndef ablate_modules():\n    raise ValueError('no')",
            "ValueError: no",
        ),
        ("from ablate.api import hookimpl\n@hookimpl\ndef ablate_modules(x): ...", "PluginValidationError"),
    ],
)
def test_a_broken_plugin_is_kept_apart(tmp_path: Path, source: str, reason: str | None) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(source)
    components = Catalog([bad, plugin(tmp_path, "good.py")])
    assert components.get("fusion", "test_gate")
    assert components.get("schedule", "linear")
    assert [b.plugin for b in components.broken] == [str(bad)]
    if reason is not None:
        assert reason in components.broken[0].traceback
    with pytest.raises(SpecError) as caught:
        components.get("fusion", "perhaps_in_the_broken_one")
    message = str(caught.value)
    assert f"plugin {bad} could not be loaded and may bring it: {components.broken[0].summary}" in message
    assert reason is None or reason in message
    assert "Traceback" not in message


def test_a_hook_says_which_modules_are_searched(tmp_path: Path) -> None:
    package = tmp_path / "hooked_for_test"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from ablate.api import hookimpl\n@hookimpl\ndef ablate_modules(): return ['hooked_for_test.one']\n"
    )
    plugin(package, "one.py", name="from_one")
    plugin(package, "two.py", name="from_two")
    distribution(tmp_path, "hooked", "x = hooked_for_test")
    code = "print(json.dumps(Catalog().names('fusion')))"
    names = ask(tmp_path, code)
    assert "from_one" in names  # type: ignore[operator]
    assert "from_two" not in names  # type: ignore[operator]


def test_distributions_may_share_an_entry_point_name_and_one_may_be_broken(tmp_path: Path) -> None:
    plugin(tmp_path, "first_for_test.py", name="shared")
    plugin(tmp_path, "second_for_test.py", name="shared")
    distribution(tmp_path, "first-dist", "gates = first_for_test")
    distribution(tmp_path, "second-dist", "gates = second_for_test\nother = nowhere_for_test", "2.0")
    answer = ask(
        tmp_path,
        "c = Catalog()\nshared = [[e.full_name, e.version] for e in c.entries('fusion') if e.name == 'shared']\n"
        "print(json.dumps([shared, [b.plugin for b in c.broken], c.broken[0].reason]))",
    )
    entries, broken, reason = answer  # type: ignore[misc]
    assert sorted(entries) == [["first-dist:shared", "1.2"], ["second-dist:shared", "2.0"]]
    assert broken == ["second-dist:other"]
    assert reason == "ModuleNotFoundError: No module named 'nowhere_for_test'"


def test_an_installed_package_that_a_study_names_again_is_found_once(tmp_path: Path) -> None:
    plugin(tmp_path, "named_for_test.py")
    distribution(tmp_path, "named-dist", "gates = named_for_test")
    code = (
        "c = Catalog(['named_for_test'])\nprint(json.dumps([c.entry('fusion', 'test_gate').full_name, len(c.broken)]))"
    )
    assert ask(tmp_path, code) == ["named-dist:test_gate", 0]


def test_a_plugin_may_bring_a_kind(tmp_path: Path) -> None:
    path = tmp_path / "curricula.py"
    path.write_text(
        "from typing import ClassVar\nfrom ablate.api import Component\n"
        "class Curriculum(Component):\n    kind: ClassVar[str] = 'curriculum'\n"
        "class Easy(Curriculum):\n    name = 'easy'\n    default = True\n"
    )
    components = Catalog([path])
    assert components.names("curriculum") == ["easy"]
    assert components.default("curriculum") == "curricula:easy"
    assert components.create("curriculum", {}).spec() == {"type": "easy"}


def test_a_strangers_default_does_not_replace_the_kinds_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from ablate.api import Clip\nclass Mine(Clip):\n    name = 'mine'\n    default = True\n"
        "    def apply(self, parameters): ...\n"
    )
    assert Catalog([path]).default("clip") == Catalog().default("clip") != None  # noqa: E711


def test_finding_components_imports_no_torch(tmp_path: Path) -> None:
    code = "c = Catalog(); print(json.dumps(sorted({'torch', 'ray', 'optuna', 'pandas'} & set(sys.modules))))"
    assert ask(tmp_path, code) == []


HEAD = "from ablate.api import Weighting\n\n\nclass W(Weighting):\n"
BODY = "    def weight(self, level, sigma_data):\n        return 1\n"


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ("    name: str = 'w'\n", "`name` with an annotation is a field; write `name = 'w'`"),
        ("    name = 'a:b'\n", "its name is 'a:b'"),
        ("    name = 3\n", "its name is 3"),
        ("    name = 'w'\n    type: int = 1\n", "a field cannot be called 'type'"),
        ("    name = 'w'\n    kind: str = 'x'\n", "`kind` with an annotation is a field"),
        ("    name = 'w'\n    digest: int = 1\n", "a field cannot be called 'digest'"),
        ("    name = 'w'\n    sizes: list[int] = [1, 2]\n", "'sizes' is a list, which may change and has no hash"),
        ("    name = 'w'\n    bound: float = float('inf')\n", "the default of field 'bound', inf, is no JSON"),
    ],
)
def test_a_mistake_in_a_declaration_is_one_sentence_with_its_line(tmp_path: Path, field: str, sentence: str) -> None:
    path = tmp_path / "w.py"
    path.write_text(HEAD + field + BODY)
    (broken,) = Catalog([path]).broken
    assert broken.traceback.startswith(f"class W ({path}:4): ") and sentence in broken.traceback
    assert broken.traceback.count("\n") == 1 and broken.module == str(path)


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ("def weight(self, level)", "`weight(self, level)` in line 6 takes 1 and not 2 arguments: weighting asks for "),
        ("def weight(self, level, sigma_data, more)", "cannot be called as its kind's: missing a required argument"),
        ("def weight(self, *, level, sigma_data)", "takes 0 and not 2 arguments"),
        ("@classmethod\n    def weight(cls, level, sigma_data)", "'weight' in line 6 is not a method of the instance"),
        (
            "def weight(self, level, sigma_data): ...\n    def provides(self, setting)",
            "its method `provides(self, setti",
        ),
        ("def weight(self, level, sigma_data, more=1)", None),
        ("def weight(self, snr, deviation)", None),
        ("def weight(self, *given, **named)", None),
        ("@staticmethod\n    def weight(level, sigma_data)", None),
        ("def helper(self, anything): ...\n    def weight(self, level, sigma_data)", None),
    ],
)
def test_a_method_that_cannot_be_called_as_its_kinds_is_told_when_it_is_loaded(
    tmp_path: Path, method: str, sentence: str | None
) -> None:
    path = tmp_path / "w.py"
    path.write_text(HEAD + f"    name = 'w'\n    {method}: ...\n")
    components = Catalog([path])
    if sentence is None:
        assert components.broken == [] and "w" in components.names("weighting")
        return
    (broken,) = components.broken
    assert broken.traceback.startswith(f"class W ({path}:4): ") and sentence in broken.traceback
    assert broken.traceback.count("\n") == 1


def test_one_name_twice_in_a_file_names_both_classes(tmp_path: Path) -> None:
    path = plugin(tmp_path, "twice.py", "First")
    path.write_text(path.read_text() + GATE.format(cls="Second", name="test_gate"))
    (broken,) = Catalog([path]).broken
    assert f"class Second ({path}:13)" in broken.traceback and f"First at {path}:4" in broken.traceback


def test_what_a_plugin_prints_is_no_part_of_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "prints.py"
    path.write_text("import sys\nprint('hello')\nsys.stdout.close()\n")
    Catalog([path])
    assert capsys.readouterr() == ("", "hello\n")


def test_a_plugin_that_moves_the_process_while_it_is_imported_is_refused(tmp_path: Path) -> None:
    path, here = tmp_path / "moves.py", Path.cwd()
    path.write_text("import os\nos.chdir('/')\nos._exit(0)\n")
    tracebacks = " ".join(broken.traceback for broken in Catalog([path]).broken)
    assert "the current folder was" in tracebacks and "SystemExit: 0" in tracebacks and Path.cwd() == here


@pytest.mark.parametrize("plugin_name", ["no_such_package_at_all", "a b", "/", "pyproject.toml"])
def test_what_is_no_plugin_is_told_in_one_line(plugin_name: str) -> None:
    with pytest.raises(InputError) as caught:
        Catalog([plugin_name])
    assert "\n" not in str(caught.value)


def test_the_order_of_plugins_is_not_that_of_a_disk(monkeypatch):
    points = importlib.metadata.entry_points(group="ablate")
    found = []
    for turned in (list, lambda all_of: list(reversed(all_of))):
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group, turned=turned: turned(points))
        found.append([source.plugin for source in installed()])
    assert found[0] == found[1] and found[0][0].startswith("ablate:") and len(found[0]) >= 2
