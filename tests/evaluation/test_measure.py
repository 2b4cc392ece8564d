"""Sampling for evaluation: what is drawn for an image does not depend on how many are sampled at a time."""

from __future__ import annotations

import pytest
import torch
from segments_for_tests import CACHE, DATA, candidate
from torch import Tensor

from ablate.evaluation.sampling import Sampler
from ablate.training.images import Images
from ablate.training.learner import Learner

CPU = torch.device("cpu")


@pytest.mark.parametrize("solver", [{"type": "ddpm", "steps": 3}, {"type": "heun", "steps": 3, "churn": 3}])
def test_samples_do_not_depend_on_the_batch(solver: dict[str, object]) -> None:
    dit = {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2}  # it predicts zero: the noise is to be seen
    config = candidate(more={"backbone": dit, "solver": solver, "target": "v", "guidance": "cfg"})
    learner = Learner(config, DATA.setting(), Images(DATA.load(CACHE), CPU), 0, CPU, None)
    sampler = Sampler(config, learner.process, DATA.setting(), 0, CPU)

    def drawn(batch: int) -> Tensor:
        batches = sampler.batches(learner.network, dict(learner.network.named_parameters()), 270, batch)
        return torch.cat([pixels for pixels, _ in batches]).int()

    whole = drawn(270)
    for batch in (100, 250):
        assert (drawn(batch) - whole).abs().max() <= 1  # rounding of sums over another number of rows
    assert len({image.numpy().tobytes() for image in whole}) == 270
