"""A training that goes on from the checkpoint of a shorter one comes to the same as one from nothing, to the bit."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from segments_for_tests import KNOWN, after, job, read, run, timeless
from trial_files import change

from ablate.candidates.candidate import Candidate, compose
from ablate.candidates.evaluation import Evaluation
from ablate.discovery.provenance import framework
from ablate.io.files import read_json
from ablate.kinds.executor import Stopped
from ablate.spec.slots import fill
from ablate.training.prolonged import ShorterTraining
from ablate.worker.messages import trial_job
from ablate.worker.prolong import LongerTraining
from ablate.worker.trial_run import versions

BATCH = 32
DIT = {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2, "dropout": 0.3}
UNET = {"type": "unet", "width": 8, "multipliers": [1, 2], "blocks": 1, "heads": 1, "attention_resolutions": []}
LOOKING = [KNOWN.create("probe", {"type": name, "every": 64}).spec() for name in ("gradient_norm", "spikes")]


def made(decay: str = "constant", **more: Any) -> Candidate:
    """A candidate whose training draws in every step: dropout, label dropout."""
    spec = {"backbone": DIT, "solver": {"type": "ddim", "steps": 2}, "batch": BATCH}
    spec |= {"optimizer": {"type": "adamw", "lr": 3e-3, "decay": decay}}
    return compose({**spec, "guidance": {"type": "cfg", "scale": 1.5, "drop": 0.2}, **more}, KNOWN)


def of(folder: Path, candidate: Candidate, steps: int, **more: Any) -> dict[str, Any]:
    return job(folder, candidate, {"steps": steps}, **{"probes": LOOKING, **more})


def start(long: dict[str, Any], short: dict[str, Any], candidate: Candidate) -> ShorterTraining | str:
    """The checkpoint with which the longer training may begin, or why with none."""
    probes = tuple(KNOWN.create("probe", spec) for spec in long["probes"])
    evaluation = fill(Evaluation, long["evaluation"], KNOWN)
    images = long["budget"]["steps"] * BATCH
    longer = LongerTraining(trial_job(long), candidate, evaluation, probes, images, versions())
    return longer.begin(Path(short["folder"]), "shorter")


def state(trial: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Weights, averages and moments at the end."""
    return load_file(max(Path(trial["folder"], "checkpoint").glob("*.safetensors")))


def compare(prolonged: dict[str, Any], whole: dict[str, Any], short: dict[str, Any]) -> None:
    ours, theirs = state(prolonged), state(whole)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert Path(prolonged["folder"], "samples.npy").read_bytes() == Path(whole["folder"], "samples.npy").read_bytes()
    assert read(prolonged, "probes.json") == read(whole, "probes.json")
    record, other = timeless(read(prolonged, "record.json")), timeless(read(whole, "record.json"))
    begun = record.pop("continued_from")
    for one in (record, other):
        for point in one.get("shares", {}).values():
            del point["loss"]  # until there the rows of the curve may lie closer together
    if begun["images"] > 0.85 * record["images"]:  # the loss is that of the last tenth of the curve
        assert record.pop("loss") == pytest.approx(other.pop("loss"), rel=0.5)
    assert record == other
    curve = read(prolonged, "curve.json")
    assert [row["images"] for row in curve] == sorted({row["images"] for row in curve})
    assert 0 < begun["train_seconds"] < read(prolonged, "record.json")["train_seconds"] == curve[-1]["seconds"]
    assert (begun["folder"], begun["trial"]) == ("shorter", Path(short["folder"]).name)


EDM = {"schedule": "edm", "precondition": "edm", "weighting": "edm", "levels": "log_normal", "target": "x0"}


MORE: list[dict[str, Any]] = [
    {},
    {**EDM, "weighting": "edm2"},
    {"guidance": {"type": "classifier", "width": 8}},
    {"precision": "bf16", "clip": "global_norm"},
    {"auxiliary": [{"type": "dispersive"}]},
    {"auxiliary": [{"type": "dispersive", "until": 0.5}]},
    {"objective": {"type": "consistency", "first": 2, "last": 3}, "solver": {"type": "consistency", "steps": 2}},
]


