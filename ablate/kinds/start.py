"""The weights that a training begins with: new ones, or those of a network that was trained before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ablate.errors import Path, did_you_mean
from ablate.kinds.backbone import Backbone
from ablate.kinds.teacher import TeacherTrial
from ablate.spec.component import Component, Config, Extent

START = "start"  # the candidate's field
PARENT = "parent:"  # begins the word for a start from a parent
DIGITS = 12  # of the parent's config_hash that follow: those of its trials' folders


class Start(Config):
    """Where the weights come from; what the candidate's own network lacks of them is left out (pruning).

    scratch: new weights. baseline: those of the study's baseline, of the same seed, after its training. trial: those of
    a finished trial of another study. file: a safetensors file, of a state dict of the network or of a trial's
    checkpoint. parent: those of another candidate of the same search, of the same seed, as far as they fit; only a
    search that inherits gives it, and says it as `parent:<start of the config_hash>`. Of trials it is the averaged
    weights. A candidate's identity says which network it begins with, not where that lies.
    """

    shorthands: ClassVar[tuple[str, ...]] = ("scratch", "baseline")

    of: Literal["scratch", "baseline", "trial", "file", "parent"] = "scratch"
    trial: TeacherTrial | None = None
    file: Annotated[str | None, Field(min_length=1)] = None  # relative to the study's file
    # of the baseline, its own; of a trial, config_hash (and weights); of a file, SHA-256; None: as found when read;
    # of a parent, the first digits of its config_hash
    identity: Annotated[str | None, Field(pattern="^([0-9a-f]{64}|[0-9a-f]{12})$")] = None
    # the network that was trained, as found when the study is read; of a file it is not known
    backbone: Annotated[Backbone | None, Extent()] = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("trial", "file") if getattr(self, name) is not None]
        if given != ([self.of] if self.of in ("trial", "file") else []):
            raise ValueError("say one of: scratch, baseline, {trial: {study: …}}, {file: …}")
        if self.of == "parent" and (self.identity is None or len(self.identity) != DIGITS):
            raise ValueError(f"a start from a parent names it by the first {DIGITS} digits of its config_hash")
        return self

    def active(self) -> dict[str, Any]:
        """Return which network it is: wherever it lies."""
        return {"of": self.of, **({} if self.of == "scratch" else {"identity": self.identity})}

    def parts(self, path: Path = ()) -> Iterator[tuple[Path, Component]]:
        """Yield nothing: the network that was trained before is no part of this one."""
        return iter(())


def as_start(value: Any) -> Any:
    """Return a start as a mapping: `baseline` alone is a word for it, and a trial or a file says what it is."""
    if isinstance(value, str):
        if value.startswith(PARENT):
            return {"of": "parent", "identity": value.removeprefix(PARENT)}
        if value not in Start.shorthands:
            hint = did_you_mean(value, Start.shorthands)
            raise ValueError(f"a training does not start from {value!r}{hint}, or {{trial: …}}, {{file: …}}")
        return {"of": value}
    if isinstance(value, Mapping) and "of" not in value:
        return {**value, "of": next((name for name in ("trial", "file") if value.get(name) is not None), "scratch")}
    return value


def parent_of(trial: str) -> str:
    """Return the word for a start from the candidate of a trial, given the trial's name."""
    return PARENT + trial.partition("-")[0]


def apart_from_parent(assignment: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Split an assignment into its choices and the word for the parent it begins with; None where it has none."""
    word = assignment.get(START)
    if not isinstance(word, str) or not word.startswith(PARENT):
        return dict(assignment), None
    return {path: label for path, label in assignment.items() if path != START}, word
