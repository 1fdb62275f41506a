"""Memory is bounded for any input: strangers without end, one series that is all of the stream, a backlog."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.streams import engine, model_spec
from streamcast.consumers.transport import Partition
from streamcast.engine.engine import Engine
from streamcast.kernels.outcomes import ANSWERED
from streamcast.spec.folders import new_network
from streamcast.spec.model_spec import ONLINE_BESIDE_NETWORK
from streamcast.topics.observations import Observations

POLL = 5_000
MINUTE = 60_000
HERE = Partition("observations", 0)


def poll(keys: list[str], first: int, steps: np.ndarray) -> Observations:
    """A poll of one record for each key given, at offsets from ``first`` on and at minutes ``steps``."""
    rows = len(keys)
    times = 1_700_000_040_000 + steps * MINUTE
    values = np.random.default_rng(first).normal(size=(rows, 1))
    return Observations([(HERE, 0, rows)], keys, np.arange(first, first + rows), times, times, values)


def strangers(series: int) -> Iterator[Observations]:
    """Polls in which every record is of a series that was never seen, and never is again."""
    for first in range(0, series, POLL):
        yield poll([f"stranger-{number}" for number in range(first, first + POLL)], first, np.full(POLL, first // POLL))


def take(bounded: Engine, observations: Observations) -> int:
    """Let the engine take a poll, and return how many series had to go for it."""
    result = bounded.stage(observations)
    assert (result.outcomes == ANSWERED).all()
    bounded.promote()
    return result.evictions


def resident() -> int:
    """The bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_any_number_of_series_takes_no_more_memory_than_there_is_room_for() -> None:
    room, count, seen_first = 2_000, 300_000, 50_000
    bounded, evicted, sizes = engine("gru", room), 0, []
    for observations in strangers(count):
        evicted += take(bounded, observations)
        assert len(bounded.slab) <= room
        sizes.append((bounded.slab.nbytes, resident()))
    assert evicted == count - room
    (slab, before), (slab_after, after) = sizes[seen_first // POLL], sizes[-1]
    assert slab_after == slab
    assert after - before < 20 * (count - seen_first), "bytes that each later series left behind"


def test_one_hot_series_is_answered_whole_and_takes_no_room() -> None:
    bounded = engine("gru", 2_000)
    before = None
    for first in range(0, 100_000, POLL):
        assert take(bounded, poll(["hot"] * POLL, first, np.arange(first, first + POLL))) == 0
        before = before or bounded.slab.nbytes
    assert len(bounded.slab) == 1
    assert bounded.slab.nbytes == before


def test_a_stage_of_long_gaps_keeps_no_more_than_the_rows_that_it_changed() -> None:
    """A step overwrites some hundred bytes of rings, so 2,000 missing bars would be many times their series' row."""
    spec = model_spec({"max_gap": 2_000, "ttl": "30d"}, online=ONLINE_BESIDE_NETWORK, season=(24,), horizon=6)
    bounded, keys = Engine(spec, new_network(spec)), [f"series-{number}" for number in range(50)]
    for first, minute in ((0, 0), (50, 1)):
        take(bounded, poll(keys, first, np.full(50, minute)))
    before = [bounded.slab.digest(HERE, key) for key in keys]
    assert bounded.stage(poll(keys, 100, np.full(50, 2_002))).gaps == 50 * 2_000
    assert bounded.slab._undo is not None
    kept = sum(each.before.nbytes + 2 * each.slots.nbytes for each in bounded.slab._undo.overwritten)
    assert kept < 2 * bounded.slab.nbytes * 50 / bounded.slab.capacity
    bounded.discard()
    assert [bounded.slab.digest(HERE, key) for key in keys] == before
