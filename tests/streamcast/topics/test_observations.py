"""Observations as bytes: which records are read, which are refused and why, and how they are written."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streamcast.consumers.transport import Batch, Partition
from streamcast.spec.model_spec import Column, Known, ModelSpec, SeriesSpec, TargetBars
from streamcast.topics.ahead import Ahead, ahead_of
from streamcast.topics.epochs import SECONDS
from streamcast.topics.observations import (
    DEEPEST,
    EARLIEST_MS,
    LARGEST_RECORD,
    LATEST_MS,
    LONGEST_KEY,
    Decoder,
    Observations,
    encode_observation,
)

NOW = 1_767_225_600_000
SPEC = SeriesSpec(
    columns=(Column(name="y"), Column(name="load:kW"), Column(name="wind", categories=("N", "a:b", "é"))), freq=60_000
)
PARTITION = Partition("observations", 3)
DECODER = Decoder(SPEC)

Row = tuple[str, int, int, list[float]]
"""A decoded record: key, offset, event time, values (NaN as None)."""


def batch(raws: Sequence[bytes | None], keys: Sequence[bytes | None] | None = None, timestamp: int = NOW) -> Batch:
    n = len(raws)
    return Batch(PARTITION, range(100, 100 + n), [timestamp] * n, keys or [None] * n, raws, 100 + n)


def rows(seen: Observations) -> list[tuple[str, int, int, list[float | None]]]:
    values = [[None if math.isnan(value) else value for value in row] for row in seen.values.tolist()]
    return list(zip(seen.keys, seen.offsets.tolist(), seen.times.tolist(), values, strict=True))


def record(**fields: object) -> bytes:
    return orjson.dumps({"key": "a", "ts": NOW, "values": [1.0, 2.0, "N"], **fields})


def raw(key: str = '"a"', ts: str = str(NOW), values: str = '[1,2,"N"]', more: str = "") -> bytes:
    return f'{{"key":{key},"ts":{ts},"values":{values}{more}}}'.encode()


def nested(depth: int, more: str = "") -> bytes:
    """A record whose brackets are nested so deep, in a field of no interest; the values are two deep."""
    return raw(more=',"x":' + "[" * (depth - 1) + "]" * (depth - 1) + more)


# -- what is read ----------------------------------------------------------------------------------------

GOOD: dict[str, tuple[bytes, tuple[str, int, list[float | None]]]] = {
    "plain": (record(), ("a", NOW, [1.0, 2.0, 0.0])),
    "null is missing": (record(values=[None, None, None]), ("a", NOW, [None, None, None])),
    "integers are numbers": (raw(values='[1,-0,"N"]'), ("a", NOW, [1.0, -0.0, 0.0])),
    "an unknown category": (record(values=[1.0, 2.0, "West"]), ("a", NOW, [1.0, 2.0, -1.0])),
    "a category with a colon": (record(values=[1.0, 2.0, "a:b"]), ("a", NOW, [1.0, 2.0, 1.0])),
    "named values": (record(values={"wind": "é", "y": 1.0, "load:kW": 2.0}), ("a", NOW, [1.0, 2.0, 2.0])),
    "absent names are missing": (record(values={"y": 1.0}), ("a", NOW, [1.0, None, None])),
    "no names at all": (record(values={}), ("a", NOW, [None, None, None])),
    "a key with colons": (record(key="urn:a:b"), ("urn:a:b", NOW, [1.0, 2.0, 0.0])),
    "a key with an escaped colon": (raw(key='"a\\u003ab"'), ("a:b", NOW, [1.0, 2.0, 0.0])),
    "an escaped name": (b'{"k\\u0065y":"a","ts":%d,"values":[1,2,"N"]}' % NOW, ("a", NOW, [1.0, 2.0, 0.0])),
    "a key of anything": (record(key='<script>"\\\n\0😀'), ('<script>"\\\n\0😀', NOW, [1.0, 2.0, 0.0])),
    "the longest key": (record(key="é" * LONGEST_KEY), ("é" * LONGEST_KEY, NOW, [1.0, 2.0, 0.0])),
    "RFC 3339": (record(ts="2026-01-01T00:00:00Z"), ("a", NOW, [1.0, 2.0, 0.0])),
    "RFC 3339 with an offset": (record(ts="2026-01-01T05:30:00.123+05:30"), ("a", NOW + 123, [1.0, 2.0, 0.0])),
    "RFC 3339 with a small t": (record(ts="2026-01-01t00:00:00Z"), ("a", NOW, [1.0, 2.0, 0.0])),
    "before the epoch": (record(ts=-1), ("a", -1, [1.0, 2.0, 0.0])),
    "schema version 1": (record(v=1), ("a", NOW, [1.0, 2.0, 0.0])),
    "other fields are ignored": (record(site={"name": "x", "tags": [1]}, unit="kW"), ("a", NOW, [1.0, 2.0, 0.0])),
    "as deep as it may be": (nested(DEEPEST), ("a", NOW, [1.0, 2.0, 0.0])),
    "brackets in texts": (record(key="[" * 100, x='{"\\{[' * 100), ("[" * 100, NOW, [1.0, 2.0, 0.0])),
    "many brackets that are not deep": (raw(more=',"x":[' + "[{}]," * 100 + "[]]"), ("a", NOW, [1.0, 2.0, 0.0])),
    "space": (b'\n{ "values" : [ 1 , 2 , "N" ] ,\t"ts" : %d , "key" : "a" } ' % NOW, ("a", NOW, [1.0, 2.0, 0.0])),
    "the largest value": (raw(values='[1e100,-1e100,"N"]'), ("a", NOW, [1e100, -1e100, 0.0])),
    "the smallest value": (raw(values='[5e-324,1e-400,"N"]'), ("a", NOW, [5e-324, 0.0, 0.0])),
    "as far ahead as it may be": (record(ts=NOW + SPEC.max_ahead), ("a", NOW + SPEC.max_ahead, [1.0, 2.0, 0.0])),
}

POISON: dict[str, tuple[bytes | None, str]] = {
    "null value": (None, "empty"),
    "nothing": (b"", "empty"),
    "bad UTF-8 in the key": (raw().replace(b'"a"', b'"a\xff"'), "json"),
    "bad UTF-8 in a field of no interest": (raw(more=',"x":"\xff"').replace("\xff".encode(), b"\xff"), "json"),
    "half a surrogate pair": (raw(key='"\\ud800"'), "json"),
    "a byte order mark": (b"\xef\xbb\xbf" + raw(), "json"),
    "UTF-16": (raw().decode().encode("utf-16"), "json"),
    "depth 200k": (b"[" * 200_000, "json"),
    "one deeper than it may be": (nested(DEEPEST + 1), "json"),
    "depth 200k in a field of no interest": (raw(more=',"x":' + "[" * 200_000 + "]" * 200_000), "json"),
    "a number of 5000 digits": (raw(values=f'[{"9" * 5000},2,"N"]'), "shape"),
    "a time of 5000 digits": (raw(ts="9" * 5000), "shape"),
    "a number of 5000 digits in a field of no interest": (raw(more=f',"x":{"9" * 5000}'), "json"),
    "a repeated name": (raw(more=f',"ts":{NOW}'), "shape"),
    "a repeated name with a Kafka key": (b'{"ts":1,"ts":%d,"values":[1,2,"N"]}' % NOW, "shape"),
    "a repeated name and an escaped colon": (raw(key='"a\\u003ab"', more=f',"ts":{NOW}'), "shape"),
    "a repeated name, once escaped": (raw(more=',"k\\u0065y":"b"'), "shape"),
    "a repeated column": (raw(values='{"y":1,"y":2}'), "shape"),
    "a repeated column, another absent": (raw(values='{"y":1,"load:kW":1,"y":2}'), "shape"),
    "a repeated column, first null": (raw(values='{"y":null,"y":2,"wind":"N"}'), "shape"),
    "a repeated name in a field of no interest": (raw(more=',"x":{"b":1,"b":2}'), "shape"),
    "NaN": (raw(values='[NaN,2,"N"]'), "json"),
    "Infinity": (raw(values='[1,-Infinity,"N"]'), "json"),
    "1e999": (raw(values='[1e999,2,"N"]'), "shape"),
    "just beyond 1e100": (raw(values='[1.0000000000000002e100,2,"N"]'), "value"),
    "beyond 1e100 by name": (raw(values='{"y":-1e101}'), "value"),
    "null key": (raw(key="null"), "key"),
    "no key": (b'{"ts":%d,"values":[1,2,"N"]}' % NOW, "key"),
    "empty key": (record(key=""), "key"),
    "too long a key": (record(key="k" * (LONGEST_KEY + 1)), "key"),
    "a key that is a number": (raw(key="7"), "shape"),
    "10 MB of a field": (raw(more=f',"x":"{"x" * 10_000_000}"'), "size"),
    "10 MB of space": (raw() + b" " * 10_000_000, "size"),
    "10 MB of key": (raw(key=f'"{"k" * 10_000_000}"'), "size"),
    "unknown schema version": (record(v=2), "version"),
    "schema version as text": (record(v="1"), "shape"),
    "too few values": (raw(values="[1,2]"), "shape"),
    "too many values": (raw(values='[1,2,"N",3]'), "shape"),
    "no values": (b'{"key":"a","ts":%d}' % NOW, "shape"),
    "null values": (raw(values="null"), "shape"),
    "an unknown column": (raw(values='{"y":1,"z":2}'), "shape"),
    "bool": (raw(values='[true,2,"N"]'), "shape"),
    "a number as text": (raw(values='["1",2,"N"]'), "shape"),
    "a number for a category": (raw(values="[1,2,3]"), "shape"),
    "RFC 3339 with a small z": (record(ts="2026-01-01T00:00:00z"), "time"),
    "naive time": (record(ts="2026-01-01T00:00:00"), "time"),
    "no time at all": (record(ts="yesterday"), "time"),
    "a time of day": (record(ts="00:00:00Z"), "time"),
    "a time that is a fraction": (raw(ts="1767225600000.5"), "shape"),
    "a time that is true": (raw(ts="true"), "shape"),
    "a null time": (raw(ts="null"), "shape"),
    "before the year 1": (record(ts=EARLIEST_MS - 1), "time"),
    "before the year 1 by its zone": (record(ts="0001-01-01T00:00:00+01:00"), "time"),
    "after the year 9999": (record(ts=LATEST_MS + 1), "time"),
    "beyond 64 bits": (raw(ts=str(2**64)), "time"),
    "seconds": (record(ts=NOW // 1000), "time"),
    "seconds in another form": (b'{"ts":%d,"key":"a","values":{"y":1}}' % (NOW // 1000), "time"),
    "microseconds": (record(ts=NOW * 1000), "time"),
    "too far ahead": (record(ts=NOW + SPEC.max_ahead + 1), "ahead"),
    "too far ahead in words": (record(ts="2100-01-01T00:00:00Z"), "ahead"),
    "a comma too many": (raw(values='[1,2,"N",]'), "json"),
    "a comment": (raw() + b"// fine", "json"),
    "two records": (raw() + raw(), "json"),
    "a list": (b"[1,2,3]", "shape"),
    "a lone string": (b'"a"', "shape"),
    "a leading zero": (raw(values='[01,2,"N"]'), "json"),
    "cut off": (raw()[:-1], "json"),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_the_rules_allow_is_read(name: str) -> None:
    value, (key, time, values) = GOOD[name]
    seen, poison = DECODER.decode([batch([value])])
    assert not poison
    assert rows(seen) == [(key, 100, time, values)]
    assert seen.timestamps.tolist() == [NOW]
    assert seen.runs == [(PARTITION, 0, 1)]


@pytest.mark.parametrize("name", POISON)
def test_what_the_rules_forbid_is_refused_with_its_reason(name: str) -> None:
    value, reason = POISON[name]
    seen, poison = DECODER.decode([batch([value])])
    assert [(p.batch, p.row, p.reason) for p in poison] == [(0, 0, reason)]
    assert poison[0].detail
    assert len(poison[0].detail) < 1000
    assert len(seen) == 0
    assert seen.runs == [(PARTITION, 0, 0)]


mixtures = st.lists(st.tuples(st.booleans(), st.integers(0, 10**6)), max_size=12)
SMALL_POISON = {name: case for name, case in POISON.items() if case[0] is None or len(case[0]) < 100_000}


@pytest.mark.parametrize("depth", [DEEPEST - 1, DEEPEST, DEEPEST + 1, 500, 900, 990])
@pytest.mark.parametrize("more", ["", ',"v":"1"', ',"y":1,"y":2'])
def test_whether_a_record_is_nested_too_deep_does_not_depend_on_the_calls_around(depth: int, more: str) -> None:
    """Parsers give up at a depth of Python's: a replay would make another state of the same records."""
    value = nested(depth, more)

    def within(calls: int) -> tuple[int, list[str]]:
        if calls:
            return within(calls - 1)
        seen, poison = DECODER.decode([batch([value])])
        return len(seen), [each.reason for each in poison]

    assert within(0) == within(400) == within(700)


