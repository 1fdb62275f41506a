"""``streamcast model new`` and the model ``zero``: from nothing, from another model, from a file, in a notebook."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from harness.histories import HOUR, START, history_of
from streamcast import Forecaster
from streamcast.app.cli import app
from streamcast.app.commands.new import answers, usual_seasons
from streamcast.app.options.flags import typed
from streamcast.engine.engine import Engine
from streamcast.models.spec import SpecError
from streamcast.offline.history.grid import without_rows
from streamcast.offline.history.polls import polls
from streamcast.offline.history.read import read
from streamcast.spec.calendar_bars import Grid
from streamcast.spec.folders import load_model, new_network, save_model
from streamcast.spec.model_spec import ModelSpec, SeriesSpec


def ran(*arguments: object, code: int = 0) -> str:
    """Run a command to its end and return what it printed."""
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output + str(result.exception or "")


def new(folder: Path, *arguments: object, code: int = 0) -> str:
    return ran("model", "new", *arguments, "--models", folder, code=code)


def frame() -> pd.DataFrame:
    history = history_of(500)
    names, times = [history.keys[n] for n in history.series_N], pd.to_datetime(history.ts_N, unit="ms", utc=True)
    return pd.DataFrame({"unique_id": names, "ds": times, "y": history.values_NC[:, 0]})


def test_a_model_without_a_season_is_shown_without_one(tmp_path: Path) -> None:
    ran("model", "new", "flat", "--freq", "1h", "--season", "1", "--models", tmp_path)
    shown = ran("model", "show", "flat", "--models", tmp_path).splitlines()
    assert [line.split() for line in shown if line.startswith(" season ")] == [["season", "none"]]


def test_facts_of_a_stranger_are_shown_without_control_characters_and_break_no_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No hash covers them, so whoever can write the folder writes them."""
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("hostile", "odd", "wrong", "zero"):
        new(tmp_path, name, "--freq", "1h")
    hostile = {"data": "\x1b]0;t\x07\x1b[2J[/red][bold]x\x9b", "[/red]\x1bname": "\x1b[31m"}
    step = {"outcomes": 5, "mae": 1.0}
    odd = {"timezone": "Mars/Olympus", "last": 0, "from_last": 0, "rows": 1, "quality": {"steps": {"1": step}}}
    for name, facts in (("hostile", hostile), ("odd", odd), ("wrong", {"last": "\x1b[2J"})):
        path = tmp_path / name / "1" / "model.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "facts": facts}))
    listed = ran("model", "ls", "--models", tmp_path)
    assert all(line.isprintable() for line in listed.split("\n"))
    assert r"\x1b]0;t\x07\x1b[2J[/red][bold]x\x9b" in listed
    assert "1970-01-01 00:00:00 UTC" in listed
    assert "wrong@1 is broken: " in listed
    assert r"facts.last is '\x1b[2J': input should be a valid integer" in listed
    assert "zero@1" in listed
    shown = ran("model", "show", "hostile", "--models", tmp_path)
    assert all(line.isprintable() for line in shown.split("\n"))
    assert r"training [/red]\x1bname" in shown
    assert "(5 outcomes" in ran("model", "show", "odd", "--models", tmp_path)
    for arguments in (("ls",), ("show", "hostile")):
        found = ran("model", *arguments, "--json", "--models", tmp_path)
        assert found.isascii()
        assert repr(hostile["data"]) in repr(json.loads(found))
    assert "facts.last is" in ran("model", "show", "wrong", "--models", tmp_path, code=1)


def test_a_model_is_made_at_once_and_says_what_it_will_answer(tmp_path: Path) -> None:
    said = new(tmp_path, "zero", "--freq", "1h", "--horizon", 12, "--season", "1d,168", "--lower", 0)
    spec = load_model(tmp_path, "zero@1").spec
    assert (spec.horizon, spec.season, spec.lower, spec.warm_up) == (12, (24, 168), 0.0, 48)
    for part in (
        "from 1 ",
        "the last value",
        "from 2 ",
        "from 24",
        "from 48",
        "from 168",
        f"models.folder: {tmp_path}",
        "streamcast check --create",
        "serve",
    ):
        assert part in said
    assert [(at, warm) for at, _, warm in answers(spec)] == [
        ("from 1", "false"), ("from 2", "false"), ("from 24", "false"), ("from 48", "true"), ("from 168", "true"),
    ]  # fmt: skip
    assert "24 bars (1 day), 168 bars (1 week)" in " ".join(ran("model", "show", "zero", "--models", tmp_path).split())
    shown = json.loads(ran("model", "show", "zero", "--json", "--models", tmp_path))
    assert (shown["parameters"], shown["network"]) == (0, {"kind": "none"})
    assert "made without a history; run a backtest on a file" in " ".join(
        ran("model", "show", "zero", "--models", tmp_path).split()
    )
    assert "zero@1" in ran("model", "ls", "--models", tmp_path)


