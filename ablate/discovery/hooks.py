"""The pluggy hooks of the entry-point group `ablate`.

A module that an entry point names needs no hook: the components in it are found. A package that
wants only some of its modules searched says which.
"""

from __future__ import annotations

import pluggy

GROUP = "ablate"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def ablate_modules() -> list[str]:
    """Return full names of the modules to search for components, such as `["mylab.gates"]`."""
    raise NotImplementedError
