"""Several lanes: the champion is named, and each lane reports the forecasts that are not finite."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from harness.simulation.plan import load, model
from harness.simulation.stand import TOPICS, Stand
from streamcast.app.settings import load_settings
from streamcast.consumers.transport import Partition
from streamcast.errors import ServiceError, SettingsError
from streamcast.service.assignment import Start
from streamcast.service.service import Service
from streamcast.service.telemetry.telemetry import Telemetry
from streamcast.service.verification import Expectations, Report, verify
from streamcast.spec.folders import Model, new_network
from streamcast.topics.names import champion_of

TEN = tuple(float(value) for value in (5, 7, 6, 8, 9, 7, 6, 5, 8, 9))
GOOD, OTHER = model("sample", 0), model("sample", 1)


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


def test_each_lane_that_is_not_finite_writes_a_dead_letter_that_names_it(stand: Stand) -> None:
    stand.serve({"champion": GOOD, "challenger": BROKEN})
    assert letters(stand) == [(b"not finite", b"challenger", str(offset).encode()) for offset in range(10)]
    assert stand.values(TOPICS.dead_letters) == stand.values(TOPICS.observations)
    assert len(stand.values(TOPICS.forecasts)) == 10
    assert count(stand, "streamcast_forecasts_not_finite_total") == {"champion": 0, "challenger": 10}
    assert count(stand, "streamcast_dead_letters_total") == {}
    assert count(stand, "streamcast_records_answered_total") == {"": 10}
    assert verified(stand) == Report(records=10, forecasts=10, dead_letters=10)


def test_a_champion_that_is_not_finite_leaves_its_records_unanswered(stand: Stand) -> None:
    stand.serve({"challenger": GOOD, "champion": BROKEN})
    assert {lane for _, lane, _ in letters(stand)} == {b"champion"}
    assert count(stand, "streamcast_dead_letters_total") == {"not finite": 10}
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
