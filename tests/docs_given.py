"""What a reader of a page has already: files that a page's ``given`` comments name."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from examples.counts import counts
from harness.commands import streamcast

HOURS = 24 * 28


def _counts(folder: Path) -> None:
    counts().to_csv(folder / "counts.csv", index=False)


def _wide(folder: Path) -> None:
    """``wide.csv``: the file of the quickstart with a column for each place."""
    counts().pivot_table(values="people", index="hour", columns="place").to_csv(folder / "wide.csv")


def _people(folder: Path) -> None:
    """The file and the model of the quickstart; the model has no network, so that nobody waits for a training."""
    _counts(folder)
    shutil.copytree(_trained(str(folder.parent)), folder / "trained")


@cache
def _trained(parent: str) -> Path:
    folder = Path(parent) / "given"
    folder.mkdir()
    _counts(folder)
    columns = ("--id-col", "place", "--time-col", "hour", "--target-col", "people", "--timezone", "Australia/Melbourne")
    streamcast("train", "counts.csv", "--model", "zero", "--name", "people", "--lower", 0, *columns, folder=folder)
    return folder / "trained"


def _load(folder: Path) -> None:
    """``data.csv``: hourly load of two places, with a temperature and the weather as inputs."""
    noise = np.random.default_rng(0)
    hours = np.arange(HOURS)
    frames = []
    for place in ("north", "south"):
        temp = 15 + 8 * np.sin(2 * np.pi * (hours - 9) / 24) + noise.normal(0, 1, HOURS)
        y = 40 + temp + 10 * np.sin(2 * np.pi * hours / 24) + noise.normal(0, 1, HOURS)
        weather = np.where(temp > 18, "sun", "rain")
        times = pd.date_range("2026-01-04", periods=HOURS, freq="h").strftime("%Y-%m-%d %H:%M")
        frames.append(pd.DataFrame({"unique_id": place, "ds": times, "y": y, "temp": temp, "weather": weather}))
    pd.concat(frames).to_csv(folder / "data.csv", index=False)


def _ticks(folder: Path) -> None:
    """``ticks.csv``: trades of one name, every few seconds."""
    noise = np.random.default_rng(0)
    seconds = np.cumsum(noise.integers(2, 20, 6_000))
    price = 100 + 5 * np.sin(seconds / 3_000) + noise.normal(0, 0.1, len(seconds))
    frame = pd.DataFrame(
        {
            "symbol": "ABC",
            "time": (pd.Timestamp("2026-03-02T08:00Z") + pd.to_timedelta(seconds, unit="s")).strftime("%FT%TZ"),
            "price": price.round(3),
            "size": noise.integers(1, 50, len(seconds)),
        }
    )
    frame.to_csv(folder / "ticks.csv", index=False)


GIVEN: Mapping[str, Callable[[Path], None]] = {
    "counts.csv": _counts, "wide.csv": _wide, "people": _people, "data.csv": _load, "ticks.csv": _ticks,
}  # fmt: skip
