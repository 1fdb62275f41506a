"""``streamcast dlq`` on a broker in the process: each letter is sent again once, and what fails again says so."""

from __future__ import annotations

import io
import json
import re
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from rich.console import Console

from harness import ROOT
from harness.feeder import SPEC
from streamcast.app.commands.deployment import dlq
from streamcast.app.commands.deployment.dlq import Filter
from streamcast.app.settings import Settings, load_settings
from streamcast.consumers.memory.transport import MemoryBroker, MemoryReader, MemoryTransport
from streamcast.consumers.transport import Batch, Connection, Headers, Outgoing, Partition, Positions, TopicSpec
from streamcast.errors import SettingsError
from streamcast.page.board import Board
from streamcast.topics.dead_letters import REASONS, Rejected, outgoing

EARLY, LATE = 1_000_000, 2_000_000
INPUT, LETTERS = "observations", "dead-letters"


class World:
    """A broker, and a service that rejects every record of its input."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        lanes = {"champion": {"model": "small@1"}}
        names = {"input.topic": INPUT, "output.dead_letters": LETTERS, "models.lanes": lanes}
        self.settings: Settings = load_settings(None, names)
        self.writer = MemoryTransport(self.broker, Connection("memory", "writer", guarantee="at_least_once"))
        self.writer.create([TopicSpec(INPUT, 2), TopicSpec(LETTERS, 2)])
        self._read = 0

    def feed(self, timestamp: int, value: bytes, headers: Headers = ()) -> None:
        self.writer.commit([Outgoing(INPUT, [1], [timestamp], [b"a"], [value], [headers])], {})

    def reject(self, reason: str = "json") -> None:
        """Reject what has come since the last call."""
        records = self.records(self._read)
        for batch in records:
            rejected = [Rejected(0, row, reason, "no") for row in range(len(batch))]
            self.writer.commit([outgoing(LETTERS, [batch], rejected)], {})
            self._read = batch.next_offset

    def records(self, start: int = 0, topic: str = INPUT) -> list[Batch]:
        partition = Partition(topic, 1)
        reader = MemoryReader(self.broker, Connection("memory", "test"))
        return list(reader.read_range(partition, start, reader.bounds([partition])[partition][1]))

    def letters(self) -> list[dict[str, str]]:
        """The headers of the dead letters, in their order; receipts are none."""
        found = [headers for batch in self.records(topic=LETTERS) for headers in batch.headers or ()]
        named = [{name: (text or b"").decode(errors="replace") for name, text in headers} for headers in found]
        return [headers for headers in named if "replayed" not in headers]

    def inspected(self, wanted: Filter | None = None, limit: int = 50) -> str:
        """What the table says."""
        printed = io.StringIO()
        console = Console(file=printed, width=400)
        assert dlq.inspect(self.settings, wanted or Filter(), limit, as_json=False, console=console) == 0
        return printed.getvalue()

    def inspected_as_json(self, wanted: Filter | None = None, limit: int = 50) -> list[dict[str, Any]]:
        printed = io.StringIO()
        console = Console(file=printed, width=400)
        assert dlq.inspect(self.settings, wanted or Filter(), limit, as_json=True, console=console) == 0
        assert printed.getvalue().isascii()
        return list(json.loads(printed.getvalue()))

    def letter(self, timestamp: int = EARLY, value: bytes = b"v", **headers: str) -> None:
        """Write a dead letter of somebody else's making."""
        own = {"reason": "json", "detail": "no", "source_topic": INPUT, "source_partition": "0"} | headers
        written = [(name, text.encode()) for name, text in own.items()]
        self.writer.commit([Outgoing(LETTERS, [0], [timestamp], [b"a"], [value], [written])], {})

    def sent(self) -> int:
        return sum(map(len, self.records()))

    def replay(self, wanted: Filter | None = None, *, again: bool = False, dry_run: bool = False) -> str:
        printed = io.StringIO()
        console = Console(file=printed, width=400)
        assert dlq.send_again(self.settings, wanted or Filter(), again, dry_run, console) == 0
        return printed.getvalue()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(dlq, "new_reader", lambda _settings, who: MemoryReader(made.broker, who))
    monkeypatch.setattr(dlq, "new_transport", lambda _settings, who: MemoryTransport(made.broker, who))
    for timestamp in (EARLY, LATE, LATE):
        made.feed(timestamp, b"{no json")
    made.reject()
    return made


