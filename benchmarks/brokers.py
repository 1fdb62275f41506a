"""The tests that need a Kafka, on brokers of other versions: ``python -m benchmarks.brokers [--versions ...]``.

Each row is a version: how many tests passed and failed there; those that failed are named.  A test of what a version
does not have is skipped.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from rich.console import Console

from benchmarks.printing import show_rows
from streamcast.app.json_text import json_text

VERSIONS = ("3.0.2", "3.3.2", "3.6.2", "3.9.1", "4.0.1", "4.1.0", "4.2.1", "4.3.1", "4.4.0")
TESTS = ("tests/consumers", "tests/streamcast", "tests/end_to_end/test_skip.py", "tests/end_to_end/test_faults.py")
COLUMNS = ("version", "passed", "failed", "skipped", "minutes")
LONGEST_SECONDS = 3_600.0
"""Of the tests of one version."""


def tried(version: str, tests: Sequence[str]) -> dict[str, Any]:
    """Run the tests on brokers of one version; ``failures`` has the names of those that failed, or why none is known.

    Tests that take longer than ``LONGEST_SECONDS`` are ended, and count as one failure.
    """
    began = time.monotonic()
    cases, failures = _run(version, tests)
    skipped = [case for case in cases if case.find("skipped") is not None]
    failures += [case.get("name", "") for case in cases if not (case.find("failure") is case.find("error") is None)]
    passed = max(len(cases) - len(failures) - len(skipped), 0)
    minutes = round((time.monotonic() - began) / 60, 1)
    row = dict(zip(COLUMNS, (version, passed, len(failures), len(skipped), minutes), strict=True))
    return row | {"failures": failures}


def _run(version: str, tests: Sequence[str]) -> tuple[list[ET.Element], list[str]]:
    """Return what pytest reports of each test, and what kept it from reporting."""
    environment = {**os.environ, "STREAMCAST_TEST_KAFKA": version}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "kafka", f"--junitxml={report}", *tests]
        try:
            ended = subprocess.run(
                command, env=environment, stdout=subprocess.DEVNULL, timeout=LONGEST_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return [], [f"no end of the tests within {LONGEST_SECONDS / 60:.0f} minutes"]
        cases = list(ET.parse(report).iter("testcase")) if report.exists() else []  # noqa: S314 - pytest has written it
        return cases, [] if cases else [f"pytest ran no test, and ended with {ended.returncode}"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, write a JSON; return 0 if no test failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", nargs="+", default=VERSIONS, help="versions of Apache Kafka, from Maven")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="files or folders of tests")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    given = parser.parse_args(arguments)
    console, rows = Console(), list[dict[str, Any]]()
    for version in given.versions:
        rows.append(row := tried(version, given.tests))
        console.print(" ".join(f"{name}={row[name]}" for name in COLUMNS), highlight=False)
        for name in row["failures"]:
            console.print(f"failed: {name}", highlight=False, markup=False)
    show_rows(rows, COLUMNS, console)
    if given.json is not None:
        given.json.write_text(json_text(rows, indent=2) + "\n", encoding="utf-8")
    return 1 if any(row["failed"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
