"""Experiments on many parameter sets at a time: the periods of `kinetics.experiment`, run through a `Batch`.

What the experiments have in common (a pre-incubation) is run once per parameter set, as on the engine.  What a batch
cannot do (events, steady states, read-outs over a window) is refused in words that say so; the engine does it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kinetics.batch import Batch
from kinetics.equations import read_equations
from kinetics.errors import InputError, UnsupportedModel
from kinetics.experiment import Experiment
from kinetics.expression import TIME_NAME, Expression, FloatArray, evaluate, substitute
from kinetics.model import Model
from kinetics.observable import Readout, in_relation, reference_experiments
from kinetics.schedule import Changes, Resolved, Stage, resolve, same_time, time_in

BY_ENGINE = "run it on the engine (method='engine')"


def measure_lanes(
    model: Model,
    experiments: Sequence[Experiment],
    readout: Readout,
    values: Mapping[str, npt.ArrayLike],
    lanes: int,
    *,
    rtol: float = 1e-4,
    atol: float | None = None,
) -> FloatArray:
    """The read-out of each experiment for each parameter set, shape ``(n_experiments, lanes)``: `measure`, many-fold.

    Args:
        values: constants and initial values by name, a number for all lanes or an array with one per lane, in the
            model's units.
        rtol, atol: error per step; ``atol`` in the unit of the states, ``rtol / 100`` by default.

    Returns:
        NaN where a lane cannot be integrated, or where its reference is 0.

    Raises:
        UnsupportedModel, InputError: the model or the request needs the engine.
        UnknownName, UnitError: as `simulate` raises.
    """
    if readout.when != "value" or readout.time is None:
        raise InputError(f"a batch reads values at a time, got {readout!r}; {BY_ENGINE}")
    runs = _Lanes(model, values, lanes, rtol, 1e-2 * rtol if atol is None else atol)
    result = runs.read(experiments, readout)
    with np.errstate(all="ignore"):
        if readout.relative:
            reference = runs.read(reference_experiments(experiments, readout.relative), readout)
            reference = np.where(reference == 0.0, np.nan, reference)
            result = in_relation(readout.relative.how, result, reference)
        if readout.of_maximum:
            largest = np.max(result, axis=0)
            result = 100.0 * result / np.where(largest > 0.0, largest, np.nan)
    return result


@functools.lru_cache(maxsize=4)
def _batch(sbml: str) -> Batch:
    """Workers get many parts of one cohort: the equations are written out once per process."""
    return Batch(read_equations(sbml))


@dataclass(frozen=True)
class _Block:
    """Lanes at the start of a stage or at its end."""

    state: FloatArray  # (n_states, lanes)
    constants: Mapping[str, FloatArray]  # all of them; () or (lanes,) each


class _Lanes:
    """One model with parameter sets in lanes."""

    def __init__(self, model: Model, values: Mapping[str, npt.ArrayLike], lanes: int, rtol: float, atol: float) -> None:
        self.model, self.values, self.lanes = model, values, lanes
        self.batch = _batch(model.to_sbml())
        self.rtol, self.atol = rtol, atol

    def read(self, experiments: Sequence[Experiment], readout: Readout) -> FloatArray:
        assert readout.time is not None
        time = time_in(self.model, readout.time)
        formula = self.model.formula(readout.formula, f"observable {readout.formula!r}")
        formula = substitute(formula, self.batch.equations.reactions)
        seen: Resolved = {}
        schedules = []
        for experiment in experiments:
            stages = resolve(self.model, experiment, seen)
            if math.isinf(stages[0].start):
                raise InputError(f"a batch does not look for steady states; {BY_ENGINE}")
            if time < stages[0].start and not same_time(time, stages[0].start):
                raise InputError(f"times must not lie before the first period ({stages[0].start:g}), got {time:g}")
            schedules.append(tuple(s for s in stages if s.start <= time or same_time(s.start, time)))
        result = np.empty((len(schedules), self.lanes))
        for starts in dict.fromkeys(tuple(stage.start for stage in stages) for stages in schedules):
            which = [i for i, stages in enumerate(schedules) if tuple(s.start for s in stages) == starts]
            result[which] = self._walk([schedules[i] for i in which], starts, time, formula)
        return result if readout.gate is None else readout.gate.fraction(result)

    def _walk(
        self, schedules: Sequence[tuple[Stage, ...]], starts: tuple[float, ...], time: float, formula: Expression
    ) -> FloatArray:
        """Schedules with the same starts, side by side; shape ``(n_schedules, lanes)``."""
        names = tuple(sorted(formula.names - {TIME_NAME}))
        blocks: dict[tuple[Stage, ...], _Block] = {}
        read: FloatArray = np.empty((len(names), 1, 0))
        for index, start in enumerate(starts):
            last = index == len(starts) - 1
            duration = max((time if last else starts[index + 1]) - start, 0.0)
            prefixes = list(dict.fromkeys(stages[: index + 1] for stages in schedules))
            begun = [
                self._changed(blocks[prefix[:-1]], prefix[-1].changes) if index else self._begun(prefix[-1].changes)
                for prefix in prefixes
            ]
            state = np.concatenate([block.state for block in begun], axis=1)
            read, state = self.batch.run(
                state, self._together(begun), (duration,), names if last else (), rtol=self.rtol, atol=self.atol
            )
            parts = np.split(state, len(begun), axis=1)
            blocks = {
                prefix: _Block(part, block.constants)
                for prefix, part, block in zip(prefixes, parts, begun, strict=True)
            }
        environment: dict[str, npt.ArrayLike] = {name: read[i, 0] for i, name in enumerate(names)}
        environment[TIME_NAME] = time
        table = np.broadcast_to(evaluate(formula, environment), (len(blocks) * self.lanes,)).reshape(-1, self.lanes)
        rows = {prefix: row for prefix, row in zip(blocks, table, strict=True)}
        return np.stack([rows[stages] for stages in schedules])

    def _together(self, blocks: Sequence[_Block]) -> dict[str, FloatArray]:
        joined: dict[str, FloatArray] = {}
        for name in self.batch.constants:
            parts = [block.constants[name] for block in blocks]
            if all(part is parts[0] for part in parts) and np.ndim(parts[0]) == 0:
                joined[name] = parts[0]
            else:
                joined[name] = np.concatenate([np.broadcast_to(part, (self.lanes,)) for part in parts])
        return joined

    # ---- changes, in the order of `kinetics.runner`: evaluated on the state before, then applied together ----

    def _begun(self, changes: Changes) -> _Block:
        plain = _Block(self.batch.initial(self.values, self.lanes), self.batch.settled(self.values, self.lanes))
        if not changes:
            return plain
        now = self._evaluated(plain, changes)
        entities = self.model.description.entities
        # Initial values follow a constant that is set at the start; nothing follows a dose.
        followed = {n: v for n, v in now.items() if entities[n].constant or entities[n].kind != "species"}
        values = {**self.values, **followed}
        begun = _Block(self.batch.initial(values, self.lanes), self.batch.settled(values, self.lanes))
        return self._set(begun, now)

    def _changed(self, block: _Block, changes: Changes) -> _Block:
        for target, _ in changes:
            if self.model.entity(target).kind == "compartment":
                raise UnsupportedModel(f"a batch does not change the size of {target!r} on the way; {BY_ENGINE}")
        return self._set(block, self._evaluated(block, changes))

    def _evaluated(self, block: _Block, changes: Changes) -> dict[str, FloatArray]:
        known: dict[str, npt.ArrayLike] = {**dict(zip(self.batch.states, block.state, strict=True)), **block.constants}
        values: dict[str, FloatArray] = {}
        for target, change in changes:
            if not isinstance(change, Expression):
                values[target] = np.asarray(change, dtype=float)
                continue
            formula = self.batch.equations.inline(substitute(change, self.batch.equations.reactions))
            if TIME_NAME in formula.names:
                raise UnsupportedModel(f"the value of {target!r} depends on time; {BY_ENGINE}")
            value = np.asarray(evaluate(formula, known), dtype=float)
            if self.model.entity(target).kind == "species":  # as the engine refuses it, for this lane alone
                value = np.where(value < 0.0, np.nan, value)
            values[target] = value
        return values

    def _set(self, block: _Block, values: Mapping[str, FloatArray]) -> _Block:
        state, constants = np.array(block.state), dict(block.constants)
        for name, value in values.items():
            if name in constants:
                constants[name] = value
            else:
                state[self.batch.states.index(name)] = value
        return _Block(state, constants)
