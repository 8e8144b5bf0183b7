"""Sensitivities along a known trajectory: the variational equations ``S' = J(t) S + B(t)`` are linear.

Once the engine has the states, all columns of ``S`` follow from linear algebra on a mesh of their own: the
three-stage Radau IIA method (order 5, L-stable; Hairer and Wanner, Solving Ordinary Differential Equations II,
section IV.5) in one factorisation per step for all columns.  Nothing is compiled, and the cost hardly depends
on the number of columns, where a model that carries its sensitivities pays for each.

The mesh adapts to two quantities whose exact course is known: the states themselves, and ``t f(x(t))``, which
is the sensitivity to the speed of everything (``x(t)`` at speed ``v`` is ``x(v t)``) and obeys the same equations
as all other sensitivities.  What the method gets wrong there stands for what it gets wrong elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kinetics.codegen import compile_numpy
from kinetics.differentiation import gradient
from kinetics.equations import Equations
from kinetics.errors import InputError, IntegrationFailed
from kinetics.expression import TIME_NAME, FloatArray
from kinetics.reach import Changes, needed_states, reaches
from kinetics.slopes import Slopes

Trajectory = Callable[[FloatArray], FloatArray]  # times (n,) from the start on -> states (n, n_states)

_S6 = np.sqrt(6.0)
_NODES = np.array([(4.0 - _S6) / 10.0, (4.0 + _S6) / 10.0, 1.0])  # (3,)
_WEIGHTS = np.array(
    [
        [(88.0 - 7.0 * _S6) / 360.0, (296.0 - 169.0 * _S6) / 1800.0, (-2.0 + 3.0 * _S6) / 225.0],
        [(296.0 + 169.0 * _S6) / 1800.0, (88.0 + 7.0 * _S6) / 360.0, (-2.0 - 3.0 * _S6) / 225.0],
        [(16.0 - _S6) / 36.0, (16.0 + _S6) / 36.0, 1.0 / 9.0],
    ]
)  # (3, 3)
_NEGLIGIBLE = 1e-9  # a state that stays below this part of the largest one need not be resolved
_NOISE = 100.0  # times the tolerance: errors up to there may be taken for noise
_SHORTEST = 1e-10  # of the period: no step is cut further
_CHUNK = 300_000  # numbers in one batch of matrices: stays in the cache
_MOST_STEPS = 3000
_ROUNDS = 40


@dataclass(frozen=True)
class Sensitivities:
    """``values[i, j, k]`` is d(state j)/d(column k) at time i.

    Attributes:
        values: shape ``(n_times, n_states, n_columns)``.
        mesh: where the method stepped; a good first guess for parameters nearby.
        error: largest error of a step on what is known exactly, relative to each state's largest value; above the
            tolerance where the trajectory itself is too noisy to tell.
        rounds: trajectories that were needed.
    """

    values: FloatArray
    mesh: FloatArray
    error: float
    rounds: int


class Variational:
    """The variational equations of a model, compiled to numpy.

    Args:
        equations: of a model without events, which would need the trajectory to stop.
        columns, starts, jumps, outputs: as for `kinetics.sensitivity.sensitivity_model`.

    Attributes:
        constants: the constants that move with some column.
        inexact: column -> why its derivatives are not certain; such a column misses jumps.

    Raises:
        InputError: the model has events.
        UnknownName: as `kinetics.reach.reaches`.
    """

    def __init__(
        self,
        equations: Equations,
        columns: Sequence[str],
        *,
        starts: Sequence[Changes] = (),
        jumps: Sequence[Changes] = (),
        outputs: Iterable[str] | None = None,
    ) -> None:
        if equations.events:
            raise InputError("variational equations need a model without events; see kinetics.sensitivity")
        found = reaches(equations, columns, starts, jumps)
        self.equations, self.columns = equations, tuple(columns)
        self.inexact = {column: moved.inexact for column, moved in found.items() if moved.inexact}
        every = equations.states
        moving = needed_states(equations, outputs, jumps) & {name for moved in found.values() for name in moved.states}
        moved_constants = {name for moved in found.values() for name in moved.constants}
        self.constants = tuple(name for name in equations.constants if name in moved_constants)
        self._moving = np.array([i for i, name in enumerate(every) if name in moving], dtype=int)
        row = {every[i]: r for r, i in enumerate(self._moving)}
        # What drives the moving states: constants; and time and the other states, for the error's sake only.
        drivers = (*self.constants, TIME_NAME, *(name for name in every if name not in row))
        into = {name: c for c, name in enumerate(drivers)}
        self._others = np.array([i for i, name in enumerate(every) if name not in row], dtype=int)
        n, m = len(row), len(drivers)
        jacobian, forcing = [], []
        for name, r in row.items():
            by_time = gradient(equations.rates[name], (TIME_NAME,))
            for by, slope in (*equations.jacobian[name].items(), *by_time.items()):
                if by in row:
                    jacobian.append((r * n + row[by], slope))
                elif by in into:
                    forcing.append((r * m + into[by], slope))
        self._j = np.array([place for place, _ in jacobian], dtype=int)
        self._b = np.array([place for place, _ in forcing], dtype=int)
        arguments = (*every, *equations.constants, TIME_NAME)
        self._rates = compile_numpy(list(equations.rates.values()), arguments)
        self._slopes = compile_numpy([slope for _, slope in (*jacobian, *forcing)], arguments)

    def arrays(self, slopes: Slopes, scale: Mapping[str, float] | None = None) -> tuple[FloatArray, FloatArray]:
        """Slopes as the ``weights`` and ``start`` of `solve`.

        ``scale`` multiplies by column: the parameter's value for derivatives by its logarithm.
        """
        factor = np.array([(scale or {}).get(column, 1.0) for column in self.columns])
        names = (*self.constants, *self.equations.states)
        table = np.array([[slopes.get((name, column), 0.0) for column in self.columns] for name in names])
        table = table.reshape(len(names), len(self.columns)) * factor
        return table[: len(self.constants)], table[len(self.constants) :]

    def solve(
        self,
        trajectory: Trajectory,
        times: FloatArray,
        constants: Mapping[str, float],
        weights: FloatArray,
        start: FloatArray,
        *,
        tolerance: float = 1e-6,
        mesh: FloatArray | None = None,
    ) -> Sensitivities:
        """Sensitivities at ``times``, the first of which is the start of the period.

        Args:
            trajectory: the states at any increasing times from the start on, always from the same start.
            times: shape ``(n_times,)``, increasing.
            constants: value of every constant of the model.
            weights: d(constant)/d(column), shape ``(len(self.constants), n_columns)``.
            start: d(state)/d(column) at the start, shape ``(n_states, n_columns)``.
            tolerance: error of one step on the states, relative to their largest values.
            mesh: a mesh to begin with, from an earlier result.

        Raises:
            IntegrationFailed: the trajectory is not finite, or no mesh of reasonable size reaches the
                tolerance (the trajectory is less accurate than ``tolerance`` asks for).
        """
        times = np.asarray(times, float)
        if not len(self._moving) or not weights.shape[1]:  # nothing moves
            still = np.zeros((len(times), len(self.equations.states), weights.shape[1]))
            return Sensitivities(still, times, 0.0, 0)
        if len(times) == 1:
            return Sensitivities(np.asarray(start, float)[None], times, 0.0, 0)
        steps = _first_mesh(times) if mesh is None else np.union1d(mesh, times)
        fixed = [constants[name] for name in self.equations.constants]
        before = np.full(len(steps) - 1, np.inf)  # error of the step that each one was cut from
        rounds = 0
        while True:
            rounds += 1
            sampled = np.append(steps[0], (steps[:-1, None] + np.diff(steps)[:, None] * _NODES).ravel())
            sampled[3::3] = steps[1:]  # not a rounding error beside the output times
            states = np.asarray(trajectory(sampled))  # (3 n_steps + 1, n_states)
            if not np.isfinite(states).all():
                raise IntegrationFailed("the trajectory is not finite, so it has no sensitivities")
            size = np.abs(states).max(axis=0)
            size = np.maximum(size, _NEGLIGIBLE * size.max() + 1e-300)[self._moving]
            across, gain, relative = self._propagators(steps, sampled, states, fixed, weights, size, tolerance)
            if not np.isfinite(relative).all():
                raise IntegrationFailed("the rates have no finite derivatives along the trajectory")
            # At a jump of the rates the error is of first order in the step, and small once the step is.
            splittable = np.diff(steps) > _SHORTEST * (times[-1] - times[0])
            # What shorter steps do not reduce is the noise of the trajectory; the result reports it.
            noise = (relative > 0.6 * before) & (relative < _NOISE * tolerance)
            # A mesh that served before may be a little worse now, rather than cost one more trajectory.
            allowed = 3.0 * tolerance if mesh is not None and rounds == 1 else tolerance
            bad = (relative > allowed) & splittable & ~noise
            if not bad.any():
                break
            finer, pieces = _refined(steps, relative, bad, tolerance)
            before = np.repeat(np.where(bad, relative, before), pieces)
            if rounds == _ROUNDS or len(finer) > _MOST_STEPS:
                raise IntegrationFailed(
                    f"sensitivities to a tolerance of {tolerance:g} need more than {len(steps)} steps (error now "
                    f"{relative.max():.1e}); take a larger tolerance, or a trajectory of tighter ones"
                )
            steps = finer
        values = np.zeros((len(times), len(self.equations.states), weights.shape[1]))
        values[0] = start
        wanted = {int(k): i for i, k in enumerate(np.searchsorted(steps, times))}
        current = np.asarray(start, float)[self._moving]
        for k in range(len(steps) - 1):
            current = across[k] @ current + gain[k]
            if k + 1 in wanted:
                values[wanted[k + 1], self._moving] = current
        return Sensitivities(values, _coarser(steps, relative, times, tolerance), float(relative.max()), rounds)

    def _propagators(
        self,
        steps: FloatArray,
        sampled: FloatArray,
        states: FloatArray,
        fixed: Sequence[float],
        weights: FloatArray,
        size: FloatArray,
        tolerance: float,
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """For each step ``S -> across S + gain``, and the method's error relative to ``size``, (n_steps,)."""
        n, m, length, columns = len(self._moving), len(self.constants), len(steps) - 1, weights.shape[1]
        drivers = m + 1 + len(self._others)
        arguments = [*states.T, *fixed, sampled]
        slopes = self._slopes(arguments)[:, 1:]  # none is needed at the very start
        every_rate = self._rates(arguments).T  # (3 n_steps + 1, n_states)
        rates = every_rate[:, self._moving]
        since = (sampled - sampled[0])[:, None]
        known = states[:, self._moving]
        h = np.diff(steps)[:, None, None] * _WEIGHTS  # (n_steps, 3, 3)
        residual = known[1:].reshape(length, 3, n) - known[:-1:3][:, None] - h @ rates[1:].reshape(length, 3, n)
        residual = residual.reshape(length, 3 * n, 1)
        # One more column than asked for: the sensitivity to the speed of everything.  Time and the other states
        # drive it, at rates 1 and f.
        driven = rates[1:].reshape(length, 3, n)
        pace = np.ones((3 * length, drivers - m))
        pace[:, 1:] = every_rate[1:, self._others]
        pace = (pace * since[1:]).reshape(length, 3, drivers - m, 1)
        across, gain = np.empty((length, n, n)), np.empty((length, n, columns + 1))
        error = np.empty((length, n))
        last = np.zeros((3 * n, n))
        last[2 * n :] = np.eye(n)
        batch = max(1, _CHUNK // (9 * n * n + 1))
        for low in range(0, length, batch):
            part = slice(low, min(low + batch, length))
            count = part.stop - part.start
            inner = slopes[:, 3 * part.start : 3 * part.stop]
            jacobian = np.zeros((n * n, 3 * count))
            jacobian[self._j] = inner[: len(self._j)]
            transposed = jacobian.reshape(n, n, count, 3).transpose(2, 3, 1, 0)  # (count, 3, by, of)
            # The transposed stage matrix: only the last stage is wanted, so n right-hand sides do for
            # any number of columns.
            matrix = -np.einsum("kij,kjab->kjaib", h[part], transposed).reshape(count, 3 * n, 3 * n)
            matrix[:, np.arange(3 * n), np.arange(3 * n)] += 1.0
            solved = np.linalg.solve(matrix, np.broadcast_to(last, (count, 3 * n, n))).transpose(0, 2, 1)
            across[part] = solved.reshape(count, n, 3, n).sum(axis=2)
            driving = np.zeros((n * drivers, 3 * count))
            driving[self._b] = inner[len(self._j) :]
            forcing = driving.reshape(n, drivers, count, 3).transpose(2, 3, 0, 1)  # (count, 3, n, drivers)
            moved = np.empty((count, 3, n, columns + 1))
            moved[..., :columns] = forcing[..., :m] @ weights
            moved[..., columns] = driven[part] + (forcing[..., m:] @ pace[part])[..., 0]
            moved = (h[part] @ moved.reshape(count, 3, -1)).reshape(count, 3 * n, -1)
            gain[part] = solved @ moved
            error[part] = (solved @ residual[part])[..., 0]
        speed = (since * rates)[::3]  # (n_steps + 1, n)
        missed = (across @ speed[:-1, :, None])[..., 0] + gain[..., columns] - speed[1:]
        # The engine's noise in fast rates would look like an error; the next step damps it as it damps all that is
        # fast.  A jump of the rates makes ``speed`` jump, which a step so short cannot hurt by.
        missed = (np.concatenate([across[1:], across[-1:]]) @ missed[..., None])[..., 0]
        missed[np.diff(steps) < tolerance * (steps[-1] - steps[0])] = 0.0
        relative = np.abs(error) / size
        missed = np.abs(missed) / np.maximum(size, np.abs(speed).max(axis=0))
        return across, gain[..., :columns], np.maximum(relative, missed).max(axis=1, initial=0.0)


def _first_mesh(times: FloatArray) -> FloatArray:
    """The output times, and short steps at the start, where a change has just been made."""
    first = times[1] - times[0]
    return np.union1d(times, times[0] + first * 4.0 ** -np.arange(1.0, 8.0))


def _refined(
    steps: FloatArray, error: FloatArray, bad: npt.NDArray[np.bool_], tolerance: float
) -> tuple[FloatArray, npt.NDArray[np.int_]]:
    """Steps with too large an error are cut into as many as order 5 suggests, at most four at once."""
    with np.errstate(over="ignore"):
        pieces = np.where(bad, np.clip(np.ceil((2.0 * error / tolerance) ** 0.2), 2, 4), 1).astype(int)
    cuts = [np.linspace(steps[k], steps[k + 1], pieces[k], endpoint=False) for k in range(len(pieces))]
    return np.append(np.concatenate(cuts), steps[-1]), pieces


def _coarser(steps: FloatArray, error: FloatArray, times: FloatArray, tolerance: float) -> FloatArray:
    """The mesh without points that neither outputs nor the error need: a doubled step errs 2^6 times as much."""
    spare = ~np.isin(steps, times)
    spare[1:-1] &= np.maximum(error[:-1], error[1:]) < tolerance / 300.0
    for k in range(1, len(spare)):
        spare[k] &= not spare[k - 1]  # never two in a row
    return steps[~spare]
