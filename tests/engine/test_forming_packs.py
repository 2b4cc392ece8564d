"""Packs as the engine forms them, and takes them apart; without workers."""

from collections import deque
from typing import Any

import pytest
from learners import SETTING, candidate

from ablate.candidates.objectives import Objective
from ablate.candidates.packing import NONE, UNPACKED, pack_size, shape_of, why_alone
from ablate.candidates.trial import Budget
from ablate.engine.packs import MEMBERS, Packs
from ablate.engine.watchdog import of_training

IMAGES = Budget(images=64)
CANDIDATES = {
    "a": candidate(),
    "b": candidate(schedule="cosine", weighting="min_snr", optimizer={"type": "adamw", "lr": 2e-3}),
    "c": candidate(batch=16),
    "d": candidate(recompute=True),
}


def job(name: str) -> Any:
    """`a0`: candidate a, seed 0."""
    return {"job": name, "folder": f"/nowhere/{name}", "config_hash": name[0], "device": "cpu"}


def packs(size: int, lines: list[str] | None = None) -> Packs:
    made = Packs(size, SETTING, lambda one: one["job"], ([] if lines is None else lines).append)
    for name, one in CANDIDATES.items():
        made.know(job(name), one)
    return made


def names(one: Any) -> list[str]:
    return [member["job"] for member in one.get(MEMBERS, (one,))]


def form(made: Packs, queue: deque[Any], alone: tuple[str, ...] = (), more: tuple[str, ...] = ()) -> list[str]:
    left = list(more)

    def ahead() -> bool:
        if left:
            queue.append(job(left.pop(0)))
        return bool(queue) and bool(more) and (bool(left) or queue[-1]["job"] == more[-1])

    return names(made.form(queue.popleft(), queue, alone, ahead if more else lambda: False))


def test_trials_of_one_shape_are_taken_together_and_others_wait() -> None:
    queue = deque(map(job, ("a0", "c0", "a1", "b0", "d0", "b1", "a2")))
    made = packs(4)
    assert form(made, queue) == ["a0", "a1", "b0", "b1"]
    assert names({MEMBERS: list(queue)}) == ["c0", "d0", "a2"]
    assert [form(made, queue) for _ in range(3)] == [["c0"], ["d0"], ["a2"]]


def test_one_that_is_to_run_alone_is_in_no_pack() -> None:
    queue = deque(map(job, ("a0", "a1", "a2")))
    assert form(packs(4), queue, alone=("a1",)) == ["a0", "a2"]


def test_without_packs_every_trial_runs_by_itself() -> None:
    assert form(packs(1), deque(map(job, ("a0", "a1")))) == ["a0"]


def test_what_the_design_asks_for_next_fills_a_pack() -> None:
    queue = deque([job("a0")])
    assert form(packs(3), queue, more=("c0", "b0", "b1", "b2")) == ["a0", "b0", "b1"]


def test_a_pack_that_does_not_fit_is_halved_and_told_and_one_that_failed_alone_runs_alone() -> None:
    lines: list[str] = []
    made, queue = packs(4, lines), deque(map(job, ("a0", "a1", "b0", "b1")))
    pack = made.form(queue.popleft(), queue, (), lambda: False)
    assert of_training(pack) == [file for one in pack[MEMBERS] for file in of_training(one)]
    ended, again = made.open(pack, {"job": pack["job"], "status": "oom", "message": "full"})
    assert (ended, names({MEMBERS: again})) == ([], ["a0", "a1", "b0", "b1"])
    assert "out of memory: full" in lines[0]
    assert "packs of 2" in lines[0]
    queue.extend(again)
    first = made.form(queue.popleft(), queue, (), lambda: False)
    assert names(first) == ["a0", "a1"]
    done: Any = {"job": "a0", "status": "done", "record": {}}
    report: Any = {"job": first["job"], "status": "done", "members": [done], "apart": {"a1": "ZeroDivisionError: mine"}}
    ended, again = made.open(first, report)
    assert [(one["job"], its["status"]) for one, its in ended] == [("a0", "done")]
    assert "a1: left its pack, and runs again alone: ZeroDivisionError: mine" in lines[1]
    queue.extendleft(again)
    assert form(made, queue) == ["a1"]
    assert form(made, queue) == ["b0", "b1"]


def test_a_shape_that_workers_cannot_take_as_one_is_not_tried_again() -> None:
    lines: list[str] = []
    made, queue = packs(2, lines), deque(map(job, ("a0", "a1", "b0", "b1", "c0", "c1")))
    pack = made.form(queue.popleft(), queue, (), lambda: False)
    _, again = made.open(pack, {"job": pack["job"], "status": "done", "members": [], "unfit": "vmap: random"})
    assert "vmap: random" in lines[0]
    queue.extendleft(reversed(again))
    assert [form(made, queue) for _ in range(5)] == [["a0"], ["a1"], ["b0"], ["b1"], ["c0", "c1"]]


def test_a_full_disk_ends_the_run_from_within_a_pack() -> None:
    made, queue = packs(2), deque(map(job, ("a0", "a1")))
    pack = made.form(queue.popleft(), queue, (), lambda: False)
    with pytest.raises(OSError, match="No space"):
        made.open(pack, {"job": pack["job"], "status": "failed", "errno": 28, "message": "No space left"})


def test_what_has_one_shape() -> None:
    shapes = {name: shape_of(one, SETTING) for name, one in CANDIDATES.items()}
    assert shapes["a"] == shapes["b"] != shapes["c"]
    assert shape_of(CANDIDATES["a"], SETTING, 4) != shapes["a"]
    assert shape_of(candidate(precision="bf16"), SETTING) != shapes["a"]
    assert shape_of(candidate(guidance={"type": "cfg", "scale": 2.0}, ema="power", target="x0"), SETTING) == shapes["a"]


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({}, None),
        ({"recompute": True}, "recompute"),
        ({"compile": "default"}, "compile"),
        ({"objective": "mean_flow", "target": "flow", "schedule": "rectified_flow"}, "objective 'mean_flow'"),
        ({"auxiliary": [{"type": "dispersive"}]}, "auxiliary 'dispersive'"),
    ],
)
def test_a_candidate_says_why_it_is_trained_alone(parts: dict[str, Any], why: str | None) -> None:
    reason = why_alone(candidate(**parts), SETTING)
    assert (reason is None) == (why is None)
    assert why is None or why in str(reason)


def test_a_part_says_by_a_capability_that_it_is_trained_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    one = candidate()
    monkeypatch.setattr(type(one.clip), "provides", lambda self: frozenset({UNPACKED}))
    assert "clip" in str(why_alone(one, SETTING))


def test_how_many_trials_are_trained_as_one() -> None:
    loss, seconds = (Objective(name, name) for name in ("loss", "seconds"))
    assert pack_size(None, "cuda", IMAGES, [seconds]) == (1, None)
    assert pack_size(4, "cpu", IMAGES, [loss]) == (4, None)
    assert pack_size("auto", "cuda", IMAGES, [loss]) == (8, None)
    for asked in (
        pack_size("auto", "cpu", IMAGES, [loss]),
        pack_size(4, "cpu", Budget(minutes=1), [loss]),
        pack_size(4, "cpu", IMAGES, [loss, seconds]),
    ):
        assert asked[0] == 1
        assert str(asked[1]).startswith(NONE)
