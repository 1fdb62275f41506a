"""Streams of records as Hypothesis strategies, the specs they are drawn for, and how to drive an engine through one.

Legend: N lines of a stream, A answers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from hypothesis import strategies as st

from streamcast.consumers.transport import Partition
from streamcast.engine.engine import Engine
from streamcast.models.network import Network
from streamcast.spec.folders import new_network
from streamcast.spec.local_time import LocalTime
from streamcast.spec.model_spec import (
    NEW_ONLINE,
    ONLINE_BESIDE_NETWORK,
    Column,
    Known,
    ModelSpec,
    Online,
    Scale,
    SeriesSpec,
    TargetBars,
    Transform,
)
from streamcast.spec.zero import zero_spec
from streamcast.topics.forecasts import Encoder
from streamcast.topics.observations import Observations

T = TypeVar("T")

MINUTE = 60_000
START = 1_767_225_570_000
"""2025-12-31T23:59:30Z: a bar's middle, just before a new day, week of the epoch and year."""

GRU = {"kind": "gru", "hidden": 8, "layers": 2}
LSTM_ATTENTION = {"kind": "lstm-attention", "hidden": 8, "ring": 5}

Y, LOAD, WIND = Column(name="y"), Column(name="load"), Column(name="wind", categories=("N", "E", "S"))
REDUCED = (
    Column(name="y"),
    Column(name="first", aggregate="first"),
    Column(name="last", aggregate="last"),
    Column(name="low", aggregate="min"),
    Column(name="high", aggregate="max"),
    Column(name="sum", aggregate="sum"),
    Column(name="trades", aggregate="count"),
    WIND,
)
SCALES = (Scale(every="5min", window=4), Scale(every="15min", window=3))


def model_spec(series: Mapping[str, object], network: Mapping[str, object] = GRU, **given: object) -> ModelSpec:
    """Return a small spec of one-minute bars; ``series`` and ``given`` override the defaults."""
    whole = {"columns": (Y,), "freq": MINUTE, "max_gap": 30, "ttl": "2h", **series}
    small = {"horizon": 3, "lags": 8, "season": 4, "warm_up": 3, "half_life": 5, **given}
    return ModelSpec(series=SeriesSpec(**whole), network=dict(network), **small)


FAR_AWAY = LocalTime(
    zone="far away",
    offsets=((0, 3_600_000), (START + 5 * MINUTE, -1_800_000)),
    days_off=(20_453, 20_455),
    until=START + 10**12,
)
"""Local time that changes within the streams of the laws, on a day off."""

SPECS: Mapping[str, ModelSpec] = {
    "gru": model_spec({}),
    "attention over three scales": model_spec({"columns": (Y, LOAD)}, LSTM_ATTENTION, scales=SCALES),
    "categories and seasons": model_spec(
        {"columns": (Y, WIND), "missing": "season", "offset": 20_000, "ttl": "10min"},
        lags=0,
        naive=3,
        calendar=("hour", "year"),
        scored=(1, 2, 3),
        schema_version=2,
    ),
    "small limits": model_spec({"max_gap": 2, "ttl": "10min"}, scales=SCALES[:1], schema_version=1),
    "ticks": model_spec({"columns": REDUCED, "mode": "ticks", "grace": "90s"}, scales=SCALES, schema_version=3),
    "ticks without grace": model_spec({"mode": "ticks", "max_gap": 20, "ttl": "10min"}, LSTM_ATTENTION, season=1),
    "target bars": model_spec(
        {"columns": (Y, LOAD, WIND)},
        horizon=6,
        season=(4, 9),
        lower=-20.0,
        targets=TargetBars(
            back=(2, 1), local=FAR_AWAY, places=24, known=(Known(name="load", center=1, spread=4), Known(name="wind"))
        ),
    ),
    "target bars of ticks": model_spec(
        {"columns": (Y, LOAD), "mode": "ticks", "grace": "60s"},
        LSTM_ATTENTION,
        scales=SCALES[:1],
        targets=TargetBars(back=(3,), week=False, known=(Known(name="load"),)),
    ),
    "days alike": model_spec(
        {"freq": "8h", "ttl": "30d"},
        horizon=5,
        season=(3, 21),
        targets=TargetBars(
            back=(1, 1), alike=2, local=FAR_AWAY, places=3, softmax=16, loops=True, missing="share", mean=False
        ),
        online=Online(network_on_days_off=True),
    ),
    "bars of days alike": model_spec(
        {"freq": "1d", "ttl": "90d"},
        horizon=5,
        season=(7,),
        targets=TargetBars(back=(2,), alike=3, local=FAR_AWAY, places=1, softmax=16, missing="share", mean=False),
        online=Online(network_on_days_off=True),
    ),
    "further seasons": model_spec(
        {},
        horizon=6,
        season=(4,),
        further=(9,),
        targets=TargetBars(back=(2, 2), loops=True, missing="share"),
        online=NEW_ONLINE,
    ),
    "online": model_spec({}, horizon=5, season=(4, 9), naive=2, online=ONLINE_BESIDE_NETWORK),
    "zero": zero_spec(
        SeriesSpec.model_validate({"columns": (Y, LOAD), "freq": MINUTE, "max_gap": 30, "ttl": "2h"}),
        5,
        (4, 9),
        lower=-20.0,
        upper=20.0,
    ),
    "an effect of known inputs": model_spec(
        {"columns": (Y, LOAD, WIND)},
        horizon=6,
        season=(4, 9),
        lower=-20.0,
        upper=20.0,
        targets=TargetBars(back=(2, 1), known=(Known(name="wind"), Known(name="load", center=1, spread=4))),
        online=NEW_ONLINE,
    ),
    "zero with known inputs": zero_spec(
        SeriesSpec.model_validate(
            {"columns": (Y, WIND, LOAD), "freq": MINUTE, "mode": "ticks", "grace": "60s", "max_gap": 30, "ttl": "2h"}
        ),
        5,
        (3,),
        transform=Transform(kind="sqrt"),
        known=(Known(name="wind"), Known(name="load", center=1, spread=4)),
    ),
    "online with ticks and short seasons": model_spec(
        {"columns": (Y, LOAD), "mode": "ticks", "grace": "60s", "ttl": "10min"},
        horizon=7,
        season=(6, 3),
        quantiles=(0.05, 0.3, 0.5, 0.9),
        online=Online(regressions=False),
    ),
    "a square root of ticks": model_spec(
        {"columns": (Y, LOAD), "mode": "ticks", "grace": "60s", "ttl": "10min"},
        scales=SCALES[:1],
        horizon=5,
        season=(4, 9),
        lower=-20.0,
        upper=20.0,
        transform=Transform(kind="sqrt"),
        targets=TargetBars(back=(2, 1), missing="share", loops=True),
        online=ONLINE_BESIDE_NETWORK,
    ),
    "a logarithm": model_spec(
        {"missing": "season"},
        horizon=4,
        season=(3,),
        transform=Transform(kind="log", unit=0.5),
        online=NEW_ONLINE,
    ),
}
"""The specs that the laws run over."""


