"""Snapshots: the same state gives the same bytes, what is not exactly one is refused, and none is ever overwritten."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamcast.service.snapshots
from harness.streams import SPECS, Line, digests, drive, engine, partition, streams
from streamcast.consumers.background import Background
from streamcast.consumers.transport import Partition
from streamcast.errors import SettingsError, SnapshotError, StoreError
from streamcast.service.saving import SELDOM_SECONDS, SLOW_SECONDS, Saver
from streamcast.service.snapshots import ABANDONED_SECONDS, Arrays, Header, Store, decode, encode
from streamcast.service.telemetry.telemetry import Telemetry

T = TypeVar("T")

HEADER = Header("observations", "journal", 0, 2, 5, 40, "a" * 64, 100, "torch, here")
SMALL = encode(HEADER, {"level": np.arange(12.0).reshape(3, 4), "seen": np.arange(3)})


def arrays(values: int = 3) -> Arrays:
    return {"level": np.arange(float(values))}


def same(found: Arrays, wanted: Arrays) -> bool:
    return found.keys() == wanted.keys() and all(
        found[name].dtype == wanted[name].dtype and np.array_equal(found[name], wanted[name], equal_nan=True)
        for name in wanted
    )


def test_what_is_decoded_is_what_was_encoded() -> None:
    header, found = decode(SMALL)
    assert header == HEADER
    assert same(found, {"level": np.arange(12.0).reshape(3, 4), "seen": np.arange(3)})


def test_equal_states_give_equal_bytes_in_whatever_order_the_arrays_come() -> None:
    named: Arrays = {"b": np.zeros(2), "a": np.ones(3, np.float32), "c": np.arange(2)}
    assert encode(HEADER, named) == encode(HEADER, dict(reversed(list(named.items()))))


def test_a_file_cut_at_any_length_is_refused() -> None:
    for length in range(len(SMALL)):
        with pytest.raises(SnapshotError):
            decode(SMALL[:length])


@given(st.integers(0, len(SMALL) - 1), st.integers(0, 7))
@settings(max_examples=300, deadline=None)
def test_a_file_with_any_bit_turned_is_refused(place: int, bit: int) -> None:
    damaged = bytearray(SMALL)
    damaged[place] ^= 1 << bit
    with pytest.raises(SnapshotError):
        decode(bytes(damaged))


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_rubbish_is_refused_whatever_it_begins_with(rubbish: bytes) -> None:
    for data in (rubbish, SMALL[:22] + rubbish, SMALL + rubbish[:1] + b"x"):
        with pytest.raises(SnapshotError):
            decode(data)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_rubbish_with_a_right_checksum_is_refused(body: bytes) -> None:
    magic = SMALL[: SMALL.index(b"\n") + 1]
    with pytest.raises(SnapshotError):
        decode(magic + hashlib.sha256(body).digest() + body)


@pytest.mark.parametrize("header", [{}, {"topic": "x"}, [], {**json.loads("{}"), "unknown": 1}])
def test_a_well_sealed_file_with_another_header_is_refused(header: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamcast.service.snapshots, "asdict", lambda _header: header)
    with pytest.raises(SnapshotError, match="header"):
        decode(encode(HEADER, arrays()))


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_state_goes_through_a_file_and_comes_back_the_same(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(SPECS)))
    lines = data.draw(streams(SPECS[name], ("a", "b", "ключ")))
    before, after = engine(name), engine(name)
    drive(before, lines)
    drive(after, [Line("left over", *lines[0][1:])])
    _, found = decode(encode(HEADER, before.slab.export(partition(0))))
    after.slab.restore(partition(0), found)
    assert digests(after) == digests(before)
    assert same(after.slab.export(partition(0)), before.slab.export(partition(0)))


# -- the store -----------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "state"), retention=2)


def offsets(store: Store, wanted: Header, at_most: int = 1 << 60) -> list[int]:
    return [offset for _, offset in store.newest(wanted, at_most)]


def test_the_store_offers_the_newest_at_or_below_an_offset_first(store: Store) -> None:
    for offset in (40, 9, 100):
        store.write(replace(HEADER, offset=offset), arrays())
    assert offsets(store, HEADER) == [100, 40, 9]
    assert offsets(store, HEADER, 99) == [40, 9]
    assert offsets(store, HEADER, 40) == [40, 9]
    assert offsets(store, HEADER, 8) == []


def test_a_file_that_is_there_is_never_written_again(store: Store, tmp_path: Path) -> None:
    assert store.write(HEADER, arrays()) > 0
    (path,) = tmp_path.rglob("*.snapshot")
    before = path.read_bytes()
    assert store.write(HEADER, arrays(9)) == 0
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "other",
    [
        replace(HEADER, partition=1),
        replace(HEADER, topic="other"),
        replace(HEADER, journal="other"),
        replace(HEADER, max_series=99),
        replace(HEADER, begin=6),
        replace(HEADER, partitions=3),
        replace(HEADER, model="b" * 64),
        replace(HEADER, known="1"),
    ],
)
def test_snapshots_of_another_kind_are_not_offered(store: Store, other: Header) -> None:
    store.write(other, arrays())
    assert offsets(store, HEADER) == []
    assert offsets(store, other) == [40]


def test_a_file_under_another_ones_name_is_refused(store: Store, tmp_path: Path) -> None:
    store.write(HEADER, arrays())
    (path,) = tmp_path.rglob("*.snapshot")
    path.rename(path.with_name(replace(HEADER, offset=41).name))
    ((renamed, offset),) = store.newest(HEADER, 1000)
    assert offset == 41
    with pytest.raises(SnapshotError, match="name"):
        store.read(renamed, HEADER)


def test_a_file_of_another_model_under_the_right_name_is_refused(store: Store, tmp_path: Path) -> None:
    store.write(HEADER, arrays())
    (path,) = tmp_path.rglob("*.snapshot")
    path.write_bytes(encode(replace(HEADER, model="b" * 64), arrays()))
    with pytest.raises(SnapshotError, match="model"):
        store.read(str(path), HEADER)


def test_retention_keeps_the_newest_of_each_lane_and_as_many_of_all_models_before(store: Store) -> None:
    beside, former, oldest = (replace(HEADER, model=name * 64) for name in "bcd")
    for offset in (10, 20, 30):
        for step, header in enumerate((oldest, former, beside, HEADER)):
            store.write(replace(header, offset=offset + step), arrays())
        store.forget_old(Partition("observations", 0), {HEADER.family, beside.family})
    assert [offsets(store, each) for each in (HEADER, beside)] == [[33, 23], [32, 22]]
    assert [offsets(store, each) for each in (former, oldest)] == [[31, 21], [30, 20]]


def test_a_store_that_is_full_says_so_and_leaves_nothing_half_written(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write(HEADER, arrays())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_others_left_in_the_folder_is_no_snapshot(store: Store, tmp_path: Path) -> None:
    store.write(HEADER, arrays())
    folder = tmp_path / "state" / "observations" / "0"
    others = ["README", "x-y.snapshot", "00000000000000000041.snapshot", "7-abc.123.part", f"{HEADER.name}.bak"]
    others += ["²-x.snapshot", f"²{HEADER.name}", f" {HEADER.name}", HEADER.name.removeprefix("0")]
    for name in [*others, HEADER.name.replace("0", "٠")]:
        (folder / name).write_bytes(b"")
    assert offsets(store, HEADER) == [40]
    store.forget_old(Partition("observations", 0), {HEADER.family})
    assert (folder / "²-x.snapshot").exists()


@pytest.mark.parametrize("topic", ["", ".", "..", "../../elsewhere", "a/b", "a\\b", "a\0"])
def test_a_topic_that_leads_out_of_the_store_is_refused(store: Store, tmp_path: Path, topic: str) -> None:
    header = replace(HEADER, topic=topic)
    for call in (
        lambda: store.write(header, arrays()),
        lambda: list(store.newest(header, 100)),
        lambda: store.forget_old(Partition(topic, 0), {header.family}),
    ):
        with pytest.raises(StoreError, match="cannot name a folder of the store"):
            call()
    assert list(tmp_path.rglob("*")) == []


def modes(root: Path) -> list[str]:
    """The modes of a store's folders, and of the files in them, from the root down."""
    return [f"{path.stat().st_mode & 0o7777:o}" for path in (root, *sorted(root.rglob("*")))]


