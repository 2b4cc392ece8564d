"""design `random`: random search, candidates drawn by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate_zoo.design._sampled import Sampled

if TYPE_CHECKING:
    import optuna


class Random(Sampled):
    """Random search (Bergstra & Bengio 2012): learns nothing, so that every part of the space is seen alike."""

    name = "random"

    @property
    def learns(self) -> bool:
        """It never does."""
        return False

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """Each choice and each range by itself, uniformly."""
        import optuna

        return optuna.samplers.RandomSampler(seed=seed)
