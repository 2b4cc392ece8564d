"""lock.json: what is frozen, what resumes, what is refused."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from toy_study import PLUGIN, TEXT, written

import ablate
from ablate.discovery import provenance
from ablate.discovery.catalog import catalog
from ablate.errors import InputError
from ablate.io.files import digest, read_json, write_json
from ablate.io.sealed import sealed
from ablate.results import load
from ablate.study import lock
from ablate.study.launch import launch
from ablate.study.load import load_study
from ablate.study.loaded import LoadedStudy

MORE = """
from ablate.api import Conditioning

class Late(Conditioning):
    name = "toy_late"
"""


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedStudy:
    return load_study(written(tmp_path))


def test_the_lock_says_what_the_study_is(tmp_path: Path, loaded: LoadedStudy) -> None:
    folder = tmp_path / "out"
    assert lock.read(folder) is None
    lock.write(folder, loaded)
    locked = lock.read(folder)
    place = f"sources/{locked['plugins']['backbone/toy_tokens']['source_hash'][:12]}/{PLUGIN.name}"
    assert locked.pop("kept")[str(PLUGIN)] == place and (folder / place).read_bytes() == PLUGIN.read_bytes()
    assert locked.pop("root") == {"absolute": str(tmp_path), "relative": ".."}  # from where its paths go out
    again = json.loads(json.dumps(lock.make(loaded)))
    dates = {one.pop("since") for each in (locked, again) for one in each["plugins"].values()}
    assert locked == again and all(datetime.fromisoformat(date).tzinfo == UTC for date in dates)
    assert locked["plugins"]["ablate"]["source_hash"] == provenance.framework()
    assert (folder / "study.original.yaml").read_text() == TEXT
    assert load_study(folder / "study.yaml").study.digest() == loaded.study.digest()
    assert locked["schema"] == 1
    assert locked["study"] == "toy_conditioning"
    assert locked["identity"] == loaded.study.digest() == digest(locked["science"])
    assert locked["choices"] == {"backbone.conditioning": ["toy_scale", "toy_shift"], "backbone.width": [8, 16]}
    assert locked["baseline"] == loaded.baseline
    assert locked["objectives"] == ["loss", "gflops"]
    assert locked["versions"]["torch"] == importlib.metadata.version("torch")
    entry = catalog((str(PLUGIN),)).entry("conditioning", "toy_shift")
    assert locked["plugins"]["conditioning/toy_shift"] == {
        "distribution": "plugin_for_tests", "version": entry.version, "source_hash": entry.source_hash,
    }  # fmt: skip
    assert "conditioning/toy_map_scale" not in locked["plugins"]  # no candidate of the study can use it
    used = {"backbone/toy_tokens", "data/toy", "schedule/linear", "optimizer/adamw", "guidance/cfg"}
    assert used <= locked["plugins"].keys()
    assert lock.check(folder, loaded) == []


def test_metrics_are_kept_with_their_columns(tmp_path: Path) -> None:
    text = TEXT.replace("samples: 200", "samples: 200\n  metrics: [fd, kid]")
    locked = lock.make(load_study(written(tmp_path, text)))
    assert locked["metrics"] == {"fd": "fd_efficientnet_lite0", "kid": "kid_efficientnet_lite0"}
    assert locked["larger_is_better"] == []
    assert {"metric/fd", "metric/kid", "features/efficientnet_lite0"} <= locked["plugins"].keys()


@pytest.mark.parametrize(
    "change",
    ["question=Why?", "design.seeds=9", "executor.workers=2", "executor=local", "profiles", "evaluate.previews=3"],
)
def test_what_only_says_how_much_or_where_goes_on(tmp_path: Path, loaded: LoadedStudy, change: str) -> None:
    lock.write(tmp_path / "out", loaded)
    if change == "profiles":
        other = load_study(written(tmp_path, TEXT[: TEXT.index("profiles:")]))
    elif change == "executor.workers=2":
        other = load_study(written(tmp_path), ["executor={type: ray, workers: 2}"])
    else:
        other = load_study(written(tmp_path), [change])
    assert lock.check(tmp_path / "out", other) == []
    before = (tmp_path / "out" / "lock.json").read_bytes()
    lock.write(tmp_path / "out", other)
    if change == "design.seeds=9":  # nobody has seen a result: the first look will be at nine
        assert lock.read(tmp_path / "out")["analysis"]["looks"] == [list(range(9))]
    else:
        assert (tmp_path / "out" / "lock.json").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "differences"),
    [
        (["budget.images=64"], ["budget.images: 3200 -> 64"]),
        (["budget={steps: 5}"], ["budget.images: 3200 -> (not there)", "budget.steps: (not there) -> 5"]),
        (["base.backbone.depth=3", "seed=4"], ["base.backbone.depth: 2 -> 3", "seed: 3 -> 4"]),
        (["vary.backbone.width=[8]"], ["vary.backbone.width: [8, 16] -> [8]"]),
        (["study=other"], ['study: "toy_conditioning" -> "other"']),
        (["base.backbone.groups=4", "seed=4"], ["seed: 3 -> 4"]),  # a field that is not read
    ],
)
def test_another_study_is_refused_with_what_differs(
    tmp_path: Path, loaded: LoadedStudy, changes: list[str], differences: list[str]
) -> None:
    folder = tmp_path / "out"
    lock.write(folder, loaded)
    with pytest.raises(InputError) as caught:
        lock.check(folder, load_study(written(tmp_path), changes))
    first, *lines, last = str(caught.value).splitlines()
    assert first.startswith(f"{folder}: holds another study, 'toy_conditioning'")
    assert lines == [f"  {line}" for line in differences]
    assert "--out" in last


def test_a_file_may_be_written_otherwise_and_be_the_same_study(tmp_path: Path, loaded: LoadedStudy) -> None:
    lock.write(tmp_path / "out", loaded)
    text = TEXT.replace("schedule: linear", "schedule: {type: linear, steps: 1_000}").replace("lr: 1e-3", "lr: 0.001")
    assert lock.check(tmp_path / "out", load_study(written(tmp_path, text))) == []


def test_choices_of_all_stay_as_they_were(tmp_path: Path) -> None:
    text = TEXT.replace("[toy_scale, toy_shift]", "all")
    first = load_study(written(tmp_path, text))
    lock.write(tmp_path / "out", first)
    (tmp_path / "more.py").write_text(MORE)
    later = [str(tmp_path / "more.py")]
    path = written(tmp_path, text)
    grown = load_study(path, plugins=later)
    locked = lock.read(tmp_path / "out")
    assert "toy_late" in grown.space.dimensions[0].choices
    frozen = load_study(path, plugins=later, frozen=lock.frozen_vary(locked))
    assert frozen.space.dimensions == first.space.dimensions
    assert frozen.space.options == first.space.options
    assert frozen.proposals() == first.proposals()
    assert lock.check(tmp_path / "out", frozen) == []


def test_frozen_ranges_and_specs_come_back(tmp_path: Path) -> None:
    text = TEXT.replace("toy_one_factor", "toy_search").replace(
        "[toy_scale, toy_shift]",
        "[{type: toy_scale, gain: 3.0}, toy_shift]\n  backbone.depth: all\n  optimizer.lr: all",
    )
    first = load_study(written(tmp_path, text))
    lock.write(tmp_path / "out", first)
    frozen = lock.frozen_vary(lock.read(tmp_path / "out"))
    assert frozen["backbone.conditioning"] == [{"type": "toy_scale", "gain": 3.0}, "toy_shift"]
    assert frozen["backbone.depth"] == {"low": 1, "high": 4, "log": False, "step": None}
    assert load_study(tmp_path / "study.yaml", frozen=frozen).space.dimensions == first.space.dimensions


def test_source_that_no_complete_trial_stands_on_may_change(tmp_path: Path) -> None:
    """The lock takes the new hash, and a line says so; what is the same source keeps its date."""
    shutil.copy(PLUGIN, tmp_path / "mine.py")
    path, folder = written(tmp_path, TEXT.replace(str(PLUGIN), "mine.py")), tmp_path / "out"
    lock.write(folder, load_study(path))
    before = lock.read(folder)["plugins"]
    (tmp_path / "mine.py").write_text((tmp_path / "mine.py").read_text().replace("0.1, 10", "0.2, 10"))
    changed = load_study(path)  # in the same process: what is launched is what the file says now
    [line] = lock.check(folder, changed)
    lock.write(folder, changed)
    after = lock.read(folder)["plugins"]
    then, now = (plugins["conditioning/toy_scale"]["source_hash"][:12] for plugins in (before, after))
    assert f"conditioning/toy_scale ({then} -> {now})" in line and "no complete trial" in line and then != now
    assert "schedule/linear" not in line and before["schedule/linear"] == after["schedule/linear"]
    assert lock.check(folder, changed) == []


def test_a_lock_of_older_hashes_is_read_and_says_once_that_it_cannot_be_compared(tmp_path, loaded) -> None:
    folder = tmp_path / "out"
    lock.write(folder, loaded)
    locked = read_json(folder / "lock.json")
    del locked["hashes"], locked["plugins"]["ablate"]
    for one in locked["plugins"].values():
        one["source_hash"] = "0" * 64
    write_json(folder / "lock.json", sealed(locked))
    [line] = lock.check(folder, loaded)
    assert "cannot be compared" in line
    lock.write(folder, loaded)
    assert lock.check(folder, loaded) == []


def test_other_versions_are_a_warning(tmp_path: Path, loaded: LoadedStudy) -> None:
    folder = tmp_path / "out"
    lock.write(folder, loaded)
    locked = read_json(folder / "lock.json")
    locked["versions"]["torch"] = "2.0.0"
    write_json(folder / "lock.json", sealed(locked))
    [warning] = lock.check(folder, loaded)
    assert f"begun with torch 2.0.0, this is {importlib.metadata.version('torch')}" in warning


WRONG = [
    ("study", 7),
    ("options", {"a": 1}),
    ("versions", []),
    ("plugins", {"a/b": {}}),
    ("baseline", "x"),
    ("kept", {"a": None}),
]


@pytest.mark.parametrize("change", [{"larger_is_better": ["loss"]}, {"science": {}}, {"objectives": ["gflops"]}])
def test_a_lock_that_was_changed_since_it_was_written_is_refused(tmp_path: Path, loaded: LoadedStudy, change) -> None:
    """Which way a metric is better stands in it: a changed word would turn a front around."""
    lock.write(tmp_path, loaded)
    write_json(tmp_path / "lock.json", {**read_json(tmp_path / "lock.json"), **change})
    with pytest.raises(InputError, match=r"lock\.json: is not as it was written"):
        lock.read(tmp_path)
    results = load(tmp_path)
    assert results.lock == {} and any("not as it was written" in line for line in results.warnings)
    with pytest.raises(InputError, match="which way"):
        results.front()


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_lock_of_other_types_is_one_message(tmp_path: Path, loaded: LoadedStudy, key: str, value: object) -> None:
    write_json(tmp_path / "lock.json", {**lock.make(loaded), key: value})
    with pytest.raises(InputError, match="is no lock file of this version"):
        lock.check(tmp_path, loaded)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_a_folder_that_no_file_can_be_called_is_one_message(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="is no name of a file"):
        launch(written(tmp_path), out=tmp_path / name)
    with pytest.raises(InputError, match="is no name of a file"):
        load(tmp_path / name)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 99}', '{"schema": 1, "identity": "x"}', "\xff"])
def test_a_damaged_lock_is_one_message(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock.json").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"lock\.json: .*--out"):
        lock.read(tmp_path)


def test_a_study_given_as_a_mapping_is_written_as_yaml(tmp_path: Path, loaded: LoadedStudy) -> None:
    lock.write(tmp_path / "out", load_study(loaded.document.data))
    assert load_study(tmp_path / "out" / "study.yaml").study.digest() == loaded.study.digest()


def test_a_search_over_several_families_knows_every_choice():
    """Also those that fit under a choice above them which is not the base's."""
    study = Path(__file__).parents[2] / "studies" / "pareto_search.yaml"
    used = load_study(study, overrides=["data={type: digits, size: 16}"]).used
    assert {"backbone/dit", "backbone/uvit", "backbone/unet"} < set(used)
    assert {"conditioning/adaln_zero", "conditioning/adagn", "fusion/renorm_add", "schedule/exponential"} < set(used)


def test_the_identities_of_an_older_folder_are_those_of_today() -> None:
    """An option that is added changes no hash: studies of before go on, and their trials are found again."""
    older = Path(__file__).parents[1] / "fixtures" / "older"
    measured = {json.loads(file.read_text())["config_hash"] for file in older.glob("trials/*/record.json")}
    assert len(measured) == 2
    assert measured == set(ablate.plan(older / "study.yaml")["config_hash"])
