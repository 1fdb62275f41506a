"""Every setting, its default and its meaning.

Settings say where the service runs and which models it runs; everything that can change a forecast's bytes is part of
the model spec (``streamcast.spec.model_spec``).  The environment (``STREAMCAST__SECTION__NAME``) overrides the YAML
file.  Durations are written with a unit (``100ms``, ``5min``) and kept in milliseconds.
The text under each field is its documentation: in the template, in docs/settings.md and in the JSON Schema.
"""

from __future__ import annotations

from os.path import normpath
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from streamcast.hosts import is_loopback, share_an_address
from streamcast.spec import model_spec as spec
from streamcast.spec.durations import DAY_MS
from streamcast.topics.names import MOST_LANES, champion_of
from streamcast.wording import shown_url


def with_unit(value: object) -> int:
    """Return the milliseconds of a text such as 5min; a number without a unit is refused."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value!r} has no unit: write {value}s for seconds, or {value}min for minutes")
    if not isinstance(value, bool | str):
        raise ValueError("expected a number and a unit, such as 15min or 1h")
    return spec.parse_duration(value)


Length = Annotated[
    int,
    BeforeValidator(with_unit),
    Field(gt=0, le=10_000 * 366 * DAY_MS),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\s*\d+\s*(ms|s|min|h|d|w)\s*$", "examples": ["100ms", "5min", "1h"]}
    ),
]
"""Milliseconds, written with a unit."""
Duration = Annotated[Length, Field(validate_default=False)]
"""The same; the defaults below are numbers, and are not validated."""


def _sendable(token: SecretStr) -> SecretStr:
    """Refuse a token that an HTTP header cannot carry as it is, or that is soon guessed."""
    text = token.get_secret_value()
    if not (text.isascii() and text.isprintable() and text.strip() == text and len(text) >= SHORTEST_TOKEN):
        raise ValueError(f"expected at least {SHORTEST_TOKEN} printable ASCII characters, with no space at either end")
    return token


SHORTEST_TOKEN = 8
Token = Annotated[SecretStr, AfterValidator(_sendable)]
Port = Annotated[int, Field(ge=0, le=65_535)]

TOPIC = r"^([A-Za-z0-9_-][A-Za-z0-9._-]?|\.[A-Za-z0-9_-]|[A-Za-z0-9._-]{3,249})$"
REFERENCE = r"^[a-z0-9][a-z0-9_-]{0,63}@[a-z0-9][a-z0-9_-]{0,63}$"
LANE = r"^[a-z][a-z0-9_-]{0,63}$"
SERVERS = r"^[^\s,@]+:\d+(,[^\s,@]+:\d+)*$"
URL = r"^https?://"
PATTERNS = {
    TOPIC: "1 to 249 letters, digits, dots, underscores and hyphens, and neither . nor ..",
    REFERENCE: "a name, @ and a version, of small letters, digits, - and _",
    LANE: "a small letter, then at most 63 small letters, digits, - and _",
    SERVERS: "host:port, and a comma without spaces between several",
    URL: "a URL that begins with http:// or https://",
}
"""What each pattern of a setting expects, in words."""

TopicName = Annotated[str, Field(pattern=TOPIC)]
Reference = Annotated[str, Field(pattern=REFERENCE)]
LaneName = Annotated[str, Field(pattern=LANE)]

_LIBRDKAFKA_NAMES = {
    "security_protocol": "security.protocol",
    "ssl_cafile": "ssl.ca.location",
    "ssl_certfile": "ssl.certificate.location",
    "ssl_keyfile": "ssl.key.location",
    "ssl_password": "ssl.key.password",
    "sasl_mechanism": "sasl.mechanism",
    "sasl_plain_username": "sasl.username",
    "sasl_plain_password": "sasl.password",
}


class Section(BaseModel):
    """A section of the settings: immutable; refuses unknown names."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        validate_default=True,
        coerce_numbers_to_str=True,
    )


