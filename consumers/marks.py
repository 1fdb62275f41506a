"""The form of a mark beside a committed position that both clients can read.

librdkafka writes a text with the zero byte that ends it in C.  It also reads a text up to such a byte and, where there
is none, on into its memory.  So every mark is written with one, and read up to it.
"""

from __future__ import annotations

END = "\0"


def written(mark: str) -> str:
    """Return the text to commit for a mark, by a client that adds no zero byte of its own."""
    return mark + END if mark else ""


def read(text: str | None) -> str:
    """Return the mark in a text that was committed."""
    return (text or "").partition(END)[0]
