"""Every error that streamcast raises on purpose, with the exit code of a command that ends with it.

    StreamcastError          1   the service cannot continue
    ├── ServiceError         1   the state of topics or journal does not allow it
    ├── SettingsError        2   a setting is wrong
    ├── ModelError           2   a model folder is wrong, or the model does not fit
    ├── HistoryError         2   a file or data frame cannot be read as a history
    ├── OptionError          2   an option does not fit, within a check of pydantic
    └── SnapshotError        1   a snapshot cannot be used
        └── StoreError       1   the store of snapshots failed

The two wings raise their own, ``streamcast.models.spec.SpecError`` (2) and
``streamcast.consumers.transport.TransportError`` (3), which carry ``exit_code`` in the same way.  In a notebook,
what a command prints as a warning is a ``HistoryWarning`` or a ``TrainingWarning``.

The arguments of an error are the parts of its message.  An option is a part of its own, because each front door has
its own name for it: ``HistoryError(Option.FREQ, " is missing")`` is ``freq is missing`` in Python, and the command line
prints ``--freq is missing``.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar, Self


class Option(Enum):
    """An option that a message names; the value is its name in Python.

    Those above the first line are parameters of ``Forecaster`` and ``Forecaster.fit``, those below it are fields of the
    training ``Options``, and the last ones are parameters of the functions ``fit`` and ``backtest``.
    ``streamcast.app.options.flags.flag`` is the name on the command line.
    """

    ID_COL = "id_col"
    TIME_COL = "time_col"
    TARGET_COL = "target_col"
    COLUMNS = "df"  # a frame has the columns that are to be read, and no others
    FREQ = "freq"
    TIMEZONE = "timezone"
    TIME_FORMAT = "time_format"
    HORIZON = "horizon"
    QUANTILES = "quantiles"
    SEASON = "season"
    LAGS = "lags"
    SCALES = "scales"
    TICKS = "ticks"
    GRACE = "grace"
    AGGREGATES = "aggregates"
    KNOWN = "known"
    HOLIDAYS = "holidays"
    LOWER = "lower"
    UPPER = "upper"
    TRANSFORM = "transform"
    ONLINE = "online"
    PLAIN = "plain"
    MEMBERS = "members"
    # ---
    EPOCHS = "epochs"
    UPDATES = "updates"
    PATIENCE = "patience"
    MAX_SECONDS = "max_seconds"
    VALIDATION = "validation"
    ROWS = "rows"
    CHUNK = "chunk"
    BURN_IN = "burn_in"
    POSITIONS = "positions"
    LEARNING_RATE = "learning_rate"
    REFIT = "refit"
    AVERAGE = "average"
    HIGHWAY_RATE = "highway_rate"
    DECAY = "decay"
    DECAY_EVERY = "decay_every"
    WEIGHT_DECAY = "weight_decay"
    CLIP = "clip"
    ACCUMULATE = "accumulate"
    CELL_PENALTY = "cell_penalty"
    PONDER_COST = "ponder_cost"
    IMITATE = "imitate"
    LAYER_EPOCHS = "layer_epochs"
    PRECISION = "precision"
    DEVICE = "device"
    SEED = "seed"
    # ---
    INITIAL = "initial"
    TEACHER = "teacher"
    TEST_FROM = "from_ms"
    BASELINES = "baselines"

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, form: str) -> str:
        """Refuse to become a piece of an f-string, where the command line could not find it any more."""
        raise TypeError(f"{self!r} in an f-string: make it a part of its own, as in Error({self!r}, ' is missing')")


class Message(str):
    """A sentence of several parts, as an error has them: in Python a text, for the command line its parts."""

    __slots__ = ("parts",)
    parts: tuple[str | Option, ...]

    def __new__(cls, *parts: str | Option) -> Self:
        """Join the parts in Python's words."""
        message = super().__new__(cls, "".join(map(str, parts)))
        message.parts = parts
        return message


class HistoryWarning(UserWarning):
    """Rows of a frame were dropped, merged or read as something else, or lie below a bound; or a window is missing."""


class TrainingWarning(UserWarning):
    """A model was trained so shortly that its forecasts may be poor, or is tested on what it was trained on."""


class StreamcastError(Exception):
    """Base of the errors below; the message names the thing, the value, what was expected and the remedy."""

    exit_code: ClassVar[int] = 1

    def __init__(self, *parts: str | Option) -> None:
        super().__init__(*parts)

    def __str__(self) -> str:
        return "".join(map(str, self.args))


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


class OptionError(StreamcastError, ValueError):
    """A value does not fit; pydantic collects it, as any ValueError, with the others of its kind."""

    exit_code = 2
