"""A backtest as one HTML file that a manager can read: no network, no other file, no program but a browser.

In reading order: the verdict, forecasts beside outcomes, error by step and over time, coverage by month, a table of the
series, and what the words mean.  Plotly's script is part of the file.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from streamcast.offline.evaluation.accuracy import Floats
from streamcast.offline.evaluation.baselines import LAST_VALUE
from streamcast.offline.evaluation.frames import quantile_column
from streamcast.offline.evaluation.intervals import BLOCK_PERIODS, Ratio, relative_error
from streamcast.offline.evaluation.report import BacktestReport, Periods, Row
from streamcast.offline.history.timestamps import in_zone
from streamcast.quality import sentence
from streamcast.spec.durations import DAY_MS, WEEK_MS
from streamcast.spec.model_spec import ModelSpec
from streamcast.wording import counted, naive_name

MODEL_COLOUR, NAIVE_COLOUR, OTHER_COLOUR, OUTCOME_COLOUR = "#1f6feb", "#d97706", "#9aa4b2", "#111827"
MOST_SERIES_DRAWN = 12
"""Series with a chart of their own: the best, the worst, and some between."""
MOST_ROWS = 200
"""Rows of the table of series: the worst first."""
FEW_OUTCOMES = 100
"""A month, or a year, with fewer outcomes than this has no bar."""
_PERIODS = {"MS": "month", "YS": "year"}
LONGEST_NAME = 60
"""Characters of a series' name in the menu."""
LEGEND = 36
"""Pixels of a legend above its chart."""
MOST_WINDOWS, MOST_STEPS_KEPT = 28, 400_000
"""Forecasts of a series that are drawn, and steps of all series in memory."""
_CONFIDENCE = 0.9
_ACCIDENT = "may be an accident of this stretch of time"
_CONFIG = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the report is about: the model's name and spec, the file, the scored part (epoch ms), and its time zone."""

    model: str
    data: str
    spec: ModelSpec
    from_ms: int
    until_ms: int
    zone: str = "UTC"

    @property
    def nominal(self) -> float:
        """The share of outcomes that the interval promises to hold."""
        return self.spec.nominal

    @property
    def naive(self) -> str:
        """What seasonal naive repeats."""
        return naive_name(self.spec.naive_season, self.spec.series.freq)


def write(report: BacktestReport, facts: Facts) -> str:
    """Return the report as HTML; ``report`` keeps the forecasts that are drawn."""
    parts = [
        *_head(report, facts),
        *_section("Which forecast is best?", _ranking(report), _ranking_words(report)),
        *(_forecasts(report, facts) if _drawn_series(report, facts) else ()),
        *_section(
            "Error by step ahead", _by_step(report),
            "The mean absolute error of forecasts 1, 2, … bars ahead, in the data's own unit. A click on a grey name in"
            " the legend shows that forecast, too.",
        ),
        *_section(
            "Error over time", _over_time(report, facts),
            f"The mean absolute error by {_rule_over_time(facts)[1]} of the forecast. Where the blue line lies below"
            f" the orange one, the model is better than {_named(report.reference)}.",
        ),
        *(_promise(report, facts) if facts.nominal and _rule_of_coverage(report) else ()),
        *_section(
            "By series", _series_table(report, facts), "The worst first." + _left_out(report)
        ),
        _glossary(report, facts),
    ]  # fmt: skip
    return _PAGE.format(
        title=html.escape(f"{facts.model} on {facts.data}"), script=get_plotlyjs(), body="\n".join(parts)
    )


# -- parts of the page -----------------------------------------------------------------------------------


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
        "Mean absolute error": _text(mine["mae"], ".4g"),
        f"of {_named(report.reference)}'s ({_text(naive['mae'], '.4g')})": _text(mine["relative"], ".3f"),
        **({f"inside the {facts.nominal:.0%} interval": _text(mine["coverage"], ".1%")} if facts.nominal else {}),
        "outcomes scored": f"{mine['points']:,.0f}",
    }
    yield "<div class='cards'>"
    for name, value in cards.items():
        yield f"<div><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>"
    yield f"</div><p class='sub'>{html.escape(_as_the_service_counts(report, facts))}</p><ul>"
    for line in report.verdict():
        yield f"<li>{html.escape(line)}</li>"
    yield "</ul>"


