"""From a study file to a loaded study: what it holds, and which candidates."""

from __future__ import annotations

from pathlib import Path

import pytest
from refusals import bent, load, refusal
from toy_study import PLUGIN, TEXT, line_of

from ablate.candidates.objectives import Objective
from ablate.errors import InputError, SpecError
from ablate.study.load import load_study
from ablate.study.yaml import parse

READY = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))


def test_a_study_is_completed(tmp_path: Path) -> None:
    loaded = load(tmp_path, TEXT)
    assert loaded.study.budget.images == 3200
    assert loaded.study.base.optimizer.lr == 1e-3
    assert loaded.study.base.solver == loaded.catalog.create("solver", loaded.catalog.default("solver"))
    assert loaded.trial_settings.setting.shape == (1, 8, 8)
    assert loaded.baseline == {"backbone.conditioning": "toy_scale", "backbone.width": 8}
    assert loaded.objectives == (Objective("loss", "loss"), Objective("gflops", "gflops"))
    assert loaded.proposals() == [
        {"backbone.conditioning": "toy_scale", "backbone.width": 8},
        {"backbone.conditioning": "toy_shift", "backbone.width": 8},
        {"backbone.conditioning": "toy_scale", "backbone.width": 16},
    ]
    assert loaded.candidate(loaded.baseline) == loaded.study.base
    assert loaded.candidate({"backbone.width": 16}).backbone.spec()["width"] == 16
    with pytest.raises(SpecError, match="needs 'feature_maps'"):
        loaded.candidate({"backbone.conditioning": "toy_map_scale"})


def test_a_mapping_is_a_study_too(tmp_path: Path) -> None:
    data = parse(TEXT, Path("x")).data
    assert load_study(data).study.spec() == load(tmp_path, TEXT).study.spec()
    with pytest.raises(InputError) as caught:
        load_study({**data, "sed": 3})
    assert str(caught.value) == "sed: study has no field 'sed'; did you mean 'seed'?"


def test_set_and_profiles(tmp_path: Path) -> None:
    assert load(tmp_path, TEXT, profile="big").study.budget.images == 64_000
    both = load(tmp_path, TEXT, profile="big", overrides=["budget.images=1_000", "base.solver.steps=7"])
    assert (both.study.budget.images, both.study.base.solver.steps) == (1000, 7)
    assert both.baseline["backbone.width"] == 16
    schedule = load(tmp_path, TEXT, overrides=["base.schedule.steps=10"]).study.base.schedule  # given by its name alone
    assert (schedule.name, schedule.spec()["steps"]) == ("linear", 10)
    varied = load(tmp_path, TEXT, overrides=["vary.backbone.width=[8, 24]"])
    assert varied.space.dimensions[1].choices == (8, 24)
    assert len(load(tmp_path, TEXT, overrides=["vary={}"]).proposals() or ()) == 1
    assert load(tmp_path, TEXT, profile="big").study.digest() != load(tmp_path, TEXT).study.digest()


def test_each_candidate_of_a_finite_design_is_composed(tmp_path: Path) -> None:
    text = bent("toy_one_factor", "toy_grid").replace(
        "  backbone.width:\n    - 8\n    - 16", "  backbone: [toy_tokens, toy_maps]\n  guidance: [none, cfg]"
    )
    text = text.replace("guidance: {type: cfg, scale: 1.5, drop: 0.1}", "guidance: none")
    problems = [
        (line.split(": ")[0], line.split(": ")[2], line.split(" needs ")[1][:14]) for line in refusal(tmp_path, text)
    ]
    shift, cfg = line_of(text, "toy_shift]"), line_of(text, "[none, cfg]")
    both = "backbone=toy_maps with guidance=cfg"
    assert problems == [
        (f"study.yaml:{shift}", "backbone=toy_maps with backbone.conditioning=toy_shift", "'tokens', whic"),
        (f"study.yaml:{shift}", f"{both} with backbone.conditioning=toy_shift", "'tokens', whic"),
        (f"study.yaml:{shift}", f"{both} with backbone.conditioning=toy_shift", "'null_class', "),
        (f"study.yaml:{cfg}", both, "'null_class', "),
    ]


