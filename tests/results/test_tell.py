"""Summary, verdict, exports and the report."""

from __future__ import annotations

import csv
import io
import re
from html import unescape

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_folders import METRIC, Study, fill_conditioning
from rich.console import Console

from ablate.errors import InputError
from ablate.io import launches
from ablate.results import load
from ablate.results.export import export, latex, markdown
from ablate.results.numbers import count, number, plus_minus, signed
from ablate.results.published import published
from ablate.results.report import report
from ablate.results.verdict import verdict


def name(label: str) -> dict[str, str]:
    return {"backbone.conditioning": label}


def test_too_few_seeds_are_said_in_the_verdict(conditioning: Study) -> None:
    text = verdict(load(conditioning.path))
    assert text.startswith("adaln_zero, the baseline, has the best kid_efficientnet_lite0")
    assert "no candidate is distinguishable" in text
    assert "with 3 pairs the smallest two-sided p is 0.25" in text.lower()
    assert "1 diverged (in_context)" in text


def test_one_seed_each_has_no_column_of_ones_but_a_line_that_says_what_it_cannot_decide(study: Study) -> None:
    fill_conditioning(study, seeds=1, diverge=False)
    summary = load(study.path).summary(plain=True)
    assert "p (Holm)" not in summary
    assert "tells no two candidates apart" in summary and "--confirm 3" in summary


def test_enough_seeds_let_it_decide(study: Study) -> None:
    fill_conditioning(study, seeds=9, diverge=False)
    text = verdict(load(study.path))
    assert "adaln, in_context and cross_attention" not in text  # best first
    assert "adaln, cross_attention and in_context are distinguishably worse" in text
    assert "impossible" not in text


def test_a_better_candidate_and_its_price(study: Study) -> None:
    study.head()
    for seed in range(8):
        study.trial(name("adaln_zero"), seed, {METRIC: 0.2 + 0.01 * seed}, gflops=1.0)
        study.trial(name("adaln"), seed, {METRIC: 0.1 + 0.011 * seed}, gflops=1.25)
    text = verdict(load(study.path))
    assert text.startswith("adaln has the best")
    assert "at +25 % Gflops; the difference is distinguishable from chance" in text
    assert re.search(r"Holm p = 0\.0078", text)


@pytest.mark.parametrize("state", ["diverged", "running", "failed"])
def test_no_complete_trial(study: Study, state: str) -> None:
    study.head()
    study.trial(name("adaln"), 0, state=state)
    results = load(study.path)
    assert "No trial is complete" in verdict(results)
    assert state in verdict(results)
    assert "adaln" in results.summary(plain=True)


