"""``streamcast init``: write a settings file; with a name, one that shares nothing with another service's."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import count
from pathlib import Path

from rich.console import Console

from streamcast.app.commands.files.outputs import require_writable, written
from streamcast.app.markup import escape
from streamcast.app.options.flags import MODELS
from streamcast.app.settings import Settings, SettingsError, require_valid, settings_in, write_template
from streamcast.errors import ModelError
from streamcast.spec.folders import resolve

WRONG_INPUT = 2
FILE = "streamcast.yaml"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""What may begin the names of topics, groups, folders and models alike."""
USUAL_BROKER = "127.0.0.1:9092"
"""The broker of a file that names none."""
METRICS_PORT, PAGE_PORT = 9464, 8080
"""The ports of a file without a name; those of a named one follow."""

BROKER = "kafka.bootstrap_servers"
GROUP, STORE, METRICS, PAGE = "kafka.group", "state.store", "telemetry.port", "dashboard.port"
MODEL, FOLDER, INPUT = "models.lanes.champion.model", "models.folder", "input.topic"
OUTPUTS = {
    "output.forecasts": "forecasts", "output.dead_letters": "dead-letters", "output.journal": "journal",
}  # fmt: skip


def init(
    path: Path | None, name: str | None, model: str | None, folder: Path, source: str | None, force: bool,
    console: Console,
) -> int:  # fmt: skip
    """Write a file of settings, by default ``NAME.yaml`` or ``streamcast.yaml``; raises SettingsError."""
    if name is not None and not NAME.fullmatch(name):
        raise SettingsError(
            f"--name is {name!r}: expected 1 to 64 small letters, digits, - and _, as in load or iot-2, because the"
            " names of topics, group and folder are made from it"
        )
    path = path or Path(FILE if name is None else f"{name}.yaml")
    if path.exists() and not force:
        console.print(f"[red]{escape(str(path))} already exists:[/] --force replaces it")
        return WRONG_INPUT
    require_writable("PATH", path)
    values = {MODEL: model, FOLDER: None if folder == MODELS else str(folder), INPUT: source}
    if name is not None:
        values[MODEL] = model or f"{name}@latest"
    given: dict[str, object] = {dotted: value for dotted, value in values.items() if value is not None}
    if name is not None:
        given |= of_its_own(name, path)
    require_valid({MODEL: "load@latest", **given}, {MODEL: "--model", FOLDER: "--models", INPUT: "--input"})
    with written(path) as file:
        file.write_text(write_template(given), encoding="utf-8")
    console.print(escape(_report(path, given)), highlight=False)
    if trouble := _missing(folder, given.get(MODEL)):
        console.print(f"[yellow]note:[/] {escape(trouble)}", highlight=False)
    return 0


def _missing(folder: Path, model: object) -> str:
    """Say of a model that is not in the folder what there is; nothing fails: the file may be for another machine."""
    try:
        if model is not None:
            resolve(folder, str(model))
    except (ModelError, OSError) as error:
        return str(error)
    return ""


def of_its_own(name: str, path: Path) -> dict[str, object]:
    """Return the settings by dotted name that two services on one broker and one machine must not share.

    The ports are the first ones after the defaults that no settings file beside ``path`` has.  If all files beside it
    name one broker, so does this one.
    """
    beside = _beside(path)
    taken = {port for each in beside for port in (each.telemetry.port, each.dashboard.port)}
    brokers = {each.kafka.bootstrap_servers for each in beside}
    step = next(step for step in count(1) if taken.isdisjoint({METRICS_PORT + step, PAGE_PORT + step}))
    return {
        GROUP: f"streamcast-{name}",
        **{setting: f"{name}-{topic}" for setting, topic in OUTPUTS.items()},
        STORE: f"{name}-state",
        METRICS: METRICS_PORT + step,
        PAGE: PAGE_PORT + step,
        **({BROKER: brokers.pop()} if len(brokers) == 1 and brokers != {USUAL_BROKER} else {}),
    }


def _beside(path: Path) -> list[Settings]:
    """Return the settings in the other files in the folder of ``path``; other YAML files have none."""
    found = []
    for other in sorted({*path.parent.glob("*.yaml"), *path.parent.glob("*.yml")} - {path}):
        with suppress(SettingsError):
            found.append(settings_in(other))
    return found


def _report(path: Path, given: dict[str, object]) -> str:
    if MODEL not in given:
        return f"Wrote {path}. Set models.lanes to your model, then run: streamcast check -c {path}"
    if GROUP not in given:
        return f"Wrote {path} for model {given[MODEL]}. Then run: streamcast check -c {path}"
    topics = ", ".join(str(given[setting]) for setting in OUTPUTS)
    broker = f"broker {given[BROKER]} as in the file beside it, " if BROKER in given else ""
    return (
        f"Wrote {path} for model {given[MODEL]}: {broker}group {given[GROUP]}, topics {topics}, state in"
        f" {given[STORE]}, metrics on port {given[METRICS]}, page on port {given[PAGE]}. Then run: streamcast check"
        f" --create -c {path}"
    )
