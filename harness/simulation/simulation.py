"""One seed, one run: a world is drawn, faults happen to it, it heals, and its content is compared with the promises."""

from __future__ import annotations

import logging
import random
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from harness.simulation.doubles import Archive
from harness.simulation.plan import HISTORIES, Event, Plan, load
from harness.simulation.processes import GROUP, TOPICS
from harness.simulation.world import World, exported
from streamcast.consumers.transport import Partition
from streamcast.errors import SnapshotError
from streamcast.service.snapshots import Arrays, decode
from streamcast.service.verification.fold import Fold, begins_of
from streamcast.service.verification.report import Expectations
from streamcast.service.verification.verify import verify
from streamcast.topics.journal import Journal, read_journal

EVENTS = {
    "iterate": 60,
    "produce": 20,
    "wait": 7,
    "start": 5,
    "crash_at": 4,
    "fault": 4,
    "write": 12,
    "away": 2,
    "freeze_at": 4,
    "crash": 2,
    "freeze": 1,
    "stop": 1,
    "deploy": 3,
    "reset": 5,
    "produce_open": 1,
    "replay_input": 1,
    "expire": 2,
    "rule": 3,
    "delete": 2,
    "damage": 1,
    "plant": 1,
}
"""How often each event is drawn."""

FIRST_STARTS = 0.4
"""How often a run begins with a process that freezes in its first step."""
MEANWHILE = ("produce", "expire", "expire", "start", "iterate", "iterate", "iterate", "produce", "iterate", "iterate")
"""What happens then, before anything else: another process takes its place."""

A_LANE_MORE = ("produce", "produce", *["iterate"] * 8, "write", "deploy", "produce", "iterate", "iterate")
"""How a run begins in which a lane may be added: the others have answered, and their state is saved."""

MEMORY = "/dev/shm"


@dataclass(slots=True)
class Run:
    """The result of a seed."""

    seed: int
    events: Sequence[Event]
    violations: list[str]
    counts: dict[str, int] = field(default_factory=dict)


def drawn(seed: int) -> tuple[Plan, list[Event]]:
    """Return the layout and the events of a seed."""
    chance = random.Random(seed)
    plan = Plan.drawn(chance)
    first = [Event("start", chance.getrandbits(32)) for _ in range(2)]
    if chance.random() < FIRST_STARTS:
        first += _first_start(chance)
    elif plan.alone:
        first += [Event(what, chance.getrandbits(32)) for what in A_LANE_MORE]
    events = first + list(_events(chance, chance.randint(15, 75), nested=False))
    start = replace(plan.start, history_ms=chance.choice(HISTORIES))  # last: it changes no other draw of a seed
    return replace(plan, start=start), events


def _first_start(chance: random.Random) -> Iterator[Event]:
    """A process freezes in its first step, while another one may take its place."""
    meanwhile = [Event(what, chance.getrandbits(32)) for what in MEANWHILE]
    meanwhile += _events(chance, chance.randint(3, 25), nested=True)
    for what in ("iterate", "produce", "freeze_at", "iterate", "iterate"):
        yield Event(what, chance.getrandbits(32), tuple(meanwhile) if what == "freeze_at" else ())


def _events(chance: random.Random, count: int, *, nested: bool) -> Iterator[Event]:
    kinds, weights = list(EVENTS), list(EVENTS.values())
    for what in chance.choices(kinds, weights, k=count):
        if what != "freeze_at":
            yield Event(what, chance.getrandbits(32))
        elif not nested:
            yield Event(what, chance.getrandbits(32), tuple(_events(chance, chance.randint(3, 25), nested=True)))


def simulate(seed: int) -> Run:
    """Run a seed."""
    plan, events = drawn(seed)
    return run(seed, plan, events)


