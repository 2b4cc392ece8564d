"""What of a candidate decides the memory of its training."""

from __future__ import annotations

from ablate.candidates.candidate import Candidate

# Fields of a candidate of which a pass of its network alone asks nothing; an objective of several passes asks them.
UNASKED = frozenset(
    {
        *("schedule", "levels", "target", "precondition", "loss", "solver", "clip", "coupling", "sigma_data"),
        *("micro", "compile"),
    }
)


class Asked:
    """A candidate, equal to another that takes the same memory: where all is equal that a simulated step asks.

    How many images a forward pass has is asked besides.
    """

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        alone = candidate.one_pass
        fields = (name for name in type(candidate).model_fields if not (alone and name in UNASKED))
        self._parts = tuple(getattr(candidate, name) for name in fields)
        self._hash = hash(self._parts)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Asked) and self._parts == other._parts
