"""`ablate plan`: what a study will cost, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablate.cli.network import show_network
from ablate.cli.options import Device, Json, PluginFiles, Profile, Set, StudyFile
from ablate.cli.outcome import SOME_FAILED, complain
from ablate.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def plan(
    study: StudyFile,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The study's folder, results/<study> by default: a larger budget goes on from its trials.",
        ),
    ] = None,
    set_: Set = None,
    plugin: PluginFiles = None,
    profile: Profile = None,
    device: Device = "auto",
    network: Annotated[
        bool, typer.Option("--network", help="The modules of one candidate: shapes, cost, and where each is written.")
    ] = False,
    candidate: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --network: which candidate; the baseline by default.")
    ] = None,
    effect: Annotated[
        float | None,
        typer.Option(metavar="X", help="The seeds that a difference of X in the first metric takes, and their cost."),
    ] = None,
    power: Annotated[
        float, typer.Option(metavar="P", help="The chance with which a difference is to be found.", show_default=True)
    ] = 0.8,
    as_json: Json = False,
) -> None:
    """Show what a study will cost, and what it can find; nothing is trained.

    Every candidate with its parameters, Gflops, memory and time of a trial. Memory and time are estimates. Then the
    smallest difference that its test finds with these seeds. A file of studies/models/ is shown with its parameters and
    Gflops.
    """
    from ablate.study.load import load_study
    from ablate.study.models import composed
    from ablate.study.recipes import is_model
    from ablate.study.yaml import read

    if candidate is not None and not network:
        raise InputError("names the candidate whose network is shown: say --network too", "--candidate")
    if is_model(document := read(study)):
        if set_ or profile or effect is not None:
            raise InputError("is a model, not a study: --set, --profile and --effect do not apply", study)
        if network:
            candidate_of_model, setting = composed(study, None, None, tuple(map(str, plugin or ())))
            show_network(candidate_of_model, setting, Path(study).stem, as_json)
            return
        _print_model(Path(study).stem, document.data, tuple(map(str, plugin or ())), as_json)
        return
    loaded = load_study(study, overrides=set_ or (), plugins=plugin or (), profile=profile)

    if network:
        from ablate.study.plan import candidate_by_name

        label, chosen = candidate_by_name(loaded, candidate)
        show_network(chosen, chosen.inputs(loaded.trial_settings.setting), f"{loaded.study.study}: {label}", as_json)
        return

    from ablate.cli.terminal import emit_json  # what follows takes a while to import: first what is wrong is told
    from ablate.runtime.machine import choose_device
    from ablate.study.ahead import ahead

    with ahead(loaded) as others:  # who imports what they need while it is imported here
        from ablate.study.launch import folder_for
        from ablate.study.plan import plan as make

        on = choose_device(device)
        frame = make(loaded, on, folder=folder_for(study, loaded, out), effect=effect, power=power, others=others)
    if as_json:
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        emit_json({**frame.attrs, "device": on, "seconds": _total(frame), "candidates": rows})
    else:
        _print(frame, on)
    broken = frame[frame["failure"].notna()]
    for name, why in zip(broken["candidate"], broken["failure"], strict=True):
        complain(f"error: {name}: {why}")
    if len(broken):
        raise typer.Exit(SOME_FAILED)


def _print_model(name: str, model: Mapping[str, Any], plugins: tuple[str, ...], as_json: bool) -> None:
    from ablate.cli.terminal import emit_json, table
    from ablate.results.numbers import count, number
    from ablate.study.models import cost

    model_cost = cost(model, None, None, plugins)  # raises InputError
    if as_json:
        keys = ("params", "gflops", "gflops_edm2", "macs", "sample_gflops", "train_gflops")
        emit_json({"model": name, **{key: getattr(model_cost, key) for key in keys}})
        return
    shape = "×".join(map(str, model["shape"]))
    costs = {
        "gflops": "Gflops",
        "gflops_edm2": "Gflops by EDM2's rule",
        "sample_gflops": "Gflops a sample",
        "train_gflops": "training Gflops an image",
    }
    numbers = [number(getattr(model_cost, key), 4) for key in costs]
    table(("model", "image", "params", *costs.values()), [[name, shape, count(model_cost.params), *numbers]])


def _print(frame: pd.DataFrame, device: str) -> None:
    from ablate.candidates.objectives import COST_NAMES
    from ablate.cli.terminal import duration, echo, size, table
    from ablate.results.numbers import count, number

    costs = COST_NAMES
    columns = ["candidate", "params", *costs.values(), "memory", "images", f"time of a trial ({device})"]
    rows = [
        [
            str(row["candidate"]),
            "–" if row["params"] is None else count(row["params"]),
            *("–" if row[cost] is None else number(row[cost], 4) for cost in costs),
            "–" if row["failure"] is not None else "?" if row["memory_bytes"] is None else size(row["memory_bytes"]),
            "" if row["images"] is None else str(row["images"]),
            "cannot be built" if row["failure"] is not None else duration(row["seconds"]),
        ]
        for row in frame.astype(object).where(frame.notna(), None).to_dict("records")
    ]
    table(columns, rows, title=str(frame.attrs["study"]), wrap="candidate")
    for line in frame.attrs["data"]:
        echo(f"data: {line}")
    for line in frame.attrs["points"]:
        echo(line)
    for warning in frame.attrs["warnings"]:
        complain(f"warning: {warning}")
    if note := frame.attrs.get("note"):
        echo(f"{note}; they vary in")
        for path, choices in frame.attrs["space"].items():
            echo(f"  {path}: {_range(choices)}")
    seeds = int(frame["seeds"].iloc[0])
    product = f"{frame.attrs['trials'] // seeds} candidates × {seeds} {'seeds' if seeds > 1 else 'seed'}"
    echo(f"{product} = {frame.attrs['trials']} trials, about {duration(_total(frame))} of work one after another")
    if told := frame.attrs["detection"]:
        _print_found(told)


def _print_found(told: Mapping[str, Any]) -> None:
    """Print what the declared test finds, and the seeds that smaller differences, or the one asked for, take."""
    from ablate.cli.terminal import duration, echo, table
    from ablate.statistics.power import MOST_SEEDS

    now, asked = told["rows"][0], told["rows"][1:]
    seeds = f"{now['seeds']} seed{'s' if now['seeds'] > 1 else ''}"
    over = f" over {told['comparisons']} comparisons" if told["comparisons"] > 1 else ""
    echo("")
    if now["difference"] is None:
        echo(f"with {seeds} the {told['test']} tells no difference from chance, however large")
    rows = [
        [
            _size(row["difference"], told),
            f"over {MOST_SEEDS}" if row["seeds"] is None else str(row["seeds"]),
            "–" if row["trials"] is None else str(row["trials"]),
            "–" if row["seconds"] is None else duration(row["seconds"]),
        ]
        for row in (asked if now["difference"] is None else told["rows"])
    ]
    if rows:
        unit = "deviations" if told["spread"] is None else f"{told['metric']}{', %' if told['scale'] == 'log' else ''}"
        test = f"the {told['test']} finds at {told['alpha']:g}{over}"
        echo(f"what {test}, with a chance of {told['power']:g}:")
        table((f"difference ({unit})", "seeds", "trials", "work"), rows)
    if told["spread"] is None:
        echo("no earlier run tells the deviation of one training; analysis.spread does")
    else:
        deviation = f" {_number(told['spread'])}" + (" in the logarithm" if told["scale"] == "log" else "")
        echo(f"one training deviates by{deviation} ({told['spread_of']})")


def _size(difference: float, told: Mapping[str, Any]) -> str:
    return _number(100 * difference if told["scale"] == "log" and told["spread"] is not None else difference)


def _number(value: float) -> str:
    from ablate.results.numbers import number

    return number(value, 2)


def _total(frame: pd.DataFrame) -> float:
    """Return the seconds for all trials; where a sampler proposes them, as if each were like the baseline."""
    return float(frame["seconds"].mean() * frame.attrs["trials"] * frame.attrs["share"])


def _range(choices: Any) -> str:
    if not isinstance(choices, Mapping):
        return ", ".join(map(str, choices))
    step = "" if choices.get("step") is None else f" in steps of {choices['step']:g}"
    spacing = ", evenly in the logarithm" if choices.get("log") else ""
    return f"{choices['low']:g} to {choices['high']:g}{step}{spacing}"
