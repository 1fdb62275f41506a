"""The one definition of quality: what counts, and the same words and facts everywhere."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcast.quality import Sums, SumsByStep, facts_of, lines, outcomes_of, sentence
from streamcast.spec.calendar_bars import parse_step
from streamcast.wording import naive_name, span_name

NAN = math.nan


def sums_of(rows: list[tuple[int, float, float, float, float]]) -> SumsByStep:
    """The sums of rows: step, error, seasonal naive's error, pinball loss, covered."""
    sums = SumsByStep()
    sums.add(np.array([row[0] for row in rows]), np.array([row[1:] for row in rows]))
    return sums


def test_errors_are_compared_on_the_outcomes_that_both_forecasts_have() -> None:
    found = sums_of([(1, 1.0, 4.0, 0.5, 1.0), (1, 3.0, 4.0, 1.5, 0.0), (1, 100.0, NAN, 50.0, 1.0)]).over_all()
    assert (found.outcomes, found.compared) == (3, 2)
    assert found.mae == pytest.approx(104 / 3)
    assert found.naive_mae == 4
    assert found.relative == 0.5
    assert found.coverage == pytest.approx(2 / 3)


def test_without_outcomes_nothing_is_known() -> None:
    nothing = SumsByStep().over_all()
    assert nothing.outcomes == 0
    assert math.isnan(nothing.relative)
    assert sentence(nothing, 0.8, "the last value") == "no forecast has met its outcome yet"
    assert facts_of(SumsByStep())["mae"] is None


ERRORS = st.one_of(st.just(0.0), st.floats(1e-3, 1e6))
Rows = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 24]), ERRORS, st.one_of(st.just(NAN), ERRORS), ERRORS,
        st.sampled_from([0.0, 1.0]),
    ),
    min_size=1, max_size=30,
)  # fmt: skip


@given(Rows, st.integers(0, 30))
def test_sums_are_the_same_however_its_outcomes_arrive(
    rows: list[tuple[int, float, float, float, float]], cut: int
) -> None:
    whole, parts = sums_of(rows), SumsByStep()
    for part in (rows[:cut], rows[cut:]):
        parts.add(np.array([row[0] for row in part], np.int64), np.array([row[1:] for row in part]).reshape(-1, 4))
    alone = Sums.of(np.array([row[1:] for row in rows])).quality()
    for other in (parts.over_all(), alone):
        for name in ("outcomes", "compared", "mae", "naive_mae", "relative", "coverage"):
            assert getattr(other, name) == pytest.approx(getattr(whole.over_all(), name), nan_ok=True)
    assert sum(found.outcomes for found in whole.by_step().values()) == len(rows)


@given(Rows)
def test_facts_of_a_model_say_what_its_training_said(rows: list[tuple[int, float, float, float, float]]) -> None:
    sums = sums_of(rows)
    kept = SumsByStep.of_facts(json.loads(json.dumps(facts_of(sums))))
    assert lines(kept, 0.8, "the same hour last week") == lines(sums, 0.8, "the same hour last week")


def test_a_baseline_without_an_error_is_named() -> None:
    constant = sums_of([(1, 0.5, 0.0, 0.1, 1.0)])
    assert lines(constant, 0.8, "the same hour yesterday")[0].startswith(
        "MAE 0.5; the error of the same hour yesterday is 0; the 80% interval held"
    )


@pytest.mark.parametrize(
    ("nominal", "held", "by_step"),
    [
        (0.8, "; the 80% interval held 50.0%", ", interval held 50.0%"),
        (math.nan, "; the interval held 50.0%", ", interval held 50.0%"),
        (0.0, "", ""),
    ],
)
def test_one_quantile_has_no_interval_to_speak_of(nominal: float, held: str, by_step: str) -> None:
    sums = SumsByStep()
    sums.add(np.array([1, 1, 2, 2]), np.array([[1.0, 2.0, 0.1, 1.0], [1.0, 2.0, 0.1, 0.0]] * 2))
    over_all, first, _ = lines(sums, nominal, "the last value")
    assert over_all == f"MAE 1, 0.500 of the last value's{held} (4 outcomes, steps ahead 1, 2)"
    assert first == f"  step 1: MAE 1, 0.500 of the last value's{by_step}"


def test_where_one_quantile_makes_no_interval_coverage_is_not_known() -> None:
    rows, sums = np.array([[1.0, 2.0, 0.1, 0.0]] * 3), SumsByStep()
    sums.add(np.array([1, 1, 2]), outcomes_of(rows, 0.0))
    found = facts_of(sums)
    assert (found["mae"], found["coverage"], found["steps"]["1"]["coverage"]) == (1.0, None, None)
    assert facts_of(SumsByStep.of_facts(json.loads(json.dumps(found)))) == found
    assert "held" not in sentence(sums.over_all(), math.nan, "the last value")
    older = {**found, "nominal": 0.0, "coverage": 0.0, "steps": {"1": {**found["steps"]["1"], "coverage": 0.0}}}
    assert SumsByStep.of_facts(older).over_all().mae == 1.0
    assert math.isnan(SumsByStep.of_facts(older).over_all().coverage)
    assert outcomes_of(rows, 0.8) is rows


def test_the_words_name_baseline_steps_and_number_of_outcomes() -> None:
    sums = sums_of([(1, 1.0, 4.0, 0.5, 1.0), (24, 3.0, 4.0, 1.5, 0.0)])
    over_all, first, last = lines(sums, 0.8, "the same hour last week")
    assert over_all == (
        "MAE 2, 0.500 of seasonal naive's (the same hour last week); the 80% interval held 50.0% (2 outcomes, steps"
        " ahead 1, 24)"
    )
    assert first == "  step 1: MAE 1, 0.250 of seasonal naive's, interval held 100.0%"
    assert last == "  step 24: MAE 3, 0.750 of seasonal naive's, interval held 0.0%"
    over_all, first, _ = lines(sums, 0.8, naive_name(1, 3_600_000))
    assert over_all.startswith("MAE 2, 0.500 of the last value's; the 80% interval")
    assert first == "  step 1: MAE 1, 0.250 of the last value's, interval held 100.0%"


@pytest.mark.parametrize(
    ("bars", "bar", "expected"),
    [
        (168, 3_600_000, "1 week"),
        (48, 1_800_000, "1 day"),
        (1_440, 60_000, "1 day"),
        (90, 60_000, "90 minutes"),
        (12, "MS", "1 year"),
        (6, "MS", "6 months"),
        (4, "QS", "1 year"),
        (10, "B", "2 weeks"),
        (7, "B", "7 weekdays"),
    ],
)
def test_a_number_of_bars_is_a_length_of_time_in_words(bars: int, bar: int | str, expected: str) -> None:
    if isinstance(bar, int):
        assert span_name(bars, bar) == expected
    else:
        step = parse_step(bar)
        assert step is not None
        assert span_name(bars, step.freq) == expected
