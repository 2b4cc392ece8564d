"""Weightings that are wrong, each in a way that is wrong in any kind; `fails` says which checks have to tell."""

import random
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, model_validator

from ablate.api import (
    Added,
    Choice,
    Weighting,
)


class Odd(Weighting):
    name = "odd name"  # no word, and no docstring

    power: Annotated[float, Field(gt=0), Choice(0.5, 0)] = 1  # 0 is no valid value, 1 is no float
    fails: ClassVar = ("is_named", "says_what_it_is", "round_trips_as_json", "searches_what_is_valid")

    def weight(self, level, sigma_data):
        return level.snr


class Loose(Weighting):
    """A config that anyone may change and misspell."""

    name = "loose"
    model_config = ConfigDict(frozen=False, extra="ignore")
    power: float = 1.0
    fails: ClassVar = ("is_frozen", "refuses_unknown_fields")

    def weight(self, level, sigma_data):
        return level.snr


class Contrary(Weighting):
    """Refuses its own defaults."""

    name = "contrary"
    fails: ClassVar = ("makes_from_defaults",)

    @model_validator(mode="after")
    def _never(self):
        raise ValueError("not like this")

    def weight(self, level, sigma_data):
        return level.snr


class Changing(Weighting):
    """Another default in each process."""

    name = "changing"
    power: float = Field(default_factory=random.random)
    fails: ClassVar = ("has_one_identity",)

    def weight(self, level, sigma_data):
        return level.snr


class Younger(Weighting):
    """Has a field that came later, and a value before it that the field refuses."""

    name = "younger"
    floor: Annotated[float, Field(gt=0), Added(before=0)] = 1.0
    fails: ClassVar = ("keeps_its_identity_where_a_field_is_added",)

    def weight(self, level, sigma_data):
        return level.snr


class Mute(Weighting):
    """Needs something, and does not say why."""

    name = "mute"
    fails: ClassVar = ("tells_what_it_needs",)

    def requires(self):
        return {"a_secret": ""}

    def weight(self, level, sigma_data):
        return level.snr


class Negative(Weighting):
    """Below zero where there is more noise than signal."""

    name = "negative"
    fails: ClassVar = ("is_finite_and_not_negative",)

    def weight(self, level, sigma_data):
        return level.log_snr
