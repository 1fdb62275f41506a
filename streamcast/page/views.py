"""The board as JSON: the numbers on top, the ranking of series, a tile of the wall, one series in detail.

Each view is a plain mapping that ``encode`` turns into JSON.  NaN becomes null; the page shows "not known yet".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from streamcast.page import words
from streamcast.page.board import RECENT_BARS, Board, Sample
from streamcast.page.track import Bars, Forecast, Track
from streamcast.wording import naive_name

PAGE: Final = 60
"""Tiles on one page of the wall."""

SORTS: Final = ("wrong", "anomaly", "late", "name")

TILE_STEPS: Final = 24

View = dict[str, Any]
Version = tuple[int, float, bool]
"""What a tile shows: the version of its series, how many bars that is behind, and whether it is in closed hours."""


def encode(view: View) -> bytes:
    """Return a view as JSON."""
    return msgspec.json.encode(view, enc_hook=_plain)


def _plain(value: object) -> object:
    """Return an array or a number of numpy's as Python's own."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"A view holds {value!r}, which JSON has no form for")


def sizes(board: Board) -> View:
    """The limits that the page shares with the server: bars and samples kept, bars and steps on a tile."""
    return {"bars": board.bars, "trend": board.samples.maxlen, "tile_bars": RECENT_BARS, "tile_steps": TILE_STEPS}


def stats(board: Board) -> View:
    """The numbers above the wall, the lanes (champion first), and since when records or forecasts are missing."""
    with board.lock:
        now, pulse = board.clock(), board.pulse
        newest = board.samples[-1] if board.samples else None
        lanes = sorted(board.lanes().items(), key=lambda each: (each[0] != board.champion, each[0]))
        return {
            "series": len(board.tracks),
            "records": pulse.records.total,
            "forecasts": pulse.forecasts.total,
            "dead_letters": board.counts["dead_letters"],
            "unreadable": board.counts["unreadable"],
            "skipped": board.counts["skipped"],
            "anomalous": newest.anomalous if newest else 0,
            "ahead": newest.ahead if newest else 0,
            "late": (board.service() or {}).get("late_records") or 0,
            "target": board.spec.target,
            "freq": board.spec.freq,
            "naive": naive_name(board.season, board.spec.freq),
            "scope": words.scope(board),
            "headline": words.headline(board) + words.few(board),
            "steps": words.steps(board),
            "series_scope": words.series_scope(board),
            "latency_scope": words.latency_scope(board),
            "zone": board.zone,
            "champion": board.champion,
            "watermark": None if pulse.watermark is None else board.label(pulse.watermark),
            "reading": board.reading,
            "trouble": board.trouble,
            "problems": board.problems,
            "split": words.split(board),
            "replay": pulse.is_replay(),
            "ended": board.ended(),
            "silence": pulse.silence(),
            "patience": pulse.patience(),
            "unanswered": pulse.unanswered(),
            "unserved": board.unserved(),
            "scored_ago": now - (newest.at if newest else board.started),
            "nominal": _nominal_coverage(board),
            "now": None if newest is None else _sample(board, newest),
            "lanes": [{"lane": lane, **served._asdict(), **_quality(newest, lane)} for lane, served in lanes],
        }


def windows(board: Board) -> Mapping[str, str]:
    """What each number on the page is, and what it was computed over."""
    with board.lock:
        return words.windows(board)


def trend(board: Board) -> list[View]:
    """The samples of the last five minutes, oldest first."""
    with board.lock:
        return [_sample(board, sample) for sample in board.samples]


def dead_letters(board: Board) -> list[Any]:
    """The last dead letters, newest first."""
    with board.lock:
        return board.dead[::-1]


def ranking(board: Board, query: str, sort: str) -> list[str]:
    """The keys that contain ``query``, in the order of ``sort``; raises ValueError for a sort not in ``SORTS``.

    "wrong" puts the largest error relative to seasonal naive first, "anomaly" the newest anomaly, "late" the series
    furthest behind the newest forecast; series without a known error, or without an anomaly, come last.
    """
    if sort not in SORTS:
        raise ValueError(f"sort is {sort!r}: use one of {', '.join(SORTS)}")
    wanted = query.casefold()
    with board.lock:
        keys = sorted(key for key in board.tracks if wanted in key.casefold())
        if sort == "wrong":
            known = {
                key: lanes[board.champion].quality().relative
                for key, lanes in board.sums.items()
                if board.champion in lanes
            }
            keys.sort(key=lambda key: _nan_last(known.get(key, math.nan)), reverse=True)
        elif sort == "anomaly":
            newest = {key: board.newest_anomaly(board.tracks[key]) for key in keys}
            keys.sort(key=lambda key: anomaly.bar if (anomaly := newest[key]) else -math.inf, reverse=True)
        elif sort == "late":
            keys.sort(key=lambda key: board.behind(board.tracks[key]), reverse=True)
    return keys


def tiles(board: Board, keys: Sequence[str], known: Mapping[str, Version]) -> list[View]:
    """The wall's tiles of ``keys`` that have changed since their ``known`` version."""
    with board.lock:
        tracks = {key: board.tracks[key] for key in keys if key in board.tracks}
        versions = {
            key: (track.version, board.behind(track), board.in_closed_hours(track)) for key, track in tracks.items()
        }
        return [_tile(board, key, tracks[key], now) for key, now in versions.items() if known.get(key) != now]