def test_a_choice_that_no_candidate_has_is_refused(tmp_path: Path) -> None:
    text = bent("backbone.width:\n    - 8\n    - 16", "backbone.norm: [layer, group]\n  backbone.groups: [2, 4]")
    line = line_of(text, "backbone.groups")
    text = text.replace("[layer, group]", "[layer]")
    assert refusal(tmp_path, text)[0].startswith(f"study.yaml:{line}: vary.backbone.groups: ")


def test_objectives_are_metrics_by_name_or_column_then_gflops(tmp_path: Path) -> None:
    text = TEXT.replace("objectives: [loss, gflops]\n", "").replace(
        "samples: 200", "samples: 200\n  metrics: [fd, kid]"
    )
    loaded = load(tmp_path, text)
    label = "kid_efficientnet_lite0"
    assert [(o.name, o.column) for o in loaded.objectives] == [
        ("fd", "fd_efficientnet_lite0"), ("kid", label), ("gflops", "gflops"),
    ]  # fmt: skip
    by_column = load(tmp_path, text + f"objectives: [{label}]\n")
    assert by_column.objectives == (Objective(label, label),)
    assert refusal(tmp_path, text + f"objectives: [kid, {label}]\n")[0].endswith(f"'{label}' stands twice")


BROKEN = "import nowhere_to_be_found\n"


def test_a_plugin_that_cannot_be_imported_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "gates.py").write_text(BROKEN)
    lines = refusal(tmp_path, bent(f"[{PLUGIN}]", f"[{PLUGIN}, gates.py]"))
    assert len(lines) == 1 and lines[0].startswith("study.yaml:4: plugins[1]: plugin ")
    assert lines[0].endswith(
        "gates.py could not be loaded: ModuleNotFoundError: No module named 'nowhere_to_be_found' (gates.py:1); "
        "`ablate plugins check gates.py` shows the traceback"
    )
    (tmp_path / "good.py").write_text("import ablate.api\n")
    assert load(tmp_path, bent(f"[{PLUGIN}]", f"[{PLUGIN}, good.py]")).catalog.plugins[1] == str(tmp_path / "good.py")
    lines = refusal(tmp_path, TEXT, plugins=[str(tmp_path / "gates.py")])
    assert lines[0].startswith("--plugin gates.py: plugin ")
    assert refusal(tmp_path, TEXT, plugins=["nowhere.py"])[0].startswith("--plugin nowhere.py: there is no plugin file")


def test_a_plugin_of_the_command_line_is_used(tmp_path: Path) -> None:
    loaded = load(tmp_path, bent(f"plugins: [{PLUGIN}]\n", ""), plugins=[str(PLUGIN)])
    assert loaded.catalog.entry("backbone", "toy_tokens").file == PLUGIN


@pytest.mark.parametrize("path", READY, ids=lambda p: p.stem)
def test_ready_studies_load(path: Path) -> None:
    loaded = load_study(path)
    assert loaded.candidate(loaded.baseline) == loaded.study.base
    for profile in loaded.study.profiles:
        assert load_study(path, profile=profile).study.study == loaded.study.study


def test_all_of_a_search_is_what_fits_under_some_choice_above():
    backbones = [
        {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 1},
        {"type": "unet", "width": 16, "attention_resolutions": [4]},
    ]
    study = {
        "study": "families",
        "data": "digits",
        "base": {"backbone": backbones[0]},
        "vary": {"backbone": backbones, "backbone.conditioning": "all", "backbone.fusion": ["add", "concat"]},
        "design": {"type": "search", "trials": 4},
        "budget": {"steps": 1},
        "objectives": ["loss"],
    }
    by_path = {d.path: d.choices for d in load_study(study).space.dimensions}
    assert {"adaln_zero", "adagn_zero"} <= set(by_path["backbone.conditioning"])
    study["vary"]["backbone"] = backbones[:1]
    del study["vary"]["backbone.fusion"]
    by_path = {d.path: d.choices for d in load_study(study).space.dimensions}
    assert "adaln_zero" in by_path["backbone.conditioning"] and "adagn" not in by_path["backbone.conditioning"]
