"""What is known of a network's input before anything is built: its shape, and the conditions that it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Form = Literal["class", "text", "scalars", "image"]
FORMS: tuple[Form, ...] = ("class", "text", "scalars", "image")


@dataclass(frozen=True)
class ConditionSpec:
    """One condition of a network: its name in the record, and what its value for an image is."""

    name: str
    form: Form
    # Of one value: class (), text (L,) token numbers or (L, F) features, scalars (K,), image (C, H, W).
    shape: tuple[int, ...]
    count: int | None = (
        None  # classes of a class, or token numbers of a text; None: its values are no numbers of a list
    )
    held: bool = False  # guidance never drops it, such as the parameters of an augmentation

    def __str__(self) -> str:
        """Format it for people: `text (32 tokens of 256)`."""
        sides = "×".join(map(str, self.shape))
        match self.form:
            case "text":
                what = f"{sides} features" if self.count is None else f"{sides} tokens of {self.count}"
            case "scalars":
                what = f"{sides} number{'s' * (self.shape != (1,))}"
            case "image":
                what = f"image {sides}"
            case "class":
                what = f"{self.count} classes"
        return f"{self.name} ({what})"


@dataclass(frozen=True)
class InputSpec:
    """The input of a network, known before anything is built."""

    shape: tuple[int, int, int]  # (C, H, W) of what the network sees
    classes: int | None  # None: the data carry no labels
    conditions: tuple[ConditionSpec, ...] = ()  # beside the noise level and the class

    def find(self, form: Form, name: str | None = None) -> list[ConditionSpec]:
        """Return the conditions of a form, or the one of that name; a class is there where data have labels."""
        own = () if self.classes is None else (ConditionSpec("class", "class", (), self.classes),)
        return [c for c in (*own, *self.conditions) if c.form == form and name in (None, c.name)]


@dataclass(frozen=True)
class Course:
    """The length of a candidate's training and evaluation, known before anything is trained."""

    setting: InputSpec
    batch: int  # images a step
    images: int | None  # of the whole training; None: time decides
    samples: int  # that are drawn at its end
