"""The default spec; readings get the same choices as the bars they make."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

import streamcast.offline.defaults.spec
from harness.readings import bars_and_readings, ragged_readings
from streamcast.engine.engine import Engine
from streamcast.errors import HistoryError, SettingsError
from streamcast.models.spec import SpecError
from streamcast.offline.defaults.notes import (
    bound_notes,
    further_notes,
    members_notes,
    naive_notes,
    rare_notes,
    unread_notes,
)
from streamcast.offline.defaults.seasons import in_bars, seasons
from streamcast.offline.defaults.spec import ONLINE_OF_NETWORKS, default_spec
from streamcast.offline.history.grid import without_rows
from streamcast.offline.history.polls import polls
from streamcast.offline.history.read import History, read
from streamcast.offline.training.sequences import sequences
from streamcast.spec.durations import WEEK_MS
from streamcast.spec.folders import new_network
from streamcast.spec.model_spec import Online
from streamcast.spec.zero import challenger_of


def test_readings_have_the_season_the_lags_and_the_warm_up_of_their_bars() -> None:
    hours, readings = bars_and_readings()
    sampled, ticked = default_spec(hours, 6), default_spec(readings, 6, mode="ticks", grace="2min")
    assert (ticked.series.mode, ticked.series.grace) == ("ticks", 120_000)
    assert ticked.model_copy(update={"series": sampled.series}) == sampled
    assert seasons(readings, ticked.series)[0] == 24


@pytest.mark.parametrize(
    ("horizon", "hourly", "naive", "compared"),
    [
        (1, 0.0, 1, "the last value"),
        (4, 0.0, 1, "the last value"),
        (4, 0.5, 4, "the same time of the last hour"),
        (96, 0.0, 96, ""),
    ],
)
def test_a_daily_cycle_is_read_for_any_horizon_and_the_best_simple_forecast_is_compared_with(
    horizon: int, hourly: float, naive: int, compared: str
) -> None:
    """Quarter-hours that drift: the next one is like this one, or the one an hour ago, and tomorrow is like today."""
    history = quarter_hours(daily=1.0, hourly=hourly)
    spec = default_spec(history, horizon)
    assert spec.season[0] == 96
    assert spec.naive_season == naive
    noted = (
        f"compared with {compared}, which is better over this horizon than the same time yesterday; the model itself"
    )
    assert (noted in " ".join(naive_notes(spec))) == bool(compared)
    assert default_spec(history, horizon, "zero").naive_season == naive
    assert default_spec(history, horizon, season="1d").naive_season == (naive if naive == 1 else 96)
    assert default_spec(history, horizon, season=["1d", "1h"]).naive_season == naive


def test_nights_and_weekends_without_records_restart_no_series() -> None:
    """62 hours are 372 bars of ten minutes: after each weekend, a series was forecast as one that had just begun."""
    times = pd.date_range("2026-01-05", periods=10 * 7 * 144, freq="10min")
    open_hours = (times.day_of_week < 5) & (times.hour >= 8) & (times.hour < 18)
    times = times[open_hours]
    day = np.sin((times.hour * 6 + times.minute // 10 - 48) / 60 * np.pi)
    y = 100 * day + 10 + np.random.default_rng(0).normal(0, 3, len(times))
    history = read(pd.DataFrame({"ds": times, "y": y}), id_col=None)
    spec = default_spec(history, 6, "zero")
    assert spec.series.freq == 600_000
    engine, restarts, errors = Engine(spec, new_network(spec)), 0, {True: [0.0], False: [0.0]}
    for poll in polls(history, spec):
        result = engine.stage(poll)
        engine.promote()
        restarts += result.restarts
        late = result.scores.cutoffs > poll.times[0] + 5 * WEEK_MS
        monday = pd.to_datetime(result.scores.cutoffs, unit="ms").day_of_week == 0
        for of_monday, found in errors.items():
            found.extend(np.abs(result.scores.outcomes[late & (monday == of_monday), 0]))
    assert restarts == 0
    assert np.mean(errors[True]) < 1.5 * np.mean(errors[False])


def test_a_given_season_that_the_history_holds_once_is_compared_with_all_the_same() -> None:
    assert default_spec(quarter_hours(daily=1.0), 4, season="30d").naive_season == 30 * 96


def test_without_a_daily_cycle_the_season_is_an_hour() -> None:
    spec = default_spec(quarter_hours(daily=0.0), 96)
    assert (spec.season, spec.naive_season) == ((4,), 1)


def quarter_hours(daily: float, hourly: float = 0.0) -> History:
    random, t = np.random.default_rng(0), np.arange(96 * 60)
    drift = random.normal(scale=0.04, size=len(t)).cumsum()
    y = drift + daily * np.sin(2 * np.pi * t / 96) + hourly * np.sin(2 * np.pi * t / 4)
    return read(pd.DataFrame({"ds": pd.to_datetime(t * 900, unit="s", utc=True), "y": y}), id_col=None)


def test_readings_become_bars_by_the_aggregates_that_were_given() -> None:
    readings = ragged_readings()
    spec = default_spec(readings, 6, mode="ticks", aggregates={"y": "sum"})
    assert [column.reducer for column in spec.series.columns] == ["sum"]
    assert [column.reducer for column in default_spec(readings, 6, mode="ticks").series.columns] == ["mean"]


def test_what_does_not_fit_is_named() -> None:
    readings = ragged_readings()
    with pytest.raises(HistoryError, match="aggregates names load, wind; the columns are y"):
        default_spec(readings, 6, mode="ticks", aggregates={"load": "sum", "wind": "last"})
    with pytest.raises(ValidationError, match="grace is for ticks"):
        default_spec(readings, 6, grace="2min")
    with pytest.raises(ValidationError, match="is not a duration"):
        default_spec(readings, 6, mode="ticks", grace="soon")


def series(*, weekly: bool, days: int = 70) -> pd.DataFrame:
    """Hours with a daily cycle, half as high on weekends where ``weekly``, a category and a published input."""
    random, t = np.random.default_rng(1), np.arange(24 * days)
    weekend = (t // 24 % 7 >= 5) & weekly
    y = 10 + np.sin(2 * np.pi * t / 24) * np.where(weekend, 0.5, 1) - 5 * weekend + 0.1 * random.normal(size=len(t))
    ds = pd.to_datetime(t * 3600 + 1_700_006_400, unit="s", utc=True)
    return pd.DataFrame({"ds": ds, "y": y, "temp": 20 + 5 * y, "sky": np.where(t % 2, "clear", "rain")})


def test_a_week_and_a_day_are_found_where_weeks_matter_and_a_day_alone_where_not() -> None:
    weekly = default_spec(read(series(weekly=True), id_col=None), 24)
    assert weekly.season == (168, 24)
    assert weekly.targets is not None
    assert (weekly.targets.back, weekly.targets.week, weekly.targets.alike) == ((4, 7), True, 3)
    assert weekly.calendar == ("half-day", "day", "week")
    random = np.random.default_rng(2)
    wandering = series(weekly=False).assign(y=lambda frame: frame["y"] + random.normal(size=len(frame)).cumsum() / 4)
    daily = default_spec(read(wandering, id_col=None), 24)
    assert daily.season == (24,)
    assert daily.targets is not None
    assert (daily.targets.back, daily.targets.week, daily.targets.alike) == ((7,), False, 0)
    assert weekly.targets.softmax == daily.targets.softmax == 16
    assert weekly.targets.loops
    assert daily.targets.loops


@pytest.mark.parametrize(("wander", "season"), [(0.02, (24, 168)), (0.06, (24,))])
def test_a_week_is_a_second_season_beside_the_day_only_where_it_is_about_as_good(
    wander: float, season: tuple[int, ...]
) -> None:
    """The level of a week ago is not today's: repeating the week is 2 % worse than repeating the day, or 10 %."""
    random, t = np.random.default_rng(5), np.arange(24 * 140)
    level = random.normal(size=len(t)) + wander * random.normal(size=len(t)).cumsum()
    ds = pd.to_datetime(t * 3600 + 1_700_006_400, unit="s", utc=True)
    frame = pd.DataFrame({"ds": ds, "y": 10 * np.sin(2 * np.pi * t / 24) + level})
    assert default_spec(read(frame, id_col=None), 24).season == season


