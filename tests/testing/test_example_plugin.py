"""A stranger's distribution: built, installed beside the project, used in a study; and what may go wrong with one."""

import importlib.util
import json
import os
import shutil
import site
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from distributions_for_tests import WEIGHTING, distribution

from ablate.cli import main
from ablate.discovery import catalog

EXAMPLE = Path(__file__).parents[2] / "plugins" / "ablate-example"

STUDY = """\
study: lora
question: How much of adaLN-Zero's regression is needed?
data: digits
base:
  backbone: {type: dit, patch: 4, depth: 1, width: 32, heads: 2, conditioning: adaln_zero}
  batch: 32
vary: {backbone.conditioning: [adaln_zero, adaln_lora]}
design: one_factor
budget: {steps: 4}
evaluate: {previews: 4, batch: 8}
"""

NEEDS = pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="the digits come with scikit-learn")


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """The Python of a fresh environment: all that is installed here, and the example from its own wheel."""
    place = tmp_path_factory.mktemp("beside")
    source = place / "source"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("*.egg-info", "build", "__pycache__"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place / "venv")], check=True)
    python = place / "venv" / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    purelib = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    lines = [f"import site; site.addsitedir({folder!r})\n" for folder in site.getsitepackages()]
    Path(purelib, "project.pth").write_text("".join(lines))
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    return python


@pytest.fixture
def study(tmp_path):
    file = tmp_path / "lora.yaml"
    file.write_text(STUDY)
    return file


CALLS = """
import contextlib, io, json, os, sys
from ablate.cli import main
ended = []
for words, folder in json.loads(sys.argv[1]):
    os.chdir(folder)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as end:
            ended.append([end.code, out.getvalue(), err.getvalue()])
print(json.dumps(ended))
"""


@pytest.fixture(scope="module")
def asked(beside, tmp_path_factory, thorough):
    """What the command line of that environment says to each of some calls, asked in one process: it starts once."""
    place = tmp_path_factory.mktemp("asked")
    run = ["run", "lora.yaml", "--device", "cpu", "--no-figures", "--executor"]
    calls = {
        "show": ["plugins", "show", "conditioning/adaln_lora", "--json"],
        "check": ["plugins", "check", "ablate-example", "--json"],
    }
    if importlib.util.find_spec("sklearn") is not None:
        calls["local"] = [*run, "local"]
        if thorough and importlib.util.find_spec("ray") is not None:
            calls["ray"] = [*run, "ray", "--set", "executor={type: ray, workers: 1, cpus: 1}"]
    for name in calls:
        (place / name).mkdir()
        (place / name / "lora.yaml").write_text(STUDY)
    given = json.dumps([(words, str(place / name)) for name, words in calls.items()])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    words = [str(beside), "-c", CALLS, given]
    ran = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, timeout=550, check=False)
    assert ran.returncode == 0, ran.stderr
    ended = [SimpleNamespace(returncode=c, stdout=o, stderr=e) for c, o, e in json.loads(ran.stdout.splitlines()[-1])]
    return place, dict(zip(calls, ended, strict=True))


@pytest.mark.slow
@pytest.mark.thorough
def test_an_installed_plugin_is_known_with_its_origin(beside, asked):
    component = json.loads(asked[1]["show"].stdout)
    assert (component["distribution"], component["version"]) == ("ablate-example", "0.1.0")
    assert Path(component["file"]).is_relative_to(
        beside.parents[1]
    )  # the wheel's copy, not the source beside the project
    assert {field["name"]: field["search"] for field in component["fields"]} == {"rank": [8, 16, 32]}
    assert "tokens" in component["requires"]


@pytest.mark.slow
@pytest.mark.thorough
def test_an_installed_plugin_conforms(asked):
    ran = asked[1]["check"]
    report = json.loads(ran.stdout)
    states = {one["check"]: one["state"] for one in report["checks"]}
    assert ran.returncode == 0 and report["passed"], [one for one in report["checks"] if one["state"] == "failed"]
    assert states["trains"] == states["is_the_identity_where_it_says_so"] == "passed"
    assert [name for name, state in states.items() if state == "skipped"] == ["imports_without_torch"]


