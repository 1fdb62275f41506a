"""The streams benchmark scores what it says it scores, on two invented sets."""

from __future__ import annotations

import io
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from benchmarks.printing import show
from benchmarks.streams.__main__ import main, measure
from benchmarks.streams.models import run
from benchmarks.streams.output import picture, set_table, summary_tables
from benchmarks.streams.request import Request
from benchmarks.streams.scores import asked, score
from benchmarks.streams.sets import StreamSet, load
from streamcast.offline.training.options import Options

pytest.importorskip("pyarrow")

KILN, HARBOUR = "kiln", "harbour"
FACTS: dict[str, dict[str, Any]] = {
    KILN: {
        "ds": "local", "timezone": "Europe/Berlin", "freq": "1h", "horizon": 5, "season": ["1d", "1w"], "known": [],
        "holidays": None, "lower": 0, "test_from": "2024-03-20 00:00:00",
    },
    HARBOUR: {
        "ds": "utc", "timezone": "Australia/Sydney", "freq": "30min", "horizon": 4, "season": ["1d"],
        "known": ["tide"], "holidays": None, "test_from": "2024-05-12 00:00:00+00:00",
    },
}  # fmt: skip
EVERY = 7
TINY = json.dumps({"kind": "gru", "hidden": 8})

STUB = """
import json, pathlib, shutil, sys
given = dict(zip(sys.argv[2::2], sys.argv[3::2]))
shutil.copy(pathlib.Path(__file__).parent / f"{sys.argv[1]}.parquet", given["--out"])
print(json.dumps({"set": sys.argv[1], "every": given["--every"], "seconds": 1.5}))
"""


def kiln_rows() -> pd.DataFrame:
    """Return two series in local time over a change of the clock, with a gap and an hour that does not exist."""
    draw = np.random.default_rng(0)
    rows = []
    for key, first_day, level in (("north", 0, 50.0), ("south", 9, 5.0)):
        for hour in range(24 * first_day, 24 * 38):
            if key == "north" and 700 <= hour < 712:
                continue
            at = datetime(2024, 3, 1) + timedelta(hours=hour)  # noqa: DTZ001 - local time, as the file has it
            y = max(level * (1.5 + math.sin(hour * math.pi / 12)) + draw.normal(0, level / 5), 0)
            rows.append((key, at.isoformat(sep=" "), y))
    return pd.DataFrame(rows, columns=["unique_id", "ds", "y"])


