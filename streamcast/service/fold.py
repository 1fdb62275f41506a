"""State by law: the fold of a partition's records and journal, one after the other, through fresh engines.

What the service reaches through polls, snapshots and replays must be this; the verifier and the fault programme hold
the one against the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

from streamcast.consumers.transport import Batch, Partition, Reader
from streamcast.engine.engine import Engine, Result
from streamcast.spec.folders import Model
from streamcast.spec.model_spec import SeriesSpec
from streamcast.topics.journal import Entry, Journal
from streamcast.topics.observations import Decoder, Observations, Poison


@dataclass(frozen=True, slots=True)
class Era:
    """Between two decisions: [first, until) is answered by ``models`` with room for ``max_series``.

    Their state is folded from ``begin`` on.
    """

    begin: int
    first: int
    until: int
    models: Mapping[str, str]
    max_series: int


def eras(journal: Journal, until: int) -> list[Era]:
    """Cut a partition's answers at the journal's decisions, up to offset ``until``."""
    found: list[Era] = []
    begin = 0
    for entry in journal.entries:
        if entry.kind == "reset":
            continue
        if entry.kind != "models":
            begin = entry.offset - entry.warm_from
        if found:
            found.append(replace(found.pop(), until=min(entry.offset, until)))
        found.append(Era(begin, entry.offset, until, entry.models, entry.max_series))
    return [era for era in found if era.first < era.until]


class Fold:
    """A partition's state by law: its records in offset order from ``begin`` on, through fresh engines."""

    def __init__(
        self, reader: Reader, partition: Partition, begin: int, models: Mapping[str, Model],
        resets: Iterable[Entry], max_series: int,
    ) -> None:  # fmt: skip
        self.at = begin
        self.engines = {lane: Engine(model.spec, model.network, max_series) for lane, model in models.items()}
        self._reader, self._partition = reader, partition
        self._decoder = _decoder(next(iter(models.values())).spec.series)
        self._resets: dict[int, list[str]] = {}
        for entry in resets:
            self._resets.setdefault(entry.offset, []).append(entry.key)

    def advance(self, until: int) -> Iterator[tuple[Batch, Observations, Sequence[Poison], Mapping[str, Result]]]:
        """Take the records up to ``until``, and yield what became of each batch of them."""
        marks = sorted({self.at, until} | {offset for offset in self._resets if self.at < offset < until})
        for start, stop in pairwise(marks):
            for key in self._resets.get(start, ()):
                for engine in self.engines.values():
                    engine.slab.forget_key(self._partition, key)
            for batch in self._reader.read_range(self._partition, start, stop):
                yield batch, *self._take(batch)
        self.at = max(self.at, until)

    def _take(self, batch: Batch) -> tuple[Observations, Sequence[Poison], Mapping[str, Result]]:
        observations, poison = self._decoder.decode([batch])
        results = {}
        for lane, engine in self.engines.items():
            results[lane] = engine.stage(observations)
            engine.promote()
        return observations, poison, results


@cache
def _decoder(series: SeriesSpec) -> Decoder:
    return Decoder(series)