def _verdict(mine: Row, naive: Row, report: BacktestReport, facts: Facts) -> tuple[str, str]:
    """Return a sentence on the model beside its reference, and the class of its paragraph."""
    if not mine["points"]:
        return "No forecast has an outcome: there is nothing to compare.", "neutral"
    if not naive["points"]:
        return f"There is no forecast of {_named(report.reference)} to compare with.", "neutral"
    if not naive["mae"]:
        return f"Repeating {facts.naive} has no error: there is no ratio to it.", "neutral"
    better = 1 - mine["relative"]
    if f"{abs(better):.0%}" == "0%":
        return f"The model's error is about that of repeating {facts.naive}.", "neutral"
    size = f"{better:.0%} smaller" if better > 0 else f"{-better:.0%} LARGER"
    ratio = dict(_ranking_of(report))[report.model]
    said, kind = f"The model's error is {size} than repeating {facts.naive}", "good" if better > 0 else "bad"
    if ratio.low < 1 <= ratio.high:
        return f"{said}, which {_ACCIDENT}.", "neutral"
    return f"{said}.", kind


def _named(reference: str) -> str:
    """Return the reference as a sentence has it."""
    return f"the {reference}" if reference == LAST_VALUE else reference


def _section(title: str, content: go.Figure | str, words: str) -> Iterator[str]:
    yield f"<section><h2>{html.escape(title)}</h2><p>{html.escape(words)}</p>"
    if isinstance(content, str):
        yield content
    else:
        chart = f"chart-{title.lower().replace(' ', '-').rstrip('?')}"
        yield content.to_html(full_html=False, include_plotlyjs=False, config=_CONFIG, div_id=chart)
    yield "</section>"


def _promise(report: BacktestReport, facts: Facts) -> Iterator[str]:
    """Yield the section on the interval's coverage."""
    period = _PERIODS[_rule_of_coverage(report)]
    return _section(
        "Does the interval keep its promise?", _coverage(report, facts),
        f"The share of outcomes inside the interval, by {period} (in UTC) of the forecast. It should be near"
        f" {facts.nominal:.0%}: lower means that the interval is too narrow, higher that it is wider than needed."
        f" {period.capitalize()}s with fewer than {FEW_OUTCOMES} outcomes are left out.",
    )  # fmt: skip


def _forecasts(report: BacktestReport, facts: Facts) -> Iterator[str]:
    """Yield the section on single forecasts."""
    return _section(
        "Forecasts and what came", _examples(report, facts),
        f"Black: what came. Blue: what was forecast, {facts.spec.horizon} bars at a time{_with_interval(facts)}."
        f" {_choice(report, facts)}Times are in {facts.zone}.",
    )  # fmt: skip


def _with_interval(facts: Facts) -> str:
    return f", with the interval that should hold {facts.nominal:.0%} of the outcomes" if facts.nominal else ""


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


def _glossary(report: BacktestReport, facts: Facts) -> str:
    rows = {
        report.reference.capitalize(): f"The forecast that repeats {facts.naive}. Whoever does better than"
        " it has learnt something.",
        "Relative error": f"The model's mean absolute error divided by {_named(report.reference)}'s, for the same"
        " outcomes. Below 1 is better than repeating what was. Where the cell to repeat is empty, an older value is"
        " repeated.",
        "Confidence": f"The lines of the ranking hold the relative error with {_CONFIDENCE:.0%} confidence: pieces of"
        f" up to {BLOCK_PERIODS} {'days' if facts.spec.series.freq <= DAY_MS else 'bars'} were drawn again and again"
        " from the test, and the error was computed of each draw.",
    }
    if facts.nominal:
        held = f"it should hold {facts.nominal:.0%} of the outcomes."
        rows["Interval"] = f"The range between the lowest and the highest quantile; {held}"
    items = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in rows.items())
    return f"<section><h2>What the words mean</h2><dl>{items}</dl></section>"


# -- charts ----------------------------------------------------------------------------------------------


def _ranking_of(report: BacktestReport) -> list[tuple[str, Ratio]]:
    """Return each forecaster's relative error, the best first."""
    naive = report.periods[report.reference]
    found = {
        name: relative_error(periods.absolute_D, naive.absolute_D, _CONFIDENCE)
        for name, periods in report.periods.items()
    }
    return sorted(found.items(), key=lambda item: (math.isnan(item[1].value), item[1].value))


