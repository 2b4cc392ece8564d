"""The small form of `benchmarks/gpu.py`: the script that is meant for GPUs runs to its end on a CPU."""

import csv
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "gpu.py"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, (ROOT, ROOT / "plugins")))
    given = {**os.environ, "PYTHONPATH": path}
    words = (sys.executable, SCRIPT, *words)
    return subprocess.run(list(map(str, words)), env=given, capture_output=True, text=True, timeout=550, check=False)


def test_the_benchmark_for_gpus_runs_on_a_cpu(tmp_path: Path) -> None:
    """Every contender has its numbers, or says why not; the figure is drawn."""
    table, figure = tmp_path / "gpu.csv", tmp_path / "gpu.png"
    chosen = ("--networks", "small", "--precisions", "fp32")
    ran = run("--small", "--no-compile", *chosen, "--csv", table, "--figure", figure)
    assert ran.returncode == 0, ran.stderr
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
