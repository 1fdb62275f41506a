"""The slab: the slots of series, the undoing of a stage, and the digest of a series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.streams import (
    MINUTE,
    SPECS,
    START,
    Line,
    Trace,
    digests,
    engine,
    four_partitions,
    model_spec,
    network,
    observations,
    partition,
    pieces,
    stage,
    streams,
)
from streamcast.consumers.transport import Partition
from streamcast.engine.engine import layout
from streamcast.engine.slab import FIRST_SLOTS, Slab
from streamcast.kernels.advance import OFFSET, STEPS
from streamcast.models.spec import SpecError
from streamcast.spec.model_spec import Column

NAME = "attention over three scales"
LAYOUT = layout(SPECS[NAME], network(NAME))
COLUMNS = len(SPECS[NAME].series.columns)


def locate(slab: Slab, keys: Sequence[str], first: int = 0) -> np.ndarray:
    """Locate one record of each key, all on the partition of its first letter."""
    lines = [(first + i, Line(key, START, (0.0,) * COLUMNS)) for i, key in enumerate(keys)]
    return slab.locate(observations(lines, COLUMNS, four_partitions))


def here(key: str) -> Partition:
    return partition(four_partitions(key))


def members(slab: Slab) -> dict[str, int]:
    return {key: slot for place in slab.partitions() for key, slot in slab.series(place).items()}


def test_a_spec_whose_series_would_fill_the_memory_is_refused_with_the_arithmetic() -> None:
    y, load, wind = (Column(name=name) for name in ("y", "load", "wind"))
    assert layout(model_spec({"columns": (y, load)}, window=900_000), network("gru")).row_bytes < 1 << 24
    said = (
        "needs 22,500,528 bytes a series .ring 3 × 900,000 × 8 B = 21,600,000 B, .*"
        " the first 64 series alone would take 1.3 GiB, of at most 1: choose fewer columns, fewer lags"
    )
    with pytest.raises(SpecError, match=said):
        layout(model_spec({"columns": (y, load, wind)}, window=900_000), network("gru"))


def test_a_key_keeps_its_slot_and_no_two_series_share_one() -> None:
    slab = Slab(LAYOUT, 100)
    slots = locate(slab, ["a1", "b1", "a1", "a2", "b1"])
    slab.promote()
    assert slots.tolist() == locate(slab, ["a1", "b1", "a1", "a2", "b1"], 10).tolist()
    assert len(set(slots.tolist())) == 3
    assert len(slab) == 3
    assert slab.key_texts(slots[:1]) == [b'"a1"']


def test_the_slab_grows_and_keeps_its_contents() -> None:
    slab = Slab(LAYOUT, 10_000)
    (slot,) = locate(slab, ["a0"]).tolist()
    slab.promote()
    slab.rows.ring[slot] = 7.0
    locate(slab, [f"a{i}" for i in range(3 * FIRST_SLOTS)], 10)
    slab.promote()
    assert slab.capacity == 4 * FIRST_SLOTS
    assert (slab.rows.ring[slot] == 7.0).all()
    assert slab.rows.ring is slab.arrays["ring"]
    assert slab.nbytes == slab.capacity * LAYOUT.row_bytes


def test_the_least_recently_seen_series_of_its_own_partition_leaves_first() -> None:
    slab = Slab(LAYOUT, 2)
    locate(slab, ["a1", "b1", "a2", "b2", "a1", "a3"])
    assert slab.evictions == 1
    slab.promote()
    assert sorted(members(slab)) == ["a1", "a3", "b1", "b2"]
    locate(slab, ["a2"], 10)
    slab.promote()
    assert sorted(members(slab)) == ["a2", "a3", "b1", "b2"]


@pytest.mark.parametrize("sizes", [[1, 1], [2]])
def test_an_offset_that_is_delivered_again_makes_its_series_no_older(sizes: list[int]) -> None:
    slab = Slab(LAYOUT, 2)
    locate(slab, ["a1", "a2", "a1"], 5)
    slab.promote()
    for _, batch in pieces([(5, "a1"), (8, "a4")], sizes):
        lines = [(offset, Line(key, START, (0.0,) * COLUMNS)) for offset, key in batch]
        slab.locate(observations(lines, COLUMNS, four_partitions))
        slab.promote()
    assert sorted(members(slab)) == ["a1", "a4"]


def test_a_slot_is_not_reused_within_a_poll() -> None:
    slab = Slab(LAYOUT, 1)
    slots = locate(slab, ["a1", "a2", "a1", "a3"])
    assert len(set(slots.tolist())) == 4
    slab.promote()
    again = locate(slab, ["a4"], 10)
    assert set(again.tolist()) < set(slots.tolist())


def test_a_reused_slot_remembers_nothing() -> None:
    tried, fresh = engine(NAME, 1), engine(NAME, 1)
    lines = [Line(key, START + i * MINUTE, (float(i), 1.0)) for i, key in enumerate("aaaaaae")]
    for offset, line in enumerate(lines):
        stage(tried, [(offset, line)], Trace())
        tried.promote()
    stage(fresh, [(len(lines) - 1, lines[-1])], Trace())
    fresh.promote()
    assert digests(tried) == digests(fresh)


def test_only_one_stage_is_open_at_a_time() -> None:
    slab = Slab(LAYOUT, 10)
    locate(slab, ["a"])
    with pytest.raises(RuntimeError, match="promote or discard"):
        locate(slab, ["a"], 1)
    slab.discard()
    locate(slab, ["a"])
    slab.promote()
    with pytest.raises(RuntimeError, match="no stage is open"):
        slab.overwrote("ring", *(np.zeros(1, np.int64),) * 2, np.zeros((1, COLUMNS)))


def test_a_cell_that_was_overwritten_many_times_gets_back_what_it_held_first() -> None:
    """numpy assigns repeated indices in an order of its own."""
    slab = Slab(LAYOUT, 10)
    (slot,) = locate(slab, ["a"]).tolist()
    slab.promote()
    slab.rows.ring[slot] = np.arange(slab.rows.ring[slot].size).reshape(slab.rows.ring[slot].shape)
    slab.arrays["awaiting"][slot] = 5.0
    kept = {name: slab.arrays[name][slot].copy() for name in ("ring", "awaiting")}
    positions = np.array([1, 2, 3, 0, 1, 0])
    slots = np.full(len(positions), slot)
    locate(slab, ["a"], 1)
    for _ in range(2):
        before = {"ring": np.empty((len(positions), COLUMNS)), "awaiting": np.empty((len(positions), 3))}
        for k, position in enumerate(positions):
            before["ring"][k] = slab.rows.ring[slot, :, position]
            before["awaiting"][k] = slab.arrays["awaiting"][slot, position]
            slab.rows.ring[slot, :, position] = -k
            slab.arrays["awaiting"][slot, position] = -k
        for name, values in before.items():
            slab.overwrote(name, slots, positions, values)
    slab.discard()
    for name, array in kept.items():
        np.testing.assert_array_equal(slab.arrays[name][slot], array)


polls = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["a1", "a2", "a3", "b1", "b2", "e1"]), max_size=8),
        st.sampled_from(["promote", "discard", "discard a", "discard b", "forget a"]),
    ),
    max_size=10,
)


@given(polls, st.integers(1, 3))
@settings(deadline=None)
def test_membership_is_that_of_the_polls_that_were_committed(
    polls: list[tuple[list[str], str]], max_series: int
) -> None:
    """Against a plain model: per partition a dict in order of last sight."""
    slab, model = Slab(LAYOUT, max_series), dict[Partition, list[str]]()
    offset = 0
    for keys, end in polls:
        locate(slab, keys, offset)
        after, evictions = {place: list(known) for place, known in model.items()}, 0
        for key in keys:
            known = after.setdefault(here(key), [])
            if key in known:
                known.remove(key)
            elif len(known) == max_series:
                known.pop(0)
                evictions += 1
            known.append(key)
        assert slab.evictions == evictions
        undone = {"discard": {here("a"), here("b")}, "discard a": {here("a")}, "discard b": {here("b")}}.get(end, set())
        slab.discard(None if end == "discard" else undone)
        for place, known in after.items():
            if place not in undone:
                model[place] = known
        if end == "forget a":
            slab.forget(here("a"))
            model.pop(here("a"), None)
        offset += len(keys)
        found = members(slab)
        assert sorted(found) == sorted(key for known in model.values() for key in known)
        assert len(set(found.values())) == len(found) == len(slab)
    assert slab.capacity == FIRST_SLOTS


def test_keys_without_bound_take_memory_with_a_bound() -> None:
    slab = Slab(LAYOUT, 50)
    for first in range(0, 20_000, 100):
        locate(slab, [f"a{i}" for i in range(first, first + 100)], first)
        slab.promote()
    assert len(slab) == 50
    assert slab.capacity <= 4 * FIRST_SLOTS


def test_a_digest_covers_all_written_cells_and_nothing_else() -> None:
    tried = engine(NAME)
    lines = [Line("a", START + i * MINUTE, (float(i), 1.0)) for i in range(3)]
    stage(tried, list(enumerate(lines)), Trace())
    tried.promote()
    slab, place = tried.slab, partition(0)
    slot = slab.series(place)["a"]
    digest = slab.digest(place, "a")
    steps = int(slab.arrays["clock"][slot, STEPS])
    slab.rows.ring[slot, :, steps] += 1.0  # never written
    assert slab.digest(place, "a") == digest
    for name, array in slab.arrays.items():
        row = array[slot]
        if name.startswith(("hidden.1", "hidden.2", "past.1", "past.2", "coarse_ring")) or not row.size:
            continue  # none of their bars has closed
        kept = row.copy()
        row.reshape(-1)[0] += 1
        assert slab.digest(place, "a") != digest, name
        row[...] = kept
    assert slab.digest(place, "a") == digest
    with pytest.raises(KeyError):
        slab.digest(place, "b")


def test_a_forgotten_partition_starts_cold() -> None:
    tried = engine(NAME)
    line = (5, Line("a", START, (1.0, 2.0)))
    stage(tried, [line], Trace())
    tried.promote()
    want = digests(tried)
    tried.slab.forget(partition(0))
    assert len(tried.slab) == 0
    stage(tried, [line], Trace())
    tried.promote()
    assert digests(tried) == want
    assert tried.slab.arrays["clock"][0, OFFSET] == 5


def test_a_reset_series_starts_cold_and_discard_brings_it_back() -> None:
    tried, fresh = engine(NAME), engine(NAME)
    old = [(i, Line(key, START + i // 2 * MINUTE, (float(i), 1.0))) for i, key in enumerate("abababab")]
    new = (8, Line("a", START + 4 * MINUTE, (5.0, 1.0)))
    stage(tried, old, Trace())
    tried.promote()
    before = digests(tried)
    seen = observations([new], COLUMNS)
    tried.stage(seen, reset=[(partition(0), "a"), (partition(0), "unknown"), (partition(9), "a")])
    tried.discard()
    assert digests(tried) == before
    tried.stage(seen, reset=[(partition(0), "a")])
    tried.promote()
    stage(fresh, [new], Trace())
    fresh.promote()
    assert digests(tried) == before | digests(fresh)


@given(st.data())
@settings(deadline=None, max_examples=20)
def test_a_partition_that_is_restored_goes_on_as_if_it_had_never_been_away(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(SPECS)))
    max_series = data.draw(st.sampled_from([2, 100]))
    lines = data.draw(streams(SPECS[name], ("a", "b", "é"), 30))
    cut = data.draw(st.integers(0, len(lines)))
    numbered = list(enumerate(lines))
    stayed, returned = engine(name, max_series), engine(name, max_series)
    stage(stayed, numbered[:cut], Trace())
    stayed.promote()
    stage(returned, [(0, Line("a", START, lines[0].values, lines[0].ahead))], Trace())  # what was there before is gone
    returned.promote()
    returned.slab.restore(partition(0), stayed.slab.export(partition(0)))
    assert digests(returned) == digests(stayed)
    traces = Trace(), Trace()
    for tried, trace in zip((stayed, returned), traces, strict=True):
        stage(tried, numbered[cut:], trace)
        tried.promote()
    assert traces[0] == traces[1]
    assert digests(returned) == digests(stayed)


def test_equal_states_are_exported_as_equal_bytes_whatever_their_slots_held_before() -> None:
    """A cold restart leaves old hidden states behind, which nobody may read again."""
    name = "small limits"
    first = [(i, Line("a", START + i * MINUTE, (float(i),))) for i in range(12)]
    last = (20, Line("a", START + 1001 * MINUTE, (1.0,)))  # closes no coarse bar
    tried, fresh = engine(name), engine(name)
    stage(tried, [*first, last], Trace())
    stage(fresh, [last], Trace())
    tried.promote()
    fresh.promote()
    exported, wanted = tried.slab.export(partition(0)), fresh.slab.export(partition(0))
    assert exported.keys() == wanted.keys()
    for field, array in wanted.items():
        np.testing.assert_array_equal(exported[field], array, err_msg=field)


def test_a_snapshot_from_before_a_field_that_the_model_does_not_use_is_restored() -> None:
    stayed, returned = engine("gru"), engine("gru")
    stage(stayed, list(enumerate(Line("a", START + i * MINUTE, (float(i),)) for i in range(20))), Trace())
    stayed.promote()
    exported = stayed.slab.export(partition(0))
    unused = [name for name, array in exported.items() if 0 in array.shape[1:]]
    assert {"ahead", "ahead_of"} <= set(unused)
    returned.slab.restore(partition(0), {name: array for name, array in exported.items() if name not in unused})
    assert digests(returned) == digests(stayed)


@pytest.mark.parametrize("broken", ["less", "more", "shape", "type"])
def test_arrays_of_another_model_are_not_restored(broken: str) -> None:
    tried = engine(NAME)
    stage(tried, [(0, Line("a", START, (1.0, 2.0)))], Trace())
    tried.promote()
    want, exported = digests(tried), tried.slab.export(partition(0))
    if broken == "less":
        del exported["ring"]
    elif broken == "more":
        exported["more"] = exported["ring"]
    elif broken == "shape":
        exported["ring"] = exported["ring"][:, :, 1:]
    else:
        exported["ring"] = exported["ring"].astype(np.float32)
    with pytest.raises(ValueError, match="not"):
        tried.slab.restore(partition(0), exported)
    assert digests(tried) == want


def test_a_key_that_is_forgotten_leaves_its_neighbours() -> None:
    slab = Slab(LAYOUT, 10)
    locate(slab, ["a1", "a2"])
    slab.promote()
    slab.forget_key(here("a1"), "a1")
    slab.forget_key(here("a1"), "unknown")
    slab.forget_key(here("b1"), "a2")
    assert list(members(slab)) == ["a2"]
