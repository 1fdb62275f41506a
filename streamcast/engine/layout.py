"""The layout of one series' state: named arrays, and which of their cells have been written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Field:
    """One array of the slab: the shape of its row and, if the row holds rings, their axis.

    ``rings`` are (size, scale): after n steps of its scale, a ring has min(n, size) written cells.  A row of
    ``scale`` s has no meaning before the first step of s.
    """

    shape: tuple[int, ...]
    dtype: type[np.generic]
    axis: int = 0
    rings: tuple[tuple[int, int], ...] = ()
    scale: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of one row."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    def blank(self, rows: npt.NDArray[Any], steps: npt.NDArray[np.int64]) -> None:
        """Zero the unwritten cells of N rows [N, …] whose scales have had ``steps`` [N, 1 + S]."""
        if self.scale is not None:
            rows[steps[:, self.scale] == 0] = 0
        start = 0
        for size, scale in self.rings:
            stale = np.arange(size) >= steps[:, scale, None]
            part = rows[:, start : start + size] if self.axis == 0 else rows[:, :, start : start + size]
            part[stale if self.axis == 0 else np.broadcast_to(stale[:, None], part.shape)] = 0
            start += size


@dataclass(frozen=True, slots=True)
class StateLayout:
    """The state of one series, as named arrays."""

    fields: Mapping[str, Field]

    @property
    def row_bytes(self) -> int:
        """Bytes of one series."""
        return sum(f.nbytes for f in self.fields.values())

    def arithmetic(self, most: int = 3) -> str:
        """Return the sizes of the largest arrays of one series, such as ``ring 2 × 4,096 × 8 B = 65,536 B``."""
        largest = sorted(self.fields.items(), key=lambda item: -item[1].nbytes)[:most]
        return ", ".join(
            f"{name} {' × '.join(f'{n:,}' for n in f.shape)} × {np.dtype(f.dtype).itemsize} B = {f.nbytes:,} B"
            for name, f in largest
        )
