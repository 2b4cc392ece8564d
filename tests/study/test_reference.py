"""The reference point of a study: what is none is refused when the study is read; it is in no identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from studies_for_tests import study

from ablate.errors import InputError
from ablate.study import lock
from ablate.study.load import load_study
from ablate.study.reference import check_reference

POINT = {"kid": 3.0, "gflops": 1e6}


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"kid": 3.0}, "reference: a reference point has a number for each objective; missing: gflops"),
        ({**POINT, "kidd": 1}, "reference.kidd: 'kidd' is no objective of this study; did you mean 'kid'"),
        ({"kid": "x", "gflops": 1}, "reference.kid: expected a number, not 'x'"),
        ({"kid": float("nan"), "gflops": 1}, "reference.kid: expected a number, not nan"),
    ],
)
def test_what_is_no_reference_point_is_refused(reference: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_study(study(reference=reference))


def test_a_point_that_the_baseline_already_costs_is_refused_before_anything_runs() -> None:
    assert check_reference(load_study(study(reference=POINT))) == []
    with pytest.raises(InputError, match=r"reference.gflops: 1e-12 lies inside the front: the baseline has"):
        check_reference(load_study(study(reference={**POINT, "gflops": 1e-12})))


def test_it_is_in_no_identity_and_another_one_is_told(tmp_path: Path) -> None:
    plain, fixed = load_study(study()), load_study(study(reference=POINT))
    assert plain.study.digest() == fixed.study.digest()
    lock.write(tmp_path, plain)
    assert lock.read(tmp_path)["reference"] == {}  # type: ignore[index]
    assert lock.check(tmp_path, fixed) == []
    lock.write(tmp_path, fixed)
    assert lock.read(tmp_path)["reference"] == POINT  # type: ignore[index]
    lines = lock.check(tmp_path, load_study(study(reference={**POINT, "kid": 5.0})))
    assert lines == [f"another reference point, up to which hypervolumes count: {POINT} -> {POINT | {'kid': 5.0}}"]
