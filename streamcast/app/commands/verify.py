"""``streamcast verify``: compute everything that the service wrote again, and compare it to the byte."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache

from rich.console import Console
from rich.markup import escape

from streamcast.app.commands.connect import connection, new_reader, topics_of
from streamcast.app.settings import Settings
from streamcast.service.verification import Expectations, Report, verify
from streamcast.spec.folders import Model, list_models, load_model

CLOSE_SECONDS = 10.0


def verify_service(settings: Settings, as_json: bool, console: Console) -> int:
    """Print the report; return 0 when everything is proven, else 1."""
    report = check(settings)
    if as_json:
        console.print_json(data=asdict(report))
        return 0 if report.proven else 1
    for sentence in report.violations:
        console.print(f"[red]wrong:[/] {escape(sentence)}", highlight=False)
    for sentence in report.unknown:
        console.print(f"[yellow]unknown:[/] {escape(sentence)}", highlight=False)
    console.print(
        f"{report.records:,} records, {report.forecasts:,} forecasts and {report.dead_letters:,} dead letters compared:"
        f" {len(report.violations)} violations" + (", complete, unique, in order and equal" if report.proven else "")
    )
    return 0 if report.proven else 1


def check(settings: Settings) -> Report:
    """Verify the topics that the settings name; raises TransportError and ModelError."""
    topics = topics_of(settings)
    shadows = [lane for lane, chosen in settings.models.lanes.items() if chosen.shadow]
    expect = Expectations(settings.kafka.guarantee == "exactly_once", shadows)
    models = list_models(settings.models.folder)
    by_digest = {found.digest: f"{found.name}@{found.version}" for found in models if found.digest}

    @cache
    def load(digest: str) -> Model | None:
        return load_model(settings.models.folder, by_digest[digest]) if digest in by_digest else None

    reader = new_reader(settings, connection(settings))
    try:
        return verify(reader, topics, load, expect)
    finally:
        reader.close(CLOSE_SECONDS)
