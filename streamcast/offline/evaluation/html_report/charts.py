"""The charts of the report."""

from __future__ import annotations

import html
import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from streamcast.offline.evaluation.frames import quantile_column
from streamcast.offline.evaluation.html_report.chosen import (
    drawn,
    drawn_series,
    enough,
    ranking_of,
    rule_of_coverage,
    rule_over_time,
    summed,
)
from streamcast.offline.evaluation.html_report.facts import Facts, named, text
from streamcast.offline.evaluation.report import BacktestReport
from streamcast.offline.history.timestamps import in_zone
from streamcast.spec.calendar_bars import Grid

MODEL_COLOUR, NAIVE_COLOUR, OTHER_COLOUR, OUTCOME_COLOUR = "#1f6feb", "#d97706", "#9aa4b2", "#111827"
NEAR = 0.05
"""How far a share of outcomes may be from the promised one for its bar to be blue."""
LONGEST_NAME = 60
"""Characters of a series' name in the menu."""
LEGEND = 36
"""Pixels of a legend above its chart."""


def ranking(report: BacktestReport) -> go.Figure:
    """Return the relative error of each forecaster, with its confidence interval, on a logarithmic axis."""
    ranked = ranking_of(report)[::-1]
    figure = go.Figure()
    for name, ratio in ranked:
        below, above = (
            (0.0, 0.0) if math.isnan(ratio.low) else (max(ratio.value - ratio.low, 0), max(ratio.high - ratio.value, 0))
        )
        figure.add_scatter(
            x=[ratio.value], y=[name], mode="markers+text", text=[text(ratio.value, ".3f")], textposition="top center",
            marker={"size": 13, "color": _colour(report, name)}, showlegend=False, name=name,
            error_x={"type": "data", "symmetric": False, "array": [above], "arrayminus": [below], "thickness": 2},
        )  # fmt: skip
    figure.add_vline(x=1, line={"dash": "dot", "color": NAIVE_COLOUR})
    ticks = [0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 5, 10, 20]
    figure.update_xaxes(
        title=f"error relative to {named(report.reference)} (smaller is better; each doubling has the same width)",
        type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks],
    )  # fmt: skip
    return _styled(figure, 90 + 55 * len(ranked), top=40)


def examples(report: BacktestReport, facts: Facts) -> go.Figure:
    """Return single forecasts with their intervals and outcomes, one series at a time, and a menu of the series."""
    frame, chosen = drawn(report, facts), drawn_series(report, facts)
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
        seen = in_zone(_broken(mine.drop_duplicates("ds").sort_values("ds"), facts.spec.series.grid), facts.zone)
        figure.add_scatter(
            x=seen["ds"], y=seen["y"], mode="lines+markers", name="what came", visible=first,
            line={"width": 1.2, "color": OUTCOME_COLOUR}, marker={"size": 3},
        )  # fmt: skip
    _, by_series = report.relative_mae()
    traces = len(figure.data) // max(len(chosen), 1)
    buttons = [
        {
            "label": html.escape(f"{_shortened(key)}  ({text(by_series.get(key, math.nan), '.2f')}× naive)"),
            "method": "update",
            "args": [{"visible": [place // traces == number for place in range(len(figure.data))]}],
        }
        for number, key in enumerate(chosen)
    ]
    if len(chosen) > 1:
        menu = {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "pad": {"b": LEGEND}}
        figure.update_layout(updatemenus=[menu])
    return _styled(figure, 490, top=LEGEND + 46)


def by_step(report: BacktestReport) -> go.Figure:
    """Return the mean absolute error of each forecaster by bars ahead."""
    figure = go.Figure()
    rows = pd.DataFrame(report.by_horizon())
    rest = [name for name, _ in ranking_of(report) if name not in (report.model, report.reference)]
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


def over_time(report: BacktestReport, facts: Facts) -> go.Figure:
    """Return the mean absolute error of each forecaster by week, or by bar."""
    figure, (rule, _) = go.Figure(), rule_over_time(facts)
    for name, periods in report.periods.items():
        found = summed(periods, rule)
        figure.add_scatter(
            x=found.index, y=found["absolute"] / found["count"], mode="lines+markers", name=name, marker={"size": 4},
            line=_line(report, name), visible=True if name in (report.model, report.reference) else "legendonly",
        )  # fmt: skip
    figure.update_yaxes(title="mean absolute error", rangemode="tozero")
    return _styled(figure, 340)


def coverage(report: BacktestReport, facts: Facts) -> go.Figure:
    """Return the share of outcomes inside the interval by month, or by year."""
    rule = rule_of_coverage(report)
    found = enough(report, rule)
    share, name = found["covered"] / found["count"], "%b %Y" if rule == "MS" else "year %Y"
    colours = [MODEL_COLOUR if abs(value - facts.nominal) <= NEAR else NAIVE_COLOUR for value in share]
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


def _broken(frame: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """Return the outcomes of rows in order of time, with an empty one wherever a bar between two has none."""
    bars = grid.bar(frame["ds"].to_numpy().astype("datetime64[ms]").astype(np.int64))
    before = frame["ds"][np.diff(bars, prepend=bars[:1]) > 1] - pd.Timedelta(1, "ms")
    return pd.concat([frame[["ds", "y"]], pd.DataFrame({"ds": before, "y": np.nan})]).sort_values("ds")


def _gaps(frame: pd.DataFrame) -> pd.DataFrame:
    """Return forecasts with an empty row after each, so that no line joins one forecast with the next."""
    ends = frame.groupby("cutoff", as_index=False).last()
    ends["ds"] += pd.Timedelta(1, "ms")
    for name in ends.columns.difference(["unique_id", "ds", "cutoff"]):
        ends[name] = np.nan
    return pd.concat([frame, ends], ignore_index=True).sort_values(["cutoff", "ds"], kind="stable")


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
