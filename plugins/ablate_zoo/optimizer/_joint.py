"""Several optimizers over parameters of their own, that step, save and load as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch


class JointOptimizer(torch.optim.Optimizer):
    """Its groups are those of its parts, in order; whoever sets their rates sets the parts' rates."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = list(parts)
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of each part; `closure` is called once, before them."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As any optimizer's; the parts go on from it."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """One state and one list of groups, of which each part sees its own."""
        first = 0
        for part in self.parts:
            end = first + len(part.param_groups)
            part.param_groups, part.state = self.param_groups[first:end], self.state
            first = end
