"""A real Apache Kafka on this machine, for tests and benchmarks: one KRaft node, started from its Maven jars.

Maven fetches the jars once into a cache folder (``STREAMCAST_CACHE``, else ``~/.cache/streamcast``).  The node uses
free loopback ports, keeps its data and its log in one folder, and can be killed, restarted on that data, or frozen.
It ends with the process that started it, also after SIGKILL.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.frozen import is_stopped

VERSION = os.environ.get("STREAMCAST_TEST_KAFKA") or "4.1.0"
"""The version that tests and benchmarks start, unless they name another one."""
OLDER = "4.0.0"
"""The version before, from which a cluster is upgraded."""
OLD_COORDINATOR = "3.9.1"
"""The last version in which a group's coordinator is the former one."""
START_SECONDS = 150.0
STOP_SECONDS = 15.0
FETCH_SECONDS = 300.0
OLDEST_JAVA = 17
PORTS = range(15_000, 32_000)
"""Below those of outgoing connections, which begin at 32768 on Linux."""

QUICKLY_STARTED = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
MEASURED = ("-Xms1g", "-Xmx1g", "-XX:+UseParallelGC")

# Each node has a shell that kills it: the shell's input ends with the process that started both, also after SIGKILL.
KEEPER = 'cat; kill -9 "$1"; sleep 1; [ -z "$2" ] || rm -rf "$2"'

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>streamcast</groupId><artifactId>kafka-jars</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>VERSION</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""


def is_since(major: int, minor: int) -> bool:
    """Whether ``VERSION`` is this version or a later one."""
    return tuple(map(int, VERSION.split(".")[:2])) >= (major, minor)


class BrokerError(Exception):
    """The local Kafka could not be fetched or started; the message says why and where its log is."""


def available() -> str | None:
    """Return why a local Kafka cannot run here, or None when it can."""
    java = shutil.which("java")
    if java is None:
        return f"no `java` on the PATH: install a Java runtime, version {OLDEST_JAVA} or later"
    banner = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    version = re.search(r'version "(\d+)', banner)
    if version is None or int(version[1]) < OLDEST_JAVA:
        seen = banner.splitlines()[0] if banner else "nothing"
        return f"`java -version` says {seen}, Kafka {VERSION} needs {OLDEST_JAVA} or later"
    if not _jar_folder().is_dir() and shutil.which("mvn") is None:
        return "no `mvn` on the PATH to fetch Kafka's jars: install Maven"
    return None