class Line(NamedTuple):
    """One record: event time in ms; a category is its index, −1 when unknown; NaN is missing."""

    key: str
    time: int
    values: tuple[float, ...]
    ahead: tuple[float, ...] = ()
    """Known inputs: the horizon of the first, then of the second."""


# -- strategies ----------------------------------------------------------------------------------------

QUARTERS = st.integers(-40, 40).map(lambda n: n / 4)
HOSTILE = st.sampled_from(
    [0.0, -0.0, 1.0, -1.0, 1e100, -1e100, 9.99e99, 1e-300, 5e-324, -2.2e-308, 1e16, 1e16 + 2, 0.1, math.nan]
)


def streams(
    spec: ModelSpec, keys: Sequence[str] = ("a", "b", "c"), most: int = 40, numbers: st.SearchStrategy[float] = QUARTERS
) -> st.SearchStrategy[list[Line]]:
    """Records with gaps, restarts, duplicates, lates and nulls; every key has its own time."""
    series = spec.series
    bars = st.sampled_from([1] * 8 + [0, 2, 3, -1, -4, series.max_gap, series.max_gap + 1, series.max_gap + 2])
    within = st.integers(-MINUTE // 2, MINUTE // 2)
    moves = st.tuples(bars, within).map(lambda move: move[0] * series.freq + move[1])
    if series.mode == "ticks":
        moves = st.one_of(st.integers(-series.grace - MINUTE, 2 * MINUTE), st.integers(0, MINUTE), moves)
    quiet = st.just(series.ttl + MINUTE)
    columns = [
        st.one_of(numbers, numbers, numbers, st.just(math.nan))
        if column.categories is None
        else st.sampled_from([*map(float, range(len(column.categories))), -1.0, math.nan])
        for column in series.columns
    ]
    known = st.one_of(st.integers(-1, 2).map(float), st.just(math.nan))
    ahead = st.tuples(*[known] * (len(spec.known_columns) * spec.horizon))
    drawn = st.tuples(st.sampled_from(keys), st.one_of([moves] * 12 + [quiet]), st.tuples(*columns), ahead)
    return st.lists(drawn, min_size=1, max_size=most).map(_timed)


def _timed(drawn: Iterable[tuple[str, int, tuple[float, ...], tuple[float, ...]]]) -> list[Line]:
    """Convert moves from a key's newest time to times."""
    now: dict[str, int] = {}
    lines = []
    for key, move, values, ahead in drawn:
        time = now.setdefault(key, START) + move
        now[key] = max(now[key], time)
        lines.append(Line(key, time, values, ahead))
    return lines


def cuts(most: int = 40) -> st.SearchStrategy[list[int]]:
    """Sizes of consecutive batches; the remaining lines are one more batch."""
    return st.lists(st.integers(1, 12), max_size=most)


def deliveries(records: int) -> st.SearchStrategy[list[int]]:
    """The offsets of so many records in the order of their arrival, when the consumer goes back from time to time."""
    return st.lists(st.tuples(st.integers(1, 12), st.integers(0, 6)), max_size=10).map(
        lambda moves: _delivered(records, moves)
    )


def _delivered(records: int, moves: Iterable[tuple[int, int]]) -> list[int]:
    order, at = list[int](), 0
    for forward, back in moves:
        stop = min(at + forward, records)
        order += range(at, stop)
        at = max(stop - back, 0)
    return [*order, *range(at, records)]


def pieces(lines: Sequence[T], sizes: Iterable[int]) -> Iterator[tuple[int, Sequence[T]]]:
    """Yield (offset of the first, lines) of each batch."""
    start = 0
    for size in itertools.chain(sizes, [len(lines)]):
        if start < len(lines):
            yield start, lines[start : start + size]
        start += size


# -- driving an engine ---------------------------------------------------------------------------------


@cache
def network(name: str) -> Network:
    """The network of one of ``SPECS``, every weight drawn at random (the highway's too)."""
    torch.manual_seed(len(name))
    net = new_network(SPECS[name])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.3)
    return net


