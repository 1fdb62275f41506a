"""The settings of the service: where it runs and which models it runs.

In reading order: ``fields.py`` (every setting, its default and its meaning), ``load.py`` (from file and environment to
``Settings``), ``reference.py`` (the template and the docs), ``whole.py`` (commands in messages, with the settings).
"""

from streamcast.app.settings.fields import Lane, Settings
from streamcast.app.settings.load import load_settings, require_valid, settings_in
from streamcast.app.settings.reference import write_docs, write_reference, write_schema, write_template
from streamcast.app.settings.whole import bootstrap, whole
from streamcast.errors import SettingsError

__all__ = [
    "Lane",
    "Settings",
    "SettingsError",
    "bootstrap",
    "load_settings",
    "require_valid",
    "settings_in",
    "whole",
    "write_docs",
    "write_reference",
    "write_schema",
    "write_template",
]