def _read_secret(data: object, name: str) -> object:
    """Read secret ``name`` from the file that ``name_file`` names; raises ValueError when it cannot be read."""
    file = data.get(f"{name}_file") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not file or not isinstance(file, str | Path):
        return data
    if data.get(name):
        raise ValueError(f"give {name} or {name}_file, not both")
    try:
        return data | {name: Path(file).read_text(encoding="utf-8").strip()}
    except (OSError, UnicodeDecodeError) as error:
        reason = str(error.strerror).lower() if isinstance(error, OSError) else str(error)
        raise ValueError(f"{name}_file {shown_url(str(file))!r} cannot be read: {reason}") from None


class Security(Section):
    """Encryption and authentication; put secrets in files or in the environment."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Encryption and authentication of the connection."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    """SASL mechanism; OAUTHBEARER needs `client: librdkafka` and its own entries in `options`."""
    username: str | None = None
    """User name for SASL."""
    password: SecretStr | None = None
    """Password for SASL; prefer `password_file` or the environment to this file."""
    password_file: Path | None = None
    """File that holds the password, such as a mounted secret."""
    ca_file: Path | None = None
    """PEM file of the certificates to trust (default: those of the system)."""
    certificate_file: Path | None = None
    """PEM file of the client certificate."""
    key_file: Path | None = None
    """PEM file of the client certificate's private key."""
    key_password: SecretStr | None = None
    """Password of the private key."""
    key_password_file: Path | None = None
    """File that holds the password of the private key."""

    @model_validator(mode="before")
    @classmethod
    def _secrets(cls, data: object) -> object:
        return _read_secret(_read_secret(data, "password"), "key_password")

    @model_validator(mode="after")
    def _check(self) -> Security:
        if self.protocol.startswith("SASL") != (self.mechanism is not None):
            raise ValueError(
                f"protocol {self.protocol} and mechanism {self.mechanism} do not go together: SASL needs a mechanism,"
                " and only SASL has one"
            )
        if self.mechanism not in (None, "OAUTHBEARER") and not (self.username and self.password):
            raise ValueError(f"mechanism {self.mechanism} needs username and password (or password_file)")
        return self


class KafkaSettings(Section):
    """The broker, and the identity of this process in the consumer group."""

    bootstrap_servers: str = Field(default="127.0.0.1:9092", pattern=SERVERS)
    """Brokers to connect to first: host:port, separated by commas."""
    group: str = Field(default="streamcast", min_length=1)
    """Consumer group; all processes of a service use the same one."""
    instance: str = Field(default="0", min_length=1)
    """Name of this process: unique in the group and stable over restarts, such as a pod's name."""
    client: Literal["kafka-python", "librdkafka"] = "kafka-python"
    """Client library; librdkafka is more than twice as fast and needs the extra `librdkafka`."""
    guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once"
    """Use at_least_once for brokers without transactions; consumers then drop duplicates by the forecast's source."""
    assignor: Literal["range", "cooperative-sticky"] = "range"
    """How the group assigns partitions. A rebalance revokes all partitions with range, only those that move with
    cooperative-sticky. All processes must use the same value: stop them all to change it."""
    security: Security = Security()
    options: dict[str, str | int | float | bool] = {}
    """More options for the client library, under its own names, passed on unchanged."""

    @model_validator(mode="after")
    def _check(self) -> KafkaSettings:
        if self.security.mechanism == "OAUTHBEARER" and self.client != "librdkafka":
            raise ValueError("security.mechanism OAUTHBEARER needs client: librdkafka")
        return self

    def client_options(self) -> dict[str, object]:
        """Return security and options under the client library's own names; holds secrets in clear, so never log it."""
        security = self.security
        named: dict[str, object] = {
            "security_protocol": security.protocol,
            "ssl_cafile": security.ca_file and str(security.ca_file),
            "ssl_certfile": security.certificate_file and str(security.certificate_file),
            "ssl_keyfile": security.key_file and str(security.key_file),
            "ssl_password": security.key_password and security.key_password.get_secret_value(),
            "sasl_mechanism": security.mechanism,
            "sasl_plain_username": security.username,
            "sasl_plain_password": security.password and security.password.get_secret_value(),
        }
        if self.client == "librdkafka":
            named = {_LIBRDKAFKA_NAMES[name]: value for name, value in named.items()}
        return {name: value for name, value in named.items() if value is not None} | self.options


