"""A schedule, levels and a weighting that are wrong in what they take from the data; `fails` says which checks tell."""

from typing import ClassVar

from ablate.api import Levels, Schedule, Weighting


class Drifting(Schedule):
    """Is moved once more whenever it is told of the data."""

    name = "drifting"
    shift: float = 1.0
    fails: ClassVar = ("follows_the_data_once",)

    def for_setting(self, setting):
        return self.model_copy(update={"shift": self.shift * setting.shape[1]})

    def alpha(self, t):
        return 1 - t

    def sigma(self, t):
        return self.shift * t

    def time(self, log_snr):
        return 1 / (1 + self.shift * (log_snr / 2).exp())


class Words(Levels):
    """Writes a word into a field of numbers."""

    name = "words"
    side: float = 8.0
    fails: ClassVar = ("follows_the_data_once",)

    def for_setting(self, setting):
        return self.model_copy(update={"side": "wide" if setting.shape[1] > 16 else 16.0})

    def draw(self, uniform, schedule):
        return uniform

    def density(self, t, schedule):
        return t * 0 + 1


class Turncoat(Weighting):
    """Becomes another component."""

    name = "turncoat"
    fails: ClassVar = ("follows_the_data_once",)

    def for_setting(self, setting):
        return Quiet()

    def weight(self, level, sigma_data):
        return level.snr


class Quiet(Weighting):
    """What the one above becomes; it is in order."""

    name = "quiet"
    fails: ClassVar = ()

    def weight(self, level, sigma_data):
        return level.snr
