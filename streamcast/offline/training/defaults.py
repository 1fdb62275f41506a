"""A model spec from a history: the choices that the user did not make.

Legend: K series, T bars.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from streamcast.errors import HistoryError, Message, Option
from streamcast.models.spec import SpecError, one_of, with_members
from streamcast.offline.evaluation.accuracy import Floats, absolute_error, mean
from streamcast.offline.evaluation.baselines import seasonal_error
from streamcast.offline.history.bars import panel
from streamcast.offline.history.read import History
from streamcast.spec import zero
from streamcast.spec.calendar_bars import Grid, parse_step
from streamcast.spec.durations import DAY_MS, HOUR_MS, WEEK_MS
from streamcast.spec.features import CALENDAR_MS
from streamcast.spec.local_time import UTC_TIME, LocalTime, local_time
from streamcast.spec.model_spec import (
    MOST_SEASON,
    NEW_ONLINE,
    ONLINE_AFTER_FEW_BARS,
    ONLINE_BESIDE_NETWORK,
    SEASON_IN_WORDS,
    Aggregate,
    Column,
    Known,
    ModelSpec,
    Online,
    Scale,
    SeriesSpec,
    TargetBars,
    bar_name,
    parse_duration,
    spread,
)
from streamcast.wording import naive_name, span_name

YEAR_MS = 365 * DAY_MS
LONGEST_SEASON = 2_016
MOST_REPEATS = 24
"""Multiples of a season that its error over a horizon is measured at; beyond, they are spread."""
MOST_DRIFT = 0.15
"""A season may end so many bars beside the period that it stands for: a year is 52 weeks and a day."""
NEARLY_AS_GOOD = 1.03
"""A week is a second season beside a day if its repetition is at most so many times as wrong."""
MOST_BACK, FEWER_BACK = 7, 4
"""How many earlier seasons the model reads: of the shortest season, and of each other."""
YEARS_BACK, FEWEST_YEARS = 3, 2.5
"""How many earlier years a model of days or weekdays reads, and how many the longest series has at least."""
ALIKE, ALIKE_OF_DAYS = 3, 6
"""How many earlier days of the same kind the model reads, where days of the week differ; the second of bars of days."""
MEMBERS_OF_DAYS = 3
"""Networks of a model whose bars are a day or longer: they are few, so training takes seconds and records are rare."""
FEW_BARS = 10_000
"""Bars of all series, below which a network has learned too little to be without the second regression and a limit."""
SOFTMAX = 16
"""Least width of the read-out's softmax: torch takes eight times as long for 15 numbers as for 16."""
ONLINE_OF_NETWORKS = frozenset({"network_prior", "network_spread", "network_reach", "network_on_days_off"})
"""Fields of the online layer that say how it mixes a network."""
MANY_ZEROS = 0.05
"""Share of values that are 0, with none below, from which on a person is asked whether 0 is the bound."""
MOST_PLACES = 48
RECOMMENDED: Mapping[str, Mapping[str, Any]] = {"gru": {"layers": 1}}
"""Options of a network that is given by its name alone: beside the aligned read-out one layer is enough."""
HALF_LIFE = 336
MOST_LAGS = 336
FEWEST_LAGS = 8
WARM_UP = 64

Period = Literal["hour", "half-day", "day", "week", "year"]


