"""Viability over doses and the random effect, for many parameter sets in one batch.

The model is simulated at a few values of the random effect, evenly spaced in its logarithm, and a cubic spline through
them gives all values that a marginal likelihood needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fits.population.problem import PopulationProblem
from fits.steroid.arms import Arm, Cells
from fits.steroid.many import Plan, requests
from kinetics.batch import Batch
from kinetics.equations import read_equations
from kinetics.errors import SimulationError

FloatArray = npt.NDArray[np.float64]
LEAST_ALIVE = 0.5  # of the vehicle's cells
NODES = 33  # values of the random effect that are simulated
RTOL = 3e-4  # viabilities then agree with those at 1e-6 to within 2e-5
Point = tuple[str, float]  # drug, nM


@lru_cache(maxsize=4)
def _batch(sbml: str) -> Batch:
    """Deriving the equations of a model takes half a second; the models of one session are few."""
    return Batch(read_equations(sbml))


class Surface:
    """Viability at doses of drugs, by the natural logarithm of the random effect.

    Args:
        problem: which model, drugs, random effect and time.
        points: drugs and doses in nM.
        nodes: how many values of the random effect are simulated, from its lower to its upper end.

    Attributes:
        points: as given.
        nodes: ln of the simulated factors, ``(n_nodes,)``.
    """

    def __init__(self, problem: PopulationProblem, points: Sequence[Point], nodes: int = NODES) -> None:
        self.points = tuple(points)
        effect = problem.effect
        self.nodes: FloatArray = np.linspace(np.log(effect.lower), np.log(effect.upper), nodes)
        self._quantity, self._hours = effect.quantity, problem.hours
        self._arms = [Arm(drugs=((problem.species[drug], float(dose)),)) for drug, dose in self.points]
        self._plan = Plan(_batch(problem.model.sbml), requests(*[self._asking(arm) for arm in self._arms]))
        self._values = dict(problem.model.values)
        self._typical = self._values.get(effect.quantity, float(problem.model.entity(effect.quantity).value or 0.0))

    def _asking(self, arm: Arm) -> Callable[[Cells], object]:
        return lambda cells: self._viability(cells, arm)

    def _viability(self, cells: Cells, arm: Arm) -> FloatArray:
        """Live cells over those of the vehicle.

        A sample of which the vehicle kills more than half cannot be screened.  Without the floor, samples of dying
        cells would look resistant, for want of cells that the drug could kill.
        """
        vehicle = cells(arm.vehicle, "live", self._hours)
        return np.asarray(cells(arm, "live", self._hours) / np.maximum(vehicle, LEAST_ALIVE), dtype=float)

    def at_nodes(self, sets: Mapping[str, FloatArray], rtol: float = RTOL) -> FloatArray:
        """Viability for parameter sets, shape ``(n_sets, n_points, n_nodes)``.

        Args:
            sets: values of model parameters by name, each of shape ``(n_sets,)``.

        Raises:
            SimulationError: a lane could not be integrated.
        """
        count = len(next(iter(sets.values()))) if sets else 1
        given = {**{name: np.full(count, value) for name, value in self._values.items()}, **sets}
        lanes = {name: np.repeat(np.asarray(values, dtype=float), len(self.nodes)) for name, values in given.items()}
        lanes[self._quantity] = np.tile(self._typical * np.exp(self.nodes), count)
        with np.errstate(all="ignore"):
            answers = self._plan.run(lanes, rtol=rtol)
            rows = np.array([self._viability(answers, arm) for arm in self._arms])
        if not np.all(np.isfinite(rows)):
            failed = int(np.sum(~np.isfinite(rows)))
            raise SimulationError(f"{failed} of {rows.size} viabilities could not be simulated")
        return np.asarray(rows.reshape(len(self._arms), count, len(self.nodes)).transpose(1, 0, 2))

    def on(self, at_nodes: FloatArray, grid: FloatArray) -> FloatArray:
        """Between the nodes: ``(..., n_points, n_nodes)`` to ``(..., n_points, n_grid)``; never below 0."""
        from scipy.interpolate import CubicSpline

        spline: Any = CubicSpline(self.nodes, at_nodes, axis=-1)
        return np.asarray(np.maximum(spline(grid), 0.0), dtype=float)