@pytest.mark.parametrize(("bars", "warm_up"), [(10, 2), (160, 20), (600, 64)])
def test_a_short_history_has_warm_bars(bars: int, warm_up: int) -> None:
    history = read(days(bars, "D"), id_col=None)
    spec = default_spec(history, 2)
    assert spec.warm_up == warm_up
    assert len(sequences(history, spec).answered()) == bars - warm_up + 1


def days(bars: int, freq: str) -> pd.DataFrame:
    ds = pd.date_range("2018-01-01", periods=bars, freq=freq)
    return pd.DataFrame({"ds": ds, "y": np.sin(np.arange(bars) * 2 * np.pi / (7 if freq == "D" else 5)) + 2})


@pytest.mark.parametrize("network", ["gru", "zero"])
@pytest.mark.parametrize(
    ("freq", "bars", "season", "year"),
    [("D", 910, 7, (364,)), ("D", 909, 7, ()), ("B", 650, 5, (260,)), ("B", 649, 5, ()), ("h", 8_760, 24, ())],
)
def test_days_with_years_of_history_read_the_same_days_of_earlier_years(
    network: str, freq: str, bars: int, season: int, year: tuple[int, ...]
) -> None:
    history = read(days(bars, freq), id_col=None, freq={"D": "1d", "B": "B", "h": "1h"}[freq])
    spec = default_spec(history, 5, network, season=season)
    assert (spec.season, spec.further, spec.naive_season) == ((season,), year, season)
    assert any("52 weeks earlier" in note or "260" in note for note in further_notes(spec)) == bool(year)
    assert default_spec(history, 5, "gru", season=season, plain=True).further == ()


