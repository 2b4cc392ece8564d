"""What does quality during training cost? The demo's kind of trial, measured at four points and at its end alone.

    python benchmarks/quality_points.py [--csv FILE] [--rounds 3] [--images 50000]

The baseline of studies/dit_conditioning.yaml, one seed, with `evaluate.at: [0.1, 0.25, 0.5, 1.0]` and without: whole
runs of a study, figures included, each in one process on one thread. Compared is their CPU time, in two ways:

- ratio: of two runs that work in turns of a second, so that other work on the machine falls on both. Run one after the
  other, the CPU seconds of equal work differ by up to a half here.
- within: of the run with points alone, whole over what is left without what its points take (sampling, measuring, their
  checkpoints, the figure of quality). This has no other run to differ from; what the points would do to the rest of the
  run shows in the first.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench

COLUMNS = (
    *("pair", "images", "four_points_cpu_seconds", "end_cpu_seconds", "ratio"),
    *("sampling", "measuring", "checkpoints", "figure", "within"),
)
PARTS = COLUMNS[5:9]
STUDY = Path(__file__).parents[1] / "studies" / "dit_conditioning.yaml"
POINTS = "[0.1, 0.25, 0.5, 1.0]"
TURN = 1.0  # seconds


def start(points: str, images: int, out: Path) -> subprocess.Popen[str]:
    """Start a run in a process of its own, which waits for its first turn."""
    command = [sys.executable, __file__, "--alone", points, "--images", str(images), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    os.kill(process.pid, signal.SIGSTOP)
    return process


def in_turns(runs: dict[str, subprocess.Popen[str]]) -> dict[str, tuple[float, dict[str, float]]]:
    """Let runs work in turns until all are done; return the CPU seconds of each, and what it says of its parts."""
    done: dict[str, tuple[float, dict[str, float]]] = {}
    try:
        while len(done) < len(runs):
            for name, process in runs.items():
                if name in done:
                    continue
                os.kill(process.pid, signal.SIGCONT)  # `send_signal` would ask whether it has ended
                time.sleep(TURN)
                os.kill(process.pid, signal.SIGSTOP)
                pid, status, used = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    assert process.stdout is not None
                    if status:
                        raise RuntimeError(f"the run {name!r} failed")
                    done[name] = used.ru_utime + used.ru_stime, json.loads(process.stdout.read().splitlines()[-1])
    finally:
        for name, process in runs.items():
            if name not in done:
                process.kill()
                process.wait()
    return done


class Parts:
    """The CPU seconds of parts of this process, by name; a part within another one counts as its own."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._open: list[str] = []
        self._since = time.process_time()

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count what is done within as a part."""
        self._note()
        self._open.append(name)
        try:
            yield
        finally:
            self._note()
            self._open.pop()

    def _note(self) -> None:
        now = time.process_time()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


def alone(points: str, images: int, out: Path) -> None:
    """Run the study in this process, and print what the parts of its points took."""
    from ablate.evaluation.metric_evaluator import MetricEvaluator
    from ablate.results import figures
    from ablate.results.figures import quality
    from ablate.study.launch import launch
    from ablate.training.loop import Training
    from ablate.worker.trial_evaluation import TrialEvaluation

    parts = Parts()
    real, save = TrialEvaluation._measure, Training._save
    draw, write = quality.draw, figures._save

    def measure(self: Any, training: Any, averages: Any, evaluation: Any, snapshots: Any) -> Any:
        if evaluation.samples == self._evaluation.samples:  # at the end, which is measured without points too
            return real(self, training, averages, evaluation, snapshots)
        with parts("sampling"):
            return real(self, training, averages, evaluation, snapshots)

    def inner(name: str) -> None:
        method = getattr(MetricEvaluator, name)

        def counted(self: Any, *arguments: Any) -> Any:
            if not parts._open:
                return method(self, *arguments)
            with parts("measuring"):
                return method(self, *arguments)

        setattr(MetricEvaluator, name, counted)

    def saved(self: Any) -> None:
        if self._budget_is_spent() or self.learner.images_seen not in self.quality._points._images:
            return save(self)
        with parts("checkpoints"):
            return save(self)

    TrialEvaluation._measure, Training._save = measure, saved  # type: ignore[method-assign]
    inner("__init__"), inner("see"), inner("values")

    def drawn(results: Any) -> Any:
        with parts("figure"):
            return draw(results)

    def written(figure: Any, stem: Path, formats: Any) -> Any:
        with parts("figure") if stem.name == "quality" else contextlib.nullcontext():
            return write(figure, stem, formats)

    quality.draw, figures._save = drawn, written
    overrides = [
        f"evaluate.at={points}",
        f"budget.images={images}",
        "design.seeds=1",
        "vary={backbone.conditioning: [adaln_zero]}",
        "executor={type: local, in_process: true}",
    ]
    launch(STUDY, out=out, overrides=overrides, device="cpu")
    if not json.loads(points):
        parts.seconds = dict.fromkeys(PARTS, 0.0)
    print(json.dumps(parts.seconds))


def main() -> None:
    parser = bench.options(__doc__, rounds=3)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--alone", metavar="POINTS", help="run one study in this process, and tell its parts")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.alone is not None:
        alone(arguments.alone, arguments.images, arguments.out)
        return
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for pair in range(arguments.rounds):
            folder = Path(name) / str(pair)
            points = {"four": POINTS, "end": "[]"}
            names = list(points) if pair % 2 == 0 else list(points)[::-1]
            done = in_turns({name: start(points[name], arguments.images, folder / name) for name in names})
            (four, parts), (end, _) = done["four"], done["end"]
            within = four / (four - sum(parts.values()))
            row = {"pair": pair, "images": arguments.images, "four_points_cpu_seconds": round(four, 1)}
            row |= {"end_cpu_seconds": round(end, 1), "ratio": round(four / end, 4)}
            row |= {part: round(seconds, 2) for part, seconds in parts.items()} | {"within": round(within, 4)}
            rows.append(row)
            bench.show(row, COLUMNS)
            bench.keep(rows, COLUMNS, arguments.csv)
    for column in ("ratio", "within"):
        print(f"median {column} {statistics.median(float(row[column]) for row in rows):.3f}")


if __name__ == "__main__":
    main()
