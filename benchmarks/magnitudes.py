"""Do the activations of EDM2's configuration G keep their magnitude over depth and training (Karras et al. 2024)?

    python benchmarks/magnitudes.py [--images 96000] [--folder DIR] [--csv FILE]

Configuration G of studies/edm2_ladder.yaml alone, on MNIST at 16×16, trained for longer, its rate falling from the
same share of the training on. A row a block and a time: the standard deviation of the block's output over
images, places and channels (the root of probe `activation_variance`). Unit magnitude would be 1.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import bench

import ablate
from ablate.study.yaml import read

LADDER = Path(__file__).parents[1] / "studies" / "edm2_ladder.yaml"
COLUMNS = ("site", "images", "deviation")
TIMES = 8  # at which it is measured after the beginning


def study(images: int) -> dict[str, Any]:
    """Return the study of G alone."""
    ladder = dict(read(LADDER).data)
    vary = ladder.pop("vary")
    optimizer = {**vary["optimizer"]["falling"], "reference": images * 3 // 32}
    base = {"backbone": vary["backbone"]["G"], "levels": vary["levels"]["edm2"], "weighting": "edm2"}
    ladder["base"] = {**ladder["base"], **base, "optimizer": optimizer}
    ladder.pop("profiles")
    return {
        **ladder,
        "study": "magnitudes",
        "design": {"type": "one_factor", "seeds": 1},
        "budget": {"images": images},
        "probes": [{"type": "activation_variance", "every": images // TIMES}],
        "evaluate": {"metrics": ["kid"], "samples": 100},
    }


def main() -> None:
    parser = bench.options(__doc__, rounds=1)
    parser.add_argument("--images", type=int, default=96_000)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = given.folder or Path(name) / "study"
        spec = Path(name) / "magnitudes.yaml"
        spec.write_text(json.dumps(study(given.images)))
        ablate.run(spec, out=folder, executor="local", device=given.device)
        probes = ablate.load(folder).probes
    rows = [
        {"site": row["site"], "images": int(row["images"]), "deviation": round(row["value"] ** 0.5, 3)}
        for _, row in probes.iterrows()
    ]
    for row in rows:
        bench.show(row, COLUMNS)
    bench.keep(rows, COLUMNS, given.csv)


if __name__ == "__main__":
    main()