@given(mixtures, st.integers(0, 12))
@settings(max_examples=200, deadline=None)
def test_a_record_means_the_same_alone_and_in_any_company(mixture: list[tuple[bool, int]], cut: int) -> None:
    good, bad = list(GOOD.values()), list(SMALL_POISON.values())
    cases: list[tuple[bytes | None, Any]] = [good[i % len(good)] if fine else bad[i % len(bad)] for fine, i in mixture]
    raws = [case[0] for case in cases]
    seen, poison = DECODER.decode([batch(raws[:cut]), batch(raws[cut:])])
    assert [row[:1] + row[2:] for row in rows(seen)] == [want for _, want in cases if isinstance(want, tuple)]
    places = [(0, row) if row < cut else (1, row - cut) for row in range(len(raws))]
    wanted = [(*place, want) for place, (_, want) in zip(places, cases, strict=True) if isinstance(want, str)]
    assert [(p.batch, p.row, p.reason) for p in poison] == wanted


def test_the_kafka_key_stands_in_for_a_missing_key_and_for_no_other() -> None:
    keyless = b'{"ts":%d,"values":[1,2,"N"]}' % NOW
    repeated = b'{"ts":1,"ts":%d,"values":[1,2,"N"]}' % NOW
    odd = b'{"ts":%d,"values":[1,2,"N"],"x":"\xff"}' % NOW
    raws = [keyless, raw(key="null"), record(), keyless, repeated, odd, keyless]
    keys = [b"sensor", b"s:1", b"other", b"\xff", b"sensor", b"sensor", b""]
    seen, poison = DECODER.decode([batch(raws, keys)])
    assert seen.keys == ["sensor", "s:1", "a"]
    assert [(p.row, p.reason) for p in poison] == [(3, "key"), (4, "shape"), (5, "json"), (6, "key")]


