"""Records that are no JSON in UTF-8, told by their first bytes: what they are, and what the producer should do.

A byte-order mark is refused, as RFC 8259 allows.  Ignored, it would turn records that were dead letters into
observations, and so change the state that a replay makes of them.
"""

from __future__ import annotations

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


def foreign(raw: bytes) -> str:
    """Say what a record begins with that is no JSON, and the remedy; nothing where its first bytes do not tell."""
    for opening, what, remedy in _OPENINGS:
        if raw.startswith(opening):
            return f"the record begins with {what}: {remedy}"
    return ""
