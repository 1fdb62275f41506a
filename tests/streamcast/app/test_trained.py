"""What a trained model says about its training."""

from __future__ import annotations

import pytest

from harness.streams import SPECS, network
from streamcast.app.trained import describe
from streamcast.spec.folders import Model

FACTS = {
    "validation_loss": 0.5, "highway_loss": 0.6, "best_epoch": 0, "epochs": 1, "whole_epochs": 0, "seconds": 3.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("stopped", "why", "remedy"),
    [
        ("max_seconds", "the time was up", "give it more time (--train-seconds)."),
        ("interrupted", "ended by Ctrl-C", "let it train for longer."),
    ],
)
def test_an_unfinished_training_names_the_option_that_was_typed(stopped: str, why: str, remedy: str) -> None:
    said = describe(Model(SPECS["gru"], network("gru"), facts={**FACTS, "stopped": stopped}), "--train-seconds")
    assert f"WARNING: training ended before its first epoch was finished ({why})." in said
    assert remedy in said
    assert f"(3 s; {why})" in said
