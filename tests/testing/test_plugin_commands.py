"""`ablate plugins check` and `ablate plugins new`."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from ruamel.yaml import YAML

from ablate.cli import main, new, tried
from ablate.discovery.catalog import Catalog, catalog
from ablate.study.load import load_study
from ablate.testing import common, examine, find

WRONG = Path(__file__).parent / "wrong_weightings.py"


@pytest.fixture
def plugins(capsys, monkeypatch, tmp_path):
    """`ablate plugins …` in this process, in the test's own folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["plugins", *map(str, arguments)])
        captured = capsys.readouterr()
        return SimpleNamespace(returncode=ended.value.code, stdout=captured.out, stderr=captured.err)

    return call


@pytest.fixture
def alike_elsewhere(monkeypatch):
    """A digest is the same in another process: none is started for it."""
    monkeypatch.setattr(common, "digest_elsewhere", lambda case: case.component.digest())


@pytest.mark.parametrize(
    ("kind", "name"), [("weighting", "soft-snr"), ("conditioning", "modulate"), ("fusion", "gate")]
)
def test_a_new_plugin_conforms(plugins, kind, name, tmp_path, request):
    if kind != "weighting":  # one is looked up in another process
        request.getfixturevalue("alike_elsewhere")
    result = plugins("new", name, "--kind", kind)
    module = name.replace("-", "_")
    files = {f"{module}.py", f"test_{module}.py", "pyproject.toml", "README.md", "study.yaml", ".github"}
    assert result.returncode == 0 and result.stderr == ""
    assert {path.name for path in (tmp_path / name).iterdir()} == files
    assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing temporary is left
    checked = plugins("check", f"{name}/{module}.py", "--json", "--here")
    document = json.loads(checked.stdout)
    assert checked.returncode == 0 and document["passed"] and document["tracebacks"] == []
    assert {one["component"] for one in document["checks"]} == {f"{kind}/{module}"}
    assert sum(one["state"] == "passed" for one in document["checks"]) >= 10


KINDS = sorted(catalog().kinds())


def test_every_kind_has_a_template_whose_component_loads(tmp_path):
    files = [new.write_file(tmp_path / f"mine_{kind}.py", f"mine_{kind}", kind) for kind in KINDS]
    loaded = Catalog([str(file) for file in files])
    assert [one.traceback for one in loaded.broken] == []
    assert [kind for kind in KINDS if not loaded.entry(kind, f"mine_{kind}").cls.__doc__] == []


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_the_template_of_every_kind_conforms(kind, tmp_path, alike_elsewhere):
    plugin = find(str(new.write_file(tmp_path / f"mine_{kind}.py", f"mine_{kind}", kind)))
    outcomes = [one for entry in plugin.entries for one in examine(entry, plugin.catalog)]
    assert [f"{one.check}: {one.reason}" for one in outcomes if one.state == "failed"] == []
    assert sum(one.state == "passed" for one in outcomes) >= 10


@pytest.mark.parametrize("kind", ["weighting", "gate", "norm", "design"])
def test_a_package_brings_a_study_that_tries_it(kind, plugins, tmp_path):
    assert plugins("new", "my-own", "--kind", kind).returncode == 0
    folder = tmp_path / "my-own"
    workflow = YAML(typ="safe").load(folder / ".github" / "workflows" / "check.yml")
    assert workflow["jobs"]["check"]["steps"][-1] == {"run": "ablate plugins check my_own.py"}
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {"ablate": {"my_own": "my_own"}}
    if kind == "design":  # it is no choice of a candidate
        assert not (folder / "study.yaml").exists() and "study.yaml" not in (folder / "README.md").read_text()
        return
    study = load_study(folder / "study.yaml")
    (choices,) = study.study.vary.values()
    assert choices[-1] == "my_own" and len(choices) == 2
    cost = study.trial_settings.cost(study.candidate(study.baseline))
    assert cost.params + cost.macs <= tried.ENOUGH, "a network of which a newcomer waits minutes, not hours"


def test_one_file_is_written_where_one_is_asked_for(plugins, tmp_path):
    result = plugins("new", "soft-snr", "--file")
    assert result.returncode == 0 and [path.name for path in tmp_path.iterdir()] == ["soft_snr.py"]
    before = (tmp_path / "soft_snr.py").read_text()
    again = plugins("new", "soft-snr", "--file")
    assert again.returncode == 2 and "nothing is overwritten" in again.stderr
    assert (tmp_path / "soft_snr.py").read_text() == before