@settings(max_examples=6, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(
    backbone=st.sampled_from([DIT, UNET]),
    optimizer=st.sampled_from(["adamw", "sgd", "radam", "adafactor", "muon"]),
    decay=st.sampled_from(["constant", "inverse_sqrt", "wsd"]),
    ema=st.sampled_from(["none", "constant", "power"]),
    more=st.sampled_from(MORE),
    steps=st.integers(4, 9),
    further=st.integers(1, 7),
    every=st.sampled_from([None, 64, 96]),
)
def test_a_prolonged_training_equals_one_from_nothing(
    backbone: dict[str, Any],
    optimizer: str,
    decay: str,
    ema: str,
    more: dict[str, Any],
    steps: int,
    further: int,
    every: int | None,
) -> None:
    """What follows its length goes on from the checkpoint that was kept at the half of it, the others from the last."""
    rate = {"type": optimizer, "lr": 3e-3, "decay": decay, "warmup": 64}
    candidate = made(**{"backbone": backbone, "optimizer": rate, "ema": ema, **more})
    evaluate = {} if every is None else {"every": every, "at_samples": 5}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        short = of(folder / "short", candidate, steps, evaluate=evaluate, checkpoints=[0.5])
        whole, prolonged = (of(folder / kind, candidate, steps + further, evaluate=evaluate) for kind in ("w", "p"))
        run(short), run(whole)
        begun = start(prolonged, short, candidate)
        assert isinstance(begun, ShorterTraining), begun
        follows = decay == "wsd" or "until" in more.get("auxiliary", [{}])[0]
        assert begun.images == BATCH * (steps // 2 if follows else steps) or (follows and every is not None)
        run({**prolonged, **begun.job()})
        compare(prolonged, whole, short)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_interrupted_after_it_was_prolonged_it_comes_to_the_same(tmp_path: Path, steps: int) -> None:
    """It needs the shorter one no more, once it has begun."""
    candidate, evaluate = made(), {"every": 96, "at_samples": 5}
    short, whole, broken = (of(tmp_path / kind, candidate, n, evaluate=evaluate) for kind, n in WORK)
    run(short), run(whole)
    begun = start(broken, short, candidate)
    assert isinstance(begun, ShorterTraining)
    with pytest.raises(Stopped):
        run({**broken, **begun.job()}, after(steps))
    shutil.move(tmp_path / "short", tmp_path / "gone")
    run({**broken, **begun.job()})
    compare(broken, whole, short)


WORK = (("short", 6), ("whole", 12), ("broken", 12))


def test_where_the_shorter_training_is_gone_or_damaged_it_begins_with_nothing(tmp_path: Path) -> None:
    candidate = made()
    short, whole, alone = (of(tmp_path / kind, candidate, n) for kind, n in WORK)
    run(short), run(whole)
    begun = start(alone, short, candidate)
    assert isinstance(begun, ShorterTraining)
    weights = max(Path(short["folder"], "checkpoint").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    run({**alone, **begun.job()})
    assert timeless(read(alone, "record.json")) == timeless(read(whole, "record.json"))


def test_checkpoints_that_were_asked_for_stay_and_change_nothing(tmp_path: Path) -> None:
    """At the last step that does not go beyond the share; also where a stop comes between."""
    kept, plain = (of(tmp_path / kind, made(), 12) for kind in ("kept", "plain"))
    wanted = {**kept, "checkpoints": [0.3, 0.5]}
    with pytest.raises(Stopped):
        run(wanted, after(6))
    run(wanted), run(plain)
    assert sorted(int(file.stem) for file in Path(kept["folder"], "kept").glob("*.json")) == [96, 192]
    assert timeless(read(kept, "record.json")) == timeless(read(plain, "record.json"))
    assert not Path(plain["folder"], "kept").exists()


def changed(short: dict[str, Any], **keys: Any) -> None:
    """The shorter training as if its job had been another one."""
    change(Path(short["folder"]), **keys)


@pytest.mark.parametrize(
    ("candidate", "long", "then", "why"),
    [
        (made("cosine"), {}, {}, "optimizer 'adamw' follows the length of the training from 0 images on"),
        (made("wsd"), {}, {}, "from 154 images on, and its first checkpoint is of 192"),
        (made(ema="post_hoc"), {}, {}, "ema 'post_hoc' follows the length"),
        (made(), {"evaluate": {"at": (0.25, 0.75)}}, {}, "its quality after 96 images, which evaluate asks for now"),
        (made(), {"probes": [{**LOOKING[0], "every": 128}]}, {}, "probe 'gradient_norm' did not look on"),
        (made(), {}, {"micro": 8}, "for want of memory it was trained in parts of 8 images"),
        (made(), {}, {"device": "cuda"}, "it was trained on cuda"),
        (made(), {"data_hash": "0" * 64}, {}, "it was trained on other data"),
        (made(), {}, {"budget": {"minutes": 1}}, "time decided how long it was trained"),
        (made(), {}, {"budget": {"images": 10_000}}, "it was trained on 10,016 images, which is no less"),
    ],
)
def test_what_would_come_to_something_else_is_not_prolonged(
    tmp_path: Path, candidate: Candidate, long: dict[str, Any], then: dict[str, Any], why: str
) -> None:
    short = of(tmp_path / "short", candidate, 6)
    run(short)
    changed(short, **then)
    begun = start(of(tmp_path / "long", candidate, 12, **long), short, candidate)
    assert isinstance(begun, str) and why in begun


def test_other_source_is_not_gone_on_with(tmp_path: Path) -> None:
    candidate, own = made(), {"sources": {"ablate": framework()}}
    short = of(tmp_path / "short", candidate, 6, **own)
    run(short)
    trained_with = read_json(max(Path(short["folder"], "checkpoint").glob("*.json")))["sources"]
    assert isinstance(
        start(of(tmp_path / "long", candidate, 12, sources=trained_with), short, candidate), ShorterTraining
    )
    changed = {**trained_with, "ema/constant": "0" * 64}
    why = start(of(tmp_path / "long", candidate, 12, sources=changed), short, candidate)
    assert why == "it was trained with other source (ema/constant)"


def test_probes_at_shares_of_the_training_are_told(tmp_path: Path) -> None:
    """A short training is looked at as often whatever its length, for an observation costs time."""
    probe = KNOWN.create("probe", "weight_norm")
    assert probe.interval(32, 10_000) == probe.interval(32, 20_000) != probe.interval(32, 2_000_000)
    candidate = made()
    short = of(tmp_path / "short", candidate, 6, probes=[probe.spec()])
    run(short)
    changed(short, budget={"images": 3_000_000})
    long = of(tmp_path / "long", candidate, 200_000, probes=[probe.spec()])
    assert "probe 'weight_norm' looks at shares of the training" in str(start(long, short, candidate))
