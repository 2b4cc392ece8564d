"""`ablate export`: the study's table for programs and for papers, and its trials for trackers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.cli.options import Readable

if TYPE_CHECKING:
    from ablate.discovery.catalog import Catalog
    from ablate.kinds.tracker import Tracker
    from ablate.results import Results

SUFFIXES = {"csv": "csv", "latex": "tex", "markdown": "md"}
TO = ("csv", "parquet", "markdown", "latex", "html")
TRACKERS = "tensorboard|wandb|mlflow"  # in the help; the catalog has all


def export(
    folder: Readable,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar=f"{'|'.join(TO)}|{TRACKERS}",
            help="Write candidates.<format>, or log the trials by a tracker; may be given several times.",
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="csv|latex|markdown|all", help="Write table.<format>, with deviations."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder to write into; tables/ in DIR by default.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A field of the tracker, as in project=mine. Repeatable."),
    ] = None,
    plugin: Annotated[
        list[str] | None, typer.Option("--plugin", metavar="FILE", help="A file or package with a tracker of yours.")
    ] = None,
) -> None:
    """Write the table as CSV, parquet, markdown, LaTeX, HTML; or log every trial by a tracker.

    --to csv …: mean ± half of the 95 % interval, the best in bold with all that the study's test does not tell from it,
    and a caption that says how each metric was taken. --to tensorboard …: one run a trial, grouped by candidate, with
    the study's own settings of that tracker, if it has some. --format, and without either: mean ± standard deviation.
    """
    from ablate.cli.terminal import echo
    from ablate.errors import InputError, did_you_mean
    from ablate.io.files import fit_for_a_folder
    from ablate.results import load
    from ablate.results.export import export as write
    from ablate.results.paper_formats import write_table

    if to and format_:
        raise InputError("write --to or --format, not both: they are two tables", "--format")
    named = list(dict.fromkeys(to or ()))
    catalog = _catalog(named, plugin or ())
    known = [*TO, *(catalog.names("tracker") if catalog is not None else ())]
    if wrong := [name for name in named if name not in known]:
        raise InputError(f"there is neither a format nor a tracker {wrong[0]!r}{did_you_mean(wrong[0], known)}", "--to")
    if set_ and all(name in TO for name in named):
        raise InputError("sets a field of a tracker; name one with --to", "--set")
    formats = [*SUFFIXES, "all"]
    if format_ is not None and format_ not in formats:
        raise InputError(f"there is no format {format_!r}{did_you_mean(format_, formats)}", "--format")
    if out is not None:
        fit_for_a_folder(out, "--out")
    results = load(folder)
    for name in named:
        if name in TO:
            echo(write_table(results, name, out))
        else:
            assert catalog is not None
            _log(results, _tracker(results, name, set_ or (), catalog))
    if named:
        return
    suffixes = list(SUFFIXES.values()) if format_ in (None, "all") else [SUFFIXES[str(format_)]]
    for path in write(results, out, suffixes):
        echo(path)


def _catalog(names: Sequence[str], plugins: Sequence[str]) -> Catalog | None:
    """Return the catalog, where a tracker is asked for: it takes half a second."""
    from ablate.discovery.catalog import catalog
    from ablate.errors import InputError

    if all(name in TO for name in names):
        return None
    found = catalog(tuple(plugins))
    if broken := [one for one in found.broken if one.plugin in plugins]:
        raise InputError(f"could not be loaded: {broken[0].summary}", f"--plugin {broken[0].plugin}")
    return found


def _tracker(results: Results, name: str, settings: Sequence[str], catalog: Catalog) -> Tracker:
    """Make the tracker: as the study has it, where it has one of that name, with the fields of the command line."""
    from ablate.errors import InputError, SpecError
    from ablate.kinds.tracker import Tracker
    from ablate.study.yaml import value

    listed = results.study.get("trackers")
    own = (
        [{"type": one} if isinstance(one, str) else one for one in listed if isinstance(one, str | dict)]
        if (isinstance(listed, list))
        else []
    )
    spec = dict(next((one for one in own if one.get("type") == name), {"type": name}))
    for setting in settings:
        field, separator, text = setting.partition("=")
        if not separator or not field.strip():
            raise InputError("expected FIELD=VALUE, such as project=mine", f"--set {setting}")
        spec[field.strip()] = value(text, f"--set {setting}")
    try:
        tracker = catalog.create(Tracker, spec)
    except SpecError as error:
        raise InputError(error.message, f"tracker {name!r}") from None
    if (command := tracker.missing()) is not None:
        raise InputError(f"the tracker {name!r} needs another package: {command}")
    return tracker


def _log(results: Results, tracker: Tracker) -> None:
    """Log every trial that has ended."""
    from ablate.cli.terminal import echo
    from ablate.errors import InputError
    from ablate.io.text import label
    from ablate.kinds.tracker import TrackedStudy
    from ablate.results.tracked import Told, observed_of, tell

    study = TrackedStudy(results.name, str(results.study.get("question") or ""), results.path.absolute())
    trials, candidates = 0, set[str]()
    try:
        with tracker.open(study) as log:
            for seen in observed_of(results):
                log.begin(seen.trial, None)
                tell(log, seen, Told())
                trials += 1
                candidates.add(seen.trial.config_hash)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - a library's own, of a server that is not there
        why = label(" ".join(f"{type(error).__name__}: {error}".split()), 400)
        done = f"; {trials} trials were logged before" if trials else ""
        raise InputError(f"{why}{done}", f"tracker {tracker.name!r}") from None
    echo(f"{tracker.name}: {trials} trials of {len(candidates)} candidates, a run each")
    if (command := tracker.shown_by(study)) is not None:
        echo(f"  {command}")
