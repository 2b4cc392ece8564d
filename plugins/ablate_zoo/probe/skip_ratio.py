"""probe `skip_ratio`: whether a decoder listens to its skips."""

from __future__ import annotations

from ablate.api import PassObserver, Probe


class SkipRatio(Probe):
    """|s| / |d| at each fusion: the root mean square of the skip feature over that of the decoder's feature.

    Taken at every submodule that is called `fusion` and takes (d, s, ...), as its inputs come in, on the held
    batch. x is the place of the fusion among all, from 0; the site names the size of the maps too, which
    is the level. Its summary is the largest ratio at the end of training; it has none where nothing is fused.
    """

    name = "skip_ratio"

    def build(self) -> PassObserver:
        """See `ablate_zoo.probe._pass`."""
        from ablate_zoo.probe import _pass

        return _pass.SkipRatio()
