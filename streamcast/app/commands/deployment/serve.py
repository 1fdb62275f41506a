"""``streamcast serve``: the service as a process."""

from __future__ import annotations

import atexit
import gc
import logging
import math
import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import torch

from streamcast.app.commands.deployment.capacity import room
from streamcast.app.commands.deployment.connect import connection, load_lanes, new_reader, new_transport
from streamcast.app.commands.deployment.listening import SERVICE_PORT, listening, require_free
from streamcast.app.commands.deployment.swaps import Swaps
from streamcast.app.commands.deployment.topics import doubts, require_topics
from streamcast.app.settings import Settings, whole
from streamcast.consumers import loop
from streamcast.consumers.background import started
from streamcast.consumers.health import Deadlines, LoopHealth, guard_interpreter
from streamcast.consumers.transport import Reader, TopicSpec
from streamcast.kernels.compiling import compiling
from streamcast.quality import with_known_coverage
from streamcast.service.beginnings import Start
from streamcast.service.lanes import rehearse
from streamcast.service.saving import Saver
from streamcast.service.service import Service
from streamcast.service.snapshots import Store
from streamcast.service.strangers import mark_of
from streamcast.service.telemetry.probes import Control, TelemetryServer
from streamcast.service.telemetry.reporting import counted_columns
from streamcast.service.telemetry.telemetry import Telemetry
from streamcast.service.watch import TopicWatch
from streamcast.spec.folders import Model
from streamcast.topics.names import champion_of

log = logging.getLogger("streamcast")

CLOSE_SECONDS = 5.0
LOADING = "the service is starting: it loads its kernels"
COMPILING = "the service is starting: it compiles kernels, once on this machine, for a minute or two"
"""What /readyz says before the loop begins."""
YOUNG_OBJECTS = 200_000
"""Allocations between two garbage collections; the collector is the largest single cost of the loop."""


def serve(settings: Settings, passed: Callable[[str], None] = lambda _point: None) -> int:
    """Run until SIGTERM or SIGINT; ``passed`` is called at every point of a commit."""
    torch.set_num_threads(1)
    port = (SERVICE_PORT, settings.telemetry.host, settings.telemetry.port, settings.kafka.group)
    require_free(*port)
    models = load_lanes(settings)
    who = connection(settings, passed)
    reader = new_reader(settings, who)
    topics = require_topics(reader, settings)
    known = reader.describe([topics.observations, topics.forecasts, topics.dead_letters, topics.journal])
    max_ahead = models[settings.models.champion_lane].spec.series.max_ahead
    started(partial(say_doubts, new_reader(settings, who), known, settings, max_ahead))
    deadlines = Deadlines()
    health = LoopHealth(deadlines.iteration_seconds)
    telemetry = new_telemetry(models, health, settings.models.champion_lane, settings.kafka.group)
    store = Store(settings.state.store, settings.state.retention, beat=health.beat)
    marked = replace(who, mark=mark_of(known[topics.journal]))
    watch = TopicWatch(new_reader(settings, who), topics, known, health, _give_up)
    service = Service(
        models, reader, telemetry, topics, _start(settings),
        champion=settings.models.champion_lane, max_series=room(settings, models),
        shadows=settings.models.shadows,
        store=store, saver=Saver(store, settings.state.interval / 1000.0, telemetry),
        beat=health.beat, watch=watch, on_swap=Swaps(models, settings.models.folder),
    )  # fmt: skip
    token = settings.telemetry.token
    control = Control(token.get_secret_value(), service.reset) if token else None
    health.preparing = LOADING
    with listening(*port):
        words = partial(whole, settings=settings)
        server = TelemetryServer(telemetry, health, settings.telemetry.host, settings.telemetry.port, control, words)
    guarded = threading.Event()
    with ExitStack() as parts:  # one that fails to close keeps no other open
        parts.callback(guarded.set)
        parts.callback(reader.close, deadlines.shutdown_seconds)
        parts.callback(watch.close, deadlines.shutdown_seconds)
        parts.callback(server.close)
        rehearse_all(models, health)
        settle_garbage()
        watch.start()
        guard = (deadlines.stall_seconds, guarded)
        threading.Thread(target=guard_interpreter, args=guard, daemon=True, name="interpreter-guard").start()
        stop = stop_on_signals()
        log.info("serving %s from topic %s; metrics on port %d", _names(models), topics.observations, server.port)
        loop.run(
            new_transport(settings, marked), service, topics=[topics.observations], stop=stop,
            limits=loop.BatchLimits(settings.batch.max_records, settings.batch.max_wait / 1000.0),
            deadlines=deadlines, health=health, observer=telemetry, passed=passed, on_stall=_give_up,
        )  # fmt: skip
    log.info("stopped")
    return 0


def say_doubts(reader: Reader, known: Mapping[str, TopicSpec], settings: Settings, max_ahead: int) -> None:
    """Warn of what of the topics is not as a fold needs it, in a thread beside the start; close the reader."""
    try:
        for doubt in doubts(reader, known, settings, max_ahead):
            log.warning("%s: %s", *doubt)
    finally:
        reader.close(CLOSE_SECONDS)


def rehearse_all(models: Mapping[str, Model], health: LoopHealth) -> None:
    """Answer made-up records with every model; log and let ``health`` say if that compiles kernels, which takes long.

    The telemetry port is open meanwhile: an orchestrator ends a process that answers no probe.
    """

    def say(notice: str) -> None:
        health.preparing = COMPILING
        log.info("%s", notice)

    with compiling(say):
        for model in models.values():
            rehearse(model)
    health.beat()
    health.preparing = ""


def new_telemetry(models: Mapping[str, Model], health: LoopHealth, champion: str = "", group: str = "") -> Telemetry:
    """Return the telemetry of some lanes in a group; the champion's outer quantiles promise the coverage."""
    champion = champion_of(models, champion)
    lanes = {lane: (model.name, model.version) for lane, model in models.items()}
    trained = {lane: with_known_coverage(model.facts.get("quality") or {}) for lane, model in models.items()}
    coverage = models[champion].spec.nominal or math.nan
    columns = counted_columns(models[champion].spec, [model.spec for model in models.values()])
    return Telemetry(
        lanes, coverage, group=group, champion=champion, trained=trained, columns=columns, ready=health.ready,
        refused=health.refused,
    )  # fmt: skip


def settle_garbage() -> None:
    """Exclude start-up objects from garbage collection, and search the rest for cycles rarely."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # or extension modules report leaks at exit
    gc.set_threshold(YOUNG_OBJECTS, 20, 100)


def stop_on_signals(doing: str = "finishing the present batch") -> threading.Event:
    """Return an event that SIGTERM and SIGINT set, which say ``doing``; a second Ctrl-C ends the process at once."""
    stop = threading.Event()

    def ask(number: int, _frame: object) -> None:
        if not stop.is_set():
            log.info("%s: %s (Ctrl-C: end at once)", signal.Signals(number).name, doing)
            stop.set()
        elif number == signal.SIGINT:
            os._exit(130)

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    return stop


def _give_up(reason: str) -> None:
    log.critical("%s: ending the process, so that the group can go on without it", reason)
    logging.shutdown()
    os._exit(1)


def _start(settings: Settings) -> Start:
    first, history_ms = settings.input, settings.models.history
    return Start(first.start, first.warm_from, settings.state.allow_cold_start, history_ms)


def _names(models: Mapping[str, Model]) -> str:
    return ", ".join(f"{lane}={m.name}@{m.version}" for lane, m in models.items())
