"""``streamcast backtest``: a file through the real engine, compared with simple baselines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamcast.app.commands.files.outputs import require_page, require_table, written
from streamcast.app.commands.files.reading import mapping, read_outcomes, say
from streamcast.app.commands.tables import lean
from streamcast.app.frames import ANOMALY, ID, Names
from streamcast.app.json_text import print_json
from streamcast.app.markup import escape
from streamcast.app.moments import moment, span
from streamcast.app.options.groups import BacktestOptions, Columns
from streamcast.app.progress import counting, stages_shown
from streamcast.app.trained import baseline
from streamcast.errors import HistoryError
from streamcast.models.spec import SpecError
from streamcast.offline.evaluation.backtest import Refit
from streamcast.offline.evaluation.backtest import backtest as run
from streamcast.offline.evaluation.classical import named
from streamcast.offline.evaluation.report import BacktestReport, Row
from streamcast.offline.history import read as histories
from streamcast.offline.history.read import History
from streamcast.offline.history.timestamps import as_written, twice_as_written
from streamcast.offline.training.fit import fit_again
from streamcast.offline.training.options import Options, others_of
from streamcast.quality import facts_of, lines
from streamcast.spec.folders import Model, load_model
from streamcast.spec.model_spec import ModelSpec, format_duration
from streamcast.spec.zero import has_no_network
from streamcast.wording import counted

TEST_SHARE = 0.2
MOST_SERIES = 20
"""With more series than this, the table of series is not printed; --json has it."""

MEASURES = ("mae", "relative", "mse", "mase", "crps", "coverage", "width")
SHARES = ("coverage",)
WHOLE, HUGE = 1_000, 10_000_000
"""From WHOLE on, a number is printed without decimals; from HUGE on, with an exponent."""


@stages_shown()
def backtest(
    data: Path, columns: Columns, options: BacktestOptions, folder: Path, as_json: bool, console: Console
) -> int:
    """Score every forecast of the file's test part and print the tables; raises HistoryError or ModelError."""
    require_table("--frame", options.frame)
    require_table("--anomalies", options.anomalies)
    require_page("--report", options.report)
    model = load_model(folder, options.model)
    refit = _refit(model, options)
    beside = named(options.baselines, min(model.spec.season))
    read_as = mapping(columns, model)
    names, timezone = Names(read_as.id_col or None, read_as.time_col, read_as.target_col), read_as.timezone
    if options.frame is not None:
        names.require_apart()
    if options.anomalies is not None:
        names.require_apart(ANOMALY)
    history = read_outcomes(data, columns, model)
    from_ms, why = scored_from(model, history, options.test_from, timezone)
    if why:
        Console(stderr=True, soft_wrap=True).print(
            f"[dim]note:[/] scored from {moment(from_ms, timezone)}, {why}; --test-from names another time",
            highlight=False,
        )
    _warn_of_trained_bars(model, from_ms, timezone, refit)
    with counting("records streamed", Console(stderr=True)) as on_rows:
        report = run(
            model, history, from_ms, beside=beside, keep=_kept(model.spec, history, from_ms, options), refit=refit,
            anomalies=options.anomalies is not None, on_progress=on_rows,
        )  # fmt: skip
    if options.frame is not None:
        found = _written(report.frame(), timezone, history)
        forecasts = names.back(found, report.model, model.spec.quantiles, called=report.column)
        _write_frame(forecasts, options.frame, "forecast step")
    if report.anomalies is not None and options.anomalies is not None:
        found = _written(report.anomalies, timezone, history)
        _write_frame(names.back(found, report.model, model.spec.quantiles), options.anomalies, "bar")
    if options.report is not None:
        _write_page(report, model, data, (from_ms, history.last_observed_ms), timezone, options.report)
    if as_json:
        tables = {"overall": report.rows(), "by_horizon": report.by_horizon(), "by_series": report.by_series()}
        told = {"forecasts": report.forecasts, "quality": facts_of(report.quality), "verdict": report.verdict()}
        print_json(console, {**tables, **told})
        return 0
    when = span(from_ms, history.last_observed_ms, timezone)
    _print(report, model.spec, len(history.keys), names.id_col or ID, when, console)
    return 0