def _ranking(report: BacktestReport) -> go.Figure:
    ranked = _ranking_of(report)[::-1]
    figure = go.Figure()
    for name, ratio in ranked:
        below, above = (
            (0.0, 0.0) if math.isnan(ratio.low) else (max(ratio.value - ratio.low, 0), max(ratio.high - ratio.value, 0))
        )
        figure.add_scatter(
            x=[ratio.value], y=[name], mode="markers+text", text=[_text(ratio.value, ".3f")], textposition="top center",
            marker={"size": 13, "color": _colour(report, name)}, showlegend=False, name=name,
            error_x={"type": "data", "symmetric": False, "array": [above], "arrayminus": [below], "thickness": 2},
        )  # fmt: skip
    figure.add_vline(x=1, line={"dash": "dot", "color": NAIVE_COLOUR})
    ticks = [0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 5, 10, 20]
    figure.update_xaxes(
        title=f"error relative to {_named(report.reference)} (smaller is better; each doubling has the same width)",
        type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks],
    )  # fmt: skip
    return _styled(figure, 90 + 55 * len(ranked), top=40)


def _ranking_words(report: BacktestReport) -> str:
    ranked = _ranking_of(report)
    mine = dict(ranked)[report.model]
    best = ranked[0][0]
    if math.isnan(mine.value):
        return f"There is no ranking: the error of {_named(report.reference)} is 0 or not known."
    place = f"{best} has the smallest error." if best != report.model else f"{best} has the smallest error of all."
    if math.isnan(mine.low):
        return f"{place} The test is too short to say how sure that is."
    if mine.high < 1:
        sure = f"It is better than {_named(report.reference)}, and that is no accident."
    elif mine.low < 1:
        sure = f"The difference from {_named(report.reference)} {_ACCIDENT}."
    else:
        sure = f"It is worse than {_named(report.reference)}, and that is no accident."
    return (
        f"{place} The model's error is {mine.value:.3f} of {_named(report.reference)}'s, with {_CONFIDENCE:.0%}"
        f" confidence between {mine.low:.3f} and {mine.high:.3f}. {sure}"
    )


def _examples(report: BacktestReport, facts: Facts) -> go.Figure:
    frame, chosen = _drawn(report, facts), _drawn_series(report, facts)
    figure = go.Figure()
    low, high = (quantile_column(report.column, level) for level in (facts.spec.quantiles[0], facts.spec.quantiles[-1]))
    for number, key in enumerate(chosen):
        mine = frame[frame["unique_id"] == key].sort_values(["cutoff", "ds"])
        apart = in_zone(_gaps(mine), facts.zone)
        first = number == 0
        around = in_zone(_around(mine, low, high), facts.zone)
        if facts.nominal:
            figure.add_scatter(
                x=around["ds"], y=around["bound"], mode="lines", fill="toself", visible=first,
                name=f"{facts.nominal:.0%} interval", fillcolor="rgba(31,111,235,0.18)",
                line={"width": 0, "color": MODEL_COLOUR}, hoverinfo="skip",
            )  # fmt: skip
        figure.add_scatter(
            x=apart["ds"], y=apart[report.column], mode="lines", visible=first, name="forecast", connectgaps=False,
            line={"width": 2, "color": MODEL_COLOUR},
        )  # fmt: skip
        seen = in_zone(_broken(mine.drop_duplicates("ds").sort_values("ds"), facts.spec.series.freq), facts.zone)
        figure.add_scatter(
            x=seen["ds"], y=seen["y"], mode="lines+markers", name="what came", visible=first,
            line={"width": 1.2, "color": OUTCOME_COLOUR}, marker={"size": 3},
        )  # fmt: skip
    _, by_series = report.relative_mae()
    traces = len(figure.data) // max(len(chosen), 1)
    buttons = [
        {
            "label": html.escape(f"{_shortened(key)}  ({_text(by_series.get(key, math.nan), '.2f')}× naive)"),
            "method": "update",
            "args": [{"visible": [place // traces == number for place in range(len(figure.data))]}],
        }
        for number, key in enumerate(chosen)
    ]
    if len(chosen) > 1:
        menu = {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "pad": {"b": LEGEND}}
        figure.update_layout(updatemenus=[menu])
    return _styled(figure, 490, top=LEGEND + 46)


def _choice(report: BacktestReport, facts: Facts) -> str:
    if len(_drawn_series(report, facts)) < 2:
        return ""
    return f"Choose a series on the left; the largest error relative to {_named(report.reference)} comes first. "


def _shortened(key: str) -> str:
    """Return a name as the menu has it: a long one keeps its two ends."""
    return key if len(key) <= LONGEST_NAME else f"{key[: LONGEST_NAME // 2]}…{key[-LONGEST_NAME // 2 :]}"


def _around(frame: pd.DataFrame, low: str, high: str) -> pd.DataFrame:
    """Return the outline of each forecast's interval, ``ds`` and ``bound``: there along its top, back along its bottom.

    An empty row ends each, because a filled line closes its parts between gaps one by one.  (A fill to the next line
    does not end where the lines do.)
    """
    parts = []
    for _, one in frame.groupby("cutoff"):
        there, back = one["ds"], one["ds"].iloc[::-1]
        bound = [*one[high], *one[low].iloc[::-1], np.nan]
        parts.append(pd.DataFrame({"ds": [*there, *back, back.iloc[-1]], "bound": bound}))
    return pd.concat(parts, ignore_index=True)


def _broken(frame: pd.DataFrame, freq_ms: int) -> pd.DataFrame:
    """Return the outcomes of rows in order of time, with an empty one wherever more than a bar lies between two."""
    before = frame["ds"][frame["ds"].diff() > pd.Timedelta(1.5 * freq_ms, "ms")] - pd.Timedelta(1, "ms")
    return pd.concat([frame[["ds", "y"]], pd.DataFrame({"ds": before, "y": np.nan})]).sort_values("ds")


def _gaps(frame: pd.DataFrame) -> pd.DataFrame:
    """Return forecasts with an empty row after each, so that no line joins one forecast with the next."""
    ends = frame.groupby("cutoff", as_index=False).last()
    ends["ds"] += pd.Timedelta(1, "ms")
    for name in ends.columns.difference(["unique_id", "ds", "cutoff"]):
        ends[name] = np.nan
    return pd.concat([frame, ends], ignore_index=True).sort_values(["cutoff", "ds"], kind="stable")


def _drawn(report: BacktestReport, facts: Facts) -> pd.DataFrame:
    """Return the forecasts that are drawn."""
    cutoffs = cutoffs_to_draw(facts.spec, facts.from_ms, facts.until_ms, len(report.keys))
    frame = report.frame()
    return frame[frame["cutoff"].isin(np.array(cutoffs).astype("datetime64[ms]"))]


def _drawn_series(report: BacktestReport, facts: Facts) -> list[str]:
    """Return series to draw, the worst first: all with a forecast, or as many from the worst to the best."""
    _, by_series = report.relative_mae()
    ordered = sorted(_drawn(report, facts)["unique_id"].unique(), key=lambda key: -by_series.get(key, 0.0))
    places = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), MOST_SERIES_DRAWN)).round().astype(int))
    return [ordered[place] for place in places.tolist()]


