"""Checks of components that may follow from the data (`Fitted`): schedules, levels, weightings."""

from __future__ import annotations

from ablate.kinds.fitted import Fitted
from ablate.spec.component import InputSpec
from ablate.testing.case import Case, Check

SETTINGS = [InputSpec((channels, side, side), classes) for channels, side, classes in ((1, 16, None), (4, 64, 10))]


def follows_the_data_once(case: Case) -> None:
    """`for_setting` gives a component of the same class with valid fields; asked again, it changes nothing."""
    for part in case.variants(numbers=True):
        assert isinstance(part, Fitted)
        for setting in SETTINGS:
            fitted = part.for_setting(setting)
            assert type(fitted) is type(part), f"{part!r}: for {setting.shape} it becomes {fitted!r}"
            again = case.catalog.create(case.kind, fitted.spec())
            assert again == fitted, f"{part!r}: for {setting.shape} its fields {fitted.spec()} give {again!r}"
            twice = fitted.for_setting(setting)
            assert twice == fitted, f"{part!r}: asked again for {setting.shape} it becomes {twice!r}"


CHECKS: tuple[Check, ...] = (follows_the_data_once,)
