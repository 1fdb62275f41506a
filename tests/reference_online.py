"""The online layer in plain Python, from the equations in the docstrings of ``streamcast.kernels.online``.

Slow and obvious: all bars and all issued forecasts are kept, and places are searched for at every step.
Legend: t the newest bar, u a target bar, h = u − t.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import NormalDist, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class OnlineLayer:
    """One series; ``step`` takes an outcome and returns the final forecast [H, Q] from the network's, or from none."""

    def __init__(
        self, seasons: Sequence[int], horizon: int, levels: Sequence[float], lower: float = -math.inf,
        network_prior: float = 5.0, *, regressions: bool = True, coverage_step: float = 0.1,
        shared_coverage_step: float = 0.0, hourly_coverage_step: float = 0.0, regressions_wait: bool = False,
        one_regression: bool = False, shared_widths: bool = False, network_spread: float = 0.0, medians: bool = False,
        network_reach: float = 0.0, levels_stop: bool = False, largest_error: float = 0.0, most_behind: float = 0.0,
        winsorized: bool = False, close_steps: bool = False, upper: float = math.inf,
    ) -> None:  # fmt: skip
        self.seasons, self.horizon, self.levels = sorted(set(seasons)), horizon, list(levels)
        self.lower, self.upper = lower, upper
        self.day, self.median = self.seasons[0], self.levels.index(0.5)
        self.parts = min(self.day, 24)
        powers = [2**i for i in range(12)]
        self.ladder = [*sorted(h for h in {*powers, *(3 * p for p in powers)} if h < horizon), horizon]
        while close_steps and (wide := self.widest_gap()):
            self.ladder = sorted({*self.ladder, *wide})
        self.rungs = [*(p for p in powers if p < horizon and (p == 1 or p <= 0.75 * horizon)), horizon]
        self.y: list[float] = []
        self.d: list[float] = []
        self.cutoffs: list[list[float]] = []
        self.issued: list[tuple[Floats, Floats] | None] = []
        n = len(self.seasons)
        self.one_regression, self.shared_widths = one_regression, shared_widths
        self.network_spread, self.network_reach, self.medians = network_spread, network_reach, medians
        self.levels_stop, self.largest_error, self.most_behind = levels_stop, largest_error, most_behind
        self.winsorized = winsorized
        self.features = 8 if one_regression else 2 * n + 9
        self.memories: tuple[float, ...] = ((14.0,) if one_regression else (120.0, 7.0)) if regressions else ()
        self.coverage_step, self.shared_coverage_step = coverage_step, shared_coverage_step
        self.hourly_coverage_step, self.phi = hourly_coverage_step, np.zeros((self.parts, len(self.levels)))
        self.waits = regressions_wait
        prior = [network_prior, 0.5, *[2.0] * (n - 1), 6.0, *[0.0] * n, *[0.0] * len(self.memories)]
        self.regret = {h: np.array(prior) for h in self.ladder}
        self.moment = {h: np.ones(len(prior)) for h in self.ladder}
        self.weight = {h: np.array(prior) / sum(prior) for h in self.ladder}
        self.follow = dict.fromkeys(self.ladder, 0.0)
        self.recent = {h: np.full(len(prior), np.nan) for h in self.ladder}
        self.sigma = dict.fromkeys(self.ladder, 0.0)
        self.count = dict.fromkeys(self.ladder, 0)
        self.theta = {h: np.zeros(len(self.levels)) for h in self.ladder}
        zeros = (self.features, self.features)
        systems = [(r, h) for r in range(len(self.memories)) for h in self.rungs]
        self.left = {at: np.zeros(zeros) for at in systems}
        self.right = {at: np.zeros(self.features) for at in systems}
        self.beta = {at: np.zeros(self.features) for at in systems}
        self.size, self.share = np.zeros(self.parts), np.ones(self.parts)
        self.scale = self.fast = self.slow = self.fast_size = self.slow_size = 0.0
        self.known, self.last, self.edge = 0, math.nan, 0.0
        self.now = [0.0] * 4  # deviation, naive deviation, slope, scaled deviation
        self.normal = [NormalDist().inv_cdf(level) * 1.2533 for level in self.levels]

    def widest_gap(self) -> list[int]:
        """Steps that lie evenly in the first gap of the ladder above a sixth of the horizon; none without one."""
        most = max(self.horizon // 6, 2)
        for low, high in pairwise(self.ladder):
            if high - low > most:
                parts = math.ceil((high - low) / most)
                return [low + (high - low) * part // parts for part in range(1, parts)]
        return []

    def part(self, bar: int) -> int:
        return bar % self.day * self.parts // self.day

    def at_place(self, u: int, h: int, i: int) -> tuple[float, float, float, float]:
        """Newest observed value, trimmed mean, mean of the last three seasons, median, at u's place, h bars before."""
        season = self.seasons[i]
        bars = [u - k * season for k in range(math.ceil(h / season), math.ceil(h / season) + (10 if i == 0 else 5))]
        values = [self.y[bar] if bar >= 0 else math.nan for bar in bars]
        seen = sorted(value for value in values if not math.isnan(value))
        newest = next((value for value in values[:4] if not math.isnan(value)), math.nan)
        recent = [value for value in values[:3] if not math.isnan(value)]
        trimmed = seen[1:-1] if len(seen) > 2 else seen
        mean = math.fsum(trimmed) / len(trimmed) if trimmed else math.nan
        middle = median(seen) if seen else math.nan
        return newest, mean, math.fsum(recent) / len(recent) if recent else math.nan, middle

    def candidates(self, u: int, h: int) -> tuple[list[float], Floats, float]:
        """Experts without the regressions, features, and base of bar u, as of h bars before it."""
        cutoff = self.cutoffs[u - h]
        newest, trimmed, recent, middle = zip(*(self.at_place(u, h, i) for i in range(len(self.seasons))), strict=True)
        base = next((mean for mean in reversed(trimmed) if not math.isnan(mean)), cutoff[0])
        back = u - math.ceil(h / self.day) * self.day
        x = [] if self.one_regression else [value - base for value in (*newest, *trimmed[:-1])]
        x += [*cutoff[1:6], self.d[back] if back >= 0 else 0.0]
        scaled = cutoff[6:7] if self.one_regression else cutoff[6:]
        x += [*(value * self.size[self.part(u)] for value in scaled), recent[0] - base]
        central = middle if self.medians else trimmed
        return [math.nan, cutoff[0], *newest, *central], np.nan_to_num(np.array(x), nan=0.0), base

    def regress(self, r: int, h: int, x: Floats) -> float:
        if h in self.rungs:
            return float(self.beta[r, h] @ x)
        low, high = max(g for g in self.rungs if g < h), min(g for g in self.rungs if g > h)
        share = (h - low) / (high - low)
        return float(((1 - share) * self.beta[r, low] + share * self.beta[r, high]) @ x)

    @staticmethod
    def mix(weights: Floats, experts: Floats) -> float:
        have = ~np.isnan(experts)
        if weights[have].sum() > 1e-12:
            return float((weights[have] * experts[have]).sum() / weights[have].sum())
        return float(experts[have][-1]) if have.any() else math.nan

    def step(
        self, y: float, network: Floats | None, *, answer: bool = True, off: Sequence[bool] = ()
    ) -> Floats:  # fmt: skip
        """Take the outcome of the next bar and answer, from the network's forecast [H, Q] or None.

        ``off`` says whether this bar and the next H are on days off.
        """
        t = len(self.y)
        self.below, self.above = y < self.lower, y > self.upper
        y = float(np.clip(max(min(y, 1e100), -1e100), self.lower, self.upper)) if math.isfinite(y) else math.nan
        self.y.append(y)
        self.d.append(math.nan)
        if not math.isnan(y):
            if off and off[0]:
                self.compare(t, y)
            self.settle(t, y, off=bool(off) and off[0])
            self.observe(t, y)
        deviation, naive, slope, scaled = self.now
        slow = [self.fast / (self.fast_size + 1e-100), self.slow / (self.slow_size + 1e-100)]
        slow = [min(max(value, -6.0), 6.0) for value in slow]
        self.cutoffs.append([self.last, deviation, naive, self.fast, self.slow, slope, scaled, *slow])
        number = t % (2 * len(self.rungs))
        key = (number % 2, self.rungs[number // 2])
        if key in self.beta and t > self.day:
            beta = np.linalg.solve(self.left[key] + 10.0 * np.eye(self.features), self.right[key])
            self.beta[key] = beta.astype(np.float64)
        self.issued.append(None)
        if network is not None and not (np.abs(network) < 1e100).all():
            network = None
        better = network is not None and self.edge >= 0
        alone = [better and bool(off) and off[h] for h in range(self.horizon + 1)]
        self.held: list[float] = []
        forecast = np.array([self.levels_of(t, h, network, alone=alone[h]) for h in range(1, self.horizon + 1)])
        if answer:
            self.issued[-1] = (forecast, np.array(self.held))
        return forecast

    def compare(self, t: int, y: float) -> None:
        """Add how much nearer than the mixture the network was, at a bar of a day off."""
        gains = []
        for h in self.ladder:
            issued = self.issued[t - h] if h <= t and not math.isnan(self.cutoffs[t - h][0]) else None
            if issued and not math.isnan(issued[1][h - 1]):
                experts, x, base = self.candidates(t, h)
                experts[0] = issued[1][h - 1]
                experts += [base + self.regress(r, h, x) for r in range(len(self.memories))]
                clipped = np.clip(experts, self.lower, self.upper)
                error = abs(y - self.mix(self.weight[h], clipped))
                sigma = max(self.sigma[h] if self.count[h] else error, 1e-100)
                gains.append(min(max((error - abs(y - clipped[0])) / sigma, -10.0), 10.0))
        self.edge = (1 - 1 / (4 * self.day)) * self.edge + math.fsum(gains) / len(self.ladder)

    def shortfall(self, issued: Floats, y: float) -> Floats:
        """Level less whether it held the outcome, of each level but the median; [Q]."""
        held = [y < level or (y == level and j > self.median) for j, level in enumerate(issued)]
        held = [(each or self.below) and not self.above for each in held]
        return np.array([0.0 if j == self.median else level - held[j] for j, level in enumerate(self.levels)])

    def settle(self, t: int, y: float, *, off: bool) -> None:
        relative: list[float] = []
        shortfalls: dict[int, Floats] = {}
        per_day = math.sqrt(min(1.0, 24.0 / self.day)) if self.day > 1 else 1.0
        old_scale = self.scale if self.scale > 1e-100 else 1.0
        for h in self.ladder:
            if h > t or math.isnan(self.cutoffs[t - h][0]):
                continue
            experts, x, base = self.candidates(t, h)
            issued = self.issued[t - h]
            experts[0] = issued[1][h - 1] if issued else math.nan
            regressed = [base + self.regress(r, h, x) for r in range(len(self.memories))]
            experts += regressed
            if h in self.rungs and (self.scale > 1e-100 or not self.waits):
                for r, days in enumerate(self.memories):
                    error = abs(y - regressed[r]) / max(self.sigma[h], 1e-100)
                    weight = 1.0 / max(error, 0.3) if self.count[h] > 5 else 1.0
                    row, goal = np.clip(x / old_scale, -50, 50), min(max((y - base) / old_scale, -50.0), 50.0)
                    keep = 1.0 - 1.0 / (days * self.day)
                    self.left[r, h] = keep * self.left[r, h] + weight * np.outer(row, row)
                    self.right[r, h] = keep * self.right[r, h] + weight * row * goal
            clipped = np.clip(experts, self.lower, self.upper)
            mixed = self.mix(self.weight[h], clipped)
            error = abs(y - mixed)
            self.count[h] += 1
            n = self.count[h]
            if n == 1:
                self.sigma[h] = error
            sigma = max(self.sigma[h], 1e-100)
            if issued:
                shortfalls[h] = self.shortfall(issued[0][h - 1], y)
                eta = max(self.coverage_step * h ** (-1 if self.shared_widths else -0.3) * per_day, 1.0 / (n + 10.0))
                self.theta[h] = self.within(self.theta[h] + eta * shortfalls[h])
            missed = np.abs(y - clipped)
            missed -= max(0.0, float(np.nanmin(missed)) - 3.0 * self.sigma[h])
            rate = min(min(max(error / sigma, 1.0), 12.0) / max(self.day, 14), 0.5)
            moved = self.recent[h] + rate * (missed - self.recent[h])
            found = np.where(np.isnan(self.recent[h]), missed, moved)
            if not off:
                self.recent[h] = np.where(np.isnan(missed), self.recent[h], found)
            sign = float(mixed > y) - float(mixed < y)
            keep = 1.0 - 0.01 / self.day
            for e, expert in enumerate(clipped):
                if not math.isnan(expert):
                    regret = min(max(sign * (mixed - expert) / sigma, -10.0), 10.0)
                    learned = 1 - self.follow[h]
                    self.regret[h][e] = keep * self.regret[h][e] + learned * regret
                    self.moment[h][e] = max(1.0, keep * self.moment[h][e] + learned * regret**2)
            counted = self.limited(error, self.sigma[h], n)
            self.sigma[h] += max(1.0 / n, 1.0 / (60.0 + 3.0 * h)) * (counted - self.sigma[h])
            relative.append(min(error / sigma, 10.0))
        if shortfalls:
            weights = [self.stands_for(h) if self.shared_widths else 1.0 for h in shortfalls]
            self.share_levels(t, np.average([*shortfalls.values()], axis=0, weights=weights))
        self.borrow()
        regrets, moments = np.mean([*self.regret.values()], 0), np.mean([*self.moment.values()], 0)
        for h in self.ladder:
            found = np.maximum(self.regret[h] + regrets, 0) / (self.moment[h] + moments)
            if h <= t and found.sum() > 0:
                self.weight[h] = found / found.sum()
        if self.most_behind:
            self.follow_recent(t)
        if relative and self.count[1 if 1 in self.ladder else self.horizon] > 2:
            first = self.count[self.ladder[0]]
            rate = max(1 / 14, 1 / (2 + first / self.day)) / (self.day / self.parts)
            self.share[self.part(t)] += rate * (math.fsum(relative) / len(relative) - self.share[self.part(t)])

    def follow_recent(self, t: int) -> None:
        """Move weights that fall behind to the experts of small recent errors."""
        for h in self.ladder:
            known = ~np.isnan(self.recent[h])
            if h > t or not known.any():
                continue
            errors = []
            for e in np.flatnonzero(known):
                seen = [g for g in self.ladder if not math.isnan(self.recent[g][e])]
                relative = [self.recent[g][e] / max(self.sigma[g], 1e-100) for g in seen]
                shared = np.average(relative, weights=[1 / g for g in seen])
                errors.append(max(self.recent[h][e] + self.sigma[h] * shared, 1e-100))
            weight = self.weight[h][known]
            share = (weight + 0.05) * (min(errors) / np.array(errors)) ** 4
            if weight.sum() > 0:
                behind = float(weight @ errors) / weight.sum() / min(errors)
                self.follow[h] = min(max(behind / self.most_behind - 1, 0.0), 1.0)
                self.weight[h][known] += self.follow[h] * (weight.sum() * share / share.sum() - weight)

    def share_levels(self, t: int, shortfall: Floats) -> None:
        """Let one bar's mean shortfall of all scored steps move the levels of each step and of its part of the day."""
        per_day = min(1.0, 24.0 / self.day) if self.day > 1 else 1.0
        mirrored = [1.0 - level for level in self.levels]
        widths = [
            (short - shortfall[np.argmin(np.abs(np.subtract(self.levels, other)))]) / 2
            if np.abs(np.subtract(self.levels, other)).min() < 1e-9
            else short
            for short, other in zip(shortfall, mirrored, strict=True)
        ]
        for h in self.ladder:
            if h <= t and self.shared_widths:
                eta = self.shared_coverage_step * math.sqrt(24 / max(24, self.day, self.horizon))
                above = np.arange(len(widths)) > self.median
                stays = above & (np.array(widths) > 0) & (self.theta[h] > 1) & self.below
                below = np.arange(len(widths)) < self.median
                stays |= below & (np.array(widths) < 0) & (self.theta[h] < -1) & self.above
                self.theta[h] = self.within(self.theta[h] + eta * np.where(stays, 0, widths))
            elif h <= t:
                eta = self.shared_coverage_step * h**-0.15 * math.sqrt(per_day)
                self.theta[h] = self.within(self.theta[h] + eta * shortfall)
        moved = self.phi[self.part(t)] + self.hourly_coverage_step * per_day * shortfall
        self.phi[self.part(t)] = self.within(moved)

    def limited(self, value: float, usual: float, count: int) -> float:
        """What a value counts as, beside the mean size of so many before it."""
        most = self.largest_error * usual
        return min(max(value, -most), most) if most > 1e-100 and count > 7 * self.day else value

    def within(self, moved: Floats) -> Floats:
        """What is added to the levels within ±20, or inwards only as far as the median."""
        found = np.clip(moved, -20, 20)
        for j, z in enumerate(self.normal):
            if self.levels_stop and j < self.median:
                found[j] = min(found[j], max(abs(z), 0.25))
            elif self.levels_stop and j > self.median:
                found[j] = max(found[j], -max(abs(z), 0.25))
        return found

    def stands_for(self, h: int) -> float:
        """How many steps ahead a scored step stands for, all steps being shared by the scored ones beside them."""
        own = {step: float(step == h) for step in self.ladder}
        return math.fsum(self.between(own, step) for step in range(1, self.horizon + 1))

    def borrow(self) -> None:
        seen = [h for h in self.ladder if self.count[h]]
        if seen and not self.count[self.horizon]:
            for h in self.ladder:
                if not self.count[h]:
                    self.sigma[h] = self.sigma[seen[-1]] * math.sqrt(h / seen[-1])

    def observe(self, t: int, y: float) -> None:
        places = [self.at_place(t, 1, i) for i in range(len(self.seasons))]
        base = next((mean for _, mean, *_ in reversed(places) if not math.isnan(mean)), math.nan)
        self.now[2] = 0.0 if math.isnan(self.last) else y - self.last
        self.last = y
        if math.isnan(base):
            return
        d, part = self.limited(y - base, self.scale, self.known), self.part(t)
        if self.winsorized and d != y - base and 2 * abs(self.now[0]) < abs(d):
            self.y[t] = base + d
        self.d[t] = d
        self.known += 1
        self.scale += max(1 / self.known, 1 / (30 * self.day)) * (abs(d) - self.scale)
        rate = max(0.05, 1 / (1 + self.known / self.day)) * self.parts / self.day
        self.size[part] += rate * (abs(d) - self.size[part])
        size = max(self.size[part], 0.05 * self.scale)
        fast, slow = max(0.25 * self.day, 2.0), max(1.0 * self.day, 4.0)
        self.fast += (d - self.fast) / fast
        self.slow += (d - self.slow) / slow
        self.fast_size += (size - self.fast_size) / fast
        self.slow_size += (size - self.slow_size) / slow
        self.now[0] = d
        self.now[1] = 0.0 if math.isnan(places[0][0]) else places[0][0] - base
        self.now[3] = min(max(d / (size + 1e-100), -6.0), 6.0)

    def between(self, values: Mapping[int, Any], h: int) -> Any:
        if h in values:
            return values[h]
        low, high = max(g for g in self.ladder if g < h), min(g for g in self.ladder if g > h)
        share = (h - low) / (high - low)
        return (1 - share) * values[low] + share * values[high]

    def levels_of(self, t: int, h: int, network: Floats | None, *, alone: bool = False) -> list[float]:
        u = t + h
        self.y += [math.nan] * h  # bars that nobody has observed
        experts, x, base = self.candidates(u, h)
        del self.y[t + 1 :]
        experts[0] = math.nan if network is None else network[h - 1, self.median]
        experts += [base + self.regress(r, h, x) for r in range(len(self.memories))]
        local = self.between(self.sigma, h) * max(self.share[self.part(u)], 0.05)
        if self.network_reach and local > 0 and not np.isnan(experts[1:]).all():
            reach = self.network_reach * local
            experts[0] = np.clip(experts[0], np.nanmin(experts[1:]) - reach, np.nanmax(experts[1:]) + reach)
        self.held.append(experts[0])
        weights = self.between(self.weight, h)
        clipped = np.clip(experts, self.lower, self.upper)
        mixed = clipped[0] if alone else self.mix(weights, clipped)
        mixed = min(max(0.0, self.lower), self.upper) if math.isnan(mixed) else mixed
        share = weights[0] + self.network_spread * (1 - weights[0])
        trust = 0.0 if network is None else 1.0 if alone else share
        theta = self.between(self.theta, h) + self.phi[self.part(t + h)]
        found = []
        for j, z in enumerate(self.normal):
            offset = (1 - trust) * z * local
            if network is not None:
                offset += trust * (network[h - 1, j] - network[h - 1, self.median])
            unit = max(abs(offset) / max(abs(z), 0.25), 0.05 * local)
            level = min(max(mixed + offset + theta[j] * unit, self.lower), self.upper)
            found.append(mixed if j == self.median else level)
        above = np.maximum.accumulate(found[self.median :]).tolist()
        below = np.minimum.accumulate(found[self.median :: -1]).tolist()
        return [*below[:0:-1], *above]
