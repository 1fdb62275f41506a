"""Bars of a history that have no row, and series that end before others, in words."""

from __future__ import annotations

import numpy as np

from streamcast.app.moments import moment
from streamcast.offline.defaults.series import pauses, samples
from streamcast.offline.history.read import History
from streamcast.spec.model_spec import SeriesSpec
from streamcast.wording import counted

MOST_NAMED = 3
"""Series that a note names."""
MOST_BEHIND = 168
"""Bars by which a series may end before the newest one without a note."""
CLOSED, TIMES_CLOSED = 0.05, 8
"""From this share of the bars and so many stretches on, those without a row may be times at which nothing happens."""


def missing_bars(history: History, timezone: str, series: SeriesSpec | None = None) -> list[str]:
    """Return notes on the bars without a row between the first and the last row of a series; none if there are none.

    Of each series it has the number and the longest stretch, with the time after which that begins, in ``timezone``.
    If a stretch is so long that its series restarts, it says so: by ``series``, else by what a new model has.  Where
    many bars have no row, a second note says that forecasts have them all.
    """
    order_N, left_out_N = pauses(history)
    series_N = history.series_N[order_N]
    missing_K = np.bincount(series_N, left_out_N, len(history.keys)).astype(np.int64)
    worst = [place for place in np.argsort(-missing_K, kind="stable").tolist() if missing_K[place]]
    ended = _ended(history, timezone, series)
    if not worst:
        return ended
    named = []
    for place in worst[:MOST_NAMED]:
        row = int(np.where(series_N == place, left_out_N, 0).argmax())
        after = moment(int(history.ts_N[order_N[row]]), timezone)
        named.append(f"{history.keys[place]!r} {missing_K[place]:,} (most at once: {left_out_N[row]:,}, after {after})")
    others = len(worst) - len(named)
    more = f", and {counted(others, 'other series', 'other series')}" if others else ""
    most = _longest_gap_in(history, series)
    restarts = f"; a gap of more than {counted(most, 'bar')} restarts its series" if left_out_N.max() > most else ""
    found = [f"bars without a row between rows of their series count as missing: {', '.join(named)}{more}{restarts}"]
    if (left_out_N > 0).sum() >= TIMES_CLOSED and missing_K.sum() >= CLOSED * (missing_K.sum() + len(order_N)):
        found.append("forecasts have all bars: leave out those that are never observed, such as closed days")
    return [*found, *ended]


def _ended(history: History, timezone: str, series: SeriesSpec | None) -> list[str]:
    """Return a note on series that ended early: the time since their last row would count as a long gap."""
    last_K = np.zeros(len(history.keys), np.int64)
    np.maximum.at(last_K, history.series_N, history.ts_N)
    behind_K = history.grid.bar(last_K.max(initial=0)) - history.grid.bar(last_K)
    ended_K = np.flatnonzero(behind_K > min(_longest_gap_in(history, series), MOST_BEHIND))
    if not len(ended_K):
        return []
    first = int(ended_K[behind_K[ended_K].argmax()])
    ends, goes_on = (moment(int(at), timezone) for at in (last_K[first], last_K.max()))
    which = "a series ends early," if len(ended_K) == 1 else f"{len(ended_K):,} series end early, the first"
    after = f"others go on to {goes_on}, and the forecasts of a series follow its own last row"
    return [f"{which} {history.keys[first]!r} at {ends}: {after}"]


def _longest_gap_in(history: History, series: SeriesSpec | None) -> int:
    """Return the longest gap of a model's series, or of those of a new model of a history."""
    return (series or samples(history)).longest_gap
