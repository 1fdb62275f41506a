"""The scale of the target that a history asks for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from streamcast.offline.defaults.notes import transform_notes
from streamcast.offline.defaults.series import samples
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.defaults.transforms import growth
from streamcast.offline.history.read import History, read
from streamcast.offline.training.sequences import sequences
from streamcast.spec.model_spec import Transform, TransformName

HOURS = 60 * 24


def history_of(power: float, *, shift: float = 0.0, level: float = 100.0, hours: int = HOURS) -> History:
    """Hours with a day, whose errors are proportional to the level's ``power``."""
    rng = np.random.default_rng(0)
    day = level * (1.2 + np.sin(np.arange(hours) * 2 * np.pi / 24)) / 2.2
    y = np.maximum(day + 0.1 * level * (day / level) ** power * rng.standard_normal(hours), 0.0) - shift
    return read(pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=hours, freq="h"), "y": y}), id_col=None)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("level", [1e-6, 100.0, 1e9])
def test_growth_is_the_power_of_the_level_with_which_errors_grow(power: float, level: float) -> None:
    history = history_of(power, level=level)
    found = growth(history, samples(history), 24)
    assert found == pytest.approx(power, abs=0.1)


def test_growth_is_not_known_of_negative_values_constants_and_short_histories() -> None:
    flat = read(pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=HOURS, freq="h"), "y": 5.0}), id_col=None)
    for history in (history_of(1.0, shift=50.0), history_of(1.0, hours=400), flat):
        assert growth(history, samples(history), 24) is None


@pytest.mark.parametrize(
    ("power", "lower", "given", "kind"),
    [
        (1.0, 0.0, None, "sqrt"),
        (0.0, 0.0, None, None),
        (1.0, None, None, "sqrt"),
        (0.0, None, None, None),
        (1.0, -1.0, None, None),
        (1.0, 0.0, "none", None),
        (0.0, None, "sqrt", "sqrt"),
        (0.0, None, "log", "log"),
    ],
)
@pytest.mark.parametrize("network", ["gru", "zero"])
def test_a_square_root_is_taken_where_errors_grow_and_nothing_is_negative_or_where_it_is_asked_for(
    power: float, lower: float | None, given: TransformName | None, kind: str | None, network: str
) -> None:
    spec = default_spec(history_of(power), 6, network, lower=lower, transform=given)
    assert (spec.transform.kind if spec.transform else None) == kind
    noted = "learns on a square-root scale, because errors of y grow with its level"
    if given is None:
        assert [noted in note for note in transform_notes(spec)] == ([True] if kind else [])


def test_a_plain_model_has_none_unless_it_is_asked_for() -> None:
    history = history_of(1.0)
    assert default_spec(history, 6, lower=0.0, plain=True).transform is None
    assert default_spec(history, 6, lower=0.0, plain=True, transform="sqrt").transform == Transform(kind="sqrt")


def test_the_unit_of_a_logarithm_follows_the_unit_of_the_values() -> None:
    one, thousand = (default_spec(history_of(0.0, level=level), 6, transform="log") for level in (1.0, 1000.0))
    assert one.transform is not None
    assert thousand.transform is not None
    assert thousand.transform.unit == pytest.approx(1000 * one.transform.unit)


def test_training_reads_what_the_engine_reads_of_transformed_values() -> None:
    history = history_of(1.0)
    spec = default_spec(history, 6, lower=0.0)
    assert spec.transform == Transform(kind="sqrt")
    seen = sequences(history, spec)
    frame = pd.DataFrame({"ds": pd.to_datetime(history.ts_N, unit="ms"), "y": np.sqrt(history.values_NC[:, 0])})
    beside = sequences(read(frame, id_col=None), spec.model_copy(update={"transform": None}))
    for name in ("observed_K", "filled_K", "last_K", "scale_K", "mean_K", "weight_K"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(beside, name))
    np.testing.assert_array_equal(seen.scales[0].x_JF, beside.scales[0].x_JF)
