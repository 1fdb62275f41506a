"""Notes on what was chosen for a new model's spec, and on what was given and has no effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from streamcast.errors import Message, Option
from streamcast.models.spec import one_of
from streamcast.offline.defaults.seasons import MOST_DRIFT, YEAR_MS, fitting, gain, of_calendar, untried
from streamcast.offline.evaluation.accuracy import absolute_error, mean, usual
from streamcast.offline.evaluation.baselines import seasonal_error, seasons_back
from streamcast.offline.history.bars import panel
from streamcast.offline.history.read import History
from streamcast.spec import zero
from streamcast.spec.durations import DAY_MS, WEEK_MS
from streamcast.spec.model_spec import ModelSpec
from streamcast.wording import counted, naive_name, span_name

Floats = npt.NDArray[np.float64]

MANY_ZEROS = 0.05
"""Share of values that are 0, with none below, from which on a person is asked whether 0 is the bound."""

MANY_AT_TOP = 0.01
"""Share of values that are 100 (or 1), with none above, from which on a person is asked whether it is the bound."""

MANY_BEYOND = 0.01
"""Share of values beyond a model's bound above which the bound is wrong for them, and no longer for a few odd ones."""


def season_notes(history: History, spec: ModelSpec) -> tuple[str, ...]:
    """Return sentences about the seasons that were chosen for a spec, and about periods that could not be one."""
    freq, bar = spec.series.freq, spec.series.bar
    notes: list[str] = []
    if spec.season == (1,) and (short := untried(history)):
        named = f"{span_name(short[-1], freq)} ({counted(short[-1], 'bar')})"
        notes.append(Message(
            f"no season was found. One of {named} was not tried, because the {counted(history.bars, 'bar')} to train on"
            " do not hold it three times: if values repeat so, give ",
            Option.SEASON, f" {short[-1]}; without it, seasonal naive repeats the last value",
        ))  # fmt: skip
    elif spec.season == (1,):
        notes.append(Message(
            "no season was found, or the history holds none three times: seasonal naive repeats the last value;"
            " name one with ", Option.SEASON, ", in bars",
        ))  # fmt: skip
    else:
        notes.extend(_gain_notes(history, spec))
    for name, period in (("a day", DAY_MS), ("a week", WEEK_MS)):
        if freq < period and abs(round(period / freq) * freq - period) > MOST_DRIFT * freq:
            notes.append(Message(
                f"{name} is no whole number of bars of {bar} and was not tried as a season: choose a ", Option.FREQ,
                " that divides it",
            ))  # fmt: skip
    if freq > DAY_MS and 1 < round(YEAR_MS / freq) in spec.season:
        notes.append(f"a season of {round(YEAR_MS / freq)} bars stands for a year")
    return tuple(notes)


def _gain_notes(history: History, spec: ModelSpec) -> tuple[Message, ...]:
    """Return a sentence about a first season that no calendar has, or that is no better to repeat than the last value.

    ``spec`` has seasons that were chosen.
    """
    first, freq = spec.season[0], spec.series.freq
    found = gain(history, spec.series, spec.horizon, first)
    if found is None:
        return ()
    if not of_calendar(first, freq):
        return (Message(
            f"a season of {span_name(first, freq)} ({counted(first, 'bar')}) was found in the values: repeating it is"
            f" {found.share:.0%} better than repeating {naive_name(found.other, freq)}; ", Option.SEASON,
            " names other ones",
        ),)  # fmt: skip
    if found.share > 0.0:
        return ()
    tried = ", ".join(span_name(one, freq) for one in fitting(history))
    short = [f"{span_name(one, freq)} ({counted(one, 'bar')})" for one in untried(history)]
    why = f". The history does not hold {' or '.join(short)} three times, so that was not tried" if short else ""
    return (Message(
        f"no season that was tried ({tried}, and other cycles of the values) is better to repeat than the last value"
        f"{why}. If values repeat, name their season with ", Option.SEASON, ", in bars",
    ),)  # fmt: skip


def long_notes(history: History, spec: ModelSpec) -> tuple[Message, ...]:
    """Return a sentence about seasons of a spec that are longer than the history."""
    long = [season for season in spec.season if season > history.bars]
    if not long:
        return ()
    named = " and ".join(f"{span_name(season, spec.series.freq)} ({counted(season, 'bar')})" for season in long)
    are = f"the season of {named} is" if len(long) == 1 else f"the seasons of {named} are"
    return (Message(
        f"{are} longer than the history ({counted(history.bars, 'bar')}), so no value of an earlier one is known:"
        " train on a longer history, or give a shorter ", Option.SEASON,
    ),)  # fmt: skip


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


def transform_notes(spec: ModelSpec) -> tuple[Message, ...]:
    """Return a sentence about the scale of the target that was chosen."""
    if spec.transform is None:
        return ()
    return (Message(
        f"the model learns on a square-root scale, because errors of {spec.series.target} grow with its level; ",
        Option.TRANSFORM, " none keeps the data's own",
    ),)  # fmt: skip


