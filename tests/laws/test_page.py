"""The live page computes from the topics again what the service has computed: it finds the same numbers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.streams import MINUTE, START, Line, model_spec, observations, streams
from streamcast.consumers.transport import Batch, Partition
from streamcast.engine.engine import Engine, known_ahead
from streamcast.kernels.advance import Counts, advance
from streamcast.offline.evaluation.baselines import season_repeated
from streamcast.page.board import Board
from streamcast.spec.folders import new_network
from streamcast.spec.model_spec import Aggregate, Column, ModelSpec, SeriesSpec

law = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


class Stepped(NamedTuple):
    """A bar that the service has closed: its value, and seasonal naive's forecasts of it by scored step."""

    value: float
    naive: list[float]


def of_service(spec: ModelSpec, lines: Sequence[Line]) -> dict[str, dict[int, Stepped]]:
    """The bars of each key, by number, as the window kernel closes them."""
    engine = Engine(spec, new_network(spec))
    seen = observations(list(enumerate(lines)), len(spec.series.columns))
    slots = engine.slab.locate(seen)
    out, counts = engine._steps._replace(outcome=np.empty(len(seen), np.uint8)), Counts.zeros(0)
    ahead, bars = known_ahead(spec, seen), defaultdict[str, dict[int, Stepped]](dict)
    start = 0
    while start < len(seen):
        start = advance(
            engine._plan, engine.slab.rows, out, slots, seen.times, seen.offsets, seen.values, ahead, start, counts
        )
        k = int(counts.steps[0])
        numbers = spec.series.grid.bar(out.label[:k]).tolist()
        columns = out.record[:k].tolist(), numbers, out.observed[:k].tolist(), out.naive[:k].tolist()
        for record, bar, value, naive in zip(*columns, strict=True):
            bars[lines[record].key][bar] = Stepped(value, naive)
    return bars


def of_page(series: SeriesSpec, lines: Sequence[Line]) -> Board:
    """The live page's board of the same records."""
    board = Board(series, season=4, bars=20_000)
    values = [[None if math.isnan(value) else value for value in line.values] for line in lines]
    rows = [
        orjson.dumps({"key": line.key, "ts": line.time, "values": row}) for line, row in zip(lines, values, strict=True)
    ]
    count, times = len(rows), [line.time for line in lines]
    board.take_records(Batch(Partition("observations", 0), range(count), times, [None] * count, rows, count))
    assert not board.counts["unreadable"]
    return board


@given(st.lists(st.just(math.nan) | st.integers(0, 9).map(float), min_size=2, max_size=40))
@example([1.0, 2.0, 3.0, 4.0] + [math.nan] * 20)
@law
def test_page_service_and_backtest_repeat_the_same_bar_of_a_season(values: list[float]) -> None:
    """The service looks no further back than its ring, and says so to the page; a backtest looks as far as it wants."""
    lines = [Line("a", START + bar * MINUTE, (value,)) for bar, value in enumerate(values)]
    y_KT, cutoffs = np.array([values]), np.arange(len(values))
    offline = season_repeated(y_KT, np.full_like(y_KT, math.nan), cutoffs, horizon=6, season=4)[0]
    for lags in (16, 48):
        spec = model_spec({}, lags=lags, season=4, horizon=6, scored=range(1, 7))
        service, track = of_service(spec, lines)["a"], of_page(spec.series, lines).tracks["a"]
        first = min(service)
        np.testing.assert_array_equal(track.naive(first + cutoffs, 6, 4), offline)
        page = track.naive(first + cutoffs, 6, 4, spec.ring)
        for outcome in range(len(values)):
            steps = np.arange(1, min(outcome, 6) + 1)
            repeated = service[first + outcome].naive[: len(steps)]
            np.testing.assert_array_equal(page[outcome - steps, steps - 1], repeated)


REDUCERS: tuple[Aggregate, ...] = ("mean", "sum", "min", "max", "first", "last", "count")


@pytest.mark.parametrize(
    ("reducer", "grace"), [(None, 0), *((reducer, grace) for reducer in REDUCERS for grace in (0, 90_000))]
)
def test_the_page_has_the_bars_that_the_service_scores(reducer: Aggregate | None, grace: int) -> None:
    column, ticks = Column(name="y", aggregate=reducer), {"mode": "ticks", "grace": grace} if reducer else {}
    spec = model_spec({"columns": (column, Column(name="load")), **ticks}, scored=(1,))
    seconds = [(20, 1.0), (5, 9.0), (100, 2.0), (95, 3.0), (10, 4.0), (400, 5.0), (20, 6.0), (700, 7.0)]
    out_of_order = [Line("a", START + 1_000 * second, (value, value)) for second, value in seconds]

    @given(streams(spec, most=25))
    @example(out_of_order)
    @law
    def same(lines: list[Line]) -> None:
        service, board = of_service(spec, lines), of_page(spec.series, lines)
        for key, track in board.tracks.items():
            first, values = track.last(20_000)
            closed = track.newest_closed()
            assert closed is not None
            shown = {
                bar: value
                for bar, value in enumerate(values.tolist(), first)
                if bar <= closed and not math.isnan(value)
            }
            scored = {bar: value for bar, (value, _) in service.get(key, {}).items() if not math.isnan(value)}
            assert shown == scored

    same()
