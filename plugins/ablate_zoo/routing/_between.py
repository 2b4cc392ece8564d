"""Which blocks of a stack a routing acts on: those between the first and the last ones."""

from __future__ import annotations

from ablate.api import Site


def refuse_between(before: int, after: int, site: Site) -> str | None:
    """Return why no block of the stack is left between the first `before` and the last `after`; None if one is."""
    if site.blocks is None or before + after < site.blocks:
        return None
    ends = " and ".join(f"the {which} {n}" for which, n in (("first", before), ("last", after)) if n)
    return f"leaves out {ends} of {site.blocks} blocks, which is all; take fewer, or a larger depth"
