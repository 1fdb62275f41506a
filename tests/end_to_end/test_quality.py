"""One stream, one number: backtest, metrics, page and verify say the same of the same forecasts."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from typer.testing import CliRunner

from harness.histories import history_of
from harness.simulation.stand import GROUP, TOPICS, Stand
from harness.streams import model_spec
from streamcast import quality
from streamcast.app.cli import app
from streamcast.app.commands.deployment import verify
from streamcast.app.settings import load_settings
from streamcast.consumers.health import LoopHealth
from streamcast.consumers.memory.transport import MemoryReader
from streamcast.models.network import NoNetwork
from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.history.read import History
from streamcast.offline.history.records import records
from streamcast.page import views, words
from streamcast.page.board import Board
from streamcast.page.feed import Feed
from streamcast.page.scrape import Scraper
from streamcast.service.telemetry.probes import TelemetryServer
from streamcast.spec.folders import Model, new_network, save_model
from streamcast.spec.model_spec import Column, ModelSpec, Online, SeriesSpec, TargetBars
from streamcast.spec.zero import zero_spec

SERIES = {"freq": "1h", "max_gap": 500, "ttl": "1000h"}
SPECS = {
    "a network with target bars": model_spec(
        SERIES, horizon=6, season=(24,), warm_up=48, scored=(1, 2, 6), targets=TargetBars(back=(2,)), online=Online()
    ),
    "no network, and a short memory": zero_spec(
        SeriesSpec.model_validate({"columns": (Column(name="y"),), **SERIES}), 6, (24,), scored=(1, 2, 6)
    ),
}
BARS = 135
NAIVE = "the same hour yesterday"


@pytest.fixture(scope="module")
def history() -> History:
    """Two series with missing rows and null targets, short enough for the page to keep all their forecasts."""
    return history_of(BARS)


@pytest.fixture(scope="module", params=list(SPECS))
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, history: History
) -> tuple[Stand, Model, Path]:
    """A service that has answered the history, its model, and the folder of both."""
    folder = tmp_path_factory.mktemp("quality")
    spec = SPECS[request.param]
    model = save_model(folder / "models", "small", spec, new_network(spec), {})
    stand = Stand(folder)
    stand.append([(record.timestamp_ms, record.key, record.value) for record in records(history)])
    stand.serve({"champion": model}, max_records=50)
    return stand, model, folder


def backtested(model: Model, history: History) -> quality.SumsByStep:
    return backtest(model, history, int(history.ts_N[0]) + 2 * model.spec.series.freq, baselines={}).quality


def metrics(stand: Stand) -> dict[tuple[str, str], float]:
    """The service's metrics of quality, by name and horizon."""
    return {
        (sample.name.removeprefix("streamcast_quality_"), sample.labels["horizon"]): sample.value
        for family in text_string_to_metric_families(stand.telemetry.exposition().decode())
        for sample in family.samples
        if sample.name.startswith("streamcast_quality_")
    }


def shown(stand: Stand, spec: ModelSpec, *, by_the_service: bool) -> tuple[Mapping[str, float], str]:
    """The champion's numbers on the page, and the words that name their window."""
    board = Board(spec.series, spec.naive_season, scored=spec.scored_steps, reach=spec.ring)
    feed = Feed(
        stand.reader, board, observations=TOPICS.observations, forecasts=TOPICS.forecasts,
        dead_letters=TOPICS.dead_letters,
    )  # fmt: skip
    while feed.read_some():
        pass
    if by_the_service:
        with closing(TelemetryServer(stand.telemetry, LoopHealth())) as server:
            board.report_service(Scraper(f"http://127.0.0.1:{server.port}/metrics")())
    board.score()
    (champion,) = views.stats(board)["lanes"]
    return champion, words.windows(board)["relative"]


