"""Run experiments on models: ``simulate(model, experiment, times, observables)``.

Order at the start of each period, as in PEtab v2: the values of all changes are evaluated on the state just
before it, then all are applied at once, then the integration goes on; at the very start the model is first
brought to its initial state, and initial assignments that follow from changed constants are evaluated again.
Values passed as ``parameters`` come before that, so initial assignments follow them whatever they are; a species
that the first period sets is a dose, and nothing follows it.
At the time where a period starts, read-outs show the state after its changes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from kinetics.engine import Solver
from kinetics.errors import InputError, UnknownName
from kinetics.experiment import Experiment
from kinetics.expression import Expression, Symbol, evaluate
from kinetics.model import Model
from kinetics.progress import track
from kinetics.runner import Runner
from kinetics.schedule import Resolved, Stage, check_overrides, resolve, same_time, time_in
from kinetics.timecourse import Status, TimeCourse
from kinetics.units import Quantity

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """What to read from the engine, and how observables follow from it."""

    names: tuple[str, ...]
    formulas: tuple[Expression, ...]
    symbols: tuple[str, ...]  # entities the formulas need
    selections: tuple[str, ...]  # the engine's words for them; "time" first

    @classmethod
    def of(cls, model: Model, observables: Iterable[str] | Mapping[str, str], given: Collection[str] = ()) -> Reading:
        """``given`` names values that the file may leave out, because the request states them."""
        if isinstance(observables, str):
            observables = (observables,)
        texts = dict(observables) if isinstance(observables, Mapping) else {name: name for name in observables}
        if not texts:
            raise InputError("nothing to observe: pass at least one species, parameter, readout or formula")
        formulas = tuple(model.formula(text, f"observable {name!r}") for name, text in texts.items())
        symbols = tuple(sorted(set().union(*(formula.names for formula in formulas)) - {"$time"}))
        model.require(symbols, given)
        selections = ("time", *(model.entity(name).selection for name in symbols))
        return cls(tuple(texts), formulas, symbols, selections)

    def evaluate(self, table: FloatArray) -> FloatArray:
        """Observables, shape ``(n_times, n_observables)``, from the engine's columns."""
        if len(self.formulas) == 1 and len(self.symbols) == 1 and isinstance(self.formulas[0], Symbol):
            return table[:, 1:]  # a symbol as it is, the common case
        environment: dict[str, npt.ArrayLike] = {"$time": table[:, 0]}
        for index, name in enumerate(self.symbols):
            environment[name] = table[:, index + 1]
        values = np.empty((len(table), len(self.formulas)))
        for index, formula in enumerate(self.formulas):
            with np.errstate(all="ignore"):
                values[:, index] = evaluate(formula, environment)
        return values


def _times(model: Model, times: npt.ArrayLike | Iterable[str], start: float) -> FloatArray:
    raw: list[float | str | Quantity]
    if isinstance(times, str | int | float | Quantity):
        raw = [times]
    else:
        try:
            raw = list(cast("Iterable[float | str | Quantity]", times))
        except TypeError:
            raise InputError(f"times must be numbers or text with a unit, got {times!r}") from None
    values = np.array([time_in(model, item) for item in raw], dtype=np.float64)
    if len(values) == 0:
        raise InputError("times are empty: pass at least one time to read at")
    with np.errstate(invalid="ignore"):
        rising = np.diff(values) > 0.0
    if not np.all(rising):
        raise InputError(f"times must increase strictly, got {_short(values)}")
    if values[0] < start and not same_time(float(values[0]), start):
        raise InputError(f"times must not lie before the first period ({start:g}), got {values[0]:g}")
    return values


def _short(values: FloatArray) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:8])
    return f"[{shown}{', ...' if len(values) > 8 else ''}]"


