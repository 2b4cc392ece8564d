"""Adaptive seeds: added where a comparison is open, alike after any interruption, and never measured twice."""

from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from crowd_for_tests import Crowd
from segments_for_tests import timeless
from studies_for_tests import Driver, ledger, marks, results, search, study, trials
from test_fidelities import halved, pauses
from test_resume import Killed

from ablate.engine import Engine
from ablate.errors import InputError
from ablate.kinds.executor import Pool
from ablate.kinds.seeding import Race
from ablate.results import load, write_tables
from ablate.study import lock
from ablate.study.load import load_study
from ablate.study.plan import plan

BASE = {"optimizer.lr": 0.001}


def raced(seeding: Any = None, **changes: Any) -> dict[str, Any]:
    """A study of four rates by the training loss; at a level at which some of them are soon decided."""
    spec = study(
        **{
            "vary": {"optimizer.lr": [1e-5, 1e-3, 0.1, 1.05e-3]},
            "design": {"type": "one_factor", "seeds": 3},
            "base.precondition": "edm",
            "base.optimizer": {"type": "adamw", "lr": 1e-3},
            "budget": {"steps": 8},
            "objectives": ["loss", "gflops"],
            "evaluate": {"samples": 1, "previews": 0},
            **changes,
        }
    )
    return {**spec, "seeding": {"type": "racing", "most": 6, "alpha": 0.3, **(seeding or {})}}


