"""A broker with TLS, users and an authorizer: each refusal has its own message, and the page's rights are enough."""

from __future__ import annotations

import argparse
import io
import re
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from kafka import KafkaProducer
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from rich.console import Console

from harness.local_kafka import available, is_since
from harness.secured_kafka import MECHANISM, SecuredKafka
from harness.streams import SPECS, network
from streamcast.app.commands.deployment.check.command import check
from streamcast.app.commands.deployment.connect import connection, new_reader, new_transport, topics_of
from streamcast.app.settings import Settings, load_settings
from streamcast.consumers.handshake import Refused
from streamcast.consumers.health import LoopHealth
from streamcast.consumers.transport import NotAllowed, Outgoing, Partition, TopicSpec, Transport
from streamcast.service.watch import TopicWatch
from streamcast.spec.folders import save_model

pytestmark = pytest.mark.kafka

CLIENTS = ("kafka-python", "librdkafka")
PAGE = Path(__file__).parents[2] / "docs" / "security.md"
USERS = {"streamcast": "a secret with = and é", "streamcast-reader": "reads", "stranger": "strange"}
TOPICS = ("observations", "forecasts", "dead-letters", "journal")


@pytest.fixture(scope="module")
def broker() -> Iterator[SecuredKafka]:
    if (reason := available()) is not None or shutil.which("openssl") is None:
        pytest.skip(reason or "no openssl")
    if not is_since(3, 9):
        pytest.skip("Kafka 3.6 cannot format its storage with such passwords, Kafka 3.3 with none")
    with SecuredKafka(USERS) as secured:
        yield secured


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_model(folder, "small", SPECS["gru"], network("gru"), {})
    return folder


@pytest.fixture(scope="module")
def admin(broker: SecuredKafka) -> Iterator[KafkaAdminClient]:
    """Everything is allowed at the port that asks for nothing; the topics exist, and the page's lines have been run."""
    with KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{broker.plain_port}") as client:
        client.create_topics({topic: {"num_partitions": 2, "replication_factor": 1} for topic in TOPICS})
        for line in re.findall(r"^kafka-acls\.sh (.*)$", PAGE.read_text(), re.MULTILINE):
            client.create_acls(granted(line))
        with KafkaProducer(bootstrap_servers=f"127.0.0.1:{broker.plain_port}") as producer:
            producer.send("observations", b"{}", partition=0).get(60)
        yield client


def granted(line: str) -> list[ACL]:
    """The rights that a line of the page gives, as kafka-acls.sh reads it."""
    options = argparse.ArgumentParser()
    for name in ("bootstrap-server", "command-config", "allow-principal"):
        options.add_argument(f"--{name}", required=True)
    options.add_argument("--add", action="store_true", required=True)
    options.add_argument("--resource-pattern-type", default="literal")
    for name in ("operation", "topic", "group", "transactional-id"):
        options.add_argument(f"--{name}", action="append", default=[])
    given = options.parse_args(shlex.split(line))
    pattern = ACLResourcePatternType[given.resource_pattern_type.upper()]
    named = {
        ResourceType.TOPIC: given.topic,
        ResourceType.GROUP: given.group,
        ResourceType.TRANSACTIONAL_ID: given.transactional_id,
    }
    return [
        ACL(
            given.allow_principal, "*", ACLOperation[operation.upper()], ACLPermissionType.ALLOW,
            ResourcePattern(kind, name, pattern),
        )
        for operation in given.operation
        for kind, names in named.items()
        for name in names
    ]  # fmt: skip


def settings(broker: SecuredKafka, client: str, **changed: object) -> Settings:
    """The settings of the page's user, with changes by the last part of a security setting's name."""
    port = changed.pop("port", broker.port)
    security = {
        "protocol": "SASL_SSL", "mechanism": MECHANISM, "username": "streamcast", "password": USERS["streamcast"],
        "ca_file": str(broker.ca_file), **changed,
    }  # fmt: skip
    return load_settings(None, {
        "kafka.bootstrap_servers": f"127.0.0.1:{port}",
        "kafka.client": client,
        "models.lanes": {"champion": {"model": "small@1"}},
        **{f"kafka.security.{name}": value for name, value in security.items()},
    })  # fmt: skip


PLAIN = {"mechanism": None, "username": None, "password": None}

