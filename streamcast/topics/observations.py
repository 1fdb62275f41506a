"""Observations as bytes, and as the columns that everything else works on.

Decoding takes a whole batch at once.  A record that cannot be an observation leaves here as ``Poison``, with its
reason; no later code ever sees it.

Most records have the *plain* form: a key, a time in milliseconds, a list of values, and no other field but ``ahead``.
msgspec reads it in one pass and checks its numbers.  Only a record that is not plain, or may repeat a name, takes a
second look, which reads any form that is allowed and finds the reason of a refusal.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import GenericAlias
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from streamcast.consumers.transport import Batch, Partition
from streamcast.spec.model_spec import ModelSpec, SeriesSpec
from streamcast.topics.ahead import NOTHING_AHEAD, Ahead, AheadField
from streamcast.topics.epochs import FINER, MILLISECONDS, SECONDS
from streamcast.topics.faults import no_json, wrong_shape
from streamcast.topics.foreign_bytes import is_no_text

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LARGEST_VALUE = 1e100
LARGEST_RECORD = 1 << 20
LONGEST_KEY = 512
DEEPEST = 64
"""How deep brackets of a record may be nested."""
EARLIEST_MS = -62_135_596_800_000  # year 1
LATEST_MS = 253_402_300_799_999  # year 9999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


@dataclass(frozen=True, slots=True)
class Observations:
    """N decoded records in the order of processing: by partition, then by offset.

    keys [N] series keys; offsets, times (event, epoch ms) and timestamps (Kafka, epoch ms) [N]; values [N, C]
    with NaN for missing and a category's index (−1 unknown); ahead [N, I, H] the known inputs of the H bars after the
    record's own, NaN where not given, or None.  ``runs`` maps each partition to its rows [start, stop).  ``unknown``
    says of how many records a column has a category that the model does not know, where there are any.
    ``foreign_keys`` has the series of each record that is named by its Kafka key, where that is no text.
    """

    runs: Sequence[tuple[Partition, int, int]]
    keys: Sequence[str]
    offsets: Ints
    times: Ints
    timestamps: Ints
    values: Floats
    ahead: Floats | None = None
    unknown: Mapping[str, int] = field(default_factory=dict)
    foreign_keys: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that cannot be an observation: which batch, which row of it, a reason (a fixed word) and details."""

    batch: int
    row: int
    reason: str
    detail: str


class _Refused(Exception):
    """Carries the reason and details of one poison record."""


