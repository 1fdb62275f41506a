"""Why a broker refuses a connection: TLS and SASL by hand, one step after another, before a client begins.

The clients say "no broker answered" whatever the reason was, after ten seconds.  Here each step has its own error.
Only what is certain is an error: a broker that is away, or an option that this module does not know, is left to the
client.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from streamcast.consumers.transport import TransportError

STEP_SECONDS = 3.0
"""How long a broker may take for one answer; after that it counts as away."""
LONGEST_ANSWER = 1 << 20

METADATA, SASL_HANDSHAKE, SASL_AUTHENTICATE = 3, 17, 36
VERSIONS = {METADATA: 1, SASL_HANDSHAKE: 1, SASL_AUTHENTICATE: 0}
NO_TOPICS = struct.pack(">i", 0)
UNSUPPORTED_MECHANISM, ILLEGAL_STATE, AUTHENTICATION_FAILED = 33, 34, 58
HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}

ABOUT_SECURITY = ("ssl", "sasl", "enable.ssl", "enable.sasl", "proxy", "socks")
"""How the clients' options about security and proxies begin."""

EXPIRED, NOT_YET_VALID, WRONG_HOST = 10, 9, 62
"""OpenSSL's numbers for what is wrong with a certificate."""


@dataclass(frozen=True)
class Security:
    """How a connection is secured; the fields are those of ``kafka.security``."""

    protocol: str = "PLAINTEXT"
    mechanism: str | None = None
    username: str = ""
    password: str = ""
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    key_password: str | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, object], names: Mapping[str, str]) -> Security | None:
        """Read a client's options; ``names`` gives its name of each field.  None when there is one that is not known.

        An option about security that has no field here may change what is accepted: then only the client can tell.
        """
        ours = {theirs: field for field, theirs in names.items()}
        if any(name not in ours and name.startswith(ABOUT_SECURITY) for name in options):
            return None
        return cls(**{ours[name]: str(value) for name, value in options.items() if name in ours})

    @property
    def encrypted(self) -> bool:
        """Whether the connection uses TLS."""
        return self.protocol in ("SSL", "SASL_SSL")

    @property
    def named(self) -> bool:
        """Whether the connection gives a user name."""
        return self.protocol.startswith("SASL")


class Refused(TransportError):
    """A broker answers and refuses this connection; another try would be refused too."""


def require_accepted(bootstrap_servers: str, security: Security | None) -> None:
    """Raise Refused when a broker refuses the connection for certain, and no other one accepts it."""
    refusals = []
    for server in bootstrap_servers.split(",") if security is not None else []:
        host, _, port = server.strip().rpartition(":")
        try:
            _shake_hands(host.strip("[]"), int(port), security or Security())
        except Refused as refused:
            refusals.append(refused)
        except (OSError, EOFError, ValueError, struct.error):  # away, or no broker: the client says so
            continue
        else:
            return
    if refusals:
        raise refusals[0]


def _shake_hands(host: str, port: int, security: Security) -> None:
    server = f"{host}:{port}"
    with _connected(host, port, server, security) as connection:
        if not security.named:
            _require_no_user(connection, server, security)
        elif security.mechanism is not None:
            _authenticate(connection, server, security, security.mechanism)


def _connected(host: str, port: int, server: str, security: Security) -> socket.socket:
    context = _context(security) if security.encrypted else None  # its files are looked at first
    plain = socket.create_connection((host, port), STEP_SECONDS)
    if context is None:
        return plain
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        if not (security.ca_file or _has_system_store()):  # the client may know where the system keeps its own
            raise
        raise Refused(_about_certificate(server, security, error)) from error
    except (ssl.SSLError, ConnectionError) as error:
        if _speaks_plainly(host, port):
            other = "SASL_PLAINTEXT or PLAINTEXT" if security.named else "PLAINTEXT or SASL_PLAINTEXT"
            raise Refused(
                f"{server} does not encrypt, and kafka.security.protocol is {security.protocol}: use the broker's"
                f" encrypted port, or set kafka.security.protocol to {other}"
            ) from error
        if isinstance(error, ssl.SSLError) and "ALERT" in str(error).upper():
            raise Refused(
                f"{server} refused the TLS handshake ({error}): check kafka.security.certificate_file and key_file"
            ) from error
        raise


