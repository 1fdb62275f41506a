"""Lanes whose forecasts consumers chose so far, and that publish no more: what the log and ``streamcast check`` say."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from streamcast.models.spec import nearest
from streamcast.topics.journal import Journal


def unpublished(journal: Journal, lanes: Collection[str], shadows: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield a sentence, and what to do, for each lane that published so far and is a shadow or none of ``lanes`` now.

    Where an older journal does not say which lanes were shadows, ``shadows`` were.
    """
    silent = shadows if journal.shadows is None else journal.shadows
    published = [lane for lane in journal.models if lane not in silent]
    new = [lane for lane in lanes if lane not in journal.models and lane not in shadows]
    for lane in published:
        said = f"lane {lane} answered so far and is %s: consumers that choose it get nothing more"
        remedy = "nothing, if no consumer chooses it; else %s"
        if lane not in lanes:
            near = nearest(lane, new)
            hints = [f"; lane {each} is new" + (f", did you mean {lane}?" if each == near else "") for each in new]
            yield said % "not in these settings" + "".join(hints), remedy % f"name a lane {lane} in models.lanes"
        elif lane in shadows:
            yield said % "a shadow now", remedy % f"set models.lanes.{lane}.shadow: false"
