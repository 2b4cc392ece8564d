"""The engine on a real pool: designs, and what is measured already."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from studies_for_tests import Driver, asked, ledger, marks, results, search, study, trials

from ablate.engine import dispatch
from ablate.errors import InputError
from ablate.execute.ray import Ray

# --- designs -------------------------------------------------------------------------------------


def test_one_factor_asks_for_the_baseline_and_each_change(tmp_path: Path) -> None:
    driver = Driver(tmp_path, study())
    outcome = driver.run()
    assert (outcome.measured, outcome.reused, outcome.failed, outcome.diverged) == (6, 0, 0, 0)
    assert [trial.params for trial in ledger(tmp_path)] == [{"backbone.width": width} for width in (4, 2, 8)]
    records = trials(tmp_path)
    assert sorted((r["choices"]["backbone.width"], r["seed"]) for r in records.values()) == [
        (width, seed) for width in (2, 4, 8) for seed in (0, 1)
    ]
    for trial in ledger(tmp_path):
        mine = [r for r in records.values() if r["choices"] == trial.params]
        assert trial.state == TrialState.COMPLETE
        assert trial.values == [
            pytest.approx(sum(r["metrics"][0]["value"] for r in mine) / 2),
            pytest.approx(mine[0]["gflops"]),
        ]
    assert driver.progress[-1].total == driver.progress[-1].done == 6
    assert driver.progress[0].running and driver.progress[0].done < 6
    assert len(driver.lines) == 6 and all("kid" in line and "gflops" in line for line in driver.lines)


def test_grid_asks_for_the_product(tmp_path: Path) -> None:
    vary = {"backbone.width": [2, 4], "target": ["epsilon", "v"]}
    outcome = Driver(tmp_path, study(vary=vary, design={"type": "grid"})).run()
    assert outcome.measured == 4
    assignments = [trial.params for trial in ledger(tmp_path)]
    assert assignments[0] == {"backbone.width": 4, "target": "epsilon"}
    assert len({tuple(sorted(params.items())) for params in assignments}) == 4


def not_any(each: Iterable[bool]) -> bool:
    return not any(each)


@pytest.mark.parametrize("algorithm", ["nsga2", "tpe", "random"])
def test_a_search_finds_as_many_different_candidates_as_it_was_asked_for(
    tmp_path: Path, algorithm: str, request: pytest.FixtureRequest
) -> None:
    """Samplers name again what they have named, NSGA-II most of all: they are asked again.

    Chance is asked while the candidate before is trained, who learns from that one is not.
    """
    more = {"population": 4} if algorithm == "nsga2" else {}
    spec = search(algorithm=algorithm, trials=14, **more)
    driver = Driver(tmp_path, spec, None if algorithm == "nsga2" else request.getfixturevalue("worker"))
    outcome = driver.run()
    assignments = asked(tmp_path)
    assert len(assignments) == outcome.measured == len(trials(tmp_path)) == driver.progress[-1].total == 14
    assert assignments[0] == {"backbone.knob": 0.5, "backbone.knack": "none"}  # the baseline
    assert len({tuple(sorted(params.items())) for params in assignments}) == 14 and outcome.short is None
    told = [t for t in ledger(tmp_path) if t.state == TrialState.COMPLETE]
    ahead = [t.datetime_start < before.datetime_complete for before, t in itertools.pairwise(told)]
    assert (all if algorithm == "random" else not_any)(ahead)
    again = Driver(tmp_path, spec)
    assert (again.run().measured, again.progress[-1].total) == (0, 14) and asked(tmp_path) == assignments


@pytest.mark.parametrize(("algorithm", "room", "asked_for"), [("nsga2", 6, 7), ("tpe", 12, 13), ("nsga2", 10, 7)])
def test_a_search_of_a_small_space_finds_all_of_it_and_says_so(
    tmp_path: Path, algorithm: str, room: int, asked_for: int
) -> None:
    """TPE is asked for more than its random beginning."""
    more = {"population": 3} if algorithm == "nsga2" else {}
    spec = search(algorithm=algorithm, trials=asked_for, **more)
    knobs = {"low": 0, "high": 1, "step": 0.25 if room == 10 else 0.5}
    widths = {"low": 2, "high": 8 if room == 12 else 4, "step": 2}
    spec["vary"] = {"backbone.knob": knobs, "backbone.width": widths}
    driver = Driver(tmp_path, spec)
    outcome = driver.run()
    count = min(room, asked_for)
    assert outcome.measured == len(trials(tmp_path)) == driver.progress[-1].total == count
    assert driver.progress[0].total == count  # known from the beginning
    ended = json.loads((tmp_path / "ended.json").read_text())
    assert (ended["trials"], ended["short"]) == (count, outcome.short)
    if room < asked_for:
        found = f"the search found {room} different candidates, not {asked_for}"
        assert outcome.short == f"{found}: there are no more in what `vary` spans"
    else:
        assert outcome.short is None
    again = Driver(tmp_path, spec).run()
    assert (again.measured, again.short) == (0, outcome.short)


# --- what is measured already --------------------------------------------------------------------


def test_measured_trials_are_not_run_again(tmp_path: Path) -> None:
    Driver(tmp_path, study()).run()
    before, values = marks(tmp_path), [trial.values for trial in ledger(tmp_path)]
    again = Driver(tmp_path, study())
    outcome = again.run()
    assert (outcome.measured, outcome.reused) == (0, 6)
    assert marks(tmp_path) == before and [trial.values for trial in ledger(tmp_path)] == values
    assert again.progress[-1].done == 6 and again.lines == []


def test_fresh_seeds_confirm_what_others_found(tmp_path: Path) -> None:
    """The same candidates by the same identity, no seed twice, in a folder of their own or beside the others."""
    Driver(tmp_path / "old", study()).run()
    fresh = study(**{"design.first_seed": 100})
    outcome = Driver(tmp_path / "new", fresh).run()
    assert (outcome.measured, outcome.reused) == (6, 0)
    seeds = {name.rpartition("-s")[2] for name in trials(tmp_path / "new")}
    assert seeds == {"100", "101"}
    heads = [{name.partition("-")[0] for name in trials(tmp_path / folder)} for folder in ("old", "new")]
    assert heads[0] == heads[1], "what is trained is the same"
    losses = {row["loss"] for folder in ("old", "new") for row in trials(tmp_path / folder).values()}
    assert len(losses) == 12, "fresh seeds draw afresh"
    driver = Driver(tmp_path / "old", fresh)
    assert (driver.run().measured, len(trials(tmp_path / "old"))) == (6, 12)
    assert driver.progress[-1].total == driver.progress[-1].done == 6


def test_more_seeds_run_only_the_new_ones(tmp_path: Path) -> None:
    Driver(tmp_path, study(**{"design.seeds": 1})).run()
    before = marks(tmp_path)
    outcome = Driver(tmp_path, study(**{"design.seeds": 3})).run()
    assert (outcome.measured, outcome.reused) == (6, 3)
    after = marks(tmp_path)
    assert {trial: after[trial] for trial in before} == before and len(after) == 9


def test_more_trials_of_a_search_go_on_where_it_stood(tmp_path: Path) -> None:
    Driver(tmp_path / "whole", search(algorithm="tpe", trials=14)).run()
    Driver(tmp_path / "parts", search(algorithm="tpe", trials=5)).run()
    outcome = Driver(tmp_path / "parts", search(algorithm="tpe", trials=14)).run()
    assert outcome.reused == 5
    assert [t.params for t in ledger(tmp_path / "parts")] == [t.params for t in ledger(tmp_path / "whole")]
    assert results(tmp_path / "parts") == results(tmp_path / "whole")


def test_records_outlive_the_ledger(tmp_path: Path) -> None:
    """After a power cut SQLite may have lost its last entries: what is measured stays measured."""
    Driver(tmp_path, search(algorithm="random", trials=6)).run()
    before, assignments = marks(tmp_path), [trial.params for trial in ledger(tmp_path)]
    (tmp_path / "optuna.db").unlink()
    outcome = Driver(tmp_path, search(algorithm="random", trials=6)).run()
    assert (outcome.measured, outcome.reused) == (0, 6)
    assert marks(tmp_path) == before and [trial.params for trial in ledger(tmp_path)] == assignments


def test_candidates_that_are_one_and_the_same_share_their_trials(tmp_path: Path) -> None:
    alike = ["probe", {"type": "probe", "width": 4}]  # 4 is the default
    driver = Driver(tmp_path, study(vary={"backbone": alike}))
    outcome = driver.run()
    entries = ledger(tmp_path)
    assert len(entries) == 2 and all(trial.state == TrialState.COMPLETE for trial in entries)
    assert outcome.measured == len(trials(tmp_path)) == 2  # the seeds
    assert entries[0].values == entries[1].values


def test_a_search_does_not_count_other_words_for_the_same_candidate(tmp_path: Path) -> None:
    spec = search(algorithm="random", trials=4)
    spec["vary"] = {"backbone": ["probe", {"type": "probe", "width": 4}], "backbone.knob": {"low": 0, "high": 1}}
    assert Driver(tmp_path / "many", spec).run().measured == 4
    spec["vary"] = {"backbone": spec["vary"]["backbone"]}
    outcome = Driver(tmp_path / "one", spec).run()
    assert outcome.measured == 1 and "1 different candidates, not 4" in (outcome.short or "")


# --- Ray -----------------------------------------------------------------------------------------

needs_ray = pytest.mark.skipif(not Ray.available(), reason="Ray is not installed")


@needs_ray
@pytest.mark.slow
def test_ray_gives_the_same_results_and_survives_lost_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thorough: bool
) -> None:
    """A trial whose workers are lost again and again, each of which takes seconds to start: tests/engine/test_dispatch.

    Such a one is here if there is time.
    """
    monkeypatch.setattr(dispatch, "RETRIES", 3)  # a busy machine loses workers of its own
    kill = {"type": "probe", "trap": "kill", "step": 2, "once": str(tmp_path / "once")}
    always = [{"type": "probe", "trap": "kill", "step": 1}] if thorough else []
    spec = study(vary={"backbone": ["probe", kill, *always]}, design={"type": "one_factor", "seeds": 1})
    with Ray(workers=2, cpus=1).start("ablate.worker.trial_run:run", "cpu") as pool:
        driver = Driver(tmp_path / "ray", spec, pool)
        outcome = driver.run()
    assert (outcome.measured, outcome.failed) == (2, len(always))
    for failure in trials(tmp_path / "ray", "failure.json").values():
        assert failure["class"] == "lost" and failure["attempts"] == 1 + 3
    assert sum("its worker was lost" in line for line in driver.lines) >= 1 + 3 * len(always)
    plain = study(vary={"backbone": ["probe", kill]}, design={"type": "one_factor", "seeds": 1})
    Driver(tmp_path / "local", plain).run()  # the flag is there: nothing is killed
    both = [results(tmp_path / where) for where in ("local", "ray")]
    for records in both:
        for record in records.values():
            del record["choices"]  # in a study of fewer choices their names are shorter
    assert both[0] == both[1]


@pytest.mark.parametrize("damage", ["values", "failed", "unlisted", "twice", "lost"])
def test_the_records_are_the_truth_and_the_ledger_follows(tmp_path: Path, damage: str) -> None:
    """A search builds on what the ledger says, so a number that no record bears out is set right."""
    spec = study() if damage in ("unlisted", "twice") else search(algorithm="random", trials=4)
    Driver(tmp_path, spec).run()
    truth, before = ledger(tmp_path), marks(tmp_path)
    entries = [damaged(trial, damage) if trial.number == 1 else trial for trial in ledger(tmp_path)]
    if damage == "twice":
        entries[2] = entries[1]
    if damage == "lost":
        del entries[2]
    (tmp_path / "optuna.db").unlink()
    written(tmp_path / "optuna.db", entries)
    driver = Driver(tmp_path, spec)
    outcome = driver.run()
    after = ledger(tmp_path)
    assert (outcome.measured, marks(tmp_path)) == (0, before)
    values = {repr(trial.params): trial.values for trial in after if trial.values is not None}
    expected = {repr(trial.params): trial.values for trial in truth}
    if damage in ("values", "failed"):
        assert [trial.params for trial in after] == [trial.params for trial in truth]
        assert sum("optuna.db told other values than its records" in line for line in driver.lines) == 1
    if damage == "unlisted":
        assert sum("has backbone.depth=99, which the study does not vary so" in line for line in driver.lines) == 1
    if damage == "lost":
        assert sum("records that optuna.db does not know" in line for line in driver.lines) == 1
    assert values == expected


def damaged(trial: optuna.trial.FrozenTrial, how: str) -> optuna.trial.FrozenTrial:
    """The trial with other values, failed, or of a choice that the study has not."""
    if how == "values":
        trial.values = [value * 2 for value in trial.values]
    if how == "failed":
        trial.state, trial.values = optuna.trial.TrialState.FAIL, None
    if how == "unlisted":
        deep = optuna.distributions.CategoricalDistribution((1, 99))
        trial.distributions, trial.params = {"backbone.depth": deep}, {"backbone.depth": 99}
    return trial


def written(file: Path, entries: list[optuna.trial.FrozenTrial]) -> None:
    """A ledger of these trials."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
    one = optuna.create_study(study_name="probes", storage=storage, directions=["minimize"] * 2)
    for trial in entries:
        one.add_trial(trial)
    storage.remove_session()
    storage.engine.dispose()


@pytest.mark.parametrize("content", [b"rubbish" * 100, "half"])
def test_a_damaged_ledger_says_that_it_can_be_made_anew(tmp_path: Path, content: bytes | str) -> None:
    Driver(tmp_path, study()).run()
    file, before = tmp_path / "optuna.db", marks(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(InputError, match=r"optuna\.db: .*remove it, then give the same command again"):
        Driver(tmp_path, study()).run()
    file.unlink()
    assert Driver(tmp_path, study()).run().measured == 0
    assert marks(tmp_path) == before
