"""``streamcast backtest``: a file through the real engine, beside simple baselines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from streamcast import history as histories
from streamcast.backtest import backtest as run
from streamcast.history import History
from streamcast.registry import load_model
from streamcast.spec import SeriesSpec

TEST_SHARE = 0.2


def backtest(
    read: Callable[[SeriesSpec], History], reference: str, folder: Path, test_from: str, timezone: str,
    frame: Path | None, as_json: bool, console: Console,
) -> int:  # fmt: skip
    """Read the file as the model's series, score every forecast of its test part and print the tables."""
    model = load_model(folder, reference)
    history = read(model.spec.series)
    from_ms = (
        histories.instant_ms(test_from, timezone)
        if test_from
        else histories.cuts(history, (1 - TEST_SHARE, TEST_SHARE))[0]
    )
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("streaming", total=len(history))
        report = run(
            model, history, from_ms, keep=None if frame else (),
            on_progress=lambda done, rows: progress.update(task, completed=done, total=rows),
        )  # fmt: skip
    if frame is not None:
        found = report.frame()
        found.to_parquet(frame) if frame.suffix == ".parquet" else found.to_csv(frame, index=False)
        Console(stderr=True).print(f"Wrote {len(found):,} forecast steps to {frame}.")
    if as_json:
        tables = {"overall": report.rows(), "by_horizon": report.by_horizon(), "by_series": report.by_series()}
        console.print_json(json.dumps({**tables, "forecasts": report.forecasts, "verdict": report.verdict()}))
        return 0
    console.print(_table("All series and steps", report.rows()))
    steps = _some_steps(model.spec.horizon)
    console.print(_table("By step ahead", [row for row in report.by_horizon() if row["step"] in steps]))
    if len(history.keys) <= 20:
        console.print(_table("By series", [r for r in report.by_series() if r["forecaster"] == report.model]))
    console.print(f"{report.forecasts:,} forecasts scored; records: {report.outcomes}", highlight=False)
    for sentence in report.verdict():
        console.print(sentence, highlight=False)
    return 0


def _some_steps(horizon: int) -> set[int]:
    return {1, max(1, horizon // 4), max(1, horizon // 2), horizon}


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(title=title, title_justify="left")
    for name in names:
        table.add_column(name, justify="left" if isinstance(rows[0].get(name), str) else "right")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in names))
    return table


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
