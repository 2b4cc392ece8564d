"""Write report.html: the study on one page, with its charts and figures inside."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup, escape

from ablate.candidates.objectives import COST_NAMES
from ablate.errors import InputError
from ablate.io import launches
from ablate.io.files import nameable, write_atomic
from ablate.io.text import printable
from ablate.results.figures import figures
from ablate.results.inherited import inherited
from ablate.results.page import candidates, library, lines, tables
from ablate.results.page.grown import over_training
from ablate.results.page.pictures import pictures
from ablate.results.remarks import explanations, remarks
from ablate.results.tables import formatted, grouped
from ablate.results.verdict import verdict

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Environment

    from ablate.results.analysis import StudyAnalysis

# The figures that stand on the page as pictures; the others are its charts.
CAPTIONS = {
    "axes": "The same candidates with samples taken in other ways: evaluations of the network, guidance, average.",
    "scaling": "Quality against Gflops over the sizes, with the power law above a floor that fits them; beside it the "
    "sizes that Peebles & Xie (2023) published.",
    "isoflops": "Quality against size at several computes of training, and the size that is best for each (Hoffmann et "
    "al. 2022, approach 2).",
    "interactions": "How the choices of two factors work together: lines that are not parallel say that one depends on "
    "the other. Means are as if every combination of the other choices stood beside each, with 95 % intervals.",
    "importance": "How much each choice matters: what tells the best quarter of the candidates from all (PED-ANOVA, "
    "Watanabe et al. 2023). The bar is what half of the candidates give, in 95 % of draws; orange what chance gives.",
    "slices": "All candidates by each of their choices; the line is the mean of those with a choice.",
    "progress": "The best so far, and the hypervolume of the candidates so far, against the training of all trials.",
}
PARTS = {
    "front": "Front",
    "candidates": "Candidates",
    "effects": "Effects",
    "training": "During training",
    "samples": "Samples",
    "grown": "Samples over training",
    "probes": "Probes",
    "analyses": "Analyses",
    "cost": "Cost and time",
    "failures": "Failures",
    "trials": "Trials",
    "again": "Run it again",
}


# What a browser may do for a page: nothing but draw what is in it; of a page that is served, ask its server too.
POLICY = "default-src 'none'; img-src data: blob:{own}; style-src 'unsafe-inline'; script-src 'unsafe-inline'{connect}"
TEMPLATES = "ablate.results.page"


def report(results: StudyAnalysis, out: str | Path | None = None, drawn: Sequence[Path] | None = None) -> Path:
    """Write the page and return its path.

    It needs no other file and no network. out: a file, `report.html` in the study's folder by default. drawn: the files
    of figures that were drawn just now; without them the page draws its own.
    """
    path = nameable(Path(out)) if out is not None else results.path / "report.html"
    write_atomic(path, page(results.name, parts(results, _stills(results, drawn))))
    return path


class Parts(NamedTuple):
    """What changes on a page while its study runs: two pieces of HTML, and the data of its charts as JSON."""

    header: str
    main: str
    data: str


def parts(results: StudyAnalysis, stills: Sequence[tuple[str, str, str]]) -> Parts:
    """Make what stands on the page. stills: figures that are no charts, (name, caption, data URI)."""
    environment = environment_of_pages()
    numbers = grouped(results)
    cells = formatted(results, numbers)
    rows = candidates.rows(results, numbers)
    data, samples, grown = _data(results, rows), pictures(results), over_training(results)
    has = {key: bool(data[key]) for key in ("effects", "during", "losses", "probes")}
    has |= {"front": data["axes"] is not None, "training": has["during"] or has["losses"]}
    absent = {part for part in ("front", "effects", "training", "probes") if not has[part]}
    absent |= {part for part, content in (("samples", samples), ("grown", grown), ("analyses", stills)) if not content}
    header = environment.from_string(text_of("header.html.j2")).render(
        name=results.name,
        question=results.study.get("question", ""),
        verdict=verdict(results),
        warnings=[*numbers.attrs["problems"], *results.warnings],
        parts=[(anchor, title) for anchor, title in PARTS.items() if anchor not in absent],
    )
    main = environment.from_string(text_of("main.html.j2")).render(
        notes=_notes(results, numbers, cells),
        has=has,
        columns=list(cells.columns),
        rows=list(zip(cells.to_numpy().tolist(), _sortable(cells, numbers), rows, strict=True)),
        front_note=_front_note(results, data),
        lines_note=_lines_note(results),
        samples=samples,
        sampled=_sampled(samples, rows),
        grown=grown or {"rows": []},
        figures=stills,
        costs=tables.costs(results),
        failures=tables.failures(results),
        trials=tables.trials(results).to_dict("split"),
        versions=tables.versions(results),
        study=_text(results.path / "study.yaml"),
        launches=[launches.format_launch(launch) for launch in results.launches],
        plotly=library.version(),
    )
    return Parts(header, main, _json(data))


def page(name: str, content: Parts, live: str = "", version: str = "") -> str:
    """Make the whole page. live: HTML of what the page of a running study has beside; then it asks its server."""
    environment = environment_of_pages()
    style = environment.from_string(text_of("page.css")).render()
    more = {"own": " 'self'", "connect": "; connect-src 'self'"} if live else {"own": "", "connect": ""}
    return environment.from_string(text_of("page.html.j2")).render(
        name=name,
        policy=Markup(POLICY.format(**more)),
        header=Markup(content.header),
        main=Markup(content.main),
        live=bool(live),
        version=version,
        running=Markup(live),
        style=Markup(style),
        program=Markup(text_of("page.js") + (text_of("live.js") if live else "")),
        library=Markup(library.packed()),
        data=Markup(content.data),
    )


def text_of(name: str) -> str:
    """Read a file of the page."""
    return (resources.files(TEMPLATES) / name).read_text(encoding="utf-8")


def environment_of_pages() -> Environment:
    """Make templates in which nothing that a study says is markup, reverses a line, or is invalid in UTF-8."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_printable
    )
    environment.filters["breakable"] = _breakable
    return environment


