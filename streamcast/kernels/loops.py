"""How loops are compiled: without counting references.

numba counts the references of every array that a function is given, takes out of a tuple or cuts out of another array,
with one locked instruction at each begin and end.  In small functions that take dozens of arrays, these were a third of
the work (DECISIONS.md, 91).  A loop here only borrows its arrays: its caller in Python holds them until it returns.  So
it cannot make an array; memory that it needs is passed to it.

numba passes a tuple by value, which for two dozen arrays takes as long as a short loop.  So a short ``loop`` takes the
arrays that it reads.  An ``inlined`` part may take a whole tuple: its parameters are only names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Loop = TypeVar("Loop", bound=Callable[..., Any])

_COMPILED: Any = {"cache": True, "error_model": "numpy", "_nrt": False}


def loop(function: Loop) -> Loop:
    """Compile a loop that makes no array, or a part of one."""
    compiled: Loop = njit(**_COMPILED)(function)
    return compiled


def inlined(function: Loop) -> Loop:
    """Compile a part that becomes code of each loop that calls it."""
    compiled: Loop = njit(**_COMPILED, inline="always")(function)
    return compiled
