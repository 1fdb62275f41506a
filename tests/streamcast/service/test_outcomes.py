"""What becomes of a record: the table of docs/messages.md, and how a consumer knows that no answer comes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import ROOT
from harness.simulation.plan import model
from harness.simulation.stand import TOPICS, Stand
from harness.streams import MINUTE, START
from streamcast.consumers.memory.transport import Fault
from streamcast.service.telemetry.meters import COUNTERS
from streamcast.topics.observations import encode_observation

LANES = ("champion", "challenger")
SECTION = "## What becomes of a record\n"


def record(bar: float, value: float | None = 1.0, key: str = "a") -> bytes:
    return encode_observation(key, round(START + bar * MINUTE), [value])


BEFORE = [record(bar, float(bar)) for bar in (0, 1, 3)]
LAST = {
    "the first of its bar": ("sample", record(4), "records_answered", 2),
    "a missing value of a series that has had one": ("sample", record(4, None), "records_answered", 2),
    "a series without a value": ("sample", record(0, None, "b"), "records_absorbed", 0),
    "a correction": ("sample", record(3, 9.0), "duplicates", 0),
    "an older bar": ("sample", record(1, 9.0), "late_records", 0),
    "an older bar that had no record": ("sample", record(2), "late_records", 0),
    "no record": ("sample", b"{", "dead_letters", 0),
    "a reading that closes bars": ("ticks", record(7), "records_answered", 1),
    "a reading that closes no bar": ("ticks", record(3.2), "records_absorbed", 0),
    "a reading for a closed bar": ("ticks", record(0.5), "late_records", 0),
}


def counts(stand: Stand) -> dict[str, float]:
    """The counters of the page's table."""
    families = text_string_to_metric_families(stand.telemetry.exposition().decode())
    found = {family.name: sum(sample.value for sample in family.samples) for family in families}
    names = {name for _, _, name, _ in LAST.values()}
    return {name: found.get(f"streamcast_{name}", 0.0) for name in names}


def offsets(stand: Stand, lane: str) -> list[int]:
    answers = [json.loads(value or b"") for value in stand.values(TOPICS.forecasts)]
    return [answer["source"]["offset"] for answer in answers if answer["lane"] == lane]


@pytest.mark.parametrize("case", LAST)
def test_a_record_has_the_outcome_that_the_page_says(tmp_path: Path, case: str) -> None:
    mode, last, counter, forecasts = LAST[case]
    stand = Stand(tmp_path)
    stand.append([(START, b"a", value) for value in BEFORE])
    models = {"champion": model(mode, 0)} | ({"challenger": model(mode, 1)} if mode == "sample" else {})
    stand.serve(models)
    before, answers, letters = counts(stand), stand.values(TOPICS.forecasts), stand.values(TOPICS.dead_letters)
    stand.append([(START, b"a", last)])
    stand.work()
    after = counts(stand)
    assert {name: after[name] - before[name] for name in after} == dict.fromkeys(after, 0.0) | {counter: 1.0}
    assert len(stand.values(TOPICS.forecasts)) - len(answers) == forecasts
    assert stand.values(TOPICS.dead_letters) == letters + ([last] if counter == "dead_letters" else [])
    assert stand.committed() == len(BEFORE) + 1, "the position says that the outcome is committed"


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("fault", [(), ("produce",), ("offsets", "offsets")])
def test_a_higher_offset_of_a_lane_proves_that_no_answer_comes(
    tmp_path: Path, guarantee: Literal["exactly_once", "at_least_once"], fault: Sequence[str]
) -> None:
    stand = Stand(tmp_path)
    records = [record(bar, 1.0, key) for bar in (0, 1, 0, 2, 3) for key in ("a", "b", "c")]
    records.insert(4, b"{")
    stand.serve({lane: model("sample", number) for number, lane in enumerate(LANES)}, guarantee=guarantee)
    stand.append([(START, None, value) for value in records])
    stand.faults = [(request, Fault.LOST) for request in fault]
    stand.work()
    stand.work()  # positions that were refused twice are not committed yet
    unanswered = {4, 7, 8, 9}
    for lane in LANES:
        seen = offsets(stand, lane)
        if guarantee == "exactly_once":
            assert seen == sorted(set(seen))
        for place, offset in enumerate(seen):
            assert {*range(offset)} - {*seen[:place]} <= unanswered, "no answer comes behind that of a later record"
        assert {*range(len(records))} - {*seen} == unanswered
    assert stand.committed() == len(records)


def test_every_counter_of_the_page_exists_and_every_outcome_has_one() -> None:
    section = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8").split(SECTION)[1].split("\n## ")[0]
    named = {name.removeprefix("streamcast_").removesuffix("_total") for name in re.findall(r"streamcast_\w+", section)}
    assert named - COUNTERS.keys() == set()
    assert {name for _, _, name, _ in LAST.values()} - named == set()
