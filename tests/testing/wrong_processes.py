"""Schedules, levels, targets, preconditionings and losses that are wrong; `fails` says which checks have to tell."""

from typing import ClassVar

import torch

from ablate.api import (
    DiscreteSchedule,
    Levels,
    Loss,
    Precondition,
    Schedule,
    Target,
)
from ablate.kinds.precondition import Coefficients


class Steep(DiscreteSchedule):
    """β beyond one, so that α is the root of a negative number, and a slope of its own."""

    name = "steep"
    fails: ClassVar = ("goes_through_its_table", "has_its_slope")

    def betas(self, steps):
        return torch.linspace(0.5, 1.5, steps, dtype=torch.float64)

    def slope(self, t):
        return -t


class Backwards(Schedule):
    """More signal the later, in fp32, and time is not found again; it promises what it does not keep."""

    name = "backwards"
    fails: ClassVar = (
        "is_finite_everywhere",
        "falls_from_signal_to_noise",
        "finds_time_again",
        "keeps_its_promises",
    )

    def provides(self):
        return frozenset({"zero_terminal_snr"})

    def alpha(self, t):
        return (0.1 + 0.8 * t).float()

    def sigma(self, t):
        return 0.9 - 0.8 * t

    def time(self, log_snr):
        return log_snr.sigmoid()


class Double(Levels):
    """A density of two, and draws that leave time."""

    name = "double"
    fails: ClassVar = ("stays_within_time", "has_a_density_of_one", "draws_from_its_density")

    def draw(self, uniform, schedule):
        return 2 * uniform

    def density(self, t, schedule):
        return t * 0 + 2


class Known(Target):
    """y = x: the network is asked for what it is given."""

    name = "known"
    fails: ClassVar = ("says_more_than_x", "gives_back_image_and_noise")

    def coefficients(self, level):
        return level.alpha, level.sigma


class Misspelt(Target):
    """The noise again, beside all schedules: the capability that it excludes is misspelt."""

    name = "misspelt"
    fails: ClassVar = ("tells_what_it_needs",)

    def excludes(self):
        return {"zero_terminal_srn": "at the last step x is nothing but the noise"}

    def coefficients(self, level):
        return level.alpha * 0, level.alpha * 0 + 1


class Averaging(Target):
    """Every level has the coefficients of the mean level."""

    name = "averaging"
    fails: ClassVar = ("depends_on_the_level_alone",)

    def coefficients(self, level):
        return level.alpha * 0, level.alpha * 0 + level.alpha.mean()


class Dead(Precondition):
    """The network's output counts nothing, and the label of the level is infinite."""

    name = "dead"
    fails: ClassVar = ("is_finite_everywhere", "lets_the_optimal_network_through")

    def coefficients(self, level, target, sigma_data):
        one = level.alpha * 0 + 1
        return Coefficients(one * 0, one * 0, one, one / 0)


class Flat(Precondition):
    """One label for all levels, unit variance claimed and not kept."""

    name = "flat"
    fails: ClassVar = ("tells_levels_apart", "has_unit_variance_where_it_says_so")

    def provides(self):
        return frozenset({"unit_variance"})

    def coefficients(self, level, target, sigma_data):
        one = level.alpha * 0 + 1
        return Coefficients(one * 0, one, one, one)


class Rewarding(Loss):
    """The larger the error, the better."""

    name = "rewarding"
    fails: ClassVar = ("is_least_where_the_prediction_is_right",)

    def compute(self, prediction, batch, process):
        target = process.target.value(batch.x0, batch.noise, batch.level)
        return -(prediction - target).square().flatten(1).mean(1).float()


class Total(Loss):
    """One number for all images, in float64."""

    name = "total"
    fails: ClassVar = ("is_a_number_an_image",)

    def compute(self, prediction, batch, process):
        return (prediction - process.target.value(batch.x0, batch.noise, batch.level)).square().mean().double()


class Rooted(Loss):
    """It says that it is a mean over numbers, and is the root of one."""

    name = "rooted"
    fails: ClassVar = ("is_a_mean_over_numbers_where_it_says_so",)

    def provides(self):
        return frozenset({"elementwise"})

    def compute(self, prediction, batch, process):
        target = process.target.value(batch.x0, batch.noise, batch.level)
        return (prediction - target).square().flatten(1).mean(1).sqrt().float()


class Batched(Loss):
    """Each image has the loss of the whole batch."""

    name = "batched"
    fails: ClassVar = ("keeps_images_apart",)

    def compute(self, prediction, batch, process):
        target = process.target.value(batch.x0, batch.noise, batch.level)
        return (prediction - target).square().mean().float().expand(len(prediction))
