"""``streamcast dashboard``: a process that reads the topics and serves the live page."""

from __future__ import annotations

from dataclasses import replace

from streamcast.app.commands.deployment.connect import connection, load_lanes, new_reader
from streamcast.app.commands.deployment.listening import hides_metrics, listening, metrics_url, require_free
from streamcast.app.commands.deployment.serve import log, stop_on_signals
from streamcast.app.settings import Settings
from streamcast.app.settings.fields import DashboardSettings
from streamcast.app.trained import measured
from streamcast.hosts import is_loopback
from streamcast.page.board import Board
from streamcast.page.feed import Feed
from streamcast.page.guard import Access
from streamcast.page.scrape import Scraper
from streamcast.page.server import LivePage
from streamcast.topics.ahead import ahead_of


def dashboard(settings: Settings) -> int:
    """Serve the page until SIGTERM or SIGINT."""
    port = ("dashboard.port", settings.dashboard.host, settings.dashboard.port)
    require_free(*port)
    models = load_lanes(settings)
    champion = settings.models.champion_lane
    spec = models[champion].spec
    ahead = ahead_of(model.spec for model in models.values())
    board = Board(
        spec.series, spec.naive_season, ahead=ahead, scored=spec.scored_steps, reach=spec.ring, champion=champion,
        trained=f"Training: {measured(models[champion])}.", trained_until=models[champion].trained_until,
        zone=spec.zone, anomalous={lane: model.spec.anomalous for lane, model in models.items()},
    )  # fmt: skip
    reader = new_reader(settings, replace(connection(settings), guarantee="at_least_once"))
    feed = Feed(
        reader, board, observations=settings.input.topic, forecasts=settings.output.forecasts,
        dead_letters=settings.output.dead_letters,
    )  # fmt: skip
    numbers = scraper(settings)
    with listening(*port):
        page = LivePage(
            board,
            feed,
            numbers,
            settings.dashboard.host,
            settings.dashboard.port,
            access=access(settings.dashboard),
            problems=numbers.problems,
            lanes=numbers.lanes,
        )
    stop = stop_on_signals("closing the page")
    log.info("the live page is at %s", page.url)
    troubled = False
    while not stop.wait(0.5) and not page.wait(0.0):
        troubled = say_trouble(board.trouble, troubled)
    page.close()
    reader.close(5.0)
    return 0


def say_trouble(trouble: str | None, troubled: bool) -> bool:
    """Log once that the topics cannot be read, and once that they can again; return whether they cannot."""
    if trouble and not troubled:
        log.warning("the topics cannot be read: %s", trouble)
    elif troubled and not trouble:
        log.info("the topics can be read again")
    return bool(trouble)


def scraper(settings: Settings) -> Scraper:
    """Return what reads the service's own numbers; warn when nobody can know where they are."""
    if hides_metrics(settings):
        log.warning(
            "telemetry.port is 0, any free port, so the page cannot find /metrics: set telemetry.port, or"
            " dashboard.telemetry_url to the service's /metrics"
        )
    return Scraper(metrics_url(settings), settings.kafka.group)


def access(page: DashboardSettings) -> Access:
    """Return who may read the page; warn when that is everybody in the network."""
    if page.token is None and not is_loopback(page.host):
        log.warning(
            "dashboard.host is %s and dashboard.token is not set: anyone who reaches port %d can read the page; set"
            " dashboard.token or dashboard.token_file",
            page.host, page.port,
        )  # fmt: skip
    return Access(page.name, page.token.get_secret_value() if page.token else None)
