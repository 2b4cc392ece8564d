"""metric: how far generated images are from real ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import model_validator

from ablate.errors import InputError
from ablate.kinds.features import POOLED, Features
from ablate.spec.component import Component, Resolver, is_active, slot

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Measurement:
    """A value and, where the metric knows it, its standard error."""

    value: float
    error: float | None = None


class Collector(Protocol):
    """Collects the features of generated images batch by batch, and keeps what a metric needs of them."""

    def add(self, vectors: NDArray[np.float64]) -> None:
        """Add (B, D) features of some more images."""
        ...

    def collected(self) -> Any:
        """Return what `Metric.compute` is given."""
        ...


class Vectors:
    """Keeps all vectors."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.float64]] = []

    def add(self, vectors: NDArray[np.float64]) -> None:
        """Add (B, D) features of some more images."""
        self._parts.append(vectors)

    def collected(self) -> NDArray[np.float64]:
        """Return all of them, (N, D)."""
        import numpy as np

        return np.concatenate(self._parts)


class Metric(Component):
    """Compares two sets of feature vectors. Smaller is better unless `larger_is_better`."""

    kind: ClassVar[str] = "metric"
    larger_is_better: ClassVar[bool] = False
    uses_reference: ClassVar[bool] = True  # False: it judges the generated images by themselves
    least: ClassVar[int] = 2  # fewest samples for which the value is defined
    head: ClassVar[str] = POOLED  # what it looks at of its features
    collects: ClassVar[type[Collector]] = Vectors  # how it keeps what it sees
    gives: ClassVar[tuple[str, ...]] = ()  # the names of its values, where it gives more than one

    features: Features = slot()

    @classmethod
    def instead(cls, name: str, resolver: Resolver) -> str | None:
        """Return the metric and the features that earn a canonical name, such as `fid`."""
        for features in resolver.names("features"):
            other = resolver.get("features", features)
            earned = other.canonical if issubclass(other, Features) else {}
            for value, (canonical, least) in earned.items():
                if canonical == name:
                    how = f"{{type: {value}, features: {features}}}"
                    return f"it is what {value} is called with these features and {least:,} samples: say {how}"
        return None

    @model_validator(mode="after")
    def _sees_what_it_needs(self) -> Metric:
        if self.head not in self.features.heads():
            raise ValueError(
                f"needs the {self.head!r} output of a network, and features {self.features.name!r} give only "
                f"{', '.join(map(repr, sorted(self.features.heads())))}; choose others{self._usual()}"
            )
        return self

    def fewest(self, dimensions: int | None) -> int:
        """Return the fewest samples that can be measured, of vectors with so many dimensions (None: not known yet)."""
        return self.least

    def too_few(self, samples: int) -> str | None:
        """Explain why so few samples cannot be measured; None if they can."""
        dimensions = self.features.heads()[self.head]
        needed = self.fewest(dimensions)
        if samples >= needed:
            return None
        features = f" with the {dimensions} dimensions of features {self.features.name!r}"
        condition = features if needed > self.least else ""
        return f"metric {self.name!r} needs at least {needed} samples{condition}, not {samples}"

    def columns(self, samples: int, references: int | None = None) -> dict[str, str]:
        """Return {name of a value: its column}: `kid_<features>`, or a canonical name where that is earned.

        references: how many pictures the reference has; None where that is not known yet, and then taken to
        be enough. It counts only for a metric that looks at the reference. Fields that are not at their
        default are part of the name: `precision_k5_<features>`.
        """
        changed_fields = [
            f"_{name}{value}"
            for name, info in type(self).model_fields.items()
            if name != "features" and is_active(self, info) and (value := getattr(self, name)) != info.default
        ]
        columns = {}
        for key in self.gives or (self.name,):
            name, least = self.features.canonical.get(key, (None, 0))
            compared = samples if references is None or not self.uses_reference else min(samples, references)
            earned = name and compared >= least and not changed_fields
            columns[key] = str(name) if earned else f"{key}{''.join(changed_fields)}_{self.features.name}"
        return columns

    @abstractmethod
    def compute(self, generated: Any, reference: NDArray[np.floating[Any]]) -> Measurement | Mapping[str, Measurement]:
        """What `collects` kept, or a table (N, D), and a table (M, D) -> the measurement, or one for each of `gives`.

        Tables may be fp32 and lie on disk. Raises InputError for vectors of which it cannot be computed.
        """

    def _usual(self) -> str:
        usual = type(self).model_fields["features"].default
        return f", such as {usual!r}" if isinstance(usual, str) else ""


class TrainingMetric(Metric):
    """Compares generated images with those that were trained on as well, say for memorisation.

    It does not work on two sets of pictures alone (`ablate metrics`), and needs to know the pictures behind latents.
    """

    def requires(self) -> Mapping[str, str]:
        """The pictures that were trained on."""
        why = "it compares samples with the pictures that were trained on, and of these data only latents are known"
        return {**super().requires(), "pictures": f"{why}; name those that were encoded: `pictures` of the data"}

    @abstractmethod
    def compare(
        self, generated: Any, reference: NDArray[np.floating[Any]], training: NDArray[np.floating[Any]]
    ) -> Measurement | Mapping[str, Measurement]:
        """As `compute`, with a third table (K, D): of the images that were trained on."""

    def compute(self, generated: Any, reference: NDArray[np.floating[Any]]) -> Measurement | Mapping[str, Measurement]:
        """Raise InputError: two sets are one too few."""
        raise InputError(f"metric {self.name!r} compares with the images that were trained on, which are missing here")
