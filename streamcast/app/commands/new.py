"""``streamcast model new``: a model folder without data and without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from streamcast.app.commands.tables import lean
from streamcast.app.options import NewOptions
from streamcast.app.specs import sentences
from streamcast.engine.engine import layout
from streamcast.models.spec import SpecError
from streamcast.offline.training.defaults import DAY, WEEK, in_bars
from streamcast.spec.folders import Model, load_model, new_network, save_model
from streamcast.spec.model_spec import ModelSpec, SeriesSpec, format_duration, parse_duration
from streamcast.spec.zero import challenger_of, zero_spec


def new(name: str, wanted: NewOptions, folder: Path, console: Console) -> int:
    """Save a model without a network; print what it answers from the first record on, and the next commands.

    Raises ModelError for a wrong name or an unknown model, SpecError or HistoryError for an option that does not fit.
    """
    facts: dict[str, Any] = {"stopped": "nothing to train"}
    if wanted.like:
        other = load_model(folder, wanted.like)
        spec = challenger_of(other.spec)
        facts["like"] = f"{other.name}@{other.version}"
    else:
        spec = chosen(wanted)
    network = new_network(spec)
    size = layout(spec, network).row_bytes
    saved = save_model(folder, name, spec, network, facts)
    console.print(_summary(spec, size), highlight=False)
    table = lean("records of a series", "what it forecasts", "warm")
    for row in answers(spec):
        table.add_row(*row)
    console.print(table)
    _next(saved, folder, facts.get("like"), console)
    return 0


def chosen(wanted: NewOptions) -> ModelSpec:
    """Return the spec that the options describe; raises SpecError or HistoryError."""
    if wanted.freq is None:
        raise SpecError("--freq is missing: give the bar length, such as --freq 1h, or --like a model")
    try:
        freq = parse_duration(wanted.freq)
    except ValueError as error:
        raise SpecError(f"--freq: {error}") from None
    aggregates = dict(wanted.aggregates or {})
    if unknown := sorted(aggregates.keys() - set(wanted.columns)):
        raise SpecError(f"--aggregates names {', '.join(unknown)}; the columns are {', '.join(wanted.columns)}")
    try:
        series = SeriesSpec.model_validate(
            {
                "columns": [{"name": name, "aggregate": aggregates.get(name)} for name in wanted.columns],
                "freq": freq,
                "mode": "ticks" if wanted.ticks else "sample",
                "grace": wanted.grace,
            }
        )
        season = usual_seasons(freq) if wanted.season is None else in_bars(_numbers(wanted.season), freq)
        return zero_spec(series, wanted.horizon, season or (1,), quantiles=wanted.quantiles, lower=wanted.lower)
    except ValidationError as error:
        raise SpecError(sentences(error)) from None
    except ValueError as error:
        raise SpecError(f"--season: {error}") from None


def usual_seasons(freq: int) -> tuple[int, ...]:
    """Return a day and a week in bars of ``freq`` milliseconds, where they are several whole bars; else (1,)."""
    return tuple(period // freq for period in (DAY, WEEK) if period > freq and period % freq == 0) or (1,)


def answers(spec: ModelSpec) -> list[tuple[str, str, str]]:
    """Return for each phase of a new series: from which record on, what is forecast, whether it is marked warm."""
    freq, rows = spec.series.freq, {1: "the last value; intervals from the errors so far, all steps together"}
    for season in sorted(season for season in spec.season if season > 1):
        rows[season + 1] = f"also the value {format_duration(season * freq)} earlier, and means of such values"
    rows.setdefault(spec.warm_up, "the experts' weights and the intervals follow the errors of their own step")
    return [(f"from {at:,}", what, "true" if at >= spec.warm_up else "false") for at, what in sorted(rows.items())]


def _summary(spec: ModelSpec, size: int) -> str:
    series = spec.series
    seasons = ", ".join(f"{format_duration(season * series.freq)} ({season} bars)" for season in spec.season)
    return (
        f"A model without a network: nothing is trained, it learns from every record. It forecasts {series.target}"
        f" every {format_duration(series.freq)}, {spec.horizon} bars ahead, with the seasons {seasons}; a series takes"
        f" {size:,} bytes."
    )


def _next(saved: Model, folder: Path, like: str | None, console: Console) -> None:
    console.print(f"Saved [bold]{saved.name}@{saved.version}[/] in {folder / saved.name / saved.version}")
    lane = "challenger" if like else "champion"
    extra = ", shadow: true" if like else ""
    console.print(
        f"Next: in streamcast.yaml, under models.lanes: [bold]{lane}: {{model: {saved.name}@latest{extra}}}[/];"
        " then [bold]streamcast check --create[/] and [bold]streamcast serve[/]",
        highlight=False,
    )


def _numbers(texts: tuple[str, ...]) -> tuple[int | str, ...]:
    """Return numbers of bars as numbers, durations as texts."""
    return tuple(int(text) if text.isdecimal() else text for text in texts)
