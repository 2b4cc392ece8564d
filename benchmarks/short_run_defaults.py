"""Which learning rate, warm-up, decay and average do short runs want? A sweep on two data sets and two small networks.

    python benchmarks/short_run_defaults.py [--csv FILE] [--out DIR] [--images 12000] [--seeds 2] [--only dit/mnist]

First the rate of AdamW, with no warm-up, a constant rate and the average at its default. Then, from the
rate with the least mean KID, one factor at a time: a linear warm-up over 5 and 10 % of the training,
a cosine decay, and other lengths of the average (half-lives as a share of the training; none). Each is
a study through `ablate.run`, so seeds are paired, and what was measured is not measured again under
--out. A row a candidate: mean and deviation of KID over the seeds, of what was sampled with the default
solver. The defaults and the ready studies follow what it finds (README.md).
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

import ablate

COLUMNS = ("network", "data", "images", "stage", "lr", "warmup", "decay", "ema", "seeds", "kid", "kid_sd", "loss")
RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
NETWORKS: dict[str, dict[str, Any]] = {
    "dit": {"type": "dit", "patch": 4, "depth": 3, "width": 48, "heads": 2},
    "unet": {"type": "unet", "width": 12, "multipliers": [1, 2], "blocks": 1, "norm": "rms", "heads": 1}
    | {"attention_resolutions": [8]},
}
DATA = {"mnist": {"type": "mnist", "size": 16}, "digits": {"type": "digits", "size": 16}}
SHORTER = {"dit": 1.0, "unet": 0.4}  # of --images: as in the ready studies, the dearer network sees fewer


def study(network: str, data: str, images: int, seeds: int, stage: str, lr: float, vary: dict[str, Any]) -> Any:
    """A study of one factor at a time, in the form of the ready ones."""
    base = {
        "backbone": NETWORKS[network],
        "schedule": "cosine",
        "target": "v",
        "weighting": {"type": "min_snr", "tau": 5},
        "optimizer": {"type": "adamw", "lr": lr, "warmup": 0, "decay": "constant"},
        "ema": {"type": "constant", "rampup": 0.05},
        "solver": {"type": "dpmpp_2m", "steps": 14},
        "guidance": {"type": "cfg", "scale": 1.5, "drop": 0.1},
        "batch": 64 if network == "dit" else 32,
    }
    return {
        "study": f"{network}-{data}-{stage}",
        "question": "Which defaults do short runs want?",
        "data": DATA[data],
        "base": base,
        "vary": vary,
        "design": {"type": "one_factor", "seeds": seeds},
        "budget": {"images": images},
        "evaluate": {"metrics": ["kid"], "samples": 400},
        "objectives": ["kid"],
    }


def rows(results: Any, network: str, data: str, images: int, stage: str, lr: float) -> list[dict[str, Any]]:
    """A row a candidate."""
    (column,) = [name for name in results.trials if name.startswith("m.kid")]
    told = []
    choices = [name for name in results.trials if name.startswith("c.")]
    for _, of in results.trials.groupby("config_hash", sort=False, observed=True):
        first = {name[2:]: of[name].iloc[0] for name in choices}
        told.append(
            {
                "network": network,
                "data": data,
                "images": images,
                "stage": stage,
                "lr": first.get("optimizer.lr", lr),
                "warmup": first.get("optimizer.warmup", 0),
                "decay": first.get("optimizer.decay", "constant"),
                "ema": first.get("ema", "default"),
                "seeds": len(of),
                "kid": round(float(of[column].mean()), 4),
                "kid_sd": round(float(of[column].std()), 4),
                "loss": round(float(of["loss"].mean()), 4),
            }
        )
    return told


def sweep(network: str, data: str, images: int, seeds: int, out: Path) -> list[dict[str, Any]]:
    """Both stages."""

    def run(stage: str, lr: float, vary: dict[str, Any]) -> list[dict[str, Any]]:
        spec = study(network, data, images, seeds, stage, lr, vary)
        found = ablate.run(spec, out=out / spec["study"], executor="local", workers=1, device="cpu")
        return rows(found, network, data, images, stage, lr)

    rates = run("rate", RATES[0], {"optimizer.lr": RATES})
    best = min((row for row in rates if row["kid"] == row["kid"]), key=lambda row: row["kid"])["lr"]
    averages: list[Any] = [{"type": "constant", "rampup": 0.05}, "none"]
    averages += [{"type": "constant", "halflife": share * images, "rampup": 0} for share in (0.02, 0.1)]
    vary = {
        "optimizer.warmup": [0, images // 20, images // 10],
        "optimizer.decay": ["constant", "cosine"],
        "ema": averages,
    }
    return [*rates, *run("rest", float(best), vary)]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--csv", type=Path, help="write the rows here")
    options.add_argument("--out", type=Path, default=Path("results/short_run_defaults"), help="folders of the studies")
    options.add_argument("--images", type=int, default=12_000, help="of a DiT's training; a U-Net sees 0.4 of them")
    options.add_argument("--seeds", type=int, default=2)
    options.add_argument("--only", action="append", metavar="NETWORK/DATA", help="repeatable")
    asked = options.parse_args()
    found: list[dict[str, Any]] = []
    for network in NETWORKS:
        for data in DATA:
            if asked.only and f"{network}/{data}" not in asked.only:
                continue
            images = int(asked.images * SHORTER[network])
            found += sweep(network, data, images, asked.seeds, asked.out)
            if asked.csv is not None:
                with asked.csv.open("w", newline="", encoding="utf-8") as handle:
                    writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
                    writer.writeheader()
                    writer.writerows(found)
    for row in found:
        print("  ".join(f"{name} {row[name]}" for name in COLUMNS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