@pytest.mark.parametrize("season", [(7, 365), (7, 364), (364,), (7, "364d", "52w")])
def test_a_season_of_a_year_that_was_given_is_not_read_twice(season: tuple[int | str, ...]) -> None:
    history = read(days(1_200, "D"), id_col=None, freq="1d")
    for network in ("gru", "zero"):
        spec = default_spec(history, 5, network, season=season)
        assert spec.further == ()
        assert challenger_of(spec).season == spec.season


@pytest.mark.parametrize("network", ["gru", "zero"])
@pytest.mark.parametrize("bars", [1_094, 1_100])  # a season of 365 bars would fit three times from 1,095 on
def test_a_year_of_days_does_not_replace_the_week(network: str, bars: int) -> None:
    history = read(yearly(bars, "D"), id_col=None, freq="1d")
    assert seasons(history, horizon=14) == (7,)
    spec = default_spec(history, 14, network)
    assert (spec.season, spec.further) == ((7,), (364,))
    compared = (365, "the same day last year") if bars == 1_100 else (1, "the last value")
    assert spec.naive_season == compared[0], "the best simple forecast is compared with all the same"
    noted = f"compared with {compared[1]}, which is better over this horizon than the same weekday last week"
    assert noted in " ".join(naive_notes(spec))


@pytest.mark.parametrize(("freq", "bars", "year"), [("12h", 2_200, 730), ("6h", 4_400, 1_460)])
def test_a_year_of_hours_does_not_replace_the_day(freq: str, bars: int, year: int) -> None:
    spec = default_spec(read(yearly(bars, freq), id_col=None, freq=freq), 28, "zero")
    assert max(spec.season) * spec.series.freq <= WEEK_MS, "a season is a day or a week"
    assert (spec.further, spec.naive_season) == ((), year), "and the best simple forecast is compared with"


@pytest.mark.parametrize(("freq", "bars", "season"), [("W-MON", 160, 52), ("MS", 60, 12)])
def test_other_bars_have_a_season_of_a_year_where_it_is_the_best_to_repeat(freq: str, bars: int, season: int) -> None:
    history = read(yearly(bars, freq), id_col=None, freq=freq)
    spec = default_spec(history, 28, "zero")
    assert (spec.season, spec.further, spec.naive_season) == ((season,), (), season)


