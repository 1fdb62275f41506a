"""Tables on a terminal: names and numbers are whole where they fit; where they do not, names are broken first."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from streamcast.app.commands.tables import facts, lean

MEASURES = ("mae", "relative", "mse", "mase", "crps", "coverage", "width")
NUMBERS = ("5.184e-16", "0.7731", "5.247e-31", "1,234", "3.395e-31", "78.6%", "1.170e-15")


def printed(width: int, *rows: tuple[str, ...]) -> str:
    table = lean("forecaster", *MEASURES, numbers=MEASURES)
    for row in rows:
        table.add_row(*map(Text, row))
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    return out.getvalue()


@pytest.mark.parametrize("width", [200, 100, 80])
def test_no_name_and_no_number_is_broken_where_the_terminal_has_room(width: int) -> None:
    said = printed(width, ("z-daily3y@1", *NUMBERS), ("seasonal naive", *NUMBERS))
    assert max(map(len, said.splitlines())) <= width
    words = said.split()
    for word in ("forecaster", "z-daily3y@1", *MEASURES):
        assert words.count(word) == 1
    assert all(words.count(number) == 2 for number in NUMBERS)


@pytest.mark.parametrize("width", [79, 64])
@pytest.mark.parametrize("name", ["z-daily3y@1", "a-very-long-model-name-for-the-gross-product-of-regions"])
def test_names_are_broken_and_no_number_is_where_the_terminal_is_narrow(width: int, name: str) -> None:
    said = printed(width, (name, *NUMBERS), ("seasonal naive", *NUMBERS))
    assert max(map(len, said.splitlines())) <= width
    assert all(said.split().count(number) == 2 for number in NUMBERS)
    shown = sorted("".join(said.split()))
    wanted = sorted("".join(["forecaster", name, "seasonalnaive", *MEASURES, *NUMBERS, *NUMBERS]))
    assert [letter for letter in shown if letter != "─"] == wanted


@pytest.mark.parametrize("width", [58, 40])
def test_a_number_without_room_is_seen_to_be_cut_and_does_not_read_as_another(width: int) -> None:
    said = printed(width, ("z", *NUMBERS)).partition("─")[2]
    assert max(map(len, said.splitlines())) <= width
    shown = said.replace("─", "").split()
    assert "…" in said
    assert all(word in NUMBERS or word == "z" or word.endswith("…") for word in shown)
    assert len(shown) == 1 + len(NUMBERS)


def test_no_cell_holds_control_characters() -> None:
    """A model folder and a record are those of strangers: an escape sequence in them would clear the terminal."""
    table = lean("a", "b", "c")
    table.add_row(Text("x\x1b[2J"), "[bold]y[/]\x9b", Text("one\ntwo", style="red"))
    out = io.StringIO()
    console = Console(file=out, width=80)
    console.print(table)
    console.print(facts({"[/red]\x1bname": "\x1b]0;t\x07[/red]", "lines": "three\nfour"}))
    said = out.getvalue()
    assert all(line.isprintable() for line in said.split("\n"))
    for shown in (r"x\x1b[2J", r"y\x9b", "one", "two", r"[/red]\x1bname", r"\x1b]0;t\x07[/red]", "three", "four"):
        assert shown in said
