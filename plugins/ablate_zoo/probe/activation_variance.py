"""probe `activation_variance`: how the signal grows or fades over depth."""

from __future__ import annotations

from ablate.api import PassObserver, Probe


class ActivationVariance(Probe):
    """Variance of each block's output, over images, places and channels together, on the held batch.

    Blocks are what the network's own `sites()` names, in the order of computation; without that method the
    children of its outermost `nn.ModuleList`s (DiT: `blocks.0`, …; U-Net: `encoder.0`, `middle.0`,
    `decoder.0`, …), and without a list its own children. x is a block's place among them, from 0. Of feature
    maps the site names the size too, such as `decoder.3 16×16`: the level. Its summary is the largest
    variance over depth at the end of training.
    """

    name = "activation_variance"

    def build(self) -> PassObserver:
        """See `ablate_zoo.probe._pass`."""
        from ablate_zoo.probe import _pass

        return _pass.ActivationVariance()