@pytest.mark.slow
@pytest.mark.thorough
def test_its_own_tests_pass(beside, tmp_path):
    shutil.copy(EXAMPLE / "ablate_example.py", tmp_path)
    shutil.copy(EXAMPLE / "test_ablate_example.py", tmp_path)
    words = [str(beside), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.thorough
@pytest.mark.slow
@NEEDS
@pytest.mark.parametrize("executor", ["local", pytest.param("ray", marks=pytest.mark.thorough)])
def test_a_study_uses_it_beside_ours(asked, executor):
    place, ended = asked
    if executor not in ended:
        pytest.skip("Ray is not installed")
    assert ended[executor].returncode == 0, ended[executor].stderr
    folder = place / executor / "results" / "lora"
    trials = pd.read_parquet(folder / "trials.parquet")
    assert set(trials["c.backbone.conditioning"]) == {"adaln_zero", "adaln_lora"}
    assert set(trials["state"]) == {"complete"}
    params = trials.set_index("c.backbone.conditioning")["params"]
    assert params["adaln_lora"] < params["adaln_zero"]
    locked = json.loads((folder / "lock.json").read_text())["plugins"]["conditioning/adaln_lora"]
    assert (locked["distribution"], locked["version"]) == ("ablate-example", "0.1.0")


@pytest.fixture
def here(monkeypatch, capsys):
    """The command line in this process, with more folders on its path; what they hold is forgotten again."""

    def here(*given, cwd=None, path=()):
        capsys.readouterr()
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
            patch.setattr(catalog, "_catalog", cache(catalog.Catalog))
            for folder in path:
                patch.syspath_prepend(folder)
            if cwd is not None:
                patch.chdir(cwd)
            main([str(word) for word in given])
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "/").parent in path:
                del sys.modules[name]
        captured = capsys.readouterr()
        return SimpleNamespace(returncode=ended.value.code, stdout=captured.out, stderr=captured.err)

    return here


@pytest.fixture
def listed(here):
    """What `ablate plugins` knows with these folders on its path."""

    def listed(*path):
        ran = here("plugins", "--json", path=path)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    return listed


@NEEDS
def test_without_it_the_study_is_refused_and_nothing_is_written(study, here, listed):
    if any(e["name"] == "adaln_lora" for e in listed()["components"]):
        pytest.skip("the example is installed in this environment")
    ran = here("run", study, "--no-figures", cwd=study.parent)
    assert ran.returncode == 2
    assert "there is no conditioning 'adaln_lora'; did you mean" in ran.stderr
    assert f"lora.yaml:{STUDY[: STUDY.index('vary')].count(chr(10)) + 1}" in ran.stderr  # the file and the line
    assert [path.name for path in study.parent.iterdir()] == ["lora.yaml"]


def test_a_broken_distribution_leaves_everything_else_usable(tmp_path, here, listed):
    distribution(tmp_path, "broken-thing", "broken_thing", "raise RuntimeError('it was never finished')\n")
    distribution(tmp_path, "whole-thing", "whole_thing", WEIGHTING.format(name="whole", weight=2))
    beside, alone = listed(tmp_path), listed()
    (broken,) = beside["broken"]
    assert broken["plugin"] == "broken-thing:broken_thing"
    assert broken["reason"] == "RuntimeError: it was never finished"
    assert 'raise RuntimeError("it was never finished")' in broken["traceback"].replace("'", '"')
    assert len(beside["components"]) == len(alone["components"]) + 1
    text = here("plugins", path=[tmp_path]).stdout
    assert "it was never finished" in text and "whole-thing 1.2.3" in text
    ran = here("plugins", "check", "broken-thing", path=[tmp_path])
    assert ran.returncode == 1 and "it was never finished" in ran.stdout


@NEEDS
def test_a_broken_distribution_stops_only_the_study_that_needs_it(tmp_path, study, here):
    distribution(tmp_path, "broken-thing", "broken_thing", "raise RuntimeError('it was never finished')\n")
    ours = ("--set", "vary={backbone.conditioning: [adaln_zero, adaln]}")
    fine = here("plan", study, *ours, path=[tmp_path])
    assert fine.returncode == 0, fine.stderr
    needs = here("plan", study, path=[tmp_path])
    assert needs.returncode == 2
    assert "it was never finished" in needs.stderr and "broken-thing" in needs.stderr


