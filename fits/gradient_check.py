"""Whether the gradient of an objective is right: beside central finite differences under a tight solver.

The differences are of fourth order, ``(8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / 12h``.  Where they disagree with
the gradient, smaller and larger steps are tried before the gradient is blamed: a difference that changes with its
step is no judge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fits.evaluation import FloatArray, Objective
from fits.parameters import ParameterSet
from kinetics.engine import Solver
from kinetics.errors import InputError, SimulationError

LARGEST = 1e-4  # allowed error of any component, in units of the largest component
RELATIVE = 1e-3  # allowed error of a component, in units of itself ...
COUNTS = 1e-3  # ... if it is larger than this share of the largest one
OFF = 0.1  # standard deviation of ln(value) around the nominal point
STEP = 1e-3  # on a logarithmic scale; on the linear one relative to the value
TIGHT = Solver(1e-12, 1e-14)
_OTHER_STEPS = (0.25, 4.0)


@dataclass(frozen=True, eq=False)
class GradientCheck:
    """A gradient beside finite differences; arrays are in the order of ``names``, on the search scale."""

    names: tuple[str, ...]
    x: FloatArray  # (n,), where it was checked
    value: float
    gradient: FloatArray  # (n,)
    reference: FloatArray  # (n,), finite differences; NaN where they could not be had
    doubt: FloatArray  # (n,), how far finite differences of neighbouring steps lie apart; NaN where one step did
    inexact: Mapping[str, str]  # parameters whose own gradient is by finite differences, and why

    @property
    def errors(self) -> FloatArray:
        """``|gradient - reference|`` in units of the largest component, shape ``(n,)``."""
        size = float(np.nanmax(np.abs(self.reference), initial=0.0))
        gap = np.abs(self.gradient - self.reference)
        return np.asarray(gap / size if size > 0.0 else np.where(gap == 0.0, 0.0, np.inf))

    @property
    def by_parameter(self) -> dict[str, float]:
        """The error of each component in units of the largest component."""
        return dict(zip(self.names, self.errors.tolist(), strict=True))

    @property
    def largest(self) -> float:
        """The largest of these errors; NaN if no component could be compared."""
        known = self.errors[~np.isnan(self.errors)]
        return float(np.max(known)) if len(known) else math.nan

    @property
    def largest_relative(self) -> float:
        """The largest error of a component in units of itself, among those that count."""
        size = np.abs(self.reference)
        counts = size > COUNTS * float(np.nanmax(size, initial=0.0))
        if not np.any(counts):
            return 0.0
        return float(np.max(np.abs(self.gradient - self.reference)[counts] / size[counts]))

    @property
    def exact(self) -> bool:
        """Whether no component is by finite differences."""
        return not self.inexact

    def _outside(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Components outside of the tolerances, and those for which the differences are no judge, ``(n,)`` each."""
        size = np.abs(self.reference)
        counts = size > COUNTS * float(np.nanmax(size, initial=0.0))
        gap = np.abs(self.gradient - self.reference)
        bad = (self.errors > LARGEST) | (counts & (gap > RELATIVE * size))
        return bad, np.isnan(self.reference) | (bad & (np.nan_to_num(self.doubt) > 0.5 * gap))

    @property
    def wrong(self) -> dict[str, float]:
        """Components outside of the tolerances, by their error in units of the largest component."""
        bad, unclear = self._outside()
        return {n: float(e) for n, e, b in zip(self.names, self.errors, bad & ~unclear, strict=True) if b}

    @property
    def unjudged(self) -> tuple[str, ...]:
        """Components for which there was no finite difference to trust."""
        return tuple(name for name, unclear in zip(self.names, self._outside()[1], strict=True) if unclear)

    @property
    def sound(self) -> bool:
        """Whether every component that could be compared is within the tolerances."""
        return not self.wrong and not math.isnan(self.largest)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdict in words."""
        if math.isnan(self.largest):
            return ("The gradient could not be checked: no finite difference could be computed.",)
        found = []
        share = f"largest error {self.largest:.1e} of the largest component"
        if wrong := self.wrong:
            worst = sorted(wrong, key=lambda name: -wrong[name])
            listed = ", ".join(f"{name} ({wrong[name]:.1e})" for name in worst[:5]) + (", ..." if worst[5:] else "")
            found.append(
                f"The gradient differs from finite differences in {len(wrong)} of {len(self.names)} parameters: "
                f"{listed}; {share}, allowed {LARGEST:g}."
            )
        else:
            found.append(f"The gradient agrees with finite differences ({share}, {len(self.names)} parameters).")
        if self.unjudged:
            found.append(
                f"{len(self.unjudged)} of {len(self.names)} components could not be checked, because the model cannot "
                f"be simulated nearby or differences change with their step: {', '.join(self.unjudged[:5])}."
            )
        found += inexact_sentences(self.inexact, len(self.names))
        return tuple(found)

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def inexact_sentences(inexact: Mapping[str, str], total: int) -> list[str]:
    """Which parameters have gradients by finite differences, and why, one sentence for each reason."""
    if not inexact:
        return [f"All {total} derivatives are exact." if total != 1 else "The derivative is exact."]
    reasons: dict[str, list[str]] = {}
    for name, why in inexact.items():
        reasons.setdefault(why, []).append(name)
    found = []
    for why, names in reasons.items():
        listed = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        who = "All derivatives are" if len(names) == total else f"The derivatives by {listed} are"
        if len(names) == 1 and total > 1:
            who = f"The derivative by {listed} is"
        found.append(f"{who} taken by finite differences, because {why.rstrip('.')}.")
    return found


def inexact_of(objective: Objective) -> dict[str, str]:
    """Parameters whose gradient is by finite differences, and why; empty where the objective does not say."""
    whole = getattr(objective, "flat", objective)  # what is solved for inside is as exact as the problem around it
    found = {**getattr(whole, "inexact", {}), **getattr(getattr(whole, "terms", None), "inexact", {})}
    return {name: why for name, why in found.items() if name in objective.names}


def parameters_of(objective: Objective) -> ParameterSet | None:
    """The parameters behind an objective, with their scales; None where it is no problem's."""
    own = getattr(objective, "parameters", None)
    if own is None:
        own = getattr(getattr(objective, "flat", None), "parameters", None)
    return own if isinstance(own, ParameterSet) else None


