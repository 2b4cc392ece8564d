"""Settings that have no effect, and what `all` leaves out, are told where a study is planned and where it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ablate.discovery.catalog import catalog
from ablate.spec.component import Course, InputSpec
from ablate.study import lock
from ablate.study.ineffective import ineffective_settings, left_out
from ablate.study.load import load_study

STUDIES = Path(__file__).parents[2] / "studies"
STUDY: dict[str, Any] = {
    "study": "sense",
    "data": "digits",
    "base": {
        "backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 32, "heads": 2},
        "guidance": {"type": "cfg", "scale": 1.5, "drop": 0.1},
        "batch": 16,
    },
    "vary": {"backbone.width": [32, 64]},
    "budget": {"images": 512},
    "evaluate": {"samples": 20, "previews": 0},
    "objectives": ["loss"],
}
SHORT = "a training of 512"
SSM = "type: dit, patch: 4, depth: 1, attention: ssm"
SSM_UNET = "type: unet, multipliers: [1], attention_resolutions: [8], attention: ssm"


def told(*said: str) -> list[str]:
    return ineffective_settings(load_study(STUDY, overrides=said))


def test_a_study_that_makes_sense_draws_no_word() -> None:
    assert told() == []


@pytest.mark.parametrize("study", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_ready_studies_say_nothing_that_has_no_effect(study: Path) -> None:
    assert ineffective_settings(load_study(study)) == []


def test_a_slot_that_is_filled_by_default_was_not_given() -> None:
    assert (
        told(
            "base.backbone={type: unet, multipliers: [1, 2], attention_resolutions: [4]}",
            "vary={backbone.width: [16, 32]}",
        )
        == []
    )
    (line,) = told(
        "base.backbone={type: unet, multipliers: [1, 2], attention_resolutions: [4], mlp: gelu}",
        "vary={backbone.width: [16, 32]}",
    )
    assert "'mlp' is given and not read, since no block is a transformer's" in line


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("base.optimizer={type: adamw, warmup: 512}", f"warmup of 512 images: {SHORT} never reaches"),
        ("base.optimizer={type: adamw, final: 0.1}", "'final' is given and not read, since 'decay' is 'constant'"),
        ("base.optimizer={type: sgd, decay: inverse_sqrt}", "the rate falls after 100,000 images"),
        ("base.optimizer={type: adamw, decay: wsd, cooldown: 0.02}", "in the last 10 images, which are less"),
        ("base.optimizer={type: adamw, decay: wsd, warmup: 450}", "warmup of 450 images: the rate falls after 410"),
        ("base.optimizer={type: adamw, cooldown: 0.1}", "'cooldown' is given and not read, since 'decay'"),
        ("base.ema.halflife=512", "a half-life of 512 images is longer than the training"),
        ("base.ema={type: constant, by: decay, decay: 0.99999}", "is longer than the training"),
        ("base.ema={type: constant, rampup: 0}", "it stays near its start"),
        ("base.guidance.drop=0", "scale 1.5 compares with the null class, which drop: 0 never trains"),
        ("base.guidance.drop=1e-4", "never trains the null class"),
        ("base.batch=1024", "budget: 512 images are less than a step; one step of 1024 is trained"),
        ("budget={train_gflops: 1e-6}", "budget: 1e-06 Gflops are less than a step"),
        ("probes=[{type: gradient_norm, every: 512}]", f"probe 'gradient_norm': every 512 images: {SHORT}"),
        ("evaluate={samples: 8, metrics: [{type: kid}]}", "8 samples of 10 class numbers: a class may get none"),
        ("vary.micro=[4, 8]", "vary.micro: changes nothing that decides a result"),
        ("design={type: search, algorithm: tpe, population: 5}", "'population' is given and not read, since"),
        ("base.backbone.attention=ssm", "'dit': 'heads' is given and not read, since attention 'ssm' does not read it"),
        (f"base.backbone={{{SSM}, qk_norm: rms}}", "'qk_norm' is given and not read, since attention 'ssm'"),
        (f"base.backbone={{{SSM}, qkv_bias: false, positions: rope}}", "'ssm' does not turn queries and keys"),
        (f"base.backbone={{{SSM_UNET}, head_width: 32}}", "'unet': 'head_width' is given and not read"),
    ],
)  # fmt: skip
def test_what_cannot_matter_is_told(override: str, line: str) -> None:
    lines = told(override)
    assert len([one for one in lines if line in one]) == 1 and len(lines) <= 2, lines


def test_a_field_that_some_candidate_reads_is_read() -> None:
    assert told("base.optimizer={type: adamw, final: 0.1}", "vary.optimizer.decay=[constant, cosine]") == []
    assert told("vary={backbone.attention: [softmax, ssm]}") == []
    assert told("base.backbone.attention=ssm", "base.backbone.conditioning=cross_attention") == []  # it has heads too
    assert told(f"base.backbone={{{SSM}, positions: sincos, qkv_bias: false}}") == []


@pytest.mark.parametrize("design", ["{type: search, trials: 3}", "one_factor"])
def test_what_all_leaves_out_is_told_and_kept(design: str) -> None:
    loaded = load_study(STUDY, overrides=["vary={backbone.conditioning: all}", f"design={design}"])
    (line,) = ineffective_settings(loaded)
    assert line.startswith("vary.backbone.conditioning: all leaves out adagn, adagn_zero, scale: ")
    assert "needs 'feature_maps'" in line and len(line) < 300
    locked = lock.make(loaded)
    assert locked["left_out"]["backbone.conditioning"].keys() == {"adagn", "adagn_zero", "scale"}
    assert list(left_out(locked["left_out"])) == [line], "a later launch, for which `all` is frozen, says it again"


def test_a_range_ends_at_its_last_step_and_says_so() -> None:
    vary = "vary={optimizer.weight_decay: {low: 0, high: 0.1, step: 0.03}}"
    loaded = load_study(STUDY, overrides=[vary, "design={type: search, trials: 3}"])
    assert loaded.space.dimensions[0].high == 0.09
    assert ineffective_settings(loaded) == [
        "vary.optimizer.weight_decay: steps of 0.03 from 0 do not reach 0.1; it ends at 0.09"
    ]


def test_a_base_that_leaves_a_field_open_is_a_candidate_as_it_stands() -> None:
    loaded = load_study(STUDY, overrides=["vary={sigma_data: [0.3, 0.5]}"])
    assert [loaded.candidate(one).sigma_data for one in loaded.proposals() or ()] == [None, 0.3, 0.5]


def test_a_family_keeps_what_its_choice_gives_it() -> None:
    own = "{type: uvit, patch: 4, depth: 3, width: 32, heads: 2, fusion: {type: frequency, cutoff: 0.5}}"
    loaded = load_study(STUDY, overrides=[f"vary={{backbone: [dit, {own}], backbone.fusion: [concat]}}"])
    fusions = [loaded.candidate(one).spec()["backbone"].get("fusion") for one in loaded.proposals() or ()]
    assert [one and one["type"] for one in fusions] == [None, "frequency", "concat"]
    assert fusions[1]["cutoff"] == 0.5


def test_no_component_complains_of_a_long_training_by_its_defaults() -> None:
    course = Course(InputSpec((3, 32, 32), 10), 128, 10**8, 10_000)
    for entry in catalog().entries():
        if any(info.is_required() and not isinstance(info.default, str) for info in entry.cls.model_fields.values()):
            continue
        assert list(catalog().create(entry.kind, entry.full_name).idle(course)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("base.guidance={type: cfg, sigma_low: 1.0e+6, sigma_high: 1.0e+7}", "lies within its interval, so it never"),
        ("base.guidance={type: classifier, scale: 0}", "scale: 0 guides nowhere"),
        ("base.guidance={type: cfg, sigma_low: 0.3, sigma_high: 3}", None),
    ],
)
def test_a_guidance_that_never_guides_is_told(change: str, message: str | None) -> None:
    lines = [
        line for line in ineffective_settings(load_study(STUDY, overrides=[change])) if line.startswith("guidance")
    ]
    assert [message in line for line in lines] == ([] if message is None else [True])


def test_a_profile_that_would_be_refused_is_told_though_it_is_not_asked_for() -> None:
    profiles = {"big": {"base.backbone.hidden": 3}, "short": {"budget.images": 64}}
    lines = [line for line in ineffective_settings(load_study({**STUDY, "profiles": profiles})) if "profile" in line]
    assert len(lines) == 1 and "profiles.big: would be refused: base.backbone.hidden" in lines[0]


def test_the_plan_and_the_run_tell_the_same(tmp_path: Path) -> None:
    from ablate.study.launch import launch
    from ablate.study.plan import plan

    study = {**STUDY, "base": {**STUDY["base"], "ema": {"type": "constant", "halflife": 600}}}
    study["vary"], study["budget"] = {}, {"images": 32}
    lines = [line for line in plan(load_study(study), "cpu").attrs["warnings"] if "half-life" in line]
    heard: list[str] = []

    def say(line: str) -> None:
        heard.append(line)
        if line in (f"warning: {one}" for one in lines):
            raise KeyboardInterrupt  # it was told before anything was trained: that is all

    with pytest.raises(KeyboardInterrupt):
        launch(study, out=tmp_path / "out", executor="local", figures=False, device="cpu", say=say)
    assert len(lines) == 1 and not (tmp_path / "out").exists()
