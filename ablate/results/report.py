"""Write report.html: the study on one page, with its figures inside."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from ablate.errors import InputError
from ablate.io import launches
from ablate.io.files import nameable, write_atomic
from ablate.io.text import printable
from ablate.results.figures import figures, probes
from ablate.results.remarks import explanations, remarks
from ablate.results.tables import formatted, grouped
from ablate.results.verdict import verdict

if TYPE_CHECKING:
    import pandas as pd

    from ablate.results.analysis import StudyAnalysis

CAPTIONS = {
    "front": "Quality against cost. The line joins the candidates that no other beats in both. Where there are several "
    "seeds, small points are seeds, large ones their mean, bars one standard deviation.",
    "effects": "Each candidate against the baseline, paired by seed; p is Holm-corrected. Where there are several "
    "seeds, small points are seeds, and the bar is the 95 % t interval of the mean difference that holds for all "
    "comparisons at once (Bonferroni).",
    "curves": "Training loss against images seen, mean over seeds; the band is one standard deviation.",
    "quality": "Quality at points of the training, against images, training Gflops (forward and backward) and seconds, "
    "mean over seeds; the band is the 95 % interval of the mean, with one deviation for all candidates at a point.",
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
    "samples": "Samples of the candidates from the same latents.",
}


def report(results: StudyAnalysis, out: str | Path | None = None) -> Path:
    """Write the page and return its path.

    out: a file, `report.html` in the study's folder by default.
    """
    from jinja2 import Environment, StrictUndefined

    path = nameable(Path(out)) if out is not None else results.path / "report.html"
    source = (resources.files("ablate.results") / "report.html.j2").read_text(encoding="utf-8")
    # autoescape: nothing is markup; finalize: nothing reverses a line or is invalid in UTF-8
    page = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_printable
    )
    page.filters["breakable"] = _breakable
    template = page.from_string(source)
    numbers = grouped(results)
    cells = formatted(results, numbers)
    trials = _trials(results)
    html = template.render(
        name=results.name,
        question=results.study.get("question", ""),
        verdict=verdict(results),
        notes=_notes(results, numbers, cells),
        columns=list(cells.columns),
        rows=[(row, bool(front)) for row, front in zip(cells.to_numpy().tolist(), numbers["on_front"], strict=True)],
        figures=_drawn_figures(results),
        trials=trials.to_dict("split"),
        versions=[_versions(text) for text in sorted(set(results.trials["versions"].dropna()))],
        warnings=[*numbers.attrs["problems"], *results.warnings],
        study=_text(results.path / "study.yaml"),
        launches=[launches.format_launch(launch) for launch in results.launches],
    )
    write_atomic(path, html)
    return path


def _drawn_figures(results: StudyAnalysis) -> list[tuple[str, str, str]]:
    """Draw the figures anew, so that they agree with the tables; return (name, caption, data URI) of each."""
    entries = []
    with tempfile.TemporaryDirectory() as folder:
        drawn = {p.stem: p for p in figures(results, Path(folder), ("svg",))}
        captions = {**CAPTIONS, **{name: probes.caption(name) for name in drawn if name.startswith("probe_")}}
        for name, caption in captions.items():
            if name in drawn:
                data = base64.b64encode(drawn[name].read_bytes()).decode()
                entries.append((name, caption, f"data:image/svg+xml;base64,{data}"))
    return entries


def _trials(results: StudyAnalysis) -> pd.DataFrame:
    """Format the trials, a row each: candidate and metrics first, the folder last; hashes by their beginning."""
    frame = results.trials.drop(columns=["versions", "config_hash", "sources"], errors="ignore").astype(object)
    frame = frame.where(frame.notna(), "").map(_cell)
    frame = frame[[c for c in frame.columns if c == "trial" or (frame[c] != "").any()]]
    first = [
        c for c in ("candidate", "seed", "state", *(c for c in frame if str(c)[:2] == "m."), "gflops") if c in frame
    ]
    return frame[[*first, *(c for c in frame if c not in (*first, "trial")), "trial"]]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", str(value))


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
    if "violates" in numbers and (numbers["violates"] != "").any():
        notes.append("× breaks a constraint of the study")
    if "p (Holm)" in cells:
        test = "t-test with alpha spending" if results.lock.get("seeding") else "permutation test"
        notes.append(f"p: {test} against the baseline, paired by seed, Holm-corrected")
    with contextlib.suppress(InputError):  # no metric, or no baseline: there are no effects to qualify
        note = str(results.effects().attrs["note"])
        notes.append(f"{note[:1].upper()}{note[1:]}")
    lines = (*remarks(results, numbers), *explanations(results))
    notes += [f"{line[:1].upper()}{line[1:]}".rstrip(".") for line in lines]
    return [f"{note}." for note in notes if note]


def _versions(text: str) -> str:
    """Format a trial's versions, which are JSON: `ablate 0.1.0, torch 2.13.0`."""
    try:
        return ", ".join(f"{name} {version}" for name, version in json.loads(text).items())
    except (ValueError, AttributeError):  # of a table that others wrote
        return text


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