def _written(found: pd.DataFrame, timezone: str, history: History) -> pd.DataFrame:
    """Return rows with times as those of a file, and print a note where clocks that go back repeat some."""
    say(twice_as_written(found, timezone, history.written))
    return as_written(found, timezone, history.written)


def _warn_of_trained_bars(model: Model, from_ms: int, timezone: str, refit: Refit | None) -> None:
    """Warn where the model was trained on bars that are scored, until it is trained again on those before."""
    trained_until = model.trained_until
    if trained_until is not None and from_ms <= trained_until:
        again = None if refit is None else from_ms + refit.every_ms
        before = "that time"
        if again is not None and again <= trained_until:
            before = f"{moment(again, timezone)}, when it is first trained again,"
        Console(stderr=True).print(
            f"[bold red]The model was trained on bars up to {moment(trained_until, timezone)}[/], and the scored part"
            f" begins at {moment(from_ms, timezone)}: errors before {before} flatter. Score later data with"
            " --test-from, or train again with --hold-out.",
            highlight=False,
        )


def _write_frame(frame: pd.DataFrame, path: Path, row: str) -> None:
    """Write a frame and say how many rows there are, and of what."""
    with written(path) as file:
        frame.to_parquet(file) if path.suffix == ".parquet" else frame.to_csv(file, index=False)
    Console(stderr=True).print(f"Wrote {counted(len(frame), row)} to {escape(str(path))}.")


def _print(report: BacktestReport, spec: ModelSpec, series: int, id_col: str, when: str, console: Console) -> None:
    """Print the tables, how many records and forecasts there were, and what it comes to."""
    console.print(_overall(report))
    console.print(_by_step(report, spec.scored_steps))
    if series <= MOST_SERIES:
        console.print(_by_series(report, id_col))
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in report.outcomes.items())
    console.print(f"{counted(report.forecasts, 'forecast')} scored; records: {outcomes}", highlight=False)
    console.print(escape(_quality(report, spec, when)), highlight=False)
    for sentence in filter(None, (*report.verdict(), report.evenly())):
        console.print(escape(sentence), highlight=False)


def _refit(model: Model, options: BacktestOptions) -> Refit | None:
    """Return how the model is trained within the test; raises SpecError for one that is not trained at all."""
    if options.refit is None:
        return None
    if has_no_network(model.spec):
        raise SpecError("--refit trains again, and a model without a network learns from every record: leave it out")
    if options.refit < model.spec.series.freq:
        raise SpecError(f"--refit is {format_duration(options.refit)}: expected at least a bar of the model")
    how = _as_trained(model)
    limit = f"{'--trial-seconds' if 'tuned' in model.facts else '--max-seconds'} when the model is trained"
    return Refit(lambda past: fit_again(past, model.spec, how, limit), options.refit)


def _as_trained(model: Model) -> Options:
    """Return how a model is trained within the test; a note on stderr says so where the options are not the default."""
    console, name = Console(stderr=True, soft_wrap=True), f"{model.name}@{model.version}"
    how = Options.of_facts(model.facts)
    if others := others_of(model.facts):
        said = f"--refit trains by the default options, without {others[0]}, which {name} learned from"
        console.print(f"[dim]note:[/] {said}", highlight=False)
    elif chosen := how.facts():
        named = ", ".join(
            f"{option} {value:.4g}" if isinstance(value, float) else f"{option} {value}"
            for option, value in chosen.items()
        )
        console.print(f"[dim]note:[/] --refit trains as {name} was trained: {named}", highlight=False)
    return how


