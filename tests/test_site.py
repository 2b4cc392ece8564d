"""The pages that people write: what they name is there, the words of the field are found, the worked example works."""

import configparser
import re
from pathlib import Path

import pytest

import ablate
from ablate.statistics.declared import AnalysisPlan

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GLOSSARY = (DOCS / "glossary.md").read_text(encoding="utf-8")
ARCHITECTURE = (DOCS / "architecture.md").read_text(encoding="utf-8")
CITED = re.compile(r"[A-Z][\wäöńłé]+(?: et al\.| & [A-Z]\w+) [12]\d{3}")  # "Ho et al. 2020", "Peebles & Xie 2023"
WORDS = (
    *("gradient accumulation", "stochastic depth", "skip connection", "timestep", "patchify", "patch embedding"),
    *("classifier-free guidance", "exponential moving average", "activation checkpointing", "ancestral sampling"),
    *("parameterization", "Pareto front", "timestep embedding", "gradient clipping", "mixed precision", "NFE"),
)


@pytest.mark.parametrize(
    "page", ["docs/architecture.md", "docs/glossary.md", "docs/compatibility.md", "CONTRIBUTING.md"]
)
def test_files_that_a_page_names_are_there(page: str) -> None:
    """`ablate/io/files.py`, `plugins/ablate_zoo/gate/`; but not what is only an example, such as `<kind>.py`."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    named = set(re.findall(r"`((?:ablate|plugins|tests|docs)/[\w/.-]*)`", text)) - {
        "plugins/ablate_zoo/gate/constant.py"
    }
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("word", WORDS)
def test_words_of_the_field_are_in_the_glossary(word: str) -> None:
    assert word.lower() in GLOSSARY.lower()


def test_every_kind_has_a_section_with_the_words_of_the_field() -> None:
    """Each kind has a section, which the page of the kind repeats."""
    for kind in ablate.catalog().kinds():
        assert f"\n### {kind}\n\nAlso called: " in GLOSSARY, kind
        assert "*Also called: " in (DOCS / "kinds" / f"{kind}.md").read_text(encoding="utf-8"), kind


def test_components_that_the_glossary_names_exist() -> None:
    catalog = ablate.catalog()
    known = {entry.name for entry in catalog.entries()}
    fields = {name for entry in catalog.entries() for name in entry.cls.model_fields}
    fields |= set(AnalysisPlan.model_fields)  # beside the kind, as the study says it
    for kind in catalog.kinds():
        section = GLOSSARY.partition(f"\n### {kind}\n")[2].partition("\n#")[0]
        for row in re.findall(r"^\| ([^|]*) \|", section, re.MULTILINE):
            for name in re.findall(r"`(\w+)`", row):
                capability = name in {
                    "log_snr",
                    "variance_preserving",
                    "zero_terminal_snr",
                    "apply",
                    "native",
                    "nfe",
                    "sigma_data",
                }
                assert capability or name in known | fields, f"{kind}: {name}"


def test_papers_of_the_glossary_have_a_title_and_are_cited_in_the_code() -> None:
    """Names and years as the docstrings have them."""
    tables, _, titles = GLOSSARY.partition("\n## The papers\n")
    sources = [*(ROOT / "ablate").rglob("*.py"), *(ROOT / "plugins" / "ablate_zoo").rglob("*.py")]
    code = " ".join(" ".join(file.read_text(encoding="utf-8") for file in sources).split())
    assert set(CITED.findall(tables)) == set(CITED.findall(titles))
    assert [paper for paper in sorted(set(CITED.findall(tables))) if paper not in code] == []


def test_the_architecture_lists_the_folders_in_the_order_of_imports() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    layers = contracts["importlinter:contract:layers"]["layers"].split("\n")
    order = [name.strip() for layer in layers for name in layer.split("|") if name.strip()]
    table = ARCHITECTURE.partition("## The folders of `ablate/`")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `ablate/(\w+)(?:/|\.py)` ", table, re.MULTILINE) == order


@pytest.mark.parametrize(("network", "most"), [("DiT", 10), ("U-Net", 17)])
def test_a_network_is_read_in_few_files(network: str, most: int) -> None:
    """What the files in `backbone/` import of the zoo is on the list; what fills a slot is not imported by them."""
    part = ARCHITECTURE.partition(f"The **{network}**")[2].partition("\nThe ")[0]
    files = re.findall(r"^\d+\. `(plugins/[\w/]+\.py)`", part, re.MULTILINE)
    assert 0 < len(files) <= most
    for file in files:
        if "/backbone/" in file:
            imported = re.findall(
                r"^\s*from (ablate_zoo\.[\w.]+) import", (ROOT / file).read_text("utf-8"), re.MULTILINE
            )
            needed = {f"plugins/{module.replace('.', '/')}.py" for module in imported}
            needed = {one for one in needed if (ROOT / one).is_file()}  # the others are folders
            assert needed <= set(files), file


def test_the_version_stands_in_one_place() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dynamic = ["version"]' in project and 'version = { attr = "ablate.__version__" }' in project
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", ablate.__version__)


def test_the_worked_example_conforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CONTRIBUTING.md's gate passes the checks of its kind; no other process is asked for its digest."""
    from ablate.testing import check_component, common, find

    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    file = tmp_path / "constant_gate.py"
    file.write_text(re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1), encoding="utf-8")
    target = find(str(file))
    (entry,) = target.entries
    monkeypatch.setattr(common, "digest_elsewhere", lambda case: case.component.digest())
    check_component(entry, target.catalog)


def test_a_folder_of_before_the_modules_moved_is_read() -> None:
    """docs/compatibility.md: a folder of an earlier version is read, with the numbers that it had."""
    results = ablate.load(ROOT / "tests" / "fixtures" / "older")
    assert results.states == {"complete": 2} and len(results.candidates) == 2
    assert results.metrics["value"].notna().all() and len(results.metrics)
