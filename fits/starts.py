"""Where the local searches begin: start ``i`` depends on the seed and ``i`` alone, never on how many there are.

A Latin hypercube of ``n`` points cannot be extended, so it is laid in blocks: every ten starts are a Latin hypercube
of their own, whose random numbers come from (seed, block).  A Sobol sequence is a sequence already.  Several
candidates are drawn per start and race: each searches for a while, and the one that got lowest goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from fits.evaluation import FloatArray, Objective
from kinetics.errors import InputError, UnknownName

STARTS_PER_BLOCK = 10
# Told apart, so that no two uses of a seed share random numbers.
_BLOCK, _PRIOR, _EXTRA, _SPREAD, _SOBOL = range(5)


class Sampling(Enum):
    """How starting points are drawn."""

    LATIN_HYPERCUBE = "latin-hypercube"
    SOBOL = "sobol"
    PRIOR = "prior"


@dataclass(frozen=True)
class StartDesign:
    """How starting points are drawn and how many candidates each start chooses from."""

    sampling: Sampling = Sampling.LATIN_HYPERCUBE
    candidates: int = 8
    heat: int = 25  # evaluations each candidate may search before the best of them goes on alone
    box: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # search scale; instead of the bounds

    def __post_init__(self) -> None:
        object.__setattr__(self, "sampling", Sampling(self.sampling))  # also "sobol"
        if self.candidates < 1:
            raise InputError(f"a start needs at least 1 candidate, got {self.candidates}")
        if self.heat < 0:
            raise InputError(f"a heat must not be negative, got {self.heat}")
        for name, (low, high) in self.box.items():
            if not (np.isfinite(low) and np.isfinite(high) and low < high):
                raise InputError(f"start box of {name!r} needs finite low < high, got {low}, {high}")

    def settings(self) -> dict[str, Any]:
        """What the starting points depend on besides the problem, the seed and the number of the start."""
        box = {name: [float(low), float(high)] for name, (low, high) in sorted(self.box.items())}
        return {"sampling": self.sampling.value, "candidates": self.candidates, "heat": self.heat, "box": box}


def start_box(objective: Objective, design: StartDesign) -> tuple[FloatArray, FloatArray]:
    """Where starting points are drawn from: bounds narrowed or completed by the design's box, ``(n,)`` each.

    Raises:
        UnknownName: the box names a parameter that is not searched.
        InputError: a parameter has no finite range to draw from, or its box lies outside its bounds.
    """
    names = tuple(objective.names)
    low, high = np.array(objective.lower, dtype=float), np.array(objective.upper, dtype=float)
    for name, bounds in design.box.items():
        if name not in names:
            raise UnknownName("free parameter", name, names, "the start box")
        i = names.index(name)
        if bounds[0] < low[i] or bounds[1] > high[i]:
            raise InputError(
                f"start box of {name!r} must lie within its bounds {low[i]:g} to {high[i]:g} (on the search scale), "
                f"got {bounds[0]:g} to {bounds[1]:g}"
            )
        low[i], high[i] = bounds
    if design.sampling is not Sampling.PRIOR:
        for i, name in enumerate(names):
            if not (np.isfinite(low[i]) and np.isfinite(high[i])):
                raise InputError(
                    f"parameter {name!r} has no finite range to draw starts from, got {low[i]:g} to {high[i]:g}: "
                    f"give it lower and upper bounds, or StartDesign(box={{{name!r}: (low, high)}}), "
                    "or a prior and StartDesign('prior')"
                )
    return low, high


def draw(objective: Objective, design: StartDesign, seed: int, index: int) -> FloatArray:
    """The candidates of one start, shape ``(candidates, n)``, on the search scale.

    Raises what `start_box` raises, and `InputError` where the prior is asked for and there is none.
    """
    low, high = start_box(objective, design)
    if design.sampling is Sampling.PRIOR:
        rng = np.random.default_rng((seed, _PRIOR, index))
        return np.array([_prior_point(objective, rng) for _ in range(design.candidates)])
    first = index * design.candidates
    if design.sampling is Sampling.SOBOL:
        unit = _sobol(len(low), seed, first, design.candidates)
    else:
        block, row = divmod(first, STARTS_PER_BLOCK * design.candidates)
        unit = _latin_hypercube(STARTS_PER_BLOCK * design.candidates, len(low), seed, block)
        unit = unit[row : row + design.candidates]  # never runs over: a block holds whole starts
    return np.clip(low + unit * (high - low), low, high)


def draw_more(objective: Objective, design: StartDesign, seed: int, index: int, count: int) -> FloatArray:
    """Further independent candidates for a start none of whose first ones could be evaluated, ``(count, n)``."""
    rng = np.random.default_rng((seed, _EXTRA, index))
    if design.sampling is Sampling.PRIOR:
        return np.array([_prior_point(objective, rng) for _ in range(count)])
    low, high = start_box(objective, design)
    return np.clip(low + rng.random((count, len(low))) * (high - low), low, high)


def search_range(objective: Objective, design: StartDesign, seed: int) -> FloatArray:
    """How far each parameter may plausibly range, shape ``(n,)``: the unit the search measures its steps in."""
    low, high = start_box(objective, design)
    spread = high - low
    missing = ~np.isfinite(spread)
    if np.any(missing):  # only where starts come from the prior: four of its standard deviations hold most of it
        rng = np.random.default_rng((seed, _SPREAD))
        points = np.array([_prior_point(objective, rng) for _ in range(200)])
        spread[missing] = 4.0 * np.std(points, axis=0)[missing]
    return np.where(spread > 0, spread, 1.0)


def _prior_point(objective: Objective, rng: np.random.Generator) -> FloatArray:
    """A draw from the prior that lies between the bounds; after 100 misses the nearest point that does."""
    lower, upper = np.asarray(objective.lower, dtype=float), np.asarray(objective.upper, dtype=float)
    point = np.zeros(len(lower))
    for _ in range(100):
        drawn = objective.sample_prior(rng)
        if drawn is None:
            raise InputError(
                "starts were asked for from the prior, but the problem has no proper prior: "
                "give every parameter a prior, or draw from the bounds with StartDesign('latin-hypercube')"
            )
        point = np.asarray(drawn, dtype=float)
        if np.all((point >= lower) & (point <= upper)):
            return point
    return np.clip(point, lower, upper)


def _latin_hypercube(count: int, dimension: int, seed: int, block: int) -> FloatArray:
    """One Latin hypercube in the unit cube, shape ``(count, dimension)``."""
    rng = np.random.default_rng((seed, _BLOCK, block))
    rows = np.array([rng.permutation(count) for _ in range(dimension)]).reshape(dimension, count).T
    return np.asarray((rows + rng.random((count, dimension))) / count, dtype=float)


def _sobol(dimension: int, seed: int, first: int, count: int) -> FloatArray:
    """Points ``first`` to ``first + count`` of a scrambled Sobol sequence, shape ``(count, dimension)``."""
    from scipy.stats import qmc  # takes a second to import, which every worker would pay

    scramble = int(np.random.default_rng((seed, _SOBOL)).integers(2**31))
    sequence = qmc.Sobol(dimension, scramble=True, seed=scramble)
    if first:
        sequence.fast_forward(first)
    # scipy warns of a first portion that is no power of two, which is about integration, not about searching.
    return np.vstack([sequence.random(1) for _ in range(count)])
