"""The weights that a training begins with: new ones, or those of a network that was trained before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ablate.errors import Path, did_you_mean
from ablate.kinds.backbone import Backbone
from ablate.kinds.teacher import TeacherTrial
from ablate.spec.component import Component, Config, Extent


class Start(Config):
    """Where the weights come from; what the candidate's own network lacks of them is left out (pruning).

    scratch: new weights. baseline: those of the study's baseline, of the same seed, after its training. trial: those of
    a finished trial of another study. file: a safetensors file, of a state dict of the network or of a trial's
    checkpoint. Of trials it is the averaged weights. A candidate's identity says which network it begins with, not
    where that lies.
    """

    shorthands: ClassVar[tuple[str, ...]] = ("scratch", "baseline")

    of: Literal["scratch", "baseline", "trial", "file"] = "scratch"
    trial: TeacherTrial | None = None
    file: Annotated[str | None, Field(min_length=1)] = None  # relative to the study's file
    # of the baseline, its own; of a trial, config_hash (and weights); of a file, SHA-256; None: as found when read
    identity: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$")] = None
    # the network that was trained, as found when the study is read; of a file it is not known
    backbone: Annotated[Backbone | None, Extent()] = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("trial", "file") if getattr(self, name) is not None]
        if given != ([self.of] if self.of in ("trial", "file") else []):
            raise ValueError("say one of: scratch, baseline, {trial: {study: …}}, {file: …}")
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
        if value not in Start.shorthands:
            hint = did_you_mean(value, Start.shorthands)
            raise ValueError(f"a training does not start from {value!r}{hint}, or {{trial: …}}, {{file: …}}")
        return {"of": value}
    if isinstance(value, Mapping) and "of" not in value:
        return {**value, "of": next((name for name in ("trial", "file") if value.get(name) is not None), "scratch")}
    return value
