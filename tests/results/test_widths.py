"""Tables in terminals of any width: every number of the table stands in the output whole."""

import io
from pathlib import Path

import pytest
from results_folders import METRIC, Study
from rich.console import Console

from ablate.results import load
from ablate.results.tables import formatted, grouped

CURATED = Path(__file__).parents[2] / "results" / "curated"


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """One of one metric, one of five, a search whose names are long, and some that are committed."""
    one = Study(tmp_path_factory.mktemp("one") / "one").head()
    five = Study(tmp_path_factory.mktemp("five") / "five").head()
    for i in range(6):
        for seed in range(2):
            value = 0.013_37 * (i + 1) + 0.000_31 * seed
            one.trial({"backbone.conditioning": f"a_rather_long_name_{i}"}, seed, {METRIC: value}, gflops=0.1 + i)
            values = {f"{m}_efficientnet_lite0": 10**k * value for k, m in enumerate(("kid", "fd", "sfid", "p", "r"))}
            five.trial({"backbone.conditioning": f"name_{i}"}, seed, values, gflops=0.1 + i)
    loaded = [load(study.path) for study in (one, five)]
    loaded += [load(CURATED / name) for name in ("dit_conditioning", "pareto_search", "clipping")]
    return [(results, results.summary().__rich__(), formatted(results, grouped(results))) for results in loaded]


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_no_number_is_cut_or_left_out(studies, width):
    for results, summary, cells in studies:
        console = Console(width=width, file=io.StringIO())
        console.print(summary)
        output = console.file.getvalue()
        assert all(len(line) <= width for line in output.splitlines()), results
        for column in cells.columns.drop("candidate"):
            for cell in cells[column]:
                assert str(cell) in output, (results, column, cell)
