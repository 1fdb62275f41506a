"""Several lanes: the champion is named, and each lane reports the forecasts that are not finite."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from harness.simulation.plan import load, model
from harness.simulation.stand import TOPICS, Stand
from harness.streams import GRU, MINUTE, START, model_spec
from streamcast.app.settings import load_settings
from streamcast.consumers.transport import Partition
from streamcast.errors import ServiceError, SettingsError
from streamcast.kernels.advance import STEPS
from streamcast.service.beginnings import Start
from streamcast.service.service import Service
from streamcast.service.telemetry.telemetry import Telemetry
from streamcast.service.verification.report import Expectations, Report
from streamcast.service.verification.verify import verify
from streamcast.spec.folders import Model, new_network
from streamcast.spec.model_spec import Column, Known, TargetBars, Transform
from streamcast.topics.dead_letters import REASONS
from streamcast.topics.names import champion_of
from streamcast.topics.observations import encode_observation

TEN = tuple(float(value) for value in (5, 7, 6, 8, 9, 7, 6, 5, 8, 9))
GOOD, OTHER = model("sample", 1), model("sample", 2)


def broken() -> Model:
    """A model whose every forecast is NaN."""
    network = new_network(GOOD.spec)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(float("nan"))
    return Model(GOOD.spec, network.eval(), "broken", "0", "0" * 64)


BROKEN = broken()


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    stand = Stand(tmp_path)
    stand.observe("a", *TEN)
    return stand


def verified(stand: Stand, shadows: tuple[str, ...] = ()) -> Report:
    known = {BROKEN.digest: BROKEN}
    return verify(stand.reader, TOPICS, lambda digest: known.get(digest) or load(digest), Expectations(True, shadows))


def letters(stand: Stand) -> list[tuple[bytes, bytes | None, bytes]]:
    """(reason, lane, source offset) of each dead letter."""
    found = [dict(headers) for batch in stand.batches(TOPICS.dead_letters) for headers in batch.headers or ()]
    return [(each["reason"], each.get("lane"), each["source_offset"]) for each in found]


def count(stand: Stand, name: str) -> dict[str, float]:
    """A counter's value by lane or reason."""
    text = stand.service._telemetry.exposition().decode()
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples if s.name == name]
    return {next(iter(sample.labels.values()), ""): sample.value for sample in samples}


@pytest.mark.parametrize(
    ("lanes", "chosen", "champion"),
    [
        (("b", "champion"), "", "champion"),
        (("b", "champion"), "b", "b"),
        (("only",), "", "only"),
    ],
)
def test_the_champion_is_the_chosen_lane_or_the_one_of_that_name_or_the_only_one(
    lanes: tuple[str, ...], chosen: str, champion: str
) -> None:
    assert champion_of(lanes, chosen) == champion


@pytest.mark.parametrize(("lanes", "chosen"), [(("a", "b"), ""), (("a", "b"), "c"), (("champion",), "c")])
def test_without_a_champion_the_error_names_the_lanes(lanes: tuple[str, ...], chosen: str) -> None:
    with pytest.raises(ValueError, match=", ".join(lanes)):
        champion_of(lanes, chosen)


def test_settings_name_the_champion_or_say_how() -> None:
    lanes = {"a": {"model": "load@1"}, "b": {"model": "load@2"}}
    assert load_settings(None, {"models.lanes": lanes, "models.champion": "b"}).models.champion_lane == "b"
    with pytest.raises(SettingsError, match=r"none of the lanes a, b is named 'champion': set models\.champion"):
        load_settings(None, {"models.lanes": lanes})


def test_a_service_whose_champion_nobody_named_does_not_start(stand: Stand) -> None:
    with pytest.raises(ServiceError, match=r"a, b .*models\.champion"):
        Service({"a": GOOD, "b": OTHER}, stand.reader, Telemetry({"a": ("a", "1")}, 0.8), TOPICS, Start())


