"""How much each choice of a search matters: PED-ANOVA over a conditional space, with its interval and chance."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.candidates.names import Choices, show
from ablate.errors import InputError
from ablate.results.searches.marginals import is_number
from ablate.results.searches.ranked import ranked

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

    from ablate.results.analysis import StudyAnalysis

Array = NDArray[np.float64]
FEWEST = 16  # candidates: a quarter of fewer is chance
TOP = 0.25  # the best of the candidates, which are told apart from all
RESAMPLES = 100
NUMBERS, WIDE = 8, 30.0  # different numbers of a path, and their ratio, beyond which they are a (logarithmic) range
BUDGET = 50_000  # resamples times candidates: a thousand take some seconds


def importance(results: StudyAnalysis, of: str | None, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Compute how much each choice matters: `StudyFindings.importance`."""
    return results.once(("importance", of, resamples), lambda: _importance(results, of, resamples))


def _importance(results: StudyAnalysis, of: str | None, resamples: int) -> pd.DataFrame:
    ranks, label = ranked(results, of)
    candidates = [c for c in results.candidates if c.config_hash in ranks]
    goodness = np.array([ranks[c.config_hash] for c in candidates])
    table = ped_anova([c.choices for c in candidates], goodness, results.lock.get("ranges"), resamples)
    table.attrs["of"] = label
    return table


def ped_anova(
    choices: Sequence[Choices], goodness: Array, ranges: Any = None, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Compute how much each path of the candidates' choices matters for a small goodness (k,).

    ranges: {path: {low, high, log, step}} of those that are none of labels. See `StudyFindings.importance` for the
    columns. Raises InputError for fewer than 16 candidates, and where no choice differs.
    """
    if len(choices) < FEWEST:
        message = f"the importance of choices takes {FEWEST} candidates that have ended; there are {len(choices)}"
        raise InputError(message)
    space = _space(choices, ranges if isinstance(ranges, Mapping) else {})
    if not space:
        raise InputError("no choice differs between the candidates that have ended, so none can matter")
    count = max(min(resamples, BUDGET // len(choices)), 20)
    with _quiet():
        evaluate = _evaluator(choices, space)
        found = evaluate(goodness)
        rng = np.random.default_rng(0)
        halves = np.array([evaluate(_half(goodness, rng)) for _ in range(count)])
        chance = np.array([evaluate(rng.permutation(goodness)) for _ in range(count)])
    low, high = np.quantile(halves, [0.025, 0.975], axis=0)
    table = pd.DataFrame(
        {
            "path": list(space),
            "importance": found,
            "low": np.minimum(low, found),
            "high": np.maximum(high, found),
            "p": (1 + (chance >= found).sum(axis=0)) / (1 + count),
            "by_chance": chance.mean(axis=0),
            "choices": [_size(distribution) for distribution in space.values()],
            "n": [sum(path in one for one in choices) for path in space],
        }
    )
    table = table.sort_values("importance", ascending=False, kind="stable").reset_index(drop=True)
    table.attrs.update(candidates=len(choices), top=math.ceil(TOP * len(choices)))
    return table


def _space(choices: Sequence[Choices], ranges: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return {path: Optuna's distribution} of the choices that differ: ranges of numbers, else labels."""
    from optuna.distributions import CategoricalDistribution

    space: dict[str, BaseDistribution] = {}
    for path in dict.fromkeys(path for one in choices for path in one):
        own = [one[path] for one in choices if path in one]
        labels = sorted({show(label) for label in own})
        if len(labels) > 1:
            limits = (ranges.get(path) or _seen(own)) if all(map(is_number, own)) else None
            space[path] = CategoricalDistribution(labels) if limits is None else _range(limits)
    return space


def _seen(numbers: Sequence[Any]) -> dict[str, Any] | None:
    """Return the range of numbers, where they are many, in a folder that does not say it; else None."""
    if len(set(numbers)) <= NUMBERS:
        return None
    low, high = float(min(numbers)), float(max(numbers))
    return {"low": low, "high": high, "log": low > 0 and high / low > WIDE, "step": None}


def _range(limits: Mapping[str, Any]) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high, log, step = (limits.get(key) for key in ("low", "high", "log", "step"))
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=bool(log), step=int(step or 1))
    return FloatDistribution(float(str(low)), float(str(high)), log=bool(log), step=step)


def _evaluator(choices: Sequence[Choices], space: Mapping[str, BaseDistribution]) -> Callable[[Array], Array]:
    """Return the function from candidates' goodness (k,), smaller is better and NaN leaves one out, to (paths,)."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator

    study = optuna.create_study()
    study.add_trials([_trial(one, space) for one in choices])
    evaluator = PedAnovaImportanceEvaluator(target_quantile=TOP)

    def evaluate(goodness: Array) -> Array:
        found = evaluator.evaluate(study, list(space), target=lambda trial: float(goodness[trial.number]))
        total = sum(found.values())
        return np.array([found[path] / total if total > 0 else 0.0 for path in space])

    return evaluate


def _trial(choices: Choices, space: Mapping[str, BaseDistribution]) -> optuna.trial.FrozenTrial:
    import optuna

    own = {path: distribution for path, distribution in space.items() if path in choices}
    params = {path: _value(choices[path], distribution) for path, distribution in own.items()}
    return optuna.trial.create_trial(params=params, distributions=own, value=0.0)


def _value(label: Any, distribution: BaseDistribution) -> Any:
    """Return a choice as Optuna has it; the base's own number may lie outside the range that is searched."""
    from optuna.distributions import FloatDistribution, IntDistribution

    if not isinstance(distribution, FloatDistribution | IntDistribution):
        return show(label)
    return distribution.to_external_repr(float(min(max(label, distribution.low), distribution.high)))


def _half(goodness: Array, rng: np.random.Generator) -> Array:
    """Leave a random half of the candidates out (delete-half jackknife, which varies as the whole does)."""
    out = goodness.copy()
    out[rng.permutation(len(out))[: len(out) // 2]] = np.nan
    return out


def _size(distribution: BaseDistribution) -> float:
    from optuna.distributions import CategoricalDistribution

    return float(len(distribution.choices)) if isinstance(distribution, CategoricalDistribution) else math.nan


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Do not repeat for each resample that few candidates have some choice, and that less is better."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
