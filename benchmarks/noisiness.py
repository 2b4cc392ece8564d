"""From which value of `noise` on are samples visibly noise? The statistic over trainings of growing length, beside KID.

    python benchmarks/noisiness.py [--csv FILE] [--out DIR] [--images 8000] [--data mnist16] [--rates 0.001]

A small DiT on `digits` (8×8, and brought to 16×16) and on `mnist` at 16×16, each trained on 256 to 12,000 images at
two learning rates, of which 1e-3 is AdamW's default; samples are drawn with the default solver. Each length is a study
through `ablate.run`, so that what was measured once is not measured again under --out. A row a trial: `noise` of its
samples (`ablate.evaluation.noisiness`: 0 as smooth as the data, 1 white noise), their KID and the training loss. Each
trial's folder holds samples.png, which says by eye whether there is anything to be seen. Some minutes on one core.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import bench

import ablate

COLUMNS = ("data", "lr", "images", "seed", "noise", "kid", "loss")
LENGTHS = (256, 1000, 2000, 4000, 8000, 12000)
RATES = (1e-3, 5e-3)
DATA = {
    "digits": {"type": "digits", "size": 8},
    "digits16": {"type": "digits", "size": 16},
    "mnist16": {"type": "mnist", "size": 16},
}


def study(data: str, images: int, rates: list[float], seeds: int) -> dict[str, Any]:
    """The study of one data set and one length of training: a candidate for each learning rate."""
    patch = 2 if DATA[data]["size"] == 8 else 4
    return {
        "study": f"{data}-{images}",
        "question": "Are its samples still noise?",
        "data": DATA[data],
        "base": {
            "backbone": {"type": "dit", "patch": patch, "depth": 3, "width": 48, "heads": 2},
            "optimizer": {"type": "adamw", "lr": rates[0]},
            "guidance": {"type": "cfg", "scale": 1.5, "drop": 0.1},
            "batch": 32,
        },
        "vary": {"optimizer.lr": rates},
        "design": {"type": "grid", "seeds": seeds},
        "budget": {"images": images},
        "evaluate": {"metrics": ["kid"], "samples": 100, "previews": 64},
        "objectives": ["kid"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, help="write the rows here")
    parser.add_argument("--out", type=Path, default=Path("results/noisiness"), help="folders of the studies")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--images", type=int, nargs="+", default=list(LENGTHS), help="lengths of training")
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for images in options.images:
        for data in options.data:
            spec = study(data, images, options.rates, options.seeds)
            results = ablate.run(spec, options.out / spec["study"], executor="local", workers=1, device="cpu")
            (kid,) = [column for column in results.trials if column.startswith("m.kid")]
            columns = {"noise": "noise", "kid": kid, "loss": "loss"}
            for _, trial in results.trials.iterrows():
                rate = trial["c.optimizer.lr"] if "c.optimizer.lr" in trial else options.rates[0]
                row = {"data": data, "lr": rate, "images": images, "seed": trial["seed"]}
                row |= {name: round(float(trial[column]), 3) for name, column in columns.items()}
                rows.append(row)
                bench.show(row, COLUMNS)
            bench.keep(rows, COLUMNS, options.csv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
