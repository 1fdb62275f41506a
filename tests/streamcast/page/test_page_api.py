"""docs/page-api.md and docs/openapi.yaml are what a page answers, field for field."""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import Any
from urllib.parse import quote

import jsonschema
import numpy as np
import pytest
import yaml

from harness import ROOT
from harness.documentation import page_api
from harness.feeder import FORECASTS, FREQ, RECORDS, SPEC, START, Feeder, fill, forecast
from streamcast.consumers.transport import Batch
from streamcast.page.board import Board
from streamcast.page.server import serve_dashboard
from streamcast.spec.calendar_bars import MONTH_MS, Step, calendar_of
from streamcast.spec.model_spec import Column, SeriesSpec

PAGE = ROOT / "docs" / "page-api.md"
MONTHS = SeriesSpec(
    columns=(Column(name="y"),), freq=MONTH_MS, calendar=calendar_of(Step("month", 1), "UTC", START, START)
)
TICKS = SPEC.model_copy(update={"mode": "ticks"})


def complaints(schema: dict[str, Any], answer: object) -> list[str]:
    return [
        f"{error.json_path}: {error.message}" for error in jsonschema.Draft202012Validator(schema).iter_errors(answer)
    ]


def busy() -> Board:
    board = Board(SPEC, season=24)
    fill(board, Feeder(70, silent_after=20), 60)
    return board


def empty() -> Board:
    return Board(SPEC, season=24)


def records_only() -> Board:
    board = Board(TICKS, season=24)
    board.take_records(Feeder(3).records())
    board.score()
    return board


def forecasts_only() -> Board:
    board = Board(SPEC, season=24)
    board.take_forecasts(Feeder(3).forecasts())
    board.score()
    return board


def closed_at_night() -> Board:
    """A series that has no value in half of its season."""
    board = Board(SPEC, season=24)
    for bar in np.flatnonzero(np.arange(240) % 24 < 12).tolist():
        time = START + bar * FREQ
        record = json.dumps({"key": "shop", "ts": time, "values": [float(bar % 24)]}).encode()
        board.take_records(Batch(RECORDS, [bar], [time], [None], [record], bar + 1))
        answer = forecast("shop", time, {"0.5": [1.0] * 24})
        board.take_forecasts(Batch(FORECASTS, [bar], [time], [None], [answer], bar + 1))
    board.score()
    return board


def months() -> Board:
    board = Board(MONTHS, season=12)
    cutoff = MONTHS.grid.start(MONTHS.grid.bar(START))
    answer = forecast("a", cutoff, {"0.1": [1.0], "0.5": [2.0], "0.9": [3.0]}, freq_ms=None)
    board.take_forecasts(Batch(FORECASTS, [0], [cutoff], [None], [answer], 1))
    board.score()
    return board


@pytest.mark.parametrize(
    "make", [busy, empty, records_only, forecasts_only, closed_at_night, months, page_api.small_board]
)
def test_every_answer_of_a_page_has_the_fields_that_are_documented_and_no_others(make: Any) -> None:
    board = make()
    with closing(serve_dashboard(board)) as server:
        for page in (1, 2):
            status, found = page_api.ask(server.port, f"/api/series?sort=name&page={page}")
            assert (status, complaints(page_api.LIST, found)) == (200, [])
        keys = list(board.tracks)
        assert found["total"] == len(keys)
        for key in keys[:4] + keys[-1:]:
            status, found = page_api.ask(server.port, f"/api/series/{quote(key)}")
            assert (status, complaints(page_api.SERIES, found)) == (200, [])
            assert found["key"] == key


def test_the_boards_of_this_test_show_every_field() -> None:
    with closing(serve_dashboard(closed_at_night())) as server:
        _, shop = page_api.ask(server.port, "/api/series/shop")
    assert shop["closed"], "a stretch of closed hours is among what was compared"
    found = {name: answer for name, (_, answer) in page_api.answers(page_api.small_board()).items()}
    assert set(page_api.TILE["properties"]) == set(found["list"]["tiles"][0])
    assert set(page_api.SERIES["properties"]) == set(found["series"])
    assert set(page_api.LANE["properties"]) == set(found["series"]["lanes"]["champion"])


def test_the_examples_of_the_page_are_what_a_page_answers() -> None:
    given = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)]
    found = page_api.answers(page_api.small_board())
    assert given == [found[name][1] for name in ("list", "series", "wrong")]
    assert {name: status for name, (status, _) in found.items()} == {
        "list": 200, "series": 200, "unknown": 404, "wrong": 400,
    }  # fmt: skip
    for name in ("unknown", "wrong"):
        assert complaints(page_api.ERROR, found[name][1]) == []


def test_the_pages_are_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page_api.page_api_page(), "run `make docs`"
    assert (ROOT / "docs" / "openapi.yaml").read_text(encoding="utf-8") == page_api.openapi(), "run `make docs`"


def test_the_schemas_of_the_document_are_some_and_its_references_lead_to_them() -> None:
    text = (ROOT / "docs" / "openapi.yaml").read_text(encoding="utf-8")
    schemas = yaml.safe_load(text)["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert set(re.findall(r"'#/components/schemas/(\w+)'", text)) == set(schemas)
