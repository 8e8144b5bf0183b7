"""Ridges: the directions in which parameters trade off and the objective hardly changes, named in words.

A direction counts as free where following it for a decade raises the objective by less than the threshold of a 95 %
interval.  Decades are natural for parameters on a logarithmic scale, and for positive ones on a linear scale too;
a parameter that may be negative is measured by the size of its own value instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fits.evaluation import FloatArray, Objective
from fits.information import Fisher, threshold_of
from fits.parameters import Scale

PROBE = math.log10(2.0)  # decades: ridges are tried out by a twofold change
MINOR = 0.05  # components of a ridge below this share of the largest are not worth a word


@dataclass(frozen=True, eq=False)
class Ridge:
    """A direction in which the parameters move together and the objective hardly changes."""

    names: tuple[str, ...]  # of the parameters that take part, by weight
    coefficients: tuple[float, ...]  # in decades (or values, see the module), the largest is 1
    direction: FloatArray  # (n,), all parameters, on the search scale at the optimum
    curved: float  # rise of the objective over a decade (or value) as the curvature has it
    step: float  # what was tried, in decades (or values) of the first name; 0 where bounds left no room
    change: float  # of the objective over that step, evaluated; NaN where it could not be
    sentence: str

    def __str__(self) -> str:
        return self.sentence


def ridges(objective: Objective, found: Fisher, *, level: float = 0.95) -> tuple[Ridge, ...]:
    """The directions the data leave free, each tried out by one evaluation of the objective."""
    axes = [Axis.of(found, i) for i in range(len(found.names))]
    unit = np.array([axis.unit for axis in axes])
    matrix = found.matrix * np.outer(unit, unit)
    values, vectors = np.linalg.eigh(matrix)
    tallest = np.max(np.abs(vectors), axis=0)
    threshold = threshold_of(level)
    free = 0.5 * values / tallest**2 < threshold
    if not np.any(free):
        return ()
    plain = (vectors / tallest)[:, free].T
    sparse = _sparse(vectors[:, free].T)
    if np.any(0.5 * np.einsum("ki,ij,kj->k", sparse, matrix, sparse) >= threshold):
        sparse = plain  # told apart parameter by parameter they would not be free any more
    tried = [_ridge(objective, found, axes, weights, matrix) for weights in sparse]
    return tuple(ridge for ridge in tried if not ridge.change > threshold)  # what was tried outweighs the curvature


def _sparse(rows: FloatArray) -> FloatArray:
    """Another basis of the row space with as many zeros as elimination brings, each row's largest entry being 1.

    Eigenvectors of equal (zero) eigenvalues are an arbitrary mixture: the ridges a*b and c*d would come out as two
    mixtures of all four parameters.
    """
    rows = rows.copy()
    taken: list[int] = []
    for k in range(len(rows)):
        rest = np.abs(rows[k:])
        rest[:, taken] = 0.0
        i, j = np.unravel_index(int(np.argmax(rest)), rest.shape)
        rows[[k, k + int(i)]] = rows[[k + int(i), k]]
        rows[k] /= rows[k, j]
        for other in range(len(rows)):
            if other != k:
                rows[other] -= rows[other, j] * rows[k]
        taken.append(int(j))
    largest = rows[np.arange(len(rows)), np.argmax(np.abs(rows), axis=1)]
    rows = rows / largest[:, None]
    return np.where(np.abs(rows) < 1e-9, 0.0, rows)


@dataclass(frozen=True)
class Axis:
    """One parameter as the words measure it: in decades, or in values where it may be negative."""

    name: str
    x: float
    lower: float
    upper: float
    decades: bool
    unit: float  # d(search scale) / d(decade or value) at the optimum
    scale: Scale

    @classmethod
    def of(cls, found: Fisher, i: int) -> Axis:
        x, low, high = float(found.x[i]), float(found.lower[i]), float(found.upper[i])
        scale = found.scales[i]
        decades = scale is not Scale.LIN or (low >= 0.0 and x > 0.0)
        if scale is Scale.LOG10:
            unit = 1.0
        elif scale is Scale.LOG:
            unit = math.log(10.0)
        elif decades:
            unit = x * math.log(10.0)
        else:
            unit = max(abs(x), 1e-3 * (high - low)) if math.isfinite(high - low) else max(abs(x), 1.0)
        return cls(found.names[i], x, low, high, decades, unit, scale)

    def moved(self, amount: float) -> float:
        """The search value after so many decades or values."""
        if self.decades and self.scale is Scale.LIN:
            return float(self.x * 10.0**amount)
        return self.x + amount * self.unit

    def room(self, sign: float) -> float:
        """How far it can go in a direction, in its own units."""
        limit = self.upper if sign > 0 else self.lower
        if not math.isfinite(limit):
            return math.inf
        if self.decades and self.scale is Scale.LIN:
            return abs(math.log10(limit / self.x)) if limit > 0 else math.inf
        return abs(limit - self.x) / self.unit

    def words(self, amount: float) -> str:
        if not self.decades:
            return f"moving {self.name} from {self.x:.3g} to {self.moved(amount):.3g}"
        factor = 10.0 ** abs(amount)
        if math.isclose(factor, 2.0, rel_tol=0.005):
            return f"raising {self.name} twofold" if amount > 0 else f"halving {self.name}"
        return f"{'multiplying' if amount > 0 else 'dividing'} {self.name} by {factor:.3g}"


def _ridge(objective: Objective, found: Fisher, axes: Sequence[Axis], weights: FloatArray, matrix: FloatArray) -> Ridge:
    order = [int(i) for i in np.argsort(-np.abs(weights), kind="stable") if abs(weights[i]) >= MINOR]
    part = [axes[i] for i in order]
    shares = [float(w) for w in weights]

    def fraction(sign: float) -> float:
        return min(axis.room(sign * w) / abs(w) for axis, w in zip(axes, shares, strict=True) if w)

    sign = 1.0 if fraction(1.0) >= min(PROBE, fraction(-1.0)) else -1.0
    step = sign * min(PROBE, fraction(sign))
    change = math.nan
    if abs(step) > 1e-3:
        there = [axis.moved(step * w) if w else axis.x for axis, w in zip(axes, weights, strict=True)]
        value = objective.evaluate(np.clip(there, found.lower, found.upper)).value
        change = float(value - found.value) if math.isfinite(value) else math.nan
    else:
        step = 0.0
    coefficients = tuple(float(weights[i]) for i in order)
    curved = float(0.5 * weights @ matrix @ weights)
    together = [axis.words(step * w) for axis, w in zip(part, coefficients, strict=True)]
    if step and math.isfinite(change):
        tried = f"{_listed(together)} changes the objective by {_small(change)}"
        if change < -0.1:
            tried += ", so the fit was not at its optimum"
    else:
        tried = f"by its curvature the objective rises by {_small(max(curved, 0.0))} over a decade"
    if len(part) == 1:
        sentence = f"{part[0].name} is free on its own: {tried}."
    else:
        sentence = f"{_combination(part, coefficients)} is free: {tried}."
        if len(part) == 2:
            settled = _combination(part, (-coefficients[1], coefficients[0]))
            sentence = f"{settled} is fixed, {sentence}"
    names = tuple(axis.name for axis in part)
    unit = np.array([axis.unit for axis in axes])
    return Ridge(names, coefficients, weights * unit, curved, step, change, sentence)


def _combination(axes: Sequence[Axis], weights: Sequence[float]) -> str:
    """Words for a weighted sum: ``log kp - 0.98 log k2on``."""
    pairs = [(a, w if a.decades else w / a.unit) for a, w in zip(axes, weights, strict=True)]
    first = pairs[0][1]
    words = ""
    for axis, weight in pairs:
        share = weight / first
        size = "" if math.isclose(abs(share), 1.0, abs_tol=0.005) else f"{abs(share):.2g} "
        joint = "" if not words else (" + " if share > 0 else " - ")
        words += f"{joint}{size}{'log ' if axis.decades else ''}{axis.name}"
    return words


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _small(change: float) -> str:
    return f"{change:.2g}" if abs(change) >= 1e-6 else "less than 1e-6"
