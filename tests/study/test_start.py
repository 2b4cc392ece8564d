"""Trainings that begin with trained weights: those of the baseline, of an earlier study's trial, of a file."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from segments_for_tests import CACHE
from studies_for_tests import changed

import ablate
from ablate.cli import main
from ablate.errors import InputError
from ablate.study.load import load_study
from ablate.study.plan import plan

PRUNED, IMITATE = "[1]", {"type": "imitate", "weight": 1.0}
STUDY: dict[str, Any] = {
    "study": "starts",
    "data": "digits",
    "base": {
        "backbone": {"type": "dit", "patch": 4, "depth": 3, "width": 16, "heads": 2},
        "schedule": "cosine",
        "target": "v",
        "ema": {"type": "constant", "halflife": 30},
        "optimizer": {"type": "adam", "lr": 0.01},
        "batch": 16,
    },
    "vary": {
        "backbone.without": [[], [1]],
        "start": ["scratch", "baseline"],
        "objective": ["denoise", IMITATE],
        "adapter": ["none", {"type": "lora", "rank": 2}],
    },
    "design": {
        "type": "chosen",
        "named": [
            {"start": "baseline", "adapter": "lora"},
            {"backbone.without": PRUNED, "start": "baseline", "objective": "imitate"},
        ],
        "seeds": 1,
    },
    "budget": {"steps": 3},
    "evaluate": {"metrics": [], "samples": 4},
    "objectives": ["loss"],
    "executor": {"type": "local", "in_process": True},
}


def study(**changes: Any) -> dict[str, Any]:
    """The study with other values at paths whose parts `__` joins."""
    return changed(STUDY, changes, "__")


def alone(**base: Any) -> dict[str, Any]:
    """A study of one candidate."""
    made = copy.deepcopy(STUDY)
    made["base"] |= base
    return made | {"vary": {}, "design": {"type": "grid", "seeds": 1}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the study has run, `results/starts`; the working directory."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("ABLATE_CACHE", str(CACHE))
        results = ablate.run(STUDY, out=home / "results" / "starts")
        assert (results.trials["state"] == "complete").all()
        yield home


def row_of(home: Path, **choices: str) -> Any:
    """The row of the one trial with these choices."""
    trials = ablate.load(home / "results" / "starts").trials
    for path, label in choices.items():
        trials = trials[trials[f"c.{path}"] == label]
    assert len(trials) == 1
    return trials.iloc[0]


def weights(home: Path, part: str, **choices: str) -> dict[str, torch.Tensor]:
    """A part of the newest checkpoint of the trial with these choices."""
    folder = home / "results" / "starts" / "trials" / row_of(home, **choices)["trial"] / "checkpoint"
    tensors = load_file(sorted(folder.glob("*.safetensors"))[-1])
    return {k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(f"{part}.")}


def test_lora_trains_beside_the_averaged_weights_of_the_baseline(trained: Path) -> None:
    taught = weights(trained, "network", adapter="lora")
    averaged = (
        ablate.load(trained / "results" / "starts").network(row_of(trained, start="scratch")["trial"]).state_dict()
    )
    frozen = {name: value for name, value in taught.items() if name.endswith(".frozen")}
    assert len(frozen) > 5
    for name, value in frozen.items():
        torch.testing.assert_close(value, averaged[name.replace(".frozen", ".weight")])
    assert any(value.any() for name, value in taught.items() if name.endswith("outer_weight"))


def test_a_pruned_network_begins_with_what_is_left(trained: Path) -> None:
    """It has none of the weights that are left out, and costs less; its teacher's pass counts in the training."""
    names = weights(trained, "network", objective="imitate").keys()
    assert names < weights(trained, "network", start="scratch").keys()
    assert not any(name.startswith("blocks.1.") for name in names)
    pruned, whole = row_of(trained, objective="imitate"), row_of(trained, start="scratch")
    assert pruned["params"] < whole["params"] and pruned["gflops"] < whole["gflops"]
    assert pruned["train_pass_gflops"] == pytest.approx(pruned["gflops"] + whole["gflops"] / 3, rel=0.15)
    lora = row_of(trained, adapter="lora")
    assert lora["params"] == whole["params"] and 0 < lora["trainable_params"] < whole["params"]


