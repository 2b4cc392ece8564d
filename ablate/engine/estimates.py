"""What a trial will take, counted on the meta device: its memory, and what training on an image computes."""

from __future__ import annotations

import contextlib

from ablate.candidates.candidate import Candidate
from ablate.candidates.flops import Cost
from ablate.candidates.objectives import TRAIN_PASSES
from ablate.engine.contained import ProcessEndError, contained
from ablate.engine.plan import Plan
from ablate.runtime.patient import doing
from ablate.worker.messages import TrialJob


def with_memory_estimate(job: TrialJob, candidate: Candidate, plan: Plan) -> TrialJob:
    """Return the job with an estimate of its training memory; made here, where the network was built before."""
    from ablate.training.memory_estimate import estimated

    memory: int | None = None
    task = f"building the network of {plan.names(job['choices'])}"
    with contextlib.suppress(ProcessEndError), doing(task), contained():  # its trial reports what is wrong
        memory = estimated(candidate, plan.trial_settings.setting, plan.device, job.get("micro"))
    return {**job, "estimated_memory_bytes": memory}


def counted_train_gflops(candidate: Candidate, cost: Cost, plan: Plan) -> float:
    """Return the Gflops of training on an image; three forward passes where a step cannot be counted."""
    from ablate.training.training_cost import train_gflops

    try:
        with doing(f"counting a training step of {candidate.backbone.name!r}"), contained():
            return train_gflops(candidate, plan.trial_settings.setting)
    except Exception:  # noqa: BLE001 - a plugin's own code, which its trial runs on numbers
        return TRAIN_PASSES * cost.trained_gflops
