"""The groups of command-line options, each one declared once as a frozen dataclass and passed on whole.

A field's default is the option's default.  ``Read`` marks a field whose value is made from the option's text;
``spread`` in ``streamcast.app.cli`` makes them parameters of a command.  ``typed`` writes a message that names options
as a person types them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from streamcast.errors import Message, Option, SettingsError
from streamcast.models.spec import MOST_MEMBERS
from streamcast.spec.calendar_bars import parse_step
from streamcast.spec.local_time import zone_named
from streamcast.spec.model_spec import SEASON_IN_WORDS, TransformName, parse_duration

MODELS = Path("trained")
"""The folder of models that commands use unless ``--models`` names another."""


def elsewhere(folder: Path) -> list[str]:
    """Return the option that names the folder of models, where it is not the default."""
    return [] if folder == MODELS else ["--models", str(folder)]


_FLAGS = {Option.COLUMNS: "--columns", Option.INITIAL: "--from", Option.TEST_FROM: "--test-from"} | {
    option: f"--option {option.value}"
    for option in (
        Option.UPDATES, Option.PATIENCE, Option.VALIDATION, Option.ROWS, Option.CHUNK, Option.BURN_IN,
        Option.POSITIONS, Option.LEARNING_RATE, Option.REFIT, Option.AVERAGE, Option.HIGHWAY_RATE, Option.DECAY,
        Option.DECAY_EVERY, Option.WEIGHT_DECAY, Option.CLIP, Option.ACCUMULATE, Option.CELL_PENALTY,
        Option.PONDER_COST, Option.IMITATE, Option.LAYER_EPOCHS, Option.PRECISION, Option.DEVICE,
    )
}  # fmt: skip
"""What is typed for options that have no flag of their own name."""


def flag(option: Option) -> str:
    """Return what a person types for an option, such as ``--id-col`` or ``--option validation``."""
    return _FLAGS.get(option, "--" + option.value.replace("_", "-"))


def typed(*parts: object) -> str:
    """Return a message with its options as a person types them."""
    pieces = (piece for part in parts for piece in (part.parts if isinstance(part, Message) else (part,)))
    return "".join(flag(piece) if isinstance(piece, Option) else str(piece) for piece in pieces)


@dataclass(frozen=True, slots=True)
class Read:
    """How a field's value is made from what the command line gives: ``of`` is str, or list[str] to repeat an option.

    ``value`` raises ValueError with the reason when it cannot.
    """

    value: Callable[[Any], object]
    of: Any = str


def names(text: str) -> tuple[str, ...]:
    """Return the names of "a,b"; none for ""."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def numbers(text: str) -> tuple[float, ...]:
    """Return the numbers of "0.1,0.5"; raises ValueError."""
    try:
        return tuple(float(part) for part in names(text))
    except ValueError:
        raise ValueError(f"{text!r} is not a list of numbers: expected such as 0.1,0.5,0.9") from None


def duration(text: str) -> int:
    """Return the milliseconds of "30d"; raises ValueError."""
    return parse_duration(text)


def zone(text: str) -> str:
    """Return the name of a time zone as it is; raises ValueError."""
    try:
        zone_named(text)
    except SettingsError:
        raise ValueError(f"{text!r} is not a time zone: expected a name such as Europe/Berlin or UTC") from None
    return text


