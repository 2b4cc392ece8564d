"""ablate: which design choice of a diffusion model matters, and what does it cost?

Everything here is imported when it is called: `import ablate` costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from ablate.discovery.catalog import Catalog
    from ablate.results import Results
    from ablate.results.several import SeveralResults
    from ablate.spec.component import Component
    from ablate.study.candidate_cost import CandidateCost

__version__ = "0.1.0"
__all__ = ["build", "catalog", "cost", "create", "load", "plan", "published", "record", "recorded", "run", "simulate"]


def run(
    study: str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    *,
    plugins: str | Path | Sequence[str | Path] = (),
    profile: str | None = None,
    executor: str | None = None,
    workers: int | None = None,
    device: str = "auto",
    figures: bool = True,
    confirm: int | None = None,
    confirm_seeds: int = 5,
    progress: bool | None = None,
    **overrides: Any,
) -> Results:
    """Run a study, or resume it where its folder already exists; the results.

    study: a YAML file, or the same as a mapping. out: the folder (default `results/<study>`), or the URL of one in a
    store, `s3://bucket/name`. figures: whether they are
    drawn at the end; `Results.figures` draws them later. confirm: so many of the best, and the baseline, are run again
    on `confirm_seeds` fresh seeds; see `Results.confirmation`. progress: whether it is shown, a bar in a notebook, and
    a line every second elsewhere; by default in a notebook.
    overrides: values for dotted paths of the study, `**{"budget.images": 1000}`.
    Raises InputError where the input is wrong.
    """
    from ablate.discovery.plugin_files import plugin_names
    from ablate.errors import in_python
    from ablate.results import load as load_results
    from ablate.study.confirm import check, confirming
    from ablate.study.launch import launch
    from ablate.study.notebook import watching

    options: dict[str, Any] = {"profile": profile, "executor": executor, "workers": workers, "device": device}
    with in_python():
        check(confirm, confirm_seeds, out)
        options |= {"overrides": _assignments(overrides), "plugins": plugin_names(plugins), "figures": figures}
        options |= watching(progress)
        launched = launch(study, out=out, **options)
        if confirm is not None:
            launch(study, **confirming(launched, options, confirm, confirm_seeds))
    return load_results(launched.folder)


@overload
def load(folder: str | Path) -> Results: ...


@overload
def load(folder: list[str | Path] | list[str] | list[Path] | tuple[str | Path, ...]) -> SeveralResults: ...


def load(folder: str | Path | Sequence[str | Path]) -> Results | SeveralResults:
    """The results of a study's folder, finished or not; of a list of folders, their tables as one.

    A folder may be the URL of one in a store, `s3://bucket/name`: what is new of it is brought here first.
    Of several, the tables have a column `study`, and `front` is one over all candidates. Raises InputError where one is
    no study's folder.
    """
    from ablate.results import load as load_results
    from ablate.runtime.stored import readable

    if isinstance(folder, str | Path):
        return load_results(readable(folder))
    from ablate.results.several import load_several

    return load_several([readable(one) for one in folder])


def plan(
    study: str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    *,
    plugins: str | Path | Sequence[str | Path] = (),
    **overrides: Any,
) -> pd.DataFrame:
    """Every candidate of a study: parameters, Gflops, memory, expected time. Trains nothing.

    out: the study's folder, results/<study> by default; a larger budget goes on from its trials, and `attrs["points"]`
    says from which.
    """
    from ablate.discovery.plugin_files import plugin_names
    from ablate.errors import in_python
    from ablate.study.launch import folder_for
    from ablate.study.load import load_study
    from ablate.study.plan import plan as plan_study

    with in_python():
        loaded = load_study(study, overrides=_assignments(overrides), plugins=plugin_names(plugins))
        return plan_study(loaded, folder=folder_for(study, loaded, None if out is None else Path(out)))


def catalog(plugins: str | Path | Sequence[str | Path] = ()) -> Catalog:
    """All components that are installed, and those of local plugin files."""
    from ablate.discovery.catalog import catalog as make
    from ablate.discovery.plugin_files import plugin_names

    return make(plugin_names(plugins))


def create(kind: str, spec: str | Mapping[str, Any]) -> Component:
    """A component: `create("schedule", "cosine")`, or with `{"type": name, field: value, ...}`."""
    return catalog().create(kind, spec)


def cost(
    candidate: str | Path | Mapping[str, Any],
    shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    plugins: str | Path | Sequence[str | Path] = (),
) -> CandidateCost:
    """Parameters, macs and Gflops of a candidate, counted on the meta device: nothing is allocated.

    candidate: a mapping as under `base:` of a study (also `{"model": NAME, ...}`), or a known network by name or file,
    as in `studies/models/`, which brings its own shape and classes. shape: (C, H, W) of what the network sees. plugins:
    files or packages with components of yours. Raises InputError, with a study's own reasons, for what none trains:
    wrong fields, and components that do not go together. A mapping or file with a shape of its own is a known
    network: what its own training would need (such as a loss for its variance) is not asked of it.

    Of the result: `params`, `gflops`, `macs`, `gflops_edm2` (by EDM2's rule) of a forward pass; `sample_gflops` of a
    sample (evaluations, guidance), `train_gflops` of training on one image.
    """
    from ablate.discovery.plugin_files import plugin_names
    from ablate.errors import in_python
    from ablate.study.models import cost as cost_of_model

    with in_python():
        return cost_of_model(candidate, shape, classes, plugin_names(plugins))


def build(
    candidate: str | Path | Mapping[str, Any],
    shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    plugins: str | Path | Sequence[str | Path] = (),
    seed: int = 0,
) -> nn.Module:
    """The network of a candidate, not trained, on the CPU: for use in code of yours.

    Arguments as of `ablate.cost`. Its weights are those with which the trial of that seed begins; random
    generators are left as they were. `network(x, c_noise, labels)` takes x (B, C, H, W), the noise label
    c_noise (B,) and labels (B,) or None; it gives (B, C, H, W), twice the channels where it learns its
    variance. Raises InputError for what a study would refuse.
    """
    from ablate.discovery.plugin_files import plugin_names
    from ablate.errors import in_python
    from ablate.study.models import build as build_model

    with in_python():
        return build_model(candidate, shape, classes, plugin_names(plugins), seed)


def published() -> pd.DataFrame:
    """The literature's points: published FID, Gflops and parameters."""
    from ablate.results.published import published as table

    return table()


def record(folders: str | Path | Sequence[str | Path], file: str | Path) -> pd.DataFrame:
    """Record finished trials in one parquet file, on which `executor: replay` runs studies without training.

    folders: of studies with the same data, budget and evaluation (`evaluate.at` says at which points); also tables that
    were recorded before. A trial that stands in several is taken once. Returns the table as `recorded` reads it.
    Raises InputError for what no table can hold.
    """
    from ablate.results.recorded import record as record_table

    given = [folders] if isinstance(folders, str | Path) else folders
    return record_table([Path(folder) for folder in given], Path(file))


def recorded(file: str | Path) -> pd.DataFrame:
    """A recorded table, a row a measurement: choices `c.<path>`, seed, share of the budget, value, seconds, Gflops.

    `attrs` has the study that was recorded and its points. See docs/replay.md for the columns.
    """
    from ablate.results.recorded import recorded as table

    return table(Path(file))


def simulate(
    candidates: int = 4,
    seeds: int | Sequence[int] = 3,
    *,
    test: str | Mapping[str, Any] | Component | None = None,
    effects: float | Sequence[float] = 0.0,
    spread: float | Sequence[float] = 1.0,
    errors: str | Sequence[float] = "normal",
    seed_spread: float = 1.0,
    alpha: float = 0.05,
    delta: float | None = None,
    looks: Sequence[int] | None = None,
    most_seeds: int | None = None,
    all_pairs: bool = False,
    costs: Sequence[float] | None = None,
    studies: int = 2000,
    random_seed: int = 0,
    plugins: str | Path | Sequence[str | Path] = (),
) -> pd.DataFrame:
    """What a study's statistics would say of studies whose truth is known: errors, power, coverage, fate of fronts.

    Each study has `candidates`, the baseline among them and first; a value is its candidate's mean, plus what its
    seed does to all candidates (normal, of deviation `seed_spread`), plus an error. Smaller is better. It is judged
    by the code that judges a study's folder.

    seeds: of each candidate; several numbers give a row each. test: an `analysis` by name or spec; the default one.
    effects: true means, one for each candidate; or one number, of the first after the baseline. spread: deviation of
    the error, one for all or one each. errors: `normal`, `skewed` (lognormal), `heavy` (Student's t of 3 degrees of
    freedom), or residuals that were seen, which are drawn from: `results.spread().residuals`. delta: margin of
    equivalence. looks: numbers of seeds at each of which one looks, going on while something is open; with them, as
    `most_seeds` of a study says. all_pairs: every two candidates are compared, not each with the baseline. costs: one
    for each candidate, for fronts of quality and cost.

    Columns: candidates, seeds, studies; false_difference (share of studies with any wrong claim), power (share of
    true differences that are found), coverage (of the 95 % interval of each comparison by itself), coverage_all (of
    all intervals that are shown, at once), coverage_best (of the one that is shown of the candidate that looks best),
    coverage_best_alone (of its interval by itself), best_wrong (share of studies whose best is not),
    best_told_too_good (by how much, on average); with delta false_equivalence and found_equivalence; with costs
    front_wrong (share of studies whose front of means holds a dominated candidate), front_dominated (share of its
    members) and front_missing (of the true front). Of 2,000 studies a share of 0.05 is known to ±0.01.

    Raises InputError for a test that is not there, and numbers that are no study.
    """
    from ablate.discovery.catalog import catalog as make
    from ablate.discovery.plugin_files import plugin_names
    from ablate.errors import in_python
    from ablate.kinds.analysis import Analysis
    from ablate.statistics.simulate import simulate as simulate_studies

    with in_python():
        known = make(plugin_names(plugins))
        chosen = test if isinstance(test, Analysis) else known.create(Analysis, {} if test is None else test)
        return simulate_studies(
            chosen,
            candidates,
            seeds,
            effects=effects,
            spread=spread,
            errors=errors,
            seed_spread=seed_spread,
            alpha=alpha,
            delta=delta,
            looks=looks,
            most_seeds=most_seeds,
            all_pairs=all_pairs,
            costs=costs,
            studies=studies,
            random_seed=random_seed,
        )


def __dir__() -> list[str]:
    return [*__all__, "__version__", "__doc__", "__file__", "__name__", "__path__"]


def _assignments(overrides: Mapping[str, Any]) -> list[str]:
    import json

    from ablate.errors import Argument, InputError

    assignments = []
    for path, value in overrides.items():
        try:
            assignments.append(f"{path}={json.dumps(value, default=_plain)}")
        except TypeError as error:
            raise InputError(f"{path}: {error}", Argument("overrides")) from None
    return assignments


def _plain(value: Any) -> Any:
    """Return what JSON has no sign for as what it has: numpy's numbers, and paths. Raises TypeError for the rest."""
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"expected words, numbers, lists and mappings, not a {type(value).__name__}")
