"""Writes what is made from the source: docs/kinds/*.md and docs/study.schema.json (of the catalog), docs/columns.md.

python docs/make.py            (a test tells when they are out of date)
"""

from __future__ import annotations

import inspect
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ablate.cli import interface, new
from ablate.cli.describe import describe, summary
from ablate.discovery.catalog import Catalog, Entry, catalog
from ablate.io import text
from ablate.results.data_dictionary import COLUMNS, TABLES
from ablate.spec.component import Component
from ablate.study.jsonschema import study_schema
from ablate.testing import checks

DOCS = Path(__file__).parent
ROOT = DOCS.parent
GLOSSARY = DOCS / "glossary.md"
ASKED = "What `ablate plugins check` asks of a component of this kind, besides what it asks of any component:"
OURS = "ablate"
COLUMNS_HEAD = """# Columns of the result tables

What each column of the tables of `ablate.load(FOLDER)` means, in which unit it is, and whether smaller or larger is
better (nothing where neither is). `results.columns` gives the same for the columns of one study, with the direction
of its own metrics and probes. `trials` and `metrics` are also the files `trials.parquet` and `metrics.parquet` of the
folder, there without `candidate`, and `metrics` without `seed` and `c.<path>`.

Types, in `Results`: words that come again and again (`candidate`, `state`, `device`, `failure`, `probe`, choices that
are words, and what says how a value was measured) are categoricals, with the categories that occur and in the study's
order, so that tables, groups and plots come in that order; `.astype(str)` makes text of them. Whole numbers are `int64`
where none is missing and `float64` otherwise, so that numpy takes them; times are in seconds, and `ended` is Unix time.
"""
NOTE = "<!-- made from the catalog by docs/make.py: change the docstrings, not this page -->"


def pages() -> dict[Path, str]:
    """{file: text} of everything that is made."""
    known = catalog()
    made = {DOCS / "kinds" / f"{kind}.md": page(kind, known) for kind in known.kinds()}
    made[DOCS / "kinds" / "README.md"] = index(known)
    made[DOCS / "columns.md"] = columns()
    made[DOCS / "study.schema.json"] = text.json(json.dumps(study_schema(known), indent=1, ensure_ascii=False)) + "\n"
    return made


def columns() -> str:
    """The data dictionary: every column of the result tables with its meaning, unit and direction."""
    lines = [
        NOTE.replace("the catalog", "ablate/results/data_dictionary.py").replace("docstrings", "descriptions"),
        COLUMNS_HEAD,
    ]
    for table, about in TABLES.items():
        lines += [f"## {table}", "", about, "", "| column | meaning | unit | better |", "|---|---|---|---|"]
        for name, doc in COLUMNS[table].items():
            lines.append(f"| `{name}` | {cell(doc.meaning)} | {cell(doc.unit)} | {doc.better} |")
        lines.append("")
    return "\n".join(lines)


def index(known: Catalog) -> str:
    """The kinds, each with what there is of it."""
    lines = [NOTE, "# Kinds", "", "| kind | also called | what it is | components |", "|---|---|---|---|"]
    for kind in known.kinds():
        names = ", ".join(f"[{e.name}]({kind}.md#{e.name})" for e in ours(kind, known))
        other = called(kind).removeprefix("Also called: ").removesuffix(".")
        lines.append(f"| [{kind}]({kind}.md) | {cell(other)} | {cell(summary(known.kind(kind)))} | {names or '–'} |")
    lines += ["", "How to write one: [plugins.md](../plugins.md).", ""]
    return "\n".join(lines)


def page(kind: str, known: Catalog) -> str:
    """One kind: what it is, what there is of it, and what a plugin has to bring."""
    base = known.kind(kind)
    lines = [NOTE, f"# {kind}", "", *in_the_literature(kind), inspect.getdoc(base) or "", ""]
    picture = DOCS / "pictures" / f"{kind}.png"
    if picture.is_file():
        lines += [f"![{kind}](../pictures/{picture.name})", ""]
    for entry in ours(kind, known):
        lines += component(entry, known)
    lines += ["## Writing your own", "", f"A concrete subclass of `ablate.api.{base.__name__}`, with", ""]
    lines += methods(base)
    lines += ["", *example(kind)]
    lines += ["", ASKED, ""]
    every = {check.__name__ for check in checks("")}
    own = [check for check in checks(kind) if check.__name__ not in every]
    lines += [f"- `{check.__name__}`: {' '.join((check.__doc__ or '').split())}" for check in own] or ["- nothing yet"]
    return "\n".join([*lines, ""])


