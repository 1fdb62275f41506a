"""Seasons that no calendar has: found where they repeat clearly better, and in nothing that does not repeat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from streamcast.offline.defaults.cycles import cycle
from streamcast.offline.defaults.notes import season_notes
from streamcast.offline.defaults.seasons import seasons
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.history.read import History, read

Floats = npt.NDArray[np.float64]
HOURS = np.arange(3_000)


def correlated(noise: Floats, by: float) -> Floats:
    """Return an autoregression of order one."""
    values = noise.copy()
    for at in range(1, len(values)):
        values[at] += by * values[at - 1]
    return values


def tide(random: np.random.Generator) -> Floats:
    waves = ((1.5, 12.4206), (0.5, 12.0), (0.3, 23.93), (0.25, 25.82), (0.3, 12.658))
    size_W, length_W = np.array(waves).T[:, :, None]
    clean = (size_W * np.sin(2 * np.pi * HOURS / length_W + random.uniform(0, 6, size_W.shape))).sum(axis=0)
    return np.asarray(clean + correlated(random.normal(0, 0.04, len(HOURS)), 0.95))


def shifts(random: np.random.Generator) -> Floats:
    """Return a swing of 37 bars that is steep on one side."""
    angle = 2 * np.pi * HOURS / 37
    return np.asarray(5 * np.sin(angle) + 3 * np.cos(2 * angle) + random.normal(size=len(HOURS)))


def history(*series: Floats, freq: str = "h") -> History:
    return read(
        pd.concat(
            pd.DataFrame({"unique_id": f"s{k}", "ds": pd.date_range("2025-01-01", periods=len(y), freq=freq), "y": y})
            for k, y in enumerate(series)
        )
    )


def test_a_cycle_that_no_calendar_has_is_the_season_alone_where_days_do_not_repeat() -> None:
    random = np.random.default_rng(0)
    found = history(shifts(random), shifts(random)[::-1])
    for horizon in (1, 24, 100):
        spec = default_spec(found, horizon, "zero")
        assert spec.season == (37,)
        note, *more = season_notes(found, spec)
        assert note.startswith("a season of 37 hours (37 bars) was found in the values: repeating it is 7")
        assert "% better than repeating the last value; season names other ones" in note
        assert not more
    assert default_spec(found, 24, "zero").naive_season == 37


def test_a_tide_has_the_multiple_that_is_a_whole_number_of_bars_and_the_day_beside_it() -> None:
    random = np.random.default_rng(1)
    found = history(tide(random), tide(random))
    spec = default_spec(found, 24, "zero")
    assert (spec.season, spec.naive_season) == ((25, 24), 25)
    assert "% better than repeating the same hour yesterday; " in season_notes(found, spec)[0]


@pytest.mark.parametrize("freq", ["5h", "D", "min", "MS"])
def test_a_cycle_is_found_in_bars_of_any_length(freq: str) -> None:
    """Of five hours neither a day nor a week is whole, so that none is tried; of months, a year is."""
    y = shifts(np.random.default_rng(2))[: 900 if freq == "MS" else None]
    assert seasons(history(y, freq=freq), horizon=5) == (37,)


def test_a_cycle_is_found_through_gaps_outliers_and_series_without_values() -> None:
    random = np.random.default_rng(3)
    y = shifts(random)
    y[random.integers(0, len(y), 20)] *= 50
    y[random.random(len(y)) < 0.4] = np.nan
    late = np.where(0.9 * len(HOURS) < HOURS, HOURS, np.nan)
    assert cycle(np.stack([y, late, np.full(len(y), 3.0)]), (24, 168), 24) == 37


@pytest.mark.parametrize("days", [7, 30])
def test_a_day_and_a_week_that_repeat_stay_the_only_seasons(days: int) -> None:
    """Also beside a slow wave of so many days."""
    random = np.random.default_rng(4)
    y = np.sin(2 * np.pi * HOURS / 24) + np.sin(2 * np.pi * HOURS / (24 * days)) / 2 + random.normal(0, 0.3, len(HOURS))
    assert set(seasons(history(y), horizon=24)) <= {24, 168}


def test_a_year_of_days_is_no_cycle() -> None:
    days = np.arange(3_650)
    y = 10 * np.sin(2 * np.pi * days / 365) + 4 * np.sin(2 * np.pi * days / 182.5) + (days % 7 >= 5)
    noise = np.random.default_rng(5).normal(0, 0.1, len(days))
    assert seasons(history(y + noise, freq="D"), horizon=14) == (7,)


def out_of_step(random: np.random.Generator, bars: int) -> Floats:
    """Return an autoregression of order two, whose swings of some length keep their phase for a few of them."""
    values, pull = random.normal(size=bars), float(2 * 0.95 * np.cos(2 * np.pi / random.uniform(5, 100)))
    for at in range(2, bars):
        values[at] += pull * values[at - 1] - 0.95**2 * values[at - 2]
    return values


NOTHING: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "a random walk": lambda random, n: random.normal(size=n).cumsum(),
    "an autoregression": lambda random, n: correlated(random.normal(size=n), random.uniform(0.3, 0.99)),
    "noise": lambda random, n: random.normal(size=n),
    "a trend": lambda random, n: random.normal(size=n) + np.arange(n) * random.uniform(-0.05, 0.05),
    "rare events": lambda random, n: np.where(random.random(n) < 0.1, np.exp(random.normal(2, 1, n)), 0.0),
    "levels that shift": lambda random, n: (
        random.normal(size=n) + np.repeat(random.normal(0, 3, n // 400 + 1), 400)[:n]
    ),
    "a wave that is soon out of step": out_of_step,
}


@pytest.mark.parametrize("kind", NOTHING)
def test_nothing_is_found_where_nothing_repeats(kind: str) -> None:
    """Of 25 seeds of each kind, with 60 to 5,000 bars."""
    for seed in range(25):
        random = np.random.default_rng(seed)
        y = NOTHING[kind](random, int(random.integers(60, 5_000)))
        assert cycle(y[None], (24, 168), 24) is None, seed
        assert cycle(y[None], (), 1) is None, seed


def test_that_nothing_was_found_is_said_with_what_was_tried() -> None:
    walk = np.random.default_rng(6).normal(size=1_000).cumsum()
    for bars, rest in (
        (1_000, ""),
        (400, ". The history does not hold 1 week (168 bars) three times, so that was not"),
    ):
        found = history(walk[:bars])
        spec = default_spec(found, 24, "zero")
        assert spec.naive_season == 1
        tried = "1 day, 1 week" if bars == 1_000 else "1 day"
        assert season_notes(found, spec)[0].startswith(
            f"no season that was tried ({tried}, and other cycles of the values) is better to repeat than the last"
            f" value{rest}"
        )
    day = history(np.sin(2 * np.pi * HOURS / 24) + np.random.default_rng(7).normal(0, 0.1, len(HOURS)))
    assert season_notes(day, default_spec(day, 24, "zero")) == ()


def test_a_cycle_that_is_little_better_is_no_season() -> None:
    """Repeating noise with a small wave in it is better than the last value, and hardly so."""
    random = np.random.default_rng(8)
    for size, expected in ((0.5, None), (3.0, 37)):
        y = size * np.sin(2 * np.pi * HOURS / 37) + random.normal(size=len(HOURS))
        assert cycle(y[None], (24, 168), 24) == expected
