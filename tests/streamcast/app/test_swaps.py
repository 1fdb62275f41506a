"""A service that goes on with another model says so, once, and what its consumers will see of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from harness.simulation.stand import Stand
from harness.streams import model_spec
from streamcast.app.commands.deployment.swaps import Swaps
from streamcast.spec.folders import Model, new_network, save_model

VALUES = (5.0, 7.0, 6.0, 8.0, 9.0)


def saved(folder: Path, name: str, **given: Any) -> Model:
    spec = model_spec({}, **given)
    return save_model(folder, name, spec, new_network(spec), {})


def told(tmp_path: Path, caplog: pytest.LogCaptureFixture, former: Model, *later: Model) -> list[str]:
    """Serve one model after the other, each for some records of two partitions; return the warnings."""
    stand = Stand(tmp_path / "stand", partitions=2)
    with caplog.at_level(logging.WARNING):
        for model in (former, *later):
            for key in "abcdef":
                stand.observe(key, *VALUES)
            lanes = {"champion": model}
            stand.serve(lanes, on_swap=Swaps(lanes, tmp_path / "models"))
    return [record.getMessage() for record in caplog.records]


def test_the_log_says_once_which_model_answers_and_which_did(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = (saved(tmp_path / "models", "load") for _ in range(2))
    assert told(tmp_path, caplog, first, second, second) == [
        f"lane champion: load@2 answers from here on; so far load@1 (digest {first.digest[:16]}) did"
    ]


def test_it_says_so_where_forecasts_have_another_form(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "models"
    first = saved(folder, "load", horizon=3)
    other = saved(folder, "load", horizon=2, quantiles=(0.05, 0.5, 0.95))
    (said,) = told(tmp_path, caplog, first, other)
    former = f"load@1 (digest {first.digest[:16]})"
    changed = "2 steps instead of 3 and the quantiles 0.05, 0.5, 0.95 instead of 0.1, 0.5, 0.9"
    assert said == f"lane champion: load@2 answers from here on; so far {former} did. Its forecasts have {changed}"


def test_a_model_that_is_gone_is_named_by_its_digest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = saved(tmp_path / "elsewhere", "load"), saved(tmp_path / "models", "load")
    gone = f"so far a model of which no version is in {tmp_path / 'models'} (digest {first.digest[:16]}) did"
    assert told(tmp_path, caplog, first, second) == [f"lane champion: load@1 answers from here on; {gone}"]


def test_a_folder_that_can_no_longer_be_read_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_root: Path) -> None:
        raise PermissionError(13, "Permission denied")

    first, second = (saved(tmp_path / "models", "load") for _ in range(2))
    monkeypatch.setattr("streamcast.spec.folders.list_models", away)
    (said,) = told(tmp_path, caplog, first, second)
    assert said.startswith("lane champion: load@2 answers from here on; so far a model of which no version is in ")
