"""What is made from the catalog is up to date, and what the guide says works."""

import importlib.util
import re
from pathlib import Path

import pytest

from ablate.discovery.catalog import catalog

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


BLOCKS = re.findall(r"```python\n(.*?)```", (DOCS / "plugins.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=[re.search(r"`(\w+)`", code).group(1) for code in BLOCKS])
def test_the_plugins_of_the_guide_conform(tmp_path, code):
    from ablate.testing import check_component, find

    (tmp_path / "of_the_guide.py").write_text(code)
    target = find(str(tmp_path / "of_the_guide.py"))
    (entry,) = target.entries
    check_component(entry, target.catalog)