def test_series_that_are_named_by_a_kafka_key_that_is_no_text_are_read_and_told() -> None:
    keyless = b'{"ts":%d,"values":[1,2,"N"]}' % NOW
    binary, framed, quoted = b"\0\0\0\0\0\0\0*", b"\0\0\0\0\1\2p", b'"p"'
    keys = [binary, framed, quoted, b"p", "é\t1".encode(), b'"', binary, binary]
    raws = [keyless] * 6 + [record(), keyless.replace(b"1,", b'"x",')]
    seen, poison = DECODER.decode([batch(raws, keys)])
    assert seen.keys == [*(key.decode() for key in keys[:6]), "a"]
    assert seen.foreign_keys == [binary.decode(), framed.decode(), '"p"']
    assert [(p.row, p.reason) for p in poison] == [(7, "shape")]


def test_a_small_z_is_refused_as_it_always_was_and_the_details_say_so() -> None:
    """Read, it would change the state that was made without the record."""
    _, poison = DECODER.decode([batch([record(ts="2026-01-01t00:00:00z")])])
    assert [each.reason for each in poison] == ["time"]
    assert poison[0].detail.endswith("RFC 3339: write a capital Z")


@pytest.mark.parametrize("timestamp", [-1, 2**63 - 1])
def test_a_kafka_timestamp_that_says_nothing_refuses_nothing(timestamp: int) -> None:
    seen, poison = DECODER.decode([batch([record(ts=LATEST_MS), record(ts=EARLIEST_MS)], timestamp=timestamp)])
    assert len(seen) == 2
    assert not poison


