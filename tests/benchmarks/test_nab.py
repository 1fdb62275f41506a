"""The NAB benchmark scores what NAB scores, compared with cases computed by hand."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.nab.scores import Labelled, Profile, best, detections, probation, sigmoid, worths

STANDARD = Profile("standard", 1.0, 0.11)
NOTHING = -math.inf


def file(detected: dict[int, float], rows: int = 40, windows: tuple[tuple[int, int], ...] = ((20, 23),)) -> Labelled:
    """A file with these scores at these rows; probation is rows 0 to 5."""
    scores = np.full(rows, NOTHING)
    for row, score in detected.items():
        scores[row] = score
    return Labelled("a", scores, np.array(windows, np.int64).reshape(-1, 2))


def test_the_sigmoid_is_that_of_the_paper() -> None:
    assert sigmoid(-1.0) == pytest.approx(0.98661, abs=1e-5)
    assert sigmoid(-0.5) == pytest.approx(0.84828, abs=1e-5)
    assert sigmoid(0.0) == 0.0
    assert sigmoid(1.0) == pytest.approx(-0.98661, abs=1e-5)
    assert sigmoid(3.0) == -1.0


def test_the_beginning_of_a_file_does_not_count() -> None:
    assert probation(4_032) == 604
    assert probation(22_695) == 750
    assert best([file({3: 0.9, 20: 0.5})], STANDARD).score == pytest.approx(100.0)
    assert detections(file({3: 0.9}), 0.9).false_alarms == 0


def test_a_detection_is_worth_the_less_the_later_in_the_window_and_the_more_the_nearer_behind_it() -> None:
    worth, window = worths(file({}))
    whole = 2.0 / (1.0 + math.exp(-5.0)) - 1.0
    assert worth[20] == pytest.approx(1.0)
    assert worth[21] == pytest.approx((2.0 / (1.0 + math.exp(-5.0 * 3 / 4)) - 1.0) / whole)
    assert worth[23] == pytest.approx((2.0 / (1.0 + math.exp(-5.0 * 1 / 4)) - 1.0) / whole)
    assert worth[24] == pytest.approx(2.0 / (1.0 + math.exp(5.0 * 1 / 3)) - 1.0)
    assert worth[32] == worth[39] == worth[19] == -1.0
    assert window.tolist() == [-1] * 20 + [0] * 4 + [-1] * 16


@pytest.mark.parametrize(
    ("detected", "score"),
    [
        ({}, 0.0),
        ({20: 0.9}, 100.0),
        ({20: 0.9, 21: 0.9, 23: 0.9}, 100.0),  # one detection counts
        ({20: 0.9, 10: 0.9}, 100.0 * (2.0 - 0.11) / 2.0),
        ({20: 0.9, 10: 0.8}, 100.0),  # the threshold is above the false alarm
        ({10: 0.9}, 0.0),  # better to detect nothing
        ({22: 0.9}, 100.0 * (1.0 + 0.8482836 / 0.9866143) / 2.0),
        ({22: 0.9, 24: 0.9}, 100.0 * (1.0 + 0.8482836 / 0.9866143 - 0.11 * 0.6822761) / 2.0),
    ],
)
def test_a_score_equals_its_computation_by_hand(detected: dict[int, float], score: float) -> None:
    assert best([file(detected)], STANDARD).score == pytest.approx(score, abs=1e-4)


def test_one_threshold_holds_for_all_files() -> None:
    quiet = file({20: 0.5})
    loud = file(dict.fromkeys([8, 9, 10, 11, 12, 13, 14, 15, 16, 17], 0.6) | {20: 0.9})
    assert best([loud], STANDARD).score == best([quiet], STANDARD).score == pytest.approx(100.0)
    both = best([quiet, loud], STANDARD)
    assert both.threshold == 0.5
    assert both.score == pytest.approx(100.0 * (4.0 - 10 * 0.11) / 4.0)
    assert best([quiet, loud], Profile("few false alarms", 1.0, 0.22)).threshold == 0.9
    assert [(it.found, it.false_alarms) for it in (detections(one, 0.5) for one in (quiet, loud))] == [(1, 0), (1, 10)]


def test_a_given_threshold_is_used_and_a_missed_window_costs_its_weight() -> None:
    two = file({20: 0.9, 30: 0.7}, windows=((20, 23), (30, 33)))
    assert best([two], STANDARD, 0.8).score == pytest.approx(50.0)
    assert best([two], STANDARD, 0.95).score == 0.0
    dear = Profile("few missed", 2.0, 0.11)
    assert best([two], dear, 0.8).score == pytest.approx(100.0 * ((1.0 - 2.0) + 4.0) / (2.0 + 4.0))


def test_the_command_streams_a_folder_and_writes_the_scores(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = 10.0 + random.normal(size=600)
    values[450:] += 30.0
    times = pd.date_range("2024-01-01", periods=600, freq="1h")
    data, labels = tmp_path / "data" / "made", tmp_path / "labels"
    data.mkdir(parents=True)
    labels.mkdir()
    pd.DataFrame({"timestamp": times, "value": values}).to_csv(data / "step.csv.gz", index=False)
    windows = {"made/step.csv": [[str(times[445]), str(times[475])]], "made/absent.csv": []}
    (labels / "combined_windows.json").write_text(json.dumps(windows))
    costs = {"tpWeight": 1.0, "fnWeight": 1.0, "fpWeight": 0.11, "tnWeight": 1.0}
    (tmp_path / "profiles.json").write_text(json.dumps({"standard": {"CostMatrix": costs}}))
    out = str(tmp_path / "out")
    command = [sys.executable, "-m", "benchmarks.nab", "--data", str(tmp_path), "--horizon", "2", "--json", out]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "made/absent.csv: not in" in done.stdout
    found = json.loads((tmp_path / "out").read_text())
    assert found["files"] == [{"name": "made/step.csv", "found": 1, "windows": 1, "false_alarms": 0}]
    (standard,) = found["profiles"]
    worth = sigmoid(-(475 - 450 + 1) / 31) / sigmoid(-1.0)
    assert standard["score"] == pytest.approx(100.0 * (1.0 + worth) / 2.0, abs=0.1)