def yearly(bars: int, freq: str) -> pd.DataFrame:
    """A wide swing over the year, a small one over the week, and noise, by which last week is a poor forecast."""
    ds, random = pd.date_range("2018-01-01", periods=bars, freq=freq), np.random.default_rng(3)
    year = 10 * np.sin(2 * np.pi * ds.day_of_year / 365.25)
    return pd.DataFrame({"ds": ds, "y": year + (ds.day_of_week >= 5) + random.normal(size=bars)})


@pytest.mark.parametrize(("days", "regressions"), [(70, 2), (500, 1)])
def test_a_network_that_learns_from_few_bars_keeps_both_regressions(days: int, regressions: int) -> None:
    spec = default_spec(read(series(weekly=False, days=days), id_col=None), 24)
    assert spec.online is not None
    assert spec.online.one_regression == (regressions == 1)
    chosen = default_spec(read(series(weekly=False, days=70), id_col=None), 24, online={"one_regression": True})
    assert chosen.online is not None
    assert chosen.online.one_regression


@pytest.mark.parametrize(
    ("y", "lower", "said"),
    [
        ([0.0, 0.0, 3.0, 1.0], None, "50% of the values are 0 and none is less: if none can be, give lower 0"),
        ([0.0, 0.0, 3.0, 1.0], 0.0, None),
        ([0.0, 0.0, 3.0, -1.0], None, None),
        ([4.0, 2.0, 3.0, 1.0], None, None),
    ],
)
def test_many_zeros_and_nothing_below_ask_for_the_bound(y: list[float], lower: float | None, said: str | None) -> None:
    frame = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=400, freq="h"), "y": y * 100})
    history = read(frame, id_col=None)
    spec = default_spec(history, 6, "zero", season="1d", lower=lower)
    assert bound_notes(history, spec) == (() if said is None else (said,))


@pytest.mark.parametrize(
    ("y", "upper", "said"),
    [
        ([0.5, 100.0, 98.0, 3.0], None, "25% of the values are 100 and none is more: if none can be, give upper 100"),
        ([0.5, 1.0, 0.25, 0.125], None, "25% of the values are 1 and none is more: if none can be, give upper 1"),
        ([0.5, 100.0, 98.0, 3.0], 100.0, None),
        ([0.5, 101.0, 100.0, 3.0], None, None),
        ([0.5, 100.0, 98.0, -3.0], None, None),
        ([1.0, 100.0, 100.0, 100.0], None, None),
    ],
)
def test_shares_at_their_bound_above_ask_for_it(y: list[float], upper: float | None, said: str | None) -> None:
    frame = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=400, freq="h"), "y": y * 100})
    history = read(frame, id_col=None)
    spec = default_spec(history, 6, "zero", season="1d", upper=upper)
    assert bound_notes(history, spec) == (() if said is None else (said,))


def test_rare_events_are_said_to_be_no_matter_of_the_mae_and_nights_without_sun_are_not() -> None:
    hour = np.arange(2_000)
    sun = np.maximum(np.sin(hour * np.pi / 12) - 0.3, 0.0)
    rare = (np.random.default_rng(0).random(2_000) < 0.1) * 5.0
    for y, said in ((rare, "more than half of the values are 0, and always 0 has a smaller"), (sun, None)):
        history = read(pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=2_000, freq="h"), "y": y}), id_col=None)
        notes = rare_notes(history, default_spec(history, 6, "zero"))
        assert len(notes) == (said is not None)
        assert said is None or str(notes[0]).startswith(said)


def test_no_season_at_all_is_refused() -> None:
    with pytest.raises(HistoryError, match="season is empty: name at least one"):
        in_bars((), without_rows("1h"))


def test_seasons_are_given_in_bars_or_as_durations() -> None:
    history = read(series(weekly=True), id_col=None)
    assert default_spec(history, 24, season=12).season == (12,)
    assert default_spec(history, 24, season=("1d", 168)).season == (24, 168)
    with pytest.raises(HistoryError, match="season 90min is no whole number of bars of 1h"):
        default_spec(history, 24, season="90min")


