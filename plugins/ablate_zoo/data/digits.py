"""data `digits`: 1,797 handwritten digits, 8×8 grey, for fast tests."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ablate.api import Choice
from ablate_zoo.data._packaged import PackagedImages


class Digits(PackagedImages):
    """The optical digits of scikit-learn (UCI, Alpaydin & Kaynak 1998): 174 to 183 a class, 17 grey levels."""

    name = "digits"
    package = "sklearn"
    file = ("datasets", "data", "digits.csv.gz")
    install = "pip install scikit-learn"
    side = 8
    levels = 16
    count = 1797

    reference: Annotated[int, Field(ge=10, le=1500)] = 500
    size: Annotated[int, Field(ge=4, le=512), Choice(8, 16)] = 8
