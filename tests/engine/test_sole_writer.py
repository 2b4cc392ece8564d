"""The storage of which the driver is the only writer: it has what the database has, and reads what it wrote, once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from ablate.engine.sole_writer import SoleWriter


@pytest.fixture
def behind(tmp_path: Path) -> optuna.storages.BaseStorage:
    return optuna.storages.get_storage(f"sqlite:///{tmp_path / 'optuna.db'}")


def opened(behind: optuna.storages.BaseStorage) -> optuna.Study:
    optuna.create_study(storage=behind, study_name="one", directions=["minimize", "maximize"], load_if_exists=True)
    kept = SoleWriter(behind, behind.get_study_id_from_name("one"))
    return optuna.load_study(study_name="one", storage=kept, sampler=optuna.samplers.RandomSampler(seed=0))


def run(study: optuna.Study, count: int, parallel: int = 1) -> None:
    """Ask for candidates, so many at a time, and tell their values; every fifth fails, some are enqueued."""
    running: list[optuna.Trial] = []
    for i in range(count):
        if i % 3 == 0:
            study.enqueue_trial({"x": i / count}, user_attrs={"proposal": i})
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.suggest_categorical("kind", ["a", "b"])
        trial.set_user_attr("number", i)
        running.append(trial)
        if len(running) == parallel:
            done = running.pop(0)
            if done.number % 5:
                study.tell(done, [float(done.number), 0.5])
            else:
                study.tell(done, state=TrialState.FAIL)


def same(kept: list[FrozenTrial], stored: list[FrozenTrial]) -> None:
    assert [trial.number for trial in kept] == [trial.number for trial in stored] and kept
    for one, other in zip(kept, stored, strict=True):
        assert one == other


def test_it_has_what_the_database_has(behind: optuna.storages.BaseStorage, tmp_path: Path) -> None:
    """After every kind of change, read in this process and in another storage; also after it was opened again."""
    study = opened(behind)
    run(study, 20, parallel=4)
    other = optuna.load_study(study_name="one", storage=f"sqlite:///{tmp_path / 'optuna.db'}")
    same(study.get_trials(), other.get_trials())
    same(study.get_trials(states=(TrialState.RUNNING,)), other.get_trials(states=(TrialState.RUNNING,)))
    again = opened(behind)
    run(again, 5)
    same(again.get_trials(), other.get_trials())
    assert len(again.get_trials()) == 25 and again.best_trials
    run(again, 2)  # fewer than are read together
    same(again.get_trials(), other.get_trials())


def test_reads_do_not_grow_with_the_trials_that_run(
    behind: optuna.storages.BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many for the last candidates as for the first, with two dozen running as with one; never all."""
    study = opened(behind)
    reads: Counter[str] = Counter()
    for name in ("get_trial", "get_all_trials"):
        read = getattr(behind, name)
        monkeypatch.setattr(
            behind, name, lambda *args, name=name, read=read, **more: (reads.update([name]), read(*args, **more))[1]
        )
    counts = []
    for parallel in (1, 24, 1):
        reads.clear()
        run(study, 24, parallel)
        counts.append(reads["get_trial"])
        assert reads["get_all_trials"] == 0
    assert max(counts) <= 24  # of those that were enqueued; what was written is known, and not read