def example(kind: str) -> Iterator[str]:
    """A complete component of the kind, as `ablate plugins new` writes it: the tests run its checks."""
    with tempfile.TemporaryDirectory() as folder:
        file = new.write_file(Path(folder) / "mine.py", "mine", kind)
        code = file.read_text(encoding="utf-8").rstrip()
    command = f"`ablate plugins new mine --kind {kind} --file` writes it, and it passes all checks"
    yield from (f"A complete example; {command}:", "", "```python", code, "```")


def called(kind: str) -> str:
    """The field's words for a kind, as the glossary has them: "Also called: …"; nothing for a kind that it lacks."""
    section = GLOSSARY.read_text(encoding="utf-8").partition(f"\n### {kind}\n\n")[2]
    return " ".join(section.partition("\n\n")[0].split())


def in_the_literature(kind: str) -> Iterator[str]:
    """The same on the page of the kind, so that a search for one of these words finds it."""
    if words := called(kind):
        yield from (f"*{words}* ([glossary](../glossary.md#{kind}))", "")


def ours(kind: str, known: Catalog) -> list[Entry]:
    """The components that ship, the default first."""
    found = [entry for entry in known.entries(kind) if entry.distribution == OURS]
    return sorted(found, key=lambda e: (known.default(kind) != e.full_name, e.name))


def component(entry: Entry, known: Catalog) -> Iterator[str]:
    """What one component computes, its fields, and what it asks of others."""
    said = describe(entry, known)
    yield from (f"## {entry.name}", "", said["doc"], "")
    if known.default(entry.kind) == entry.full_name:
        yield from ("The default.", "")
    if said["fields"]:
        yield from ("| field | type | default | valid | searched by default | |", "|---|---|---|---|---|---|")
        yield from map(row, said["fields"])
        yield ""
    for word in ("provides", "requires", "excludes"):
        if said[word]:
            given: Mapping[str, str] | list[str] = said[word]
            told = [f"`{n}` ({given[n]})" if isinstance(given, Mapping) else f"`{n}`" for n in given]
            yield from (f"With its defaults it {word} {', '.join(told)}.", "")
    yield from (f"[Source](../../{entry.file.relative_to(ROOT).as_posix()})", "")


def row(field: Mapping[str, Any]) -> str:
    """A line of the table of fields."""
    default = "required" if field["required"] else f"`{json.dumps(field['default'], ensure_ascii=False)}`"
    notes = [field["comment"]] if field["comment"] else []
    if field["only_while"]:
        notes.append(f"read only while {field['only_while']}")
    if field["extent"]:
        notes.append("no part of the identity")
    valid = re.sub(r"matches (\S+)", r"matches `\1`", field["range"])  # its brackets are no link
    cells = (f"`{field['name']}`", field["type"], default, valid, search(field["search"]), "; ".join(notes))
    return f"| {' | '.join(map(cell, cells))} |"


def search(given: Any) -> str:
    """A default search range in words."""
    if given is None:
        return ""
    if isinstance(given, list):
        return ", ".join(map(str, given))
    return f"{given['low']:g} to {given['high']:g}{', logarithmic' if given['log'] else ''}"


def methods(base: type[Component]) -> Iterator[str]:
    """The methods that a plugin has to write, then those that it may; then the types that they speak in."""
    for name, must, function in interface.methods(base):
        optional = "" if must else " (there already; may be replaced)"
        said = " ".join((inspect.getdoc(function) or "").split())
        yield f"- `{name}{interface.signature(function)}`{optional}: {said}"
    named = interface.types(base)
    if named:
        yield from ("", "The types of their arguments and results:")
    for cls in named:
        yield from ("", f"**{cls.__name__}**: {interface.paragraph(cls)}", "")
        for name, kind, comment in interface.fields(cls):
            yield f"- `{name}: {kind}`{f': {comment}' if comment else ''}"
        for name, given, said in interface.offers(cls):
            yield f"- `{name}{given}`: {said}"


def cell(text: str) -> str:
    """Text that may stand in a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    made = pages()
    for file in set((DOCS / "kinds").glob("*.md")) - made.keys():
        file.unlink()
    for file, written in made.items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(written, encoding="utf-8")
    print(f"{len(made)} files written below {DOCS}")
