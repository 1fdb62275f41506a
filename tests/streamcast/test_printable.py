"""Text of strangers is shown without control characters."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness import ROOT
from streamcast.app.markup import escape
from streamcast.printable import escaped, escaped_lines, printable


@given(st.binary(max_size=500))
def test_printable_text_is_printable(raw: bytes) -> None:
    assert printable(raw).isprintable()


@given(st.text(max_size=100))
def test_a_text_without_control_characters_stays_as_it_is_and_any_other_becomes_printable(text: str) -> None:
    assert escaped(text).isprintable()
    assert escaped(text) == text or not text.isprintable()
    assert escaped_lines(text).split("\n") == [escaped(line) for line in text.split("\n")]


@given(st.text(alphabet="a[]/\x1b\x9b\n ", max_size=30))
def test_a_console_prints_an_escaped_text_as_it_is_but_for_control_characters(text: str) -> None:
    out = io.StringIO()
    Console(file=out, soft_wrap=True, highlight=False).print("[red]said:[/] " + escape(text + "|"))
    assert out.getvalue() == f"said: {escaped_lines(text)}|\n"


def test_commands_print_texts_through_the_escape_that_leaves_no_control_characters() -> None:
    """The one of rich keeps them."""
    found = [path.name for path in (ROOT / "streamcast").rglob("*.py") if "rich.markup" in path.read_text()]
    assert found == ["markup.py"]


def test_escapes_say_which_character_was_there() -> None:
    assert escaped("Zürich 東京 \x1b[31m\n\x9b\u202e\ud800") == r"Zürich 東京 \x1b[31m\n\x9b\u202e\ud800"
