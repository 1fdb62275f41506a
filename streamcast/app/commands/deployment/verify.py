"""``streamcast verify``: compute everything that the service wrote again, and compare it to the byte."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from functools import cache
from typing import Any

from rich.console import Console

from streamcast.app.commands.deployment.connect import connection, new_reader
from streamcast.app.commands.deployment.topics import require_topics
from streamcast.app.json_text import print_json
from streamcast.app.markup import escape
from streamcast.app.moments import span
from streamcast.app.progress import compiling_said, counting
from streamcast.app.settings import Settings
from streamcast.app.trained import baseline, zone_of
from streamcast.errors import ModelError
from streamcast.quality import facts_of, lines, sentence
from streamcast.service.verification.report import Expectations, Report
from streamcast.service.verification.verify import OnRecords, verify
from streamcast.spec.folders import Model, load_model, versions_by_digest
from streamcast.topics.split_keys import split_sentence
from streamcast.wording import counted

CLOSE_SECONDS = 10.0


def verify_service(settings: Settings, as_json: bool, console: Console) -> int:
    """Print the report; return 0 when everything is proven, else 1."""
    with compiling_said(), counting("records compared", Console(stderr=True)) as on_records:
        report = check(settings, lambda done: on_records(done, None))
    if as_json:
        print_json(console, _facts(report))
    else:
        models = _models(settings)
        _print_findings(report, console)
        _print_counts(report, models, console)
        for lane in report.quality:
            _print_quality(report, lane, models.get(lane), console)
    return 0 if report.proven else 1


def _facts(report: Report) -> dict[str, Any]:
    """Return the report's fields, qualities as facts."""
    found = {field.name: getattr(report, field.name) for field in fields(report)}
    for name in ("quality", "unseen"):
        found[name] = {lane: facts_of(sums) for lane, sums in found[name].items()}
    return found


def _print_findings(report: Report, console: Console) -> None:
    """Print what is wrong, what cannot be known, and how much was compared."""
    for violation in report.violations:
        console.print(f"[red]wrong:[/] {escape(violation)}", highlight=False)
    for gap in report.unknown:
        console.print(f"[yellow]unknown:[/] {escape(gap)}", highlight=False)
    compared = counted(report.records, "record"), counted(report.forecasts, "forecast")
    console.print(
        f"{', '.join(compared)} and {counted(report.dead_letters, 'dead letter')} compared:"
        f" {counted(len(report.violations), 'violation')}"
        + (", complete, unique, in order and equal" if report.proven else "")
    )


def _print_counts(report: Report, models: Mapping[str, Model], console: Console) -> None:
    """Print how many records have no forecast of their own, and keys that are in two partitions."""
    absorbed = "of a series without a value yet"
    if not models or any(model.spec.series.mode == "ticks" for model in models.values()):
        absorbed = f"added to an open bar, or {absorbed}"
    words = {"absorbed": absorbed, "late": "dropped as late", "duplicate": "dropped as repeated"}
    if without := [f"{count:,} {words[name]}" for name, count in report.dropped.items() if count]:
        console.print(f"Records without a forecast of their own: {', '.join(without)}", highlight=False)
    if told := split_sentence(report.split):
        console.print(f"[yellow]note:[/] {escape(told)}", highlight=False)


def _print_quality(report: Report, lane: str, model: Model | None, console: Console) -> None:
    """Print how good a lane's forecasts are, and those of data that its model was not trained on."""
    nominal, naive = (model.spec.nominal, baseline(model.spec)) if model else (math.nan, "of its model")
    sums, unseen = report.quality[lane], report.unseen[lane].over_all()
    first, *steps = lines(sums, nominal, naive)
    told = [f"Quality of lane {lane}, of all that was computed: {first}", *steps]
    if not unseen.outcomes:
        told.append(
            "All of these are forecasts of data that the model was trained on: on new data errors are usually larger."
        )
    elif unseen.outcomes < sums.over_all().outcomes:
        made = span(*report.unseen_cutoffs[lane], zone_of(model) if model else "UTC")
        told.append(
            f"Of forecasts of unseen data (none of their outcomes was trained on): {sentence(unseen, nominal, naive)}"
            f" ({counted(unseen.outcomes, 'outcome')}, of forecasts made from {made})."
        )
    for line in told:
        console.print(escape(line), highlight=False)


def _models(settings: Settings) -> dict[str, Model]:
    """Return the models of the lanes that the settings name, as far as they can be read."""
    found = {}
    for lane, chosen in settings.models.lanes.items():
        with suppress(ModelError):
            found[lane] = load_model(settings.models.folder, chosen.model)
    return found


def check(settings: Settings, on_records: OnRecords = lambda _done: None) -> Report:
    """Verify the topics that the settings name; raises TransportError, TopicMissing and ModelError."""
    versions = versions_by_digest(settings.models.folder)
    expect = Expectations(settings.kafka.guarantee == "exactly_once", settings.models.shadows, versions)

    @cache
    def load(digest: str) -> Model | None:
        return load_model(settings.models.folder, versions[digest][-1]) if digest in versions else None

    reader = new_reader(settings, connection(settings))
    try:
        return verify(reader, require_topics(reader, settings), load, expect, on_records)
    finally:
        reader.close(CLOSE_SECONDS)
