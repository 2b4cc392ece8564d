"""Does a metric see that samples are copies? KID, precision and recall beside `memorisation`, on features of digits.

    python benchmarks/memorisation.py [--csv FILE] [--rounds 8] [--features efficientnet_lite0]

MNIST at 16×16: 3,000 pictures are what was trained on, 1,000 are held out as the reference, and 500 samples are `new`
(pictures that are in neither), `copies` of training pictures, `half` of each, or `blurred` (new ones, each pixel the
mean of its 3×3 neighbourhood). A row for each set and value: mean and deviation over --rounds draws, and the standard
error that the metric tells of one value.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import bench
import numpy as np
from digits import Digits
from sample_sizes import blurred

from ablate.discovery.catalog import catalog
from ablate.kinds.metric import Metric, TrainingMetric

COLUMNS = ("images", "value", "samples", "draws", "mean", "deviation", "error")
TRAINING, SAMPLES = 3000, 500
METRICS = ("kid", "precision_recall", "memorisation")


def main() -> int:
    options = bench.options(__doc__, rounds=8)
    options.add_argument("--features", default="efficientnet_lite0")
    given = options.parse_args()
    known, digits = catalog(), Digits.load(given.features, given.device)
    reference, training = digits.vectors(digits.reference), digits.vectors(digits.training[:TRAINING])
    new = digits.training[TRAINING:]
    others, soft = digits.vectors(new), digits.vectors(blurred(new))
    metrics = [known.create(Metric, {"type": name, "features": given.features}) for name in METRICS]
    rows = []
    for name in ("new", "copies", "half", "blurred"):
        found: dict[str, list[tuple[float, float]]] = {}
        for i in range(given.rounds):
            rng = np.random.default_rng(i)
            some = {"new": others, "copies": training, "blurred": soft}.get(name)
            parts = [(some, SAMPLES)] if some is not None else [(others, SAMPLES // 2), (training, SAMPLES // 2)]
            x = np.concatenate([table[rng.permutation(len(table))[:count]] for table, count in parts])
            for metric in metrics:
                trained = isinstance(metric, TrainingMetric)
                told = metric.compare(x, reference, training) if trained else metric.compute(x, reference)
                every = told if isinstance(told, Mapping) else {metric.name: told}
                for value, one in every.items():
                    found.setdefault(value, []).append((one.value, np.nan if one.error is None else one.error))
        for value, pairs in found.items():
            values, errors = np.array(pairs).T
            error = "" if np.isnan(errors).all() else f"{np.sqrt(np.mean(np.square(errors))):.3g}"
            numbers = {"mean": f"{values.mean():.4g}", "deviation": f"{values.std(ddof=1):.3g}", "error": error}
            rows.append({"images": name, "value": value, "samples": SAMPLES, "draws": len(values), **numbers})
            bench.show(rows[-1], COLUMNS)
    bench.keep(rows, COLUMNS, given.csv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
