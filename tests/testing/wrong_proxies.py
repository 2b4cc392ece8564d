"""Proxies with known faults."""

import math
from typing import ClassVar

from ablate.api import Proxy

_calls = []


class Right(Proxy):
    """Nothing is wrong with it."""

    name = "right_proxy"
    fails: ClassVar[tuple[str, ...]] = ()

    def measure(self, untrained):
        return float(sum(p.detach().abs().sum() for p in untrained.network.parameters()))


class Nowhere(Proxy):
    """It is defined for no network."""

    name = "nowhere_proxy"
    fails: ClassVar[tuple[str, ...]] = ("gives_a_number", "differs_between_networks")

    def measure(self, untrained):
        return math.inf


class Moody(Proxy):
    """It gives something else each time."""

    name = "moody_proxy"
    fails: ClassVar[tuple[str, ...]] = ("gives_the_same_again",)

    def measure(self, untrained):
        _calls.append(1)
        return float(len(_calls))
