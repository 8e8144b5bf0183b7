"""Where the searches for a curve begin: a grid over midpoints and slopes, with the best plateaus for each.

Given midpoint and slope a curve is linear in its plateaus, so the best ones are algebra.  The grid covers the tested
doses and half a decade on both sides; a valley of the likelihood narrower than its mesh would need points closer
than that.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from fits.curvefit.forms import FloatArray, Form, Kind
from fits.curvefit.layout import Layout
from fits.curvefit.likelihood import DEGREES, CurveObjective
from fits.curvefit.points import Points

MIDPOINTS = 24
SLOPES = (0.5, 1.0, 2.0, 5.0)
SKEWS = (0.3, 1.0, 3.0)
GAPS = (0.5, 1.0, 1.7, 2.5, 4.0)
KEPT = 4  # grid points from which a search starts, of each arm
APART = 0.4  # decades between midpoints, below which two grid points are in one valley
MOST_ARMS = 8  # whose values of shared parameters are tried in turn
ROUNDS = 6  # of re-weighting, where outliers are expected


def starts_for(points: Points, layout: Layout, objective: CurveObjective) -> list[FloatArray]:
    """Starting vectors for a joint fit, most promising first; ``(n,)`` each, between the bounds."""
    form = layout.form
    best = [_valleys(points, arm, layout, objective.robust) for arm in range(len(layout.arms))]
    combinations = [
        np.stack([found[min(rank, len(found) - 1)] for found in best]) for rank in range(max(map(len, best)))
    ]
    first = combinations[0]
    shared = [role for role in range(len(form.parameters)) if _is_shared(layout, role)]
    if shared and len(best) > 1:
        for arm in range(min(len(best), MOST_ARMS)):
            tried = first.copy()
            tried[:, shared] = first[arm, shared]
            combinations.append(tried)
    made: list[FloatArray] = []
    for thetas in combinations:
        x = layout.solve(thetas)
        if objective.free_sigma:
            f, _ = objective.mean(x)
            w = np.abs(objective.responses - f)
            if objective.noise.value == "proportional":
                w = w / np.maximum(np.abs(f), 1e-2 * float(np.max(np.abs(objective.responses))))
            x = np.append(x, math.log(max(1.48 * float(np.median(w)), 1e-4 * objective.spread)))
        made.append(np.clip(x, objective.lower, objective.upper))
    return made


def _is_shared(layout: Layout, role: int) -> bool:
    return len(layout.arms) > 1 and layout.roles.count(role) == 1


def _grid(form: Form, points: Points, arm: int) -> list[dict[str, float]]:
    """Values of all parameters that are not plateaus."""
    positive = points.doses[(points.arm == arm) & (points.doses > 0.0)]
    low, high = math.log10(float(positive.min())), math.log10(float(positive.max()))
    axes: dict[str, tuple[float, ...]] = {}
    for name, kind in zip(form.parameters, form.kinds, strict=True):
        if name in form.fixed or kind is Kind.RESPONSE:
            continue
        axes[name] = {
            Kind.LOG_DOSE: tuple(np.linspace(low - 0.5, high + 0.5, MIDPOINTS).tolist()),
            Kind.LOG_SLOPE: tuple(math.log(s) for s in SLOPES),
            Kind.LOG_SKEW: tuple(math.log(s) for s in SKEWS),
            Kind.GAP: GAPS,
        }[kind]
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _valleys(points: Points, arm: int, layout: Layout, robust: bool) -> list[FloatArray]:
    """Parameters of the best grid points of one arm, in different valleys."""
    form = layout.form
    rows = points.rows(arm)
    doses, y = points.doses[rows], points.responses[rows]
    held = {  # parameters without any column in the layout are fixed
        name: float(layout.offset[arm, role])
        for role, name in enumerate(form.parameters)
        if not np.any(layout.matrix[arm, role])
    }
    levels = [role for role, kind in enumerate(form.kinds) if kind is Kind.RESPONSE]
    free = [role for role in levels if form.parameters[role] not in held]
    found: dict[tuple[float, ...], tuple[float, FloatArray]] = {}
    up = bool(np.mean(y[doses >= np.median(doses)]) >= np.mean(y[doses <= np.median(doses)]))
    for values in _grid(form, points, arm):
        theta = np.zeros(len(form.parameters))
        for role, name in enumerate(form.parameters):
            theta[role] = held.get(name, values.get(name, 0.0))
        theta[levels[0]], theta[levels[-1]] = (0.0, 1.0) if up else (1.0, 0.0)  # which side of a 5pl is which
        for role in levels:
            if form.parameters[role] in held:
                theta[role] = held[form.parameters[role]]
        key = tuple(theta[role] for role in range(len(theta)) if role not in levels)
        if key in found:  # what the grid varies is held
            continue
        _, jacobian = form.mean(doses, theta)
        fixed = sum((jacobian[:, r] * theta[r] for r in levels if r not in free), np.zeros(len(y)))
        theta[free], cost = _plateaus(jacobian[:, free], y - fixed, robust)
        found[key] = cost, theta
    ordered = sorted(found.values(), key=lambda pair: pair[0])
    chosen: list[FloatArray] = []
    place = form.index("log_ec50")
    for _, theta in ordered:
        if all(abs(theta[place] - other[place]) > APART for other in chosen):
            chosen.append(theta)
        if len(chosen) == KEPT:
            break
    return chosen


def _plateaus(columns: FloatArray, y: FloatArray, robust: bool) -> tuple[FloatArray, float]:
    """The best linear parameters, and how far the points stay away."""
    weights = np.ones(len(y))
    if not columns.shape[1]:
        return np.zeros(0), float(np.sum(np.abs(y))) if robust else float(y @ y)
    solution = np.zeros(columns.shape[1])
    for _ in range(ROUNDS if robust else 1):
        root = np.sqrt(weights)
        # A little towards the mean, so that a plateau that no dose shows does not run away.
        padded = np.vstack([columns * root[:, None], 1e-4 * np.eye(columns.shape[1])])
        target = np.append(y * root, np.full(columns.shape[1], 1e-4 * float(np.mean(y))))
        solution, *_ = np.linalg.lstsq(padded, target, rcond=None)
        residual = y - columns @ solution
        if robust:
            scale = max(1.48 * float(np.median(np.abs(residual))), 1e-9 * float(np.max(np.abs(y))) + 1e-300)
            weights = (DEGREES + 1.0) / (DEGREES + (residual / scale) ** 2)
    residual = y - columns @ solution
    return solution, float(np.sum(np.abs(residual))) if robust else float(residual @ residual)
