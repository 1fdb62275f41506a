"""Why a service cannot go on from the state, the journal or the positions that it finds, in words, and the remedies.

A front door puts the settings file into commands of ours, and broker and group in place of HOST:PORT and GROUP
(``streamcast.app.settings.whole``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamcast.consumers.transport import Partition, TopicSpec
from streamcast.topics.names import Topics
from streamcast.wording import counted

CREATION = "`streamcast check --create` creates missing output topics, and you the input"
"""What to do about a topic that is missing."""
SECOND_SERVICE = (
    "for a second service, `streamcast init --name NAME` writes settings with a group, topics and state of its own"
)
"""What to do when two services would share what each needs for itself."""
NEW_OUTPUTS = (
    "Give the service new output topics and another group (output.forecasts, output.dead_letters, output.journal,"
    " kafka.group), or begin at the start of the new topic with empty state (state.allow_cold_start: true)"
)
"""What to do about ``another_topic``."""
COLD_START = (
    "raise the topic's retention, bring the snapshots back (state.store), or start there with empty state"
    " (state.allow_cold_start: true)"
)
"""What to do about ``records_gone``."""
SHADOW_FIRST = (
    "nothing, if these records have what its forecasts look back on; else let it run as a shadow first, and make it the"
    " champion when it has seen enough: it keeps its state (docs/swap-a-model.md)"
)
"""What to do about ``begins_later``."""
JOURNAL_MADE_AGAIN = (
    "set output.journal to the topic that the service had, if there is one; else start with empty state"
    " (state.allow_cold_start: true)"
)
"""What to do about ``journal_made_again``."""


def own_journal(partition: Partition) -> str:
    """Say what to do about ``answered_already``."""
    return (
        f"{SECOND_SERVICE}; if this is the service that answered, set kafka.group to the group that it had, or give the"
        f" group the position of each partition back, N: {setting_back(partition)} (docs/runbooks.md, Answered already,"
        " says how to find it)"
    )


def kept_for_ever(journal_topic: str) -> str:
    """Say what to do about ``journal_cut``."""
    return (
        f"let Kafka keep the journal for ever (`kafka-configs.sh --bootstrap-server HOST:PORT --alter --topic"
        f" {journal_topic} --add-config retention.ms=-1,retention.bytes=-1`), and start with empty state"
        " (state.allow_cold_start: true)"
    )


def setting_back(partition: Partition, position: int | None = None) -> str:
    """Return the command that gives the group a position; N stands for one that is not known."""
    wanted = "N" if position is None else position
    return (
        "`kafka-consumer-groups.sh --bootstrap-server HOST:PORT --group GROUP"
        f" --topic {partition.topic}:{partition.index} --reset-offsets --to-offset {wanted} --execute`"
    )


def another_topic(topic: str, known: str, found: str) -> str:
    """Say that a topic was deleted and made again."""
    return (
        f"topic {topic!r} is not the one that this service answered: its id is {found}, the journal has {known}, so it"
        " was deleted and made again"
    )


def records_gone(partition: Partition, wanted: int, held: int) -> str:
    """Say that the topic does not hold the records any more that state is made from."""
    return (
        f"{partition}: state needs the records from offset {wanted} on, but the topic holds"
        f" them only from {held} on, and no snapshot replaces them"
    )


def begins_later(partition: Partition, lane: str, held: int, position: int) -> str:
    """Say that the state of a model is made from fewer records than that of the others, or of the model before it."""
    return (
        f"{partition}: lane {lane} has a model without a state so far, and the topic holds records only from offset"
        f" {held} on: its state begins there, with the last {counted(position - held, 'record')}"
    )


def answered_already(partitions: Sequence[Partition], journal_topic: str) -> str:
    """Say that the journal has answers of partitions in which the group has no position: it would answer them again."""
    names = ", ".join(map(str, partitions))
    return (
        f"the journal (topic {journal_topic}) says that {names} is answered already, and this group has no position"
        " there: another group answers it, or the broker has forgotten the group's positions"
    )


def journal_cut(partition: Partition, journal_topic: str) -> str:
    """Say that nobody knows any more where the state of a partition began."""
    return (
        f"{partition}: the journal (topic {journal_topic}) does not say where the state began,"
        " because Kafka has deleted its oldest entries"
    )


def journal_made_again(partition: Partition, journal_topic: str) -> str:
    """Say that the journal that knew where the state of a partition began is gone."""
    return (
        f"{partition}: the journal (topic {journal_topic}) does not say where the state began,"
        " and the partition is answered already: the topic was deleted and made again, or is another one than before"
    )


def growing(topic: str, partitions: int) -> str:
    """Return the command that gives a topic more partitions."""
    return f"`kafka-topics.sh --bootstrap-server HOST:PORT --alter --topic {topic} --partitions {partitions}`"


def too_few(topics: Topics, found: Mapping[str, TopicSpec]) -> str:
    """Say which outputs have fewer partitions than the input, and how to add them."""
    wanted = found[topics.observations].partitions
    short = [
        name for name in (topics.forecasts, topics.dead_letters, topics.journal) if found[name].partitions < wanted
    ]
    room = min(found[name].partitions for name in short)
    grow = " and ".join(growing(name, wanted) for name in short)
    return (
        f"{topics.observations}[{room}] to [{wanted - 1}] are not answered: {', '.join(short)} must have {wanted}"
        f" partitions, as the input has (now {', '.join(str(found[name].partitions) for name in short)}): run {grow};"
        " the service notices within a minute"
    )
