"""Forecasts as columns, and as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from streamcast.kernels import text
from streamcast.spec.model_spec import ModelSpec

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LARGEST_REST = 8_192
"""Bytes of a record without its lists: twice the longest key, as a JSON string and as Kafka's, and the names."""


@dataclass(frozen=True, slots=True)
class Forecasts:
    """A forecasts, in the order of their records.

    record [A] rows of the observations; cutoffs [A] labels of the newest bars, epoch ms; values [A, H, Q] in
    the series' units; warm [A]; anomaly [A] in 0..1 (see ``kernels.scoring``), NaN while unknown.
    """

    record: Ints
    cutoffs: Ints
    values: Floats
    warm: npt.NDArray[np.bool_]
    anomaly: Floats

    def __len__(self) -> int:
        return len(self.record)

    def part(self, rows: slice) -> Forecasts:
        """Return the forecasts of these rows."""
        return Forecasts(self.record[rows], self.cutoffs[rows], self.values[rows], self.warm[rows], self.anomaly[rows])


class Source(msgspec.Struct):
    """The record that a forecast answers."""

    topic: str
    partition: int
    offset: int


class Published(msgspec.Struct):
    """The part of a forecast's JSON that names its lane, its record and the model that made it."""

    lane: str
    source: Source
    model: str = ""
    model_version: str = ""
    model_hash: str = ""

    @property
    def reference(self) -> str:
        """The version that the forecast names, as ``name@version``."""
        return f"{self.model}@{self.model_version}"


def shortened(digest: str) -> str:
    """Return the ``model_hash`` of a forecast of the model with this digest."""
    return digest[:16]


def unnamed(value: bytes, model: str, version: str) -> bytes:
    """Return a forecast with empty texts for the name and the version of its model.

    Two versions with equal digests are one model: their forecasts differ in nothing else.
    """
    return value.replace(_named(model, version).encode(), _named("", "").encode(), 1)


def _named(model: str, version: str) -> str:
    return f'"model":{_literal(model)},"model_version":{_literal(version)}'


def _literal(value: object) -> str:
    return msgspec.json.encode(value).decode()


class Encoder:
    """Writes the forecasts of one lane as JSON: fields in a fixed order, numbers of 6 significant digits or more.

    Where bars differ in length, a forecast has the starts of its bars, and no ``freq_ms``.
    """

    def __init__(self, spec: ModelSpec, model: str, version: str, digest: str, lane: str, topic: str) -> None:
        quantiles = [_literal(str(q)) for q in spec.quantiles]
        freq = _literal(None if spec.series.calendar else spec.series.freq)
        pieces = [
            '{"unique_id":',
            ',"cutoff":',
            f',"freq_ms":{freq},"horizon":{spec.horizon},"quantiles":{{{quantiles[0]}:[',
            *(f"],{quantile}:[" for quantile in quantiles[1:]),
            (
                f']}},{_named(model, version)},"model_hash":{_literal(shortened(digest))}'
                f',"lane":{_literal(lane)},"warm":'
            ),
            ',"anomaly":',
            f',"source":{{"topic":{_literal(topic)},"partition":',
            ',"offset":',
            "}}",
        ]
        raw = [piece.encode() for piece in pieces]
        self._pieces = np.frombuffer(b"".join(raw), np.uint8)
        self._ends = np.cumsum([len(piece) for piece in raw])
        # One number at most stands between two pieces, but for those of a quantile.
        self._numbers = _longest_numbers(spec) + (len(pieces) - len(quantiles)) * text.LONGEST_NUMBER
        self._grid, self._fine, self._nines = spec.series.grid, spec.follows_spread, spec.learns_tails
        self._ahead = np.arange(1, spec.horizon + 1)

    def encode(self, keys: Sequence[bytes], forecasts: Forecasts, partitions: Ints, offsets: Ints) -> list[bytes]:
        """Return A records; ``keys`` [A] are JSON strings, partitions and offsets [A] those of the sources."""
        lengths = np.cumsum([len(key) for key in keys], dtype=np.int64)
        joined = np.frombuffer(b"".join(keys), np.uint8)
        row = len(self._pieces) + self._numbers
        buffer = np.empty(len(keys) * row + len(joined), np.uint8)
        starts = np.empty((len(keys), 0), np.int64)
        if self._grid.calendar:
            starts = self._grid.start(self._grid.bar(forecasts.cutoffs)[:, None] + self._ahead)
        ends = np.empty(len(keys), np.int64)
        text.write_forecasts(
            buffer, self._pieces, self._ends, joined, lengths, forecasts.cutoffs, starts, forecasts.values, self._fine,
            forecasts.warm, forecasts.anomaly, self._nines, partitions, offsets, ends,
        )  # fmt: skip
        data = buffer[: ends[-1] if len(ends) else 0].tobytes()
        stops = ends.tolist()
        return [data[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]


def _longest_numbers(spec: ModelSpec) -> int:
    """Return how many bytes the lists of a forecast take at most."""
    lists = len(spec.quantiles) + (1 if spec.series.calendar else 0)
    return spec.horizon * lists * (text.LONGEST_NUMBER + 1)


def largest_answer(spec: ModelSpec) -> int:
    """Return how many bytes a record of a model's forecasts takes at most."""
    return _longest_numbers(spec) + LARGEST_REST


def encode_key(key: str) -> bytes:
    """Return a series key as a JSON string."""
    return msgspec.json.encode(key)
