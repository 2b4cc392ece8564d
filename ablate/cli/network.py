"""`ablate plan … --network`: the modules of one composed network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablate.candidates.candidate import Candidate
    from ablate.candidates.network import Layer
    from ablate.spec.component import InputSpec


def show_network(candidate: Candidate, setting: InputSpec, title: str, as_json: bool) -> None:
    """Print a row for each module: its path, class, shapes, parameters, Gflops, and file:line of its class.

    setting: what the network is given, with what the candidate itself tells it. Equal neighbours are one row. As JSON:
    every module, none folded, with full numbers. Raises InputError where the network cannot be built.
    """
    from ablate.candidates.candidate import cost_of, meta_network
    from ablate.candidates.network import fold, layers
    from ablate.cli.terminal import emit_json

    cost = cost_of(candidate.backbone, setting)  # raises InputError in a study's own words
    rows = layers(meta_network(candidate.backbone, setting), setting)
    if as_json:
        emit_json(
            {
                "candidate": title,
                "shape": setting.shape,
                "classes": setting.classes,
                "conditions": {spec.name: asdict(spec) for spec in setting.conditions},
                "params": cost.params,
                "gflops": cost.gflops,
                "layers": [{key: value for key, value in asdict(row).items() if key != "equal"} for row in rows],
            }
        )
        return
    _print(fold(rows), title)


def _print(rows: Sequence[Layer], title: str) -> None:
    from ablate.cli.terminal import table
    from ablate.results.numbers import count, number

    cells = [
        [
            _name(row),
            row.type,
            f"{_shape(row.inputs)} → {_shape(row.outputs)}" if row.calls else "not called itself",
            count(row.params),
            number(row.gflops, 4) if row.gflops else "0",
            f"{row.file}:{row.line}",
        ]
        for row in rows
    ]
    table(("module", "class", "in → out", "params", "Gflops", "written at"), cells, title=title, names=("written at",))
    print("for one image; a row contains what stands indented below it, and ×n is n equal neighbours, each as shown")


def _name(row: Layer) -> str:
    """Return the last part of the path, indented by its depth: the path itself is read off the rows above."""
    name = row.path.rpartition(".")[2] or "network"
    return "  " * row.depth + name + (f" ×{row.equal}" if row.equal > 1 else "")


def _shape(shapes: Sequence[Sequence[int]]) -> str:
    """Format the shape of the first tensor, without the batch."""
    return "×".join(map(str, shapes[0][1:])) or "1" if shapes else "–"
