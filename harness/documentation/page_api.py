"""The live page's HTTP API: docs/page-api.md and docs/openapi.yaml, with the answers of a page that runs.

``LIST`` and ``SERIES`` say what each field of an answer is; ``tests/streamcast/page/test_page_api.py`` compares answers
with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

from harness.feeder import FORECASTS, FREQ, RECORDS, START, forecast
from streamcast.consumers.transport import Batch
from streamcast.page import application, server, track, views
from streamcast.page.board import MOST_CUTOFFS, MOST_FORECAST_NUMBERS, RECENT_BARS, Board
from streamcast.page.server import serve_dashboard
from streamcast.spec.durations import DAY_MS
from streamcast.spec.model_spec import Column, SeriesSpec

Schema = dict[str, Any]

KEY: Final = "line-a/pump-42"
VALUES: Final = (4.0, 6.0, None, 19.0)
SPEC: Final = SeriesSpec(columns=(Column(name="y"),), freq=FREQ, max_ahead=10 * 365 * DAY_MS)
PATHS: Final = {
    "list": "/api/series?query=pump&sort=name",
    "series": f"/api/series/{quote(KEY)}",
    "unknown": "/api/series/nobody",
    "wrong": "/api/series?sort=random",
}
_BARS: Final = 512
_LONGEST_LINE: Final = 110


# -- what the fields are -------------------------------------------------------------------------------


def _of(kind: str | list[str], meaning: str, **more: Any) -> Schema:
    return {"type": kind, "description": meaning, **more}


def _list(items: Schema, meaning: str, **more: Any) -> Schema:
    return {"type": "array", "items": items, "description": meaning, **more}


def _object(fields: Schema, meaning: str = "", absent: tuple[str, ...] = ()) -> Schema:
    """Return an object with these fields and no others; those of ``absent`` may be left out."""
    return {
        "type": "object",
        **({"description": meaning} if meaning else {}),
        "required": [name for name in fields if name not in absent],
        "properties": fields,
        "additionalProperties": False,
    }


_NUMBER: Final[Schema] = {"type": ["number", "null"]}
_TIME: Final[Schema] = {"type": "integer"}
_MARK: Final = "The bars that are marked as anomalies"
_BEHIND: Final = _of(
    ["number", "null"],
    "Bars from the champion's newest forecast of this series to the newest forecast of all series; hours in which the"
    " series never has a value do not count. null while it has no forecast. Negative where its forecast is further"
    " ahead of the clock than the model's `max_ahead` allows: that one does not count as the newest of all series.",
)
_CLOSED: Final = _of("boolean", "Whether it has no newer forecast only because it never has a value in these hours.")
_QUALITY: Final[Schema] = {
    "relative": _of(
        ["number", "null"],
        "Mean absolute error over that of seasonal naive for the same values; below 1 is better. null while unknown.",
    ),
    "outcomes": _of(
        ["integer", "null"], "How many outcomes are counted: scored steps of warm forecasts that are kept."
    ),
    "compared": _of(["integer", "null"], "Those of them for which seasonal naive has a forecast."),
    "coverage": _of(["number", "null"], "Share of outcomes between the lowest and the highest quantile."),
}
_QUALITIES: Final = tuple(_QUALITY)

TILE: Final = _object(
    {
        "key": _of("string", "The series."),
        "version": _list({}, "Changes whenever the rest does; compare it only."),
        "values": _list(
            _NUMBER,
            f"Values of its newest bars, at most {RECENT_BARS}, oldest first; null where a bar has none. With ticks,"
            " the last bars are still open.",
        ),
        **_QUALITY,
        "behind": _BEHIND,
        "in_closed_hours": _CLOSED,
        "marked": _list({"type": "integer"}, f"{_MARK}, as places in `values`, from 0."),
        "anomaly": _object(
            {
                "at": _of("integer", "Start of the bar, epoch milliseconds."),
                "share": _of("number", "Its [anomaly](messages.md#forecasts)."),
            },
            "The newest marked bar. Absent without one.",
        ),
        "low": _list(
            {"type": "number"},
            f"Lowest quantile of its newest forecast, at most {views.TILE_STEPS} steps. Absent without one.",
        ),
        "middle": _list({"type": "number"}, "Its quantile 0.5, for the same steps. Absent without a forecast."),
        "high": _list({"type": "number"}, "Its highest quantile. Absent without a forecast."),
        "start": _of("integer", "Place of its first step, counted as in `values`. Absent without a forecast."),
        "warm": _of("boolean", "Its field [warm](messages.md#forecasts). Absent without a forecast."),
    },
    absent=("anomaly", "low", "middle", "high", "start", "warm"),
)
LIST: Final = _object(
    {
        "total": _of("integer", "How many series match the query."),
        "pages": _of("integer", f"How many pages of {views.PAGE} series that is; at least 1."),
        "page": _of("integer", "The page of this answer; one past the end gives the last."),
        "order": _list({"type": "string"}, "The keys of this page, in the order that was asked for."),
        "tiles": _list(TILE, "The series of this page, in that order, as the champion's lane sees them."),
    }
)
FORECAST: Final = _object(
    {
        "cutoff": _of("integer", "Start of the newest bar that it knows, epoch milliseconds."),
        "labels": _list(_TIME, "Starts of the bars that are forecast, epoch milliseconds."),
        "levels": _list({"type": "number"}, "The quantiles, rising."),
        "values": _list(
            {"type": "array", "items": {"type": "number"}},
            "For each quantile, its forecast of each step, in the target's unit.",
        ),
        "warm": _of("boolean", "See [messages](messages.md#forecasts)."),
        "anomaly": _of(["number", "null"], "That of the bar `cutoff`, see [messages](messages.md#forecasts)."),
    }
)
_PAIR: Final[Schema] = {"type": "array", "minItems": 2, "maxItems": 2}
LANE: Final = _object(
    {
        "oldest": _of("integer", "Cutoff of the oldest forecast that is kept."),
        "forecasts": _list(
            FORECAST,
            f"The newest forecasts, oldest first: at most {MOST_CUTOFFS}, fewer where series are many (8 at least).",
        ),
        "naive": _list(
            _PAIR | {"prefixItems": [_TIME, {"type": "array", "items": _NUMBER}]},
            "Seasonal naive at the same cutoffs: pairs of a cutoff and its forecast of each step.",
        ),
        "model": _of("string", "Name and version of the model of the newest record, such as `load@3`."),
        "anomalies": _list(
            _PAIR | {"prefixItems": [_TIME, {"type": "number"}]},
            f"{_MARK}: pairs of a start and its anomaly, at most {track.MOST_ANOMALIES}.",
        ),
        "errors": _object(
            {
                "cutoff": _list(_TIME, "The cutoffs."),
                "error": _list(_NUMBER, "Mean absolute error over its steps that have a value; null if not warm."),
                "naive": _list(_NUMBER, "That of seasonal naive."),
                "coverage": _list(_NUMBER, "Share of these values inside the interval."),
            },
            "Errors of the forecasts that have the newest one's steps and quantiles. Absent while there is no bar.",
        ),
        **_QUALITY,
    },
    absent=("errors", *_QUALITIES),
)
SERIES: Final = _object(
    {
        "key": _of("string", "The series."),
        "partition": _of("integer", "The input partition it is read from: that with most of its records."),
        "version": _of("integer", "Grows whenever the rest changes."),
        "freq": _of("integer", "Length of a bar in milliseconds; nominal where bars differ in length."),
        "behind": _BEHIND,
        "in_closed_hours": _CLOSED,
        "open_from": _of(["integer", "null"], "Start of the first bar that may still change; null without a record."),
        "labels": _list(_TIME, f"Starts of its newest bars, epoch milliseconds, oldest first; at most {_BARS}."),
        "values": _list(_NUMBER, "Their values, in the target's unit; null where a bar has none."),
        "closed": _list(
            _PAIR | {"items": _TIME}, "Stretches of bars that never have a value, such as nights: first and last start."
        ),
        "lanes": _of(
            "object",
            "By its name, each lane that has published forecasts of it.",
            additionalProperties=LANE,
        ),
    }
)
ERROR: Final = _object({"error": _of("string", "What is wrong, and what to do.")})


# -- the answers of a page -----------------------------------------------------------------------------


def small_board() -> Board:
    """Return the board of the examples: a series of four bars, one of them missing, and forecasts from the others."""
    board = Board(SPEC, season=2, scored=(1, 2), bars=_BARS)
    for bar, value in enumerate(VALUES):
        if value is None:
            continue
        time = START + bar * FREQ
        record = json.dumps({"key": KEY, "ts": time, "values": [value]}).encode()
        board.take_records(Batch(RECORDS, [bar], [time], [None], [record], bar + 1))
        quantiles = {"0.1": [value - 1, value - 2], "0.5": [value + 0.5, value], "0.9": [value + 2, value + 3]}
        answer = forecast(KEY, time, quantiles, anomaly=0.998 if value > 10 else None, warm=bar > 0)
        board.take_forecasts(Batch(FORECASTS, [bar], [time], [None], [answer], bar + 1))
    board.score()
    return board


def answers(board: Board) -> dict[str, tuple[int, Any]]:
    """Return the status and the JSON that a page of this board answers to each of ``PATHS``."""
    with closing(serve_dashboard(board)) as running:
        return {name: ask(running.port, path) for name, path in PATHS.items()}


def ask(port: int, path: str) -> tuple[int, Any]:
    """Return the status and the JSON of an answer."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30.0)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


