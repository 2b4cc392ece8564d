"""Checks of a backbone: those of a network."""

from ablate.testing.networks import CHECKS

__all__ = ["CHECKS"]
