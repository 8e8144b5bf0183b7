"""How a steady state moves with parameters: the implicit derivative ``J s = -B``, with what is conserved.

Where amounts are conserved, ``J`` is singular and the steady state remembers its start: the conserved totals,
found from the stoichiometry, supply the missing equations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kinetics.codegen import compile_numpy
from kinetics.differentiation import gradient
from kinetics.equations import Equations
from kinetics.errors import InputError, NoSteadyState
from kinetics.expression import TIME_NAME, ZERO, FloatArray


class SteadyState:
    """The equations for the derivatives of a model's steady states, compiled to numpy.

    Args:
        equations: of a model whose rates do not depend on time and that has no events.
        constants: the constants that move with some column, in the order of the rows of ``weights``.

    Raises:
        InputError: the rates depend on time, there are events, or a stoichiometry is not a plain number.
    """

    def __init__(self, equations: Equations, constants: Sequence[str]) -> None:
        if equations.events:
            raise InputError("steady states of models with events have no derivatives here")
        if timed := [name for name, rate in equations.rates.items() if TIME_NAME in rate.names]:
            raise InputError(f"no steady state: the rates of {', '.join(timed[:5])} depend on time")
        self.equations, self.constants = equations, tuple(constants)
        states = equations.states
        arguments = (*states, *equations.constants)
        self._rates = compile_numpy(list(equations.rates.values()), arguments)
        slopes = [equations.jacobian[name].get(by, ZERO) for name in states for by in (*states, *self.constants)]
        self._slopes = compile_numpy(slopes, arguments)
        self._reactions = tuple(equations.reactions)
        exchanges = equations.exchanges
        made = [exchanges.get(name, {}).get(reaction, ZERO) for name in states for reaction in self._reactions]
        sizes = list(equations.sizes.values())
        # How totals respond to constants directly: through the compartments that turn values into amounts.
        growth = [gradient(size, self.constants).get(by, ZERO) for size in sizes for by in self.constants]
        activity = []
        for rate in equations.reactions.values():
            partials = gradient(rate, states)
            activity += [rate, *(partials.get(name, ZERO) for name in states)]
        self._structure = compile_numpy([*made, *sizes, *growth, *activity], arguments)
        # A state that something else than reactions changes is not part of any conserved total.
        self._free = np.array([name not in exchanges and equations.rates[name] is not ZERO for name in states])
        if varying := [name for name, made in exchanges.items() for factor in made.values() if factor.names]:
            raise InputError(f"the stoichiometry of {varying[0]} is no number, so its conserved totals could move")

    def slopes(
        self,
        steady: FloatArray,
        constants: Mapping[str, float],
        weights: FloatArray,
        start: FloatArray,
        start_slopes: FloatArray,
    ) -> FloatArray:
        """d(steady state)/d(column), shape ``(n_states, n_columns)``.

        Args:
            steady: the steady state, shape ``(n_states,)``.
            constants: value of every constant of the model.
            weights: d(constant)/d(column), shape ``(n_constants, n_columns)``.
            start: the state from which it was reached, shape ``(n_states,)``.
            start_slopes: d(start)/d(column), shape ``(n_states, n_columns)``.

        Raises:
            NoSteadyState: the rates are not zero there, or the equations have no single solution: the steady
                state is not isolated, or moves without end under a small change.
        """
        equations = self.equations
        n, m = len(equations.states), len(self.constants)
        values = [*np.asarray(steady, float), *(constants[name] for name in equations.constants)]
        slopes = self._slopes(values).reshape(n, n + m)
        jacobian, forcing = slopes[:, :n], slopes[:, n:] @ weights
        totals, growth, sizes = self._totals(values)
        # d(sum of l_i V_i x_i) is the same at the start and in the steady state.
        amounts = totals * sizes
        moved = np.asarray(start, float) - np.asarray(steady, float)
        conserved = amounts @ start_slopes + (totals * moved) @ (growth @ weights)
        # Rows and columns in units of the state itself, or pM and uM side by side would look singular.
        unit = np.maximum(np.abs(steady), np.abs(start))
        unit = np.where(unit > 1e-8 * unit.max(), unit, 1e-8 * unit.max() + 1e-300)
        matrix = np.vstack([jacobian, amounts]) * unit
        right = np.vstack([-forcing, conserved])
        row = np.abs(matrix).max(axis=1)
        if not np.isfinite(matrix).all() or not np.isfinite(right).all():
            raise NoSteadyState("the rates have no finite derivatives at the steady state")
        keep = row > 0.0
        if (np.abs(right[~keep]) > 0.0).any():
            raise NoSteadyState("a rate that no state influences moves with a parameter: there is no steady state")
        matrix, right = matrix[keep] / row[keep, None], right[keep] / row[keep, None]
        solution, _, rank, singular = np.linalg.lstsq(matrix, right, rcond=1e-12)
        if rank < n:
            raise NoSteadyState(f"the steady state is not isolated ({n - rank} directions are free)")
        misfit = np.abs(matrix @ solution - right).max(axis=0)
        if (misfit > 1e-6 * (np.abs(right).max(axis=0) + np.abs(solution).max(axis=0) * singular[-1])).any():
            raise NoSteadyState("the steady state does not move smoothly with the parameters")
        return np.asarray(solution * unit[:, None])

    def residual(self, steady: FloatArray, constants: Mapping[str, float]) -> FloatArray:
        """The rates at a state, shape ``(n_states,)``: zero in a steady state."""
        return self._rates([*np.asarray(steady, float), *(constants[name] for name in self.equations.constants)])

    def _totals(self, values: Sequence[float]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Conserved totals as weights of amounts (n_totals, n), d(size)/d(constant) (n, m), and sizes (n,)."""
        n, m, k = len(self.equations.states), len(self.constants), len(self._reactions)
        result = self._structure(values)
        made, result = result[: n * k].reshape(n, k), result[n * k :]
        sizes, result = result[:n], result[n:]
        growth, activity = result[: n * m].reshape(n, m), result[n * m :].reshape(k, n + 1)
        # A reaction that cannot run here (its ligand is absent) conserves what it would have changed.
        active = (activity != 0.0).any(axis=1)
        rates = np.hstack([made[:, active], np.diag(self._free.astype(float))])
        u, s, _ = np.linalg.svd(rates, full_matrices=True)
        rank = int((s > 1e-10 * max(1.0, s.max(initial=0.0))).sum())
        return np.ascontiguousarray(u[:, rank:].T), growth, sizes
