"""Training: it learns, it is repeatable, it validates on what it has not seen, and stopping it costs nothing."""

from __future__ import annotations

import copy
import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from harness.histories import HOUR, START, history_of
from streamcast.app.trained import training_line
from streamcast.errors import HistoryError, ModelError
from streamcast.models.ensemble import members_of
from streamcast.models.network import Network
from streamcast.models.spec import SpecError
from streamcast.models.surgery.compress import pruned
from streamcast.models.surgery.handover import first_layers, frozen, hand_over
from streamcast.offline.defaults.seasons import seasons
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.history.read import read
from streamcast.offline.training import highway
from streamcast.offline.training.fit import fit, fit_again, held_out_loss
from streamcast.offline.training.hardware import copied, one_thread
from streamcast.offline.training.objective import Objective
from streamcast.offline.training.options import LIMITS, Options
from streamcast.offline.training.run import OnProgress, Progress, Run, Stage
from streamcast.offline.training.sequences import Sequences, sequences
from streamcast.offline.training.streams import Chunk, Streams
from streamcast.offline.training.validation import parts
from streamcast.spec.folders import Model, new_network

QUICK = Options(epochs=2, updates=40, rows=8, chunk=16, burn_in=16, positions=128, refit=0.0)
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
    options = Options(epochs=1, updates=20, rows=4, chunk=16, burn_in=16, positions=32, seed=3)
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
    fit(history, default_spec(history, 4, SMALL), Options(epochs=1, updates=5, rows=4, positions=8, seed=3))
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads


def test_the_step_size_stays_for_as_many_epochs_as_it_shall() -> None:
    history = history_of(300)
    spec = default_spec(history, 4, SMALL)
    still = replace(QUICK, decay=0.0, patience=9, average=0.0, learning_rate=1e-4)  # each small step is the best yet
    two, four, one = (
        fit(history, spec, replace(still, epochs=epochs, updates=updates, decay_every=every)).network
        for epochs, updates, every in ((2, 10, 1), (4, 5, 2), (4, 5, 1))
    )
    assert same(two, four)
    assert not same(two, one)


def test_no_outcome_that_is_trained_on_lies_in_the_time_of_validation() -> None:
    history = history_of(500, 3)
    spec = default_spec(history, 12, SMALL)
    seen = sequences(history, spec)
    train_P, validation_P = parts(seen, 0.2)
    assert len(train_P)
    assert seen.cutoff_K[train_P].max() + 12 * HOUR <= seen.cutoff_K[validation_P].min()
    assert seen.warm_K[train_P].all()


def test_the_highway_is_the_ridge_regression_of_outcomes_on_lags() -> None:
    history = history_of(400, 1, drop=0.0)
    spec = default_spec(history, 3, SMALL, lags=8)
    network = new_network(spec)
    seen = sequences(history, spec)
    train_P, validation_P = parts(seen, 0.2)
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


def test_what_lower_layers_learned_alone_is_kept_at_ctrl_c() -> None:
    history = history_of(400)
    seen: list[Progress] = []

    def interrupt(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) > QUICK.updates and progress.epoch == 1:  # the layers are together
            raise KeyboardInterrupt

    deep = default_spec(history, 6, {"kind": "gru", "hidden": 8, "layers": 2})
    model = fit(history, deep, replace(QUICK, layer_epochs=1), interrupt)
    assert (model.facts["stopped"], model.facts["whole_epochs"]) == ("interrupted", 0)
    assert model.facts["learned"]
    seen.clear()
    with pytest.raises(KeyboardInterrupt, match="ended before anything was learned"):
        fit(history, deep, replace(QUICK, layer_epochs=1, learning_rate=0.0), interrupt)


def test_a_time_limit_ends_training_and_says_so() -> None:
    history = history_of(400)
    options = Options(epochs=10_000, patience=10_000, max_seconds=0.5, rows=8)
    assert fit(history, default_spec(history, 6, SMALL), options).facts["stopped"] == "max_seconds"


