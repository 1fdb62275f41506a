"""Forecasts as Plotly figures, for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

OBSERVED_COLOUR, FORECAST_COLOUR, BAND_COLOUR = "#111827", "#1f6feb", "rgba(31,111,235,0.18)"
ROW_PIXELS, BETWEEN_PIXELS = 240, 70
"""Of a series' chart with its share of the space between, and of that space: two lines of dates, and a title."""


def forecast_figure(
    parts: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]], columns: Sequence[str], target: str
) -> go.Figure:
    """Return a figure with a row per series: its last observations (ds, y) and its forecast.

    ``columns`` are those of the forecast to draw: the median first, then the lower and upper sides of the intervals,
    the narrowest first.
    """
    rows = max(len(parts), 1)
    between = BETWEEN_PIXELS / (ROW_PIXELS * rows)
    figure = make_subplots(rows=rows, cols=1, subplot_titles=list(parts), vertical_spacing=between)
    median, sides = columns[0], columns[1:]
    for row, (seen, forecast) in enumerate(parts.values(), start=1):
        first = row == 1
        for low, high in zip(sides[0::2], sides[1::2], strict=False):
            band = pd.concat([forecast[["ds", high]].rename(columns={high: "v"}),
                              forecast[["ds", low]].rename(columns={low: "v"})[::-1]])  # fmt: skip
            figure.add_scatter(
                x=band["ds"], y=band["v"], fill="toself", fillcolor=BAND_COLOUR, line={"width": 0}, hoverinfo="skip",
                name=f"{low.rpartition('-')[2]} % interval", showlegend=first, row=row, col=1,
            )  # fmt: skip
        figure.add_scatter(
            x=seen["ds"], y=seen["y"], mode="lines", line={"color": OBSERVED_COLOUR, "width": 1.3}, name=target,
            showlegend=first, row=row, col=1,
        )  # fmt: skip
        figure.add_scatter(
            x=forecast["ds"], y=forecast[median], mode="lines", line={"color": FORECAST_COLOUR, "width": 2},
            name="forecast", showlegend=first, row=row, col=1,
        )  # fmt: skip
    figure.update_layout(
        template="plotly_white", height=120 + ROW_PIXELS * len(parts), hovermode="x", margin={"t": 60, "b": 40}
    )
    return figure
