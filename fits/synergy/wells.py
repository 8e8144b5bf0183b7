"""A dose matrix of two drugs as wells: what was given to each and what it answered, replicates and all."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kinetics.dosing import DoseMatrix
from kinetics.errors import InputError, UnitError
from kinetics.units import quantity

if TYPE_CHECKING:
    import pandas as pd

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# A response that lies this far outside of "between untreated and full effect" was meant the other way round.
FARTHEST = 1.5


@dataclass(frozen=True, eq=False)
class Combination:
    """Wells of two drugs, each alone and both together.

    ``full_effect`` is the response when nothing is left: 0 for a viability, 1 or 100 for a share of dead cells.  With
    it a response becomes the *unaffected fraction*, 1 in untreated wells and 0 at full effect, whichever way it runs.
    """

    drugs: tuple[str, str]
    units: tuple[str, str]
    dose1: FloatArray  # (n_wells,), units[0]
    dose2: FloatArray  # (n_wells,), units[1]
    response: FloatArray  # (n_wells,), response_unit
    response_name: str = "response"
    response_unit: str = ""
    full_effect: float = 0.0  # response_unit
    exact: bool = False  # simulated, so without replicate noise
    sample: str = ""
    notes: tuple[str, ...] = ()  # what a reader of the table had to decide

    def __post_init__(self) -> None:
        shapes = {self.dose1.shape, self.dose2.shape, self.response.shape}
        if len(shapes) != 1 or self.dose1.ndim != 1 or not self.dose1.size:
            raise InputError(f"a combination needs columns of one length, got shapes {sorted(shapes)}")
        for drug, unit, doses in zip(self.drugs, self.units, (self.dose1, self.dose2), strict=True):
            quantity(f"1 {unit}", f"unit of the doses of {drug}")
            bad = doses[~(np.isfinite(doses) & (doses >= 0.0))]
            if bad.size:
                raise InputError(f"a dose of {drug} must be finite and not negative, got {bad[0]:g}")
        if not np.all(np.isfinite(self.response)):
            raise InputError("responses must be finite; leave out wells without one")
        if not math.isfinite(self.full_effect):
            raise InputError(f"full_effect must be a finite response, got {self.full_effect}")
        self._check_margins()
        if float(np.ptp(self.response)) <= 1e-12 * float(np.max(np.abs(self.response))):
            raise InputError(
                f"all {self.response.size} responses are {self.response[0]:g}: nothing was affected, so there is no "
                "synergy to look for"
            )
        self._check_direction()

    def _check_margins(self) -> None:
        one, two = self.drugs
        same = f"; both drugs are called {one} here, {two} is the second: name it otherwise if it is another"
        same = same if two == f"{one}'" else ""
        for drug, own, other in (
            (self.drugs[0], self.dose1, self.dose2),
            (self.drugs[1], self.dose2, self.dose1),
        ):
            if not np.any(own > 0.0):
                raise InputError(f"no well has {drug}: expected doses above 0, alone and in combination")
            if not np.any((own > 0.0) & (other == 0.0)):
                raise InputError(
                    f"no well has {drug} alone: every reference of no interaction needs each drug by itself "
                    f"(wells with the other dose 0){same}"
                )
        if not np.any((self.dose1 > 0.0) & (self.dose2 > 0.0)):
            raise InputError(f"no well has both {self.drugs[0]} and {self.drugs[1]}")

    def _check_direction(self) -> None:
        span = self.untreated - self.full_effect
        if span == 0.0 or abs(span) <= 1e-9 * max(abs(self.untreated), abs(self.full_effect)):
            raise InputError(
                f"untreated wells answer {self.untreated:g}, which is also the response at full effect: "
                "pass full_effect, for example full_effect=1 for a share of dead cells, 100 for per cent inhibition"
            )
        middle = float(np.median(self.unaffected[(self.dose1 > 0.0) & (self.dose2 > 0.0)]))
        if not 1.0 - FARTHEST <= middle <= FARTHEST:
            raise InputError(
                f"the drugs move the response from {self.untreated:g} away from {self.full_effect:g}, which is taken "
                "for the full effect: pass full_effect, the response when nothing is left (1 for a share of dead "
                "cells, 100 for per cent inhibition)"
            )

    # --- how it is laid out -----------------------------------------------------------------------------------

    @functools.cached_property
    def first(self) -> FloatArray:
        """Doses of the first drug, ascending, 0 included; shape ``(n_first,)``."""
        return np.union1d(self.dose1, [0.0])

    @functools.cached_property
    def second(self) -> FloatArray:
        """Doses of the second drug, ascending, 0 included; shape ``(n_second,)``."""
        return np.union1d(self.dose2, [0.0])

    @functools.cached_property
    def cell(self) -> tuple[IntArray, IntArray]:
        """Where each well stands in the matrix of doses."""
        return np.searchsorted(self.first, self.dose1), np.searchsorted(self.second, self.dose2)

    @functools.cached_property
    def counts(self) -> IntArray:
        """Wells per cell, shape ``(n_first, n_second)``."""
        found = np.zeros((len(self.first), len(self.second)), dtype=np.int64)
        np.add.at(found, self.cell, 1)
        return found

    @property
    def untreated(self) -> float:
        """Mean response without drugs; where no such well is, that of the wells with least drug."""
        level = self.dose1 / np.max(self.dose1) + self.dose2 / np.max(self.dose2)
        return float(np.mean(self.response[level == np.min(level)]))

    @property
    def unaffected(self) -> FloatArray:
        """Responses as unaffected fraction against `untreated`, shape ``(n_wells,)``."""
        return (self.response - self.full_effect) / (self.untreated - self.full_effect)

    def cell_means(self, values: FloatArray) -> FloatArray:
        """Means over the wells of each cell; ``(..., n_wells)`` to ``(..., n_first, n_second)``, NaN in holes."""
        i, j = self.cell
        member = np.zeros((values.shape[-1], self.counts.size))  # which well is in which cell
        member[np.arange(values.shape[-1]), i * self.counts.shape[1] + j] = 1.0
        total = (values @ member).reshape(*values.shape[:-1], *self.counts.shape)
        with np.errstate(invalid="ignore"):
            return np.asarray(total / np.where(self.counts > 0, self.counts, np.nan))

    def matrix(self) -> DoseMatrix:
        """The means as a dose matrix; NaN where nothing was measured."""
        means = self.cell_means(self.response)
        return DoseMatrix(
            self.first, self.second, means, *self.units, self.response_unit, self.drugs, self.response_name
        )

    @property
    def holes(self) -> int:
        """Pairs of doses above 0 that nobody measured."""
        return int(np.sum(self.counts[1:, 1:] == 0))

    def swapped(self) -> Combination:
        """The same wells with the drugs in the other order."""
        return replace(
            self, drugs=self.drugs[::-1], units=self.units[::-1], dose1=self.dose2, dose2=self.dose1
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """Tidy: a row per well, a unit beside every dose."""
        import pandas as pd

        return pd.DataFrame(
            {
                "sample": self.sample, "drug1": self.drugs[0], "dose1": self.dose1, "unit1": self.units[0],
                "drug2": self.drugs[1], "dose2": self.dose2, "unit2": self.units[1],
                "readout": self.response_name, "response": self.response, "response_unit": self.response_unit,
            }
        )  # fmt: skip


def from_matrix(matrix: DoseMatrix, *, full_effect: float = 0.0) -> Combination:
    """A simulated dose matrix as wells, one per cell; NaN cells are left out.

    Raises:
        InputError: a single-agent margin is missing, or nothing changes.
    """
    one, two = np.meshgrid(matrix.first, matrix.second, indexing="ij")
    known = np.isfinite(matrix.responses)
    return Combination(
        matrix.targets, (matrix.first_unit, matrix.second_unit), one[known], two[known], matrix.responses[known],
        matrix.readout, matrix.response_unit, full_effect, exact=True,
    )  # fmt: skip


def from_columns(
    drugs: tuple[str, str],
    dose_unit: str | tuple[str, str],
    dose1: Sequence[float],
    dose2: Sequence[float],
    response: Sequence[float],
    **more: Any,
) -> Combination:
    """Wells from three columns of numbers; ``dose_unit`` for both drugs or one each.

    Raises:
        UnitError: a unit is missing; write ``"dimensionless"`` for a number without one.
        InputError: the wells have no meaning as a combination.
    """
    units = (dose_unit, dose_unit) if isinstance(dose_unit, str) else dose_unit
    for drug, unit in zip(drugs, units, strict=True):
        if not unit:
            raise UnitError(f"the doses of {drug} have no unit: expected for example 'nM', or 'dimensionless'")
    clean = tuple("" if unit in ("1", "dimensionless") else unit for unit in units)
    columns = [np.asarray(column, dtype=float) for column in (dose1, dose2, response)]
    return Combination(drugs, (clean[0], clean[1]), columns[0], columns[1], columns[2], **more)
