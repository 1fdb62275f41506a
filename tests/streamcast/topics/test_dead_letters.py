"""Dead letters: what they keep of a record, and how large they are at most."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streamcast.app.commands.deployment.topics import LETTER_BYTES
from streamcast.consumers.transport import Batch, Headers, Partition
from streamcast.spec.model_spec import Column, SeriesSpec
from streamcast.topics.dead_letters import (
    LARGEST_HEADERS,
    LARGEST_LETTER,
    LARGEST_LETTER_KEY,
    Rejected,
    headers_of_record,
    outgoing,
)
from streamcast.topics.observations import Decoder

SERIES = SeriesSpec(columns=(Column(name="y"),), freq=3_600_000)
NOW = 1_700_000_000_000

LARGE = ("large", b"x" * LARGEST_HEADERS)
MANY = [(f"n{number}", b"") for number in range(5_000)]


def letter(headers: Headers, key: bytes = b"k", value: bytes = b"{") -> tuple[int, Headers]:
    """The bytes of the dead letter of a record, and its headers."""
    batch = Batch(Partition("observations", 0), [7], [1], [key], [value], 8, [headers])
    sent = outgoing("dead-letters", [batch], [Rejected(0, 0, "json", "no" * 1_000, "champion")])
    (written,) = sent.headers or ()
    size = len(sent.keys[0] or b"") + len(sent.values[0] or b"")
    return size + sum(len(name.encode()) + len(text) + 10 for name, text in written), written


@pytest.mark.parametrize(
    ("headers", "kept", "missing"),
    [
        ([("a", b"1"), ("a", b"2")], [("a", b"1"), ("a", b"2")], None),
        ([("a", b"1"), LARGE, ("b", None)], [("a", b"1"), ("b", b"")], b"1"),
        ([("replay_of", b"in[0]@1"), ("a", b"1")], [("a", b"1")], None),
    ],
)
def test_headers_are_kept_in_their_order_as_far_as_there_is_room(
    headers: Headers, kept: Headers, missing: bytes | None
) -> None:
    _, written = letter(headers)
    assert headers_of_record(written) == kept
    assert dict(written).get("headers_cut") == missing
    assert dict(written)["reason"] == b"json"


@pytest.mark.parametrize("headers", [[LARGE] * 40, MANY, [("a", b"x" * 9_000)] * 2])
def test_no_letter_is_larger_than_its_topic_must_hold(headers: Sequence[tuple[str, bytes]]) -> None:
    for value in (b"{" * LARGEST_LETTER, b"{" * (LARGEST_LETTER - 9_000), b"{" * (LARGEST_LETTER + 1)):
        for key in (b"k", b"k" * LARGEST_LETTER_KEY):
            size, written = letter(headers, key, value)
            assert size <= LETTER_BYTES
            assert len(headers_of_record(written)) + int(dict(written).get("headers_cut", b"0")) == len(headers)


def test_a_name_in_a_record_puts_no_control_characters_into_its_dead_letter() -> None:
    raw = rb'{"key":"a","ts":0,"values":{"\u001b]0;done\u0007\u001b[2J\u001b[31mALL GOOD\n\u009b":1}}'
    batch = Batch(Partition("observations", 0), [7], [NOW], [None], [raw], 8)
    _, (found,) = Decoder(SERIES).decode([batch])
    sent = outgoing("dead-letters", [batch], [Rejected(0, 0, found.reason, found.detail)])
    detail = dict((sent.headers or ())[0])["detail"].decode()
    assert r"\x1b]0;done\x07\x1b[2J\x1b[31mALL GOOD\n\x9b" in detail
    assert detail.isprintable()