def rare_notes(history: History, spec: ModelSpec) -> tuple[Message, ...]:
    """Return a sentence where the target is mostly one value, and always that one is better than seasonal naive."""
    y_KT = panel(history, spec.series).y_KT
    value = usual(y_KT)
    if value is None:
        return ()
    backs = seasons_back(np.array(spec.scored_steps), spec.naive_season).tolist()
    if not mean(absolute_error(y_KT, value)) < mean([mean(seasonal_error(y_KT, back)) for back in backs]):
        return ()
    repeated = naive_name(spec.naive_season, spec.series.freq)
    return (Message(
        f"more than half of the values are {value:g}, and always {value:g} has a smaller mean absolute error than"
        f" repeating {repeated}: MAE rewards a forecast that never changes. Look at the backtest's mse and crps and at"
        " upper quantiles (", Option.QUANTILES, "), or forecast longer bars (", Option.TICKS, " with ", Option.FREQ,
        " and ", Option.AGGREGATES, ")",
    ),)  # fmt: skip


def bound_notes(history: History, spec: ModelSpec) -> tuple[Message, ...]:
    """Return sentences about bounds that a spec lacks: many values are 0, or at 1 or 100, and none is beyond."""
    known_N = _known_targets(history)
    if known_N.min(initial=np.inf) < 0:
        return ()
    return (*_bound_below(known_N, spec), *_bound_above(known_N, spec))


def _bound_below(known_N: Floats, spec: ModelSpec) -> tuple[Message, ...]:
    share = float((known_N == 0).mean()) if len(known_N) else 0.0
    if spec.lower is not None or share < MANY_ZEROS:
        return ()
    return (Message(f"{share:.0%} of the values are 0 and none is less: if none can be, give ", Option.LOWER, " 0"),)


def _bound_above(known_N: Floats, spec: ModelSpec) -> tuple[Message, ...]:
    """Return a sentence about shares and percentages of which many are at their bound; counts reach 100 by chance."""
    top = known_N.max(initial=-np.inf)
    share = float((known_N == top).mean()) if len(known_N) else 0.0
    if spec.upper is not None or top not in (1.0, 100.0) or share < MANY_AT_TOP or (known_N % 1.0 == 0.0).all():
        return ()
    return (Message(
        f"{share:.0%} of the values are {top:g} and none is more: if none can be, give ", Option.UPPER, f" {top:g}",
    ),)  # fmt: skip


def beyond_notes(history: History, spec: ModelSpec) -> tuple[Message, ...]:
    """Return sentences about a few values of a history that lie too low or too high for a model, new or not.

    No forecast reaches those beyond its bounds (``beyond_warnings`` speaks of many); those below 0 do not suit a scale
    that was chosen without them.
    """
    few = tuple(said for said, many in _beyond_bounds(history, spec) if not many)
    known_N = _known_targets(history)
    negative = int((known_N < 0).sum())
    if spec.lower is not None or spec.transform is None or not negative:
        return few
    scale = "square-root" if spec.transform.kind == "sqrt" else "logarithmic"
    return (*few, Message(
        f"{negative:,} of {len(known_N):,} values lie below 0, down to {known_N.min():g}: the model reads them by size"
        f" and sign on a {scale} scale, which suits values of one sign; if such values are usual, train on data that"
        " has them, with ", Option.TRANSFORM, " none",
    ))  # fmt: skip


def beyond_warnings(history: History, spec: ModelSpec) -> tuple[Message, ...]:
    """Return warnings, with the remedy, where many values of a history lie beyond a bound of a model, new or not."""
    return tuple(said for said, many in _beyond_bounds(history, spec) if many)


def _beyond_bounds(history: History, spec: ModelSpec) -> Iterator[tuple[Message, bool]]:
    """Yield a sentence about values beyond each bound, and whether they are more than ``MANY_BEYOND`` of all."""
    known_N = _known_targets(history)
    if spec.lower is not None:
        below_N = known_N[known_N < spec.lower]
        where = f"below the bound of {spec.lower:g}, down to {below_N.min(initial=np.inf):g}"
        yield from _beyond(len(below_N), len(known_N), where, Option.LOWER, "a lower one")
    if spec.upper is not None:
        above_N = known_N[known_N > spec.upper]
        where = f"above the bound of {spec.upper:g}, up to {above_N.max(initial=-np.inf):g}"
        yield from _beyond(len(above_N), len(known_N), where, Option.UPPER, "a higher one")


def _beyond(beyond: int, known: int, where: str, bound: Option, better: str) -> Iterator[tuple[Message, bool]]:
    if beyond:
        yield Message(
            f"{beyond:,} of {known:,} values lie {where}: no forecast reaches them, and no interval holds them; if they"
            " are right, train without ", bound, f", or with {better}",
        ), beyond > MANY_BEYOND * known  # fmt: skip


def _known_targets(history: History) -> Floats:
    target_N = history.values_NC[:, 0]
    return target_N[np.isfinite(target_N)]


def unread_notes(spec: ModelSpec, known: Sequence[str], holidays: str | None) -> tuple[str, ...]:
    """Return sentences about inputs of a model that reads none, and what it was given to know ahead."""
    without = spec.network.get("kind") == zero.KIND
    read = {each.name for each in spec.effects}
    inputs = ", ".join(repr(column.name) for column in spec.series.columns[1:] if without and column.name not in read)
    alone = "a model without a network reads the target and known inputs that are numbers"
    unread = (f"not read: {inputs}, because {alone}",) if inputs else ()
    given = [(Option.KNOWN, known if not read else ()), (Option.HOLIDAYS, holidays)]
    options = [option for option, value in given if value]
    if (spec.targets is not None and not without) or not options:
        return unread
    named = [part for option in options for part in (option, " and ")][:-1]
    have = "has" if len(options) == 1 else "have"
    kind = alone if without else "a plain model reads nothing ahead"
    return (*unread, Message(*named, f" {have} no effect: {kind}"))
