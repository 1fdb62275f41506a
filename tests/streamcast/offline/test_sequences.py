"""Training sees the features that the service feeds its network, and the outcomes that followed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from streamcast.engine.engine import Engine, Ints
from streamcast.models.network import Network
from streamcast.models.readout.aligned import AlignedForm, TargetInputs
from streamcast.offline.history.polls import polls
from streamcast.offline.history.read import History, read
from streamcast.offline.training.sequences import Sequences, sequences
from streamcast.offline.training.streams import Piece, Span, Streams, chunks, cut
from streamcast.spec.folders import new_network
from streamcast.spec.model_spec import Column, Known, ModelSpec, Scale, SeriesSpec, TargetBars
from streamcast.topics.forecasts import Forecasts

HOUR = 3_600_000
START = 1_700_000_000_000 // HOUR * HOUR
ROWS = 8  # a tile, so that training's outputs are the engine's to the last bit


def spec_of(
    missing: str = "last", network: str = "lstm-attention", mode: str = "sample", *, targets: bool = True
) -> ModelSpec:
    return ModelSpec(
        series=SeriesSpec(
            columns=(Column(name="y"), Column(name="wind", categories=("N", "S"))),
            freq="1h", max_gap=5, missing=missing, mode=mode, grace=0 if mode == "sample" else "90min",
        ),
        horizon=3, lags=16, season=(4, 7), warm_up=2,
        scales=(Scale(every="3h", window=4), Scale(every="12h", window=4)),
        targets=TargetBars(back=(2, 1), known=(Known(name="wind"),)) if targets else None,
        network={"kind": network, "hidden": 8} | ({"ring": 5} if network == "lstm-attention" else {}),
    )  # fmt: skip


SAMPLES = st.sampled_from([0, 1, 1, 1, 1, 2, 4, 9])
READINGS = st.sampled_from([0, 0.1, 0.25, 0.4, 1, 2.5, 9])


@st.composite
def histories(draw: st.DrawFn, steps: st.SearchStrategy[float] = SAMPLES, *, ticks: bool = False) -> History:
    """Series with gaps (some long enough for a cold restart), missing values, unknown categories and repeated bars.

    ``steps`` are hours from one record to the next.
    """
    rows = []
    for number in range(draw(st.integers(1, 3))):
        time = START + draw(st.integers(0, 9)) * HOUR
        for step in draw(st.lists(steps, min_size=1, max_size=40)):
            time += round(step * HOUR)
            value = draw(st.one_of(st.none(), st.floats(-1e3, 1e3)))
            wind = draw(st.sampled_from(["N", "S", "W", None]))
            rows.append((f"s{number}", time + draw(st.integers(0, 9)), value, wind))
    frame = pd.DataFrame(rows, columns=["unique_id", "ds", "y", "wind"])
    frame["wind"] = frame["wind"].astype(object).fillna("W")
    frame["y"] = frame["y"].astype(float)
    assume(frame["y"].notna().any())
    return read(frame, freq="1h", ticks=ticks)


MODES = {"sample": histories(), "ticks": histories(READINGS, ticks=True)}


Read = tuple[list[Tensor], list[Tensor], list[Tensor]]


class Recorder:
    """An engine whose network keeps what answers are read out of."""

    def __init__(self, spec: ModelSpec) -> None:
        torch.manual_seed(0)
        self.spec, self.network = spec, new_network(spec)
        self.engine = Engine(spec, self.network)
        self.reads: list[Read] = []
        self.network.quantiles = self.quantiles  # type: ignore[method-assign]

    def quantiles(
        self,
        memories: Sequence[Tensor],
        filled: Sequence[Tensor],
        lags_BL: Tensor,
        targets: TargetInputs | None = None,
        aligned: Sequence[AlignedForm] = (),
    ) -> Tensor:
        seen = (lags_BL, *(targets or ()))
        self.reads.append(([m.clone() for m in memories], [f.clone() for f in filled], [part.clone() for part in seen]))
        return Network.quantiles(self.network, memories, filled, lags_BL, targets, aligned)


def served(recorder: Recorder, history: History) -> tuple[Forecasts, Ints, list[Tensor], list[Tensor], list[Tensor]]:
    """Every answer to a history, its series, and the inputs of its read-out (lags, then the target bars)."""
    forecasts, rows = [], []
    reads: list[Read] = []
    for poll in polls(history, recorder.spec, rows=37):
        recorder.reads.clear()
        result = recorder.engine.stage(poll)
        recorder.engine.promote()
        forecasts.append(result.forecasts)
        rows.append(poll.offsets[result.forecasts.record])
        for memories, filled, seen in recorder.reads:  # one, its rows filled up to a tile
            n = len(result.forecasts)
            reads.append(([m[:n] for m in memories], [f[:n] for f in filled], [part[:n] for part in seen]))
    assume(reads)
    joined = Forecasts(*(np.concatenate([getattr(f, name) for f in forecasts]) for name in Forecasts.__slots__))
    scales = range(1 + len(recorder.spec.scales))
    return (
        joined,
        history.series_N[np.concatenate(rows)].astype(np.int64),
        [torch.cat([memories[s] for memories, _, _ in reads]) for s in scales],
        [torch.cat([filled[s] for _, filled, _ in reads]) for s in scales],
        [torch.cat(parts) for parts in zip(*(seen for _, _, seen in reads), strict=True)],
    )


def positions(seen: Sequences, series: np.ndarray, cutoffs: np.ndarray) -> np.ndarray:
    """The base bar of each answer."""
    answers = np.flatnonzero(~np.isnan(seen.last_K))
    run = np.searchsorted(seen.starts_R1, answers, side="right") - 1
    place = {(int(seen.series_R[r]), int(seen.cutoff_K[k])): k for r, k in zip(run, answers, strict=True)}
    return np.array([place[key] for key in zip(series.tolist(), cutoffs.tolist(), strict=True)], np.int64)


@pytest.mark.parametrize("mode", MODES)
@given(
    st.data(),
    st.sampled_from(["last", "season"]),
    st.sampled_from(["gru", "lstm-attention"]),
    st.integers(1, 9),
    st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_training_feeds_the_network_what_serving_does_bit_for_bit(
    mode: str,
    data: st.DataObject,
    missing: str,
    network: str,
    length: int,
    targets: bool,  # noqa: FBT001
) -> None:
    history = data.draw(MODES[mode], label="history")
    recorder = Recorder(spec_of(missing, network, mode, targets=targets))
    forecasts, series, memories, filled, given_to_read = served(recorder, history)
    seen = sequences(history, recorder.spec)
    at = positions(seen, series, forecasts.cutoffs)
    assert np.array_equal(seen.lags(at), given_to_read[0].numpy())
    assert np.array_equal(seen.warm_K[at], forecasts.warm)
    pieces = [Piece(start, start, stop) for start, stop in itertools.pairwise(seen.starts_R1.tolist())]
    streams = Streams(recorder.network.eval(), seen, ROWS)
    found = np.zeros(len(at), np.bool_)
    with torch.inference_mode():
        for chunk in chunks(pieces, ROWS, length):
            streams.advance(chunk)
            for row, (first, count) in enumerate(zip(chunk.first_B, chunk.count_B, strict=True)):
                here = np.flatnonzero((at >= first) & (at < first + count))
                past, have, window, bars = streams.recall(np.full(len(here), row), at[here])
                for s in range(len(memories)):
                    assert torch.equal(past[s], memories[s][here])
                    assert torch.equal(have[s], filled[s][here])
                for mine, its in zip((window, *(bars or ())), given_to_read, strict=True):
                    assert torch.equal(mine, its[here])
                found[here] = True
    assert found.all()


@given(histories())
@settings(max_examples=15, deadline=None)
def test_outcomes_are_the_observed_targets_that_follow_in_the_unit_of_the_forecast(history: History) -> None:
    spec = spec_of()
    assume(np.isfinite(history.values_NC[:, 0]).any())  # else there is nothing to train on
    seen = sequences(history, spec)
    observed: dict[tuple[int, int], float] = {}
    for series, ts, value in zip(history.series_N, history.ts_N, history.values_NC[:, 0], strict=True):
        observed.setdefault((int(series), int(ts) // HOUR), value)
    answers = np.flatnonzero(~np.isnan(seen.last_K))
    outcomes = seen.outcomes(answers)
    ends = seen.starts_R1[np.searchsorted(seen.starts_R1, answers, side="right")]
    run = np.searchsorted(seen.starts_R1, answers, side="right") - 1
    for k, end, r, row in zip(answers.tolist(), ends.tolist(), run.tolist(), outcomes, strict=True):
        for h in range(spec.horizon):
            raw = observed.get((int(seen.series_R[r]), int(seen.cutoff_K[k]) // HOUR + h + 1), np.nan)
            expected = np.clip((raw - seen.last_K[k]) / seen.scale_K[k], -100, 100) if k + h + 1 < end else np.nan
            assert np.isclose(row[h], expected, rtol=1e-4, atol=1e-4, equal_nan=True)


@given(histories(READINGS))
@settings(max_examples=20, deadline=None)
def test_outcomes_of_ticks_are_the_means_of_the_bars_that_follow(history: History) -> None:
    spec = spec_of(mode="ticks")
    seen = sequences(history, spec)
    readings: dict[tuple[int, int], list[float]] = {}
    for series, ts, value in zip(history.series_N, history.ts_N, history.values_NC[:, 0], strict=True):
        readings.setdefault((int(series), int(ts) // HOUR), []).append(value)
    answers = np.flatnonzero(~np.isnan(seen.last_K))
    ends = seen.starts_R1[np.searchsorted(seen.starts_R1, answers, side="right")]
    run = np.searchsorted(seen.starts_R1, answers, side="right") - 1
    for k, end, r, row in zip(answers.tolist(), ends.tolist(), run.tolist(), seen.outcomes(answers), strict=True):
        for h in range(spec.horizon):
            observed = readings.get((int(seen.series_R[r]), int(seen.cutoff_K[k]) // HOUR + h + 1), [])
            observed = [value for value in observed if not np.isnan(value)]
            raw = sum(observed) / len(observed) if observed else np.nan
            expected = np.clip((raw - seen.last_K[k]) / seen.scale_K[k], -100, 100) if k + h + 1 < end else np.nan
            assert np.isclose(row[h], expected, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("mode", MODES)
@given(st.data(), st.integers(0, 40))
@settings(max_examples=20, deadline=None)
def test_what_training_sees_of_the_past_does_not_change_with_the_future(
    mode: str, data: st.DataObject, bars: int
) -> None:
    history, spec = data.draw(MODES[mode], label="history"), spec_of(mode=mode)
    cut_ms = int(history.ts_N[0]) + bars * HOUR
    past = history.between(int(history.ts_N[0]), cut_ms)
    assume(np.isfinite(past.values_NC[:, 0]).any())
    whole, part = sequences(history, spec), sequences(past, spec)
    answers = np.flatnonzero(~np.isnan(part.last_K))
    run = np.searchsorted(part.starts_R1, answers, side="right") - 1
    same = positions(whole, part.series_R[run], part.cutoff_K[answers])
    assert np.array_equal(whole.lags(same), part.lags(answers))
    assert np.array_equal(whole.scales[0].x_JF[same], part.scales[0].x_JF[answers])
    assert np.array_equal(whole.scale_K[same], part.scale_K[answers])


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(1, 50), st.integers(0, 20), st.integers(1, 5),
    st.integers(1, 30),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_every_bar_of_a_span_is_scored_once_whatever_the_cut(
    lengths: list[int], length: int, burn_in: int, rows: int, step: int
) -> None:
    edges = np.cumsum([0, *lengths]).tolist()
    spans = [Span(a, a, b - 1) for a, b in itertools.pairwise(edges)]
    pieces = cut(spans, length, burn_in, np.random.default_rng(0))
    scored = np.zeros(edges[-1], int)
    for chunk in chunks(pieces, rows, step):
        for first, count, since in zip(chunk.first_B, chunk.count_B, chunk.scored_B, strict=True):
            scored[max(first, since) : first + count] += 1
    assert (scored == 1).all()
