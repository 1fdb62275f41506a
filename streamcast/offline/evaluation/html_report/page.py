"""The page: the verdict, a section for each chart, a table of the series, and what the words mean."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from streamcast.offline.evaluation.html_report import charts
from streamcast.offline.evaluation.html_report.chosen import (
    CONFIDENCE,
    FEW_MS,
    FEW_OUTCOMES,
    PERIODS,
    drawn_series,
    periods_ahead,
    ranking_of,
    rule_of_coverage,
    rule_over_time,
)
from streamcast.offline.evaluation.html_report.facts import Facts, named, text
from streamcast.offline.evaluation.intervals import cosines
from streamcast.offline.evaluation.report import BacktestReport, Row
from streamcast.quality import sentence
from streamcast.wording import counted

MOST_ROWS = 200
"""Rows of the table of series: the worst first."""
_ACCIDENT = "may be an accident of this stretch of time"
_CONFIG = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}


def write(report: BacktestReport, facts: Facts) -> str:
    """Return the report as HTML; ``report`` keeps the forecasts that are drawn."""
    parts = [
        *_head(report, facts),
        *_section("Which forecast is best?", charts.ranking(report), _ranking_words(report)),
        *(_forecasts(report, facts) if drawn_series(report, facts) else ()),
        *_section(
            "Error by step ahead", charts.by_step(report),
            "The mean absolute error of forecasts 1, 2, … bars ahead, in the data's own unit. A click on a grey name in"
            " the legend shows that forecast, too.",
        ),
        *_section(
            "Error over time", charts.over_time(report, facts),
            f"The mean absolute error by {rule_over_time(facts)[1]} of the forecast. Where the blue line lies below"
            f" the orange one, the model is better than {named(report.reference)}.",
        ),
        *(_promise(report, facts) if facts.nominal and rule_of_coverage(report) else ()),
        *_section(
            "By series", _series_table(report, facts), "The worst first." + _left_out(report)
        ),
        _glossary(report, facts),
    ]  # fmt: skip
    return _PAGE.format(
        title=html.escape(f"{facts.model} on {facts.data}"), script=get_plotlyjs(), body="\n".join(parts)
    )


def _head(report: BacktestReport, facts: Facts) -> Iterator[str]:
    rows = {row["forecaster"]: row for row in report.rows()}
    mine, naive = rows[report.model], rows[report.reference]
    verdict, kind = _verdict(mine, naive, report, facts)
    yield f"<h1>{html.escape(facts.model)}</h1>"
    yield (
        f"<p class='sub'>Backtest on {html.escape(facts.data)}: {report.forecasts:,} forecasts of"
        f" {counted(len(report.by_series()) // len(report.tallies), 'series', 'series')}, every"
        f" {facts.spec.series.bar}, {facts.spec.horizon} bars ahead,"
        f" from {_day(facts.from_ms, facts.zone)} to {_day(facts.until_ms, facts.zone)}"
        f" ({html.escape(facts.zone)}).</p>"
    )
    yield f"<p class='verdict {kind}'>{html.escape(verdict)}</p>"
    cards = {
        "Mean absolute error": text(mine["mae"], ".4g"),
        f"of {named(report.reference)}'s ({text(naive['mae'], '.4g')})": text(mine["relative"], ".3f"),
        **({f"inside the {facts.nominal:.0%} interval": text(mine["coverage"], ".1%")} if facts.nominal else {}),
        "outcomes scored": f"{mine['points']:,.0f}",
    }
    yield "<div class='cards'>"
    for name, value in cards.items():
        yield f"<div><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>"
    yield f"</div><p class='sub'>{html.escape(_as_the_service_counts(report, facts))}</p><ul>"
    for line in filter(None, (*report.verdict(), report.evenly())):
        yield f"<li>{html.escape(line)}</li>"
    yield "</ul>"


def _verdict(mine: Row, naive: Row, report: BacktestReport, facts: Facts) -> tuple[str, str]:
    """Return a sentence on the model beside its reference, and the class of its paragraph."""
    if not mine["points"]:
        return "No forecast has an outcome: there is nothing to compare.", "neutral"
    if not naive["points"]:
        return f"There is no forecast of {named(report.reference)} to compare with.", "neutral"
    if not naive["mae"]:
        return f"Repeating {facts.naive} has no error: there is no ratio to it.", "neutral"
    better = 1 - mine["relative"]
    if f"{abs(better):.0%}" == "0%":
        return f"The model's error is about that of repeating {facts.naive}.", "neutral"
    size = f"{better:.0%} smaller" if better > 0 else f"{-better:.0%} LARGER"
    ratio = dict(ranking_of(report))[report.model]
    said, kind = f"The model's error is {size} than repeating {facts.naive}", "good" if better > 0 else "bad"
    if math.isnan(ratio.low):
        return f"{said}, in a test that is too short to say how sure that is.", "neutral"
    if ratio.low < 1 <= ratio.high:
        return f"{said}, which {_ACCIDENT}.", "neutral"
    if (evenly := report.relative_mae()[0]) > 1 > mine["relative"] or evenly < 1 < mine["relative"]:
        opposite = "larger" if better > 0 else "smaller"
        return f"{said}, but {abs(1 - evenly):.0%} {opposite} where every series counts the same.", "neutral"
    if report.always is not None and not report.better_than_always():
        return f"{said}, but not smaller than that of always {report.always.value:g}.", "neutral"
    return f"{said}.", kind


def _section(title: str, content: go.Figure | str, words: str) -> Iterator[str]:
    yield f"<section><h2>{html.escape(title)}</h2><p>{html.escape(words)}</p>"
    if isinstance(content, str):
        yield content
    else:
        chart = f"chart-{title.lower().replace(' ', '-').rstrip('?')}"
        yield content.to_html(full_html=False, include_plotlyjs=False, config=_CONFIG, div_id=chart)
    yield "</section>"


def _forecasts(report: BacktestReport, facts: Facts) -> Iterator[str]:
    """Yield the section on single forecasts."""
    return _section(
        "Forecasts and what came", charts.examples(report, facts),
        f"Black: what came. Blue: what was forecast, {facts.spec.horizon} bars at a time{_with_interval(facts)}."
        f" {_choice(report, facts)}Times are in {facts.zone}.",
    )  # fmt: skip


def _with_interval(facts: Facts) -> str:
    return f", with the interval that should hold {facts.nominal:.0%} of the outcomes" if facts.nominal else ""


def _choice(report: BacktestReport, facts: Facts) -> str:
    if len(drawn_series(report, facts)) < 2:
        return ""
    return f"Choose a series on the left; the largest error relative to {named(report.reference)} comes first. "


def _promise(report: BacktestReport, facts: Facts) -> Iterator[str]:
    """Yield the section on the interval's coverage."""
    period = PERIODS[rule_of_coverage(report)]
    short = ", and those of which the test has less than a week" if facts.spec.series.freq < FEW_MS else ""
    return _section(
        "Does the interval keep its promise?", charts.coverage(report, facts),
        f"The share of outcomes inside the interval, by {period} (in UTC) of the forecast. It should be near"
        f" {facts.nominal:.0%}: lower means that the interval is too narrow, higher that it is wider than needed."
        f" Bars that are more than {100 * charts.NEAR:.0f} points away are orange."
        f" {period.capitalize()}s with fewer than {FEW_OUTCOMES} outcomes are left out{short}.",
    )  # fmt: skip


