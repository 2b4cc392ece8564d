"""The proxies of a study's candidates: numbers of networks that nobody trains."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence

import pandas as pd
import torch

from ablate.candidates.space import Space
from ablate.errors import Argument, InputError, SpecError
from ablate.kinds.design import Assignment
from ablate.kinds.proxy import Proxy
from ablate.runtime.isolation import isolated
from ablate.runtime.machine import cache_folder, choose_device, usable
from ablate.runtime.patient import doing
from ablate.study.loaded import LoadedStudy
from ablate.training.untrained import measure
from ablate.worker.loading import images_of

LISTED = 20_000  # combinations of a space, beyond which it is not listed


def proxies_of(
    loaded: LoadedStudy,
    names: Sequence[str] = (),
    device: str = "auto",
    most: int = 50,
    watch: Callable[[str], None] = lambda candidate: None,
) -> pd.DataFrame:
    """Measure the study's candidates before any training: a row a candidate, a column a proxy, by the trial of seed 0.

    names: of proxies; none: all of the catalog. Where a sampler finds the candidates, so many of the space are drawn by
    chance (`most`), by the study's seed, behind the baseline.
    Columns: candidate, `c.<path>`, params, gflops, then the proxies; NaN where one is not defined. Raises InputError
    where there is no such proxy.
    """
    catalog = loaded.catalog
    parts = []
    for name in names or catalog.names("proxy"):
        try:
            parts.append(catalog.create(Proxy, name))
        except SpecError as error:
            raise InputError(error.problems[0].message, Argument("proxy", name)) from None
    on = torch.device(choose_device(device))
    settings = loaded.trial_settings
    images = images_of(settings.data, str(usable(cache_folder())), on)
    rows = []
    proposals = loaded.proposals()
    for assignment in proposals if proposals is not None else _drawn(loaded, most):
        name = loaded.names(assignment)
        watch(name)
        try:
            candidate = loaded.candidate(assignment)
        except SpecError:
            if proposals is not None:
                raise
            continue  # drawn, and does not go together
        cost = settings.cost(candidate)
        horizon = settings.budget.images_for(candidate.batch, cost.trained_gflops)
        with doing(f"measuring {name}"), isolated():
            numbers = measure(candidate, settings.setting, images, parts, 0, on, horizon or math.inf)
        choices = {f"c.{path}": label for path, label in assignment.items()}
        rows.append({"candidate": name, **choices, "params": cost.params, "gflops": cost.gflops, **numbers})
    frame = pd.DataFrame(rows)
    frame.attrs = {"study": loaded.study.study, "device": on.type}
    frame.attrs["larger_is_better"] = [part.name for part in parts if part.larger_is_better]
    return frame


def _drawn(loaded: LoadedStudy, most: int) -> list[Assignment]:
    """Return the baseline and combinations of the space by chance, of which some may not go together."""
    space: Space = loaded.space
    try:
        listed = list(itertools.islice(space.everything(), LISTED))
    except OverflowError as error:
        raise InputError(
            f"{error}: there is no list of candidates to draw from; say `design: grid` or values"
        ) from None
    others = [one for one in listed if one != loaded.baseline]
    drawn = random.Random(loaded.study.seed).sample(others, min(most - 1, len(others)))
    return [loaded.baseline, *drawn]
