"""Whole tiles of rows: the form of the network's inputs that keeps a row's bytes independent of other rows.

Rows are independent of their neighbours only in multiples of 8, and only in memory with torch's own alignment: matrix
products of the same numbers at another alignment differ in the last bits.  Widths are multiples of 8 floats, so that
every second row of an aligned matrix is aligned too.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[np.generic]
Kept = TypeVar("Kept", bound=np.generic)
Ints = npt.NDArray[np.int64]

TILE = 8
ALIGNMENT = 64
"""Bytes."""


def whole_tiles(rows: int) -> int:
    """Round a number of rows up to whole tiles."""
    return -(-rows // TILE) * TILE


class Tiles:
    """Buffers for network inputs, by name; they grow, and the next call with the same name reuses them.

    The padding rows of the last tile hold arbitrary numbers.
    """

    def __init__(self) -> None:
        self._room: dict[str, npt.NDArray[Any]] = {}

    def gather(self, name: str, array: npt.NDArray[Kept], rows: Ints) -> npt.NDArray[Kept]:
        """Return R rows of an array, copied into whole tiles; [whole_tiles(R), ...]."""
        tiles = self._take(name, (whole_tiles(len(rows)), *array.shape[1:]), array.dtype)
        np.take(array, rows, 0, tiles[: len(rows)], mode="clip")  # "raise" would copy twice
        return tiles

    def waves(self, name: str, array: Array) -> torch.Tensor:
        """Return [T, R, ...] as [T, whole_tiles(R), ...], in place where it is in whole tiles already."""
        steps, rows = array.shape[:2]
        if rows % TILE == 0 and array.flags.c_contiguous and array.ctypes.data % ALIGNMENT == 0:
            return torch.from_numpy(array)
        tiles = self._take(name, (steps, whole_tiles(rows), *array.shape[2:]), array.dtype)
        tiles[:, :rows] = array
        return torch.from_numpy(tiles)

    def _take(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Kept]) -> npt.NDArray[Kept]:
        size = math.prod(shape)
        room = self._room.get(name)
        if room is None or len(room) < size or room.dtype != dtype:
            like = torch.from_numpy(np.empty(0, dtype)).dtype
            room = self._room[name] = torch.zeros(2 * size, dtype=like).numpy()  # torch aligns its memory
        part: npt.NDArray[Kept] = room[:size].reshape(shape)
        return part