def series(
    board: Board, key: str, since_bar: int | None = None, since_cutoff: Mapping[str, int] | None = None
) -> View | None:
    """One series in detail, or its changes; None for an unknown key.

    ``since_bar`` is the ``open_from`` that the page was sent last: earlier bars have not changed since.
    ``since_cutoff`` is the newest cutoff that it has, by lane; epoch ms.
    """
    with board.lock:
        track = board.tracks.get(key)
        if track is None:
            return None
        first, values = track.last(board.bars)
        labels = board.label(np.arange(first, first + len(values)))
        fresh = labels >= (-math.inf if since_bar is None else since_bar)
        return {
            "key": key,
            "partition": track.partition,
            "version": track.version,
            "freq": board.spec.freq,
            "behind": board.behind(track),
            "in_closed_hours": board.in_closed_hours(track),
            "open_from": None if (closed := track.newest_closed()) is None else board.label(closed + 1),
            "labels": labels[fresh],
            "values": values[fresh],
            "closed": _closed(board, track, first),
            "lanes": {
                lane: _lane(board, track, lane, since_bar, (since_cutoff or {}).get(lane)) for lane in track.forecasts
            },
        }


def _closed(board: Board, track: Track, first: int) -> list[list[int]]:
    """The runs of closed bars from the bar ``first`` to the end of the newest forecasts: labels of first and last."""
    closed_P = track.closed(board.periods())
    if not closed_P.any():
        return []
    ends = [kept[-1].cutoff + kept[-1].values.shape[1] for kept in track.forecasts.values()]
    bars = np.arange(first, max([track.newest or first, *ends]) + 1)
    edges = np.flatnonzero(np.diff(closed_P[bars % len(closed_P)], prepend=False, append=False))
    return [
        [int(board.label(bars[start])), int(board.label(bars[end - 1]))]
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    ]


def _lane(board: Board, track: Track, lane: str, since_bar: int | None, since_cutoff: int | None) -> View:
    """A lane's forecasts that the page does not have, and seasonal naive of those and of all after ``since_bar``.

    Each forecast has the labels of its bars, because those of a calendar have no one length.  Naive may look back at
    any bar up to the cutoff, and records can come after the forecast.
    """
    kept = track.forecasts[lane]
    labels = board.label(np.array([forecast.cutoff for forecast in kept])).tolist()
    shown = ("levels", "values", "warm", "anomaly")
    fresh = [
        {"cutoff": label, "labels": _labels_ahead(board, forecast), **{name: getattr(forecast, name) for name in shown}}
        for label, forecast in zip(labels, kept, strict=True)
        if since_cutoff is None or label > since_cutoff
    ]
    errors = track.errors(lane, board.season, board.scored, board.reach)
    naive = [
        (label, track.naive(np.array([cutoff]), values.shape[1], board.season, board.reach)[0])
        for label, (cutoff, _, values, *_) in zip(labels, kept, strict=True)
        if since_cutoff is None or since_bar is None or label > since_cutoff or label >= since_bar
    ]
    view: View = {"oldest": labels[0], "forecasts": fresh, "naive": naive, "model": board.models[lane]}
    view["anomalies"] = [(board.label(bar), share) for bar, share in board.anomalies(track, lane)]
    if errors is not None:
        view["errors"] = errors.by_cutoff() | {"cutoff": board.label(errors.cutoffs)}
        found = errors.sums().quality()
        view |= {"relative": found.relative, "outcomes": found.outcomes, "compared": found.compared}
        view["coverage"] = found.coverage
    return view


def _labels_ahead(board: Board, forecast: Forecast) -> Bars:
    """The labels of the bars that are forecast."""
    return board.label(forecast.cutoff + np.arange(1, forecast.values.shape[1] + 1))


def _tile(board: Board, key: str, track: Track, version: Version) -> View:
    first, values = track.last(RECENT_BARS)
    sums = board.sums.get(key, {}).get(board.champion)
    found = sums and sums.quality()
    forecasts = track.forecasts.get(board.champion)
    view: View = {
        "key": key,
        "version": version,
        "values": values,
        "relative": found and found.relative,
        "outcomes": found and found.outcomes,
        "compared": found and found.compared,
        "coverage": found and found.coverage,
        "behind": version[1],
        "in_closed_hours": version[2],
        "marked": [bar - first for bar, _ in board.anomalies(track, board.champion) if bar >= first],
    }
    if newest_anomaly := board.newest_anomaly(track):
        view["anomaly"] = {"at": board.label(newest_anomaly.bar), "share": newest_anomaly.share}
    if forecasts:
        newest = forecasts[-1]
        steps = np.ascontiguousarray(newest.values[:, :TILE_STEPS])
        view |= {"low": steps[0], "middle": steps[newest.middle], "high": steps[-1]}
        view |= {"start": newest.cutoff + 1 - first, "warm": newest.warm}
    return view


def _sample(board: Board, sample: Sample) -> View:
    service = sample.service or {}
    return {
        "at": sample.at,
        "reported": sample.reported,
        "records_rate": sample.records_rate,
        "forecasts_rate": sample.forecasts_rate,
        "latency_p50_ms": service.get("latency_p50_ms"),
        "latency_p99_ms": service.get("latency_p99_ms"),
        "lag_records": service.get("lag_records"),
        "service": sample.service is not None,
        **_quality(sample, board.champion),
    }


def _quality(sample: Sample | None, lane: str) -> View:
    found = sample and sample.lanes.get(lane)
    known = ("relative", "coverage", "outcomes")
    return {name: found and getattr(found, name) for name in known}


def _nominal_coverage(board: Board) -> float | None:
    """The nominal coverage of the champion's interval."""
    with_forecasts = (
        track.forecasts[board.champion] for track in board.tracks.values() if board.champion in track.forecasts
    )
    forecasts = next(with_forecasts, None)
    return round(forecasts[-1].levels[-1] - forecasts[-1].levels[0], 9) if forecasts else None


def _nan_last(number: float) -> float:
    return number if math.isfinite(number) else -math.inf