def _kept(spec: ModelSpec, history: History, from_ms: int, options: BacktestOptions) -> Sequence[int] | None:
    """Return the cutoffs whose forecasts are kept (None: all), for the table or for the charts of the report."""
    if options.frame is not None:
        return None
    if options.report is None:
        return ()
    from streamcast.offline.evaluation.html_report.chosen import cutoffs_to_draw

    return cutoffs_to_draw(spec, from_ms, history.last_observed_ms, len(history.keys))


def _write_page(
    report: BacktestReport, model: Model, data: Path, scored: tuple[int, int], zone: str, path: Path
) -> None:
    from streamcast.offline.evaluation.html_report.facts import Facts
    from streamcast.offline.evaluation.html_report.page import write

    facts = Facts(f"{model.name}@{model.version}", data.name, model.spec, *scored, zone)
    with written(path) as file:
        file.write_text(write(report, facts), encoding="utf-8")
    Console(stderr=True).print(f"Wrote the report to {escape(str(path))}.", highlight=False)


def _quality(report: BacktestReport, spec: ModelSpec, when: str) -> str:
    """Return the quality as training, the service and the page count it."""
    nominal = spec.nominal
    first, *steps = lines(report.quality, nominal, baseline(spec))
    return "\n".join([f"Quality from {when}: {first}", *steps])


def scored_from(model: Model, history: History, test_from: str | None, timezone: str) -> tuple[int, str]:
    """Return the time from which forecasts are scored, and why it is that one; no reason if it was given.

    By default it is the time from which training held data out, else the last fifth.
    """
    if test_from:
        try:
            from_ms = histories.instant_ms(test_from, timezone)
        except HistoryError as error:
            raise HistoryError("--test-from: ", *error.args) from None
        last = history.last_observed_ms
        if last < from_ms <= history.ts_N[-1]:
            raise HistoryError(
                f"--test-from is {moment(from_ms, timezone)}: nothing can be scored there, because the last value of"
                f" {history.columns[0]} is at {moment(last, timezone)} and later rows have none; choose an earlier time"
            )
        return from_ms, ""
    last_fifth = histories.cuts(history, (1 - TEST_SHARE, TEST_SHARE))[0]
    newest = (model.facts.get(name) for name in ("last", "from_last"))
    begins = [model.facts.get("held_out_from"), *(None if time is None else time + 1 for time in newest)]
    unseen = max((time for time in begins if time is not None), default=None)
    if unseen is not None and history.ts_N[0] < unseen < history.last_observed_ms:
        return int(unseen), "where the data begin that the model was not trained on"
    rows = len(history.observed())
    return last_fifth, f"the last fifth of these {rows:,} rows{' up to the last target' if rows < len(history) else ''}"


def _overall(report: BacktestReport) -> Table:
    table = lean("forecaster", *MEASURES, numbers=MEASURES, title="All series and steps, in the series' own units")
    for row in report.rows():
        table.add_row(Text(row["forecaster"]), *_measures(row))
    return table


def _by_step(report: BacktestReport, steps: Sequence[int]) -> Table:
    table = lean("step", *report.tallies, numbers=report.tallies, title="By step ahead: mae")
    rows = report.by_horizon()
    for step in steps:
        table.add_row(str(step), *(_number(row["mae"]) for row in rows if row["step"] == step))
    return table


def _by_series(report: BacktestReport, id_col: str) -> Table:
    table = lean(id_col, *MEASURES, numbers=MEASURES, title=f"By series: {report.model}")
    for row in report.by_series():
        if row["forecaster"] == report.model:
            table.add_row(Text(row["unique_id"]), *_measures(row))
    return table


def _measures(row: Row) -> list[str]:
    return [_share(row.get(name)) if name in SHARES else _number(row.get(name)) for name in MEASURES]


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:,.0f}" if WHOLE <= abs(value) < HUGE else f"{value:#.4g}"


def _share(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.1%}"