@pytest.mark.parametrize(
    ("given", "umask", "found"),
    [
        (None, 0o022, ["700", "700", "700", "600"]),
        (None, 0o000, ["700", "700", "700", "600"]),
        (0o700, 0o000, ["700", "700", "700", "600"]),
        (0o770, 0o002, ["770", "770", "770", "660"]),
        (0o770, 0o022, ["770", "750", "750", "640"]),
        (0o755, 0o022, ["755", "755", "755", "644"]),
    ],
)
def test_what_is_written_is_private_unless_the_folder_was_made_for_others(
    tmp_path: Path, given: int | None, umask: int, found: list[str]
) -> None:
    root = tmp_path / "above" / "state"
    if given is not None:
        root.mkdir(parents=True)
        root.chmod(given)
    before = os.umask(umask)
    try:
        Store(str(root), 1).write(HEADER, arrays())
    finally:
        os.umask(before)
    assert modes(root) == found


def test_a_folder_that_this_user_may_not_read_is_not_mistaken_for_an_empty_one(store: Store, tmp_path: Path) -> None:
    store.write(HEADER, arrays())
    root = tmp_path / "state"
    if os.geteuid() == 0:
        os.seteuid(65_534)
    else:
        root.chmod(0)
    try:
        with pytest.raises(StoreError, match=r"could not list its files \(PermissionError"):
            offsets(store, HEADER)
    finally:
        os.seteuid(os.getuid())
        root.chmod(0o700)
    assert offsets(store, HEADER) == [40]


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(store: Store, tmp_path: Path) -> None:
    store.write(replace(HEADER, offset=1), arrays())
    folder, other = tmp_path / "state" / "observations" / "0", tmp_path / "other"
    path = folder / HEADER.name
    for name in (HEADER.name, f"{path.stem}.{os.getpid()}.part"):
        (folder / name).symlink_to(other)
    assert store.write(HEADER, arrays()) > 0
    assert not other.exists()
    assert path.is_file()
    assert not path.is_symlink()


