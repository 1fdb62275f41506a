"""The command: the order of the checks, and what they come to."""

from __future__ import annotations

from functools import partial

from rich.console import Console

from streamcast.app.commands.deployment.check.broker import check_broker
from streamcast.app.commands.deployment.check.models import check_models
from streamcast.app.commands.deployment.check.say import Say
from streamcast.app.commands.deployment.check.setup import Setup, loaded_lanes, opened_store
from streamcast.app.commands.deployment.listening import (
    SERVICE_PORT,
    hides_metrics,
    metrics_url,
    of_another_service,
    require_free,
)
from streamcast.app.markup import escape
from streamcast.app.settings import Settings, whole
from streamcast.errors import SettingsError
from streamcast.page.scrape import Scraper
from streamcast.wording import counted, shown_url

SETTINGS_FAULT, BROKER_FAULT = 2, 3


def check(settings: Settings, create: bool, console: Console) -> int:
    """Check models, broker, topics, transactions and ports; return 0, 2 (settings) or 3 (broker)."""
    words = partial(whole, settings=settings)
    say = Say(console, words)
    lanes = loaded_lanes(settings, say)
    models = bool(lanes) and check_models(settings, lanes, say)
    store = opened_store(settings, say)
    broker = check_broker(Setup(settings, lanes, store), create, say)
    ports = _ports(settings, say)
    if ports or settings.dashboard.telemetry_url is not None:
        _service(settings, say)
    following = words("`streamcast serve`").strip("`")
    start = f" Start with [bold]{escape(following)}[/]."
    if say.faults:
        console.print(f"[red]{say.faults} of {say.lines} checks failed.[/]")
    elif say.warnings:
        console.print(f"[yellow]All {say.lines} checks passed, with {counted(say.warnings, 'warning')}.[/]{start}")
    else:
        console.print(f"[green]All {say.lines} checks passed.[/]{start}")
    if not models or store is None or not ports:
        return SETTINGS_FAULT
    return 0 if broker else BROKER_FAULT


def _ports(settings: Settings, say: Say) -> bool:
    """Warn of ports that cannot be listened on now: a service of these settings may have them, or another process.

    Return whether the service's port is not known to be that of another group's.
    """
    telemetry, dashboard = settings.telemetry, settings.dashboard
    ports = [
        (SERVICE_PORT, telemetry.host, telemetry.port, "service"),
        ("dashboard.port", dashboard.host, dashboard.port, "page"),
    ]
    taken = of_another_service(telemetry.host, telemetry.port, settings.kafka.group)
    if taken:
        say(False, taken)
        del ports[0]
    for setting, host, port, which in ports:
        try:
            require_free(setting, host, port)
        except SettingsError as error:
            say.warn(str(error), f"nothing, if the {which} of these settings runs already; else it cannot start")
    return not taken


def _service(settings: Settings, say: Say) -> None:
    """Say whether the service of these settings answers its records, where one runs: by its own account."""
    if hides_metrics(settings):
        return
    url = metrics_url(settings)
    service = Scraper(url, settings.kafka.group)
    if service() is None:
        return
    problems, shown = service.problems(), shown_url(url)
    for problem in problems:
        say.warn(f"the service at {shown} runs and is not ready: {problem}", "docs/runbooks.md, Not ready")
    if not problems:
        say.note(f"the service at {shown} runs and is ready")
