"""Results of a study: tables, Pareto front, effects, scaling law, figures, summary and report."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablate.results.results import Results, load
    from ablate.results.store import write_tables

__all__ = ["Results", "load", "write_tables"]

# pandas and its company take most of a second to import: each name waits until it is asked for.
# Names that are also a module's (`published`, `export`, `report`) are had from that module.
_HOME = {"Results": "results", "load": "results", "write_tables": "store"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
