"""Probes in a training: they change nothing, look when they should, and survive whatever interrupts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from segments_for_tests import DATA, KNOWN, after, candidate, job, read, run, timeless

from ablate.candidates.evaluation import Evaluation
from ablate.candidates.trial import Budget, TrialSettings
from ablate.kinds.executor import Stopped
from ablate.kinds.probe import HELD, SPACING, SPACING_IMAGES
from ablate.training import loop
from ablate.training.probing import Probing

NAMES = KNOWN.names("probe")
DIT = {"type": "dit", "patch": 4, "depth": 2, "width": 16, "heads": 2}


def probed(folder: Path, config: Any, *names: str, every: int | None = 64, **more: Any) -> dict[str, Any]:
    specs = [KNOWN.create("probe", {"type": name, "every": every}).spec() for name in names or NAMES]
    return {**job(folder, config, **more), "probes": specs}


def rows(record: dict[str, Any], probe: str) -> list[dict[str, Any]]:
    return [row for row in read(record, "probes.json")["rows"] if row["probe"] == probe]


def looked(record: dict[str, Any], probe: str) -> list[int]:
    """After how many images it looked."""
    return list(dict.fromkeys(row["images"] for row in rows(record, probe)))


def weights(record: dict[str, Any]) -> dict[str, torch.Tensor]:
    return load_file(max(Path(record["folder"], "checkpoint").glob("*.safetensors")))


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look and a checkpoint at every step."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", float("inf"))
    monkeypatch.setattr(loop, "LOOK_SECONDS", 0.0)


@pytest.mark.parametrize(
    "config",
    [
        candidate(dropout=0.3, tied=True, more={"clip": "global_norm", "weighting": "edm2"}),  # draws at every step
        candidate(more={"backbone": DIT, "precision": "bf16", "guidance": {"type": "cfg", "drop": 0.2}}),
    ],
    ids=["convolutions", "dit"],
)
def test_a_training_is_the_same_to_the_bit_with_probes_and_without(tmp_path: Path, config: Any) -> None:
    with_, without = probed(tmp_path / "with", config), job(tmp_path / "without", config)
    records = [run(one)["record"] for one in (with_, without)]
    summaries = records[0].pop("probes")
    assert "probes" not in records[1] and not Path(without["folder"], "probes.json").exists()
    assert timeless(records[0]) == timeless(records[1])
    assert timeless(read(with_, "curve.json")) == timeless(read(without, "curve.json"))
    ours, theirs = weights(with_), weights(without)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert Path(with_["folder"], "samples.npy").read_bytes() == Path(without["folder"], "samples.npy").read_bytes()
    assert summaries.keys() == set(NAMES)
    assert all(summaries[name] > 0 for name in ("activation_variance", "gradient_norm", "weight_norm", "update_ratio"))
    assert summaries["skip_ratio"] is None  # nothing is fused here
    assert (summaries["attention_logits"] is None) == (config.backbone.name == "probe")


@pytest.mark.parametrize(("saved", "stops"), [(True, (2, 9)), (False, (5,))])
def test_rows_survive_an_interruption(
    tmp_path: Path, request: pytest.FixtureRequest, saved: bool, stops: tuple[int, ...]
) -> None:
    if saved:
        request.getfixturevalue("often")  # otherwise it begins anew, and what was seen before is forgotten
    config = candidate(dropout=0.3)
    whole, pieces = probed(tmp_path / "whole", config), probed(tmp_path / "pieces", config)
    run(whole)
    for steps in stops:
        with pytest.raises(Stopped):
            run(pieces, after(steps))
    assert run(pieces)["record"]["probes"] == read(whole, "record.json")["probes"]
    assert read(pieces, "probes.json") == read(whole, "probes.json")
    assert len(read(whole, "probes.json")["rows"]) > 100


def test_a_probe_looks_first_last_and_at_each_multiple(tmp_path: Path) -> None:
    record = probed(tmp_path, candidate(), "activation_variance", "gradient_norm", every=100)  # 12 steps of 32 images
    run(record)
    assert looked(record, "activation_variance") == [0, 128, 224, 320, 384]
    assert looked(record, "gradient_norm") == [0, 128, 224, 320, 352]  # of a step that begins there
    assert {row["site"] for row in rows(record, "gradient_norm")} == {"inward", "level", "label", "middle", "outward"}
    assert [row["x"] for row in rows(record, "gradient_norm")[:5]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("batch", "horizon", "expected"),
    [(64, 50_000, SPACING_IMAGES), (16, 50_000, SPACING_IMAGES), (256, 10_000, SPACING * 256), (64, 4e6, 2e5)],
)
def test_by_default_it_looks_seldom_enough(batch: int, horizon: float, expected: float) -> None:
    """A pass of the held batch costs a third of training on it; the rest of an observation less than a step."""
    probing = Probing((), 0)
    probe = KNOWN.create("probe", "activation_variance")
    interval = probing._next_observation(probe, 3 * batch, batch, horizon) - 3 * batch
    assert interval == expected
    assert HELD / 3 / interval < 0.011 and batch / interval <= 1 / SPACING
    assert probing._next_observation(probe, 0, batch, float("inf")) == max(
        SPACING_IMAGES, SPACING * batch
    )  # no budget known yet


@pytest.mark.parametrize("look", [0.0, 60.0])
def test_what_a_diverged_training_saw_ends_with_the_step_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: float
) -> None:
    monkeypatch.setattr(loop, "LOOK_SECONDS", look)
    run_record = probed(tmp_path, candidate(trap="loss_nan", step=6), every=32, budget={"steps": 300})
    record = run(run_record)["record"]
    assert record["state"] == "diverged" and record["divergence"]["step"] == 6
    assert looked(run_record, "activation_variance") == [32 * i for i in range(6)]
    assert looked(run_record, "gradient_norm") == [32 * i for i in range(6)]
    assert {row["value"] for row in rows(run_record, "gradient_norm") if row["images"] == 160} == {None}
    assert record["probes"]["gradient_norm"] is None and record["probes"]["spikes"] == 0
    assert record["probes"]["activation_variance"] > 0  # the weights were still sound


def test_a_batch_in_parts_shows_the_same(tmp_path: Path) -> None:
    config = candidate(more={"backbone": DIT})
    whole, parts = probed(tmp_path / "whole", config), probed(tmp_path / "parts", config, micro=5)
    run(whole)
    run(parts)
    pairs = list(zip(read(whole, "probes.json")["rows"], read(parts, "probes.json")["rows"], strict=True))
    assert all(one["site"] == two["site"] and one["images"] == two["images"] for one, two in pairs)
    assert all(one["value"] == pytest.approx(two["value"], rel=1e-3, abs=1e-6) for one, two in pairs)


def test_probes_are_no_part_of_a_trial(tmp_path: Path) -> None:
    config, parts = candidate(), (DATA, DATA.setting(), Budget(steps=1), Evaluation(samples=1))
    plain, watched = TrialSettings(*parts), TrialSettings(*parts, probes=(KNOWN.create("probe", "spikes"),))
    assert plain.digest(config) == watched.digest(config)
    (trial_job,) = watched.jobs(config, 1, {}, (), tmp_path, watched.cost(config))
    assert trial_job["probes"] == [{"type": "spikes", "every": None, "factor": 3.0, "window": 100}]
