"""What a person who writes settings can rely on."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from typer.testing import CliRunner

from harness import ROOT
from harness.streams import model_spec
from streamcast.app import settings
from streamcast.app.cli import app
from streamcast.app.commands.deployment.dashboard import scraper
from streamcast.app.commands.deployment.listening import metrics_url
from streamcast.app.commands.init import USUAL_BROKER
from streamcast.app.settings import load_settings
from streamcast.app.settings.fields import PATTERNS, Settings
from streamcast.errors import SettingsError
from streamcast.spec.folders import new_network, save_model

MINIMAL = "models:\n  lanes:\n    champion: {model: load@latest}\n"


def _write(folder: Path, text: str) -> Path:
    path = folder / "streamcast.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _complaint(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(_write(folder, text))
    return str(caught.value)


def test_the_template_holds_every_default(tmp_path: Path) -> None:
    from_template = load_settings(_write(tmp_path, settings.write_template()))
    assert from_template == load_settings(_write(tmp_path, MINIMAL))


def test_two_services_of_one_folder_share_nothing_and_have_all_comments(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {kafka: {ports: ['9465:9465']}}\n", encoding="utf-8")
    for arguments in ([], ["--name", "load"], ["--name", "iot-2", "--model", "load@3", "--input", "meters"]):
        path = tmp_path / (arguments[1] if arguments else "plain")
        told = CliRunner().invoke(app, ["init", f"{path}.yaml", *arguments])
        assert told.exit_code == 0, told.output
    files = [tmp_path / f"{name}.yaml" for name in ("plain", "load", "iot-2")]
    found = [load_settings(path) for path in files]
    for own in (
        lambda each: each.kafka.group,
        lambda each: each.output.forecasts,
        lambda each: each.output.dead_letters,
        lambda each: each.output.journal,
        lambda each: each.state.store,
    ):
        assert len(set(map(own, found))) == 3
    assert len({port for each in found for port in (each.telemetry.port, each.dashboard.port)}) == 6
    assert all(metrics_url(each) == f"http://127.0.0.1:{each.telemetry.port}/metrics" for each in found)
    assert [each.models.lanes["champion"].model for each in found] == ["load@latest", "load@latest", "load@3"]
    assert [each.input.topic for each in found] == ["observations", "observations", "meters"]
    comments = [[line for line in path.read_text().splitlines() if "#" in line] for path in files]
    assert comments[0] == comments[1] == comments[2]


def test_a_second_service_has_the_broker_of_the_file_beside_it(tmp_path: Path) -> None:
    assert load_settings(_write(tmp_path, MINIMAL)).kafka.bootstrap_servers == USUAL_BROKER
    kafka = "kafka: {bootstrap_servers: 'kafka-7:9093'}\n"
    (tmp_path / "streamcast.yaml").write_text(f"{MINIMAL}\n{kafka}", encoding="utf-8")
    told = CliRunner().invoke(app, ["init", str(tmp_path / "load.yaml"), "--name", "load"])
    assert "broker kafka-7:9093 as in the file beside it" in told.output
    assert load_settings(tmp_path / "load.yaml").kafka.bootstrap_servers == "kafka-7:9093"


@pytest.mark.parametrize(("arguments", "folder"), [((), "trained"), (("--models", "our/models"), "our/models")])
def test_a_new_file_names_the_folder_of_models(tmp_path: Path, arguments: tuple[str, ...], folder: str) -> None:
    told = CliRunner().invoke(app, ["init", str(tmp_path / "x.yaml"), "--model", "load@latest", *arguments])
    assert told.exit_code == 0, told.output
    assert load_settings(tmp_path / "x.yaml").models.folder == Path(folder)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("telemetry: {port: 9496}", "http://127.0.0.1:9496/metrics"),
        ("telemetry: {host: 0.0.0.0}", "http://127.0.0.1:9464/metrics"),
        ("telemetry: {host: '::'}", "http://[::1]:9464/metrics"),
        ("telemetry: {host: 10.1.2.3}", "http://10.1.2.3:9464/metrics"),
        ("dashboard: {telemetry_url: 'http://there:1/metrics'}", "http://there:1/metrics"),
    ],
)
def test_the_page_reads_the_metrics_of_its_own_settings(
    tmp_path: Path, given: str, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = load_settings(_write(tmp_path, f"{MINIMAL}\n{given}\n"))
    assert metrics_url(found) == expected
    scraper(found)
    assert caplog.messages == []


def test_a_page_that_cannot_know_the_port_of_the_metrics_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scraper(load_settings(_write(tmp_path, f"{MINIMAL}\ntelemetry: {{port: 0}}\n")))
    (said,) = caplog.messages
    assert said.startswith("telemetry.port is 0, any free port, so the page cannot find /metrics: set telemetry.port,")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--name", "My Load"], "--name is 'My Load': expected 1 to 64 small letters"),
        (["--name", "../load"], "--name is '../load': expected 1 to 64 small letters"),
        (["--name", "load", "--input", "a b"], "--input: input.topic is 'a b'; expected 1 to 249 letters, digits"),
        (["--name", "load", "--input", "load-journal"], "input.topic and the topics of output must differ"),
        (["--model", "load"], "--model: models.lanes.champion.model is 'load'; expected a name, @ and a version"),
    ],
)
def test_a_name_that_no_topic_or_folder_may_have_is_refused(tmp_path: Path, arguments: list[str], named: str) -> None:
    told = CliRunner().invoke(app, ["init", str(tmp_path / "x.yaml"), *arguments])
    assert isinstance(told.exception, SettingsError), told.output
    assert named in str(told.exception)
    assert list(tmp_path.iterdir()) == []


def test_init_says_which_versions_there_are_where_the_model_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*arguments: str) -> str:
        told = CliRunner().invoke(app, ["init", "--force", *arguments], env={"COLUMNS": "400"})
        assert told.exit_code == 0, told.output
        return told.output

    monkeypatch.chdir(tmp_path)
    assert "\nnote: model 'ids@2': no such model under trained; there are none yet" in said("--model", "ids@2")
    spec = model_spec({})
    save_model(Path("trained"), "ids", spec, new_network(spec), {})
    assert "\nnote: model ids@2: there is no such version or alias; there are versions 1 and" in said(
        "--model", "ids@2"
    )
    assert "there are: ids" in said("--name", "idz")
    for fine in (["--model", "ids@1"], ["--name", "ids"], []):
        assert "note" not in said(*fine)


def test_the_template_names_every_setting() -> None:
    names = settings.write_template().replace("# ", "")

    def missing(section: type[BaseModel]) -> list[str]:
        found = []
        for name, info in section.model_fields.items():
            found += [] if f"{name}:" in names else [name]
            found += (
                missing(info.annotation)
                if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
                else []
            )
        return found

    assert missing(Settings) == []


@pytest.mark.parametrize(
    ("page", "write"), [("settings.md", settings.write_reference), ("settings.schema.json", settings.write_schema)]
)
def test_the_published_page_is_current(page: str, write: object) -> None:
    assert callable(write)
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == write(), "run `make docs`"


def test_every_setting_says_what_it_means() -> None:
    lines = settings.write_reference().splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert len(rows) > 30
    assert [row for row in rows if row.endswith("|  |")] == []


def test_the_environment_overrides_the_file_and_the_command_line_overrides_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path, MINIMAL + "kafka: {group: file, instance: 7}\nbatch: {max_records: 1}\n")
    monkeypatch.setenv("STREAMCAST__KAFKA__GROUP", "environment")
    monkeypatch.setenv("STREAMCAST__BATCH__MAX_RECORDS", "2")
    loaded = load_settings(path, {"batch.max_records": "3"})
    assert (loaded.kafka.instance, loaded.kafka.group, loaded.batch.max_records) == ("7", "environment", 3)


def test_the_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMCAST__MODELS__LANES__CHALLENGER__MODEL", "load@4")
    assert load_settings(None).models.lanes["challenger"].model == "load@4"


def test_the_constructor_does_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMCAST__KAFKA__GROUP", "environment")
    made = Settings.model_validate({"models": {"lanes": {"champion": {"model": "load@1"}}}})
    assert made.kafka.group == "streamcast"


def test_durations_become_milliseconds_and_times_need_a_zone(tmp_path: Path) -> None:
    loaded = load_settings(_write(tmp_path, MINIMAL + "batch: {max_wait: 1s}\ninput: {start: 2026-01-31T00:00:00Z}\n"))
    assert loaded.batch.max_wait == 1_000
    assert loaded.input.start == datetime(2026, 1, 31, tzinfo=UTC)
    assert "streamcast.yaml:4: input.start is" in _complaint(
        tmp_path, MINIMAL + "input: {start: 2026-01-31T00:00:00}\n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kafka:\n  guarentee: exactly_once\n", ["streamcast.yaml:2: kafka.guarentee is not", "kafka.guarantee?"]),
        ("kafka: {topic: observations}\n", ["streamcast.yaml:1: kafka.topic is not a setting", "input.topic?"]),
        ("KAFKA: {group: a}\n", ["streamcast.yaml:1: KAFKA is not a setting, did you mean kafka?"]),
        ("kafka: {GROUP: a}\n", ["kafka.GROUP is not a setting, did you mean kafka.group?"]),
        ("kafka: {Bootstrap-Servers: a:1}\n", ["did you mean kafka.bootstrap_servers?"]),
        ("kafka: {security_protocol: SSL}\n", ["did you mean kafka.security.protocol?"]),
        ("security: {protocol: SSL}\n", ["did you mean kafka.security?"]),
        (
            "kafka: {security: {protocol: sasl_ssl}}\n",
            ["is 'sasl_ssl'; expected 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'"],
        ),
        ("state: {store: ''}\n", ["state.store is ''; expected text that is not empty"]),
        ("input: {start: 2026-01-31}\n", ["is 2026-01-31; expected 'earliest' or 'latest' or a time with a zone"]),
        ("input: {start: Latest}\n", ["is 'Latest'; expected 'earliest' or 'latest' or a time with a zone"]),
        ("kafKa: {group: a, optFons: {}}\n", ["streamcast.yaml:1: kafKa is not a setting, did you mean kafka?"]),
        ("kafak: {}\n", ["streamcast.yaml:1: kafak is not a setting", "kafka?"]),
        (
            "batch:\n\n  max_records: many\n",
            ["streamcast.yaml:3: batch.max_records is 'many'; expected a valid integer"],
        ),
        ("batch: {max_records: 0}\n", ["batch.max_records is 0; expected greater than or equal to 1"]),
        ("batch: {max_wait: ten}\n", ["batch.max_wait: 'ten' is not a duration", "15min"]),
        ("state: {interval: 5}\n", ["state.interval: 5 has no unit: write 5s for seconds"]),
        ("state: {interval: 0s}\n", ["state.interval is '0s'; expected greater than 0"]),
        ("kafka: {client: java}\n", ["kafka.client is 'java'; expected 'kafka-python' or 'librdkafka'"]),
        ("state: 7\n", ["state is a number; expected a section"]),
        ("kafka: [security]\n", ["kafka is a list; expected a section"]),
        ("models: {lanes: champion}\n", ["models.lanes is text; expected a valid dictionary (The models to run"]),
        ("batch: {max_records: {many: 1}}\n", ["batch.max_records is a section; expected a valid integer"]),
        ("kafka: {security: {password:x}}\n", ["kafka.security.password… is not a setting, did you mean"]),
        ("kafka: {bootstrap_servers: 'me:x@kafka:9092'}\n", ["kafka.bootstrap_servers is '…@kafka:9092'; expected"]),
        ("input: {topic: ..}\n", ["input.topic is '..'; expected 1 to 249 letters", "and neither . nor .."]),
        ("output: {journal: .}\n", ["output.journal is '.'; expected 1 to 249 letters"]),
        ("dashboard: {telemetry_url: 'http://a:99999'}\n", ["telemetry_url is 'http://a:99999': expected a host, and"]),
        ("input: {start: soon}\n", ["input.start is 'soon'; expected 'earliest' or 'latest' or a time with a zone"]),
        (
            "models: {lanes: {A b: {model: load@1}}}\n",
            ["'A b' is not a valid name; expected a small letter, then at most 63 small letters, digits, - and _"],
        ),
        ("models: {lanes: {champion: {model: load}}}\n", ["model is 'load'; expected a name, @ and a", "load@latest"]),
        (
            "output: {journal: my journal}\n",
            ["output.journal is 'my journal'; expected 1 to 249 letters, digits, dots"],
        ),
        ("kafka: {bootstrap_servers: kafka}\n", ["is 'kafka'; expected host:port, and a comma without spaces between"]),
        (
            "dashboard: {telemetry_url: there:1}\n",
            ["is 'there:1'; expected a URL that begins with http:// or https://"],
        ),
        ("models: {}\n", ["models.lanes is missing", "The models to run"]),
        ("telemetry: {port: 8080}\n", ["telemetry.port and dashboard.port must differ: both are 8080"]),
        (
            "telemetry: {host: 0.0.0.0}\ndashboard: {host: 127.0.0.2, port: 9464}\n",
            ["telemetry.port and dashboard.port must differ: both are 9464"],
        ),
        (
            "telemetry: {host: localhost}\ndashboard: {port: 9464}\n",
            ["telemetry.port and dashboard.port must differ: both are 9464"],
        ),
        (
            "dashboard: {telemetry_url: 'http://localhost:8080/metrics'}\n",
            ["telemetry_url is 'http://localhost:8080/metrics', and port 8080 is the page's own"],
        ),
        ("state: {store: ./trained/}\n", ["state.store and models.folder must differ: both are './trained/'"]),
        ("output: {forecasts: observations}\n", ["input.topic and the topics of output must differ"]),
        ("kafka: {security: {protocol: SASL_SSL}}\n", ["kafka.security: protocol SASL_SSL and mechanism None"]),
        (
            "kafka: {group: a}\nkafka: {group: b}\n",
            ["streamcast.yaml:2: kafka is set twice, first at", ":1; remove one"],
        ),
    ],
)
def test_a_fault_names_its_place_the_setting_the_value_and_the_remedy(
    tmp_path: Path, text: str, said: list[str]
) -> None:
    complaint = _complaint(tmp_path, text if "models" in text else text + MINIMAL)
    assert [part for part in said if part not in complaint] == []


@pytest.mark.parametrize(
    "text",
    [
        "telemetry: {port: 0}\ndashboard: {port: 0}\n",
        "telemetry: {host: 127.0.0.2}\ndashboard: {port: 9464}\n",
        "dashboard: {port: 9464, telemetry_url: 'http://service:9464/metrics'}\n",
        "dashboard: {telemetry_url: 'http://service:8080/metrics'}\n",
        "models: {folder: models, lanes: {champion: {model: load@1}}}\nstate: {store: trained}\n",
    ],
)
def test_what_does_not_collide_is_accepted(tmp_path: Path, text: str) -> None:
    load_settings(_write(tmp_path, text if "models" in text else text + MINIMAL))


def test_every_pattern_of_a_setting_has_words() -> None:
    def patterns(schema: object) -> set[str]:
        if isinstance(schema, list):
            return set().union(*map(patterns, schema))
        if not isinstance(schema, dict):
            return set()
        here = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
        return here.union(schema.get("patternProperties", ()), *map(patterns, schema.values()))

    schema = Settings.model_json_schema()
    a_duration_has_a_parser = schema["$defs"]["BatchSettings"]["properties"]["max_wait"]["pattern"]
    assert patterns(schema) - {a_duration_has_a_parser} == set(PATTERNS)


def test_a_file_that_is_no_settings_file_says_so(tmp_path: Path) -> None:
    assert "streamcast.yaml:2: not valid YAML" in _complaint(tmp_path, "kafka: [\n")
    assert "is not a list of sections such as `kafka:`" in _complaint(tmp_path, "- kafka\n")
    assert "0 is not a setting" in _complaint(tmp_path, "0: 1\n")


NESTED_ALIASES = "kafka:\n  a: &a [x, x]\n" + "".join(
    f"  {name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in pairwise("abcdefghijkl")
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (NESTED_ALIASES, "streamcast.yaml:3: an alias, as text that begins with * is"),
        ("kafka: &k\n  group: *k\n", "* is without quotes, is not accepted; expected plain values"),
        ("kafka:\n  group: !k x\n", "streamcast.yaml:2: a tag, as text that begins with ! is without quotes, is not"),
        ("kafka:\n  <<: {group: a}\n", "streamcast.yaml:2: the merge key << is not accepted"),
        ("kafka: " + "[" * 5_000 + "]" * 5_000, "streamcast.yaml:1: more than 20 levels of nesting is not accepted"),
    ],
)
def test_a_small_file_that_would_never_end_is_refused_in_words(tmp_path: Path, text: str, found: str) -> None:
    assert found in _complaint(tmp_path, text)


def test_all_faults_are_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMCAST__TELEMETRY__PORT", "high")
    monkeypatch.setenv("STREAMCAST__TELEMTRY__HOST", "x")
    with pytest.raises(SettingsError) as caught:
        load_settings(_write(tmp_path, MINIMAL + "batch: {max_records: many}\n"), {"output.forecast": "f"})
    complaint = str(caught.value)
    assert len(complaint.splitlines()) == 4
    assert "environment variable STREAMCAST__TELEMETRY__PORT: telemetry.port is 'high'" in complaint
    assert (
        "environment variable STREAMCAST__TELEMTRY__HOST: telemtry is not a setting, did you mean telemetry?"
        in complaint
    )
    assert "override output.forecast: output.forecast is not a setting, did you mean output.forecasts?" in complaint


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "STREAMCAST__KAFKA_GROUP",
            "x",
            "STREAMCAST__KAFKA_GROUP: kafka_group is not a setting, did you mean kafka.group?",
        ),
        ("STREAMCAST_KAFKA__GROUP", "x", "STREAMCAST_KAFKA__GROUP is not read, did you mean STREAMCAST__KAFKA__GROUP?"),
        ("STREAMCAST_STATE_STORE", "x", "STREAMCAST_STATE_STORE is not read, did you mean STREAMCAST__STATE__STORE?"),
        ("STREAMCAST__KAFKA", "x", "variable STREAMCAST__KAFKA is not JSON; expected an object"),
        ("STREAMCAST__KAFKA__OPTIONS", '{"a": 1', "variable STREAMCAST__KAFKA__OPTIONS is not JSON"),
    ],
)
def test_a_mistyped_variable_is_named_and_never_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv("STREAMCAST__STATE__INTERVAL", "5min")
    monkeypatch.setenv(name, value)
    assert said in _complaint(tmp_path, MINIMAL)


def test_variables_that_are_not_meant_for_streamcast_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes sets such variables for services that are called streamcast and streamcast-telemetry."""
    monkeypatch.setenv("STREAMCAST_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("STREAMCAST_PORT_9464_TCP", "tcp://10.0.0.1:9464")
    monkeypatch.setenv("STREAMCAST_TELEMETRY_PORT", "tcp://10.0.0.1:9464")
    assert load_settings(_write(tmp_path, MINIMAL)).telemetry.port == 9464


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read .*`streamcast init` writes one"):
        load_settings(tmp_path / "none.yaml")


def test_a_missing_file_names_the_other_settings_of_its_folder(tmp_path: Path) -> None:
    for name in ("meteo.yaml", "wind.yml"):
        (tmp_path / name).write_text("models: {lanes: {champion: {model: load@latest}}}\n")
    (tmp_path / "docker-compose.yaml").write_text("services: {models: {image: x}}\n")
    (tmp_path / "broken.yaml").write_text("models: [\n")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("no.yaml", "nowhere.yaml"):
        (tmp_path / name).symlink_to(tmp_path / "gone")
    with pytest.raises(SettingsError) as error:
        load_settings(tmp_path / "streamcast.yaml")
    assert f"did you mean -c {tmp_path / 'meteo.yaml'} or -c {tmp_path / 'wind.yml'}?" in str(error.value)
    assert "docker-compose" not in str(error.value)
    assert "broken" not in str(error.value)


SECRET = "hunter2"


@pytest.mark.parametrize("client", ["kafka-python", "librdkafka"])
def test_a_secret_from_a_file_reaches_the_client_and_nothing_else(tmp_path: Path, client: str) -> None:
    (tmp_path / "password").write_text(f"{SECRET}\n", encoding="utf-8")
    security = f"{{protocol: SASL_SSL, mechanism: PLAIN, username: me, password_file: {tmp_path / 'password'}}}"
    loaded = load_settings(_write(tmp_path, MINIMAL + f"kafka: {{client: {client}, security: {security}}}\n"))
    password = "sasl_plain_password" if client == "kafka-python" else "sasl.password"
    assert loaded.kafka.client_options()[password] == SECRET
    assert SECRET not in repr(loaded) + str(loaded) + loaded.model_dump_json()


@pytest.mark.parametrize(
    "security",
    [
        f"{{passwrd: {SECRET}}}",
        f"{{password:{SECRET}}}",
        f"{{password={SECRET}}}",
        f"{{protocol: SSL, mechanism: PLAIN, username: me, password: {SECRET}}}",
        f"{{password: {SECRET}, password_file: somewhere}}",
        f"{{password: *{SECRET}}}",
        f"{{password: &a *{SECRET}}}",
        f"{{password: !{SECRET}}}",
        f"{{password: !{SECRET}!}}",
        f"{{password: !!int {SECRET}}}",
        f"{{password: &{SECRET} a, key_password: &{SECRET} b}}",
        f"{{password: %{SECRET}}}",
        f"{{password: '{SECRET}}}",
        f"{{password: |{SECRET}}}",
        f"{{password: {SECRET}: {SECRET}}}",
    ],
)
def test_a_fault_never_shows_a_secret(tmp_path: Path, security: str) -> None:
    assert SECRET not in _complaint(tmp_path, MINIMAL + f"kafka: {{security: {security}}}\n")


def everywhere(kind: type[BaseModel] = Settings, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every section and setting with its type."""
    for name, info in kind.model_fields.items():
        yield (*above, name), info.annotation
        inner = get_args(info.annotation)[1] if get_origin(info.annotation) is dict else info.annotation
        more = (info.examples or ["entry"])[:1] if inner is not info.annotation else []
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from everywhere(inner, (*above, name, *more))


LOGINS = [
    f"ttp://me:{SECRET}@a:1/x",
    f"http://{SECRET}@a:b",
    f"http://me:{SECRET}/x@a:8080/?y",
    f"http://a:x?y={SECRET}",
]
WRONG: list[Any] = [[SECRET], [{"security": {"password": SECRET}}], {"password": SECRET}, {"a": [SECRET]}, *LOGINS]
"""Values that hold a secret and are wrong in almost any place."""


@pytest.mark.parametrize("names", [names for names, _ in everywhere()], ids=".".join)
def test_no_place_shows_a_secret_that_is_written_there(
    tmp_path: Path, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = dict(everywhere())[names]
    may_hold_one = "SecretStr" in str(kind) or get_origin(kind) is dict or hasattr(kind, "model_fields")
    for value in [*WRONG, *([SECRET, f"x {SECRET}"] if may_hold_one else [])]:
        document = value
        for name in reversed(names):
            document = {name: document}
        variable = f"STREAMCAST__{'__'.join(names).upper()}"
        assert SECRET not in told_of(_write(tmp_path, yaml.safe_dump(document)))
        if may_hold_one or isinstance(value, str):
            with monkeypatch.context() as environment:
                environment.setenv(variable, value if isinstance(value, str) else json.dumps(value))
                assert SECRET not in told_of(_write(tmp_path, MINIMAL))


def told_of(path: Path) -> str:
    """The error for a settings file; empty where there is none."""
    try:
        load_settings(path)
    except SettingsError as error:
        return str(error)
    return ""


def test_security_and_options_are_in_the_clients_own_names(tmp_path: Path) -> None:
    text = MINIMAL + "kafka: {security: {protocol: SSL, ca_file: ca.pem}, options: {linger_ms: 5}}\n"
    options = load_settings(_write(tmp_path, text)).kafka.client_options()
    assert options == {"security_protocol": "SSL", "ssl_cafile": "ca.pem", "linger_ms": 5}


def test_the_schema_knows_every_section() -> None:
    schema = json.loads(settings.write_schema())
    assert set(schema["properties"]) == set(Settings.model_fields)
    assert schema["required"] == ["models"]


@given(st.text(max_size=200))
def test_any_text_is_settings_or_a_settings_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("settings") / "streamcast.yaml"
    path.write_bytes(text.encode("utf-8", "replace"))
    with pytest.raises(SettingsError):
        load_settings(path)
