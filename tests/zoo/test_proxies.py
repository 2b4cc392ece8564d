"""Proxies of untrained candidates, against formulas worked out by hand, and `ablate proxies`."""

import json
import math

import pytest
import torch
from torch import nn

from ablate.api import Untrained
from ablate.cli import main
from ablate_zoo.proxy.early_loss import EarlyLoss
from ablate_zoo.proxy.initial_gradient import InitialGradient
from ablate_zoo.proxy.jacobian_covariance import EPSILON, JacobianCovariance
from ablate_zoo.proxy.synflow import Synflow


class Linear(Untrained):
    """y = W·x over pixels, for which all proxies have a formula."""

    def __init__(self, weight, x):
        self.network = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        self.network.weight.data = weight.clone()
        self.x = x

    def predict(self, x):
        return self.network(x.flatten(1))

    def loss(self):
        return self.predict(self.x).mean()

    def train(self, steps):
        return 1.0 / steps


def untrained(weight=None, batch=3, rows=2):
    torch.manual_seed(0)
    x = torch.randn(batch, 1, 2, 2)
    return Linear(torch.randn(rows, 4) if weight is None else weight, x)


def test_synflow_of_one_layer_is_the_sum_of_its_absolute_weights():
    """R = Σ_b Σ_ij |w_ij|, and each weight's share of it is B·|w_ij|."""
    one = untrained()
    total = 3 * float(one.network.weight.detach().abs().sum())
    assert Synflow().measure(one) == pytest.approx(math.log(total), rel=1e-6)
    two = untrained(torch.zeros(2, 4))
    assert Synflow(zeros="keep").measure(two) == -math.inf
    assert math.isfinite(Synflow().measure(untrained(torch.zeros(2, 4))))


def test_the_gradient_of_a_mean_is_the_mean_of_the_inputs():
    one = untrained(rows=1)
    assert InitialGradient().measure(one) == pytest.approx(float(one.x.flatten(1).mean(0).norm()), rel=1e-5)


def test_images_with_one_jacobian_are_told_from_nothing():
    """A linear network treats all images alike: correlations of 1, eigenvalues 3, 0, 0."""
    values = torch.tensor([3.0, 0.0, 0.0]) + EPSILON
    expected = -float((values.log() + 1 / values).sum())
    assert JacobianCovariance().measure(untrained()) == pytest.approx(expected, rel=1e-3)
    assert math.isnan(JacobianCovariance(zeros="keep").measure(untrained(torch.zeros(2, 4))))


def test_an_early_loss_is_that_of_the_training():
    assert EarlyLoss(steps=4).measure(untrained()) == 0.25
    assert not EarlyLoss.larger_is_better


STUDY = """\
study: proxies
data: digits
base: {backbone: {type: dit, patch: 4, depth: 1, width: 16, heads: 2}, batch: 8}
vary: {backbone.width: [16, 32]}
budget: {steps: 8}
evaluate: {metrics: [kid], samples: 8}
"""


def test_the_command_measures_every_candidate_and_keeps_what_is_not_defined_missing(tmp_path, capsys):
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)

    def ask(*words):
        with pytest.raises(SystemExit) as ended:
            main(["proxies", str(file), *words])
        return ended.value.code or 0, *capsys.readouterr()

    code, out, err = ask("--json", "--proxy", "synflow", "--proxy", "initial_gradient")
    rows = json.loads(out)["candidates"]
    assert code == 0 and [row["c.backbone.width"] for row in rows] == [16, 32]
    assert rows[0]["synflow"] < rows[1]["synflow"] and rows[0]["params"] < rows[1]["params"]
    code, out, _ = ask("--proxy", "initial_gradient", "--set", "design={type: search, trials: 5}", "--most", "1")
    assert code == 0 and "initial_gradient ↑" in out and out.count("\n") == 3  # head, the baseline, what arrows mean
    code, _, err = ask("--proxy", "synflo")
    assert code == 2 and "did you mean 'synflow'" in err and err.count("\n") == 1
