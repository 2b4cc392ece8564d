"""A study whose candidates inherit, judged after whatever happened to it: nothing twice, or missing, and true names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from segments_for_tests import timeless
from studies_for_tests import ledger
from trial_files import record_of, records_of

from ablate.kinds.start import parent_of
from ablate.study.load import load_study
from ablate.worker import records, teachers, trial_run


def assert_lineage(out: Path, study: Path | dict[str, Any], candidates: int, again: Path, most: int = 1000) -> int:
    """Hold a finished study against what its records say of parents, and return how many of its trials have one.

    again: an empty folder, in which children are trained anew, `most` of them: each has to give what its record says.
    """
    loaded, found = load_study(study), records_of(out)
    asked = [trial for trial in ledger(out) if trial.state.name == "COMPLETE"]
    assert not [trial for trial in ledger(out) if not trial.state.is_finished()]
    assert len({json.dumps(trial.params, sort_keys=True) for trial in asked}) == len(asked) == candidates
    seeds = loaded.study.design.seeds
    assert len(found) == candidates * seeds == len(list((out / "trials").iterdir()))  # nothing begun and left
    starts = {(json.dumps(trial.params, sort_keys=True), trial.user_attrs.get("start")) for trial in asked}
    children = [record for record in found.values() if "inherited" in record]
    for trial, record in found.items():
        told = record.get("inherited")
        start = {} if told is None else {"start": parent_of(told["parent"])}
        candidate = loaded.candidate({**record["choices"], **start})
        assert loaded.trial_settings.digest(candidate) == record["config_hash"] and record["state"] == records.COMPLETE
        assert (json.dumps(record["choices"], sort_keys=True), start.get("start")) in starts, trial
        if told is not None:
            parent = found[f"{told['parent']}-s{record['seed']}"]
            assert parent["state"] == records.COMPLETE and parent["ended"] <= record["ended"]
            weights = teachers.weights_hash(out / "trials" / parent["trial"])
            assert record["teacher"] == {"trial": parent["trial"], "weights": weights}, trial
            assert told["ancestors"] == parent.get("inherited", {"ancestors": 0})["ancestors"] + 1
    for child in sorted(children, key=lambda record: -record["inherited"]["ancestors"])[:most]:
        folder = again / child["trial"]
        folder.mkdir(parents=True)
        report = trial_run.run({**records.job(out / "trials" / child["trial"]), "folder": str(folder)}, lambda: False)
        assert report["status"] == "done"
        then, now = (dict(one) for one in (child, record_of(folder)))
        assert then["files"] == now["files"], child["trial"]  # the samples, to the bit
        assert _untouched(then) == _untouched(now), child["trial"]
    return len(children)


def _untouched(record: dict[str, Any]) -> Any:
    return {key: value for key, value in timeless(record).items() if key != "device_busy"}
