"""The check after a fit: whether a solver that is 100 times tighter changes the conclusion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fits.evaluation import FloatArray, Objective
from fits.gradient_check import tightened
from fits.objective import ProblemObjective
from fits.result import VALUE_TOLERANCE, FitResult


@dataclass(frozen=True)
class ToleranceCheck:
    """The best starts of a fit, evaluated again with a tighter solver."""

    value: float  # of the best start, as the fit has it
    tighter: float  # the same point under the tighter solver; inf where that fails
    failure: str
    same_best: bool  # whether the best start stays the best of those that were checked
    checked: int  # number of starts
    rtol: float

    @property
    def difference(self) -> float:
        return self.tighter - self.value

    @property
    def changes_conclusion(self) -> bool:
        """Whether the objective moves by more than what tells two starts apart, or another start is best."""
        return not abs(self.difference) <= VALUE_TOLERANCE or not self.same_best

    @property
    def sentence(self) -> str:
        if not math.isfinite(self.tighter):
            return (
                f"A 100 times tighter solver (rtol {self.rtol:g}) cannot simulate the best point ({self.failure}): do "
                "not trust it."
            )
        how = f"A 100 times tighter solver (rtol {self.rtol:g}) moves the best objective by {self.difference:.1e}"
        if not abs(self.difference) <= VALUE_TOLERANCE:
            return f"{how}, which is more than {VALUE_TOLERANCE:g}: fit again with tighter tolerances."
        if not self.same_best:
            return f"{how} and makes another start the best: fit again with tighter tolerances."
        return f"{how}: it changes nothing."


def check_tolerances(objective: ProblemObjective, result: FitResult, most: int = 6) -> ToleranceCheck:
    """Evaluate the best starts again with a solver 100 times tighter.

    Raises:
        FitFailed: no start succeeded.
    """
    solver = objective.solver.tighter(100.0)
    tight: Objective = tightened(objective, solver)
    starts = [start for start in (result.best, *result.agreeing()[1:]) if np.all(np.isfinite(start.x))][:most]
    values: list[float] = []
    failure = ""
    for number, start in enumerate(starts):
        point: FloatArray = start.x
        found = tight.evaluate(point)
        values.append(found.value)
        if number == 0:
            failure = found.failure
    # Starts that end at one optimum differ by less than their searches were asked for: that is no other best.
    same = values[0] <= min(values) + 0.1 * VALUE_TOLERANCE
    return ToleranceCheck(result.value, values[0], failure, same, len(values), solver.rtol)
