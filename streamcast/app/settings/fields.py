"""Every setting, its default and its meaning.

Settings say where the service runs and what it runs; whatever could change a forecast's bytes belongs to the model's
spec (``spec.py``).  One YAML file, overridden by ``STREAMCAST__SECTION__NAME``, overridden by the command line.
Durations are written with a unit (``100ms``, ``5min``) and held in milliseconds.
The text under each field is its documentation: in the template, in docs/settings.md and in the JSON Schema.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, WithJsonSchema, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from streamcast.spec import model_spec as spec
from streamcast.topics.names import champion_of

Duration = Annotated[
    spec.Duration, WithJsonSchema({"type": ["string", "integer"], "examples": ["100ms", "5min", "1h"]})
]
Port = Annotated[int, Field(ge=0, le=65_535)]
TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
Reference = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}@[a-z0-9][a-z0-9_-]{0,63}$")]
LaneName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]

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
    """A part of the settings: immutable, and closed to unknown names."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        validate_default=True,
        coerce_numbers_to_str=True,
    )


def _read_secret(data: object, name: str) -> object:
    """Fill secret ``name`` from the file that ``name_file`` points to; raises ValueError when it cannot be read."""
    if not isinstance(data, dict) or not data.get(f"{name}_file"):
        return data
    if data.get(name):
        raise ValueError(f"give {name} or {name}_file, not both")
    path = Path(str(data[f"{name}_file"]))
    try:
        return data | {name: path.read_text(encoding="utf-8").strip()}
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name}_file {str(path)!r} cannot be read: {error}") from None


class Security(Section):
    """How the broker is reached and who we are to it; secrets come from files or the environment."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Encryption and authentication of the connection."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    """How to authenticate, with a SASL protocol; OAUTHBEARER needs the client librdkafka and its `options`."""
    username: str | None = None
    """Name to authenticate with."""
    password: SecretStr | None = None
    """Password to authenticate with; better from `password_file` or the environment than from this file."""
    password_file: Path | None = None
    """File that holds the password, such as a mounted secret."""
    ca_file: Path | None = None
    """Certificates to trust, in PEM; the system's where it is not set."""
    certificate_file: Path | None = None
    """Our own certificate, in PEM."""
    key_file: Path | None = None
    """The private key of our certificate, in PEM."""
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
            raise ValueError(f"protocol {self.protocol} and mechanism {self.mechanism} do not go together")
        if self.mechanism not in (None, "OAUTHBEARER") and not (self.username and self.password):
            raise ValueError(f"mechanism {self.mechanism} needs username and password (or password_file)")
        return self


class KafkaSettings(Section):
    """The broker, and who we are in its group."""

    bootstrap_servers: str = Field(default="127.0.0.1:9092", pattern=r"^[^\s,]+:\d+(,[^\s,]+:\d+)*$")
    """Where to find the brokers: host:port, several with commas."""
    group: str = Field(default="streamcast", min_length=1)
    """Consumer group; all processes of one service share it."""
    instance: str = Field(default="0", min_length=1)
    """Name of this process in the group: unique there and the same after a restart, such as a pod's name."""
    client: Literal["kafka-python", "librdkafka"] = "kafka-python"
    """Client library; librdkafka is more than twice as fast and needs the extra `librdkafka`."""
    guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once"
    """at_least_once is for brokers without transactions: consumers drop duplicates by the forecast's source."""
    assignor: Literal["range", "cooperative-sticky"] = "range"
    """How the group shares partitions: range gives all up at every rebalance, cooperative-sticky only those that move.

    All processes must agree: stop them all to change it."""
    security: Security = Security()
    options: dict[str, str | int | float | bool] = {}
    """Further options of the client library, passed on as they are, in its own names."""

    @model_validator(mode="after")
    def _check(self) -> KafkaSettings:
        if self.security.mechanism == "OAUTHBEARER" and self.client != "librdkafka":
            raise ValueError("security.mechanism OAUTHBEARER needs client: librdkafka")
        return self

    def client_options(self) -> dict[str, object]:
        """Return security and options in the client library's own names, secrets in clear: never log them."""
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
    """Where observations come from and where answers begin."""

    topic: TopicName = "observations"
    """Topic of the observations."""
    start: Literal["earliest", "latest"] | AwareDatetime = "earliest"
    """Where answers begin at the very first start: earliest, latest, or a time with a zone (2026-01-31T00:00:00Z)."""
    warm_from: int = Field(default=0, ge=0)
    """Records before the start, per partition, that build state without being answered."""


