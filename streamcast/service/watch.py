"""A watch over the topics: whether the broker answers, and each topic is still there, the same one, and large enough.

Neither client says so by itself: a consumer of a topic that was deleted goes on in silence, and so does one whose
broker is away while nothing is to be committed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future

from streamcast.consumers.background import Background
from streamcast.consumers.handshake import Refused
from streamcast.consumers.health import LoopHealth
from streamcast.consumers.transport import BrokerUnavailable, Reader, TopicSpec, TransportError
from streamcast.errors import ServiceError
from streamcast.service.refusals import CREATION, too_few
from streamcast.topics.names import Topics

log = logging.getLogger("streamcast")

WATCH_SECONDS = 15.0
"""How often the topics are described; what is found twice makes the service unready."""
ANSWER_SECONDS = 10.0
"""How long records wait until a slow broker says which topic they are from; then they are read again."""
_BROKER, _SMALL = "(broker)", "(too small)"  # neither is a topic's name


class TopicWatch:
    """Describes the topics from a thread of its own, with a ``reader`` of its own, until ``close``.

    A topic that is missing, an output that is too small, or a broker that does not answer makes ``health`` unready.
    When the input or the journal was made again, state and positions belong to a topic that is gone: ``on_changed``
    gets the reason, and must end the process.  So it does when the brokers refuse the connection, as after a change of
    the user's password: only the next start reads a new one, and the clients would try the former for ever in silence.

    Whoever answers records calls ``ask`` when they have come and ``confirm`` before their answers go out.  No topic
    gets a former identity again, so one that is the same after the records came has delivered them.
    """

    def __init__(
        self, reader: Reader, topics: Topics, known: Mapping[str, TopicSpec], health: LoopHealth,
        on_changed: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._reader, self._topics, self._health, self._on_changed = reader, topics, health, on_changed
        self._ids = {name: spec.id for name, spec in known.items()}
        self._suspected: Collection[str] = ()
        """What was wrong at the last look: a topic, or one of the two names above."""
        self._told: Mapping[str, str] = {}
        """What was wrong at the last two looks, in words."""
        self._talking = threading.Lock()
        self._background = Background("topic-identity")
        self._asked: Future[dict[str, str]] | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="topics")

    def start(self) -> None:
        """Begin to watch; the first question connects, so that no record waits for that."""
        self.ask()
        self._thread.start()

    def close(self, timeout_seconds: float) -> None:
        """End the watch and its reader."""
        self._ended.set()
        self._background.end()
        self._reader.close(timeout_seconds)

    def look(self) -> None:
        """Describe the topics once; what is wrong twice in succession is logged and makes the service unready."""
        try:
            with self._talking:
                found = self._reader.describe(list(self._ids))
        except Refused as refused:
            self._on_changed(f"{refused}; the next start reads the settings again")
            return
        except TransportError as error:
            self._note({_BROKER: f"the topics cannot be described: {error}"})
            return
        for name, spec in found.items():
            self._compare(name, spec)
        self._note(self._problems(found))

    def _note(self, problems: Mapping[str, str]) -> None:
        """Log and publish what was wrong at the last look, too; log what is over."""
        lasting = {what: said for what, said in problems.items() if what in self._suspected}
        for what in sorted(lasting.keys() - self._told.keys()):
            log.error("%s", lasting[what])
        for what in sorted(self._told.keys() - lasting.keys()):
            log.warning("no longer the case: %s", self._told[what])
        self._suspected, self._told = tuple(problems), lasting
        self._health.topics = sorted(lasting.values())

    def ask(self) -> None:
        """Ask for the input's identity, in the background; a question that was not sent yet is dropped.

        An earlier answer does not count, since the topic may have been made again between it and the records.
        """
        if self._asked is not None:
            self._asked.cancel()
        self._asked = self._background.started(self._identities) if self._ids[self._topics.observations] else None

    def confirm(self) -> None:
        """Wait for the answer to ``ask``; raises ServiceError when the input is not the topic that it was.

        Raises BrokerUnavailable when no broker says which topic it is: the records must be read again.
        """
        name, asked = self._topics.observations, self._asked
        if asked is None:  # a broker that gives topics no identity
            return
        try:
            found = asked.result(ANSWER_SECONDS).get(name)
        except TimeoutError:
            raise BrokerUnavailable(
                f"No broker has said within {ANSWER_SECONDS:.0f} s whether topic {name!r} is the one that it was: its"
                " records are not answered until one does; check that the brokers run"
            ) from None
        if found is None:
            raise BrokerUnavailable(f"topic {name!r} is gone: records that came from it are not answered; {CREATION}")
        if found and (known := self._ids[name]) != found:
            raise ServiceError(f"{_made_again(name, known, found)}; its records are not answered")

    def _identities(self) -> dict[str, str]:
        with self._talking:
            return self._reader.identities([self._topics.observations])

    def _compare(self, name: str, spec: TopicSpec) -> None:
        """Report a topic that was made again; the input and the journal keep the identity that their state has."""
        known = self._ids[name]
        if not known or not spec.id or known == spec.id:
            self._ids[name] = spec.id or known
        elif name in (self._topics.observations, self._topics.journal):
            self._on_changed(f"{_made_again(name, known, spec.id)}; the next start says what to do")
        else:
            self._ids[name] = spec.id
            log.warning(
                "%s: what it held is gone, and new outputs go to the new one", _made_again(name, known, spec.id)
            )

    def _problems(self, found: Mapping[str, TopicSpec]) -> Mapping[str, str]:
        """Return what is wrong with the topics, in words: by topic, or under the name of all that are too small."""
        if missing := [name for name in self._ids if name not in found]:
            return {
                name: f"topic {name!r} is gone: it was deleted, or this client may not describe it any more; restart"
                f" the service when it is back ({CREATION})"
                for name in missing
            }
        wanted = found[self._topics.observations].partitions
        small = any(spec.partitions < wanted for spec in found.values())
        return {_SMALL: too_few(self._topics, found)} if small else {}

    def _watch(self) -> None:
        while not self._ended.wait(WATCH_SECONDS):
            self.look()


def _made_again(name: str, known: str, found: str) -> str:
    return f"topic {name!r} was deleted and made again while the service ran (its id was {known}, it is {found})"
