"""A local Kafka as strangers meet one: encrypted listeners, users with passwords, and an authorizer that refuses.

Listeners: ``port`` is encrypted and asks for a user (SASL_SSL, SCRAM-SHA-256); ``expired_port`` is the same with a
certificate that has expired; ``plain_port`` asks for nothing, and whoever comes there may do everything.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from harness.local_kafka import BrokerError, LocalKafka, free_ports

MECHANISM = "SCRAM-SHA-256"


class SecuredKafka(LocalKafka):
    """One Kafka node with TLS, SCRAM users and an authorizer; ``users`` are passwords by name."""

    def __init__(self, users: Mapping[str, str]) -> None:
        super().__init__()
        self.plain_port, self.expired_port = free_ports(2)
        self._users = users
        self.ca_file = make_certificate(self._folder, "broker", days=30)
        """The certificate to trust; it signed itself."""
        self.expired_ca_file = make_certificate(self._folder, "expired", days=-1)
        """The certificate to trust at ``expired_port``."""

    def _credentials(self) -> list[str]:
        return [
            part
            for name, password in self._users.items()
            for part in ("--add-scram", f"{MECHANISM}=[name={name},password={password}]")
        ]

    def _settings(self) -> dict[str, str]:
        ports = {"SECURED": self.port, "EXPIRED": self.expired_port, "PLAIN": self.plain_port}
        reached = ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
        changed = {
            "listeners": f"{reached},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": reached,
            "listener.security.protocol.map": "SECURED:SASL_SSL,EXPIRED:SASL_SSL,PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAIN",
            "sasl.enabled.mechanisms": MECHANISM,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
        for listener, name in (("secured", "broker"), ("expired", "expired")):
            changed |= {
                f"listener.name.{listener}.ssl.keystore.location": str(self._folder / f"{name}-store.pem"),
                f"listener.name.{listener}.ssl.keystore.type": "PEM",
                f"listener.name.{listener}.{MECHANISM.lower()}.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
            }
        return super()._settings() | changed


def make_certificate(folder: Path, name: str, *, days: int) -> Path:
    """Make ``name-store.pem``, a key with a certificate for 127.0.0.1 that signed itself; return the certificate.

    With -1 days it has expired.
    """
    key, certificate = folder / f"{name}-key.pem", folder / f"{name}.pem"
    asked, extension = folder / f"{name}.csr", folder / f"{name}.ext"
    extension.write_text("subjectAltName=IP:127.0.0.1\n")
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", asked, "-subj", f"/CN={name}")
    _openssl(
        "x509", "-req", "-in", asked, "-signkey", key, "-days", days, "-extfile", extension, "-out", certificate
    )  # fmt: skip
    (folder / f"{name}-store.pem").write_text(key.read_text() + certificate.read_text())
    return certificate


def _openssl(*arguments: object) -> None:
    command = ["openssl", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise BrokerError(f"{' '.join(command)} failed: {done.stderr}")
