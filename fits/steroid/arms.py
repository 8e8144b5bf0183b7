"""Arms of experiments on T-ALL cells, in frozen data: which cells, which drugs.

Cells are equilibrated for 200 h without drug and without death, then the drugs are added at time 0.  What is read
from an arm is asked of a `Cells`, a function that answers for one parameter set or for a thousand at once, so that
the criteria of the claims are written once, whoever computes the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from kinetics.catalogue import find_ligand, find_model

FloatArray = npt.NDArray[np.float64]
MODEL = "gc_bim_tall"
EQUILIBRATION = 200.0  # h
LEAST_ALIVE = 0.01  # of the cells at the start: fewer are no reference


@dataclass(frozen=True, order=True)
class Arm:
    """One arm: ``background`` are parameters of the cells, ``drugs`` what is in the medium from time 0, in nM."""

    background: tuple[tuple[str, float], ...] = ()
    drugs: tuple[tuple[str, float], ...] = ()

    def given(self, **nM: float) -> Arm:
        """The same cells with further drugs, by the name of the species."""
        return replace(self, drugs=_merged(self.drugs, nM))

    def like(self, **values: float) -> Arm:
        """The same drugs on cells with other parameters."""
        return replace(self, background=_merged(self.background, values))

    @property
    def vehicle(self) -> Arm:
        """The same cells with vehicle: without drugs, but with the IL-7 that is part of the culture."""
        return replace(self, drugs=tuple(item for item in self.drugs if item[0] == "IL7"))


def _merged(items: tuple[tuple[str, float], ...], more: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted({**dict(items), **{name: float(value) for name, value in more.items()}}.items()))


def line(name: str) -> Arm:
    """Untreated cells of a line of the catalogue; ``"parental"`` is the model as given."""
    values = {} if name == "parental" else find_model(MODEL).variants[name].values
    return Arm().like(**values)


class Cells(Protocol):
    """What an arm shows: ``quantity`` is a symbol of the model, ``hours`` count from the addition of the drugs."""

    def __call__(self, arm: Arm, quantity: str, hours: float | Sequence[float]) -> FloatArray:
        """Shape ``(sets,)`` for one time, ``(sets, times)`` for several."""
        ...


def viability(cells: Cells, arm: Arm, hours: float = 72.0) -> FloatArray:
    """Live cells over those of the vehicle arm of the same background."""
    return surviving(cells, arm, arm.vehicle, hours)


def surviving(cells: Cells, arm: Arm, reference: Arm, hours: float = 72.0) -> FloatArray:
    """Live cells over those of another arm; NaN where that is nearly dead: a ratio of remainders says nothing."""
    alive = cells(reference, "live", hours)
    return cells(arm, "live", hours) / np.where(alive >= LEAST_ALIVE, alive, np.nan)


def il7(ng_per_ml: float) -> float:
    """IL-7 in nM."""
    return ng_per_ml / find_ligand("IL-7").molar_mass * 1000.0
