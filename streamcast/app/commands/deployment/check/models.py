"""Checks of the models: whether they fit together, how much memory they take, and how far their calendars reach."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from streamcast.app.commands.deployment.capacity import room
from streamcast.app.commands.deployment.check.say import Say
from streamcast.app.settings import Settings
from streamcast.app.trained import quality
from streamcast.engine.engine import layout
from streamcast.spec.folders import Model
from streamcast.spec.local_time import UTC_TIME
from streamcast.spec.model_spec import ModelSpec, format_duration
from streamcast.wording import duration_name, span_name


def check_models(settings: Settings, models: Mapping[str, Model], say: Say) -> bool:
    """Print one line or more for each lane; return whether a service can run the models together."""
    first, most = next(iter(models.values())), room(settings, models)
    good = True
    for lane, model in models.items():
        spec = model.spec
        remembered = layout(spec, model.network)
        size = remembered.row_bytes
        same = spec.series.record == first.spec.series.record
        good &= say(
            same,
            f"lane {lane}: {model.name}@{model.version}, {spec.series.target} every"
            f" {spec.series.bar}, {spec.horizon} steps ahead, {size:,} bytes per series"
            f" (room for {most:,} in a partition, {size * most / 2**30:.1f} GiB)",
            "train all lanes for the same records (columns, freq, mode, grace)",
        )
        good &= _bars(lane, spec, say)
        _check_history(lane, spec, settings.models.history, say)
        check_calendar(lane, spec, say)
        say.note(f"lane {lane}: {quality(model)[0]}")
        if size * most > settings.state.max_bytes:
            good &= say(
                False,
                f"lane {lane}: {most:,} series of {size:,} bytes are more than the {settings.state.max_bytes:,} bytes"
                f" of state.max_bytes; the largest parts of a series: {remembered.arithmetic()}",
                "lower state.max_series, raise state.max_bytes, or train a model with fewer --lags or a shorter"
                " --season",
            )
    return good


def _check_history(lane: str, spec: ModelSpec, history_ms: int | None, say: Say) -> None:
    """Warn where a new model would begin with fewer bars than its forecasts look back on."""
    freq, warm = spec.series.freq, max(spec.ring, spec.warm_up)
    if history_ms is not None and history_ms < warm * freq:
        say.warn(
            f"lane {lane}: models.history is {duration_name(history_ms)}, and its forecasts look back on"
            f" {span_name(warm, freq)}: a model that is new starts with less",
            f"set models.history to {format_duration(warm * freq)} or more, several times as much if you can: what is"
            " learned while serving needs many seasons",
        )


def _bars(lane: str, spec: ModelSpec, say: Say) -> bool:
    """Check that the table of bars of the calendar reaches far enough; the spec names the date it ends on."""
    bars = spec.series.calendar
    if bars is None:
        return True
    ends = datetime.fromtimestamp(bars.until / 1000, UTC)
    return say(
        ends > datetime.now(UTC) + timedelta(days=365),
        f"lane {lane}: the table of bars of {bars.bar} in {bars.zone} reaches to {ends:%Y-%m-%d}",
        "train the model again: a new spec has a table that reaches fifty years further",
    )


def check_calendar(lane: str, spec: ModelSpec, say: Say) -> None:
    """Warn when the tables of local time and days off end within a year; they end on a date that the spec names."""
    local = spec.targets.local if spec.targets else None
    if local is None or local == UTC_TIME or not (len(local.offsets) > 1 or local.holidays):
        return
    until = datetime.fromtimestamp(local.until / 1000, UTC)
    if until <= datetime.now(UTC) + timedelta(days=365):
        say.warn(
            f"lane {lane}: the calendar of {local.zone}"
            + (f" with days off of {local.holidays}" if local.holidays else "")
            + f" ends on {until:%Y-%m-%d}, ten years after the data that the model was trained on: later bars have no"
            " clock changes and no days off",
            "if the stream has later bars, train again on newer data",
        )