class Decoder:
    """Turns batches of one input topic into observations and poison, by the rules of one series spec.

    A record is ``{"key": str, "ts": epoch ms or RFC 3339 with a zone, "values": [..] or {name: ..}}``.  The Kafka key
    stands in for a missing ``key``, null is a missing value, and other fields are ignored.

    Poison is a number beyond ±1e100, NaN, Infinity, a repeated name, a wrong count or type, more than a MiB, brackets
    nested deeper than ``DEEPEST``, an event time further ahead of the Kafka timestamp than ``max_ahead``, and a number
    of January to April 1970 in a record whose Kafka timestamp lies after 1973: it is a time in seconds.

    With known inputs (``ahead``), a record may also have ``"ahead": {name: [..]}``, by the same rules (see
    ``AheadField``); a name that is not a known input is poison.  Without known inputs, the field is ignored.
    """

    def __init__(self, spec: SeriesSpec, ahead: Ahead = NOTHING_AHEAD) -> None:
        self._spec, self._known = spec, ahead
        time = Annotated[int, msgspec.Meta(ge=EARLIEST_MS, le=LATEST_MS)]
        key = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_KEY)]
        number = Annotated[float, msgspec.Meta(ge=-LARGEST_VALUE, le=LARGEST_VALUE)] | None
        types = [float | None if column.categories is None else str | None for column in spec.columns]
        fields = [(f"c{i}", kind, None) for i, kind in enumerate(types)]
        named = msgspec.defstruct(
            "Values", fields, rename={f"c{i}": column.name for i, column in enumerate(spec.columns)},
            forbid_unknown_fields=True, gc=False,
        )  # fmt: skip
        listed: Any = GenericAlias(tuple, tuple(types))
        bounded: Any = GenericAlias(tuple, tuple(number if kind == float | None else kind for kind in types))
        self._ahead = AheadField(spec, ahead, number) if ahead.columns else None
        strict, loose = [], []
        if self._ahead:
            strict, loose = ([("ahead", kind | None, None)] for kind in (self._ahead.bounded, self._ahead.unbounded))
        plain = msgspec.defstruct(  # field for field what ``_columns`` reads
            "Plain", [("key", key), ("ts", time), ("values", bounded), *strict], forbid_unknown_fields=True, gc=False
        )
        message = msgspec.defstruct(  # every form that is allowed; limits are checked afterwards, for a better reason
            "Message",
            [("ts", int | str), ("values", listed | named), ("key", str | None, None), ("v", int, 1), *loose],
            gc=False,
        )
        self._plain, self._named = plain, named
        # Stands in the place of a refused record until its row is left out.
        self._nothing = plain("", EARLIEST_MS, tuple("" if column.categories else 0.0 for column in spec.columns))
        self._decode_plain: Callable[[bytes], Any] = msgspec.json.Decoder(plain).decode
        self._decode_any: Callable[[bytes], Any] = msgspec.json.Decoder(message).decode
        # By column: the number of each category, None for a column of numbers.
        self._codes = [
            None if column.categories is None else {name: float(i) for i, name in enumerate(column.categories)}
            for column in spec.columns
        ]

    def decode(
        self, batches: Sequence[Batch], skipped: Mapping[Partition, Collection[int]] | None = None
    ) -> tuple[Observations, list[Poison]]:
        """Decode batches, in their order; the records at ``skipped`` offsets become poison without being read."""
        runs: list[tuple[Partition, int, int]] = []
        poison: list[Poison] = []
        keys: list[str] = []
        parts: list[tuple[Ints, Ints, Ints, Floats]] = []
        ahead: list[Floats | None] = []
        foreign_keys: list[str] = []
        for number, batch in enumerate(batches):
            decoded = self._columns(number, batch, poison, (skipped or {}).get(batch.partition, ()))
            start = len(keys)
            keys += decoded[0]
            parts.append(decoded[1:5])
            ahead.append(decoded[5])
            foreign_keys += decoded[6]
            runs.append((batch.partition, start, len(keys)))
        offsets, times, timestamps, values = (
            (np.concatenate(column) for column in zip(*parts, strict=True))
            if parts
            else (np.empty(0, np.int64),) * 3 + (np.empty((0, len(self._codes))),)
        )
        known = self._joined(ahead, runs)
        return (
            Observations(
                runs, keys, offsets, times, timestamps, values, known, self._unknown(values, known), foreign_keys
            ),
            poison,
        )  # fmt: skip

    def seen_by(self, spec: ModelSpec, observations: Observations) -> Observations:
        """Return decoded observations as one model sees them: with its own known inputs, for its own horizon."""
        ahead = observations.ahead
        if ahead is None or (spec.known_columns, spec.horizon) == self._known:
            return observations
        if not spec.known_columns:
            return replace(observations, ahead=None)
        places = [self._known.columns.index(column) for column in spec.known_columns]
        return replace(observations, ahead=np.ascontiguousarray(ahead[:, places, : spec.horizon]))

    def _unknown(self, values: Floats, ahead: Floats | None) -> dict[str, int]:
        """Return of how many records a column, or the field ``ahead``, has an unknown category, where any has."""
        counts = {}
        for place, column in enumerate(self._spec.columns):
            if column.categories is None:
                continue
            unknown = values[:, place] < 0
            if ahead is not None and place in self._known.columns:
                unknown = unknown | (ahead[:, self._known.columns.index(place)] < 0).any(axis=1)
            if count := int(unknown.sum()):
                counts[column.name] = count
        return counts

    def _joined(self, ahead: Sequence[Floats | None], runs: Sequence[tuple[Partition, int, int]]) -> Floats | None:
        """Return the known inputs of all batches as one array; None when no batch brings any."""
        if all(part is None for part in ahead):
            return None
        shape = len(self._known.columns), self._known.horizon
        return np.concatenate([
            np.full((stop - start, *shape), math.nan) if part is None else part
            for part, (_, start, stop) in zip(ahead, runs, strict=True)
        ])  # fmt: skip

    def _columns(
        self, number: int, batch: Batch, poison: list[Poison], skipped: Collection[int]
    ) -> tuple[list[str], Ints, Ints, Ints, Floats, Floats | None, list[str]]:
        """Keys, offsets, times, timestamps, values, known inputs and foreign keys of a batch.

        Refused records go to ``poison``.
        """
        refused = dict.fromkeys(_rows_at(batch, skipped), ("skipped", "passed over by `streamcast skip`"))
        raws = [None if row in refused else raw for row, raw in enumerate(batch.values)] if refused else batch.values
        messages = self._read(raws)
        doubtful = _doubtful(raws, messages, self._ahead)
        for row in doubtful:
            messages[row] = self._nothing
            if row not in refused:
                try:
                    messages[row] = self._second_look(raws[row], batch.keys[row])
                except _Refused as refusal:
                    refused[row] = refusal.args
        keys = [message.key for message in messages]
        offsets, timestamps = np.array(batch.offsets, np.int64), np.array(batch.timestamps, np.int64)
        times = np.fromiter((message.ts for message in messages), np.int64, len(messages))
        values = self._values([message.values for message in messages])
        ahead = None if self._ahead is None else self._ahead.array([message.ahead for message in messages])
        early = (timestamps >= 0) & (times - self._spec.max_ahead > timestamps)
        for row in np.flatnonzero(early).tolist():
            time, timestamp = int(times[row]), int(timestamps[row])
            refused[row] = ("ahead", (
                f"event time {time} ({_utc(time)}) is after the Kafka timestamp {timestamp} ({_utc(timestamp)}) by more"
                f" than {self._spec.max_ahead} ms, the limit of the model"
            ))  # fmt: skip
        seconds = (times >= SECONDS.first) & (times < SECONDS.end) & (timestamps >= MILLISECONDS.first)
        for row in np.flatnonzero(seconds).tolist():
            if row not in refused and _is_a_number(batch.values[row]):
                refused[row] = ("time", f"{times[row]} looks like seconds: write epoch milliseconds, {times[row]}000")
        foreign = [
            messages[row].key
            for row in doubtful  # a record in the plain form names its series itself
            if row not in refused and _names_series(batch.keys[row], messages[row].key)
        ]
        if not refused:
            return keys, offsets, times, timestamps, values, ahead, foreign
        poison += [Poison(number, row, *why) for row, why in sorted(refused.items())]
        good = np.ones(len(messages), np.bool_)
        good[list(refused)] = False
        keys = [key for row, key in enumerate(keys) if row not in refused]
        known = None if ahead is None else ahead[good]
        return keys, offsets[good], times[good], timestamps[good], values[good], known, foreign

    def _read(self, raws: Sequence[bytes | None]) -> list[Any]:
        """Return the records that have the plain form without a fault, and None for every other."""
        messages: list[Any] = []
        decode, remaining = self._decode_plain, iter(raws)
        while True:
            try:
                for raw in remaining:
                    messages.append(decode(raw))  # type: ignore[arg-type]  # noqa: PERF401 keeps the records before an error
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError):
                messages.append(None)
            else:
                return messages

    def _second_look(self, raw: bytes | None, kafka_key: bytes | None) -> Any:
        """Read one record with every rule, into the plain form; raises _Refused(reason, detail)."""
        if not raw:
            raise _Refused("empty", "the record has no value" if raw is None else "the record's value has no bytes")
        if len(raw) > LARGEST_RECORD:
            raise _Refused("size", f"the record has {len(raw)} bytes, more than {LARGEST_RECORD}")
        if (depth := nesting(raw)) > DEEPEST:
            raise _Refused("json", f"brackets are nested {depth} deep, more than {DEEPEST}")
        try:
            message = self._decode_any(raw)
        except msgspec.ValidationError as error:
            raise _Refused("shape", wrong_shape(raw, str(error), self._spec, self._known)) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _Refused("json", no_json(raw, str(error))) from None
        values, names = message.values, 2 + (message.key is not None)
        if isinstance(values, self._named):
            values = msgspec.structs.astuple(values)
            names += len(values) - values.count(None)
        numbers, brought = values, self._ahead and message.ahead
        if self._ahead and brought is not None:
            names += self._ahead.colons(brought)
            numbers = [*values, *self._ahead.values(brought)]
        if _may_repeat_names(raw, names, f"{message.key}{message.ts}"):
            _refuse_repeated_names(raw)
        if message.v != 1:
            raise _Refused("version", f"schema version {message.v} is unknown; this service reads version 1")
        if any(isinstance(value, float) and abs(value) > LARGEST_VALUE for value in numbers):
            raise _Refused("value", f"a value lies beyond ±{LARGEST_VALUE:g}")
        return self._plain(
            _series_key(message.key, kafka_key),
            _event_time(message.ts),
            values,
            *(() if brought is None else (brought,)),
        )

    def _values(self, rows: list[Any]) -> Floats:
        columns = len(self._codes)
        if any(self._codes):
            rows = [self._encoded(row) for row in rows]
        try:
            values = np.fromiter(itertools.chain.from_iterable(rows), np.float64, len(rows) * columns)
        except TypeError:  # a null
            values = np.array(rows, np.float64)
        return values.reshape(len(rows), columns)

    def _encoded(self, row: Sequence[Any]) -> list[float | None]:
        return [
            value if codes is None or value is None else codes.get(value, -1.0)
            for value, codes in zip(row, self._codes, strict=True)
        ]


