"""Does a number of an untrained candidate tell how good it becomes? Proxies on the recorded table (docs/replay.md).

    python benchmarks/proxies.py [--csv FILE] [--figure FILE] [--numbers FILE] [--table FILE] [--rounds 2000]

Every candidate of the table is built as its trial of seed 0 was, and each proxy of the catalog measures it before its
first step. Beside them stand what costs nothing (parameters, Gflops) and what the table has of the training itself:
the loss and the KID at points of it; at a third of the budget, 1,600 images, the loss is that after 100 steps. Compared
is the order with that of KID at the end: Spearman's and Kendall's correlation with a 95 % interval by a bootstrap over
the candidates, over all of them and within each backbone. The sign is turned so that a good proxy has a positive one.

`compute` is what the order is worth to a search: candidates are trained front after front of the proxy and Gflops (on
ranks, within a front by contribution), and counted is the training until they cover 95 % of the table's hypervolume
with log axes, as a share of training all of them; `by chance` is the median of 200 random orders (quartiles in
`low` and `high`).

--numbers: a CSV file of the proxies' values by candidate; what is in it is not measured again.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import bench
import numpy as np
import pandas as pd
import torch
from moocore import hypervolume
from numpy.typing import NDArray
from scipy.stats import kendalltau, rankdata

import ablate
from ablate.kinds.proxy import Proxy
from ablate.runtime.isolation import isolated
from ablate.runtime.machine import cache_folder
from ablate.spec.slots import create
from ablate.study.load import load_study
from ablate.training.untrained import measure
from ablate.worker.loading import images_of
from ablate_zoo.layers.contribution import by_contribution

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "studies" / "recorded_table.yaml"
TABLE = ROOT / "results" / "recorded" / "mnist16.parquet"
COLUMNS = (
    "of",
    "candidates",
    "proxy",
    "spearman",
    "low",
    "high",
    "kendall",
    "kendall_low",
    "kendall_high",
    "undefined",
    "seconds",
    "compute",
)
PROXIES: Mapping[str, Any] = {  # by the name of a column
    "initial_gradient": "initial_gradient",
    "synflow": "synflow",
    "synflow, zeros kept": {"type": "synflow", "zeros": "keep"},
    "jacobian_covariance": "jacobian_covariance",
    "jacobian_covariance, zeros kept": {"type": "jacobian_covariance", "zeros": "keep"},
}
GOAL = 0.95
SHOWN = ("params", "gflops", *PROXIES, "loss at 0.3333", "kid at 0.037", "kid at 0.3333")


def numbers(ends: pd.DataFrame, file: Path | None) -> pd.DataFrame:
    """Measure every candidate by every proxy: a row a candidate, with its seconds for each."""
    known = pd.read_csv(file, index_col="config_hash") if file is not None and file.exists() else pd.DataFrame()
    loaded = load_study(STUDY)
    settings = loaded.trial_settings
    images = images_of(settings.data, str(cache_folder()), torch.device("cpu"))
    rows: dict[str, dict[str, Any]] = {str(name): dict(row) for name, row in known.iterrows()}
    for digest, row in ends.iterrows():
        if digest in rows:
            continue
        paths = [d.path for d in loaded.space.dimensions]
        assignment = {path: row[f"c.{path}"] for path in paths if pd.notna(row.get(f"c.{path}"))}
        assignment = {path: int(v) if path.endswith("width") else v for path, v in assignment.items()}
        candidate = loaded.candidate(assignment)
        assert settings.digest(candidate) == digest, f"{assignment} is another candidate than the table's"
        rows[str(digest)] = {}
        for name, spec in PROXIES.items():
            proxy = create(Proxy, spec, loaded.catalog)
            begun = time.process_time()
            with isolated():
                (value,) = measure(candidate, settings.setting, images, [proxy], 0, torch.device("cpu")).values()
            rows[str(digest)] |= {name: value, f"{name} (s)": round(time.process_time() - begun, 3)}
        print(len(rows), digest, {k: v for k, v in rows[str(digest)].items() if not k.endswith("(s)")}, flush=True)
        if file is not None:
            pd.DataFrame.from_dict(rows, orient="index").rename_axis("config_hash").to_csv(file)
    return pd.DataFrame.from_dict(rows, orient="index")


def of_table(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (ends, what the table itself has), a row a candidate: costs, and loss and KID at points of training."""
    frame = frame[frame["seed"] == 0]
    ends = frame[(frame["share"] == 1) & (frame["samples"] == 300)].set_index("config_hash")
    assert ends.index.is_unique
    beside = {name: ends[name] for name in ("params", "gflops")}
    for share, rows in frame[frame["share"] < 1].groupby("share", observed=True):
        own = rows.drop_duplicates("config_hash").set_index("config_hash")
        beside |= {f"loss at {share:g}": own["loss"], f"kid at {share:g}": own["value"]}
    return ends, pd.DataFrame(beside).reindex(ends.index)


