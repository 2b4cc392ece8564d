"""Checks of a backbone: those of a network, and what it claims beyond that."""

import torch

from ablate.kinds.backbone import Backbone
from ablate.testing.case import Case, Check, NotApplicable
from ablate.testing.networks import CHECKS as OF_A_NETWORK
from ablate.testing.networks import batch, live
from ablate.testing.small import settle, shrink


def hears_its_second_label(case: Case) -> None:
    """With "second_label", a second noise label makes a difference; where it is the first one, it is as if left out."""
    told = [part for part in case.variants() if isinstance(part, Backbone) and "second_label" in part.provides()]
    if not told:
        raise NotApplicable("does not provide 'second_label'")
    setting = settle(told[0])
    network = live(shrink(told[0], setting), setting)
    x, noise, labels = batch(setting)
    with torch.no_grad():
        same = network(x, noise, labels, noise)
        assert torch.allclose(network(x, noise, labels), same), "without it the output is not that of equal labels"
        assert not torch.allclose(network(x, noise, labels, noise / 2), same), "the second label makes no difference"


CHECKS: tuple[Check, ...] = (*OF_A_NETWORK, hears_its_second_label)
