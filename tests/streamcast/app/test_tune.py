"""``streamcast tune``: it tries candidates and keeps the best."""

from __future__ import annotations

import io
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from rich.console import Console

from streamcast.app.commands.files.train import train
from streamcast.app.commands.files.tune import network, tune
from streamcast.app.options.groups import Columns, SearchOptions, SpecOptions, TrainingOptions
from streamcast.errors import HistoryError
from streamcast.models.build import build
from streamcast.models.network import Shape
from streamcast.models.spec import SpecError, one_of
from streamcast.models.zoo import MODELS
from streamcast.offline.history.read import History, read
from streamcast.offline.training import fit, quality
from streamcast.offline.training import run as training_run
from streamcast.offline.training.quality import Part, part_of
from streamcast.offline.training.sequences import Sequences, sequences
from streamcast.quality import SumsByStep
from streamcast.spec.folders import Model, load_model, new_network
from streamcast.spec.model_spec import ModelSpec
from streamcast.spec.zero import challenger_of

WANTED = SpecOptions(horizon=3, lags=24, season=(24,))
SEARCH = SearchOptions(networks=("gru", "linear"), trials=4, max_seconds=0.0, epochs=1)


@pytest.fixture(autouse=True)
def short_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch has at least 400 updates; some are enough to compare losses."""
    monkeypatch.setattr(training_run, "FEWEST_UPDATES", 10)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    hours = pd.date_range("2024-01-01", periods=300, freq="h")
    y = np.sin(np.arange(300) * 2 * np.pi / 24) + np.random.default_rng(0).normal(0, 0.1, 300)
    path = tmp_path_factory.mktemp("data") / "data.csv"
    pd.DataFrame({"unique_id": "a", "ds": hours, "y": y}).to_csv(path, index=False)
    return path


def searched(data: Path, search: SearchOptions, models: Path) -> str:
    """Run a search to its end and return what it printed."""
    printed = io.StringIO()
    assert tune(data, Columns(), WANTED, search, "tuned", models, Console(file=printed, width=200)) == 0
    return printed.getvalue()


def test_the_best_of_all_candidates_is_kept_with_its_options(data: Path, tmp_path: Path) -> None:
    printed = searched(data, SEARCH, tmp_path)
    model = load_model(tmp_path, "tuned@1")
    assert model.facts["trials"] == 4
    assert model.facts["tuned"]["kind"] == model.spec.network["kind"]
    assert [line for line in printed.splitlines() if f"{model.facts['validation_loss']:.4f}" in line]
    assert "4 trials" in printed
    assert f"streamcast backtest {data} --model tuned@1" in printed.replace("\n", "")


def test_a_search_does_not_read_the_part_that_its_backtest_scores(data: Path, tmp_path: Path) -> None:
    one = replace(SEARCH, networks=("linear",), trials=1)
    said = searched(data, one, tmp_path)
    assert "Another stretch of time can be better or worse: the backtest scores a later one." in said
    facts, history = load_model(tmp_path, "tuned@1").facts, read(pd.read_csv(data))
    assert facts["last"] < facts["held_out_from"] == history.ts_N[240]
    searched(data, replace(one, hold_out=0.0), tmp_path)
    whole = load_model(tmp_path, "tuned@2").facts
    assert (whole["last"], whole["held_out_from"]) == (history.ts_N[-1], None)


def test_a_search_on_days_does_not_say_that_it_trains_several_networks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    days = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=300), "y": np.arange(300.0) % 7})
    days.to_csv(tmp_path / "days.csv", index=False)
    assert "1 trial," in searched(tmp_path / "days.csv", replace(SEARCH, networks=("gru",), trials=1), tmp_path / "m")
    assert "networks are trained" not in capsys.readouterr().err
    assert one_of(load_model(tmp_path / "m", "tuned").spec.network)[1] == 1


def test_a_search_says_what_a_training_says_of_the_file_and_the_spec(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gap = tmp_path / "gap.csv"
    frame = pd.read_csv(data)
    frame.drop(index=[100, 101]).to_csv(gap, index=False)
    wanted, said = replace(WANTED, lower=5.0, season=None), []
    search, training = replace(SEARCH, networks=("linear",), trials=1), TrainingOptions(network="linear", epochs=1)
    console = Console(file=io.StringIO())
    for run in (
        partial(tune, gap, Columns(), wanted, search, "tuned", tmp_path, console),
        partial(train, gap, Columns(), wanted, training, "trained", tmp_path, console),
    ):
        assert run() == 0
        said.append([line for line in capsys.readouterr().err.splitlines() if line.startswith(("note: ", "warning: "))])
    assert said[0] == said[1]
    assert any("count as missing: 'a' 2" in note for note in said[0])
    low = [line for line in said[0] if "lie below the bound of 5" in line]
    assert [line.startswith("warning: ") and "train without --lower, or" in line for line in low] == [True]


def test_the_model_beside_all_candidates_is_scored_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[str] = []
    measure = quality.held_out_quality

    def counted(model: Model, history: History, part: Part) -> dict[str, Any]:
        scored.append(model.spec.network["kind"])
        return measure(model, history, part)

    monkeypatch.setattr(quality, "held_out_quality", counted)
    searched(data, SEARCH, tmp_path)
    assert scored.count("none") == 1
    assert len(scored) == 5
    tuned = load_model(tmp_path, "tuned@1")
    simple = challenger_of(tuned.spec)
    history = read(data).between(0, tuned.facts["held_out_from"])
    part = part_of(history, simple, tuned.facts["quality"]["from"])
    found = measure(Model(simple, new_network(simple)), history, part)
    assert tuned.facts["quality"]["without_network"] == SumsByStep.of_facts(found).over_all().relative


def test_one_trial_is_counted_as_one(data: Path, tmp_path: Path) -> None:
    said = searched(data, replace(SEARCH, networks=("linear",), trials=1), tmp_path)
    assert "1 trial, 0 of them stopped early" in said
    assert "The time was up" not in said
    said = searched(data, replace(SEARCH, networks=("linear",), trials=3, max_seconds=0.001), tmp_path)
    assert "The time was up after 1 of 3 trials: raise --max-seconds for more." in said


def test_a_search_is_repeated_by_its_seed(data: Path, tmp_path: Path) -> None:
    for _ in range(2):
        searched(data, replace(SEARCH, trials=2), tmp_path)
    first, second = (load_model(tmp_path, f"tuned@{version}") for version in (1, 2))
    assert first.digest == second.digest


def test_networks_whose_losses_cannot_be_compared_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"gru \(quantile\), lstm-gaussian \(gaussian\) are trained with different losses"
    ):
        searched(data, replace(SEARCH, networks=("gru", "lstm-gaussian")), tmp_path)


@pytest.mark.parametrize(
    ("wanted", "networks", "said"),
    [
        (WANTED, (), "--networks is empty: name at least one"),
        (replace(WANTED, season=("1y",)), ("gru",), "season 1y is no whole number of bars of 1h"),
        (replace(WANTED, known=("nope",)), ("gru",), "known names nope; the input columns are"),
        (replace(WANTED, horizon=250), ("gru",), "no forecast of 250 bars ends before the validation part"),
    ],
)
def test_what_does_not_fit_is_said_once_and_without_a_traceback(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, wanted: SpecOptions, networks: tuple[str, ...],
    said: str,
) -> None:  # fmt: skip
    with pytest.raises((SpecError, HistoryError), match=said):
        tune(
            data, Columns(), wanted, replace(SEARCH, networks=networks), "tuned", tmp_path, Console(file=io.StringIO())
        )
    assert [record.getMessage() for record in caplog.records if record.name.startswith("optuna")] == []


@pytest.mark.parametrize("kind", sorted(MODELS.keys() - {"network"}))
def test_whatever_is_drawn_for_a_network_can_be_built(kind: str) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(12):
        drawn = network(study.ask(), kind)
        assert build(drawn, Shape((2,), 8, 3, (0.5,))).composition.stack


@pytest.mark.parametrize("ends", [KeyboardInterrupt(), RuntimeError("not enough memory")])
def test_what_ends_a_later_trial_before_it_trains_leaves_the_best_model_so_far(
    ends: BaseException, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, prepare = 0, sequences

    def ended(history: History, spec: ModelSpec) -> Sequences:
        nonlocal begun
        begun += 1
        if begun == 3:
            raise ends
        return prepare(history, spec)

    monkeypatch.setattr(fit, "sequences", ended)
    printed = io.StringIO()
    fails = isinstance(ends, RuntimeError)
    with pytest.raises(RuntimeError, match="not enough memory") if fails else nullcontext():
        tune(data, Columns(), WANTED, SEARCH, "tuned", tmp_path, Console(file=printed, width=200))
    assert "2 trials, 0 of them stopped early" in printed.getvalue()
    said = "Ctrl-C ended the search in trial 3 of 4: the best model so far is kept." in printed.getvalue()
    assert said is not fails
    assert load_model(tmp_path, "tuned").facts["trials"] == 2


def test_what_ends_the_first_trial_leaves_no_model(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Sequences:
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "sequences", interrupted)
    with pytest.raises(KeyboardInterrupt):
        searched(data, SEARCH, tmp_path)
    assert list(tmp_path.iterdir()) == []
