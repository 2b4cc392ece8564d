"""The small form of `benchmarks/gpu.py`: the script that is meant for GPUs runs to its end on a CPU."""

import csv
import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.filterwarnings("default")  # it is a script for people
def test_the_benchmark_for_gpus_runs_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every contender has its numbers, or says why not; the figure is drawn. In this process, which has torch."""
    table, figure = tmp_path / "gpu.csv", tmp_path / "gpu.png"
    chosen = ("--networks", "small", "--precisions", "fp32")
    monkeypatch.syspath_prepend(BENCHMARKS)
    words = ("gpu.py", "--small", "--no-compile", *chosen, "--csv", table, "--figure", figure)
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    assert importlib.import_module("gpu").main() == 0
    with table.open() as lines:
        rows = {row["step"]: row for row in csv.DictReader(lines)}
    assert rows.keys() == {"diffusers", "plain", "ours", "ablate", "captured", "pack of 1", "pack of 3"}
    assert rows["captured"]["note"].startswith("RuntimeError: there is no CUDA device here")
    for row in rows.values():
        assert (row["device"], row["precision"], row["compile"], row["batch"]) == ("cpu", "fp32", "none", "4")
        is_pack = row["step"].startswith("pack")
        assert (row["note"] and not is_pack) or (float(row["images_per_second"]) > 0 and 0 < float(row["busy"]) <= 1)
    assert rows["pack of 3"]["note"].endswith("times the time of one seed")
    assert not rows["ours"]["note"] and not rows["ablate"]["note"] and not rows["plain"]["note"]
    assert figure.stat().st_size > 5000
