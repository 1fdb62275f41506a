"""One series on the live page: its last bars, its last forecasts, and their errors.

Shape letters: T bars kept, F forecasts (cutoffs) kept, H steps ahead, Q quantiles.
A bar's number is (label - offset) / freq; everything here counts in bar numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamcast.page.ticks import Ticks
from streamcast.quality import OLDER_SEASONS, Sums, unseen

Floats = NDArray[np.float64]
Bars = NDArray[np.int64]

Flags = NDArray[np.bool_]

_NO_BAR = -(2**62)
_REGULAR = 0.8
_BESIDE_VALUES = 32
"""What a forecast takes in memory beside its values, in numbers of 8 bytes."""
MOST_ANOMALIES = 16
"""Anomalies kept of a series and lane."""


class Anomaly(NamedTuple):
    """A bar that is unusual enough to be marked, and the share of bars that are less so."""

    bar: int
    share: float


class Forecast(NamedTuple):
    """One forecast: ``values[q, h - 1]`` is the quantile ``levels[q]`` of bar ``cutoff + h``; [Q, H].

    ``anomaly`` is that of the bar ``cutoff``; None where it is not known.
    """

    cutoff: int
    levels: tuple[float, ...]
    values: Floats
    warm: bool
    anomaly: float | None = None

    @property
    def numbers(self) -> int:
        """The numbers of 8 bytes that it takes in memory."""
        return self.values.size + _BESIDE_VALUES

    @property
    def middle(self) -> int:
        """The index of the quantile nearest to one half."""
        return min(range(len(self.levels)), key=lambda q: abs(self.levels[q] - 0.5))


@dataclass(frozen=True, slots=True)
class LaneErrors:
    """Errors of one lane's forecasts; NaN where no value has been observed, seasonal naive has none, or no interval is.

    ``cutoffs`` is [F]; ``error`` and ``naive`` (absolute errors) and ``covered`` (0 or 1) are [F, H];
    ``warm`` is [F]; ``counted`` [F, H] marks the scored steps of warm forecasts.
    """

    cutoffs: Bars
    warm: Flags
    error: Floats
    naive: Floats
    covered: Floats
    counted: Flags

    def sums(self) -> Sums:
        """The sums over the outcomes that count, without pinball loss; see ``streamcast.quality``."""
        counts = self.counted & np.isfinite(self.error)
        error_N = self.error[counts]
        unknown_N = np.full(len(error_N), np.nan)
        return Sums.of(np.column_stack((error_N, self.naive[counts], unknown_N, self.covered[counts])))

    def trained_outcomes(self, last_trained: int) -> int:
        """How many of the outcomes that count are of forecasts that are not ``streamcast.quality.unseen``."""
        counts_F = (self.counted & np.isfinite(self.error)).sum(axis=1)
        return int(counts_F[~unseen(self.cutoffs, last_trained)].sum())

    def by_cutoff(self) -> dict[str, Floats | Bars]:
        """Mean error, seasonal naive's mean error, and coverage of each cutoff, NaN where it is not warm; [F] each."""
        means = {"error": self.error, "naive": self.naive, "coverage": self.covered}
        return {
            "cutoff": self.cutoffs,
            **{name: np.where(self.warm, _mean(values), np.nan) for name, values in means.items()},
        }


def _mean(values_FH: Floats) -> Floats:
    """The mean of each row's finite values; NaN for a row without any."""
    known = np.isfinite(values_FH)
    counts_F = known.sum(axis=1)
    sums_F = np.where(known, values_FH, 0.0).sum(axis=1)
    return np.where(counts_F > 0, sums_F / np.maximum(counts_F, 1), np.nan)


