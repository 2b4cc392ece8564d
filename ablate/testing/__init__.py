"""The conformance kit: what must hold of every component, as checks that plugin authors run.

A plugin's own test file is two lines, and runs every check on every component of it:

    from ablate.testing import conformance
    test = conformance("mylab_ablate")  # a .py file, a distribution, a module, or `kind/name`

`ablate plugins check TARGET` runs the same and prints a table. A check is a function of a `Case`; it
raises AssertionError with what is wrong, or NotApplicable where there is nothing to check.
"""

from __future__ import annotations

from ablate.testing.apart import examine_apart
from ablate.testing.case import Case, Check, NotApplicable
from ablate.testing.run import Outcome, check_component, checks, conformance, examine
from ablate.testing.target import Target, find

__all__ = [
    "Case",
    "Check",
    "NotApplicable",
    "Outcome",
    "Target",
    "check_component",
    "checks",
    "conformance",
    "examine",
    "examine_apart",
    "find",
]
