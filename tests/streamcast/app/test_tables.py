"""Tables on a terminal: names and numbers are whole where they fit, and nothing is cut where they do not."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from streamcast.app.commands.tables import lean

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


@pytest.mark.parametrize("width", [79, 60, 40])
def test_nothing_is_cut_where_the_terminal_is_narrow(width: int) -> None:
    said = printed(width, ("z-daily3y@1", *NUMBERS))
    assert max(map(len, said.splitlines())) <= width
    shown, wanted = sorted("".join(said.split())), sorted("".join(["forecaster", "z-daily3y@1", *MEASURES, *NUMBERS]))
    assert [letter for letter in shown if letter != "─"] == wanted