def test_nothing_is_read_from_nothing() -> None:
    seen, poison = DECODER.decode([])
    assert (len(seen), poison, seen.values.shape) == (0, [], (0, 3))
    assert len(DECODER.decode([batch([])])[0]) == 0


# -- fuzz ------------------------------------------------------------------------------------------------


def _mutated(original: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for at, cut, inserted in edits:
        place = at % (len(original) + 1)
        original = original[:place] + inserted + original[place + cut :]
    return original


SNIPPETS = rb"""" : , { } [ ] \ null 1e - "key":"b", "ts":1, \u003a NaN""".split()
edits = st.tuples(st.integers(0, 200), st.integers(0, 4), st.sampled_from([*SNIPPETS, b"\xff"]) | st.binary(max_size=3))
mutated = st.builds(_mutated, st.sampled_from([case for case, _ in GOOD.values()]), st.lists(edits, max_size=3))
anything = st.one_of(st.none(), st.binary(max_size=80), mutated, mutated)


@given(st.lists(anything, max_size=8))
@settings(max_examples=600, deadline=None)
def test_whatever_arrives_has_one_outcome_and_it_is_the_one_it_has_alone(raws: list[bytes | None]) -> None:
    seen, poison = DECODER.decode([batch(raws)])
    assert sorted([*(seen.offsets - 100).tolist(), *(p.row for p in poison)]) == list(range(len(raws)))
    assert {p.reason for p in poison} <= {"empty", "json", "shape", "version", "key", "time", "value", "ahead", "size"}
    alone = [DECODER.decode([batch([value])]) for value in raws]
    assert [row[:1] + row[2:] for row in rows(seen)] == [row[:1] + row[2:] for one, _ in alone for row in rows(one)]
    assert [(p.reason, p.detail) for p in poison] == [(p.reason, p.detail) for _, refused in alone for p in refused]


@given(st.lists(mutated, max_size=4))
@settings(max_examples=400, deadline=None)
def test_what_is_read_is_what_pythons_json_reads(raws: list[bytes]) -> None:
    seen, _ = DECODER.decode([batch(raws)])
    for key, offset, _, values in rows(seen):
        message = json.loads(raws[offset - 100], object_pairs_hook=_each_name_once)
        assert key == message["key"]
        given = message["values"]
        numbers = [given.get(column.name) for column in SPEC.columns] if isinstance(given, dict) else given
        assert values[:2] == numbers[:2]
        assert np.isfinite([value for value in values if value is not None]).all()


def _each_name_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


# -- known inputs ----------------------------------------------------------------------------------------

STEPS = 3
KNOWING = Decoder(SPEC, Ahead((2, 1), STEPS))

NONE: list[float | None] = [None] * STEPS
AHEAD: dict[str, tuple[bytes, list[list[float | None]] | None]] = {
    "no field": (record(), None),
    "a null field": (record(ahead=None), None),
    "no names": (record(ahead={}), [NONE, NONE]),
    "a whole horizon": (record(ahead={"load:kW": [1.5, -2, 3]}), [NONE, [1.5, -2.0, 3.0]]),
    "both": (record(ahead={"load:kW": [1, 2, 3], "wind": ["N", "é", "N"]}), [[0.0, 2.0, 0.0], [1.0, 2.0, 3.0]]),
    "nulls": (record(ahead={"load:kW": [None, 2, None]}), [NONE, [None, 2.0, None]]),
    "a null list": (record(ahead={"load:kW": None, "wind": ["N"]}), [[0.0, None, None], NONE]),
    "a missing tail": (record(ahead={"load:kW": [7]}), [NONE, [7.0, None, None]]),
    "an empty list": (record(ahead={"load:kW": []}), [NONE, NONE]),
    "more than the horizon": (record(ahead={"load:kW": [1, 2, 3, 4, None, 6]}), [NONE, [1.0, 2.0, 3.0]]),
    "an unknown category": (record(ahead={"wind": ["West", None, "a:b"]}), [[-1.0, None, 1.0], NONE]),
    "a key with colons": (record(key="urn:a:b", ahead={"load:kW": [1]}), [NONE, [1.0, None, None]]),
    "an escaped name": (raw(more=',"ah\\u0065ad":{"load\\u003akW":[1]}'), [NONE, [1.0, None, None]]),
    "before the values": (
        b'{"ahead":{"wind":["N"]},"values":[1,2,"N"],"ts":%d,"key":"a"}' % NOW, [[0.0, None, None], NONE]
    ),
    "named values": (record(values={"y": 1.0}, ahead={"load:kW": [1]}), [NONE, [1.0, None, None]]),
    "RFC 3339": (record(ts="2026-01-01T00:00:00Z", ahead={"load:kW": [1]}), [NONE, [1.0, None, None]]),
    "a field of no interest": (record(unit="kW", ahead={"load:kW": [1]}), [NONE, [1.0, None, None]]),
    "the largest value": (raw(more=',"ahead":{"load:kW":[1e100,-1e100]}'), [NONE, [1e100, -1e100, None]]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (record(values={"Y": 1.0}), "the model reads the values 'y', 'load:kW', 'wind'"),
        (record(ahead={"y": [1]}), "the model knows ahead 'wind', 'load:kW'"),
        (record(ahead={"wind": 7}), "the model knows ahead 'wind', 'load:kW'"),
        (record(key=["a"]), "got `array` - at `$.key`"),
        (b'{"ts":%d,"vales":[1]}' % NOW, "the model reads the values 'y', 'load:kW', 'wind'"),
    ],
)
def test_a_wrong_shape_says_what_the_model_reads_there(raw: bytes, said: str) -> None:
    _, (poison,) = KNOWING.decode([batch([raw])])
    assert poison.reason == "shape"
    assert poison.detail.endswith(said)


@pytest.mark.parametrize(
    ("raw", "reason", "said"),
    [
        *(
            (raw(values=f'[1,{no},"N"]'), "json", f"{no} is not JSON: write null for a missing value")
            for no in ("NaN", "nan", "Infinity", "-Infinity", "-inf", "None", "NULL", "undefined")
        ),
        (raw(more=',"ahead":{"load:kW":[1,NaN]}'), "json", "NaN is not JSON: write null for a missing value"),
        (raw(key='"NaN, NaN"', values="[1,2,}"), "json", "JSON is malformed"),
        (
            str({"key": "a", "ts": NOW, "values": [1.0]}).encode(),
            "json",
            "the record begins with a name in single quotes",
        ),
        (b"", "empty", "the record's value has no bytes"),
        (record(values=["61,5", 2, "N"]), "shape", "the value of 'y' is a number as text, '61,5': write 61.5 without"),
        (
            record(values={"load:kW": " 1e3 "}),
            "shape",
            "the value of 'load:kW' is a number as text, ' 1e3 ': write 1e3",
        ),
        (record(values=["1,234", 2, "N"]), "shape", "the value of 'y' is a number as text, '1,234': write it without"),
        (
            record(values=["n/a", 2, "N"]),
            "shape",
            "the value of 'y' is text, 'n/a': write a number without quotes, or null",
        ),
        (record(values=["x" * 100, 2, "N"]), "shape", f"the value of 'y' is text, '{'x' * 64}':"),
        (
            record(values=[1, 2, 7]),
            "shape",
            "the value of 'wind' is a number, 7, and its values are texts: write \"7\"",
        ),
        (
            record(ahead={"load:kW": [1, "2"]}),
            "shape",
            "the value of 'load:kW' is a number as text, '2': write 2 without",
        ),
        (record(key=7), "shape", 'the key is a number, 7: write the key as text: "7"'),
        (record(ts=1.5), "shape", "Expected `int | str`, got `float` - at `$.ts`: write whole epoch milliseconds"),
    ],
)
def test_the_commonest_faults_of_producers_say_what_to_write_instead(raw: bytes, reason: str, said: str) -> None:
    _, (poison,) = KNOWING.decode([batch([raw])])
    assert (poison.reason, poison.detail[: len(said)]) == (reason, said)


def test_a_blank_at_the_end_of_a_columns_name_is_seen() -> None:
    decoder = Decoder(SeriesSpec(columns=(Column(name="value "),), freq=60_000))
    _, (poison,) = decoder.decode([batch([record(values={"value": 1.0})])])
    assert poison.detail.endswith("the model reads the values 'value '")


@pytest.mark.parametrize(
    ("opening", "encoding", "said"),
    [
        (b"", "utf-8-sig", "a byte-order mark of UTF-8: let the producer write UTF-8 without a byte-order mark"),
        (b"", "utf-16", "a byte-order mark of UTF-16: let the producer write UTF-8"),
        (b"\xfe\xff", "utf-16-be", "a byte-order mark of UTF-16: let the producer write UTF-8"),
        (b"", "utf-32", "a byte-order mark of UTF-32: let the producer write UTF-8"),
        (b"", "utf-16-le", "text in UTF-16 or UTF-32: let the producer write UTF-8"),
        (b"", "utf-16-be", "text in UTF-16: let the producer write UTF-8"),
        (b"\0\0\0\0\x07", "utf-8", "a zero byte, as the serializers of a schema registry write it: let the producer"),
        (b"\x1f\x8b\x08", "utf-8", "the mark of gzip: let the producer set Kafka's compression.type"),
    ],
)
def test_a_record_in_another_encoding_says_which_and_what_the_producer_should_do(
    opening: bytes, encoding: str, said: str
) -> None:
    """It stays a dead letter: once read, it would change the state that a replay makes of old records."""
    _, (poison,) = DECODER.decode([batch([opening + raw().decode().encode(encoding)])])
    assert poison.reason == "json"
    assert poison.detail.startswith(f"the record begins with {said}")


def test_a_wrong_shape_names_some_of_many_columns() -> None:
    many = SeriesSpec(columns=tuple(Column(name=f"c{i}") for i in range(40)), freq=60_000)
    _, (poison,) = Decoder(many).decode([batch([record(values={"d": 1.0})])])
    assert poison.detail.endswith("'c10', 'c11' and 28 more")


AHEAD_POISON: dict[str, tuple[bytes, str]] = {
    "an unknown name": (record(ahead={"z": [1]}), "shape"),
    "the target": (record(ahead={"y": [1]}), "shape"),
    "a list": (record(ahead=[1, 2, 3]), "shape"),
    "a number": (record(ahead=7), "shape"),
    "a name without a list": (record(ahead={"load:kW": 7}), "shape"),
    "a number as text": (record(ahead={"load:kW": ["7"]}), "shape"),
    "a bool": (record(ahead={"load:kW": [True]}), "shape"),
    "a number for a category": (record(ahead={"wind": [1]}), "shape"),
    "a wrong type beyond the horizon": (record(ahead={"load:kW": [1, 2, 3, "x"]}), "shape"),
    "NaN ahead": (raw(more=',"ahead":{"load:kW":[NaN]}'), "json"),
    "Infinity ahead": (raw(more=',"ahead":{"load:kW":[1,-Infinity]}'), "json"),
    "1e999 ahead": (raw(more=',"ahead":{"load:kW":[1e999]}'), "shape"),
    "beyond 1e100 ahead": (raw(more=',"ahead":{"load:kW":[1,-1.1e100]}'), "value"),
    "beyond 1e100 and the horizon": (raw(more=',"ahead":{"load:kW":[1,2,3,1e101]}'), "value"),
    "a repeated field": (raw(more=',"ahead":{"load:kW":[1]},"ahead":{"load:kW":[2]}'), "shape"),
    "a repeated field, first null": (raw(more=',"ahead":null,"ahead":{"load:kW":[2]}'), "shape"),
    "a repeated input": (raw(more=',"ahead":{"load:kW":[1],"load:kW":[2]}'), "shape"),
    "a repeated input, once null": (raw(more=',"ahead":{"wind":null,"wind":["N"]}'), "shape"),
    "a repeated input, once escaped": (raw(more=',"ahead":{"wind":["N"],"w\\u0069nd":["N"]}'), "shape"),
    "a repeated key beside it": (raw(more=',"key":"a","ahead":{"wind":["N"]}'), "shape"),
}


def known(seen: Observations) -> list[list[list[float | None]] | None]:
    """The known inputs of every record: None where all records bring none."""
    if seen.ahead is None:
        return [None] * len(seen)
    return [[[None if math.isnan(x) else x for x in row] for row in rows] for rows in seen.ahead.tolist()]


@pytest.mark.parametrize("name", AHEAD)
def test_what_is_known_ahead_is_read(name: str) -> None:
    value, want = AHEAD[name]
    seen, poison = KNOWING.decode([batch([value])])
    assert not poison
    assert known(seen) == [want]


@pytest.mark.parametrize("name", AHEAD_POISON)
def test_what_is_not_known_inputs_is_refused_with_its_reason(name: str) -> None:
    value, reason = AHEAD_POISON[name]
    seen, poison = KNOWING.decode([batch([value])])
    assert [(p.reason, len(seen)) for p in poison] == [(reason, 0)]


@pytest.mark.parametrize("name", [*GOOD, *POISON])
def test_records_without_known_inputs_mean_what_they_mean_to_a_model_without(name: str) -> None:
    value = {**GOOD, **POISON}[name][0]
    want, want_poison = DECODER.decode([batch([value])])
    seen, poison = KNOWING.decode([batch([value])])
    assert rows(seen) == rows(want)
    assert [(p.reason, p.detail) for p in poison] == [(p.reason, p.detail) for p in want_poison]
    assert seen.ahead is None


@pytest.mark.parametrize("name", [*AHEAD, *AHEAD_POISON])
def test_a_model_without_known_inputs_ignores_the_field_but_not_repeated_names(name: str) -> None:
    value = {**AHEAD, **AHEAD_POISON}[name][0]
    seen, poison = DECODER.decode([batch([value])])
    assert seen.ahead is None
    unread = "repeated" in name or name in ("NaN ahead", "Infinity ahead")
    assert len(poison) == unread


@given(mixtures, st.integers(0, 12))
@settings(max_examples=200, deadline=None)
def test_known_inputs_stay_with_their_record_in_any_company(mixture: list[tuple[bool, int]], cut: int) -> None:
    good, bad = list(AHEAD.values()), [*AHEAD_POISON.values(), *SMALL_POISON.values()]
    cases: list[tuple[bytes | None, Any]] = [good[i % len(good)] if fine else bad[i % len(bad)] for fine, i in mixture]
    raws = [case[0] for case in cases]
    seen, poison = KNOWING.decode([batch(raws[:cut]), batch(raws[cut:])])
    wanted = [want for _, want in cases if not isinstance(want, str)]
    assert [x or [NONE, NONE] for x in known(seen)] == [x or [NONE, NONE] for x in wanted]
    assert [p.reason for p in poison] == [want for _, want in cases if isinstance(want, str)]


def _mixed(decoder: Decoder, raws: list[bytes | None]) -> tuple[list[Any], list[tuple[str, str]]]:
    seen, poison = decoder.decode([batch(raws)])
    brought = [x or [NONE, NONE] for x in known(seen)]
    whole = [(key, *rest, x) for (key, _, *rest), x in zip(rows(seen), brought, strict=True)]
    return whole, [(p.reason, p.detail) for p in poison]


mutated_ahead = st.builds(
    _mutated, st.sampled_from([case for case, _ in (*AHEAD.values(), *AHEAD_POISON.values())]),
    st.lists(edits, max_size=3),
)  # fmt: skip


@given(st.lists(anything | mutated_ahead, max_size=8))
@settings(max_examples=600, deadline=None)
def test_whatever_is_known_ahead_has_the_outcome_that_it_has_alone(raws: list[bytes | None]) -> None:
    whole, refused = _mixed(KNOWING, raws)
    alone = [_mixed(KNOWING, [value]) for value in raws]
    assert whole == [row for one, _ in alone for row in one]
    assert refused == [row for _, poison in alone for row in poison]


@given(st.lists(mutated_ahead, max_size=4))
@settings(max_examples=400, deadline=None)
def test_known_inputs_are_what_pythons_json_reads(raws: list[bytes]) -> None:
    seen, _ = KNOWING.decode([batch(raws)])
    for offset, rows_IH in zip(seen.offsets.tolist(), known(seen), strict=True):
        message = json.loads(raws[offset - 100], object_pairs_hook=_each_name_once)
        given = ((message.get("ahead") or {}).get("load:kW") or [])[:STEPS]
        assert (rows_IH or [NONE, NONE])[1] == given + [None] * (STEPS - len(given))


def _model(horizon: int, *names: str) -> ModelSpec:
    targets = TargetBars(back=(1,), known=tuple(Known(name=name) for name in names))
    return ModelSpec(series=SPEC, horizon=horizon, targets=targets, network={"kind": "gru"})


def test_each_model_of_a_service_sees_its_own_known_inputs_for_its_own_horizon() -> None:
    plain = ModelSpec(series=SPEC, horizon=9, network={"kind": "gru"})
    specs = [plain, _model(2, "load:kW"), _model(4, "wind", "load:kW"), _model(1)]
    together = ahead_of(specs)
    assert together == Ahead((1, 2), 4)
    decoder = Decoder(SPEC, together)
    seen, _ = decoder.decode([batch([record(ahead={"wind": ["é", "N"], "load:kW": [1, 2, 3]}), record()])])
    assert decoder.seen_by(plain, seen).ahead is None
    assert known(decoder.seen_by(specs[1], seen)) == [[[1.0, 2.0]], [[None, None]]]
    assert known(decoder.seen_by(specs[2], seen))[0] == [[2.0, 0.0, None, None], [1.0, 2.0, 3.0, None]]
    assert decoder.seen_by(specs[3], seen).ahead is None
    alone = Decoder(SPEC, ahead_of([specs[2]]))
    own, _ = alone.decode([batch([record(ahead={"wind": ["é"]})])])
    assert alone.seen_by(specs[2], own) is own
    nothing, _ = decoder.decode([batch([record()]), batch([])])
    assert decoder.seen_by(specs[1], nothing) is nothing


@given(
    st.dictionaries(st.sampled_from(["load:kW"]), st.lists(st.floats(-1e100, 1e100) | st.just(math.nan), max_size=5))
)
@settings(deadline=None)
def test_known_inputs_are_read_as_they_were_written(ahead: dict[str, list[float]]) -> None:
    seen, poison = KNOWING.decode([batch([encode_observation("a", NOW, [1.0, 2.0, "N"], ahead)])])
    assert not poison
    want = [None if math.isnan(value) else value for value in ahead.get("load:kW", [])[:STEPS]]
    assert known(seen) == [[NONE, want + [None] * (STEPS - len(want))] if ahead else None]


# -- what is written -------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30) | st.sampled_from(
    ['"', "\\", "</script>", "\n\t\0\x1f\x7f", "😀é", "a:b", "null"]
)
numbers = st.floats(-1e100, 1e100)