def verified(stand: Stand, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `streamcast verify` prints."""
    monkeypatch.setattr(verify, "new_reader", lambda _settings, who: MemoryReader(stand.broker, who))
    names = {f"output.{name}": getattr(TOPICS, name) for name in ("forecasts", "dead_letters", "journal")}
    lanes = {"models.folder": str(folder / "models"), "models.lanes": {"champion": {"model": "small@1"}}}
    settings = load_settings(None, {"input.topic": TOPICS.observations, "kafka.group": GROUP, **names, **lanes})
    printed = io.StringIO()
    assert verify.verify_service(settings, False, Console(file=printed, width=400, soft_wrap=True)) == 0
    return printed.getvalue()


def test_backtest_metrics_page_and_verify_show_the_same_numbers(
    world: tuple[Stand, Model, Path], history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand, model, folder = world
    tally = backtested(model, history)
    found, seen = tally.over_all(), metrics(stand)
    assert found.outcomes >= found.compared > 300
    for horizon, each in {"all": found, **{str(step): one for step, one in tally.by_step().items()}}.items():
        assert seen["outcomes", horizon] == each.outcomes
        for name, number in {"mae": each.mae, "naive_mae": each.naive_mae, "coverage": each.coverage}.items():
            assert seen[name, horizon] == pytest.approx(number, rel=1e-12)
        assert seen["relative_mae", horizon] == pytest.approx(each.relative, rel=1e-12)
    for by_the_service in (True, False):
        champion, window = shown(stand, model.spec, by_the_service=by_the_service)
        assert champion["relative"] == pytest.approx(found.relative, rel=1e-5)  # a record has six digits
        assert champion["coverage"] == pytest.approx(found.coverage, rel=1e-12)
        assert ("by its own account" in window) == by_the_service
        assert f"seasonal naive ({NAIVE})" in window
        assert "steps 1, 2, 6 ahead" in window
    said = quality.lines(tally, 0.8, NAIVE)
    told = verified(stand, folder, monkeypatch)
    assert all(line in told for line in said), (told, said)


def test_verify_says_which_part_the_model_was_trained_on(
    world: tuple[Stand, Model, Path], history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand, model, folder = world
    record = folder / "models" / "small" / "1" / "model.json"
    untouched = record.read_text()
    try:
        for last, said in [
            (int(history.ts_N[0]), None),
            (
                int(history.ts_N[len(history) // 2]),
                "Of forecasts of unseen data (none of their outcomes was trained on): ",
            ),
            (
                int(history.ts_N[-1]),
                "All of these are forecasts of data that the model was trained on: ",
            ),
        ]:
            record.write_text(json.dumps(json.loads(untouched) | {"facts": {"last": last}}))
            told = verified(stand, folder, monkeypatch)
            if said is None or isinstance(model.network, NoNetwork):
                assert "trained on" not in told
            else:
                assert said in told
        half = backtest(model, history, int(history.ts_N[len(history) // 2]) + 1, baselines={}).quality.over_all()
        facts = {"last": int(history.ts_N[len(history) // 2]), "timezone": "Australia/Melbourne"}
        record.write_text(json.dumps(json.loads(untouched) | {"facts": facts}))
        told = verified(stand, folder, monkeypatch)
        assert ("Australia/Melbourne)." in told) != isinstance(model.network, NoNetwork)
        assert (quality.sentence(half, 0.8, NAIVE) in told) != isinstance(model.network, NoNetwork)
        placed = f"({half.outcomes:,} outcomes, of forecasts made from 20"
        assert (placed in told) != isinstance(model.network, NoNetwork)
    finally:
        record.write_text(untouched)


def test_the_commands_say_it_in_the_same_words(
    world: tuple[Stand, Model, Path], history: History, tmp_path: Path
) -> None:
    _, model, folder = world
    keys, times = [history.keys[n] for n in history.series_N], pd.to_datetime(history.ts_N, unit="ms", utc=True)
    pd.DataFrame({"unique_id": keys, "ds": times, "y": history.values_NC[:, 0]}).to_csv(tmp_path / "d.csv", index=False)
    start = str(times.min() + pd.Timedelta(hours=2))
    options = ["--model", "small", "--models", str(folder / "models"), "--test-from", start]
    said = CliRunner().invoke(app, ["backtest", str(tmp_path / "d.csv"), *options])
    assert said.exit_code == 0, said.output
    for line in quality.lines(backtested(model, history), 0.8, NAIVE):
        assert line in said.output


def test_training_ends_with_the_same_words_and_the_model_keeps_them(history: History, tmp_path: Path) -> None:
    keys, times = [history.keys[n] for n in history.series_N], pd.to_datetime(history.ts_N, unit="ms", utc=True)
    pd.DataFrame({"unique_id": keys, "ds": times, "y": history.values_NC[:, 0]}).to_csv(tmp_path / "d.csv", index=False)
    run, models = CliRunner(), ["--models", str(tmp_path / "m")]
    train = ["train", str(tmp_path / "d.csv"), "--model", "zero", "--season", "24", "--horizon", "6", "--hold-out", "0"]
    trained = run.invoke(app, [*train, *models])
    assert trained.exit_code == 0, trained.output
    shown = run.invoke(app, ["model", "show", "model", *models]).output
    listed = run.invoke(app, ["model", "ls", *models]).output
    facts = run.invoke(app, ["model", "show", "model", "--json", *models]).output
    assert '"outcomes"' in facts
    last = next(line for line in trained.output.splitlines() if "of seasonal naive's" in line)
    ratio = last.split(" of seasonal naive's")[0].split()[-1]
    assert f"({NAIVE})" in last
    assert f"{ratio} of seasonal naive's ({NAIVE})" in " ".join(shown.split())
    assert ratio in listed
