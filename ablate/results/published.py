"""Published results of the literature, to compare with."""

from __future__ import annotations

from importlib import resources

import pandas as pd


def published() -> pd.DataFrame:
    """Return published quality against cost: a row a figure that was printed in a paper, with its source.

    Columns: model, block, resolution (pixels), data, gflops (forward multiply-accumulates of one network call, by the
    rule that `gflops_rule` says), params_M (millions), train_steps_k (thousands), batch,
    cfg (guidance scale, or `guided`; empty: none), fid_50k, nfe, source, gflops_rule: the field of
    `ablate.cost` that counts as the number was counted, `gflops` (DiT, ADM) or `gflops_edm2`. What a paper does not say
    is missing.
    """
    with (resources.files("ablate") / "reference" / "published.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype={"cfg": "str"})
