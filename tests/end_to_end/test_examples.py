"""The examples run, in the small."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from examples import direction, heart_rate, irregular, long_memory, sensors

SMALL: dict[str, Callable[[], None]] = {
    "heart_rate": partial(heart_rate.main, bars=1_500, updates=3),
    "long_memory": partial(long_memory.main, bars=400, updates=3),
    "sensors": partial(sensors.main, minutes=8),
    "direction": partial(direction.main, bars=3_000, folds=1, updates=3),
    "irregular": partial(irregular.main, bars=400, updates=3),
}


@pytest.mark.parametrize("name", SMALL)
def test_it_runs_and_says_what_came_out(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    SMALL[name]()
    assert len(capsys.readouterr().out.splitlines()) >= 2


def test_the_direction_of_an_index_of_ones_own_is_judged_beside_the_walks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    walk = direction.random_walk(1_500, 2)
    values = {"time": walk["ds"], "close": walk["y"], "volume": walk["change"]}
    pd.DataFrame(values).to_csv(tmp_path / "minutes.csv", index=False)
    direction.main(tmp_path / "minutes.csv", "time", "close", bars=1_500, folds=1, updates=3)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3
    assert said[2].startswith("close ")


def test_a_random_walk_finds_no_leak_and_a_leaning_one_finds_its_lean() -> None:
    chance = direction.judged(direction.random_walk(5_000, 1), folds=1, updates=30)
    lean = direction.judged(direction.random_walk(5_000, 1, 1.5), folds=1, updates=30)
    assert chance.low <= 0.5 <= chance.high
    assert lean.low > 0.52