class Lane(Section):
    """A model being run."""

    model: Reference = Field(examples=["load@latest"])
    """Name and version or alias of a model in the folder, such as load@3 or load@latest."""
    shadow: bool = False
    """Run and measure the lane, but do not publish its forecasts."""


class ModelSettings(Section):
    """Which models answer."""

    folder: Path = Path("trained")
    """Folder of trained models, as `streamcast train` writes it."""
    lanes: dict[LaneName, Lane] = Field(min_length=1, max_length=16, examples=["champion"])
    """The models to run, by lane; every lane answers every record. The usual names are champion and challenger."""
    champion: str | None = None
    """The lane whose outcome is a record's outcome; by default the lane named champion, else the only lane."""

    @model_validator(mode="after")
    def _check(self) -> ModelSettings:
        champion_of(self.lanes, self.champion or "")
        return self

    @property
    def champion_lane(self) -> str:
        """The name of the champion's lane."""
        return champion_of(self.lanes, self.champion or "")


class OutputSettings(Section):
    """Where answers go; each topic has as many partitions as the input."""

    forecasts: TopicName = "forecasts"
    """Topic of the forecasts."""
    dead_letters: TopicName = "dead-letters"
    """Topic of the records that got no forecast, with the reason in their headers."""
    journal: TopicName = "journal"
    """Topic of the decisions that do not come from the records: first start, model swap, reset, skipped record."""


class BatchSettings(Section):
    """How many records are taken at once; batches grow by themselves under load."""

    max_records: int = Field(default=10_000, ge=1, le=100_000)
    """Most records of one poll, and so of one transaction."""
    max_wait: Duration = 200
    """Longest that a poll waits when nothing has arrived; a record that has arrived never waits."""


class StateSettings(Section):
    """What is remembered, and where it is kept safe."""

    store: str = Field(default="state", min_length=1)
    """Where snapshots go: a folder or any fsspec URL, such as s3://bucket/prefix."""
    interval: Duration = 300_000
    """Time between two snapshots of a partition."""
    retention: int = Field(default=3, ge=1, le=1_000)
    """Snapshots kept of each partition."""
    max_series: int = Field(default=100_000, ge=1)
    """Most series of a partition; beyond it the least recently seen is forgotten."""
    max_bytes: int = Field(default=16 << 30, ge=1 << 20)
    """Most memory that the state of a partition may come to; `streamcast check` refuses models that could need more."""
    allow_cold_start: bool = False
    """Begin with empty state when the records to rebuild it from are gone; otherwise the service refuses to start."""


class TelemetrySettings(Section):
    """Metrics and health, on a port of their own: /metrics, /livez, /readyz."""

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for every interface."""
    port: Port = 9464
    """Port to listen at; 0 takes a free one."""
    token: SecretStr | None = None
    """Token for requests that change state (`streamcast state reset`). If unset, such requests are rejected."""
    token_file: Path | None = None
    """File that holds the token."""

    @model_validator(mode="before")
    @classmethod
    def _secrets(cls, data: object) -> object:
        return _read_secret(data, "token")


class DashboardSettings(Section):
    """The live page."""

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for every interface."""
    port: Port = 8080
    """Port to listen at; 0 takes a free one."""
    telemetry_url: str | None = Field(default="http://127.0.0.1:9464/metrics", pattern=r"^https?://")
    """Where the page reads the service's latency and throughput."""


class Settings(BaseSettings):
    """All settings; ``load_settings`` makes one from a file and the environment."""

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

    @model_validator(mode="after")
    def _check(self) -> Settings:
        topics = [self.input.topic, self.output.forecasts, self.output.dead_letters, self.output.journal]
        if len(set(topics)) < len(topics):
            raise ValueError(f"input.topic and the topics of output must differ: {', '.join(topics)}")
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
        """Let the constructor take its arguments only: ``load_settings`` is what reads the environment."""
        return (init_settings,)