def _data(results: StudyAnalysis, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the page's charts are drawn from."""
    found = candidates.measures(results)
    measured = [key for key, one in found.items() if not one["cost"]]
    axes: dict[str, Any] | None = candidates.axes(results, found) if measured else None
    if axes is not None:
        across = [one[0] for one in found[axes["x"]]["values"].values()]
        axes["log"] = min(across) > 0 and max(across) / min(across) > 10
    return {
        "candidates": rows,
        "measures": found,
        "axes": axes,
        "effects": lines.forest(results),
        "during": lines.during(results),
        "losses": lines.losses(results),
        "probes": lines.probed(results),
    }


def _json(data: object) -> str:
    """Format data for a script element: no sign in it ends the element, or controls anything."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _sortable(cells: pd.DataFrame, numbers: pd.DataFrame) -> list[list[float | None]]:
    """Return the numbers that rows are sorted by, as the table's cells; None where a cell is sorted as text."""
    columns = {name: column for column, name in COST_NAMES.items()}
    columns |= {"params": "params", "n": "n", "p (Holm)": "p_holm", "front": "front_probability"}
    if (times := numbers.attrs["time_to_quality"]) is not None:
        columns |= (
            {next(c for c in cells.columns if str(c).startswith("Gflops to")): "time_to_quality"} if times else {}
        )
    found = []
    for name in cells.columns:
        column = columns.get(str(name), str(name) if name in numbers.attrs["metrics"] else "")
        found.append([candidates.finite(v) for v in numbers[column]] if column in numbers else [None] * len(numbers))
    return [list(row) for row in zip(*found, strict=True)]


def _sampled(samples: dict[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of samples, in the order of the candidates' table, the baseline first."""
    ordered = sorted(rows, key=lambda row: not row["baseline"])
    return [
        {"hash": row["hash"], "name": row["name"], **one, "other_seed": one["seed"] != samples["seed"]}
        for row in ordered
        if (one := samples.get("rows", {}).get(row["hash"])) is not None
    ]


def _front_note(results: StudyAnalysis, data: dict[str, Any]) -> str:
    """Explain the front's chart."""
    goals = ", ".join(goal.column for goal in results.objectives())
    notes = ["The line joins what nothing beats in both axes, by the means"]
    notes.append(f"◆ is on the front of the study's objectives, {goals}; ★ is the baseline")
    if any(value[1] is not None for one in data["measures"].values() for value in one["values"].values()):
        notes.append("Bars are 95 % intervals of the means, with one deviation for all candidates")
    if any(row["chance"] is not None for row in data["candidates"]):
        notes.append("Colour says how probably a candidate is on that front, if its expected values were known")
    else:
        notes.append("Too few seeds tell how probably candidates are on that front")
    return "".join(f"{note}. " for note in notes).rstrip()


def _lines_note(results: StudyAnalysis) -> str:
    more = len(results.candidates) - lines.LINES
    return (
        f"Drawn are the baseline, the front and the best, {lines.LINES} in all; {more:,} more are not."
        if more > 0
        else ""
    )


def _stills(results: StudyAnalysis, drawn: Sequence[Path] | None) -> list[tuple[str, str, str]]:
    """Return (name, caption, data URI) of each figure that is no chart: drawn anew, unless it was drawn just now."""
    with tempfile.TemporaryDirectory() as folder:
        paths = figures(results, Path(folder), ("svg",), list(CAPTIONS)) if drawn is None else drawn
        found = {path.stem: path for path in paths if path.suffix == ".svg"}
        return [
            (name, caption, f"data:image/svg+xml;base64,{base64.b64encode(found[name].read_bytes()).decode()}")
            for name, caption in CAPTIONS.items()
            if name in found
        ]


def _breakable(name: object) -> Markup:
    """Mark a name so that a line may break behind its underscores, dots, slashes and equals signs."""
    return Markup(re.sub(r"([_./=])", r"\1<wbr>", str(escape(printable(name)))))


def _printable(value: object) -> object:
    return printable(value, lines=True) if isinstance(value, str) and not isinstance(value, Markup) else value


def _notes(results: StudyAnalysis, numbers: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """Explain the marks in the table of candidates, a sentence each."""
    notes = ["Mean ± standard deviation over the complete seeds (n)", "● is on the front of the study's objectives"]
    if results.lock.get("seeding") and len(numbers) and numbers["n"].nunique() > 1:
        notes.append("Means are as if all candidates had the same seeds (least-squares means)")
    if "violates" in numbers and results.lock.get("constraints") and (numbers["violates"] != "").any():
        notes.append("× breaks a constraint of the study")
    if inherited(results.trials):
        notes.append("× began with the weights of a parent, and is on no front with those that began anew")
    with contextlib.suppress(InputError):  # no metric, or no baseline: there are no effects to qualify
        told = results.effects().attrs
        if "p (Holm)" in cells:
            notes.append(f"p: {told['test']}, against the baseline, paired by seed, Holm-corrected")
        notes += [f"{text[:1].upper()}{text[1:]}" for text in (told["note"], *told["assumptions"]) if text]
    said = (*remarks(results, numbers), *explanations(results))
    notes += [f"{line[:1].upper()}{line[1:]}".rstrip(".") for line in said]
    return [f"{note}." for note in notes if note]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