class InputSettings(Section):
    """Where observations come from, and where forecasts start."""

    topic: TopicName = "observations"
    """Topic of the observations."""
    start: Literal["earliest", "latest"] | AwareDatetime = "earliest"
    """Where forecasts start when the service runs for the first time: earliest, latest, or a time with a zone, such as
    2026-01-31T00:00:00Z. Without effect once a partition was taken over."""
    warm_from: int = Field(default=0, ge=0)
    """Records before the start, per partition, that build up state without a forecast."""


class Lane(Section):
    """A model that the service runs."""

    model: Reference = Field(examples=["load@latest"])
    """Name and version, or name and alias, of a model in the folder, such as load@3 or load@latest."""
    shadow: bool = False
    """Run and measure this lane without publishing its forecasts."""


class ModelSettings(Section):
    """Which models run."""

    folder: Path = Path("trained")
    """Folder of trained models; `streamcast train` writes it."""
    lanes: dict[LaneName, Lane] = Field(min_length=1, max_length=MOST_LANES, examples=["champion"])
    """The models to run, by lane; every lane forecasts for every record. Usual names are champion and challenger."""
    champion: str | None = None
    """The lane whose outcome is a record's outcome; by default the lane named champion, else the only lane."""
    history: Length | None = None
    """How much of the input a new model reads before it answers, such as 90d: the records that are at most this much
    older than the newest, by their Kafka timestamps. If unset: all since the partition's state began. Without effect at
    the very first start, and on a model that has begun."""

    @model_validator(mode="after")
    def _check(self) -> ModelSettings:
        champion_of(self.lanes, self.champion or "")
        return self

    @property
    def champion_lane(self) -> str:
        """The name of the champion's lane."""
        return champion_of(self.lanes, self.champion or "")

    @property
    def shadows(self) -> list[str]:
        """The names of the lanes whose forecasts are not published."""
        return [name for name, lane in self.lanes.items() if lane.shadow]


class OutputSettings(Section):
    """Where the output goes; each topic needs as many partitions as the input topic."""

    forecasts: TopicName = "forecasts"
    """Topic of the forecasts."""
    dead_letters: TopicName = "dead-letters"
    """Topic of the records that could not be processed, with the reason in their headers."""
    journal: TopicName = "journal"
    """Topic of the decisions that do not follow from the records: first start, model swap, reset, skipped record."""


class BatchSettings(Section):
    """How many records a poll returns; polls grow under load."""

    max_records: int = Field(default=10_000, ge=1, le=100_000)
    """Maximum records of a poll, and so of a transaction."""
    max_wait: Duration = 200
    """How long a poll waits when no record is there; records that have arrived never wait."""


class StateSettings(Section):
    """How much state to keep, and where to store snapshots of it."""

    store: str = Field(default="state", min_length=1)
    """Where to write snapshots: a folder or any fsspec URL, such as s3://bucket/prefix (extra `s3`)."""
    interval: Duration = 300_000
    """Time between two snapshots of a partition; without records since the last, none is written."""
    retention: int = Field(default=3, ge=1, le=1_000)
    """Snapshots to keep per partition and model."""
    max_series: int | None = Field(default=None, ge=1)
    """Maximum series per partition; above it, the state of the least recently seen series is dropped.  Unset: what
    max_bytes holds, at most 100,000."""
    max_bytes: int = Field(default=16 << 30, ge=1 << 20)
    """Maximum memory for the state of a partition; `streamcast check` rejects a max_series that could need more."""
    allow_cold_start: bool = False
    """If the records needed to rebuild the state are gone, or the topic was deleted and made again: true starts with
    what the records that are left give, false refuses to start."""


