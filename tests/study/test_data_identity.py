"""The data decide every number: what is trained on others never joins, whatever replaced them and when."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_for_tests import LABELS, latents, write_edm2, write_hub, write_idx
from pictures_for_tests import noise, write_folder, write_zip
from segments_for_tests import PLUGIN, after, candidate, job, run
from trial_files import record_files, records_of

import ablate
from ablate.discovery.catalog import catalog
from ablate.errors import InputError
from ablate.kinds.data import Data
from ablate.kinds.executor import Stopped
from ablate.results.results import Results
from ablate.spec.slots import create
from ablate.study import dataset
from ablate.study.evaluate import remeasure
from ablate.study.launch import launch
from ablate.study.request import Request
from ablate.worker import datasets
from ablate.worker.records import is_recorded

COUNT = len(LABELS)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Results, "figures", lambda self, **options: [])  # they take the most time, and say nothing here
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def written(kind: str, at: Path, seed: int) -> dict[str, Any]:
    """A data set of one kind, with pictures that follow from a seed; its spec."""
    shutil.rmtree(at, ignore_errors=True)
    at.mkdir()
    images = noise(COUNT, seed=seed)
    if kind == "folder":
        write_folder(at / "set", images)
    elif kind == "zip":
        write_zip(at / "set", images, LABELS)
        (at / "set").rename(at / "set.zip")
    elif kind == "npz":
        np.savez(at / "set.npz", images.transpose(0, 2, 3, 1), np.array(LABELS))
    elif kind == "idx":
        write_idx(at / "set", noise(COUNT, channels=1, seed=seed)[:, 0], LABELS)
    elif kind == "hub":
        write_hub(at / "set", images, LABELS)
    else:
        np.savez(at / "reference.npz", images.transpose(0, 2, 3, 1))
        write_edm2(at / "set.zip", latents(seed=seed), LABELS)
        own = {"reference": str(at / "reference.npz"), "stored": "mean_std"}
        return {"type": kind, "path": str(at / "set.zip"), **own}
    ending = {"zip": ".zip", "npz": ".npz"}.get(kind, "")
    return {"type": kind, "path": str(at / f"set{ending}"), "reference": 8}


@pytest.mark.parametrize("kind", ["folder", "zip", "npz", "idx", "hub", "latents"])
def test_replaced_data_are_told_apart(kind: str, tmp_path: Path, cache: Path) -> None:
    def found(seed: int) -> str | None:
        data = create(Data, written(kind, tmp_path / "data", seed), catalog())
        assert isinstance(data, Data)
        return dataset.hash_of(data, cache)

    first = found(0)
    assert first is not None and found(1) != first and found(0) == first


def study(at: Path, **more: Any) -> dict[str, Any]:
    return {
        "study": "pictures",
        "plugins": [PLUGIN],
        "data": written("folder", at, 0),
        "base": {"backbone": "probe", "solver": {"type": "ddim", "steps": 1}, "batch": 8},
        "vary": {"backbone.width": [2, 4]},
        "design": {"type": "grid", "seeds": 1},
        "budget": {"steps": 2},
        "evaluate": {"metrics": [{"type": "kid", "features": "pixels"}], "samples": 4, "batch": 4, "previews": 0},
        **more,
    }


def test_a_study_whose_pictures_were_replaced_is_refused_with_one_message(tmp_path: Path) -> None:
    spec = study(tmp_path / "data")
    out = tmp_path / "out"
    launch(spec, out=out, executor="local", device="cpu")
    entry = json.loads((out / "lock.json").read_text())["data"]
    assert {entry["hash"]} == {record["data_hash"] for record in records_of(out).values()}
    assert launch(spec, out=out, executor="local", device="cpu").outcome.reused == 2
    write_folder(tmp_path / "data" / "set", noise(COUNT, seed=1))
    for again in (
        lambda: launch(spec, out=out, executor="local", device="cpu"),
        lambda: remeasure(out, Request(samples=8), "local", device="cpu"),
    ):
        with pytest.raises(InputError) as refused:
            again()
        message = str(refused.value)
        assert "the data are others" in message and entry["hash"][:12] in message and entry["since"] in message
        assert "seed 0" in message and str(tmp_path / "data" / "set") in message and "bring those data back" in message

    new = tmp_path / "new"  # in a folder of its own the new study is run; one that mixes both says so
    launch(spec, out=new, executor="local", device="cpu")
    victim = next(new.glob("trials/*"))
    shutil.rmtree(out / "trials" / victim.name)
    shutil.copytree(victim, out / "trials" / victim.name)
    mixed = ablate.load(out)
    assert mixed.trials["data_hash"].nunique() == 2
    for ask in (mixed.front, lambda: mixed.front(["loss", "gflops"]), lambda: mixed.effects("kid")):
        with pytest.raises(InputError, match="trained on different data"):
            ask()


def test_data_on_which_nothing_complete_stands_may_change(tmp_path: Path) -> None:
    spec, out, lines = study(tmp_path / "data"), tmp_path / "out", []
    launch(spec, out=out, executor="local", device="cpu")
    for file in record_files(out):
        file.unlink()
    write_folder(tmp_path / "data" / "set", noise(COUNT, seed=1))
    done = launch(spec, out=out, executor="local", device="cpu", say=lines.append)
    assert done.outcome.measured == 2 and any("other data than at the last launch" in line for line in lines)
    data_hash = json.loads((out / "lock.json").read_text())["data"]["hash"]
    trials = ablate.load(out).trials
    assert set(trials["data_hash"]) == {data_hash} and (trials["images"] == 16).all()


def test_a_worker_that_finds_other_data_trains_nothing(tmp_path: Path) -> None:
    trial_job = job(tmp_path, candidate(), data_hash="0" * 64)
    report = run(trial_job)
    assert report["status"] == "failed" and "digits" in report["other_data"]
    with pytest.raises(InputError, match="other data than this run began with"):
        datasets.refuse(report)
    assert not is_recorded(Path(trial_job["folder"])) and not Path(trial_job["folder"], "checkpoint").exists()


def test_a_half_trained_trial_is_not_gone_on_with_on_other_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ablate.training import loop

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", float("inf"))
    monkeypatch.setattr(loop, "LOOK_SECONDS", 0.0)

    def asked(where: str, seed: int) -> dict[str, Any]:
        spec = written("folder", tmp_path / "data", seed)
        data = create(Data, spec, catalog((PLUGIN,)))
        assert isinstance(data, Data)
        data_hash = dataset.hash_of(data, tmp_path / "cache")
        trial_job = job(tmp_path / where, candidate(batch=8))
        return {**trial_job, "data": spec, "data_hash": data_hash, "cache": str(tmp_path / "cache")}

    with pytest.raises(Stopped):
        run(asked("resumed", 0), after(6))
    assert list((tmp_path / "resumed").glob("*/checkpoint/*.json"))
    resumed, fresh = run(asked("resumed", 1)), run(asked("fresh", 1))
    assert resumed["record"]["loss"] == fresh["record"]["loss"]
    assert resumed["record"]["metrics"] == fresh["record"]["metrics"]


YAML = """
study: beside
plugins: [{plugin}]
data: {{type: folder, path: faces, reference: 8}}
base: {{backbone: probe, solver: {{type: ddim, steps: 1}}, batch: 8}}
vary: {{backbone.width: [2]}}
design: {{type: grid, seeds: 1}}
budget: {{steps: 1}}
evaluate: {{metrics: [{{type: kid, features: pixels}}], samples: 4, batch: 4, previews: 0}}
"""


def test_paths_go_out_from_the_studys_file_wherever_ablate_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies, elsewhere = tmp_path / "studies", tmp_path / "elsewhere"
    for place, seed in ((studies, 0), (elsewhere, 1)):  # two folders of one name
        write_folder(place / "faces", noise(COUNT, seed=seed))
    file = studies / "s.yaml"
    file.write_text(YAML.format(plugin=PLUGIN))
    monkeypatch.chdir(studies)
    launch("s.yaml", out=tmp_path / "out", executor="local", device="cpu")
    monkeypatch.chdir(elsewhere)
    assert launch(file, out=tmp_path / "out", executor="local", device="cpu").outcome.reused == 1
    done = launch(tmp_path / "out" / "study.yaml", out=tmp_path / "out", executor="local", device="cpu")
    assert done.outcome.reused == 1  # the folder's own study finds its data
    assert remeasure(tmp_path / "out", Request(samples=8), "local", device="cpu").measured == 1
    shutil.move(tmp_path / "out", tmp_path / "moved")
    assert launch(file, out=tmp_path / "moved", executor="local", device="cpu").outcome.reused == 1

    moved = elsewhere / "deep" / "s.yaml"  # the identity is that of the text: no machine's folders are in it
    moved.parent.mkdir()
    moved.write_text(file.read_text())
    with pytest.raises(InputError, match=r"goes out from its file.*'\.\./faces' from there"):
        launch(moved, out=tmp_path / "third", executor="local", device="cpu")
    write_folder(moved.parent / "faces", noise(COUNT, seed=0))
    assert launch(moved, out=tmp_path / "moved", executor="local", device="cpu").outcome.reused == 1


def test_paths_of_a_mapping_go_out_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = study(tmp_path / "data")
    monkeypatch.chdir(tmp_path / "data")
    spec["data"]["path"] = "set"
    assert launch(spec, out=tmp_path / "out", executor="local", device="cpu").outcome.measured == 2
