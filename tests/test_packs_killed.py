"""A study whose trials are trained as one, killed in the midst: it goes on, packed or not, to the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from kills_for_tests import LONG, checkpoints, lay_out, run, short_folder, started, tables, until

pytestmark = [pytest.mark.timeout(3 * LONG), pytest.mark.slow]

STUDY = """\
study: killed
plugins: [probes.py]
data: digits
base:
  backbone: {type: dit, patch: 4, depth: 1, width: 16, heads: 2}
  solver: {type: ddim, steps: 4}
  batch: 16
vary:
  schedule: [linear, cosine]
design: {type: one_factor, seeds: 2}
budget: {images: 3200}
evaluate: {metrics: [{type: kid, features: pixels}], samples: 40, batch: 10, previews: 4}
objectives: [kid, gflops]
executor: {type: local, pack: 4}
"""
ALONE = ("--set", "executor={type: local}")


@pytest.mark.thorough
def test_a_pack_that_is_killed_goes_on_and_so_does_one_trial_after_the_other() -> None:
    """First its worker, then its driver."""
    with short_folder() as folder:
        file = lay_out(folder, STUDY)
        whole, out = folder / "whole", folder / "out"
        undisturbed = run(file, whole, *ALONE)
        assert undisturbed.returncode == 0, undisturbed.stderr
        with started(file, out) as driver:
            driver.until(lambda: len({name for name, _ in checkpoints(out)}) >= 4, "no checkpoints")
            for process in driver.family():
                if process.pid != driver.process.pid:
                    process.kill()
            before = checkpoints(out)
            driver.until(lambda: checkpoints(out) - before, "it does not go on")
            driver.kill()
        until(lambda: not list(out.glob("trials/*/record.json")), 0.1, "too late: something was measured")
        again = run(file, out, *ALONE)
        assert again.returncode == 0, again.stderr
        (trials, metrics), (others, other_metrics) = tables(out), tables(whole)
        assert list(trials["trial"]) == list(others["trial"])
        assert list(trials["images"]) == list(others["images"])
        np.testing.assert_allclose(trials["loss"], others["loss"], rtol=1e-3)
        np.testing.assert_allclose(metrics["value"], other_metrics["value"], rtol=1e-2, atol=1e-3)
