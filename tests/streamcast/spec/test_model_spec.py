"""A spec is a value: it refuses what makes no sense, and its document and digest say all of it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.streams import SPECS
from streamcast.spec.model_spec import (
    Column,
    ModelSpec,
    Scale,
    SeriesSpec,
    TargetBars,
    format_duration,
    parse_duration,
    spread,
)
from streamcast.topics.observations import Decoder


@given(st.integers(1, 10**15))
def test_a_duration_reads_back_as_it_was_written(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds)) == milliseconds


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("90000", None), ("15min", 900_000), (" 1 H ", 3_600_000), ("2d", 172_800_000), (250, 250), ("1w", 604_800_000)],
)
def test_a_duration_is_a_number_and_a_unit(text: object, milliseconds: int | None) -> None:
    if milliseconds is None:
        with pytest.raises(ValueError, match="such as 15min"):
            parse_duration(text)
    else:
        assert parse_duration(text) == milliseconds


@pytest.mark.parametrize("value", [True, 1.5, None, "", "min", "-5min", "1.5h", "5 minutes", "5min\n5min"])
def test_what_is_no_duration_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(ValueError, match="such as 15min"):
        parse_duration(value)


def series(**given: Any) -> SeriesSpec:
    return SeriesSpec(**{"columns": (Column(name="y"),), "freq": "1min", **given})


def spec(**given: Any) -> ModelSpec:
    return ModelSpec(**{"series": series(), "horizon": 3, "network": {"kind": "gru"}, **given})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"columns": ()}, "at least 1 item"),
        ({"columns": (Column(name="y"), Column(name="y"))}, "distinct names"),
        ({"columns": (Column(name="y", categories=("a",)),)}, "a target must be a number"),
        ({"freq": 0}, "greater than 0"),
        ({"freq": 10**30}, "less than or equal"),
        ({"freq": "9" * 5000 + "d"}, "digits"),
        ({"offset": 10**30}, "less than or equal"),
        ({"grace": "1min"}, "grace is for ticks"),
        ({"mode": "ticks", "grace": "-1min"}, "such as 15min"),
        ({"mode": "ticks", "grace": "10w"}, "more than 10000 bars"),
        ({"max_gap": -1}, "greater than or equal to 0"),
        ({"colums": ()}, "Extra inputs"),
    ],
)
def test_a_series_spec_that_makes_no_sense_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        series(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"name": ""},
        {"name": 'a"b'},
        {"name": "a\nb"},
        {"name": "a\\b"},
        {"name": "a", "categories": ()},
        {"name": "a", "categories": ("x", "x")},
        {"name": "a", "categories": ("x",), "aggregate": "mean"},
        {"name": "a", "aggregate": "median"},
    ],
)
def test_a_column_that_makes_no_sense_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Column(**given)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), min_size=1, unique=True))
def test_every_column_name_that_a_spec_takes_can_be_decoded(names: list[str]) -> None:
    try:
        columns = tuple(Column(name=name) for name in names)
    except ValidationError:
        return
    assert len(Decoder(series(columns=columns)).decode([])[0]) == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"horizon": 0}, "greater than or equal to 1"),
        ({"quantiles": ()}, "0.5"),
        ({"quantiles": (0.1, 0.9)}, "must hold 0.5"),
        ({"quantiles": (0.5, 0.1)}, "rise strictly"),
        ({"quantiles": (0.5, 0.5)}, "rise strictly"),
        ({"quantiles": (0.0, 0.5)}, "between 0 and 1"),
        ({"quantiles": (0.5, float("nan"))}, "between 0 and 1"),
        ({"lags": 12}, "such as 16"),
        ({"scales": (Scale(every="90s"),)}, "multiple of the base 1min"),
        ({"scales": (Scale(every="1min"),)}, "coarser than 1min"),
        ({"scales": (Scale(every="1h"), Scale(every="5min"))}, "coarser than 1h"),
        ({"scored": (4,)}, "between 1 and the horizon 3"),
        ({"scored": (0,)}, "between 1 and the horizon 3"),
        ({"calendar": ("fortnight",)}, "'hour', 'half-day', 'day', 'week' or 'year'"),
        ({"schema_version": 5}, "Input should be 1, 2, 3 or 4"),
        ({"season": (7,), "further": (7,)}, r"season \(7,\) and further \(7,\) name 7 twice: leave one out"),
        ({"season": (24, 168, 24)}, "name 24 twice"),
        ({"season": (4, 9), "targets": TargetBars(back=(1,))}, "needs one number for each season"),
        (
            {"season": (4,), "targets": TargetBars(back=(1,), alike=2)},
            r"\(4,\) in bars of 1min: set alike to 0",
        ),
        ({"season": (1440,), "targets": TargetBars(back=(1,), alike=2, week=False)}, "needs targets.week"),
    ],
)
def test_a_model_spec_that_makes_no_sense_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        spec(**given)


@pytest.mark.parametrize("name", list(SPECS))
def test_a_spec_is_its_document(name: str) -> None:
    document = SPECS[name].to_json()
    again = ModelSpec.model_validate_json(document)
    assert again == SPECS[name]
    assert again.to_json() == document
    assert again.digest() == SPECS[name].digest()
    assert document == json.dumps(json.loads(document), sort_keys=True, separators=(",", ":"))


def test_everything_in_a_spec_changes_its_digest() -> None:
    one = spec()
    changes: list[dict[str, Any]] = [
            {"horizon": 4}, {"quantiles": (0.5,)}, {"window": 9}, {"lags": 8}, {"scales": (Scale(every="1h"),)},
            {"season": (7,)}, {"calendar": ()}, {"half_life": 3}, {"warm_up": 1}, {"scored": (2,)}, {"network": {}},
            {"series": series(offset=1)}, {"series": series(max_gap=1)}, {"series": series(ttl="3d")},
            {"series": series(missing="season")}, {"series": series(mode="ticks")}, {"series": series(max_ahead=1)},
    ]  # fmt: skip
    others = [one.model_copy(update=change) for change in changes]
    assert len({s.digest() for s in [one, *others]}) == len(others) + 1


def test_the_ring_holds_what_lags_the_window_and_the_seasonal_naive_forecast_need() -> None:
    assert spec(lags=336, season=24).ring == 336
    assert spec(lags=8, season=24, horizon=25).ring == 49
    assert spec(lags=8, season=24, window=500).ring == 500
    assert spec(lags=0, season=1, horizon=1).ring == 2


def test_the_first_and_the_last_step_are_scored_unless_others_are_named() -> None:
    assert spec(horizon=3).scored_steps == (1, 3)
    assert spec(horizon=1).scored_steps == (1,)
    assert spec(horizon=3, scored=(2, 2)).scored_steps == (2,)


@pytest.mark.parametrize("horizon", [*range(1, 60), 2_000])
def test_at_most_five_steps_are_spread_evenly_over_a_horizon(horizon: int) -> None:
    steps = spread(horizon)
    assert steps == spec(horizon=horizon, scored=steps).scored_steps
    assert (steps[0], steps[-1]) == (1, horizon)
    assert min(horizon, 4) <= len(steps) <= 5
    assert max((after - before for before, after in pairwise(steps)), default=0) <= horizon / 4 + 1


def test_the_steps_of_a_day_are_each_quarter() -> None:
    assert spread(24) == (1, 6, 12, 18, 24)


@pytest.mark.parametrize(
    ("freq", "ttl"), [("1h", "30d"), ("1d", "30d"), ("1w", "30w"), ("31d", "930d"), (3_600_000, "30d")]
)
def test_a_key_may_be_silent_for_a_month_or_for_thirty_bars(freq: str | int, ttl: str) -> None:
    assert SeriesSpec(columns=(Column(name="y"),), freq=freq).ttl == parse_duration(ttl)


@pytest.mark.parametrize(
    ("freq", "gap"), [("1s", 2_016), ("1min", 2_016), ("5min", 2_016), ("1h", 719), ("1d", 29), ("1w", 29)]
)
def test_a_gap_may_be_as_long_as_a_silence_up_to_a_week_of_five_minutes(freq: str, gap: int) -> None:
    assert SeriesSpec(columns=(Column(name="y"),), freq=freq).max_gap == gap
    assert SeriesSpec(columns=(Column(name="y"),), freq=freq, max_gap=3).max_gap == 3


@pytest.mark.parametrize(
    ("freq", "ttl", "gap"), [("1h", "10d", 239), ("1h", "60d", 1_439), ("1h", "365d", 2_016), ("1d", "365d", 364)]
)
def test_a_gap_may_be_as_long_as_the_silence_that_is_given(freq: str, ttl: str, gap: int) -> None:
    found = series(freq=freq, ttl=ttl)
    assert (found.max_gap, found.longest_gap) == (gap, gap)


def test_a_saved_spec_keeps_the_gap_that_was_not_as_long_as_its_ttl_allows() -> None:
    saved = spec(series=series(freq="1h", ttl="60d", max_gap=719))  # as versions that did not read the ttl saved it
    again = ModelSpec.model_validate_json(saved.to_json())
    assert again.series.max_gap == 719
    assert again.digest() == saved.digest()


def test_a_ttl_that_restarts_a_series_at_every_record_is_refused() -> None:
    with pytest.raises(ValidationError, match="ttl 6d is shorter than a bar of 1w"):
        SeriesSpec(columns=(Column(name="y"),), freq="1w", ttl="6d")


def test_a_freq_that_is_none_is_the_only_complaint() -> None:
    with pytest.raises(ValidationError) as refused:
        SeriesSpec.model_validate({"columns": [{"name": "y"}], "freq": "soon"})
    assert [error["loc"] for error in refused.value.errors()] == [("freq",)]


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        spec().horizon = 7  # type: ignore[misc]
