"""Trackers with the real packages, offline: what a study logs is what these read. Skipped where they are not."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from results_folders import METRIC, Study, fill_conditioning

from ablate.cli import main
from ablate.discovery.catalog import catalog
from ablate.results import load
from ablate.results.tracked import Observed, observed_of
from ablate.testing import examine

# What these packages call of others that these deprecate is theirs to mend.
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")

TRACKERS = ("tensorboard", "wandb", "mlflow")


def tracker_of(name: str) -> Any:
    tracker = catalog().create("tracker", name)
    if tracker.missing() is not None:
        pytest.skip(f"{name} is not installed")
    return tracker


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The four conditionings, three seeds each, one of which diverged; with curves and samples."""
    return fill_conditioning(Study(tmp_path / "conditioning")).path


def exported(folder: Path, name: str, *more: str, capsys: Any) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["export", str(folder), "--to", name, *more])
    captured = capsys.readouterr()
    assert ended.value.code == 0, captured.err
    return str(captured.out)


@pytest.mark.parametrize("name", TRACKERS)
def test_the_checks_of_the_kind_pass(name: str) -> None:
    tracker_of(name)
    outcomes = list(examine(catalog().entry("tracker", name), catalog()))
    assert {one.state for one in outcomes} <= {"passed", "skipped"}, outcomes
    assert {one.check for one in outcomes if one.state == "passed"} >= {"goes_on_with_a_run", "takes_names_as_text"}


def test_what_is_not_installed_is_told_with_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name in TRACKERS:
        cls = catalog().get("tracker", name)
        monkeypatch.setattr(cls, "missing", classmethod(lambda cls: "pip install 'ablate[it]'"))
        with pytest.raises(SystemExit) as ended:
            main(["export", str(folder), "--to", name])
        assert ended.value.code == 2 and "needs another package: pip install 'ablate[it]'" in capsys.readouterr().err


def seen_of(folder: Path) -> dict[str, Observed]:
    return {one.trial.trial: one for one in observed_of(load(folder))}


def test_tensorboard_reads_what_was_exported(folder: Path, capsys: Any) -> None:
    tracker_of("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = exported(folder, "tensorboard", capsys=capsys)
    assert "12 trials of 4 candidates" in told and "tensorboard --logdir" in told
    places = sorted((folder / "tensorboard").glob("*/seed *"))
    assert len(places) == 12 and len({place.parent for place in places}) == 4  # grouped by candidate
    for place in places:
        read = EventAccumulator(str(place))
        read.Reload()
        (one,) = [
            s
            for s in seen_of(folder).values()
            if f"-{s.trial.config_hash[:7]}" in place.parent.name and place.name == f"seed {s.trial.seed}"
        ]
        wanted = [(images, values["loss"]) for images, values, _ in one.points if "loss" in values]
        assert [(e.step, pytest.approx(e.value)) for e in read.Scalars("loss")] == wanted
        if one.state == "complete":
            assert read.Scalars(f"last/{METRIC}")[0].value == pytest.approx(one.last[METRIC])
    before = len(list(places[0].glob("events.*")))
    exported(folder, "tensorboard", capsys=capsys)  # again: in the place of what was there
    assert len(list(places[0].glob("events.*"))) == before


def test_wandb_offline_runs_hold_what_was_exported(folder: Path, capsys: Any) -> None:
    tracker_of("wandb")
    for extra in sorted((folder / "trials").iterdir())[3:]:
        shutil.rmtree(extra)  # a process a run: three are enough
    told = exported(folder, "wandb", "--set", "mode=offline", "--set", "project=mine", capsys=capsys)
    assert "3 trials of" in told and "wandb sync" in told
    runs = sorted((folder / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(runs) == 3
    for one in seen_of(folder).values():
        (content,) = [file.read_bytes() for file in runs if one.trial.trial in file.name]
        assert b"mine" in content and one.trial.candidate.encode() in content  # project and group, as protobuf has text
        losses = [values["loss"] for _, values, _ in one.points if "loss" in values]
        assert content.count(b"loss") >= len(losses) and json.dumps(losses[0]).encode() in content


def test_mlflow_reads_what_was_exported(folder: Path, capsys: Any) -> None:
    tracker_of("mlflow")
    from mlflow import MlflowClient

    told = exported(folder, "mlflow", capsys=capsys)
    assert "12 trials of 4 candidates" in told and "mlflow ui --backend-store-uri" in told
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name(load(folder).name).experiment_id])
    assert len(runs) == 12 and len({run.data.tags["candidate"] for run in runs}) == 4
    for run in runs:
        one = seen_of(folder)[run.data.tags["trial"]]
        history = client.get_metric_history(run.info.run_id, "loss")
        assert sorted((m.step, m.value) for m in history) == [
            (images, values["loss"]) for images, values, _ in one.points if "loss" in values
        ]
        assert run.data.params["backbone.conditioning"] == one.trial.choices["backbone.conditioning"]
        assert run.data.tags["state"] == one.state
        if one.state == "complete":
            assert run.data.metrics[f"last.{METRIC}"] == pytest.approx(one.last[METRIC])
    with sqlite3.connect(folder / "mlflow.db") as database:
        assert database.execute("select count(*) from runs").fetchone() == (12,)