def _ranking_words(report: BacktestReport) -> str:
    ranked = ranking_of(report)
    mine = dict(ranked)[report.model]
    best = ranked[0][0]
    if math.isnan(mine.value):
        return f"There is no ranking: the error of {named(report.reference)} is 0 or not known."
    place = f"{best} has the smallest error." if best != report.model else f"{best} has the smallest error of all."
    if math.isnan(mine.low):
        return f"{place} The test is too short to say how sure that is."
    if mine.high < 1:
        sure = f"It is better than {named(report.reference)}, which is unlikely to be an accident."
    elif mine.low < 1:
        sure = f"The difference from {named(report.reference)} {_ACCIDENT}."
    else:
        sure = f"It is worse than {named(report.reference)}, which is unlikely to be an accident."
    return (
        f"{place} The model's error is {mine.value:.3f} of {named(report.reference)}'s, with {CONFIDENCE:.0%}"
        f" confidence between {mine.low:.3f} and {mine.high:.3f}. {sure}"
    )


def _as_the_service_counts(report: BacktestReport, facts: Facts) -> str:
    """Return the quality of the same forecasts as metrics, page and verify count it, and how that differs."""
    found = report.quality.over_all()
    steps = ", ".join(map(str, report.quality.by_step()))
    left_out = counted(found.outcomes - found.compared, "outcome")
    missing = f", without {left_out} that it has no value to repeat for" if found.compared < found.outcomes else ""
    scored, horizon = report.scored_steps(), facts.spec.horizon
    if scored == horizon:
        here = f"All {counted(horizon, 'step')} ahead count here"
    else:
        here = f"{counted(scored, 'step')} ahead of {horizon} count here: for later ones, the test is too short"
    return (
        f"{here}. The service's metrics, its page and"
        f" verify count some of them ({steps}): {sentence(found, facts.nominal, facts.naive)}{missing}."
    )