# -- the documents -------------------------------------------------------------------------------------

_HEAD = """\
# The live page's API

This page is written from the code by `make docs`; do not edit.

`streamcast dashboard` answers these requests with JSON, for dashboards and scripts that want the newest forecasts
without a Kafka client. [openapi.yaml](openapi.yaml) describes them for programs.

| request | answer |
| --- | --- |
| `GET /api/series` | the series, {page} at a time |
| `GET /api/series/KEY` | one series: its newest bars and forecasts. KEY is percent-encoded; `/` may stay |
| `GET /livez` | 200 and `ok`; 503 and the reason, as text, when a reader of the page has stopped. It needs no token |

**It is a view, not a record.** The page reads the topics about twice a second, keeps the newest of each series, and
forgets them when it ends. At its start it reads the newest 200,000 records of a topic at most, and answers
meanwhile. It keeps at most 20,000 series, fewer where seasons are long, and at most {cutoffs} forecasts of a
series and lane. All forecasts together take at most about {forecast_mb:.0f} MB: with many series, or long horizons, it
keeps fewer of each series, and then fewer series. A program that must see every forecast reads
[the topic](messages.md#forecasts). The service's own numbers are in its [metrics](metrics.md), not here.

**Stability.** What is described here stays; later versions may add fields. All else that the page serves is its own
and may change with any version, above all `/events`, the stream that the page in the browser reads.

**Access.** With `dashboard.token`, send `Authorization: Bearer TOKEN`, or the token as the password of HTTP Basic
with any user name. The name in the URL must be an address, `localhost`, the machine's own name or `dashboard.name`.
There is no CORS header: scripts of other sites cannot read the answers. All requests only read.

**Limits.** {connections} connections, {of_client} from one client; {receipt:.0f} seconds for a request to arrive, and
{answer:.0f} seconds for its answer to be read. Beyond the number of connections, an older one is closed for a new
one: first one that waits for a request, of the client with the most. Nobody reads the body of a request.
Ask for a series once in a second at most: no answer changes sooner, and each is computed when it is asked for.

| status | when | body |
| --- | --- | --- |
| 400 | `sort` or `page` is none | `{{"error": …}}` |
| 404 | no series has the key | `{{"error": …}}` |
| 404 | there is no such path | text |
| 400 | the URL names another host | text |
| 401 | the token is missing or wrong | text |
| 405 | the method is not GET or HEAD | text |

All times are epoch milliseconds, all values and forecasts are in the target's unit. Numbers that are not known are
null.

## GET /api/series

| parameter | value |
| --- | --- |
| `query` | only series whose key contains this text, in any case; its first {query} characters count |
| `sort` | `wrong` (default): largest `relative`; `anomaly`: newest marked bar; `late`: largest `behind`; `name` |
| `page` | from 1; one past the end gives the last |
"""


