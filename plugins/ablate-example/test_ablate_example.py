"""What must hold of every conditioning, and what must hold of this one alone."""

from pathlib import Path

import torch
from ablate_example import AdaLNLoRA

from ablate.api import Context, Site
from ablate.testing import conformance

test = conformance(Path(__file__).with_name("ablate_example.py"))


def test_its_rank_is_what_it_costs():
    """rank·(E + 6·D) weights and 6·D biases a block, where adaLN-Zero has (E + 1)·6·D."""
    module = AdaLNLoRA(rank=8).modulation(Site(width=64, embedding=48, branches=2))
    assert sum(p.numel() for p in module.parameters()) == 8 * (48 + 6 * 64) + 6 * 64
    shift = module(Context(torch.randn(3, 48), torch.randn(3, 2, 48), torch.rand(3)))[0].shift
    assert shift is not None and shift.shape == (3, 64) and not shift.any()
