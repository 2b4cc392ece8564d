"""Times and sizes with units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ablate.kinds.executor import Limits
from ablate.spec.component import Config
from ablate.spec.explain import explain
from ablate.spec.quantities import format_like, format_seconds, format_size, seconds, size


class Holder(Config):
    limits: Limits | None = None


@pytest.mark.parametrize(
    ("text", "value"), [("2h", 7200), ("90 min", 5400), ("1h30m", 5400), ("60", 60), ("0.5d", 43200), ("1.5 s", 1.5)]
)
def test_times(text: str, value: float) -> None:
    assert seconds(text) == value == seconds(value)


@pytest.mark.parametrize(
    ("text", "value"), [("20GiB", 20 << 30), ("500 MB", 500_000_000), ("1.5kib", 1536), ("7", 7), ("2TB", 2 * 10**12)]
)
def test_sizes(text: str, value: int) -> None:
    assert size(text) == value == size(value)


@pytest.mark.parametrize("text", ["", "h", "2 hours", "1h-3m", "-5s", "1e3s", "20GiB", "nan", "2h x"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected seconds, or a time such as"):
        seconds(text)


@pytest.mark.parametrize("text", ["", "GiB", "20 gigs", "1GiB2MiB", "-1MB", "2h", "inf"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected bytes, or a size such as"):
        size(text)


@given(st.integers(1, 10**7))
def test_what_is_formatted_reads_back(value: int) -> None:
    assert seconds(format_seconds(value)) == value
    assert abs(size(format_size(value << 10)) - (value << 10)) <= 0.001 * (value << 10)


@pytest.mark.parametrize(
    ("text", "value", "told"), [("1MiB", 2**26, "64 MiB"), ("90min", 7200, "2h"), ("5", 64, "64"), ("a word", 1, "1")]
)
def test_a_bound_is_told_in_the_kind_of_unit_that_was_given(text: str, value: float, told: str) -> None:
    assert format_like(text, value) == told


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (20, "expected at least 64 MiB, not 20 bytes; write the unit, as in 20GiB"),
        (2**60, f"expected at most 1024 TiB, not {2**60} bytes; write the unit, as in 20GiB"),
        ("1KiB", "expected at least 64 MiB, not '1KiB'"),
    ],
)
def test_a_number_of_bytes_beyond_a_bound_is_told_as_one(number: object, told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Holder.model_validate({"limits": {"memory": number}})
    assert explain(caught.value.errors()[0], Holder, "it", ["limits"]) == told