REFUSALS: Mapping[str, tuple[dict[str, object], str]] = {
    "wrong authority": ({"ca_file": "expired_ca_file"}, r"not signed by an authority in kafka\.security\.ca_file"),
    "expired": ({"port": "expired_port", "ca_file": "expired_ca_file"}, "has expired: renew it"),
    "no file": ({"ca_file": "/nowhere/ca.pem"}, r"kafka\.security\.ca_file /nowhere/ca\.pem cannot be used"),
    "wrong password": ({"password": "wrong"}, "refused the password of user 'streamcast'"),
    "unknown user": ({"username": "nobody"}, "knows no user 'nobody'"),
    "mechanism": ({"mechanism": "PLAIN"}, f"does not have kafka.security.mechanism PLAIN: it has {MECHANISM}"),
    "port without TLS": ({"port": "plain_port"}, r"does not encrypt, and kafka\.security\.protocol is SASL_SSL"),
    "port without users": (
        {"port": "plain_port", "protocol": "SASL_PLAINTEXT"}, r"asks for no user, and kafka\.security\.protocol",
    ),
    "port with TLS": ({"protocol": "PLAINTEXT", **PLAIN}, r"encrypts, and kafka\.security\.protocol is PLAINTEXT"),
    "port with users": ({"protocol": "SSL", **PLAIN}, r"asks for a user, and kafka\.security\.protocol is SSL"),
}  # fmt: skip


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", REFUSALS)
def test_a_refused_connection_says_what_is_wrong_and_which_setting_it_is(
    broker: SecuredKafka, client: str, case: str
) -> None:
    changed, said = REFUSALS[case]
    known = {name: getattr(broker, str(value), value) for name, value in changed.items()}
    wrong = settings(broker, client, **known)
    reader = new_reader(wrong, connection(wrong))
    with pytest.raises(Refused, match=said):
        reader.describe(["observations"])
    reader.close(1)
    transport = new_transport(wrong, connection(wrong))
    with pytest.raises(Refused, match=said):
        transport.commit([], {})
    transport.close(1)


def checked(broker: SecuredKafka, models: Path, client: str, user: str = "streamcast") -> tuple[int, str]:
    """The exit code of ``streamcast check``, and what it prints; run again where the broker was too busy to answer."""
    asked = settings(broker, client, username=user, password=USERS[user])
    folder = asked.model_copy(update={"models": asked.models.model_copy(update={"folder": models})})
    for _ in range(3):
        printed = io.StringIO()
        code = check(folder, create=False, console=Console(file=printed, width=500))
        if "did not answer" not in printed.getvalue():
            break
    return code, printed.getvalue()


@pytest.mark.parametrize("client", CLIENTS)
def test_the_rights_of_the_page_are_enough_for_the_service_and_for_its_readers(
    broker: SecuredKafka, admin: KafkaAdminClient, models: Path, client: str
) -> None:
    code, printed = checked(broker, models, client)
    assert code == 0, printed
    with member(broker, client) as transport:
        position = answered(transport)
    asked = settings(broker, client, username="streamcast-reader", password=USERS["streamcast-reader"])
    reader = new_reader(asked, connection(asked))
    for topic in TOPICS:
        partition = Partition(topic, 0)
        assert list(reader.read_range(partition, 0, reader.ends([partition])[partition]))
    assert reader.committed([Partition("observations", 0)]) == position
    reader.close(5)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_user_without_rights_is_given_the_command_for_each(
    broker: SecuredKafka, admin: KafkaAdminClient, models: Path, client: str
) -> None:
    code, printed = checked(broker, models, client, "stranger")
    assert code == 3
    assert "does not exist" not in printed
    for granted in (
        "--operation Read --topic observations",
        "--operation Write --topic forecasts",
        "--operation Write --topic dead-letters",
        "--operation Read --operation Write --topic journal",
        "--operation Read --group streamcast",
        "--operation Write --transactional-id 'streamcast-' --resource-pattern-type prefixed",
    ):
        assert f"--allow-principal 'User:stranger' {granted}" in printed


