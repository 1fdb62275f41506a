"""A live stream in a notebook: one observation at a time through the engine of the service."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from time import time_ns
from typing import NamedTuple

import numpy as np
import pandas as pd

from streamcast.app.arguments import shown
from streamcast.app.frames import UNNAMED, Names
from streamcast.app.live_values import Number, Time, milliseconds, number, series_key
from streamcast.engine.engine import Engine
from streamcast.kernels.compiling import compiling
from streamcast.models.spec import nearest
from streamcast.offline.evaluation.frames import forecast_frame
from streamcast.offline.history.polls import SOURCE, polls
from streamcast.offline.history.read import History
from streamcast.offline.history.timestamps import in_zone
from streamcast.spec.folders import Model
from streamcast.topics.observations import Observations

log = logging.getLogger("streamcast")


class _Newest(NamedTuple):
    """The newest forecast of a series [H, Q], made at a cutoff (epoch ms), and the anomaly of that bar."""

    cutoff: int
    values_HQ: np.ndarray
    anomaly: float


class Stream:
    """An engine that takes one observation at a time.

    ``timezone`` is that of times that name none, and of those of its forecasts, which name it if ``zoned``;
    ``time_format`` is the form of texts that are no ISO 8601, and ``names`` are those of a forecast's columns.
    """

    def __init__(
        self, model: Model, timezone: str = "UTC", *, zoned: bool = False, time_format: str | None = None,
        names: Names = Names(),  # noqa: B008 - it is frozen
    ) -> None:  # fmt: skip
        self._model, self._timezone, self._zoned, self._time_format = model, timezone, zoned, time_format
        self._names = names
        self._engine = Engine(model.spec, model.network)
        self._offset = 0
        self._newest: dict[str, _Newest] = {}
        self._observed: set[str] = set()
        self._last_ms: int | None = None

    def series(self) -> list[str]:
        """The series that have a forecast."""
        return list(self._newest)

    def update(
        self, key: str | int, ts: Time, y: Number | None,
        ahead: Mapping[str, Sequence[Number | str | None] | None] | None = None,
        inputs: Mapping[str, Number | str | None] | None = None, **named: Number | str | None,
    ) -> bool:  # fmt: skip
        """Take one observation; return whether it gave a forecast.

        It does not for an old or repeated bar, of which nothing is kept, nor before the first value of a series.

        ``key`` names the series, as in a frame: 7 is "7".  ``ts`` is a time (in the stream's time zone if it names
        none) or epoch milliseconds; a text has the ``time_format`` of the forecaster, or is ISO 8601.  ``ahead`` has
        the known inputs of the bars after it, by name: a shorter list or None is not known, values beyond the horizon
        are ignored.  Inputs are keywords, such as ``temp=18.0``, or items of ``inputs``, which takes those that are
        called like a parameter, too: ``inputs={"key": 3}``.  The rules are those of a record in the service; besides,
        NaN and pd.NA are missing, and a number as a category is its digits.  Raises TypeError for an unknown input, or
        a key or value of the wrong kind, ValueError for an infinite value or one beyond ±1e100, for a key that is empty
        or too long, for a time in another form or unit, for one in the future that is far from all others (the model's
        ``ttl``), and for a local time that clocks repeat or skip; the stream is then as it was.
        """
        name, columns = series_key(key), self._model.spec.series.columns
        given = {**_inputs(inputs, named, [column.name for column in columns[1:]]), columns[0].name: y}
        values = np.array([[number(given.get(column.name), column) for column in columns]])
        time = np.array([milliseconds(ts, self._timezone, self._time_format)])
        self._refuse_far_ahead(ts, int(time[0]))
        answered = self._take(
            Observations([(SOURCE, 0, 1)], [name], np.array([self._offset]), time, time, values, self._ahead(ahead))
        )
        self._offset += 1
        return answered

    def _refuse_far_ahead(self, ts: Time, time_ms: int) -> None:
        """Raise ValueError for a time of a clock that was not set: after it, every right time would be too old."""
        series, now_ms = self._model.spec.series, time_ns() // 10**6
        if self._last_ms is None or time_ms <= max(self._last_ms + series.ttl, now_ms + series.max_ahead):
            return
        raise ValueError(
            f"ts is {ts!r}: it lies in the future, and far from the newest observation, of"
            f" {pd.Timestamp(self._last_ms, unit='ms', tz='UTC')}. Was a clock not set? Start another stream if not"
        )

    def _ahead(self, given: Mapping[str, Sequence[Number | str | None] | None] | None) -> np.ndarray | None:
        """Return known inputs as the engine takes them [1, I, H], NaN where not given; raises TypeError."""
        spec = self._model.spec
        columns = [spec.series.columns[place] for place in spec.known_columns]
        if not isinstance(given, Mapping | None):
            raise TypeError(
                f"update: ahead is {shown(given)}: expected a dict with a list for each known input, such as"
                f" {{{(*[column.name for column in columns], 'temp')[0]!r}: [18.4, 17.9]}}; inputs of the bar itself"
                " are keywords"
            )
        if unknown := set(given or ()) - {column.name for column in columns}:
            known = ", ".join(column.name for column in columns) or "none"
            raise TypeError(f"update: the model has no known inputs {sorted(unknown, key=str)}; it has {known}")
        if not given:
            return None
        ahead = np.full((1, len(columns), spec.horizon), np.nan)
        for place, column in enumerate(columns):
            listed = given.get(column.name)
            if listed is None:
                continue
            if isinstance(listed, str | bytes | Mapping | AbstractSet) or not isinstance(listed, Iterable):
                raise TypeError(
                    f"update: ahead has {shown(listed)} for {column.name}: expected a list with a value for each bar"
                    " after this one, in their order, or None"
                )
            try:
                values = [number(value, column) for value in listed][: spec.horizon]
            except (TypeError, ValueError) as error:
                raise type(error)(f"update: ahead: {error}") from None
            ahead[0, place, : len(values)] = values
        return ahead

    def extend(self, history: History) -> None:
        """Take all observations of a history, in time order, as ``Forecaster.stream`` does with those of a frame.

        Raises TypeError for a frame.
        """
        if not isinstance(history, History):
            raise TypeError(
                f"extend: history is {shown(history)}: expected a streamcast History; Forecaster.stream(df) returns a"
                " stream that has taken a frame, and update takes one row"
            )
        for poll in polls(history, self._model.spec):
            self._take(replace(poll, offsets=poll.offsets + self._offset))
        self._offset += len(history)

    def forecast(self, key: str | int) -> pd.DataFrame:
        """Return the newest forecast of a series, its times as datetimes; raises KeyError when there is none.

        Its columns are those of ``Forecaster.predict``, under the names of the frame that the model was trained on.
        """
        name, newest = self._of(key)
        return self._frame({name: newest})

    def forecasts(self) -> pd.DataFrame:
        """Return the newest forecast of every series, one below the other, as ``forecast`` does of one."""
        return self._frame(self._newest)

    def anomaly(self, key: str | int) -> float | None:
        """Return how unusual the newest bar of a series is, as a share of bars that are less so; None while unknown.

        It is the field ``anomaly`` of the service's answers: 0.997 or more is the beginning of an event.  Raises
        KeyError when there is no forecast yet.
        """
        _, newest = self._of(key)
        return None if np.isnan(newest.anomaly) else newest.anomaly

    def _of(self, key: str | int) -> tuple[str, _Newest]:
        if (name := series_key(key)) not in self._newest:
            near = nearest(name, self._newest)
            hint = f"; did you mean {near!r}?" if near else ""
            raise KeyError(f"{name!r} has no forecast yet (of {len(self._newest)} series): update it first{hint}")
        return name, self._newest[name]

    def _frame(self, newest: Mapping[str, _Newest]) -> pd.DataFrame:
        spec = self._model.spec
        values_SHQ = np.empty((len(newest), spec.horizon, len(spec.quantiles)))
        for place, one in enumerate(newest.values()):
            values_SHQ[place] = one.values_HQ
        cutoffs_S = np.array([one.cutoff for one in newest.values()], np.int64)
        frame = forecast_frame(spec, UNNAMED, list(newest), cutoffs_S, values_SHQ)
        local = in_zone(frame, self._timezone, named=self._zoned)
        return self._names.back(local, self._model.name, self._model.spec.quantiles)

    def _take(self, observations: Observations) -> bool:
        try:
            with nullcontext() if self._newest else compiling_logged():
                found = self._engine.stage(observations).forecasts
        except BaseException:
            self._engine.discard()
            raise
        self._engine.promote()
        if len(observations.times):
            last = int(observations.times.max())
            self._last_ms = last if self._last_ms is None else max(last, self._last_ms)
        given = ~np.isnan(observations.values[:, 0])
        self._observed.update(key for key, known in zip(observations.keys, given.tolist(), strict=True) if known)
        keys = [observations.keys[record] for record in found.record.tolist()]
        newest = {key: place for place, key in enumerate(keys) if key in self._observed}
        for key, place in newest.items():
            values_HQ = found.values[place].copy()  # a view would keep the values of the whole poll
            self._newest[key] = _Newest(int(found.cutoffs[place]), values_HQ, float(found.anomaly[place]))
        return bool(newest)


def _inputs(
    listed: Mapping[str, Number | str | None] | None, named: Mapping[str, Number | str | None], known: Sequence[str]
) -> Mapping[str, Number | str | None]:
    """Return the inputs of an update, from its dict and its keywords; raises TypeError for an unknown or double one."""
    if not isinstance(listed, Mapping | None):
        raise TypeError(f"update: inputs is {shown(listed)}: expected a dict, such as {{{(*known, 'temp')[0]!r}: 3.5}}")
    given = {**(listed or {}), **named}
    if len(given) < len(listed or ()) + len(named):
        raise TypeError(f"update: {sorted(set(listed or ()) & set(named))} are in inputs and keywords: give them once")
    if unknown := set(given) - set(known):
        raise TypeError(
            f"update: the model has no inputs {sorted(unknown, key=str)}; it has {', '.join(known) or 'none'}"
        )
    return given


def compiling_logged() -> AbstractContextManager[None]:
    """Log when kernels are compiled within: as a warning, which a notebook without logging shows, too."""
    return compiling(log.warning)
