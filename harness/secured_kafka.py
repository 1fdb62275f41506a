"""A local Kafka as strangers meet one: encrypted listeners, users with passwords, and an authorizer that refuses.

Listeners: ``port`` is encrypted and asks for a user (SASL_SSL, SCRAM-SHA-256); ``expired_port`` is the same with a
certificate that has expired; ``plain_port`` asks for nothing, and whoever comes there may do everything.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from harness.local_kafka import BrokerError, LocalKafka, free_ports

STORE_PASSWORD = "of-a-test"  # noqa: S105 - of key stores that live as long as a test
MECHANISM = "SCRAM-SHA-256"


class SecuredKafka(LocalKafka):
    """One Kafka node with TLS, SCRAM users and an authorizer; ``users`` are passwords by name."""

    def __init__(self, users: Mapping[str, str]) -> None:
        super().__init__()
        self.plain_port, self.expired_port = free_ports(2)
        self._users = users
        self.ca_file = make_certificate(self._folder, "broker", starts="-1d", days=30)
        """The certificate to trust; it signed itself."""
        self.expired_ca_file = make_certificate(self._folder, "expired", starts="-10d", days=5)
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
            "listeners": f"{reached},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": reached,
            "listener.security.protocol.map": "SECURED:SASL_SSL,EXPIRED:SASL_SSL,PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAIN",
            "sasl.enabled.mechanisms": MECHANISM,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
        for listener, name in (("secured", "broker"), ("expired", "expired")):
            changed |= {
                f"listener.name.{listener}.ssl.keystore.location": str(self._folder / f"{name}.p12"),
                f"listener.name.{listener}.ssl.keystore.password": STORE_PASSWORD,
                f"listener.name.{listener}.ssl.keystore.type": "PKCS12",
                f"listener.name.{listener}.{MECHANISM.lower()}.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
            }
        return super()._settings() | changed


def make_certificate(folder: Path, name: str, *, starts: str, days: int) -> Path:
    """Make ``name.p12``, a key with a certificate for 127.0.0.1 that signed itself; return the certificate as PEM."""
    store = ("-keystore", str(folder / f"{name}.p12"), "-storepass", STORE_PASSWORD, "-alias", name)
    certificate = folder / f"{name}.pem"
    _keytool(
        "-genkeypair", *store, "-storetype", "PKCS12", "-keyalg", "RSA", "-keysize", "2048", "-dname", f"CN={name}",
        "-ext", "san=ip:127.0.0.1", "-startdate", starts, "-validity", str(days),
    )  # fmt: skip
    _keytool("-exportcert", *store, "-rfc", "-file", str(certificate))
    return certificate


def _keytool(*arguments: str) -> None:
    done = subprocess.run(["keytool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise BrokerError(f"keytool {' '.join(arguments)} failed: {done.stdout}{done.stderr}")