@pytest.mark.parametrize("horizon", [1, 6, 24])
def test_the_phases_that_are_printed_are_those_of_the_engine(tmp_path: Path, horizon: int) -> None:
    """Record by record: when intervals appear, and when the value a day earlier counts at every step."""
    new(tmp_path, "zero", "--freq", "1h", "--horizon", horizon, "--season", "1d")
    spec = load_model(tmp_path, "zero").spec
    value_N = 50 + np.random.default_rng(0).normal(size=60).cumsum()
    history = read(pd.DataFrame({"ds": START + HOUR * np.arange(60), "y": value_N}), id_col=None, freq="1h")
    engine, wide, all_steps, warm = Engine(spec, new_network(spec)), [], [], []
    for number, poll in enumerate(polls(history, spec, rows=1), 1):
        found = engine.stage(poll).forecasts
        engine.promote()
        low_H, median_H, high_H = found.values[0].T
        wide += [number] * bool((high_H > low_H).all())
        moved_H = np.abs(median_H - value_N[number - 1]) > 1e-9
        all_steps += [number] * bool(moved_H[: spec.season[0] - 1].all())
        warm += [number] * bool(found.warm[0])
    assert [at for at, _, _ in answers(spec)] == [f"from {at}" for at in (1, wide[0], all_steps[0], warm[0])]


def test_bars_as_long_as_their_season_are_said_to_be_without_one(tmp_path: Path) -> None:
    said = " ".join(new(tmp_path, "zero", "--freq", "W").split())
    assert "24 bars ahead, without a season;" in said
    phases = answers(load_model(tmp_path, "zero").spec)
    assert [(at, warm) for at, _, warm in phases] == [("from 1", "false"), ("from 2", "false"), ("from 24", "true")]


def test_a_model_shows_its_bound_and_its_clock(tmp_path: Path) -> None:
    new(tmp_path, "load", "--freq", "1h", "--lower", 0, "--transform", "sqrt")
    shown = json.loads(ran("model", "show", "load", "--json", "--models", tmp_path))
    assert (shown["known ahead"], shown["lower"], shown["zone"]) == ([], 0.0, "UTC")
    assert shown["transform"] == {"kind": "sqrt", "unit": 1.0}


def test_a_backtest_says_which_part_of_the_file_it_scores(tmp_path: Path) -> None:
    new(tmp_path, "zero", "--freq", "1h", "--horizon", 4, "--season", 24)
    frame().to_csv(tmp_path / "waves.csv", index=False)
    said = ran("backtest", tmp_path / "waves.csv", "--model", "zero@1", "--models", tmp_path)
    assert "note: scored from " in said
    assert "the last fifth of these" in said


def test_what_a_backtest_did_not_score_is_empty(tmp_path: Path) -> None:
    new(tmp_path, "zero", "--freq", "1h", "--horizon", 4, "--season", 24)
    hours = pd.date_range("2026-01-01", periods=200, freq="h")
    pd.DataFrame({"unique_id": "flat", "ds": hours, "y": 5.0}).to_csv(tmp_path / "flat.csv", index=False)
    arguments = ("backtest", tmp_path / "flat.csv", "--model", "zero@1", "--models", tmp_path)
    assert "nan" not in ran(*arguments, "--test-from", "2026-01-09 06:00")


