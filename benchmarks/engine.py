"""What a trial costs beside its training: ablate on its executors, and the engines of others.

    python benchmarks/engine.py [--trials 200] [--csv benchmarks/engine.csv] [--syne PYTHON]

Optuna alone (ask and tell), Optuna with two jobs of its own, ablate on `local`, on `ray`, and with two `workers`, Ray
Tune with OptunaSearch, Syne Tune's local backend. All in one run on one machine, each in a process of its own, two
trials at a time where an engine has that. Start-up (imports, the cluster) is reported apart from the cost of a trial:
that is counted from the first trial's end, and on executors with two workers from when both have ended one. Ray Tune
needs more than Ray: pip install "ray[tune]". Syne Tune may stand in an environment of its own: `--syne` is its Python.
`cpu_s_per_trial` are the CPU seconds of all its processes in the same time, which other work on the machine changes
little. `load` is how many processes wanted the processors in the last minute, on average: beyond their number the
seconds are those of a shared machine, and only ratios of one run say something.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
Taken = tuple[float, float, float]  # seconds of the start, then seconds and CPU seconds a trial


class Clock:
    """The time, and the CPU seconds that this process and all below it have used, those that have ended among them."""

    def __init__(self) -> None:
        self.now = time.perf_counter()
        self.used = 0.0
        own = psutil.Process()
        for process in [own, *own.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                self.used += sum(process.cpu_times()[:4])

    def since(self, begun: Clock, trials: int) -> tuple[float, float]:
        """Return seconds and CPU seconds a trial."""
        return (self.now - begun.now) / trials, (self.used - begun.used) / trials


def optuna_alone(trials: int) -> Taken:
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
        started = Clock()
        for _ in range(trials):
            trial = study.ask()
            knob = trial.suggest_float("backbone.knob", 0, 1)
            study.tell(trial, [knob, 0.0])
        return started.now - begun, *Clock().since(started, trials)


def optuna_parallel(trials: int) -> Taken:
    """Optuna's own `optimize` with two jobs on SQLite, an objective that returns at once."""
    begun = time.perf_counter()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        study = optuna.create_study(
            storage=f"sqlite:///{folder}/optuna.db",
            directions=["minimize", "minimize"],
            sampler=optuna.samplers.RandomSampler(seed=0),
        )
        started = Clock()
        study.optimize(lambda trial: (trial.suggest_float("backbone.knob", 0, 1), 0.0), n_trials=trials, n_jobs=2)
        return started.now - begun, *Clock().since(started, trials)


def ablate_on(executor: str, trials: int, workers: int | None = None) -> Taken:
    """The same through `ablate.run`: a real segment a trial, its folder, its checkpoint, its record."""
    begun = time.perf_counter()
    from ablate.engine import Progress
    from ablate.study.launch import launch

    seen: list[tuple[Clock, int]] = []  # (when, trials done), without start-up and the final figures
    both = 1 if workers is None else workers  # who is to have ended a trial before the clock runs

    def watch(progress: Progress) -> None:
        if progress.done >= (trials if seen else both) and len(seen) < 2:
            seen.append((Clock(), progress.done))

    with tempfile.TemporaryDirectory() as folder:
        launch(
            HERE / "noop.yaml",
            out=Path(folder) / "noop",
            overrides=[f"design.trials={trials}"],
            executor=executor,
            workers=workers,
            device="cpu",
            watch=watch,
            figures=False,
        )
    (started, few), (ended, many) = seen[0], seen[-1]
    return started.now - begun, *ended.since(started, many - few)


def ray_tune(trials: int) -> Taken:
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
        started = Clock()
        tuner.fit()
        taken = Clock().since(started, trials)
    ray.shutdown()
    return started.now - begun, *taken


SYNE_TRIAL = """
from argparse import ArgumentParser
from syne_tune import Reporter
parser = ArgumentParser()
parser.add_argument("--knob", type=float)
Reporter()(loss=parser.parse_known_args()[0].knob)
"""


def syne_tune(trials: int) -> Taken:
    """Syne Tune's local backend with two workers, and a script that reports once and ends."""
    begun = time.perf_counter()
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend import LocalBackend
    from syne_tune.config_space import uniform
    from syne_tune.optimizer.baselines import RandomSearch

    with tempfile.TemporaryDirectory() as folder:
        os.environ["SYNETUNE_FOLDER"] = folder
        script = Path(folder) / "trial.py"
        script.write_text(SYNE_TRIAL)
        tuner = Tuner(
            trial_backend=LocalBackend(entry_point=str(script)),
            scheduler=RandomSearch({"knob": uniform(0, 1)}, metrics=["loss"]),
            stop_criterion=StoppingCriterion(max_num_trials_finished=trials - 1),  # it stops once there are more
            n_workers=2,
            sleep_time=0.01,
        )
        started = Clock()
        tuner.run()
        return started.now - begun, *Clock().since(started, trials)


WAYS = {
    "optuna ask/tell": optuna_alone,
    "optuna n_jobs=2": optuna_parallel,
    "ablate local": lambda trials: ablate_on("local", trials),
    "ablate ray": lambda trials: ablate_on("ray", trials, 2),
    "ablate workers": lambda trials: ablate_on("workers", trials, 2),
    "ray tune + OptunaSearch": ray_tune,
    "syne tune local backend": syne_tune,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--tune-trials", type=int, default=30)
    parser.add_argument("--csv", type=Path, default=HERE / "engine.csv")
    parser.add_argument("--syne", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--only")
    args = parser.parse_args()
    if args.only:
        trials = args.tune_trials if "tune" in args.only else args.trials
        print(json.dumps([trials, *WAYS[args.only](trials)]))
        return
    rows = []
    for way in WAYS:
        python = args.syne if "syne" in way else sys.executable
        command = [python, str(HERE / Path(__file__).name), "--only", way, "--trials", str(args.trials)]
        command += ["--tune-trials", str(args.tune_trials)]
        with tempfile.TemporaryDirectory() as folder:  # Syne Tune leaves files where it is called
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            print(f"{way}: not measured\n{done.stderr[-2000:]}", file=sys.stderr)
            continue
        trials, start, each, cpu = json.loads(done.stdout.strip().splitlines()[-1])
        rows.append({"way": way, "trials": trials, "start_s": round(start, 2), "s_per_trial": round(each, 4)})
        rows[-1]["over_optuna_s"] = round(each - rows[0]["s_per_trial"], 4)
        rows[-1]["cpu_s_per_trial"] = round(cpu, 4)
        rows[-1]["load"] = round(os.getloadavg()[0], 1)
        print(rows[-1], flush=True)
    with args.csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
