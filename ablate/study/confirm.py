"""The confirmation of a study: its best candidates, and the baseline, are run again on fresh seeds, by themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ablate.errors import Argument, InputError
from ablate.io.stores import is_url
from ablate.kinds.design import Design
from ablate.results import load as load_results
from ablate.results.searches.best import assignment_of, best, fresh_seed
from ablate.results.searches.confirmed import FOLDER
from ablate.study.launch import Launched
from ablate.study.loaded import LoadedStudy

SEEDS = 5  # fresh ones, of each candidate, by default


def check(count: int | None, seeds: int, out: object = None) -> None:
    """Raise InputError where this is no number of candidates to confirm, or of seeds, or the folder is none for it."""
    if count is not None and is_url(out):
        raise InputError(
            f"a confirmation is run in a folder of this machine, and {out} is in a store", Argument("confirm")
        )
    if count is not None and count < 1:
        raise InputError(f"expected the number of candidates to confirm, 1 or more, not {count}", Argument("confirm"))
    if seeds < 2:
        message = f"a confirmation takes two seeds or more, to know how much they differ, not {seeds}"
        raise InputError(message, Argument("confirm_seeds"))


def confirming(launched: Launched, options: Mapping[str, Any], count: int, seeds: int) -> dict[str, Any]:
    """Return the arguments of `launch` that run, or resume, the confirmation of a study that was run.

    It is a study of its own, in the folder `confirmed` of the study's: the `count` best candidates and the baseline, on
    fresh seeds. Nothing in it was used to choose them. options: the arguments with which the study was launched. Raises
    InputError where no candidate has a value.
    """
    results = load_results(launched.folder)
    chosen = [assignment_of(candidate) for candidate in best(results, count)]
    overrides = [*options.get("overrides", ()), *_overrides(launched.study, chosen, seeds, fresh_seed(results))]
    return {**options, "out": launched.folder / FOLDER, "overrides": overrides}


def _overrides(loaded: LoadedStudy, chosen: Sequence[dict[str, object]], seeds: int, first_seed: int) -> list[str]:
    """Return what of the study is said otherwise for its confirmation."""
    catalog = loaded.catalog
    entry = next((e for e in catalog.entries("design") if issubclass(e.cls, Design) and e.cls.takes_candidates), None)
    if entry is None:
        raise InputError("no design is installed that takes candidates one by one", Argument("confirm"))
    field = str(cast(type[Design], entry.cls).takes_candidates)
    spec = {"type": entry.full_name, field: chosen, "seeds": seeds, "first_seed": first_seed}
    said: dict[str, Any] = {
        "study": f"{loaded.study.study[:90]}.{FOLDER}",
        "design": spec,
        "fidelity": catalog.default("fidelity"),  # all come to their ends
        "seeding": catalog.default("seeding"),
        "total": None,
        "reuse": [],
    }
    return [f"{path}={json.dumps(value)}" for path, value in said.items()]