def test_a_hook_that_raises_is_isolated(tmp_path, listed):
    source = """
from ablate.api import hookimpl


@hookimpl
def ablate_modules():
    raise SystemExit("no modules today")
"""
    distribution(tmp_path, "bad-hook", "bad_hook", source)
    distribution(tmp_path, "whole-thing", "whole_thing", WEIGHTING.format(name="whole", weight=2))
    everything = listed(tmp_path)
    assert [one["plugin"] for one in everything["broken"]] == ["bad-hook:bad_hook"]
    assert "no modules today" in everything["broken"][0]["traceback"]
    assert "whole" in {one["name"] for one in everything["components"]}


def test_two_distributions_under_one_entry_point_name_both_load(tmp_path, listed):
    distribution(tmp_path, "first-lab", "first_lab", WEIGHTING.format(name="first", weight=1), entry="lab")
    distribution(tmp_path, "second-lab", "second_lab", WEIGHTING.format(name="second", weight=2), entry="lab")
    distributions = {one["name"]: one["distribution"] for one in listed(tmp_path)["components"]}
    assert (distributions["first"], distributions["second"]) == ("first-lab", "second-lab")


@pytest.fixture
def twins(tmp_path):
    """Two distributions that bring a weighting of one name."""
    folder = tmp_path / "installed"
    folder.mkdir()
    distribution(folder, "first-lab", "first_lab", WEIGHTING.format(name="twin", weight=1))
    distribution(folder, "second-lab", "second_lab", WEIGHTING.format(name="twin", weight=2))
    return folder


def test_two_distributions_that_bring_one_name_stay_reachable(twins, here, listed):
    summaries = {one["name"]: one["summary"] for one in listed(twins)["components"] if "lab" in one["distribution"]}
    assert summaries == {"first-lab:twin": "w = 1 at every level.", "second-lab:twin": "w = 2 at every level."}
    bare = here("plugins", "show", "weighting/twin", path=[twins])
    assert bare.returncode == 2
    assert "'first-lab:twin' or 'second-lab:twin'" in bare.stderr
    full = here("plugins", "show", "weighting/second-lab:twin", path=[twins])
    assert full.returncode == 0 and "w = 2 at every level." in full.stdout


@NEEDS
@pytest.mark.slow
@pytest.mark.thorough
def test_a_study_compares_two_components_of_one_name(twins, study, here):
    varied = 'vary={weighting: ["first-lab:twin", "second-lab:twin"]}'
    alone = ("--executor", "local", "--set", "executor={type: local, in_process: true}")  # one process starts sooner
    ran = here("run", study, "--no-figures", *alone, "--set", varied, cwd=study.parent, path=[twins])
    assert ran.returncode == 0, ran.stderr
    trials = pd.read_parquet(study.parent / "results" / "lora" / "trials.parquet")
    assert {"first-lab:twin", "second-lab:twin"} <= set(trials["c.weighting"])
    assert trials["config_hash"].nunique() == len(trials)


@pytest.mark.thorough
def test_what_ours_is_does_not_depend_on_a_stranger_of_the_same_name(tmp_path):
    """So a study that was begun before the stranger was installed goes on, and nothing is measured twice."""
    code = (
        "import sys, ablate; made = ablate.create('weighting', sys.argv[1]); print(made.digest(), made.spec()['type'])"
    )
    distribution(tmp_path, "other-lab", "other_lab", WEIGHTING.format(name="min_snr", weight=2))

    def created(name, *path):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
        words = [sys.executable, "-c", code, name]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout.split()

    alone, beside, stranger = (
        created("min_snr"),
        created("ablate:min_snr", tmp_path),
        created("other-lab:min_snr", tmp_path),
    )
    assert alone[0] == beside[0] != stranger[0]
    assert [pair[1] for pair in (alone, beside, stranger)] == ["min_snr", "ablate:min_snr", "other-lab:min_snr"]