def sign_of(name: str, proxies: Mapping[str, Proxy]) -> float:
    """Return by what a number is multiplied so that more is meant to be better."""
    if name.startswith(("loss", "kid")):
        return -1.0
    return 1.0 if name not in proxies or proxies[name].larger_is_better else -1.0


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Compute the correlation of the ranks, ties by their mean rank; NaN where all are equal."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def correlations(values: pd.Series, end: pd.Series, rounds: int) -> dict[str, Any]:
    """Compute both correlations with intervals; what is not finite is ranked last, and counted."""
    a, b = values.to_numpy(dtype=float), -end.to_numpy(dtype=float)
    undefined = int((~np.isfinite(a)).sum())
    a = np.where(np.isfinite(a), a, -np.inf)
    if len(np.unique(a)) < 2:
        return {"undefined": undefined}
    random = np.random.default_rng(0)
    both = []
    for _ in range(rounds):
        drawn = random.integers(len(a), size=len(a))
        both.append((spearman(a[drawn], b[drawn]), kendalltau(a[drawn], b[drawn]).statistic))
    low, high = np.nanpercentile(np.array(both), [2.5, 97.5], axis=0)
    found = {"spearman": spearman(a, b), "low": low[0], "high": high[0]}
    found |= {"kendall": kendalltau(a, b).statistic, "kendall_low": low[1], "kendall_high": high[1]}
    return {name: round(float(value), 3) for name, value in found.items()} | {"undefined": undefined}


def rows_of(
    whole: pd.DataFrame, ends: pd.DataFrame, signs: Mapping[str, float], rounds: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for each proxy, over all candidates and within each backbone."""
    parts = {"all": ends.index, **{str(n): rows.index for n, rows in ends.groupby("c.backbone", observed=True)}}
    for (of, index), (name, sign) in itertools.product(parts.items(), signs.items()):
        seconds = whole.get(f"{name} (s)")
        row = {"of": of, "candidates": len(index), "proxy": name}
        row |= correlations(sign * whole.loc[index, name], ends.loc[index, "value"], rounds)
        row["seconds"] = None if seconds is None else round(float(seconds[index].median()), 3)
        if of == "all" and "spearman" in row:
            row["compute"] = round(compute(front_after_front(sign * whole[name], whole["gflops"]), ends), 4)
        yield row


def front_after_front(quality: pd.Series, cost: pd.Series) -> NDArray[np.int64]:
    """Return places in the order of fronts of a number that is to be large and a cost, by their ranks."""
    ranks = np.column_stack([rankdata(-quality.to_numpy(dtype=float)), rankdata(cost.to_numpy(dtype=float))])
    return by_contribution(ranks - len(ranks) - 1)  # below zero, so that the axes are not log


def compute(order: NDArray[np.int64], ends: pd.DataFrame) -> float:
    """Return the share of the whole training after which candidates, in this order, cover GOAL of the hypervolume."""
    points = np.log(ends[["value", "gflops"]].to_numpy(dtype=float))
    training = (ends["gflops"] * ends["images"]).to_numpy(dtype=float)
    reference = points.max(axis=0)
    whole = hypervolume(points, ref=reference)
    spent = np.cumsum(training[order]) / training.sum()
    for i in range(len(order)):
        if hypervolume(points[order[: i + 1]], ref=reference) >= GOAL * whole:
            return float(spent[i])
    return 1.0


def by_chance(ends: pd.DataFrame) -> dict[str, Any]:
    """Return the row of random orders."""
    random = np.random.default_rng(0)
    found = [compute(random.permutation(len(ends)), ends) for _ in range(200)]
    low, middle, high = (round(float(value), 4) for value in np.percentile(found, [25, 50, 75]))
    return {"of": "all", "candidates": len(ends), "proxy": "by chance", "low": low, "compute": middle, "high": high}


def main() -> None:
    parser = bench.options(__doc__, rounds=2000)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--numbers", type=Path)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    ends, beside = of_table(ablate.recorded(arguments.table))
    whole = beside.join(numbers(ends, arguments.numbers))
    catalog = load_study(STUDY).catalog
    proxies = {name: create(Proxy, spec, catalog) for name, spec in PROXIES.items()}
    signs = {name: sign_of(name, proxies) for name in (*beside, *PROXIES)}
    rows = []
    for row in rows_of(whole, ends, signs, arguments.rounds):
        rows.append(row)
        told = (row.get(name, math.nan) for name in COLUMNS[3:9])
        print(f"{row['of']:6} {row['proxy']:32} " + "  ".join(f"{value:6.3f}" for value in told), flush=True)
    rows.append(by_chance(ends))
    bench.keep(rows, COLUMNS, arguments.csv)
    if arguments.figure is not None:
        draw(rows, arguments.figure)


def draw(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Draw Spearman's correlation with its interval, over all candidates and within each backbone."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    parts = list(dict.fromkeys(row["of"] for row in rows))
    for i, part in enumerate(parts):
        own = {row["proxy"]: row for row in rows if row["of"] == part and "spearman" in row}
        places = [(j + (i - (len(parts) - 1) / 2) * 0.17, own[name]) for j, name in enumerate(SHOWN) if name in own]
        y, middle = [place for place, _ in places], [row["spearman"] for _, row in places]
        errors = [[m - row["low"] for m, (_, row) in zip(middle, places, strict=True)]]
        errors += [[row["high"] - m for m, (_, row) in zip(middle, places, strict=True)]]
        label = f"{part} ({next(iter(own.values()))['candidates']})"
        axes.errorbar(middle, y, xerr=errors, fmt="o", markersize=4, linewidth=1, label=label)
    axes.axvline(0, color="0.6", linewidth=0.8)
    axes.set(yticks=range(len(SHOWN)), yticklabels=SHOWN, xlim=(-1, 1))
    axes.set_xlabel("rank correlation with quality at the end (Spearman)")
    axes.invert_yaxis()
    axes.legend(title="candidates", fontsize="small", loc="lower left")
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    main()
