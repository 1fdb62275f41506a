"""Numbers as text: against Python's own formatting, and against the number that was meant."""

from __future__ import annotations

import json
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamcast.kernels.text import LONGEST_NUMBER, write_integer, write_number

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def number(value: float, resolution: float = math.inf) -> str:
    buffer = np.zeros(LONGEST_NUMBER, np.uint8)
    return buffer[: write_number(buffer, 0, value, resolution)].tobytes().decode()


def integer(value: int) -> str:
    buffer = np.zeros(LONGEST_NUMBER, np.uint8)
    return buffer[: write_integer(buffer, 0, value)].tobytes().decode()


def assert_rounded(value: float) -> None:
    """The text is the value rounded to 6 digits: exactly Python's, or, half-way between two, the other neighbour."""
    text = number(value)
    if value == 0.0:
        assert text == "0"
        return
    if text == f"{Decimal(f'{value:.5e}'):f}":
        return
    exact, wanted, got = Decimal(value), Decimal(f"{value:.5e}"), Decimal(text)
    unit = Decimal(10) ** (wanted.adjusted() - 5)
    assert abs(got - exact) <= unit * (Decimal("0.5") + Decimal("1e-9"))
    assert len(got.normalize().as_tuple().digits) <= 6


@given(FINITE)
@example(5e-324)
@example(-2.2250738585072014e-308)
@example(2.225073858507201e-308)
@example(1.7976931348623157e308)
@example(999_999.5)
@example(999_999.4999999999)
@example(0.1000005)
@example(123_456.5)
@settings(max_examples=1000)
def test_a_number_is_rounded_to_six_digits(value: float) -> None:
    assert_rounded(value)


def test_powers_of_ten_and_their_neighbours_are_rounded_to_six_digits() -> None:
    for power in (float(f"1e{exponent}") for exponent in range(-323, 309)):
        for value in (power, math.nextafter(power, 0.0), math.nextafter(power, math.inf), 9.999995 * (power / 10)):
            assert_rounded(value)
            assert_rounded(-value)


def test_many_random_doubles_are_rounded_to_six_digits() -> None:
    bits = np.random.default_rng(1).integers(0, 2**64, 20_000, np.uint64)
    for value in bits.view(np.float64).tolist():
        if math.isfinite(value):
            assert_rounded(value)


@given(st.integers(0, 999_999), st.integers(-12, 12))
def test_what_has_six_digits_reads_back_as_the_same_number(mantissa: int, exponent: int) -> None:
    value = float(f"{mantissa}e{exponent}")
    assert float(number(value)) == value


@given(FINITE)
@settings(max_examples=500)
def test_a_number_has_no_needless_digits(value: float) -> None:
    text = number(value)
    assert len(text) <= LONGEST_NUMBER
    mantissa, _, _ = text.partition("e")
    assert not ("." in mantissa and mantissa.endswith(("0", ".")))
    assert mantissa.lstrip("-") == "0" or not mantissa.lstrip("-").startswith("00")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (1.0, "1"), (-1.5, "-1.5"), (1234.5678, "1234.57"), (100_000.0, "100000"),
        (0.001, "0.001"), (0.00001, "0.00001"), (0.000001, "1e-6"), (1e15, "1000000000000000"), (1e16, "1e16"),
        (-1.23456789e-7, "-1.23457e-7"), (1.5e100, "1.5e100"), (42.0, "42"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_people_would(value: float, text: str) -> None:
    assert number(value) == text


@given(st.integers(-(2**63) + 1, 2**63 - 1))
@example(0)
@example(-(2**63) + 1)
def test_an_integer_is_written_in_decimal(value: int) -> None:
    assert integer(value) == str(value)


# -- more digits where an interval is narrow ------------------------------------------------------------------------


@given(st.floats(1e-200, 1e200), st.floats(-18, 1))
@example(999_999.9999999, -12.0)
@example(999_999_999.9999968, -16.0)
@example(48_254_312.345, -9.0)
@example(1e15, -15.0)
@settings(max_examples=500)
def test_a_number_is_rounded_to_its_resolution_or_to_six_digits_or_to_fifteen(value: float, share: float) -> None:
    resolution = value * 10**share
    for signed in (value, -value):
        text = number(signed, resolution)
        assert len(text) <= LONGEST_NUMBER
        assert float(text) == json.loads(text)
        digits = Decimal(text).normalize().as_tuple().digits
        assert len(digits) <= 15
        unit = Decimal(10) ** Decimal(value).adjusted()
        coarsest = max(min(Decimal(resolution), unit / 10**5), unit / 10**14)
        assert abs(Decimal(text) - Decimal(signed)) <= coarsest * Decimal("0.5000001") + abs(Decimal(value)) / 10**15


@pytest.mark.parametrize(
    ("value", "resolution", "text"),
    [
        (48_254_312.345, 0.06, "48254312.35"), (48_254_312.345, 1e3, "48254300"), (1e12 + 1, 0.01, "1000000000001"),
        (-999_999.9999999, 1e-9, "-999999.9999999"), (0.000123456789, 1e-12, "0.000123456789"), (1.5e-9, 0.0, "15e-10"),
        (1.2345678e20, 1e3, "12345678e13"), (100_000.0, 0.0, "100000"), (0.1, 0.0, "0.1"),
        (3e15, 0.0, "3000000000000000"),
        (5e-324, 0.0, "5e-324"), (1.7976931348623157e308, 0.0, "1.79769e308"),
    ],
)  # fmt: skip
def test_digits_follow_the_resolution(value: float, resolution: float, text: str) -> None:
    assert float(number(value, resolution)) == float(text)
    if "e" not in text:
        assert number(value, resolution) == text


def test_ordinary_intervals_change_no_digit() -> None:
    for value in (0.123456789, 1.23456789, 4821.98765, 99_999.987, 512_345.678):
        assert number(value, 1e-3 * value * 0.01 * 10) == number(value)
