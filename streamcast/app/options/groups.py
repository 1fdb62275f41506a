"""The groups of options, each declared once: a field's default is the option's default.

``Read`` marks a field whose value is made from the option's text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from streamcast.app.options.values import (
    Read,
    assignments,
    duration,
    names,
    network,
    numbers,
    pairs,
    repeated,
    seasons,
    zone,
)
from streamcast.models.spec import MOST_MEMBERS
from streamcast.spec.model_spec import TransformName


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
        typer.Option(help="Other input columns, separated by commas.", show_default="the model's, else all others"),
    ] = None
    freq: Annotated[
        str | None,
        typer.Option(
            help="Bar length, such as 15min, 1h, or MS for months.",
            show_default="the model's, else the median time between rows",
        ),
    ] = None
    time_format: Annotated[
        str | None,
        typer.Option(
            help="Form of the times, such as '%d.%m.%Y %H:%M'.", show_default="the model's, else ISO 8601 or epoch"
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
        typer.Option(
            help="Coarser bar lengths to read too, such as 1h,1d.",
            show_default="hours and days for lstm-attention, else none",
        ),
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
    upper: Annotated[float | None, typer.Option(help="No forecast lies above this, such as 100.")] = None
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
            show_default="3 for fewer than 30,000 bars of a day or longer, else 1",
            min=1,
            max=MOST_MEMBERS,
        ),
    ] = None

    @property
    def chosen_inputs(self) -> list[str]:
        """The inputs that an option names."""
        return [*self.known, *(self.aggregates or ())]


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
    upper: Annotated[float | None, typer.Option(help="No forecast lies above this, such as 100 for percentages.")] = (
        None
    )
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
    anomalies: Annotated[
        Path | None, typer.Option(help="Write the anomaly of every bar of the test to this CSV or Parquet file.")
    ] = None
    refit: Annotated[
        int | None,
        Read(duration),
        typer.Option(
            help="Train again so often within the test, such as 30d, on all rows before.", show_default="never"
        ),
    ] = None
    baselines: Annotated[
        tuple[str, ...],
        Read(names),
        typer.Option(
            help="Compare with forecasters of package statsforecast too: ets, theta or ets,theta.", show_default="none"
        ),
    ] = ()
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
