"""What a simulation returns: values by name, over time, with how they were computed."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from kinetics.engine import Solver
from kinetics.errors import UnknownName

if TYPE_CHECKING:
    import xarray

FloatArray = npt.NDArray[np.float64]


class Status(enum.Enum):
    """How a simulation ended; each member is a sentence."""

    COMPLETED = "The integration reached the last time."
    STEADY = "The integration reached the last time; an infinite time was taken as the steady state."


@dataclass(frozen=True)
class TimeCourse:
    """Observables over time; ``course["pSTAT5"]`` is one of them."""

    times: FloatArray  # (n_times,), in time_unit
    values: FloatArray  # (n_times, n_observables)
    observables: tuple[str, ...]
    units: tuple[str, ...]  # one per observable; "" where dimensionless or not declared
    time_unit: str
    model: str
    experiment: str
    solver: Solver
    status: Status = Status.COMPLETED

    def __getitem__(self, observable: str) -> FloatArray:
        """Values of one observable, shape ``(n_times,)``."""
        if observable not in self.observables:
            raise UnknownName("observable", observable, self.observables, "this time course")
        return self.values[:, self.observables.index(observable)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.observables)

    def to_frame(self, *, wide: bool = False) -> pd.DataFrame:
        """Tidy: a row per observable and time with its unit; ``wide``: a row per time, a column per observable."""
        if wide:
            frame = pd.DataFrame(self.values, columns=list(self.observables))
            frame.insert(0, "time", self.times)
            return frame
        count = len(self.observables)
        return pd.DataFrame(
            {
                "model": self.model,
                "experiment": self.experiment,
                "observable": np.repeat(list(self.observables), len(self.times)),
                "time": np.tile(self.times, count),
                "time_unit": self.time_unit,
                "value": self.values.T.ravel(),
                "unit": np.repeat(list(self.units), len(self.times)),
            }
        )

    def to_xarray(self) -> xarray.Dataset:
        """A dataset over the coordinate ``time``; units are attributes."""
        import xarray as xr

        return xr.Dataset(
            {
                name: ("time", self.values[:, index], {"units": self.units[index]})
                for index, name in enumerate(self.observables)
            },
            coords={"time": ("time", self.times, {"units": self.time_unit})},
            attrs={"model": self.model, "experiment": self.experiment},
        )