def tightened(objective: Objective, solver: Solver = TIGHT) -> Objective:
    """The same objective under another solver, if it has one; its gradients are not prepared."""
    if (change := getattr(objective, "with_solver", None)) is not None:
        made: Objective = change(solver)
        return made
    from fits.hierarchical import HierarchicalObjective
    from fits.objective import ProblemObjective

    if isinstance(objective, ProblemObjective):
        return type(objective)(objective.problem, solver, "finite differences")
    if isinstance(objective, HierarchicalObjective):
        return HierarchicalObjective(objective.problem, solver)
    return objective


def check_point(objective: Objective, seed: int = 0) -> FloatArray:
    """A point 10 % (log) off the nominal one, within the bounds, shape ``(n,)``; depends on the seed alone.

    Parameters without a nominal value are drawn from the middle fifth of their range.
    """
    rng = np.random.default_rng(seed)
    nominal, names = np.asarray(objective.nominal, dtype=float), objective.names
    lower, upper = np.asarray(objective.lower, dtype=float), np.asarray(objective.upper, dtype=float)
    drawn = rng.normal(0.0, OFF, len(names))
    parameters = parameters_of(objective)
    point = np.empty(len(names))
    for i, name in enumerate(names):
        low, high = max(lower[i], -1e300), min(upper[i], 1e300)
        finite = math.isfinite(lower[i]) and math.isfinite(upper[i])
        if math.isnan(nominal[i]):
            middle = 0.5 * (low + high) if finite else float(np.clip(0.0, low, high))
            point[i] = middle + drawn[i] * (high - low if finite else 1.0)
        elif parameters is not None:
            scale = parameters[name].scale
            value = scale.plain(float(nominal[i]))
            shift = math.exp(drawn[i])
            point[i] = scale.scaled(value * shift) if value else drawn[i] * (min(high - low, 10.0) if finite else 1.0)
        else:
            point[i] = nominal[i] + drawn[i] * max(abs(nominal[i]), 0.1)
        room = 3.0 * _step(objective, i, float(np.clip(point[i], low, high)))
        point[i] = float(np.clip(point[i], low + room, high - room)) if high - low > 2.0 * room else 0.5 * (low + high)
    return point