def page_api_page() -> str:
    """Return docs/page-api.md."""
    found = {name: answer for name, (_, answer) in answers(small_board()).items()}
    head = _HEAD.format(
        page=views.PAGE, connections=server.MOST_CONNECTIONS, of_client=server.MOST_OF_CLIENT,
        receipt=server._RECEIPT_SECONDS, answer=server._ANSWER_SECONDS,
        cutoffs=MOST_CUTOFFS, forecast_mb=8 * MOST_FORECAST_NUMBERS / 1e6, query=application.LONGEST_QUERY,
    )  # fmt: skip
    lines = [
        head,
        *_example(PATHS["list"], found["list"]),
        *_table(LIST),
        "## GET /api/series/KEY",
        "",
        *_example(PATHS["series"], found["series"]),
        *_table(SERIES),
        "## Errors",
        "",
        *_example(PATHS["wrong"], found["wrong"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def write_docs(folder: Path) -> None:
    """Write page-api.md and openapi.yaml into ``folder``."""
    (folder / "page-api.md").write_text(page_api_page(), encoding="utf-8")
    (folder / "openapi.yaml").write_text(openapi(), encoding="utf-8")


def openapi() -> str:
    """Return the OpenAPI document."""
    parameters = [
        {"name": "query", "in": "query", "schema": {"type": "string", "maxLength": application.LONGEST_QUERY}},
        {"name": "sort", "in": "query", "schema": {"enum": list(views.SORTS), "default": views.SORTS[0]}},
        {"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 999_999, "default": 1}},
    ]
    key = {"name": "key", "in": "path", "required": True, "schema": {"type": "string"}}
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "streamcast's live page",
            "version": "1",
            "description": "The newest bars and forecasts of each series. docs/page-api.md says what is promised.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [
            {"url": "http://127.0.0.1:8080", "description": "The default of dashboard.host and dashboard.port."}
        ],
        "security": [{}, {"token": []}],
        "paths": {
            "/api/series": {"get": _operation("listSeries", parameters, "SeriesList", "400")},
            "/api/series/{key}": {"get": _operation("getSeries", [key], "Series", "404")},
        },
        "components": {
            "schemas": {"SeriesList": LIST, "Series": SERIES, "Error": ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "dashboard.token"}},
        },
    }
    return yaml.dump(document, sort_keys=False, allow_unicode=True, width=120, Dumper=_Unshared)


class _Unshared(yaml.SafeDumper):
    """Writes repeated parts in full."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _operation(name: str, parameters: list[Schema], answer: str, error: str) -> Schema:
    def body(schema: str) -> Schema:
        return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}

    return {
        "operationId": name,
        "parameters": parameters,
        "responses": {
            "200": {"description": "The answer.", **body(answer)},
            error: {"description": "What is wrong.", **body("Error")},
            "401": {"description": "The token is missing or wrong."},
        },
    }


def _example(path: str, answer: Any) -> list[str]:
    return [f"`{path}` answers:", "", "```json", shown(answer), "```", ""]


def shown(value: Any, indent: str = "") -> str:
    """Return JSON on few lines: what fits into one stays there."""
    flat = json.dumps(value)
    if len(indent) + len(flat) <= _LONGEST_LINE or not isinstance(value, dict | list):
        return flat
    inner = indent + "  "
    if isinstance(value, dict):
        parts = [f"{inner}{json.dumps(name)}: {shown(each, inner)}" for name, each in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + shown(each, inner) for each in value) + f"\n{indent}]"


def _table(schema: Schema) -> list[str]:
    rows = [f"| `{path}` | {kind} | {meaning} |" for path, kind, meaning in _rows(schema)]
    return ["| field | type | meaning |", "| --- | --- | --- |", *rows, ""]


def _rows(schema: Schema, before: str = "") -> Iterator[tuple[str, str, str]]:
    for name, field in schema["properties"].items():
        path = f"{before}{name}"
        yield path, _kind(field), field["description"]
        inner, mark = field.get("items", {}), "[]."
        if field["type"] == "object":
            inner, mark = (field["additionalProperties"], ".NAME.") if "properties" not in field else (field, ".")
        if "properties" in inner:
            yield from _rows(inner, f"{path}{mark}")


def _kind(field: Schema) -> str:
    kinds = [field["type"]] if isinstance(field["type"], str) else field["type"]
    if kinds != ["array"]:
        return " or ".join(kinds)
    inner = field["items"]
    return "list" if not inner.get("type") or "prefixItems" in inner else f"list of {_plural(inner)}"


def _plural(schema: Schema) -> str:
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    named = {"array": "lists", "object": "objects", "null": "null"}
    return " or ".join(named.get(kind, f"{kind}s") for kind in kinds)
