"""Many parameter sets of one model at once, in numpy, where the engine would integrate one after the other.

The equations are those of the SBML file, compiled for arrays.  All sets take the same steps of Rodas3, an L-stable
Rosenbrock method of order 3 with an embedded method of order 2 (Sandu et al. 1997, Atmospheric Environment 31, 3459);
the step is that of the set which needs the smallest.  For a single set `kinetics.simulation` is the better choice.

>>> from kinetics.model import Model
>>> batch = Batch(Model.load("tcell_homeostasis"))
>>> start = batch.start({"pace": np.array([0.1, 1.0])})
>>> batch.read(start, ["T_cells"])["T_cells"].tolist()
[970.0, 970.0]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from kinetics.codegen import Compiled, compile_numpy
from kinetics.equations import Equations, read_equations
from kinetics.errors import InputError, IntegrationFailed, UnknownName, UnsupportedModel
from kinetics.expression import TIME_NAME, Symbol
from kinetics.model import Model

FloatArray = npt.NDArray[np.float64]

# Rodas3 in the form that needs no products with the Jacobian.
_GAMMA = 0.5
_A = ((), (0.0,), (2.0, 0.0), (2.0, 0.0, 1.0))
_C = ((), (4.0,), (1.0, -1.0), (1.0, -1.0, -8.0 / 3.0))
_M = (2.0, 0.0, 1.0, 1.0)  # the last stage alone is the estimated error
_MOST_STEPS = 20_000


@dataclass(frozen=True)
class BatchState:
    """Where every set is: made by `Batch.start`, moved by `Batch.advance`."""

    values: FloatArray  # (n_states, n_sets)
    constants: Mapping[str, FloatArray]  # by name, (n_sets,) each
    time: float = 0.0


class Batch:
    """A model whose parameter sets are integrated together.

    Args:
        still: states that do not move in what is asked of it, so that they cost nothing; `advance` makes sure.

    Raises:
        UnsupportedModel: the model has events.
        UnknownName: ``still`` names what is no state.
    """

    def __init__(self, model: Model, *, still: Iterable[str] = ()) -> None:
        self.name = model.name
        self.equations: Equations = read_equations(model.sbml)
        if self.equations.events:
            raise UnsupportedModel(
                f"{model.name}: events happen at other times in every set; simulate the sets one by one"
            )
        rest = set(still)
        for name in rest:
            if name not in self.equations.states:
                raise UnknownName("state", name, self.equations.states, model.name)
        self._moving = np.array([i for i, name in enumerate(self.equations.states) if name not in rest], dtype=int)
        self._still = np.array([i for i, name in enumerate(self.equations.states) if name in rest], dtype=int)
        self._arguments = (*self.equations.states, *self.equations.constants, TIME_NAME)
        self._formulas: dict[tuple[str, ...], Compiled] = {}

    # ---- compiled parts --------------------------------------------------------------------------------

    @cached_property
    def _rates(self) -> Compiled:
        return compile_numpy(list(self.equations.rates.values()), self._arguments)

    @cached_property
    def _slopes(self) -> tuple[FloatArray, FloatArray, Compiled]:
        """Rows, columns and values of what is not 0 in the Jacobian of the moving states."""
        names = [self.equations.states[i] for i in self._moving]
        place = {name: k for k, name in enumerate(names)}
        found = [
            (place[name], place[by], slope)
            for name in names
            for by, slope in self.equations.jacobian[name].items()
            if by in place
        ]
        rows, columns = (np.array([item[k] for item in found], dtype=int) for k in (0, 1))
        return rows, columns, compile_numpy([item[2] for item in found], self._arguments)

    # ---- what is asked ---------------------------------------------------------------------------------

    def start(self, sets: Mapping[str, npt.ArrayLike]) -> BatchState:
        """The initial states for parameter sets: numbers, or arrays of one length.

        Raises:
            UnknownName: the model has no constant or state of that name.
            InputError: lengths differ, or an initial value is missing.
        """
        given = self._known(sets)
        size = {len(value) for value in given.values() if value.ndim} or {1}
        if len(size) > 1:
            raise InputError(f"parameter sets need one length, got {sorted(size)}")
        n = size.pop()
        free: dict[str, npt.ArrayLike] = {**self.equations.defaults(), **given}
        # A quantity that is given replaces its own formula, in the formulas of others too.
        formulas = self.equations.started({name: Symbol(name) for name in given})
        names = (*self.equations.states, *self.equations.constants)
        own = {name: formula for name, formula in formulas.items() if name in names}
        missing = sorted({need for name in names for need in own[name].names} - free.keys())
        if missing:
            raise InputError(f"{self.name}: no initial value for {', '.join(missing)}")
        arguments = tuple(free)
        values = compile_numpy([own[name] for name in names], arguments)(
            [np.broadcast_to(free[k], (n,)) for k in arguments]
        )
        table = dict(zip(names, values, strict=True))
        table.update({name: np.broadcast_to(value, (n,)).astype(float) for name, value in given.items()})
        return BatchState(
            np.array([table[name] for name in self.equations.states]),
            MappingProxyType({name: table[name] for name in self.equations.constants}),
        )

    def changed(self, state: BatchState, changes: Mapping[str, npt.ArrayLike]) -> BatchState:
        """The same with other values of states and constants: numbers, or arrays of the number of sets."""
        n = state.values.shape[1]
        values, constants = state.values.copy(), dict(state.constants)
        for name, value in self._known(changes).items():
            wide = np.broadcast_to(value, (n,)).astype(float)
            if name in constants:
                constants[name] = wide
            else:
                values[self.equations.states.index(name)] = wide
        return BatchState(values, MappingProxyType(constants), state.time)

    def advance(
        self,
        state: BatchState,
        duration: float,
        changes: Mapping[str, npt.ArrayLike] | None = None,
        *,
        rtol: float = 1e-5,
        atol: float = 1e-8,
    ) -> BatchState:
        """Change something, then integrate for ``duration`` in the model's time unit.

        A set whose values are no longer finite stays NaN and holds nobody up.

        Raises:
            IntegrationFailed: more than 20,000 steps are needed.
            InputError: a state said to be still moves, or the duration is not positive.
        """
        if not (np.isfinite(duration) and duration > 0.0):
            raise InputError(f"the duration must be positive and finite, got {duration!r}")
        start = self.changed(state, changes or {})
        values = self._integrated(start, float(duration), rtol, atol)
        return BatchState(values, start.constants, state.time + duration)

    def read(self, state: BatchState, outputs: Sequence[str]) -> dict[str, FloatArray]:
        """States, constants and quantities with a rule, by name, shape ``(n_sets,)`` each."""
        wanted = tuple(outputs)
        if wanted not in self._formulas:
            known = (*self.equations.states, *self.equations.constants, *self.equations.assigned)
            for name in wanted:
                if name not in known:
                    raise UnknownName("quantity", name, known, self.name)
            formulas = [self.equations.inline(Symbol(name)) for name in wanted]
            self._formulas[wanted] = compile_numpy(formulas, self._arguments)
        n = state.values.shape[1]
        values = self._formulas[wanted](self._inputs(state, state.values, state.time))
        return {name: np.broadcast_to(value, (n,)).copy() for name, value in zip(wanted, values, strict=True)}

    # ---- inside ----------------------------------------------------------------------------------------

    def _known(self, given: Mapping[str, npt.ArrayLike]) -> dict[str, FloatArray]:
        known = (*self.equations.constants, *self.equations.states)
        for name in given:
            if name not in known:
                raise UnknownName("parameter", name, known, self.name)
        return {name: np.asarray(value, dtype=float) for name, value in given.items()}

    def _inputs(self, state: BatchState, values: FloatArray, time: float) -> list[FloatArray]:
        constants = [state.constants[name] for name in self.equations.constants]
        return [*values, *constants, np.full(values.shape[1:], time)]

    def _integrated(self, start: BatchState, duration: float, rtol: float, atol: float) -> FloatArray:
        whole = start.values.copy()
        rows, columns, slopes = self._slopes
        n_states, n = len(self._moving), whole.shape[1]
        end, at = start.time + duration, start.time

        def rates(moving: FloatArray) -> FloatArray:
            whole[self._moving] = moving
            found = self._rates(self._inputs(start, whole, at))
            if len(self._still) and np.any(np.nan_to_num(found[self._still]) != 0.0):
                moved = [self.equations.states[i] for i in self._still if np.any(np.nan_to_num(found[i]) != 0.0)]
                raise InputError(f"{self.name}: {', '.join(moved)} were said to be still, but move")
            return np.asarray(found[self._moving], dtype=float)

        y = whole[self._moving].copy()
        unit = np.arange(n_states)
        first = rates(y)
        speed = np.abs(first) / (atol + np.abs(y))
        step = min(duration, 1e-3 / max(float(np.max(speed[np.isfinite(speed)], initial=0.0)), 1e-3 / duration))
        for _ in range(_MOST_STEPS):
            step = min(step, end - at)
            whole[self._moving] = y
            jacobian = np.zeros((n, n_states, n_states))
            jacobian[:, rows, columns] = np.broadcast_to(slopes(self._inputs(start, whole, at)), (len(rows), n)).T
            matrix = -jacobian
            matrix[:, unit, unit] += 1.0 / (_GAMMA * step)
            alive = np.all(np.isfinite(matrix), axis=(1, 2)) & np.all(np.isfinite(first), axis=0)
            if not np.any(alive):
                break
            matrix[~alive] = np.eye(n_states)
            inverse = np.linalg.inv(matrix)
            stages: list[FloatArray] = []
            for a, c in zip(_A, _C, strict=True):
                moved = y + _combined(a, stages) if any(a) else y
                force = (rates(moved) if any(a) else first) + _combined(c, stages) / step
                stages.append(np.matmul(inverse, force.T[:, :, None])[:, :, 0].T)
            new = y + _combined(_M, stages)
            scale = atol + rtol * np.maximum(np.abs(y), np.abs(new))
            errors = np.max(np.abs(stages[-1]) / scale, axis=0)
            alive &= np.isfinite(errors)
            error = float(np.max(errors[alive], initial=0.0))
            if error <= 1.0:
                at += step
                y = new
                if at >= end * (1.0 - 1e-14) or end - at <= 1e-12 * duration:
                    whole[self._moving] = y
                    whole[:, ~np.all(np.isfinite(y), axis=0)] = np.nan
                    return whole
                first = rates(y)
            step *= min(5.0, max(0.2, 0.9 * max(error, 1e-9) ** (-1.0 / 3.0)))
        else:
            raise IntegrationFailed(
                f"{self.name}: {n} sets need more than {_MOST_STEPS} steps for {duration:g}, at {at:g}"
            )
        return np.full_like(whole, np.nan)


def _combined(weights: Sequence[float], stages: Sequence[FloatArray]) -> FloatArray | float:
    """``sum(weight * stage)``, without the terms that are 0."""
    total: FloatArray | float = 0.0
    for weight, stage in zip(weights, stages, strict=True):
        if weight:
            total = total + weight * stage
    return total
