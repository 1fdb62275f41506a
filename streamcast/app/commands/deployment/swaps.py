"""A lane that answers with another model than before: which one that was, and what consumers will see of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from streamcast.errors import ModelError
from streamcast.spec.folders import Model, load_model, versions_by_digest
from streamcast.spec.model_spec import ModelSpec
from streamcast.topics.forecasts import shortened
from streamcast.wording import counted

log = logging.getLogger("streamcast")


class Swaps:
    """Warns once of each model that takes another one's place in a lane."""

    def __init__(self, models: Mapping[str, Model], folder: Path) -> None:
        self._models, self._folder = models, folder
        self._told: set[tuple[str, str]] = set()

    def __call__(self, lane: str, former: str) -> None:
        """Warn that the lane's model answers from here on, where one of the digest ``former`` did so far."""
        if (lane, former) in self._told:
            return
        self._told.add((lane, former))
        owners: Sequence[str] = ()
        with suppress(ModelError, OSError):  # a folder that cannot be read now must not end the stream
            owners = versions_by_digest(self._folder).get(former, ())
        model = self._models[lane]
        log.warning(
            "lane %s: %s@%s answers from here on; so far %s (digest %s) did%s",
            lane, model.name, model.version, known_as(owners, self._folder), shortened(former),
            f". {changed}" if (changed := other_form(self._folder, owners, model.spec)) else "",
        )  # fmt: skip


def known_as(owners: Sequence[str], folder: Path) -> str:
    """Return the versions that are one model in words."""
    return " and ".join(owners) or f"a model of which no version is in {folder}"


def other_form(folder: Path, owners: Sequence[str], spec: ModelSpec) -> str:
    """Return a sentence on the steps or quantiles that consumers see change; ``owners`` are the former, one model."""
    if not owners:
        return ""
    try:
        former = load_model(folder, owners[0]).spec
    except (ModelError, OSError):
        return ""
    changed = []
    if former.horizon != spec.horizon:
        changed.append(f"{counted(spec.horizon, 'step')} instead of {former.horizon}")
    if former.quantiles != spec.quantiles:
        now, then = (", ".join(map(str, each.quantiles)) for each in (spec, former))
        changed.append(f"the quantiles {now} instead of {then}")
    return f"Its forecasts have {' and '.join(changed)}" if changed else ""