def engine(name: str, max_series: int = 100_000) -> Engine:
    """A fresh engine for one of ``SPECS``."""
    return Engine(SPECS[name], network(name), max_series)


def one_partition(key: str) -> int:
    """Every series in partition 0."""
    del key
    return 0


def four_partitions(key: str) -> int:
    """Series by the first letter of their key."""
    return ord(key[0]) % 4


Placing = Callable[[str], int]


@dataclass
class Trace:
    """The result of a stream: outcomes and forecast bytes by offset, digests of the series by key."""

    outcomes: dict[int, int] = field(default_factory=dict)
    forecasts: dict[int, bytes] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def of(self, lines: Sequence[Line], key: str) -> Trace:
        """The part of one series."""
        own = {offset for offset, line in enumerate(lines) if line.key == key}
        return Trace(
            {offset: outcome for offset, outcome in self.outcomes.items() if offset in own},
            {offset: forecast for offset, forecast in self.forecasts.items() if offset in own},
            {key: self.digests[key]} if key in self.digests else {},
        )


def partition(index: int) -> Partition:
    """A partition of the input topic."""
    return Partition("observations", index)


def observations(
    numbered: Sequence[tuple[int, Line]], columns: int, placed: Placing = one_partition, known: int = 0
) -> Observations:
    """Return lines with their offsets as the decoder would: by partition, then as they arrived; ``known`` inputs ahead.

    An offset is the line's index in the whole stream, so that it does not depend on the partitions.
    """
    rows = sorted(numbered, key=lambda row: placed(row[1].key))
    runs, start = [], 0
    for index, group in itertools.groupby(rows, key=lambda row: placed(row[1].key)):
        stop = start + len(list(group))
        runs.append((partition(index), start, stop))
        start = stop
    times = np.array([line.time for _, line in rows], np.int64)
    return Observations(
        runs,
        [line.key for _, line in rows],
        np.array([offset for offset, _ in rows], np.int64),
        times,
        times,
        np.array([line.values for _, line in rows], np.float64).reshape(len(rows), columns),
        np.array([line.ahead for _, line in rows]).reshape(len(rows), known, -1) if known and rows else None,
    )


def stage(engine: Engine, numbered: Sequence[tuple[int, Line]], trace: Trace, placed: Placing = one_partition) -> None:
    """Stage a batch and add its outcomes and forecasts to the trace."""
    seen = observations(numbered, len(engine.spec.series.columns), placed, len(engine.spec.known_columns))
    result = engine.stage(seen)
    record = result.forecasts.record
    encoder = Encoder(engine.spec, "model", "1", "0" * 64, "champion", "observations")
    offsets = seen.offsets[record]
    encoded = encoder.encode(engine.slab.key_texts(result.slots[record]), result.forecasts, 0 * offsets, offsets)
    trace.outcomes.update(zip(seen.offsets.tolist(), result.outcomes.tolist(), strict=True))
    trace.forecasts.update(zip(offsets.tolist(), encoded, strict=True))


def digests(engine: Engine) -> dict[str, str]:
    """The digest of every series, by key."""
    slab = engine.slab
    return {key: slab.digest(place, key) for place in slab.partitions() for key in slab.series(place)}


def drive(
    engine: Engine, lines: Sequence[Line], sizes: Iterable[int] = (), placed: Placing = one_partition,
    only: str | None = None, delivered: Sequence[int] | None = None,
) -> Trace:  # fmt: skip
    """Take a stream in batches of ``sizes`` and promote each; with ``only``, the lines of one key at their offsets.

    ``delivered`` has the offsets in the order of arrival: each once, if it is None.
    """
    trace = Trace()
    for _, batch in pieces(range(len(lines)) if delivered is None else delivered, sizes):
        numbered = [(offset, lines[offset]) for offset in batch if only in (None, lines[offset].key)]
        stage(engine, numbered, trace, placed)
        engine.promote()
    trace.digests = digests(engine)
    return trace


def one_at_a_time(lines: Sequence[object]) -> list[int]:
    """The sizes of batches that hold one line each."""
    return [1] * len(lines)
