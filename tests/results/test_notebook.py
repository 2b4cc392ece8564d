"""docs/analysis.ipynb: its cells run, one after the other, on the committed study; and what they show are tables."""

import ast
import json
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

import ablate

DOCS = Path(__file__).parents[2] / "docs"


def cells():
    notebook = json.loads((DOCS / "analysis.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_runs_on_the_committed_study(monkeypatch):
    monkeypatch.chdir(DOCS)
    names, shown = {}, []
    for source in cells():
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "analysis.ipynb", "exec"), names)
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), "analysis.ipynb", "eval"), names))
    for one in shown:
        assert isinstance(one, Figure) or (one.to_html() if isinstance(one, Styler) else one._repr_html_())
    assert sum(isinstance(one, pd.DataFrame) and len(one) > 0 for one in shown) >= 6


@pytest.mark.parametrize("name", ["dit_conditioning", "pareto_search"])
def test_words_are_categoricals_in_the_order_of_the_study_and_values_stay(name):
    results = ablate.load(DOCS.parent / "results" / "curated" / name)
    trials, before = results.trials, results._stored.trials
    for column in before.columns:
        assert before[column].astype(object).where(before[column].notna(), None).tolist() == (
            trials[column].astype(object).where(trials[column].notna(), None).tolist()
        )
    words = [c for c in trials if isinstance(trials[c].dtype, pd.CategoricalDtype)]
    assert {"candidate", "state"} <= set(words)
    assert list(trials["candidate"].cat.categories) == [c.label for c in results.candidates]
    assert all(len(trials[c].cat.categories) == trials[c].nunique() for c in words)  # no group is empty
    for column, listed in (results.lock.get("choices") or {}).items():
        if f"c.{column}" in words:
            held = trials[f"c.{column}"].cat.categories
            assert list(held) == [str(label) for label in listed if str(label) in set(held)]
    metrics = results.metrics
    assert isinstance(metrics["metric"].dtype, pd.CategoricalDtype) and metrics["value"].dtype == float
    sums = metrics.groupby(["candidate", "metric"], observed=True)["value"].count()
    assert sums.sum() == metrics["value"].notna().sum()
