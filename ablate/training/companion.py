"""Training of guidance's auxiliary network (such as the noisy classifier of classifier guidance)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ablate.kinds.conditions import Labels, class_labels
from ablate.kinds.guidance import TrainedGuidance
from ablate.kinds.noised import Noised
from ablate.kinds.process import Process
from ablate.runtime.randomness import seed_everything
from ablate.spec.component import InputSpec
from ablate.training.checkpoint import by_prefix, flatten_optimizer, restore_optimizer, with_prefix
from ablate.training.group import Group

MEMORY = 0.99  # of the loss that is recorded, a step


def recent(before: Tensor, loss: Tensor) -> Tensor:
    """Return the running mean of a loss after one more step; before the first one it is NaN."""
    return torch.where(before.isnan(), loss, before).lerp(loss, 1 - MEMORY)


class CompanionLearner:
    """The auxiliary network of guidance and its optimizer, trained on the same batches as the main network."""

    def __init__(
        self, guidance: TrainedGuidance, process: Process, setting: InputSpec, seed: int, device: torch.device
    ) -> None:
        self.guidance = guidance
        self.process = process
        seed_everything(seed, "companion", 0)
        with device:
            self.network: nn.Module = guidance.companion(setting)
            self.recent_loss = torch.full((), torch.nan)  # its running mean over about 100 steps, on the device
        self.optimizer = guidance.optimizer(self.network.parameters())

    def loss(self, noised: Noised, labels: Labels) -> Tensor:
        """Compute the auxiliary network's loss of each image of a batch, (B,)."""
        return self.guidance.loss(self.network(*self.process.shown(noised.x, noised.level)), class_labels(labels))

    def gradients(self, parts: Iterable[tuple[Noised, Labels]], batch: int) -> Tensor:
        """Accumulate the gradients of a batch of `batch` images over its micro-batches; return its mean loss."""
        self.network.train()
        total = torch.zeros_like(self.recent_loss)
        for part, labels in parts:
            loss = self.loss(part, labels).sum() / batch
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def step(self, parts: Iterable[tuple[Noised, Labels]], batch: int, group: Group | None = None) -> Tensor:
        """Take one optimizer step over a batch in micro-batches; return its mean loss.

        group: the processes that share the batch, each of which gives the parts of its own share.
        """
        total = self.gradients(parts, batch)
        if group is not None:
            group.sum(self.network.parameters(), [total])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.recent_loss = recent(self.recent_loss, total)
        return total

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors for a checkpoint, and the optimizer's plain numbers."""
        moments, numbers = flatten_optimizer(self.optimizer.state_dict())
        tensors = with_prefix("network", self.network.state_dict()) | with_prefix("optimizer", moments)
        return {**tensors, "recent_loss": self.recent_loss}, numbers

    def load(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Resume from what `state` returned."""
        parts = by_prefix(tensors)
        self.network.load_state_dict(parts["network"])
        self.optimizer.load_state_dict(restore_optimizer(self.optimizer.state_dict(), parts["optimizer"], numbers))
        self.recent_loss = parts["recent_loss"][""].to(self.recent_loss.device)