def test_letters_that_cannot_be_cured_are_sent_again_once_however_often_one_asks(world: World) -> None:
    assert "Sent 3 dead letters to" in world.replay()
    assert "Sent 0 dead letters to" in world.replay()  # the service has not read them yet
    world.reject()
    told = world.replay()
    assert "Sent 0 dead letters to" in told
    assert "Left out because it was sent before: 3." in told
    assert "Left out because it failed again after a replay: 3; --again sends them." in told
    assert world.sent() == 6


def test_a_record_that_failed_again_names_the_first_one_and_is_sent_when_that_is_asked_for(world: World) -> None:
    world.replay()
    world.reject()
    first = {f"{INPUT}[1]@{x['source_offset']}" for x in world.letters() if "replay_of" not in x}
    assert {x["replay_of"] for x in world.letters() if "replay_of" in x} == first
    assert "Sent 3 dead letters to" in world.replay(again=True)
    assert "Sent 0 dead letters to" in world.replay(again=True)
    world.reject()
    assert {x["replay_of"] for x in world.letters()[-3:]} == first


def test_a_replay_gives_the_headers_of_a_record_back_however_often_it_failed(world: World) -> None:
    own = [("traceparent", b"00-1"), ("reason", b"\xff"), ("record.x", b""), ("ce_id", b"1"), ("ce_id", b"2")]
    world.feed(LATE, b"{}", own)
    world.reject("shape")
    for _ in range(2):
        world.replay(Filter("shape"), again=True)
        (*_, newest) = [headers for batch in world.records() for headers in batch.headers or ()]
        (letter,) = [x for x in world.letters() if x["reason"] == "shape"][-1:]
        first = letter.get("replay_of", f"{INPUT}[1]@{letter['source_offset']}")
        assert list(newest) == [*own, ("replay_of", first.encode())]
        world.reject("shape")
    (row,) = world.inspected_as_json(Filter("shape"), 1)
    assert (row["reason"], row["record.traceparent"], row["record.record.x"]) == ("shape", "00-1", "")


def test_a_dry_run_counts_and_writes_nothing(world: World) -> None:
    assert "Would send 3 dead letters to" in world.replay(dry_run=True)
    assert world.sent() == 3
    assert "Sent 3 dead letters to" in world.replay()


def test_one_letter_is_no_plural(world: World) -> None:
    world.feed(EARLY, b"{}")
    world.reject("shape")
    assert world.inspected(Filter("shape")).endswith("1 dead letter: 1 shape\n")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"reason": "jsno"}, "--reason is 'jsno'; expected one of 'empty', 'json', 'shape'"),
        (
            {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
            "--since 2026-01-02T00:00:00Z is not before --until 2026-01-01T00:00:00Z",
        ),
    ],
)
def test_a_filter_that_takes_no_letter_is_refused(wanted: dict[str, str], said: str) -> None:
    """It found no dead letters, which looked as if there were none."""
    with pytest.raises(SettingsError, match=re.escape(said)):
        Filter(**wanted)


def test_the_pages_explain_every_reason() -> None:
    for page in ("docs/runbooks.md", "docs/messages.md"):
        text = (ROOT / page).read_text()
        assert [reason for reason in REASONS if f"`{reason}`" not in text] == []


def test_letters_are_chosen_by_reason_and_by_time(world: World) -> None:
    world.feed(EARLY, b"{}")
    world.reject("shape")
    assert "Would send 1 dead letter to" in world.replay(Filter(reason="shape"), dry_run=True)
    assert "Would send 2 dead letters to" in world.replay(Filter(since="1970-01-01T00:33:20Z"), dry_run=True)
    assert "Would send 2 dead letters to" in world.replay(Filter(until="1970-01-01T00:33:20Z"), dry_run=True)
    assert "Sent 1 dead letter to" in world.replay(Filter("json", until="1970-01-01T00:33:20+00:00"))


@pytest.mark.parametrize("time", ["yesterday", "2026-01-31T08:00:00"])
def test_a_time_that_is_none_is_refused_with_an_example(time: str) -> None:
    with pytest.raises(
        SettingsError, match=r"--since is .* expected RFC 3339 with a zone, such as 2026-01-31T08:00:00Z"
    ):
        Filter(since=time)