def harbour_rows() -> pd.DataFrame:
    """Return irregular readings: none, one or several in a half hour, with an input that is known ahead."""
    draw = np.random.default_rng(1)
    rows = []
    for bar in range(48 * 16):
        tide = round(math.sin(bar / 4), 3)
        for second in sorted(draw.uniform(0, 1800, draw.choice(4, p=[0.05, 0.35, 0.4, 0.2]))):
            at = datetime(2024, 5, 1, tzinfo=UTC) + timedelta(minutes=30 * bar, seconds=round(second, 3))
            rows.append(("pier", at.isoformat(sep=" ", timespec="milliseconds"), tide * 3 + draw.normal(), tide))
    return pd.DataFrame(rows, columns=["unique_id", "ds", "y", "tide"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("streams")
    (found / "sets.json").write_text(json.dumps(FACTS))
    kiln_rows().to_csv(found / f"{KILN}.csv.gz", index=False)
    harbour_rows().to_csv(found / f"{HARBOUR}.csv.gz", index=False)
    (found / "stub.py").write_text(STUB)
    return found


def request(folder: Path, **changed: Any) -> Request:
    how = Options(epochs=1, updates=4, rows=4, chunk=16, burn_in=8, positions=16)
    given = {"data": folder, "every": EVERY, "options": how, "gbm": folder / "stub.py", "gbm_results": None}
    return Request(**{**given, "classical_cutoffs": 3, **changed})


# -- a slow oracle: dictionaries of bars by epoch milliseconds ----------------------------------------------------


def bars(name: str, frame: pd.DataFrame) -> dict[str, dict[int, float]]:
    facts = FACTS[name]
    freq = {"1h": 3_600_000, "30min": 1_800_000}[facts["freq"]]
    readings: dict[str, dict[int, list[float]]] = {}
    for key, ds, y in zip(frame["unique_id"], frame["ds"], frame["y"], strict=True):
        at = datetime.fromisoformat(ds)
        if at.tzinfo is None:
            zoned = at.replace(tzinfo=ZoneInfo(facts["timezone"]))
            if zoned.astimezone(UTC).astimezone(zoned.tzinfo).replace(tzinfo=None) != at:
                continue  # an hour that does not exist
            at = zoned
        label = round(at.timestamp() * 1_000) // freq * freq
        readings.setdefault(key, {}).setdefault(label, []).append(y)
    return {key: {label: sum(ys) / len(ys) for label, ys in by.items()} for key, by in readings.items()}


def oracle(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each scored cutoff, step and season: the outcome and the seasonal naive forecast."""
    facts = FACTS[name]
    freq = {"1h": 3_600_000, "30min": 1_800_000}[facts["freq"]]
    seasons = [{"1d": 86_400_000, "1w": 604_800_000}[season] // freq for season in facts["season"]]
    split = datetime.fromisoformat(facts["test_from"])
    split = split if split.tzinfo else split.replace(tzinfo=ZoneInfo(facts["timezone"]))
    rows = []
    for key, y in bars(name, frame).items():
        first, n = min(y), (max(y) - min(y)) // freq + 1
        for place in range(max(seasons), n - facts["horizon"]):
            cutoff = first + place * freq
            if cutoff not in y or cutoff < split.timestamp() * 1_000 or place % EVERY:
                continue
            for step in range(1, facts["horizon"] + 1):
                target = cutoff + step * freq
                if target not in y:
                    continue
                naive = []
                for season in seasons:
                    back = next(b for b in range(season, 99_999, season) if b >= step)
                    naive.append(
                        next(y[target - b * freq] for b in range(back, 99_999, season) if target - b * freq in y)
                    )
                rows.append({"key": key, "cutoff": cutoff, "ds": target, "y": y[target], "naive": naive})
    return pd.DataFrame(rows)


def oracle_scores(rows: pd.DataFrame) -> dict[str, float]:
    ratios, error = [], (rows["y"] - rows["q0.5"]).abs()
    for key in rows["key"].unique():
        mine = rows[rows["key"] == key]
        naive = [(mine["y"] - [n[s] for n in mine["naive"]]).abs().mean() for s in range(len(mine["naive"].iloc[0]))]
        ratios.append(error[mine.index].mean() / min(naive))
    pinball = 0.0
    for q in (0.1, 0.5, 0.9):
        over = rows["y"] - rows[f"q{q}"]
        pinball += float(np.where(over > 0, q * over, (q - 1) * over).mean()) / 3
    return {
        "relative_mae": math.prod(ratios) ** (1 / len(ratios)),
        "worst_series": max(ratios),
        "mae": float(error.mean()),
        "pinball": pinball,
        "coverage_80": float(((rows["q0.1"] <= rows["y"]) & (rows["y"] <= rows["q0.9"])).mean()),
        "width": float((rows["q0.9"] - rows["q0.1"]).mean()),
        "cutoffs": rows.groupby("key")["cutoff"].nunique().sum(),
    }


FRAMES = {KILN: kiln_rows, HARBOUR: harbour_rows}


@pytest.mark.parametrize("name", [KILN, HARBOUR])
def test_the_scripts_forecasts_are_scored_as_a_slow_oracle_scores_them(folder: Path, name: str) -> None:
    rows = oracle(name, FRAMES[name]())
    draw = np.random.default_rng(2)
    rows["q0.5"] = rows["y"] + draw.normal(0, 1, len(rows))
    rows["q0.1"], rows["q0.9"] = rows["q0.5"] - 1.2, rows["q0.5"] + 1.2
    table = rows.drop(columns="naive")
    for column in ("cutoff", "ds"):
        table[column] = pd.to_datetime(table[column], unit="ms", utc=True)
    table.to_parquet(folder / f"{name}.parquet")
    [row] = measure(load(folder, name), ["gbm"], 1, request(folder))
    for field, expected in oracle_scores(rows).items():
        assert row[field] == pytest.approx(expected, rel=1e-5), field
    assert row["train_seconds"] == 1.5
    assert row["notes"]["printed"]["every"] == str(EVERY)


@pytest.mark.parametrize("name", [KILN, HARBOUR])
def test_the_best_seasonal_naive_is_its_own_unit(folder: Path, name: str) -> None:
    [row] = measure(load(folder, name), ["naive"], 1, request(folder))
    rows = oracle(name, FRAMES[name]())
    best = []
    for _, mine in rows.groupby("key"):
        errors = [(mine["y"] - [n[s] for n in mine["naive"]]).abs() for s in range(len(mine["naive"].iloc[0]))]
        best.append(min(errors, key=lambda error: error.mean()))
    assert row["relative_mae"] == pytest.approx(1)
    assert row["mae"] == pytest.approx(pd.concat(best).mean(), rel=1e-5)
    assert row["coverage_80"] is None


def test_irregular_readings_are_ticks_and_whole_hours_are_samples(folder: Path) -> None:
    assert load(folder, HARBOUR).ticks
    assert not load(folder, KILN).ticks


@pytest.mark.parametrize(
    ("zone", "freq", "first", "late"),
    [
        ("America/Chicago", "1D", "2024-01-01 00:00", "0min"),  # midnights are two hours of UTC
        ("Asia/Kolkata", "1h", "2024-01-01 00:00", "0min"),  # hours begin at half past in UTC
        (None, "7D", "2024-01-05 00:00", "0min"),  # Fridays
        (None, "1h", "2024-01-01 00:10", "0min"),
        (None, "1h", "2024-01-01 00:00", "7min"),
    ],
)
def test_bars_that_begin_anywhere_are_samples_if_they_all_begin_there(
    tmp_path: Path, zone: str | None, freq: str, first: str, late: str
) -> None:
    times = pd.Series(pd.date_range(first, periods=300, freq=freq))
    times[100] += pd.Timedelta(late)
    pd.DataFrame({"unique_id": "a", "ds": times, "y": 1.0}).to_csv(tmp_path / "set.csv.gz", index=False)
    facts: dict[str, Any] = {
        "ds": "local", "timezone": zone, "freq": freq, "horizon": 2, "season": [], "test_from": str(times[200]),
    }  # fmt: skip
    (tmp_path / "sets.json").write_text(json.dumps({"set": facts}))
    assert load(tmp_path, "set").ticks == (late != "0min")


@pytest.mark.parametrize("name", [KILN, HARBOUR])
def test_a_network_is_trained_streamed_and_scored(folder: Path, name: str) -> None:
    it = load(folder, name)
    [row] = measure(it, [TINY], 1, request(folder))
    assert row["cutoffs"] == oracle(name, FRAMES[name]()).groupby("key")["cutoff"].nunique().sum()
    assert row["notes"]["missing"] == 0
    assert (row["notes"]["late"] > 0) == it.ticks  # before a gap, no reading closes the last bar
    assert row["dense"]["cutoffs"] > 5 * row["cutoffs"]
    assert min(row["train_seconds"], row["us_per_record"], row["state_bytes"]) > 0
    assert 0 < row["coverage_worst_month"] <= row["coverage_best_month"] <= 1


def test_a_forecast_does_not_see_what_follows_its_cutoff(folder: Path, tmp_path: Path) -> None:
    before = run(load(folder, HARBOUR), request(folder), TINY).answers
    frame = harbour_rows()
    changed_from = 48 * 14
    late = pd.to_datetime(frame["ds"], format="ISO8601") >= pd.Timestamp("2024-05-15", tz="UTC")
    frame.loc[late, "y"] = 1e3
    frame.to_csv(tmp_path / f"{HARBOUR}.csv.gz", index=False)
    (tmp_path / "sets.json").write_text(json.dumps(FACTS))
    after = run(load(tmp_path, HARBOUR), request(tmp_path), TINY).answers
    early = before.place < changed_from
    assert early.any()
    assert not early.all()
    np.testing.assert_array_equal(before.values[early], after.values[early])
    assert not np.array_equal(before.values[~early], after.values[~early], equal_nan=True)


def test_nothing_depends_on_names(folder: Path, tmp_path: Path) -> None:
    frame = kiln_rows().replace({"north": "7", "south": "8"})
    frame.to_csv(tmp_path / "x y.csv.gz", index=False)
    (tmp_path / "sets.json").write_text(json.dumps({"x y": FACTS[KILN]}))
    models = ["naive", "ridge", TINY]
    ours = list(measure(load(folder, KILN), models, 1, request(folder)))
    renamed = list(measure(load(tmp_path, "x y"), models, 1, request(tmp_path)))
    for one, other in zip(ours, renamed, strict=True):
        for field in ("relative_mae", "worst_series", "mae", "mase", "pinball", "coverage_80", "width", "cutoffs"):
            assert one[field] == other[field], (one["model"], field)


def test_a_model_that_cannot_run_is_skipped_with_its_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = request(folder, gbm=folder / "nowhere.py")
    assert list(measure(load(folder, KILN), ["gbm", "no-such-network"], 1, missing)) == []
    said = capsys.readouterr().out
    assert "nowhere.py" in said
    assert "--gbm" in said
    assert "docs/zoo.md" in said


def invented(folder: Path, y: dict[str, Any], **facts: Any) -> Path:
    """Write a set ``it`` of hourly series into a folder of its own."""
    hours = pd.date_range("2024-01-01", periods=24 * 30, freq="h")
    frame = pd.concat([pd.DataFrame({"unique_id": key, "ds": hours, "y": values}) for key, values in y.items()])
    frame.to_csv(folder / "it.csv.gz", index=False)
    usual = FACTS[KILN] | {"timezone": None, "season": ["1d"], "lower": None, "test_from": "2024-01-20"}
    (folder / "sets.json").write_text(json.dumps({"it": usual | facts}))
    return folder


def wave() -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.sin(np.arange(24 * 30) * math.pi / 12) + np.random.default_rng(2).normal(0, 0.1, 24 * 30)


def test_a_constant_series_has_no_ratio_and_the_others_of_its_set_are_scored(tmp_path: Path) -> None:
    folder = invented(tmp_path, {"still": np.full(24 * 30, 7.3), "wave": wave()})
    (row,) = measure(load(folder, "it"), ["zero"], 1, request(folder))
    assert row["relative_mae_by_series"]["still"] is None
    assert row["relative_mae"] == row["relative_mae_by_series"]["wave"] == row["worst_series"]
    (still,) = measure(load(invented(tmp_path, {"still": np.zeros(24 * 30)}), "it"), ["naive"], 1, request(folder))
    assert still["relative_mae"] is None
    assert still["mae"] == 0


def test_without_a_season_naive_is_the_last_value_and_a_model_finds_its_own(tmp_path: Path) -> None:
    it = load(invented(tmp_path, {"wave": wave()}, season=[]), "it")
    naive, model = measure(it, ["naive", "zero"], 1, request(tmp_path))
    places = asked(it, EVERY).place
    steps = places[:, None] + np.arange(1, it.horizon + 1)
    y = it.series[0].y_T
    assert naive["mae"] == pytest.approx(np.abs(y[steps] - y[places][:, None]).mean(), rel=1e-5)
    assert model["relative_mae"] < 0.5


def test_an_infinite_target_is_missing_and_a_name_is_a_text(tmp_path: Path) -> None:
    y = wave()
    y[600] = np.inf
    it = load(invented(tmp_path, {"NA": y, "007": wave(), "7": wave()}), "it")
    assert [series.key for series in it.series] == ["007", "7", "NA"]
    rows = list(measure(it, ["naive", "zero"], 1, request(tmp_path)))
    assert all(math.isfinite(row["mae"]) for row in rows)
    assert rows[1]["series"] == 3


@pytest.mark.parametrize(
    ("facts", "y", "said"),
    [
        ({"test_from": "2023-01-01"}, None, "it zero: skipped: the data frame has columns and no rows"),
        ({"test_from": "2024-03-01"}, None, "it: skipped: no series has an observed bar of the test part"),
        ({"season": ["365d"]}, None, "the longest season, 8,760 bars, before it"),
        ({"test_from": "2024-01-30 12:00:00"}, None, "choose a smaller --every"),
        ({"known": ["rain"]}, None, "has no column rain: expected unique_id, ds, y, rain"),
        ({"timezone": "Mars/Base"}, None, "Mars/Base"),
        ({"holidays": "XX"}, None, "it zero: skipped: holidays is 'XX'"),
        ({}, ["bad", *wave()[1:]], "column 'y' of it is 'bad' in row 1; expected a number"),
    ],
)
def test_a_set_that_cannot_be_scored_is_skipped_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], facts: Any, y: Any, said: str
) -> None:
    folder = invented(tmp_path, {"wave": wave() if y is None else y}, **facts)
    sets = json.loads((folder / "sets.json").read_text())
    (folder / "sets.json").write_text(json.dumps({**sets, "absent": sets["it"]}))
    arguments = ["--models", "zero", "--data", str(folder), "--json", str(folder / "rows.json")]
    monkeypatch.setattr("sys.argv", ["streams", *arguments])
    main()
    lines = capsys.readouterr().out
    assert said in lines
    assert "absent: skipped: there is no" in lines


def test_months_with_few_outcomes_are_not_judged(folder: Path) -> None:
    it: StreamSet = load(folder, KILN)
    answers = asked(it, 1)
    answers.values[:] = [0, 1, 1e9]
    scored = score(it, answers)
    assert scored["coverage_worst_month"] == scored["coverage_best_month"] == 1
    few = asked(it, 61)
    few.values[:] = [0, 1, 1e9]
    assert score(it, few)["coverage_worst_month"] is None


def test_tables_fit_in_80_columns_and_the_picture_is_xml(folder: Path) -> None:
    rows = [
        row for name in (KILN, HARBOUR) for row in measure(load(folder, name), ["naive", "ridge"], 1, request(folder))
    ]
    rows += [{**row, "model": "gbm", "relative_mae": 0.5} for row in rows if row["model"] == "ridge"]
    console = Console(file=io.StringIO(), width=80)
    for table in (set_table(KILN, rows), *summary_tables(rows)):
        show(table, console)
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert max(map(len, said.splitlines())) <= 80
    for word in ("kiln", "harbour", "geometric mean", "worst", "ratio to gbm"):
        assert word in said
    drawing = ET.fromstring(picture(rows))
    assert len(drawing.findall(".//{*}rect")) == 1 + 2 + 4
