"""The journal: entries of every version, and records of strangers."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from harness.simulation.stand import TOPICS, Stand
from streamcast.consumers.memory.broker import Rows
from streamcast.consumers.transport import Partition
from streamcast.errors import ServiceError

RUBBISH = [
    None,
    b"",
    b"{}",
    b"\xff\xfe",
    b"[" * 5000,
    b'{"kind":"reset"}',
    b'{"kind":1,"topic":"observations"}',
    b"null",
]
OLD = (
    b'{"kind":"start","topic":"observations","partition":0,"offset":0,"warm_from":0,"models":{"b":"1","a":"2"},'
    b'"max_series":9,"key":"","v":1}'
)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def write(stand: Stand, *values: bytes | None) -> None:
    producer, epoch = stand.broker.init_producer(None)
    rows = Rows([0] * len(values), [None] * len(values), list(values), [()] * len(values))
    stand.broker.produce(producer, epoch, Partition(TOPICS.journal, 0), rows, 0)


def test_records_of_strangers_are_ignored_loudly_and_the_service_works(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    write(stand, *RUBBISH)
    stand.observe("a", *map(float, range(10)))
    with caplog.at_level(logging.ERROR, "streamcast"):
        stand.serve()
    told = [record.getMessage() for record in caplog.records if "is not a journal entry" in record.getMessage()]
    assert [f"journal[0] at offset {offset}" in text for offset, text in enumerate(told)] == [True] * len(RUBBISH)
    assert [entry.kind for entry in stand.journal().entries] == ["start"]
    assert stand.verify().proven


@pytest.mark.parametrize(
    "change", [(b'"v":1', b'"v":2,"more":1'), (b'"v":1', b'"v":1,"more":null'), (b'"start"', b'"later"')]
)
def test_an_entry_of_a_newer_version_is_refused_with_the_remedy(stand: Stand, change: tuple[bytes, bytes]) -> None:
    write(stand, OLD.replace(*change))
    with pytest.raises(ServiceError, match="run the version that wrote it"):
        stand.journal()


def test_an_entry_without_a_champion_is_read(stand: Stand) -> None:
    write(stand, OLD)
    journal = stand.journal()
    assert (journal.champion, list(journal.models), journal.max_series) == ("", ["b", "a"], 9)