def nesting(raw: bytes) -> int:
    """Return how deep brackets are nested, those in texts left out: of bytes that are no JSON, some such number.

    Parsers give up at a depth that depends on the calls around them, so the same record would be poison in one process
    and none in another.
    """
    if raw.count(b"[") + raw.count(b"{") <= DEEPEST:
        return 0
    brackets = np.frombuffer(_TEXT.sub(b"", raw).translate(None, _NO_BRACKETS), np.uint8)
    opened = (brackets == ord("[")) | (brackets == ord("{"))
    return int(np.cumsum(np.where(opened, 1, -1)).max(initial=0))


def _rows_at(batch: Batch, offsets: Collection[int]) -> list[int]:
    """Return the rows of a batch that have one of these offsets."""
    if not len(batch) or not any(batch.offsets[0] <= offset < batch.next_offset for offset in offsets):
        return []
    return [row for row, offset in enumerate(batch.offsets) if offset in offsets]


def _series_key(key: str | None, kafka_key: bytes | None) -> str:
    if key is None:
        if not kafka_key:
            raise _Refused("key", "neither a field 'key' nor a Kafka key names the series")
        try:
            key = kafka_key.decode()
        except UnicodeDecodeError as error:
            raise _Refused("key", f"the Kafka key is not UTF-8: {error}") from None
    if not 1 <= len(key) <= LONGEST_KEY:
        raise _Refused("key", f"a series key has 1 to {LONGEST_KEY} characters, this one has {len(key)}")
    return key


