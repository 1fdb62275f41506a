"""What a trained model says about its training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.streams import GRU, SPECS, model_spec, network
from streamcast import Forecaster
from streamcast.app.trained import describe, measured, quality, training_line
from streamcast.spec.folders import Model, new_network, save_model
from streamcast.spec.model_spec import Column, SeriesSpec
from streamcast.spec.zero import zero_spec

FACTS = {
    "validation_loss": 0.5, "highway_loss": 0.6, "best_epoch": 0, "epochs": 1, "whole_epochs": 0, "seconds": 3.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("stopped", "why", "remedy"),
    [
        ("max_seconds", "the time was up", "give it more time (--train-seconds)."),
        ("interrupted", "ended by Ctrl-C", "let it train for longer."),
    ],
)
def test_an_unfinished_training_names_the_option_that_was_typed(stopped: str, why: str, remedy: str) -> None:
    said = describe(Model(SPECS["gru"], network("gru"), facts={**FACTS, "stopped": stopped}), "--train-seconds")
    assert f"WARNING: training ended before its first epoch was finished ({why})." in said
    assert remedy in said
    assert f"went from 0.6000 before training to 0.5000 (3 s; {why})" in said


def test_a_training_without_a_better_epoch_says_so() -> None:
    facts = {**FACTS, "whole_epochs": 1, "stopped": "patience"}
    said = training_line(Model(SPECS["gru"], network("gru"), facts=facts))
    assert said.endswith(
        "to 0.5000 (3 s; no epoch was better any more); no epoch was better, so the weights are those before it"
    )


@pytest.mark.parametrize(
    ("losses", "networks", "went"),
    [
        ([0.51, 0.52, 0.53], "3 networks, ", "to 0.5000 together, 0.5100, 0.5200, 0.5300 alone (3 s"),
        ([0.51, 0.52], "2 of 3 networks, ", "to 0.5000 together, 0.5100, 0.5200 alone (3 s"),
        ([0.5], "1 of 3 networks, ", "to 0.5000 (3 s"),
    ],
)
def test_several_networks_are_said_to_be_several(losses: list[float], networks: str, went: str) -> None:
    facts = {**FACTS, "members_asked": 3, "member_losses": losses, "stopped": "interrupted"}
    line = training_line(Model(SPECS["gru"], network("gru"), facts=facts))
    assert line.startswith(networks)
    assert went in line


def test_the_quality_names_its_stretch_and_its_steps() -> None:
    by_step = {"1": {"outcomes": 8, "compared": 8, "mae": 1.0, "compared_mae": 1.0, "naive_mae": 2.0, "coverage": 0.8}}
    found = {
        "from": 1_497_993_900_000, "until": 1_499_065_200_000, "forecasts": 8, "nominal": 0.8, "by_series": 0.5,
        "steps": by_step,
    }  # fmt: skip
    first, *_, last = quality(Model(SPECS["gru"], network("gru"), facts={"quality": found, "series": 2}))
    assert first.startswith("On the last 8 forecasts from 2017-06-20 21:25:00 to 2017-07-03 07:00:00 UTC, which were")
    assert f"over all {SPECS['gru'].horizon} steps of the horizon: 0.500" in last


def test_a_quality_of_some_series_says_so() -> None:
    step = {"outcomes": 8, "compared": 8, "mae": 1.0, "compared_mae": 1.0, "naive_mae": 2.0, "coverage": 0.8}
    found = {"forecasts": 75_000, "series": 694, "of_series": 3_000, "nominal": 0.8, "steps": {"1": step}}
    first = quality(Model(SPECS["gru"], network("gru"), facts={"quality": found, "series": 3_200}))[0]
    assert first.startswith("On 75,000 forecasts of 694 series (drawn at random of 3,000), which were not trained on:")


@pytest.mark.parametrize(
    ("naive", "named", "short"),
    [(1, "the last value", "the last value"), (24, "the value 24 minutes earlier", "seasonal naive")],
)
def test_what_a_model_is_worse_than_is_named(naive: int, named: str, short: str) -> None:
    spec = model_spec({}, GRU, season=(24,), naive=naive)
    worse = {"outcomes": 8, "compared": 8, "mae": 3.0, "compared_mae": 3.0, "naive_mae": 2.0, "coverage": 0.8}
    found = {"forecasts": 8, "nominal": 0.8, "by_series": 1.5, "steps": {"1": worse}}
    first, verdict, *_, by_series = quality(Model(spec, network("gru"), facts={"quality": found, "series": 2}))
    assert verdict == f"This is WORSE than repeating {named}."
    assert f"1.500 of {short}'s" in first
    assert f"1.500 of {short}'s error" in by_series


HOURS = SeriesSpec(columns=(Column(name="y"),), freq="1h")


@pytest.mark.parametrize(
    ("mae", "without", "said"),
    [
        (2.0004, 1.2, "no better than repeating"),
        (
            1.0,
            0.4,
            "without a network (zero) came to 0.400 of seasonal naive's error, this one to 0.500: zero is better",
        ),
        (1.0, 0.4996, ""),
        (1.0, None, ""),
    ],
)
def test_a_model_that_is_no_better_than_simple_ones_says_so(mae: float, without: float | None, said: str) -> None:
    step = {"outcomes": 8, "compared": 8, "mae": mae, "compared_mae": mae, "naive_mae": 2.0, "coverage": 0.8}
    found = {"forecasts": 8, "nominal": 0.8, "by_series": 1.0, "steps": {"1": step}, "without_network": without}
    text = " ".join(quality(Model(SPECS["gru"], network("gru"), facts={"quality": found, "series": 2})))
    assert said in text
    assert ("without a network" in text) == said.startswith("without")
    assert "WORSE" not in text


def test_the_figure_by_series_names_the_steps_that_it_is_of() -> None:
    hours = pd.date_range("2026-01-01", periods=400, freq="h")
    y = np.sin(np.arange(400) / 24 * 2 * np.pi) + np.random.default_rng(0).normal(size=400)
    frame = pd.concat([pd.DataFrame({"unique_id": key, "ds": hours, "y": y}) for key in "ab"])
    held_out = 60  # of 400 bars
    for horizon, said in (
        (1, "over the one step: "),
        (30, "over all 30 steps of the horizon"),
        (200, "over the 60 steps of 200 that have outcomes"),
    ):
        model = Forecaster("zero", horizon, season=24).fit(frame).model
        assert model.facts["quality"]["by_series_steps"] == min(horizon, held_out)
        assert f"By series, {said}" in " ".join(quality(model))


HISTORY = {"rows": 100, "first": 0, "last": 99 * 3_600_000, "quality": None}


@pytest.mark.parametrize(
    ("facts", "season", "said"),
    [
        ({}, 24, "Nothing was measured: this model was made without a history; run a backtest on a file."),
        (
            {**HISTORY, "compressed": "int8 of load@1"}, 24,
            "Nothing was measured since this model was made smaller: run a backtest on a file.",
        ),
        (
            {**HISTORY, "unscored": "interrupted"}, 24,
            "Nothing was measured: Ctrl-C ended the scoring; run a backtest on a file.",
        ),
        (
            {**HISTORY, "unscored": "max_seconds"}, 24,
            "Nothing was measured: the time was up before anything was learned; run a backtest on a file.",
        ),
        ({"rows": 100, "first": 0, "last": 99 * 3_600_000}, 24, "An earlier version of streamcast trained this model"),
        (HISTORY, 168, "the season of 1 week (168 bars) is longer than the history (100 bars); run a backtest"),
        (HISTORY, 100, "The history is too short to say how good the model is: run a backtest on later data."),
    ],
)  # fmt: skip
def test_a_model_that_was_not_measured_says_why(facts: dict[str, object], season: int, said: str) -> None:
    spec = zero_spec(HOURS, 3, (season,))
    model = Model(spec, new_network(spec), facts=facts)
    (found,) = quality(model)
    assert said in found
    told = measured(model)
    assert found == f"{told[:1].upper()}{told[1:]}."


def test_a_forecaster_that_was_not_measured_says_why(tmp_path: Path) -> None:
    spec = zero_spec(HOURS, 3, (168,))
    save_model(tmp_path, "load", spec, new_network(spec), {**HISTORY, "stopped": "nothing to train"})
    said = "nothing was measured: the season of 1 week (168 bars) is longer than the history (100 bars)"
    assert said in repr(Forecaster.load(tmp_path / "load" / "1"))
