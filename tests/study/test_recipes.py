"""Known networks as recipes: `base: {model: NAME}`, and what overrides their parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ablate
from ablate.errors import InputError
from ablate.study.load import load_study
from ablate.study.recipes import model_files, overridden, parts
from ablate.study.yaml import read

STUDIES = Path(__file__).parents[2] / "studies"
FILES = sorted((STUDIES / "models").glob("*.yaml"))
SMALL = {"width": 32, "multipliers": [1, 2], "blocks": 1, "attention_resolutions": [4], "groups": 8}


def study(base: Any, **keys: Any) -> dict[str, Any]:
    spec = {"study": "s", "data": "digits", "base": base, "design": "grid", "budget": {"images": 64}}
    return {**spec, "evaluate": {"metrics": ["kid"], "samples": 20}, **keys}


def written(name: str, **changes: Any) -> dict[str, Any]:
    """The same by hand: all that the file says, with its backbone and others replaced."""
    return {**parts(read(STUDIES / "models" / f"{name}.yaml").data), **changes}


def refusal(spec: Any, **options: Any) -> str:
    with pytest.raises(InputError) as refused:
        load_study(spec, **options)
    return str(refused.value)


def test_all_files_are_found_by_name():
    assert {name: file.resolve() for name, file in model_files().items()} == {f.stem: f for f in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_file_says_how_its_paper_trained(file):
    said = read(file).data.keys()
    needed = {"schedule", "levels", "target", "precondition", "weighting", "optimizer", "ema", "solver", "batch"}
    optional = {"shape", "classes", "backbone", "loss", "auxiliary", "clip", "guidance"}
    assert needed <= said and not said - needed - optional


def test_a_recipe_is_the_same_study_as_its_parts_written_out():
    by_name = load_study(
        study({"model": "edm_cifar10_ddpmpp", "backbone": SMALL, "optimizer": {"lr": 0.002}, "batch": 8})
    )
    backbone = written("edm_cifar10_ddpmpp")["backbone"]
    optimizer = {"type": "adam", "lr": 0.002, "warmup": 10_000_000}
    by_hand = written("edm_cifar10_ddpmpp", backbone={**backbone, **SMALL}, optimizer=optimizer, batch=8)
    assert by_name.study.digest() == load_study(study(by_hand)).study.digest()
    assert by_name.study.base.precondition.name == "edm" and by_name.study.base.solver.name == "heun"
    assert by_name.document.data["base"] == by_hand  # what the study's folder keeps: no file has to be there any more


def test_profiles_overrides_and_lines_of_vary_change_the_recipe():
    spec = study({"model": "dit_s_2", "guidance": {"channels": None}}, profiles={"tiny": {"base.backbone.depth": 2}})
    spec["vary"] = {"backbone.width": [96, 192], "target": ["epsilon", "v"]}
    loaded = load_study(spec, profile="tiny", overrides=["base.model=dit_b_2", "base.backbone.heads=4"])
    backbone = loaded.study.base.backbone.spec()
    assert (backbone["depth"], backbone["heads"], backbone["width"], backbone["patch"]) == (2, 4, 768, 2)
    widths = {loaded.candidate(a).backbone.spec()["width"] for a in loaded.proposals()}
    assert widths == {96, 192}


def test_a_file_of_ones_own_goes_out_from_the_study(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("shape: [1, 8, 8]\nbackbone: {type: dit, patch: 4, depth: 1, width: 16, heads: 2}\n")
    file = tmp_path / "study.yaml"
    file.write_text(
        "study: s\ndata: digits\nbase: {model: mine.yaml, target: v}\nbudget: {images: 64}\n"
        "evaluate: {metrics: [kid], samples: 20}\n"
    )
    base = load_study(file).study.base
    assert base.backbone.spec()["width"] == 16 and base.target.name == "v"
    mine.write_text("shape: [1, 8, 8]\nbackbone:\n  type: dit\n  patch: 3\n")
    assert f"{tmp_path}/mine.yaml:2: base.backbone: backbone 'dit': patch 3 does not divide 8×8" in refusal(file)
    file.write_text(file.read_text().replace("target: v", "backbone: {patch: 5}"))
    assert f"{file}:3: base.backbone: backbone 'dit': patch 5 does not divide 8×8" in refusal(file)


@pytest.mark.parametrize(
    ("recipe", "own", "whole"),
    [
        ("adam", {"lr": 1}, {"type": "adam", "lr": 1}),
        ({"type": "adam", "lr": 1}, {"beta1": 0}, {"type": "adam", "lr": 1, "beta1": 0}),
        ({"type": "adam", "lr": 1}, {"type": "sgd"}, {"type": "sgd"}),
        ({"type": "adam", "lr": 1}, "sgd", "sgd"),
        ({"type": "adam", "lr": 1}, "adam", {"type": "adam", "lr": 1}),
        ({"type": "unet", "fusion": {"type": "concat", "project": False}}, {"fusion": {"mp": True}}, None),
        ([1, 2], [3], [3]),
        (1, 2, 2),
    ],
)
def test_what_overrides_what(recipe, own, whole):
    inner = {"type": "unet", "fusion": {"type": "concat", "project": False, "mp": True}}
    assert overridden(recipe, own) == (inner if whole is None else whole)


def test_costs_take_names_and_recipes():
    file = ablate.cost(STUDIES / "models" / "dit_s_8.yaml")
    assert ablate.cost("dit_s_8") == file == ablate.cost({"model": "dit_s_8", "batch": 8})
    assert ablate.cost({"model": "dit_s_8", "backbone": {"depth": 6}}, shape=(4, 64, 64)).params < 0.6 * file.params
    # 250 evaluations with a second one for guidance; three passes for an image of training
    assert file.sample_gflops == pytest.approx(250 * 2 * file.gflops) and file.train_gflops == 3 * file.gflops
    with pytest.raises(InputError, match=r"there is no model 'dit_s_9'; did you mean 'dit_s_8'\?"):
        ablate.cost("dit_s_9")


def test_what_is_no_recipe_is_refused(tmp_path):
    assert "there is no model 'edm2_xss'; did you mean 'edm2_xs'?" in refusal(study({"model": "edm2_xss"}))
    assert "expected the name of a model" in refusal(study({"model": 3}))
    assert "is no model: it does not say a shape" in refusal(study({"model": str(STUDIES / "clipping.yaml")}))
    assert "there is no such file" in refusal(study({"model": str(tmp_path / "none.yaml")}))
    twice = tmp_path / "twice.yaml"
    twice.write_text("shape: [1, 8, 8]\nmodel: dit_s_2\n")
    assert "names another model" in refusal(study({"model": str(twice)}))
    misspelt = refusal(study({"model": "dit_s_2", "backbone": {"widht": 8}}))
    assert "has no field 'widht'; did you mean 'width'?" in misspelt
    grey = refusal(study({"model": "dit_s_2"}))  # told at the line of the model's own file
    assert "dit_s_2.yaml:23: base.guidance: guidance 'cfg': cannot guide 3 channels of 1" in grey
    group_norm = refusal(study({"model": "edm2_xs", "backbone": {**SMALL, "norm": "group", "groups": 8}}))
    assert "pixel_norm takes the place of the norms in the branches" in group_norm
