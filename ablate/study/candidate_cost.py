"""What a candidate costs: its network, a sample, and training on an image."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property

from ablate.candidates.candidate import Candidate, cost_of, trainable_params
from ablate.candidates.flops import Cost
from ablate.candidates.objectives import TRAIN_PASSES
from ablate.candidates.sample_cost import sample_gflops
from ablate.spec.component import InputSpec
from ablate.study.estimate import training_pass


@dataclass(frozen=True)
class CandidateCost(Cost):
    """The cost of a candidate: of its network, and what drawing a sample and training on an image take."""

    candidate: Candidate | None = field(default=None, repr=False, compare=False)
    setting: InputSpec | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, candidate: Candidate, setting: InputSpec) -> CandidateCost:
        """Count the network of a candidate; the rest when it is asked for. Raises BuildError as `cost_of`."""
        counted = cost_of(candidate.backbone, setting)
        own = {part.name: getattr(counted, part.name) for part in fields(counted)}
        if candidate.adapter.freezes:
            own["trainable"] = trainable_params(candidate, setting)
        return cls(**own, candidate=candidate, setting=setting)

    @cached_property
    def sample_gflops(self) -> float:
        """Gflops to draw a sample: evaluations (NFE) by the calls of guidance by `gflops`, and guidance's networks."""
        assert self.candidate is not None and self.setting is not None
        return sample_gflops(self.candidate, self.setting, self.gflops) or 0.0

    @cached_property
    def train_gflops(self) -> float:
        """Gflops of training on one image, forward and backward, as `plan` counts them: three passes.

        A pass is that of the network, or a third of what objective, terms and a sibling of guidance really take.
        """
        assert self.candidate is not None and self.setting is not None
        other = training_pass(self.candidate, self.setting)
        return TRAIN_PASSES * (self.trained_gflops if other is None else other)
