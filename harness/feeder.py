"""An invented service: records of seasonal series, forecasts of them by two lanes, and dead letters."""

from __future__ import annotations

import dataclasses

import numpy as np
import orjson

from streamcast.consumers.transport import Batch, Partition
from streamcast.page.board import Board
from streamcast.spec.durations import DAY_MS
from streamcast.spec.model_spec import Column, SeriesSpec

RECORDS, FORECASTS, DEAD_LETTERS = (Partition(topic, 0) for topic in ("observations", "forecasts", "dead-letters"))
FREQ = 60_000
START = 1_793_534_400_000
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
PLACES = ("kiln", "press", "chiller", "line-a/pump", "hall", "meter")
SPREAD = (-1.28, -0.67, 0.0, 0.67, 1.28)
SPEC = SeriesSpec(columns=(Column(name="y"),), freq=FREQ, max_ahead=10 * 365 * DAY_MS)


class Feeder:
    """Generates ``series`` series of one-minute bars with a season of ``season`` bars.

    The challenger forecasts a little worse than the champion; the level of every 13th series shifts, which both miss;
    the last series stops after ``silent_after`` bars.
    """

    def __init__(
        self, series: int, *, horizon: int = 12, season: int = 24, seed: int = 7, silent_after: int = 10**9
    ) -> None:
        random = np.random.default_rng(seed)
        self._random = random
        self.keys = [f"{PLACES[number % len(PLACES)]}-{number:05d}" for number in range(series)]
        self._level = random.lognormal(3, 1, series)
        self._swing = self._level * random.uniform(0.1, 0.5, series)
        self._phase = random.integers(0, season, series)
        self._noise = self._level * random.uniform(0.02, 0.12, series)
        self._steps = np.arange(1, horizon + 1)
        self._season, self._silent_after = season, silent_after
        self.bar = 0
        self._offsets = dict.fromkeys((RECORDS, FORECASTS, DEAD_LETTERS), 0)

    def _mean(self, bars: np.ndarray) -> np.ndarray:
        """The expected values of ``bars`` for every series; [S, ...]."""
        shape = (-1,) + (1,) * (bars.ndim)
        angle = 2 * np.pi * (bars + self._phase.reshape(shape)) / self._season
        return self._level.reshape(shape) + self._swing.reshape(shape) * np.sin(angle) + 0.2 * np.sin(bars / 37.0)

    def records(self) -> Batch:
        """One record of every series for the next bar."""
        values = self._mean(np.array(self.bar)) + self._noise * self._random.standard_normal(len(self.keys))
        values[::13] += self._level[::13] * 0.6 * ((self.bar // 40) % 2)
        rows = [
            {"key": key, "ts": START + self.bar * FREQ, "values": [float(value)]}
            for key, value in zip(self.keys, values, strict=True)
        ]
        if self.bar > self._silent_after:
            rows = rows[:-1]
        return self._batch(RECORDS, [orjson.dumps(row) for row in rows])

    def forecasts(self) -> Batch:
        """One forecast of every series and lane from the bar of the last ``records``."""
        rows = []
        for lane, error, version in (("champion", 0.3, "3"), ("challenger", 0.7, "4")):
            mean = self._mean(self.bar + self._steps)
            mean = mean + error * (self._noise * self._random.standard_normal(len(self.keys)))[:, None]
            spread = self._noise[:, None] * np.sqrt(1 + self._steps / 12)
            quantiles = [np.round(mean + z * spread, 4).tolist() for z in SPREAD]
            for number, key in enumerate(self.keys[: len(self.keys) - (self.bar > self._silent_after)]):
                by_level = {str(level): quantiles[q][number] for q, level in enumerate(LEVELS)}
                rows.append(forecast(key, START + self.bar * FREQ, by_level, lane=lane, model_version=version))
        self.bar += 1
        return self._batch(FORECASTS, rows)

    def dead_letters(self, rows: list[tuple[bytes, str, str]]) -> Batch:
        """Dead letters of (original bytes, reason, detail)."""
        batch = self._batch(DEAD_LETTERS, [row[0] for row in rows])
        source = [("source_topic", b"observations"), ("source_partition", b"0"), ("source_offset", b"17")]
        headers = [[("reason", reason.encode()), ("detail", detail.encode()), *source] for _, reason, detail in rows]
        return dataclasses.replace(batch, headers=headers)

    def _batch(self, partition: Partition, values: list[bytes]) -> Batch:
        first = self._offsets[partition]
        self._offsets[partition] += len(values)
        offsets = range(first, first + len(values))
        times = [START + self.bar * FREQ] * len(values)
        return Batch(partition, offsets, times, [None] * len(values), values, first + len(values))


def forecast(key: str, cutoff: int, quantiles: dict[str, list[float]], **fields: object) -> bytes:
    """One forecast as the service writes it."""
    message = {
        "unique_id": key, "cutoff": cutoff, "freq_ms": FREQ, "horizon": len(next(iter(quantiles.values()))),
        "quantiles": quantiles, "model": "load", "model_version": "3", "lane": "champion", "warm": True,
        "anomaly": 0.03, "source": {"topic": "observations", "partition": 0, "offset": 0}, **fields,
    }  # fmt: skip
    return orjson.dumps(message)


def fill(board: Board, feeder: Feeder, bars: int) -> None:
    """Add ``bars`` bars of records and forecasts to the board, and score them."""
    for _ in range(bars):
        board.take_records(feeder.records())
        board.take_forecasts(feeder.forecasts())
    board.score(10**6)