def _names_series(kafka_key: bytes | None, series: str) -> bool:
    """Whether a Kafka key that is no text is the name of a series."""
    return kafka_key is not None and is_no_text(kafka_key) and kafka_key == series.encode()


class _Time(msgspec.Struct, gc=False):
    ts: int | str


def _is_a_number(raw: bytes | None) -> bool:
    """Whether a message that was read has its time as a number, not in words."""
    return raw is not None and isinstance(msgspec.json.decode(raw, type=_Time).ts, int)


def _utc(time_ms: int) -> str:
    """Return an epoch time as a person reads it."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _event_time(ts: int | str) -> int:
    if isinstance(ts, str):
        try:
            instant = datetime.fromisoformat(ts)
        except ValueError:
            remedy = ": write a capital Z" if ts.endswith("z") else ""
            raise _Refused("time", f"{ts[:64]!r} is neither epoch milliseconds nor RFC 3339{remedy}") from None
        if instant.tzinfo is None:
            raise _Refused("time", f"{ts[:64]!r} has no zone: write a Z or an offset")
        ts = (instant - _EPOCH) // _MILLISECOND
    if not EARLIEST_MS <= ts <= LATEST_MS:
        unit = next((unit for unit in FINER if unit.first <= ts < unit.end), None)
        remedy = f", and looks like {unit.name}: write epoch milliseconds" if unit else ""
        raise _Refused("time", f"{ts} ms lies outside the years 1 to 9999{remedy}")
    return ts


def _doubtful(raws: Sequence[bytes | None], messages: Sequence[Any], ahead: AheadField | None) -> list[int]:
    """Return the rows that need a second look: unread, too large, or possibly with a repeated name.

    msgspec keeps the last value of a repeated name.  A message that was read has each of its names at least once:
    three, and those of its known inputs.  So when all messages together have as many colons as names, none is repeated.
    """
    if None not in messages:
        joined = b"".join(raws)  # type: ignore[arg-type]
        names = 3 * len(raws) + (sum(ahead.colons(message.ahead) for message in messages) if ahead else 0)
        if len(joined) <= LARGEST_RECORD and joined.count(b":") == names:
            return []
    return [
        row
        for row, (raw, message) in enumerate(zip(raws, messages, strict=True))
        if message is None or raw is None or len(raw) > LARGEST_RECORD or _may_repeat(raw, message, ahead)
    ]


def _may_repeat(raw: bytes, message: Any, ahead: AheadField | None) -> bool:
    """Whether a message in the plain form may repeat a name."""
    if ahead is None or message.ahead is None:
        return _may_repeat_names(raw, 3, message.key)
    return _may_repeat_names(raw, 3 + ahead.colons(message.ahead), message.key + "".join(ahead.names(message.ahead)))


def _may_repeat_names(raw: bytes, names: int, read: str) -> bool:
    """Whether a message has colons that neither its distinct ``names`` nor those in the texts ``read`` explain."""
    colons = raw.count(b":")
    return colons != names and (colons != names + read.count(":") or b"\\" in raw)


def _refuse_repeated_names(raw: bytes) -> None:
    try:
        _EVERY_NAME.decode(raw.decode())
    except ValueError as error:
        raise _Refused("json", str(error)) from None


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise _Refused("shape", f"a name is repeated among {names[:8]}")


_EVERY_NAME = json.JSONDecoder(object_pairs_hook=_distinct)  # msgspec cannot report repeated names


def encode_observation(
    key: str,
    time_ms: int,
    values: Sequence[float | str | None],
    ahead: Mapping[str, Sequence[float | str | None]] | None = None,
) -> bytes:
    """Return the JSON of one record; NaN becomes null.

    ``ahead`` has the known inputs of the bars after the record's own, by name; without any, the field is left out.
    """
    record: dict[str, Any] = {"key": key, "ts": time_ms, "values": _nulled(values)}
    if ahead:
        record["ahead"] = {name: _nulled(row) for name, row in ahead.items()}
    return msgspec.json.encode(record)


def _nulled(values: Sequence[float | str | None]) -> list[float | str | None]:
    return [None if isinstance(value, float) and math.isnan(value) else value for value in values]
