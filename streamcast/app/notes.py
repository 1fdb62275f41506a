"""Notes on a new model's spec before it is trained: the same ones for `train`, `tune` and `Forecaster`."""

from __future__ import annotations

from collections.abc import Sequence

from streamcast.offline.defaults.notes import (
    beyond_notes,
    bound_notes,
    further_notes,
    long_notes,
    members_notes,
    naive_notes,
    rare_notes,
    season_notes,
    transform_notes,
    unread_notes,
)
from streamcast.offline.history.read import History
from streamcast.spec.model_spec import ModelSpec


def spec_notes(
    history: History, spec: ModelSpec, *, seasons_chosen: bool, members_chosen: bool, known: Sequence[str],
    holidays: str | None, transform_chosen: bool,
) -> tuple[str, ...]:  # fmt: skip
    """Return sentences about what was chosen for a spec from a history, and what was given and has no effect.

    Seasons, several networks and the target's scale are spoken of if they were chosen; ``known`` and ``holidays`` are
    as given.
    """
    return (
        *(season_notes(history, spec) if seasons_chosen else ()), *long_notes(history, spec), *naive_notes(spec),
        *further_notes(spec),
        *(members_notes(spec) if members_chosen else ()), *(transform_notes(spec) if transform_chosen else ()),
        *beyond_notes(history, spec), *bound_notes(history, spec), *rare_notes(history, spec),
        *unread_notes(spec, known, holidays),
    )  # fmt: skip
