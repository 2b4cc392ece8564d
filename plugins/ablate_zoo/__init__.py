"""The operators that ship with ablate, registered as a stranger's package would be.

`<kind>/<name>.py` holds a component: importing it does not import torch. A file whose name begins with an
underscore helps its neighbours, and `layers/` what several kinds share: both hold the plain torch modules
that components build.
"""

from __future__ import annotations

import pkgutil
from pathlib import Path

from ablate.api import hookimpl


@hookimpl
def ablate_modules() -> list[str]:
    """Return the name of every module below the kinds' folders."""
    return [
        module.name
        for module in pkgutil.walk_packages([str(Path(__file__).parent)], prefix=f"{__name__}.")
        if not module.ispkg and not module.name.startswith(f"{__name__}.layers.") and "._" not in module.name
    ]