def _step(objective: Objective, index: int, value: float) -> float:
    parameters = parameters_of(objective)
    if parameters is not None and parameters[objective.names[index]].scale.value == "lin":
        return STEP * abs(value) if value else STEP * 0.1
    return STEP


def gradient_check(
    objective: Objective, x: npt.ArrayLike | None = None, seed: int = 0, *, reference: Objective | None = None
) -> GradientCheck:
    """Compare an objective's gradient with finite differences of the same objective under a tight solver.

    Args:
        x: where, on the search scale, shape ``(n,)``; by default `check_point` with the seed.
        reference: what finite differences are taken of; by default the objective at rtol 1e-12.

    Raises:
        InputError: ``x`` has another shape.
        SimulationError: the objective or its gradient cannot be evaluated there.
    """
    point = check_point(objective, seed) if x is None else np.array(x, dtype=float)
    if point.shape != (len(objective.names),):
        raise InputError(f"the point needs {len(objective.names)} values, one per parameter, got shape {point.shape}")
    found = objective.evaluate(point, derivatives=True)
    if found.failed:
        raise SimulationError(f"the objective cannot be evaluated at the point of the gradient check: {found.failure}")
    gradient = found.gradient
    if gradient is None and found.jacobian is not None and found.residuals is not None:
        gradient = found.jacobian.T @ found.residuals
    if gradient is None:
        raise SimulationError(f"no gradient at the point of the check: {found.failure or 'the objective gives none'}")
    judge = reference or tightened(objective)
    n = len(point)
    differences = np.array([_difference(judge, point, i, _step(objective, i, point[i])) for i in range(n)])
    doubt = np.full(n, np.nan)
    size = float(np.nanmax(np.abs(differences), initial=0.0))
    for i in range(n):
        gap = abs(gradient[i] - differences[i])
        counts = abs(differences[i]) > COUNTS * size
        # A tenth of what is allowed, because a small gap may be an error of the difference that happens to fit.
        if not gap <= 0.1 * (min(LARGEST * size, RELATIVE * abs(differences[i])) if counts else LARGEST * size):
            differences[i], doubt[i] = _steadiest(judge, point, i, _step(objective, i, point[i]), differences[i])
    return GradientCheck(
        tuple(objective.names), point, found.value, np.asarray(gradient, dtype=float), differences, doubt,
        inexact_of(objective),
    )  # fmt: skip


def _difference(objective: Objective, x: FloatArray, index: int, step: float) -> float:
    values = []
    for factor in (1.0, -1.0, 2.0, -2.0):
        moved = x.copy()
        moved[index] += factor * step
        values.append(objective.evaluate(moved).value)
    if not all(map(math.isfinite, values)):
        return math.nan
    return (8.0 * (values[0] - values[1]) - (values[2] - values[3])) / (12.0 * step)


def _steadiest(objective: Objective, x: FloatArray, index: int, step: float, known: float) -> tuple[float, float]:
    """The difference whose neighbour in step size agrees best, and how far the two lie apart."""
    small, large = (_difference(objective, x, index, factor * step) for factor in _OTHER_STEPS)
    pairs = [(abs(small - known), small, known), (abs(large - known), known, large)]
    usable = [pair for pair in pairs if math.isfinite(pair[0])]
    if not usable:
        alone = [value for value in (known, small, large) if math.isfinite(value)]
        return (alone[0], math.nan) if alone else (math.nan, math.nan)
    apart, first, second = min(usable)
    return 0.5 * (first + second), apart