def test_columns_and_ticks_make_the_series_spec(tmp_path: Path) -> None:
    new(
        tmp_path, "zero", "--freq", "1min", "--columns", "price,size", "--ticks", "--grace", "5s",
        "--aggregates", "price=last,size=sum", "--quantiles", "0.05,0.5,0.95",
    )  # fmt: skip
    spec = load_model(tmp_path, "zero").spec
    assert [(column.name, column.aggregate) for column in spec.series.columns] == [("price", "last"), ("size", "sum")]
    assert (spec.series.mode, spec.series.grace, spec.quantiles) == ("ticks", 5_000, (0.05, 0.5, 0.95))
    assert spec.season == (1_440, 10_080)


def test_a_day_and_a_week_are_seasons_where_they_are_several_whole_bars() -> None:
    hour = 3_600_000
    assert [usual_seasons(Grid(n * hour)) for n in (1, 24, 5, 168)] == [(24, 168), (7,), (1,), (1,)]
    assert [usual_seasons(without_rows(step)) for step in ("MS", "QS", "Y", "B")] == [(12,), (4,), (1,), (5,)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--freq is missing"),
        (["--freq", "often"], "'often' is not a duration"),
        (["--freq", "7h", "--season", "1d"], "no whole number of bars of 7h"),
        (["--freq", "1h", "--season", "daily"], "'daily' is not a list of seasons"),
        (["--freq", "1h", "--aggregates", "x=sum"], "--aggregates names x; the columns are y"),
        (["--freq", "1h", "--quantiles", "0.1,0.9"], "must hold 0.5"),
        (["--like", "load"], "no such model"),
        (["--like", "load", "--horizon", "3"], "leave out --horizon"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in new(tmp_path, "zero", *arguments, code=2 if "leave out" in said or "daily" in said else 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--columns", ""], "--columns is empty: name at least the target"),
        (["--aggregates", "y=avg"], "--aggregates is 'avg': it should be 'mean', 'first'"),
        (["--season", "100001"], "--season is 100001: it should be less than or equal to 100000"),
    ],
)
def test_a_fault_is_one_sentence_in_our_words(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["model", "new", "zero", "--freq", "1h", *arguments, "--models", str(tmp_path)])
    assert isinstance(result.exception, SpecError)
    told = typed(*result.exception.args)
    assert told.startswith(said)
    assert "\n" not in told
    assert "Tuple" not in told


def test_a_challenger_is_made_from_another_model(tmp_path: Path) -> None:
    series = SeriesSpec.model_validate({"columns": [{"name": "load"}, {"name": "temp"}], "freq": "1h", "max_gap": 48})
    spec = ModelSpec(
        series=series, horizon=6, lags=8, season=(24,), lower=0.0, network={"kind": "gru", "hidden": 8, "layers": 1}
    )
    save_model(tmp_path, "load", spec, new_network(spec), {})
    said = new(tmp_path, "zero", "--like", "load@latest")
    made = load_model(tmp_path, "zero")
    assert (made.spec.series, made.spec.horizon, made.spec.lower) == (series, 6, 0.0)
    assert made.facts["like"] == "load@1"
    assert "challenger: {model: zero@latest, shadow: true}" in said


def test_a_file_gives_it_its_seasons_and_says_how_good_it_is(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "waves.csv", index=False)
    said = ran("train", tmp_path / "waves.csv", "--model", "zero", "--name", "zero", "--models", tmp_path / "m")
    assert "nothing was trained" in said
    made = load_model(tmp_path / "m", "zero")
    assert made.spec.network == {"kind": "none"}
    assert made.facts["stopped"] == "nothing to train"
    assert made.facts["quality"]["mae"] > 0
    for command in (["model", "compress", "zero"], ["train", tmp_path / "waves.csv", "--from", "zero"]):
        result = CliRunner().invoke(app, [*map(str, command), "--models", str(tmp_path / "m")])
        assert "has no network" in str(result.exception) + result.output


def test_a_notebook_forecasts_without_training() -> None:
    df = frame()
    forecaster = Forecaster(model="zero", horizon=6, season="1d").fit(df)
    assert forecaster.model.spec.season == (24,)
    found = forecaster.predict(df)
    assert found.groupby("unique_id").size().eq(6).all()
    assert (found["zero-lo-80"] <= found["zero"]).all()
    assert (found["zero"] <= found["zero-hi-80"]).all()
    with pytest.raises(SpecError, match="lags is an input of a network"):
        Forecaster(model="zero", horizon=6, lags=8).fit(df)
