"""Tables and a picture of the streams benchmark.  A row is a dict of its JSON file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from benchmarks.streams.scores import mean_over_seeds, ratios_to
from streamcast.offline.evaluation.accuracy import geometric_mean

Rows = Sequence[Mapping[str, Any]]
REFERENCE = "gbm"
COLOURS = ("#1f5fa8", "#d98324", "#4b8f5c", "#8c5fa6", "#b04a4a", "#5a5a5a", "#3aa0a0", "#a8a03a")


def set_table(name: str, rows: Rows) -> Table:
    """Return the scores of one set, means over seeds, in 80 columns."""
    table = Table(title=name, box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("model", max_width=14)
    for column in ("relative", "worst", "cutoffs", "pinball", "cover", "by month", "train s", "µs"):
        table.add_column(column, justify="right")
    fields = ("relative_mae", "worst_series", "cutoffs", "pinball", "coverage_80")
    means = {field: mean_over_seeds(rows, field) for field in (*fields, *_COSTS, *_MONTHS)}
    for model in dict.fromkeys(row["model"] for row in rows):
        got = {field: found.get((name, model)) for field, found in means.items()}
        low, high = (got[field] for field in _MONTHS)
        table.add_row(
            model, _text(got["relative_mae"], ".3f"), _text(got["worst_series"], ".3f"), _text(got["cutoffs"], ".0f"),
            _text(got["pinball"], ".4g"), _text(got["coverage_80"], ".3f"),
            "-" if low is None or high is None else f"{low:.2f}-{high:.2f}",
            _text(got["train_seconds"], ".0f"), _text(got["us_per_record"], ",.0f"),
        )  # fmt: skip
    return table


_COSTS = ("train_seconds", "us_per_record")
_MONTHS = ("coverage_worst_month", "coverage_best_month")


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def summary_tables(rows: Rows) -> list[Table]:
    """Return relative MAE by set and model, and its ratio to gbm.py's, with geometric mean and worst."""
    scores = mean_over_seeds(rows, "relative_mae")
    sets = list(dict.fromkeys(row["set"] for row in rows))
    tables = [_by_set("relative MAE (best seasonal naive = 1)", scores, sets)]
    ratios = ratios_to(scores, REFERENCE, sets)
    return [*tables, _by_set("ratio to gbm.py's relative MAE", ratios, sets)] if ratios else tables


def _by_set(title: str, values: Mapping[tuple[str, str], float], sets: Sequence[str]) -> Table:
    models = list(dict.fromkeys(model for _, model in values))
    table = Table("set", title=title, box=box.SIMPLE, pad_edge=False)
    for model in models:
        table.add_column(model, justify="right")
    for name in sets:
        table.add_row(name, *(_text(values.get((name, model)), ".3f") for model in models))
    table.add_section()
    of = {model: [values[name, model] for name in sets if (name, model) in values] for model in models}
    table.add_row("geometric mean", *(_text(geometric_mean(found), ".3f") for found in of.values()))
    table.add_row("worst", *(_text(max(found), ".3f") for found in of.values()))
    if len({len(found) for found in of.values()}) > 1:
        table.add_row("sets", *(str(len(found)) for found in of.values()))
    return table


def picture(rows: Rows) -> str:
    """Return relative MAE as an SVG: a group of bars for each set, a bar for each model; the line is naive's 1."""
    scores = {pair: value for pair, value in mean_over_seeds(rows, "relative_mae").items() if pair[1] != "naive"}
    sets = list(dict.fromkeys(name for name, _ in scores))
    models = list(dict.fromkeys(model for _, model in scores))
    bar, gap, left, width, across = 9, 10, 110, 520, 6
    top = 18 + 16 * -(-len(models) // across)
    group = bar * len(models) + gap
    height = top + group * len(sets) + 30
    most = max([1.2, *scores.values()])
    scale, bottom, whole = width / most, top + group * len(sets), left + width + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {height}" width="{whole}" height="{height}">',
        '<g font-family="sans-serif" font-size="11" fill="#333">',
        "<title>Mean absolute error relative to the best seasonal naive forecast, by set and model</title>",
        f'<rect width="{whole}" height="{height}" fill="#fff"/>',
    ]
    for number, model in enumerate(models):
        x, y, colour = left + 95 * (number % across), 8 + 16 * (number // across), COLOURS[number % len(COLOURS)]
        parts.append(f'<rect x="{x}" y="{y}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="{y + 9}">{escape(model[:14])}</text>')
    for tick in np.arange(0, most + 1e-9, 0.5).tolist():
        at_x, dark = left + tick * scale, "#333" if tick == 1 else "#ddd"
        parts.append(f'<line x1="{at_x:.1f}" y1="{top - 6}" x2="{at_x:.1f}" y2="{bottom}" stroke="{dark}"/>')
        parts.append(f'<text x="{at_x:.1f}" y="{bottom + 14}" text-anchor="middle">{tick:g}</text>')
    for place, name in enumerate(sets):
        y = top + group * place
        parts.append(
            f'<text x="{left - 8}" y="{y + (group - gap) / 2 + 4:.1f}" text-anchor="end">{escape(name)}</text>'
        )
        for number, model in enumerate(models):
            if (value := scores.get((name, model))) is None:
                continue
            at, colour = y + bar * number, COLOURS[number % len(COLOURS)]
            parts.append(f'<rect x="{left}" y="{at}" width="{value * scale:.1f}" height="{bar - 1}" fill="{colour}"/>')
            parts.append(
                f'<text x="{left + value * scale + 4:.1f}" y="{at + bar - 1}" font-size="9">{value:.2f}</text>'
            )
    return "\n".join([*parts, "</g>", "</svg>\n"])