def default_spec(
    history: History,
    horizon: int,
    network: str | Mapping[str, Any] = "gru",
    *,
    quantiles: Sequence[float] = (0.1, 0.5, 0.9),
    lags: int | None = None,
    season: int | str | Sequence[int | str] | None = None,
    scales: Sequence[str | int] | None = None,
    mode: Literal["sample", "ticks"] = "sample",
    grace: str | int = 0,
    aggregates: Mapping[str, Aggregate] | None = None,
    timezone: str | None = None,
    holidays: str | None = None,
    known: Sequence[str] = (),
    lower: float | None = None,
    online: Mapping[str, Any] | None = None,
    plain: bool = False,
    members: int | None = None,
) -> ModelSpec:
    """Return a spec for a history; arguments that are None are chosen from its bar length and values.

    ``season`` is one season or several, in bars or as durations such as ``"1d"``.  ``timezone`` is that of the people
    whose days the series follows, ``holidays`` a country or region such as ``AU-VIC``; both become tables in the spec.
    ``known`` names columns whose future is published in advance; no forecast lies below ``lower``.
    ``online`` has fields of the online layer that shall differ from a new model's.
    ``plain`` leaves out target bars and the online layer: a record costs a fraction, and forecasts are worse.
    ``members`` networks are trained, and their mean forecasts: better, at the cost of so many.  It is 3 for a network
    that is given by its name, where bars are a day or longer and the model is not plain; else 1.

    ``mode`` says whether a record is a bar or one of its readings.  ``grace`` is how long a bar of ticks waits for late
    readings, ``aggregates`` how the readings of a column become one value (default: mean of numbers, last of
    categories).

    The first season is the one of hour, day, week and year that forecasts best in hindsight; see ``seasons``.  The lags
    cover 14 of the shortest, at most 336 bars and a quarter of the longest series.  Only networks that attend to
    coarser scales get some.
    Raises pydantic's ValidationError when the arguments do not fit together, HistoryError for an unknown column or a
    season that is no whole number of bars, SettingsError for an unknown time zone or holiday calendar.
    """
    series = SeriesSpec.model_validate(
        {
            "columns": _columns(history, aggregates or {}),
            "freq": history.freq_ms,
            "offset": history.offset_ms,
            "calendar": history.calendar,
            "mode": mode,
            "grace": grace,
        }
    )
    bars_by_series = _bars_by_series(history)
    freq, bars = history.freq_ms, int(bars_by_series.max())
    chosen = seasons(history, series, horizon) if season is None else in_bars(season, history.grid)
    compared = naive(history, series, horizon, chosen, given=season is not None)
    further = _years(history, bars, chosen)
    known_inputs = _known(history, known)
    local = _local(history, timezone, holidays)
    if network in zero.AS_NETWORK:
        _refuse_what_networks_have(lags, scales, online or {}, plain=plain, members=members)
        return zero.zero_spec(
            series, horizon, chosen, further=further, naive=compared, quantiles=quantiles, scored=spread(horizon),
            lower=lower, online=_layer(NEW_ONLINE, online or {}),
        )  # fmt: skip
    if plain and online:
        raise SpecError(
            Option.ONLINE, " has fields of the online layer, which a plain model does not have: leave one out"
        )
    shortest = min(chosen)
    if lags is None:
        lags = max(min(14 * shortest, MOST_LAGS, bars // 4) // 8 * 8, FEWEST_LAGS)
    week = WEEK_MS // freq in chosen
    if isinstance(network, str):
        network = {"kind": network, **_recommended(network, plain=plain)}
        if members is None and freq >= DAY_MS and not plain:
            members = MEMBERS_OF_DAYS
    spec = dict(network if members is None else with_members(network, members))
    if scales is None:
        coarse = [every for every in (HOUR_MS, DAY_MS) if every > freq and every % freq == 0]
        scales = coarse if spec.get("kind") == "lstm-attention" else ()
    return ModelSpec(
        series=series,
        horizon=horizon,
        quantiles=tuple(quantiles),
        lags=lags,
        scales=tuple(Scale.model_validate({"every": every}) for every in scales),
        season=chosen,
        further=() if plain else further,
        naive=compared,
        calendar=_calendar(history, week=week),
        half_life=HALF_LIFE,
        warm_up=max(min(WARM_UP, bars // 8), 2),
        scored=spread(horizon),
        lower=lower,
        online=None
        if plain
        else _layer(
            ONLINE_AFTER_FEW_BARS if bars_by_series.sum() < FEW_BARS else ONLINE_BESIDE_NETWORK,
            {"network_on_days_off": bool(local.days_off), **(online or {})},
        ),
        targets=None
        if plain
        else TargetBars(
            back=(*(MOST_BACK if one == shortest else FEWER_BACK for one in chosen), *(YEARS_BACK for _ in further)),
            alike=_alike(freq, chosen, local),
            local=local,
            places=max(min(DAY_MS // freq, MOST_PLACES), 1),
            week=week,
            known=known_inputs,
            softmax=SOFTMAX,
            loops=True,
            missing="share",
            mean=False,
        ),
        network=spec,
    )


def seasons(history: History, series: SeriesSpec | None = None, horizon: int = 1) -> tuple[int, ...]:
    """Return season lengths in bars, the one whose repetition forecasts best first; (1,) if none fits three times.

    Hour, day, week and year are tried, but no year where days or weeks are whole bars: it would replace them, and
    models of days read it beside their seasons (``ModelSpec.further``).  Beside a week comes the day; beside a day
    comes the week if its repetition is about as good.  The last whole season is repeated over the horizon, and over a
    day at least: the last hour is the best to repeat for a while, also where every day is alike.  ``series`` says how
    records make bars (default: a record is a bar).
    """
    periods = _whole_periods(history.freq_ms)
    tried = [n for n, period in periods.items() if period < YEAR_MS] or list(periods)
    errors = _errors_of_repeating(tried, history, series, max(horizon, DAY_MS // history.freq_ms))
    if not errors:
        return (1,)
    best, day, week = min(errors, key=errors.__getitem__), DAY_MS // history.freq_ms, WEEK_MS // history.freq_ms
    if best == week and day in errors:
        return (week, day)
    if best == day and errors.get(week, np.inf) <= NEARLY_AS_GOOD * errors[day]:
        return (day, week)
    return (best,)


def naive(history: History, series: SeriesSpec, horizon: int, chosen: tuple[int, ...], *, given: bool) -> int | None:
    """Return how many bars back the simple forecast reads that is the best over the horizon; None for a first season.

    1 is the last value.  A model reads days, and is compared with the last hour, the last year or the last value where
    that is harder to beat.  Where the seasons were ``given``, no others are tried.
    """
    tried = chosen if given else (*chosen, *_whole_periods(history.freq_ms))
    errors = _errors_of_repeating((*tried, 1), history, series, horizon)
    if chosen[0] not in errors:  # a season that was given, and does not fit three times
        return None
    best = min(errors, key=lambda season: (errors[season], season != chosen[0]))
    return None if best == chosen[0] else best


def _whole_periods(freq: int) -> dict[int, int]:
    """Return hour, day, week and year by their bars of ``freq`` ms, where those are whole numbers of more than one."""
    lengths = {round(period / freq): period for period in (HOUR_MS, DAY_MS, WEEK_MS, YEAR_MS)}
    return {n: period for n, period in lengths.items() if n > 1 and abs(n * freq - period) <= MOST_DRIFT * freq}


def _errors_of_repeating(
    seasons: Iterable[int], history: History, series: SeriesSpec | None, horizon: int
) -> dict[int, float]:
    """Return the error of repeating each season over a horizon, of those that fit three times."""
    grid = panel(history, series or _samples(history))
    level_K = np.array([mean(absolute_error(y_T, mean(y_T))) or np.nan for y_T in grid.y_KT])
    longest = min(LONGEST_SEASON, grid.y_KT.shape[1] // 3)
    errors = {
        season: _error_of_repeating(season, horizon, grid.y_KT, level_K) for season in seasons if season <= longest
    }
    return {season: error if np.isfinite(error) else np.inf for season, error in errors.items()}


def season_notes(spec: ModelSpec) -> tuple[str, ...]:
    """Return sentences about the seasons that were chosen for a spec, and about periods that could not be one."""
    freq, bar = spec.series.freq, spec.series.bar
    notes: list[str] = []
    if spec.season == (1,):
        notes.append(Message(
            "no season was found, or the history holds none three times: seasonal naive repeats the last value;"
            " name one with ", Option.SEASON, ", in bars",
        ))  # fmt: skip
    for name, period in (("a day", DAY_MS), ("a week", WEEK_MS)):
        if freq < period and abs(round(period / freq) * freq - period) > MOST_DRIFT * freq:
            notes.append(Message(
                f"{name} is no whole number of bars of {bar} and was not tried as a season: choose a ", Option.FREQ,
                " that divides it",
            ))  # fmt: skip
    if freq > DAY_MS and 1 < round(YEAR_MS / freq) in spec.season:
        notes.append(f"a season of {round(YEAR_MS / freq)} bars stands for a year")
    return tuple(notes)


def naive_notes(spec: ModelSpec) -> tuple[str, ...]:
    """Return a sentence about what forecasts are compared with, where it is not the first season."""
    if spec.naive is None:
        return ()
    freq = spec.series.freq
    read = " and ".join(span_name(season, freq) for season in spec.season)
    compared = f"forecasts are compared with {naive_name(spec.naive, freq)}, which is better over this horizon than"
    return (f"{compared} {naive_name(spec.season[0], freq)}; the model itself reads seasons of {read}",)


def further_notes(spec: ModelSpec) -> tuple[str, ...]:
    """Return a sentence about seasons that forecasts read beside those that seasonal naive repeats."""
    if not spec.further:
        return ()
    read = " and ".join(span_name(season, spec.series.freq) for season in spec.further)
    return (f"forecasts also read what was {read} earlier: the history is long enough",)


def members_notes(spec: ModelSpec) -> tuple[Message, ...]:
    """Return a sentence about several networks."""
    members = one_of(spec.network)[1]
    if members == 1:
        return ()
    return (Message(f"{members} networks are trained, and their mean forecasts; ", Option.MEMBERS, " 1 trains one"),)


def bound_notes(history: History, spec: ModelSpec) -> tuple[str | Message, ...]:
    """Return a sentence about values below a spec's bound, which no forecast reaches, or about one that it lacks."""
    target_N = history.values_NC[:, 0]
    known_N = target_N[np.isfinite(target_N)]
    known, least = len(known_N), known_N.min(initial=np.inf)
    if spec.lower is None:
        share = float((known_N == 0).mean()) if known else 0.0
        if least < 0 or share < MANY_ZEROS:
            return ()
        return (
            Message(f"{share:.0%} of the values are 0 and none is less: if none can be, give ", Option.LOWER, " 0"),
        )
    below = int((target_N < spec.lower).sum())
    if not below:
        return ()
    reached = f"{below:,} of {known:,} values lie below the bound of {spec.lower:g}, down to {least:g}"
    return (f"{reached}: no forecast reaches them, and no interval holds them",)


def unread_notes(spec: ModelSpec, known: Sequence[str], holidays: str | None) -> tuple[str, ...]:
    """Return a sentence about known inputs and holidays that were given to a model that reads neither."""
    given = [(Option.KNOWN, known), (Option.HOLIDAYS, holidays)]
    options = [option for option, value in given if value]
    if spec.targets is not None or not options:
        return ()
    named = [part for option in options for part in (option, " and ")][:-1]
    have = "has" if len(options) == 1 else "have"
    without = spec.network.get("kind") == zero.KIND
    kind = "a model without a network reads the target alone" if without else "a plain model reads nothing ahead"
    return (Message(*named, f" {have} no effect: {kind}"),)


def in_bars(season: int | str | Sequence[int | str], grid: Grid) -> tuple[int, ...]:
    """Return seasons in bars; a year of months is 12.

    Raises HistoryError for none, and for one that is no duration above 0 or no whole number of bars.
    """
    given = (season,) if isinstance(season, int | str) else tuple(season)
    if not given:
        raise HistoryError(Option.SEASON, " is empty: name at least one season, or leave it out to have it chosen")
    found = []
    for one in given:
        step = parse_step(one) if isinstance(one, str) else None
        try:
            length = step.freq if step else one * grid.freq if isinstance(one, int) else parse_duration(one)
        except ValueError:
            length = 0
        if length < 1:
            raise HistoryError(Option.SEASON, f" is {one!r}: expected {SEASON_IN_WORDS}, such as 24 or 1d")
        if length % grid.freq:
            wrong = f" {one} is no whole number of bars of {bar_name(grid)}: "
            if step and (near := _near(length, grid.freq)):
                raise HistoryError(Option.SEASON, f"{wrong}write {' or '.join(near)}")
            if length > MOST_SEASON * grid.freq:
                raise HistoryError(
                    Option.SEASON, f"{wrong}a season has at most {MOST_SEASON:,}. Choose a longer ", Option.FREQ,
                    ", or leave it out",
                )  # fmt: skip
            raise HistoryError(
                Option.SEASON, f"{wrong}choose a ", Option.FREQ, " that divides it, or give the season in bars"
            )
        found.append(length // grid.freq)
    return tuple(dict.fromkeys(found))


def _near(length: int, freq: int) -> list[str]:
    """Return about how many bars a year or some months are, in words: whole weeks, and whole days (or bars)."""
    weeks, by_day = length // WEEK_MS, freq <= DAY_MS and DAY_MS % freq == 0
    whole = {length // DAY_MS * DAY_MS // freq if by_day else round(length / freq): ""}
    if weeks and freq <= WEEK_MS and WEEK_MS % freq == 0:
        whole = {weeks * WEEK_MS // freq: f" ({weeks} weeks)" if freq < WEEK_MS else ""} | whole
    return [f"{bars}{said}" for bars, said in whole.items() if 1 < bars <= MOST_SEASON]


def _refuse_what_networks_have(
    lags: int | None, scales: Sequence[str | int] | None, online: Iterable[str], *, plain: bool, members: int | None
) -> None:
    """Raise SpecError for options that a model without a network has no use for."""
    if fields := [name for name in online if name in ONLINE_OF_NETWORKS]:
        raise SpecError(
            Option.ONLINE, f" has {' and '.join(fields)} of the network, and zero has none: leave"
            f" {'them' if fields[1:] else 'it'} out",
        )  # fmt: skip
    if members is not None and members > 1:
        raise SpecError(Option.MEMBERS, f" is {members}, and zero has no network: leave it out")
    if plain:
        raise SpecError(Option.PLAIN, " has no effect with zero, whose forecasts are the online layer's: leave it out")
    if lags and scales:
        raise SpecError(
            Option.LAGS, " and ", Option.SCALES, " are inputs of a network, and zero has none: leave them out"
        )
    if lags or scales:
        given = Option.LAGS if lags else Option.SCALES
        raise SpecError(given, " is an input of a network, and zero has none: leave it out")


def _samples(history: History) -> SeriesSpec:
    """Return the series spec of a history whose rows are bars."""
    return SeriesSpec(
        columns=_columns(history, {}), freq=history.freq_ms, offset=history.offset_ms, calendar=history.calendar
    )


def _local(history: History, timezone: str | None, holidays: str | None) -> LocalTime:
    if holidays is not None and history.calendar is not None and history.freq_ms > DAY_MS:
        raise HistoryError(Option.HOLIDAYS, f" are days, and bars of {history.bar} are longer: leave them out")
    if timezone in (None, "UTC") and holidays is None:
        return UTC_TIME
    return local_time(timezone or "UTC", holidays, int(history.ts_N[0]), int(history.ts_N[-1]))


def _known(history: History, names: Sequence[str]) -> tuple[Known, ...]:
    """Return known inputs with the mean and standard deviation of their values."""
    target, *inputs = history.columns
    if target in names:
        listed = ", ".join(inputs) or "(none)"
        raise HistoryError(
            Option.KNOWN, f" names {target}, the target, whose future is forecast; the input columns are {listed}"
        )
    if unknown := sorted(set(names) - set(inputs)):
        by_folded = {name.casefold().replace(" ", ""): name for name in inputs}
        near = difflib.get_close_matches(unknown[0].casefold().replace(" ", ""), by_folded, n=1)
        hint = f", did you mean {by_folded[near[0]]!r}?" if near else ";"
        raise HistoryError(
            Option.KNOWN, f" names {', '.join(unknown)}{hint} the input columns are {', '.join(inputs) or '(none)'}:"
            " other ones must be in ", Option.COLUMNS, ", too",
        )  # fmt: skip
    found = []
    for name in names:
        value_N = history.values_NC[:, history.columns.index(name)]
        value_N = value_N[np.isfinite(value_N)]
        if name in history.categories or not len(value_N):
            found.append(Known(name=name))
        else:
            found.append(Known(name=name, center=float(value_N.mean()), spread=float(value_N.std()) or 1.0))
    return tuple(found)


def _error_of_repeating(season: int, horizon: int, y_KT: Floats, level_K: Floats) -> float:
    """Return the mean error of seasonal naive over a horizon, in units of each series' mean absolute deviation.

    Step h is forecast by the bar h before it, rounded up to whole seasons.
    """
    most = max(min(-(-horizon // season), y_KT.shape[1] // (2 * season)), 1)
    tried = np.unique(np.linspace(1, most, min(most, MOST_REPEATS)).round().astype(int)).tolist()
    steps = [min(season, horizon - (back - 1) * season) for back in tried]
    errors = [mean(seasonal_error(y_KT, back * season) / level_K[:, None]) for back in tried]
    return float(np.average(errors, weights=steps))


def _layer(usual: Online, fields: Mapping[str, Any]) -> Online:
    """Return the usual online layer with some fields changed; raises pydantic's ValidationError."""
    return Online.model_validate({**usual.model_dump(), **fields})


def _recommended(network: str, *, plain: bool) -> Mapping[str, Any]:
    return {} if plain else RECOMMENDED.get(network, {})


def _occurring(history: History, column: int) -> tuple[str, ...] | None:
    """Return the categories of a column that occur in the history; all where none does, None for numbers."""
    categories = history.categories.get(history.columns[column])
    if categories is None:
        return None
    codes = history.values_NC[:, column]
    seen = np.unique(codes[codes >= 0].astype(np.int64)).tolist()
    return tuple(categories[code] for code in seen) or tuple(categories)


def _columns(history: History, aggregates: Mapping[str, Aggregate]) -> tuple[Column, ...]:
    if unknown := set(aggregates) - set(history.columns):
        raise HistoryError(
            Option.AGGREGATES, f" names {', '.join(sorted(unknown))}; the columns are {', '.join(history.columns)}"
        )
    return tuple(
        Column(name=name, categories=_occurring(history, place), aggregate=aggregates.get(name))
        for place, name in enumerate(history.columns)
    )


def _years(history: History, bars: int, chosen: Sequence[int]) -> tuple[int, ...]:
    """Return a year of whole weeks, where bars are days or weekdays and the longest series has ``bars`` for it.

    None where a season is as long already.
    """
    year = _year_of_weeks(history.freq_ms)
    return (year,) if year and bars >= FEWEST_YEARS * year and max(chosen) < year else ()


def _alike(freq: int, chosen: Sequence[int], local: LocalTime) -> int:
    """Return how many earlier days of the same kind are read where a week is a season.

    It needs a season of a day, or bars of a day and days off: without these, a day of the week says what kind it is.
    """
    if WEEK_MS // freq not in chosen:
        return 0
    if freq == DAY_MS:
        return ALIKE_OF_DAYS if local.days_off else 0
    return ALIKE if DAY_MS in (one * freq for one in chosen) else 0


def _year_of_weeks(freq: int) -> int | None:
    """Return 52 weeks in bars of ``freq`` ms, where bars are days or weekdays."""
    week, rest = divmod(WEEK_MS, freq)
    return YEAR_MS // WEEK_MS * week if freq >= DAY_MS and week > 1 and not rest else None


def _calendar(history: History, *, week: bool) -> tuple[Period, ...]:
    """Return the periods longer than a bar; the week where it is a season, the year if the history has one."""
    span = int(history.ts_N[-1] - history.ts_N[0])
    seen = {"hour": True, "half-day": True, "day": True, "week": week, "year": span > YEAR_MS}
    periods: tuple[Period, ...] = ("hour", "half-day", "day", "week", "year")
    return tuple(p for p in periods if CALENDAR_MS[p] > history.freq_ms and seen[p])


def _bars_by_series(history: History) -> npt.NDArray[np.int64]:
    """Return how many bars of each series have records."""
    bar_N = history.grid.bar(history.ts_N)
    span = int(bar_N[-1] - bar_N[0]) + 1
    places = np.unique(history.series_N.astype(np.int64) * span + (bar_N - bar_N[0]))
    return np.bincount(places // span)