pairs = st.tuples(*[numbers | st.just(math.nan)] * 2)


@given(texts, st.integers(EARLIEST_MS, NOW), pairs, st.sampled_from(["N", "é", None]))
def test_an_observation_is_read_as_it_was_written(
    key: str, time: int, values: tuple[float, float], wind: str | None
) -> None:
    assume(not SECONDS.first <= time < SECONDS.end)
    seen, poison = DECODER.decode([batch([encode_observation(key, time, [*values, wind])])])
    assert not poison
    want = [None if math.isnan(value) else value for value in values]
    assert rows(seen) == [(key, 100, time, [*want, {"N": 0.0, "é": 2.0, None: None}[wind]])]


@given(st.datetimes(datetime(1, 1, 3), datetime(2025, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001 given a zone
def test_times_in_words_are_the_same_instant_in_milliseconds(instant: datetime) -> None:
    seen, poison = DECODER.decode([batch([record(ts=instant.isoformat())])])
    assert not poison
    microseconds = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // (datetime.resolution)
    assert seen.times.tolist() == [microseconds // 1000]


def test_the_limit_of_size_is_that_of_the_whole_record() -> None:
    short, long = (raw() + b" " * (size - len(raw())) for size in (LARGEST_RECORD, LARGEST_RECORD + 1))
    seen, poison = DECODER.decode([batch([short, long, record()])])
    assert len(seen) == 2
    assert [(p.row, p.reason) for p in poison] == [(1, "size")]


def test_times_in_another_unit_are_refused_with_words() -> None:
    raws = [record(ts=NOW // 1000), record(ts=NOW * 1000), record(ts=NOW * 10**6)]
    _, poison = DECODER.decode([batch(raws)])
    assert [letter.detail.partition(" ")[2] for letter in poison] == [
        f"looks like seconds: write epoch milliseconds, {NOW}",
        "ms lies outside the years 1 to 9999, and looks like microseconds: write epoch milliseconds",
        "ms lies outside the years 1 to 9999, and looks like nanoseconds: write epoch milliseconds",
    ]


def test_a_record_of_1970_is_read_in_words_or_with_a_timestamp_of_its_day() -> None:
    march = 5_184_000_000
    for raw_record, timestamp in ((record(ts="1970-03-02T00:00:00Z"), NOW), (record(ts=march), march)):
        seen, poison = DECODER.decode([batch([raw_record], timestamp=timestamp)])
        assert (seen.times.tolist(), poison) == ([march], [])