def test_reordered_lanes_change_nothing_and_need_no_journal_entry(stand: Stand) -> None:
    stand.serve({"champion": GOOD, "challenger": BROKEN})
    before = stand.values(TOPICS.forecasts)
    stand.observe("a", *TEN)
    stand.serve({"challenger": BROKEN, "champion": GOOD})
    assert [(entry.kind, entry.champion) for entry in stand.journal().entries] == [("start", "champion")]
    assert len(stand.values(TOPICS.forecasts)) == 2 * len(before) == 20
    assert verified(stand).proven


def test_another_champion_is_a_decision_and_is_journalled(stand: Stand) -> None:
    stand.serve({"champion": GOOD, "challenger": OTHER})
    stand.observe("a", *TEN)
    stand.serve({"champion": GOOD, "challenger": OTHER}, champion="challenger")
    stand.observe("a", *TEN)
    stand.serve({"champion": GOOD, "challenger": OTHER}, champion="challenger")
    assert [(entry.kind, entry.offset, entry.champion) for entry in stand.journal().entries] == [
        ("start", 0, "champion"),
        ("models", 10, "challenger"),
    ]
    assert verified(stand).proven


def test_lanes_may_differ_in_how_long_a_gap_restarts_a_series(stand: Stand) -> None:
    """A model of today beside one of an older version, whose gaps were shorter: each answers as it would alone."""
    patient = Model(
        GOOD.spec.model_copy(update={"series": GOOD.spec.series.model_copy(update={"max_gap": 20})}), GOOD.network,
        "patient", "1", "1" * 64,
    )  # fmt: skip
    assert GOOD.spec.series.max_gap < 10 < patient.spec.series.max_gap
    gap = [(START + bar * MINUTE, b"a", encode_observation("a", START + bar * MINUTE, [value])) for bar, value in
           ((21, math.nan), (22, 7.0), (23, 6.0))]  # fmt: skip
    stand.append(gap)
    stand.serve({"champion": GOOD, "challenger": patient})
    counted = {lane.name: lane.engine.slab.rows.clock[0, STEPS] for lane in stand.service._lanes}
    assert counted == {"champion": 3, "challenger": 24}
    known = {patient.digest: patient}
    report = verify(stand.reader, TOPICS, lambda digest: known.get(digest) or load(digest), Expectations(True))
    assert report.proven
    assert (report.records, report.forecasts) == (13, 12 + 13)


def test_each_lane_that_is_not_finite_writes_a_dead_letter_that_names_it(stand: Stand) -> None:
    stand.serve({"champion": GOOD, "challenger": BROKEN})
    assert letters(stand) == [(b"not finite", b"challenger", str(offset).encode()) for offset in range(10)]
    assert stand.values(TOPICS.dead_letters) == stand.values(TOPICS.observations)
    assert len(stand.values(TOPICS.forecasts)) == 10
    assert count(stand, "streamcast_forecasts_not_finite_total") == {"champion": 0, "challenger": 10}
    assert set(count(stand, "streamcast_dead_letters_total").values()) == {0}
    assert count(stand, "streamcast_records_answered_total") == {"": 10}
    assert verified(stand) == Report(records=10, forecasts=10, dead_letters=10)


def test_a_champion_that_is_not_finite_leaves_its_records_unanswered(stand: Stand) -> None:
    stand.serve({"challenger": GOOD, "champion": BROKEN})
    assert {lane for _, lane, _ in letters(stand)} == {b"champion"}
    assert count(stand, "streamcast_dead_letters_total") == dict.fromkeys(REASONS, 0) | {"not finite": 10}
    assert count(stand, "streamcast_records_answered_total") == {"": 0}
    assert verified(stand) == Report(records=10, forecasts=10, dead_letters=10)


def test_a_shadow_that_is_not_finite_is_counted_and_writes_nothing(stand: Stand) -> None:
    stand.serve({"champion": GOOD, "shade": BROKEN}, shadows=["shade"])
    assert letters(stand) == []
    assert count(stand, "streamcast_forecasts_not_finite_total")["shade"] == 10
    assert verified(stand, ("shade",)).proven


