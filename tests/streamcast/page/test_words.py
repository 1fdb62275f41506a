"""The page explains its words by the series' own bars."""

from __future__ import annotations

import pytest

from streamcast.page import words
from streamcast.spec.model_spec import parse_duration


@pytest.mark.parametrize(
    ("season", "freq", "expected"),
    [
        (168, "1h", "the same hour last week"),
        (24, "1h", "the same hour yesterday"),
        (96, "15min", "the same time yesterday"),
        (7, "1d", "the same weekday last week"),
        (52, "1w", "the same week last year"),
        (12, "30d", "the same month last year"),
        (60, "1min", "the same minute of the last hour"),
        (24, "1min", "the value 24 minutes earlier"),
        (5, "7h", "the value 35 hours earlier"),
        (3, "1d", "the value 3 days earlier"),
        (1, "1h", "the last value"),
    ],
)
def test_naive_is_named_by_what_it_repeats(season: int, freq: str, expected: str) -> None:
    assert words.naive(season, parse_duration(freq)) == expected