def _by_step(report: BacktestReport) -> go.Figure:
    figure = go.Figure()
    rows = pd.DataFrame(report.by_horizon())
    rest = [name for name, _ in _ranking_of(report) if name not in (report.model, report.reference)]
    shown = (report.model, report.reference, *rest[:1])
    for name in report.tallies:
        mine = rows[rows["forecaster"] == name]
        figure.add_scatter(
            x=mine["step"], y=mine["mae"], mode="lines+markers", name=name, marker={"size": 4},
            line=_line(report, name), visible=True if name in shown else "legendonly",
        )  # fmt: skip
    figure.update_xaxes(title="bars ahead")
    figure.update_yaxes(title="mean absolute error", rangemode="tozero")
    return _styled(figure, 380)


def _rule_over_time(facts: Facts) -> tuple[str | None, str]:
    """Return by what errors over time are summed, for pandas (None: as they are) and in words."""
    return ("W-MON", "week (in UTC)") if facts.spec.series.freq <= WEEK_MS else (None, "bar")


def _over_time(report: BacktestReport, facts: Facts) -> go.Figure:
    figure, (rule, _) = go.Figure(), _rule_over_time(facts)
    for name, periods in report.periods.items():
        found = _summed(periods, rule)
        figure.add_scatter(
            x=found.index, y=found["absolute"] / found["count"], mode="lines+markers", name=name, marker={"size": 4},
            line=_line(report, name), visible=True if name in (report.model, report.reference) else "legendonly",
        )  # fmt: skip
    figure.update_yaxes(title="mean absolute error", rangemode="tozero")
    return _styled(figure, 340)


def _enough(report: BacktestReport, rule: str) -> pd.DataFrame:
    """Return the model's sums by month or year, of those with enough outcomes."""
    found = _summed(report.periods[report.model], rule)
    return found[found["count"] >= FEW_OUTCOMES]


def _rule_of_coverage(report: BacktestReport) -> str:
    """Return by what outcomes are counted: the first of ``_PERIODS`` of which one has enough, '' if none has."""
    return next((rule for rule in _PERIODS if len(_enough(report, rule))), "")


