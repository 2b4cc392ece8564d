"""Does a search pay whose children begin with the weights of their parents? Evolution on digits, with and without it.

    python benchmarks/inheritance.py [--csv FILE] [--rounds 3] [--trials 12] [--folder FOLDER]

Each repeat is two studies of one seed: regularised evolution with `inherit` and without, as many candidates, each
trained on as many images, so that both spend about the same. They begin with the same candidates. Those of the search
that inherits are then trained from scratch too (`scratch`), which is what their choices are worth by themselves, and
once more with another seed (`other_seed`): how much of an order is noise. A row is a candidate: its KID and its
Gflops, the compute of the study until then (`spent`, Gflops, forward and backward), that of its ancestors
(`ancestors`), the share of its weights that it took over, and how far its network was from the parent's function
(`gap`). Printed are for each repeat the least KID that each study has within the compute that both have spent, and the
least from scratch among what each chose; and over all children Spearman's correlation of the KID that they have with
that from scratch, beside that of another seed from scratch.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bench
import pandas as pd
from scipy.stats import spearmanr

import ablate

COLUMNS = (
    *("repeat", "method", "number", "trial", "depth", "width", "mlp_ratio", "lr", "kid", "scratch", "other_seed"),
    *("gflops", "spent", "ancestors", "share", "gap"),
)
CHOICES = {
    "depth": "backbone.depth",
    "width": "backbone.width",
    "mlp_ratio": "backbone.mlp_ratio",
    "lr": "optimizer.lr",
}
METHODS = {"fresh": False, "inherit": True}
STUDY: dict[str, Any] = {
    "study": "inheritance",
    "data": "digits",
    "base": {
        "backbone": {"type": "dit", "patch": 2, "depth": 2, "width": 32, "heads": 2},
        "schedule": "cosine",
        "target": "v",
        "optimizer": {"type": "adam", "lr": 0.003},
        "ema": {"type": "constant", "halflife": 400},
        "solver": {"type": "dpmpp_2m", "steps": 10},
        "batch": 32,
    },
    "vary": {
        "backbone.depth": [1, 2, 3, 4],
        "backbone.width": [16, 32, 64],
        "backbone.mlp_ratio": [2.0, 4.0],
        "optimizer.lr": [0.001, 0.003, 0.01],
    },
    "design": {"type": "search", "algorithm": "evolution", "population": 6, "tournament": 3},
    "budget": {"images": 4800},
    "evaluate": {"metrics": [{"type": "kid", "features": "classifier"}], "samples": 300, "previews": 0},
    "objectives": ["kid", "gflops"],
    "executor": {"type": "local", "in_process": True},
}


def searched(folder: Path, inherit: bool, seed: int, trials: int) -> ablate.Results:
    """A search, run or read."""
    study = copy.deepcopy(STUDY) | {"seed": seed}
    study["design"] |= {"trials": trials, "inherit": inherit}
    return ablate.run(study, out=folder, figures=False)


def from_scratch(folder: Path, found: ablate.Results, seed: int, reuse: Path) -> list[Mapping[str, float]]:
    """{choices as text: KID} of the candidates of a search, each trained by itself, with its seed and another one."""
    named = [dict(candidate.choices) for candidate in found.candidates]
    study = copy.deepcopy(STUDY) | {"seed": seed, "reuse": [str(reuse)]}
    study["design"] = {"type": "chosen", "named": named, "seeds": 2}
    trials = ablate.run(study, out=folder, figures=False).trials
    kid = next(column for column in trials if column.startswith("m.kid"))
    by_seed = [trials[trials["seed"] == own] for own in (0, 1)]
    return [dict(zip(map(_choices, _rows(own)), own[kid], strict=True)) for own in by_seed]


def _rows(trials: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in trials.to_dict("records")]


def _choices(row: Mapping[str, Any]) -> str:
    return str([float(row[f"c.{path}"]) for path in CHOICES.values()])


def rows_of(repeat: int, trials: int, place: Path) -> list[dict[str, Any]]:
    """Both studies of a repeat, a row a candidate in the order in which they ended."""
    studies = {name: searched(place / f"{name}-{repeat}", on, repeat, trials) for name, on in METHODS.items()}
    scratch = from_scratch(place / f"scratch-{repeat}", studies["inherit"], repeat, place / f"fresh-{repeat}")
    rows = []
    for name, study in studies.items():
        table = study.trials.sort_values("ended").reset_index(drop=True)
        kid = next(column for column in table if column.startswith("m.kid"))
        spent = 0.0
        for number, row in enumerate(_rows(table)):
            spent += row["train_gflops"]
            inherits = isinstance(row.get("inherited_from"), str)
            rows.append(
                {
                    "repeat": repeat,
                    "method": name,
                    "number": number,
                    "trial": row["trial"],
                    **{short: row[f"c.{path}"] for short, path in CHOICES.items()},
                    "kid": round(row[kid], 5),
                    "scratch": round(scratch[0][_choices(row)] if name == "inherit" else row[kid], 5),
                    "other_seed": round(scratch[1][_choices(row)], 5) if name == "inherit" else None,
                    "gflops": round(row["gflops"], 7),
                    "spent": round(spent, 3),
                    "ancestors": round(row["ancestors_train_gflops"], 3) if inherits else 0.0,
                    "share": round(row["inherited_share"], 3) if inherits else None,
                    "gap": round(row["inherited_gap"], 4) if inherits else None,
                }
            )
    return rows


def describe(rows: pd.DataFrame) -> None:
    """Print what is compared."""
    for repeat, both in rows.groupby("repeat", observed=True):
        limit = both.groupby("method", observed=True)["spent"].max().min()
        within = both[both["spent"] <= limit].groupby("method", observed=True)
        print(f"repeat {repeat}: within {limit:.1f} Gflops", end="")
        for name, own in within:
            print(f"; {name}: {len(own)} candidates, KID {own['kid'].min():.4f}", end="")
            print(f", from scratch {own['scratch'].min():.4f}", end="")
        print(flush=True)
    children = rows[rows["share"].notna()]
    change = children["kid"] - children["scratch"]
    told = spearmanr(children["kid"], children["scratch"]).statistic
    again = spearmanr(children["other_seed"], children["scratch"]).statistic
    print(f"{len(children)} children: KID {children['kid'].median():.4f} with inherited weights (median), ", end="")
    print(f"{children['scratch'].median():.4f} from scratch; less in {(change < 0).sum()}; Spearman {told:.2f}", end="")
    print(f", of another seed from scratch {again:.2f}")
    for name, own in children.groupby(children["gap"] > 0, observed=True):
        kind = "another function than the parent's" if name else "the parent's function"
        less = (own["kid"] < own["scratch"]).sum()
        print(f"  {kind} at the start: {len(own)}, less in {less}, median {own['kid'].median():.4f}")


def main() -> None:
    parser = bench.options(__doc__, rounds=3)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--folder", type=Path, help="keep the studies there, and go on with them")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = arguments.folder or Path(temporary)
        rows: list[dict[str, Any]] = []
        for repeat in range(arguments.rounds):
            own = rows_of(repeat, arguments.trials, place)
            bench.keep(own, COLUMNS, arguments.csv, add=bool(rows))
            rows += own
    describe(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