class Track:
    """The last T bars of one series, and its last forecasts by lane.

    ``ticks`` makes bars of ticks; without it a record is a whole bar (the first counts).
    ``partition`` is the one of its records; ``records`` counts those that were added, ``numbers`` is the memory
    of its forecasts in numbers of 8 bytes.
    """

    __slots__ = (
        "_bars_T", "_open_P", "_ticks", "_values_T", "anomalies", "forecasts", "newest", "numbers", "partition",
        "records", "version",
    )  # fmt: skip

    def __init__(self, bars: int, ticks: Ticks | None = None, partition: int = 0) -> None:
        self.partition, self.records = partition, 0
        self._bars_T: Bars = np.full(bars, _NO_BAR, dtype=np.int64)
        self._values_T: Floats = np.full(bars, np.nan)
        self._ticks = ticks
        self._open_P: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self.newest: int | None = None
        self.forecasts: dict[str, deque[Forecast]] = {}
        self.numbers = 0
        self.anomalies: dict[str, list[Anomaly]] = {}
        self.version = 0

    def observe(self, bar: int, value: float) -> bool:
        """Add a whole bar, whose value is NaN when missing; False if it is not newer than all before."""
        if self.newest is not None and bar <= self.newest:
            return False
        self._take({bar: value})
        return True

    def add_tick(self, time: int, value: float, *, seen: bool) -> bool:
        """Add a tick; see ``Ticks.add``. False if it is late."""
        if self._ticks is None:
            raise ValueError("this track has whole bars, not ticks: make it with Ticks")
        changed = self._ticks.add(time, value, seen=seen)
        if changed:
            self._take(changed)
        return bool(changed)

    def _take(self, changed: dict[int, float]) -> None:
        """Keep the values of one record's bars, oldest first, as far as they are among the last T."""
        for bar, value in changed.items():
            self.newest = bar if self.newest is None else max(self.newest, bar)
            if bar > self.newest - len(self._bars_T):
                place = bar % len(self._bars_T)
                self._bars_T[place], self._values_T[place] = bar, value
        self.records += 1
        self.version += 1

    def newest_closed(self) -> int | None:
        """The newest bar that no record changes any more: forecasts of later ones are not scored yet."""
        return self._ticks.closed if self._ticks else self.newest

    def add_forecast(self, lane: str, forecast: Forecast, most: int, anomalous: float) -> None:
        """Keep ``forecast``, and at most ``most`` of its lane. Cutoffs only rise, so an older one is a repeat.

        Its anomaly is kept for longer if it is ``anomalous`` or more: while it is one of the newest of its lane.
        """
        kept = self.forecasts.setdefault(lane, deque())
        if kept and forecast.cutoff < kept[-1].cutoff:
            return
        if kept and forecast.cutoff == kept[-1].cutoff:
            self.numbers -= kept.pop().numbers
        kept.append(forecast)
        self.numbers += forecast.numbers
        self._trim(kept, most)
        self._note_anomaly(lane, forecast, anomalous)
        self.version += 1

    def trim_forecasts(self, most: int) -> bool:
        """Keep the newest ``most`` forecasts of each lane; whether there were more."""
        before = self.numbers
        for kept in self.forecasts.values():
            self._trim(kept, most)
        return self.numbers < before

    def _trim(self, kept: deque[Forecast], most: int) -> None:
        while len(kept) > most:
            self.numbers -= kept.popleft().numbers

    def _note_anomaly(self, lane: str, forecast: Forecast, anomalous: float) -> None:
        if forecast.anomaly is not None and forecast.anomaly >= anomalous:
            noted = self.anomalies.setdefault(lane, [])
            if not noted or noted[-1].bar < forecast.cutoff:
                noted.append(Anomaly(forecast.cutoff, forecast.anomaly))
            del noted[:-MOST_ANOMALIES]

    def values(self, bars: Bars) -> Floats:
        """The values of ``bars`` in their shape; NaN where there is none."""
        places = bars % len(self._bars_T)
        kept = (self._bars_T[places] == bars) & (bars > (self.newest or 0) - len(self._bars_T))
        return np.where(kept, self._values_T[places], np.nan)

    def last(self, count: int) -> tuple[int, Floats]:
        """The last ``count`` bars, or as many as there are: the number of the first, and their values."""
        if self.newest is None:
            return 0, np.empty(0)
        held = self._bars_T[self._bars_T > self.newest - min(count, len(self._bars_T))]
        first = int(held.min())
        return first, self.values(np.arange(first, self.newest + 1))

    def closed(self, periods: Sequence[int]) -> Flags:
        """Which bars of a period never have a value, by bar number modulo its length; [P], empty if none are known.

        The period is the longest of ``periods`` that was seen twice.  Where values are missing irregularly (a fifth of
        the other bars has none), nothing is closed.
        """
        first, values = self.last(len(self._bars_T))
        period = max((length for length in periods if 2 * length <= len(values)), default=0)
        known = np.isfinite(values)
        if not period or not known.any():
            return np.zeros(0, dtype=bool)
        phases = np.arange(first, first + len(values)) % period
        closed_P = np.bincount(phases, weights=known, minlength=period) == 0
        return closed_P if known[~closed_P[phases]].mean() >= _REGULAR else np.zeros(0, dtype=bool)

    def note_closed(self, periods: Sequence[int]) -> None:
        """Keep which bars are closed, for ``open_bars``; see ``closed``."""
        closed_P = self.closed(periods)
        self._open_P = np.cumsum(~closed_P, dtype=np.int32) if closed_P.any() else np.zeros(0, dtype=np.int32)

    def open_bars(self, after: int, until: int) -> int:
        """How many of the bars after ``after``, up to ``until``, were not closed when that was last noted."""
        period = len(self._open_P)
        if not period:
            return until - after

        def count(bar: int) -> int:
            return bar // period * int(self._open_P[-1]) + int(self._open_P[bar % period])

        return count(until) - count(after)

    def errors(self, lane: str, season: int, scored: Sequence[int] = (), reach: int = 0) -> LaneErrors | None:
        """Errors of the kept forecasts of ``lane`` and of seasonal naive; None without forecasts or bars.

        ``scored`` are the steps that count; all, if there are none.
        """
        kept, closed = self.forecasts.get(lane), self.newest_closed()
        if not kept or closed is None:
            return None
        alike = [forecast for forecast in kept if _alike(forecast, kept[-1])]
        values_FQH = np.stack([forecast.values for forecast in alike])
        steps_H = np.arange(1, values_FQH.shape[2] + 1)
        cutoffs_F = np.array([forecast.cutoff for forecast in alike])
        bars_FH = cutoffs_F[:, None] + steps_H
        observed_FH = np.where(bars_FH <= closed, self.values(bars_FH), np.nan)
        naive_FH = self.naive(cutoffs_F, len(steps_H), season, reach)
        low_FH, high_FH = values_FQH[:, 0], values_FQH[:, -1]
        known_FH = np.isfinite(observed_FH) & (values_FQH.shape[1] > 1)
        covered_FH = np.where(known_FH, (low_FH <= observed_FH) & (observed_FH <= high_FH), np.nan)
        error_FH = np.abs(observed_FH - values_FQH[:, kept[-1].middle])
        counts_H = np.isin(steps_H, scored) if len(scored) else np.ones(len(steps_H), dtype=bool)
        warm_F = np.array([forecast.warm for forecast in alike])
        error_of_naive_FH = np.abs(observed_FH - naive_FH)
        return LaneErrors(cutoffs_F, warm_F, error_FH, error_of_naive_FH, covered_FH, warm_F[:, None] & counts_H)

    def naive(self, cutoffs_F: Bars, horizon: int, season: int, reach: int = 0) -> Floats:
        """The seasonal naive forecasts made at ``cutoffs_F``; [F, H], NaN where no season has a value.

        Bar c + h is forecast as the bar a whole number of seasons before it, the last at or before c (Hyndman &
        Athanasopoulos, Forecasting: principles and practice, 3rd ed., section 5.2); where that has no value,
        ``OLDER_SEASONS`` earlier ones are tried, within the last ``reach`` bars (0: any).
        """
        steps_H = np.arange(1, horizon + 1)
        bars_FH = cutoffs_F[:, None] + steps_H
        back_H = season * -(-steps_H // season)
        found_FH = np.full(bars_FH.shape, np.nan)
        for older in range(OLDER_SEASONS + 1):
            further_H = back_H + older * season
            allowed_H = further_H < reach if reach else np.ones(horizon, dtype=bool)
            found_FH = np.where(np.isnan(found_FH) & allowed_H, self.values(bars_FH - further_H), found_FH)
        return found_FH


def _alike(one: Forecast, other: Forecast) -> bool:
    return one.levels == other.levels and one.values.shape == other.values.shape