class TelemetrySettings(Section):
    """Metrics and health over HTTP: /metrics, /livez, /readyz."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every interface."""
    port: Port = 9464
    """Port to listen on; 0 picks a free one."""
    token: Token | None = None
    """Token for requests that change state, such as `streamcast state reset`: at least 8 printable ASCII characters.
    If unset, all of them are rejected."""
    token_file: Path | None = None
    """File that holds the token."""

    @model_validator(mode="before")
    @classmethod
    def _secrets(cls, data: object) -> object:
        return _read_secret(data, "token")


class DashboardSettings(Section):
    """The live page."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every interface."""
    port: Port = 8080
    """Port to listen on; 0 picks a free one."""
    telemetry_url: str | None = Field(default=None, pattern=URL)
    """URL from which the page reads latency and accuracy of the service. If unset, that of ``telemetry.port`` on this
    machine."""
    name: str | None = Field(default=None, min_length=1, max_length=253)
    """Name by which browsers reach the page, besides its addresses, localhost and the machine's own name."""
    token: Token | None = None
    """Token that the page asks for, as the password with any user name: at least 8 printable ASCII characters. If
    unset, anyone who reaches it can read it."""
    token_file: Path | None = None
    """File that holds the token."""

    @model_validator(mode="before")
    @classmethod
    def _secrets(cls, data: object) -> object:
        return _read_secret(data, "token")

    @model_validator(mode="after")
    def _check(self) -> DashboardSettings:
        shown = shown_url(self.telemetry_url or "")
        try:
            url = urlsplit(self.telemetry_url or "")
            here, port = url.hostname or "", url.port
        except ValueError:  # its words may be a part of a password
            raise ValueError(f"telemetry_url is {shown!r}: expected a host, and a port of at most 65535") from None
        if port == self.port and is_loopback(here) and share_an_address(here, self.host):
            raise ValueError(
                f"telemetry_url is {shown!r}, and port {self.port} is the page's own: expected the port of the"
                " service's /metrics"
            )
        return self


class Settings(BaseSettings):
    """All settings; ``load_settings`` reads them from a file and the environment."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True, case_sensitive=True
    )

    kafka: KafkaSettings = KafkaSettings()
    input: InputSettings = InputSettings()
    models: ModelSettings
    output: OutputSettings = OutputSettings()
    batch: BatchSettings = BatchSettings()
    state: StateSettings = StateSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    dashboard: DashboardSettings = DashboardSettings()
    _file: Path | None = None

    @property
    def file(self) -> Path | None:
        """The file that they were read from, if there was one."""
        return self._file

    def read_from(self, file: Path | None) -> Settings:
        """Note the file that they were read from, and return them."""
        self._file = file
        return self

    @model_validator(mode="after")
    def _check(self) -> Settings:
        topics = [self.input.topic, self.output.forecasts, self.output.dead_letters, self.output.journal]
        if len(set(topics)) < len(topics):
            raise ValueError(f"input.topic and the topics of output must differ: {', '.join(topics)}")
        service, page = self.telemetry, self.dashboard
        same_port = 0 != service.port == page.port and share_an_address(service.host, page.host)
        if same_port and page.telemetry_url is None:
            raise ValueError(
                f"telemetry.port and dashboard.port must differ: both are {page.port}; where the page runs on another"
                " machine than the service, it needs dashboard.telemetry_url"
            )
        if normpath(self.state.store) == normpath(self.models.folder):
            raise ValueError(
                f"state.store and models.folder must differ: both are {shown_url(self.state.store)!r}, where the"
                " snapshots of partitions 1, 2 and so on would be taken for versions of a model"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Make the constructor use its arguments alone: only ``load_settings`` reads the environment."""
        return (init_settings,)
