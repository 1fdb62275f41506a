"""Law 2 over versions: a model that was saved once forecasts the same for ever, whatever is added to specs later.

Where a test here fails, forecasts of saved models have changed, and ``verify`` would call every old one a violation:
give what is new a field of the spec whose default is the old way, or a new ``schema_version``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamcast.spec.model_spec import ModelSpec
from tests.laws.freeze import FOLDER, FREEZABLE, forecasts

FROZEN = sorted(FOLDER.glob("*.json"))


def test_every_kind_of_spec_is_frozen() -> None:
    """``python -m tests.laws.freeze NAME`` freezes a new one."""
    assert {name.replace(" ", "-") for name in FREEZABLE} == {path.stem for path in FROZEN}


@pytest.mark.parametrize("path", FROZEN, ids=lambda path: path.stem)
def test_a_saved_spec_forecasts_what_it_did(path: Path) -> None:
    frozen = json.loads(path.read_text())
    spec = ModelSpec.model_validate(frozen["spec"])
    found, wanted = forecasts(spec), frozen["forecasts"]
    if spec.network["kind"] == "none":
        assert found == wanted
    assert [shape(text) for text in found] == [shape(text) for text in wanted]
    for text, was in zip(found, wanted, strict=True):
        np.testing.assert_allclose(numbers(text), numbers(was), rtol=1e-3, atol=1e-2)


def shape(text: str) -> Any:
    """A forecast without its numbers of quantiles, which networks compute a little otherwise on other machines."""
    fields = json.loads(text)
    fields["quantiles"] = {level: len(values) for level, values in fields["quantiles"].items()}
    fields["anomaly"] = fields["anomaly"] is None
    return list(fields.items())


def numbers(text: str) -> list[float]:
    """The numbers of a forecast's quantiles and its anomaly."""
    fields = json.loads(text)
    return [*(value for values in fields["quantiles"].values() for value in values), fields["anomaly"] or 0.0]
