"""`ablate compare`: the fronts of two studies beside each other."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablate.cli.options import Json

if TYPE_CHECKING:
    from ablate.results.fronts.comparison import Comparison


def compare(
    first: Annotated[Path, typer.Argument(metavar="DIR", help="A study's folder.")],
    second: Annotated[Path, typer.Argument(metavar="DIR", help="Another one, with the same data and metrics.")],
    objectives: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="In these instead of the first study's. Repeatable.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="POINT", help="Up to which hypervolumes count, as in '{kid: 10, gflops: 0.1}'."),
    ] = None,
    figure: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw both fronts: .png, .svg or .pdf.")] = None,
    as_json: Json = False,
) -> None:
    """Compare the fronts of two studies.

    Refused where they were trained on other data, or measured in another way.
    """
    from ablate.cli.terminal import echo, emit_json
    from ablate.results import load
    from ablate.results.fronts.comparison import compare as compare_fronts

    point = _point(reference)
    one, two = load(first), load(second)
    found = compare_fronts(one, two, objectives or None, point)
    if figure is not None:
        from ablate.results.figures.compare import write

        write(one, two, found, figure)
    if as_json:
        emit_json(plain(found))
        return
    for line in lines(found):
        echo(line)
    if figure is not None:
        echo(figure)


def _point(text: str | None) -> dict[str, float] | None:
    """Parse a reference point as the command line has it. Raises InputError for what is none."""
    from ablate.errors import Argument, InputError
    from ablate.study.yaml import value

    if text is None:
        return None
    point = value(text, Argument("reference"))
    if not point or not isinstance(point, dict) or not all(map(_is_number, point.values())):
        raise InputError(f"expected a point such as '{{kid: 10, gflops: 0.1}}', not {text!r}", Argument("reference"))
    return {str(name): float(value) for name, value in point.items()}


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)


def plain(found: Comparison) -> dict[str, Any]:
    """Return all of a comparison as plain data."""
    table = found.table.astype(object).where(found.table.notna(), None)
    volumes = found.hypervolumes.astype(object).where(found.hypervolumes.notna(), None)
    rest = {key: value for key, value in asdict(found).items() if key not in ("table", "hypervolumes")}
    larger = None if math.isnan(found.larger) else found.larger
    made = {**rest, "larger": larger, "front": table.to_dict("records"), "hypervolumes": volumes.to_dict("records")}
    return dict(json.loads(json.dumps(made, default=float)))


def lines(found: Comparison) -> list[str]:
    """Return the comparison as text: a table of both fronts, then sentences."""
    import sys

    from ablate.cli.terminal import columns_of
    from ablate.io.columns import Column, layout
    from ablate.io.text import message
    from ablate.results.numbers import number, percent

    table = found.table
    columns = [
        Column("candidate", tuple(map(str, table["candidate"])), name=True),
        Column("study", tuple(map(str, table["study"]))),
        *(
            Column(objective, tuple(number(float(value)) for value in table[objective]), right=True)
            for objective in found.objectives
        ),
        Column("n", tuple(map(str, table["n"])), right=True),
        Column("front of both", tuple(_mark(row) for _, row in table.iterrows()), right=True),
    ]
    text = [line.text for line in layout(columns, columns_of(sys.stdout))]
    first, second = found.names
    point = ", ".join(f"{column} {number(value)}" for column, value in found.reference.items())
    volumes = "; ".join(_volume(row) for _, row in found.hypervolumes.iterrows())
    sentences = [f"hypervolume up to {point}: {volumes}"]
    if not math.isnan(found.larger):
        sentences.append(f"that of {first} is larger with a probability of {percent(found.larger)}")
    on = table[table["on_joint_front"]]["study"].value_counts()
    members = " and ".join(f"{on.get(name, 0)} of {(table['study'] == name).sum()} of {name}" for name in found.names)
    sentences.append(f"on the front of both: {members}")
    sentences.append(
        f"covered by the other: {100 * found.covered[0]:.0f} % of the front of {first}, "
        f"{100 * found.covered[1]:.0f} % of that of {second}"
    )
    marks = "●: on the front of both" + ("" if found.table["probability"].isna().all() else "; %: how probably")
    return [*text, "", *map(message, [*sentences, *found.notes, marks])]


def _volume(row: Any) -> str:
    from ablate.results.numbers import number

    text = f"{row['study']} {number(row['value'])}"
    if math.isnan(row["low"]):
        return text
    return f"{text}, expected {number(row['expected'])} ({number(row['low'])} to {number(row['high'])})"


def _mark(row: Any) -> str:
    from ablate.results.numbers import percent

    mark = "●" if row["on_joint_front"] else ""
    return mark if math.isnan(row["probability"]) else f"{mark} {percent(row['probability']):>6}"
