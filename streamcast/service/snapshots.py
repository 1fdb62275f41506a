"""A model's state of a partition as one checksummed file, and the store that keeps such files.

A file is never changed: it is written aside, synced and renamed (object stores do the same), and named after its
partition, offset and family.  Two processes that snapshot the same offset write the same content, so a zombie does no
harm.  A file that differs from what is expected in any way is refused whole, with the reason; the store then offers
the one before.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import fsspec
import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from streamcast.consumers.background import started
from streamcast.consumers.transport import Partition
from streamcast.errors import SettingsError, SnapshotError, StoreError
from streamcast.wording import login_in, shown_url, without_login

VERSION = 2
IDENTITY = (
    "topic", "topic_id", "journal", "journal_id", "partition", "partitions", "begin", "model", "max_series", "known",
    "version",
)  # fmt: skip
"""What a snapshot must agree in before it may be loaded."""
_MAGIC = b"streamcast snapshot 1\n"
_DIGEST_BYTES = 32
ABANDONED_SECONDS = 3600.0
LIST_SECONDS, READ_SECONDS = 10.0, 120.0
"""How long an object store may take to list a folder and to read a snapshot; its client tries for minutes."""
BEAT_SECONDS = 1.0
PRIVATE = 0o700
"""The mode of a store's folder that is made here."""
_NAME = re.compile(r"([0-9]{20})-([0-9a-f]{16})\.snapshot")

