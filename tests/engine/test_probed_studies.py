"""Studies with probes: judged by them, kept to constraints, and what the results tell."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest
from studies_for_tests import Driver, ledger, study, trials
from trial_files import record_of

from ablate.engine.ledger import WORST, Ledger
from ablate.errors import InputError
from ablate.results import Results, load, write_tables
from ablate.results.report import report
from ablate.study import lock
from ablate.study.load import load_study
from ablate.worker import records

PROBED = {
    "probes": ["weight_norm", {"type": "loss_by_level", "every": 16}, "activation_variance"],
    "objectives": ["kid", "weight_norm"],
    "constraints": {"params": {"at_most": 150}, "loss_by_level": {"at_least": 0}},
}


def refusal(**changes: Any) -> str:
    with pytest.raises(InputError) as raised:
        load_study(study(**changes))
    return str(raised.value)


def test_what_is_wrong_with_probes_is_told(tmp_path: Path) -> None:
    assert refusal(probes=["spike"]) == "probes[0]: there is no probe 'spike'; did you mean 'spikes'?"
    assert refusal(probes=["spikes", {"type": "spikes", "factor": 2}]) == "probes[1]: the probe 'spikes' stands twice"
    assert "greater than or equal to 1, not 0" in refusal(probes=[{"type": "spikes", "every": 0}])
    lacking = "'spikes' is a probe that this study does not have; add it: probes: [spikes]"
    assert refusal(objectives=["kid", "spikes"]) == f"objectives[1]: {lacking}"
    assert refusal(constraints={"spikes": {"at_most": 0}}) == f"constraints.spikes: {lacking}"
    message = refusal(objectives=["kids"], constraints={"gflop": {"at_most": 1}, "kid": {"atmost": 1}, "macs": 3})
    assert message.splitlines() == [
        "objectives[0]: 'kids' is neither measured here nor a cost; did you mean 'kid'?",
        "constraints.gflop: 'gflop' is neither measured here nor a cost; did you mean 'gflops'?",
        "constraints.kid.atmost: a constraint has no bound 'atmost'; did you mean 'at_most'?",
        "constraints.macs: expected a bound, such as {at_most: 10}, not 3",
    ]
    assert "at least 3 and at most 1" in refusal(constraints={"kid": {"at_least": 3, "at_most": 1}})
    assert "expected a number, not 'few'" in refusal(constraints={"kid": {"at_most": "few"}})


def test_in_a_file_it_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    lines = ["study: s", "data: digits", "base: {backbone: dit}", "budget: {steps: 1}", "design: one_factor"]
    file.write_text("\n".join([*lines, "probes:", "  - spikes", "  - atention_logits", "constraints:", "  x: {}"]))
    with pytest.raises(InputError, match=r"study\.yaml:8: probes\[1\]: .* did you mean 'attention_logits'"):
        load_study(file)


def test_a_probe_decides_only_where_candidates_are_judged_by_it() -> None:
    plain, watched, often = (
        load_study(study(probes=probes)).study for probes in ([], ["spikes"], [{"type": "spikes", "factor": 9}])
    )
    assert plain.digest() == watched.digest() == often.digest()
    judged = {"objectives": ["kid", "spikes"]}
    one = load_study(study(probes=["spikes"], **judged)).study
    assert one.digest() != load_study(study(probes=[{"type": "spikes", "factor": 9}], **judged)).study.digest()
    assert one.digest() == load_study(study(probes=["spikes", "weight_norm"], **judged)).study.digest()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from segments_for_tests import CACHE

    folder = tmp_path_factory.mktemp("probed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ABLATE_CACHE", str(CACHE))
        driver = Driver(folder, study(**PROBED))
        lock.write(folder, driver.loaded)
        assert driver.run().measured == 6
    write_tables(folder)
    return folder


@pytest.fixture
def results(run: Path) -> Results:
    return load(run)


def test_candidates_beyond_a_constraint_are_on_no_front(results: Results) -> None:
    front = results.front().set_index("c.backbone.width")
    params = results.front(["params"]).set_index("c.backbone.width")["params"]
    assert params[4] <= 150 < params[8]
    assert front["violates"].to_dict() == {2: "", 4: "", 8: f"params {params[8]:.0f} > 150"}
    assert not front.loc[8, "on_front"] and front.loc[[2, 4], "on_front"].any()
    assert f"Beyond a constraint: width=8 (params {params[8]:.0f} > 150)." in results.summary(plain=True)
    assert "×" in results.summary(plain=True)
    assert results.quality is not None and results.quality.column == "kid_pixels"


def test_optuna_knows_who_keeps_the_constraints(run: Path) -> None:
    by_width = {trial.params["backbone.width"]: trial for trial in ledger(run)}
    assert {width: trial.constraints["params"] <= 0 for width, trial in by_width.items()} == {
        2: True,
        4: True,
        8: False,
    }
    assert all(trial.constraints["loss_by_level"] < 0 for trial in by_width.values())
    norms = [r["probes"]["weight_norm"] for r in trials(run).values() if r["choices"]["backbone.width"] == 4]
    assert by_width[4].values[1] == pytest.approx(sum(norms) / 2)


def test_a_search_prefers_what_keeps_its_constraints(tmp_path: Path) -> None:
    """The smallest knob would be best, and most of what is asked for; the bound keeps it away from there."""
    design = {"type": "search", "trials": 22, "algorithm": "tpe"}
    loaded = load_study(study(vary={"backbone.knob": {"low": 0, "high": 1}}, objectives=["loss"], design=design))
    book = Ledger(tmp_path / "db", "s", loaded.space, loaded.study.design, loaded.objectives, 0, ["knob"])
    knobs: list[float] = []
    while (entry := book.ask()) is not None:
        knobs.append(entry.assignment["backbone.knob"])
        book.tell(entry, [knobs[-1]], {"knob": 0.6 - knobs[-1]})
    book.close()
    assert min(knobs[:10]) < 0.1  # by chance
    assert statistics.fmean(knobs[10:]) > 0.45


def test_a_diverged_candidate_keeps_no_constraint(tmp_path: Path) -> None:
    spec = study(**{"base.backbone": {"type": "probe", "trap": "loss_nan"}, "vary": {}, "design.seeds": 1, **PROBED})
    Driver(tmp_path, spec).run()
    (trial,) = ledger(tmp_path)
    assert trial.values == [WORST, WORST] and set(trial.constraints.values()) == {WORST}


def test_the_results_hold_what_was_seen(run: Path, results: Results) -> None:
    seen, table = results.probes, results.trials
    assert list(seen.columns)[:6] == ["trial", "probe", "images", "site", "x", "value"]
    assert seen.attrs["axes"] == {"weight_norm": "depth", "loss_by_level": "log SNR", "activation_variance": "depth"}
    assert set(seen["trial"]) == set(table["trial"]) and set(seen["probe"]) == set(seen.attrs["axes"])
    last = seen[(seen["probe"] == "activation_variance") & (seen["images"] == 32)].groupby("trial")["value"].max()
    assert dict(last) == pytest.approx(dict(table.set_index("trial")["p.activation_variance"]))
    effects = results.effects("weight_norm")
    assert effects.set_index("c.backbone.width")["mean"][8] > effects["baseline_mean"].iloc[0]
    with pytest.raises(InputError, match="did you mean 'weight_norm'"):
        results.front(["weight_nrm"])


def test_figures_and_report_show_what_was_seen(run: Path, tmp_path: Path) -> None:
    for trial in (run / "trials").iterdir():  # with nothing else to draw
        record, probes = record_of(trial), records.content(trial, records.PROBES)
        (tmp_path / "trials" / trial.name).mkdir(parents=True)
        records.write(tmp_path / "trials" / trial.name, {**record, "metrics": []}, {records.PROBES: probes})  # type: ignore[typeddict-item]
    page = report(load(tmp_path)).read_text()
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    drawn = {probe["name"]: probe for probe in data["probes"]}
    assert set(drawn) == {"weight norm", "loss by level", "activation variance"}
    seen = load(tmp_path).probes.merge(load(tmp_path).trials[["trial", "config_hash"]], on="trial")
    seen = seen[(seen["probe"] == "activation_variance") & (seen["images"] == 32)]
    for config_hash, line in drawn["activation variance"]["moments"]["32 images"].items():
        own = seen[seen["config_hash"] == config_hash].groupby("x")["value"].mean()
        assert line["value"] == pytest.approx(own.tolist(), rel=1e-4)


def test_the_tables_alone_tell_the_same(run: Path, results: Results, tmp_path: Path) -> None:
    for name in ("trials.parquet", "metrics.parquet", "probes.parquet", "lock.json", "study.yaml"):
        shutil.copy(run / name, tmp_path / name)
    alone = load(tmp_path)
    assert alone.probes.equals(results.probes) and alone.probes.attrs == results.probes.attrs
    assert alone.front().equals(results.front()) and not alone.warnings
    (tmp_path / "probes.parquet").write_bytes(b"PAR1")
    damaged = load(tmp_path)
    assert damaged.probes.empty and "probes.parquet" in damaged.warnings[0]
