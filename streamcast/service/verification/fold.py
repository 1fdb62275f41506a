"""State by law: the fold of a partition's records and journal, one after the other, through fresh engines.

The service reaches its state through polls, snapshots and replays; the verifier and the fault programme compare it
with this fold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

from streamcast.consumers.transport import Batch, Partition, Reader
from streamcast.engine.engine import Engine, Result
from streamcast.spec.folders import Model
from streamcast.spec.model_spec import SeriesSpec
from streamcast.topics.ahead import Ahead, ahead_of
from streamcast.topics.journal import Journal
from streamcast.topics.observations import Decoder, Observations, Poison


@dataclass(frozen=True, slots=True)
class Era:
    """Between two decisions: ``models`` answer [first, until) with room for ``max_series``.

    The state of each lane is folded from its offset in ``begins`` on.  ``champion`` is empty where the journal names
    none: older versions took the first lane, and wrote no dead letters for the other lanes.  The answers of ``shadows``
    are not published; None where the journal does not say which these are.
    """

    begins: Mapping[str, int]
    first: int
    until: int
    models: Mapping[str, str]
    max_series: int
    champion: str = ""
    shadows: Sequence[str] | None = None


def eras(journal: Journal, until: int) -> list[Era]:
    """Cut a partition's answers at the journal's decisions, up to offset ``until``.

    Before the first beginning there is none: a journal that was cut may still have later decisions of that time.
    """
    found: list[Era] = []
    for place, entry in enumerate(journal.entries, 1):
        if not (entry.begins or entry.kind == "models"):
            continue
        begins = begins_of(Journal(journal.entries[:place]), entry.models)
        if not begins:
            continue
        if found:
            found.append(replace(found.pop(), until=min(entry.offset, until)))
        found.append(Era(begins, entry.offset, until, entry.models, entry.max_series, entry.champion, entry.shadows))
    return [era for era in found if era.first < era.until]


def begins_of(journal: Journal, models: Mapping[str, str]) -> dict[str, int]:
    """Return where the state of each lane begins, of models (lane to digest); nothing before the first beginning."""
    found = {lane: journal.begin_of(digest) for lane, digest in models.items()}
    return {lane: begin for lane, begin in found.items() if begin is not None}


class Fold:
    """A partition's state by law: its records in offset order, for each lane from ``begins`` on, in fresh engines."""

    def __init__(
        self, reader: Reader, partition: Partition, begins: Mapping[str, int], models: Mapping[str, Model],
        journal: Journal, max_series: int,
    ) -> None:  # fmt: skip
        self.at, self._begins = min(begins.values()), begins
        self.engines = {lane: Engine(model.spec, model.network, max_series) for lane, model in models.items()}
        self._reader, self._partition = reader, partition
        specs = [model.spec for model in models.values()]
        self._decoder = _decoder(specs[0].series, ahead_of(specs))
        self._skips = {partition: journal.skips()}
        self._resets: dict[int, list[str]] = {}
        for entry in journal.resets():
            self._resets.setdefault(entry.offset, []).append(entry.key)

    def advance(self, until: int) -> Iterator[tuple[Batch, Observations, Sequence[Poison], Mapping[str, Result]]]:
        """Apply the records up to ``until``; yield each batch with its observations, poison and results by lane.

        A lane that has not begun has no result.
        """
        turns = {*self._resets, *self._begins.values()}
        marks = sorted({self.at, until} | {offset for offset in turns if self.at < offset < until})
        for start, stop in pairwise(marks):
            for key in self._resets.get(start, ()):
                for engine in self.engines.values():
                    engine.slab.forget_key(self._partition, key)
            for batch in self._reader.read_range(self._partition, start, stop):
                yield batch, *self._take(batch)
        self.at = max(self.at, until)

    def _take(self, batch: Batch) -> tuple[Observations, Sequence[Poison], Mapping[str, Result]]:
        observations, poison = self._decoder.decode([batch], self._skips)
        results = {}
        for lane, engine in self.engines.items():
            if batch.offsets and batch.offsets[0] < self._begins[lane]:
                continue
            results[lane] = engine.stage(self._decoder.seen_by(engine.spec, observations))
            engine.promote()
        return observations, poison, results


@cache
def _decoder(series: SeriesSpec, ahead: Ahead) -> Decoder:
    return Decoder(series, ahead)