@pytest.mark.parametrize(
    ("freq", "season", "advice"),
    [
        ("1d", "1y", "1d: write 364 (52 weeks) or 365"),
        ("1h", "1y", "1h: write 8736 (52 weeks) or 8760"),
        ("B", "1y", "1 weekday: write 260 (52 weeks) or 261"),
        ("1w", "1y", "1w: write 52"),
        ("1d", "1M", "1d: write 28 (4 weeks) or 30"),
        ("7h", "1y", "7h: write 1248 (52 weeks) or 1252"),
        ("1min", "1y", "1min: a season has at most 100,000. Choose a longer freq, or leave it out"),
        ("1d", "36h", "1d: choose a freq that divides it, or give the season in bars"),
    ],
)
def test_a_season_that_is_no_whole_number_of_bars_is_refused_with_those_that_are(
    freq: str, season: str, advice: str
) -> None:
    with pytest.raises(HistoryError) as refused:
        in_bars(season, without_rows(freq))
    assert str(refused.value) == f"season {season} is no whole number of bars of {advice}"


def test_a_plain_model_has_its_networks_own_options() -> None:
    history = read(series(weekly=True), id_col=None)
    assert default_spec(history, 24).network == {"kind": "gru", "layers": 1}
    assert default_spec(history, 24, plain=True).network == {"kind": "gru"}


def test_members_are_added_to_the_network_that_is_named_or_spelled_out() -> None:
    history = read(series(weekly=True), id_col=None)
    assert default_spec(history, 24, members=3).network == {"kind": "gru", "layers": 1, "members": 3}
    assert default_spec(history, 24, {"kind": "lstm", "members": 2}).network == {"kind": "lstm", "members": 2}
    assert default_spec(history, 24, {"kind": "lstm", "members": 2}, members=3).network["members"] == 3
    with pytest.raises(SpecError, match="members is 17: expected a whole number from 1 to 16"):
        default_spec(history, 24, members=17)


@pytest.mark.parametrize(("bars", "freq", "members"), [(400, "D", 3), (200, "B", 3), (120, "W", 3), (900, "12h", 1)])
def test_bars_of_a_day_or_longer_have_three_networks_unless_one_is_asked_for(
    bars: int, freq: str, members: int
) -> None:
    history = read(days(bars, freq), id_col=None)
    spec = default_spec(history, 5)
    assert spec.network.get("members", 1) == members
    assert [str(note) for note in members_notes(spec)] == [
        "3 networks are trained, and their mean forecasts; members 1 trains one"
    ] * (members > 1)
    assert default_spec(history, 5, {"kind": "gru"}).network == {"kind": "gru"}, "a network that is spelled out stays"
    assert "members" not in default_spec(history, 5, members=1).network
    assert "members" not in default_spec(history, 5, plain=True).network


