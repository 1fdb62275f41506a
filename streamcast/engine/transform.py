"""The scale of the target on which a model learns: values there, and back."""

from __future__ import annotations

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
        self.lower = -np.inf if spec.lower is None else float(self.there(np.array([spec.lower]))[0])
        """The lower bound of forecasts on this scale."""

    def there(self, values: Floats) -> Floats:
        """Return values of the series on this scale: the same array where there is no transform."""
        if self.kind == advance.LINEAR:
            return values
        moved = np.array(values, np.float64)
        advance.transform(moved.reshape(-1), self.kind, self.unit)
        return moved

    def back(self, values: Floats) -> Floats:
        """Return values of this scale as those of the series: the same array where there is no transform."""
        if self.kind == advance.LINEAR:
            return values
        moved = np.array(values, np.float64)
        advance.transform_back(moved.reshape(-1), self.kind, self.unit)
        return moved