def _coverage(report: BacktestReport, facts: Facts) -> go.Figure:
    rule = _rule_of_coverage(report)
    found = _enough(report, rule)
    share, name = found["covered"] / found["count"], "%b %Y" if rule == "MS" else "year %Y"
    colours = [MODEL_COLOUR if abs(value - facts.nominal) <= 0.05 else NAIVE_COLOUR for value in share]
    figure = go.Figure()
    figure.add_bar(
        x=[f"{start:{name}}" for start in found.index], y=share, marker={"color": colours}, showlegend=False,
        text=[f"{value:.0%}" for value in share], textposition="inside", insidetextanchor="middle", textangle=0,
    )  # fmt: skip
    figure.add_hline(
        y=facts.nominal, line={"dash": "dot", "color": OUTCOME_COLOUR}, annotation_text=f"promised: {facts.nominal:.0%}"
    )
    figure.update_yaxes(tickformat=".0%", range=[0, 1.08])
    return _styled(figure, 320, top=40)


def _summed(periods: Periods, rule: str | None) -> pd.DataFrame:
    """Return the sums by week, month or year (None: by period), of those with outcomes."""
    times = pd.to_datetime(periods.starts_D, unit="ms")
    columns: Mapping[str, Floats] = {
        "count": periods.count_D, "absolute": periods.absolute_D, "covered": periods.covered_D
    }  # fmt: skip
    found = pd.DataFrame(columns, index=times)
    found = found if rule is None else found.resample(rule, label="left", closed="left").sum()
    return found[found["count"] > 0]


def _series_table(report: BacktestReport, facts: Facts) -> str:
    _, by_series = report.relative_mae()
    rows = {row["unique_id"]: row for row in report.by_series() if row["forecaster"] == report.model}
    naive = {row["unique_id"]: row for row in report.by_series() if row["forecaster"] == report.reference}
    ordered = sorted(rows, key=lambda key: -by_series.get(key, 0.0))[:MOST_ROWS]
    heads = ["series", "outcomes", "error", f"{_named(report.reference)}'s", "relative"]
    heads += ["inside the interval"] if facts.nominal else []
    lines = [f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>"]
    for key in ordered:
        relative = by_series.get(key, math.nan)
        cells = [
            html.escape(key), f"{rows[key]['points']:,.0f}", _text(rows[key]["mae"], ".4g"),
            _text(naive[key]["mae"], ".4g"), _text(relative, ".3f"),
        ]  # fmt: skip
        cells += [_text(rows[key]["coverage"], ".1%")] if facts.nominal else []
        kind = " class='worse'" if relative > 1 else ""
        lines.append(f"<tr{kind}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _left_out(report: BacktestReport) -> str:
    more = len(report.by_series()) // len(report.tallies) - MOST_ROWS
    return f" {more:,} better ones are left out." if more > 0 else ""


def _line(report: BacktestReport, name: str) -> dict[str, Any]:
    main = name in (report.model, report.reference)
    return {"color": _colour(report, name), "width": 2.5 if main else 1.2, "dash": "solid" if main else "dot"}


def _colour(report: BacktestReport, name: str) -> str:
    return {report.model: MODEL_COLOUR, report.reference: NAIVE_COLOUR}.get(name, OTHER_COLOUR)


def _styled(figure: go.Figure, height: int, top: int = LEGEND + 34) -> go.Figure:
    """Return the figure with a legend above its left; over that, the ``top`` pixels have room for toolbar and menu."""
    figure.update_layout(
        template="plotly_white", height=height, margin={"l": 60, "r": 20, "t": top, "b": 50}, hovermode="closest",
        font={"family": "system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "xanchor": "left"},
    )  # fmt: skip
    return figure


def _text(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "–"


def _day(time_ms: int, zone: str) -> str:
    return f"{pd.Timestamp(time_ms, unit='ms', tz=zone):%d %B %Y}"


def cutoffs_to_draw(spec: ModelSpec, from_ms: int, last_ms: int, series: int) -> list[int]:
    """Return the cutoffs whose forecasts the report draws: the newest with all outcomes, a horizon apart.

    ``from_ms`` is where the test begins, whose first cutoff is drawn where none has all outcomes; ``last_ms`` is the
    time of the last row of ``series`` series.
    """
    grid = spec.series.grid
    windows = int(np.clip(MOST_STEPS_KEPT // max(series * spec.horizon, 1), 1, MOST_WINDOWS))
    newest = max(grid.bar(last_ms) - spec.horizon, grid.bar(from_ms - 1))
    return [grid.start(newest - number * spec.horizon) for number in range(windows)]


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