def test_the_verifier_misses_the_dead_letter_of_a_challenger(stand: Stand) -> None:
    stand.serve({"champion": GOOD, "challenger": BROKEN})
    log = stand.broker.log(Partition(TOPICS.dead_letters, 0))
    log.forget(log.offsets[3], log.offsets[3] + 1)
    (violation,) = verified(stand).violations
    assert "offset 3 was to be rejected (not finite) in lane challenger and has no dead letter" in violation


def test_a_journal_from_before_champions_had_names_is_read_and_proven(stand: Stand) -> None:
    """Older versions: the champion is the first lane, its dead letters name no lane, the others write none."""
    stand.serve({"challenger": BROKEN, "champion": GOOD})
    journal = stand.broker.log(Partition(TOPICS.journal, 0))
    entry = msgspec.json.decode(journal.values[0] or b"")
    del entry["champion"]
    journal.values[0] = msgspec.json.encode(entry)
    old = stand.broker.log(Partition(TOPICS.dead_letters, 0))
    for row, headers in enumerate(old.headers):
        old.headers[row] = [header for header in headers if header[0] != "lane"]
    assert verified(stand) == Report(records=10, forecasts=10, dead_letters=10)
    stand.observe("a", *TEN)
    stand.serve({"challenger": BROKEN, "champion": GOOD})
    assert [(entry.kind, entry.champion) for entry in stand.journal().entries] == [
        ("start", ""),
        ("models", "champion"),
    ]
    assert verified(stand) == Report(records=20, forecasts=20, dead_letters=20)


# -- known inputs ----------------------------------------------------------------------------------------

BARS = 16


def knowing(number: int, *names: str, horizon: int = 3) -> Model:
    """A tiny model with random weights whose known inputs are these columns."""
    targets = TargetBars(back=(1,), known=tuple(Known(name=name) for name in names)) if names else None
    columns = (Column(name="y"), Column(name="temp"), Column(name="sky", categories=("sun", "rain")))
    spec = model_spec({"columns": columns, "max_gap": 4, "ttl": "30min"}, GRU, targets=targets, horizon=horizon)
    torch.manual_seed(number)
    network = new_network(spec)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3)
    return Model(spec, network.eval(), "knowing", str(number), str(number).ljust(64, "f"))


LANES = {
    "champion": knowing(1, "temp"), "wide": knowing(2, "sky", "temp", horizon=5), "plain": knowing(3, horizon=2),
}  # fmt: skip


