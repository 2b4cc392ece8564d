"""A study whose budget grows: its trials go on from their checkpoints, and those of the smaller budget stay apart."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from segments_for_tests import CACHE, timeless
from studies_for_tests import marks, search, study, trials

import ablate
from ablate.errors import InputError
from ablate.io.files import read_json
from ablate.study import aside
from ablate.study.grow import growth
from ablate.study.launch import launch
from ablate.study.load import load_study
from ablate.study.plan import plan
from ablate.training import loop

HERE = {"type": "local", "in_process": True}
SMALLER = "budget-4-steps"


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))


def spec(steps: int = 4, **changes: Any) -> dict[str, Any]:
    """Two candidates whose rate stays, and one whose rate falls to the end of its training."""
    made = study(
        **{
            "base.backbone": {"type": "probe", "dropout": 0.2},
            "vary": {"optimizer.decay": ["constant", "inverse_sqrt", "cosine"]},
            "design": {"type": "grid", "seeds": 1},
            "budget": {"steps": steps},
            "evaluate.every": 32,
            "evaluate.at_samples": 4,
            **changes,
        }
    )
    return {**made, "executor": HERE}


def run(folder: Path, made: dict[str, Any]) -> tuple[ablate.Results, list[str]]:
    lines: list[str] = []
    launched = launch(made, out=folder, device="cpu", say=lines.append, figures=False)
    return ablate.load(launched.folder), lines


def measured(folder: Path) -> dict[str, Any]:
    """Records without what a clock decides, and without where a training began."""
    return {
        trial: {key: value for key, value in timeless(record).items() if key != "continued_from"}
        for trial, record in trials(folder).items()
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ABLATE_CACHE", str(CACHE))
        run(folder, spec())
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The larger budget from nothing."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ABLATE_CACHE", str(CACHE))
        run(folder, spec(8))
    return folder


@pytest.fixture
def begun(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "begun"))


def test_trials_go_on_and_those_of_the_smaller_budget_are_a_study_of_their_own(begun: Path, whole: Path) -> None:
    before = trials(begun)
    found, lines = run(begun, spec(8))
    assert measured(begun) == measured(whole) and not before.keys() & trials(begun).keys()
    begins = {r["choices"]["optimizer.decay"]: r.get("continued_from") for r in trials(begun).values()}
    assert begins.pop("cosine") is None
    for begin in begins.values():
        assert (begin["folder"], begin["images"]) == (SMALLER, 64) and begin["trial"] in before
        assert begin["train_seconds"] == before[begin["trial"]]["train_seconds"]
    assert found.trials["continued_images"].dropna().tolist() == [64, 64]
    assert "2 trials went on from shorter trainings in budget-4-steps" in str(found.summary())
    assert [line for line in lines if "trials" in line] == [
        f"trials of the smaller budget move to {begun / SMALLER}: they stand in no table of the larger one",
        "2 of 3 trials go on from their checkpoints in budget-4-steps, after 64 images",
    ]
    (refused,) = (line for line in lines if "trained from nothing" in line)
    assert refused.startswith("1 trial is trained from nothing, though budget-4-steps has a shorter one: cosine: opti")
    smaller = ablate.load(begun / SMALLER)
    assert trials(begun / SMALLER) == before and set(smaller.trials["images"]) == {64}
    assert smaller.front()["kid_pixels"].notna().all()
    (entry,) = read_json(begun / "lock.json")["grown"]
    assert entry["added"] == ['budget: {"steps": 4} -> {"steps": 8}'] and entry["set_aside"] == SMALLER
    again = marks(begun)
    assert run(begun, spec(8))[1] and marks(begun) == again  # and nothing more is to be done
    with pytest.raises(InputError, match=r"budget.steps: 8 -> 4"):  # it does not shrink
        run(begun, spec(4))


def test_it_grows_again_from_the_longest_training(begun: Path, tmp_path: Path) -> None:
    run(begun, spec(8))
    found, _ = run(begun, spec(16))
    run(tmp_path / "whole", spec(16))
    assert measured(begun) == measured(tmp_path / "whole")
    assert found.trials["continued_images"].dropna().tolist() == [128, 128]
    assert sorted(path.name for path in aside.folders(begun)) == [SMALLER, "budget-8-steps"]


def test_a_plan_says_so_before(begun: Path) -> None:
    made = load_study(spec(8))
    frame, nothing = plan(made, folder=begun), plan(made, folder=begun.parent)
    assert frame.attrs["points"][-2:] == [
        f"2 of 3 trials go on from their checkpoints in {begun}, after 64 images",
        f"1 trial is trained from nothing, though {begun} has a shorter one: cosine: optimizer 'adamw' follows the "
        "length of the training from 0 images on, and its first checkpoint is of 32",
    ]
    assert nothing.attrs["points"] == frame.attrs["points"][:-2]
    assert frame.attrs["share"] == pytest.approx(2 / 3) and nothing.attrs["share"] == 1


class Killed(BaseException):
    """Nothing that anybody catches."""


@contextlib.contextmanager
def killed_at(place: Any, name: str, number: int) -> Iterator[None]:
    """Dies instead of the `number`-th call."""
    real, counted = getattr(place, name), [0]

    def call(*args: Any, **more: Any) -> Any:
        counted[0] += 1
        if counted[0] == number:
            raise Killed
        return real(*args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, name, call)
        yield


@pytest.mark.parametrize("step", [3, *(pytest.param(step, marks=pytest.mark.thorough) for step in (1, 6))])
def test_cut_short_in_the_middle_of_a_prolonged_training_it_comes_to_the_same(
    begun: Path, whole: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "LOOK_SECONDS", 0.0)
    """A worker that dies; a driver that is killed: tests/test_kill.py."""
    with killed_at(loop.Training, "_take_step", step):
        assert "failed" in set(run(begun, spec(8))[0].trials["state"])
    run(begun, spec(8))
    assert measured(begun) == measured(whole)


@pytest.mark.parametrize("grows", [True, False])
@pytest.mark.parametrize("moved", [3, 7, *(pytest.param(n, marks=pytest.mark.thorough) for n in (1, 5, 9))])
def test_killed_while_trials_are_set_aside_nothing_is_lost(
    begun: Path, whole: Path, small: Path, moved: int, grows: bool
) -> None:
    """Neither where the larger budget is asked for again, nor where the smaller one is."""
    with killed_at(Path, "replace", moved), contextlib.suppress(Killed):
        launch(spec(8), out=begun, device="cpu", figures=False)
    if grows or read_json(begun / "lock.json")["science"]["budget"] == {"steps": 8}:
        run(begun, spec(8))
        assert measured(begun) == measured(whole) and trials(begun / SMALLER) == trials(small)
        return
    with killed_at(loop.Training, "_take_step", 1):  # nothing is trained again
        run(begun, spec(4))
    assert trials(begun) == trials(small)
    run(begun, spec(8))
    assert measured(begun) == measured(whole) and trials(begun / SMALLER) == trials(small)


def test_a_search_takes_up_its_candidates_again(tmp_path: Path) -> None:
    made = {**search(algorithm="tpe", trials=4), "executor": HERE}
    run(tmp_path, made)
    before = [record["choices"] for record in trials(tmp_path).values()]
    found, lines = run(tmp_path, {**made, "budget": {"steps": 3}, "design": {**made["design"], "trials": 5}})
    after = [record["choices"] for record in trials(tmp_path).values()]
    assert len(after) == 5 and all(choices in after for choices in before)
    assert found.trials["continued_images"].dropna().tolist() == [16] * 4
    assert "4 of 4 trials go on from their checkpoints in budget-1-steps, after 16 images" in lines
    again = marks(tmp_path)
    run(tmp_path, {**made, "budget": {"steps": 3}, "design": {**made["design"], "trials": 5}})
    assert marks(tmp_path) == again


def test_a_search_takes_up_no_more_than_its_total_allows(tmp_path: Path) -> None:
    made = {**search(algorithm="tpe", trials=4), "executor": HERE}
    run(tmp_path, made)
    found, _ = run(tmp_path, {**made, "budget": {"steps": 3}, "total": {"trials": 2}})
    assert len(found.trials) == 2


@pytest.mark.parametrize(("first", "at"), [(0.25, [0.5]), pytest.param(0.5, None, marks=pytest.mark.thorough)])
def test_paused_candidates_go_on_from_their_rung_to_that_of_the_larger_budget(
    tmp_path: Path, first: float, at: list[float] | None
) -> None:
    """Also one that has come beyond the larger budget's rung already, where its quality was measured there."""
    halving = {"type": "asha", "first": first, "factor": 4}
    changes = {"vary": {"backbone.width": [2, 3, 4, 5, 6]}, "evaluate.every": None, "fidelity": halving}
    changes |= {} if at is None else {"evaluate.at": at}
    for name, budgets in {"grown": (4, 8), "whole": (8,)}.items():
        for steps in budgets:
            run(tmp_path / name, spec(steps, **changes))
    grown, whole = (
        {**trials(tmp_path / name), **trials(tmp_path / name, "paused.json")} for name in ("grown", "whole")
    )
    assert grown.keys() == whole.keys()
    begins = {record["continued_from"]["images"] for record in grown.values()}
    assert begins == {int(4 * first) * 16, 64}  # of those that were paused, and of those that had come to their end
    for trial, record in grown.items():
        ours, theirs = timeless(record), timeless(whole[trial])
        if record["state"] == "paused" and record["images"] > theirs["images"]:
            assert [row for row in ours["metrics"] if row["images"] == theirs["images"]] == theirs["metrics"]
            continue
        for one in (ours, theirs):  # the loss at a point before is that of another curve
            one.pop("shares"), one.pop("continued_from", None)
        assert ours == theirs


