"""Reading folders in every state, and writing the two tables."""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from results_folders import METRIC, Study, config_hash, write

from ablate.errors import InputError
from ablate.results import load, readable, write_tables
from ablate.results.frames import METRIC as METRIC_COLUMNS
from ablate.results.frames import TRIAL
from ablate.results.report import report

ADALN = {"backbone.conditioning": "adaln"}
ZERO = {"backbone.conditioning": "adaln_zero"}


def test_trials_have_the_contract_s_columns(conditioning: Study) -> None:
    results = load(conditioning.path)
    assert tuple(results.trials.columns[: len(TRIAL)]) == TRIAL
    assert "c.backbone.conditioning" in results.trials
    assert f"m.{METRIC}" in results.trials
    assert tuple(results.metrics.columns[: len(METRIC_COLUMNS)]) == METRIC_COLUMNS
    assert len(results.trials) == 12
    assert results.states == {"complete": 11, "diverged": 1}
    assert json.loads(results.trials["versions"][0])["torch"] == "2.13.0"
    assert set(results.curves["trial"]) == set(results.trials["trial"])


def test_missing_stays_missing(study: Study) -> None:
    study.trial(ADALN, 0, {METRIC: None}, params=None)
    study.trial(ZERO, 0, {METRIC: 0.0})
    trials = load(study.path).trials.set_index("c.backbone.conditioning")
    assert np.isnan(trials.loc["adaln", f"m.{METRIC}"])
    assert trials.loc["adaln_zero", f"m.{METRIC}"] == 0.0
    assert np.isnan(trials.loc["adaln", "params"])
    assert trials["peak_memory_bytes"].isna().all()


def test_a_diverged_trial_has_no_value_but_keeps_its_measurements(study: Study) -> None:
    study.trial(ADALN, 0, {METRIC: 0.05}, state="diverged")
    results = load(study.path)
    assert f"m.{METRIC}" not in results.trials or results.trials[f"m.{METRIC}"].isna().all()
    assert list(results.metrics["value"]) == [0.05]
    assert "blocks.3.attention" in results.trials["message"][0]


def test_states_of_unfinished_trials(study: Study) -> None:
    study.trial(ADALN, 0, state="running", curve=[(1000, 0.5), (2000, 0.4)])
    study.trial(ADALN, 1, state="failed")
    study.trial(ADALN, 2, {METRIC: 0.1})
    trials = load(study.path).trials.set_index("seed")
    assert dict(trials["state"]) == {0: "running", 1: "failed", 2: "complete"}
    assert trials.loc[0, "images"] == 2000
    assert trials.loc[1, "failure"] == "oom"
    assert trials["config_hash"].nunique() == 1


def test_a_record_outweighs_an_earlier_failure(study: Study) -> None:
    folder = study.trial(ADALN, 0, {METRIC: 0.1})
    write(folder / "failure.json", {"schema": 1, "trial": folder.name, "state": "failed", "class": "lost"})
    assert list(load(study.path).trials["state"]) == ["complete"]


@pytest.mark.parametrize("content", ["", '{"schema": 1, "trial"', "[]", "nonsense", "\x00\x00"])
def test_a_damaged_record_is_named_and_its_trial_kept(study: Study, content: str) -> None:
    study.trial(ZERO, 0, {METRIC: 0.1})
    folder = study.trial(ADALN, 0, {METRIC: 0.1}, curve=[(1000, 0.5)])
    (folder / "record.json").write_text(content)
    results = load(study.path)
    assert sorted(results.trials["state"]) == ["complete", "unreadable"]
    assert any("record.json" in w for w in results.warnings)
    (folder / "job.json").unlink()
    again = load(study.path).trials.set_index("seed", drop=False)
    assert sorted(again["state"]) == ["complete", "unreadable"]
    assert set(again["config_hash"].str[:12]) == {config_hash(ADALN)[:12], config_hash(ZERO)[:12]}


def test_damaged_companions_do_not_stop_the_reading(study: Study) -> None:
    study.head()
    folder = study.trial(ADALN, 0, {METRIC: 0.1})
    (folder / "curve.json").write_text('[{"images": 1')
    (folder / "samples.npy").write_bytes(b"\x93NUMPY")
    (study.path / "lock.json").write_text("{")
    (study.path / "study.yaml").write_text("vary: [\n")
    (folder.parent / "stray.txt").write_text("not a trial")
    (folder.parent / "empty").mkdir()
    results = load(study.path)
    assert len(results.trials) == 1
    assert {w.split("/")[-1].split(":")[0] for w in results.warnings} == {"curve.json", "lock.json", "study.yaml"}
    assert results.lock == {}
    with pytest.raises(InputError, match=r"lock\.json: cannot be read.*which way the study's metrics are better"):
        results.front(["kid", "gflops"])
    assert results.front(["gflops", "params"])["on_front"].all()


def test_written_tables_read_back_the_same(conditioning: Study) -> None:
    write_tables(conditioning.path)
    original = load(conditioning.path)
    shutil.rmtree(conditioning.path / "trials")
    tables = load(conditioning.path)
    pd.testing.assert_frame_equal(tables.trials, original.trials, check_dtype=False)
    pd.testing.assert_frame_equal(tables.metrics, original.metrics)
    pd.testing.assert_frame_equal(tables.front(), original.front())
    pd.testing.assert_frame_equal(tables.effects(), original.effects())
    assert tables.curves.empty
    write_tables(conditioning.path)  # nothing to read anew: what is there stays
    assert len(load(conditioning.path).trials) == 12


