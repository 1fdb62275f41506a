"""Real streams: train before a date, stream the rest through the engine once, compare with what others would forecast.

    python -m benchmarks.streams --data FOLDER [--sets NAME ...] [--models gru naive ridge gbm ...] [--every 61]
        [--seeds N] --json FILE [--plot FILE.svg]

FOLDER has ``sets.json`` and ``NAME.csv.gz``.  Every model is trained with its defaults on what lies before a set's
``test_from``; of ``sets.json`` it gets bar length, horizon, seasons, time zone, holidays, known inputs, lower bound
and mode.  The whole history is then streamed once, and the forecasts from every ``--every``-th bar of the test part
are scored.

Models: any network of the zoo by name or as JSON, ``zero`` (without training), ``naive`` (the best seasonal naive of
each series), ``ridge``, ``gbm`` (runs the script given with --gbm), ``flair``, ``ets`` and ``theta``.  The last four
need packages of the extra ``bench``; a model that cannot run here is skipped with a line that says why.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from benchmarks.printing import show
from benchmarks.streams.models import ZERO, run
from benchmarks.streams.others import OTHERS
from benchmarks.streams.output import picture, set_table, summary_tables
from benchmarks.streams.request import Found, Request, Say, UnavailableError
from benchmarks.streams.scores import asked, score
from benchmarks.streams.sets import StreamSet, load
from streamcast.app.json_text import json_text
from streamcast.errors import StreamcastError
from streamcast.offline.training.options import Options

DEFAULT_MODELS = ("naive", "ridge", "gbm", "flair", "zero", "gru")
MONTHS = ("coverage_worst_month", "coverage_best_month")
UNSEEDED = (*OTHERS, ZERO)
DIGITS = 6
"""Significant digits of the numbers in the JSON file."""


def row_of(it: StreamSet, model: str, seed: int | None, found: Found) -> dict[str, Any]:
    """Return the JSON row of one model on one set.

    A model that forecasts from every bar has ``dense``: its scores over all of them.  Its coverage by month is from
    there, because every 61st hour leaves too few outcomes in a month.
    """
    row = {"set": it.name, "model": model, "seed": seed, **score(it, found.answers)}
    costs = {name: getattr(found, name) for name in ("train_seconds", "us_per_record", "state_bytes")}
    dense = None if found.dense is None else score(it, found.dense)
    months = {} if dense is None else {name: dense[name] for name in MONTHS}
    rounded: dict[str, Any] = _rounded({**row, **months, **costs, "notes": found.notes, "dense": dense})
    return rounded


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def measure(it: StreamSet, models: Sequence[str], seeds: int, request: Request) -> Iterator[dict[str, Any]]:
    """Yield a row for each model and seed of one set; a model that cannot run is skipped with a line."""
    if not len(asked(it, request.every)):
        print(f"{it.name}: skipped: {_why_nothing(it, request.every)}", flush=True)
        return
    for model in models:
        for seed in (None,) if model in UNSEEDED else range(seeds):
            named = f"{it.name} {model}" + ("" if seed is None else f" seed {seed}")
            options = replace(request.options, seed=seed or 0)
            try:
                found = run(it, replace(request, options=options, say=progress(named)), model)
            except (UnavailableError, StreamcastError, ValidationError) as error:
                print(f"{named}: skipped: {error}", flush=True)
                break
            row = row_of(it, model, seed, found)
            print(f"{named}: relative MAE {row['relative_mae']} from {row['cutoffs']} cutoffs", flush=True)
            yield row


def _why_nothing(it: StreamSet, every: int) -> str:
    """Say why no forecast of a set is scored."""
    if count := len(asked(it, 1)):
        return f"none of the {count:,} bars to forecast from is a multiple of {every}: choose a smaller --every"
    return (
        f"no series has an observed bar of the test part with the longest season, {max(it.seasons):,} bars, before it"
        f" and more than {it.horizon:,} bars after it"
    )


def progress(name: str) -> Say:
    """Return what prints a line of progress: in place on a terminal, else every 30 seconds."""
    terminal = sys.stderr.isatty()
    pause = 0.2 if terminal else 30.0
    last = time.monotonic()

    def say(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= pause:
            last = time.monotonic()
            begin, end = ("\r\033[K", "") if terminal else ("", "\n")
            print(f"{begin}{name}: {line}", end=end, file=sys.stderr, flush=True)

    return say


def write(path: Path, text: str) -> None:
    """Write a file as a whole, so that a run that is stopped leaves the rows it has."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(text)
    partial.replace(path)


def main() -> None:
    """Run, print the tables, and write the JSON after every model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of sets.json and NAME.csv.gz")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="default: all of sets.json")
    parser.add_argument("--models", nargs="+", metavar="NAME", default=list(DEFAULT_MODELS))
    parser.add_argument("--every", type=int, default=61, help="score the forecasts from every so many bars, such as 61")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each streamcast model")
    parser.add_argument("--json", type=Path, required=True, help="write the rows here")
    parser.add_argument("--plot", type=Path, help="draw relative MAE into this SVG file")
    parser.add_argument("--gbm", type=Path, help="the script of model gbm (default: FOLDER/../../reference/gbm.py)")
    parser.add_argument("--gbm-results", type=Path, help="keep gbm's forecasts in this folder, and use those it has")
    parser.add_argument("--classical-cutoffs", type=int, default=10, help="cutoffs a series of ets and theta")
    parser.add_argument(
        "--epochs", type=int, default=Options().epochs, help="epochs, after each of which a model is validated"
    )
    parser.add_argument("--max-seconds", type=float, default=Options().max_seconds, help="longest training")
    given = parser.parse_args()
    torch.set_num_threads(1)
    request = Request(
        data=given.data,
        every=given.every,
        options=Options(epochs=given.epochs, max_seconds=given.max_seconds),
        gbm=given.gbm or given.data.resolve().parent.parent / "reference" / "gbm.py",
        gbm_results=given.gbm_results,
        classical_cutoffs=given.classical_cutoffs,
    )
    rows: list[dict[str, Any]] = []
    for name in given.sets or json.loads((given.data / "sets.json").read_text()):
        try:
            it = load(given.data, name)
        except (StreamcastError, ValueError, KeyError) as error:
            print(f"{name}: skipped: {error.args[0] if isinstance(error, KeyError) else error}", flush=True)
            continue
        for row in measure(it, given.models, given.seeds, request):
            rows.append(row)
            write(given.json, json_text(rows, indent=1) + "\n")
            if given.plot:
                write(given.plot, picture(rows))
        if any(row["set"] == name for row in rows):
            show(set_table(name, rows))
    for table in summary_tables(rows) if rows else []:
        show(table)


if __name__ == "__main__":
    main()
