"""What of a candidate decides the memory of its training."""

from __future__ import annotations

from typing import Any

from ablate.candidates.candidate import Candidate
from ablate.kinds.weighting import Weighting

# Fields of a candidate of which a pass of its network alone asks nothing; an objective of several passes asks them.
UNASKED = frozenset(
    {
        *("schedule", "levels", "target", "precondition", "loss", "solver", "clip", "coupling", "sigma_data"),
        *("micro", "compile"),
    }
)
BESIDE = frozenset({"optimizer", "ema", "guidance"})  # what they keep comes beside the passes of any objective


class Asked:
    """A candidate, equal to another that takes the same memory: where all is equal that a simulated step asks.

    How many images a forward pass has is asked besides. of_passes: what the passes ask, without what optimizer,
    averages and guidance keep beside them.
    """

    def __init__(self, candidate: Candidate, of_passes: bool = False) -> None:
        self.candidate = candidate
        unasked = (UNASKED if candidate.one_pass else frozenset()) | (BESIDE if of_passes else frozenset())
        fields = (name for name in type(candidate).model_fields if name not in unasked)
        self._parts = tuple(_asked(getattr(candidate, name), candidate) for name in fields)
        self._hash = hash(self._parts)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Asked) and self._parts == other._parts


def _asked(value: Any, candidate: Candidate) -> Any:
    """Return what is asked of a field; of a weighting that builds nothing to be trained, no more than that."""
    if isinstance(value, Weighting) and candidate.one_pass and type(value).build is Weighting.build:
        return None
    return value
