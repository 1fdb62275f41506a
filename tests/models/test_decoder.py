"""Shapes: B rows, D width, R entries of the past, h horizon steps, P numbers a step."""

import pytest
import torch
from torch import Tensor

from streamcast.models.readout.attention import newest
from streamcast.models.readout.decoder import Decoder, Direct, Segments, StepByStep
from streamcast.models.spec import SpecError


def draw(rows: int = 5, width: int = 16, length: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    filled_B = torch.randint(1, length + 1, (rows,))
    return torch.randn(rows, width), torch.randn(rows, length, width), filled_B


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(18)


@pytest.mark.parametrize("decoder", [Direct(16, 7, 3), Segments(16, 7, 3, segment=4), StepByStep(16, 7, 3)])
def test_there_are_so_many_numbers_for_every_step_and_small_ones_at_first(decoder: Decoder) -> None:
    numbers_BhP = decoder(*draw())
    assert numbers_BhP.shape == (5, 7, 3)
    assert numbers_BhP.abs().mean() < 0.3


def test_directly_every_number_is_its_own_linear_map_of_the_context() -> None:
    decoder, (context_BD, past_BRD, filled_B) = Direct(16, 4, 3), draw()
    one_B = context_BD @ decoder.linear.weight[2 * 3 + 1] + decoder.linear.bias[2 * 3 + 1]
    torch.testing.assert_close(decoder(context_BD, past_BRD, filled_B)[:, 2, 1], one_B)


def test_a_segment_is_one_gru_step_from_the_context_on_its_place() -> None:
    decoder, (context_BD, past_BRD, filled_B) = Segments(16, 7, 3, segment=4), draw()
    numbers_BhP = decoder(context_BD, past_BRD, filled_B)
    for segment, start in enumerate((0, 4)):
        y_BD, _ = decoder.cell.step(decoder.place_SD[segment].expand(5, -1), {"h": context_BD})
        expected = decoder.linear(y_BD).view(5, 4, 3)[:, : 7 - start]
        torch.testing.assert_close(numbers_BhP[:, start : start + 4], expected)


def test_a_longer_horizon_written_step_by_step_begins_as_a_shorter_one() -> None:
    long, short = StepByStep(16, 9, 3), StepByStep(16, 4, 3)
    short.load_state_dict(long.state_dict())
    given = draw()
    torch.testing.assert_close(long(*given)[:, :4], short(*given))


def test_what_is_written_depends_on_all_of_the_past_that_is_valid_and_on_nothing_else_of_it() -> None:
    decoder, (context_BD, past_BRD, filled_B) = StepByStep(16, 3, 2), draw()
    past_BRD.requires_grad_()
    (gradient_BRD,) = torch.autograd.grad(decoder(context_BD, past_BRD, filled_B).sum(), past_BRD)
    assert gradient_BRD[newest(past_BRD, filled_B)].all()
    assert not gradient_BRD[~newest(past_BRD, filled_B)].any()


@pytest.mark.parametrize("segment", [0, 5000])
def test_a_segment_of_no_or_endless_length_is_refused(segment: int) -> None:
    with pytest.raises(SpecError, match=f"segment is {segment}: expected a number from 1"):
        Segments(16, 7, 3, segment)
