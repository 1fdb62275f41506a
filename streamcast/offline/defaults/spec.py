"""The spec of a new model; what the user did not choose follows from the history's bar length and values.

Legend: K series.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from streamcast.errors import HistoryError, Option
from streamcast.models.spec import SpecError, listed, with_members
from streamcast.offline.defaults.seasons import YEAR_MS, further, in_bars, naive, seasons
from streamcast.offline.defaults.series import after_pauses, bars_by_series, columns
from streamcast.offline.defaults.transforms import chosen_transform
from streamcast.offline.evaluation.frames import quantile_column
from streamcast.offline.history.read import History
from streamcast.spec import zero
from streamcast.spec.durations import DAY_MS, HOUR_MS, WEEK_MS
from streamcast.spec.features import CALENDAR_MS
from streamcast.spec.local_time import UTC_TIME, LocalTime, local_time
from streamcast.spec.model_spec import (
    NEW_ONLINE,
    ONLINE_AFTER_FEW_BARS,
    ONLINE_BESIDE_NETWORK,
    Aggregate,
    Known,
    ModelSpec,
    Online,
    Scale,
    SeriesSpec,
    TargetBars,
    TransformName,
    spread,
)

MOST_BACK, FEWER_BACK = 7, 4
"""How many earlier seasons the model reads: of the shortest season, and of each other."""
YEARS_BACK = 3
"""How many earlier years a model of days or weekdays reads."""
ALIKE, ALIKE_OF_DAYS = 3, 6
"""How many earlier days of the same kind the model reads, where days of the week differ; the second of bars of days."""
MEMBERS_OF_DAYS, MANY_DAYS = 3, 30_000
"""Networks of a model whose bars are a day or longer, if there are fewer than so many of all series.

