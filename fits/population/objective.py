"""A problem over samples as a function to minimise: minus the log of the marginal likelihood, with its slopes.

`PopulationObjective` satisfies `fits.evaluation.Objective`, so searches, stores, profiles, samples and bands apply.
Parameters of the model are moved together with the point itself as further lanes of one batch; those of noise and
random effect need no simulation.  Slopes are central differences, and so is the curvature, which makes a search
converge in a dozen steps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fits.evaluation import Evaluation
from fits.population.marginal import GRID, Curves, Scatter
from fits.population.problem import PopulationProblem
from fits.population.surface import NODES, RTOL, Surface
from kinetics.errors import KineticsError

FloatArray = npt.NDArray[np.float64]
STEP = 0.01  # of model parameters, decades: the integrator's errors of 1e-6 stay far below the change
SMALL_STEP = 1e-3  # of the others, which nothing but rounding disturbs
METHOD = "population 1"


def model_hash(problem: PopulationProblem) -> str:
    """A hash of the model as simulated."""
    return digest([problem.model.sbml, dict(problem.model.values)])


def digest(thing: object) -> str:
    """A short hash of something that JSON or ``repr`` can say."""
    return hashlib.sha256(json.dumps(thing, default=repr, sort_keys=True).encode()).hexdigest()[:16]


class PopulationObjective:
    """The marginal likelihood of a problem over samples, ready to be evaluated."""

    def __init__(self, problem: PopulationProblem, *, nodes: int = NODES, grid: int = GRID, rtol: float = RTOL) -> None:
        self.problem, self._nodes, self._grid, self._rtol = problem, nodes, grid, rtol
        self.parameters = problem.parameters
        points = sorted({(well.drug, well.dose) for well in problem.wells})
        self.surface = Surface(problem, points, nodes)
        self.grid: FloatArray = np.linspace(self.surface.nodes[0], self.surface.nodes[-1], grid)
        self.curves = Curves.of(problem.wells, points)
        self._structural = len(problem.structural)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _rebuilt, (self.problem, self._nodes, self._grid, self._rtol)

    @property
    def names(self) -> tuple[str, ...]:
        return self.parameters.names

    @property
    def lower(self) -> FloatArray:
        return self.parameters.lower

    @property
    def upper(self) -> FloatArray:
        return self.parameters.upper

    @property
    def nominal(self) -> FloatArray:
        return self.parameters.nominal

    @property
    def least_squares(self) -> bool:
        return False

    @property
    def fingerprint(self) -> Mapping[str, str]:
        problem = self.problem
        return {
            "model": model_hash(problem),
            "data": digest([repr(well) for well in problem.wells]),
            "parameters": digest([repr(parameter) for parameter in problem.parameters.parameters]),
            "problem": digest([repr(problem.effect), dict(problem.species), problem.hours]),
            "method": digest([METHOD, self._nodes, self._grid, self._rtol]),
        }

    def sample_prior(self, rng: np.random.Generator) -> FloatArray | None:
        return None

    def surfaces(self, points: FloatArray) -> FloatArray:
        """Viability for search vectors ``(n_sets, n)``, shape ``(n_sets, n_points, n_grid)``.

        Raises:
            SimulationError: it cannot be simulated.
        """
        chosen = self.problem.structural
        sets = {
            parameter.id: np.array([parameter.scale.plain(float(value)) for value in points[:, i]])
            for i, parameter in enumerate(chosen)
        }
        if not sets:
            return np.repeat(self.surface.on(self.surface.at_nodes({}, self._rtol), self.grid), len(points), axis=0)
        return self.surface.on(self.surface.at_nodes(sets, self._rtol), self.grid)

    def scatter(self, x: FloatArray) -> Scatter:
        """Noise and random effect at a search vector."""
        return Scatter.of(self.parameters.plain(x))

    def by_sample(self, x: npt.ArrayLike) -> FloatArray:
        """Minus ln of the marginal likelihood of every sample, shape ``(n_samples,)``."""
        point = np.asarray(x, dtype=float)
        return -self.curves.marginal(self.surfaces(point[None])[0], self.scatter(point), self.grid)

    def evaluate(self, x: npt.ArrayLike, *, derivatives: bool = False) -> Evaluation:
        point = np.asarray(x, dtype=float)
        try:
            if not derivatives:
                return Evaluation(float(np.sum(self.by_sample(point))))
            value, slopes, matrix = self._differentiated(point)
        except KineticsError as error:
            return Evaluation(float("inf"), failure=str(error))
        return Evaluation(value, gradient=slopes, hessian=matrix, exact=False)

    def _differentiated(self, x: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Value, slopes ``(n,)`` and curvature ``(n, n)``, the latter made convex for a search.

        One batch has the surfaces at the point, at both sides of it along every model parameter, and beside it for
        every pair of them; everything else is arithmetic on these.
        """
        count, own = len(x), self._structural
        moves = np.array([STEP if i < own else SMALL_STEP for i in range(count)])
        # A step that would leave the bounds is taken the other way round by moving the centre of the differences.
        centre = np.clip(x, self.lower + moves, self.upper - moves)
        centre = np.where(np.abs(centre - x) > 0.0, centre, x)
        pairs = [(i, j) for i in range(own) for j in range(i)]
        points = [x, centre]
        points += [_moved(centre, i, centre[i] + sign * moves[i]) for i in range(own) for sign in (1.0, -1.0)]
        points += [_moved(_moved(centre, i, centre[i] + moves[i]), j, centre[j] + moves[j]) for i, j in pairs]
        surfaces = self.surfaces(np.array(points))

        def value(surface: int, *shifts: tuple[int, float]) -> float:
            point = np.array(centre)
            for index, sign in shifts:
                point[index] += sign * moves[index]
            return -float(np.sum(self.curves.marginal(surfaces[surface], self.scatter(point), self.grid)))

        middle = value(1)
        sides = np.array([
            [value(2 + 2 * i + k) if i < own else value(1, (i, sign)) for k, sign in enumerate((1.0, -1.0))]
            for i in range(count)
        ])  # fmt: skip
        slopes = (sides[:, 0] - sides[:, 1]) / (2.0 * moves)
        matrix = np.diag((sides[:, 0] - 2.0 * middle + sides[:, 1]) / moves**2)
        for i in range(count):
            for j in range(i):
                if i < own:
                    beside = value(2 + 2 * own + pairs.index((i, j)))
                elif j < own:
                    beside = value(2 + 2 * j, (i, 1.0))
                else:
                    beside = value(1, (i, 1.0), (j, 1.0))
                mixed = (beside - sides[i, 0] - sides[j, 0] + middle) / (moves[i] * moves[j])
                matrix[i, j] = matrix[j, i] = mixed
        slopes = slopes + matrix @ (x - centre)
        here = -float(np.sum(self.curves.marginal(surfaces[0], self.scatter(x), self.grid)))
        return here, slopes, _convex(matrix)

    def information(self, x: npt.ArrayLike) -> FloatArray:
        """The observed information, second differences of the value, shape ``(n, n)``.

        The surfaces of all pairs of model parameters run as one batch.  At a bound the differences are taken just
        inside of it.

        Raises:
            SimulationError: a point near the optimum cannot be simulated.
        """
        count, own = len(self.names), self._structural
        moves = np.array([2.0 * STEP if i < own else SMALL_STEP for i in range(count)])
        centre = np.clip(np.asarray(x, dtype=float), self.lower + moves, self.upper - moves)
        shifts: dict[tuple[int, ...], int] = {(0,) * own: 0}
        pairs = [(i, j, a, b) for i in range(count) for j in range(i, count) for a in (1, -1) for b in (1, -1)]

        def shift(i: int, j: int, a: int, b: int) -> FloatArray:
            found = np.zeros(count, dtype=int)
            found[i] += a
            found[j] += b
            return found

        for pair in pairs:
            shifts.setdefault(tuple(shift(*pair)[:own].tolist()), len(shifts))
        points = [np.concatenate([centre[:own] + np.array(key) * moves[:own], centre[own:]]) for key in shifts]
        surfaces = self.surfaces(np.array(points))
        values: dict[tuple[int, ...], float] = {}

        def value(pair: tuple[int, int, int, int]) -> float:
            moved = shift(*pair)
            key = tuple(moved.tolist())
            if key not in values:
                surface, scatter = surfaces[shifts[key[:own]]], self.scatter(centre + moved * moves)
                values[key] = -float(np.sum(self.curves.marginal(surface, scatter, self.grid)))
            return values[key]

        matrix = np.empty((count, count))
        for i in range(count):
            for j in range(i, count):
                four = [a * b * value((i, j, a, b)) for a in (1, -1) for b in (1, -1)]
                matrix[i, j] = matrix[j, i] = sum(four) / (4.0 * moves[i] * moves[j])
        return matrix


def _convex(matrix: FloatArray) -> FloatArray:
    """The same with every eigenvalue replaced by its size, so that a step along it goes downhill."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(np.abs(values), 1e-3)) @ vectors.T)


def _moved(x: FloatArray, index: int, value: float) -> FloatArray:
    found = np.array(x)
    found[index] = value
    return found


def _rebuilt(problem: PopulationProblem, nodes: int, grid: int, rtol: float) -> PopulationObjective:
    return PopulationObjective(problem, nodes=nodes, grid=grid, rtol=rtol)
