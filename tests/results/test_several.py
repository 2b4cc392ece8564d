"""`ablate.load([DIR, DIR])`: several studies as one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from results_folders import METRIC, Study

import ablate
from ablate.errors import InputError
from ablate.results.several import SeveralResults


def two(folder: Path, identity: dict[str, object] | None = None) -> tuple[Study, Study]:
    """Two studies of one name, measured alike unless an identity says otherwise for the second."""
    first, second = Study(folder / "first"), Study(folder / "second")
    for study, shift, how in ((first, 0.0, None), (second, -0.05, identity)):
        study.head(lock={"baseline": {"schedule": "cosine"}})
        for i, name in enumerate(("cosine", "linear")):
            for seed in range(2):
                values = {METRIC: 0.2 + 0.05 * i + shift + 0.001 * seed}
                line = [(1000.0, 0.5), (2000.0, 0.4)]
                study.trial({"schedule": name}, seed, values, gflops=1.0 + i + shift, curve=line, identity=how)
    second.trial({"weighting": "snr"}, 0, state="failed")
    return first, second


def test_tables_are_joined_with_the_study_first(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    both = ablate.load([first.path, second.path])
    assert isinstance(both, SeveralResults) and len(both) == 2
    assert both.names == ["conditioning (first)", "conditioning (second)"]
    for name in ("trials", "metrics", "curves"):
        table, parts = getattr(both, name), [getattr(one, name) for one in both]
        assert table.columns[0] == "study" and isinstance(table["study"].dtype, pd.CategoricalDtype)
        assert len(table) == sum(map(len, parts)) > 0
        for study, part in zip(both.names, parts, strict=True):
            own = table[table["study"] == study].drop(columns="study").reset_index(drop=True)
            found, expected = (frame.astype(object).where(frame.notna(), None) for frame in (own[part.columns], part))
            pd.testing.assert_frame_equal(found, expected)
    assert len(both.probes) == 0
    assert list(both.trials.groupby("study", observed=True).size()) == [4, 5]
    assert both["conditioning (first)"].path == first.path
    assert "conditioning (second)" in repr(both) and "<table>" in both._repr_html_()


def test_one_front_over_all(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    table = ablate.load([first.path, second.path]).front(["kid", "gflops"])
    assert len(table) == 5  # the same candidate of two studies is two
    best = table[table["on_front"]]
    assert list(best["study"]) == ["conditioning (second)"] and list(best["candidate"]) == ["baseline"]
    alone = ablate.load(first.path).front(["kid", "gflops"]).set_index("candidate")
    here = table[table["study"] == "conditioning (first)"].set_index("candidate")
    assert here.loc["linear", METRIC] == alone.loc["linear", METRIC] and not here["on_front"].any()
    assert set(table["config_hash"].dropna()) <= set(ablate.load([first.path, second.path]).trials["config_hash"])


def test_what_may_not_be_compared_is_refused(tmp_path: Path) -> None:
    first, second = two(tmp_path, identity={"samples": 500})
    both = ablate.load([first.path, second.path])
    with pytest.raises(InputError, match="samples"):
        both.front(["kid", "gflops"])
    assert len(both.front(["gflops"])) == 5
    with pytest.raises(InputError, match="did you mean 'conditioning \\(first\\)'"):
        both["conditioning (frist)"]


def test_wrong_folders_are_one_message(tmp_path: Path) -> None:
    first, _ = two(tmp_path)
    with pytest.raises(InputError, match="is given twice"):
        ablate.load([first.path, first.path / ".." / "first"])
    with pytest.raises(InputError, match="at least one folder"):
        ablate.load([])
    with pytest.raises(InputError, match="there is no such folder"):
        ablate.load([first.path, tmp_path / "nowhere"])
