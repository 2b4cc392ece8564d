"""What the pages say of committed runs is what `ablate` says of them."""

import importlib.util
import re
from pathlib import Path

import pytest

from ablate.discovery.catalog import catalog
from ablate.results.verdict import verdict

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("docs_readme", ROOT / "docs" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_part_of_the_readme_says_what_the_tool_says(make):
    results = make.load(make.CURATED / make.SHOWN)
    part = make.shown(results, catalog())
    seeds = re.search(r"it takes (\d+) seeds", verdict(results))
    assert seeds is None or seeds.group(0) in part
    for candidate in results.candidates:
        assert f"| {candidate.label}".replace("_", r"\_") in part
    for image in re.findall(r"\]\(([^)]+\.png)\)", part):
        assert (ROOT / image).is_file()


def test_a_run_of_other_code_says_so_with_its_version(make):
    results = make.load(make.CURATED / make.SHOWN)
    results.lock["hashes"] = make.SCHEME
    results.lock["plugins"] = {"backbone/dit": {"source_hash": "0" * 64}, "backbone/gone": {"source_hash": "1" * 64}}
    told = make.age(results, catalog())
    assert "`ablate 0.1.0`" in told and "`backbone/dit`" in told and "`backbone/gone`" in told
    assert told in make.page(results, catalog()).splitlines()[2]
    results.lock["plugins"] = {"backbone/dit": {"source_hash": catalog().entry("backbone", "dit").source_hash}}
    assert make.age(results, catalog()) == ""
    results.lock.pop("hashes")
    assert "before its source was kept" in make.age(results, catalog())


def test_what_was_made_is_up_to_date(make):
    """Once a page is made from the runs, it is made again with them."""
    if not any(make.marked(ROOT / page) for page in ("README.md", "results/README.md")):
        pytest.skip("the pages have no place for what is made yet")
    stale = [str(file.relative_to(ROOT)) for file, told in make.pages().items() if not _same(file, told)]
    assert not stale, f"{stale}: run python docs/readme.py"


def _same(file, told):
    return file.is_file() and file.read_text(encoding="utf-8") == told
