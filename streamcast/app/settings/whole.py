"""Commands in messages as they can be run: with the settings file, the broker and the group of the operator.

The rooms below know none of these.  They write `` `streamcast check` ``, ``--bootstrap-server HOST:PORT`` and
``--group GROUP``; whoever prints their words fills in what is missing.
"""

from __future__ import annotations

import re
import shlex

from streamcast.app.options.flags import SETTINGS
from streamcast.app.settings.fields import Settings

ADMINISTRATOR = "admin.properties"
"""The file in which an administrator keeps the login for Kafka's own tools."""

_BROKER, _GROUP = "--bootstrap-server HOST:PORT", "--group GROUP"
_OURS = re.compile(r"`(streamcast (?:check|serve|skip|verify|dashboard|dlq|state|replay)\b[^`]*)`")


def whole(text: str, settings: Settings) -> str:
    """Return a message whose commands run as they are printed, for a service with these settings."""
    kafka = settings.kafka
    text = text.replace(_BROKER, bootstrap(settings)).replace(_GROUP, f"--group {shlex.quote(kafka.group)}")
    if settings.file in (None, SETTINGS):
        return text
    given = f" -c {shlex.quote(str(settings.file))}"
    return _OURS.sub(lambda found: found[0] if " -c " in found[1] else f"`{found[1]}{given}`", text)


def bootstrap(settings: Settings) -> str:
    """Return the options of Kafka's tools that name the broker, and an administrator's login where it wants one."""
    login = "" if settings.kafka.security.protocol == "PLAINTEXT" else f" --command-config {ADMINISTRATOR}"
    return f"--bootstrap-server {settings.kafka.bootstrap_servers}{login}"
