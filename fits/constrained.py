"""Re-optimise while one parameter, or one quantity derived from the parameters, is held: the points of a profile.

A parameter is held by searching over the others.  A quantity ``q`` is pulled towards a target ``c`` by adding
``weight (q - c)^2 / 2`` to the objective (the validation profile of Kreutz, Raue and Timmer 2012,
doi:10.1186/1752-0509-6-120).  Where that search ends, no point with the same ``q`` has a lower objective, so the point
lies on the profile exactly, only at its own ``q`` rather than at ``c``; no constraint has to be met to any tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from fits.evaluation import Evaluation, FloatArray, Objective
from fits.information import DIFFERENCE
from fits.local import Descent, ExitReason, Tolerance, slope_of, usable
from fits.store import StoreMismatch
from kinetics.errors import SimulationError

Quantity = Callable[[FloatArray], float | tuple[float, FloatArray]]
TOLERANCE = Tolerance(value=1e-10, gradient=1e-6, step=1e-9)


@dataclass(frozen=True, eq=False)
class HeldPoint:
    """Where a search with something held ended."""

    target: float  # what was asked for
    at: float  # the parameter or quantity there
    x: FloatArray  # (n,), search scale; NaN where it failed
    value: float  # of the objective; inf where it failed
    converged: bool = True
    failure: str = ""  # why it failed; or, at a point that did not, the failures that the search leans on

    def to_document(self) -> dict[str, Any]:
        return {
            "target": self.target, "at": self.at, "x": self.x, "value": self.value,
            "converged": self.converged, "failure": self.failure,
        }  # fmt: skip

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> HeldPoint:
        return cls(
            float(document["target"]),
            float(document["at"]),
            np.array([float(v) for v in document["x"]]),
            float(document["value"]),
            bool(document["converged"]),
            str(document["failure"]),
        )


class Line(Protocol):
    """What is held."""

    def solve(self, target: float, starts: Sequence[FloatArray]) -> HeldPoint:
        """The best point for a target, searched from the best of some starts, ``(n,)`` each."""


@dataclass(frozen=True, eq=False)
class Ended:
    """Where a search for the others ended."""

    x: FloatArray  # of what was searched
    evaluation: Evaluation
    converged: bool
    failure: str  # what the search leans on, if it does


def descend(
    function: Callable[[FloatArray], Evaluation],
    starts: Sequence[FloatArray],
    lower: FloatArray,
    upper: FloatArray,
    scale: FloatArray,
    max_evaluations: int,
) -> Ended | str:
    """The local optimum from the best of some starts, or why none of them can be evaluated."""
    best: tuple[FloatArray, Evaluation] | None = None
    failure = ""

    def watched(x: FloatArray) -> Evaluation:
        nonlocal failure
        found = function(x)
        if not usable(found):
            failure = found.failure or "value or derivatives are missing or not finite"
        return found

    for start in starts:
        x = np.clip(start, lower, upper)
        found = watched(x)
        if usable(found) and (best is None or found.value < best[1].value):
            best = x, found
    if best is None:
        return failure
    failure = ""
    descent = Descent(watched, *best, lower, upper, scale, TOLERANCE)
    reason = descent.advance(max_evaluations)
    # Only tiny steps are left because longer ones fail: the search leans on a wall of failing simulations.
    leaning = bool(failure) and reason is ExitReason.STEP
    converged = reason.converged and not leaning
    return Ended(descent.x, descent.evaluation, converged, failure if leaning else "")


@dataclass(frozen=True, eq=False)
class FreeLine:
    """Nothing is held: the optimum itself, to be sure that it is one."""

    objective: Objective
    scale: FloatArray  # (n,)
    max_evaluations: int

    def solve(self, target: float, starts: Sequence[FloatArray]) -> HeldPoint:
        lower, upper = np.asarray(self.objective.lower, float), np.asarray(self.objective.upper, float)

        def function(x: FloatArray) -> Evaluation:
            return self.objective.evaluate(x, derivatives=True)

        found = descend(function, starts, lower, upper, self.scale, self.max_evaluations)
        if isinstance(found, str):
            return HeldPoint(target, math.nan, np.full(len(lower), np.nan), math.inf, False, found)
        return HeldPoint(target, target, found.x, found.evaluation.value, found.converged, found.failure)


@dataclass(frozen=True, eq=False)
class ParameterLine:
    """A parameter is held."""

    objective: Objective
    index: int
    scale: FloatArray  # (n,)
    max_evaluations: int

    def solve(self, target: float, starts: Sequence[FloatArray]) -> HeldPoint:
        i, lower = self.index, np.asarray(self.objective.lower, float)
        upper = np.asarray(self.objective.upper, float)
        rest = np.arange(len(lower)) != i

        def whole(others: FloatArray) -> FloatArray:
            x = np.empty(len(lower))
            x[rest], x[i] = others, target
            return x

        def function(others: FloatArray) -> Evaluation:
            found = self.objective.evaluate(whole(others), derivatives=True)
            return replace(
                found,
                gradient=None if found.gradient is None else found.gradient[rest],
                jacobian=None if found.jacobian is None else found.jacobian[:, rest],
                hessian=None if found.hessian is None else found.hessian[np.ix_(rest, rest)],
            )

        if len(lower) == 1:  # nothing left to search
            found = self.objective.evaluate(np.array([target]))
            value = found.value if not found.failed else math.inf
            return HeldPoint(target, target, np.array([target]), value, not found.failed, found.failure)
        begin = [start[rest] for start in starts]
        end = descend(function, begin, lower[rest], upper[rest], self.scale[rest], self.max_evaluations)
        if isinstance(end, str):
            return HeldPoint(target, math.nan, np.full(len(lower), np.nan), math.inf, False, end)
        x, value = whole(end.x), end.evaluation.value
        return HeldPoint(target, target, x, value, end.converged, end.failure)


@dataclass(frozen=True, eq=False)
class QuantityLine:
    """A quantity is pulled towards its target."""

    objective: Objective
    quantity: Quantity
    weight: float  # of its squared distance from the target
    scale: FloatArray  # (n,)
    max_evaluations: int

    def solve(self, target: float, starts: Sequence[FloatArray]) -> HeldPoint:
        lower, upper = np.asarray(self.objective.lower, float), np.asarray(self.objective.upper, float)

        def function(x: FloatArray) -> Evaluation:
            found = self.objective.evaluate(x, derivatives=True)
            if not usable(found):
                return found
            try:
                at, slope = with_slope(self.quantity, x, lower, upper)
            except SimulationError as error:
                return Evaluation(math.inf, failure=f"the quantity cannot be computed: {error}")
            if not (math.isfinite(at) and np.all(np.isfinite(slope))):
                return Evaluation(math.inf, failure="the quantity is not finite")
            pull = self.weight * (at - target)
            curvature = found.hessian
            if curvature is None and found.jacobian is not None:
                curvature = found.jacobian.T @ found.jacobian
            return Evaluation(
                found.value + 0.5 * pull * (at - target),
                slope_of(found) + pull * slope,
                hessian=None if curvature is None else curvature + self.weight * np.outer(slope, slope),
                details={"at": at, "objective": found.value},
            )

        end = descend(function, starts, lower, upper, self.scale, self.max_evaluations)
        if isinstance(end, str):
            return HeldPoint(target, math.nan, np.full(len(lower), np.nan), math.inf, False, end)
        details = end.evaluation.details
        return HeldPoint(target, details["at"], end.x, details["objective"], end.converged, end.failure)


def with_slope(quantity: Quantity, x: FloatArray, lower: FloatArray, upper: FloatArray) -> tuple[float, FloatArray]:
    """A quantity and its gradient, shape ``(n,)``; by central differences where it gives none."""
    answer = quantity(x)
    if isinstance(answer, tuple):
        return float(answer[0]), np.asarray(answer[1], dtype=float)
    slope = np.empty(len(x))
    for i in range(len(x)):
        ends, values = [], []
        for sign in (1.0, -1.0):
            moved = x.copy()
            moved[i] = min(max(x[i] + sign * DIFFERENCE * (1.0 + abs(x[i])), lower[i]), upper[i])
            other = quantity(moved)
            ends.append(moved[i])
            values.append(float(other[0] if isinstance(other, tuple) else other))
        slope[i] = (values[0] - values[1]) / (ends[0] - ends[1])
    return float(answer), slope


class Recorder:
    """Solves, and remembers what was solved: the k-th call of a repeated walk is answered from the record.

    A walk depends on its points alone, so an interrupted one repeats its steps at no cost and then goes on.
    """

    def __init__(
        self, stored: Mapping[int, Mapping[str, Any]], put: Callable[[int, dict[str, Any]], None] | None = None
    ) -> None:
        self._stored, self._put = stored, put
        self._count = 0
        self.solved: dict[int, dict[str, Any]] = {}  # anew, by number

    def solve(self, line: Line, target: float, starts: Sequence[FloatArray]) -> HeldPoint:
        number, self._count = self._count, self._count + 1
        if number in self._stored:
            point = HeldPoint.from_document(self._stored[number])
            if not math.isclose(point.target, target, rel_tol=1e-6, abs_tol=1e-9):
                raise StoreMismatch(
                    f"the stored profile went on to {point.target:g} where this one goes to {target:g}: "
                    "it was made by another version of the software or of its libraries; name another store"
                )
            return point
        point = line.solve(target, starts)
        document = point.to_document()
        self.solved[number] = document
        if self._put is not None:
            self._put(number, document)
        return point
