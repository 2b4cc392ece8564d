"""Writes what the pages say of committed runs: README.md's results, results/README.md's table, a page in each folder.

python docs/readme.py            (a test tells when they are out of date)

Nothing of it is written by hand: table, verdict and the number of seeds are what `ablate` says of the run today, and a
run that was made by other source code says so on top.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ablate.discovery.catalog import Catalog, catalog
from ablate.discovery.provenance import SCHEME
from ablate.errors import InputError
from ablate.io import text
from ablate.results import Results, load
from ablate.results.tables import formatted, grouped
from ablate.results.verdict import verdict

ROOT = Path(__file__).parents[1]
CURATED = ROOT / "results" / "curated"
SHOWN = "dit_conditioning"  # the study of README.md
BEGIN, END = "<!-- results: made by docs/readme.py from the committed runs -->", "<!-- end of results -->"
NAMED = 6  # changed components that are named


def pages() -> dict[Path, str]:
    """{file: text} of everything that is made; a page without the two markers is left out."""
    known = catalog()
    studies = {folder.name: load(folder) for folder in sorted(CURATED.iterdir()) if (folder / "lock.json").is_file()}
    parts = {
        ROOT / "README.md": shown(studies[SHOWN], known),
        ROOT / "results" / "README.md": gallery(studies.values(), known),
    }
    made = {file: between(file.read_text(encoding="utf-8"), part) for file, part in parts.items() if marked(file)}
    made |= {results.path / "README.md": page(results, known) for results in studies.values()}
    return made


def marked(file: Path) -> bool:
    """Whether a page has a place for what is made."""
    told = file.read_text(encoding="utf-8")
    return BEGIN in told and END in told


def between(told: str, part: str) -> str:
    """The page with its part between the markers replaced."""
    before, _, rest = told.partition(BEGIN)
    return f"{before}{BEGIN}\n{part}\n{END}{rest.partition(END)[2]}"


def shown(results: Results, known: Catalog) -> str:
    """README.md's results: what was run, two figures, the table, the verdict."""
    where = results.path.relative_to(ROOT).as_posix()
    lines = [f"What a run of it found ({scale(results)}; its files are in [{where}]({where})):", ""]
    for name, told in (("front", "The front of quality against cost"), ("samples", "Samples from the same noise")):
        if (results.path / "figures" / f"{name}.png").is_file():
            lines += [f"![{told}]({where}/figures/{name}.png)", ""]
    lines += [table(results), "", f"and the verdict: *{text.markdown(verdict(results))}*"]
    if told := age(results, known):
        lines += ["", told]
    return "\n".join(lines)


def gallery(studies: Iterable[Results], known: Catalog) -> str:
    """A row a study: its size, and the verdict."""
    lines = ["| study | run | what came out | code |", "|---|---|---|---|"]
    for results in studies:
        told = text.markdown(verdict(results))
        old = "older" if age(results, known) else "today's"
        lines.append(f"| [`{results.name}`](curated/{results.path.name}) | {scale(results)} | {told} | {old} |")
    return "\n".join(lines)


def page(results: Results, known: Catalog) -> str:
    """A committed folder's own page."""
    lines = [f"# {results.name}", ""]
    if told := age(results, known):
        lines += [f"> {told}", ""]
    lines += [
        text.markdown(results.study.get("question") or ""),
        "",
        table(results),
        "",
        text.markdown(verdict(results)),
    ]
    lines += ["", f"{scale(results)}. The numbers are of `ablate {versions(results)}`{commit(results)}."]
    for figure in sorted((results.path / "figures").glob("*.png")):
        lines += ["", f"![{figure.stem}](figures/{figure.name})"]
    return "\n".join(lines) + "\n"


def table(results: Results) -> str:
    """The study's table as `ablate status` shows it."""
    cells = formatted(results, grouped(results))
    lines = [[text.markdown(c) for c in cells.columns], [":--", *["--:"] * (len(cells.columns) - 1)]]
    lines += [[text.markdown(c) for c in row] for row in cells.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def scale(results: Results) -> str:
    """How large the run was: trainings, seeds, minutes of work."""
    trials = results.trials
    data = results.lock.get("science", {}).get("data", {})
    size = f"{data['type']} at {data['size']}×{data['size']}, " if {"type", "size"} <= data.keys() else ""
    seeds = trials["seed"].nunique()
    minutes = trials["seconds"].sum() / 60
    return f"{size}{len(trials)} trainings of {seeds} seed{'s' if seeds > 1 else ''}, {minutes:.0f} minutes of work"


def versions(results: Results) -> str:
    """The version of ablate that made the run."""
    return str(results.lock.get("versions", {}).get("ablate", "of an unknown version"))


def commit(results: Results) -> str:
    """The commit of the last launch, where it is known."""
    found = results.launches[-1].get("commit") if len(results.launches) else None
    return f" at commit {found}" if found else ""


def age(results: Results, known: Catalog) -> str:
    """What has changed since the run was made; nothing where it stands on today's code."""
    from ablate import __version__

    own = versions(results)
    if results.lock.get("hashes") != SCHEME:
        told = f"This run was made by `ablate {own}` before its source was kept as today, so what has changed since"
        return f"{told} cannot be told. The same study may give other numbers today."
    changed = [
        name
        for name, one in results.lock.get("plugins", {}).items()
        if "/" in name and now(name, known) != one.get("source_hash")  # the framework itself is told by its commit
    ]
    if not changed and own == __version__:
        return ""
    names = ", ".join(f"`{name}`" for name in changed[:NAMED])
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    of = f": the source of {names}{more} has changed since" if changed else ""
    return f"This run was made by other code, `ablate {own}`{of}. The same study may give other numbers today."


def now(name: str, known: Catalog) -> str | None:
    """The source hash that a component has today; None where there is none of that name."""
    kind, _, own = name.partition("/")
    try:
        return known.entry(kind, own).source_hash
    except InputError:
        return None


if __name__ == "__main__":
    for file, told in pages().items():
        file.write_text(told, encoding="utf-8")
        print(file.relative_to(ROOT))
    for file in (ROOT / "README.md", ROOT / "results" / "README.md"):
        if not marked(file):
            print(f"{file.relative_to(ROOT)} has no place for it: put these two lines around one\n{BEGIN}\n{END}")
