"""What producers write that is no JSON in UTF-8, or no text as a Kafka key: what it is, and what they should do.

Records are told by their first bytes.  A byte-order mark is refused, as RFC 8259 allows.  Ignored, it would turn
records that were dead letters into observations, and so change the state that a replay makes of them.  For the same
reason a Kafka key in binary that happens to be UTF-8 names a series, as it always did.
"""

from __future__ import annotations

import re

_MARK = "a byte-order mark of"
_PLAIN = "let the producer write UTF-8 without a byte-order mark"

_OPENINGS: tuple[tuple[bytes, str, str], ...] = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (b"\xef\xbb\xbf", f"{_MARK} UTF-8", f"{_PLAIN} (Python: 'utf-8', not 'utf-8-sig'; .NET: new UTF8Encoding(false))"),
    (b"\xff\xfe\0\0", f"{_MARK} UTF-32", _PLAIN),
    (b"\0\0\xfe\xff", f"{_MARK} UTF-32", _PLAIN),
    (b"\xff\xfe", f"{_MARK} UTF-16", _PLAIN),
    (b"\xfe\xff", f"{_MARK} UTF-16", _PLAIN),
    (b"{\0", "text in UTF-16 or UTF-32", _PLAIN),
    (b"\0{", "text in UTF-16", _PLAIN),
    (b"\0", "a zero byte, as the serializers of a schema registry write it", "let the producer write plain JSON"),
    (b"{'", "a name in single quotes, as Python prints a dict", "let the producer write JSON (Python: json.dumps)"),
    (b"\x1f\x8b", "the mark of gzip", "let the producer set Kafka's compression.type, and write plain JSON"),
)

_CONTROL = re.compile(rb"[\0-\x08\x0a-\x1f\x7f]")
"""Control characters but the tab, with which a producer may join two names."""
_SHOWN = 64
"""Characters of a key in a message."""

TEXT_KEYS = (
    "let producers write the key as UTF-8 text, the name of the series (Java: StringSerializer; Python: key.encode())"
)
"""What to do about keys that are no text."""


def is_no_text(key: bytes) -> bool:
    """Whether a Kafka key is not the name of a series as text: a number in binary, one in JSON's quotes, or framed."""
    return _CONTROL.search(key) is not None or (len(key) > 1 and key[:1] == key[-1:] == b'"')


def shown_key(key: str) -> str:
    """Return a key as a message shows it: escaped, and cut."""
    return repr(key if len(key) <= _SHOWN else f"{key[:_SHOWN]}…")


def foreign(raw: bytes) -> str:
    """Say what a record begins with that is no JSON, and the remedy; nothing where its first bytes do not tell."""
    for opening, what, remedy in _OPENINGS:
        if raw.startswith(opening):
            return f"the record begins with {what}: {remedy}"
    return ""