def test_trials_of_a_smaller_budget_in_another_folder_are_gone_on_with(
    small: Path, whole: Path, tmp_path: Path
) -> None:
    found, lines = run(tmp_path / "other", spec(8, reuse=[str(small)]))
    assert measured(tmp_path / "other") == measured(whole)
    assert set(found.trials["continued_from"].dropna()) == {str(small)}
    assert f"2 of 3 trials go on from their checkpoints in {small}, after 64 images" in lines
    assert trials(small) and not aside.folders(small)  # it is left as it was


@pytest.mark.parametrize(
    ("then", "now", "grows"),
    [
        ({"images": 1}, {"images": 2}, True),
        ({"images": 2}, {"images": 1}, False),
        ({"images": 2}, {"steps": 3}, False),
        ({"minutes": 1.0}, {"minutes": 2.0}, True),
        ({"train_gflops": 1.0}, {"train_gflops": 1.5}, True),
    ],
)
def test_which_budgets_grow(then: dict[str, Any], now: dict[str, Any], grows: bool) -> None:
    assert (growth({"budget": then}, {"budget": now}) is not None) == grows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoints": [1.0]}, r"checkpoints\[0\]: input should be less than 1, not 1.0"),
        ({"checkpoints": ["half"]}, r"checkpoints\[0\]: expected a number"),
        ({"checkpoints": [0.1]}, r"checkpoints: 0.1 of 64 images is less than one step of 16"),
        ({"checkpoints": [0.5], "budget": {"minutes": 1}}, "is not known where its budget is a time"),
    ],
)
def test_checkpoints_that_cannot_be_are_refused_before_any_training(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(tmp_path / "out", spec(**changes))
    assert not (tmp_path / "out").exists()


def test_checkpoints_that_stay_are_no_part_of_an_identity() -> None:
    plain, keeping = load_study(spec()), load_study(spec(checkpoints=[0.5]))
    assert plain.study.digest() == keeping.study.digest()
