"""What cannot work is refused when the study is read: at its line, with the reason and what to do."""

import pytest

from ablate.errors import InputError
from ablate.study.load import load_study

STUDY = """\
study: process
question: Which?
data: digits
base:
  backbone: {{type: dit, patch: 4, depth: 1, width: 16, heads: 2}}
  {part}
budget: {{images: 64}}
objectives: [loss]
"""
LINE = 6

UNCONDITIONAL = '''
"""A network that knows no classes."""

from torch import nn

from ablate.api import Backbone, InputSpec


class Plain(Backbone):
    """One convolution."""

    name = "plain"

    def build(self, setting: InputSpec) -> nn.Module:
        return nn.Conv2d(1, 1, 1)
'''

CASES = {
    "tau of zero": ("weighting: {type: min_snr, tau: 0}", ["base.weighting.tau", "greater than 0"]),
    "negative tau": ("weighting: {type: max_snr, tau: -1}", ["base.weighting.tau", "greater than 0"]),
    "beta of zero": ("schedule: {type: linear, beta_start: 0}", ["base.schedule.beta_start", "greater than 0"]),
    "beta of one": ("schedule: {type: scaled_linear, beta_end: 1}", ["base.schedule.beta_end", "less than 1"]),
    "beta above one": ("schedule: {type: sigmoid, beta_end: 1.5}", ["base.schedule.beta_end", "less than 1"]),
    "negative beta": ("schedule: {type: exponential, beta_start: -0.1}", ["beta_start", "greater than 0"]),
    "beta of a cosine": ("schedule: {type: cosine, beta_max: 1}", ["base.schedule.beta_max", "less than 1"]),
    "falling beta": (
        "schedule: {type: linear, beta_start: 0.02, beta_end: 0.01}",
        ["base.schedule", "beta_start (0.02) must lie below beta_end (0.01)"],
    ),
    "falling sigma": (
        "schedule: {type: edm, sigma_min: 80, sigma_max: 0.002}",
        ["base.schedule", "sigma_min (80) must lie below sigma_max (0.002)"],
    ),
    "equal sigma": (
        "levels: {type: log_uniform, sigma_min: 1, sigma_max: 1}",
        ["base.levels", "sigma_min (1) must lie below sigma_max (1)"],
    ),
    "no steps": ("solver: {type: ddim, steps: 0}", ["base.solver.steps", "1"]),
    "negative steps": ("solver: {type: heun, steps: -3}", ["base.solver.steps", "1"]),
    "one step of noise": ("schedule: {type: linear, steps: 1}", ["base.schedule.steps", "2"]),
    "infinite sigma for heun": (
        "{schedule: {type: linear, zero_terminal_snr: true}, target: v, solver: heun}",
        ["base.solver", "infinite at zero terminal SNR", "'ddim', 'ddpm' or 'dpmpp_2m'"],
    ),
    "no signal for heun": (
        "{schedule: rectified_flow, target: v, solver: heun}",
        ["base.solver", "'ddim', 'ddpm' or 'dpmpp_2m'"],
    ),
    "no signal for a grid in sigma": (
        "{schedule: rectified_flow, target: flow, solver: {type: dpmpp_2m, grid: karras}}",
        ["base.solver", "karras", "'trailing'"],
    ),
    "no signal for noise": (
        "{schedule: {type: cosine, zero_terminal_snr: true}, target: epsilon}",
        ["base.target", "'epsilon'", "at the last step x is nothing but the noise", "use target 'v'"],
    ),
    "no signal for the score": (
        "{schedule: rectified_flow, target: score}",
        ["base.target", "'score'", "use target 'v'"],
    ),
    "no signal for a classifier": (
        "{schedule: rectified_flow, target: v, guidance: classifier}",
        ["base.guidance", "infinite without signal", "'sigma_high'"],
    ),
    "no learned variance": (
        "solver: {type: ddpm, variance: learned}",
        ["base.solver", "'learned_variance'", "takes each step's variance from the network"],
    ),
    "a bound without a variance": ("loss: hybrid_vlb", ["base.loss", "'learned_variance'"]),
    "a bound without steps": (
        "{schedule: edm, loss: hybrid_vlb}",
        ["base.loss", "'discrete'", "such as 'linear'"],
    ),
    "no deviation": ("sigma_data: 0", ["base.sigma_data", "greater than 0"]),
    "no weight": ("weighting: {type: log_snr, floor: 0}", ["base.weighting.floor", "greater than 0"]),
}  # fmt: skip


def refusal(folder, text, **how) -> str:
    file = folder / "study.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_study(file, **how)
    return str(caught.value)


def filled(part: str) -> str:
    """The study with a part, or with several in one line."""
    return STUDY.format(part="").replace("  \n", part and f"  {part}\n")


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_with_the_reason(tmp_path, case):
    part, told = CASES[case]
    if part.startswith("{"):  # several keys: below each other
        part = part[1:-1].replace(", target", "\n  target").replace(", solver", "\n  solver")
        part = part.replace(", guidance", "\n  guidance").replace(", loss", "\n  loss")
    said = refusal(tmp_path, filled(part))
    assert said.startswith(f"{tmp_path}/study.yaml:")
    assert int(said.split(":")[1]) in range(LINE, LINE + 3)
    for word in told:
        assert word in said


def test_a_scale_of_guidance_needs_a_network_that_knows_classes(tmp_path):
    (tmp_path / "plain.py").write_text(UNCONDITIONAL)
    text = filled("guidance: {type: cfg, scale: 2.0}").replace(
        "{type: dit, patch: 4, depth: 1, width: 16, heads: 2}", "plain"
    )
    said = refusal(tmp_path, text.replace("data:", "plugins: [plain.py]\ndata:"))
    assert "base.guidance" in said
    assert "'null_class'" in said
    assert "which the backbone must know" in said


def test_the_same_without_the_mistake_is_a_study(tmp_path):
    file = tmp_path / "study.yaml"
    for part in (
        "schedule: {type: cosine, zero_terminal_snr: true}\n  target: v\n  solver: ddim",
        "schedule: edm\n  precondition: edm\n  solver: heun",
        "guidance: {type: classifier, sigma_high: 20}\n  schedule: rectified_flow\n  target: flow",
        "weighting: {type: edm2, apply: native}\n  sigma_data: 0.5",
    ):
        file.write_text(filled(part))
        assert load_study(file).study.base.batch == 128


def test_choices_of_all_three_are_those_that_fit(tmp_path):
    """The issue's own example: schedule, target and weighting, each `all`."""
    file = tmp_path / "study.yaml"
    vary = "vary: {target: all, weighting: all, schedule: all}\ndesign: {type: one_factor}\n"
    file.write_text(filled("target: v").replace("budget:", f"{vary}budget:"))
    loaded = load_study(file)
    choices = {d.path: set(d.choices) for d in loaded.space.dimensions}
    assert choices["target"] == {"epsilon", "x0", "v", "score", "flow"}
    assert choices["weighting"] >= {
        "uniform",
        "snr",
        "log_snr",
        "min_snr",
        "max_snr",
        "clipped_snr",
        "p2",
        "edm",
        "edm2",
    }
    assert choices["schedule"] >= {
        "linear",
        "scaled_linear",
        "cosine",
        "exponential",
        "sigmoid",
        "edm",
        "rectified_flow",
    }
    assert len(loaded.proposals()) == sum(len(found) - 1 for found in choices.values()) + 1
