"""`ablate proxies`: numbers of untrained candidates that may tell how good they become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ablate.cli.options import Device, Json, PluginFiles, Profile, Set, StudyFile
from ablate.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def proxies(
    study: StudyFile,
    proxy: Annotated[
        list[str] | None, typer.Option("--proxy", metavar="NAME", help="Only this one; all by default. Repeatable.")
    ] = None,
    most: Annotated[
        int, typer.Option("--most", min=1, metavar="N", help="Candidates drawn by chance, where the study is a search.")
    ] = 50,
    set_: Set = None,
    plugin: PluginFiles = None,
    profile: Profile = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure every candidate of a study before any training: zero-cost proxies, and the loss of a few steps.

    What they are worth on the recorded table is in docs/decisions/0060: no proxy is taken for quality anywhere.
    """
    from ablate.cli.terminal import emit_json
    from ablate.study.load import load_study
    from ablate.study.recipes import is_model
    from ablate.study.yaml import read

    if is_model(read(study)):
        raise InputError("is a model, not a study: proxies need data; name it in a study's `base`", study)
    loaded = load_study(study, overrides=set_ or (), plugins=plugin or (), profile=profile)

    from ablate.study.proxies import proxies_of

    frame = proxies_of(loaded, proxy or (), device, most)
    if as_json:
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        emit_json({**frame.attrs, "candidates": rows})
    else:
        _print(frame)


def _print(frame: pd.DataFrame) -> None:
    from ablate.cli.terminal import table
    from ablate.results.numbers import count, number

    names = [name for name in frame.columns if name not in ("candidate", "params", "gflops") and name[:2] != "c."]
    better = {name: "↑" if name in frame.attrs["larger_is_better"] else "↓" for name in names}
    rows = [
        [
            str(row["candidate"]),
            count(row["params"]),
            number(row["gflops"], 4),
            *("–" if row[name] != row[name] else number(row[name], 4) for name in names),
        ]
        for row in frame.to_dict("records")
    ]
    table(("candidate", "params", "Gflops", *(f"{name} {better[name]}" for name in names)), rows)
    print("↑ a larger number is meant to be better, ↓ a smaller one; – is not defined for that network")
