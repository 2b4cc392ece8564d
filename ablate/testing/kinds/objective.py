"""Checks of an objective: finite terms of each image, that can be trained, counted and resumed; and its teacher."""

from __future__ import annotations

from ablate.testing import terms
from ablate.testing.case import Check

CHECKS: tuple[Check, ...] = (*terms.CHECKS, terms.learns_from_its_teacher)
