"""What is made from the catalog is up to date, and what the guide says works."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import textwrap
import tomllib
from pathlib import Path

import pytest
import typer
from pictures_for_tests import noise, write_folder
from ruamel.yaml import YAML

import ablate
from ablate.candidates.candidate import Candidate
from ablate.cli.app import app
from ablate.discovery.catalog import catalog
from ablate.execute.ray import Ray
from ablate.study.schema import Study

DOCS = Path(__file__).parents[1] / "docs"
STRANGERS = {entry.distribution for entry in catalog().entries()} - {"ablate"}


@pytest.fixture(scope="module")
def made():
    spec = importlib.util.spec_from_file_location("docs_make", DOCS / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


def test_the_pages_of_the_kinds_and_of_the_columns_are_up_to_date(made):
    pages = {file: text for file, text in made.items() if file.suffix == ".md"}
    assert {*(DOCS / "kinds").glob("*.md"), DOCS / "columns.md"} == set(pages), "run: python docs/make.py"
    stale = [file.name for file, text in pages.items() if file.read_text(encoding="utf-8") != text]
    assert not stale, f"{stale}: run python docs/make.py"


@pytest.mark.skipif(bool(STRANGERS), reason=f"the schema would hold components of {STRANGERS}")
def test_the_schema_is_up_to_date(made):
    file = DOCS / "study.schema.json"
    assert file.read_text(encoding="utf-8") == made[file], "run: python docs/make.py"


def test_every_component_and_field_stands_on_its_page(made):
    for entry in catalog().entries():
        if entry.distribution == "ablate":
            page = made[DOCS / "kinds" / f"{entry.kind}.md"].split(f"\n## {entry.name}\n")[1].split("\n## ")[0]
            assert all(f"| `{field}` |" in page for field in entry.cls.model_fields)


def test_links_of_the_docs_lead_somewhere():
    for page in DOCS.rglob("*.md"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.relative_to(DOCS)}: {link}"


def plugins_of_the_guide(folder):
    """Every plugin that the guide shows, as a file."""
    codes = re.findall(r"```python\n(.*?)```", (DOCS / "plugins.md").read_text(encoding="utf-8"), re.DOTALL)
    files = [folder / f"guide_{i}.py" for i in range(len(codes))]
    for file, code in zip(files, codes, strict=True):
        file.write_text(code)
    return files


@pytest.mark.thorough
def test_the_plugins_of_the_guide_conform(tmp_path):
    from ablate.testing import check_component, find

    kinds = []
    for file in plugins_of_the_guide(tmp_path):
        target = find(str(file))
        kinds += [entry.kind for entry in target.entries]
        for entry in target.entries:
            check_component(entry, target.catalog)
    assert {"weighting", "objective", "auxiliary", "coupling", "augmentation", "condition", "embedder"} <= set(kinds)


GUIDES = [DOCS / name for name in ("plugins.md", "first_plugin.md", "following.md", "networks.md")]


def blocks_of(page, language):
    """The fenced blocks of a language; of "" the indented ones."""
    text = page.read_text(encoding="utf-8")
    if language:
        return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n|(?<=\n)\n(?=    ))+", text, re.MULTILINE)]


def commands_of(page):
    lines = "\n".join([*blocks_of(page, ""), *blocks_of(page, "sh")]).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.strip().startswith("ablate ")]


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_commands_of_the_guides_have_the_options_that_are_told(page):
    root = typer.main.get_command(app)
    for words in commands_of(page):
        if ">" in words:
            words = words[: words.index(">")]
        command, context = root, None
        while hasattr(command, "commands") and words and words[0] in command.commands:
            context = command.context_class(command, info_name=words[0], parent=context)
            command, words = command.commands[words[0]], words[1:]
        assert command is not root, words
        command.make_context("x", [word for word in words if word != "..."], resilient_parsing=True)
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= {*options, "--no-figures", "--no-index"}, words


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_pieces_of_studies_in_the_guides_are_yaml_with_keys_of_a_study(page):
    for block in blocks_of(page, ""):
        if re.match(r"(base|vary|data|trackers):", block):
            piece = YAML(typ="safe").load(block)
            assert set(piece) <= set(Study.model_fields), block
            assert set(piece.get("base", ())) <= set(Candidate.model_fields), block
    for block in blocks_of(page, "toml"):
        assert "ablate" in tomllib.loads(block)["project"]["entry-points"]
    for block in (*blocks_of(page, "python"), *blocks_of(page, "py")):
        compile(block, page.name, "exec")


@pytest.mark.thorough
def test_the_first_plugin_is_written_checked_tried_and_built_as_the_page_says(tmp_path):
    """Every block, in order, in an environment of its own that sees what is installed here."""
    purelib = sysconfig.get_paths()["purelib"]
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    binaries = tmp_path / "venv" / "bin"
    (own,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (own / "project.pth").write_text(f"import site; site.addsitedir({purelib!r})\n")
    for name, module in {"ablate": "ablate.cli", "pip": "pip"}.items():
        (binaries / name).write_text(f'#!/bin/sh\nexec "{binaries}/python" -m {module} "$@"\n')
        (binaries / name).chmod(0o755)
    quiet = {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_DEPS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment = {**os.environ, **quiet, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    page = (DOCS / "first_plugin.md").read_text(encoding="utf-8")
    folder = tmp_path / "work"
    folder.mkdir()
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        if language == "python":
            (folder / "soft_snr.py").write_text(block)
        elif language == "toml":
            assert block.splitlines()[0] in (folder / "pyproject.toml").read_text()
        else:
            ran = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block], cwd=folder, env=environment, capture_output=True, text=True
            )
            assert ran.returncode == 0, block + ran.stdout + ran.stderr
            folder = folder / "soft-snr" if "cd soft-snr" in block else folder
    assert (folder / "tried" / "report.html").is_file() and len(list((folder / "dist").glob("*.whl"))) == 1


# That workers of Ray load a plugin's file and train to the numbers of `local` is guarded in the normal run by
# test_ray_gives_the_same_results_and_survives_lost_workers in tests/engine/test_engine.py.
@pytest.mark.slow
@pytest.mark.parametrize(
    "executors", [["local"], pytest.param(["local", "ray"], marks=pytest.mark.thorough)], ids=["local", "both"]
)
def test_the_terms_and_conditions_of_the_guide_are_trained_on_every_executor(executors, tmp_path):
    """Files by a stranger, in a study; the executors train to the same numbers."""
    if "ray" in executors and not Ray.available():
        pytest.skip("Ray is not installed")
    files = [
        str(f) for f in plugins_of_the_guide(tmp_path) if re.search("Objective|class (Aspect|Bins)", f.read_text())
    ]
    pictures = [image[:, : 8 + i % 3, : 8 + i % 5] for i, image in enumerate(noise(40, size=12))]
    write_folder(tmp_path / "pictures", pictures)
    study = {
        "study": "guide",
        "data": {
            "type": "folder",
            "path": str(tmp_path / "pictures"),
            "size": 8,
            "reference": 16,
            "conditions": ["aspect"],
        },
        "base": {
            "backbone": {"type": "dit", "patch": 4, "depth": 2, "width": 16, "heads": 2, "embedders": ["bins"]},
            "solver": {"type": "ddim", "steps": 2},
            "auxiliary": [{"type": "read_level", "depth": 0.5, "weight": 0.1, "until": 0.5}],
            "coupling": "by_brightness",
            "augmentation": "negative",
            "batch": 16,
        },
        "vary": {"objective": ["denoise", "l1", "taught"]},
        "budget": {"images": 64},
        "evaluate": {"metrics": ["fd"], "samples": 16},
        "executor": {"type": "local", "in_process": True},
    }
    curves = []
    for executor in executors:
        results = ablate.run(study, tmp_path / executor, plugins=files, executor=executor, workers=1, figures=False)
        assert results.trials["state"].tolist() == ["complete"] * 3
        columns = ["trial", "loss", "term.l1", "term.taught", "term.read_level"]
        curves.append(results.curves[columns].sort_values(columns[:2], ignore_index=True))
    assert all(one.equals(curves[0]) for one in curves) and curves[0]["term.read_level"].notna().any()
    learned = curves[0].groupby("trial")["term.taught"].first().dropna()
    assert 0 <= learned.item() < 1e-3  # its first steps, from the teacher's weights