def test_the_summary_is_the_same_in_both_forms(conditioning: Study) -> None:
    results = load(conditioning.path)
    plain = results.summary(plain=True)
    console = Console(width=200, file=io.StringIO(), force_terminal=False)
    console.print(results.summary())
    rich = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[" not in re.sub(r"\d", "", plain.splitlines()[1])
    for text in ("0.0422 ± 0.0010", "2 + 1 diverged", "●", "adaln_zero (baseline)", str(conditioning.path)):
        assert text in plain
        assert text in rich
    assert max(map(len, plain.splitlines()[1:6])) < 150


def test_damage_is_told(conditioning: Study) -> None:
    next(conditioning.path.glob("trials/*/record.json")).write_text("{")
    assert re.search(r"warning: .*record\.json", load(conditioning.path).summary(plain=True))


def test_a_name_with_markup_is_only_a_name(study: Study) -> None:
    study.head(lock={"study": "[red]x[/red]"})
    study.trial(name("adaln"), 0, {METRIC: 0.1})
    console = Console(width=120, file=io.StringIO())
    console.print(load(study.path).summary())
    assert "[red]x[/red]" in console.file.getvalue()  # type: ignore[attr-defined]


def test_exports(conditioning: Study) -> None:
    results = load(conditioning.path)
    paths = export(results)
    assert [p.name for p in paths] == ["table.csv", "table.md", "table.tex"]
    table = pd.read_csv(paths[0]).set_index("candidate")
    expected = results.front().set_index("candidate")[METRIC]
    assert table[METRIC].to_dict() == pytest.approx(expected.to_dict())
    assert table.loc["in_context", "diverged"] == 1
    lines = paths[1].read_text().splitlines()
    assert len(lines) == 6
    assert {line.count("|") for line in lines} == {10}
    tex = paths[2].read_text()
    assert tex.count(r"\mathbf") == 2
    head = next(line for line in tex.splitlines() if line.startswith("candidate"))
    assert [column.strip() for column in head.removesuffix(r" \\").split("&")] == [
        "candidate",
        r"Gflops $\downarrow$",
        r"training Gflops $\downarrow$",
        r"params $\downarrow$",
        r"kid\_efficientnet\_lite0 $\downarrow$",
        r"fd\_efficientnet\_lite0 $\downarrow$",
        "n",
    ]
    assert r"$0.0504 \pm 0.0021$" in tex
    assert "_" not in tex.replace(r"\_", "")
    with pytest.raises(InputError, match="no format 'xls'"):
        export(results, formats=["xls"])


def test_awkward_labels_stay_inside_their_cells(study: Study) -> None:
    study.head(lock={"baseline": {}})
    for label in ("a|b", "50% & more", "x_y^2~{z}\\"):
        study.trial({"backbone.note": label}, 0, {METRIC: 0.1})
    results = load(study.path)
    rows = markdown(results).splitlines()
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {len(re.findall(r"(?<!\\)\|", rows[0]))}
    body = latex(results).split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert {len(re.findall(r"(?<!\\)&", row)) for row in body} == {1}  # candidate and metric: all else is the same
    (path,) = export(results, formats=["csv"])
    assert {row["candidate"] for row in csv.DictReader(io.StringIO(path.read_text()))} == {
        c.label for c in results.candidates
    }


def test_latex_sets_no_single_seed_in_bold_and_says_which_way_is_better(study: Study) -> None:
    study.head(lock={"larger_is_better": ["recall_x"]})
    for label in ("adaln_zero", "adaln"):
        study.trial(name(label), 0, {METRIC: 0.1, "recall_x": 0.5})
    tex = latex(load(study.path))
    assert r"recall\_x $\uparrow$" in tex
    assert r"\mathbf" not in tex
    assert "% n: 1 for every candidate" in tex


def test_the_report_needs_nothing_else(conditioning: Study) -> None:
    path = report(load(conditioning.path))
    html = path.read_text()
    assert path == conditioning.path / "report.html"
    assert html.count("data:image/png;base64,") == 4  # the samples of each candidate; the rest are charts
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    assert verdict(load(conditioning.path)).split(",")[0] in html
    assert html.count("<tr") == 1 + 4 + 1 + 1 + 1 + 12  # candidates, failures, trials


def test_the_report_says_what_was_run_by_which_command_when_and_where(study: Study) -> None:
    study.head(budget={"images": 512})
    study.trial(name("adaln"), 0, {METRIC: 0.1})
    command = "ablate run s.yaml --set 'base.backbone.width=[<8>]'"
    logged = {"date": "2026-02-03T04:05:06+00:00", "host": "nox", "cwd": "/data", "command": command, "device": "cuda"}
    launches.append(
        study.path, {**logged, "executor": {"type": "ray"}, "versions": {"torch": "2.13.0"}, "commit": "abc-dirty"}
    )
    launches.append(study.path, {"command": "half a line is told too"})
    page = unescape(report(load(study.path)).read_text())
    for line in (
        '"budget": {"images": 512}',
        "2026-02-03 04:05 UTC on nox, cuda, executor ray",
        f"in /data: {command}",
        "torch 2.13.0, commit abc-dirty",
        "half a line is told too",
    ):
        assert line in page
    assert "in None" not in page  # a launch that does not say in which folder
    assert "<8>" not in report(load(study.path)).read_text()


def test_the_report_explains_its_marks(conditioning: Study) -> None:
    page = report(load(conditioning.path)).read_text()
    assert "● is on the front of the study&#39;s objectives. p: paired permutation test, against the baseline" in page
    assert "× breaks a constraint" not in page
    conditioning.head(lock={"constraints": {"kid": {"at_most": 0.05}}})
    page = report(load(conditioning.path)).read_text()
    assert "× breaks a constraint of the study. " in page and re.search(
        r"Holm-corrected\. With \d pairs .* seeds\. Comparisons of which a run diverged .*</p>", page
    )
    assert re.search(r"Trials were run with [^<{]*torch \d", page)


def test_the_report_escapes(study: Study) -> None:
    study.head(question="<script>alert(1)</script>")
    study.trial(name("<b>"), 0, {METRIC: 0.1})
    html = report(load(study.path)).read_text().split("<script>")[0]  # before the page's own program
    assert "alert(1)" in html and "</main>" in html
    assert "<script>" not in html and "<b>" not in html


def test_repr(conditioning: Study) -> None:
    results = load(conditioning.path)
    assert repr(results) == f"<Results 'conditioning' in {conditioning.path}: 4 candidates, 11 complete, 1 diverged>"
    assert "<table" in results._repr_html_()


@given(st.floats(-1e5, 1e5), st.floats(1e-6, 1e3))
def test_digits_follow_the_deviation(mean: float, deviation: float) -> None:
    left, right = plus_minus(mean, deviation).split(" ± ")
    assert float(right) == pytest.approx(deviation, rel=0.051, abs=0.5 if deviation > 10 else 0)
    assert abs(float(left) - mean) <= max(deviation / 9, 1e-9)


def test_numbers() -> None:
    assert plus_minus(0.03123, 0.00214) == "0.0312 ± 0.0021"
    assert plus_minus(625.4, 12.3) == "625 ± 12"
    assert plus_minus(float("nan"), 1.0) == "–"
    assert plus_minus(0.5, float("nan")) == "0.5"
    assert (number(0.0), number(118.64), number(1e-7), number(0.45020)) == ("0", "118.6", "1e-07", "0.4502")
    assert (count(675e6), count(1_284_000), count(12)) == ("675 M", "1.28 M", "12")
    assert (signed(-0.0123), signed(0.5), signed(0)) == ("−0.0123", "+0.5", "0")


def test_published_points() -> None:
    table = published()
    assert list(table.columns)[:5] == ["model", "block", "resolution", "data", "gflops"]
    row = table[(table["model"] == "DiT-XL/2") & (table["block"] == "cross_attention")].iloc[0]
    assert (row["gflops"], row["fid_50k"], row["params_M"]) == (137.62, 26.14, 598)
    assert set(table["cfg"].dropna()) == {"1.5", "guided"}


def test_the_report_folds_and_leads_with_names_and_values(conditioning: Study) -> None:
    """Where a page is narrow or printed a row becomes a block: every number stands beside its column's name."""
    html = report(load(conditioning.path)).read_text()
    assert "@media (max-width: 760px)" in html and "@media print" in html
    results = load(conditioning.path)
    for value in results.trials[f"m.{METRIC}"].dropna():
        assert f'data-of="m.{METRIC}">{value:.5g}</td>' in html
    head = html.split('class="small trials"')[1].split("</thead>")[0]
    assert [h.split("<")[0] for h in re.findall(r"<th [^>]*>(.*?)</th>", head)][:3] == ["candidate", "seed", "state"]
    assert "kid_<wbr>efficientnet_<wbr>lite0" in head
    assert not re.search(r"<td[^>]*>[0-9a-f]{64}", html)
