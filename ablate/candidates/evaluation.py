"""The evaluation of a trial: metrics, samples, reference set, and the points of a training at which it is measured."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ablate.errors import InputError
from ablate.kinds.autoencoder import Autoencoder
from ablate.kinds.metric import Metric
from ablate.spec.component import Added, Config, Extent

SampleLabels = Literal["balanced", "random"]  # how classes of samples are drawn
Reference = Literal["all", "even", "odd"]  # of the reference images, by their number from 0
MOST_IMAGES = 10**12  # of a training: beyond the longest that there has been by a factor of a hundred
Share = Annotated[float, Field(gt=0, le=1)]

SHARE_DURING = 10  # quality during training is measured on a tenth of the samples ...
FEWEST_DURING = 100  # ... but on no fewer than these
MOST_POINTS = 200  # of one training: each costs a set of samples
PREVIEWS_DURING = 8  # samples of each point that are kept as pictures; of them no further one is drawn


class Evaluation(Config):
    """The evaluation of a trial at its end, and at points of its training.

    What is measured during training (`at`, `every`) changes nothing in the training, nor in the values at its end. It
    is no part of the identity: trials that were measured at other points are the same trials.
    """

    metrics: tuple[Metric, ...] = ()
    samples: Annotated[int, Field(ge=1, le=10_000_000)] = 2000
    batch: Annotated[int, Field(ge=1, le=1_000_000), Extent()] = 250  # images sampled at a time; decides memory alone
    reference: Reference = (
        "all"  # images that metrics compare with; a half by number is one that "all" did not choose by
    )
    # classes of samples: each as near as can be to its share of the training images, or drawn at random in these shares
    labels: Annotated[SampleLabels, Added(before="balanced")] = "balanced"
    autoencoder: Autoencoder | None = None  # decodes latents before they are measured; none: they are pixels
    previews: Annotated[int, Field(ge=0, le=1024), Extent()] = 40  # samples that are kept as pictures
    at: Annotated[tuple[Share, ...], Extent()] = ()  # measured during training too, after these shares of the budget
    every: Annotated[int | None, Field(ge=1, le=MOST_IMAGES), Extent()] = None  # ... or each time after so many images
    at_samples: Annotated[int | None, Field(ge=1, le=10_000_000), Extent()] = (
        None  # samples at each point, the end too; none: a tenth of `samples`, at least 100
    )

    @model_validator(mode="after")
    def _enough_samples(self) -> Evaluation:
        for metric in self.metrics:
            if (reason := metric.too_few(self.samples)) is not None:
                raise ValueError(reason)
        labels = [column for metric in self.metrics for column in metric.columns(self.samples).values()]
        if len(set(labels)) < len(labels):
            raise ValueError("the same metric stands twice")
        return self

    def too_few_during(self) -> str | None:
        """Return why not all metrics can be measured at points of the training; None where they can."""
        if self.samples_during > self.samples:
            return f"at_samples ({self.at_samples:,}) is more than the samples at the end ({self.samples:,})"
        reasons = (metric.too_few(self.samples_during) for metric in self.metrics)
        found = next((reason for reason in reasons if reason is not None), None)
        return None if found is None else f"{found}; during training as many are drawn as at_samples says"

    @model_validator(mode="after")
    def _points_in_order(self) -> Evaluation:
        if self.at and self.every is not None:
            raise ValueError("say one of at (shares of the budget) and every (images), not both")
        if not self.at and self.every is None:
            return self
        if not self.metrics:
            raise ValueError("nothing is measured at points of the training: there are no metrics")
        if any(later <= earlier for earlier, later in itertools.pairwise(self.at)):
            raise ValueError(f"at has to ascend, each share once; not {list(self.at)}")
        if (reason := self.too_few_during()) is not None:
            raise ValueError(reason)
        return self

    def active(self) -> dict[str, Any]:
        """Return the fields that are part of the identity; an autoencoder that does not decode is none."""
        fields = super().active()
        if self.autoencoder is None or "decoder" not in self.autoencoder.provides():
            del fields["autoencoder"]
        if self.reference == "all":  # as it was before there was a choice
            del fields["reference"]
        return fields

    @property
    def drawn(self) -> int:
        """How many samples are drawn at the end: those that are measured, or the previews where nothing is measured."""
        return self.samples if self.metrics else self.previews

    @property
    def samples_during(self) -> int:
        """How many samples are drawn at each point of the training."""
        return samples_during(self.samples, self.at_samples)

    @property
    def during(self) -> Evaluation | None:
        """The evaluation at each point of the training, and once more at its end; None where there are no points."""
        if not self.at and self.every is None:
            return None
        kept = min(self.previews, PREVIEWS_DURING)
        return self.model_copy(update={"samples": self.samples_during, "previews": kept, "at": (), "every": None})

    def points(self, batch: int, images: int) -> tuple[int, ...]:
        """Return the images after which quality is measured, before the end of a training of so many, ascending.

        Each is the first step that reaches it. Raises InputError where two points fall into one step.
        """
        if self.every is not None:
            if self.every < batch:
                raise InputError(f"evaluate.every: {self.every} images are less than one step of {batch}")
            count = (images - 1) // self.every
            targets = [float(self.every * k) for k in range(1, min(count, MOST_POINTS) + 1)]
            if count > MOST_POINTS:
                raise InputError(f"evaluate.every: comes to {count:,} points; at most {MOST_POINTS} are measured")
        else:
            targets = [round(share * images, 6) for share in self.at if share < 1]
            if targets and targets[0] < batch:
                raise InputError(f"evaluate.at: {self.at[0]:g} of {images:,} images are less than one step of {batch}")
        points = [batch * math.ceil(target / batch) for target in targets]
        if len(set(points)) < len(points):
            raise InputError(
                f"evaluate.at: two of {', '.join(f'{share:g}' for share in self.at)} fall into one step: a step is "
                f"{batch} of {images:,} images"
            )
        return tuple(point for point in points if point < images)

    def drawn_in_all(self, batch: int, images: int | None) -> int:
        """Return how many samples a trial draws, at its points and at its end. images: None where time decides."""
        if self.during is None:
            return self.drawn
        points = len(self.at) if images is None else len(self.points(batch, images))
        return self.drawn + self.samples_during * (points + (self.samples_during < self.samples))


def samples_during(samples: int, at_samples: int | None) -> int:
    """Return how many samples are drawn at a point of the training: `at_samples`, or a share of those at the end."""
    return at_samples or min(samples, max(FEWEST_DURING, samples // SHARE_DURING))


class EvaluationPoints:
    """Which points of a training have been passed: by images, or by seconds where time is the budget.

    images: of the whole training; None where it takes `seconds`.
    """

    def __init__(self, evaluation: Evaluation, batch: int, images: int | None, seconds: float = math.inf) -> None:
        self._every = evaluation.every
        self._seconds = seconds
        self._images = None if images is None else evaluation.points(batch, images)
        self.shares = [share for share in evaluation.at if share < 1]

    @property
    def at(self) -> list[tuple[float | None, int]]:
        """The points by images, each with its share of the budget where it is one; none where time decides."""
        points = self._images or ()
        shares = self.shares if self._every is None else [None] * len(points)
        return list(zip(shares, points, strict=False))

    @property
    def count(self) -> int | None:
        """How many points there are; None where the training goes on for a time, with a point every so many images."""
        if self._images is not None:
            return len(self._images)
        return len(self.shares) if self._every is None else None

    def passed(self, images: int, seconds: float) -> int:
        """Return how many points lie behind after so many images, and seconds of training."""
        if self._images is not None:
            return bisect_right(self._images, images)
        if self._every is not None:
            return images // self._every
        return bisect_right(self.shares, seconds / self._seconds)
