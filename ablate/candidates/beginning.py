"""Whether a network can begin with the weights of another one: all of its own have to be among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ablate.candidates.candidate import Candidate, meta_network
from ablate.spec.component import InputSpec

if TYPE_CHECKING:
    from torch import Tensor


def unfit_start(candidate: Candidate, setting: InputSpec) -> str | None:
    """Return why a candidate cannot begin with the network that it starts from; None where it can, or is not known."""
    source = candidate.start.backbone
    if source is None:
        return None
    own, other = (meta_network(backbone, setting).state_dict() for backbone in (candidate.backbone, source))
    return lacking(own, other)


def lacking(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """Return which weights of a network are not among those that it is to begin with; None where all are."""
    missing = [name for name in wanted if name not in given]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        return f"the weights that it begins with lack {', '.join(missing[:3])}{more}: they are of another network"
    for name, tensor in wanted.items():
        if given[name].shape != tensor.shape:
            shapes = f"{tuple(given[name].shape)}, and here it is {tuple(tensor.shape)}"
            return f"of the weights that it begins with {name} is {shapes}: they are of another network"
    return None