T = TypeVar("T")

Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Header:
    """The snapshot's identity: everything that must agree before it may be loaded.

    State is the fold of the partition's records, and of the decisions in the topic ``journal``, from ``begin`` up to
    ``offset`` under the model of the digest ``model`` with room for ``max_series``.  ``known`` names the known inputs
    that records were read with, of all lanes: which record is poison depends on them.  ``fingerprint`` names the
    machine and the version of torch that computed it.  ``topic_id`` and ``journal_id`` are the identities of the two
    topics; they are empty where state began under a version that did not know them.  Only there ``partitions``
    counts those of the topic, else it is 0: a topic that is made again with as many is taken for the old one.
    """

    topic: str
    journal: str
    partition: int
    partitions: int
    begin: int
    offset: int
    model: str
    max_series: int
    fingerprint: str
    known: str = ""
    version: int = VERSION
    topic_id: str = ""
    journal_id: str = ""

    @property
    def family(self) -> str:
        """A hash that snapshots of one partition share when they differ in nothing but the offset."""
        kind = [self.version, self.journal, self.begin, self.partitions, self.model, self.max_series, self.known]
        kind += [self.topic_id, self.journal_id] if self.topic_id or self.journal_id else []
        return hashlib.sha256(json.dumps(kind).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The file's name in its partition's folder."""
        return f"{self.offset:020d}-{self.family}.snapshot"


def fingerprint() -> str:
    """Return the rest that forecasts' bytes depend on: the version of torch and the processor's abilities."""
    return f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {platform.machine()}"


def encode(header: Header, arrays: Arrays) -> bytes:
    """Return the bytes of a snapshot; equal states give equal bytes."""
    body = save(dict(arrays), metadata={"header": json.dumps(asdict(header), sort_keys=True)})
    return _MAGIC + hashlib.sha256(body).digest() + body


def decode(data: bytes) -> tuple[Header, Arrays]:
    """Return the header and arrays of a snapshot's bytes; raises SnapshotError for any other bytes."""
    start = len(_MAGIC) + _DIGEST_BYTES
    if data[: len(_MAGIC)] != _MAGIC:
        raise SnapshotError("it does not begin like a snapshot of this version")
    body = memoryview(data)[start:]
    if hashlib.sha256(body).digest() != data[len(_MAGIC) : start]:
        raise SnapshotError("its checksum does not match: it was cut or altered")
    try:
        arrays = load(bytes(body))
        length = int.from_bytes(body[:8], "little")
        metadata = json.loads(bytes(body[8 : 8 + length]))["__metadata__"]
        header = Header(**json.loads(metadata["header"]))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise SnapshotError(f"its header cannot be read: {error!r}") from error
    return header, arrays


class Store:
    """Snapshots under one fsspec URL, a folder for each partition; raises SettingsError if nothing handles the URL.

    ``beat`` is called while an object store is waited for.  A folder that is made here is private to this user, and so
    are the files in it; one that is there already decides by its mode who else may read and write.
    """

    def __init__(self, url: str, retention: int, *, beat: Callable[[], None] = lambda: None) -> None:
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except Exception as error:  # noqa: BLE001 some clients connect at once, and raise their own
            expected = "expected a folder, or an fsspec URL whose package is installed (s3://: the extra s3)"
            why = type(error).__name__ if login_in(url) else str(error)  # its words may have a part of the password
            raise SettingsError(f"state.store is {shown_url(url)!r}: {why}; {expected}") from None
        self._url, self._retention, self._beat = url, retention, beat
        self._local = "file" in (
            [self._files.protocol] if isinstance(self._files.protocol, str) else self._files.protocol
        )

    def trouble(self) -> str:
        """Say why snapshots could not be kept here, as far as that is known without writing one; else nothing."""
        if self._local:
            root = Path(self._root)
            nearest = next(each for each in (root, *root.parents) if each.exists())
            if not nearest.is_dir():
                return f"{nearest} is no folder"
            return "" if os.access(nearest, os.W_OK | os.X_OK) else f"this user may not write into {nearest}"
        try:
            self._asked("list its files", partial(self._files.ls, self._root), LIST_SECONDS)
        except StoreError as error:
            return "" if isinstance(error.__cause__, FileNotFoundError) else str(error)
        return ""

    def reason(self, error: BaseException) -> str:
        """Return an error of the store's client in its own words, without the password of the URL."""
        return f"{type(error).__name__}: {without_login(str(error), self._url)}"

    def write(self, header: Header, arrays: Arrays) -> int:
        """Keep a snapshot unless it is there already; return its bytes.

        Raises whatever the store raises when it cannot write: an OSError, or an object store's own error.
        """
        folder = self._folder(Partition(header.topic, header.partition))
        path = f"{folder}/{header.name}"
        if self._files.exists(path):
            return 0
        data = encode(header, arrays)
        if self._local:
            mode = _made(Path(self._root), Path(folder))
            _write_aside(Path(path), data, mode & 0o666)
        else:
            self._files.makedirs(folder, exist_ok=True)
            self._files.pipe_file(path, data)
        return len(data)

    def forget_old(self, partition: Partition, families: Collection[str]) -> None:
        """Keep the newest few of each of these families, and as many files of others, for going back to older models.

        Raises what the store raises, see ``write``.
        """
        folder = self._folder(partition)
        others, kept = self._retention * len(families), Counter[str]()
        for path, _, family in self._listed(folder):
            kind = family if family in families else "others"
            kept[kind] += 1
            if kept[kind] > (others if kind == "others" else self._retention):
                self._files.rm_file(path)
        if self._local:
            _forget_abandoned(Path(folder))

    def newest(self, wanted: Header, at_most: int) -> Iterator[tuple[str, int]]:
        """Yield (path, offset) of the snapshots of ``wanted``'s family at or below an offset, newest first.

        Raises StoreError when the store cannot list them.
        """
        folder = self._folder(Partition(wanted.topic, wanted.partition))
        listed = self._asked("list its files", partial(self._listed, folder), LIST_SECONDS)
        for path, offset, family in listed:
            if family == wanted.family and wanted.begin <= offset <= at_most:
                yield path, offset

    def read(self, path: str, wanted: Header) -> tuple[Header, Arrays]:
        """Return a snapshot that agrees with ``wanted`` (but for offset and fingerprint).

        Raises SnapshotError, and StoreError when the store cannot read it.
        """
        data: bytes = self._asked("read it", partial(self._files.cat_file, path), READ_SECONDS)
        header, arrays = decode(data)
        for name in IDENTITY:
            if getattr(header, name) != getattr(wanted, name):
                raise SnapshotError(f"its {name} is {getattr(header, name)!r}, not {getattr(wanted, name)!r}")
        if f"/{header.name}" != path[path.rfind("/") :]:
            raise SnapshotError(f"its content belongs under the name {header.name}")
        return header, arrays

    def _asked(self, action: str, call: Callable[[], T], seconds: float) -> T:
        """Return what a file system answers; raises StoreError for any error, and when an object store takes longer."""
        try:
            return call() if self._local else self._in_time(call, seconds)
        except Exception as error:  # object stores raise their client's own
            raise StoreError(f"the store could not {action} ({self.reason(error)})") from error

    def _in_time(self, call: Callable[[], T], seconds: float) -> T:
        """Make a call in the background; raises TimeoutError and leaves it behind when it takes longer."""
        answer, deadline = started(call), time.monotonic() + seconds
        while not wait([answer], BEAT_SECONDS).done:
            self._beat()
            if time.monotonic() >= deadline:
                raise TimeoutError(f"no answer within {seconds:.0f} s")
        return answer.result()

    def _folder(self, partition: Partition) -> str:
        """Return a partition's folder; raises StoreError for a topic that is no name of a folder."""
        topic = partition.topic
        if topic in ("", ".", "..") or not {"/", "\\", "\0"}.isdisjoint(topic):
            raise StoreError(f"topic {topic!r} cannot name a folder of the store: expected the name of a Kafka topic")
        return f"{self._root}/{topic}/{partition.index:d}"

    def _listed(self, folder: str) -> list[tuple[str, int, str]]:
        """Return (path, offset, family) of every file that is named like a snapshot, newest first."""
        self._files.invalidate_cache()
        try:
            paths = self._files.ls(folder, detail=False)
        except FileNotFoundError:
            return []
        named = [(path, _NAME.fullmatch(path[path.rfind("/") + 1 :])) for path in paths]
        found = [(path, int(name[1]), name[2]) for path, name in named if name]
        return sorted(found, key=lambda entry: -entry[1])


def _forget_abandoned(folder: Path) -> None:
    """Remove what processes that died had written of a snapshot; a younger file may still be one in the making."""
    for aside in folder.glob("*.part"):
        with suppress(OSError):  # another process removes them as well
            if time.time() - aside.stat().st_mtime > ABANDONED_SECONDS:
                aside.unlink()


def _made(root: Path, folder: Path) -> int:
    """Make a partition's folder, and the root if it is not there; return the root's mode, which all below it get.

    The umask can take rights from what is made, and never adds one.
    """
    root.mkdir(PRIVATE, parents=True, exist_ok=True)
    mode = root.stat().st_mode & 0o777 | PRIVATE
    for each in (folder.parent, folder):
        each.mkdir(mode, exist_ok=True)
    return mode


def _write_aside(path: Path, data: bytes, mode: int) -> None:
    """Write a file beside ``path``, and rename it; nobody knows its name before, and a link there is not followed."""
    aside = path.with_suffix(f".{secrets.token_hex(8)}.part")
    made = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(made, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
