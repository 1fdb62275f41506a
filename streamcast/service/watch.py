"""A watch over the topics: whether each is still there, still the same one, and as large as the input.

Neither client says so by itself: a consumer of a topic that was deleted goes on in silence.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from streamcast.consumers.health import LoopHealth
from streamcast.consumers.transport import Reader, TopicSpec, TransportError
from streamcast.service.assignment import too_few
from streamcast.topics.names import Topics

log = logging.getLogger("streamcast")

WATCH_SECONDS = 15.0
"""How often the topics are described; what is found twice makes the service unready."""


class TopicWatch:
    """Describes the topics from a thread of its own, with a ``reader`` of its own, until ``close``.

    A topic that is missing, or an output that is too small, makes ``health`` unready.  When the input or the journal
    was made again, state and positions belong to a topic that is gone: ``on_changed`` gets the reason, once, and must
    end the process.
    """

    def __init__(
        self, reader: Reader, topics: Topics, known: Mapping[str, TopicSpec], health: LoopHealth,
        on_changed: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._reader, self._topics, self._health, self._on_changed = reader, topics, health, on_changed
        self._ids = {name: spec.id for name, spec in known.items()}
        self._suspected: frozenset[str] = frozenset()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="topics")

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self, timeout_seconds: float) -> None:
        """End the watch and its reader."""
        self._ended.set()
        self._reader.close(timeout_seconds)

    def look(self) -> None:
        """Describe the topics once; while the broker is away nothing is known, and the loop says that itself."""
        try:
            found = self._reader.describe(list(self._ids))
        except TransportError:
            return
        for name, spec in found.items():
            self._compare(name, spec)
        problems = frozenset(self._problems(found))
        for problem in sorted(problems & self._suspected - set(self._health.topics)):
            log.error("%s", problem)
        self._health.topics, self._suspected = sorted(problems & self._suspected), problems

    def _compare(self, name: str, spec: TopicSpec) -> None:
        """Note a topic's identity; report one that state and positions do not belong to."""
        known, self._ids[name] = self._ids[name], spec.id or self._ids[name]
        if not known or not spec.id or known == spec.id:
            return
        what = f"topic {name!r} was deleted and made again while the service ran (its id was {known}, it is {spec.id})"
        if name in (self._topics.observations, self._topics.journal):
            self._on_changed(f"{what}; the next start says what to do")
        else:
            log.warning("%s: what it held is gone, and new outputs go to the new one", what)

    def _problems(self, found: Mapping[str, TopicSpec]) -> Sequence[str]:
        if missing := [name for name in self._ids if name not in found]:
            return [
                f"topic {name!r} is gone: it was deleted, or this client may not describe it any more; restart the"
                " service when it is back (`streamcast check --create` creates missing topics)"
                for name in missing
            ]
        wanted = found[self._topics.observations].partitions
        return [too_few(self._topics, found)] if any(spec.partitions < wanted for spec in found.values()) else []

    def _watch(self) -> None:
        while not self._ended.wait(WATCH_SECONDS):
            self.look()
