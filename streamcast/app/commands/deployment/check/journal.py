"""Checks of the journal: whether it, the group's positions, the records and the snapshots belong together."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from streamcast.app.commands.deployment.capacity import room
from streamcast.app.commands.deployment.check.say import Say
from streamcast.app.commands.deployment.check.setup import Setup
from streamcast.app.commands.deployment.connect import topics_of
from streamcast.app.commands.deployment.swaps import known_as, other_form
from streamcast.consumers.transport import NotAllowed, Partition, Positions, Reader, TopicSpec, TransportError
from streamcast.errors import ModelError, StoreError
from streamcast.service.identity import Deployment, identity, known_inputs
from streamcast.service.new_models import Bounds, Since, begins_of_new, left_out
from streamcast.service.refusals import (
    COLD_START,
    NEW_OUTPUTS,
    SECOND_SERVICE,
    SHADOW_FIRST,
    another_topic,
    answered_already,
    begins_later,
    own_journal,
    records_gone,
)
from streamcast.service.snapshots import Header
from streamcast.service.strangers import Moved, lost_journals, moved_positions, sentence
from streamcast.service.unpublished import unpublished
from streamcast.spec.folders import Model, versions_by_digest
from streamcast.topics.forecasts import shortened
from streamcast.topics.journal import Journal, read_journals

MOST_NAMED = 3
"""Partitions that a message names."""


def check_journal(setup: Setup, reader: Reader, source: TopicSpec, journal_topic: TopicSpec, say: Say) -> bool:
    """Check that the journal and the group's positions belong together.

    Where the journal has answers and the group no position, it would answer them again.
    """
    settings, topic = setup.settings, journal_topic.name
    group = settings.kafka.group
    own = [Partition(source.name, index) for index in range(source.partitions)]
    try:
        journals = read_journals(reader, topic, own)
        of_former = {each for each in own if source.id and journals[each].topic_id not in ("", source.id)}
        begun = [each for each in own if journals[each].start is not None and each not in of_former]
        committed = reader.committed(own)
    except NotAllowed:  # it has its line already
        return True
    except TransportError as error:
        return say(False, f"topic {topic}: {error}", "check that brokers and network are well, and run again")
    if unknown := [partition for partition in begun if partition not in committed]:
        return say(False, f"group {group}: {answered_already(unknown[:MOST_NAMED], topic)}", own_journal(unknown[0]))
    working, positions = {each: journals[each] for each in begun}, {each: committed[each] for each in begun}
    bounds = reader.bounds(begun) if begun else {}
    since = _bounded(setup, reader, working, positions, bounds, say)
    if not settings.state.allow_cold_start:
        unknown = [each for each in own if journals[each].begin is None and each not in of_former]
        at_work = [each for each in unknown if each in committed]
        lost = lost_journals(reader, topics_of(settings), journal_topic, unknown, at_work)
        if first := next(lost, None):
            return say(False, first.what, first.remedy)
        if of_former:
            known = journals[min(of_former)].topic_id
            return say(False, another_topic(source.name, known, source.id), NEW_OUTPUTS)
        if gone := _records_gone(setup, source, journal_topic, working, positions, bounds, since, say):
            return say(False, gone, COLD_START)
    moved = _moved(setup, reader, source, journal_topic, journals, positions, bounds)
    if wrong := [each for each in moved if each.impossible]:
        return say(False, wrong[0].impossible, wrong[0].remedy)
    if moved:
        say.warn(sentence(moved), moved[0].remedy)
    _swaps(setup, [journals[partition].models for partition in begun], say)
    chosen = settings.models
    told = [each for partition in begun for each in unpublished(journals[partition], chosen.lanes, chosen.shadows)]
    for what, remedy in dict.fromkeys(told):
        say.warn(what, remedy)
    return True


def _moved(
    setup: Setup, reader: Reader, source: TopicSpec, journal_topic: TopicSpec, journals: Mapping[Partition, Journal],
    committed: Positions, bounds: Bounds,
) -> list[Moved]:  # fmt: skip
    """Return the positions that another program has set."""

    def saved(wanted: Header) -> int | None:
        if setup.store is None:
            return None
        try:
            return next((offset for _, offset in setup.store.newest(wanted, sys.maxsize)), None)
        except StoreError:  # it has its line already
            return None

    ends = {each: end for each, (_, end) in bounds.items()}
    known = known_inputs(model.spec for model in setup.lanes.values())
    topics = topics_of(setup.settings)
    return moved_positions(reader, topics, source, journal_topic, committed, journals, ends, known, saved)


def _bounded(
    setup: Setup, reader: Reader, journals: Mapping[Partition, Journal], positions: Positions, bounds: Bounds, say: Say
) -> Since:
    """Return where the state of new models begins if a setting says how far back, and say what is left out."""
    models, history_ms = {lane: model.digest for lane, model in setup.lanes.items()}, setup.settings.models.history
    try:
        since = begins_of_new(reader, history_ms, set(models.values()), journals, positions, bounds)
    except NotAllowed:  # it has its line already
        return {}
    for told in left_out(models, history_ms, since, journals, positions, bounds):
        say.note(told)
    return since


def _records_gone(
    setup: Setup, source: TopicSpec, journal_topic: TopicSpec, journals: Mapping[Partition, Journal],
    committed: Positions, bounds: Bounds, since: Since, say: Say,
) -> str:  # fmt: skip
    """Say of the first partition whose state can be made neither from a snapshot nor from the records, else nothing.

    A model that has no state yet may begin with the records that are there; that is a warning.
    """
    settings, lanes, store = setup.settings, setup.lanes, setup.store
    if not lanes or store is None:
        return ""
    digests = {lane: model.digest for lane, model in lanes.items()}
    known = known_inputs(model.spec for model in lanes.values())
    shadows = tuple(settings.models.shadows)
    now = Deployment(digests, settings.models.champion_lane, room(settings, lanes), shadows, known)
    later: dict[str, str] = {}
    try:
        for partition, (held, _) in bounds.items():
            journal, position = journals[partition], committed[partition]
            for lane, digest in digests.items():
                begin = since.get(partition, {}).get(digest, journal.begin_of(digest))
                if begin is None or begin >= held:
                    continue
                wanted = identity(partition, digest, begin, position, journal, now, source, journal_topic)
                start = next((offset for _, offset in store.newest(wanted, position)), begin)
                if start < held and (now.must_keep(lane, journal) or held > position):
                    return records_gone(partition, start, held)
                if start < held:
                    later.setdefault(lane, begins_later(partition, lane, held, position))
    except StoreError:  # it has its line already
        pass
    for what in later.values():
        say.warn(what, SHADOW_FIRST)
    return ""


def _swaps(setup: Setup, answered: Sequence[Mapping[str, str]], say: Say) -> None:
    """Say which versions answered so far; warn where another model goes on whose name, too, is another."""
    folder = setup.settings.models.folder
    with suppress(ModelError):  # it has its line already
        versions = versions_by_digest(folder)
        for lane, model in setup.lanes.items():
            for digest in sorted({models[lane] for models in answered if lane in models}):
                _swap(lane, model, digest, versions.get(digest, []), folder, say)


def _swap(lane: str, model: Model, former: str, owners: Sequence[str], folder: Path, say: Say) -> None:
    """Say that a model goes on where one of the digest ``former`` stopped, of which ``owners`` are the versions.

    Where its forecasts have another form, it is a warning.
    """
    one = " are one model, which" if len(owners) > 1 else ""
    old = f"lane {lane}: {known_as(owners, folder)}{one} answered so far (digest {shortened(former)})"
    new = f"{model.name}@{model.version} (digest {shortened(model.digest)}) goes on where it stopped"
    if former == model.digest:
        say.note(old)
    elif not owners:
        say.warn(
            f"{old}, {new}",
            "nothing, if you swap the model, but `streamcast verify` cannot compute what it answered until its version"
            f" is in {folder} again; {SECOND_SERVICE}",
        )
    elif changed := other_form(folder, owners, model.spec):
        say.warn(
            f"{old}, {new}. {changed}",
            f"nothing, if consumers expect that; else name the former version in models.lanes.{lane}.model",
        )
    elif any(owner.startswith(f"{model.name}@") for owner in owners):
        say.note(f"{old}, {new}")
    else:
        say.warn(f"{old}, {new}", f"nothing, if you swap the model; {SECOND_SERVICE}")