def test_what_learned_nothing_within_its_time_is_not_scored_and_says_what_an_epoch_needs() -> None:
    history, seen = history_of(400), list[Progress]()
    spec = default_spec(history, 6, {**SMALL, "members": 2})
    options = replace(QUICK, updates=1_000, learning_rate=0.0, max_seconds=1e-6)
    model = fit(history, spec, options, seen.append)
    assert "scoring" not in {at.stage for at in seen}
    assert (model.facts["learned"], model.facts["quality"], model.facts["unscored"]) == (False, None, "max_seconds")
    assert model.facts["preparation_seconds"] > 0
    assert model.facts["first_epoch_seconds"] > 0
    said = r"again on 781 rows, but the time was up before anything was learned: .* \(--max-seconds\): a first epoch"
    with pytest.raises(ModelError, match=said):
        fit_again(history, spec, options, "--max-seconds")


def test_progress_rises_once_to_its_end_and_the_refit_keeps_the_best_loss() -> None:
    history = history_of(400)
    seen: list[Progress] = []
    options = replace(QUICK, average=0.5, refit=0.3)
    model = fit(history, default_spec(history, 6, SMALL), options, seen.append)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1].done == pytest.approx(1.0)
    assert all(p.seconds_left >= 0 and np.isfinite(p.loss) for p in seen)
    first, refit, scoring = ([p for p in seen if p.stage == stage] for stage in get_args(Stage))
    assert scoring == seen[-1:]
    assert [p.epoch for p in first] == sorted(p.epoch for p in first)
    assert first[-1].epoch == first[-1].epochs == QUICK.epochs
    assert len(refit) == model.facts["refit_updates"] > 0
    assert {p.validation for p in refit} == {model.facts["validation_loss"]}
    assert first[-1].seconds_left > 0, "the final training is still to come"
    assert refit[-1].seconds_left == 0


