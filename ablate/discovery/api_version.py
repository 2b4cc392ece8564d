"""The version of the plugin API: what a plugin says it was written for, compared with what this ablate has.

A plugin says `api_version = 1` in its module, or in the package that holds it; one that says nothing is taken as it is.
The number rises when `ablate.api` changes so that plugins must. For at least a release the one before goes on to work,
with a warning.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

VERSION = 1  # of what `ablate.api` asks of plugins
OLDEST = 1  # that still works; between the two there is a warning


@dataclass(frozen=True)
class Outdated:
    """A module of a plugin that was written for an earlier version of the API, which still works."""

    plugin: str
    distribution: str
    stated: int

    def __str__(self) -> str:
        """Say until when it works, and where it stands what has changed."""
        return (
            f"plugin {self.plugin} was written for version {self.stated} of the plugin API, and {VERSION} is today's: "
            f"docs/compatibility.md says what changed; then say api_version = {VERSION}. "
            "The old one goes in a later release"
        )


def stated(module: ModuleType) -> Any:
    """Return the version that a module was written for, its own or that of the nearest package above; None: nothing."""
    name = module.__name__
    while name:
        above = module if name == module.__name__ else sys.modules.get(name)
        if above is not None and "api_version" in vars(above):
            return vars(above)["api_version"]
        name = name.rpartition(".")[0]
    return None


def why_not(version: Any) -> str | None:
    """Return in one sentence why a plugin of such a version cannot be used, and what to do; None where it can."""
    if version is None:
        return None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        return f"api_version is {version!r}: say the version of the plugin API as a whole number, today's is {VERSION}"
    if version > VERSION:
        return f"was written for version {version} of the plugin API, and this ablate has {VERSION}: update ablate"
    if version < OLDEST:
        return (
            f"was written for version {version} of the plugin API, and this ablate has {OLDEST} to {VERSION}: "
            "update the plugin, or take the ablate that it was written for"
        )
    return None
