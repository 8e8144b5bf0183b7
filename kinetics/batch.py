"""Many parameter sets and conditions at a time, in numpy: for ensembles, cohorts and searches.

libRoadRunner integrates one experiment after the other.  Here thousands of lanes (a parameter set under a condition)
step together, each with its own step size, through the Rosenbrock method RODAS (order 4, L-stable; Hairer and
Wanner, Solving Ordinary Differential Equations II, section IV.7) with exact Jacobians and an elimination that is
written out once (`kinetics.elimination`).  Nothing is compiled.  What is found here is checked with the engine,
which stays the reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from kinetics.codegen import Compiled, compile_kernel, compile_numpy
from kinetics.differentiation import gradient
from kinetics.elimination import elimination
from kinetics.equations import Equations, read_equations
from kinetics.errors import InputError, UnknownName, UnsupportedModel
from kinetics.expression import TIME_NAME, Call, Expression, FloatArray, Number, Symbol, call
from kinetics.model import Model

_GAMMA = 0.25
_A = (
    (),
    (1.544,),
    (0.9466785280815826, 0.2557011698983284),
    (3.314825187068521, 2.896124015972201, 0.9986419139977817),
    (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950),
)
_C = (
    (),
    (-5.6688,),
    (-2.430093356833875, -0.2063599157091915),
    (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
    (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160),
    (8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136, -6.058818238834054),
)
_MOST_STEPS = 5_000
_SHORTEST = 1e-14  # of the period: a step below has no meaning any more
_REPACK = 0.8  # lanes that have arrived are set aside when fewer than this part still move


class Batch:
    """A model without events and delays, ready to run in many lanes at a time.

    Args:
        model: a model, or its equations.

    Attributes:
        states: what changes in time, in the order of the rows of a state.
        constants: what a lane may have values of its own for: parameters, compartments, held species.

    Raises:
        UnsupportedModel: the model has events, or its rates depend on the clock.
    """

    def __init__(self, model: Model | Equations) -> None:
        # to_sbml, not sbml: a variant or calibrated copy runs with its own values.
        equations = read_equations(model.to_sbml()) if isinstance(model, Model) else model
        if equations.events:
            raise UnsupportedModel("the model has events, which a batch cannot stop for; simulate it one by one")
        rates = [equations.rates[name] for name in equations.states]
        if any(TIME_NAME in rate.names for rate in rates):
            raise UnsupportedModel("the rates depend on time itself, which a batch does not follow")
        self.equations, self.states, self.constants = equations, equations.states, equations.constants
        slopes = [gradient(rate, self.states) for rate in rates]
        index = {name: i for i, name in enumerate(self.states)}
        entries = {(i, index[name]): slope for i, row in enumerate(slopes) for name, slope in row.items()}
        self._elimination = elimination(len(rates), entries)
        self._rates = _Split(rates, self.states, self.constants)
        self._slopes = _Split([entries[place] for place in self._elimination.places], self.states, self.constants)
        self._started: dict[frozenset[str], dict[str, Expression]] = {}
        self._outputs: dict[tuple[str, ...], Compiled] = {}

    def start(self, values: Mapping[str, npt.ArrayLike]) -> Lanes:
        """Lanes at the start: as many as the longest value has entries.

        Raises:
            UnknownName: a name that is neither a constant nor a state.
            InputError: values of several lengths.
        """
        lanes = max((int(np.size(value)) for value in values.values()), default=1)
        return Lanes(self, self.initial(values, lanes), self.settled(values, lanes))

    def initial(self, values: Mapping[str, npt.ArrayLike], lanes: int) -> FloatArray:
        """The states at the start, shape ``(n_states, lanes)``, from the model's own initial formulas.

        Args:
            values: constants and initial values by name; a number for all lanes or an array with one per lane.

        Raises:
            UnknownName: a name that is neither a constant nor a state.
            InputError: values of another length than ``lanes``.
        """
        known = self._values(values, lanes)
        names = tuple(known)
        started = self._start(values)
        computed = compile_numpy([started[name] for name in self.states], names)([known[name] for name in names])
        return np.ascontiguousarray(np.broadcast_to(computed.reshape(len(self.states), -1), (len(self.states), lanes)))

    def settled(self, values: Mapping[str, npt.ArrayLike], lanes: int) -> dict[str, FloatArray]:
        """Every constant at the start, a number or one per lane: initial formulas of constants are followed.

        What `run` gets is taken as given at that time.  So who changes a constant between two runs passes what this
        returned, changed; else constants that only started from it would follow the change.

        Raises:
            UnknownName: a name that is neither a constant nor a state.
            InputError: values of another length than ``lanes``.
        """
        known = self._values(values, lanes)
        started = self._start(values)
        found: dict[str, FloatArray] = {}
        for name in self.constants:
            if name in known:
                found[name] = np.asarray(known[name], dtype=float)
            else:
                needed = sorted(started[name].names)
                found[name] = compile_numpy([started[name]], needed)([known[each] for each in needed])[0]
        return found

    def _values(self, values: Mapping[str, npt.ArrayLike], lanes: int) -> dict[str, npt.ArrayLike]:
        """The model's own numbers, replaced by the given ones."""
        for name, value in values.items():
            if name not in self.constants and name not in self.states:
                raise UnknownName("constant or state", name, (*self.constants, *self.states), "the model")
            if np.shape(value) not in ((), (lanes,)):
                raise InputError(f"{name!r} needs one value or one per lane ({lanes}), got shape {np.shape(value)}")
        return {**self.equations.defaults(), **values}

    def _start(self, given: Iterable[str]) -> dict[str, Expression]:
        """Formulas of the start in what is given and in numbers of the model: what follows from a value follows it."""
        replaced = frozenset(name for name in given if not isinstance(self.equations.initial[name], Number))
        if replaced not in self._started:
            self._started[replaced] = self.equations.started({name: Symbol(name) for name in replaced})
        return self._started[replaced]

    def run(
        self,
        state: FloatArray,
        values: Mapping[str, npt.ArrayLike],
        times: Sequence[float],
        outputs: Iterable[str],
        *,
        rtol: float = 1e-6,
        atol: float = 1e-9,
    ) -> tuple[FloatArray, FloatArray]:
        """Integrate all lanes from time 0 and read at ``times``.

        Args:
            state: states at time 0, shape ``(n_states, lanes)``; not changed.
            values: constants by name, a number for all lanes or an array with one per lane; the model's own where
                not given.
            times: increasing times, in the model's unit; a first time of 0 reads the start.
            outputs: symbols of the model (states, assigned quantities, constants).
            rtol, atol: error per step that is allowed, relative and in the unit of the state.

        Returns:
            What was read, shape ``(n_outputs, n_times, lanes)``, and the states at the last time.  A lane that
            cannot be integrated is NaN from there on.

        Raises:
            InputError: times that do not increase; values of another length than the state has lanes.
            UnknownName: an output or constant that is not in the model.
            UnsupportedModel: an output depends on time itself.
        """
        grid = np.asarray(times, dtype=float)
        if not (grid.size and grid[0] >= 0.0 and grid[-1] < np.inf and np.all(np.diff(grid) > 0.0)):
            raise InputError(f"times must increase from 0 on and be finite, got {list(times)[:8]}")
        if np.ndim(state) != 2 or len(state) != len(self.states):
            raise InputError(f"the state must have shape ({len(self.states)}, lanes), got {np.shape(state)}")
        wanted = tuple(outputs)
        lanes = state.shape[1]
        settled = self.settled(values, lanes)
        constants: list[npt.ArrayLike] = [settled[name] for name in self.constants]
        read = self._reader(wanted)
        result = np.empty((len(wanted), len(times), lanes))
        now, current = 0.0, state
        steps = np.full(lanes, np.nan)
        for index, time in enumerate(times):
            if time > now:
                current, steps = self._advance(current, constants, time - now, steps, rtol, atol)
                now = time
            result[:, index] = read([*current, *constants])
        return result, current

    def _reader(self, wanted: tuple[str, ...]) -> Compiled:
        if wanted not in self._outputs:
            known = {*self.states, *self.constants, *self.equations.assigned}
            for name in wanted:
                if name not in known:
                    raise UnknownName("quantity", name, known, "the model")
            formulas = [self.equations.inline(Symbol(name)) for name in wanted]
            for name, formula in zip(wanted, formulas, strict=True):
                if TIME_NAME in formula.names:
                    raise UnsupportedModel(f"{name!r} depends on time itself, which a batch does not follow")
            self._outputs[wanted] = compile_numpy(formulas, (*self.states, *self.constants))
        return self._outputs[wanted]

    def _advance(
        self,
        state: FloatArray,
        constants: list[npt.ArrayLike],
        duration: float,
        first: FloatArray,
        rtol: float,
        atol: float,
    ) -> tuple[FloatArray, FloatArray]:
        """All lanes by ``duration``; also the step size each would take next."""
        lanes = state.shape[1]
        final, final_step = np.full_like(state, np.nan), np.full(lanes, np.nan)
        who = np.arange(lanes)
        y = np.array(state)
        rate_terms, slope_terms = self._rates.prepare(constants), self._slopes.prepare(constants)
        t = np.zeros(lanes)
        h = np.where(np.isnan(first), 1e-4 * duration, np.minimum(first, duration))
        rejected = np.zeros(lanes, dtype=bool)
        moving = np.ones(lanes, dtype=bool)
        with np.errstate(all="ignore"):
            for _ in range(_MOST_STEPS):
                left = duration - t
                last = h >= left * (1.0 - 1e-12)
                taken = np.where(last, left, h)
                new, error = self._step(y, taken, rate_terms, slope_terms)
                scale = atol + rtol * np.maximum(np.abs(y), np.abs(new))
                norm = np.sqrt(np.mean((error / scale) ** 2, axis=0))
                good = norm <= 1.0  # NaN is not
                factor = np.where(np.isfinite(norm), np.clip(0.9 * np.maximum(norm, 1e-10) ** -0.25, 0.2, 5.0), 0.1)
                factor = np.where(rejected & good, np.minimum(factor, 1.0), factor)
                h = np.where(good & last, np.maximum(h, taken * factor), taken * factor)
                arrived = moving & good & last
                if arrived.any():
                    final[:, who[arrived]], final_step[who[arrived]] = new[:, arrived], h[arrived]
                moving &= ~(arrived | (h < _SHORTEST * duration))
                # Lanes that are done keep computing, unread, until it pays to set them aside.
                y = np.where(good & moving, new, y)
                t = np.where(good & moving, t + taken, t)
                rejected = ~good
                count = np.count_nonzero(moving)
                if count == 0:
                    break
                if count < _REPACK * moving.size:
                    y, t, h, rejected, who = y[:, moving], t[moving], h[moving], rejected[moving], who[moving]
                    rate_terms, slope_terms = _pick(rate_terms, moving), _pick(slope_terms, moving)
                    moving = np.ones(count, dtype=bool)
        return final, final_step

    def _step(
        self, y: FloatArray, h: FloatArray, rate_terms: list[Any], slope_terms: list[Any]
    ) -> tuple[FloatArray, FloatArray]:
        rates, solve = self._rates.evaluate, self._elimination.solve
        slopes = self._slopes.evaluate(y, slope_terms)
        factors = self._elimination.factor(slopes, 1.0 / (h * _GAMMA))
        per_step = 1.0 / h
        k: list[FloatArray] = [solve(factors, rates(y, rate_terms))]
        stage = y
        for a, c in zip(_A[1:], _C[1:5], strict=True):
            stage = y + _combined(a, k)
            k.append(solve(factors, rates(stage, rate_terms) + _combined(c, k) * per_step))
        stage = stage + k[4]
        k.append(solve(factors, rates(stage, rate_terms) + _combined(_C[5], k) * per_step))
        return stage + k[5], k[5]


