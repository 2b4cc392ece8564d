"""optimizer `muon`: Muon, matrices move along their momentum made orthogonal, everything else by AdamW."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import InputSpec, Parameters, Range
from ablate_zoo.optimizer._decaying import Decaying, fused

if TYPE_CHECKING:
    import torch


class Muon(Decaying):
    """Muon (Jordan et al. 2024), with the step scaled to AdamW's own size (Liu et al. 2025, equation 4).

    So one rate and one weight decay serve both parts. Two-dimensional weights are orthogonalised by
    five Newton-Schulz iterations, three matrix products each, once a step whatever the batch: dear
    beside a small batch. Convolutions, biases and position tables go to adamw.
    """

    name = "muon"

    momentum: Annotated[float, Field(ge=0, lt=1), Range(0.9, 0.98)] = 0.95  # of the matrices, Nesterov's
    beta1: Annotated[float, Field(ge=0, lt=1), Range(0.8, 0.95)] = 0.9  # of the rest, and below
    beta2: Annotated[float, Field(ge=0, lt=1), Range(0.9, 0.9999)] = 0.999
    eps: Annotated[float, Field(gt=0, le=1), Range(1e-10, 1e-6, log=True)] = 1e-8

    def refuse(self, setting: InputSpec) -> str | None:
        """Torch has it since 2.9."""
        installed = version("torch")
        if tuple(int(part) for part in installed.split(".")[:2]) < (2, 9):
            return f"needs torch 2.9 or newer, and this is {installed}: update torch, or take adamw"
        return None

    def excludes(self) -> Mapping[str, str]:
        """Weights in shards."""
        why = "its step makes whole matrices orthogonal, in 16 bits, which shards round otherwise"
        return {"sharded_weights": f"{why}; take adamw, adam, radam or sgd"}

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Torch's own Muon and AdamW as one optimizer."""
        import torch

        from ablate_zoo.optimizer._joint import JointOptimizer

        parameters = Parameters.of(parameters)
        matrices = self.groups(parameters.where(lambda one: one.parameter.ndim == 2))
        others = self.groups(parameters.where(lambda one: one.parameter.ndim != 2))
        parts: list[torch.optim.Optimizer] = []
        if matrices:
            parts.append(
                torch.optim.Muon(
                    matrices,
                    lr=self.lr,
                    weight_decay=self.weight_decay,
                    momentum=self.momentum,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
        if others:
            betas = (self.beta1, self.beta2)
            parts.append(torch.optim.AdamW(others, lr=self.lr, betas=betas, eps=self.eps, fused=fused(others)))
        return JointOptimizer(parts)
