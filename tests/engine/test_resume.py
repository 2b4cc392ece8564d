"""A driver that dies at any moment of its bookkeeping, and the next run: as if nothing had happened."""

from __future__ import annotations

import gc
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from commits_for_tests import Killed, killed_at
from optuna.trial import TrialState
from studies_for_tests import Driver, ledger, marks, results, search, study

from ablate.engine.ledger import Ledger
from ablate.study.launch import plan_of
from ablate.study.load import load_study

BEFORE, ALL = 11, 13  # candidates: past the random beginning of TPE and into the fourth generation of NSGA-II

DESIGNS: dict[str, dict[str, Any]] = {
    "nsga2": search(algorithm="nsga2", population=3, trials=ALL),
    "tpe": search(algorithm="tpe", trials=ALL),
}


def asked(folder: Path) -> list[Any]:
    """Candidates and what they were found to be worth, without those whose question was cut short."""
    return [(trial.params, trial.values) for trial in ledger(folder) if trial.state != TrialState.FAIL]


def dies_and_goes_on(
    whole: Path, begun: Path | None, spec: dict[str, Any], folder: Path, moments: Iterable[int]
) -> None:
    """Dies at each of the moments in turn, goes on, compares."""
    gc.freeze()  # what a driver leaves is all that a collection has to look at
    for number in moments:
        place = folder / str(number)
        if begun is not None:
            shutil.copytree(begun, place)
        with killed_at(number), pytest.raises(Killed):
            Driver(place, spec).run()
        gc.collect()  # in a process of its own, its locks would be gone with it
        before = marks(place)
        Driver(place, spec).run()
        assert asked(place) == asked(whole), number
        assert results(place) == results(whole), number
        after = marks(place)
        assert {trial: after[trial] for trial in before} == before, number
        shutil.rmtree(place)


def commits(folder: Path, spec: dict[str, Any]) -> int:
    """How many there are in an undisturbed run."""
    with killed_at(-1) as counted:
        Driver(folder, spec).run()
    return counted[0]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", DESIGNS)
def test_search_asks_what_it_would_have_asked(tmp_path: Path, algorithm: str) -> None:
    spec = DESIGNS[algorithm]
    Driver(tmp_path / "whole", spec).run()
    assert len(asked(tmp_path / "whole")) == ALL
    begun = tmp_path / "begun"
    Driver(begun, {**spec, "design": {**spec["design"], "trials": BEFORE}}).run()
    shutil.copytree(begun, tmp_path / "counted")
    start = commits(begun, {**spec, "design": {**spec["design"], "trials": BEFORE}})
    both = commits(tmp_path / "counted", spec)
    each = (both - start) // (ALL - BEFORE)
    assert each >= 4  # a question, two suggestions and an answer
    odd = algorithm == "nsga2"  # a candidate's commits are the same for both: each takes a third of them
    moments = range(start + 1 + odd, start + each + 3, 3)  # one candidate, and into the next
    dies_and_goes_on(tmp_path / "whole", begun, spec, tmp_path / "parts", moments)


@pytest.mark.slow
def test_a_generation_has_the_same_children_after_a_kill_at_its_first_question(tmp_path: Path) -> None:
    """Optuna gives the parents in another order when it is asked for them again."""
    spec = search(algorithm="nsga2", population=2, trials=6)
    Driver(tmp_path / "whole", spec).run()
    begun = tmp_path / "begun"
    Driver(begun, {**spec, "design": {**spec["design"], "trials": 5}}).run()  # the next one begins a generation
    dies_and_goes_on(tmp_path / "whole", begun, spec, tmp_path / "parts", (20, 21))


@pytest.mark.slow
def test_listed_designs_from_their_first_moment(tmp_path: Path) -> None:
    """The database is being made, proposals are handed to Optuna, asked for and answered."""
    spec = study(design={"type": "grid", "seeds": 1}, vary={"backbone.width": [2, 4]})
    total = commits(tmp_path / "whole", spec)
    assert total > 2 * 5
    moments = [1, 8, *range(9, total + 1, 4)]  # what makes the database is taken apart below
    dies_and_goes_on(tmp_path / "whole", None, spec, tmp_path / "parts", moments)


def test_twice_in_the_same_place(tmp_path: Path) -> None:
    spec = study(design={"type": "grid", "seeds": 1}, vary={"backbone.width": [2, 4]})
    Driver(tmp_path / "whole", spec).run()
    for number in (14, 14, 3):
        with killed_at(number), pytest.raises(Killed):
            Driver(tmp_path / "parts", spec).run()
    Driver(tmp_path / "parts", spec).run()
    assert asked(tmp_path / "parts") == asked(tmp_path / "whole")
    assert results(tmp_path / "parts") == results(tmp_path / "whole")


def test_killed_between_two_tables_of_the_database(tmp_path: Path) -> None:
    """SQLite commits each CREATE by itself: a table without its index would never be noticed again."""
    statements: list[str] = []
    at = 0

    def create(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.lstrip().startswith("CREATE"):
            statements.append(statement)
            if len(statements) == at:
                raise Killed

    def opened(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        plan = plan_of(load_study(study()), folder, "cpu")
        Ledger(folder / "optuna.db", plan.name, plan.space, plan.design, plan.objectives, 0).close()

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "before_cursor_execute", create)
    try:
        opened(tmp_path / "whole")
        total = len(statements)
        assert any("CREATE UNIQUE INDEX ix_studies_study_name" in statement for statement in statements)
        indices = [number for number, statement in enumerate(statements, 1) if " INDEX " in statement]
        for number in sorted({1, total, *indices, *range(2, total, 4)}):
            statements, at, folder = [], number, tmp_path / str(number)
            with pytest.raises(Killed):
                opened(folder)
            gc.collect()
            at = 0
            opened(folder)
            assert schema(folder / "optuna.db") == schema(tmp_path / "whole" / "optuna.db"), number
    finally:
        sqlalchemy.event.remove(sqlalchemy.engine.Engine, "before_cursor_execute", create)


def schema(file: Path) -> tuple[list[Any], list[Any]]:
    """Tables and indices, and the studies that are held."""
    with sqlite3.connect(file) as connection:
        kinds = connection.execute("SELECT type, name FROM sqlite_master ORDER BY name").fetchall()
        return kinds, connection.execute("SELECT study_id, study_name FROM studies").fetchall()
