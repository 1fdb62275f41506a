"""The formats of records, forecasts and dead letters as JSON Schemas, for everyone who writes or reads them.

Without a spec the schemas hold for every model (``asyncapi`` publishes these); with one they also name the columns and
known inputs of a record, and the steps and quantiles of a forecast.
"""

from __future__ import annotations

import re
from typing import Any

from streamcast.spec.model_spec import Column, ModelSpec
from streamcast.topics.dead_letters import HEADERS_CUT, OF_RECORD, REASONS, REPLAYED
from streamcast.topics.observations import EARLIEST_MS, LARGEST_VALUE, LATEST_MS, LONGEST_KEY

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
RFC_3339 = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$"

NUMBER: Schema = {"type": ["number", "null"], "minimum": -LARGEST_VALUE, "maximum": LARGEST_VALUE}
CATEGORY: Schema = {"type": ["string", "null"]}
EITHER: Schema = {"type": ["number", "string", "null"], "minimum": -LARGEST_VALUE, "maximum": LARGEST_VALUE}
PLACE: Schema = {"type": "string", "pattern": r"^.+\[\d+\]@\d+$", "examples": ["observations[2]@918"]}
TIME: Schema = {"type": "integer", "minimum": EARLIEST_MS, "maximum": LATEST_MS}


def observation(spec: ModelSpec | None = None) -> Schema:
    """Return the JSON Schema of a record; docs/messages.md has the rules it cannot express (repeated names, size)."""
    return {
        "$schema": DIALECT,
        "title": "Observation",
        "description": "One reading of one series. Fields that are not named here are ignored.",
        "type": "object",
        "required": ["ts", "values"],
        "properties": {
            "key": {
                "description": "The series; where it is absent or null, the Kafka key is.",
                "type": ["string", "null"],
                "minLength": 1,
                "maxLength": LONGEST_KEY,
            },
            "ts": {
                "description": "Event time: epoch milliseconds, or RFC 3339 with a zone.",
                "anyOf": [TIME, {"type": "string", "pattern": RFC_3339}],
            },
            "values": {
                "description": "The columns in their order, or by name; null, or a name left out, is a missing value.",
                "anyOf": _any_values() if spec is None else _values_of(spec.series.columns),
            },
            **_ahead(spec),
            "v": {"description": "The version of this schema.", "const": 1},
        },
    }


def _any_values() -> list[Schema]:
    return [
        {"type": "array", "items": EITHER, "minItems": 1},
        {"type": "object", "additionalProperties": EITHER},
    ]


def _ahead(spec: ModelSpec | None) -> dict[str, Schema]:
    """Return the field of known inputs; a model without any ignores it."""
    if spec is not None and not spec.known_columns:
        return {}
    field: Schema = {
        "description": "Known inputs of the bars after the record's own, by name; null or nothing: not known.",
        "type": ["object", "null"],
    }
    if spec is None:
        return {"ahead": field | {"additionalProperties": _steps_of(EITHER)}}
    columns = [spec.series.columns[place] for place in spec.known_columns]
    lists = {column.name: _steps_of(_cell(column)) for column in columns}
    return {"ahead": field | {"properties": lists, "additionalProperties": False}}


def _steps_of(cell: Schema) -> Schema:
    return {"type": ["array", "null"], "items": cell}


def _cell(column: Column) -> Schema:
    return NUMBER if column.categories is None else CATEGORY | {"examples": list(column.categories)}


def _values_of(columns: tuple[Column, ...]) -> list[Schema]:
    cells = [_cell(column) for column in columns]
    named = {column.name: cell for column, cell in zip(columns, cells, strict=True)}
    return [
        {"type": "array", "prefixItems": cells, "minItems": len(cells), "maxItems": len(cells)},
        {"type": "object", "properties": named, "additionalProperties": False},
    ]


