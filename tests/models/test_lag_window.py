"""Shapes: B rows, L lags, h horizon steps, N patches of P bars, H hidden units."""

import pytest
import torch
from torch import Tensor, nn

from streamcast.models.build import build
from streamcast.models.network import Shape
from streamcast.models.readout.lag_window import PatchWindow
from streamcast.models.spec import SpecError

LAGS, HORIZON = 26, 7


def drawn(window: PatchWindow) -> PatchWindow:
    """Return it in float64 with all weights drawn at random, biases too."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in window.double().parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return window.eval()


def slowly(window: PatchWindow, lags_L: Tensor) -> Tensor:
    """Return what the equations make of one row, [h]: torch's own GRU over one patch after the other."""
    hidden = window.gru.outputs
    encoder, decoder = nn.GRU(hidden, hidden).double(), nn.GRU(hidden, hidden).double()
    encoder.load_state_dict(window.gru.fused.state_dict())
    decoder.load_state_dict(window.segments.cell.fused.state_dict())
    patches, h = len(lags_L) // window.length, torch.zeros(1, hidden, dtype=torch.float64)
    for p_P in lags_L[len(lags_L) - patches * window.length :].view(patches, window.length):
        _, h = encoder((window.patch.weight @ p_P + window.patch.bias).relu()[None], h)
    segments = [window.segments.linear(decoder(place_H[None], h)[0][0]) for place_H in window.segments.place_SD]
    return torch.cat(segments)[: window.segments.horizon]


@pytest.mark.parametrize("length", [8, 13, 24, 100])
def test_it_is_a_gru_over_the_newest_whole_patches_and_one_over_segments(length: int) -> None:
    window = drawn(PatchWindow(LAGS, HORIZON, hidden=16, length=length, segment=3))
    lags_BL = torch.randn(5, LAGS, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found_Bh = window(lags_BL)
        for row, lags_L in enumerate(lags_BL):
            torch.testing.assert_close(found_Bh[row], slowly(window, lags_L), rtol=0, atol=1e-12)


def test_a_row_has_the_same_bytes_in_any_tile() -> None:
    window = PatchWindow(100, 30, hidden=32, length=24, segment=12).eval()
    lags_BL = torch.randn(512, 100, generator=torch.Generator().manual_seed(2))
    random = torch.Generator().manual_seed(3)
    with torch.inference_mode():
        whole_Bh = window(lags_BL)
        for rows in (8, 16, 72, 256):
            chosen = torch.randperm(512, generator=random)[:rows]
            assert torch.equal(window(lags_BL[chosen]), whole_Bh[chosen])


def test_a_forecast_is_moved_by_the_mean_of_the_highway_and_the_window() -> None:
    spec = {"kind": "gru-window", "hidden": 8, "width": 16, "patch": 8}
    network = build(spec, Shape((3,), LAGS, HORIZON, (0.1, 0.5, 0.9))).eval()
    assert network.highway is not None
    assert network.window is not None
    memories, filled = [torch.randn(8, 1, 8)], [torch.ones(8, dtype=torch.int64)]
    lags_BL = torch.randn(8, LAGS)
    with torch.inference_mode():
        network.highway.weight.normal_()
        still_BhP = network.decoder(memories[0][:, 0], memories[0], filled[0])
        moved_BhP = network.distribution(memories, filled, lags_BL)
        mean_Bh = (network.highway(lags_BL) + network.window(lags_BL)) / 2
    torch.testing.assert_close(moved_BhP, still_BhP + mean_Bh[..., None])


def test_without_lags_there_is_no_window() -> None:
    assert build({"kind": "gru-window"}, Shape((3,), 0, HORIZON, (0.5,))).window is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden": 20}, "the window's hidden is 20: expected a multiple of 8"),
        ({"length": 1}, "the window's length is 1: expected a number from 2 to 512"),
        ({"patches": 3}, "an option of window .kind 'patches'. is 'patches': expected"),
    ],
)
def test_an_option_that_does_not_fit_is_refused_with_its_reason(options: dict[str, int], words: str) -> None:
    window = {"kind": "patches", **options}
    with pytest.raises(SpecError, match=words):
        build({"kind": "network", "stack": [{"kind": "gru"}], "window": window}, Shape((3,), LAGS, HORIZON, (0.5,)))
