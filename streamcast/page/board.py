"""The live page's data: a bounded picture of all series, built from the records of the topics only.

It does no I/O: ``feed.py`` reads the records, ``views.py`` turns the board into JSON.
All input is untrusted: sizes are checked, texts are shortened and made printable.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

import msgspec
import numpy as np

from streamcast.consumers.transport import Batch
from streamcast.page.dead_letters import DeadLetters, ShownDeadLetter
from streamcast.page.pulse import Pulse
from streamcast.page.ticks import Ticks
from streamcast.page.track import Anomaly, Bars, Forecast, Track
from streamcast.printable import printable
from streamcast.quality import OLDER_SEASONS, Quality, Sums
from streamcast.spec.durations import DAY_MS, WEEK_MS
from streamcast.spec.model_spec import ANOMALOUS, SeriesSpec
from streamcast.topics.ahead import NOTHING_AHEAD, Ahead
from streamcast.topics.names import MOST_LANES
from streamcast.topics.observations import EARLIEST_MS, LATEST_MS, LONGEST_KEY, Decoder

_MOST_NUMBERS: Final = 20_000
_LONGEST_PROBLEM: Final = 2_000

SAMPLE_SECONDS: Final = 2.0
TREND_SAMPLES: Final = 150
_CLOCK_MS: Final = (WEEK_MS, DAY_MS)
MOST_PROBLEMS: Final = 20
_STUCK_SECONDS: Final = 30.0
"""After so long without progress the page no longer waits for what was in the topics when it started."""
RECENT_BARS: Final = 48
"""Bars of a series on the wall; an anomaly in so many of the newest bars of all series is a recent one."""
MOST_CUTOFFS: Final = 96
"""Forecasts kept of a series and lane."""
_MOST_BARS: Final = 16_000_000
"""Bars kept of all series, 16 bytes each."""

MOST_FORECAST_NUMBERS: Final = 32_000_000
"""Numbers kept of all forecasts, 8 bytes each."""

_Bars = TypeVar("_Bars", int, Bars)

Numbers = Mapping[str, float | None]


class ServedLane(NamedTuple):
    """A lane of the service: its model, and whether it is a shadow, which is measured and publishes nothing."""

    model: str
    shadow: bool = False


class _ForecastMessage(msgspec.Struct, gc=False):
    """The fields of a forecast record that the page shows."""

    unique_id: str
    cutoff: int
    freq_ms: int | None
    quantiles: dict[str, list[float]]
    lane: str
    model: str = ""
    model_version: str = ""
    warm: bool = True
    anomaly: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """Rates (per second), accuracy and the service's numbers at one moment (seconds of the board's clock).

    ``reported`` says whether the accuracy is the service's own; of the champion's outcomes in it, ``trained_outcomes``
    are of forecasts that reach into the data that its model was trained on.  ``anomalous`` is the number of series with
    a recent anomaly, ``ahead`` that of series whose newest forecast is further ahead than is credible.
    """

    at: float
    records_rate: float
    forecasts_rate: float
    lanes: Mapping[str, Quality]
    reported: bool
    trained_outcomes: int
    anomalous: int
    ahead: int
    service: Numbers | None


class Board:
    """Everything the page shows; hold ``lock`` while reading it.

    ``spec`` and ``ahead`` describe the records, ``season`` is the season of seasonal naive in bars, which looks back at
    most ``reach`` bars (0: any number), ``scored`` are the steps ahead that count (all, if there are none),
    ``champion`` names the lane that the wall shows, ``trained`` says how good its training found it, on data up to
    ``trained_until`` (epoch ms), ``zone`` is the series' time zone.  ``anomalous`` is the anomaly from which on a bar
    of a lane is marked (``ModelSpec.anomalous``; 0.997 for lanes that it does not name).  The page shows ``bars`` bars
    of a series; the board keeps as many as seasonal naive needs too, at most ``max_series`` series (fewer where seasons
    are long; a new one replaces the one silent for longest), and forecasts of at most ``max_numbers`` numbers of 8
    bytes in all: of more series, or of longer horizons, it keeps fewer forecasts each, and then fewer series.
    ``clock`` returns seconds that only grow, ``now`` the time (epoch seconds).

    The service keeps a state of a series in each partition that has records of its key, and so does the board.
    ``tracks`` has one for each key, that of the partition with the most records; ``split`` names the partitions of the
    keys that have more than one.
    """

    def __init__(
        self,
        spec: SeriesSpec,
        season: int,
        *,
        ahead: Ahead = NOTHING_AHEAD,
        scored: Sequence[int] = (),
        reach: int = 0,
        champion: str = "champion",
        trained: str = "",
        trained_until: int | None = None,
        zone: str = "UTC",
        anomalous: Mapping[str, float] | None = None,
        max_series: int = 20_000,
        bars: int = 512,
        max_numbers: int = MOST_FORECAST_NUMBERS,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.spec, self.season, self.champion, self.zone = spec, season, champion, zone
        self.scored, self.reach = tuple(scored), reach
        self.trained, self.trained_until = trained, trained_until
        self._anomalous = anomalous or {}
        self.bars, self.clock, self.started = bars, clock, clock()
        self.lock = threading.RLock()
        self.tracks: dict[str, Track] = {}
        self.split: dict[str, set[int]] = {}
        self._tracks: dict[tuple[str, int], Track] = {}
        self.sums: dict[str, dict[str, Sums]] = {}
        self.models: dict[str, str] = {}
        self._dead = DeadLetters()
        self.samples: deque[Sample] = deque(maxlen=TREND_SAMPLES)
        self.pulse = Pulse(spec, clock, now)
        self.counts = Counter[str]()
        self.trouble: str | None = None
        self.stopped: list[str] = []
        self.reading: float | None = None
        self._read, self._asked, self._progress = 1.0, True, clock()
        self._service: Numbers | None = None
        self._served_lanes: Mapping[str, ServedLane] = {}
        self.problems: Sequence[str] = ()
        self._served: float | None = None
        seasons = (OLDER_SEASONS + 1) * season
        past = min(reach or seasons, seasons)
        self._kept_bars = max(bars, past + MOST_CUTOFFS + max(scored, default=0) + spec.open_bars)
        self.max_series = max(1, min(max_series, _MOST_BARS // self._kept_bars))
        self._max_numbers, self._numbers = max_numbers, 0
        self._sizes: dict[str, int] = {}
        self._decoder = Decoder(spec, ahead)
        self._decode_forecast = msgspec.json.Decoder(_ForecastMessage).decode
        self._unscored: dict[str, None] = {}
        self._trained_outcomes: dict[str, int] = {}
        self._last_trained = None if trained_until is None else spec.grid.bar(trained_until)

    def take_records(self, batch: Batch) -> None:
        """Add records of the input topic; count those that the service would reject as unreadable."""
        observations, poison = self._decoder.decode([batch])
        bars = self.spec.grid.bar(observations.times).tolist()
        times = self.spec.grid.to_grid(observations.times).tolist()
        seen = [not all(map(math.isnan, row)) for row in observations.values.tolist()]
        ticks = self.spec.mode == "ticks"
        with self.lock:
            self.pulse.take_records(batch.timestamps, bars)
            self.counts["unreadable"] += len(poison)
            targets = observations.values[:, 0].tolist()
            for key, bar, time_ms, value, any_seen in zip(observations.keys, bars, times, targets, seen, strict=True):
                track = self._track(key, batch.partition.index)
                if track.add_tick(time_ms, value, seen=any_seen) if ticks else track.observe(bar, value):
                    self._unscored[key] = None

    def take_forecasts(self, batch: Batch) -> None:
        """Add records of the forecasts topic; count those that are not forecasts of this series spec as unreadable."""
        cutoffs = []
        with self.lock:
            for value in batch.values:
                try:
                    cutoffs.append(self._add_forecast(self._decode_forecast(value or b""), batch.partition.index))
                except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
                    self.counts["unreadable"] += 1
            self.pulse.take_forecasts(len(batch), cutoffs)

    def take_dead_letters(self, batch: Batch) -> None:
        """Add records of the dead-letter topic; see ``DeadLetters``."""
        with self.lock:
            self.counts["dead_letters"] += self._dead.take(batch)

    @property
    def dead(self) -> list[ShownDeadLetter]:
        """The dead letters that the page lists, the newest last."""
        return self._dead.letters()

    def start_reading(self) -> None:
        """From now on the board holds a part of what the topics hold already; see ``report_reading``.

        ``reading`` is the share of it that was read; None when all was and the service has been asked for its numbers.
        Until then the newest on the board is not the newest that there is.
        """
        with self.lock:
            self.reading, self._read, self._asked, self._progress = 0.0, 0.0, False, self.clock()

    def report_reading(self, share: float) -> None:
        """Set the share of the records from before the start that was read."""
        with self.lock:
            if share > self._read:
                self._read, self._progress = share, self.clock()

    def count_skipped(self, records: int) -> None:
        """Count ``records`` that the feed skipped to keep up with the topics."""
        with self.lock:
            self.counts["skipped"] += records

    def report_trouble(self, what: str | None) -> None:
        """Set the reason why the topics cannot be read; None when they can."""
        with self.lock:
            self.trouble = what

    def report_stopped(self, what: str) -> None:
        """Note that a reader of the page has ended by an error: from now on a part of the board does not change."""
        with self.lock:
            self.stopped.append(what)

    def report_service(
        self, numbers: Numbers | None, problems: Sequence[str] = (), lanes: Mapping[str, ServedLane] | None = None
    ) -> None:
        """Set the service's own numbers (``Telemetry.summary``), None while it does not answer.

        ``problems`` are why it is not ready, in its words, and ``lanes`` those that it runs, where it says so.
        """
        with self.lock:
            self._service, self._asked = numbers, True
            self._served_lanes = {
                printable(lane.encode()): served._replace(model=printable(served.model.encode()))
                for lane, served in list((lanes or {}).items())[:MOST_LANES]
            }
            self.problems = [printable(problem.encode(), _LONGEST_PROBLEM) for problem in problems[:MOST_PROBLEMS]]
            if numbers is not None:
                self._served = self.clock()

    def score(self, most: int = 250) -> None:
        """Score up to ``most`` changed series, those that wait longest first; then add a sample to the trend."""
        with self.lock:
            for key in list(self._unscored)[:most]:
                del self._unscored[key]
                track = self.tracks[key]
                errors = {lane: track.errors(lane, self.season, self.scored, self.reach) for lane in track.forecasts}
                self.sums[key] = {lane: found.sums() for lane, found in errors.items() if found}
                if self._last_trained is not None and (mine := errors.get(self.champion)):
                    self._trained_outcomes[key] = mine.trained_outcomes(self._last_trained)
                track.note_closed(self.periods())
                track.version += 1
            now = self.clock()
            self._note_reading(now)
            self._dead.next_round()
            if not self.samples or now - self.samples[-1].at >= SAMPLE_SECONDS:
                lanes = {lane: self.quality(lane) for lane in self.lanes()}
                rates = self.pulse.records.rate(now), self.pulse.forecasts.rate(now)
                reported, trained = self.is_reported(), self._counted_trained_outcomes()
                anomalous = sum(map(self._has_recent_anomaly, self.tracks.values()))
                ahead = sum(self.behind(track) < 0 for track in self.tracks.values())
                self.samples.append(Sample(now, *rates, lanes, reported, trained, anomalous, ahead, self._service))

    def kept_forecasts(self) -> int:
        """How many forecasts of a series and lane are kept."""
        each = sum(self._sizes.values()) * len(self._tracks)
        return min(MOST_CUTOFFS, max(1, self._max_numbers // max(each, 1)))

    def lanes(self) -> Mapping[str, ServedLane]:
        """The lanes that the service says it runs, shadows among them; while it does not say, those with forecasts."""
        return self._served_lanes or {lane: ServedLane(model) for lane, model in self.models.items()}

    def service(self) -> Numbers | None:
        """The service's own numbers; None while it does not answer."""
        return self._service

    def quality(self, lane: str) -> Quality:
        """The quality of a lane over all series: as the service reports it, else over the kept forecasts.

        All lanes have theirs over the same kind of outcomes, that of the champion.
        """
        if self.is_reported():
            return self._reported(lane) or Quality()
        return sum((lanes[lane] for lanes in self.sums.values() if lane in lanes), Sums()).quality()

    def is_reported(self) -> bool:
        """Whether the champion's quality is the service's own number."""
        return self._reported(self.champion) is not None

    def label(self, bars: _Bars) -> _Bars:
        """The labels (epoch ms) of bar numbers."""
        return self.spec.grid.start(bars)

    def periods(self) -> list[int]:
        """Lengths of the periods that closed hours repeat with, in bars: a week, a day, the season."""
        return [length // self.spec.freq for length in _CLOCK_MS if length % self.spec.freq == 0] + [self.season]

    def behind(self, track: Track) -> float:
        """Bars from the series' newest forecast to the newest of all series; infinite while it has none.

        Closed bars do not count, as scoring found them.  It is negative where the series is further ahead than is
        credible; see ``Pulse``.
        """
        forecasts = track.forecasts.get(self.champion)
        if not forecasts or self.pulse.watermark is None:
            return math.inf
        return float(track.open_bars(forecasts[-1].cutoff, self.pulse.watermark))

    def in_closed_hours(self, track: Track) -> bool:
        """Whether other series have newer forecasts than this one, and all bars since its newest are closed."""
        forecasts = track.forecasts.get(self.champion)
        if not forecasts:
            return False
        return self.behind(track) == 0 and forecasts[-1].cutoff != self.pulse.watermark

    def anomalous(self, lane: str) -> float:
        """The anomaly from which on a bar of a lane is marked."""
        return self._anomalous.get(lane, ANOMALOUS)

    def anomalies(self, track: Track, lane: str) -> list[Anomaly]:
        """The marked bars of a lane among those of the series that the page shows, oldest first."""
        return [anomaly for anomaly in track.anomalies.get(lane, ()) if self._shows(track, anomaly)]

    def newest_anomaly(self, track: Track) -> Anomaly | None:
        """The champion's newest marked bar of a series; None without one."""
        noted = track.anomalies.get(self.champion)
        return noted[-1] if noted and self._shows(track, noted[-1]) else None

    def _shows(self, track: Track, anomaly: Anomaly) -> bool:
        return track.newest is not None and anomaly.bar > track.newest - self.bars

    def _has_recent_anomaly(self, track: Track) -> bool:
        found, watermark = self.newest_anomaly(track), self.pulse.watermark
        return found is not None and watermark is not None and watermark - RECENT_BARS < found.bar <= watermark

    def unserved(self) -> float:
        """Seconds since the service last reported its numbers."""
        return self.clock() - (self._served or self.started)

    def ended(self) -> bool:
        """Whether the data is a replay that is complete: all of it is answered, and no more comes."""
        return self.pulse.has_ended() and not (self._service or {}).get("lag_records")

    def _note_reading(self, now: float) -> None:
        """Note how far the readers are; when they are done, forget the rates and samples of their way."""
        if self.reading is None:
            return
        done = self._read >= 1.0 and self._asked
        self.reading = None if done or now - self._progress > _STUCK_SECONDS else self._read
        if self.reading is None:
            self.pulse.forget_rates()
            self.samples.clear()

    def _track(self, key: str, partition: int) -> Track:
        """The track of ``key`` in a partition, moved to the end of the order; a new one replaces the longest silent.

        It is shown from now on if it has more records than the one that is.
        """
        track = self._tracks.pop((key, partition), None)
        if track is None:
            if len(self._tracks) >= self.max_series:
                self._forget(*next(iter(self._tracks)))
            track = Track(self._kept_bars, Ticks(self.spec) if self.spec.mode == "ticks" else None, partition)
        self._tracks[key, partition] = track
        shown = self.tracks.setdefault(key, track)
        if shown is not track:
            self.split.setdefault(key, {shown.partition}).add(partition)
            if track.records > shown.records:
                self._forget_numbers(key)
                track.version = max(track.version, shown.version) + 1
                self.tracks[key] = track
        return track

    def _forget(self, key: str, partition: int) -> None:
        """Forget a track; if it is the one of its key that is shown, another is shown when it is next heard."""
        track = self._tracks.pop((key, partition))
        self._numbers -= track.numbers
        if self.tracks.get(key) is track:
            del self.tracks[key]
            self.split.pop(key, None)
            self._forget_numbers(key)

    def _forget_numbers(self, key: str) -> None:
        """Forget what was computed of the track that ``key`` showed."""
        self.sums.pop(key, None)
        self._unscored.pop(key, None)
        self._trained_outcomes.pop(key, None)

    def _add_forecast(self, message: _ForecastMessage, partition: int) -> int:
        """Keep a forecast and return its cutoff; raises ValueError where it is none of this series spec."""
        levels = _levels(tuple(message.quantiles))
        values = np.array(list(message.quantiles.values()), dtype=np.float64)
        lanes = self.models.keys() | {message.lane}
        cutoff = self.spec.grid.bar(message.cutoff)
        if (
            message.freq_ms != (None if self.spec.calendar else self.spec.freq)
            or not EARLIEST_MS <= message.cutoff <= LATEST_MS
            or self.label(cutoff) != message.cutoff
            or values.ndim != 2
            or not 0 < values.size <= _MOST_NUMBERS
            or not np.isfinite(values).all()
            or list(levels) != sorted(set(levels))
            or not 0 < len(message.unique_id) <= LONGEST_KEY
            or len(lanes) > MOST_LANES
            or not 0.0 <= (message.anomaly or 0.0) <= 1.0
        ):
            raise ValueError(f"not a forecast of bars of {self.spec.bar}: {message.unique_id[:64]!r}")
        self.models[message.lane] = f"{message.model}@{message.model_version}"
        self._make_room()
        track = self._track(message.unique_id, partition)
        forecast = Forecast(cutoff, levels, values, message.warm, message.anomaly)
        self._sizes[message.lane] = forecast.numbers
        self._numbers -= track.numbers
        track.add_forecast(message.lane, forecast, self.kept_forecasts(), self.anomalous(message.lane))
        self._numbers += track.numbers
        self._unscored[message.unique_id] = None
        return cutoff

    def _make_room(self) -> None:
        """Keep the forecasts within ``max_numbers``: fewer of all series, quiet ones too, and then fewer series."""
        if self._numbers <= self._max_numbers:
            return
        most = self.kept_forecasts()
        for (key, _), track in self._tracks.items():
            if track.trim_forecasts(most) and self.tracks.get(key) is track:
                self._unscored[key] = None
        self._numbers = sum(track.numbers for track in self._tracks.values())
        if self._numbers > self._max_numbers:
            room = self._max_numbers - self._max_numbers // 8  # the next pass over all series is not due at once
            while self._numbers > room and self._tracks:
                self._forget(*next(iter(self._tracks)))

    def _counted_trained_outcomes(self) -> int:
        if self.is_reported():
            return int((self._service or {}).get(f"{self.champion}.trained_outcomes") or 0)
        return sum(self._trained_outcomes.values())

    def _reported(self, lane: str) -> Quality | None:
        """The quality of a lane as the service reports it; None if it does not."""
        numbers = self._service or {}
        if not (outcomes := numbers.get(f"{lane}.outcomes")):
            return None
        relative, coverage = numbers.get(f"{lane}.relative_mae"), numbers.get(f"{lane}.coverage")
        return Quality(
            int(outcomes),
            relative=math.nan if relative is None else relative,
            coverage=math.nan if coverage is None else coverage,
        )


@lru_cache(maxsize=64)
def _levels(names: tuple[str, ...]) -> tuple[float, ...]:
    """The quantile levels as numbers: one tuple shared by all forecasts with the same names."""
    return tuple(map(float, names))