def simulate_many(
    model: Model,
    experiments: Sequence[Experiment],
    times: npt.ArrayLike | Sequence[str],
    observables: Iterable[str] | Mapping[str, str],
    *,
    solver: Solver | None = None,
    parameters: Mapping[str, float] | None = None,
    progress: bool | None = None,
) -> list[TimeCourse]:
    """Several experiments at the same times.  Periods they have in common are integrated once.

    Sharing changes nothing: the result is that of single runs to the last bit.  Models with events are run from
    the start each time, because pending events cannot be handed on.

    Arguments and errors are those of `simulate`; ``progress`` is whether a bar is drawn when it takes long, by default
    where somebody looks (`kinetics.progress`).
    """
    if isinstance(observables, str):
        observables = (observables,)
    check_overrides(model, parameters or {})
    seen: Resolved = {}
    schedules = [resolve(model, experiment, seen) for experiment in experiments]
    first = [{target for target, _ in stages[0].changes} for stages in schedules]
    reading = Reading.of(model, observables, {*(parameters or {}), *(set.intersection(*first) if first else ())})
    settings = solver or Solver()
    run = Runner(model, reading.selections, settings)
    run.prepare(parameters or {})
    texts = list(observables.values()) if isinstance(observables, Mapping) else list(reading.names)
    units = tuple(model.unit_of(text) for text in texts)
    results = []
    grids: dict[float, FloatArray] = {}
    with track("simulating", len(schedules), progress=progress, unit="experiments") as bar:
        for experiment, stages in zip(experiments, schedules, strict=True):
            start = next(stage.start for stage in stages if math.isfinite(stage.start))
            if start not in grids:
                grids[start] = _times(model, times, start)
            grid = grids[start]
            with run.engine.lock:
                table = run(_until(stages, grid[-1]), grid, experiment.id)
            results.append(
                TimeCourse(
                    grid,
                    reading.evaluate(table),
                    reading.names,
                    units,
                    model.time_unit,
                    model.name,
                    experiment.id,
                    settings,
                    Status.STEADY if np.isinf(grid[-1]) else Status.COMPLETED,
                )
            )
            bar.advance()
    return results


def _until(stages: tuple[Stage, ...], last: float) -> tuple[Stage, ...]:
    """Periods that start after the last time are not run."""
    return tuple(stage for stage in stages if stage.start <= last)


def simulate(
    model: Model,
    experiment: Experiment | None = None,
    times: npt.ArrayLike | Sequence[str] = (),
    observables: Iterable[str] | Mapping[str, str] = (),
    *,
    solver: Solver | None = None,
    parameters: Mapping[str, float] | None = None,
) -> TimeCourse:
    """Run one experiment on a model and read it at some times.

    Args:
        experiment: what is done to the cells; ``None`` runs the model as it is, from time 0.
        times: strictly increasing, numbers in the model's time unit or text with a unit; ``inf`` as the last one
            asks for the steady state.
        observables: species, parameters, readouts or formulas; or formulas by name.  Species are
            concentrations, or amounts where the model says so.
        solver: tolerances; the default is rtol 1e-8, atol 1e-12.
        parameters: values that replace the model's before anything else, in its units.

    Returns:
        Values of shape ``(n_times, n_observables)`` with units.

    Raises:
        InputError, UnknownName, UnitError: the request cannot be meant.
        MissingValue: the result depends on a value the model leaves out.
        IntegrationFailed, NoSteadyState: the computation failed.

    Example:
        >>> model = Model.load("il7_stat5_imatinib")
        >>> course = simulate(model, Experiment.steps(("30 min", {"IL7": "1 ng/ml"})), [0, 10, 30], ["pSTAT5_total"])
        >>> course["pSTAT5_total"].shape
        (3,)
    """
    if not isinstance(model, Model):
        raise UnknownName("model object", repr(model)[:40], ("Model.load(...)",))
    names: Iterable[str] | Mapping[str, str] = observables
    if not isinstance(observables, str | Mapping):
        names = tuple(observables) or tuple(model.readouts) or model.species
        if not all(isinstance(name, str) for name in names):
            raise InputError(f"observables are names or formulas, got {names!r}")
    return simulate_many(model, [experiment or Experiment()], times, names, solver=solver, parameters=parameters)[0]
