"""Packed JSON: the first line is read alone, rows come back to the bit, and what is damaged is told."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ablate.io import packed
from ablate.training.health import Curve, speeds

VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(),
    st.none(),
    st.sampled_from(["", "é"]),
    st.booleans(),
)
ROWS = st.lists(st.dictionaries(st.sampled_from("abcd"), VALUES), max_size=12)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS)
def test_rows_come_back_as_they_were(rows: list[dict[str, Any]]) -> None:
    stored = packed.content(packed.line({"rows": packed.by_columns(rows)}))["rows"]
    assert json.dumps(packed.by_rows(stored)) == json.dumps(rows)  # -0.0, 1 and 1.0 and True, the order of keys


def test_a_column_that_follows_from_the_others_is_not_stored() -> None:
    curve = Curve()
    for i in range(1, 5):
        curve.add({"loss": math.sin(i)})
        curve.close_row(64 * i, 1e-3, 0.37 * i**1.5)
    derived = {"images_per_second": speeds}
    stored = packed.by_columns(curve.rows, derived)
    assert stored[0]["columns"]["images_per_second"] == packed.DERIVED
    assert json.dumps(packed.by_rows(stored, derived)) == json.dumps(curve.rows)
    other = [{**row, "images_per_second": 1.0} for row in curve.rows]
    assert packed.by_rows(packed.by_columns(other, derived), derived) == other


def test_the_first_line_is_read_alone_and_any_tool_reads_both(tmp_path: Path) -> None:
    file = tmp_path / "file.jsonl.gz"
    packed.write(file, {"first": 1}, packed.line({"second": [2]}))
    first, second = packed.read(file)
    assert first == {"first": 1} and packed.content(second) == {"second": [2]}
    lines = gzip.decompress(file.read_bytes()).splitlines()
    assert [json.loads(line) for line in lines] == [{"first": 1}, {"second": [2]}]


@pytest.mark.parametrize("cut", [0, 1, 15, 25, -1])
def test_what_is_cut_short_is_told(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "file.jsonl.gz"
    packed.write(file, {"first": 1}, packed.line({"second": [2]}))
    content = file.read_bytes()
    file.write_bytes(content[:cut])
    with pytest.raises(ValueError, match=r".+"):
        packed.content(packed.read(file)[1])
