"""Every error that streamcast raises on purpose, with the exit code of a command that ends with it.

    StreamcastError          1   the service cannot continue
    ├── ServiceError         1   the state of topics or journal does not allow it
    ├── SettingsError        2   a setting is wrong
    ├── ModelError           2   a model folder is wrong, or the model does not fit
    ├── HistoryError         2   a file or data frame cannot be read as a history
    └── SnapshotError        1   a snapshot cannot be used
        └── StoreError       1   the store of snapshots failed

The two wings raise their own, ``streamcast.models.spec.SpecError`` (2) and
``streamcast.consumers.transport.TransportError`` (3), which carry ``exit_code`` in the same way.  In a notebook,
what a command prints as a warning is a ``HistoryWarning`` or a ``TrainingWarning``.
"""

from __future__ import annotations

from typing import ClassVar


class HistoryWarning(UserWarning):
    """Rows of a data frame were dropped, merged or read as something else, or a window is missing."""


class TrainingWarning(UserWarning):
    """A model was trained so shortly that its forecasts may be poor and its intervals wrong."""


class StreamcastError(Exception):
    """Base of the errors below; the message names the thing, the value, what was expected and the remedy."""

    exit_code: ClassVar[int] = 1


class ServiceError(StreamcastError):
    """The service cannot continue in the present state of its topics."""


class SnapshotError(StreamcastError):
    """A snapshot cannot be used: damaged, or of another topic, model or version."""


class StoreError(SnapshotError):
    """The store of snapshots failed: it is away, too slow, or refuses."""


class SettingsError(StreamcastError):
    """A setting is missing, unknown or of the wrong kind."""

    exit_code = 2


class ModelError(StreamcastError):
    """A model folder cannot be loaded, or its model does not fit the task."""

    exit_code = 2


class HistoryError(StreamcastError):
    """A file or data frame cannot be read as a history."""

    exit_code = 2
