"""Optimizers, clippings, averages and precisions that are wrong; `fails` says which checks have to tell."""

from collections.abc import Mapping
from contextlib import contextmanager
from typing import ClassVar

import torch

from ablate.api import (
    Average,
    Clip,
    Ema,
    Norms,
    Optimizer,
    Precision,
)


class Ascent(Optimizer):
    """Goes uphill with the first parameter alone, at twice the rate that was asked for."""

    name = "ascent"
    fails: ClassVar = (
        "descends_a_quadratic",
        "moves_at_its_own_rate",
        "keeps_its_rate_within_bounds",
        "trains_every_parameter_once",
    )

    def build(self, parameters):
        return torch.optim.SGD(list(parameters)[:1], lr=self.lr, maximize=True)

    def rate(self, images, budget):
        return 2 * self.lr


class Braking(Optimizer):
    """Slows down at the half of the training, and does not say so."""

    name = "braking"
    fails: ClassVar = ("does_the_same_until_it_says",)

    def build(self, parameters):
        return torch.optim.SGD(list(parameters), lr=self.lr)

    def rate(self, images, budget):
        return super().rate(images, budget) / (1 if 2 * images <= budget else 2)

    def same_until(self, images):
        return float("inf")


class Tired(torch.optim.SGD):
    """Takes ever smaller steps, and does not keep how many."""

    taken = 0

    def step(self, closure=None):
        self.taken += 1
        for group in self.param_groups:
            group["lr"] = 0.1 / self.taken
        return super().step(closure)


class Forgetting(Optimizer):
    """A state that its state dict does not hold."""

    name = "forgetting"
    fails: ClassVar = ("resumes_where_it_stopped",)

    def build(self, parameters):
        return Tired(parameters, lr=self.lr)


class Choosy(Optimizer):
    """Leaves the norms out, and goes uphill with the first layer."""

    name = "choosy"
    fails: ClassVar = ("trains_every_parameter_once",)

    def build(self, parameters):
        first = [one.parameter for one in parameters.named if one.layer == 0]
        rest = [one.parameter for one in parameters.named if one.layer > 0 and one.role != "norm"]
        groups = [{"params": first, "rate_share": -1.0}, {"params": rest}]
        return torch.optim.SGD([group for group in groups if group["params"]], lr=self.lr)


class Lengthening(Clip):
    """Twice as long, and tells the norm after that."""

    name = "lengthening"
    fails: ClassVar = ("tells_the_norms", "only_shortens")

    def apply(self, parameters):
        for p in parameters.values():
            if p.grad is not None:
                p.grad *= 2
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters.values() if p.grad is not None])
        return Norms(norm, 2 * norm)


class Dividing(Clip):
    """Unit length whatever comes, also where there is none; a NaN counts as nothing."""

    name = "dividing"
    fails: ClassVar = ("survives_nothing_and_tells_of_nan",)

    def apply(self, parameters):
        gradients = [p.grad for p in parameters.values() if p.grad is not None]
        for g in gradients:
            g.nan_to_num_()
        norm = torch.stack([g.norm() for g in gradients]).norm()
        for g in gradients:
            g /= norm
        return Norms(norm, norm)


class Drifting(Average):
    """Adds a tenth at each step, and keeps no state."""

    def __init__(self, parameters) -> None:
        self.average = {name: p.detach().clone() for name, p in parameters.items()}

    def update(self, images, batch):
        for value in self.average.values():
            value += 0.1

    def weights(self):
        return {"": dict(list(self.average.items())[:1])}

    def state(self):
        return {}

    def load(self, state: Mapping) -> None:
        pass


class Drift(Ema):
    """An average that goes its own way."""

    name = "drift"
    fails: ClassVar = (
        "keeps_what_is_constant",
        "lies_among_its_values",
        "has_weights_for_every_parameter",
        "resumes_where_it_stopped",
        "measures_what_it_promises",
    )

    def build(self, parameters):
        return Drifting(parameters)


class HalfWay(Drifting):
    """Keeps a snapshot in the middle of the training."""

    def due(self, images, batch, total):
        return images - batch < total / 2 <= images


class Halves(Ema):
    """An average whose one snapshot is due in the middle, and that does not say so."""

    name = "halves"
    fails: ClassVar = ("does_the_same_until_it_says",)

    def build(self, parameters):
        return HalfWay(parameters)


class Coarse(Precision):
    """Switches to bfloat16 for good, reductions and all."""

    name = "coarse"
    fails: ClassVar = ("leaves_nothing_behind", "keeps_reductions_in_fp32")

    def forward(self, device):
        torch.set_autocast_enabled("cpu", True)
        return torch.autocast("cpu", dtype=torch.bfloat16)

    def scaler(self, device):
        return torch.amp.GradScaler("cpu", enabled=False)


class Graphless(Precision):
    """Twice what it should be, and no gradient."""

    name = "graphless"
    fails: ClassVar = ("is_close_to_fp32", "takes_a_step")

    @contextmanager
    def forward(self, device):
        linear = torch.nn.functional.linear
        torch.nn.functional.linear = lambda *given: 2 * linear(*given)
        try:
            with torch.no_grad():
                yield
        finally:
            torch.nn.functional.linear = linear

    def scaler(self, device):
        return torch.amp.GradScaler("cpu", enabled=False)
