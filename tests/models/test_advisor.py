"""What the advisor says, and that it can be built."""

import io
from itertools import product
from typing import Any, get_args

import pytest
import torch
from rich.console import Console

from streamcast.app.commands import models as commands
from streamcast.models.build import build
from streamcast.models.guide.advisor import Resources, Task, advise
from streamcast.models.network import Shape
from streamcast.models.spec import SpecError
from streamcast.models.surgery.compress import pruned, quantised

SHAPE = Shape((8,), 16, 4, (0.1, 0.5, 0.9))


def test_68_steps_on_a_mobile_target_are_a_three_layer_lstm_with_channel_pruning() -> None:
    advice = advise(68, "mobile")
    network = build(advice.spec, SHAPE)
    assert [layer["kind"] for layer in network.composition.stack] == ["lstm"] * 3
    assert advice.compression == ["prune"]


@pytest.mark.parametrize(
    ("steps", "kind"), [(1, "gru"), (49, "gru"), (50, "deep-lstm"), (200, "deep-lstm"), (201, "lstm-residual")]
)
def test_a_length_has_an_opinion_and_alone_the_default_is_advised(steps: int, kind: str) -> None:
    advice = advise(steps)
    assert advice.spec == {"kind": "gru"}
    assert advice.opinions[-1].spec == {"kind": kind}
    assert advise(steps, "mobile").spec == {"kind": kind}


def test_limits_come_before_the_length_and_a_special_task_before_both() -> None:
    assert advise(500, "memory").spec == {"kind": "gru"}
    advice = advise(500, "memory", "classification")
    assert advice.spec == {"kind": "gru-classifier"}
    assert advice.compression == ["int8"]
    assert advice.why == "The task decides, before the resources and the length."
    assert [opinion.profile for opinion in advice.opinions] == ["task", "resources", "length"]


def test_all_advice_can_be_built_and_compressed() -> None:
    compressions: dict[str, Any] = {"prune": lambda network: pruned(network, 0.65), "int8": quantised}
    for steps, resources, task in product((10, 100, 1000), get_args(Resources), get_args(Task)):
        advice = advise(steps, resources, task)
        network = build(advice.spec, SHAPE)
        for part in advice.compression:
            network = compressions[part](network)
        with torch.no_grad():
            y_BH, _ = network.eval().step(0, torch.zeros(8, 8), network.initial_state(0, 8))
        assert y_BH.isfinite().all()
        assert all(opinion.why.endswith(".") for opinion in advice.opinions)


def test_what_decides_is_said_in_english_whatever_was_asked() -> None:
    said = {advise(10, resources, task).why for resources, task in product(get_args(Resources), get_args(Task))}
    assert said == {
        "The task decides, before the resources and the length.",
        "The task decides, before the length.",
        "The resources decide, before the length.",
        "The length decides.",
        "The default: by what was measured, a length alone is no reason to leave it.",
    }


@pytest.mark.parametrize("resources", get_args(Resources))
def test_the_terminal_shows_every_reason_and_what_was_measured_of_it(resources: Resources) -> None:
    printed = io.StringIO()
    assert commands.advise(100, resources, "sources", False, Console(file=printed, width=400)) == 0
    advice = advise(100, resources, "sources")
    assert advice.why in printed.getvalue()
    measured = [f"Measured: {opinion.measured}" for opinion in advice.opinions if opinion.measured]
    for told in (*measured, *(opinion.why for opinion in advice.opinions)):
        assert told in printed.getvalue()
    assert printed.getvalue().count("Measured") == len(measured)


def test_a_length_of_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match="steps is 0: expected a number from 1"):
        advise(0)
