"""AutoETS and AutoTheta of package statsforecast as baselines: fitted once for each series, then carried on.

``fit`` chooses and fits a model on the newest ``SEASONS`` seasons of each series, or fewer if they are long.  At a
cutoff the model is applied to the bars up to it (``forward`` of the package): model and parameters stay, level, trend
and season follow.  ETS starts from states that belong to the first bar of its fit, so it always reads from there.
Theta estimates line and season from the bars that it is given, and is given as many as the fit.
There is no forecast of a series that cannot be fitted.
Shapes: K series, T bars of the panel, N cutoffs, H steps ahead.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from streamcast.errors import Option, SettingsError
from streamcast.offline.evaluation.baselines import Bars, Baseline, Floats, Forecast, Integers
from streamcast.stages import stage

SEASONS, FEWEST_SEASONS = 28, 3
"""How many of the newest seasons before the test a model is fitted on, and at least."""
MOST_BARS = 2_016
"""... of a long season, as many as fit into so many bars: the package's time grows faster than they do."""
LONGEST_SEASON = 24
"""ETS of the package ignores seasons of more bars."""

Name = Literal["AutoETS", "AutoTheta"]
NAMES: dict[str, Name] = {"ets": "AutoETS", "theta": "AutoTheta"}
"""What they are called in reports, by the name to ask for."""


def named(names: Collection[str], season: int) -> dict[str, Baseline]:
    """Return the baselines to compare with, by their names in reports.

    Raises SettingsError for names that are not in ``NAMES``, and where the package is missing.
    """
    if unknown := [name for name in names if name not in NAMES]:
        raise SettingsError(Option.BASELINES, f" names {unknown[0]!r}; there are {' and '.join(NAMES)}")
    if names:
        _package()
    return {NAMES[name]: Classical(NAMES[name], season) for name in names}


@dataclass(frozen=True, slots=True)
class Classical:
    """A model of package statsforecast, which chooses its form for each series."""

    name: Name
    season: int

    def fit(self, y_KT: Floats, horizon: int) -> Forecast:
        """Return the forecast function, for bars that begin with these."""
        bars, window = Bars.of(y_KT), max(min(SEASONS * self.season, MOST_BARS), FEWEST_SEASONS * self.season)
        begin_K = np.maximum(bars.begun_KT.argmax(axis=1), y_KT.shape[1] - window).tolist()
        new, models = self._new(), list[Any]()
        with stage(f"fitting {self.name}") as far:
            for k, begin in enumerate(begin_K):
                far(f"{k:,} of {len(y_KT):,} series")
                models.append(_found(new().fit, bars.filled_KT[k, begin:]) if bars.begun_KT[k, -1] else None)

        def forecast(y_KT: Floats, cutoffs_N: Integers) -> Floats:
            filled_KT = Bars.of(y_KT).filled_KT
            out_KNH = np.full((len(y_KT), len(cutoffs_N), horizon), np.nan)
            with stage(f"forecasting with {self.name}") as far:
                for n, cutoff in enumerate(cutoffs_N.tolist()):
                    far(f"bar {cutoff + 1:,} of {y_KT.shape[1]:,}")
                    for k, model in enumerate(models):
                        begin = begin_K[k] if self.name == "AutoETS" else max(begin_K[k], cutoff + 1 - window)
                        past = filled_KT[k, begin : cutoff + 1]
                        if model is not None and (found := _found(model.forward, past, horizon)):
                            out_KNH[k, n] = found["mean"]
            out_KNH[~np.isfinite(out_KNH)] = np.nan
            return out_KNH

        return forecast

    def _new(self) -> Callable[[], Any]:
        """Return what makes a model that is not fitted."""
        season = 1 if self.name == "AutoETS" and self.season > LONGEST_SEASON else self.season
        return partial(getattr(_package(), self.name), season_length=season)


def _package() -> Any:
    """Return the module of models; raises SettingsError where the package is missing."""
    try:
        with stage("loading statsforecast"), _without_warnings():
            from statsforecast import models
    except ModuleNotFoundError as error:
        raise SettingsError(
            Option.BASELINES,
            f" needs package {error.name}: pip install 'streamcast-forecasting[classical]'",
        ) from error
    return models


def _found(work: Callable[..., Any], *given: object) -> Any:
    """Return what the package finds; None where it cannot, for which it raises errors of many kinds."""
    with _without_warnings():
        try:
            return work(*given)
        except Exception:  # noqa: BLE001 one series must not end a backtest
            return None


@contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