def _series_table(report: BacktestReport, facts: Facts) -> str:
    _, by_series = report.relative_mae()
    rows = {row["unique_id"]: row for row in report.by_series() if row["forecaster"] == report.model}
    naive = {row["unique_id"]: row for row in report.by_series() if row["forecaster"] == report.reference}
    ordered = sorted(rows, key=lambda key: -by_series.get(key, 0.0))[:MOST_ROWS]
    heads = ["series", "outcomes", "error", f"{named(report.reference)}'s", "relative"]
    heads += ["inside the interval"] if facts.nominal else []
    lines = [f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>"]
    for key in ordered:
        relative = by_series.get(key, math.nan)
        cells = [
            html.escape(key), f"{rows[key]['points']:,.0f}", text(rows[key]["mae"], ".4g"),
            text(naive[key]["mae"], ".4g"), text(relative, ".3f"),
        ]  # fmt: skip
        cells += [text(rows[key]["coverage"], ".1%")] if facts.nominal else []
        kind = " class='worse'" if relative > 1 else ""
        lines.append(f"<tr{kind}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _left_out(report: BacktestReport) -> str:
    more = len(report.by_series()) // len(report.tallies) - MOST_ROWS
    return f" {more:,} better ones are left out." if more > 0 else ""


def _glossary(report: BacktestReport, facts: Facts) -> str:
    rows = {
        report.reference.capitalize(): f"The forecast that repeats {facts.naive}. Whoever does better than"
        " it has learnt something.",
        "Relative error": f"The model's mean absolute error divided by {named(report.reference)}'s, for the same"
        " outcomes. Below 1 is better than repeating what was. Where the cell to repeat is empty, an older value is"
        " repeated.",
    }
    if cosines(len(report.periods[report.model].starts_D), periods_ahead(report)):
        rows["Confidence"] = (
            f"The lines of the ranking are made to hold the relative error of other stretches like this one with"
            f" {CONFIDENCE:.0%} confidence. Their length comes from the slow swings of the error within the test."
        )
    if facts.nominal:
        held = f"it should hold {facts.nominal:.0%} of the outcomes."
        rows["Interval"] = f"The range between the lowest and the highest quantile; {held}"
    items = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in rows.items())
    return f"<section><h2>What the words mean</h2><dl>{items}</dl></section>"


def _day(time_ms: int, zone: str) -> str:
    return f"{pd.Timestamp(time_ms, unit='ms', tz=zone):%d %B %Y}"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #111827; max-width: 1080px; margin: 32px auto; padding: 0 20px; }}
h1 {{ margin: 0; font-size: 30px; }} h2 {{ margin: 40px 0 4px; font-size: 21px; }}
p {{ margin: 4px 0 10px; max-width: 78ch; }} .sub, section > p {{ color: #4b5563; }}
.verdict {{ font-size: 20px; font-weight: 600; padding: 12px 16px; border-radius: 8px; max-width: none; }}
.good {{ background: #e7f5ec; color: #14532d; }} .bad {{ background: #fdecea; color: #7f1d1d; }}
.neutral {{ background: #f3f4f6; }}
.cards {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; margin: 16px 0; }}
.cards div {{ border: 1px solid #e5e7eb; border-radius: 8px; padding: 12px 14px; }}
.cards b {{ display: block; font-size: 26px; }} .cards span {{ color: #4b5563; font-size: 14px; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: right; padding: 5px 10px; border-bottom: 1px solid #e5e7eb; }}
th:first-child, td:first-child {{ text-align: left; overflow-wrap: anywhere; }} .worse td {{ color: #b91c1c; }}
dt {{ font-weight: 600; margin-top: 8px; }} dd {{ margin: 0; color: #4b5563; max-width: 78ch; }}
</style><script>{script}</script></head><body>
{body}
</body></html>
"""
