"""What a kind shares whose components may follow from the data: from the resolution, the channels, the classes."""

from __future__ import annotations

from typing import Self

from ablate.spec.component import Component, InputSpec


class Fitted(Component):
    """A component that may ask for the shape of the data, before anything is computed with it."""

    def for_setting(self, setting: InputSpec) -> Self:
        """Return the component for such data: what follows from them is written into its fields; else itself.

        setting: what the network sees, (C, H, W) of pixels or latents, and the number of classes. What is returned is
        what training, sampling and costs are computed with. The identity stays that of the component in the study.
        """
        return self