def test_the_time_left_covers_all_trainings_and_never_exceeds_the_limit() -> None:
    history, seen = history_of(400), list[Progress]()
    options = replace(QUICK, epochs=1, layer_epochs=1, refit=0.0)
    deep = {"kind": "gru", "hidden": 8, "layers": 2}
    fit(history, default_spec(history, 6, deep), options, seen.append)
    trained = [progress for progress in seen if progress.stage == "training"]
    below, whole = trained[: len(trained) // 2], trained[len(trained) // 2 :]
    assert below[-1].seconds_left > whole[-1].seconds_left == 0
    seen.clear()
    fit(history, default_spec(history, 6, SMALL), Options(epochs=10_000, max_seconds=0.5, rows=8), seen.append)
    assert all(progress.seconds_left <= 0.5 for progress in seen)


def test_ctrl_c_while_the_model_is_scored_costs_its_score_alone() -> None:
    history = history_of(400)

    def interrupt(progress: Progress) -> None:
        if progress.stage == "scoring":
            raise KeyboardInterrupt

    spec = default_spec(history, 6, SMALL)
    whole, ended = fit(history, spec, QUICK), fit(history, spec, QUICK, interrupt)
    assert whole.facts["quality"] is not None
    assert ended.facts["quality"] is None
    assert ended.facts["unscored"] == "interrupted"
    assert "unscored" not in whole.facts
    assert same(whole.network, ended.network)


@pytest.mark.parametrize("stage", ["training", "final training", "scoring"])
def test_a_training_within_a_test_ends_at_ctrl_c_so_that_no_half_trained_model_is_scored(stage: str) -> None:
    history = history_of(400)
    spec, options = default_spec(history, 6, SMALL), replace(QUICK, average=0.5, refit=0.3)

    def interrupt(progress: Progress) -> None:
        if progress.stage == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_again(history, spec, options, "--max-seconds", interrupt)
    assert same(fit_again(history, spec, options, "--max-seconds").network, fit(history, spec, options).network)


def test_a_model_knows_the_options_of_its_training_wherever_it_was_trained() -> None:
    history = history_of(400)
    options = replace(QUICK, seed=3, device="cpu", learning_rate=float(np.float32(0.01)), rows=int(np.int64(7)))
    facts = json.loads(json.dumps(fit(history, default_spec(history, 6, SMALL), options).facts))
    assert Options.of_facts(facts) == replace(options, device="auto")
    assert Options.of_facts({"seed": 4, "options": {"of_a_later_version": 1}}) == Options(seed=4)


@pytest.mark.parametrize("field", [f.name for f in fields(Options) if isinstance(f.default, (int, float))])
def test_no_number_of_the_options_may_leave_its_limits(field: str) -> None:
    low, high = next(limits for option, limits in LIMITS.items() if option.value == field)
    for wrong in (low - 1, 2 * high, float("nan")):
        with pytest.raises(SpecError, match=f"{field} is .*: expected a (whole )?number from {low} to"):
            replace(QUICK, **{field: wrong})  # type: ignore[arg-type]


def test_interrupting_the_refit_keeps_what_was_best_before_it() -> None:
    history = history_of(400)
    spec = default_spec(history, 6, SMALL)

    def interrupt(progress: Progress) -> None:
        if progress.stage == "final training":
            raise KeyboardInterrupt

    options = replace(QUICK, average=0.5, refit=0.3)
    whole, ended = fit(history, spec, replace(options, refit=0)), fit(history, spec, options, interrupt)
    assert whole.facts["best_epoch"] > 0
    assert ended.facts["refit_updates"] == 0
    assert all(
        torch.equal(a, b) for a, b in zip(*(model.network.parameters() for model in (whole, ended)), strict=True)
    )


def test_several_networks_are_trained_each_as_it_would_be_alone_and_their_mean_forecasts() -> None:
    history, seen = history_of(400), list[Progress]()
    spec, options = default_spec(history, 6, SMALL, members=3), replace(QUICK, refit=0.3)
    model = fit(history, spec, options, seen.append)
    first, *others = members_of(model.network)
    assert same(first, fit(history, default_spec(history, 6, SMALL), options).network)
    assert len(others) == 2
    assert not any(same(first, other) for other in others)
    assert model.spec == spec
    assert len(model.facts["member_losses"]) == model.facts["members_asked"] == 3
    assert model.facts["validation_loss"] < np.mean(model.facts["member_losses"])
    trained = [p for p in seen if p.stage != "scoring"]
    assert [p.done for p in trained] == sorted(p.done for p in trained)
    assert [p.member for p in trained] == sorted(p.member for p in trained)
    assert {(p.member, p.members) for p in trained} == {(1, 3), (2, 3), (3, 3)}
    assert next(p for p in trained if p.member == 2).seconds_left > 0
    assert trained[-1].done == pytest.approx(1.0)
    assert trained[-1].seconds_left == 0


@pytest.mark.parametrize("ended", [1, 2, 3])
def test_ctrl_c_keeps_the_networks_that_were_trained_before_and_the_spec_says_how_many(ended: int) -> None:
    history = history_of(400)

    def interrupt(progress: Progress) -> None:
        if progress.member == ended and progress.epoch == 2:
            raise KeyboardInterrupt

    spec = default_spec(history, 6, SMALL, members=3)
    model = fit(history, spec, QUICK, interrupt)
    kept = max(ended - 1, 1)
    assert model.facts["stopped"] == "interrupted"
    assert len(members_of(model.network)) == kept == model.spec.network.get("members", 1)
    assert model.facts["members_asked"] == 3
    assert new_network(model.spec).state_dict().keys() == model.network.state_dict().keys()


@pytest.mark.parametrize("members", [1, 3])
def test_ctrl_c_in_the_final_training_keeps_that_network_and_trains_no_other(members: int) -> None:
    history, seen = history_of(400), list[Progress]()

    def interrupt(progress: Progress) -> None:
        seen.append(progress)
        if progress.stage == "final training":
            raise KeyboardInterrupt

    options = replace(QUICK, average=0.5, refit=0.3)
    model = fit(history, default_spec(history, 6, SMALL, members=members), options, interrupt)
    alone = fit(history, default_spec(history, 6, SMALL), replace(options, refit=0))
    assert model.facts["stopped"] == "interrupted"
    assert model.facts["refit_updates"] == 0
    assert {progress.member for progress in seen} == {1}
    assert same(model.network, alone.network)


def test_ctrl_c_before_a_later_networks_first_update_keeps_those_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    history, solve, calls = history_of(400), highway.solve, []

    def interrupted(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        solve(*arguments)

    monkeypatch.setattr(highway, "solve", interrupted)
    model = fit(history, default_spec(history, 6, SMALL, members=3), QUICK)
    assert model.facts["stopped"] == "interrupted"
    assert len(members_of(model.network)) == 1


def test_several_networks_share_the_time() -> None:
    history = history_of(400)
    options = Options(epochs=10_000, patience=10_000, max_seconds=6.0, rows=8)
    model = fit(history, default_spec(history, 6, SMALL, members=3), options)
    assert model.facts["stopped"] == "max_seconds"
    assert len(members_of(model.network)) == 3


def test_a_network_whose_first_epoch_is_cut_short_does_not_make_the_mean_of_the_others_worse() -> None:
    history = history_of(400)
    options = replace(QUICK, updates=4, max_seconds=9.0)

    def follow(at: Progress) -> None:
        if at.member == 1 and at.stage == "training":
            time.sleep(3.1)  # its third of the time

    model = fit(history, default_spec(history, 6, SMALL, members=3), options, follow)
    assert (len(members_of(model.network)), model.spec.network["members"]) == (2, 2)
    facts = model.facts
    assert (facts["members_asked"], len(facts["member_losses"]), facts["stopped"]) == (3, 2, "max_seconds")
    assert facts["whole_epochs"] > 0
    assert "2 of 3 networks" in training_line(model)


def test_several_networks_go_on_from_as_many() -> None:
    history = history_of(400)
    spec = default_spec(history, 6, SMALL, members=2)
    start = fit(history, spec, QUICK)
    still = fit(history, spec, replace(QUICK, epochs=0), initial=start.network)
    assert same(still.network, start.network)
    assert still.facts["initial_loss"] == still.facts["validation_loss"] == start.facts["validation_loss"]
    with pytest.raises(SpecError, match="another network's"):
        fit(history, default_spec(history, 6, SMALL), QUICK, initial=start.network)


def test_one_network_can_learn_from_several() -> None:
    history = history_of(400)
    teacher = fit(history, default_spec(history, 6, SMALL, members=2), QUICK)
    student = fit(history, default_spec(history, 6, SMALL), QUICK, teacher=teacher)
    assert not same(student.network, fit(history, student.spec, QUICK).network)


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
    facts = fit(
        history, default_spec(history, 4, SMALL, lags=16), Options(epochs=1, updates=20, rows=8, validation=0.4)
    ).facts
    assert np.isfinite(facts["validation_loss"])


def test_the_default_spec_finds_the_daily_season_and_fits_the_length() -> None:
    history = history_of(600)
    spec = default_spec(history, 24)
    assert spec.season == seasons(history)
    assert spec.naive_season == 24
    assert spec.lags % 8 == 0
    assert spec.lags <= 600 // 4
    assert spec.series.freq == HOUR
    assert "day" in spec.calendar
    assert "hour" not in spec.calendar


def test_only_one_network_reads_coarser_scales_unasked_and_others_can() -> None:
    history = history_of(600)
    assert [scale.every for scale in default_spec(history, 24, "lstm-attention").scales] == [24 * HOUR]
    for network in ("gru", "rnn-attention", "lstm-transformer"):
        assert default_spec(history, 24, network).scales == ()
        asked = default_spec(history, 24, network, scales=["1d"])
        assert new_network(asked).across is not None


ROWS, NEWEST = np.arange(8), np.arange(32, 40)
FIRST = Chunk(0 * ROWS, 0 * ROWS + 40, 0 * ROWS, np.ones(8, np.bool_))
LSTM = {"kind": "lstm", "hidden": 8, "layers": 3, "dropout": 0.0}


def weights(network: Network) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in network.named_parameters()}


def same(one: Network, other: Network) -> bool:
    return all(torch.equal(weight, weights(other)[name]) for name, weight in weights(one).items())


@contextmanager
def gradients() -> Iterator[list[list[Tensor]]]:
    """Note the gradients of every update that is made meanwhile."""
    seen: list[list[Tensor]] = []

    def note(optimizer: torch.optim.Optimizer, *_: object) -> None:
        grads = (weight.grad for group in optimizer.param_groups for weight in group["params"])
        seen.append([grad.clone() for grad in grads if grad is not None])

    hook = register_optimizer_step_pre_hook(note)
    try:
        yield seen
    finally:
        hook.remove()


class TestWarmStart:
    def test_it_begins_where_the_other_network_is(self) -> None:
        history = history_of(400)
        first = fit(history, default_spec(history, 6, SMALL), QUICK)
        again = fit(history, first.spec, replace(QUICK, epochs=0), initial=first.network)
        assert same(again.network, first.network)
        assert again.facts["initial_loss"] == again.facts["validation_loss"] == first.facts["validation_loss"]
        assert held_out_loss(first.network, history, first.spec, QUICK) == first.facts["validation_loss"]

    def test_pruning_loses_accuracy_and_training_on_wins_some_back(self) -> None:
        history = history_of(600)
        spec = default_spec(history, 6, {"kind": "lstm", "hidden": 16, "layers": 1, "dropout": 0.0}, lags=0)
        whole = fit(history, spec, replace(QUICK, epochs=8))
        small = pruned(whole.network, 0.5)
        mended = fit(history, spec.model_copy(update={"network": small.spec}), replace(QUICK, epochs=6), initial=small)
        assert whole.facts["validation_loss"] < mended.facts["initial_loss"]
        assert mended.facts["validation_loss"] < mended.facts["initial_loss"]
        assert size(mended.network) < size(whole.network)

    def test_weights_of_another_network_are_refused(self) -> None:
        history = history_of(300, 1)
        spec = default_spec(history, 4, SMALL)
        wider = new_network(spec.model_copy(update={"network": {**SMALL, "hidden": 16}}))
        with pytest.raises(SpecError, match="another network's"):
            fit(history, spec, QUICK, initial=wider)


class TestDistillation:
    def test_a_student_moves_towards_its_teacher_as_far_as_it_is_told_to(self) -> None:
        seen, student = small_task(SMALL)
        teacher = copy.deepcopy(student).eval()
        with torch.no_grad():
            assert teacher.highway is not None
            teacher.highway.bias.add_(2.0)  # what no outcome would teach
        distances = []
        for imitate in (0.0, 1.0):
            network = copy.deepcopy(student)
            objective = Objective(network, seen, 8, teacher, imitate)
            descend(objective, network)
            only_distance = Objective(network, seen, 8, teacher, 1.0)
            only_distance.advance(FIRST)
            distances.append(only_distance.loss(ROWS, NEWEST).item())
        assert distances[1] < 0.5
        assert distances[0] > 1.5

    def test_a_trained_student_was_taught_and_its_teacher_was_not(self) -> None:
        history = history_of(300, 1)
        spec = default_spec(history, 4, SMALL)
        teacher = fit(history, spec, replace(QUICK, seed=5))
        student = fit(history, spec, QUICK, teacher=teacher)
        assert not same(student.network, fit(history, spec, QUICK).network)
        assert same(teacher.network, fit(history, spec, replace(QUICK, seed=5)).network)

    def test_a_teacher_of_another_task_is_refused(self) -> None:
        history = history_of(300, 1)
        spec, longer = (default_spec(history, horizon, SMALL) for horizon in (4, 5))
        with pytest.raises(ModelError, match="horizon"):
            fit(history, spec, QUICK, teacher=Model(longer, new_network(longer)))


class TestAccumulation:
    def test_the_gradient_of_some_chunks_is_the_mean_of_theirs(self) -> None:
        history = history_of(500)
        spec = default_spec(history, 4, SMALL)
        still = replace(QUICK, epochs=1, learning_rate=0.0, clip=1e9)
        with gradients() as each:
            fit(history, spec, replace(still, updates=30))
        with gradients() as grouped:
            fit(history, spec, replace(still, updates=10, accumulate=3))
        assert (len(each), len(grouped)) == (30, 10)
        for first, together in zip(range(0, len(each), 3), grouped, strict=True):
            expected = [sum(parts) / 3 for parts in zip(*each[first : first + 3], strict=True)]
            for gradient, mean in zip(together, expected, strict=True):
                torch.testing.assert_close(gradient, mean, rtol=1e-4, atol=1e-6)

    def test_gradients_of_an_update_that_the_time_cut_short_are_in_no_later_one(self) -> None:
        seen, network = small_task(SMALL)
        train_P, validation_P = parts(seen, 0.2)
        options = replace(QUICK, epochs=1, updates=2, accumulate=3, learning_rate=0.0, max_seconds=3_600.0)

        def run(of: Network, on_progress: OnProgress = lambda _progress: None) -> Run:
            return Run(of, seen, train_P, validation_P, options, on_progress, None)

        def updates(of: Run) -> list[list[Tensor]]:
            with one_thread(1), gradients() as found:
                of.one_epoch(copied(of.network))
            return found

        def end(_progress: Progress) -> None:
            short.started -= options.max_seconds

        fresh = run(copied(network))
        short = run(network, end)
        assert updates(short) == []
        assert any(weight.grad is not None for weight in network.parameters())
        again, wanted = updates(run(network)), updates(fresh)
        assert len(again) == len(wanted) == 2
        for gradient, other in zip(itertools.chain(*again), itertools.chain(*wanted), strict=True):
            torch.testing.assert_close(gradient, other)


class TestCellPenalty:
    def test_it_makes_the_cell_states_smaller(self) -> None:
        seen, fresh = small_task(LSTM)
        sizes = []
        for penalty in (0.0, 10.0):
            network = copy.deepcopy(fresh)
            descend(Objective(network, seen, 8, None, 0.0, penalty), network)
            streams = Streams(network, seen, 8)
            streams.advance(FIRST)
            assert len(streams.reached("c")) == 3
            sizes.append(sum(cell.square().mean().item() for cell in streams.reached("c")))
        assert sizes[1] < 0.5 * sizes[0]

    def test_it_is_refused_where_there_is_no_cell(self) -> None:
        history = history_of(300, 1)
        with pytest.raises(SpecError, match="cell_penalty"):
            fit(history, default_spec(history, 4, SMALL), replace(QUICK, cell_penalty=1e-3))


class TestPonderCost:
    def test_it_makes_rows_leave_earlier(self) -> None:
        seen, fresh = small_task({"kind": "gru-adaptive", "hidden": 8, "dropout": 0.0})
        climbed = []
        for cost in (0.0, 1.0):
            network = copy.deepcopy(fresh)
            descend(Objective(network, seen, 8, None, 0.0, ponder_cost=cost), network)
            streams = Streams(network, seen, 8)
            streams.advance(FIRST)
            climbed.append(torch.cat(streams.reached("ponder")).mean().item())
        assert climbed[1] < climbed[0] - 0.2

    def test_it_is_refused_where_all_layers_are_always_climbed(self) -> None:
        history = history_of(300, 1)
        with pytest.raises(SpecError, match="ponder_cost"):
            fit(history, default_spec(history, 4, SMALL), replace(QUICK, ponder_cost=1e-2))


class TestLayerByLayer:
    def test_layers_below_stand_still_and_are_handed_back(self) -> None:
        history = history_of(300)
        spec = default_spec(history, 4, LSTM)
        network = new_network(spec)
        small = first_layers(network, 2)
        assert [name for name in weights(small) if "layers.2" in name] == []
        with frozen(small, 1):
            squares = [weight.square().sum() for weight in small.parameters() if weight.requires_grad]
            torch.autograd.backward(torch.stack(squares).sum())
        moved = {name for name, weight in small.named_parameters() if weight.grad is not None}
        assert moved == {name for name in weights(small) if "layers.0" not in name}
        assert all(weight.requires_grad for weight in small.parameters())
        with torch.no_grad():
            for weight in small.parameters():
                weight.add_(1)
        hand_over(small, network)
        assert all(torch.equal(weights(network)[name], weight) for name, weight in weights(small).items())

    def test_every_layer_is_trained_as_the_top_before_all_are(self) -> None:
        history = history_of(300)
        spec = default_spec(history, 4, LSTM)
        epochs: list[int] = []
        with gradients() as seen:
            options = replace(QUICK, epochs=1, layer_epochs=2)
            pretrained = fit(history, spec, options, lambda progress: epochs.append(progress.epochs))
        assert [count for count, before in zip(epochs, [0, *epochs], strict=False) if count != before] == [2, 1]
        whole = len(weights(pretrained.network))
        numbers = [len(grads) for grads in seen]
        per_layer = (whole - numbers[0]) // 2
        assert sorted(set(numbers)) == [whole - 2 * per_layer, whole]
        assert np.isfinite(pretrained.facts["validation_loss"])
        assert not same(pretrained.network, fit(history, spec, replace(options, layer_epochs=0)).network)

    @pytest.mark.parametrize("kind", ["lstm-residual", "lstm-projected", "hybrid", "gru-adaptive", "lstm-transformer"])
    def test_any_stack_can_be_grown(self, kind: str) -> None:
        history = history_of(300, 1)
        options = replace(QUICK, epochs=1, layer_epochs=1, positions=16)
        model = fit(history, default_spec(history, 4, {"kind": kind, "hidden": 8}), options)
        assert np.isfinite(model.facts["validation_loss"])


class TestPrecisionAndDevice:
    def test_mixed_precision_learns_and_leaves_float32_weights(self) -> None:
        history = history_of(400)
        spec = default_spec(history, 6, SMALL)
        model = fit(history, spec, replace(QUICK, epochs=4, precision="bfloat16"))
        assert model.facts["validation_loss"] < model.facts["highway_loss"]
        assert all(weight.dtype == torch.float32 for weight in model.network.parameters())
        assert not same(model.network, fit(history, spec, replace(QUICK, epochs=4)).network)

    @pytest.mark.parametrize("network", [SMALL, {"kind": "lstm-attention", "hidden": 8, "ring": 8}])
    def test_streams_are_where_the_weights_are(self, network: dict[str, object]) -> None:
        """The meta device, which has no memory, plays the GPU: it refuses tensors of another device."""
        history = history_of(300)
        spec = default_spec(history, 4, network)
        seen = sequences(history, spec)
        away = new_network(spec).to("meta")
        streams = Streams(away, seen, 8)
        streams.advance(FIRST)
        assert away.distribution(*streams.recall(ROWS, NEWEST)).is_meta

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_a_gpu_that_is_not_there_is_refused(self) -> None:
        history = history_of(300, 1)
        with pytest.raises(SpecError, match="device is 'cuda'"):
            fit(history, default_spec(history, 4, SMALL), replace(QUICK, device="cuda"))


def size(network: Network) -> int:
    return sum(weight.numel() for weight in network.parameters())


def small_task(network: dict[str, object]) -> tuple[Sequences, Network]:
    """Return a short history as the engine sees it, and a fresh network for it."""
    torch.manual_seed(6)
    history = history_of(300)
    spec = default_spec(history, 4, network, plain=True)
    return sequences(history, spec), new_network(spec)


def descend(objective: Objective, network: Network) -> None:
    """Take some steps down an objective, each over the same bars from nothing."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(60):
        objective.advance(FIRST)
        loss = objective.loss(ROWS, NEWEST)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


def test_rows_after_the_last_target_change_weights_and_losses_by_rounding_alone() -> None:
    """They were part of the validation: an epoch was chosen by what was left of it, or by nothing."""
    rows = pd.DataFrame({"unique_id": "a", "ds": START + HOUR * np.arange(400), "y": np.sin(np.arange(400) / 4)})
    ended = pd.concat([rows, rows.assign(ds=rows["ds"] + 400 * HOUR, y=np.nan)])
    history, longer = (read(frame, freq="1h") for frame in (rows, ended))
    spec = default_spec(history, 4, SMALL)
    one, other = (fit(each, spec, replace(QUICK, epochs=1), beside_zero=False) for each in (history, longer))
    assert one.facts["validation_loss"] == pytest.approx(other.facts["validation_loss"], rel=1e-5)
    assert one.facts["bars_trained"] == other.facts["bars_trained"]
    weights = other.network.state_dict()
    assert all(torch.allclose(values, weights[name], atol=1e-4) for name, values in one.network.state_dict().items())
    losses = [held_out_loss(one.network, each, spec) for each in (history, longer)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