def _context(security: Security) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Refused(
            f"kafka.security.ca_file {security.ca_file} cannot be used ({error}): expected a PEM file of certificates"
        ) from error
    if security.certificate_file is not None:
        try:
            context.load_cert_chain(security.certificate_file, security.key_file, lambda: security.key_password or "")
        except (OSError, ssl.SSLError) as error:
            raise Refused(
                f"kafka.security.certificate_file {security.certificate_file} and key_file {security.key_file} cannot"
                f" be used ({error}): expected a certificate and its private key as PEM files, and the right"
                " key_password"
            ) from error
    return context


def _has_system_store() -> bool:
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile or paths.capath)


def _about_certificate(server: str, security: Security, error: ssl.SSLCertVerificationError) -> str:
    said = error.verify_message
    if error.verify_code == EXPIRED:
        return f"The certificate of {server} has expired: renew it at the broker (and check this machine's clock)"
    if error.verify_code == NOT_YET_VALID:
        return f"The certificate of {server} is not valid yet: check this machine's clock, and the broker's certificate"
    if error.verify_code == WRONG_HOST or "mismatch" in said:
        return (
            f"The certificate of {server} is for another name ({said}): use the name that it was made for in"
            " kafka.bootstrap_servers"
        )
    trusted = security.ca_file or "the system's certificates, as kafka.security.ca_file is not set"
    return (
        f"The certificate of {server} is not signed by an authority in kafka.security.ca_file ({trusted}; {said}): set"
        " it to the PEM file of the authority that signed the broker's certificate"
    )


def _speaks_plainly(host: str, port: int) -> bool:
    """Whether a port answers a request that is not encrypted."""
    try:
        with socket.create_connection((host, port), STEP_SECONDS) as connection:
            _ask(connection, SASL_HANDSHAKE, _text("PLAIN"))
    except (OSError, EOFError, struct.error):
        return False
    return True


def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), STEP_SECONDS) as plain, context.wrap_socket(plain):
            return True
    except OSError:
        return False


def _require_no_user(connection: socket.socket, server: str, security: Security) -> None:
    """Raise Refused when a port asks for a user: it ends the connection at the first request of another kind."""
    try:
        _asked(connection, server, security, METADATA, NO_TOPICS)
    except EOFError as error:
        host, _, port = server.rpartition(":")
        with _connected(host.strip("[]"), int(port), server, security) as another:
            _, mechanisms = _mechanisms(_ask(another, SASL_HANDSHAKE, _text("PLAIN")))
        with_user = "SASL_SSL" if security.encrypted else "SASL_PLAINTEXT"
        raise Refused(
            f"{server} asks for a user, and kafka.security.protocol is {security.protocol}: set it to {with_user}, with"
            f" mechanism (the broker has {', '.join(mechanisms) or 'none'}), username and password"
        ) from error


def _asked(connection: socket.socket, server: str, security: Security, key: int, body: bytes) -> bytes:
    """Make the first request of a connection: only now TLS 1.3 refuses a client, and a port shows that it encrypts."""
    try:
        return _ask(connection, key, body)
    except ssl.SSLError as error:
        raise Refused(
            f"{server} ended the TLS connection ({error}): it may ask for a certificate; check"
            " kafka.security.certificate_file and key_file"
        ) from error
    except (EOFError, ConnectionError) as error:
        host, _, port = server.rpartition(":")
        if not security.encrypted and _speaks_tls(host.strip("[]"), int(port)):
            with_tls = "SASL_SSL" if security.named else "SSL or SASL_SSL"
            raise Refused(
                f"{server} encrypts, and kafka.security.protocol is {security.protocol}: set it to {with_tls}"
            ) from error
        raise


