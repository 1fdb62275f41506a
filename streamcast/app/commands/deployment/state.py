"""``streamcast state``: show the state of one series, or reset it."""

from __future__ import annotations

import urllib.error
import urllib.request

import numpy as np
from rich.console import Console

from streamcast.app.commands import tables
from streamcast.app.commands.deployment.capacity import room
from streamcast.app.commands.deployment.connect import connection, load_lanes, new_reader, partitions_of
from streamcast.app.commands.deployment.topics import require_topics
from streamcast.app.json_text import print_json
from streamcast.app.markup import escape
from streamcast.app.progress import counting
from streamcast.app.settings import Settings
from streamcast.consumers.transport import Partition
from streamcast.engine.engine import Engine
from streamcast.engine.transform import TargetScale
from streamcast.errors import SnapshotError
from streamcast.hosts import direct
from streamcast.kernels.advance import EVENT, LAST, MEAN, OFFSET, STEPS, VARIANCE
from streamcast.service.identity import Deployment, identity, known_inputs
from streamcast.service.snapshots import Header, Store
from streamcast.topics.journal import read_journals
from streamcast.wording import shown_url

REDIRECTS = range(300, 400)
"""HTTP's statuses of an answer that is somewhere else."""
MOST_SHOWN = 200
"""Characters of another server's answer in a message."""


def show(settings: Settings, key: str, as_json: bool, console: Console) -> int:
    """Print a series' state from the newest snapshot of its partition; return 1 when no snapshot has the series."""
    models = load_lanes(settings)
    champion = settings.models.champion_lane
    model = models[champion]
    engine = Engine(model.spec, model.network)
    store = Store(settings.state.store, settings.state.retention)
    reader, unread = new_reader(settings, connection(settings)), list[str]()
    digests, specs = {lane: m.digest for lane, m in models.items()}, [m.spec for m in models.values()]
    deployment = Deployment(digests, champion, room(settings, models), known=known_inputs(specs))
    try:
        require_topics(reader, settings)
        partitions = partitions_of(reader, settings.input.topic)
        journals = read_journals(reader, settings.output.journal, partitions)
        topics = reader.describe([settings.input.topic, settings.output.journal])
        source, kept = topics[settings.input.topic], topics[settings.output.journal]
        with counting("partitions searched", Console(stderr=True)) as on_searched:
            for done, (partition, journal) in enumerate(journals.items()):
                on_searched(done, len(partitions))
                if journal.begin is None:
                    continue
                begin = journal.begin_of(model.digest) or 0
                wanted = identity(partition, model.digest, begin, 0, journal, deployment, source, kept)
                offset = _restored(engine, store, wanted, partition, unread)
                if offset is not None and key in engine.slab.series(partition):
                    return _print(engine, partition.index, offset, key, as_json, console)
    finally:
        reader.close(5.0)
    for reason in unread:
        console.print(f"[yellow]not readable:[/] {escape(reason)}", highlight=False)
    console.print(
        f"No{' readable' if unread else ''} snapshot in {escape(shown_url(settings.state.store))} has the series"
        f" {escape(repr(key))}; one is written every {settings.state.interval / 1000:g} s (state.interval)."
    )
    return 1


def _restored(engine: Engine, store: Store, wanted: Header, partition: Partition, unread: list[str]) -> int | None:
    """Restore the newest snapshot that fits; return its offset, None if none does, and note those that do not."""
    for path, offset in store.newest(wanted, 2**62):
        try:
            _, arrays = store.read(path, wanted)
            engine.slab.restore(partition, arrays)
        except (SnapshotError, ValueError) as error:  # ValueError: of a version with another layout
            unread.append(f"{shown_url(path)}: {error}")
            continue
        return offset
    return None


def _print(engine: Engine, partition: int, offset: int, key: str, as_json: bool, console: Console) -> int:
    home = next(p for p in engine.slab.partitions() if p.index == partition)
    slot = engine.slab.series(home)[key]
    content = dict(engine.slab.content(slot))
    clock, level = content["clock"], content["level"]
    last, transform = level[:, LAST].copy(), engine.spec.transform
    last[:1] = TargetScale(engine.spec).inverse(last[:1], np.full(1, np.nan))
    facts = {
        "key": key,
        "partition": partition,
        "as of offset": offset,
        "last applied offset": int(clock[OFFSET]),
        "event time (epoch ms)": int(engine.spec.series.grid.from_grid(clock[EVENT : EVENT + 1])[0]),
        "bars": int(clock[STEPS]),
        "running mean": level[:, MEAN].tolist(),
        "running deviation": np.sqrt(level[:, VARIANCE].astype(float)).tolist(),
        "last values": last.tolist(),
        **({"scale of the target's mean and deviation": transform.kind} if transform else {}),
        "sha256": engine.slab.digest(home, key),
    }
    if as_json:
        print_json(console, facts)
        return 0
    console.print(tables.facts(facts))
    return 0


def reset(settings: Settings, key: str, console: Console) -> int:
    """Ask the running service to reset a series; the journal keeps from which record on."""
    telemetry = settings.telemetry
    if telemetry.token is None:
        console.print(
            "[red]telemetry.token is not set:[/] set it (or telemetry.token_file) here and where the service runs"
        )
        return 2
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(telemetry.host, telemetry.host)  # noqa: S104 compared, not bound
    request = urllib.request.Request(
        f"http://{f'[{host}]' if ':' in host else host}:{telemetry.port}/reset",
        key.encode(),
        {"Authorization": f"Bearer {telemetry.token.get_secret_value()}"},
    )
    try:
        with direct().open(request, timeout=5.0) as answer:
            console.print(escape(answer.read(1_000).decode(errors="replace").strip()))
    except urllib.error.HTTPError as error:
        if error.code in REDIRECTS:
            elsewhere = repr(error.headers.get("Location", ""))[:MOST_SHOWN]
            console.print(
                f"[red]no service of ours answers at {host}:{telemetry.port}:[/] {error.code}, a redirect to"
                f" {escape(elsewhere)}, which is not followed, because the token would go there; is telemetry.port that"
                " of the service?",
                highlight=False,
            )
            return 1
        why = escape(error.read(1_000).decode(errors="replace").strip())
        console.print(f"[red]the service refused:[/] {error.code} {why}")
        return 1
    except OSError as error:
        console.print(f"[red]no service answers at {host}:{telemetry.port}:[/] {error}; is it running here?")
        return 3
    return 0
