"""`ablate profile`: where the time of a candidate's training step goes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.cli.options import Device, Json, PluginFiles, Profile, Set, StudyFile
from ablate.errors import InputError

if TYPE_CHECKING:
    from ablate.study.profile import CandidateProfile


def profile(
    study: StudyFile,
    candidate: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which candidate; the baseline by default.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Steps to look at.")] = 10,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a trace, for Perfetto or chrome://tracing.")
    ] = None,
    set_: Set = None,
    plugin: PluginFiles = None,
    profile: Profile = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Show where the time of a training step goes, and what to do about it.

    A short run of the real training step under torch's profiler: images a second, the share of the time in which the
    device computes, launches a step, the ten dearest operators, and memory. Nothing else is kept.
    """
    from ablate.cli.terminal import emit_json
    from ablate.study.load import load_study
    from ablate.study.recipes import is_model
    from ablate.study.yaml import read

    if is_model(read(study)):
        raise InputError("is a model, not a study: a step needs data to train on; name it in a study's `base`", study)
    loaded = load_study(study, overrides=set_ or (), plugins=plugin or (), profile=profile)

    from ablate.study.profile import profile_candidate

    found = profile_candidate(loaded, candidate, device, steps, trace)
    if as_json:
        compilation = None if found.compilation is None else found.compilation._asdict()
        own = {key: value for key, value in asdict(found).items() if key not in ("step", "compilation")}
        speed = {"images_per_second": found.images_per_second}
        emit_json({"study": loaded.study.study, **own, **speed, **asdict(found.step), "compilation": compilation})
    else:
        _print(loaded.study.study, found)


def _print(study: str, found: CandidateProfile) -> None:
    from ablate.cli.terminal import duration, echo, size, table
    from ablate.results.numbers import number

    step = found.step
    echo(f"{study}: {found.candidate}, on {step.device}")
    parts = "" if found.micro == found.batch else f" in parts of {found.micro}"
    echo(f"  step          {number(1e3 * step.step_seconds, 3)} ms for a batch of {found.batch}{parts}")
    echo(f"  speed         {number(found.images_per_second, 3)} images a second")
    echo(f"  device busy   {step.busy:.0%} of the time")
    echo(f"  launches      {step.launches:.0f} a step")
    echo(f"  memory        {'not told by this system' if found.memory_bytes is None else size(found.memory_bytes)}")
    if found.compilation is not None and found.compilation.eager is None:
        echo(f"  compiling     {duration(found.compilation.seconds)}, {found.compilation.graphs} graphs")
    rows = [[o.name, f"{o.share:.0%}", number(1e3 * o.seconds, 3), f"{o.calls:.3g}"] for o in step.operators]
    echo("")
    table(("operator", "share", "ms a step", "calls a step"), rows, title="the dearest operators, own time")
    echo("")
    for line in found.advice or ("nothing stands out: the operators above are what a step takes",):
        echo(f"- {line}")
    if found.trace is not None:
        echo(f"trace: {found.trace}")
