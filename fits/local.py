"""One local search: a trust-region method between bounds, for sums of squares and for anything else.

Around the current point the objective is replaced by a convex quadratic, which is minimised over the intersection of
the bounds with a box, the trust region.  A box inside a box is a box, so the bounds cost nothing and a parameter that
belongs on its bound lies exactly there.  The curvature of the quadratic comes from the best source an evaluation
offers: its ``hessian`` (Fisher information, say), else ``J.T @ J`` of its residuals.  Both leave out a part that
matters where the fit is poor; that part, or everything where there is no source, is learnt from the slopes by symmetric
rank-one updates (Conn, Gould and Toint 1991, doi:10.1007/BF01594934).  A trial point whose simulation failed shrinks
the trust region and nothing else.

All sums are taken without threaded linear algebra where their order could matter, so that the same start ends in the
same bits in any process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from fits.evaluation import Evaluation, FloatArray

EPSILON = float(np.finfo(float).eps)


class ExitReason(Enum):
    """Why a start ended; the value is the name in files, `sentence` says it in words."""

    GRADIENT = "gradient"
    VALUE = "value"
    STEP = "step"
    EVALUATIONS = "evaluations"
    TIME = "time"
    NO_POINT = "no point"
    ERROR = "error"
    DIED = "died"
    HUNG = "hung"

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]

    @property
    def converged(self) -> bool:
        return self in (ExitReason.GRADIENT, ExitReason.VALUE, ExitReason.STEP)

    @property
    def failed(self) -> bool:
        """Whether the start has no point to show."""
        return self in (ExitReason.NO_POINT, ExitReason.ERROR, ExitReason.DIED, ExitReason.HUNG)


_SENTENCES = {
    ExitReason.GRADIENT: "converged: the slope is as good as zero in every direction the bounds leave open",
    ExitReason.VALUE: "converged: no step promises an improvement worth having",
    ExitReason.STEP: "converged: only steps too small to matter still improve the objective",
    ExitReason.EVALUATIONS: "stopped at the limit of evaluations before it converged",
    ExitReason.TIME: "stopped at the time limit before it converged",
    ExitReason.NO_POINT: "no starting point could be evaluated",
    ExitReason.ERROR: "the objective raised an error",
    ExitReason.DIED: "the worker process died, and died again when the start was repeated",
    ExitReason.HUNG: "the worker process did not answer within the time limit and was ended",
}


@dataclass(frozen=True)
class Tolerance:
    """When a local search has converged."""

    value: float = 1e-8  # change of the objective, relative to 1 + |objective|
    gradient: float = 1e-6  # largest slope the bounds leave open, per unit of the search scale
    step: float = 1e-8  # largest step, as a fraction of the search range of the parameter


def open_gradient(x: FloatArray, gradient: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """The gradient without the components that push a parameter against its bound, shape ``(n,)``."""
    blocked = ((x <= lower) & (gradient > 0)) | ((x >= upper) & (gradient < 0))
    return np.where(blocked, 0.0, gradient)


def usable(evaluation: Evaluation) -> bool:
    """Whether the search can stand on this point: a finite value with finite derivatives."""
    if evaluation.failed:
        return False
    parts = (evaluation.gradient, evaluation.residuals, evaluation.jacobian, evaluation.hessian)
    if evaluation.gradient is None and (evaluation.residuals is None or evaluation.jacobian is None):
        return False
    return all(part is None or bool(np.all(np.isfinite(part))) for part in parts)


class Descent:
    """A search on its way down from a point that can be evaluated; `advance` takes it further.

    Args:
        function: the objective with derivatives; a failed point is an `Evaluation` that is not `usable`.
        x: where to begin, shape ``(n,)``, within the bounds.
        first: ``function(x)``, usable.
        lower, upper: bounds, shape ``(n,)``; may be infinite.
        scale: how far each parameter may plausibly range, shape ``(n,)``; steps are measured by it.
        tolerance: when the search has converged.
    """

    def __init__(
        self,
        function: Callable[[FloatArray], Evaluation],
        x: FloatArray,
        first: Evaluation,
        lower: FloatArray,
        upper: FloatArray,
        scale: FloatArray,
        tolerance: Tolerance | None = None,
    ) -> None:
        self._function, self._tolerance = function, tolerance or Tolerance()
        self._lower, self._upper, self._scale = lower, upper, scale
        self.x, self.evaluation = np.clip(x, lower, upper), first
        self.iterations = 0
        # From here on everything is in units of ``scale``.
        self._slope = slope_of(first) * scale
        self._radius, self._quiet = 0.1, 0
        self._known = _curvature(first, scale)  # what the evaluation tells of the curvature
        n = len(x)
        # What it leaves out, learnt from how the slope changes.  Where it tells nothing, almost none to begin with, so
        # that the first steps follow the slope in every coordinate as far as the trust region lets them.
        self._corrected = self._known is None
        self._rest = np.zeros((n, n))
        if self._known is None:
            self._rest = np.eye(n) * (1e-3 * float(np.max(np.abs(self._slope))) / self._radius)

    def advance(self, evaluations: int, deadline: float = float("inf")) -> ExitReason:
        """Go on for at most so many further evaluations, the last before ``deadline`` of `time.monotonic`."""
        for _ in range(evaluations):
            if self._steepest() <= self._tolerance.gradient:
                return ExitReason.GRADIENT
            if time.monotonic() > deadline:
                return ExitReason.TIME
            reason = self._step()
            if reason is not None:
                return reason
        return ExitReason.GRADIENT if self._steepest() <= self._tolerance.gradient else ExitReason.EVALUATIONS

    def _steepest(self) -> float:
        free = open_gradient(self.x, self._slope / self._scale, self._lower, self._upper)
        return float(np.max(np.abs(free), initial=0.0))

    def _step(self) -> ExitReason | None:
        """Try one step; the reason to stop if there is one."""
        x, scale, here, slope = self.x, self._scale, self.evaluation, self._slope
        whole = self._rest if self._known is None else self._known + self._rest
        curvature = self._known if self._known is not None and not self._corrected else _convex(whole)
        low, high = (self._lower - x) / scale, (self._upper - x) / scale
        step = box_minimum(slope, curvature, np.maximum(low, -self._radius), np.minimum(high, self._radius))
        size = float(np.max(np.abs(step)))
        # One unit in the last place must not carry a parameter over its bound.
        trial = np.where(step <= low, self._lower, np.where(step >= high, self._upper, x + step * scale))
        trial = np.clip(trial, self._lower, self._upper)
        if size <= self._tolerance.step or np.array_equal(trial, x):
            return ExitReason.STEP
        self.iterations += 1
        there = self._function(trial)
        if not usable(there):
            self._radius = 0.25 * size
            return None
        predicted = -float(slope @ step + 0.5 * step @ curvature @ step)
        gained = here.value - there.value
        new_slope, new_known = slope_of(there) * scale, _curvature(there, scale)
        if self._known is not None:  # trust the correction once it foretells steps much better (after NL2SOL)
            errors = [abs(float(slope @ step + 0.5 * step @ m @ step) + gained) for m in (self._known, whole)]
            self._corrected = errors[1] < 0.5 * errors[0]
        # A rejected point teaches as much as an accepted one.
        self._learn((trial - x) / scale, new_slope - slope, new_known)
        held = bool(np.any((np.abs(step) >= self._radius) & (step > low) & (step < high)))
        if max(abs(gained), predicted) <= 10 * EPSILON * abs(here.value):
            ratio = 1.0  # both are rounding errors
        else:
            ratio = gained / predicted
        if ratio < 0.25:
            self._radius = 0.25 * size if ratio < 0 else 0.5 * size
        elif ratio > 0.75 and held:
            self._radius = min(2.0 * self._radius, 1.0)
        # A step cut short by the trust region may gain little while much is left to gain further on.
        worth = self._tolerance.value * (1.0 + abs(here.value))
        self._quiet = self._quiet + 1 if max(abs(gained), predicted) <= worth else 0
        if ratio > 1e-4:
            self.x, self.evaluation, self._slope, self._known = trial, there, new_slope, new_known
        return ExitReason.VALUE if self._quiet >= (5 if held else 1) else None

    def _learn(self, moved: FloatArray, change: FloatArray, known: FloatArray | None) -> None:
        """Correct the curvature so that it explains how the slope changed along a step.

        Where the evaluation explains most of it, only the remainder is learnt (a structured secant, and scaled down as
        residuals shrink: Dennis, Gay and Welsch 1981, doi:10.1145/355958.355965).
        """
        if known is not None:
            change = change - known @ moved
            before = float(moved @ self._rest @ moved)
            if before:
                self._rest = self._rest * min(1.0, abs(float(moved @ change) / before))
        self._rest = _rank_one(self._rest, moved, change)


def box_minimum(gradient: FloatArray, hessian: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """The minimum of ``gradient @ s + s @ hessian @ s / 2`` over ``low <= s <= high``, with ``low <= 0 <= high``.

    ``hessian`` is positive semi-definite, shape ``(n, n)``.  An active-set method: walk towards the minimum over the
    free coordinates, fix the one that meets its bound first, and free a fixed one again where that leads downhill.
    """
    largest = max(float(np.max(np.diag(hessian), initial=0.0)), 1e-300)
    # A direction without curvature would make the system singular; this little is far below any real curvature.
    matrix = hessian + np.diag(np.full(len(gradient), 1e-12 * largest))
    step, free = np.zeros(len(gradient)), np.ones(len(gradient), dtype=bool)
    for _ in range(20 + 10 * len(gradient)):
        slope = gradient + matrix @ step
        move = np.zeros(len(gradient))
        if np.any(free):
            move[free] = -_solve(matrix[np.ix_(free, free)], slope[free])
        room = np.full(len(gradient), np.inf)  # how far each coordinate can go, in units of its move
        up, down = move > 0, move < 0
        room[up] = (high[up] - step[up]) / move[up]
        room[down] = (low[down] - step[down]) / move[down]
        fraction = float(np.min(room, initial=1.0))
        step = np.clip(step + fraction * move, low, high)
        if fraction < 1.0:
            met = room <= fraction
            step[met] = np.where(up, high, low)[met]
            free[met] = False
            continue
        slope = gradient + matrix @ step
        pull = np.where(free, 0.0, np.where(step >= high, slope, -slope))  # positive: wants to leave its bound
        worst = int(np.argmax(pull))
        if pull[worst] <= 1e-12 * float(np.max(np.abs(gradient))):
            break
        free[worst] = True
    return step


def _solve(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """Solve a positive definite system whose rows may differ in size by many orders of magnitude."""
    size = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    scaled = matrix / np.outer(size, size)
    try:
        factor = np.linalg.cholesky(scaled)
        solution = np.linalg.solve(factor.T, np.linalg.solve(factor, right / size))
    except np.linalg.LinAlgError:  # singular to machine precision: the smallest of all solutions
        values, vectors = np.linalg.eigh(scaled)
        values = np.maximum(values, EPSILON * len(right) * max(values[-1], 1.0))
        solution = vectors @ ((vectors.T @ (right / size)) / values)
    return np.asarray(solution / size, dtype=float)


def slope_of(evaluation: Evaluation) -> FloatArray:
    """The gradient of a `usable` evaluation, shape ``(n,)``, from its residuals where it does not carry one."""
    if evaluation.gradient is not None:
        return np.array(evaluation.gradient, dtype=np.float64)
    if evaluation.jacobian is None or evaluation.residuals is None:
        raise ValueError("an evaluation without derivatives has no slope")
    product: FloatArray = np.einsum("ki,k->i", evaluation.jacobian, evaluation.residuals)
    return product


def _curvature(evaluation: Evaluation, scale: FloatArray) -> FloatArray | None:
    """The curvature an evaluation itself offers, in units of ``scale``; ``None`` where it offers none."""
    if evaluation.hessian is not None:
        return _convex(np.asarray(evaluation.hessian, dtype=float) * np.outer(scale, scale))
    if evaluation.jacobian is not None:
        scaled = np.asarray(evaluation.jacobian, dtype=float) * scale
        return np.asarray(np.einsum("ki,kj->ij", scaled, scaled), dtype=float)
    return None


def _convex(matrix: FloatArray) -> FloatArray:
    """The matrix with the signs of its negative eigenvalues turned, so that a saddle is left downhill."""
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    if values[0] >= 0:
        return matrix
    return np.asarray((vectors * np.abs(values)) @ vectors.T, dtype=float)


def _rank_one(matrix: FloatArray, step: FloatArray, change: FloatArray) -> FloatArray:
    """The symmetric rank-one update after which ``matrix @ step == change``."""
    miss = change - matrix @ step
    weight = float(miss @ step)
    if abs(weight) <= 1e-8 * float(np.linalg.norm(miss) * np.linalg.norm(step)):
        return matrix
    return np.asarray(matrix + np.outer(miss, miss) / weight, dtype=float)
