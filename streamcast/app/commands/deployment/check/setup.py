"""What the checks read from this machine: the models of the lanes, and the store of snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamcast.app.commands.deployment.check.say import Say
from streamcast.app.commands.deployment.connect import load_lanes
from streamcast.app.settings import Settings
from streamcast.errors import ModelError, SettingsError
from streamcast.service.snapshots import Store
from streamcast.spec.folders import Model
from streamcast.wording import shown_url


@dataclass(frozen=True, slots=True)
class Setup:
    """Settings, with the models of their lanes and their store; what cannot be read is empty, and has its line."""

    settings: Settings
    lanes: Mapping[str, Model]
    store: Store | None


def loaded_lanes(settings: Settings, say: Say) -> Mapping[str, Model]:
    """Return the model of every lane, or none at all if one cannot be loaded, which is said."""
    try:
        return load_lanes(settings)
    except ModelError as error:
        say(False, f"models: {error}", "`streamcast model ls` lists models; models.folder names their folder")
        return {}


def opened_store(settings: Settings, say: Say) -> Store | None:
    """Return the store, None if nothing handles its URL; warn where it keeps no snapshot: serving goes on without."""
    url = settings.state.store
    try:
        store = Store(url, settings.state.retention)
    except SettingsError as error:  # names its remedy
        say(False, str(error))
        return None
    if trouble := store.trouble():
        say.warn(
            f"state.store is {shown_url(url)!r}, and no snapshot can be kept there: {trouble}; a restart replays all"
            " records",
            "correct state.store, or let this user write there",
        )
    return store
