"""What is wrong with a refused record, in words, and what the producer should write instead.

The parser's own message says what it met; these say what to do about the commonest faults.  Nothing here is called for
a record that can be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from streamcast.spec.model_spec import SeriesSpec
from streamcast.topics.ahead import Ahead
from streamcast.topics.foreign_bytes import foreign

MOST_NAMED = 12
"""Columns that the details of a dead letter name."""
LONGEST_SHOWN = 64
"""Characters of a text in them."""
_AT_BYTE = re.compile(r"\(byte (\d+)\)")
_NO_VALUE = re.compile(rb"-?\b(?:nan|inf|infinity|none|null|na|undefined)\b", re.IGNORECASE)
"""What languages print for a missing or infinite number."""
_LONGEST_WORD = len("undefined")
_LISTED, _NAMED, _AHEAD = (
    re.compile(rf"`\$\.{place}`$") for place in (r"values\[(\d+)\]", r"values\.(.+)", r"ahead\.(.+)\[(\d+)\]")
)
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3},\d{3}")
"""A number that may have a decimal comma, or one between thousands."""


def no_json(raw: bytes, said: str) -> str:
    """Return what is wrong with bytes that are no JSON; ``said`` is the parser's message."""
    if told := foreign(raw):
        return told
    if at := _AT_BYTE.search(said):
        place = int(at[1])
        begin = max(place - _LONGEST_WORD, 0)
        for word in _NO_VALUE.finditer(raw[begin : place + _LONGEST_WORD]):
            if word.start() <= place - begin <= word.end() + 1:  # some words are refused at their end
                return f"{word[0].decode()} is not JSON: write null for a missing value (byte {place})"
    return said


def wrong_shape(raw: bytes, said: str, spec: SeriesSpec, ahead: Ahead) -> str:
    """Return what is wrong with JSON that is no observation of a model; ``said`` is the parser's message."""
    wrong = said
    with suppress(ValueError, LookupError, TypeError, RecursionError):  # a repeated name, or a number of 5,000 digits
        wrong = _remedied(json.loads(raw.decode()), said, spec) or said
    if not any(place in said for place in ("$.values", "`values`", "$.ahead")):
        return wrong
    known = bool(ahead.columns) and "$.ahead" in said
    places = ahead.columns if known else range(len(spec.columns))
    names = [repr(spec.columns[place].name) for place in places[:MOST_NAMED]]
    more = f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else ""
    return f"{wrong}; the model {'knows ahead' if known else 'reads the values'} {', '.join(names)}{more}"


def _remedied(record: Mapping[str, Any], said: str, spec: SeriesSpec) -> str:
    """Return what to write instead of a key, a time or a value of another type; nothing where that is not known."""
    if "`$.key`" in said:
        key = record["key"]
        return f"the key is a number, {key}: write the key as text: {_quoted(key)}" if _is_number(key) else ""
    if "`$.ts`" in said:
        return f"{said}: write whole epoch milliseconds, or RFC 3339 as text"
    if at := _LISTED.search(said):
        name, value = spec.columns[int(at[1])].name, record["values"][int(at[1])]
    elif at := _NAMED.search(said):
        name, value = at[1], record["values"][at[1]]
    elif at := _AHEAD.search(said):
        name, value = at[1], record["ahead"][at[1]][int(at[2])]
    else:
        return ""
    if isinstance(value, str):
        return f"the value of {name!r} is {_text(value)}"
    if _is_number(value) and "Expected `str" in said:
        return f"the value of {name!r} is a number, {value}, and its values are texts: write {_quoted(value)}"
    return ""


def _text(value: str) -> str:
    """Return what a text in the place of a number is, and what to write there."""
    shown, number = repr(value[:LONGEST_SHOWN]), value.strip()
    if not _NUMBER.fullmatch(number):
        return f"text, {shown}: write a number without quotes, or null for a missing value"
    if _THOUSANDS.fullmatch(number):
        return f"a number as text, {shown}: write it without quotes and comma, with a point before decimals"
    return (
        f"a number as text, {shown}: write {number.replace(',', '.').removeprefix('+')[:LONGEST_SHOWN]} without quotes"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _quoted(value: object) -> str:
    return json.dumps(str(value))
