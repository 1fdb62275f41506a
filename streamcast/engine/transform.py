"""The scale of the target on which a model learns: values there, and back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from streamcast.kernels import advance
from streamcast.spec.model_spec import ModelSpec

Floats = npt.NDArray[np.float64]

KINDS = {"sqrt": advance.SQRT, "log": advance.LOG}


class TargetScale:
    """The transform of a spec, which the window kernel applies to every target; does nothing where there is none."""

    def __init__(self, spec: ModelSpec) -> None:
        self.kind, self.unit = advance.LINEAR, 1.0
        if spec.transform is not None:
            self.kind, self.unit = KINDS[spec.transform.kind], spec.transform.unit
        self._bounds = (-np.inf if spec.lower is None else spec.lower, np.inf if spec.upper is None else spec.upper)
        self.lower, self.upper = self.forward(np.array(self._bounds)).tolist()
        """The bounds of forecasts on this scale, infinite where there is none."""

    def forward(self, values: Floats) -> Floats:
        """Return values of the series on this scale: the same array where there is no transform."""
        return self._moved(advance.transform, values)

    def inverse(self, values: Floats, known: Floats) -> Floats:
        """Return values of this scale [N, ...] as those of the series: the same array where there is no transform.

        A value that equals ``known`` [N] on this scale is exactly that, without the rounding of the way back.
        """
        found = self._moved(advance.transform_back, values)
        if found is not values:
            shape = (-1, *(1 for _ in values.shape[1:]))
            np.copyto(found, known.reshape(shape), where=values == self.forward(known).reshape(shape))
        return found

    def forecasts(self, values: Floats, newest: Floats) -> Floats:
        """Return forecasts of this scale [A, H, Q] as those of the series, within the bounds.

        ``newest`` [A] are the values of their cutoffs: a constant is forecast as it is.
        """
        found = self.inverse(values, newest)
        lower, upper = self._bounds
        return found if found is values else np.minimum(np.maximum(found, lower), upper)

    def _moved(self, move: Callable[[Floats, int, float], None], values: Floats) -> Floats:
        if self.kind == advance.LINEAR:
            return values
        moved = np.array(values, np.float64, order="C")
        move(moved.reshape(-1), self.kind, self.unit)
        return moved
