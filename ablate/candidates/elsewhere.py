"""What another process has measured of a network: whoever measures it in this one takes it over."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablate.candidates.asked import Asked
    from ablate.candidates.flops import Cost
    from ablate.kinds.backbone import Backbone
    from ablate.spec.component import InputSpec
    from ablate.training.memory_estimate import Footprint

COSTS: dict[tuple[Backbone, InputSpec], Cost] = {}
FOOTPRINTS: dict[tuple[Asked, InputSpec, str, int], Footprint] = {}  # by device, and images a forward pass
