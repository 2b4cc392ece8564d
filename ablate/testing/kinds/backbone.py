"""Checks of a backbone: those of a network, and what it claims beyond that."""

import torch

from ablate.candidates.candidate import meta_network
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


def has_the_same_parameters_at_its_base_width(case: Case) -> None:
    """`at_base_width` is a network with parameters of the same names, whose own base is as wide; rates are required."""
    part = case.component
    assert isinstance(part, Backbone)
    base = part.at_base_width()
    if base is None:
        raise NotApplicable("has no base width")
    setting = settle(part)
    names = [{name for name, _ in meta_network(one, setting).named_parameters()} for one in (part, base)]
    assert names[0] == names[1], f"at its base width it has other parameters: {sorted(names[0] ^ names[1])[:3]}"
    assert base.at_base_width() == base, "the base of its base is another one"
    assert "rates_by_width" in part.requires(), "rates have to follow the width: require 'rates_by_width'"


CHECKS: tuple[Check, ...] = (*OF_A_NETWORK, hears_its_second_label, has_the_same_parameters_at_its_base_width)
