"""Whole tiles of rows: in what form a network is given numbers, so that a row's bytes do not depend on the others.

Rows are independent of their neighbours only in multiples of 8, and only at memory aligned as torch's own is: matrix
products of the same numbers at another alignment have other last bits.  Widths are multiples of 8 floats, so that
every second row of an aligned matrix is aligned, too.
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
    """The least number of rows in whole tiles that holds so many."""
    return -(-rows // TILE) * TILE


class Tiles:
    """Room for what a network is given, by name; it grows, and is used again at the next call of the same name.

    The rows that fill the last tile up hold anything.
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
        taken: npt.NDArray[Kept] = room[:size].reshape(shape)
        return taken
