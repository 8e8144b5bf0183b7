"""Fit curves to one or many arms, with any parameters shared.

>>> fitted = fit_curves(curve, "4pl", shared=("bottom", "hill"))    # doctest: +SKIP
>>> print(describe_arms(fitted)["drug"])                          # doctest: +SKIP
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from fits.constrained import descend
from fits.curvefit.forms import GAPS, SKEWS, SLOPES, FloatArray, Form, Kind, form_named
from fits.curvefit.layout import DIFFERENCE, Layout, arrange, canonical
from fits.curvefit.likelihood import CurveObjective, Noise
from fits.curvefit.points import Points, check_axes, points_of, reason_not_to_fit
from fits.curvefit.starts import starts_for
from fits.evaluation import Evaluation
from fits.reported import ReportedCurve
from fits.selection import Candidate
from kinetics.errors import InputError, SimulationError

BEYOND = 3.0  # decades outside of the tested doses in which an EC50 is sought
ROOM = 20.0  # plateaus are sought within this many spreads of the responses around them
EVALUATIONS = 400
SAME = 1e-6  # of a negative log-likelihood


@dataclass(frozen=True, eq=False)
class JointMean:
    """Responses of all arms as a function of what is estimated; picklable, unlike a closure."""

    points: Points
    layout: Layout

    def __call__(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        f = np.empty(len(self.points))
        jacobian = np.empty((len(self.points), len(self.layout.names)))
        for arm in range(len(self.layout.arms)):
            rows = self.points.arm == arm
            f[rows], local = self.layout.form.mean(self.points.doses[rows], self.layout.theta(x, arm))
            jacobian[rows] = local @ self.layout.matrix[arm]
        return f, jacobian


@dataclass(frozen=True, eq=False)
class JointFit:
    """One likelihood and where it is highest."""

    points: Points
    layout: Layout
    objective: CurveObjective
    x: FloatArray  # (n,)
    nllh: float
    optima: int  # searches that ended in this optimum
    searches: int

    def theta(self, arm: str | int) -> FloatArray:
        """Parameters of the shape for one arm, ``(p,)``."""
        number = arm if isinstance(arm, int) else self.layout.arms.index(arm)
        return self.layout.theta(self.x[: len(self.layout.names)], number)

    def predict(self, arm: str, doses: FloatArray) -> FloatArray:
        """The fitted curve, ``(m,)``."""
        return self.layout.form.mean(np.asarray(doses, dtype=float), self.theta(arm))[0]

    @property
    def sigma(self) -> float:
        return self.objective.sigma(self.x)

    @property
    def candidate(self) -> Candidate:
        """For `fits.selection`."""
        return Candidate(self.nllh, self.objective.n_parameters, self.objective.n_data)


@dataclass(frozen=True, eq=False)
class CurveFits:
    """Fits of all arms of a table; arms without shared parameters are fitted each by itself."""

    form: Form
    parts: tuple[JointFit, ...]
    not_fitted: Mapping[str, str] = field(default_factory=dict)  # by arm: why
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(arm for part in self.parts for arm in part.layout.arms)

    def part(self, arm: str) -> JointFit:
        """The fit an arm is part of.

        Raises:
            InputError: it was not fitted; the message says why.
        """
        from kinetics.errors import UnknownName

        for part in self.parts:
            if arm in part.layout.arms:
                return part
        if arm in self.not_fitted:
            raise InputError(f"arm {arm!r} was not fitted: {self.not_fitted[arm]}")
        raise UnknownName("arm", arm, (*self.arms, *self.not_fitted), "the fitted curves")


def fit_curves(
    curve: ReportedCurve | Points,
    form: str | Form = "4pl",
    *,
    shared: Iterable[str] = (),
    fixed: Mapping[str, float] | None = None,
    noise: Noise | str | None = None,
    robust: bool = False,
    controls: str = "",
) -> CurveFits:
    """Fit a shape to every arm.

    Args:
        form: ``"3pl"`` (Hill slope 1), ``"4pl"``, ``"5pl"`` or ``"biphasic"``.
        shared: parameters that all arms have in common (``bottom``, ``top``, ``ec50``, ``hill``, ...), or ``"all"``.
            Arms that share something are fitted together, with one noise level; otherwise each by itself.
        fixed: values not estimated, as ``{"bottom": 0.0}`` or ``{"hill": 1.0}``.
        noise: ``"constant"``, ``"proportional"`` or ``"stated"`` (the standard deviations beside the points).  By
            default stated where every point has one, else constant; the result says which.
        robust: expect outliers: Student's t instead of the normal distribution.
        controls: an arm of untreated samples, all at dose 0, that belong to every arm; see `points_of`.

    Raises:
        InputError: no arm can be fitted; for several, arms that cannot are named in ``not_fitted``.
    """
    shape = form_named(form)
    together, held = canonical(shared, fixed)
    if controls and "bottom" not in together and "all" not in together:
        together = (*together, "bottom")
    points = curve if isinstance(curve, Points) else points_of(curve, controls=controls)
    sort, notes = _noise(points, noise)
    notes = [*points.notes, *notes]
    warning = check_axes(points)
    warnings = tuple(dict.fromkeys([*points.warnings, *([warning] if warning else [])]))
    apart = arrange(shape, points.arms, together, held)
    reasons = {
        arm: reason
        for number, arm in enumerate(points.arms)
        if (reason := reason_not_to_fit(points, number, shape, _own(apart, number)))
    }
    kept = [arm for arm in points.arms if arm not in reasons]
    groups = [tuple(kept)] if together and kept else [(arm,) for arm in kept]
    parts: list[JointFit] = []
    for group in groups:
        chosen = points.of(group)
        layout = arrange(shape, group, together, held)
        if sort is not Noise.STATED and len(chosen) <= len(layout.names):
            for arm in group:
                reasons[arm] = (
                    f"{len(chosen)} points for {len(layout.names)} parameters leave none to estimate the noise from: "
                    "add replicates or doses, fix or share parameters, or state errors"
                )
            continue
        parts.append(fit_layout(chosen, layout, sort, robust))
    if not parts:
        shown = "; ".join(f"{arm or 'the curve'}: {reason}" for arm, reason in list(reasons.items())[:5])
        raise InputError(f"no arm can be fitted: {shown}")
    return CurveFits(shape, tuple(parts), reasons, tuple(notes), warnings)


def _own(layout: Layout, arm: int) -> int:
    """How many parameters one arm has to itself; all of them where there is only one arm."""
    used = np.any(layout.matrix != 0.0, axis=1)  # (arms, n)
    return int(np.sum(used[arm] & (used.sum(axis=0) == 1)))


def _noise(points: Points, noise: Noise | str | None) -> tuple[Noise, list[str]]:
    known = np.isfinite(points.errors)
    if noise is None:
        if np.all(known):
            return Noise.STATED, ["noise: the standard deviations stated beside the points; pass noise= for another"]
        extra = "; errors are stated for some points only and were not used" if np.any(known) else ""
        return Noise.CONSTANT, [f"noise: one standard deviation, estimated{extra}"]
    sort = Noise.of(noise)
    if sort is Noise.STATED and not np.all(known):
        raise InputError(f"noise='stated' needs an error beside every point; {int(np.sum(~known))} have none")
    return sort, []


def bounds_for(points: Points, layout: Layout) -> tuple[FloatArray, FloatArray]:
    """Between which values each estimated parameter is sought, ``(n,)`` each.

    A difference between arms has no place on the axis of its parameter: it is sought from minus to plus the width of
    that range, whatever the unit of doses and the level of responses.
    """
    spread = float(np.ptp(points.responses)) or 1.0
    low, high = float(points.responses.min()) - ROOM * spread, float(points.responses.max()) + ROOM * spread
    edges = {
        Kind.RESPONSE: (low, high),
        Kind.LOG_DOSE: (math.log10(points.lowest) - BEYOND, math.log10(points.highest) + BEYOND),
        Kind.LOG_SLOPE: (math.log(SLOPES[0]), math.log(SLOPES[1])),
        Kind.LOG_SKEW: (math.log(SKEWS[0]), math.log(SKEWS[1])),
        Kind.GAP: GAPS,
    }
    chosen = []
    for name, role in zip(layout.names, layout.roles, strict=True):
        one, other = edges[layout.form.kinds[role]]
        chosen.append((one - other, other - one) if name.startswith(DIFFERENCE) else (one, other))
    return np.array([pair[0] for pair in chosen]), np.array([pair[1] for pair in chosen])


def fit_layout(
    points: Points, layout: Layout, noise: Noise, robust: bool = False, *, extra: Iterable[FloatArray] = ()
) -> JointFit:
    """Fit one layout; ``extra`` are further starting vectors.

    Raises:
        SimulationError: no search came to an end.
    """
    lower, upper = bounds_for(points, layout)
    objective = CurveObjective(
        layout.names, lower, upper, JointMean(points, layout), points.responses, noise, points.errors, robust
    )
    first = starts_for(points, layout, objective)
    found = search(objective, [*first, *extra])
    return JointFit(points, layout, objective, *found)


def search(objective: CurveObjective, starts: Iterable[FloatArray]) -> tuple[FloatArray, float, int, int]:
    """The best of searches from several starts: where, how low, how many of them ended there, and how many there were.

    Raises:
        SimulationError: none came to an end.
    """
    lower, upper = objective.lower, objective.upper
    scale = upper - lower

    def evaluate(x: FloatArray) -> Evaluation:
        return objective.evaluate(x, derivatives=True)

    best, values, failure = None, [], ""
    for start in starts:
        end = descend(evaluate, [np.clip(start, lower, upper)], lower, upper, scale, EVALUATIONS)
        if isinstance(end, str):
            failure = end
            continue
        values.append(end.evaluation.value)
        if best is None or end.evaluation.value < best.evaluation.value:
            best = end
    if best is None:
        raise SimulationError(f"the curve cannot be evaluated at any starting point: {failure}")
    lowest = best.evaluation.value
    same = sum(value - lowest < SAME * (1.0 + abs(lowest)) for value in values)
    return best.x, lowest, same, len(values)
