"""How durations and sizes are written, and read again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot.store import wording


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0, "0 µs"),
        (7e-6, "7 µs"),
        (0.0351, "35.1 ms"),
        (1.234, "1.23 s"),
        (59.4, "59.4 s"),
        (200.0, "3 min 20 s"),
        (7240.0, "2 h 00 min"),  # and not 7.24e+03 s
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert wording.duration(seconds) == text


@given(st.floats(0, 1e10))
def test_no_duration_has_an_exponent(seconds: float) -> None:
    assert "e+" not in wording.duration(seconds)


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("40 µs", 4e-5), ("40us", 4e-5), ("15m", 900), ("2", 2)]
)
def test_what_is_written_is_read(text: str, seconds: float) -> None:
    assert wording.seconds(text) == pytest.approx(seconds)
