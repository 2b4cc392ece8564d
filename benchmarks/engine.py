"""What a trial costs beside its training: Optuna alone, ablate (local, Ray), Ray Tune with OptunaSearch.

    python benchmarks/engine.py [--trials 200] [--csv benchmarks/engine.csv]

All in one run on one machine, each in a process of its own. Start-up (imports, the cluster) is
reported apart from the cost of a trial. Ray Tune needs more than Ray: pip install "ray[tune]".
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent


def optuna_alone(trials: int) -> tuple[float, float]:
    """Optuna's ask and tell on SQLite, with the objectives and the space of noop.yaml."""
    begun = time.perf_counter()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        study = optuna.create_study(
            storage=f"sqlite:///{folder}/optuna.db",
            directions=["minimize", "minimize"],
            sampler=optuna.samplers.RandomSampler(seed=0),
        )
        started = time.perf_counter()
        for _ in range(trials):
            trial = study.ask()
            knob = trial.suggest_float("backbone.knob", 0, 1)
            study.tell(trial, [knob, 0.0])
        return started - begun, (time.perf_counter() - started) / trials


def ablate_on(executor: str, trials: int) -> tuple[float, float]:
    """The same through `ablate.run`: a real segment a trial, its folder, its checkpoint, its record."""
    begun = time.perf_counter()
    from ablate.engine import Progress
    from ablate.study.launch import launch

    seen: list[tuple[float, int]] = []  # (when, trials done), without start-up and the final figures

    def watch(progress: Progress) -> None:
        if progress.done:
            seen.append((time.perf_counter(), progress.done))

    with tempfile.TemporaryDirectory() as folder:
        launch(
            HERE / "noop.yaml",
            out=Path(folder) / "noop",
            overrides=[f"design.trials={trials}"],
            executor=executor,
            device="cpu",
            watch=watch,
        )
    (started, few), (ended, many) = seen[0], seen[-1]
    return started - begun, (ended - started) / (many - few)


def ray_tune(trials: int) -> tuple[float, float]:
    """Ray Tune with OptunaSearch and a trainable that returns at once."""
    begun = time.perf_counter()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            lambda config: {"loss": config["knob"], "gflops": 0.0},
            param_space={"knob": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(metric=["loss", "gflops"], mode=["min", "min"]), num_samples=trials
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        started = time.perf_counter()
        tuner.fit()
        ended = time.perf_counter()
    ray.shutdown()
    return started - begun, (ended - started) / trials


WAYS = {
    "optuna ask/tell": optuna_alone,
    "ablate local": lambda trials: ablate_on("local", trials),
    "ablate ray": lambda trials: ablate_on("ray", trials),
    "ray tune + OptunaSearch": ray_tune,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--tune-trials", type=int, default=30)
    parser.add_argument("--csv", type=Path, default=HERE / "engine.csv")
    parser.add_argument("--only")
    args = parser.parse_args()
    if args.only:
        trials = args.tune_trials if "tune" in args.only else args.trials
        print(json.dumps([trials, *WAYS[args.only](trials)]))
        return
    rows = []
    for way in WAYS:
        command = [sys.executable, __file__, "--only", way, "--trials", str(args.trials)]
        done = subprocess.run(
            [*command, "--tune-trials", str(args.tune_trials)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(f"{way}: not measured\n{done.stderr[-2000:]}", file=sys.stderr)
            continue
        trials, start, each = json.loads(done.stdout.strip().splitlines()[-1])
        rows.append({"way": way, "trials": trials, "start_s": round(start, 2), "s_per_trial": round(each, 4)})
        base = rows[0]["s_per_trial"]
        rows[-1]["over_optuna_s"] = round(each - base, 4)
        print(rows[-1], flush=True)
    with args.csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
