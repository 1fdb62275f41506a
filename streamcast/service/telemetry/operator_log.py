"""What the operator reads in the log while the service works: take-overs, caught-up partitions, and a line a minute.

The lines are few whatever the load: one for each take-over, one for each partition that had a backlog, one for each
minute in which records arrived, and one more for a minute's first dead letters.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from streamcast.consumers.transport import Partition, Positions
from streamcast.kernels.outcomes import NAMES, NOT_FINITE
from streamcast.latency import quantile_ms
from streamcast.service.telemetry.meters import SECONDS_EDGES, Histogram
from streamcast.topics.foreign_bytes import TEXT_KEYS, shown_key
from streamcast.wording import counted

log = logging.getLogger("streamcast")

REPORT_SECONDS: Final = 60.0
"""Between two lines about the records that arrive."""


MANY: Final = 10
"""So many first records, none of which can be read, are probably those of another topic."""
MOST_REASONS: Final = 3
WHY_DROPPED: Final = (
    "most were dropped: a record ahead of its time or in another time zone makes those after it late, and so does a"
    " second replay of a file (docs/runbooks.md, Late records)"
)
"""The usual causes, where most records of a minute come late or repeated."""


def _most(reasons: Counter[str]) -> str:
    """Return the only reason, or the most frequent ones with their counts."""
    if len(reasons) == 1:
        return next(iter(reasons))
    named = reasons.most_common(MOST_REASONS)
    rest = reasons.total() - sum(count for _, count in named)
    return ", ".join([f"{count:,} {reason}" for reason, count in named] + ([f"{rest:,} others"] if rest else []))


@dataclass(slots=True)
class _Backlog:
    """The records that a partition held when it was taken over, up to the offset ``end``: how many are answered."""

    end: int
    since: float
    records: int = 0


class OperatorLog:
    """Logs that records are answered; ``timer`` gives seconds that never step."""

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._backlogs: dict[Partition, _Backlog] = {}
        self._lag: Mapping[Partition, int] = {}
        self._in_hand = 0
        """Records of the last poll that are not committed: ``_lag`` does not count them."""
        self._fits = False
        """Whether some record could be read, so that the topic is the model's."""
        self._begin()

    def _begin(self) -> None:
        self._since: float | None = None
        self._records = self._dead_letters = self._replayed = self._late = self._repeated = self._forgotten = 0
        self._below = self._above = self._negative = 0
        self._reasons: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._without: Counter[str] = Counter()
        self._unsaid: Counter[str] = Counter()
        self._foreign_keys, self._foreign_key = 0, ""
        self._warned = False
        self._latency = Histogram(SECONDS_EDGES)

    def took_over(self, positions: Positions, ends: Positions) -> None:
        """The state of partitions is rebuilt: they are answered from ``positions`` on, and end at ``ends`` so far."""
        now = self._timer()
        self._backlogs |= {each: _Backlog(ends[each], now) for each in positions if positions[each] < ends[each]}
        lag = sum(max(ends[each] - position, 0) for each, position in positions.items())
        topics = ", ".join(sorted({partition.topic for partition in positions}))
        log.info("took over %s of %s, lag %s", counted(len(positions), "partition"), topics, counted(lag, "record"))

    def forget(self, held: Collection[Partition]) -> None:
        """Only these partitions are held now."""
        self._backlogs = {each: backlog for each, backlog in self._backlogs.items() if each in held}

    def answered(self, partition: Partition, position: int, waited: int) -> None:
        """A commit moved ``partition`` to ``position``; ``waited`` of its records were in the backlog."""
        if (backlog := self._backlogs.get(partition)) is not None:
            backlog.records += waited
            if position >= backlog.end:
                self._caught_up(partition)

    def latency(self, seconds: float, records: int) -> None:
        """So many records were answered in ``seconds``."""
        self._latency.observe(seconds, records)

    def dead_letters(self, count: int, reason: str) -> None:
        """So many records became dead letters, for a reason."""
        self._dead_letters += count
        self._fits |= reason == NAMES[NOT_FINITE]
        self._reasons[reason] += count

    def replayed(self, count: int) -> None:
        """So many of the dead letters are of records that were dead letters before, and were sent again."""
        self._replayed += count

    def dropped(self, late: int, repeated: int) -> None:
        """So many records came after their bar had closed, or after its answer."""
        self._late += late
        self._repeated += repeated

    def unknown_categories(self, counts: Mapping[str, int]) -> None:
        """So many records have an unknown category, by column."""
        self._unknown.update(counts)

    def foreign_keys(self, keys: Sequence[str]) -> None:
        """These are the series of records that are named by their Kafka key, which is no text."""
        if keys:
            self._foreign_keys += len(keys)
            self._foreign_key = keys[0]

    def missing_inputs(self, counts: Mapping[str, int]) -> None:
        """So many records have no value of an input, by column."""
        self._without.update(counts)

    def missing_ahead(self, counts: Mapping[str, int]) -> None:
        """So many records do not say what is known ahead of the next bar, by column."""
        self._unsaid.update(counts)

    def beyond_bounds(self, below: int, above: int) -> None:
        """So many records have a target below the lower bound of the model, and so many above its upper one."""
        self._below += below
        self._above += above

    def below_zero(self, count: int) -> None:
        """So many records have a target below 0, and the model has a scale that was chosen without such values."""
        self._negative += count

    def forgotten(self, series: int) -> None:
        """So many series were forgotten for want of room."""
        self._forgotten += series

    def committed(self, records: int) -> None:
        """A commit of so many records is complete."""
        self._since = self._timer() if self._since is None else self._since
        self._records += records
        self._fits |= self._records > self._dead_letters
        if self._dead_letters and not self._warned:
            self._warned = True
            log.warning(
                "%s of %s became dead letters (%s): `streamcast dlq inspect` says why%s",
                f"{self._dead_letters:,}", counted(self._records, "record"), _most(self._reasons),
                ". No record could be read: check that this is the topic of this model, and the form of its records"
                if not self._fits and self._records - self._replayed >= MANY else "",
            )  # fmt: skip
        self._in_hand -= records
        self._all_read()

    def polled(self, records: int, lag: Mapping[Partition, int]) -> None:
        """A poll returned ``records`` and left ``lag``; log the line of a minute that is over."""
        self._lag, self._in_hand = lag, records
        self._all_read()
        if self._since is None or (seconds := self._timer() - self._since) < REPORT_SECONDS:
            return
        causes = list(self._causes())
        facts = [counted(self._records, "record"), counted(self._dead_letters, "dead letter"), *self._lacking()]
        facts.append(f"lag {counted(sum(lag.values()), 'record')}")
        if (p99 := quantile_ms(0.99, {float(edge): count for edge, count in self._latency.buckets()[0]})) is not None:
            facts.append(f"latency p99 {p99:.0f} ms")
        log.log(
            logging.WARNING if causes else logging.INFO,
            "last %.0f s: %s", seconds, "; ".join([", ".join(facts), *causes]),
        )  # fmt: skip
        self._begin()

    def _causes(self) -> Iterator[str]:
        """Yield what is wrong with the records of the minute, with its usual causes and remedies."""
        if 2 * (self._late + self._repeated) > self._records:
            yield WHY_DROPPED
        if self._foreign_keys:
            yield (
                f"{counted(self._foreign_keys, 'record')} named by a Kafka key that is no text, such as"
                f" {shown_key(self._foreign_key)}: {TEXT_KEYS}"
            )

    def _lacking(self) -> Iterator[str]:
        """Yield how many records of the minute were dropped, or lack what the model wants, and for what reason."""
        if self._late:
            yield f"{self._late:,} dropped because they came late"
        if self._repeated:
            yield f"{self._repeated:,} dropped because their bar had been answered"
        for counts, words in (
            (self._unknown, "with an unknown"), (self._without, "without"), (self._unsaid, "that do not say the next"),
        ):  # fmt: skip
            for column, count in counts.items():
                if count:
                    yield f"{count:,} {words} {column}"
        if self._below:
            yield f"{self._below:,} with a value below the model's lower bound"
        if self._above:
            yield f"{self._above:,} with a value above the model's upper bound"
        if self._negative:
            yield f"{self._negative:,} with a value below 0, unsuited to the model's scale"
        if self._forgotten:
            yield f"{self._forgotten:,} series forgotten for want of room (state.max_series)"

    def _all_read(self) -> None:
        """A partition without lag has caught up: the offsets that are left of its backlog hold no records."""
        if self._in_hand:
            return
        for partition in [each for each in self._backlogs if self._lag.get(each) == 0]:
            self._caught_up(partition)

    def _caught_up(self, partition: Partition) -> None:
        backlog = self._backlogs.pop(partition)
        log.info(
            "caught up with %s: %s in %.1f s", partition, counted(backlog.records, "record"),
            self._timer() - backlog.since,
        )  # fmt: skip
