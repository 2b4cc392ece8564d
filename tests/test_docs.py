"""What is made from the catalog is up to date, and what the guide says works."""

import importlib.util
import re
from pathlib import Path

import pytest
from pictures_for_tests import noise, write_folder

import ablate
from ablate.discovery.catalog import catalog
from ablate.execute.ray import Ray

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


@pytest.mark.slow
@pytest.mark.skipif(not Ray.available(), reason="Ray is not installed")
def test_the_terms_and_conditions_of_the_guide_are_trained_on_both_executors(tmp_path):
    """Files by a stranger, in a study; the two executors train to the same numbers."""
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
        "vary": {"objective": ["denoise", "l1", "imitate"]},
        "budget": {"images": 64},
        "evaluate": {"metrics": ["fd"], "samples": 16},
    }
    curves = []
    for executor in ("local", "ray"):
        results = ablate.run(study, tmp_path / executor, plugins=files, executor=executor, workers=1, figures=False)
        assert results.trials["state"].tolist() == ["complete"] * 3
        columns = ["trial", "loss", "term.l1", "term.imitate", "term.read_level"]
        curves.append(results.curves[columns].sort_values(columns[:2], ignore_index=True))
    assert curves[0].equals(curves[1]) and curves[0]["term.read_level"].notna().any()
    learned = curves[0].groupby("trial")["term.imitate"].first().dropna()
    assert 0 <= learned.item() < 1e-3  # its first steps, from the teacher's weights
