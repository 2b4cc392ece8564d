"""What a metric costs, beside the way it is usually computed: Fréchet distance, KID, precision and recall.

    python benchmarks/metrics.py [--only fd kid precision_recall] [--dimensions 2048] [--csv FILE]

fd: from the moments of both sets, the reference's factor cached and not, beside scipy's sqrtm of the
product of the covariances; both in float64. kid: 1,000 images against a cached reference of 5,000.
precision_recall: 10,000 by 10,000, with the most memory that the process held beyond its imports.
Seconds are wall and the process's own. On a machine that is not quiet take one thread
(OPENBLAS_NUM_THREADS=1) and the process's own seconds: threads that wait for each other count too.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bench
import numpy as np
from scipy.linalg import sqrtm

from ablate_zoo.features.efficientnet_lite0 import EfficientNetLite0Features
from ablate_zoo.metric import _moments, kid
from ablate_zoo.metric._moments import Moments
from ablate_zoo.metric._vectors import Fixed
from ablate_zoo.metric.kid import KernelDistance
from ablate_zoo.metric.precision_recall import PrecisionRecall

COLUMNS = (
    "what",
    "threads",
    "n",
    "m",
    "d",
    "wall_s",
    "cpu_s",
    "peer",
    "peer_wall_s",
    "peer_cpu_s",
    "ratio",
    "differs",
    "peak_mb",
)
LITE = EfficientNetLite0Features()


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def draw(seed: int, n: int, d: int) -> np.ndarray:
    """Features with a decaying spectrum, as those of a network have."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(d, d)) * (np.arange(1, d + 1) ** -0.5) / np.sqrt(d)
    return np.maximum(rng.normal(size=(n, d)) @ mix, -0.3)


def frechet(d: int) -> Iterator[dict[str, Any]]:
    n = 2 * d
    x, y = draw(0, n, d), draw(1, n, d) * 1.02
    covariances, generated, reference = [np.cov(v, rowvar=False) for v in (x, y)], Moments.of(x), Fixed(b"y", y)
    factor, factor_wall, factor_cpu = timed(lambda: _moments.of_reference(reference))
    value, wall, cpu = timed(lambda: _moments.between(generated, *factor))
    root, peer_wall, peer_cpu = timed(lambda: sqrtm(covariances[0] @ covariances[1]))
    expected = np.square(x.mean(0) - y.mean(0)).sum() + sum(map(np.trace, covariances)) - 2 * np.trace(root).real
    peer = {"peer": "scipy sqrtm", "peer_wall_s": peer_wall, "peer_cpu_s": peer_cpu}
    shape = {"n": n, "m": n, "d": d, "differs": abs(value - expected) / expected}
    yield {"what": "fd", **shape, "wall_s": wall, "cpu_s": cpu, "ratio": cpu / peer_cpu, **peer}
    whole = {"wall_s": wall + factor_wall, "cpu_s": cpu + factor_cpu, "ratio": (cpu + factor_cpu) / peer_cpu}
    yield {"what": "fd, moments of the reference too", **shape, **whole, **peer}


def kernel(d: int) -> Iterator[dict[str, Any]]:
    metric, x, kept = KernelDistance(features=LITE), draw(2, 1000, d), draw(3, 5000, d)
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, kept)
        y = np.load(file.name, mmap_mode="r")  # as a judge has it
    metric.compute(x, y)  # the reference's own term
    runs = [timed(lambda: metric.compute(x, y))[1:] for _ in range(5)]
    wall, cpu = (min(run[i] for run in runs) for i in (0, 1))
    assert kid._reference.cache_info().hits
    yield {"what": "kid", "n": 1000, "m": 5000, "d": d, "wall_s": wall, "cpu_s": cpu}


def neighbours(d: int) -> Iterator[dict[str, Any]]:
    metric, before = PrecisionRecall(features=LITE), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    x, y = draw(4, 10_000, d).astype(np.float32), draw(5, 10_000, d).astype(np.float32)
    _, wall, cpu = timed(lambda: metric.compute(x, y))
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    yield {"what": "precision_recall", "n": 10_000, "m": 10_000, "d": d, "wall_s": wall, "cpu_s": cpu, "peak_mb": peak}


WORK = {"precision_recall": neighbours, "fd": frechet, "kid": kernel}  # first what tells its memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(WORK), default=list(WORK))
    parser.add_argument("--dimensions", type=int, nargs="+", default=[2048])
    parser.add_argument("--csv", type=Path)
    given = parser.parse_args()
    rows = []
    for name in (name for name in WORK if name in given.only):
        for row in (row for d in given.dimensions for row in WORK[name](d)):
            row["threads"] = os.environ.get("OPENBLAS_NUM_THREADS", os.cpu_count())
            rows.append({key: f"{v:.4g}" if isinstance(v, float) else v for key, v in row.items()})
            print(rows[-1], file=sys.stderr, flush=True)
    bench.keep(rows, COLUMNS, given.csv)


if __name__ == "__main__":
    main()
