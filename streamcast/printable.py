"""Text of strangers as a terminal, a log and a page may show it: control characters become escapes.

A record, a dead letter or a model folder may come from anybody.  Printed raw, an escape sequence in it clears the
screen of the operator, recolours it or renames its window, and so says what its writer wants to be read.
"""

from __future__ import annotations

from typing import Final

EXCERPT: Final = 400
"""Bytes of a record that are shown where nothing else is said."""


def escaped(text: str) -> str:
    """Return a text of one line in which control characters, line breaks too, are escapes, as Python writes them."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def escaped_lines(text: str) -> str:
    """Return a text whose lines are as ``escaped`` returns them."""
    return "\n".join(map(escaped, text.split("\n")))


def printable(raw: bytes, most: int = EXCERPT) -> str:
    """The first bytes, 400 by default, as text without control characters; bytes that are not UTF-8 become escapes."""
    return escaped(raw[:most].decode("utf-8", errors="backslashreplace"))


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() else ascii(letter)[1:-1]
