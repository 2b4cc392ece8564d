"""Costs of sampling and training: beside Gflops, as objectives, and missing where nothing tells them."""

from __future__ import annotations

from pathlib import Path

import pytest
from results_folders import METRIC, Study
from segments_for_tests import CACHE
from studies_for_tests import study

import ablate
from ablate.results import load
from ablate.results.export import latex, markdown
from ablate.results.tables import formatted, grouped

COSTS = ["Gflops a sample", "training Gflops"]


def test_a_study_is_judged_by_what_a_sample_and_training_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
    spec = study(
        vary={"solver.steps": [1, 3], "backbone.width": [2, 4]},
        design={"type": "grid", "seeds": 2},
        objectives=["kid", "sample_gflops", "train_gflops"],
        executor={"type": "local", "in_process": True},
    )
    results = ablate.run(spec, out=tmp_path / "study", device="cpu", figures=False)
    trials = results.trials
    assert trials["sample_gflops"].to_numpy() == pytest.approx(
        trials["gflops"].to_numpy() * trials["c.solver.steps"].to_numpy(dtype=float)
    )
    assert trials["train_gflops"].to_numpy() == pytest.approx(3 * (trials["gflops"] * trials["images"]).to_numpy())
    front = results.front()
    assert front.attrs["objectives"] == ["kid_pixels", "sample_gflops", "train_gflops"]
    cheapest = front[["sample_gflops", "train_gflops"]].min()
    assert front.loc[front["on_front"], ["sample_gflops", "train_gflops"]].min().equals(cheapest)
    dear = (front["c.solver.steps"] == 3) & ~front["on_front"]
    for _, row in front[dear].iterrows():  # what is beaten is beaten in all three
        better = front[front["on_front"]]
        columns = list(front.attrs["objectives"])
        assert (better[columns] <= row[columns].to_numpy(dtype=float)).all(axis=1).any()
    cells = formatted(results, grouped(results))
    assert list(cells.columns[:5]) == ["candidate", "Gflops", *COSTS, "params"]
    for text in (results.summary(plain=True), markdown(results), latex(results)):
        assert all(name in text for name in COSTS)
    paper = results.table()
    assert paper["sample_gflops"].notna().all() and paper["train_gflops"].notna().all()
    assert results.columns.set_index(["table", "column"]).loc[("trials", "sample_gflops"), "unit"] == "Gflops"


def test_costs_that_a_folder_of_an_earlier_version_does_not_tell_are_missing(tmp_path: Path) -> None:
    folder = Study(tmp_path / "older").head()
    for seed in range(2):
        for i, name in enumerate(("adaln_zero", "adaln")):
            more = {} if i else {"sample_gflops": 8.0}
            folder.trial({"backbone.conditioning": name}, seed, {METRIC: 0.1 * i + 0.01 * seed}, **more)
    results = load(folder.path)
    table = grouped(results).set_index("candidate")
    assert table.loc["adaln_zero", "sample_gflops"] == 8 and table["sample_gflops"].isna().sum() == 1
    assert (table["n"] == 2).all(), "a cost that is missing takes no candidate's seeds"
    cells = formatted(results, grouped(results)).set_index("candidate")
    assert cells.loc["adaln", "Gflops a sample"] == "–"
    for trial in folder.path.glob("trials/*/record.json"):
        trial.write_text(
            trial.read_text().replace('"sample_gflops"', '"other"').replace('"gflops": 0.5', '"gflops": null')
        )
    none = load(folder.path)
    assert not set(COSTS) & set(formatted(none, grouped(none)).columns)
    assert "Gflops a sample" not in latex(none) and "nan" not in none.table().attrs["caption"]
