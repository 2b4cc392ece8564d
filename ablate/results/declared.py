"""The analysis that a study's lock declares, as its results use it; of older folders, the test that was used then."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ablate.discovery import provenance
from ablate.errors import InputError
from ablate.kinds.analysis import Analysis, PairedPermutation
from ablate.spec.slots import slot_kind
from ablate.statistics.answers import Look
from ablate.statistics.correction import shares_of_looks


class Undeclared(PairedPermutation):
    """The test by which every study was judged before it could declare one."""

    name = "undeclared"


@dataclass(frozen=True)
class Declared:
    """How a study's candidates are compared."""

    test: Analysis
    alpha: float = 0.05
    delta: float | None = None
    scale: str = "plain"
    most_seeds: int | None = None
    looks: tuple[tuple[int, ...], ...] = ()  # the seeds of each look; (): one look, at all there are
    after: int = 0  # how many seeds had results when it was declared
    is_own: bool = True  # whether it is the study's own; False: its lock names none, or another was asked for
    remark: str = ""  # what else is to be known of it

    @property
    def shares(self) -> list[float]:
        """The share of alpha of each look; all of it where there is one that nothing was declared of."""
        return shares_of_looks([len(look) for look in self.looks], self.most_seeds) if self.looks else [1.0]

    def looks_at(self, seeds: Sequence[int]) -> list[Look]:
        """Return the looks at these seeds, which are columns of values; seeds of no look belong to the last one."""
        if not self.looks:
            return [Look(np.ones(len(seeds), dtype=bool), 1.0)]
        known = {seed for look in self.looks for seed in look}
        masks = [np.isin(seeds, look) for look in self.looks]
        masks[-1] = masks[-1] | ~np.isin(seeds, sorted(known))
        return [Look(mask, share) for mask, share in zip(masks, self.shares, strict=True)]

    def other(self, test: Analysis) -> Declared:
        """Return the same with another test, which is not the study's."""
        return self if test == self.test else replace(self, test=test, is_own=False, remark="")


def declared(lock: Mapping[str, Any], plugins: Sequence[str] = ()) -> Declared:
    """Return the analysis that a study's lock declares; of a lock that declares none, the permutation test of then.

    plugins: files and packages, among which a test of one's own may be. Raises InputError where what the lock says is
    damaged, or its test is not here: which p-values are the study's is not known then.
    """
    entry = lock.get("analysis")
    if entry is None:
        return Declared(Undeclared(), is_own=False)
    try:
        known = provenance_of(entry)
        test, changed = _test(entry["test"], known, plugins)
        return Declared(
            test=test,
            alpha=float(entry["alpha"]),
            delta=None if entry.get("delta") is None else float(entry["delta"]),
            scale=str(entry["scale"]),
            most_seeds=None if entry.get("most_seeds") is None else int(entry["most_seeds"]),
            looks=tuple(tuple(int(seed) for seed in look) for look in entry["looks"]),
            after=int(entry.get("after", 0)),
            remark="the source of this test has changed since it was declared" if changed else "",
        )
    except (KeyError, TypeError, ValueError):
        message = "what it says of the analysis is damaged: which test the verdict stands on is not known"
        raise InputError(message, "lock.json") from None


def provenance_of(entry: Mapping[str, Any]) -> Mapping[str, str]:
    """Return where the test of a lock's analysis came from; {} where that is not said."""
    given = entry.get("provenance")
    return given if isinstance(given, Mapping) else {}


def named(test: str | Mapping[str, Any] | Analysis, plugins: Sequence[str] = ()) -> Analysis:
    """Return the test of a name or a spec. Raises InputError where there is none."""
    if isinstance(test, Analysis):
        return test
    from ablate.discovery.catalog import catalog

    return catalog(tuple(plugins)).create(Analysis, test)


def _test(spec: Any, known: Mapping[str, str], plugins: Sequence[str]) -> tuple[Analysis, bool]:
    """Return the test of a lock, and whether its source is another today.

    Its own module is imported alone where that can be: to import every plugin takes most of a second.
    """
    cls = None
    if isinstance(spec, Mapping) and known.get("module") and not plugins:
        cls = _imported(known["module"], str(spec.get("type")))
    if cls is None:
        from ablate.discovery.catalog import catalog

        entries = catalog(tuple(plugins))
        test = entries.create(Analysis, spec)
        return test, known.get("source_hash") not in (None, entries.locate(type(test)).source_hash)
    test = cls.model_validate({key: value for key, value in spec.items() if key != "type"})
    now = provenance.source_hash(Path(inspect.getfile(cls)).resolve(), cls.__module__)
    return test, known.get("source_hash") not in (None, now)


def _imported(module: str, name: str) -> type[Analysis] | None:
    """Return the test of that name in an installed module; None where it is not there, or has slots to be filled."""
    try:
        found = vars(importlib.import_module(module)).values()
    except ImportError:
        return None
    for cls in found:
        if isinstance(cls, type) and issubclass(cls, Analysis) and vars(cls).get("name") == name:
            slots = [field for field, info in cls.model_fields.items() if slot_kind(info)]
            return None if slots else cls
    return None