def repeated(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the names of an option that can be repeated; each may also be a list, as in "a,b"."""
    return tuple(name for text in texts for name in names(text))


def seasons(text: str) -> tuple[int | str, ...]:
    """Return the seasons of "1d,1w", "24,168" or "1y": bars as numbers, lengths as they are; raises ValueError."""
    found = [int(part) if part.isdecimal() else part for part in names(text)]
    if not found or not all(map(_is_season, found)):
        raise ValueError(f"{text!r} is not a list of seasons: expected {SEASON_IN_WORDS}, such as 24 or 1d,1w")
    return tuple(found)


def _is_season(part: int | str) -> bool:
    """Whether a part is a number of bars above 0, a duration or a step of the calendar."""
    if isinstance(part, str) and parse_step(part):
        return True
    try:
        return parse_duration(part) > 0
    except ValueError:
        return False


def pairs(text: str) -> dict[str, str]:
    """Return name and value of each part of "y=sum,bid=last"; raises ValueError."""
    found: dict[str, str] = {}
    for part in names(text):
        name, equals, value = part.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{part!r} is not a pair: expected such as y=sum")
        _once(name, found)
        found[name] = value
    return found


def network(text: str) -> str | dict[str, Any]:
    """Return a name as it is, a JSON object as a network spec; raises ValueError."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        spec: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise ValueError(f'not JSON: {error}; expected a name, or such as {{"kind": "gru", "hidden": 32}}') from None
    return spec


def assignments(texts: Sequence[str]) -> dict[str, Any]:
    """Return the values of "name=value" texts; a value that is not JSON is a text.  Raises ValueError."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ValueError(f"{text!r} is not an option with its value: expected name=value, such as rows=64")
        _once(name, found)
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _once(name: str, found: Mapping[str, object]) -> None:
    """Raise ValueError for a name that has a value already."""
    if name in found:
        raise ValueError(f"{name} is given twice, and only the last value would count: give it once")


@dataclass(frozen=True)
class Columns:
    """Which column of a file holds what; a model keeps what it was trained with."""

    id_col: Annotated[
        str | None,
        typer.Option(
            help="Column of the series names ('' for a single series).", show_default="the model's, else unique_id"
        ),
    ] = None
    time_col: Annotated[str | None, typer.Option(help="Column of the times.", show_default="the model's, else ds")] = (
        None
    )
    target_col: Annotated[str | None, typer.Option(help="Column to forecast.", show_default="the model's, else y")] = (
        None
    )
    columns: Annotated[
        tuple[str, ...] | None,
        Read(names),
        typer.Option(help="Other input columns, separated by commas.", show_default="all others"),
    ] = None
    freq: Annotated[
        str | None,
        typer.Option(
            help="Bar length, such as 15min, 1h, or MS for months.", show_default="the median time between rows"
        ),
    ] = None
    time_format: Annotated[
        str | None,
        typer.Option(
            help="Form of the times, such as %d.%m.%Y %H:%M.", show_default="the model's, else ISO 8601 or epoch"
        ),
    ] = None
    timezone: Annotated[
        str | None,
        Read(zone),
        typer.Option(
            help="Time zone of times that name none, and of a new model's calendar (its days and hours).",
            show_default="the model's, else UTC",
        ),
    ] = None


@dataclass(frozen=True)
class SpecOptions:
    """What a new model forecasts, and from what: the parts of its spec that are not the network."""

    horizon: Annotated[int, typer.Option(help="How many bars to forecast.", min=1, max=2_000)] = 24
    scales: Annotated[
        tuple[str, ...] | None,
        Read(names),
        typer.Option(help="Coarser bar lengths to read too, such as 1h,1d.", show_default="what the network uses"),
    ] = None
    quantiles: Annotated[
        tuple[float, ...],
        Read(numbers),
        typer.Option(help="Quantiles to forecast; must include 0.5.", show_default="0.1,0.5,0.9"),
    ] = (0.1, 0.5, 0.9)
    lags: Annotated[
        int | None,
        typer.Option(
            help="Bars that the linear highway reads, a multiple of 8.", show_default="chosen from the data", min=0
        ),
    ] = None
    season: Annotated[
        tuple[int | str, ...] | None,
        Read(seasons),
        typer.Option(
            help="Season lengths in bars or as durations, such as 1d,1w; the baseline repeats the best of them, or the "
            "last value.",
            show_default="chosen from the data",
        ),
    ] = None
    ticks: Annotated[bool, typer.Option("--ticks", help="Rows are raw readings, several per bar; needs --freq.")] = (
        False
    )
    grace: Annotated[str, typer.Option(help="How long a bar of ticks waits for late readings, such as 2min.")] = "0s"
    aggregates: Annotated[
        Mapping[str, Any] | None,
        Read(pairs),
        typer.Option(help="How readings become a bar, such as y=sum,bid=last.", show_default="mean; last of texts"),
    ] = None
    known: Annotated[
        tuple[str, ...],
        Read(repeated, of=list[str]),
        typer.Option(help="Input column whose future is published in advance. Can be repeated.", show_default="none"),
    ] = ()
    holidays: Annotated[
        str | None, typer.Option(help="Country or region whose public holidays count, such as US or AU-VIC.")
    ] = None
    calendar_timezone: Annotated[
        str | None,
        Read(zone),
        typer.Option(help="Time zone of the model's calendar.", show_default="that of --timezone"),
    ] = None
    lower: Annotated[float | None, typer.Option(help="No forecast lies below this, such as 0.")] = None
    transform: Annotated[
        TransformName | None,
        typer.Option(
            help="Scale of the target on which the model learns; quantiles are mapped back.",
            show_default="sqrt where no value is negative and errors grow with the level",
        ),
    ] = None
    online: Annotated[
        Mapping[str, Any] | None,
        Read(assignments, of=list[str]),
        typer.Option(help="A field of the online layer, such as shared_coverage_step=0.4. Can be repeated."),
    ] = None
    plain: Annotated[
        bool,
        typer.Option(
            "--plain", help="Leave out target bars and online layer: several times faster a record, worse forecasts."
        ),
    ] = False
    members: Annotated[
        int | None,
        typer.Option(
            help="Networks to train, whose mean forecasts: better, at so many times the network's cost.",
            show_default="3 for bars of a day or longer, else 1",
            min=1,
            max=MOST_MEMBERS,
        ),
    ] = None


@dataclass(frozen=True)
class NewOptions:
    """What a model without a network forecasts."""

    freq: Annotated[
        str | None, typer.Option(help="Bar length, such as 15min, or MS for months. Required without --like.")
    ] = None
    horizon: Annotated[int, typer.Option(help="How many bars to forecast.", min=1, max=2_000)] = 24
    season: Annotated[
        tuple[int | str, ...] | None,
        Read(seasons),
        typer.Option(
            help="Season lengths, such as 1d,1w, or in bars, such as 24,168; the first is the baseline's.",
            show_default="a day and a week, where they are whole bars",
        ),
    ] = None
    lower: Annotated[float | None, typer.Option(help="No forecast lies below this, such as 0 for counts.")] = None
    transform: Annotated[
        Literal["none", "sqrt"],
        typer.Option(help="Scale of the target on which the model learns: sqrt where errors grow with the level."),
    ] = "none"
    quantiles: Annotated[
        tuple[float, ...],
        Read(numbers),
        typer.Option(help="Quantiles to forecast; must include 0.5.", show_default="0.1,0.5,0.9"),
    ] = (0.1, 0.5, 0.9)
    columns: Annotated[
        tuple[str, ...],
        Read(names),
        typer.Option(help="Columns of a record, separated by commas; the first is forecast.", show_default="y"),
    ] = ("y",)
    ticks: Annotated[bool, typer.Option("--ticks", help="Records are raw readings, several per bar.")] = False
    grace: Annotated[str, typer.Option(help="How long a bar of ticks waits for late readings, such as 2min.")] = "0s"
    aggregates: Annotated[
        Mapping[str, Any] | None,
        Read(pairs),
        typer.Option(help="How readings become a bar, such as y=sum,bid=last.", show_default="mean"),
    ] = None
    like: Annotated[
        str | None,
        typer.Option(
            help="Forecast the same as this model, such as load@latest, from the same records: its challenger."
        ),
    ] = None


HoldOut = Annotated[
    float,
    typer.Option(
        help="Share of the file, at its end, that training does not read; a backtest scores it.", min=0, max=0.9
    ),
]
HOLD_OUT = 0.2


@dataclass(frozen=True)
class TrainingOptions:
    """Which network to train, how, and from which weights."""

    network: Annotated[
        str | Mapping[str, Any],
        Read(network),
        typer.Option(
            "--model",
            help="Network: a name from `streamcast model zoo`, its spec as JSON, or zero for none.",
            show_default="gru",
        ),
    ] = "gru"
    epochs: Annotated[
        int,
        typer.Option(
            help="Epochs, after each of which the model is validated; the updates of all together follow from the "
            "length of the history (--option updates=N sets those of one).",
            min=1,
        ),
    ] = 10
    max_seconds: Annotated[float, typer.Option(help="Maximum training time (0: no limit).", min=0)] = 0.0
    seed: Annotated[int, typer.Option(help="Seed for weights and batches.", min=0)] = 0
    hold_out: HoldOut = HOLD_OUT
    more: Annotated[
        Mapping[str, Any] | None,
        Read(assignments, of=list[str]),
        typer.Option("--option", help="Another training option, such as cell_penalty=1e-3. Can be repeated."),
    ] = None
    start: Annotated[
        str | None, typer.Option("--from", help="Continue training this model, such as load@2; keeps its spec.")
    ] = None
    teacher: Annotated[str | None, typer.Option(help="Model to imitate, such as load@champion (distillation).")] = None


@dataclass(frozen=True)
class SearchOptions:
    """What a search tries, and for how long."""

    networks: Annotated[
        tuple[str, ...],
        Read(names),
        typer.Option(help="Networks to try: names from `streamcast model zoo`.", show_default="gru,lstm"),
    ] = ("gru", "lstm")
    trials: Annotated[int, typer.Option(help="Maximum number of trials.", min=1)] = 20
    max_seconds: Annotated[
        float, typer.Option(help="Start no new trial after this many seconds (0: no limit).", min=0)
    ] = 600.0
    trial_seconds: Annotated[float, typer.Option(help="Maximum training time of a trial (0: no limit).", min=0)] = 0.0
    epochs: Annotated[int, typer.Option(help="Maximum epochs of a trial.", min=1)] = 5
    seed: Annotated[int, typer.Option(help="Seed for search, weights and batches.", min=0)] = 0
    hold_out: HoldOut = HOLD_OUT


@dataclass(frozen=True)
class BacktestOptions:
    """Which model to test, on which part of a file."""

    model: Annotated[str, typer.Option(help="Model to test, such as load@latest.")]
    test_from: Annotated[
        str | None,
        typer.Option(
            help="Score forecasts from this time on, such as 2026-01-31.",
            show_default="what training held out, else the last fifth",
        ),
    ] = None
    frame: Annotated[Path | None, typer.Option(help="Write every forecast to this CSV or Parquet file.")] = None
    refit: Annotated[
        int | None,
        Read(duration),
        typer.Option(
            help="Train again so often within the test, such as 30d, on all rows before.", show_default="never"
        ),
    ] = None
    report: Annotated[
        Path | None, typer.Option(help="Write a report with charts to this HTML file, which needs no network.")
    ] = None


class Partitioner(StrEnum):
    """How a key chooses its partition: as Java's clients and kafka-python do, or as librdkafka does."""

    MURMUR2 = "murmur2"
    CRC32 = "crc32"


@dataclass(frozen=True)
class ReplayOptions:
    """Where a file's rows go, and how fast."""

    topic: Annotated[str | None, typer.Option(help="Topic to write to.", show_default="input.topic")] = None
    speed: Annotated[
        float, typer.Option(help="Event time per real time, such as 3600 (0: as fast as possible).", min=0)
    ] = 0.0
    partitions: Annotated[
        int, typer.Option(help="If the topic does not exist, create it with this many partitions.", min=0)
    ] = 0
    partitioner: Annotated[
        Partitioner,
        typer.Option(
            help="How keys choose partitions: murmur2 as Java's clients and kafka-python, crc32 as librdkafka."
        ),
    ] = Partitioner.MURMUR2


@dataclass(frozen=True)
class CompressOptions:
    """How a model is made smaller."""

    how: Annotated[str, typer.Option(help="int8 or prune.")] = "int8"
    keep: Annotated[float, typer.Option(help="Share of the channels that prune keeps.", min=0.01, max=1)] = 0.5
