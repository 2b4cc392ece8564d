"""adapter `lora`: low-rank adaptation of the linear layers."""

from __future__ import annotations

from ablate_zoo.adapter._low_rank import LowRank


class LoRA(LowRank):
    """LoRA: W + (alpha/rank)·BA for each linear layer, W frozen, B zero at the start (Hu et al. 2022).

    All linear layers of the network, with the biases, norms and convolutions frozen.
    """

    name = "lora"
