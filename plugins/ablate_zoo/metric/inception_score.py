"""metric `inception_score`: whether each image shows one thing, and all together many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from ablate.api import Choice, Features, InputError, Measurement, Metric, slot
from ablate_zoo.metric._vectors import check_count, shuffled

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class InceptionScore(Metric):
    """Inception score, exp(mean KL(p(y|x) ‖ p(y))), Salimans et al. 2016, sec. 4, of class scores without biases.

    The mean over `splits` parts of the images, as it is published, and its standard error. Larger is
    better. It looks at no reference: a model that repeats one real image of each class is its best.
    """

    name = "inception_score"
    larger_is_better: ClassVar[bool] = True
    uses_reference: ClassVar[bool] = False
    least: ClassVar[int] = 2
    head: ClassVar[str] = "logits"

    features: Features = slot("inception_v3")
    splits: Annotated[int, Field(ge=1, le=100), Choice(1, 10)] = 10  # parts; each image is in one

    def fewest(self, dimensions: int | None) -> int:
        """Two images a part: of one alone the score is 1."""
        return max(self.least, 2 * self.splits)

    def compute(self, generated: ArrayLike, reference: ArrayLike) -> Measurement:
        """(N, classes) logits -> the score, from 1 to the number of classes; the reference is not read."""
        logits = np.asarray(generated, dtype=np.float64)
        if logits.ndim != 2 or logits.shape[1] < 2:
            raise InputError(f"{self.name}: generated logits must be a table (N, classes), not of {logits.shape}")
        broken = len(logits) - int(np.isfinite(logits).all(axis=1).sum())
        check_count(self.name, "generated", len(logits), broken, self.fewest(None))
        logits = logits[shuffled(logits)]
        scores = np.array([_score(part) for part in np.array_split(logits, self.splits)])
        error = float(scores.std(ddof=1) / np.sqrt(self.splits)) if self.splits > 1 else None
        return Measurement(float(scores.mean()), error)


def _score(logits: NDArray[np.float64]) -> float:
    logs = logits - logits.max(axis=1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))  # log p(y|x), (N, classes)
    each = np.exp(logs)
    overall = each.mean(0)
    seen = overall > 0  # a class that no image may show contributes nothing
    divergence = (each[:, seen] * (logs[:, seen] - np.log(overall[seen]))).sum(axis=1)
    return float(np.exp(divergence.mean()))
