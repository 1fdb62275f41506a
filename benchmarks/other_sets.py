"""More sets for the judge of streams, on whose test parts no default of the forecasts was chosen.

    python -m benchmarks.other_sets --data FOLDER --out FOLDER [--days]

Writes ``sets.json`` and a ``NAME.csv.gz`` for each: fine dust and ozone of three stations in Beijing, the seven
channels of ETTh1, taxis of New York and the temperature of a room (of NAB); with --days instead the means of a local
day of bikes, demand, electricity and pedestrians.  ``benchmarks.streams --data`` reads them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

STATIONS = 3
DAILY = ("bikes", "demand", "electricity", "pedestrians")
WHOLE = 0.8
"""The least share of a day's usual readings with which it is a day of a daily set."""


def air(folder: Path, measured: str) -> pd.DataFrame:
    """Return what the first stations measured hourly, with temperature and wind as known inputs."""
    frame = pd.read_parquet(folder / "beijing" / "prsa_2013_2017.parquet")
    frame = frame[frame["station"].isin(sorted(frame["station"].unique())[:STATIONS])]
    names = {"station": "unique_id", "time": "ds", measured: "y", "TEMP": "temp", "WSPM": "wind"}
    frame = frame[list(names)].rename(columns=names).dropna(subset=["y"]).sort_values(["unique_id", "ds"])
    frame[["temp", "wind"]] = frame.groupby("unique_id")[["temp", "wind"]].ffill()
    return frame


def transformer(folder: Path) -> pd.DataFrame:
    """Return the channels of ETTh1 as series."""
    frame = pd.read_csv(folder / "ETT" / "ETTh1.csv.gz", parse_dates=["date"])
    return frame.melt("date", var_name="unique_id", value_name="y").rename(columns={"date": "ds"})


def nab(folder: Path, name: str, series: str) -> pd.DataFrame:
    """Return one file of NAB as a series."""
    frame = pd.read_csv(folder / "NAB" / "data" / "realKnownCause" / f"{name}.csv.gz", parse_dates=["timestamp"])
    return frame.rename(columns={"timestamp": "ds", "value": "y"}).assign(unique_id=series)


def sets(folder: Path) -> dict[str, tuple[pd.DataFrame, dict[str, Any]]]:
    """Return each set's rows and its facts."""
    hourly = {"ds": "local", "freq": "1h", "horizon": 24, "season": ["1d", "1w"], "known": [], "holidays": None}
    weather = {"timezone": "Asia/Shanghai", "holidays": "CN", "known": ["temp", "wind"], "lower": 0}
    taxi = {"timezone": "America/New_York", "holidays": "US-NY", "freq": "30min", "horizon": 48, "lower": 0}
    return {
        "dust": (air(folder, "PM2.5"), {**hourly, **weather, "test_from": "2016-03-01 00:00:00"}),
        "ozone": (air(folder, "O3"), {**hourly, **weather, "test_from": "2016-03-01 00:00:00"}),
        "transformer": (
            transformer(folder),
            {**hourly, "timezone": "Asia/Shanghai", "holidays": "CN", "test_from": "2017-09-01 00:00:00"},
        ),
        "taxi": (nab(folder, "nyc_taxi", "taxi"), {**hourly, **taxi, "test_from": "2014-11-15 00:00:00"}),
        "room": (
            nab(folder, "ambient_temperature_system_failure", "room"),
            {**hourly, "timezone": None, "season": ["1d"], "test_from": "2014-01-15 00:00:00"},
        ),
    }


def days(folder: Path, name: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return a set of ``streams`` as the means of its local days, two weeks ahead, without known inputs."""
    facts = json.loads((folder / "streams" / "sets.json").read_text())[name]
    frame = pd.read_csv(folder / "streams" / f"{name}.csv.gz", dtype={"unique_id": str})
    times = pd.to_datetime(frame["ds"], utc=facts["ds"] == "utc")
    local = times.dt.tz_convert(facts["timezone"]).dt.tz_localize(None) if facts["ds"] == "utc" else times
    by_day = frame.groupby(["unique_id", local.dt.floor("D").rename("ds")])["y"].agg(["mean", "count"]).reset_index()
    whole = by_day[by_day["count"] >= WHOLE * by_day["count"].max()].rename(columns={"mean": "y"})
    kept = {name: facts[name] for name in ("holidays", "lower") if name in facts}
    day = {"ds": "local", "timezone": None, "freq": "1d", "horizon": 14, "season": ["1w"], "known": [], **kept}
    return whole, {**day, "test_from": f"{pd.Timestamp(facts['test_from']):%Y-%m-%d} 00:00:00"}


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="the folder that holds beijing/, ETT/, NAB/ and streams/"
    )
    parser.add_argument("--days", action="store_true", help="write daily means of four sets of streams/ instead")
    parser.add_argument("--out", type=Path, required=True, help="where to write the sets")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    found = {f"{name}_days": days(given.data, name) for name in DAILY} if given.days else sets(given.data)
    for name, (frame, _) in found.items():
        columns = ["unique_id", "ds", "y", *(column for column in ("temp", "wind") if column in frame)]
        rows = frame[columns].sort_values(["unique_id", "ds"])
        rows.to_csv(given.out / f"{name}.csv.gz", index=False, date_format="%Y-%m-%d %H:%M:%S")
        print(f"{name}: {len(rows):,} rows, {rows['unique_id'].nunique()} series", flush=True)
    facts = {name: fact for name, (_, fact) in found.items()}
    (given.out / "sets.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