def served(folder: Path, ahead: dict[str, list[float | str | None]], *, restart: bool = False) -> Stand:
    """A service with three lanes after records of one series, each with ``ahead``."""
    stand = Stand(folder)
    records = [
        (time := START + bar * MINUTE, b"a", encode_observation("a", time, [TEN[bar % 10], 1.0, "sun"], ahead))
        for bar in range(BARS)
    ]
    records[5] = (records[5][0], b"a", records[5][2].replace(b'"temp":[', b'"tempo":['))
    stand.append(records[: BARS // 2])
    stand.serve(LANES)
    if restart:
        stand.stop()
    stand.append(records[BARS // 2 :])
    stand.serve(LANES) if restart else stand.work()
    return stand


def forecasts(stand: Stand, lane: str) -> list[bytes]:
    return [value for value in stand.values(TOPICS.forecasts) if value and f'"lane":"{lane}"'.encode() in value]


def test_each_lane_reads_its_own_known_inputs_and_a_restart_changes_nothing(tmp_path: Path) -> None:
    ahead: dict[str, list[float | str | None]] = {"temp": [3.0, None, -2.0, 4.0], "sky": ["rain", "sun"]}
    other = ahead | {"sky": ["sun", "rain"]}
    stands = [
        served(tmp_path / "a", ahead), served(tmp_path / "b", ahead, restart=True), served(tmp_path / "c", other),
        served(tmp_path / "d", {"temp": [0.5]}),
    ]  # fmt: skip
    by_digest = {model.digest: model for model in LANES.values()}
    for stand in stands:
        report = verify(stand.reader, TOPICS, by_digest.get, Expectations(True, ()))
        assert report == Report(records=BARS, forecasts=3 * (BARS - 1), dead_letters=1)
    for lane, differs in (("champion", (False, False, True)), ("wide", (False, True, True)), ("plain", (False,) * 3)):
        first, *rest = (forecasts(stand, lane) for stand in stands)
        assert tuple(each != first for each in rest) == differs, lane


def test_a_service_whose_models_know_nothing_ahead_ignores_what_records_bring(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    stand.append([(START, b"a", encode_observation("a", START, [1.0, 1.0, "sun"], {"temp": [3.0], "other": [1.0]}))])
    stand.serve({"plain": LANES["plain"]})
    assert len(stand.values(TOPICS.forecasts)) == 1
    assert stand.values(TOPICS.dead_letters) == []


def test_categories_that_the_model_does_not_know_are_counted_by_column(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    skies: list[tuple[str | None, list[float | str | None]]] = [
        ("sun", ["rain", None]), ("snow", ["sun"]), ("sun", ["rain", "snow", "hail"]), ("snow", ["snow"]), (None, []),
    ]  # fmt: skip
    stand.append([
        (time := START + bar * MINUTE, b"a", encode_observation("a", time, [1.0, 1.0, sky], {"sky": ahead}))
        for bar, (sky, ahead) in enumerate(skies)
    ])  # fmt: skip
    stand.serve(LANES)
    assert b'streamcast_unknown_categories_total{column="sky"} 3.0' in stand.telemetry.exposition()
    assert stand.values(TOPICS.dead_letters) == []


def test_records_without_inputs_or_what_is_known_ahead_are_answered_and_counted_by_column(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    full = encode_observation("a", START, [1.0, 2.0, "sun"], {"temp": [3.0], "sky": ["rain"]})
    later = START + MINUTE
    stand.append(
        [(START, b"a", full), (later, b"a", encode_observation("a", later, [1.0, None, "sun"], {"temp": [None, 3.0]}))]
    )
    stand.serve(LANES)
    counted = dict(
        line.rsplit(" ", 1) for line in stand.telemetry.exposition().decode().splitlines() if "_missing_" in line
    )
    assert {name: value for name, value in counted.items() if name.startswith("streamcast_missing_")} == {
        'streamcast_missing_inputs_total{column="temp"}': "1.0",
        'streamcast_missing_ahead_total{column="temp"}': "1.0",
        'streamcast_missing_ahead_total{column="sky"}': "1.0",
    }
    assert len(stand.values(TOPICS.forecasts)) == 2 * len(LANES)
    assert stand.values(TOPICS.dead_letters) == []


def test_values_beyond_the_bounds_of_the_model_are_answered_and_counted(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    stand.observe("a", 1.0, -2.0, 0.0, -1e-9, 100.5, 100.0, *TEN)
    bounds = {"lower": 0.0, "upper": 100.0}
    bounded = Model(GOOD.spec.model_copy(update=bounds), GOOD.network, "bounded", "1", "1" * 64)
    stand.serve({"champion": bounded})
    assert b"streamcast_below_lower_total 2.0" in stand.telemetry.exposition()
    assert b"streamcast_above_upper_total 1.0" in stand.telemetry.exposition()
    assert len(stand.values(TOPICS.forecasts)) == 6 + len(TEN)


def test_values_below_zero_that_do_not_suit_the_scale_of_the_model_are_answered_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("streamcast.service.telemetry.operator_log.REPORT_SECONDS", 0.0)
    stand = Stand(tmp_path)
    stand.observe("a", 1.0, -2.0, 0.0, -1e-9, *TEN)
    spec = GOOD.spec.model_copy(update={"transform": Transform(kind="sqrt")})
    stand.serve({"champion": Model(spec, GOOD.network, "rooted", "1", "1" * 64)})
    assert "2 with a value below 0, unsuited to the model's scale" in caplog.text
    assert len(stand.values(TOPICS.forecasts)) == 4 + len(TEN)