Then training takes seconds, and records are rare.  With more, one network is as good to a third of a percent.
"""
FEW_BARS = 10_000
"""Bars of all series, below which a network has learned too little to be without the second regression and a limit."""
SOFTMAX = 16
"""Least width of the read-out's softmax: torch takes eight times as long for 15 numbers as for 16."""
ONLINE_OF_NETWORKS = frozenset({"network_prior", "network_spread", "network_reach", "network_on_days_off"})
"""Fields of the online layer that say how it mixes a network."""
MOST_PLACES = 48
RECOMMENDED: Mapping[str, Mapping[str, Any]] = {"gru": {"layers": 1}}
"""Options of a network that is given by its name alone: beside the aligned read-out one layer is enough."""
WITH_SCALES = "lstm-attention"
"""The network that reads coarser scales where none are given."""
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
    upper: float | None = None,
    transform: TransformName | None = None,
    online: Mapping[str, Any] | None = None,
    plain: bool = False,
    members: int | None = None,
) -> ModelSpec:
    """Return a spec for a history; arguments that are None are chosen from its bar length and values.

    ``season`` is one season or several, in bars or as durations such as ``"1d"``.  ``timezone`` is that of the people
    whose days the series follows, ``holidays`` a country or region such as ``AU-VIC``; both become tables in the spec.
    ``known`` names columns whose future is published in advance; no forecast lies below ``lower`` or above
    ``upper``.
    ``transform`` is the scale of the target on which the model learns.  Where no value is negative, ``lower`` does not
    say that one may be, and errors grow with the level, a model that is not plain takes a square root; see
    ``transforms``.
    ``online`` has fields of the online layer that shall differ from a new model's.
    ``plain`` leaves out target bars and the online layer: a record costs a fraction, and forecasts are worse.
    ``members`` networks are trained, and their mean forecasts: better, at the cost of so many.  It is 3 for a network
    that is given by its name, where bars are a day or longer, fewer than 30,000 in all, and the model is not plain;
    else 1.

    ``mode`` says whether a record is a bar or one of its readings.  ``grace`` is how long a bar of ticks waits for late
    readings, ``aggregates`` how the readings of a column become one value (default: mean of numbers, last of
    categories).

    The first season is the one of hour, day, week and year that forecasts best in hindsight, or another cycle of the
    values that is clearly better; see ``seasons``.  The lags cover 14 of the shortest, at most 336 bars and a quarter
    of the longest series.  Any network can read coarser scales; only ``lstm-attention`` gets some without being asked:
    hours and days, where they are whole bars.
    Raises SpecError or pydantic's ValidationError for a wrong argument, or for some that do not fit together,
    HistoryError for an unknown column or a season that is no whole number of bars, SettingsError for an unknown time
    zone or holiday calendar.
    """
    if horizon < 1:
        raise SpecError(Option.HORIZON, f" is {horizon}: expected at least 1 bar")
    _require_a_column_each(quantiles)
    for name in online or ():
        if name not in Online.model_fields:
            raise SpecError(Option.ONLINE, f" names {listed(name, Online.model_fields)}")
    series = SeriesSpec.model_validate(
        {
            "columns": columns(history, aggregates or {}),
            "freq": history.freq_ms,
            "offset": history.offset_ms,
            "calendar": history.calendar,
            "mode": mode,
            "grace": grace,
        }
    )
    refuse_aggregates_of_samples(series)
    series = after_pauses(series, history)
    bars_K = bars_by_series(history)
    chosen = seasons(history, series, horizon) if season is None else in_bars(season, history.grid)
    compared = naive(history, series, horizon, chosen, given=season is not None)
    years = further(history, int(bars_K.max()), chosen)
    inputs = _known(history, known)
    local = _local(history, timezone, holidays)
    scale = chosen_transform(history, series, min(chosen), lower, "none" if plain and transform is None else transform)
    if network in zero.AS_NETWORK:
        _refuse_what_networks_have(lags, scales, online or {}, plain=plain, members=members)
        return zero.zero_spec(
            series, horizon, chosen, further=years, naive=compared, quantiles=quantiles, scored=spread(horizon),
            lower=lower, upper=upper, transform=scale, online=_layer(NEW_ONLINE, online or {}), known=inputs,
        )  # fmt: skip
    if plain and online:
        raise SpecError(
            Option.ONLINE, " has fields of the online layer, which a plain model does not have: leave one out"
        )
    networks = _networks(history.freq_ms, network, members, few=int(bars_K.sum()) < MANY_DAYS, plain=plain)
    return ModelSpec(
        series=series,
        horizon=horizon,
        quantiles=tuple(quantiles),
        lags=_lags(int(bars_K.max()), min(chosen)) if lags is None else lags,
        scales=_scales(history.freq_ms, networks, scales),
        season=chosen,
        further=() if plain else years,
        naive=compared,
        calendar=_calendar(history, week=_has_week(history.freq_ms, chosen)),
        half_life=HALF_LIFE,
        warm_up=max(min(WARM_UP, int(bars_K.max()) // 8), 2),
        scored=spread(horizon),
        lower=lower,
        upper=upper,
        transform=scale,
        online=None if plain else _layer_beside(int(bars_K.sum()), local, online or {}),
        targets=None if plain else _target_bars(history.freq_ms, chosen, years, local, inputs),
        network=networks,
    )


def refuse_aggregates_of_samples(series: SeriesSpec) -> None:
    """Raise SpecError for aggregates of a new model whose records are bars: the first record of a bar counts."""
    if series.mode == "sample" and any(column.aggregate is not None for column in series.columns):
        raise SpecError(
            Option.AGGREGATES, " is for ", Option.TICKS, ": without it a row is a bar, and of several the first counts"
        )


def _require_a_column_each(quantiles: Sequence[float]) -> None:
    """Raise SpecError for two quantiles whose forecasts would have one column."""
    for low, high in itertools.pairwise(sorted(set(quantiles))):
        if (column := quantile_column("model", low)) == quantile_column("model", high):
            raise SpecError(
                Option.QUANTILES, f" has {low!r} and {high!r}, which forecasts call by one name, {column}: leave one of"
                " them out",
            )  # fmt: skip


def _lags(bars: int, shortest: int) -> int:
    """Return how many bars the window has, where the longest series has ``bars``; a multiple of 8."""
    return max(min(14 * shortest, MOST_LAGS, bars // 4) // 8 * 8, FEWEST_LAGS)


def _networks(
    freq: int, network: str | Mapping[str, Any], members: int | None, *, few: bool, plain: bool
) -> Mapping[str, Any]:  # fmt: skip
    """Return the network's spec; one that is given by its name has what is recommended, and is three for few days."""
    if isinstance(network, str):
        network = {"kind": network, **({} if plain else RECOMMENDED.get(network, {}))}
        if members is None and freq >= DAY_MS and few and not plain:
            members = MEMBERS_OF_DAYS
    return dict(network if members is None else with_members(network, members))


def _scales(freq: int, network: Mapping[str, Any], given: Sequence[str | int] | None) -> tuple[Scale, ...]:
    """Return the coarser scales of the inputs: where none are given, hours and days for ``WITH_SCALES``."""
    if given is None:
        coarse = [every for every in (HOUR_MS, DAY_MS) if every > freq and every % freq == 0]
        given = coarse if network.get("kind") == WITH_SCALES else ()
    return tuple(Scale.model_validate({"every": every}) for every in given)


def _layer_beside(bars: int, local: LocalTime, fields: Mapping[str, Any]) -> Online:
    """Return the online layer beside a network that has learned from so many bars of all series."""
    usual = ONLINE_AFTER_FEW_BARS if bars < FEW_BARS else ONLINE_BESIDE_NETWORK
    return _layer(usual, {"network_on_days_off": bool(local.days_off), **fields})


def _target_bars(
    freq: int, chosen: Sequence[int], years: Sequence[int], local: LocalTime, known: tuple[Known, ...]
) -> TargetBars:  # fmt: skip
    """Return what the read-out reads of each target bar."""
    back = [MOST_BACK if one == min(chosen) else FEWER_BACK for one in chosen]
    return TargetBars(
        back=(*back, *(YEARS_BACK for _ in years)),
        alike=_alike(freq, chosen, local),
        local=local,
        places=max(min(DAY_MS // freq, MOST_PLACES), 1),
        week=_has_week(freq, chosen),
        known=known,
        softmax=SOFTMAX,
        loops=True,
        missing="share",
        mean=False,
    )


def _has_week(freq: int, chosen: Sequence[int]) -> bool:
    return WEEK_MS // freq in chosen


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


def _local(history: History, timezone: str | None, holidays: str | None) -> LocalTime:
    longer = history.freq_ms > DAY_MS and not history.grid.has_weekdays  # a weekday counts 1.4 days in grid time
    if holidays is not None and history.calendar is not None and longer:
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


def _layer(usual: Online, fields: Mapping[str, Any]) -> Online:
    """Return the usual online layer with some fields changed; raises pydantic's ValidationError."""
    return Online.model_validate({**usual.model_dump(), **fields})


def _alike(freq: int, chosen: Sequence[int], local: LocalTime) -> int:
    """Return how many earlier days of the same kind are read where a week is a season.

    It needs a season of a day, or bars of a day and days off: without these, a day of the week says what kind it is.
    """
    if not _has_week(freq, chosen):
        return 0
    if freq == DAY_MS:
        return ALIKE_OF_DAYS if local.days_off else 0
    return ALIKE if DAY_MS in (one * freq for one in chosen) else 0


def _calendar(history: History, *, week: bool) -> tuple[Period, ...]:
    """Return the periods longer than a bar; the week where it is a season, the year if the history has one."""
    span = int(history.ts_N[-1] - history.ts_N[0])
    seen = {"hour": True, "half-day": True, "day": True, "week": week, "year": span > YEAR_MS}
    periods: tuple[Period, ...] = ("hour", "half-day", "day", "week", "year")
    return tuple(p for p in periods if CALENDAR_MS[p] > history.freq_ms and seen[p])