def test_a_trial_of_another_study_and_a_file_are_starts_too(trained: Path) -> None:
    """The same network from either place; a student's identity does not say where the study lies."""
    network = ablate.load(trained / "results" / "starts").network(row_of(trained, start="scratch")["trial"])
    save_file(network.state_dict(), trained / "weights.safetensors")
    for start in ({"trial": {"study": "results/starts", "candidate": "baseline"}}, {"file": "weights.safetensors"}):
        spec = alone(start=start, adapter={"type": "dora", "rank": 2})
        again = ablate.run(spec, out=trained / "results" / next(iter(start)))
        assert (again.trials["state"] == "complete").all(), again.trials["message"].tolist()
    (trained / "results" / "starts").rename(trained / "results" / "moved")
    moved = {"trial": {"study": "results/moved", "candidate": "baseline"}}
    digest = plan(load_study(alone(start=moved)))["config_hash"].item()
    (trained / "results" / "moved").rename(trained / "results" / "starts")
    here = {"trial": {"study": "results/starts", "candidate": "baseline"}}
    assert plan(load_study(alone(start=here)))["config_hash"].item() == digest


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (alone(adapter="lora"), "lora trains a little beside frozen weights, which have to be trained ones"),
        (alone(start="baseline"), "the baseline cannot start from itself"),
        (alone(start="baselin"), "did you mean 'baseline'"),
        (alone(start={"trial": {"study": "nowhere"}}), "nowhere is no study's folder"),
        (alone(start={"file": "nothing.safetensors"}), "there is no such file of weights"),
        (alone(objective=IMITATE), "its teacher is the network that the training starts from"),
        (study(design={"type": "chosen", "seeds": 1, "named": [{"objective": "imitate"}]}), "start_network"),
        (
            study(
                base__backbone={
                    "type": "unet",
                    "width": 8,
                    "groups": 4,
                    "weight_norm": "forced",
                    "zero_init": False,
                    "attention_resolutions": [8],
                },
                vary={"start": ["scratch", "baseline"], "adapter": ["none", "lora"]},
                design={"type": "chosen", "seeds": 1, "named": [{"start": "baseline", "adapter": "lora"}]},
            ),
            "weight_norm 'forced' normalises what is trained, and an adapter adds to weights that are not",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_reason(
    spec: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refused:
        load_study(spec)
    assert words in str(refused.value)


def test_a_network_that_has_other_weights_cannot_begin_with_them() -> None:
    spec = study(vary={"start": ["scratch", "baseline"], "backbone.width": [16, 32]})
    spec["design"] = {"type": "chosen", "seeds": 1, "named": [{"start": "baseline", "backbone.width": 32}]}
    failures = plan(load_study(spec))["failure"].dropna().tolist()
    assert len(failures) == 1 and "they are of another network" in failures[0]


def test_without_a_start_a_study_is_as_it_was() -> None:
    plain = load_study(alone()).study.base
    assert not {"start", "adapter"} & plain.active().keys()
    assert load_study(alone(start="scratch", adapter="none")).study.base.digest() == plain.digest()


@pytest.mark.parametrize("weight_norm", ["learned", "forced"])
def test_adapters_beside_normalised_weights_are_refused_by_plan(
    weight_norm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """EDM2 from D on, whose layers draw their weights from others: a line for each adapter that was asked for."""
    edm2 = {"width": 8, "groups": 4, "attention_resolutions": [8], "zero_init": False, "output_gain": True}
    spec = study(
        base__backbone={"type": "unet", **edm2, "weight_norm": weight_norm},
        vary={"start": ["scratch", "baseline"], "adapter": ["none", "lora", "dora"]},
        design={"type": "chosen", "seeds": 1, "named": [{"start": "baseline", "adapter": a} for a in ("lora", "dora")]},
    )
    file = tmp_path / "adapted.yaml"
    file.write_text(json.dumps(spec), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(file)])
    printed = capsys.readouterr()
    lines = printed.err.strip().splitlines()
    assert ended.value.code == 2 and not printed.out and len(lines) == 2
    for name, line in zip(("lora", "dora"), lines, strict=True):
        assert f"start=baseline with adapter={name}: backbone: backbone 'unet'" in line
        assert f"weight_norm '{weight_norm}' normalises what is trained, and an adapter adds to weights" in line
        assert line.endswith("say adapter: none, or start from a network with weight_norm: none")