@dataclass(frozen=True)
class Lanes:
    """Where all lanes are: made by `Batch.start`, and moved on step by step through an experiment.

    Attributes:
        values: states, shape ``(n_states, lanes)``.
        constants: by name, a number or one per lane.
    """

    batch: Batch
    values: FloatArray
    constants: Mapping[str, FloatArray]

    def changed(self, changes: Mapping[str, npt.ArrayLike]) -> Lanes:
        """The same with other states or constants; nothing else follows them.

        Raises:
            UnknownName: a name that is neither a constant nor a state.
        """
        values, constants = self.values.copy(), dict(self.constants)
        for name, value in changes.items():
            if name in constants:
                constants[name] = np.asarray(value, dtype=float)
            elif name in self.batch.states:
                values[self.batch.states.index(name)] = value
            else:
                raise UnknownName("constant or state", name, (*constants, *self.batch.states), "the model")
        return Lanes(self.batch, values, constants)

    def advance(
        self,
        duration: float,
        changes: Mapping[str, npt.ArrayLike] | None = None,
        *,
        rtol: float = 1e-6,
        atol: float = 1e-9,
    ) -> Lanes:
        """Change something, then integrate for ``duration`` in the model's time unit; see `Batch.run`."""
        begin = self.changed(changes or {})
        _, values = self.batch.run(begin.values, begin.constants, (duration,), (), rtol=rtol, atol=atol)
        return Lanes(self.batch, values, begin.constants)

    def read(self, outputs: Iterable[str]) -> dict[str, FloatArray]:
        """States, constants and assigned quantities by name, shape ``(lanes,)`` each."""
        names = tuple(outputs)
        found, _ = self.batch.run(self.values, self.constants, (0.0,), names)
        return {name: found[i, 0] for i, name in enumerate(names)}


