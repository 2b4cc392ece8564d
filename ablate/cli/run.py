"""`ablate run`: from a study file to its results, or onwards from where it was interrupted."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablate.cli.options import Device, Figures, PluginFiles, Profile, Set, StudyFile
from ablate.cli.outcome import SOME_FAILED, complain

if TYPE_CHECKING:
    from ablate.engine import Outcome
    from ablate.study.launch import Launched
    from ablate.study.loaded import LoadedStudy


def run(
    context: typer.Context,
    study: StudyFile,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|URL",
            help="The study's folder, results/<study> by default; an existing one is resumed. Or s3://bucket/folder.",
        ),
    ] = None,
    set_: Set = None,
    plugin: PluginFiles = None,
    profile: Profile = None,
    executor: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where trials run: local, ray (where it is installed), workers.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=10_000, metavar="N", help="Trials at a time; as many as fit by default.")
    ] = None,
    device: Device = "auto",
    confirm: Annotated[
        int | None,
        typer.Option(metavar="K", help="At the end, run the K best, and the baseline, again on fresh seeds."),
    ] = None,
    confirm_seeds: Annotated[int, typer.Option(metavar="N", help="How many fresh seeds each of them gets.")] = 5,
    figures: Figures = True,
) -> None:
    """Run a study, or go on with one that was interrupted.

    Nothing that was measured is measured again. Exit code 1 says that some trials failed.
    """
    from ablate.study.load import load_study

    loaded = load_study(study, overrides=set_ or (), plugins=plugin or (), profile=profile)

    from ablate.cli.terminal import echo  # what follows takes a while to import: first what is wrong is told
    from ablate.errors import Argument, InputError
    from ablate.study import confirm as confirmation

    confirmation.check(confirm, confirm_seeds, out)
    if out is not None and out.startswith("memory://"):
        raise InputError("memory:// lasts as long as a process: it is for ablate.run in Python", Argument("out", out))
    options: dict[str, Any] = {
        "out": out,
        "overrides": set_ or (),
        "plugins": plugin or (),
        "profile": profile,
        "executor": executor,
        "workers": workers,
        "device": device,
        "words": context.meta["ablate.words"],
        "say": complain,
        "figures": figures,
    }
    outcomes = [_launch(study, loaded, options)]
    if confirm is not None:
        more = confirmation.confirming(outcomes[0], options, confirm, confirm_seeds)
        echo(f"\nconfirmation: the best (at most {confirm}) and the baseline, on {confirm_seeds} fresh seeds")
        loaded = load_study(study, overrides=more["overrides"], plugins=plugin or (), profile=profile)
        outcomes.append(_launch(study, loaded, more))
    _conclude(outcomes)


def _launch(study: str, loaded: LoadedStudy, options: Mapping[str, Any]) -> Launched:
    """Run a study with the live view, and print its summary."""
    from ablate.cli.live import view
    from ablate.study.launch import launch

    with _interruptible(), view(loaded.study.study, loaded.objectives, loaded.constraints) as watch:
        launched = launch(study, watch=watch, **options)
    _summarise(launched.folder)
    return launched


def _summarise(folder: Path) -> None:
    from ablate.cli.terminal import console, echo, lively
    from ablate.results import load
    from ablate.results.remarks import explanations

    results = load(folder)
    if lively():
        console().print(results.summary())
    else:
        print(results.summary(plain=True), end="")
    for line in explanations(results):
        echo(line)


def _conclude(all_launched: Sequence[Launched]) -> None:
    """Say what the tables do not, and end with 1 where trials failed."""
    failed = 0
    for launched in all_launched:
        _tell(launched.outcome, launched.folder)
        failed += launched.outcome.failed
    if failed:
        raise typer.Exit(SOME_FAILED)


def _tell(outcome: Outcome, folder: Path) -> None:
    from ablate.cli.terminal import echo

    if outcome.reused:
        echo(f"{outcome.reused} of the trials were measured before and taken as they were")
    sys.stdout.flush()
    if outcome.refused:
        complain(f"{outcome.refused} candidates were refused: their parts do not go together, or they cost too much")
    if outcome.short:
        complain(outcome.short)
    if outcome.failed:
        complain(f"{_trials(outcome.failed)} failed; for the reasons: ablate status {folder}")


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"


@contextmanager
def _interruptible() -> Iterator[None]:
    """End the run on a request to terminate (a batch system's, a closed terminal's) as on Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signals = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    except SystemExit as error:
        # Ray puts a handler of its own in the place of ours, which exits.
        if error.code in (signal.SIGTERM, -signal.SIGTERM):
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