@pytest.mark.thorough
def test_its_own_test_passes(plugins, tmp_path):
    plugins("new", "soft-snr")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    ran = subprocess.run(words, cwd=tmp_path / "soft-snr", capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert "passed" in ran.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["taken"], "nothing is overwritten"),
        (["../out"], "is no name"),
        (["a b"], "is no name"),
        (["json"], "Python has a 'json' already"),
        (["class"], "Python has a 'class' already"),
        (["min-snr"], "there is a weighting 'min_snr' already"),
        (["fine", "--kind", "weightin"], "did you mean 'weighting'"),
    ],
)
def test_what_cannot_be_made_is_told_and_nothing_is_written(plugins, arguments, message, tmp_path):
    (tmp_path / "taken").mkdir()
    before = sorted(tmp_path.rglob("*"))
    ran = plugins("new", *arguments)
    assert ran.returncode == 2 and message in ran.stderr and ran.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_plugin_that_does_not_conform_ends_with_1(plugins, tmp_path, alike_elsewhere):
    file = tmp_path / "worse.py"
    file.write_text(WORSE)
    ran = plugins("check", file, "--here")
    assert ran.returncode == 1 and ran.stderr == ""
    line = next(line for line in ran.stdout.splitlines() if "is_finite_and_not_negative" in line)
    assert line.startswith("weighting/worse") and "failed" in line and "is negative" in line
    assert "1 failed" in ran.stdout.splitlines()[-1]


WORSE = '''
"""A weighting that is negative."""

from ablate.api import Weighting


class Worse(Weighting):
    """w = −1."""

    name = "worse"

    def weight(self, level, sigma_data):
        return level.alpha * 0 - 1
'''


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("import sys; sys.exit(0)", "ends the process: SystemExit: 0"),
        ("import os; os._exit(0)", "ends the process: SystemExit: 0"),
        ("raise ValueError('no such weight')", "ValueError: no such weight"),
        ("import torch; torch.manual_seed(0); return level.snr", "torch's global random state was seeded"),
        ("import torch; torch.set_default_dtype(torch.float64); return level.snr", "torch's default dtype was"),
    ],
)
def test_who_ends_the_process_or_raises_is_named_with_file_and_line_once(line, why, tmp_path, capsys, alike_elsewhere):
    file = tmp_path / str(abs(hash(line))) / "worse.py"  # a folder of its own: a file is imported once in a process
    file.parent.mkdir()
    file.write_text(WORSE.replace("return level.alpha * 0 - 1", line))
    with pytest.raises(SystemExit, match="1"):
        main(["plugins", "check", str(file), "--here"])
    output = capsys.readouterr().out
    assert " failed" in output.splitlines()[-1] and "Traceback" not in output
    assert output.count(why) == 1 and "worse.py:" in output


def test_for_programs_each_failed_check_has_its_traceback(tmp_path, capsys, alike_elsewhere):
    file = tmp_path / "worse.py"
    file.write_text(WORSE.replace("return level.alpha * 0 - 1", "return level.no_such_thing"))
    with pytest.raises(SystemExit, match="1"):
        main(["plugins", "check", str(file), "--json", "--here"])
    failed = [one for one in json.loads(capsys.readouterr().out)["checks"] if one["state"] == "failed"]
    assert failed and all(f'File "{file}", line 13, in weight' in one["traceback"] for one in failed)
    assert all("no_such_thing" in one["reason"] and f"{file}:13" in one["reason"] for one in failed)


def test_a_plugin_that_cannot_be_loaded_is_shown_with_its_traceback(plugins, tmp_path):
    (tmp_path / "bad.py").write_text("import no_such_module_at_all\n")
    ran = plugins("check", "bad.py")
    assert ran.returncode == 1
    assert "ModuleNotFoundError" in ran.stdout and "Traceback (most recent call last)" in ran.stdout


def test_one_component_can_be_checked_and_a_wrong_name_is_told(plugins, alike_elsewhere):
    ran = plugins("check", "target/v", "--json", "--here")
    assert ran.returncode == 0 and json.loads(ran.stdout)["passed"]
    local = plugins("check", "weighting/negative", "--plugin", WRONG, "--here")
    assert local.returncode == 1 and "weighting/negative" in local.stdout
    ran = plugins("check", "target/w", "--here")
    assert ran.returncode == 2 and "there is no target 'w'" in ran.stderr
