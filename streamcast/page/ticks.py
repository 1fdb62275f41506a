"""Ticks become bars as the service makes them: the rules of ``kernels/advance.py`` for the target of one series.

The page has no kernels, so it has the rules again; ``tests/laws/test_page.py`` compares the bars of the two.
All times are those of the grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from streamcast.spec.model_spec import Aggregate, SeriesSpec


@dataclass(slots=True)
class _Part:
    """A bar that is open: its ticks' number and sum, or the one that counts with its time.

    ``seen`` says whether any column has a value.
    """

    value: float = math.nan
    count: int = 0
    time: int = 0
    seen: bool = False

    def add(self, value: float, time: int, reducer: Aggregate) -> None:
        """Add one value; of equal times, ``first`` is the one that came first and ``last`` the one that came last."""
        self.count += 1
        if self.count == 1:
            self.value, self.time = value, time
        elif reducer in {"mean", "sum"}:
            self.value += value
        elif reducer == "min":
            self.value = min(self.value, value)
        elif reducer == "max":
            self.value = max(self.value, value)
        elif time < self.time if reducer == "first" else time >= self.time:
            self.value, self.time = value, time

    def reduced(self, reducer: Aggregate) -> float:
        """The value of the bar, NaN while it has none."""
        if reducer == "count":
            return float(self.count) if self.seen else math.nan
        return self.value / self.count if reducer == "mean" and self.count else self.value


class Ticks:
    """The open bars of one series.

    A bar is closed when a tick is ``grace`` after its end: later ticks of it are late and change nothing.  A closed bar
    without ticks is a count of 0, unless the series has not begun, or begins again after a long silence.
    """

    __slots__ = ("_begun", "_event", "_heard", "_open", "_reducer", "_spec", "closed")

    def __init__(self, spec: SeriesSpec) -> None:
        self._spec, self._reducer = spec, spec.columns[0].reducer
        self._open: dict[int, _Part] = {}
        self._event: int | None = None
        self._heard: int | None = None
        self._begun = False
        self.closed: int | None = None

    def add(self, time: int, value: float, *, seen: bool) -> dict[int, float]:
        """Add a tick; return the bars that it changes with their values (NaN: none), oldest first; none if it is late.

        ``value`` is NaN where the tick has none, and ``seen`` says whether it has a value of any column.
        """
        bar, until = self._bar(time), self._bar(time - self._spec.grace)
        if self._event is None or self.closed is None:
            self._event, self.closed = time, until - 1
        elif bar <= self.closed:
            return {}
        changed = self._close(self._event, self.closed, time, until)
        self.closed = max(self.closed, until - 1)
        part = self._open.setdefault(bar, _Part())
        part.seen |= seen
        if not math.isnan(value):
            part.add(value, time, self._reducer)
        self._event = max(self._event, time)
        return {**changed, bar: part.reduced(self._reducer)}

    def _close(self, event: int, closed: int, time: int, until: int) -> dict[int, float]:
        """Close the bars before ``until``; return those without ticks that have a value, which is 0."""
        zeros = dict[int, float]()
        newest = self._bar(event)  # bars up to here may have ticks, later ones have none
        for bar in range(closed + 1, min(until, newest + 1)):
            part = self._open.pop(bar, None)
            if part is not None:
                self._heard = bar
            elif self._heard is not None and bar - self._heard > self._spec.max_gap:
                self._restart()
            self._begun |= part is not None and part.seen
            if part is None or not part.seen:
                zeros |= self._empty(bar)
        silent = range(newest + 1, until)
        if len(silent) > self._spec.max_gap or (until - 1 > closed and time - event > self._spec.ttl):
            self._restart()
        else:
            for bar in silent:
                zeros |= self._empty(bar)
        return zeros

    def _empty(self, bar: int) -> dict[int, float]:
        return {bar: 0.0} if self._begun and self._reducer == "count" else {}

    def _restart(self) -> None:
        self._begun, self._heard = False, None

    def _bar(self, time: int) -> int:
        return (time - self._spec.offset) // self._spec.freq