def test_tables_of_a_study_that_has_only_begun(study: Study) -> None:
    study.head()
    write_tables(study.path)
    assert len(pd.read_parquet(study.path / "trials.parquet")) == 0
    study.trial(ADALN, 0, state="running")
    write_tables(study.path)
    assert list(pd.read_parquet(study.path / "trials.parquet")["state"]) == ["running"]
    assert not list(study.path.glob(".*"))


def test_a_damaged_table_is_named(conditioning: Study) -> None:
    write_tables(conditioning.path)
    shutil.rmtree(conditioning.path / "trials")
    (conditioning.path / "metrics.parquet").write_bytes(b"PAR1 cut short")
    results = load(conditioning.path)
    assert len(results.trials) == 12
    assert any("metrics.parquet" in w for w in results.warnings)
    (conditioning.path / "trials.parquet").write_bytes(b"PAR1 cut short")
    write_tables(conditioning.path)
    page = report(load(conditioning.path))  # of what is left
    assert "trials.parquet: is not as it was written" in page.read_text()


@pytest.mark.parametrize("name", ["metrics", "trials"])
def test_a_number_that_was_changed_in_a_table_does_not_count(conditioning: Study, name: str) -> None:
    write_tables(conditioning.path)
    shutil.rmtree(conditioning.path / "trials")
    file = conditioning.path / f"{name}.parquet"
    table = pd.read_parquet(file)
    column = "value" if name == "metrics" else "gflops"
    table.assign(**{column: table[column] + 1}).to_parquet(file, index=False)
    results = load(conditioning.path)
    assert getattr(results, name).empty
    assert any(f"{file}: is not as it was written" in line for line in results.warnings)
    (conditioning.path / "tables.json").unlink()  # as earlier versions left it
    assert len(load(conditioning.path).trials) == 12


def test_tables_of_an_earlier_version_lack_columns_and_are_not_called_damaged(conditioning: Study) -> None:
    write_tables(conditioning.path)
    shutil.rmtree(conditioning.path / "trials")
    (conditioning.path / "tables.json").unlink()
    file = conditioning.path / "trials.parquet"
    pd.read_parquet(file).drop(columns=["noise", "data_hash", "sources"]).to_parquet(file, index=False)
    results = load(conditioning.path)
    assert not results.warnings and len(results.trials) == 12
    pd.read_parquet(file).drop(columns=["loss"]).to_parquet(file, index=False)
    assert any("has no column loss" in line for line in load(conditioning.path).warnings)


def test_choices_of_mixed_and_conditional_types(study: Study) -> None:
    for choices in ({"a": 1, "b": "x", "f": True}, {"a": "none", "b": "y", "f": False}, {"b": "x", "n": 3, "f": True}):
        study.trial(choices, 0, {METRIC: 0.1})
    write_tables(study.path)
    trials = load(study.path).trials
    assert sorted(trials["c.a"].dropna()) == ["1", "none"]
    assert trials["c.n"].isna().sum() == 2
    assert trials["c.f"].dtype == bool


def test_what_a_trial_costs_to_read_does_not_grow_with_their_number(study: Study) -> None:
    calls = []
    for trials in (range(30), range(30, 300)):  # counted, not timed: a busy machine changes nothing
        for i in trials:
            study.trial({"a": i}, 0, {METRIC: 0.1 + i})
        write_tables(study.path)  # what a process does once is not counted
        with cProfile.Profile() as profile:
            write_tables(study.path)
        calls.append(pstats.Stats(profile).total_calls)
    assert len(pd.read_parquet(study.path / "trials.parquet")) == 300
    assert calls[1] < 5 * calls[0]  # about 57,000 and 200,000; squares would be 100 times
    assert calls[1] < 300 * 1500


def test_what_is_no_study_is_refused(tmp_path, study: Study) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "other").mkdir()
    (tmp_path / "file").write_text("x")
    study.head()
    for path in (tmp_path / "other", tmp_path / "file"):
        with pytest.raises(InputError, match="no study's folder"):
            load(path)
    with pytest.raises(InputError, match="did you mean 'conditioning'"):
        load(tmp_path / "conditionings")


def test_a_newer_schema_is_read_with_a_warning(study: Study) -> None:
    study.trial(ADALN, 0, {METRIC: 0.1}, schema=readable.SCHEMA + 1)
    results = load(study.path)
    assert list(results.trials["state"]) == ["complete"]
    assert any("newer" in w for w in results.warnings)


def test_importing_costs_little() -> None:
    code = "import sys, ablate.results; print(sorted({'pandas', 'matplotlib', 'scipy', 'torch'} & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.stdout.strip() == "[]"


def test_every_table_says_which_candidate_and_seed_a_row_is_of(conditioning: Study) -> None:
    seen = conditioning.trial({"backbone.conditioning": "adaln"}, 0, {METRIC: 0.1}, curve=[(10, 1.0), (20, 0.5)])
    row = {"probe": "gradient_norm", "images": 10, "site": "blocks.0", "x": 0.0, "value": 1.0}
    (seen / "probes.json").write_text(json.dumps({"schema": 1, "rows": [row], "axes": {"gradient_norm": "depth"}}))
    results = load(conditioning.path)
    for name, table in (("metrics", results.metrics), ("curves", results.curves), ("probes", results.probes)):
        of = table[table["trial"] == seen.name]
        assert len(of) and set(of["candidate"]) == {"adaln"} and set(of["seed"]) == {0}, name
        assert set(of["c.backbone.conditioning"]) == {"adaln"}, name
    assert results.probes.attrs["axes"] == {"gradient_norm": "depth"}
