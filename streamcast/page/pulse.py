"""Whether the stream lives: how fast records and forecasts come, what waits for an answer, when a replay has ended."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from streamcast.spec.durations import HOUR_MS
from streamcast.spec.model_spec import SeriesSpec

RATE_SECONDS: Final = 5.0
_REST_SECONDS: Final = 5.0
_REST_PAUSES: Final = 3
_LONGEST_REST_SECONDS: Final = 180.0
"""After so long a replay has ended, however long the pause before it was: the longest may lie between two replays."""
_QUIET_SECONDS: Final = 5.0
_DUE: Final = 1.5
"""Bars, and pauses between arrivals, after which the next record is due: it may come a little later than the last."""
_ARRIVALS: Final = 10
_REPLAY_BARS: Final = 3
_REPLAY_MS: Final = HOUR_MS


@dataclass(slots=True)
class Flow:
    """The records of one topic: their number, the time of the last, and the latest arrivals."""

    total: int = 0
    heard: float | None = None
    lately: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=1000))

    longest_pause: float = 0.0
    arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=_ARRIVALS))
    """The times of the latest arrivals; those within a second are one, as several partitions are read then."""

    def count(self, now: float, records: int) -> None:
        """Count ``records`` that arrived at ``now``."""
        if self.heard is not None:
            self.longest_pause = max(self.longest_pause, now - self.heard)
        self.total, self.heard = self.total + records, now
        self.lately.append((now, records))
        if not self.arrivals or now - self.arrivals[-1] >= 1.0:
            self.arrivals.append(now)

    def pace(self) -> float:
        """The longest of the latest pauses between arrivals, in seconds; 0 while there is none."""
        return max((after - before for before, after in pairwise(self.arrivals)), default=0.0)

    def rate(self, now: float) -> float:
        """Records per second over the last ``RATE_SECONDS``."""
        return sum(records for when, records in self.lately if now - when <= RATE_SECONDS) / RATE_SECONDS


@dataclass(slots=True)
class Newest:
    """The newest bar of many series, and the newest that is credible: one wrong time must not move all series' now."""

    credible: int | None = None
    beyond: int | None = None

    def take(self, bars: Sequence[int], limit: int) -> None:
        """Take bars that came; those after ``limit`` are not credible."""
        near = [bar for bar in bars if bar <= limit]
        if near:
            self.credible = max(near) if self.credible is None else max(self.credible, *near)
        if bars:
            self.beyond = max(bars) if self.beyond is None else max(self.beyond, *bars)

    @property
    def bar(self) -> int | None:
        """The newest credible bar; the newest of all where none is, as of data that lies in the future as a whole."""
        return self.beyond if self.credible is None else self.credible


class Pulse:
    """When records and forecasts came, and up to which bar of the data.

    ``clock`` returns seconds that only grow, ``now`` the time (epoch seconds).  ``newest_bar`` is the newest bar of all
    records, ``watermark`` the newest cutoff of all forecasts; neither counts a bar that is further ahead than
    ``max_ahead`` of the time and of the newest bar, unless there is no other.
    """

    def __init__(self, spec: SeriesSpec, clock: Callable[[], float], now: Callable[[], float] = time.time) -> None:
        self._spec, self._clock, self._now, self._started = spec, clock, now, clock()
        self.records, self.forecasts = Flow(), Flow()
        self._newest_record, self._newest_forecast = Newest(), Newest()
        self.unanswered_since: float | None = None
        self._first_bar: int | None = None
        self._written_ms = 0

    @property
    def newest_bar(self) -> int | None:
        """The newest bar of all records; None before the first."""
        return self._newest_record.bar

    @property
    def watermark(self) -> int | None:
        """The newest cutoff of all forecasts; None before the first."""
        return self._newest_forecast.bar

    def take_records(self, timestamps: Sequence[int], bars: Sequence[int]) -> None:
        """Count records by their Kafka timestamps (epoch ms); ``bars`` are those of the readable ones."""
        self.records.count(self._clock(), len(timestamps))
        if bars:
            limit_ms = self._limit_ms(self._newest_record)
            self._newest_record.take(bars, self._spec.grid.bar(limit_ms))
            self._first_bar = min(bars) if self._first_bar is None else self._first_bar
            self._note_answers()
            written = [stamp for stamp in timestamps if stamp <= limit_ms]
            if written or self._newest_record.credible is None:
                self._written_ms = int((written or timestamps)[-1])

    def take_forecasts(self, records: int, cutoffs: Sequence[int]) -> None:
        """Count records; ``cutoffs`` are the bars from which the forecasts among them were made."""
        self.forecasts.count(self._clock(), records)
        if cutoffs:
            self._newest_forecast.take(cutoffs, self._spec.grid.bar(self._limit_ms(self._newest_forecast)))
        self._note_answers()

    def forget_rates(self) -> None:
        """Count what came so far in no rate: it was in the topics before."""
        self.records.lately.clear()
        self.forecasts.lately.clear()

    def silence(self) -> float:
        """Seconds since the last record came; since the beginning while there was none."""
        return self._clock() - (self.records.heard or self._started)

    def patience(self) -> float:
        """Seconds without a record after which the stream is silent: a bar is due by its length and by the pace."""
        if self.records.heard is None:
            return _QUIET_SECONDS
        return max(_QUIET_SECONDS, _DUE * max(self._spec.freq / 1000, self.records.pace()))

    def unanswered(self) -> float:
        """Seconds for which records have waited while no forecast came; 0 while none is due."""
        if self.unanswered_since is None:
            return 0.0
        return self._clock() - max(self.unanswered_since, self.forecasts.heard or self._started)

    def is_replay(self) -> bool:
        """Whether the newest bar was written to the topic at least an hour and three bars away from its own time."""
        if self.newest_bar is None:
            return False
        away_ms = abs(self._written_ms - self._spec.grid.start(self.newest_bar))
        return away_ms > max(_REPLAY_MS, _REPLAY_BARS * self._spec.freq)

    def has_ended(self) -> bool:
        """Whether the data is a replay of which all is answered, and no more comes."""
        if self.watermark is None or self.records.heard is None:
            return False
        rest = min(max(_REST_SECONDS, _REST_PAUSES * self.records.longest_pause), _LONGEST_REST_SECONDS)
        return self.is_replay() and self.silence() > rest and self.unanswered_since is None

    def _note_answers(self) -> None:
        """Note since when a bar that is closed has no forecast."""
        if self.newest_bar is None or self._first_bar is None:
            return
        answered = self._first_bar - 1 if self.watermark is None else self.watermark
        if answered >= self.newest_bar - self._spec.open_bars:
            self.unanswered_since = None
        elif self.unanswered_since is None:
            self.unanswered_since = self._clock()

    def _limit_ms(self, newest: Newest) -> int:
        """The last credible time: ``max_ahead`` after now, or after the newest, as replays may go there."""
        now_ms = int(self._now() * 1000)
        if newest.credible is not None:
            now_ms = max(now_ms, self._spec.grid.start(newest.credible))
        return now_ms + max(self._spec.max_ahead, self._spec.freq)
