"""Known inputs for some of the bars ahead: a file, its replay and a live stream give the same bytes.

Lists may be shorter or longer than the horizon, with gaps, of unknown categories, null or absent; rows may be missing,
repeated and in any order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.streams import MINUTE, SPECS, START, network
from streamcast.app.stream import Stream
from streamcast.consumers.transport import Batch, Partition
from streamcast.engine.engine import Engine
from streamcast.offline.history.polls import polls
from streamcast.offline.history.read import read
from streamcast.offline.history.records import records
from streamcast.spec.folders import Model
from streamcast.spec.model_spec import Known, ModelSpec, TargetBars
from streamcast.topics.ahead import ahead_of
from streamcast.topics.observations import Decoder, Observations

law = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
KNOWING = [name for name, spec in SPECS.items() if spec.known_columns]
over_specs = pytest.mark.parametrize("name", KNOWING)

Bytes = dict[tuple[str, int], bytes]
"""The newest answers of each series, by key and cutoff."""
NUMBERS = st.none() | st.integers(-8, 8).map(lambda n: n / 4)
WORDS = st.sampled_from([None, "N", "E", "S", "unheard of"])


def farther(spec: ModelSpec) -> ModelSpec:
    """Another model of the topic: it knows one input ahead, for a longer horizon."""
    targets = TargetBars(back=(1,), known=(Known(name="load"),))
    return spec.model_copy(update={"horizon": spec.horizon + 3, "targets": targets})


def kinds(spec: ModelSpec) -> Mapping[str, tuple[str, ...] | None]:
    return {column.name: column.categories for column in spec.series.columns}


def frames(spec: ModelSpec) -> st.SearchStrategy[pd.DataFrame]:
    """Rows of two series with gaps, repeats, missing values and rows after the last target."""
    names = list(kinds(spec))
    values = [WORDS if categories else NUMBERS for categories in kinds(spec).values()]
    row = st.tuples(st.sampled_from("ab"), st.integers(0, 30), st.sampled_from([0, 0, 0, 20]), *values)
    return (
        st.lists(row, min_size=1, max_size=60)
        .filter(lambda rows: any(each[3] is not None for each in rows))
        .map(lambda rows: pd.DataFrame(rows, columns=["unique_id", "bar", "seconds", *names]))
        .map(
            lambda frame: frame.assign(
                ds=pd.to_datetime(START + 30_000 + frame.bar * MINUTE + frame.seconds * 1000, unit="ms"),
            ).drop(columns=["bar", "seconds"])
        )
    )


def answers(engine: Engine, seen: Observations, found: Bytes) -> None:
    """Stage and promote a batch; keep its answers."""
    result = engine.stage(seen)
    forecasts = result.forecasts
    for record, cutoff, values in zip(
        forecasts.record.tolist(), forecasts.cutoffs.tolist(), forecasts.values, strict=True
    ):
        found[seen.keys[record], cutoff] = values.tobytes()
    engine.promote()


def batches(raws: Sequence[bytes], sizes: Sequence[int]) -> list[Batch]:
    """Return records as batches of these sizes, the last one with the rest."""
    made, start = [], 0
    for size in [*sizes, len(raws)]:
        part = raws[start : start + size]
        if part:
            offsets = list(range(start, start + len(part)))
            made.append(
                Batch(
                    Partition("obs", 0),
                    offsets,
                    [START + 10**9] * len(part),
                    [None] * len(part),
                    list(part),
                    start + len(part),
                )
            )
        start += len(part)
    return made


def served(name: str, raws: Sequence[bytes], sizes: Sequence[int]) -> Bytes:
    """Return the answers of a service with two models, of which the other looks farther ahead."""
    spec = SPECS[name]
    engine, decoder, found = Engine(spec, network(name)), Decoder(spec.series, ahead_of([spec, farther(spec)])), Bytes()
    for batch in batches(raws, sizes):
        seen, poison = decoder.decode([batch])
        assert not poison
        answers(engine, decoder.seen_by(spec, seen), found)
    return found


def streamed(name: str, raws: Sequence[bytes]) -> Bytes:
    """Return the answers of a live stream that is given the fields of the records."""
    spec, found = SPECS[name], Bytes()
    live = Stream(Model(spec, network(name)))
    for raw in raws:
        message = json.loads(raw)
        y, *inputs = message["values"]
        named = dict(zip(list(kinds(spec))[1:], inputs, strict=True))
        own = {known: listed for known, listed in (message.get("ahead") or {}).items() if known in known_names(spec)}
        if live.update(message["key"], message["ts"], y, own, named):
            newest = live._newest[message["key"]]
            found[message["key"], newest.cutoff] = newest.values_HQ.tobytes()
    return found


def known_names(spec: ModelSpec) -> list[str]:
    return [spec.series.columns[place].name for place in spec.known_columns]


@over_specs
@given(data=st.data())
@law
def test_a_file_its_replay_and_a_live_stream_give_the_same_bytes(name: str, data: st.DataObject) -> None:
    spec = SPECS[name]
    frame = data.draw(frames(spec))
    sizes = data.draw(st.lists(st.integers(1, 9), max_size=8))
    series = spec.series
    history = read(
        frame, columns=list(kinds(spec))[1:], freq=series.freq, offset_ms=series.offset, kinds=kinds(spec), known=True,
        ticks=series.mode == "ticks",
    )  # fmt: skip
    engine, filed = Engine(spec, network(name)), Bytes()
    for poll in polls(history, spec, data.draw(st.integers(1, 20))):
        answers(engine, poll, filed)
    raws = [each.value for each in records(history, [spec, farther(spec)])]
    assert served(name, raws, sizes) == filed
    assert streamed(name, raws) == filed


@over_specs
@given(data=st.data())
@law
def test_whatever_lists_a_record_brings_a_live_stream_reads_the_same(name: str, data: st.DataObject) -> None:
    spec = SPECS[name]
    values = [WORDS if categories else NUMBERS for categories in kinds(spec).values()]
    lists = st.fixed_dictionaries({}, optional={
        known: st.none() | st.lists(WORDS if kinds(spec)[known] else NUMBERS, max_size=spec.horizon + 4)
        for known in known_names(spec)
    })  # fmt: skip
    ahead_or_none = st.none() | lists
    moves = st.tuples(st.sampled_from("ab"), st.integers(-2, 3), st.integers(0, MINUTE - 1))
    drawn = data.draw(st.lists(st.tuples(moves, st.tuples(*values), ahead_or_none), min_size=1, max_size=40))
    bar, raws = 10, []
    for (key, move, within), row, ahead in drawn:
        bar += move
        message: dict[str, Any] = {"key": key, "ts": START + bar * MINUTE + within, "values": row}
        raws.append(json.dumps(message | ({} if ahead is None else {"ahead": ahead})).encode())
    assert streamed(name, raws) == served(name, raws, data.draw(st.lists(st.integers(1, 9), max_size=8)))
