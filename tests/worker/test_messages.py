"""Jobs are checked where they come in, and are the JSON that they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ablate.errors import InputError
from ablate.worker.messages import Record, measure_job, trial_job
from ablate.worker.records import read

OLDER = Path(__file__).parents[1] / "fixtures" / "older" / "trials"


@pytest.mark.parametrize("trial", sorted(OLDER.iterdir()), ids=lambda folder: folder.name)
def test_jobs_and_records_of_an_older_folder_have_these_types(trial: Path) -> None:
    job = json.loads((trial / "job.json").read_text())
    before = json.dumps(job)
    assert trial_job(job) is job and json.dumps(job) == before
    record = read(trial)
    assert record is not None
    assert Record.__required_keys__ <= record.keys() <= Record.__required_keys__ | Record.__optional_keys__


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seed": "0"}, "seed: Input should be a valid integer"), ({"candidate": None}, "candidate: Input should be")],
)
def test_a_key_of_another_type_is_named(change: dict[str, Any], message: str) -> None:
    job = json.loads(next(OLDER.glob("*/job.json")).read_text())
    with pytest.raises(InputError, match=message):
        trial_job({**job, **change})


def test_a_measurement_needs_what_it_is_asked_for() -> None:
    job = json.loads(next(OLDER.glob("*/job.json")).read_text())
    with pytest.raises(InputError, match="asked: Field required"):
        measure_job(job)
