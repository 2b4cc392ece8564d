"""objective `distill`: progressive distillation, one step of the student is two of its teacher (Salimans & Ho 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from ablate.api import Choice, Host, Objective, Process, TaughtObjective, TeacherTrial

if TYPE_CHECKING:
    from torch import nn

LEAST = 0.01  # weight of pure noise, as a share of that at SNR 1, below which the first step is hardly trained


class Distill(TaughtObjective):
    """Progressive distillation: a step of the student is to lead where two DDIM steps of its teacher lead.

    Salimans & Ho 2022, "Progressive Distillation for Fast Sampling of Diffusion Models", Alg. 2: at the times i/N, N
    the student's `steps`, the teacher takes two steps of half the length (its x̂0 not clipped), and the student's image
    x̂0 is compared with that of which one step leads there as well. The error is judged by the candidate's `loss` and
    `weighting`, as that of an image; the paper's are weightings `max_snr` (truncated SNR) and, with target `v`,
    `{type: uniform, apply: native}` (SNR + 1). Levels are drawn by the candidate's `levels` and rounded up to the grid.

    The student starts from the teacher's averaged weights, and becomes a teacher in turn: steps are halved from `first`
    down. The teacher of the student of `first` steps is this candidate with objective `denoise`, or the finished trial
    of another study, `trial`; that of every other one is this candidate with twice its steps. So a design that tries
    `objective.steps: [8, 4, 2, 1]` gives the paper's whole ladder, every rung with the seed of that before. Sample with
    a solver of as many steps on the trailing grid, such as `ddim`: with others, it is asked for what it was not taught.
    """

    name = "distill"

    steps: Annotated[int, Field(ge=1, le=65_536), Choice(8, 4, 2, 1)] = 1  # N, of the student
    first: Annotated[int, Field(ge=1, le=65_536)] = 8  # of the first student, whose teacher is not distilled

    @model_validator(mode="after")
    def _halves(self) -> Self:
        doublings, rest = divmod(self.first, self.steps)
        if rest or doublings & (doublings - 1) or not doublings:
            raise ValueError(
                f"steps are halved from first ({self.first}) down, and {self.steps} are not among what comes of that; "
                f"for a student whose teacher is not distilled, say first: {self.steps}"
            )
        return self

    def teacher(self) -> TaughtObjective | TeacherTrial | None:
        """The student of twice the steps; of the first one the trial, or the candidate with the default objective."""
        if self.steps < self.first:
            return self.model_copy(update={"steps": 2 * self.steps})
        return self.trial

    def refuse_teacher(self, objective: Objective) -> str | None:
        """One that knows other steps than this student halves, or that is no denoiser."""
        if isinstance(objective, Distill) and objective.steps != 2 * self.first:
            return (
                f"was itself distilled to {objective.steps} steps, and a student of first: {self.first} halves "
                f"{2 * self.first}; say first: {max(objective.steps // 2, 1)}"
            )
        if "consistency" in objective.provides():
            return f"was trained by objective {objective.name!r}: its image is that of a whole path, no step of DDIM's"
        return None

    def provides(self) -> frozenset[str]:
        """Activations at a noised batch; a network whose steps are long."""
        return frozenset({"activations", "distilled"})

    def requires(self) -> Mapping[str, str]:
        """Steps of the solver where the student has learned them."""
        return {
            "even_times": f"the student learns steps between {self.steps} even times; use grid 'trailing' of the solver"
        }

    def excludes(self) -> Mapping[str, str]:
        """A learned variance, which it would not train."""
        return {"variance_loss": "it trains no variance; use loss 'mse', and no learned_sigma"}

    def unfit(self, process: Process) -> str | None:
        """A target that says nothing of the image in pure noise, and a weighting without weight there."""
        import torch

        ends = torch.tensor([1.0, float(process.schedule.time(torch.zeros((), dtype=torch.float64)))])
        noise, even = process.level(ends.double()), process.x0_weight(process.level(ends.double())).tolist()
        if float(process.target.coefficients(noise.guarded)[0][0].abs()) < LEAST:
            return (
                f"the student's first step begins in pure noise, of which target {process.target.name!r} does not say "
                "what image it holds; use target 'v', 'x0' or 'flow' (Salimans & Ho 2022, section 4)"
            )
        if even[0] < LEAST * even[1]:
            return (
                f"the student's first step begins in pure noise, to which weighting {process.weighting.name!r} gives "
                f"{even[0] / even[1]:.0e} of the weight at SNR 1; use weighting 'max_snr', or "
                "{type: uniform, apply: native} (Salimans & Ho 2022, section 4)"
            )
        return None

    def build(self, host: Host) -> nn.Module:
        """Nothing that is trained beside the network."""
        from ablate_zoo.objective._distillation import DistillationLoss

        return DistillationLoss(self.steps)