class LocalKafka:
    """One Kafka node; a context manager that starts it on entry and stops it on exit.

    Clients connect to ``advertised_port`` instead of the node's own port, when a proxy listens there.  Without a
    ``folder`` the node uses a temporary one, which ``stop`` removes.  A ``measured`` node takes longer to warm up, and
    is then faster, with shorter pauses.
    """

    def __init__(
        self, folder: Path | None = None, *, advertised_port: int | None = None, measured: bool = False,
        heap: str = "512m", version: str = VERSION,
    ) -> None:  # fmt: skip
        self.port, self.controller_port = free_ports(2)
        self._advertised_port = advertised_port or self.port
        self._options = MEASURED if measured else (f"-Xmx{heap}", *QUICKLY_STARTED)
        self._changed: dict[str, str] = {}
        self.version = version
        """The version of the next start."""
        self._owns_folder = folder is None
        self._folder = folder or Path(tempfile.mkdtemp(prefix="streamcast-kafka-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect: the advertised address."""
        return f"127.0.0.1:{self._advertised_port}"

    @property
    def log(self) -> Path:
        """The node's own log; a restart appends to it."""
        return self._folder / "kafka.log"

    def change(self, settings: Mapping[str, str]) -> None:
        """Use other settings from the first start on."""
        self._changed |= settings

    def start(self) -> None:
        """Start the node on its data (formatted at the first start) and wait until it serves; raises BrokerError."""
        if (reason := available()) is not None:
            raise BrokerError(f"A local Kafka cannot run here: {reason}.")
        if self._process is not None and self._process.poll() is None:
            return
        if not (self._folder / "server.properties").exists():
            self._format()
        with self.log.open("ab") as log:
            already_logged = log.tell()
            self._process = subprocess.Popen(
                java(self._options, "kafka.Kafka", str(self._folder / "server.properties"), version=self.version),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._keeper = subprocess.Popen(
            ["sh", "-c", KEEPER, "keeper", str(self._process.pid), str(self._folder) if self._owns_folder else ""],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._wait_until_started(self._process, already_logged)

    def stop(self) -> None:
        """End the node in good order, and remove its folder if it was temporary."""
        self.end()
        if self._owns_folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """End the node at once (SIGKILL), keeping its data."""
        if self._keeper is not None:
            self._keeper.kill()
            self._keeper.communicate(timeout=STOP_SECONDS)
            self._keeper = None
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
            self._process = None

    def end(self) -> None:
        """End the node in good order (SIGTERM), keeping its data."""
        if self._process is not None:
            self.thaw()
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self.kill()

    def restart(self) -> None:
        """Start the node again on the same data and ports, killing it first if it runs."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Freeze the node's process (SIGSTOP): connections stay open and nothing answers.

        Returns when all its threads stand still: on a busy machine they go on for a while after the signal, and a
        record that is sent meanwhile is answered.  Raises BrokerError when one goes on.
        """
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + STOP_SECONDS
        while self._process is not None and self._process.poll() is None and not is_stopped(self._process.pid):
            if time.monotonic() > deadline:
                raise BrokerError(f"Process {self._process.pid} goes on {STOP_SECONDS:.0f} s after SIGSTOP")
            time.sleep(0.005)

    def thaw(self) -> None:
        """Let a frozen node continue (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)

    def _format(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        properties = self._folder / "formatting.properties"
        settings = self._settings() | self._changed
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        cluster = "c3RyZWFtY2FzdC10ZXN0cw"  # a base64 of 16 bytes, as Kafka wants cluster ids
        arguments = ("format", "-t", cluster, "-c", str(properties), *self._credentials())
        run_tool("kafka.tools.StorageTool", *arguments, version=self.version)
        properties.rename(self._folder / "server.properties")

    def _credentials(self) -> list[str]:
        """Arguments that give the storage its first users."""
        return []

    def _settings(self) -> dict[str, str]:
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            # Records have event times, which may lie in the past: retention would delete them soon after a start.
            "log.retention.ms": "-1",
            "log.dirs": str(self._folder / "data"),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "500",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            # A killed node cannot register again until its old session has ended: 9 s by default.
            "broker.session.timeout.ms": "1500",
            "broker.heartbeat.interval.ms": "300",
        }

    def _wait_until_started(self, process: subprocess.Popen[bytes], already_logged: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with self.log.open("rb") as log:
                log.seek(already_logged)
                if b"Kafka Server started" in log.read():
                    return
            if process.poll() is not None:
                break
            time.sleep(0.05)
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
        self.kill()
        raise BrokerError(f"Kafka did not start within {START_SECONDS:.0f} s; its log {self.log} ends with:\n{tail}")


def run_tool(main: str, *arguments: str, version: str = VERSION) -> str:
    """Run one of Kafka's own tools by its class, and return what it prints; raises BrokerError."""
    command = java(QUICKLY_STARTED, main, *arguments, version=version)
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    if done.returncode:
        raise BrokerError(f"{main} {' '.join(arguments)} failed: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def java(options: Sequence[str], main: str, *arguments: str, version: str = VERSION) -> list[str]:
    logging = "-Dorg.slf4j.simpleLogger.showDateTime=true"
    return ["java", *options, logging, "-cp", f"{_fetch_jars(version)}/*", main, *arguments]


def _jar_folder(version: str = VERSION) -> Path:
    cache = os.environ.get("STREAMCAST_CACHE") or Path.home() / ".cache" / "streamcast"
    return Path(cache) / f"kafka-{version}"


def _fetch_jars(version: str) -> Path:
    """Return the folder of Kafka's jars, fetching them through Maven when they are not cached yet."""
    folder = _jar_folder(version)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        (Path(work) / "pom.xml").write_text(POM.replace("VERSION", version))
        jars = Path(work) / "jars"
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={jars}", "-DincludeScope=runtime"]
        command = ["mvn", "-q", "-B", "-f", f"{work}/pom.xml", *goal]
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
        if done.returncode:
            raise BrokerError(f"Maven could not fetch Kafka {version}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        try:
            jars.rename(folder)
        except OSError:  # another process was first; use its copy
            if not folder.is_dir():
                raise
    return folder


def free_ports(count: int) -> list[int]:
    """Choose unused ports that no outgoing connection is given: one could take the port of a node that restarts.

    All are open at the same time, so that they differ.
    """
    chance, found = random.SystemRandom(), list[int]()  # not that of a test, which every worker has seeded alike
    with ExitStack() as opened:
        while len(found) < count:
            port, each = chance.choice(PORTS), opened.enter_context(socket.socket())
            with suppress(OSError):  # it is used
                each.bind(("127.0.0.1", port))
                found.append(port)
    return found
