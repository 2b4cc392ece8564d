"""The fronts of two studies, compared where their values mean the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import ablate as run
from results_folders import METRIC, Study

from ablate.cli.compare import plain
from ablate.errors import InputError
from ablate.results import Results, load
from ablate.results.front import hypervolume


def made(
    path: Path, values: dict[str, tuple[float, float]], seeds: tuple[int, ...] = (0, 1, 2), **more: object
) -> Results:
    """A study of candidates {name: (kid, Gflops)}."""
    rng, study = np.random.default_rng(len(values)), Study(path)
    lock, identity = more.pop("lock", {}), more.pop("identity", {})
    study.head(lock={"baseline": {"block": next(iter(values))}, **lock})  # type: ignore[dict-item]
    for name, (kid, gflops) in values.items():
        for seed in seeds:
            noisy = kid * float(np.exp(0.02 * rng.normal()))
            study.trial({"block": name}, seed, {METRIC: noisy}, gflops=gflops, identity=identity, **more)  # type: ignore[arg-type]
    return load(path)


OLD = {"a": (4.0, 1.0), "b": (3.0, 2.0), "c": (2.0, 4.0), "d": (5.0, 5.0)}
NEW = {"a": (4.0, 1.0), "e": (2.2, 2.0), "f": (1.9, 4.1), "g": (6.0, 6.0)}


def test_two_fronts_beside_each_other(tmp_path: Path) -> None:
    old, new = made(tmp_path / "old", OLD), made(tmp_path / "new", NEW)
    found = old.compare(new, reference={"kid": 6.0, "gflops": 5.0})
    table = found.table.set_index(["study", "candidate"])
    assert (
        len(table) == 6 and table.loc[("new", "e"), "on_joint_front"] and not table.loc[("old", "b"), "on_joint_front"]
    )
    assert table.loc[("new", "e"), "probability"] > 0.99 and table.loc[("old", "b"), "probability"] < 0.01
    volumes = found.hypervolumes.set_index("study")
    points = old.front().query("on_front")[[METRIC, "gflops"]].to_numpy()
    assert volumes.loc["old", "value"] == pytest.approx(hypervolume(points, np.array([6.0, 5.0])))
    assert (volumes["low"] < volumes["expected"]).all() and (volumes["expected"] < volumes["high"]).all()
    assert found.larger < 0.01 and found.covered[0] >= 1 / 3
    assert new.compare(old, reference={"kid": 6.0, "gflops": 5.0}).larger > 0.99


def test_a_study_and_its_own_copy_are_told_apart_by_nothing(tmp_path: Path) -> None:
    found = made(tmp_path / "one", OLD).compare(made(tmp_path / "two", OLD))
    assert 0.4 < found.larger < 0.6 and found.covered == (1.0, 1.0)


def test_other_seeds_make_a_comparison_less_sure(tmp_path: Path) -> None:
    """A seed moves all candidates of a study, which within a study cancels."""

    def moved(path: Path, seeds: tuple[int, ...], better: float) -> Results:
        study = Study(path).head(lock={"baseline": {"block": "a"}})
        rng = np.random.default_rng(seeds[0])
        moves = dict(zip(seeds, np.exp(0.3 * rng.normal(size=len(seeds))), strict=True))
        for name, (kid, gflops) in OLD.items():
            for seed in seeds:
                value = better * kid * moves[seed] * float(np.exp(0.01 * rng.normal()))
                study.trial({"block": name}, seed, {METRIC: value}, gflops=gflops)
        return load(path)

    one = moved(tmp_path / "one", (0, 1, 2), 1.0)
    other = moved(tmp_path / "other", (7, 8, 9), 1.0)
    assert 0.02 < one.compare(other).larger < 0.98, "three seeds of 30 % each tell no difference between the studies"


def test_without_seeds_two_fronts_are_compared_by_their_values_alone(tmp_path: Path) -> None:
    found = made(tmp_path / "old", OLD, (0,)).compare(made(tmp_path / "new", NEW))
    assert found.table["probability"].isna().all() and np.isnan(found.larger)
    assert any("one seed each" in note for note in found.notes)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"data_hash": "b" * 64}, "trained on different data"),
        ({"identity": {"samples": 500}}, "differ in samples between the two.*old: 2000; new: 500.*ablate evaluate DIR"),
        ({"identity": {"reference_hash": "b" * 64}}, "differ in reference_hash between the two"),
        ({"lock": {"larger_is_better": ["kid"]}}, "better when larger in one of the studies"),
    ],
)
def test_what_does_not_mean_the_same_is_not_compared(tmp_path: Path, more: dict[str, object], message: str) -> None:
    old = made(tmp_path / "old", OLD, data_hash="a" * 64)
    new = made(tmp_path / "new", NEW, **{"data_hash": "a" * 64, **more})
    with pytest.raises(InputError, match=message):
        old.compare(new)


def test_other_objectives_and_points_inside_a_front_are_refused(tmp_path: Path) -> None:
    old, new = made(tmp_path / "old", OLD), made(tmp_path / "new", NEW)
    with pytest.raises(InputError, match="new has not measured fd_x, an objective of old2; it has measured kid"):
        made(tmp_path / "old2", OLD)
        Study(tmp_path / "old2").head(lock={"objectives": ["fd", "gflops"], "metrics": {"fd": "fd_x"}, "baseline": {}})
        load(tmp_path / "old2").compare(new)
    with pytest.raises(InputError, match="lies inside the front: a point of"):
        old.compare(new, reference={"kid": 3.0, "gflops": 9.0})
    with pytest.raises(InputError, match="in two objectives or more"):
        old.compare(new, ["kid"])


def test_the_command_prints_a_table_a_document_and_a_figure(tmp_path: Path) -> None:
    made(tmp_path / "old", OLD), made(tmp_path / "new", NEW)
    folders = [str(tmp_path / "old"), str(tmp_path / "new")]
    done = run("compare", *folders, "--reference", "{kid: 9, gflops: 9}", "--figure", str(tmp_path / "c.png"))
    assert done.returncode == 0, done.stderr
    assert "hypervolume up to kid_efficientnet_lite0 9, gflops 9: old" in done.stdout and "● > 99 %" in done.stdout
    assert (tmp_path / "c.png").stat().st_size > 5000
    document = json.loads(json.dumps(plain(load(folders[0]).compare(load(folders[1]))), allow_nan=False))
    assert {row["study"] for row in document["front"]} == {"old", "new"} and document["larger"] < 0.5
    wrong = run("compare", *folders, "--reference", "9")
    assert wrong.returncode == 2 and wrong.stderr.startswith("error: --reference: expected a point such as")