def test_many_days_have_one_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three would take three times as long to train, and hardly be better."""
    history = read(days(400, "D"), id_col=None)
    for many, members in ((401, 3), (400, 1)):
        monkeypatch.setattr(streamcast.offline.defaults.spec, "MANY_DAYS", many)
        assert default_spec(history, 5).network.get("members", 1) == members


def test_days_read_earlier_days_of_the_same_kind_where_days_off_are_known() -> None:
    history = read(days(400, "D"), id_col=None)
    for holidays, alike in ((None, 0), ("US", 6)):
        targets = default_spec(history, 5, season=7, holidays=holidays).targets
        assert targets is not None
        assert targets.alike == alike
    weekdays = default_spec(read(days(400, "B"), id_col=None), 5, season=5, holidays="US").targets
    assert weekdays is not None
    assert weekdays.alike == 0


def test_a_category_that_does_not_occur_in_the_training_part_is_unknown_to_the_model() -> None:
    history = read(
        series(weekly=True).assign(sky=lambda frame: ["sun"] * (len(frame) - 5) + ["storm"] * 5), id_col=None
    )
    trained = history.between(int(history.ts_N[0]), int(history.ts_N[-10]))
    column = next(column for column in default_spec(trained, 24).series.columns if column.name == "sky")
    assert column.categories == ("sun",)


def test_known_inputs_are_scaled_by_the_history_and_must_be_inputs() -> None:
    history = read(series(weekly=True), id_col=None)
    spec = default_spec(history, 24, known=("temp", "sky"), timezone="Europe/Berlin", holidays="DE-BE")
    targets, online = spec.targets, spec.online
    assert targets is not None
    assert online is not None
    assert online.network_on_days_off
    temp, sky = targets.known
    assert (round(temp.center), sky.center, sky.spread) == (round(history.values_NC[:, 1].mean()), 0.0, 1.0)
    assert len(targets.local.offsets) > 1
    assert targets.local.days_off
    for wrong, said in (("y", "y, the target, whose future is forecast"), ("rain", "rain")):
        with pytest.raises(HistoryError, match=f"known names {said}; the input columns are temp, sky"):
            default_spec(history, 24, known=(wrong,))
        with pytest.raises(HistoryError, match=f"known names {said};"):
            default_spec(history, 24, "zero", known=(wrong,))


@pytest.mark.parametrize("network", ["gru", "zero"])
def test_fields_of_the_online_layer_can_be_chosen(network: str) -> None:
    history = read(series(weekly=True), id_col=None)
    usual = default_spec(history, 24, network, holidays="DE-BE").online
    changed = default_spec(history, 24, network, holidays="DE-BE", online={"coverage_step": 0.5}).online
    assert usual is not None
    assert changed == usual.model_copy(update={"coverage_step": 0.5})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"plain": True}, "plain has no effect with zero, whose forecasts are the online layer's: leave it out"),
        ({"plain": True, "online": {"coverage_step": 0.5}}, "plain has no effect with zero"),
        ({"online": {"network_prior": 3}}, "online has network_prior of the network, and zero has none: leave it out"),
        (
            {"online": {"network_prior": 3, "forget": 0.1, "network_reach": 1}},
            "online has network_prior and network_reach of the network, and zero has none: leave them out",
        ),
        ({"lags": 24}, "lags is an input of a network, and zero has none: leave it out"),
        ({"scales": ("1d",)}, "scales is an input of a network, and zero has none: leave it out"),
        ({"lags": 24, "scales": ("1d",)}, "lags and scales are inputs of a network, and zero has none: leave them out"),
    ],
)
def test_what_has_no_effect_on_a_model_without_a_network_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        default_spec(read(series(weekly=True), id_col=None), 24, "zero", **given)


def test_every_field_of_the_online_layer_that_is_about_a_network_is_known_to_be_one() -> None:
    assert {name for name in Online.model_fields if name.startswith("network_")} == ONLINE_OF_NETWORKS


def test_a_misspelt_country_is_refused_also_by_a_model_that_reads_no_holidays() -> None:
    with pytest.raises(SettingsError, match="holidays is 'XX'"):
        default_spec(read(series(weekly=True), id_col=None), 24, "zero", holidays="XX")


def test_what_a_model_does_not_read_is_said() -> None:
    history = read(series(weekly=True), id_col=None)
    default, zero, plain = (
        default_spec(history, 24, network, known=("temp",), holidays="DE-BE", plain=plain)
        for network, plain in (("gru", False), ("zero", False), ("gru", True))
    )
    assert unread_notes(default, ("temp",), "DE-BE") == ()
    alone = "a model without a network reads the target and known inputs that are numbers"
    assert unread_notes(zero, ("temp",), "DE-BE") == (
        f"not read: 'sky', because {alone}",
        f"holidays has no effect: {alone}",
    )
    words_alone = default_spec(history, 24, "zero", known=("sky",))
    assert unread_notes(words_alone, ("sky",), "DE-BE") == (
        f"not read: 'temp', 'sky', because {alone}",
        f"known and holidays have no effect: {alone}",
    )
    without = default_spec(history, 24, "zero", known=("temp",), online={"known_effect": False})
    assert unread_notes(without, ("temp",), None)[0] == f"not read: 'temp', 'sky', because {alone}"
    assert unread_notes(plain, (), "DE-BE") == ("holidays has no effect: a plain model reads nothing ahead",)
