"""A model without a network as a lane of a service: challenger, shadow and champion."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.simulation.plan import ZERO, model
from harness.simulation.stand import TOPICS, Stand

BARS = tuple(float(value) for value in (5, 7, 6, 8) * 5)
LANES = {"champion": model("sample", 0), "challenger": model("sample", ZERO)}


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def forecasts(stand: Stand, lane: str) -> list[bytes]:
    """The published forecasts of a lane, in order."""
    found = [value or b"" for value in stand.values(TOPICS.forecasts)]
    return [value for value in found if json.loads(value)["lane"] == lane]


def test_it_answers_every_record_beside_the_champion_and_the_verifier_agrees(stand: Stand) -> None:
    stand.observe("a", *BARS)
    stand.observe("b", *BARS[:3])
    stand.serve(LANES)
    assert [len(forecasts(stand, lane)) for lane in LANES] == [23, 23]
    assert stand.verify().proven


def test_its_first_forecast_is_the_last_value_and_after_two_seasons_it_is_warm(stand: Stand) -> None:
    stand.observe("a", *BARS)
    stand.serve({"champion": LANES["challenger"]})
    found = [json.loads(value) for value in forecasts(stand, "champion")]
    assert found[0]["quantiles"]["0.5"] == [5.0, 5.0, 5.0]
    assert [answer["warm"] for answer in found] == [False] * 7 + [True] * 13
    assert stand.verify().proven


def test_a_lane_of_one_quantile_has_no_coverage_and_changes_none(stand: Stand) -> None:
    challenger = LANES["challenger"]
    one = replace(challenger, spec=challenger.spec.model_copy(update={"quantiles": (0.5,)}))
    stand.observe("a", *BARS)
    stand.serve({"champion": LANES["champion"], "challenger": one})
    found = stand.telemetry.summary()
    assert (found["challenger.outcomes"] or 0) > 0
    assert found["challenger.coverage"] is None
    assert found["champion.coverage"] is not None
    covered = [
        sample
        for metric in stand.telemetry.collect()
        if "coverage" in metric.name
        for sample in metric.samples
        if sample.labels.get("lane") == "challenger"
    ]
    assert not covered


def test_a_shadow_is_not_published_and_changes_no_byte_of_the_champion(stand: Stand, tmp_path: Path) -> None:
    stand.observe("a", *BARS)
    stand.serve(LANES, shadows=["challenger"])
    alone = Stand(tmp_path / "alone")
    alone.observe("a", *BARS)
    alone.serve({"champion": LANES["champion"]})
    assert forecasts(stand, "challenger") == []
    assert forecasts(stand, "champion") == forecasts(alone, "champion")


def test_its_state_survives_a_restart_byte_for_byte(stand: Stand, tmp_path: Path) -> None:
    stand.observe("a", *BARS[:11])
    stand.serve(LANES, interval_seconds=0.0)
    stand.observe("a", *BARS[11:])
    stand.serve(LANES)
    whole = Stand(tmp_path / "whole")
    whole.observe("a", *BARS)
    whole.serve(LANES)
    assert forecasts(stand, "challenger") == forecasts(whole, "challenger")
    assert stand.verify().proven