def test_two_processes_that_write_one_snapshot_leave_one_file(store: Store, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.write(HEADER, arrays()), range(64)))
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert same(store.read(str(path), HEADER)[1], arrays())


PASSWORD = "hunter2"


@pytest.mark.parametrize(
    "url", [f"foo://me:{PASSWORD}@a:1/x", f"ftp://me:{PASSWORD}@a:b/x", f"ftp://me:{PASSWORD}/x@a"]
)
def test_a_store_that_nothing_handles_is_named_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Store(url, 1)
    assert "state.store is '" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_the_words_of_a_client_are_shown_without_the_password(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(Store):
        def write(self, header: Header, arrays: Arrays) -> int:
            del header, arrays
            raise OSError(f"530 user me, password {PASSWORD}: login incorrect")

    store = Refusing(f"memory://me:{PASSWORD}@x", 1)
    saver = Saver(store, 1.0, Telemetry({"champion": ("m", "1")}, 0.8), background=AtOnce())
    saver.save(Partition("in", 0), {"champion": 5}, [(HEADER, {})])
    assert "(OSError: 530 user me, password …: login incorrect)" in caplog.text
    assert PASSWORD not in caplog.text


def test_a_store_in_memory_keeps_snapshots_too() -> None:
    store = Store("memory://snapshots-test", retention=1)
    store.write(HEADER, arrays())
    ((path, offset),) = store.newest(HEADER, 40)
    assert offset == 40
    assert same(store.read(path, HEADER)[1], arrays())
    store.write(replace(HEADER, offset=50), arrays())
    store.forget_old(Partition("observations", 0), {HEADER.family})
    assert offsets(store, HEADER) == [50]


def test_the_folder_of_a_partition_names_topic_and_number(store: Store, tmp_path: Path) -> None:
    store.write(replace(HEADER, topic="load", partition=3), arrays())
    assert [path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.snapshot")] == ["state/load/3"]
    assert Partition("load", 3) == ("load", 3)


def test_what_a_process_that_died_had_begun_to_write_is_removed_an_hour_later(store: Store, tmp_path: Path) -> None:
    store.write(replace(HEADER, offset=1), arrays())
    folder = next((tmp_path / "state").rglob("*.snapshot")).parent
    old, young = folder / "1.7.part", folder / "1.8.part"
    for aside in (old, young):
        aside.write_bytes(b"half")
    os.utime(old, (0, time.time() - ABANDONED_SECONDS - 1))
    store.forget_old(Partition("observations", 0), {HEADER.family})
    assert (old.exists(), young.exists()) == (False, True)


def test_a_process_ends_although_its_store_hangs() -> None:
    hangs = """
import threading
from streamcast.consumers.transport import Partition
from streamcast.service.saving import Saver
from streamcast.service.snapshots import Header
class Hangs:
    def write(self, header, arrays):
        threading.Event().wait()
saver = Saver(Hangs(), 1.0, None)
saver.save(Partition("in", 0), 5, [(Header("in", "journal", 0, 1, 0, 5, "", 1, ""), {})])
saver.finish(0.05)
"""
    ended = subprocess.run([sys.executable, "-c", hangs], timeout=60, check=False, capture_output=True)
    assert (ended.returncode, ended.stderr) == (
        0,
        b"the last snapshot was not written within 0 s; the one before is kept\n",
    )


class Stuck(Background):
    """A background in which no call ends."""

    def started(self, call: Callable[[], T]) -> Future[T]:
        del call
        return Future()


def test_a_write_that_does_not_end_is_logged_and_counted_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    telemetry, times = Telemetry({"champion": ("m", "1")}, 0.8), [0.0]
    saver = Saver(store, 1.0, telemetry, clock=lambda: times[-1], background=Stuck())
    partition = Partition("in", 0)
    saver.save(partition, {"champion": 5}, [(Header("in", "journal", 0, 1, 0, 5, "", 1, ""), {})])
    for seconds in (SLOW_SECONDS - 1, SLOW_SECONDS, 2 * SLOW_SECONDS):
        times.append(seconds)
        assert saver.due({partition: {"champion": 6}}) is None
    assert len(caplog.messages) == 1
    assert "the snapshot of in[0] is not written after 60 s: the store is away or slow" in caplog.text
    assert 'streamcast_store_failures_total{action="write"} 1.0' in telemetry.exposition().decode()


class AtOnce(Background):
    """A background in which a call ends before the next begins."""

    def started(self, call: Callable[[], T]) -> Future[T]:
        ended = super().started(call)
        wait([ended])
        return ended


class Full(Store):
    """A store without room."""

    def write(self, header: Header, arrays: Arrays) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_logged_now_and_then_with_the_number_of_writes_that_failed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry, times = Telemetry({"champion": ("m", "1")}, 0.8), [0.0]
    saver = Saver(Full(str(tmp_path), 1), 1.0, telemetry, clock=lambda: times[-1], background=AtOnce())
    for seconds in (0.0, 1.0, SELDOM_SECONDS - 1, SELDOM_SECONDS, SELDOM_SECONDS + 1):
        times.append(seconds)
        saver.save(Partition("in", 0), {"champion": 5}, [(Header("in", "journal", 0, 1, 0, 5, "", 1, ""), {})])
    said = "snapshot of in[0] at offset 5 was not written (OSError: [Errno 28] No space left on device)"
    assert [message.startswith(said) for message in caplog.messages] == [True, True]
    assert caplog.messages[1].endswith("check state.store (2 writes more failed since the last such line)")
    assert 'streamcast_store_failures_total{action="write"} 5.0' in telemetry.exposition().decode()