def run(seed: int, plan: Plan, events: Sequence[Event]) -> Run:
    """Let events happen to a world, heal it, and check its content."""
    folder = Path(tempfile.mkdtemp(prefix="streamcast-world-", dir=MEMORY if Path(MEMORY).is_dir() else None))
    world = World(plan, folder)
    with silence():
        try:
            world.happen(events)
            world.heal(random.Random(seed))
            violations = world.violations or list(faults_of(world))
        except Exception:  # noqa: BLE001 - any exception here is a finding
            violations = [f"unforeseen: {traceback.format_exc()}"]
        finally:
            world.remove()
    world.counts |= {f"passed: {point}": times for point, times in world.passes.items()}
    return Run(seed, events, violations, world.counts)


@contextmanager
def silence() -> Iterator[None]:
    """Log nothing of ours within: damaged snapshots and lost requests are normal in a simulation."""
    loggers = [logging.getLogger(ours) for ours in ("streamcast", "consumers")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def faults_of(world: World) -> Iterator[str]:
    """Yield every broken promise."""
    archive = world.archive()
    expect = Expectations(world.plan.guarantee == "exactly_once")
    report = verify(archive, TOPICS, load, expect)
    yield from report.violations
    yield from report.unknown
    for partition in world.partitions:
        journal = read_journal(archive, TOPICS.journal, partition)
        yield from _wrong_states(world, archive, partition, journal)
        yield from _wrong_snapshots(world, archive, partition, journal)


def _wrong_states(world: World, archive: Archive, partition: Partition, journal: Journal) -> Iterator[str]:
    """I1: a member's state is the fold of records and journal up to the committed offset."""
    committed = world.broker._group(GROUP).committed[partition]
    for member in world.members:
        if partition not in member.loop._held:
            continue
        if journal.begin is None:
            yield f"{partition} is held and its journal is empty"
            continue
        begins = begins_of(journal, {lane: each.digest for lane, each in member.models.items()})
        fold = Fold(archive, partition, begins, member.models, journal, member.max_series)
        for _ in fold.advance(committed):
            pass
        wanted = exported(fold, partition)
        for lane in member.service._lanes:
            if difference := _difference(lane.engine.slab.export(partition), wanted[lane.name]):
                who = f"lane {lane.name} of member {member.instance}"
                yield f"{partition}: the state of {who} is not the fold of the records: {difference}"


def _wrong_snapshots(world: World, archive: Archive, partition: Partition, journal: Journal) -> Iterator[str]:
    """I6 and I7: a snapshot that can be read is the fold up to its offset, and not ahead of the group."""
    committed = world.broker._group(GROUP).committed[partition]
    for path in sorted((world.folder / partition.topic / str(partition.index)).glob("*.snapshot")):
        try:
            header, arrays = decode(path.read_bytes())
        except SnapshotError:
            continue
        if str(path) in world.planted:
            continue
        if header.offset > committed:
            yield f"{path.name} is ahead of the committed offset {committed}"
        fold = Fold(archive, partition, {"": header.begin}, {"": load(header.model)}, journal, header.max_series)
        for _ in fold.advance(header.offset):
            pass
        if difference := _difference(arrays, exported(fold, partition)[""]):
            yield f"{path.name} is not the fold of the records: {difference}"


def _difference(found: Arrays, wanted: Arrays) -> str:
    if found.keys() != wanted.keys():
        return f"arrays {sorted(found.keys() ^ wanted.keys())}"
    unequal = [name for name in wanted if not _same(np.asarray(found[name]), np.asarray(wanted[name]))]
    return ", ".join(unequal)


def _same(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.dtype == wanted.dtype and found.shape == wanted.shape and found.tobytes() == wanted.tobytes()


def shortest(found: Run, plan: Plan, most: int = 400) -> Run:
    """Drop events while the run still fails, and return the shortest failing history."""
    events, tries, size = list(found.events), 0, max(1, len(found.events) // 2)
    best = found
    while size >= 1 and tries < most:
        start, shorter = 0, False
        while start < len(events) and tries < most:
            tries += 1
            attempt = run(found.seed, plan, events[:start] + events[start + size :])
            if attempt.violations:
                best, events, shorter = attempt, list(attempt.events), True
            else:
                start += size
        if not shorter or size > len(events):
            size //= 2
    return best