RIGHTS = {
    "the input": ("READ", "TOPIC", "observations", "READ topic observations|DESCRIBE topic observations"),
    "the forecasts": ("WRITE", "TOPIC", "forecasts", "WRITE topic forecasts"),
    "the journal": ("WRITE", "TOPIC", "journal", "WRITE topic journal"),
    "the group": ("READ", "GROUP", "streamcast", "READ group streamcast"),
    "transactions": ("WRITE", "TRANSACTIONAL_ID", "streamcast-", "WRITE transactional id streamcast-0"),
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("right", RIGHTS)
def test_each_right_that_is_missing_is_named_and_ends_the_service_at_once(
    broker: SecuredKafka, admin: KafkaAdminClient, models: Path, client: str, right: str
) -> None:
    operation, kind, name, said = RIGHTS[right]
    with withdrawn(admin, operation, kind, name):
        code, printed = checked(broker, models, client)
        assert code == 3
        assert f"--operation {operation.capitalize()}" in printed
        assert name in printed
        assert printed.count("FAIL") == 1, printed
        for guarantee in ("exactly_once", "at_least_once"):
            if guarantee == "at_least_once" and kind == "TRANSACTIONAL_ID":
                continue
            with member(broker, client, guarantee) as transport, pytest.raises(NotAllowed, match=said):
                answered(transport)
    assert checked(broker, models, client)[0] == 0


def test_topics_that_may_not_be_created_are_given_as_commands(broker: SecuredKafka, admin: KafkaAdminClient) -> None:
    for client in CLIENTS:
        asked = settings(broker, client)
        transport = new_transport(asked, connection(asked))
        with pytest.raises(NotAllowed, match="DESCRIBE topic new"):
            transport.create([TopicSpec("new", 1)])
        transport.close(5)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_service_whose_password_is_refused_when_it_connects_again_ends_and_names_the_setting(
    broker: SecuredKafka, admin: KafkaAdminClient, client: str
) -> None:
    asked = settings(broker, client, username="streamcast-reader", password=USERS["streamcast-reader"])
    reader, said = new_reader(asked, connection(asked)), list[str]()
    watch = TopicWatch(reader, topics_of(asked), reader.describe(TOPICS), LoopHealth(), said.append)
    try:
        change_password(broker, "streamcast-reader", "another")
        watch.look()
        assert not said, "its connection is still there"
        broker.restart()
        for _ in range(5):
            watch.look()
        assert "refused the password of user 'streamcast-reader': check kafka.security.password" in said[0]
    finally:
        change_password(broker, "streamcast-reader", USERS["streamcast-reader"])
        watch.close(5)


def change_password(broker: SecuredKafka, user: str, password: str) -> None:
    with KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{broker.plain_port}") as admin:
        admin.alter_user_scram_credentials([UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_256, password)])


@contextmanager
def withdrawn(admin: KafkaAdminClient, operation: str, kind: str, name: str) -> Iterator[None]:
    """Take one right of the service's user away, and give it back; the broker hears of both a moment later."""
    principal, which, what = "User:streamcast", ACLOperation[operation], ResourceType[kind]
    pattern = ACLResourcePatternType.PREFIXED if kind == "TRANSACTIONAL_ID" else ACLResourcePatternType.LITERAL
    how = (principal, "*", which, ACLPermissionType.ALLOW)
    right = ACLFilter(*how, ResourcePatternFilter(what, name, pattern))

    def has_it() -> bool:
        return bool(admin.describe_acls(right)[0])

    assert admin.delete_acls([right])
    try:
        wait_until(lambda: not has_it())
        yield
    finally:
        admin.create_acls([ACL(*how, ResourcePattern(what, name, pattern))])
        wait_until(has_it)


def wait_until(reached: Callable[[], bool]) -> None:
    for _ in range(300):
        if reached():
            return
        time.sleep(0.1)
    pytest.fail("not reached within 30 s")


class Heard:
    """A listener that remembers what it holds."""

    def __init__(self) -> None:
        self.assigned: list[Partition] = []

    def on_assigned(self, partitions: Sequence[Partition]) -> None:
        self.assigned += partitions

    def on_revoked(self, partitions: Sequence[Partition]) -> None:
        self.assigned = [partition for partition in self.assigned if partition not in partitions]

    def on_lost(self, partitions: Sequence[Partition]) -> None:
        self.on_revoked(partitions)


@contextmanager
def member(
    broker: SecuredKafka, client: str, guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once"
) -> Iterator[Transport]:
    asked = settings(broker, client)
    transport = new_transport(asked, replace(connection(asked), guarantee=guarantee))
    try:
        yield transport
    finally:
        transport.close(5)


def answered(transport: Transport) -> dict[Partition, int]:
    """Do what the service does, once: join, read the input and the journal, answer in a transaction."""
    heard, journal = Heard(), Partition("journal", 0)
    transport.subscribe(["observations"], heard)
    for _ in range(300):
        transport.poll(0.1, 10)
        if len(heard.assigned) == 2:
            break
    transport.committed(heard.assigned)
    transport.seek(dict.fromkeys(heard.assigned, 0))
    batches = next(filter(None, (transport.poll(0.1, 10) for _ in range(300))))
    position = {batch.partition: batch.next_offset for batch in batches}
    outgoing = [Outgoing(topic, [0], [1], [b"k"], [b"v"]) for topic in ("forecasts", "dead-letters", "journal")]
    transport.commit(outgoing, position)
    assert list(transport.read_range(journal, 0, transport.ends([journal])[journal]))
    return position
