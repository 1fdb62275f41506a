"""A live stream in a notebook: times of every type, and values that the service would refuse."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

from streamcast import Forecaster
from streamcast.app.live_values import milliseconds
from streamcast.app.stream import Stream
from streamcast.errors import HistoryWarning

START = 1_735_689_600_000  # 2025-01-01T00:00Z
HOUR = 3_600_000


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    y = 10 + np.sin(np.arange(96) / 24 * 2 * np.pi)
    frame = pd.DataFrame({"unique_id": "a", "ds": START + np.arange(96) * HOUR, "y": y, "temp": y / 2})
    return Forecaster("zero", horizon=2).fit(frame)


def fed(forecaster: Forecaster, bars: int = 60) -> Stream:
    stream = forecaster.stream()
    for bar in range(bars):
        assert stream.update("a", START + bar * HOUR, float(bar % 24), temp=1.0)
    return stream


@pytest.mark.parametrize(
    "time",
    [
        START, np.int64(START), np.float64(START), float(START), np.datetime64(START, "ms"), "2025-01-01",
        pd.Timestamp("2025-01-01"), pd.Timestamp("2025-01-01 01:00", tz="Europe/Berlin"),
    ],
)  # fmt: skip
def test_a_time_may_have_any_type(forecaster: Forecaster, time: Any) -> None:
    stream = forecaster.stream()
    assert stream.update("a", time, 1.0)
    assert stream.forecast("a").cutoff.iloc[0] == pd.Timestamp("2025-01-01")


@pytest.mark.parametrize("time", [START // 1000, START / 1000, np.int64(START * 1000), START * 10**6, 7, float("nan")])
def test_a_number_in_another_unit_is_refused_with_the_remedy(forecaster: Forecaster, time: Any) -> None:
    with pytest.raises(ValueError, match=r"ts is .* must be epoch milliseconds.* Multiply seconds by 1000"):
        forecaster.stream().update("a", time, 1.0)


@pytest.mark.parametrize("time", [None, True, [START]])
def test_what_is_no_time_is_refused(forecaster: Forecaster, time: Any) -> None:
    with pytest.raises(TypeError, match=r"ts is .* expected a time"):
        forecaster.stream().update("a", time, 1.0)
    with pytest.raises(ValueError, match="ts is NaT: expected a time"):
        forecaster.stream().update("a", pd.NaT, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("time", ["9999-12-31", "2125-01-01", pd.Timestamp("2200-02-28")])
def test_a_time_of_a_clock_that_was_not_set_is_refused_and_leaves_the_stream_as_it_was(
    forecaster: Forecaster, time: Any
) -> None:
    stream, other = fed(forecaster), fed(forecaster)
    with pytest.raises(ValueError, match=r"ts is .* in the future, and far from the newest .*2025-01-03 11:00"):
        stream.update("a", time, 1.0, temp=1.0)
    assert all(one.update("a", START + 60 * HOUR, 12.0, temp=1.0) for one in (stream, other))
    pd.testing.assert_frame_equal(stream.forecast("a"), other.forecast("a"))


def test_a_stream_may_begin_and_go_on_in_the_future(forecaster: Forecaster) -> None:
    stream, begin = forecaster.stream(), pd.Timestamp("2125-01-01")
    assert all(stream.update("a", begin + pd.Timedelta(hours=hour), 1.0) for hour in (0, 1, 700))


@pytest.mark.parametrize("time", ["1970-01-01", "0001-01-01", "2024-12-31"])
def test_a_time_before_all_others_changes_nothing(forecaster: Forecaster, time: str) -> None:
    stream, other = fed(forecaster), fed(forecaster)
    assert not stream.update("a", time, 1e9, temp=1.0)
    assert all(one.update("a", START + 60 * HOUR, 12.0, temp=1.0) for one in (stream, other))
    pd.testing.assert_frame_equal(stream.forecast("a"), other.forecast("a"))


@pytest.mark.parametrize("value", [np.inf, 1e200, Decimal("-1e200"), 10**400, "12", True, np.True_, 1j, [1.0]])
def test_a_value_that_the_service_refuses_is_an_error_and_leaves_the_stream_as_it_was(
    forecaster: Forecaster, value: Any
) -> None:
    stream, other = fed(forecaster), fed(forecaster)
    for inputs in ({"y": value, "temp": 1.0}, {"y": 1.0, "temp": value}):
        with pytest.raises((TypeError, ValueError), match=r"(y|temp) is "):
            stream.update("a", START + 60 * HOUR, **inputs)
    assert all(one.update("a", START + 60 * HOUR, 12.0, temp=1.0) for one in (stream, other))
    pd.testing.assert_frame_equal(stream.forecast("a"), other.forecast("a"))


@pytest.mark.parametrize("value", [None, pd.NA, pd.NaT, np.nan, np.float32("nan"), Decimal("nan"), Decimal("snan")])
def test_every_kind_of_missing_is_missing(forecaster: Forecaster, value: Any) -> None:
    stream, other = fed(forecaster), fed(forecaster)
    assert stream.update("a", START + 60 * HOUR, value, temp=value)
    assert other.update("a", START + 60 * HOUR, None)
    pd.testing.assert_frame_equal(stream.forecast("a"), other.forecast("a"))


def test_a_decimal_and_numpys_numbers_are_numbers(forecaster: Forecaster) -> None:
    stream, other = fed(forecaster), fed(forecaster)
    assert stream.update("a", START + 60 * HOUR, Decimal("12.5"), temp=np.int32(1))
    assert other.update("a", START + 60 * HOUR, 12.5, temp=1.0)
    pd.testing.assert_frame_equal(stream.forecast("a"), other.forecast("a"))


@pytest.mark.parametrize("narrow", [np.float16, np.float32])
def test_numbers_of_less_precision_are_numbers_without_a_warning(forecaster: Forecaster, narrow: Any) -> None:
    one, other = fed(forecaster), fed(forecaster)
    assert one.update("a", START + 60 * HOUR, narrow(12.5), temp=narrow(1.0))  # pytest raises warnings
    assert other.update("a", START + 60 * HOUR, 12.5, temp=1.0)
    pd.testing.assert_frame_equal(one.forecast("a"), other.forecast("a"))
    with pytest.raises(ValueError, match="y is inf: it must lie within"):
        one.update("a", START + 61 * HOUR, narrow("inf"))


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (18.0, "ahead is 18.0: expected a dict with a list for each known input"),
        ("temp", "ahead is 'temp': expected a dict"),
        ([18.0], r"ahead is \[18.0\]: expected a dict"),
        (pd.DataFrame({"temp": [18.0], "wind": ["N"]}), "ahead is a DataFrame: expected a dict"),
        ({"temp": [1.0], 3: [2.0]}, r"the model has no known inputs \[3, 'temp'\]; it has none"),
    ],
)
def test_known_inputs_that_are_no_dict_of_lists_are_refused(forecaster: Forecaster, ahead: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        forecaster.stream().update("a", START, 1.0, ahead)


def test_a_frame_is_no_history_of_a_stream_and_the_remedy_is_named(forecaster: Forecaster) -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": START + np.arange(9) * HOUR, "y": 1.0, "temp": 1.0})
    with pytest.raises(TypeError, match=r"history is a DataFrame: .* Forecaster.stream\(df\) returns a stream"):
        forecaster.stream().extend(frame)  # type: ignore[arg-type]


def test_a_series_without_a_forecast_is_refused_with_the_nearest(forecaster: Forecaster) -> None:
    with pytest.raises(KeyError, match=r"'A' has no forecast yet \(of 1 series\): update it first; did you mean 'a'"):
        fed(forecaster).forecast("A")


def test_a_fraction_is_a_number(forecaster: Forecaster) -> None:
    stream, other = fed(forecaster), fed(forecaster)
    assert stream.update("a", START + 60 * HOUR, Fraction(25, 2), temp=Fraction(1))
    assert other.update("a", START + 60 * HOUR, 12.5, temp=1.0)
    pd.testing.assert_frame_equal(stream.forecast("a"), other.forecast("a"))


def test_an_input_may_be_called_as_a_parameter_of_update_is() -> None:
    names = ["key", "ts", "y", "ahead", "inputs", "self", "unit cost"]
    frame = pd.DataFrame({"day": pd.date_range("2026-01-01", periods=60), "sales": np.arange(60.0) % 7})
    frame = frame.join(pd.DataFrame({name: np.arange(60.0) for name in names}))
    forecaster = Forecaster("zero", horizon=2, id_col=None, time_col="day", target_col="sales").fit(frame)
    live = forecaster.stream(frame.iloc[:59])
    assert live.update("sales", frame.day[59], frame.sales[59], inputs={name: frame[name][59] for name in names})
    expected = forecaster.stream(frame).forecast("sales")
    pd.testing.assert_frame_equal(live.forecast("sales"), expected)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"inputs": 3.5}, r"update: inputs is 3.5: expected a dict, such as \{'temp': 3.5\}"),
        ({"inputs": {"temp": 1.0}, "temp": 2.0}, r"update: \['temp'\] are in inputs and keywords: give them once"),
        ({"inputs": {"wind": 1.0}, "tide": 2.0}, r"update: the model has no inputs \['tide', 'wind'\]; it has temp"),
    ],
)
def test_inputs_that_are_no_dict_double_or_unknown_are_refused(
    forecaster: Forecaster, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        fed(forecaster).update("a", START + 60 * HOUR, 1.0, **given)


def test_an_update_that_fails_within_the_engine_leaves_the_stream_as_it_was(
    forecaster: Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, other = fed(forecaster), fed(forecaster)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("streamcast.engine.engine.advance", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stream.update("a", START + 60 * HOUR, 3.0)
    assert all(one.update("a", START + 60 * HOUR, 12.0, temp=1.0) for one in (stream, other))
    pd.testing.assert_frame_equal(stream.forecast("a"), other.forecast("a"))


def test_a_frame_with_a_huge_value_is_forecast_from_its_last_row(forecaster: Forecaster) -> None:
    y = np.where(np.arange(72) == 40, np.finfo(float).max, 5.0)
    frame = pd.DataFrame({"unique_id": "a", "ds": START + np.arange(72) * HOUR, "y": y, "temp": 1.0})
    with pytest.warns(HistoryWarning, match="1 value infinite or beyond"):
        found = forecaster.predict(frame)
    assert found.cutoff.iloc[0] == START + 71 * HOUR
    assert np.isfinite(found.zero).all()


def test_a_text_is_read_in_the_form_and_zone_of_the_training() -> None:
    form, zone = "%d.%m.%Y %H:%M", "Australia/Sydney"
    local = pd.date_range("2020-06-01", periods=96, freq="h")
    frame = pd.DataFrame({"unique_id": "a", "ds": local.strftime(form), "y": np.sin(np.arange(96) / 4)})
    stream = Forecaster("zero", horizon=2, timezone=zone, time_format=form).fit(frame).stream(frame)
    for hour, text in enumerate(("05.06.2020 00:00", "2020-06-05 01:00", "2020-06-04T16:00Z")):
        assert stream.update("a", text, 1.0)
        assert stream.forecast("a").cutoff.iloc[0] == pd.Timestamp("2020-06-05") + pd.Timedelta(hours=hour)
    for text in ("06/05/2020 12:00", "5 June 2020", "2020-06-05 noon", "now", "NaT", ""):
        with pytest.raises(ValueError, match=r"ts is .*are not of the form of time_format %d.*epoch milliseconds"):
            stream.update("a", text, 1.0)
    for text, said in (("05.04.2020 02:30", "comes twice in"), ("04.10.2020 02:30", "does not exist in")):
        with pytest.raises(ValueError, match=f"ts is .*{said} Australia/Sydney"):
            stream.update("a", text, 1.0)
    with pytest.raises(ValueError, match=r"such as 2021-04-04T02:30:00\+11:00 for the first one"):
        stream.update("a", "04.04.2021 02:30", 1.0)
    with pytest.raises(ValueError, match=r"write it as they are, such as '%d\.%m\.%Y %H:%M%z'"):
        stream.update("a", "04.04.2021 02:30+11:00", 1.0)
    assert stream.update("a", "2021-04-04T02:30:00+11:00", 1.0)


@pytest.mark.parametrize("text", ["01.07.2020 12:00", "07/01/2020", "1 July 2020", "now", "today", "NaT"])
def test_without_a_form_only_iso_is_read(forecaster: Forecaster, text: str) -> None:
    with pytest.raises(ValueError, match=r"ts is .*expected ISO 8601.*give time_format for another form"):
        forecaster.stream().update("a", text, 1.0)


@pytest.mark.parametrize(
    ("given", "form", "instant"),
    [
        ("01.07.2020 12:00 +0200", "%d.%m.%Y %H:%M %z", "2020-07-01 10:00"),
        ("2020-01-12", "%Y-%d-%m", "2020-12-01"),
        ("2020-01-12 06:00", "%d/%m/%Y %H:%M", "2020-01-12 06:00"),
        (202607011200, "%Y%m%d%H%M", "2026-07-01 12:00"),
        (START + 1, "%Y%m%d%H%M", "2025-01-01 00:00:00.001"),
        (pd.Timestamp(START + 1, unit="ms"), None, "2025-01-01 00:00:00.001"),
        (pd.Period("2025-01-03", freq="W"), None, "2024-12-30"),
    ],
)
def test_a_time_is_that_of_a_frame_with_it(given: Any, form: str | None, instant: str) -> None:
    assert milliseconds(given, "UTC", form) == pd.Timestamp(instant).value // 10**6


def test_days_and_months_never_change_places() -> None:
    with pytest.raises(ValueError, match=r"are not of the form of time_format %Y-%d-%m .*such as %Y-%m-%d"):
        milliseconds("2020-01-13", "UTC", "%Y-%d-%m")


def test_a_warning_points_at_the_line_of_the_caller(forecaster: Forecaster) -> None:
    y = np.where(np.arange(96) == 40, np.inf, 5.0)
    frame = pd.DataFrame({"unique_id": "a", "ds": START + np.arange(96) * HOUR, "y": y, "temp": 1.0})
    calls: list[Callable[[], object]] = [
        lambda: Forecaster("zero", horizon=2).fit(frame), lambda: forecaster.predict(frame),
        lambda: forecaster.stream(frame), lambda: forecaster.cross_validation(frame, n_windows=90, step_size=1),
    ]  # fmt: skip
    for call in calls:
        with pytest.warns(HistoryWarning) as warned:
            call()
        assert {warning.filename for warning in warned} == {__file__}


@pytest.mark.parametrize(
    "written",
    ["s", "ms", "us", "ns", "float", "%d.%m.%Y %H:%M", "%Y%m%d%H"],
)  # fmt: skip
def test_times_come_back_as_those_of_the_frame_and_join_its_next_rows(written: str) -> None:
    instants, zone = pd.date_range("2020-01-01", periods=98, freq="h", tz="UTC"), "America/Los_Angeles"
    seconds = np.arange(98) * 3600 + 1_577_836_800
    times: Any = seconds * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}.get(written, 1)
    if "%" in written:
        times = instants.tz_convert(zone).strftime(written)
        times = times.astype(np.int64) if written == "%Y%m%d%H" else times
    elif written == "float":
        times = seconds.astype(float)
    frame = pd.DataFrame({"unique_id": "a", "ds": times, "y": np.sin(np.arange(98) / 4)})
    form = written if "%" in written else None
    forecaster = Forecaster("zero", horizon=2, timezone=zone, time_format=form).fit(frame[:96])
    found = forecaster.predict(frame[:96])
    assert found.ds.dtype == frame.ds.dtype
    assert found.ds.tolist() == frame.ds[96:].tolist()
    assert found.cutoff.tolist() == frame.ds[[95, 95]].tolist()
    tested = forecaster.cross_validation(frame)
    assert len(tested.merge(frame, on=["unique_id", "ds", "y"])) == 2
    assert tested.cutoff.tolist() == frame.ds[[95, 95]].tolist()


def test_times_that_a_form_cannot_write_come_back_as_datetimes() -> None:
    frame = pd.DataFrame({"ds": [f"{day}.1.2020" for day in range(1, 29)], "y": np.arange(28.0)})
    found = Forecaster("zero", horizon=2, time_format="%d.%m.%Y").fit(frame).predict(frame)
    assert found.ds.tolist() == [pd.Timestamp("2020-01-29"), pd.Timestamp("2020-01-30")]
    coarse = frame.assign(ds=[f"{day:02}.01.2020" for day in range(1, 29)])
    with pytest.warns(HistoryWarning, match="rows are 1d apart, and bars are 12h"):
        found = Forecaster("zero", horizon=2, freq="12h", time_format="%d.%m.%Y").fit(coarse).predict(coarse)
    assert found.ds.tolist() == [pd.Timestamp("2020-01-28 12:00"), pd.Timestamp("2020-01-29")]
