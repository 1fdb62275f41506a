"""The score of the Numenta Anomaly Benchmark: anomaly scores of labelled files in, a number up to 100 out.

The rules are those of Lavin & Ahmad 2015 (arXiv 1510.03336).  A row whose score is at or above the threshold is a
detection.  In a window, the earliest detection counts and is worth up to 1, the more the earlier; a window without one
costs the weight of a false negative.  Outside, every detection costs up to the weight of a false positive, the more
the farther behind the window before it.  The first 15 % of a file's rows, at most 750, do not count.  One threshold for
all files is the one of the best sum.  The sum is scaled so that no detection at all is 0 and perfect ones are 100.

Legend: N rows of a file, W windows, T thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PROBATION, MOST_PROBATION = 0.15, 750
STEEPNESS = 5.0
FAR_BEHIND = 3.0
"""A detection so many window widths behind a window, or before the first, costs a whole false positive."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a missed window and a false alarm cost; a window found at its beginning is worth 1."""

    name: str
    missed: float
    false_alarm: float


@dataclass(frozen=True, slots=True)
class Labelled:
    """A file's anomaly scores [N], and its windows as first and last row [W, 2], in order and not overlapping."""

    name: str
    scores: Floats
    windows: Ints


@dataclass(frozen=True, slots=True)
class Detections:
    """What a threshold finds in one file: windows of those that count, and rows outside of them."""

    name: str
    found: int
    windows: int
    false_alarms: int


@dataclass(frozen=True, slots=True)
class Total:
    """The score of all files under the best threshold, or under a given one."""

    score: float
    threshold: float


def sigmoid(place: float) -> float:
    """Return 1 far before a place of 0, 0 there, and −1 far behind it; places are in widths of a window."""
    return -1.0 if place >= FAR_BEHIND else 2.0 / (1.0 + math.exp(STEEPNESS * place)) - 1.0


def probation(rows: int) -> int:
    """Return how many rows at a file's beginning do not count."""
    return min(math.floor(PROBATION * rows), MOST_PROBATION)


def worths(it: Labelled) -> tuple[Floats, Ints]:
    """Return what a detection at each row is worth [N], without weights, and the row's window [N] or −1."""
    rows, windows = len(it.scores), it.windows.tolist()
    window_N = np.full(rows, -1)
    worth_N = np.full(rows, -1.0)
    for number, (first, last) in enumerate(windows):
        width = last - first + 1
        for row in range(first, last + 1):
            worth_N[row] = sigmoid(-(last - row + 1) / width) / sigmoid(-1.0)
        window_N[first : last + 1] = number
        behind = windows[number + 1][0] if number + 1 < len(windows) else rows
        for row in range(last + 1, behind):
            worth_N[row] = sigmoid((row - last) / (width - 1) if width > 1 else FAR_BEHIND)
    return worth_N, window_N


def best(files: Sequence[Labelled], profile: Profile, threshold: float | None = None) -> Total:
    """Return the score of all files under one profile: under the best threshold, or under the given one."""
    steps: list[tuple[float, float]] = []  # a threshold, and what lowering it to there adds
    windows = 0
    for it in files:
        worth_N, window_N = worths(it)
        start = probation(len(it.scores))
        counted = [int(number) for number in np.unique(window_N[start:]) if number >= 0]
        windows += len(counted)
        alarms_N = np.flatnonzero(window_N[start:] < 0) + start
        steps += zip(it.scores[alarms_N].tolist(), (profile.false_alarm * worth_N[alarms_N]).tolist(), strict=True)
        for number in counted:
            steps += _window_steps(it.scores, worth_N, np.flatnonzero(window_N[start:] == number) + start, profile)
    score_T, added_T = np.array([step for step in steps if step[0] > -math.inf]).reshape(-1, 2).T
    order = np.argsort(-score_T, kind="stable")
    sums_T = np.concatenate([[0.0], np.cumsum(added_T[order])]) - profile.missed * windows
    levels_T = np.concatenate([[math.inf], score_T[order]])
    ends_T = np.append(levels_T[1:] != levels_T[:-1], True)  # all rows of one score are detections together
    sums_T, levels_T = sums_T[ends_T], levels_T[ends_T]
    at = int(np.argmax(sums_T)) if threshold is None else int(np.flatnonzero(levels_T >= threshold)[-1])
    nothing, perfect = -profile.missed * windows, float(windows)
    return Total(100.0 * (float(sums_T[at]) - nothing) / (perfect - nothing), float(levels_T[at]))


def _window_steps(score_N: Floats, worth_N: Floats, rows: Ints, profile: Profile) -> list[tuple[float, float]]:
    """Return each threshold at which a window is found earlier than before, and what that adds.

    Rows of a window are worth the less the later they are, so an earlier row matters if its score is lower.
    """
    steps = []
    worth = -profile.missed
    for row in sorted(rows.tolist(), key=lambda row: (-score_N[row], row)):
        if worth_N[row] > worth:
            steps.append((float(score_N[row]), float(worth_N[row]) - worth))
            worth = float(worth_N[row])
    return steps


def detections(it: Labelled, threshold: float) -> Detections:
    """Return what a threshold finds in one file."""
    _, window_N = worths(it)
    start = probation(len(it.scores))
    alarm_N = it.scores[start:] >= threshold
    inside_N = window_N[start:]
    counted = {int(number) for number in inside_N if number >= 0}
    found = {int(number) for number in inside_N[alarm_N] if number >= 0}
    return Detections(it.name, len(found), len(counted), int((alarm_N & (inside_N < 0)).sum()))
