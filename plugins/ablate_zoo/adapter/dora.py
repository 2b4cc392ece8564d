"""adapter `dora`: low-rank adaptation of the direction of weights, with their magnitude trained apart."""

from __future__ import annotations

from typing import ClassVar

from ablate_zoo.adapter._low_rank import LowRank


class DoRA(LowRank):
    """DoRA: m·V/‖V‖ for each output of a linear layer, V = W + (alpha/rank)·BA, m = ‖W‖ at the start (Liu et al. 2024).

    The norm is a constant for the gradient (section 4.3). Otherwise as `lora`.
    """

    name = "dora"
    with_magnitude: ClassVar[bool] = True
