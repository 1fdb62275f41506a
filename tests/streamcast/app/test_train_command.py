"""``streamcast train`` and ``model compress``: a command line's options, and a model's way from whole to small."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import Tensor
from typer.testing import CliRunner

from harness.histories import history_of
from streamcast.app.cli import app
from streamcast.app.cli.root import main
from streamcast.app.commands.deployment.serve import new_telemetry
from streamcast.app.commands.files.train import training_settings
from streamcast.app.gaps import missing_bars
from streamcast.app.options.flags import typed
from streamcast.app.options.groups import TrainingOptions
from streamcast.app.options.values import assignments, repeated, seasons
from streamcast.consumers.health import LoopHealth
from streamcast.engine.engine import Engine
from streamcast.errors import HistoryError, ModelError
from streamcast.models.spec import SpecError
from streamcast.offline.defaults.series import samples
from streamcast.offline.history.polls import polls
from streamcast.offline.history.read import History, read
from streamcast.offline.training.fit import fit, fit_again, held_out_loss
from streamcast.offline.training.objective import Objective
from streamcast.offline.training.options import Options
from streamcast.offline.training.run import Progress
from streamcast.offline.training.sequences import Ints
from streamcast.spec.folders import Model, load_model, new_network, save_model
from streamcast.spec.model_spec import ModelSpec, parse_duration
from streamcast.spec.zero import zero_spec


@pytest.fixture
def data(tmp_path: Path) -> Path:
    history = history_of(500)
    names, times = [history.keys[n] for n in history.series_N], pd.to_datetime(history.ts_N, unit="ms", utc=True)
    path = tmp_path / "waves.csv"
    pd.DataFrame({"unique_id": names, "ds": times, "y": history.values_NC[:, 0]}).to_csv(path, index=False)
    return path


def ran(*arguments: object) -> str:
    """Run a command to its good end and return what it printed."""
    result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def exit_code(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> object:
    """Run a command as a shell does, and return the exit code of its process."""
    monkeypatch.setattr("sys.argv", ["streamcast", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_options_are_texts_of_the_fields_of_options() -> None:
    texts = ["cell_penalty=1e-3", "accumulate=4", "precision=bfloat16", "learning_rate=1"]
    found = training_settings(TrainingOptions(epochs=3, seed=2, more=assignments(texts)))
    assert found == Options(epochs=3, seed=2, cell_penalty=1e-3, accumulate=4, precision="bfloat16", learning_rate=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("acumulate=4", "--option names 'acumulate': .* Did you mean 'accumulate'"),
        ("accumulate=four", "--option accumulate is 'four': expected a whole number"),
        ("precision=float16", "'float32' or 'bfloat16'"),
        ("clip=", "expected a number"),
        ("accumulate=0", "expected a whole number from 1"),
        ("rows=0", "rows is 0: expected a whole number from 1"),
        ("imitate=2", "expected a number from 0 to 1"),
    ],
)
def test_an_unknown_option_is_refused_with_what_was_expected(text: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        training_settings(TrainingOptions(more=assignments([text])))
    assert re.search(said, typed(*caught.value.args))


def test_a_model_whose_folder_takes_no_more_is_kept_elsewhere(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, elsewhere = tmp_path / "models", tmp_path / "elsewhere"
    models.mkdir()
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    (models / "wave").write_text("as on a full disk, nothing can be written here")
    few = ("--option", "rows=8", "--option", "positions=64", "--option", "updates=10", "--epochs", 1)
    wanted = ("train", data, "--name", "wave", "--horizon", 4, "--models", models, *few)
    with pytest.raises(ModelError, match="cannot be saved in") as lost:
        ran(*wanted)
    (kept,) = elsewhere.glob("streamcast-*")
    assert f"it is wave@1 in {kept} instead" in str(lost.value)
    (models / "wave").unlink()
    (models / "wave").mkdir()
    (kept / "wave" / "1").rename(models / "wave" / "1")
    assert load_model(models, "wave@1").facts["data"] == str(data)


def test_several_networks_are_trained_shown_and_trained_on(data: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    common = ("--models", models, "--option", "rows=8", "--option", "positions=64", "--option", "updates=10")
    said = ran("train", data, "--name", "wave", "--members", 2, "--horizon", 4, "--epochs", 2, *common)
    assert "2 networks, " in said
    assert load_model(models, "wave").spec.network == {"kind": "gru", "layers": 1, "members": 2}
    assert '"members": 2' in ran("model", "show", "wave", "--models", models, "--json")
    said = ran("train", data, "--from", "wave@1", "--epochs", 1, *common)
    assert "2 networks, " in said
    refused = CliRunner().invoke(app, ["train", str(data), "--from", "wave", "--members", "3", "--models", str(models)])
    assert refused.exit_code == 2
    assert "leave out --members" in " ".join(refused.output.replace("│", "").split())


def test_ctrl_c_while_the_service_is_rehearsed_does_not_cost_the_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: Model) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("streamcast.app.commands.files.train.rehearse", interrupted)
    said = ran(
        "train", data, "--name", "wave", "--models", tmp_path, "--horizon", 4, "--epochs", 1, "--option", "updates=2"
    )
    assert "Saved wave@1" in said
    assert load_model(tmp_path, "wave").facts["quality"] is not None


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("command", ["train", "tune"])
def test_ctrl_c_before_anything_was_learned_saves_nothing_and_says_so(
    command: str, epoch: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def interrupt(at: Progress) -> None:
        if at.epoch == epoch:
            raise KeyboardInterrupt

    def fit_for_a_moment(history: History, spec: ModelSpec, options: Options, *_: object, **more: Any) -> Model:
        return fit(history, spec, replace(options, learning_rate=0.0), interrupt, **more)

    monkeypatch.setattr(f"streamcast.app.commands.files.{command}.fit", fit_for_a_moment)
    wanted = ["--name", "wave", "--models", tmp_path / "models", "--horizon", 4, "--epochs", 3]
    assert exit_code(monkeypatch, command, data, *wanted) == 130
    assert "Nothing is saved: ended by Ctrl-C before anything was learned" in capsys.readouterr().out
    assert not (tmp_path / "models").exists()


def test_a_ctrl_c_that_gives_up_what_was_learned_is_not_said_to_have_come_before(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def given_up(*_: object, **__: object) -> Model:
        raise KeyboardInterrupt

    monkeypatch.setattr("streamcast.app.commands.files.train.fit", given_up)
    wanted = ["--name", "wave", "--models", tmp_path / "models", "--horizon", 4]
    assert exit_code(monkeypatch, "train", data, *wanted) == 130
    assert "Nothing is saved: ended by Ctrl-C\n" in capsys.readouterr().out


@pytest.mark.parametrize(("command", "limit"), [("train", "--max-seconds"), ("tune", "--trial-seconds")])
def test_a_time_limit_before_anything_was_learned_saves_nothing_and_names_its_option(
    command: str, limit: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    wanted = ["--models", tmp_path / "models", "--name", "wave", "--horizon", 4, "--epochs", 1]
    wanted += [] if command == "train" else ["--networks", "gru", "--trials", 1]
    assert exit_code(monkeypatch, command, data, *wanted, limit, 1e-6) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "Nothing is saved: the time was up before anything was learned" in said
    assert f"give the training more time ({limit})" in said
    assert re.search(r"a first epoch needs at least [1-9]\d* s of it, after a preparation of [1-9]\d* s", said)
    assert not (tmp_path / "models").exists()


def test_a_training_that_came_to_its_end_is_saved_also_where_no_epoch_was_better(data: Path, tmp_path: Path) -> None:
    nothing = ("--option", "learning_rate=0", "--option", "updates=2", "--epochs", 1)
    said = ran("train", data, "--name", "wave", "--models", tmp_path, "--horizon", 4, *nothing)
    assert "no epoch was better, so the weights are those before it" in said
    assert load_model(tmp_path, "wave").facts["learned"] is False


def test_a_backtest_trains_again_as_the_model_was_trained(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common, how = ("--models", tmp_path), ("--epochs", 1, "--option", "updates=3", "--option", "learning_rate=0.02")
    ran("train", data, "--name", "wave", "--horizon", 4, "--seed", 5, *how, *common)
    ran("train", data, "--from", "wave@1", "--epochs", 2, "--option", "updates=2", *common)
    used: list[Options] = []

    def noted(past: History, spec: ModelSpec, options: Options, time_limit: str) -> Model:
        used.append(options)
        return fit_again(past, spec, options, time_limit)

    monkeypatch.setattr("streamcast.app.commands.files.backtest.fit_again", noted)
    refit = ("--refit", "3d", *common)
    said = " ".join(ran("backtest", data, "--model", "wave@1", *refit).split())
    assert "note: --refit trains as wave@1 was trained: epochs 1, updates 3, learning_rate 0.02" in said
    assert set(used) == {Options(epochs=1, updates=3, learning_rate=0.02, seed=5)}
    monkeypatch.setattr("streamcast.offline.training.run.FEWEST_UPDATES", 10)
    said = " ".join(ran("backtest", data, "--model", "wave@2", *refit).split())
    assert "note: --refit trains by the default options, without wave@1, which wave@2 learned from" in said
    assert used[-1] == Options(seed=0)
    said = ran("backtest", data, "--model", "wave@1", "--refit", "90d", "--models", tmp_path)
    assert "wave was not trained again: the test is no longer than the time after which it would be" in said


@pytest.mark.parametrize(("facts", "limit"), [({}, "--max-seconds"), ({"tuned": {}}, "--trial-seconds")])
def test_a_backtest_does_not_score_a_training_that_learned_nothing_within_its_time(
    facts: dict[str, Any], limit: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    ran("train", data, "--name", "wave", "--horizon", 4, "--epochs", 1, "--option", "updates=3", "--models", tmp_path)
    model = load_model(tmp_path, "wave")
    limited = {"options": {"epochs": 1, "max_seconds": 1e-6}, **facts}
    save_model(tmp_path, "wave", model.spec, model.network, {**model.facts, **limited})
    assert exit_code(monkeypatch, "backtest", data, "--model", "wave", "--refit", "3d", "--models", tmp_path) == 2
    found = capsys.readouterr()
    said = " ".join(found.err.split())
    assert re.search(r"ModelError: the model was to be trained again on [\d,]+ rows, but the time was up before", said)
    assert f"more time ({limit} when the model is trained): a first epoch needs at least" in said
    assert not found.out


def test_a_backtest_that_trains_again_warns_of_trained_bars_until_then(data: Path, tmp_path: Path) -> None:
    ran("train", data, "--name", "wave", "--horizon", 4, "--epochs", 1, "--option", "updates=3", "--models", tmp_path)
    first = pd.to_datetime(pd.read_csv(data).ds).min() + pd.Timedelta(days=12)
    for refit, said in (
        ((), "errors before that time flatter"),
        (
            ("--refit", "3d"),
            f"errors before {first + pd.Timedelta(days=3):%Y-%m-%d %H:%M:%S} UTC, when it is first trained",
        ),
        (("--refit", "60d"), "errors before that time flatter"),
    ):
        printed = ran(
            "backtest", data, "--model", "wave", "--test-from", first.isoformat(), "--models", tmp_path, *refit
        )
        assert said in " ".join(printed.split())


def test_ctrl_c_ends_a_backtest_that_trains_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common, loss = ("--models", tmp_path), Objective.loss
    ran("train", data, "--name", "wave", "--horizon", 4, "--epochs", 1, "--option", "updates=3", *common)
    calls: list[int] = []

    def interrupted(self: Objective, rows_P: Ints, at_P: Ints) -> Tensor:
        calls.append(len(at_P))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return loss(self, rows_P, at_P)

    monkeypatch.setattr(Objective, "loss", interrupted)
    result = CliRunner().invoke(app, ["backtest", str(data), "--model", "wave", "--refit", "3d", *map(str, common)])
    assert (result.exit_code, len(calls)) == (130, 2)
    assert "MAE" not in result.output


def test_a_training_that_goes_on_says_what_it_did_not_better_and_what_it_has_seen(data: Path, tmp_path: Path) -> None:
    few = ("--option", "rows=8", "--option", "positions=64", "--option", "updates=10")
    common = ("--epochs", 1, "--models", tmp_path / "models", *few)
    small = '{"kind": "gru", "hidden": 8, "layers": 1, "members": 2}'
    ran("train", data, "--name", "wave", "--model", small, "--horizon", 4, "--hold-out", 0.1, *common)
    ruin = ("--option", "learning_rate=0.5", "--option", "average=0")
    said = " ".join(ran("train", data, "--from", "wave@1", "--hold-out", 0.3, *common, *ruin).split())
    first, second = (load_model(tmp_path / "models", f"wave@{version}") for version in (1, 2))
    loss = first.facts["validation_loss"], second.facts["initial_loss"], second.facts["validation_loss"]
    assert second.digest == first.digest
    assert loss[1] == loss[2] != loss[0], "another part validates"
    assert f"the validation loss went from {loss[1]:.4f} (wave@1) to {loss[2]:.4f} together" in said
    assert "no epoch was better, so the weights are those of wave@1" in said
    assert "of which wave@1 was trained on some or all, so that it looks better than it is" in said
    until = first.facts["last"]
    assert second.trained_until == first.trained_until == until > second.facts["last"]
    told = " ".join(ran("backtest", data, "--model", "wave@2", "--models", tmp_path / "models").split())
    assert "The model was trained on bars up to" not in told
    begins = re.search(r"scored from (\S+ \S+) UTC, where the data begin that the model was not trained on", told)
    assert begins
    assert pd.Timestamp(begins[1], tz="UTC").timestamp() * 1_000 >= until


def test_a_model_is_trained_pruned_trained_on_and_imitated(data: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    common = ("--models", models, "--option", "rows=8", "--option", "positions=64", "--option", "updates=30")
    spec = '{"kind": "lstm", "hidden": 16, "layers": 1}'
    said = ran("train", data, "--name", "wave", "--model", spec, "--horizon", 4, "--epochs", 4, *common)
    assert "Another stretch of time can be better or worse: the backtest scores a later one." in said
    said = ran("model", "compress", "wave@1", "--how", "prune", "--data", data, "--models", models)
    whole, small = load_model(models, "wave@1"), load_model(models, "wave@2")
    assert small.facts["compressed"] == "prune of wave@1"
    assert 0.5 < small.facts["validation_loss"] / small.facts["whole_loss"] < 2, "pruning changes little, either way"
    assert f"{small.facts['validation_loss']:.4f}" in said
    said = ran("train", data, "--from", "wave@2", "--epochs", 3, *common)
    mended = load_model(models, "wave@3")
    assert mended.spec == small.spec != whole.spec
    assert mended.facts["from"] == "wave@2"
    assert mended.facts["validation_loss"] < mended.facts["initial_loss"]
    past = read(pd.read_csv(data))
    past = past.between(int(past.ts_N[0]), mended.facts["held_out_from"])
    how = Options(epochs=3, rows=8, positions=64, updates=30)
    loss = held_out_loss(whole.network, past, whole.spec, how)
    assert loss != small.facts["whole_loss"], "compress validated on the whole file"
    assert f"(wave@2; before compression wave@1 had {loss:.4f})" in " ".join(said.split())
    choice = ("--model", '{"kind": "gru", "hidden": 8, "layers": 1}', "--horizon", 4, "--epochs", 1)
    ran("train", data, "--name", "student", *choice, "--teacher", "wave@1", *common)
    assert load_model(models, "student").facts["teacher"] == "wave@1"
    shutil.rmtree(models / "wave" / "1")
    said = ran("train", data, "--from", "wave@2", "--epochs", 1, *common)
    assert "before compression" not in said, "the whole model is gone, and cannot be measured"


def test_a_model_keeps_how_its_file_was_read_and_later_commands_use_it(data: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(data)
    local = pd.to_datetime(frame["ds"]).dt.tz_convert("Australia/Brisbane").dt.tz_localize(None)
    written = local.dt.strftime("%d.%m.%Y %H:%M")
    frame = frame.assign(ds=written).rename(columns={"unique_id": "sensor", "ds": "when", "y": "load"})
    frame.to_csv(data, index=False)
    models, scored = tmp_path / "models", tmp_path / "scored.csv"
    said = ran(
        "train", data, "--id-col", "sensor", "--time-col", "when", "--target-col", "load", "--timezone",
        "Australia/Brisbane", "--time-format", "%d.%m.%Y %H:%M", "--horizon", 4, "--epochs", 1,
        "--option", "updates=5", "--models", models,
        "--model", '{"kind": "gru", "hidden": 8}',
    )  # fmt: skip
    facts = load_model(models, "model").facts
    bars = tmp_path / "bars.csv"
    said = ran(
        "backtest", data, "--model", "model@1", "--models", models, "--frame", scored, "--anomalies", bars
    )  # fmt: skip
    assert list(pd.read_csv(bars)) == ["sensor", "when", "load", "anomaly"]
    tested = pd.read_csv(bars, dtype=str).merge(pd.read_csv(data, dtype=str), on=["sensor", "when"])
    assert len(tested) == len(pd.read_csv(bars)), "names and times are those of the file"
    assert f"Wrote {len(tested)} bars to" in said
    assert "trained on bars up to" not in said
    times = pd.to_datetime(pd.read_csv(scored)["cutoff"], format="%d.%m.%Y %H:%M")  # as the file has them
    assert set(times) <= set(local)
    assert list(pd.read_csv(scored)) == ["sensor", "when", "cutoff", "load", "model", "model-lo-80", "model-hi-80"]
    assert "\n sensor " in said
    first = pd.Timestamp(facts["held_out_from"], unit="ms", tz="UTC").tz_convert("Australia/Brisbane").tz_localize(None)
    assert times.min() >= first - pd.Timedelta(hours=1)
    shown = " ".join(ran("model", "show", "model@1", "--models", models).split())
    assert f"training held_out_from {first} Australia/Brisbane" in shown
    ran("model", "compress", "model@1", "--data", data, "--models", models)
    assert "quality" not in load_model(models, "model@2").facts


def test_the_spec_of_a_model_that_is_trained_on_is_its_own(data: Path) -> None:
    result = CliRunner().invoke(app, ["train", str(data), "--from", "wave@1", "--horizon", "7"])
    assert result.exit_code == 2
    assert "leave out --horizon" in " ".join(result.output.split())


@pytest.mark.parametrize("command", [["train", "--model", "zero"], ["train"], ["tune"]])
def test_a_target_without_a_value_is_refused(data: Path, tmp_path: Path, command: list[str]) -> None:
    frame = pd.read_csv(data)
    frame["y"] = frame["y"].where(frame["ds"].rank(pct=True) > 0.9)
    frame.to_csv(data, index=False)
    result = CliRunner().invoke(app, [*command, str(data), "--models", str(tmp_path / "models")])
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, HistoryError)
    rows = int(0.8 * len(frame))
    assert f"column 'y' has no value in the {rows:,} rows to train on" in str(result.exception)


def test_a_model_of_one_quantile_says_nothing_of_an_interval(data: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    said = ran("train", data, "--model", "zero", "--quantiles", 0.5, "--horizon", 4, "--models", models)
    said += ran("backtest", data, "--model", "model", "--models", models)
    said += ran("model", "show", "model", "--models", models)
    assert "interval" not in said
    assert "0.0%" not in said + ran("model", "ls", "--models", models)
    document = models / "model" / "1" / "model.json"
    found = json.loads(document.read_text())
    told = ran("backtest", data, "--model", "model", "--json", "--models", models)
    backtested = json.loads(told[told.index("{") :])["quality"]
    for measured in (backtested, found["facts"]["quality"]):
        assert measured["mae"] > 0
        assert {each["coverage"] for each in (measured, *measured["steps"].values())} == {None}

    steps = {step: {**each, "coverage": 0.0} for step, each in measured["steps"].items()}
    found["facts"]["quality"] = {**measured, "coverage": 0.0, "steps": steps}
    document.write_text(json.dumps(found))  # as older versions wrote it
    assert json.loads(ran("model", "show", "model", "--json", "--models", models))["training quality"] == measured
    assert json.loads(ran("model", "ls", "--json", "--models", models))[0]["facts"]["quality"] == measured
    assert "0.0%" not in ran("model", "show", "model", "--models", models) + ran("model", "ls", "--models", models)
    telemetry = new_telemetry({"champion": load_model(models, "model")}, LoopHealth())
    exposed = {metric.name for metric in telemetry.collect() if metric.samples}
    assert "streamcast_trained_relative_mae" in exposed
    assert not {"streamcast_trained_coverage", "streamcast_forecast_coverage_target"} & exposed


@pytest.mark.parametrize("rows", [2, 3, 49, 60])
def test_the_next_command_works_and_a_file_that_is_too_short_is_not_recommended(rows: int, tmp_path: Path) -> None:
    times = pd.date_range("2025-01-01", periods=rows, freq="h")
    data, models = tmp_path / "short.csv", tmp_path / "models"
    pd.DataFrame({"unique_id": "a", "ds": times, "y": np.arange(rows) % 24}).to_csv(data, index=False)
    said = ran("train", data, "--model", "zero", "--season", "24", "--models", models)
    following = said.replace("\n", " ").partition("Next: ")[2]
    arguments = ("backtest", data, "--model", "model@1", "--models", models)
    if rows < 49:
        assert following.startswith(f"a file of at least 49 bars, since {data} has {rows}: streamcast backtest DATA")
        failed = CliRunner().invoke(app, [*map(str, arguments)])
        wanted = f"{rows} rows in {rows} bars of 1h, and a test of this model needs at least 49 bars"
        assert wanted in str(failed.exception)
    else:
        assert following.startswith("streamcast " + " ".join(map(str, arguments[:2])))
        assert "forecasts scored" in ran(*arguments) or "1 forecast scored" in ran(*arguments)


def test_a_training_says_what_it_did_not_read_and_how_to_train_on_all(data: Path, tmp_path: Path) -> None:
    few = ("--option", "rows=8", "--option", "positions=64", "--option", "updates=4", "--epochs", 1)
    small = ("--model", '{"kind": "gru", "hidden": 8, "layers": 1}', "--horizon", 4, "--models", tmp_path)
    said = " ".join(ran("train", data, *small, *few).split())
    facts, times = load_model(tmp_path, "model@1").facts, pd.to_datetime(pd.read_csv(data).ds)
    first, last = (
        f"{time:%Y-%m-%d %H:%M:%S}" for time in (pd.Timestamp(facts["held_out_from"], unit="ms"), times.max())
    )
    assert (
        f"Not trained on: {first} to {last} UTC, held out for the backtest: before it serves, train on all with"
        " --hold-out 0" in said
    )
    assert f"Next: streamcast backtest {data} --model model@1" in said
    said = " ".join(ran("train", data, *small, *few, "--hold-out", 0).split())
    assert "Not trained on" not in said
    assert "held out until the final training: MAE" in said, "a part that chooses the epoch says how good it is"
    assert f"Next: a file with rows after {last} UTC, up to which it was trained: streamcast backtest DATA" in said
    said = ran("train", data, "--model", "zero", "--horizon", 4, "--models", tmp_path)
    assert "Not trained on" not in said, "it has no weights, and learns from every record"


def test_a_list_says_until_when_versions_were_trained_and_which_figures_flatter(data: Path, tmp_path: Path) -> None:
    few = ("--option", "rows=8", "--option", "positions=64", "--option", "updates=4", "--epochs", 1)
    models, small = ("--models", tmp_path), ("--model", '{"kind": "gru", "hidden": 8, "layers": 1}', "--horizon", 4)

    def listed() -> tuple[dict[str, str], str]:
        said = CliRunner().invoke(app, ["model", "ls", *map(str, models)], env={"COLUMNS": "200"}).output
        lines = said.splitlines()
        return {line.split()[0]: line for line in lines if "@" in line.partition("  ")[0]}, " ".join(said.split())

    ran("train", data, "--name", "wave", *small, "--hold-out", 0.1, *few, *models)
    rows, said = listed()
    until = f"{pd.Timestamp(load_model(tmp_path, 'wave').facts['last'], unit='ms'):%Y-%m-%d %H:%M:%S} UTC"
    assert until in rows["wave@1"]
    assert "*" not in said
    assert "--test-from" not in said, "there is nothing to compare"
    ran("train", data, "--from", "wave@1", "--hold-out", 0.3, *few, *models)
    ran("model", "new", "wave", "--like", "wave@1", *models)
    rows, said = listed()
    assert until in rows["wave@2"], "its weights have seen what those of the first have"
    assert [rows[f"wave@{version}"].count("*") for version in (1, 2, 3)] == [0, 3, 0]
    assert " - " in rows["wave@3"]
    assert "* of outcomes that the version it was trained from had seen: better than it is" in said
    assert "streamcast backtest, with a --test-from after the latest" in said


def two_versions(data: Path, folder: Path) -> tuple[str, Path]:
    """Train two versions, the first of them the champion; return the option that names their folder."""
    models = ("--models", folder)
    for _ in range(2):
        ran("train", data, "--name", "wave", "--model", "zero", "--season", "24", *models)
    ran("model", "promote", "wave@1", "champion", *models)
    return models


def test_an_alias_of_a_version_that_was_removed_is_named_by_the_list(data: Path, tmp_path: Path) -> None:
    models = two_versions(data, tmp_path)
    assert "is an alias" not in ran("model", "ls", *models)
    shutil.rmtree(tmp_path / "wave" / "1")
    said = " ".join(ran("model", "ls", *models).split())
    assert "wave@champion is an alias for version 1, which is not there: promote another, or copy version 1 to" in said


def test_a_version_that_no_service_could_read_is_not_promoted(data: Path, tmp_path: Path) -> None:
    models = two_versions(data, tmp_path)
    (tmp_path / "wave" / "2" / "weights.safetensors").unlink()
    result = CliRunner().invoke(app, ["model", "promote", "wave@2", "champion", *map(str, models)])
    assert isinstance(result.exception, ModelError)
    assert load_model(tmp_path, "wave@champion").version == "1"


def test_what_a_model_shows_has_few_digits_and_no_none(data: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    choice = ("--model", '{"kind": "gru", "hidden": 8}', "--horizon", 4, "--epochs", 1, "--option", "updates=5")
    ran("train", data, *choice, "--models", models)
    facts = load_model(models, "model").facts
    assert facts["time_format"] is None
    said = ran("model", "show", "model", "--models", models)
    assert f"{facts['highway_loss']:.4g}" in said.split()
    assert str(facts["highway_loss"]) not in said
    assert "time_format" not in said
    assert "None" not in said
    digest = load_model(models, "model").digest
    assert digest[:8] in ran("model", "ls", "--models", models).split()


def test_a_compressed_model_that_was_not_measured_claims_no_loss(data: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    choice = ("--model", '{"kind": "gru", "hidden": 8}', "--horizon", 4, "--epochs", 1, "--option", "updates=5")
    ran("train", data, *choice, "--models", models)
    said = ran("model", "compress", "model", "--models", models)
    assert {"needs", "--data"} <= set(said.split())
    assert f"streamcast backtest DATA --model model@2 --models {models}" in said.replace("\n", " ")
    assert "validation_loss" not in load_model(models, "model@2").facts
    said = " ".join(ran("model", "show", "model@2", "--models", models).split())
    assert "stack (hidden 8, kind gru)" in said
    assert not {"None", "True", "{"} & set(re.findall(r"\w+|{", said)), "words, as of a model that was not compressed"


def test_rows_with_longer_steps_than_a_models_bars_are_refused_where_they_would_be_outcomes(
    data: Path, tmp_path: Path
) -> None:
    choice = ("--model", '{"kind": "gru", "hidden": 8}', "--horizon", 4, "--epochs", 1, "--option", "updates=5")
    ran("train", data, *choice, "--models", tmp_path)
    days = tmp_path / "days.csv"
    times = pd.date_range("2026-01-01", periods=60, freq="D", tz="UTC")
    pd.DataFrame({"unique_id": "s0", "ds": times, "y": range(60)}).to_csv(days, index=False)
    for command in (
        ("backtest", days, "--model", "model@1"),
        ("train", days, "--from", "model@1"),
        ("model", "compress", "model@1", "--data", days),
    ):
        with pytest.raises(HistoryError, match="the median step between rows is 1d, and the model has bars of 1h"):
            ran(*command, "--models", tmp_path)


@pytest.mark.parametrize(("text", "found"), [("24", (24,)), ("1d, 1w", ("1d", "1w")), ("1y,3", ("1y", 3))])
def test_seasons_are_bars_durations_or_steps_of_the_calendar(text: str, found: tuple[int | str, ...]) -> None:
    assert seasons(text) == found


@pytest.mark.parametrize("text", ["", "0", "0d", "1 fortnight", "-1", "1.5"])
def test_what_is_no_season_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        seasons(text)


def test_a_repeated_option_is_a_list_of_names() -> None:
    assert repeated(["temp", "wind, rain"]) == ("temp", "wind", "rain")


def test_flags_say_what_is_known_ahead(data: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(data)
    frame.assign(temp=range(len(frame))).to_csv(data, index=False)
    models = tmp_path / "models"
    ran(
        "train", data, "--model", '{"kind": "gru", "hidden": 8}', "--horizon", 4, "--epochs", 1, "--models", models,
        "--option", "updates=5",
        "--known", "temp", "--holidays", "AU-VIC", "--calendar-timezone", "Australia/Melbourne", "--lower", 0,
        "--season", "1d,12h", "--transform", "log",
    )  # fmt: skip
    model = load_model(models, "model")
    targets, transform = model.spec.targets, model.spec.transform
    assert targets is not None
    assert transform is not None
    assert (transform.kind, transform.unit > 0) == ("log", True)
    assert ([known.name for known in targets.known], model.spec.lower, model.spec.season) == (["temp"], 0.0, (24, 12))
    assert (targets.local.zone, targets.local.holidays, bool(targets.local.days_off)) == (
        "Australia/Melbourne", "AU-VIC", True
    )  # fmt: skip
    assert model.facts["timezone"] == "UTC"


def test_flags_of_the_spec_contradict_a_model_that_is_trained_on(data: Path) -> None:
    result = CliRunner().invoke(app, ["train", str(data), "--from", "wave@1", "--calendar-timezone", "UTC"])
    assert result.exit_code == 2
    assert "leave out --calendar-timezone" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--epochs", 10], "--epochs: a network is trained so, and zero has none: leave it out"),
        (["--seed", 0, "--max-seconds", 9], "--max-seconds and --seed: a network is trained so, and zero has none"),
        (
            ["--epochs", 3, "--option", "learning_rate=0.1"],
            "--epochs and --option learning_rate: a network is trained so, and zero has none: leave them out",
        ),
    ],
)
def test_options_of_training_are_refused_where_nothing_is_trained(
    arguments: list[object], said: str, data: Path, tmp_path: Path
) -> None:
    for network in ("zero", '{"kind": "none"}'):
        command = ["train", data, "--model", network, "--models", tmp_path / "models", *arguments]
        result = CliRunner().invoke(app, [*map(str, command)])
        assert result.exit_code == 2
        assert said in " ".join(result.output.replace("│", " ").split())
    assert not (tmp_path / "models").exists()


def test_a_model_without_a_network_is_measured_on_the_share_that_was_given(data: Path, tmp_path: Path) -> None:
    ran("train", data, "--model", "zero", "--horizon", 4, "--option", "validation=0.4", "--models", tmp_path)
    ran("train", data, "--model", "zero", "--horizon", 4, "--models", tmp_path)
    longer, usual = (load_model(tmp_path, f"model@{number}").facts["quality"]["forecasts"] for number in (1, 2))
    assert longer > 2 * usual


def test_the_share_that_prune_keeps_is_refused_by_another_way(tmp_path: Path) -> None:
    for how in ([], ["--how", "int8"]):
        command = ["model", "compress", "wave@1", "--keep", "0.5", "--models", str(tmp_path), *how]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 2
        said = " ".join(result.output.replace("│", " ").split())
        assert "--keep is the share of the channels that prune keeps, and --how is int8: leave it out" in said


def test_bars_without_a_row_are_counted_by_series_with_the_longest_stretch() -> None:
    hours = {"a": [0, 1, 2, 5, 6, 7, 9], "b": [3, 4], "c": [0, 1, 3, 4]}
    rows = [(key, pd.Timestamp("2026-01-01") + pd.Timedelta(hours=hour), 1.0) for key in hours for hour in hours[key]]
    frame = pd.DataFrame(rows, columns=["unique_id", "ds", "y"])
    (note,) = missing_bars(read(frame, freq="1h"), "America/New_York")
    assert "'a' 3 (most at once: 2, after 2025-12-31 21:00:00 America/New_York)" in note
    assert "'c' 1 (most at once: 1, after 2025-12-31 20:00:00 America/New_York)" in note
    assert "'b'" not in note
    assert "restarts" not in note
    assert missing_bars(read(frame[frame.unique_id == "b"], freq="1h"), "UTC") == []


def test_series_that_end_long_before_others_are_noted() -> None:
    hours = pd.Series(pd.date_range("2026-01-01", periods=400, freq="h"))
    rows = {"shop": 400, "closed": 100, "holiday": 400 - 168, "gone": 90}
    frame = pd.concat([pd.DataFrame({"unique_id": key, "ds": hours[:n], "y": 1.0}) for key, n in rows.items()])
    on = "others go on to 2026-01-17 15:00:00 UTC, and the forecasts of a series follow its own last row"
    named = "'gone' at 2026-01-04 17:00:00 UTC"
    assert missing_bars(read(frame), "UTC") == [f"2 series end early, the first {named}: {on}"]
    without = frame[frame.unique_id != "closed"]
    assert missing_bars(read(without), "UTC") == [f"a series ends early, {named}: {on}"]


@pytest.mark.parametrize(("bar", "gap"), [("1min", 10_080), ("5min", 8_639), ("1h", 719), ("1d", 29), ("1w", 29)])
def test_a_note_says_where_a_gap_restarts_its_series_as_the_engine_does(bar: str, gap: int) -> None:
    """By max_gap, which is longer where a history has long pauses, or by ttl where that is shorter."""
    for left_out in (gap, gap + 1):
        times = pd.Timestamp("2026-01-01") + np.array([0, 1, 2, 3 + left_out]) * pd.Timedelta(parse_duration(bar), "ms")
        history = read(pd.DataFrame({"ds": times, "y": 1.0}), id_col=None, freq=bar)
        series = samples(history)
        spec = zero_spec(series, 2)
        engine, restarts = Engine(spec, new_network(spec)), 0
        for poll in polls(history, spec):
            restarts += engine.stage(poll).restarts
            engine.promote()
        (note,) = missing_bars(history, "UTC")
        assert restarts == (left_out > gap)
        assert note.endswith(f"; a gap of more than {series.longest_gap:,} bars restarts its series") == bool(restarts)
    (told,) = missing_bars(history, "UTC", series.model_copy(update={"max_gap": 3}))
    assert told.endswith("; a gap of more than 3 bars restarts its series")


def test_rows_after_the_last_value_are_no_part_of_what_is_held_out_and_scored(tmp_path: Path) -> None:
    """A sensor ended, or the future is in the file: its rows were the whole test, in which nothing can be scored."""
    hours = pd.date_range("2026-01-01", periods=400, freq="h")
    file, common = tmp_path / "data.csv", ("--models", tmp_path)
    y = 10 + np.sin(np.arange(400) / 4) + np.random.default_rng(0).normal(size=400)
    y[300:] = np.nan
    one = pd.DataFrame({"unique_id": "a", "ds": hours, "y": y})
    pd.concat([one, one.assign(unique_id="b", y=one["y"].where(one.index < 200))]).to_csv(file, index=False)
    ran("train", file, "--model", "zero", "--name", "a", "--horizon", 4, *common)
    said = " ".join(ran("backtest", file, "--model", "a", *common).split())
    assert "60 forecasts scored" in said
    assert "Quality from 2026-01-11 00:00:00 to 2026-01-13 11:00:00 UTC" in said
    assert "1 series not scored, with no value in the test: b" in said
    ran("model", "new", "other", "--like", "a", *common)
    said = " ".join(ran("backtest", file, "--model", "other", *common).split())
    assert "the last fifth of these 600 rows up to the last target" in said
    with pytest.raises(HistoryError, match="last value of y is at 2026-01-13 11:00:00 UTC and later rows have none"):
        ran("backtest", file, "--model", "a", "--test-from", "2026-01-15", *common)
