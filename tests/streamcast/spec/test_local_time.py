"""Local time as tables: equal to the standard library's zones, to the package's holidays, and bounded."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.streams import model_spec
from streamcast.engine.window import window_plan
from streamcast.errors import SettingsError
from streamcast.kernels.advance import to_local
from streamcast.spec.local_time import LocalTime, local_time
from streamcast.spec.model_spec import TargetBars

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000) for year in (2014, 2017))
ZONES = ("UTC", "Europe/Berlin", "Australia/Melbourne", "America/Los_Angeles", "Asia/Kathmandu", "Australia/Lord_Howe")
TABLES = {zone: local_time(zone, None, FIRST, LAST) for zone in ZONES}


@given(st.sampled_from(ZONES), st.integers(FIRST, LAST + 9 * 366 * 86_400_000))
def test_the_tables_give_the_wall_clock_of_the_standard_library(zone: str, time: int) -> None:
    instant = EPOCH + timedelta(milliseconds=time)
    wall = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=UTC)
    targets = TargetBars(back=(1,), local=TABLES[zone])
    calendar = window_plan(model_spec({}, targets=targets)).calendar
    assert to_local(calendar, time) == (wall - EPOCH) // timedelta(milliseconds=1)


def test_days_off_are_those_of_the_region_and_reach_ten_years_ahead() -> None:
    table = local_time("Australia/Melbourne", "AU-VIC", FIRST, LAST)
    cup_day = (date(2016, 11, 1) - date(1970, 1, 1)).days
    assert cup_day in table.days_off
    assert cup_day not in local_time("Australia/Sydney", "AU-NSW", FIRST, LAST).days_off
    assert table.until > LAST + 9 * 365 * 86_400_000
    assert LocalTime.model_validate_json(table.model_dump_json()) == table


@pytest.mark.parametrize(
    ("zone", "holidays"), [("Mars/Olympus", None), ("../etc", None), ("UTC", "XX"), ("UTC", "US-XX")]
)
def test_an_unknown_zone_or_calendar_is_an_error_that_names_it(zone: str, holidays: str | None) -> None:
    with pytest.raises(SettingsError, match=r"Mars|etc|XX"):
        local_time(zone, holidays, FIRST, LAST)


@pytest.mark.parametrize(
    ("given", "meant"), [("de", "DE"), ("au-vic", "AU-VIC"), ("AU-Vic", "AU-VIC"), ("us_ca", "US-CA")]
)
def test_a_calendar_in_another_spelling_is_refused_with_the_one_that_is_known(given: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=f"^holidays is '{given}'; did you mean '{meant}'\\?$"):
        local_time("UTC", given, FIRST, LAST)
    assert local_time("UTC", meant, FIRST, LAST).holidays == meant


@pytest.mark.parametrize("given", ["", " "])
def test_an_empty_calendar_is_refused(given: str) -> None:
    with pytest.raises(SettingsError, match=r"^holidays is empty: expected a code such as US or AU-VIC; leave it out"):
        local_time("UTC", given, FIRST, LAST)


@pytest.mark.parametrize(
    "wrong", [{"offsets": ((5, 0), (5, 0))}, {"offsets": ()}, {"days_off": (3, 3)}, {"offsets": ((0, 10**9),)}], ids=str
)
def test_tables_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LocalTime.model_validate({"zone": "UTC", "offsets": ((0, 0),), "until": 0} | wrong)
