"""Guidance of denoised images: it may ask for several of them, keep something from step to step, see a weaker network.

A `Guidance` combines predictions of one network in the target's own terms. What is not linear in a prediction, what
remembers the steps before, and what compares with another network, works on the image and the noise that a denoiser
finds, which mean the same for every target.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from ablate.errors import InputError
from ablate.kinds.guidance import Guidance, Predictor
from ablate.kinds.noised import Denoised, Level, over

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ablate.kinds.backbone import Backbone
    from ablate.kinds.conditions import Labels
    from ablate.kinds.ema import Ema, Kept, Weights
    from ablate.spec.component import InputSpec

Denoise = Callable[["Tensor", "Labels"], Denoised]  # (x, labels) -> x0 and ε, at one level


class Denoisers(NamedTuple):
    """What a guidance may ask at one noise level: any batch, also one that repeats x."""

    own: Denoise  # of the network itself
    weaker: Denoise | None = None  # of the weaker network, where the guidance has one


Guide = Callable[[Denoisers, "Tensor", "Labels", int, Level], Denoised]
"""(denoisers, x, labels, null, level) -> x0 and ε under guidance, with α·x0 + σ·ε = x; `null` is the null class."""


class DenoisedGuidance(Guidance):
    """Guidance that works on denoised images, not on predictions."""

    @abstractmethod
    def begin(self) -> Guide:
        """Begin a batch of samples: return what is called at each evaluation of the solver, from noise to image.

        What it remembers of one call is there at the next; another batch begins anew. Arithmetic in fp32; an image
        depends on no other of the batch. `level` is a single number () on the CPU.
        """

    def predict(self, predict: Predictor, x: Tensor, labels: Labels, null: int, level: Level) -> Tensor:
        """Raise TypeError: it is not a combination of predictions."""
        raise TypeError(f"guidance {self.name!r} works on denoised images: use begin()")


class Sibling(NamedTuple):
    """A smaller network, trained beside the main one on the same batches, from which guidance goes away."""

    backbone: Backbone
    until: float = 1.0  # share of the training after which it stays as it is, in (0, 1]


class WeakerGuidance(DenoisedGuidance):
    """Guidance away from what a weaker version of the network says: an earlier snapshot, fewer layers, or a sibling."""

    def sibling(self, backbone: Backbone, setting: InputSpec) -> Sibling | None:
        """Return the smaller network to be trained beside this one, which takes its place below; None: there is none.

        It is trained as the network is, but for its size, and changes nothing of that training. `weaken` gets a copy of
        it with its averaged weights. Raises InputError where there is no such network.
        """
        return None

    @abstractmethod
    def weaken(self, network: nn.Module) -> nn.Module:
        """Return the weaker network, made of a copy of the network that may be changed; on the meta device too.

        What it gives has the shapes of the network's own. Its cost is counted as it is.
        """

    def weights(self, ema: Ema, snapshots: Kept, images: int) -> Weights | None:
        """Return the weaker network's parameters by name, loaded before `weaken`; None: those that are sampled.

        ema, snapshots: of the training, after `images` images. Raises InputError where there are none.
        """
        return None


def narrower(backbone: Backbone, share: float, setting: InputSpec) -> Backbone:
    """Return the backbone with that share of its `width`, or the nearest that it does not refuse.

    Raises InputError where it has no such field, and where no smaller width works.
    """
    width = getattr(backbone, "width", None) if "width" in type(backbone).model_fields else None
    if not isinstance(width, int):
        raise InputError(f"backbone {backbone.name!r} has no whole number `width`, by which it could be smaller")
    fields = {field: getattr(backbone, field) for field in type(backbone).model_fields}
    for size in sorted(range(1, width), key=lambda n: abs(n - share * width)):
        with contextlib.suppress(ValidationError):
            type(backbone)(**{**fields, "width": size})  # its own checks
            smaller = backbone.model_copy(update={"width": size})
            if smaller.refuse(setting) is None:
                return smaller
    raise InputError(f"backbone {backbone.name!r} works with no smaller width than {width}")


def moved(denoised: Denoised, x0: Tensor, level: Level) -> Denoised:
    """Return the denoised with another image, and the noise that goes with it: ε + (α/σ)·(the old x0 − the new)."""
    _, alpha, sigma = level.guarded
    return denoised._replace(x0=x0, noise=denoised.noise + over(alpha / sigma, x0) * (denoised.x0 - x0))


def earlier_weights(snapshots: Kept, ema: Ema, share: float, images: int) -> Weights:
    """Return the weights of the snapshot nearest to a share of the training so far, in (0, 1).

    Raises InputError where there is no snapshot before the last image.
    """
    before = [at for at in snapshots.images if at < images]
    if not before:
        reason = "no snapshot of the weights was kept before this point, and guidance needs an earlier one"
        raise InputError(f"{reason}: say how long the training is (budget: {{images: …}}), and an ema that keeps them")
    return ema.earlier(min(before, key=lambda at: abs(at - share * images)), snapshots)
