"""Training: it learns, it is repeatable, it validates on what it has not seen, and stopping it costs nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from streamcast import highway
from streamcast.defaults import best_season, default_spec
from streamcast.history import HistoryError, read
from streamcast.registry import ModelError, new_network
from streamcast.sequences import sequences
from streamcast.training import Options, Progress, _parts, fit
from tests.histories import HOUR, history_of

QUICK = Options(epochs=2, rows=8, chunk=16, burn_in=16, positions=128)
SMALL = {"kind": "gru", "hidden": 8, "layers": 1}


def test_a_trained_model_beats_its_own_highway_on_what_it_was_not_trained_on() -> None:
    history = history_of()
    facts = fit(history, default_spec(history, 6, SMALL), replace(QUICK, epochs=6)).facts
    assert facts["validation_loss"] < facts["highway_loss"]
    assert facts["stopped"] == "epochs"


@pytest.mark.parametrize("network", [SMALL, {"kind": "lstm-attention", "hidden": 8, "ring": 8}])
def test_the_same_history_spec_and_seed_give_the_same_weights(network: dict[str, object]) -> None:
    history = history_of(300)
    spec = default_spec(history, 4, network)
    options = Options(epochs=1, rows=4, chunk=16, burn_in=16, positions=32, seed=3)
    torch.manual_seed(1)
    one = fit(history, spec, options).network.state_dict()
    torch.manual_seed(2)
    other = fit(history, spec, options).network.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_training_leaves_the_callers_random_numbers_and_threads_alone() -> None:
    history = history_of(300, 1)
    torch.manual_seed(5)
    expected, threads = torch.rand(1), torch.get_num_threads()
    torch.manual_seed(5)
    fit(history, default_spec(history, 4, SMALL), Options(epochs=1, rows=4, positions=8, seed=3))
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads


def test_no_outcome_that_is_trained_on_lies_in_the_time_of_validation() -> None:
    history = history_of(500, 3)
    spec = default_spec(history, 12, SMALL)
    seen = sequences(history, spec, new_network(spec))
    train_P, validation_P = _parts(seen, 0.2)
    assert len(train_P)
    assert seen.cutoff_K[train_P].max() + 12 * HOUR <= seen.cutoff_K[validation_P].min()
    assert seen.warm_K[train_P].all()


def test_the_highway_is_the_ridge_regression_of_outcomes_on_lags() -> None:
    history = history_of(400, 1, drop=0.0)
    spec = default_spec(history, 3, SMALL, lags=8)
    network = new_network(spec)
    seen = sequences(history, spec, network)
    train_P, validation_P = _parts(seen, 0.2)
    highway.solve(seen, network, train_P, validation_P)
    x, y = seen.lags(train_P).astype(float), seen.outcomes(train_P).astype(float)
    centred = x - x.mean(0)
    gram = centred.T @ centred
    assert network.highway is not None
    found = network.highway.weight.detach().numpy().T
    distances = []
    for penalty in highway.PENALTIES:
        ridge = penalty * np.trace(gram) / 8 * np.eye(8)
        stacked = np.vstack([centred, np.linalg.cholesky(ridge).T])  # the same by least squares
        expected = np.linalg.lstsq(stacked, np.vstack([y - y.mean(0), np.zeros((8, 3))]), rcond=None)[0]
        distances.append(np.abs(found - expected).max())
    assert min(distances) < 1e-4


def test_interrupting_keeps_the_best_so_far_as_a_usable_model() -> None:
    history = history_of(400)

    def interrupt(progress: Progress) -> None:
        if progress.epoch == 2:
            raise KeyboardInterrupt

    model = fit(history, default_spec(history, 6, SMALL), QUICK, interrupt)
    assert model.facts["stopped"] == "interrupted"
    assert model.facts["best_epoch"] <= 1
    assert all(bool(tensor.isfinite().all()) for tensor in model.network.state_dict().values())


def test_a_time_limit_ends_training_and_says_so() -> None:
    history = history_of(400)
    options = Options(epochs=10_000, patience=10_000, max_seconds=0.5, rows=8)
    assert fit(history, default_spec(history, 6, SMALL), options).facts["stopped"] == "max_seconds"


def test_progress_counts_epochs_and_batches_to_their_end() -> None:
    history = history_of(400)
    seen: list[Progress] = []
    fit(history, default_spec(history, 6, SMALL), QUICK, seen.append)
    assert [p.epoch for p in seen] == sorted(p.epoch for p in seen)
    assert seen[-1].epoch == seen[-1].epochs == 2
    assert seen[-1].batch == seen[-1].batches
    assert all(p.seconds_left >= 0 and np.isfinite(p.loss) for p in seen)


def test_a_history_that_is_too_short_is_refused_with_a_remedy() -> None:
    history = history_of(20, 1)
    with pytest.raises(HistoryError, match="give more history"):
        fit(history, default_spec(history, 24, SMALL), QUICK)


def test_a_network_that_does_not_exist_is_refused() -> None:
    history = history_of(300, 1)
    with pytest.raises(ModelError, match="grue"):
        fit(history, default_spec(history, 4, "grue"), QUICK)


def test_many_short_series_train_beside_a_long_one() -> None:
    long, short = history_of(500, 1), history_of(90, 30, seed=4)
    rows = [(f"long{i}", h.ts_N[h.series_N == i], h.values_NC[h.series_N == i, 0]) for h in (long,) for i in range(1)]
    rows += [(f"short{i}", short.ts_N[short.series_N == i], short.values_NC[short.series_N == i, 0]) for i in range(30)]
    frame = pd.concat([pd.DataFrame({"unique_id": key, "ds": ts, "y": y}) for key, ts, y in rows])
    history = read(frame, freq="1h")
    facts = fit(history, default_spec(history, 4, SMALL, lags=16), Options(epochs=1, rows=8, validation=0.4)).facts
    assert np.isfinite(facts["validation_loss"])


def test_the_default_spec_finds_the_daily_season_and_fits_the_length() -> None:
    history = history_of(600)
    spec = default_spec(history, 24)
    assert spec.season == best_season(history) == 24
    assert spec.lags % 8 == 0
    assert spec.lags <= 600 // 4
    assert spec.series.freq == HOUR
    assert "day" in spec.calendar
    assert "hour" not in spec.calendar
    assert [scale.every for scale in default_spec(history, 24, "lstm-attention").scales] == [24 * HOUR]
