"""Shapes: B rows, h steps, D width of a context, L lags, F numbers of a target bar, C codes of a step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from streamcast.engine.readout import LoopedReadOut
from streamcast.models.readout.aligned import Aligned, TargetInputs, TargetShape

WIDTH, LAGS, FEATURES, ROWS = 24, 40, 16, 40


def inputs(rows: int, horizon: int, codes: int, spread: float = 1.0) -> tuple[Tensor, Tensor, TargetInputs, Tensor]:
    bars = TargetInputs(
        spread * torch.randn(rows, horizon, FEATURES),
        torch.randint(ROWS, (rows, horizon, codes)),
        spread * torch.randn(rows),
    )
    return torch.randn(rows, WIDTH), spread * torch.randn(rows, LAGS), bars, spread * torch.randn(rows, horizon)


@st.composite
def read_outs(draw: st.DrawFn) -> tuple[Aligned, int, int, bool]:
    """A read-out in service, its horizon, how many codes a step has, and whether it has a highway."""
    torch.manual_seed(draw(st.integers(0, 9)))
    horizon, highway = draw(st.integers(1, 30)), draw(st.booleans())
    seasonal, softmax = draw(st.integers(1, FEATURES)), draw(st.sampled_from([0, 16]))
    shape = TargetShape(FEATURES, seasonal, ROWS, softmax, draw(st.booleans()))
    part = Aligned(
        WIDTH, LAGS, draw(st.integers(1, 5)), shape, highway=highway, hidden=draw(st.sampled_from([8, 24, 64]))
    )
    for weight in part.parameters():
        torch.nn.init.normal_(weight, std=draw(st.sampled_from([0.1, 1.0])))
    return part.eval(), horizon, draw(st.integers(3, 5)), highway


@given(read_outs(), st.sampled_from([0.1, 1.0, 30.0]))
def test_loops_are_as_exact_as_torch(drawn: tuple[Aligned, int, int, bool], spread: float) -> None:
    part, horizon, codes, highway = drawn
    context_BD, lags_BL, bars, highway_Bh = inputs(16, horizon, codes, spread)
    given_highway = highway_Bh if highway else None
    with torch.inference_mode():
        exact_bars = TargetInputs(bars.x_BhF.double(), bars.codes_BhC, bars.level_B.double())
        exact = part.double()(
            context_BD.double(), lags_BL.double(), exact_bars,
            None if given_highway is None else given_highway.double(),
        )  # fmt: skip
        theirs = part.float()(context_BD, lags_BL, bars, given_highway)
        ours = LoopedReadOut(part, horizon)(context_BD, lags_BL, bars, given_highway)
    for exact_X, their_X, our_X in zip(exact, theirs, ours, strict=True):
        assert our_X.shape == their_X.shape
        rounding = float((their_X - exact_X).abs().mean())  # the largest error is a matter of luck
        assert float((our_X - exact_X).abs().mean()) <= 4 * rounding + 1e-6 * spread


@given(read_outs())
def test_a_row_has_the_same_bytes_in_any_tile_at_any_place(drawn: tuple[Aligned, int, int, bool]) -> None:
    part, horizon, codes, highway = drawn
    context_BD, lags_BL, bars, highway_Bh = inputs(64, horizon, codes)
    looped = LoopedReadOut(part, horizon)
    with torch.inference_mode():
        whole = looped(context_BD, lags_BL, bars, highway_Bh if highway else None)
        for rows in (8, 24, 56):
            chosen = torch.randperm(64)[:rows]
            some = TargetInputs(*(tensor[chosen] for tensor in bars))
            other = looped(context_BD[chosen], lags_BL[chosen], some, highway_Bh[chosen] if highway else None)
            assert all(torch.equal(a, b[chosen]) for a, b in zip(other, whole, strict=True))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_stays_so_and_touches_no_other_row(value: float) -> None:
    torch.manual_seed(3)
    part = Aligned(WIDTH, LAGS, 3, TargetShape(FEATURES, 5, ROWS), highway=True).eval()
    context_BD, lags_BL, bars, highway_Bh = inputs(16, 6, 3)
    with torch.inference_mode():
        whole, _ = LoopedReadOut(part, 6)(context_BD, lags_BL, bars, highway_Bh)
        context_BD[5] = value
        moved_Bh, _ = LoopedReadOut(part, 6)(context_BD, lags_BL, bars, highway_Bh)
    assert not moved_Bh[5].isfinite().any()
    others = torch.arange(16) != 5
    assert torch.equal(moved_Bh[others], whole[others])
