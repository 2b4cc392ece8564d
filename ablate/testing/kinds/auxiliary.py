"""Checks of an auxiliary: finite terms of each image, that can be trained, counted and resumed."""

from __future__ import annotations

from ablate.testing import terms
from ablate.testing.case import Check

CHECKS: tuple[Check, ...] = terms.CHECKS
