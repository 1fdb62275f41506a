"""The demo's five hourly series: pedestrians at four places of Melbourne, and the electricity demand of Victoria.

``pedestrians.csv.gz``: counts of 2015 and 2016, ``ds`` (UTC) and one column for each sensor.  © City of Melbourne,
Pedestrian Counting System, licensed under CC BY 4.0 (creativecommons.org/licenses/by/4.0).  Selected from its open
data by the authors of the R package tsibble; here one column for each sensor, otherwise unchanged.

``demand.csv.gz``: operational demand in MW, from 2011-12-31T13:00Z to 2014-01-04T23:00Z.  © Australian Energy Market
Operator (AEMO), which permits any use with attribution (its notice "Copyright Permissions").  Selected by the authors
of the R package tsibbledata; here the half-hours are averaged by hour and rounded to 1 MW.
"""

from __future__ import annotations

from importlib import resources

import pandas as pd

FILES = ("pedestrians.csv.gz", "demand.csv.gz")


def read_series() -> pd.DataFrame:
    """Read all series in long form: unique_id, ds (UTC, as recorded) and y; hours without a value are left out."""
    return pd.concat([_read(name) for name in FILES], ignore_index=True)


def _read(name: str) -> pd.DataFrame:
    with (resources.files(__package__) / name).open("rb") as file:
        wide = pd.read_csv(file, compression="gzip", parse_dates=["ds"])
    long = wide.melt("ds", var_name="unique_id", value_name="y").dropna(subset="y")
    return long[["unique_id", "ds", "y"]].astype({"y": float})
