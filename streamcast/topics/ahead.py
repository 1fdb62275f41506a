"""The field ``ahead`` of a record: known inputs of the bars after its own.

Shapes: N records, I known inputs, H bars ahead.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from streamcast.spec.model_spec import ModelSpec, SeriesSpec

Floats = npt.NDArray[np.float64]


class Ahead(NamedTuple):
    """The known inputs that records may bring: their columns in the series spec, and how many bars ahead are used."""

    columns: tuple[int, ...] = ()
    horizon: int = 0


NOTHING_AHEAD = Ahead()


def ahead_of(specs: Iterable[ModelSpec]) -> Ahead:
    """Return the known inputs of any of these models, for the longest horizon of the models that have some."""
    knowing = [spec for spec in specs if spec.known_columns]
    columns = dict.fromkeys(column for spec in knowing for column in spec.known_columns)
    return Ahead(tuple(columns), max((spec.horizon for spec in knowing), default=0))


class AheadField:
    """Reads ``{"temp": [7.5, null, ..], ..}``: one list per known input, from the bar after the record's own.

    ``bounded`` and ``unbounded`` are the struct types that msgspec decodes it into, with ``number`` and with any
    float as the type of a number.  A shorter list, null or an absent name is not known; values after the last of H
    bars are checked and ignored.
    """

    def __init__(self, series: SeriesSpec, ahead: Ahead, number: Any) -> None:
        columns = [series.columns[place] for place in ahead.columns]
        self._names = [column.name for column in columns]
        self._codes = [
            None if column.categories is None else {name: float(i) for i, name in enumerate(column.categories)}
            for column in columns
        ]
        self._unknown, self._horizon = [math.nan] * ahead.horizon, ahead.horizon
        self.bounded, self.unbounded = self._struct(number), self._struct(float | None)

    def _struct(self, number: Any) -> Any:
        kinds = [list[number] if codes is None else list[str | None] for codes in self._codes]
        fields = [(f"a{i}", kind | None, None) for i, kind in enumerate(kinds)]
        names = {f"a{i}": name for i, name in enumerate(self._names)}
        return msgspec.defstruct("Ahead", fields, rename=names, forbid_unknown_fields=True, gc=False)

    def names(self, field: Any) -> list[str]:
        """Return the names in a decoded field that have a list."""
        lists = msgspec.structs.astuple(field)
        return [name for name, values in zip(self._names, lists, strict=True) if values is not None]

    def colons(self, field: Any) -> int:
        """Return how many colons the names need in JSON: that of ``ahead`` itself, and one for each list."""
        if field is None:
            return 0
        lists = msgspec.structs.astuple(field)
        return 1 + len(lists) - lists.count(None)

    def values(self, field: Any) -> Iterator[float | str | None]:
        """Yield all values of a decoded field."""
        return itertools.chain.from_iterable(values or () for values in msgspec.structs.astuple(field))

    def array(self, fields: Sequence[Any]) -> Floats | None:
        """Return the known inputs of N records [N, I, H]: NaN where not known, −1 for an unknown category.

        A record without the field is None among ``fields``; returns None when all are.
        """
        if fields.count(None) == len(fields):
            return None
        nothing = self._unknown * len(self._names)
        rows = [nothing if field is None else self._row(field) for field in fields]
        shape = len(fields), len(self._names), self._horizon
        try:
            values = np.fromiter(itertools.chain.from_iterable(rows), np.float64, math.prod(shape))
        except TypeError:  # a null
            values = np.array(rows, np.float64)
        return values.reshape(shape)

    def _row(self, field: Any) -> list[float | None]:
        row: list[float | None] = []
        for values, codes in zip(msgspec.structs.astuple(field), self._codes, strict=True):
            given = (values or [])[: self._horizon]
            row += given if codes is None else [None if name is None else codes.get(name, -1.0) for name in given]
            row += self._unknown[len(given) :]
        return row
