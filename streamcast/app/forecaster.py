"""Forecasting in a notebook: from data frames to data frames, through the engine of the service.

Frames have Nixtla's columns ``unique_id``, ``ds`` and ``y``, or the names that ``id_col``, ``time_col`` and
``target_col`` give; all other columns are inputs of the model.  A frame without an id column is one series; its times
may be its index.  Frames of polars and other Arrow tables are read, too; what comes back is pandas.  The rows of a
frame that follow the last target of their series hold what is known ahead: they are no observations.
"""

from __future__ import annotations

import inspect
import itertools
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from streamcast.app.arguments import checked
from streamcast.app.frames import ANOMALY, UNNAMED, Names, as_pandas
from streamcast.app.gaps import missing_bars
from streamcast.app.moments import moment
from streamcast.app.notes import spec_notes
from streamcast.app.specs import faults_in_words, knows_ahead, require_networks, require_target
from streamcast.app.stream import Stream, compiling_logged
from streamcast.app.trained import measured, unfinished
from streamcast.errors import HistoryError, HistoryWarning, ModelError, TrainingWarning
from streamcast.models.spec import SpecError, nearest
from streamcast.offline.defaults.notes import beyond_notes, beyond_warnings
from streamcast.offline.defaults.spec import default_spec
from streamcast.offline.evaluation.anomalies import anomalies
from streamcast.offline.evaluation.backtest import at_their_limit, backtest
from streamcast.offline.evaluation.cutoffs import cutoffs_of, room
from streamcast.offline.evaluation.frames import quantile_columns
from streamcast.offline.history.bars import panel
from streamcast.offline.history.grid import refuse_longer_steps
from streamcast.offline.history.polls import KnownInputs, columns
from streamcast.offline.history.read import History, read, read_as
from streamcast.offline.history.timestamps import as_written, in_zone, twice_as_written
from streamcast.offline.training.fit import fit, fit_again, unlearned
from streamcast.offline.training.options import Options
from streamcast.offline.training.run import OnProgress, Progress
from streamcast.offline.training.untrained import refuse_for_no_network
from streamcast.spec.folders import VERSION, Model, read_folder, save_model
from streamcast.spec.model_spec import Aggregate, ModelSpec, TransformName
from streamcast.spec.zero import AS_NETWORK, has_no_network
from streamcast.wording import counted, span_name

if TYPE_CHECKING:
    import plotly.graph_objects as go

_PACKAGE = str(Path(__file__).parents[1]) + os.sep

TIME_LIMIT = "Options(max_seconds=...)"
"""What limits the time of a training, as it is written in Python."""
MOST_PLOTTED = 8
"""Series that a plot shows unless they are named."""


