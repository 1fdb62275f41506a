"""Forecasting in a notebook: from data frames to data frames, through the engine of the service.

Frames have Nixtla's columns ``unique_id``, ``ds`` and ``y``; all other columns are inputs of the model.  The rows of a
frame that follow the last ``y`` of their series hold what is known ahead: they are no observations.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from streamcast.app.live_values import Number, Time, milliseconds, number
from streamcast.app.specs import new_spec
from streamcast.engine.engine import Engine
from streamcast.errors import HistoryWarning, ModelError
from streamcast.offline.evaluation.backtest import backtest
from streamcast.offline.evaluation.cutoffs import cutoffs_of
from streamcast.offline.evaluation.frames import forecast_frame
from streamcast.offline.history.polls import SOURCE, polls
from streamcast.offline.history.read import History, read
from streamcast.offline.history.timestamps import in_zone
from streamcast.offline.training.defaults import season_notes
from streamcast.offline.training.fit import OnProgress, Options, fit
from streamcast.spec.folders import Model, read_folder, save_model
from streamcast.spec.model_spec import Aggregate, ModelSpec
from streamcast.topics.observations import Observations


class Forecaster:
    """A model, from training to live forecasts.

    ``model`` is a name from the model zoo, a network spec, or ``"zero"``: a model without a network, which trains
    nothing.  ``freq`` is a bar length such as ``"1h"`` (default: the median time between rows).  With ``ticks``, rows
    are raw readings, several per bar: ``aggregates`` (column to reducer) makes a bar of them, and a bar waits
    ``grace`` for late readings.  ``season`` is a length in bars or a duration such as ``"1d"``, or several.
    ``timezone`` is that of times that name none, also in the frames that come back, and of the model's calendar;
    ``time_format`` is the form of times that are no ISO 8601;
    ``holidays`` is a country or region such as ``"AU-VIC"``.  ``known`` names the inputs whose future is published in
    advance, and no forecast lies below ``lower``.  ``plain`` leaves out target bars and online layer: several times
    faster, worse forecasts.  ``options`` are those of training.  All other parts of the model
    spec are chosen from the data.
    """

    def __init__(
        self,
        model: str | Mapping[str, Any] = "gru",
        horizon: int = 24,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        *,
        freq: str | int | None = None,
        lags: int | None = None,
        season: int | str | Sequence[int | str] | None = None,
        scales: Sequence[str | int] | None = None,
        ticks: bool = False,
        grace: str | int = 0,
        aggregates: Mapping[str, Aggregate] | None = None,
        timezone: str = "UTC",
        time_format: str | None = None,
        holidays: str | None = None,
        known: Sequence[str] = (),
        lower: float | None = None,
        plain: bool = False,
        options: Options | None = None,
        name: str | None = None,
    ) -> None:
        self._choices: dict[str, Any] = {
            "horizon": horizon, "network": model, "quantiles": quantiles,
            "lags": lags, "season": season, "scales": scales,
            "mode": "ticks" if ticks else "sample", "grace": grace, "aggregates": aggregates,
            "timezone": timezone, "holidays": holidays, "known": known, "lower": lower, "plain": plain,
        }  # fmt: skip
        self._freq, self._options, self._timezone, self._time_format = freq, options, timezone, time_format
        self.name = name or (model if isinstance(model, str) else str(model.get("kind", "model")))
        self._model: Model | None = None
        self._spec: ModelSpec | None = None
        self._notes: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> Forecaster:
        """Return the forecaster of a model folder, such as ``models/load/3``; raises ModelError."""
        folder = Path(path)
        model = read_folder(folder, folder.parent.name, folder.name)
        forecaster = cls(
            model.spec.network, model.spec.horizon, model.spec.quantiles, freq=model.spec.series.freq, name=model.name,
            timezone=str(model.facts.get("timezone", "UTC")), time_format=model.facts.get("time_format"),
        )  # fmt: skip
        forecaster._model, forecaster._spec = model, model.spec
        return forecaster

    @property
    def model(self) -> Model:
        """The trained model; raises ModelError before ``fit``."""
        if self._model is None:
            raise ModelError("this forecaster has no model yet: call fit, or use Forecaster.load")
        return self._model

    @property
    def notes(self) -> tuple[str, ...]:
        """What ``fit`` guessed: bar length, start of bars, seasons, time zone, categories."""
        return self._notes

    def fit(self, df: pd.DataFrame, on_progress: OnProgress = lambda _progress: None) -> Forecaster:
        """Train on a frame, with its last part as validation; after ``load``, with the spec that was loaded.

        Raises HistoryError, ModelError, SpecError, or SettingsError for an unknown time zone or holiday calendar.
        """
        if self._spec is None:
            history = read(
                df, freq=self._freq, ticks=self._choices["mode"] == "ticks", timezone=self._timezone,
                time_format=self._time_format,
            )  # fmt: skip
            _warn(history)
            spec = new_spec(history, **self._choices)
        else:
            history, spec = self._read(df), self._spec
        trained = fit(history, spec, self._options, on_progress)
        facts = {**trained.facts, "timezone": self._timezone, "time_format": self._time_format}
        self._notes = (*history.notes, *season_notes(trained.spec))
        self._model = replace(trained, name=self.name, facts=facts)
        return self

    def predict(self, df: pd.DataFrame) -> pd.DataFrame:
        """Return the forecast of every series from its newest bar: ``horizon`` rows per series.

        With known inputs, a series' newest bar is that of its last ``y``; the rows after it bring the known inputs of
        the bars to forecast.
        """
        live = self.stream(df)
        return pd.concat([live.forecast(key) for key in live.series()], ignore_index=True)

    def cross_validation(self, df: pd.DataFrame, n_windows: int = 1, step_size: int | None = None) -> pd.DataFrame:
        """Return forecasts and outcomes of ``n_windows`` cutoffs, ``step_size`` bars apart (default: the horizon).

        A series' last window ends with its last row, and a cutoff is a bar that has a row: the newest one at or before
        the wanted place.  A HistoryWarning names series with fewer windows.  The model is not trained again for each
        window: on bars that it was trained on, it looks better than it is.
        """
        spec, history = self.model.spec, self._read(df)
        wanted = cutoffs_of(history, spec, n_windows, step_size or spec.horizon)
        grid = spec.series.grid
        first = grid.start(grid.bar(int(wanted.cutoff.min())) + 1)
        keep = wanted.cutoff.unique().tolist()
        frame = backtest(self.model, history, first, baselines={}, keep=keep).frame()
        wanted = wanted.assign(cutoff=wanted.cutoff.to_numpy().astype("datetime64[ms]"))
        frame = frame.merge(wanted, on=["unique_id", "cutoff"])
        found = frame.groupby("unique_id").cutoff.nunique().reindex(list(history.keys), fill_value=0)
        if len(short := found[found < n_windows]):
            warnings.warn(
                f"{len(short):,} of {len(found):,} series have fewer than the {n_windows} windows asked for, such as"
                f" {short.index[0]!r} with {short.iloc[0]}: a window needs {spec.warm_up} bars before its cutoff and"
                f" {spec.horizon} after it. Ask for fewer windows or a smaller step_size, or give more history",
                HistoryWarning,
                stacklevel=2,
            )
        return in_zone(frame, self._timezone)

    def save(self, path: str | Path) -> Path:
        """Write the model's next version into a folder such as ``models/load``; return the folder of the version.

        Raises ModelError if the path ends with a version, as in ``models/load/3``, that is not the next one.
        """
        folder = Path(path)
        wanted = folder.name if folder.name.isdigit() else None
        folder = folder.parent if wanted else folder
        following = str(1 + max((int(p.name) for p in folder.glob("*") if p.name.isdigit()), default=0))
        if wanted not in (None, following):
            raise ModelError(
                f"{path}: the next version of {folder.name} is {following}; save to {folder} or {folder / following}"
            )
        self._model = save_model(folder.parent, folder.name, self.model.spec, self.model.network, self.model.facts)
        return folder / self._model.version

    def stream(self, df: pd.DataFrame | None = None) -> Stream:
        """Return a live stream; its state is that after the rows of ``df``."""
        live = Stream(self.model, self._timezone)
        if df is not None:
            live.extend(self._read(df))
        return live

    def _read(self, df: pd.DataFrame) -> History:
        spec = self.model.spec.series
        inputs = [column.name for column in spec.columns[1:]]
        history = read(
            df, target_col=spec.target, columns=inputs, freq=spec.freq, ticks=spec.mode == "ticks",
            timezone=self._timezone, time_format=self._time_format, offset_ms=spec.offset, calendar=spec.calendar,
            kinds=spec.kinds,
        )  # fmt: skip
        _warn(history)
        return history


class Stream:
    """An engine that takes one observation at a time; ``timezone`` is that of times that name none."""

    def __init__(self, model: Model, timezone: str = "UTC") -> None:
        self._model, self._timezone = model, timezone
        self._engine = Engine(model.spec, model.network)
        self._offset = 0
        self._newest: dict[str, tuple[int, np.ndarray]] = {}
        self._observed: set[str] = set()

    def series(self) -> list[str]:
        """The series that have a forecast."""
        return list(self._newest)

    def update(
        self, key: str, ts: Time, y: Number | None,
        ahead: Mapping[str, Sequence[Number | str | None]] | None = None, **inputs: Number | str | None,
    ) -> bool:  # fmt: skip
        """Take one observation; return whether it gave a forecast.

        It does not for an old or repeated bar, nor before the first value of a series.

        ``ts`` is a time (in the stream's time zone if it names none) or epoch milliseconds.  ``ahead`` has the known
        inputs of the bars after it, by name: a shorter list or None is not known, values beyond the horizon are
        ignored.  The rules are those of a record in the service: None, NaN and pd.NA are missing.  Raises TypeError for
        an unknown input or a value of the wrong kind, ValueError for an infinite value or one beyond ±1e100, and for a
        time in another unit; the stream is then as it was.
        """
        columns = self._model.spec.series.columns
        unknown = set(inputs) - {column.name for column in columns[1:]}
        if unknown:
            known = ", ".join(column.name for column in columns[1:]) or "none"
            raise TypeError(f"update: the model has no inputs {sorted(unknown)}; it has {known}")
        given = {**inputs, columns[0].name: y}
        values = np.array([[number(given.get(column.name), column) for column in columns]])
        time = np.array([milliseconds(ts, self._timezone)])
        answered = self._take(
            Observations(
                [(SOURCE, 0, 1)], [key], np.array([self._offset]), time, time, values, self._ahead(ahead or {})
            )
        )
        self._offset += 1
        return answered

    def _ahead(self, given: Mapping[str, Sequence[Number | str | None]]) -> np.ndarray | None:
        """Return known inputs as the engine takes them [1, I, H], NaN where not given; raises TypeError."""
        spec = self._model.spec
        columns = [spec.series.columns[place] for place in spec.known_columns]
        if unknown := set(given) - {column.name for column in columns}:
            known = ", ".join(column.name for column in columns) or "none"
            raise TypeError(f"update: the model has no known inputs {sorted(unknown)}; it has {known}")
        if not given:
            return None
        ahead = np.full((1, len(columns), spec.horizon), np.nan)
        for place, column in enumerate(columns):
            values = [number(value, column) for value in given.get(column.name, ())][: spec.horizon]
            ahead[0, place, : len(values)] = values
        return ahead

    def extend(self, history: History) -> None:
        """Take all observations of a history, in time order."""
        for poll in polls(history, self._model.spec):
            self._take(replace(poll, offsets=poll.offsets + self._offset))
        self._offset += len(history)

    def forecast(self, key: str) -> pd.DataFrame:
        """Return the newest forecast of a series; raises KeyError when there is none."""
        if key not in self._newest:
            raise KeyError(f"{key!r} has no forecast yet (of {len(self._newest)} series): update it first")
        cutoff, values_HQ = self._newest[key]
        frame = forecast_frame(self._model.spec, self._model.name, [key], np.array([cutoff]), values_HQ[None])
        return in_zone(frame, self._timezone)

    def _take(self, observations: Observations) -> bool:
        try:
            found = self._engine.stage(observations).forecasts
        except BaseException:
            self._engine.discard()
            raise
        self._engine.promote()
        given = ~np.isnan(observations.values[:, 0])
        self._observed.update(key for key, known in zip(observations.keys, given.tolist(), strict=True) if known)
        answered = False
        for record, cutoff, values_HQ in zip(found.record.tolist(), found.cutoffs.tolist(), found.values, strict=True):
            if (key := observations.keys[record]) in self._observed:
                self._newest[key] = (cutoff, values_HQ)
                answered = True
        return answered


def _warn(history: History) -> None:
    for change in history.changes:
        warnings.warn(change, HistoryWarning, stacklevel=3)
