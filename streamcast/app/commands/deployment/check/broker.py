"""Checks of the broker: whether it answers, and what it allows this user."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from streamcast.app.commands.deployment import connect
from streamcast.app.commands.deployment.check.say import Say
from streamcast.app.commands.deployment.check.setup import Setup
from streamcast.app.commands.deployment.check.topics import check_topics, operations_needed
from streamcast.app.settings import Settings
from streamcast.consumers.transport import BrokerUnavailable, NotAllowed, TransportError


def check_broker(setup: Setup, create: bool, say: Say) -> bool:
    """Check the broker, then the topics; return whether a service can work there.

    What the broker allows is asked first: a topic that this user may not describe looks like one that does not exist.
    """
    settings = setup.settings
    servers = settings.kafka.bootstrap_servers
    try:
        reader = connect.new_reader(settings, connect.connection(settings))
    except TransportError as error:  # an option that the client does not have
        return say(False, str(error))
    try:
        try:
            allowed, group = reader.topic_operations(list(operations_needed(settings))), reader.group_operations()
        except BrokerUnavailable as error:
            return say(False, f"broker {servers}: {error}", "start it, or correct kafka.bootstrap_servers")
        except TransportError as error:  # names its remedy
            return say(False, f"broker {servers}: {error}")
        say(True, f"broker {servers} answers")
        good = _permissions(settings, allowed, group, say)
        good &= _transactions(settings, say)
        return check_topics(setup, reader, allowed, create, say) and good
    finally:
        reader.close(5.0)


def _permissions(settings: Settings, allowed: dict[str, frozenset[str]], group: frozenset[str], say: Say) -> bool:
    """Name each operation that is missing, with the command that grants it."""
    good = True
    for topic, operations in operations_needed(settings).items():
        if missing := [each for each in operations if topic in allowed and each not in allowed[topic]]:
            good &= say(
                False,
                f"topic {topic}: the broker does not allow this user to {' or '.join(missing)}",
                _grant(settings, missing, f"--topic {topic}"),
            )
    if "READ" not in group:
        name = settings.kafka.group
        good &= say(
            False,
            f"group {name}: the broker does not allow this user to READ",
            _grant(settings, ["READ"], f"--group {name}"),
        )
    return good


def _grant(settings: Settings, operations: Iterable[str], resource: str) -> str:
    """The command with which an administrator allows operations."""
    security = settings.kafka.security
    user = security.username or ("CN=…, as in its certificate" if security.certificate_file else "ANONYMOUS")
    named = " ".join(f"--operation {operation.capitalize()}" for operation in operations)
    return (
        f"kafka-acls.sh --bootstrap-server {settings.kafka.bootstrap_servers} --command-config admin.properties --add"
        f" --allow-principal 'User:{user}' {named} {resource} (docs/security.md has them all)"
    )


def _transactions(settings: Settings, say: Say) -> bool:
    if settings.kafka.guarantee == "at_least_once":
        return say(True, "at_least_once: consumers must drop duplicates by the forecast's source")
    who = replace(connect.connection(settings), instance=f"{settings.kafka.instance}-check")
    try:
        transport = connect.new_transport(settings, who)
        try:
            transport.commit([], {})
        finally:
            transport.close(10.0)
    except NotAllowed as error:
        prefix = f"--transactional-id '{settings.kafka.group}-' --resource-pattern-type prefixed"
        return say(False, f"transactions: {error}", _grant(settings, ["WRITE"], prefix))
    except TransportError as error:
        return say(False, f"transactions: {error}", "allow them for this user, or set kafka.guarantee: at_least_once")
    return say(True, "transactions work: exactly once")
