"""Shapes: B rows, R entries of the window, H width of an entry, D width of an encoded entry."""

import pytest
import torch
from torch import Tensor, nn

from streamcast.models.cells.cell import Exact
from streamcast.models.readout.encoder import Bidirectional, InputAttention, Transformer, led_in
from streamcast.models.spec import SpecError


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(19)


def double(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


ENCODERS = [
    Bidirectional(16, "lstm", 8, length=6),
    Bidirectional(16, "gru", 8, layers=2, length=6),
    Bidirectional(16, "rnn", 16, length=6),
    Transformer(16, length=6),
    Transformer(16, length=6, causal=True),
    InputAttention(16, 8, length=6),
]


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_both_directions_are_two_networks_one_of_which_reads_backwards(kind: str) -> None:
    encoder = Bidirectional(16, kind, 16, length=6).double()  # type: ignore[arg-type]
    fused = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[kind]
    forward, backward = fused(16, 16, batch_first=True).double(), fused(16, 16, batch_first=True).double()
    weights = encoder.fused.state_dict()
    forward.load_state_dict({name: weight for name, weight in weights.items() if "reverse" not in name})
    backward.load_state_dict({name.removesuffix("_reverse"): weights[name] for name in weights if "reverse" in name})
    memory_BRH, filled_B = double(4, 6, 16), torch.full((4,), 6)
    there, back = forward(memory_BRH)[0], backward(memory_BRH.flip(1))[0].flip(1)
    past_BRD = encoder.encode(memory_BRH, filled_B)
    torch.testing.assert_close(past_BRD, torch.cat([there, back], -1), rtol=0, atol=1e-12)
    context_BD = encoder(past_BRD, filled_B)
    torch.testing.assert_close(context_BD, torch.cat([there[:, -1], back[:, 0]], -1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_a_transformer_is_torchs_own_with_places_added(causal: bool) -> None:  # noqa: FBT001
    mine = Transformer(16, heads=2, length=6, causal=causal).double()
    theirs = nn.TransformerEncoderLayer(16, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True).double()
    block = mine.blocks[0]
    pairs = {"self_attn.in_proj": "project", "self_attn.out_proj": "out", "linear1": "up", "linear2": "down"}
    weights = block.state_dict()
    renamed = {}
    for name in theirs.state_dict():
        stem, part = (name[: -len("_weight")], "weight") if name.endswith("_weight") else name.rsplit(".", 1)
        if name.endswith("_bias"):
            stem, part = name[: -len("_bias")], "bias"
        place = pairs.get(stem) or f"norms.{int(stem[-1]) - 1}"
        renamed[name] = weights[f"{place}.{part}"]
    theirs.load_state_dict(renamed)
    memory_BRH, filled_B = double(4, 6, 16), torch.tensor([6, 6, 3, 1])
    padded_BR = torch.arange(5, -1, -1) >= filled_B[:, None]
    later_RR = torch.ones(6, 6, dtype=torch.bool).triu(1) if causal else None
    expected = theirs(memory_BRH + mine.place_RD, later_RR, padded_BR & (filled_B[:, None] < 6))
    got = mine.encode(memory_BRH, filled_B)
    torch.testing.assert_close(got[~padded_BR], mine.norm(expected)[~padded_BR], rtol=0, atol=1e-12)


def test_the_input_attention_is_the_papers_loop() -> None:
    encoder = InputAttention(3, 8, length=5).double()
    memory_BRH = double(2, 5, 3)
    outputs = []
    for row in memory_BRH:
        h = c = torch.zeros(8, dtype=torch.float64)
        steps = []
        for x in row:
            of_state = encoder.of_state.weight @ torch.cat([h, c]) + encoder.of_state.bias
            courses = [encoder.of_course.weight @ row[:, k] for k in range(3)]
            score = torch.stack([encoder.of_both.weight[0] @ torch.tanh(of_state + course) for course in courses])
            w, u, b, d = encoder.cell.weights
            i, f, g, o = (w @ (torch.softmax(score, 0) * x) + b + u @ h + d).chunk(4)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            steps.append(h)
        outputs.append(torch.stack(steps))
    got = encoder.encode(memory_BRH, torch.full((2,), 5))
    torch.testing.assert_close(got, torch.stack(outputs), rtol=0, atol=1e-12)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_entry_sees_later_ones_exactly_where_the_encoder_says_that_it_is_for_windows_only(
    encoder: Bidirectional | Transformer | InputAttention,
) -> None:
    memory_BRH, filled_B = torch.randn(8, 6, 16), torch.full((8,), 6)
    changed_BRH = torch.cat([memory_BRH[:, :-1], memory_BRH[:, -1:] + 1], 1)
    first, other = (encoder.encode(past, filled_B)[:, 0] for past in (memory_BRH, changed_BRH))
    assert torch.equal(first, other) == (encoder.exact is Exact.TILE)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_what_a_short_window_holds_before_its_first_entry_does_not_matter(
    encoder: Bidirectional | Transformer | InputAttention,
) -> None:
    memory_BRH, filled_B = torch.randn(8, 6, 16), torch.tensor([1, 2, 3, 4, 5, 6, 1, 2])
    other_BRH = torch.where((torch.arange(5, -1, -1) < filled_B[:, None])[..., None], memory_BRH, 1e3)
    one, other = (encoder(encoder.encode(past, filled_B), filled_B) for past in (memory_BRH, other_BRH))
    assert torch.equal(one, other)


def test_a_short_window_is_led_in_by_its_first_entry() -> None:
    window_BRH = torch.arange(8.0).view(2, 4, 1)
    assert led_in(window_BRH, torch.tensor([2, 4]))[..., 0].tolist() == [[2, 2, 2, 3], [4, 5, 6, 7]]


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(SpecError, match="heads is 3: expected a divisor of the width below, which is 16"):
        Transformer(16, heads=3)


def test_five_bidirectional_layers_of_512_have_torchs_number_of_weights() -> None:
    with torch.device("meta"):
        mine = Bidirectional(16, "lstm", 512, layers=5)
    layers = [2 * 4 * (512 * inputs + 512 * 512 + 2 * 512) for inputs in (16, 1024, 1024, 1024, 1024)]
    assert sum(weight.numel() for weight in mine.parameters()) == sum(layers)
