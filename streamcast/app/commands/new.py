"""``streamcast model new``: a model folder without data and without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from streamcast.app.commands.tables import lean
from streamcast.app.markup import escape
from streamcast.app.options.flags import MODELS
from streamcast.app.options.groups import NewOptions
from streamcast.app.specs import faults_in_words
from streamcast.engine.engine import layout
from streamcast.models.spec import SpecError
from streamcast.offline.defaults.seasons import in_bars
from streamcast.offline.defaults.spec import refuse_aggregates_of_samples
from streamcast.offline.history.grid import without_rows
from streamcast.spec.calendar_bars import MONTH_MS, Grid
from streamcast.spec.durations import DAY_MS, WEEK_MS
from streamcast.spec.folders import Model, load_model, new_network, save_model
from streamcast.spec.model_spec import ModelSpec, SeriesSpec, Transform, spread
from streamcast.spec.zero import challenger_of, zero_spec
from streamcast.wording import counted, span_name


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
    console.print(escape(_summary(spec, size)), highlight=False)
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
    if not wanted.columns:
        raise SpecError("--columns is empty: name at least the target")
    if len(set(wanted.columns)) < len(wanted.columns):
        raise SpecError(f"--columns names one twice: {', '.join(wanted.columns)}")
    grid = without_rows(wanted.freq)
    aggregates = dict(wanted.aggregates or {})
    if unknown := sorted(aggregates.keys() - set(wanted.columns)):
        raise SpecError(f"--aggregates names {', '.join(unknown)}; the columns are {', '.join(wanted.columns)}")
    with faults_in_words():
        series = SeriesSpec.model_validate(
            {
                "columns": [{"name": name, "aggregate": aggregates.get(name)} for name in wanted.columns],
                "freq": grid.freq,
                "offset": grid.offset,
                "calendar": grid.calendar,
                "mode": "ticks" if wanted.ticks else "sample",
                "grace": wanted.grace,
            }
        )
        refuse_aggregates_of_samples(series)
        season = usual_seasons(grid) if wanted.season is None else in_bars(wanted.season, grid)
        return zero_spec(
            series, wanted.horizon, season or (1,), quantiles=wanted.quantiles, scored=spread(wanted.horizon),
            lower=wanted.lower, upper=wanted.upper,
            transform=None if wanted.transform == "none" else Transform(kind=wanted.transform),
        )  # fmt: skip


def usual_seasons(grid: Grid) -> tuple[int, ...]:
    """Return a day and a week where they are several whole bars, a year of months; else (1,)."""
    periods = (DAY_MS, WEEK_MS, 12 * MONTH_MS) if grid.calendar else (DAY_MS, WEEK_MS)
    whole = [period for period in periods if period > grid.freq and period % grid.freq == 0]
    return tuple(period // grid.freq for period in whole) or (1,)


def answers(spec: ModelSpec) -> list[tuple[str, str, str]]:
    """Return for each phase of a new series: from which record on, what is forecast, whether it is marked warm."""
    rows = {
        1: "the last value at every step",
        2: "intervals from the errors so far; a step without an outcome borrows those of the longest step that has one",
    }
    seasons = sorted(season for season in spec.seasons if season > 1)
    for season in seasons:
        earlier = f"the value {span_name(season, spec.series.freq)} earlier, and means of such values"
        rows[season] = f"at every step also {earlier}; sooner at later steps"
    if seasons:
        rows[seasons[0]] += "; then regressions"
        rows.setdefault(spec.warm_up, "the same; two of the shortest season have passed")
    else:
        rows[2] += "; soon also means of the newest values, and regressions"
        rows.setdefault(spec.warm_up, f"the same; {counted(spec.warm_up, 'bar')} have passed")
    return [(f"from {at:,}", what, "true" if at >= spec.warm_up else "false") for at, what in sorted(rows.items())]


def _summary(spec: ModelSpec, size: int) -> str:
    series = spec.series
    seasons = ", ".join(f"{span_name(season, series.freq)} ({counted(season, 'bar')})" for season in spec.season)
    with_seasons = (
        "without a season"
        if spec.season == (1,)
        else f"with {'seasons' if len(spec.season) > 1 else 'a season'} of {seasons}"
    )
    return (
        f"A model without a network: nothing is trained, it learns from every record. It forecasts {series.target}"
        f" every {series.bar}, {counted(spec.horizon, 'bar')} ahead, {with_seasons}; a series takes {size:,}"
        " bytes."
    )


def _next(saved: Model, folder: Path, like: str | None, console: Console) -> None:
    console.print(f"Saved [bold]{saved.name}@{saved.version}[/] in {escape(str(folder / saved.name / saved.version))}")
    lane = "challenger" if like else "champion"
    extra = ", shadow: true" if like else ""
    place = "" if folder == MODELS else f"[bold]models.folder: {escape(str(folder))}[/] and, "
    console.print(
        f"Next: in streamcast.yaml, {place}under models.lanes: [bold]{lane}: {{model: {saved.name}@latest{extra}}}[/];"
        " then [bold]streamcast check --create[/] and [bold]streamcast serve[/]",
        highlight=False,
    )
