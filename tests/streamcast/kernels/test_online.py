"""The layer's kernel: equal to a slow oracle, causal, bounded, ordered, not much worse than the best naive forecast."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from harness.streams import GRU, model_spec
from streamcast.engine.online import layer_fields, layer_plan, regression_ladder, scored_ladder
from streamcast.kernels import online
from streamcast.kernels.online import LayerState, Overwritten, learn_and_answer, new_scratch
from streamcast.spec.model_spec import NEW_ONLINE, ONLINE_AFTER_FEW_BARS, ONLINE_BESIDE_NETWORK, ModelSpec, Online
from tests.reference_online import OnlineLayer

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SHAPES = [((4, 9), 6), ((1,), 5), ((7,), 1), ((4, 12), 30), ((6, 3), 9)]
"""Seasons and horizons."""


def spec_of(seasons: Sequence[int], horizon: int, **given: object) -> ModelSpec:
    given = {"online": Online(), **given}
    return model_spec({}, GRU, horizon=horizon, season=tuple(seasons), **given)


def state_of(spec: ModelSpec) -> LayerState:
    """The state of one series, in memory that another one has used."""
    assert spec.online is not None
    fields = layer_fields(spec, spec.online)
    return LayerState(*(np.full((1, *fields[f"online.{name}"].shape), 7.25) for name in LayerState._fields))


def run(
    spec: ModelSpec, y: Floats, network: Floats | None = None, state: LayerState | None = None, first: int = 0,
    off: Flags | None = None,
) -> Floats:  # fmt: skip
    """Answer every bar of one series; [K, H, Q].  ``off`` says of K + H bars which are on days off."""
    assert spec.online is not None
    constants, k, quantiles = layer_plan(spec, spec.online), len(y), len(spec.quantiles)
    state = state or state_of(spec)
    forecast = np.full((k, spec.horizon, quantiles), np.nan) if network is None else network.copy()
    before = Overwritten(
        np.empty(k), np.empty(k), np.empty((k, online.CUTOFF)),
        np.empty((k, len(constants.seasons), state.places.shape[2])),
        np.empty((k, len(constants.ladder), 2 * quantiles)),
    )  # fmt: skip
    finite = np.zeros(k, np.bool_)
    off_step, off_ahead = np.empty(0, np.bool_), np.empty((0, 0), np.bool_)
    if off is not None:
        off_step, off_ahead = off[:k].copy(), sliding_window_view(off, spec.horizon + 1).copy()
    learn_and_answer(
        constants, state, new_scratch(constants), np.arange(k), np.zeros(k, np.int64),
        first + np.arange(k), y, np.arange(k), forecast, before, finite, off_step, off_ahead, np.empty((0, 0)),
    )  # fmt: skip
    assert finite.all()
    return forecast


def test_a_step_without_an_outcome_has_the_width_of_the_longest_step_with_one() -> None:
    width_KH = np.ptp(run(spec_of((24,), 24), np.arange(12.0) % 5), axis=2)
    assert (width_KH[0] == 0).all()
    assert (width_KH[1:] > 0).all()


def oracle_of(spec: ModelSpec) -> OnlineLayer:
    """The layer of a spec from its equations; the options that equal numbers do not show are left out."""
    assert spec.online is not None
    unseen = {"exact", "bounded", "forget", "network_prior", "network_on_days_off", "known_effect"}
    options = spec.online.model_dump(exclude=unseen)
    lower, upper = -np.inf if spec.lower is None else spec.lower, np.inf if spec.upper is None else spec.upper
    return OnlineLayer(spec.seasons, spec.horizon, spec.quantiles, lower, upper=upper, **options)


def daily(bars: int, day: int, random: np.random.Generator, gaps: float = 0.1) -> Floats:
    y = np.sin(np.arange(bars) * 2 * np.pi / day) + np.cumsum(random.normal(size=bars)) * 0.05
    y += 0.2 * random.normal(size=bars)
    y[random.random(bars) < gaps] = np.nan
    return y


@pytest.mark.parametrize("seasons_and_horizon", SHAPES)
@pytest.mark.parametrize("source", ["network", "no network"])
@pytest.mark.parametrize("online", [ONLINE_AFTER_FEW_BARS, ONLINE_BESIDE_NETWORK, Online()])
def test_it_equals_the_oracle(seasons_and_horizon: tuple[tuple[int, ...], int], source: str, online: Online) -> None:
    seasons, horizon = seasons_and_horizon
    random = np.random.default_rng(horizon)
    y = daily(90, max(seasons[0], 2), random)
    y[50:56] = np.nan
    y[[60, 75]] = 500.0, -60.0
    spec = spec_of(seasons, horizon, lower=-1.5, upper=1.6, online=online)
    network = None
    if source == "network":
        network = np.sort(random.normal(size=(len(y), horizon, 3)), axis=2)
        network[random.random(len(y)) < 0.1, 0, 0] = np.inf
    oracle = oracle_of(spec)
    want = np.array([oracle.step(float(y[t]), None if network is None else network[t]) for t in range(len(y))])
    np.testing.assert_allclose(run(spec, y, network), want, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seasons_and_horizon", SHAPES)
@pytest.mark.parametrize("source", ["network", "no network"])
@pytest.mark.parametrize("online", [ONLINE_BESIDE_NETWORK, Online()])
def test_with_days_off_it_equals_the_oracle(
    seasons_and_horizon: tuple[tuple[int, ...], int], source: str, online: Online
) -> None:
    seasons, horizon = seasons_and_horizon
    random = np.random.default_rng(horizon)
    y = daily(120, max(seasons[0], 2), random)
    off = random.random((len(y) + horizon) // 4 + 1).repeat(4)[: len(y) + horizon] < 0.2
    network = np.sort(random.normal(size=(len(y), horizon, 3)), axis=2) if source == "network" else None
    spec = spec_of(seasons, horizon, lower=-1.5, upper=1.6, online=online)
    oracle = oracle_of(spec)
    want = np.array(
        [
            oracle.step(float(y[t]), None if network is None else network[t], off=off[t : t + horizon + 1].tolist())
            for t in range(len(y))
        ]
    )
    np.testing.assert_allclose(run(spec, y, network, off=off), want, rtol=1e-6, atol=1e-9)


def test_with_levels_that_have_no_mirror_it_equals_the_oracle() -> None:
    seasons, horizon, levels = (4, 9), 6, (0.05, 0.3, 0.5, 0.8, 0.95)
    random = np.random.default_rng(1)
    y = daily(120, seasons[0], random)
    network = np.sort(random.normal(size=(len(y), horizon, len(levels))), axis=2)
    spec = spec_of(seasons, horizon, quantiles=levels, online=ONLINE_BESIDE_NETWORK)
    oracle = oracle_of(spec)
    want = np.array([oracle.step(float(y[t]), network[t]) for t in range(len(y))])
    np.testing.assert_allclose(run(spec, y, network), want, rtol=1e-6, atol=1e-9)


def test_where_most_values_are_0_medians_forecast_better_than_means() -> None:
    random = np.random.default_rng(4)
    y = np.where(random.random(2_000) < 0.3, random.exponential(size=2_000), 0.0)
    error = {}
    for medians in (False, True):
        spec = spec_of((24,), 6, lower=0.0, online=NEW_ONLINE.model_copy(update={"medians": medians}))
        forecast = run(spec, y)[1_000:-1, 0, spec.median]
        error[medians] = np.abs(y[1_001:] - forecast).mean()
    assert error[True] < 0.95 * error[False]


def test_a_network_that_is_suddenly_far_out_is_held_near_the_simple_forecasts() -> None:
    """Its weight falls only once outcomes have come, which a day ahead is a day late."""
    random = np.random.default_rng(7)
    y = np.sin(np.arange(24 * 40) * 2 * np.pi / 24) + 0.1 * random.normal(size=24 * 40)
    near = np.sin((np.arange(len(y))[:, None] + np.arange(1, 25)) * 2 * np.pi / 24)
    network = near[:, :, None] + np.array([-0.1, 0.0, 0.1])
    network[-1] += 100.0
    error = {}
    for layer in (ONLINE_BESIDE_NETWORK, ONLINE_AFTER_FEW_BARS):
        forecast = run(spec_of((24,), 24, online=layer), y, network)
        error[layer.network_reach] = np.abs(forecast[-1, :, 1] - near[-1]).max()
    assert error[0.0] > 10.0
    assert error[3.0] < 1.0


def test_outcomes_beyond_a_bound_do_not_widen_intervals_on_its_other_side() -> None:
    random = np.random.default_rng(3)
    y = 10 * np.sin(np.arange(24 * 50) * 2 * np.pi / 24) + 5 * random.normal(size=24 * 50)
    free = run(spec_of((24,), 24, online=NEW_ONLINE), y)[-1]
    above = run(spec_of((24,), 24, lower=0.0, online=NEW_ONLINE), y)[-1]
    assert (above >= 0.0).all()
    np.testing.assert_allclose(above[:, 2], np.maximum(free[:, 2], 0.0), atol=8.0)
    below = run(spec_of((24,), 24, upper=0.0, online=NEW_ONLINE), y)[-1]
    assert (below <= 0.0).all()
    np.testing.assert_allclose(below[:, 0], np.minimum(free[:, 0], 0.0), atol=8.0)


@pytest.mark.parametrize("online", [NEW_ONLINE, Online()])
def test_what_is_upside_down_is_forecast_upside_down(online: Online) -> None:
    """The upper bound is the lower one of the series times -1, also where outcomes lie beyond it; but for ties."""
    random = np.random.default_rng(5)
    y = daily(24 * 20, 24, random)
    y[[60, 75]] = 500.0, -60.0
    network = np.sort(random.normal(size=(len(y), 6, 3)), axis=2)
    for levels in (None, network):
        found = run(spec_of((24,), 6, lower=-1.0, upper=0.7, online=online), y, levels)
        flipped = run(
            spec_of((24,), 6, lower=-0.7, upper=1.0, online=online), -y, None if levels is None else -levels[:, :, ::-1]
        )
        np.testing.assert_allclose(-flipped[:, :, ::-1], found, atol=0.01)


@pytest.mark.parametrize("value", [5.0, 0.1, 1e6 / 3, -7e-5])
@pytest.mark.parametrize("online", [NEW_ONLINE, ONLINE_BESIDE_NETWORK])
def test_a_constant_is_forecast_exactly(value: float, online: Online) -> None:
    forecast = run(spec_of((24, 168), 24, online=online), np.full(600, value))
    assert (forecast == value).all()


def test_a_series_that_was_constant_has_intervals_soon_after_it_changes() -> None:
    """While it was constant, every outcome lay on both levels: that is no reason to go on inwards."""
    random = np.random.default_rng(6)
    hours = np.arange(24 * 130)
    awake = 100 + 30 * np.sin(hours * 2 * np.pi / 24) + 5 * random.normal(size=len(hours))
    y = np.where(hours < 24 * 120, 7.3, awake)
    held = {}
    for stops in (False, True):
        spec = spec_of((24,), 24, online=NEW_ONLINE.model_copy(update={"levels_stop": stops}))
        low, _, high = run(spec, y)[24 * 123 : -1, 0].T
        outcome = y[24 * 123 + 1 :]
        held[stops] = float(((low <= outcome) & (outcome <= high)).mean())
    assert held[False] < 0.1
    assert 0.7 < held[True] < 0.95


@pytest.mark.parametrize("wild", [1e6, -1e7])
def test_one_wild_reading_does_not_widen_intervals_for_weeks(wild: float) -> None:
    """From five days on, they are about as wide as they would have been."""
    random = np.random.default_rng(10)
    hours = np.arange(24 * 60)
    y = 100 + 30 * np.sin(hours * 2 * np.pi / 24) + 5 * random.normal(size=len(hours))
    struck = y.copy()
    struck[24 * 40] = wild
    ratio = {}
    for largest in (0.0, NEW_ONLINE.largest_error):
        spec = spec_of((24,), 24, online=NEW_ONLINE.model_copy(update={"largest_error": largest}))
        after, usual = (np.ptp(run(spec, values)[24 * 45 :], axis=2).mean() for values in (struck, y))
        ratio[largest] = after / usual
    assert ratio[0.0] > 5
    assert ratio[NEW_ONLINE.largest_error] < 1.8


@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_after_a_change_that_lasts_errors_count_in_full_again(factor: float) -> None:
    """Limits grow with what they limit: a week after all values changed by 100 times, intervals hold most again."""
    random = np.random.default_rng(11)
    hours = np.arange(24 * 90)
    y = 100 + 30 * np.sin(hours * 2 * np.pi / 24) + 5 * random.normal(size=len(hours))
    y[24 * 60 :] *= factor
    low, _, high = run(spec_of((24,), 24, online=NEW_ONLINE), y)[24 * 67 : -1, 0].T
    assert 0.6 < ((low <= y[24 * 67 + 1 :]) & (y[24 * 67 + 1 :] <= high)).mean() < 0.95


@pytest.mark.parametrize("change", ["drops", "sleeps", "is shifted"])
def test_two_days_after_a_change_weights_follow_it(change: str) -> None:
    """Regrets of months would keep them with what was best before."""
    random = np.random.default_rng(12)
    hours, changed = np.arange(24 * 130), 24 * 120
    y = 100 + 30 * np.sin(hours * 2 * np.pi / 24) + 5 * random.normal(size=len(hours))
    y[changed:] = {"drops": y[changed:] / 100, "sleeps": np.zeros(240), "is shifted": y[changed:] + 500}[change]
    cutoffs = np.arange(changed + 48, changed + 96)
    outcome = y[cutoffs[:, None] + np.arange(1, 25)]
    error = {}
    for most_behind in (0.0, NEW_ONLINE.most_behind):
        spec = spec_of((24, 168), 24, online=NEW_ONLINE.model_copy(update={"most_behind": most_behind}))
        error[most_behind] = np.abs(run(spec, y)[cutoffs, :, 1] - outcome).mean()
    assert error[NEW_ONLINE.most_behind] < 0.75 * error[0.0]


def test_after_a_pause_weights_are_those_of_before() -> None:
    """While weights follow the last day, regrets wait: two weeks of zeros do not unlearn months."""
    random = np.random.default_rng(15)
    hours, paused = np.arange(24 * 150), 24 * 120
    near = 100 + 30 * np.sin((hours[:, None] + np.arange(1, 25)) * 2 * np.pi / 24)
    network = near[:, :, None] + np.array([-6.0, 0.0, 6.0])
    usual = 100 + 30 * np.sin(hours * 2 * np.pi / 24) + 5 * random.normal(size=len(hours))
    y = np.where((hours >= paused) & (hours < paused + 24 * 14), 0.0, usual)
    cutoffs = np.arange(paused + 24 * 16, paused + 24 * 18)
    error = {}
    for name, values in (("paused", y), ("usual", usual)):
        forecast = run(spec_of((24,), 24, online=ONLINE_BESIDE_NETWORK), values, network)[cutoffs, :, 1]
        error[name] = np.abs(forecast - near[cutoffs]).mean()
    assert error["paused"] < 1.5 * error["usual"] + 1.0


@pytest.mark.parametrize("source", ["network", "no network"])
def test_one_wild_reading_is_not_repeated_a_day_and_a_week_later(source: str) -> None:
    hours, struck_at = np.arange(24 * 60), 24 * 50 + 3
    near = 100 + 30 * np.sin((hours[:, None] + np.arange(1, 25)) * 2 * np.pi / 24)
    network = near[:, :, None] + np.array([-6.0, 0.0, 6.0]) if source == "network" else None
    moved = {False: np.zeros(2), True: np.zeros(2)}
    for seed in range(3):
        y = near[:, -1] + 5 * np.random.default_rng(seed).normal(size=len(hours))
        struck = y.copy()
        struck[struck_at] = 1e5
        for winsorized, sums in moved.items():
            spec = spec_of((24, 168), 24, online=NEW_ONLINE.model_copy(update={"winsorized": winsorized}))
            usual, after = (run(spec, values, network)[struck_at:, :, 1] for values in (y, struck))
            sums += [np.abs(after - usual)[12:24].mean(), np.abs(after - usual)[24 * 6 : 24 * 7].mean()]
    assert (moved[True] < 0.1 * moved[False]).all()


@pytest.mark.parametrize("lower", [0.0, 0.1, -1.7])
def test_no_forecast_is_below_the_bound_by_a_last_digit(lower: float) -> None:
    """Where most experts say the bound, the mean of their differences from the last value misses it by rounding."""
    random = np.random.default_rng(9)
    y = lower + np.where(random.random(2_000) < 0.4, random.poisson(4, 2_000) / 3, 0.0)
    bounded, free = (
        run(spec_of((24,), 6, lower=lower, online=NEW_ONLINE.model_copy(update={"bounded": bounded})), y)
        for bounded in (True, False)
    )
    assert (bounded >= lower).all()
    np.testing.assert_allclose(bounded, free, rtol=1e-9, atol=1e-12)
    assert (free < lower).any()


def test_a_bar_below_its_interval_moves_both_levels_outwards() -> None:
    """Misses change side before their feedback comes, their size stays: what steps share are widths."""
    random = np.random.default_rng(2)
    y = random.normal(size=24 * 40)
    low = y.copy()
    low[-1] -= 20.0
    usual, lower = (run(spec_of((24,), 24, online=NEW_ONLINE), values)[-1] for values in (y, low))
    assert (lower[1:, 0] - lower[1:, 1] < usual[1:, 0] - usual[1:, 1]).all()
    assert (lower[1:, 2] - lower[1:, 1] > usual[1:, 2] - usual[1:, 1]).all()


@pytest.mark.parametrize("unit", [2.0**-30, 2.0**30])
@pytest.mark.parametrize("seasons_and_horizon", SHAPES)
def test_forecasts_do_not_depend_on_the_unit(seasons_and_horizon: tuple[tuple[int, ...], int], unit: float) -> None:
    """Powers of two change no digit of a number."""
    seasons, horizon = seasons_and_horizon
    random = np.random.default_rng(horizon)
    y = daily(120, max(seasons[0], 2), random)
    network = np.sort(random.normal(size=(len(y), horizon, 3)), axis=2)
    spec = spec_of(seasons, horizon, online=NEW_ONLINE)
    for forecast in (None, network):
        in_units = run(spec, unit * y, None if forecast is None else unit * forecast)
        np.testing.assert_allclose(in_units / unit, run(spec, y, forecast), rtol=1e-9, atol=1e-12)


def test_a_bar_outside_its_intervals_widens_those_of_all_steps() -> None:
    """Noise that has tripled reaches the longest step before the first outcome of a forecast made since."""
    random = np.random.default_rng(5)
    y = random.normal(size=24 * 60)
    y[24 * 50 :] *= 3
    width_KH = np.ptp(run(spec_of((24,), 24, online=NEW_ONLINE), y), axis=2)
    own_KH = np.ptp(run(spec_of((24,), 24, online=Online(coverage_step=NEW_ONLINE.coverage_step)), y), axis=2)
    before, soon = 24 * 50 - 1, 24 * 50 + 8
    assert width_KH[soon, -1] / width_KH[before, -1] > 1.1 * own_KH[soon, -1] / own_KH[before, -1]


def test_intervals_hold_at_every_hour_whose_noise_the_network_does_not_know() -> None:
    """Noise is three times as large by day as by night; all of the network's intervals are as wide as each other."""
    random = np.random.default_rng(8)
    hours = np.arange(24 * 400)
    y = random.normal(size=len(hours)) * np.where(hours % 24 >= 12, 3.0, 1.0)
    network = np.broadcast_to([-2.0, 0.0, 2.0], (len(hours), 1, 3)).copy()

    def furthest_from_80(online: Online) -> float:
        low, _, high = run(spec_of((24,), 1, online=online), y, network)[:-1, 0].T
        held = ((low <= y[1:]) & (y[1:] <= high))[24 * 100 - 1 :].reshape(-1, 24)
        return float(np.abs(held.mean(0) - 0.8).max())

    assert furthest_from_80(NEW_ONLINE) < 0.1
    assert furthest_from_80(NEW_ONLINE.model_copy(update={"hourly_coverage_step": 0.0})) > 0.15