def test_receipts_are_no_letters_for_the_command_and_the_page(world: World) -> None:
    world.replay()
    assert [row["replayed"] for row in world.inspected_as_json()] == [True, True, True]
    board = Board(SPEC, season=24)
    for batch in world.records(topic=LETTERS):
        board.take_dead_letters(batch)
    assert board.counts["dead_letters"] == len(board.dead) == 3


def test_the_newest_letters_are_the_newest_of_all_partitions(world: World) -> None:
    headers = [[("reason", b"json"), ("source_topic", INPUT.encode())]]
    world.writer.commit([Outgoing(LETTERS, [0], [LATE + 1], [b"a"], [b"newest"], headers)], {})
    assert [row["value"] for row in world.inspected_as_json(limit=2)] == ["{no json", "newest"]
    assert world.inspected(limit=2).endswith("4 dead letters: 4 json\n")


def test_a_letter_puts_no_control_characters_on_the_terminal(world: World) -> None:
    """Letters that exist have the detail as the parser wrote it, with whatever the record named its fields."""
    pwned = "\x1b]0;done\x07\x1b[2J\x1b[31mALL GOOD\n\x9b"
    world.letter(LATE + 1, pwned.encode(), detail=pwned, reason=f"[/red]{pwned}", source_offset=pwned)
    printed = world.inspected()
    assert all(line.isprintable() for line in printed.split("\n"))
    assert printed.count(r"\x1b]0;done\x07\x1b[2J\x1b[31mALL GOOD\n") == 5
    assert r"3 json, 1 [/red]\x1b]0;done" in printed
    assert world.inspected_as_json()[-1]["detail"] == pwned


@pytest.mark.parametrize("timestamp", [-1, -(2**63), 2**62, 253_402_300_800_000, 2**63 - 1])
def test_a_letter_of_any_time_is_listed_and_sent_again(world: World, timestamp: int) -> None:
    world.letter(timestamp, source_offset="7")
    assert f" {INPUT}[0]@7 " in world.inspected()
    assert timestamp in {row["timestamp"] for row in world.inspected_as_json()}
    assert "Sent 4 dead letters to" in world.replay()
    since, until = Filter(since="1970-01-01T00:00:00Z"), Filter(until="9999-12-31T23:59:59Z")
    assert ("Left out because it was sent before: 4." in world.replay(since)) == (timestamp > 0)
    assert ("Left out because it was sent before: 4." in world.replay(until)) == (timestamp < 0)


def test_many_large_letters_are_read_and_sent_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic of letters is larger than the memory of the command."""
    parts = list[int]()

    class Counting(MemoryTransport):
        def commit(self, outgoing: Iterable[Outgoing], positions: Positions) -> None:
            records, receipts = outgoing
            parts.append(sum(len(value or b"") for value in records.values))
            super().commit([records, receipts], positions)

    monkeypatch.setattr(dlq, "new_transport", lambda _settings, who: Counting(world.broker, who))
    letters, size, kept = 120, 500_000, 40
    for number in range(letters):
        world.letter(EARLY + number, bytes(size), source_offset=str(number))
    tracemalloc.start()
    try:
        assert world.inspected(limit=kept).endswith(f"{letters + 3} dead letters: {letters + 3} json\n")
        assert f"Sent {letters + 3} dead letters to" in world.replay()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(parts) == letters * size + 3 * len(b"{no json")
    assert len(parts) > 1
    assert max(parts) <= dlq.BYTES_AT_ONCE
    assert peak < letters * size
    assert "Sent 0 dead letters to" in world.replay()


def test_records_are_sent_in_the_order_in_which_their_letters_were_written(world: World) -> None:
    """A producer's clock may run backwards; the service would have read the records in the order of the topic."""
    for timestamp, value in ((LATE, b"{1"), (EARLY, b"{2"), (LATE + 1, b"{3")):
        world.feed(timestamp, value)
    world.reject()
    world.replay()
    sent = [value for batch in world.records(6) for value in batch.values]
    assert sent == [b"{no json"] * 3 + [b"{1", b"{2", b"{3"]
