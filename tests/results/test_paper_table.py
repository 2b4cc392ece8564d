"""The table for a paper: intervals, ties by the test, captions, formats; nothing in a name is markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from results_folders import METRIC, Study, fill_conditioning
from scipy import stats

from ablate.cli import main
from ablate.errors import InputError
from ablate.results import load
from ablate.results.paper_formats import FORMATS, html, latex, markdown, write_table

CURATED = Path(__file__).parents[2] / "results" / "curated"


def test_means_and_intervals_by_hand(study: Study) -> None:
    study.head()
    values = {"adaln_zero": [1.0, 1.4, 1.2], "adaln": [3.0, 3.1, 3.5], "in_context": [2.0, 2.2]}
    for name, own in values.items():
        for seed, value in enumerate(own):
            study.trial({"backbone.conditioning": name}, seed, {METRIC: value})
    table = load(study.path).table().set_index("candidate")
    free = sum(len(own) - 1 for own in values.values())
    squares = sum(((np.array(own) - np.mean(own)) ** 2).sum() for own in values.values())
    for name, own in values.items():
        half = stats.t.ppf(0.975, free) * np.sqrt(squares / free / len(own))
        row = table.loc[name]
        assert (row[METRIC], row[f"{METRIC}.n"]) == (pytest.approx(np.mean(own)), len(own))
        assert (row[f"{METRIC}.low"], row[f"{METRIC}.high"]) == pytest.approx(
            (np.mean(own) - half, np.mean(own) + half)
        )
    assert list(table.index) == ["adaln_zero", "in_context", "adaln"]


def test_bold_is_the_best_with_what_the_test_does_not_tell_from_it(study: Study) -> None:
    study.head(lock={"larger_is_better": ["recall_x"]})
    rng = np.random.default_rng(0)
    for name, kid in (("adaln_zero", 0.5), ("adaln", 0.501), ("in_context", 0.9), ("cross_attention", 0.95)):
        for seed in range(12):
            kid_of_seed = kid + 0.02 * float(rng.normal())
            study.trial({"backbone.conditioning": name}, seed, {METRIC: kid_of_seed, "recall_x": kid})
    results = load(study.path)
    table = results.table().set_index("candidate")
    assert set(table.index[table[f"{METRIC}.best"]]) == {"adaln_zero", "adaln"}
    best = table["recall_x"].idxmax()
    assert best == "cross_attention" and table.loc[best, "recall_x.best"]
    assert not table.loc["adaln", "recall_x.best"]
    assert "recall_x (larger is better)" in table.attrs["caption"]
    tex = latex(results.table([METRIC]))
    assert tex.count(r"\mathbf") == 2 and r"kid\_efficientnet\_lite0 $\downarrow$" in tex


def test_seeds_that_can_tell_nothing_set_nothing_in_bold(study: Study) -> None:
    fill_conditioning(study, seeds=3, diverge=False)  # by the permutation test, which takes nine
    table = load(study.path).table()
    assert not table[f"{METRIC}.best"].any()
    assert "no bold: these seeds cannot tell the best from another" in table.attrs["caption"]
    assert r"\mathbf" not in latex(table) and "**" not in markdown(table)


def test_the_caption_says_how_a_value_was_taken_and_all_formats_are_written(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    folder = CURATED / "dit_conditioning"
    formats = [option for name in FORMATS for option in ("--to", name)]
    assert run(["export", str(folder), *formats, "--out", str(tmp_path)]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name for path in paths] == [f"candidates.{suffix}" for suffix, _ in FORMATS.values()]
    for name in ("md", "tex", "html"):
        text = (tmp_path / f"candidates.{name}").read_text().replace("\\", "").replace("{*}", "*")
        for said in (
            "1,000 samples",
            "features efficientnet_lite0",
            "reference 5264a18f",
            "16 NFE",
            "EMA constant(2000)",
        ):
            assert said in text, (name, said)
        assert "t-test in the two-way model" in text
    tex = (tmp_path / "candidates.tex").read_text()
    for command in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{"):
        assert tex.count(command) == 1
    assert re.search(r"adaln\\_zero & 0\.0134 .* \$\\mathbf\{1\.0\d* \\pm 0\.\d\d\}\$", tex)
    columns = {line.count(" & ") for line in tex.splitlines() if line.endswith(r"\\")}
    assert columns == {7}
    wide, typed = pd.read_csv(tmp_path / "candidates.csv"), pd.read_parquet(tmp_path / "candidates.parquet")
    assert list(wide["candidate"]) == list(typed["candidate"]) and typed.attrs["caption"].startswith("dit_conditioning")
    pd.testing.assert_series_equal(wide[METRIC], typed[METRIC])
    assert load(folder).table([METRIC])[METRIC].tolist() == typed[METRIC].tolist()


def test_wrong_input_is_one_message(conditioning: Study, capsys) -> None:  # type: ignore[no-untyped-def]
    assert run(["export", str(conditioning.path), "--to", "latx"]) == 2
    assert "did you mean 'latex'" in capsys.readouterr().err
    assert run(["export", str(conditioning.path), "--to", "csv", "--format", "csv"]) == 2
    with pytest.raises(InputError, match="did you mean 'kid'"):
        load(conditioning.path).table(["kdi"])


def run(command: list[str]) -> object:
    with pytest.raises(SystemExit) as ended:
        main(command)
    return ended.value.code


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.add(tag)


def test_names_are_words_in_every_format(study: Study, tmp_path: Path) -> None:
    labels = (
        "b",
        "=HYPERLINK(1)",
        "<script>alert(1)</script>",
        "\x1b[31m\r\nred",
        "50 % & $x_1$ \\input{x}",
        "| **a**",
        "😀",
    )
    study.head(lock={"study": "<b>\x1b[2J", "baseline": {"a": "b"}})
    for i, label in enumerate(labels):
        study.trial({"a": label}, 0, {METRIC: 1.0 + i}, gflops=1.0 + i)
    results = load(study.path)
    for to in FORMATS:
        path = write_table(results, to, tmp_path)
        assert to == "parquet" or not set(b"\x1b\r") & set(path.read_bytes())
    rows = markdown(results.table()).splitlines()[2:]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1 and len(rows) == 2 + len(labels)
    assert "<script>" not in "".join(rows)
    tex = latex(results.table())
    assert (
        r"\input" not in tex
        and len({len(re.findall(r"(?<!\\)&", x)) for x in tex.splitlines() if x.endswith(r"\\")}) == 1
    )
    assert Tags(html(results.table())).found == {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    shown = results.table().style.to_html()
    assert not Tags(shown).found & {"script", "b"} and "&lt;script&gt;" in shown
    cells = pd.read_csv(tmp_path / "candidates.csv")["candidate"]
    assert not [c for c in cells if c[:1] in "=+-@"]
    part = results.table()[["candidate"]]  # a part of it is a table as any other
    assert len(part.head(2)) == 2 and "<td" in part.style.to_html()
