"""Sampling for evaluation: what is drawn for an image does not depend on how many are sampled at a time."""

from __future__ import annotations

import pytest
import torch
from segments_for_tests import CACHE, DATA, KNOWN, candidate
from torch import Tensor

from ablate.candidates.evaluation import Evaluation
from ablate.evaluation.measure import measure
from ablate.evaluation.sampling import Sampler
from ablate.results.measurements import DECIDES
from ablate.spec.slots import fill
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


def test_how_labels_are_drawn_is_part_of_what_a_metric_is() -> None:
    """Balanced as ever leaves the identity as it was; random changes it, and stands in the table."""
    assert "labels" not in Evaluation().active() and Evaluation(labels="balanced").digest() == Evaluation().digest()
    assert Evaluation(labels="random").digest() != Evaluation().digest()
    assert "labels" in DECIDES
    config = candidate(more={"solver": {"type": "ddim", "steps": 1}})
    dataset, found = DATA.load(CACHE), {}
    learner = Learner(config, DATA.setting(), Images(dataset, CPU), 0, CPU, None)
    weights = {"none": dict(learner.network.named_parameters())}
    for labels in ("balanced", "random"):
        evaluation = fill(
            Evaluation,
            {"metrics": [{"type": "kid", "features": "pixels"}], "samples": 20, "labels": labels, "previews": 20},
            KNOWN,
        )
        setting = DATA.setting()
        process = learner.process
        [row], found[labels] = measure(
            *(config, process, setting, learner.network, weights, dataset, evaluation, 0, 16, CACHE, CPU)
        )
        assert row.get("labels") == (None if labels == "balanced" else "random")