def _mechanisms(answer: bytes) -> tuple[int, list[str]]:
    """The error code and the mechanisms in an answer to a SASL handshake."""
    code, count = struct.unpack_from(">hi", answer)
    names, at = [], 6
    for _ in range(count):
        (length,) = struct.unpack_from(">h", answer, at)
        names.append(answer[at + 2 : at + 2 + length].decode())
        at += 2 + length
    return code, names


def _authenticate(connection: socket.socket, server: str, security: Security, mechanism: str) -> None:
    code, mechanisms = _mechanisms(_asked(connection, server, security, SASL_HANDSHAKE, _text(mechanism)))
    if code == ILLEGAL_STATE:
        without = "SSL" if security.encrypted else "PLAINTEXT"
        raise Refused(
            f"{server} asks for no user, and kafka.security.protocol is {security.protocol}: set it to {without}, or"
            " use the broker's port with SASL"
        )
    if code == UNSUPPORTED_MECHANISM:
        raise Refused(f"{server} does not have kafka.security.mechanism {mechanism}: it has {', '.join(mechanisms)}")
    if mechanism in HASHES:
        _scram(connection, server, security, HASHES[mechanism])
    elif mechanism == "PLAIN":
        said = b"\0%s\0%s" % (security.username.encode(), security.password.encode())
        if _say(connection, said) is None:
            raise Refused(
                f"{server} refused user {security.username!r} with this password (PLAIN does not tell which of them is"
                " wrong): check kafka.security.username and password"
            )


def _scram(connection: socket.socket, server: str, security: Security, hashed: str) -> None:
    """Authenticate by RFC 5802: a broker refuses an unknown user at the first message, a wrong password at the last."""
    name = security.username.replace("=", "=3D").replace(",", "=2C")
    opening = f"n={name},r={secrets.token_hex(16)}"
    first = _say(connection, f"n,,{opening}".encode())
    if first is None:
        raise Refused(
            f"{server} knows no user {security.username!r} for {security.mechanism}: check kafka.security.username, or"
            " create the user (`kafka-configs.sh --bootstrap-server HOST:PORT --alter --add-config"
            f" '{security.mechanism}=[password=PASSWORD]' --entity-type users --entity-name {security.username}`)"
        )
    parts = dict(part.split("=", 1) for part in first.decode().split(","))
    salted = hashlib.pbkdf2_hmac(hashed, security.password.encode(), base64.b64decode(parts["s"]), int(parts["i"]))
    key = hmac.digest(salted, b"Client Key", hashed)
    closing = f"c=biws,r={parts['r']}"
    signed = f"{opening},{first.decode()},{closing}".encode()
    signature = hmac.digest(hashlib.new(hashed, key).digest(), signed, hashed)
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
    if _say(connection, f"{closing},p={proof}".encode()) is None:
        raise Refused(
            f"{server} refused the password of user {security.username!r}: check kafka.security.password (or"
            " password_file)"
        )


def _say(connection: socket.socket, message: bytes) -> bytes | None:
    """Send one SASL message and return the broker's; None when it refuses."""
    answer = _ask(connection, SASL_AUTHENTICATE, struct.pack(">i", len(message)) + message)
    (code,) = struct.unpack_from(">h", answer)
    if code == AUTHENTICATION_FAILED:
        return None
    if code:
        raise OSError(f"SASL ended with error {code}")
    (length,) = struct.unpack_from(">h", answer, 2)
    at = 4 + max(0, length)
    (size,) = struct.unpack_from(">i", answer, at)
    return answer[at + 4 : at + 4 + size]


def _ask(connection: socket.socket, key: int, body: bytes) -> bytes:
    """Send a request of Kafka's protocol and return the body of the answer."""
    request = struct.pack(">hhi", key, VERSIONS[key], 0) + _text("streamcast") + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (size,) = struct.unpack(">i", _receive(connection, 4))
    if not 4 <= size <= LONGEST_ANSWER:
        raise EOFError(f"no answer of Kafka's protocol: its length is {size}")
    return _receive(connection, size)[4:]


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        piece = connection.recv(size - len(received))
        if not piece:
            raise EOFError("the broker ended the connection")
        received += piece
    return received


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">h", len(encoded)) + encoded
