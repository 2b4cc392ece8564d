"""`ablate metrics`: the same numbers as in a study, for two sets of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablate.cli.options import Device, Json, PluginFiles

if TYPE_CHECKING:
    from ablate.discovery.catalog import Catalog
    from ablate.evaluation.compare import PictureSet
    from ablate.kinds.metric import Metric

USUAL = ("fd", "kid")
FORMS = "a folder, a .zip, an .npz (arr_0, or images) or an .npy"


def metrics(
    real: Annotated[Path, typer.Argument(metavar="REAL", help=f"The pictures to measure against: {FORMS}.")],
    generated: Annotated[Path, typer.Argument(metavar="GENERATED", help="The pictures to measure, likewise.")],
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What to measure; fd and kid by default. A name or YAML; repeatable."),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What to look with; each metric's own by default. Likewise."),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=2, max=10**9, metavar="N", help="Take so many of GENERATED: compare only at equal numbers."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=4, max=4096, metavar="N", help="Bring both to N×N pixels first.")
    ] = None,
    colour: Annotated[str, typer.Option(metavar="as_is|grey|rgb", help="Bring both to one colour.")] = "as_is",
    skip_corrupt: Annotated[bool, typer.Option("--skip-corrupt", help="Leave out what cannot be decoded.")] = False,
    plugin: PluginFiles = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure generated pictures against real ones.

    Every value comes with what decides it: the numbers of pictures, and the hashes of the reference
    and of features and weights. Only the features of REAL are kept, in the cache.
    """
    from typing import cast, get_args

    import torch

    from ablate.discovery.catalog import catalog
    from ablate.errors import InputError, did_you_mean
    from ablate.evaluation.compare import compare
    from ablate.pictures import Colour, open_pictures
    from ablate.runtime.machine import cache_folder, choose_device, usable

    if colour not in get_args(Colour):
        raise InputError(f"there is no {colour!r}{did_you_mean(colour, get_args(Colour))}", "--colour")
    measures = _metrics(metric or USUAL, features, catalog(tuple(plugin or ())))
    place = torch.device(choose_device(device))
    sets = [
        open_pictures(
            path, size=size, colour=cast(Colour, colour), labels="none", limit=limit, skip_corrupt=skip_corrupt
        )
        for path, limit in ((real, None), (generated, samples))
    ]
    real_set, generated_set, rows = compare(sets[0], sets[1], measures, usable(cache_folder()), place)
    if as_json:
        from dataclasses import asdict

        from ablate.cli.terminal import emit_json

        emit_json({"real": asdict(real_set), "generated": asdict(generated_set), "metrics": rows})
    else:
        _print(real_set, generated_set, rows)


def _metrics(names: list[str] | tuple[str, ...], features: str | None, catalog: Catalog) -> list[Metric]:
    """Return the metrics, each with the given features. Raises InputError with the option that is wrong."""
    from ablate.errors import InputError, SpecError
    from ablate.kinds.metric import Metric
    from ablate.study.yaml import value

    features_spec = None if features is None else value(features, "--features")
    metrics = []
    for name in names:
        spec = value(name, "--metric")
        spec = dict(spec) if isinstance(spec, dict) else {"type": spec}
        if features_spec is not None:
            spec.setdefault("features", features_spec)
        try:
            part = catalog.create(Metric, spec)
        except SpecError as error:
            raise InputError("; ".join(map(str, error.problems)), f"--metric {name}") from None
        metrics.append(part)
    columns = [column for part in metrics for column in part.columns(0).values()]
    if len(set(columns)) < len(columns):
        raise InputError("the same metric stands twice", "--metric")
    return metrics


def _print(real: PictureSet, generated: PictureSet, rows: list[dict[str, Any]]) -> None:
    from ablate.cli.terminal import echo, table

    cells = [
        (
            row["metric"],
            "–" if row["value"] is None else f"{row['value']:.6g}",
            "" if row["error"] is None else f"{row['error']:.2g}",
            row["features_hash"][:12],
        )
        for row in rows
    ]
    table(("metric", "value", "error", "features and weights"), cells)
    for what, one in (("reference", real), ("generated", generated)):
        channels, height, width = one.shape
        left_out = f", {one.skipped} left out as damaged" if one.skipped else ""
        colour = "grey" if channels == 1 else "colour"
        echo(f"{what}: {one.path}, {one.count} of {width}×{height} in {colour}{left_out}, hash {one.hash[:12]}")
