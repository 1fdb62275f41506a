"""A model without a network: its experts and their weights learn online, record by record, so nothing is trained.

A spec whose network is ``{"kind": "none"}`` has no weights.  Users write ``zero`` for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamcast.errors import ModelError
from streamcast.spec.model_spec import (
    NEW_ONLINE,
    NO_NETWORK,
    Known,
    ModelSpec,
    Online,
    SeriesSpec,
    TargetBars,
    Transform,
)

NAME = "zero"
"""What users write for such a model, where they would write ``gru`` for another."""
KIND = NO_NETWORK
"""The kind of its network in the spec."""
AS_NETWORK = (NAME, {"kind": KIND})
"""The two ways to ask for such a model where a network is asked for."""
WARM_SEASONS = 2
"""Shortest seasons before a forecast is marked warm: the regressions start after the first."""
WARM_BARS = 24
"""The same, in bars, of a series without a season."""


def zero_spec(
    series: SeriesSpec,
    horizon: int,
    season: Sequence[int] = (1,),
    *,
    further: Sequence[int] = (),
    naive: int | None = None,
    quantiles: Sequence[float] = (0.1, 0.5, 0.9),
    scored: Sequence[int] = (),
    lower: float | None = None,
    upper: float | None = None,
    transform: Transform | None = None,
    online: Online = NEW_ONLINE,
    known: Sequence[Known] = (),
) -> ModelSpec:
    """Return the spec of a model without a network.

    ``season`` are lengths in bars; (1,) is a series without a season.  ``further`` are more of them, which baselines do
    not repeat; ``naive`` is the baseline's (None: the first one).  It reads no lags, no scales and no calendar, because
    only a network would.  Of ``known`` inputs, the effect of numbers is learned, and the others are not read.
    Raises pydantic's ValidationError for a wrong value.
    """
    shortest = min((*season, *further), default=1)
    numbers = tuple(each for each in known if online.known_effect and series.kinds.get(each.name) is None)
    return ModelSpec(
        series=series,
        horizon=horizon,
        quantiles=tuple(quantiles),
        lags=0,
        season=tuple(season),
        further=tuple(further),
        naive=naive,
        calendar=(),
        warm_up=WARM_SEASONS * shortest if shortest > 1 else WARM_BARS,
        scored=tuple(scored),
        lower=lower,
        upper=upper,
        transform=transform,
        network={"kind": KIND},
        targets=TargetBars(back=(1,) * len((*season, *further)), week=False, known=numbers) if numbers else None,
        online=online,
    )


def challenger_of(spec: ModelSpec) -> ModelSpec:
    """Return the spec of a model without a network for the same records and the same forecasts as another's."""
    known = spec.targets.known if spec.targets else ()
    return zero_spec(
        spec.series, spec.horizon, spec.season, further=spec.further, naive=spec.naive, quantiles=spec.quantiles,
        scored=spec.scored, lower=spec.lower, upper=spec.upper, transform=spec.transform, known=known,
    )  # fmt: skip


def has_no_network(spec: ModelSpec) -> bool:
    """Return whether a spec says that there is no network; raises ModelError if nothing else could forecast either."""
    if spec.network.get("kind") != KIND:
        return False
    if spec.online is None:
        raise ModelError(
            'network {"kind": "none"} without the online layer has nothing that forecasts:'
            " set online to {}, or name a network (`streamcast model zoo` lists them)"
        )
    return True
