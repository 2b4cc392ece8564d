"""Constraints that no candidate keeps are refused before any training, with the nearest."""

from __future__ import annotations

from typing import Any

import pytest

import ablate
from ablate.errors import InputError

BASE = {"backbone": {"type": "dit", "patch": 4, "depth": 2, "heads": 2, "width": 32}, "batch": 32}


def study(constraints: dict[str, Any], design: Any = "grid", vary: Any = None) -> dict[str, Any]:
    return {
        "study": "bounds",
        "data": "digits",
        "base": BASE,
        "vary": vary or {"backbone.width": [32, 16, 64], "target": ["v", "x0"]},
        "design": design,
        "budget": {"images": 3200},
        "evaluate": {"metrics": ["kid"], "samples": 200},
        "objectives": ["kid", "gflops"],
        "constraints": constraints,
    }


def params(width: int) -> int:
    return int(ablate.cost({"backbone": {**BASE["backbone"], "width": width}}, shape=(1, 8, 8), classes=10).params)


@pytest.mark.parametrize("design", ["grid", {"type": "search", "algorithm": "random", "trials": 4}])
def test_the_nearest_is_named_with_its_value(design: Any) -> None:
    message = rf"no candidate keeps them; the nearest is .*16.*, with params of \S+ \(at most {params(16) / 2:.4g}\)"
    with pytest.raises(InputError, match=message) as error:
        ablate.plan(study({"params": {"at_most": params(16) / 2}}, design))
    assert "constraints" in str(error.value)


def test_several_bounds_are_weighed_by_how_far_beyond_them_a_candidate_lies() -> None:
    bounds = {"params": {"at_least": params(64) * 1.1}, "gflops": {"at_most": 1e-3}}
    with pytest.raises(InputError, match=r"nearest is .*64.*, with params of \S+ \(at least \S+\) and gflops of \S+"):
        ablate.plan(study({"params": {"at_least": params(64) * 1.1}, "gflops": {"at_most": 1.0}}))
    with pytest.raises(InputError, match="no candidate keeps them"):
        ablate.plan(study(bounds))


def test_what_one_candidate_keeps_is_no_problem() -> None:
    frame = ablate.plan(study({"params": {"at_most": params(16)}}))
    assert not any("constraints" in line for line in frame.attrs["warnings"])


def test_of_a_range_the_ends_are_looked_at_and_it_is_a_warning() -> None:
    vary = {"backbone.width": [32, 16], "optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}}
    design = {"type": "search", "algorithm": "random", "trials": 4}
    frame = ablate.plan(study({"params": {"at_most": 10}}, design, vary))
    (line,) = [line for line in frame.attrs["warnings"] if "constraints" in line]
    assert "none of 2 networks that were counted keeps them; the nearest is" in line


def test_what_is_known_after_training_alone_is_not_looked_at() -> None:
    frame = ablate.plan(study({"kid": {"at_most": 1e-9}}))
    assert not any("constraints" in line for line in frame.attrs["warnings"])
