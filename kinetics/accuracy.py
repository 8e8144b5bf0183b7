"""Does the answer depend on the tolerances?  Repeat a run 100 times tighter and say the largest difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kinetics.dosing import DoseProtocol, dose_response
from kinetics.engine import Solver
from kinetics.experiment import Experiment
from kinetics.model import Model
from kinetics.simulation import simulate

TIGHTER = 100.0


@dataclass(frozen=True)
class Convergence:
    """The largest difference between a run and the same run at tighter tolerances.

    Differences are relative to the largest magnitude that the observable reaches, so that a
    value passing through zero does not count as infinitely wrong.
    """

    largest: float
    where: str
    solver: Solver
    tighter: Solver

    def __str__(self) -> str:
        return (
            f"largest difference {self.largest:.2g} relative ({self.where}) between rtol {self.solver.rtol:g}, "
            f"atol {self.solver.atol:g} and rtol {self.tighter.rtol:g}, atol {self.tighter.atol:g}"
        )


def _compare(
    values: npt.NDArray[np.float64],
    reference: npt.NDArray[np.float64],
    rows: Iterable[str],
    columns: Iterable[str],
    solver: Solver,
    tighter: Solver,
) -> Convergence:
    scale = np.max(np.abs(reference), axis=0, keepdims=True)
    difference = np.abs(values - reference) / np.where(scale > 0.0, scale, 1.0)
    row, column = np.unravel_index(int(np.argmax(difference)), difference.shape)
    where = f"{list(columns)[int(column)]} at {list(rows)[int(row)]}"
    return Convergence(float(difference[row, column]), where, solver, tighter)


def convergence(
    model: Model,
    experiment: Experiment | None = None,
    times: npt.ArrayLike = (),
    observables: Iterable[str] | Mapping[str, str] = (),
    *,
    solver: Solver | None = None,
    parameters: Mapping[str, float] | None = None,
) -> Convergence:
    """Run `simulate` twice, at ``solver`` and 100x tighter; arguments and errors are those of `simulate`."""
    chosen = solver or Solver()
    courses = [
        simulate(model, experiment, times, observables, solver=item, parameters=parameters)
        for item in (chosen, chosen.tighter(TIGHTER))
    ]
    rows = (f"time {time:g} {courses[0].time_unit}" for time in courses[0].times)
    return _compare(courses[0].values, courses[1].values, rows, courses[0].observables, chosen, chosen.tighter(TIGHTER))


def curve_convergence(
    model: Model,
    protocol: DoseProtocol,
    *,
    solver: Solver | None = None,
    parameters: Mapping[str, float] | None = None,
) -> Convergence:
    """Run `dose_response` twice, at ``solver`` and 100x tighter."""
    chosen = solver or Solver()
    curves = [
        dose_response(model, protocol, solver=item, parameters=parameters) for item in (chosen, chosen.tighter(TIGHTER))
    ]
    rows = (f"dose {dose:g} {curves[0].dose_unit}" for dose in curves[0].doses)
    return _compare(
        curves[0].responses[:, None],
        curves[1].responses[:, None],
        rows,
        [curves[0].readout],
        chosen,
        chosen.tighter(TIGHTER),
    )
