"""How do KID and FD depend on the number of samples, and how sure are they? On features of real digits.

    python benchmarks/sample_sizes.py [--csv FILE] [--rounds 8] [--features efficientnet_lite0]

MNIST at 16×16, 1,000 pictures held out as the reference. `same`: N of the other 4,000 real pictures, so that a metric
without a bias is 0 on average. `blurred`: the same, each pixel the mean of its 3×3 neighbourhood, a difference that
is there. A row for each metric and N: mean and deviation over --rounds draws, and the standard error that the metric
tells of one value (KID's also counts a redraw of the reference, which is the same in all draws here). fd_infinity
needs 5 samples for each dimension and cannot be measured here.
"""

from __future__ import annotations

import sys
from typing import Any

import bench
import numpy as np
import torch
from digits import Digits
from numpy.typing import NDArray

from ablate.discovery.catalog import catalog
from ablate.kinds.metric import Metric

COLUMNS = ("images", "metric", "samples", "draws", "mean", "deviation", "error")
SIZES = (100, 250, 500, 1000, 2000)


def main() -> int:
    options = bench.options(__doc__, rounds=8)
    options.add_argument("--features", default="efficientnet_lite0")
    given = options.parse_args()
    known, digits = catalog(), Digits.load(given.features, given.device)
    reference = digits.vectors(digits.reference)
    images = digits.training  # nothing is trained on them here
    sets = {"same": digits.vectors(images), "blurred": digits.vectors(blurred(images))}
    rows = []
    for name, table in sets.items():
        for metric in ("kid", "fd"):
            measure = known.create(Metric, {"type": metric, "features": given.features})
            for size in SIZES:
                draws = [np.random.default_rng([size, i]).permutation(len(table))[:size] for i in range(given.rounds)]
                found = [measure.compute(table[draw], reference) for draw in draws]
                values = np.array([one.value for one in found])
                errors = [one.error for one in found if one.error is not None]
                rows.append(_row(name, metric, size, values, errors))
                bench.show(rows[-1], COLUMNS)
    bench.keep(rows, COLUMNS, given.csv)
    return 0


def blurred(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mean over 3×3 pixels."""
    whole = torch.from_numpy(images.astype(np.float32))
    mean = torch.nn.functional.avg_pool2d(whole, 3, stride=1, padding=1, count_include_pad=False)
    return mean.round().to(torch.uint8).numpy()


def _row(name: str, metric: str, size: int, values: NDArray[np.float64], errors: list[float]) -> dict[str, Any]:
    told = f"{np.sqrt(np.mean(np.square(errors))):.4g}" if errors else ""
    numbers = {"mean": f"{values.mean():.4g}", "deviation": f"{values.std(ddof=1):.3g}", "error": told}
    return {"images": name, "metric": metric, "samples": size, "draws": len(values), **numbers}


if __name__ == "__main__":
    sys.exit(main())