def counted(folder: Path) -> dict[Any, int]:
    """How many seeds of each rate were measured."""
    return dict(Counter(record["choices"]["optimizer.lr"] for record in trials(folder).values()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, run without a disturbance."""
    folder = tmp_path_factory.mktemp("raced")
    driver = Driver(folder, raced())
    lock.write(folder, driver.loaded)
    assert driver.run().short is None
    return folder


def test_seeds_are_added_where_a_comparison_is_open_and_are_common(whole: Path) -> None:
    seeds: dict[Any, list[int]] = {}
    for record in trials(whole).values():
        seeds.setdefault(record["choices"]["optimizer.lr"], []).append(record["seed"])
    assert all(sorted(own) == list(range(len(own))) for own in seeds.values())
    counts = counted(whole)
    assert min(counts.values()) < max(counts.values()) <= 6 and counts[0.001] == max(counts.values())
    write_tables(whole)
    shown = load(whole).race().set_index("candidate")
    undecided = shown[(shown["verdict"] == "open") | (shown["front"] == "open")]
    assert len(undecided) < 4 and shown.loc["lr=0.1", "verdict"] == "better"


def test_a_trial_is_the_same_whoever_asked_for_it(tmp_path: Path, whole: Path) -> None:
    fixed = {**raced(design={"type": "one_factor", "seeds": 6}), "seeding": "fixed"}
    assert load_study(raced()).study.digest() == load_study(fixed).study.digest()
    Driver(tmp_path, fixed).run()
    assert len(trials(tmp_path)) == 24
    assert results(whole).items() <= results(tmp_path).items()


def test_a_search_goes_on_from_the_scores_of_the_design_s_seeds(whole: Path) -> None:
    """Its ledger keeps them, and a second run finds all and asks for nothing."""
    before, values = marks(whole), {t.params["optimizer.lr"]: t.values[0] for t in ledger(whole)}
    for rate, value in values.items():
        records = [r for r in trials(whole).values() if r["choices"]["optimizer.lr"] == rate and r["seed"] < 3]
        assert value == pytest.approx(sum(r["loss"] for r in records) / 3)
    again = Driver(whole, raced())
    outcome = again.run()
    assert outcome.measured == 0 and outcome.reused == len(before) and marks(whole) == before
    assert not any("told other values" in line for line in again.lines)


def test_killed_at_any_seed_it_goes_on_as_without(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, thorough: bool
) -> None:
    """Dead before the driver has taken in what a worker measured."""
    take = Engine._take
    for number in range(12, len(trials(whole)) + 1, 2 if thorough else 5):
        calls = [0]

        def dying(self: Engine, job: Any, report: Any, calls: list[int] = calls, number: int = number) -> None:
            calls[0] += 1
            if calls[0] == number:
                raise Killed
            take(self, job, report)

        place = tmp_path / str(number)
        monkeypatch.setattr(Engine, "_take", dying)
        with pytest.raises(Killed):
            Driver(place, raced()).run()
        monkeypatch.setattr(Engine, "_take", take)
        gc.collect()
        before = marks(place)
        Driver(place, raced()).run()
        assert results(place) == results(whole), number
        after = marks(place)
        assert {trial: after[trial] for trial in before} == before, number


def test_the_study_s_total_bounds_it_and_with_more_it_goes_on(tmp_path: Path, whole: Path) -> None:
    outcome = Driver(tmp_path, {**raced(), "total": {"trials": 14}}).run()
    assert len(trials(tmp_path)) == 14
    assert outcome.short == (
        "the study's total is used up (14 of 14 trials): comparisons are open; with more, seeds are added"
    )
    Driver(tmp_path, raced()).run()
    assert results(tmp_path) == results(whole)
    enough = Driver(tmp_path, {**raced(), "total": {"trials": len(trials(whole))}}).run()
    assert enough.short is None and enough.measured == 0


@pytest.mark.slow
@pytest.mark.thorough
def test_with_several_workers_every_measurement_is_the_same(tmp_path: Path, worker: Pool) -> None:
    outcome = Driver(tmp_path / "crowd", raced(), Crowd(worker)).run()
    assert outcome.failed == 0 and max(counted(tmp_path / "crowd").values()) > 3
    Driver(tmp_path / "all", {**raced(design={"type": "one_factor", "seeds": 6}), "seeding": "fixed"}).run()
    expected = results(tmp_path / "all")
    assert all(timeless(record) == expected[trial] for trial, record in trials(tmp_path / "crowd").items())


def test_who_diverged_or_failed_gets_no_further_seed(tmp_path: Path) -> None:
    vary = {"backbone.trap": ["none", "loss_nan", "raise"]}
    spec = raced({"futility": None, "alpha": 1e-9, "most": 4}, vary=vary)
    spec["base"]["backbone"] = {"type": "probe", "trap": "none", "step": 4}
    Driver(tmp_path, spec).run()
    counts = Counter(trial[:12] for trial in trials(tmp_path))
    traps = {record["choices"]["backbone.trap"]: trial[:12] for trial, record in trials(tmp_path).items()}
    assert counts[traps["loss_nan"]] == 3 and set(counts.values()) == {3}  # with nobody left, the baseline gets none
    assert traps.keys() == {"none", "loss_nan"}


def test_who_is_paused_gets_no_further_seed(tmp_path: Path) -> None:
    spec = {**halved(count=4, seeds=3), "seeding": {"type": "racing", "most": 4, "futility": None, "alpha": 1e-9}}
    Driver(tmp_path, spec).run()
    stopped = {trial[:12] for trial in pauses(tmp_path)}
    ended = Counter(trial[:12] for trial in trials(tmp_path))
    assert stopped and not stopped & set(ended) and set(ended.values()) == {4} and len(ended) > 1


def test_a_search_races_when_it_has_found_all(tmp_path: Path) -> None:
    spec = search(algorithm="tpe", trials=4, seeds=3)
    spec["seeding"] = {"type": "racing", "most": 4, "futility": None, "alpha": 1e-9, "about": "front"}
    Driver(tmp_path, spec).run()
    counts = Counter(trial[:12] for trial in trials(tmp_path))
    assert len(counts) == 4 and max(counts.values()) == 4
    assert ledger(tmp_path)[0].params["backbone.knob"] == 0.5


def test_other_looks_in_the_same_folder_are_refused_and_none_are_not(tmp_path: Path) -> None:
    fixed = {**raced(), "seeding": "fixed"}
    lock.write(tmp_path, load_study(fixed))
    assert lock.read(tmp_path)["seeding"] is None  # type: ignore[index]
    lock.write(tmp_path, load_study(raced()))
    lock.check(tmp_path, load_study(raced({"about": "front", "futility": None})))
    for more in ({"most": 8}, {"alpha": 0.05}):
        with pytest.raises(InputError, match=r"3 to 6 seeds from 0 on at a level of 0.3, and now would be at 3 to"):
            lock.check(tmp_path, load_study(raced(more)))
    with pytest.raises(InputError, match="now would be at 4 to 6 seeds"):
        lock.check(tmp_path, load_study(raced(design={"type": "one_factor", "seeds": 4})))
    lock.check(tmp_path, load_study(fixed))
    lock.write(tmp_path, load_study(fixed))
    assert lock.read(tmp_path)["seeding"]["most"] == 6  # type: ignore[index] # who has looked once has looked


def test_the_plan_says_how_many_trials_may_be_added() -> None:
    frame = plan(load_study(raced()), "cpu")
    assert frame.attrs["trials"] == 12
    assert any("up to 6 seeds where a comparison is open, up to 12 more trials" in p for p in frame.attrs["points"])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (raced({"most": 4}, design={"type": "grid", "seeds": 5}), r"seeding: .*most \(4\) is less than design.seeds"),
        (raced(design={"type": "grid", "seeds": 1}), "design.seeds: .*first looks at 3 pairs, so it takes 3 seeds"),
        (raced(objectives=["gflops", "params"]), "decides by what is measured, and no objective is"),
        (raced(objectives=["seconds"]), "decides by what is measured, and no objective is"),
        (raced({"alpha": 0}), "greater than 0"),
        (raced({"most": 1000}), "less than or equal to 100"),
        ({**raced(), "seeding": "sequential"}, "there is no seeding"),
        (
            {**raced({"about": "baseline"}, vary={"optimizer.lr": [0.1, 0.01]}, design={"type": "grid", "seeds": 3})},
            "compares with the baseline, and the design does not try it: say about: front",
        ),
    ],
)
def test_what_cannot_be_decided_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_study(spec)


def test_a_seeding_that_names_who_cannot_get_a_seed_is_told(tmp_path: Path) -> None:
    class Wrong(type(load_study(raced()).study.seeding)):  # type: ignore[misc]
        def next(self, race: Race) -> int | None:
            return 99

    driver = Driver(tmp_path, raced())
    object.__setattr__(driver.loaded.study, "seeding", Wrong())
    with pytest.raises(InputError, match="adds a seed to candidate 99, which cannot get one now"):
        driver.run()
