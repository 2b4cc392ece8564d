"""The divergence of a trial as text: where it began, and what came before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe_divergence(divergence: Mapping[str, Any]) -> str:
    """Describe a record's `divergence`: in which module, at which noise levels, and what came before."""
    text = f"step {divergence.get('step')}, {divergence.get('module')}: {divergence.get('message')}"
    more = []
    if span := divergence.get("log_snr"):
        worst = [f"{one['log_snr']:.3g}" for one in divergence.get("worst") or ()]
        more.append(f"log SNR {span[0]:.3g} to {span[1]:.3g}" + (f", worst at {', '.join(worst)}" if worst else ""))
    last = divergence.get("last") or ()
    for key, name in (("loss", "loss"), ("grad_norm", "gradient norm")):
        if last:
            more.append(f"{name} before: {', '.join(f'{one[key]:.3g}' for one in last)}")
    if divergence.get("weight_norm") is not None:
        more.append(f"weight norm {divergence['weight_norm']:.4g}")
    return f"{text} ({'; '.join(more)})" if more else text