@pytest.mark.parametrize("miss", [0.3, 30.0])
def test_days_off_have_the_networks_forecast_as_long_as_it_is_the_better_one(miss: float) -> None:
    """``miss`` is the network's error on days off, where that of the mixture is some 2."""
    random = np.random.default_rng(3)
    hours, off = np.arange(24 * 60), (np.arange(24 * 61) // 24 % 9) == 4
    usual = 10 + 5 * np.sin(hours * 2 * np.pi / 24) + 0.1 * random.normal(size=len(hours))
    y = np.where(off[: len(hours)], 1.0, usual)
    truth_KH = sliding_window_view(np.append(y, np.full(24, 1.0)), 25)[:, 1:]
    off_KH = sliding_window_view(off, 25)[: len(y), 1:]
    network = truth_KH[..., None] + np.where(off_KH, miss, 0.3)[..., None] + np.array([-1.0, 0.0, 1.0])
    spec, late = spec_of((24,), 24), slice(24 * 40, 24 * 58)
    found, mixed = run(spec, y, network, off=off)[late, :, 1], run(spec, y, network)[late, :, 1]
    off_KH = off_KH[late]
    if miss < 1:
        np.testing.assert_allclose(found[off_KH], network[late, :, 1][off_KH])
        assert np.abs(mixed - truth_KH[late])[off_KH].mean() > 5 * miss
    else:
        np.testing.assert_array_equal(found, mixed)
    np.testing.assert_array_equal(found[~off_KH], mixed[~off_KH])


def test_without_regressions_it_equals_the_oracle() -> None:
    random = np.random.default_rng(0)
    y = daily(120, 4, random)
    spec = spec_of((4, 9), 6, online=Online(regressions=False, network_prior=2.0))
    oracle = OnlineLayer((4, 9), 6, spec.quantiles, network_prior=2.0, regressions=False)
    want = np.array([oracle.step(float(value), None) for value in y])
    np.testing.assert_allclose(run(spec, y), want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seasons_and_horizon", SHAPES)
def test_places_that_were_written_ahead_have_the_bits_of_a_search_at_the_cutoff(
    seasons_and_horizon: tuple[tuple[int, ...], int],
) -> None:
    seasons, horizon = seasons_and_horizon
    spec = spec_of(seasons, horizon, online=NEW_ONLINE)
    constants, state = layer_plan(spec, NEW_ONLINE), state_of(spec)
    memory, columns = new_scratch(constants).ordered, state.places.shape[2]
    y = daily(150, 4, np.random.default_rng(1), 0.3)
    for t in range(len(y)):
        run(spec, y[t : t + 1], state=state, first=t)
        for h in range(1, horizon + 1):
            for s, season in enumerate(constants.seasons.tolist()):
                start, stop = constants.places_start[s : s + 2]
                written = t - constants.places_ago[h, s]
                found = state.places[0, start + written % (stop - start)] if written >= 0 else np.full(columns, np.nan)
                want = np.empty((1, columns))
                place = t + h - (-(-h // season) - 1) * season
                online._write_place(
                    state.observed[0], place, season, int(constants.depths[s]), constants.exact, memory, want, 0
                )
                assert found.tobytes() == want[0].tobytes() or (np.isnan(found).all() and np.isnan(want).all())


@pytest.mark.parametrize("seasons_and_horizon", SHAPES)
def test_the_future_changes_no_earlier_byte(seasons_and_horizon: tuple[tuple[int, ...], int]) -> None:
    seasons, horizon = seasons_and_horizon
    random = np.random.default_rng(2)
    y = daily(300, 4, random)
    shuffled = y.copy()
    random.shuffle(shuffled[200:])
    assert run(spec_of(seasons, horizon), y)[:200].tobytes() == run(spec_of(seasons, horizon), shuffled)[:200].tobytes()


@pytest.mark.parametrize("seasons_and_horizon", SHAPES)
@pytest.mark.parametrize(("lower", "upper"), [(None, None), (0.0, None), (0.0, 1.0)])
@pytest.mark.parametrize(
    "y",
    [
        np.zeros(300),
        np.random.default_rng(3).normal(size=300) * 1e300,
        np.random.default_rng(3).normal(size=300) * 1e-300,
        np.where(np.random.default_rng(3).random(300) < 0.1, np.inf, 1.0),
        np.full(300, np.nan),
        np.repeat([1.0, 1e30], 150),
        np.random.default_rng(3).choice([0.0, 1e-9, 1e9], 300),
    ],
    ids=["zeros", "huge", "tiny", "infinite", "nothing", "a jump", "steps"],
)
def test_hostile_values_leave_levels_finite_in_order_and_within_bounds(
    y: Floats, lower: float | None, upper: float | None, seasons_and_horizon: tuple[tuple[int, ...], int]
) -> None:
    seasons, horizon = seasons_and_horizon
    spec = spec_of(seasons, horizon, lower=lower, upper=upper, quantiles=(0.05, 0.25, 0.5, 0.75, 0.95))
    random = np.random.default_rng(4)
    network = random.normal(size=(len(y), horizon, 5)) * 10.0 ** random.integers(-300, 300, size=(len(y), 1, 1))
    for forecast in (run(spec, y), run(spec, y, network)):
        assert np.isfinite(forecast).all()
        assert (np.diff(forecast, axis=2) >= 0).all()
        assert lower is None or (forecast >= lower).all()
        assert upper is None or (forecast <= upper).all()


@pytest.mark.parametrize("seed", range(3))
def test_with_a_bad_network_it_is_at_most_a_tenth_worse_than_the_best_naive_forecast(seed: int) -> None:
    random = np.random.default_rng(seed)
    day, horizon, bars = 12, 6, 12 * 60
    y = [np.sin(np.arange(bars) * 2 * np.pi / day) * 3, np.cumsum(random.normal(size=bars)), np.zeros(bars)][seed]
    y = y + 0.3 * random.normal(size=bars)
    network = np.sort(random.normal(size=(bars, horizon, 3)) * 20 + 30, axis=2)
    cutoffs = np.arange(20 * day, bars - horizon)
    forecast = run(spec_of((day,), horizon), y, network)[cutoffs, :, 1]
    target = y[cutoffs[:, None] + 1 + np.arange(horizon)]
    naive = y[cutoffs[:, None] + 1 + np.arange(horizon) - day]
    best = min(np.abs(target - naive).mean(), np.abs(target - y[cutoffs][:, None]).mean())
    assert np.abs(target - forecast).mean() <= 1.1 * best


def test_intervals_keep_their_coverage_while_the_scale_changes() -> None:
    random = np.random.default_rng(5)
    bars, day, horizon = 24 * 120, 24, 6
    scale = np.repeat([1.0, 4.0, 0.5, 2.0], bars // 4)
    y = 5 * np.sin(np.arange(bars) * 2 * np.pi / day) + scale * random.standard_t(4, size=bars)
    forecast = run(spec_of((day,), horizon), y)
    for first in range(24 * 15, bars - horizon, 24 * 15):
        cutoffs = np.arange(first, min(first + 24 * 15, bars - horizon))
        target = y[cutoffs[:, None] + 1 + np.arange(horizon)]
        covered = (forecast[cutoffs, :, 0] <= target) & (target <= forecast[cutoffs, :, 2])
        assert 0.7 < covered.mean() < 0.9
    cutoffs = np.arange(24 * 15, bars - horizon)
    target = y[cutoffs[:, None] + 1 + np.arange(horizon)]
    assert 0.77 < ((forecast[cutoffs, :, 0] <= target) & (target <= forecast[cutoffs, :, 2])).mean() < 0.83


def test_the_ladders_end_at_the_horizon() -> None:
    doubled = Online()
    assert scored_ladder(24, doubled) == [1, 2, 3, 4, 6, 8, 12, 16, 24]
    assert regression_ladder(24) == [1, 2, 4, 8, 16, 24]
    assert scored_ladder(1, doubled) == regression_ladder(1) == [1]
    assert scored_ladder(2, doubled) == regression_ladder(2) == [1, 2]
    assert scored_ladder(30, doubled) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 30]


@pytest.mark.parametrize("horizon", [1, 2, 5, 13, 24, 30, 36, 48, 72, 168, 2_000])
def test_close_steps_are_at_most_a_sixth_of_the_horizon_apart(horizon: int) -> None:
    doubled, close = (scored_ladder(horizon, Online(close_steps=closer)) for closer in (False, True))
    assert set(doubled) <= set(close)
    assert close == sorted(set(close))
    assert all(high - low <= max(horizon / 6, 2) for low, high in pairwise(close))
    assert len(close) <= len(doubled) + 6


def test_intervals_hold_between_scored_steps_where_no_season_is_known() -> None:
    """The moon's half day is no whole number of bars: what is learned at steps 16 and 24 is wrong at 20."""
    bars, horizon = 24 * 120, 24
    hours = np.arange(float(bars))
    y = 2 * np.sin(hours * 2 * np.pi / 12.42) + 0.1 * np.random.default_rng(3).normal(size=bars)
    cutoffs = np.arange(24 * 60, bars - horizon)
    target = y[cutoffs[:, None] + 1 + np.arange(horizon)]
    covered = {}
    for close in (False, True):
        spec = spec_of((24,), horizon, online=NEW_ONLINE.model_copy(update={"close_steps": close}))
        low, _, high = run(spec, y)[cutoffs].transpose(2, 0, 1)
        covered[close] = ((low <= target) & (target <= high)).mean(axis=0).min()
    assert covered[True] > covered[False] + 0.1
