"""`ablate evaluate`: measure a study's trials again, from their checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ablate.cli.options import Device, Figures, Folder, Json, PluginFiles
from ablate.cli.outcome import SOME_FAILED, complain

if TYPE_CHECKING:
    import pandas as pd

    from ablate.results import Results
    from ablate.study.evaluate import Remeasured


def evaluate(
    context: typer.Context,
    folder: Folder,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="What to measure; the study's metrics by default. A name or YAML; repeatable."
        ),
    ] = None,
    nfe: Annotated[
        str | None, typer.Option(metavar="N,N", help="Evaluations of the denoiser a sample, one after the other.")
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, max=10_000_000, metavar="N", help="Samples to draw.")] = None,
    ema: Annotated[
        str | None, typer.Option(metavar="LABEL,LABEL", help="Averages of the weights, or lengths to rebuild.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="all|even|odd", help="Which of the reference images, by number: halves, to confirm on one."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="As solver.grid=karras or guidance.scale=[1, 2]. Repeatable."),
    ] = None,
    plugin: PluginFiles = None,
    executor: Annotated[str | None, typer.Option(metavar="NAME", help="Where it runs: local, ray, workers.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=10_000, metavar="N", help="Trials at a time.")] = None,
    device: Device = "auto",
    figures: Figures = True,
    as_json: Json = False,
) -> None:
    """Measure the trials of a study again, from their checkpoints; nothing is trained.

    Every combination of what is asked for; what was measured is not measured again. The rows join
    metrics.parquet, with what they were taken with.
    """
    from ablate.cli.terminal import echo
    from ablate.errors import InputError
    from ablate.study.evaluate import remeasure
    from ablate.study.request import Request

    try:
        calls = [int(part) for part in nfe.split(",")] if nfe else []
    except ValueError:
        raise InputError(f"expected whole numbers, such as 5,10,20, not {nfe!r}", "--nfe") from None
    if any(not 1 <= one <= 10_000 for one in calls):
        raise InputError("expected numbers from 1 to 10000", "--nfe")
    averages = [_average(part.strip()) for part in ema.split(",")] if ema else []
    request = Request(metric or (), samples, calls, averages, reference, set_ or ())

    def say(line: str) -> None:
        """Print warnings on stderr, as `run` does; progress on stdout, where that is no JSON."""
        (complain if as_json or line.startswith("warning: ") else echo)(line)

    outcome = remeasure(folder, request, executor, workers, device, say, plugin or (), context.meta["ablate.words"])
    from ablate.results import load
    from ablate.results.identity import differing_settings

    results = load(folder)
    if figures:
        results.figures(say=complain)
    table = _table(results, outcome)
    if as_json:
        from ablate.cli.terminal import emit_json

        points = [] if table is None else table.astype(object).where(table.notna(), None).to_dict("records")
        emit_json({"measured": outcome.measured, "reused": outcome.reused, "failed": outcome.failed, "front": points})
    else:
        if table is not None:
            hidden = [
                c
                for c in table.columns
                if c.startswith("c.") or c in ("config_hash", "gflops.sd", "sample_gflops.sd", "failed")
            ]
            visible = table.drop(columns=hidden)
            if "solver_settings" in visible:
                settings = visible["solver_settings"]
                visible["solver_settings"] = settings.map(differing_settings(settings))
            _print(visible)
        echo(f"{outcome.measured} measured, {outcome.reused} were there already; files: {folder}")
    if outcome.failed:
        trials = results.trials.set_index("trial")
        for trial, why in outcome.failed.items():
            who = f"{trials['candidate'].get(trial)!s}, seed {trials['seed'].get(trial)!s}"
            complain(f"{who}: {why} ({trial})")
        raise typer.Exit(SOME_FAILED)


def _print(table: pd.DataFrame) -> None:
    from ablate.cli.terminal import table as draw

    rows = table.astype(object).where(table.notna(), "–").map(_cell)
    draw(list(map(str, table.columns)), rows.to_numpy().tolist())


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "●" if value else ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(results: Results, outcome: Remeasured) -> pd.DataFrame | None:
    """Return the front of what was asked for, and of nothing else; None where there is none, which is printed."""
    from ablate.errors import InputError
    from ablate.results import frames

    rows = frames.metrics(outcome.rows)
    quality = results.quality
    columns = list(dict.fromkeys(rows["metric"]))
    if not columns:
        return None
    column = quality.column if quality is not None and quality.column in columns else columns[0]
    try:
        cost = "sample_gflops" if rows["sample_gflops"].notna().all() else "gflops"
        return results.among(rows).front([column, cost], along=outcome.axes)
    except InputError as error:
        complain(str(error))
        return None


def _average(text: str) -> str | float:
    """Parse a length, where it is a number; else a label."""
    try:
        return float(text)
    except ValueError:
        return text