def forecast(spec: ModelSpec | None = None) -> Schema:
    """Return the JSON Schema of a forecast; later versions may add fields, and keep these."""
    steps: Schema = {"type": "array", "items": {"type": "number"}}
    quantiles: Schema = {"type": "object", "additionalProperties": steps, "required": ["0.5"]}
    freq: Schema = {"type": ["integer", "null"], "exclusiveMinimum": 0}
    horizon: Schema = {"type": "integer", "minimum": 1}
    starts: Schema = {"type": "array", "items": TIME}
    if spec is not None:
        names = [str(quantile) for quantile in spec.quantiles]
        steps |= {"minItems": spec.horizon, "maxItems": spec.horizon}
        quantiles = {
            "type": "object", "properties": dict.fromkeys(names, steps), "required": names,
            "additionalProperties": False,
        }  # fmt: skip
        freq = {"const": None if spec.series.calendar else spec.series.freq}
        horizon = {"const": spec.horizon}
        starts |= {"minItems": spec.horizon, "maxItems": spec.horizon}
    ds: Schema = {"description": "Starts of the forecast bars, epoch ms; only where bars differ in length."} | starts
    fields: dict[str, Schema] = {
        "unique_id": {"description": "The series.", "type": "string"},
        "cutoff": {"description": "Start of the newest bar that is known, epoch ms; step 1 is the next bar."} | TIME,
        **({} if spec is not None and spec.series.calendar is None else {"ds": ds}),
        "freq_ms": {"description": "Length of a bar, ms; null where bars differ in length."} | freq,
        "horizon": {"description": "How many bars are forecast: the length of each list."} | horizon,
        "quantiles": {"description": "Quantile to its forecast of each step, in the target's unit."} | quantiles,
        "model": {"description": "Name of the model.", "type": "string"},
        "model_version": {"description": "Its version, a number as text.", "type": "string"},
        "model_hash": {
            "description": "Hash of its spec and weights: models with one hash forecast the same.",
            "type": "string",
            "pattern": "^[0-9a-f]{16}$",
        },
        "lane": {"description": "The lane of the service that answers.", "type": "string"},
        "warm": {"description": "Whether the series has as many bars as the model needs.", "type": "boolean"},
        "anomaly": {
            "description": "The share of bars that are less unusual than the newest: 0.9 is for one bar in ten. An"
            " event begins at 0.997. null while unknown.",
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": 1,
        },
        "source": {
            "description": "The record that was answered.",
            "type": "object",
            "required": ["topic", "partition", "offset"],
            "properties": {
                "topic": {"type": "string"},
                "partition": {"type": "integer", "minimum": 0},
                "offset": {"type": "integer", "minimum": 0},
            },
        },
    }
    return {
        "$schema": DIALECT,
        "title": "Forecast",
        "description": "The answer of one lane to one record; key, partition and timestamp are the record's.",
        "type": "object",
        "required": [name for name in fields if name != "ds" or spec is not None],
        "properties": fields,
    }


def dead_letter_headers() -> Schema:
    """Return the JSON Schema of a dead letter's headers; its key and value are the record's own bytes."""
    texts = {
        "reason": f"A fixed word: {', '.join(REASONS[:-1])} or {REASONS[-1]}.",
        "detail": "What was found, at most 1,000 bytes.",
        "source_topic": "Where the record came from.",
        "source_partition": "Its partition, in digits.",
        "source_offset": "Its offset, in digits.",
        "replay_of": "Only of a record that `dlq replay` sent and that failed again: the place of the first record.",
        "lane": "Only of a forecast that is not finite: its lane; the record's other lanes may have answered it.",
        "length": "Only of a value that was cut: its bytes.",
        "sha256": "Only of a value that was cut: its digest.",
        HEADERS_CUT: "Only of a record whose headers were too large: how many are missing.",
    }
    optional = ("replay_of", "lane", "length", "sha256", HEADERS_CUT)
    own: Schema = {"description": "A header of the record itself, under its name after this prefix."}
    return {
        "type": "object",
        "required": [name for name in texts if name not in optional],
        "properties": {name: {"type": "string", "description": meaning} for name, meaning in texts.items()},
        "patternProperties": {f"^{re.escape(OF_RECORD)}": own},
    }


def receipt_headers() -> Schema:
    """Return the JSON Schema of the headers of a receipt of `dlq replay`, which has neither key nor value."""
    return {
        "type": "object",
        "required": [REPLAYED],
        "properties": {REPLAYED: PLACE | {"description": "The place of the record that was sent again."}},
        "additionalProperties": False,
    }