def _combined(weights: Sequence[float], terms: Sequence[FloatArray]) -> FloatArray:
    total = weights[0] * terms[0]
    for weight, term in zip(weights[1:], terms[1:], strict=False):
        total += weight * term
    return total


def _pick(terms: list[Any], keep: npt.NDArray[np.bool_]) -> list[Any]:
    return [term[keep] if np.ndim(term) else term for term in terms]


class _Split:
    """Expressions in states and constants; what does not depend on the states is computed once per run."""

    def __init__(self, expressions: Sequence[Expression], states: Sequence[str], constants: Sequence[str]) -> None:
        split = _Hoisting(frozenset(states))
        rest = [split.rest(expression) for expression in expressions]
        self._fixed = compile_numpy(list(split.fixed), constants)
        self._count = len(rest)
        self._varying = compile_kernel(rest, (*states, *(name for name in split.fixed.values())))

    def prepare(self, constants: list[npt.ArrayLike]) -> list[Any]:
        """The fixed parts: a number where all lanes agree, else an array."""
        lanes = max((np.size(value) for value in constants), default=1)
        columns = [np.broadcast_to(np.asarray(value, dtype=float), (lanes,)) for value in constants]
        fixed = self._fixed(columns).reshape(-1, lanes)  # also of a model without constants
        alike = (fixed == fixed[:, :1]) | (np.isnan(fixed) & np.isnan(fixed[:, :1]))
        same = np.all(alike, axis=1)
        return [cast(FloatArray, np.float64(row[0])) if one else row for row, one in zip(fixed, same, strict=True)]

    def evaluate(self, y: FloatArray, fixed: list[Any]) -> FloatArray:
        out = np.empty((self._count, y.shape[1]))
        self._varying([*y, *fixed], out)
        return out


class _Hoisting:
    """Takes the parts of expressions that name no state out into symbols of their own."""

    def __init__(self, states: frozenset[str]) -> None:
        self.states = states
        self.fixed: dict[Expression, str] = {}
        self._done: dict[Expression, Expression] = {}

    def rest(self, node: Expression) -> Expression:
        if isinstance(node, Number):
            return node
        if self.states.isdisjoint(node.names):
            return Symbol(self.fixed.setdefault(node, f"$fixed{len(self.fixed)}"))
        if isinstance(node, Symbol):
            return node
        if node not in self._done:
            self._done[node] = self._call(cast(Call, node))
        return self._done[node]

    def _call(self, node: Call) -> Expression:
        args = list(node.args)
        if node.op in ("+", "*"):
            still = [arg for arg in args if self.states.isdisjoint(arg.names)]
            if len(still) > 1:
                args = [arg for arg in args if arg not in still] + [call(node.op, *still)]
        return call(node.op, *(self.rest(arg) for arg in args))