class Forecaster:
    """A model, from training to live forecasts.

    ``model`` is a name from the model zoo, a network spec, or ``"zero"``: a model without a network, which trains
    nothing.  ``horizon`` is how many bars are forecast; the intervals follow from ``quantiles`` (default: 0.1, 0.5 and
    0.9), or from ``level`` in percent, such as ``[80, 95]``.  ``freq`` is a bar length such as ``"1h"`` or
    ``pd.Timedelta("1h")`` (default: the median time between rows).  With ``ticks``, rows are raw readings, several per
    bar: ``aggregates`` (column to reducer) makes a bar of them, and a bar waits ``grace`` for late readings.
    ``season`` is a length in bars or a duration such as ``"1d"``, or several.  ``lags`` is how many of the newest bars
    the network reads at once, a multiple of 8, and ``scales`` are longer bars that it reads beside its own, such as
    ``["6h", "1d"]``.  A bare number as ``freq``, ``grace`` or in ``scales`` is milliseconds.  ``timezone`` is that of
    times that name none, also in the frames that come back, and of the model's calendar; ``time_format`` is the form of
    times that are no ISO 8601.  ``holidays`` is a country or region such as ``"AU-VIC"``.  ``known`` names the inputs
    whose future is published in advance, and no forecast lies below ``lower`` or above ``upper``.  ``transform`` is the
    scale of the target on which the model learns: ``"sqrt"``, ``"log"`` or ``"none"`` (default: found from the data).
    ``online`` has fields of the online layer, such as ``{"shared_coverage_step": 0.4}``.  ``plain`` leaves out target
    bars and online layer: several times faster, worse forecasts.  ``members`` networks are trained one after the other,
    and their mean forecasts: better, at so many times the network's cost (default: 3 where bars are a day or longer and
    fewer than 30,000, else 1).  ``options`` are those of training, such as ``Options(max_seconds=60)``.  ``id_col``,
    ``time_col`` and ``target_col`` name the columns of every frame, unless a method is given others; None or "" as
    ``id_col`` is one series.  All other parts of the model spec are chosen from the data.

    Frames are those of pandas, of polars, eager or lazy, and other tables with the Arrow interface (extra ``parquet``);
    those that come back are of pandas.

    The columns of forecasts are called after the model: ``name`` is the median, ``<name>-lo-80`` and ``<name>-hi-80``
    bound an interval.  Where another column has such a name, ``-forecast`` is added: a model ``y`` is ``y-forecast``
    beside the outcomes ``y`` of ``cross_validation``.

    ``save`` writes a model folder, which ``load`` and the service read; a forecaster need not be pickled.
    """

    @checked
    def __init__(
        self,
        model: str | Mapping[str, Any] = "gru",
        horizon: int = 24,
        quantiles: Sequence[float] | None = None,
        *,
        level: Sequence[float] | None = None,
        id_col: str | None = "unique_id",
        time_col: str = "ds",
        target_col: str = "y",
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
        upper: float | None = None,
        transform: TransformName | None = None,
        online: Mapping[str, Any] | None = None,
        plain: bool = False,
        members: int | None = None,
        options: Options | None = None,
        name: str | None = None,
    ) -> None:
        if isinstance(model, str):
            require_networks("model", [model])
        if quantiles is None:
            quantiles = quantiles_of([80] if level is None else level)
        elif level is not None:
            raise SpecError(
                f"quantiles is {quantiles} and level {level}: both choose the intervals; leave one of them out"
            )
        if not isinstance(options, Options | None):
            raise SpecError(
                f"options is a {type(options).__name__}: expected streamcast.Options, such as Options(max_seconds=60)"
            )
        if model in AS_NETWORK and options is not None:
            refuse_for_no_network(options.changed())
        self._choices: dict[str, Any] = {
            "horizon": horizon, "network": model, "quantiles": quantiles,
            "lags": lags, "season": season, "scales": scales,
            "mode": "ticks" if ticks else "sample", "grace": grace, "aggregates": aggregates,
            "timezone": timezone, "holidays": holidays, "known": known, "lower": lower, "upper": upper,
            "transform": transform, "online": online, "plain": plain, "members": members,
        }  # fmt: skip
        self._freq, self._options, self._timezone, self._time_format = freq, options, timezone, time_format
        self._names = Names(id_col or None, time_col, target_col)
        self._zoned = False
        self.name = name or (model if isinstance(model, str) else str(model.get("kind", "model")))
        self._model: Model | None = None
        self._spec: ModelSpec | None = None
        self._fitted: tuple[str, ...] = ()
        self._found: tuple[str, ...] = ()

    @classmethod
    @checked
    def load(cls, path: str | Path) -> Forecaster:
        """Return the forecaster of a model folder, such as ``models/load/3``, that ``save`` or a command wrote.

        It reads frames with the columns, time zone and form of times of its training.  Raises ModelError.
        """
        folder = Path(path)
        _require_version(folder)
        model = read_folder(folder, folder.parent.name, folder.name)
        forecaster = cls(
            model.spec.network, model.spec.horizon, model.spec.quantiles, freq=model.spec.series.freq, name=model.name,
            timezone=str(model.facts.get("timezone", "UTC")), time_format=model.facts.get("time_format"),
        )  # fmt: skip
        forecaster._names = Names.of_facts(model.facts, model.spec.series.target)
        try:
            forecaster._options = Options.of_facts(model.facts)
        except SpecError as error:
            raise ModelError(f"{folder / 'model.json'} cannot be read: facts.options: ", *error.args) from error
        forecaster._zoned = bool(model.facts.get("zoned", False))
        forecaster._model, forecaster._spec = model, model.spec
        return forecaster

    def __repr__(self) -> str:
        if self._model is None:
            return f"Forecaster({self.name!r}, horizon {self._choices['horizon']}: not trained yet)"
        spec = self._model.spec
        seasons = ", ".join(span_name(bars, spec.series.freq) for bars in spec.season)
        season = "no season" if spec.season == (1,) else f"season {seasons}"
        return (
            f"Forecaster({self.name!r}, {spec.series.target} every {spec.series.bar}, {spec.horizon} bars ahead,"
            f" {season}; {measured(self._model)})"
        )

    @property
    def model(self) -> Model:
        """The trained model; raises ModelError before ``fit``."""
        if self._model is None:
            raise ModelError(
                "this forecaster has no model yet: call fit, or take the one that Forecaster.load(...) returns"
            )
        return self._model

    @property
    def notes(self) -> tuple[str, ...]:
        """What ``fit`` guessed and chose, and what was guessed in the frame that was read last.

        Bar length, start of bars, seasons, time zone, categories, missing bars.
        """
        return tuple(dict.fromkeys([*self._fitted, *self._found]))

    @checked
    def fit(
        self, df: Any, on_progress: OnProgress | None = None, *, id_col: str | None = None,
        time_col: str | None = None, target_col: str | None = None, progress: bool = False,
    ) -> Forecaster:  # fmt: skip
        """Train on a frame, with its last part as validation; after ``load``, with that model's spec and options.

        The names of columns that are given here hold for all later frames, once it is trained.  ``progress`` shows
        epochs and losses.  A TrainingWarning says that training ended before its first epoch did.  Ctrl-C keeps the
        best weights so far.  Where it comes before anything was learned it is a KeyboardInterrupt, a time limit there
        is a ModelError, and a model from before stays.
        Raises HistoryError, ModelError, SpecError, or SettingsError for an unknown time zone or holiday calendar.
        """
        given = self._names.given(id_col, time_col, target_col)
        frame, names = as_pandas(df, given)
        if self._spec is None:
            history = read(
                frame, id_col=names.id_col, time_col=names.time_col, target_col=names.target_col, freq=self._freq,
                ticks=self._choices["mode"] == "ticks", timezone=self._timezone, time_format=self._time_format,
                known=knows_ahead(self._choices["known"], self._choices["network"], plain=self._choices["plain"]),
                chosen=[*self._choices["known"], *(self._choices["aggregates"] or ())],
            )  # fmt: skip
            self._keep_notes(history, None)
            with faults_in_words():
                spec = default_spec(history, **self._choices)
            for low in beyond_warnings(history, spec):
                _warn(low, HistoryWarning)
        else:
            history, spec = self._outcomes(frame, names), self._spec
        require_target(history)
        with _shown(on_progress, progress=progress) as follow:
            trained = fit(history, spec, self._options, follow)
        if why := unlearned(trained.facts, TIME_LIMIT):
            raise ModelError(why)
        self._names, self._zoned = given, history.written.zoned
        times = {"timezone": self._timezone, "time_format": self._time_format, "zoned": self._zoned}
        facts = {**trained.facts, **times, **names.facts()}
        choices, new = self._choices, self._spec is None
        notes = spec_notes(
            history, trained.spec, seasons_chosen=new and choices["season"] is None,
            members_chosen=new and choices["members"] is None, known=choices["known"], holidays=choices["holidays"],
            transform_chosen=new and choices["transform"] is None,
        )  # fmt: skip
        self._fitted = (*self._found, *notes)
        self._model = replace(trained, name=self.name, facts=facts)
        if warning := unfinished(facts, TIME_LIMIT):
            _warn(warning, TrainingWarning)
        return self

    @checked
    def predict(
        self, df: Any, h: int | None = None, level: Sequence[float] | None = None, *, id_col: str | None = None,
        time_col: str | None = None, target_col: str | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """Return the forecast of every series from its newest bar: ``h`` rows per series (default: the horizon).

        ``level`` chooses intervals by their percentage, such as ``[80]`` (default: all that the model has).  All rows
        are streamed in their order, some thousands of bars a second; the network needs the last seasons, the online
        layer learns from all.  With known inputs, a series' newest bar is that of its last target; the rows after it
        bring the known inputs of the bars to forecast.  Names of series come back in their type, times as those of
        ``df``: epoch numbers in their unit, texts in the ``time_format``, all others as datetimes, local in the
        forecaster's time zone, and with that zone if they named one.  Datetimes come back, too, where the unit or the
        form does not hold the times.  Raises SpecError for steps or levels that the model does not have.
        """
        steps, kept = self._steps(h), self._columns(level)
        frame, names = as_pandas(df, self._names.given(id_col, time_col, target_col))
        history = self._history(frame, names)
        self._warn_of_unknown_ahead(history, steps)
        live = Stream(self._unnamed)
        live.extend(history)
        found = live.forecasts()
        found = found[np.arange(len(found)) % self.model.spec.horizon < steps].reset_index(drop=True)
        return self._named(self._written(found[["unique_id", "ds", "cutoff", *kept]], history), names, frame)

    @checked
    def cross_validation(
        self, df: Any, n_windows: int = 1, step_size: int | None = None, *, refit: bool | int = False,
        id_col: str | None = None, time_col: str | None = None, target_col: str | None = None, progress: bool = False,
    ) -> pd.DataFrame:  # fmt: skip
        """Return forecasts and outcomes of ``n_windows`` cutoffs, ``step_size`` bars apart (default: the horizon).

        A series' last window ends with its last row, and a cutoff is a bar that has a row: the newest one at or before
        the wanted place.  A HistoryWarning names series with fewer windows.  Times come back as in ``predict``.  With
        ``refit`` the model is trained again for each window (or for every ``refit``-th one) on the rows up to its first
        cutoff, with the spec of this forecaster and the options of its training.  A TrainingWarning says how many of
        these trainings ended at their time limit; one that was up before anything was learned is a ModelError.
        Without ``refit`` the model is used as it is: on bars that it was trained on, it looks better than it is, and a
        TrainingWarning says so.
        """
        if refit < 0:
            raise SpecError(
                f"refit is {refit}: expected True, False, or after how many windows the model is trained again"
            )
        spec = self.model.spec
        if refit and has_no_network(spec):
            raise SpecError(
                f"refit is {refit}: it trains again, and a model without a network learns from every row: leave it out"
            )
        frame, names = as_pandas(df, self._names.given(id_col, time_col, target_col))
        history = self._outcomes(frame, names)
        wanted = cutoffs_of(history, spec, n_windows, spec.horizon if step_size is None else step_size)
        grid = spec.series.grid
        if not refit:
            self._warn_of_trained_bars(grid.start(grid.bar(int(wanted.cutoff.min())) + 1))
        windows = wanted.sort_values("cutoff").groupby("unique_id").cumcount(ascending=False).sort_index()
        parts, model, trained = [], self._unnamed, list[Model]()
        for place, window in enumerate(range(int(windows.max()), -1, -1) if refit else [-1]):
            some = wanted if window < 0 else wanted[windows == window]
            first = grid.start(grid.bar(int(some.cutoff.min())) + 1)
            if refit and place % int(refit) == 0:
                with _shown(None, progress=progress) as follow:
                    model = self._refitted(history.between(int(history.ts_N[0]), first), follow)
                trained.append(model)
            keep = {str(key): part.tolist() for key, part in some.groupby("unique_id").cutoff}
            with compiling_logged():
                parts.append(backtest(model, history, first, baselines={}, keep=keep).frame())
        joined = pd.concat(parts, ignore_index=True)
        _warn_of_few(joined, history, spec, n_windows)
        if limited := at_their_limit(trained):
            _warn(f"refit: {limited}: with more time ({TIME_LIMIT}) they may be better", TrainingWarning)
        return self._named(self._written(joined, history), names, frame)

    @checked
    def anomalies(
        self, df: Any, *, id_col: str | None = None, time_col: str | None = None, target_col: str | None = None
    ) -> pd.DataFrame:
        """Return how unusual each bar of a frame was: its value, and the column ``anomaly``.

        It is the field ``anomaly`` of the service's answers, as a share of bars that are less unusual: 0.997 or more is
        the beginning of an event.  It is NaN for bars without a value or a forecast, and for the first 40 errors of a
        series.  All rows are streamed in their order.  On bars that the model was trained on, errors are smaller than
        on new ones.  Names and times come back as in ``predict``.
        """
        frame, names = as_pandas(df, self._names.given(id_col, time_col, target_col))
        names.require_apart(ANOMALY)
        history = self._history(frame, names)
        with compiling_logged():
            found = anomalies(self.model, history)
        return self._named(self._written(found, history), names, frame)

    def _warn_of_unknown_ahead(self, history: History, steps: int) -> None:
        """Warn of inputs known ahead that some of the bars to forecast do not have."""
        spec = self.model.spec
        series, targets_M = spec.series, np.flatnonzero(~np.isnan(history.values_NC[:, 0]))
        if not spec.known_columns or not len(targets_M):
            return
        last_K = np.full(len(history.keys), -1)
        last_K[history.series_N[targets_M]] = targets_M  # the last assignment counts
        place_S = np.flatnonzero(last_K >= 0)
        cutoff_S = series.grid.bar(history.ts_N[last_K[place_S]] - series.grace) - (series.mode == "ticks")
        ahead_SIH = KnownInputs(history, spec, columns(history, series)).ahead(place_S, cutoff_S)[:, :, :steps]
        given = {series.columns[c].name: ~np.isnan(ahead_SIH[:, i]) for i, c in enumerate(spec.known_columns)}
        rows = f"without {series.target!r}"
        if without := [name for name, given_SH in given.items() if not given_SH.any()]:
            names = ", ".join(map(repr, without))
            _warn(
                f"no row after the last target has {names}, which the model knows ahead: forecasts are made without."
                f" Add a row for each bar to forecast, with {names} and {rows}",
                HistoryWarning,
            )
        for name, given_SH in given.items():
            if given_SH.any() and not given_SH.all():
                lacks = history.keys[place_S[~given_SH.all(axis=1)][0]]
                _warn(
                    f"{name!r} is known ahead for {given_SH.sum():,} of the {counted(given_SH.size, 'bar')} to"
                    f" forecast, and not for all of {lacks!r}: forecasts of the other bars are made without. Add a row"
                    f" for each, with {name!r} and {rows}",
                    HistoryWarning,
                )

    def _warn_of_trained_bars(self, first_ms: int) -> None:
        """Warn where the model was trained on bars from the first that is forecast on."""
        until = self.model.trained_until
        if until is not None and first_ms <= until:
            _warn(
                f"the model was trained on bars up to {moment(until, self._timezone)}, and the windows begin at"
                f" {moment(first_ms, self._timezone)}: on bars that both have, it looks better than it is. Ask for"
                " refit=True, or fit on the rows before the windows",
                TrainingWarning,
            )

    def _refitted(self, past: History, follow: OnProgress) -> Model:
        """Return the model trained again on the rows before a window."""
        options = self._options or Options.of_facts(self.model.facts)
        try:
            return replace(fit_again(past, self.model.spec, options, TIME_LIMIT, follow), name=UNNAMED)
        except HistoryError as error:
            last = moment(int(past.ts_N[-1]), self._timezone)
            raise HistoryError(
                f"refit trains on the {len(past):,} rows up to {last}, which are too few: ", *error.args,
                "; or ask for fewer windows",
            ) from None  # fmt: skip

    @checked
    def plot(
        self, df: Any, h: int | None = None, level: Sequence[float] | None = None, *,
        series: Sequence[str | int] | None = None, bars: int | None = None, id_col: str | None = None,
        time_col: str | None = None, target_col: str | None = None,
    ) -> go.Figure:  # fmt: skip
        """Return a Plotly figure: the last ``bars`` of each series (default: four horizons) and its forecast.

        ``series`` names those to show (default: the first eight); the rest is as in ``predict``, but times
        are always datetimes.  It needs the extra ``dashboard``.  Raises SpecError for a series without a forecast.
        """
        from streamcast.app.plots import forecast_figure

        shown = 4 * self.model.spec.horizon if bars is None else bars
        if shown < 1:
            raise SpecError(f"bars is {bars}: expected at least 1")
        frame, names = as_pandas(df, self._names.given(id_col, time_col, target_col))
        history, spec = self._history(frame, names), self.model.spec
        live = Stream(self._unnamed, self._timezone, zoned=history.written.zoned)
        live.extend(history)
        chosen = _series_named(series, live.series()) if series else live.series()[:MOST_PLOTTED]
        steps, columns = self._steps(h), self._columns(level)
        parts = {}
        for key in chosen:
            seen = in_zone(self._newest_bars(history, key, shown), self._timezone, named=history.written.zoned)
            parts[key] = (seen, live.forecast(key).head(steps))
        return forecast_figure(parts, columns, spec.series.target)

    def _newest_bars(self, history: History, key: str, number: int) -> pd.DataFrame:
        """Return the observed among the last ``number`` bars of a series (ds, y), up to the last that is observed."""
        series = self.model.spec.series
        bars = panel(history.of_series(np.array([history.keys.index(key)])), series)
        (y_T,), first = bars.y_KT, series.grid.bar(bars.start_ms)
        end = np.flatnonzero(~np.isnan(y_T)).max(initial=-1) + 1
        places = np.arange(max(end - number, 0), end)
        places = places[~np.isnan(y_T[places])]
        return pd.DataFrame({"ds": series.grid.start(first + places).astype("datetime64[ms]"), "y": y_T[places]})

    @checked
    def save(self, path: str | Path) -> Path:
        """Write the model's next version into a folder such as ``models/load``; return the folder of the version.

        The folder holds the spec, the weights, and what training measured; ``Forecaster.load`` reads it, and so does
        the service (``models.lanes`` in its settings).  Both name the model after the folder; this forecaster's columns
        keep their names.  Raises ModelError if the path ends with a version, as in ``models/load/3``, that is not the
        next one.
        """
        folder = Path(path)
        wanted = folder.name if folder.name.isdigit() else None
        folder = folder.parent if wanted else folder
        following = str(1 + max(_versions(folder), default=0))
        if wanted not in (None, following):
            raise ModelError(
                f"{path}: the next version of {folder.name} is {following}; save to {folder} or {folder / following}"
            )
        saved = save_model(folder.parent, folder.name, self.model.spec, self.model.network, self.model.facts)
        self._model = replace(saved, name=self.model.name)  # columns keep their names
        return folder / saved.version

    @checked
    def stream(
        self, df: Any = None, *, id_col: str | None = None, time_col: str | None = None, target_col: str | None = None
    ) -> Stream:
        """Return a live stream; its state is that after the rows of ``df``."""
        trained_with = Names.of_facts(self.model.facts, self.model.spec.series.target)
        names = (trained_with if df is None else self._names).given(id_col, time_col, target_col)
        frame, names = (None, names) if df is None else as_pandas(df, names)
        history = None if frame is None else self._history(frame, names)
        zoned = self._zoned if history is None else history.written.zoned
        live = Stream(self.model, self._timezone, zoned=zoned, time_format=self._time_format, names=names)
        if history is not None:
            live.extend(history)
        return live

    def _history(self, frame: pd.DataFrame, names: Names) -> History:
        """Read a frame as the model's series."""
        spec = self._spec or self.model.spec
        target, *inputs = (column.name for column in spec.series.columns)
        if names.target_col == target or list(frame.columns).count(names.target_col) != 1:
            target = names.target_col
        else:
            frame = frame.assign(**{target: frame[names.target_col]})
        history = read_as(
            spec, frame, id_col=names.id_col, time_col=names.time_col, target_col=target, columns=inputs,
            timezone=self._timezone, time_format=self._time_format,
        )  # fmt: skip
        self._keep_notes(history, spec)
        return history

    def _outcomes(self, frame: pd.DataFrame, names: Names) -> History:
        """Read a frame as the model's series, for forecasts to be compared with its rows.

        Raises HistoryError where no row of a series follows another within a bar; readings may.
        """
        history, spec = self._history(frame, names), self._spec or self.model.spec
        if spec.series.mode == "sample":
            refuse_longer_steps(history.series_N, history.ts_N, history.grid)
        return history

    def _keep_notes(self, history: History, spec: ModelSpec | None) -> None:
        """Keep the notes on a history, as the series of a model or of a new one, and warn of what does not suit it."""
        gaps = missing_bars(history, self._timezone, spec.series if spec else None)
        self._found = (*history.notes, *gaps, *(beyond_notes(history, spec) if spec else ()))
        for warning in (*history.changes, *(beyond_warnings(history, spec) if spec else ())):
            _warn(warning, HistoryWarning)

    @property
    def _unnamed(self) -> Model:
        """The trained model under a name that is no column of a frame."""
        return replace(self.model, name=UNNAMED)

    def _written(self, found: pd.DataFrame, history: History) -> pd.DataFrame:
        """Return rows with times as those of a history, with a note where clocks that go back repeat some."""
        self._found += tuple(twice_as_written(found, self._timezone, history.written))
        return as_written(found, self._timezone, history.written)

    def _named(self, found: pd.DataFrame, names: Names, frame: pd.DataFrame) -> pd.DataFrame:
        """Return forecasts of the unnamed model under its own name and the columns of a frame."""
        return names.back(found, self.model.name, self.model.spec.quantiles, frame)

    def _steps(self, h: int | None) -> int:
        """Return how many steps are wanted; raises SpecError for none, or for more than the horizon."""
        horizon = self.model.spec.horizon
        if h is not None and not 1 <= h <= horizon:
            raise SpecError(
                f"h is {h}: expected 1 to {horizon}, the model's horizon; train one with a longer horizon for more"
            )
        return h or horizon

    def _columns(self, level: Sequence[float] | None) -> list[str]:
        """Return the unnamed model's columns of the median and of these levels; raises SpecError for other levels."""
        spec = self.model.spec
        known = quantile_columns(UNNAMED, spec.quantiles)
        if level is None:
            return list(known)
        wanted = quantile_columns(UNNAMED, quantiles_of(level))
        if not wanted.keys() <= known.keys():
            own = zip(wanted, quantile_columns(self.model.name, tuple(wanted.values())), strict=True)
            missing = [name for column, name in own if column not in known]
            sides = [round(100 * abs(1 - 2 * each), 4) for each in spec.quantiles if each != 0.5]
            levels = ", ".join(f"{each:g}" for each in sorted(set(sides)) if sides.count(each) == 2)
            has = f"its levels are {levels}" if levels else f"no two of its quantiles, {spec.quantiles}, are a level"
            raise SpecError(f"the model has no {', '.join(missing)}; {has}: train one with level=[...] for others")
        return [column for column in known if column in wanted]


def quantiles_of(level: Sequence[float]) -> tuple[float, ...]:
    """Return the quantiles of intervals in percent, and the median; raises SpecError for what is no percentage."""
    if wrong := [each for each in level if not 1 <= each < 100]:
        share = f"; is it {100 * wrong[0]:g} percent?" if 0 < wrong[0] < 1 else ""
        raise SpecError(f"level is {wrong[0]!r}: expected percentages from 1 to below 100, such as [80, 95]{share}")
    sides = {each: (round(0.5 - each / 200, 6), round(0.5 + each / 200, 6)) for each in sorted(level)}
    for one, other in itertools.pairwise(sides):
        if sides[one] == sides[other]:
            raise SpecError(f"level has {one!r} and {other!r}, which are one interval: leave one of them out")
    return tuple(sorted({0.5, *itertools.chain.from_iterable(sides.values())}))


def _versions(folder: Path) -> list[int]:
    """Return the versions of the model in a folder."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def _require_version(folder: Path) -> None:
    """Raise ModelError for a folder that is no version, such as that of all versions of a model."""
    numbered = VERSION.fullmatch(folder.name) is not None
    if (folder / "spec.json").exists() or (numbered and folder.is_dir()):
        return
    named = folder.parent if numbered else folder.parent / folder.name.partition("@")[0]
    found = list(map(str, _versions(named)))
    there = f"; there are {', '.join(found)}" if found else f"; {named} holds none"
    example = named / (found[-1] if found else "1")
    raise ModelError(f"{folder} is no version of a model: expected the folder of one, such as {example}{there}")


def _series_named(series: Sequence[str | int], known: Sequence[str]) -> list[str]:
    """Return the keys of series that have a forecast; raises SpecError for one that has none."""
    keys = [str(each) for each in series]
    for key in keys:
        if key not in known:
            near = nearest(key, known)
            hint = f"Did you mean {near!r}? " if near else ""
            more = f" and {len(known) - MOST_PLOTTED:,} more" if len(known) > MOST_PLOTTED else ""
            listed = ", ".join(map(repr, known[:MOST_PLOTTED])) or "none"
            raise SpecError(f"series names {key!r}, which has no forecast. {hint}Those that have one: {listed}{more}")
    return keys


@contextmanager
def _shown(on_progress: OnProgress | None, *, progress: bool) -> Iterator[OnProgress]:
    """Return what follows a training: the caller's function, a bar in the notebook, both or nothing."""
    own: OnProgress = on_progress or (lambda _progress: None)
    if not progress:
        with compiling_logged():
            yield own
        return
    from rich.console import Console

    from streamcast.app.progress import compiling_said, progress_bar

    with compiling_said(), progress_bar(Console()) as follow:

        def both(at: Progress) -> None:
            follow(at)
            own(at)

        yield both


def _warn_of_few(frame: pd.DataFrame, history: History, spec: ModelSpec, n_windows: int) -> None:
    found = frame.groupby("unique_id").cutoff.nunique().reindex(list(history.keys), fill_value=0)
    if len(short := found[found < n_windows]):
        _warn(
            f"{len(short):,} of {len(found):,} series {'has' if len(short) == 1 else 'have'} fewer than the"
            f" {counted(n_windows, 'window')} asked for, such as {short.index[0]!r} with {short.iloc[0]}: a window"
            f" needs {room(spec)}. Ask for fewer windows or a smaller step_size, or give more history",
            HistoryWarning,
        )


def _warn(message: str, category: type[Warning]) -> None:
    """Warn at the line that called this package, however deep within it the reason was found."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
