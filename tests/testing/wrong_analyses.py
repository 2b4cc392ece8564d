"""Analyses that are wrong, each in a way of its own; `fails` says which checks have to tell."""

import itertools
from dataclasses import replace
from typing import ClassVar

import numpy as np
from scipy.special import stdtr, stdtrit

from ablate.api import Analysis, Compared


class Sound(Analysis):
    """The paired t-test of each pair."""

    name = "sound"
    fails: ClassVar = ()

    def differences(self, values, pairs):
        return values[:, pairs[:, 0]] - values[:, pairs[:, 1]]

    def compare(self, values, pairs, null=0.0):
        return self.tested(self.differences(values, pairs), null)

    def tested(self, delta, null):
        there = np.isfinite(delta)
        n = there.sum(axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(there, delta, 0).sum(axis=2) / n
            squares = np.where(there, (delta - mean[:, :, None]) ** 2, 0).sum(axis=2)
            error = np.sqrt(squares / (n - 1) / n)
            p = 2 * stdtr(np.maximum(n - 1, 1), -np.abs(mean - null) / error)
        df = np.where(n > 1, n - 1.0, np.nan)
        p = np.where(n > 1, p, np.where(n > 0, 1.0, np.nan))
        return Compared(mean, error, p, lambda level: stdtrit(df, 1 - level / 2))


class Eager(Sound):
    """Takes every pair of seeds for two, as if it had twice as many."""

    name = "eager"
    fails: ClassVar = ("holds_its_level", "intervals_hold_what_is_true")

    def differences(self, values, pairs):
        return np.repeat(super().differences(values, pairs), 2, axis=2)


class Deaf(Sound):
    """Hears no difference, however large."""

    name = "deaf"
    fails: ClassVar = ("finds_what_is_plain",)

    def compare(self, values, pairs, null=0.0):
        found = super().compare(values, pairs, null)
        return replace(found, p=np.where(np.isfinite(found.p), 1.0, np.nan))


class Narrow(Sound):
    """Gives intervals of half the width."""

    name = "narrow"
    fails: ClassVar = ("intervals_hold_what_is_true",)

    def compare(self, values, pairs, null=0.0):
        found = super().compare(values, pairs, null)
        return replace(found, critical=lambda level: found.critical(level) / 2)


class Fixed(Sound):
    """Tests for no difference, whatever it is asked to test for."""

    name = "fixed"
    fails: ClassVar = ("tests_another_difference",)

    def compare(self, values, pairs, null=0.0):
        return super().compare(values, pairs)


class Unpaired(Sound):
    """Forgets which seed is which."""

    name = "unpaired"
    fails: ClassVar = ("pairs_by_seed",)

    def tested(self, delta, null):
        found = super().tested(delta, null)
        return replace(found, p=np.where(np.nan_to_num(delta).max(axis=2) > 5, 1.0, found.p))


class Ordered(Sound):
    """Trusts only the first seeds."""

    name = "ordered"
    fails: ClassVar = ("depends_on_no_order",)

    def differences(self, values, pairs):
        return super().differences(values, pairs)[:, :, : max(values.shape[2] - 1, 1)]


class Moody(Sound):
    """Decides by how often it was asked."""

    name = "moody"
    fails: ClassVar = ("judges_each_study_by_itself",)
    _asked: ClassVar = itertools.count()

    def compare(self, values, pairs, null=0.0):
        found = super().compare(values, pairs, null)
        return replace(found, p=np.minimum(found.p * (1 + 1e-3 * (next(self._asked) % 7)), 1))


class Whole(Sound):
    """Knows only studies of which nothing is missing."""

    name = "whole"
    fails: ClassVar = ("takes_what_is_missing",)

    def differences(self, values, pairs):
        if not np.isfinite(values).all():
            raise ValueError("a value is missing")
        return super().differences(values, pairs)
