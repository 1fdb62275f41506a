"""Text of strangers is shown without control characters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamcast.printable import escaped, escaped_lines, printable


@given(st.binary(max_size=500))
def test_printable_text_is_printable(raw: bytes) -> None:
    assert printable(raw).isprintable()


@given(st.text(max_size=100))
def test_a_text_without_control_characters_stays_as_it_is_and_any_other_becomes_printable(text: str) -> None:
    assert escaped(text).isprintable()
    assert escaped(text) == text or not text.isprintable()
    assert escaped_lines(text).split("\n") == [escaped(line) for line in text.split("\n")]


def test_escapes_say_which_character_was_there() -> None:
    assert escaped("Zürich 東京 \x1b[31m\n\x9b\u202e\ud800") == r"Zürich 東京 \x1b[31m\n\x9b\u202e\ud800"
