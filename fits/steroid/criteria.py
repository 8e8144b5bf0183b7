"""The criteria of the claims: numbers of many parameter sets at once, and the bounds they must keep.

The same criteria serve a search, which needs how far a set misses, and the ledger of claims, which needs whether a
model holds.  Everything here works along a first axis of parameter sets; no value of a model becomes a number of its
own, and which arms are asked for never depends on values, so that `requests` can name them all beforehand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from fits.steroid.arms import Arm, Cells, FloatArray

BoolArray = npt.NDArray[np.bool_]

HOPELESS = 100.0  # the miss of a value that is not a number: more than any criterion misses by
NOISE = 1e-6  # what solvers do not resolve: "rises" means by more than this

CORE = (
    *(f"A{number:02}" for number in range(1, 7)),
    *(f"A{number:02}" for number in range(10, 31)),
    *(f"A{number:02}" for number in range(32, 38)),
    "A40",
    "A41",
    "A44",
)
PANEL = ("A40", "A41", "A42")  # 11 samples each: most of the arms
SECONDARY = ("A31", "A38", "A39", "A42", "A43", "B25", "X03", "X07", "X08", "N04", "N05", "N07")
REALISM = tuple(f"R{number:02}" for number in range(1, 7))


@dataclass(frozen=True)
class Criterion:
    """One number that must lie between bounds; a bound of ``None`` is none."""

    name: str  # what the number is, in words
    value: FloatArray  # (sets,)
    at_least: float | None
    at_most: float | None
    scale: float  # the miss that counts 1 in a search, in the unit of the value

    @property
    def holds(self) -> BoolArray:
        """Shape ``(sets,)``; a value that is not a number does not hold."""
        return np.asarray(self._distance() == 0.0, dtype=np.bool_)

    @property
    def miss(self) -> FloatArray:
        """Distance to the bound over ``scale``, 0 where it holds, `HOPELESS` at most; shape ``(sets,)``."""
        return np.minimum(self._distance() / self.scale, HOPELESS)

    def _distance(self) -> FloatArray:
        below = 0.0 if self.at_least is None else np.maximum(self.at_least - self.value, 0.0)
        above = 0.0 if self.at_most is None else np.maximum(self.value - self.at_most, 0.0)
        known = np.isfinite(self.value)  # an infinite ratio is a division by nothing, not a very good value
        return np.where(known, below + above, np.inf)

    @property
    def bounds(self) -> str:
        """The bounds in words; a bound that only keeps off what solvers do not resolve is said without it."""
        if self.at_least is not None and self.at_most is not None:
            return f"{self.at_least:g} to {self.at_most:g}"
        bound = self.at_least if self.at_least is not None else self.at_most
        assert bound is not None, f"{self.name} has no bound"
        said = round(bound, 5) + 0.0  # not "-0"
        sign = ">" if self.at_least is not None else "<"
        strict = bound > said if self.at_least is not None else bound < said
        return f"{sign}{'' if strict else '='} {said:g}"


Limits = Mapping[str, float]
Criteria = Callable[[Cells, Limits], list[Criterion]]
_criteria: dict[str, Criteria] = {}


def criteria_of(claim: str) -> Callable[[Criteria], Criteria]:
    """Register the criteria of a claim; they get the cells and the ``thresholds`` of the claim."""

    def register(function: Criteria) -> Criteria:
        if claim in _criteria:
            raise ValueError(f"claim {claim!r} has its criteria twice")
        _criteria[claim] = function
        return function

    return register


def criteria() -> Mapping[str, Criteria]:
    """All criteria by claim; the modules register theirs when they are imported."""
    from fits.steroid import death_criteria, drug_criteria, line_criteria, realism, signal_criteria  # noqa: F401  they register

    return MappingProxyType(_criteria)


def evaluate(claims: Iterable[str], cells: Cells) -> dict[str, list[Criterion]]:
    """The criteria of some claims, with the thresholds of the ledger and of ``realism.toml``."""
    return {claim: criteria()[claim](cells, limits_of(claim)) for claim in claims}


def limits_of(claim: str) -> Limits:
    """The numbers of a criterion: of a claim of the ledger, or of a criterion of realism."""
    from fits.claims.ledger import find_claim
    from fits.steroid.realism import realism

    return realism()[claim].limits if claim in realism() else find_claim(claim).thresholds


# ---- what will be asked ------------------------------------------------------------------------------------

Request = tuple[Arm, str, tuple[float, ...]]


class Recorder:
    """Cells that show nothing and remember what they were asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def __call__(self, arm: Arm, quantity: str, hours: float | Sequence[float]) -> FloatArray:
        several = isinstance(hours, Sequence)
        times = tuple(float(hour) for hour in hours) if isinstance(hours, Sequence) else (float(hours),)
        self.asked.append((arm, quantity, times))
        return np.full((1, len(times)) if several else (1,), np.nan)


def requests(claims: Iterable[str]) -> tuple[Request, ...]:
    """Every arm, quantity and time that the criteria of these claims ask for, each once, in order."""
    recorder = Recorder()
    with np.errstate(all="ignore"):
        evaluate(claims, recorder)
    return tuple(dict.fromkeys(recorder.asked))


def arms(claims: Iterable[str]) -> tuple[Arm, ...]:
    """The arms that these claims need, each once."""
    return tuple(dict.fromkeys(arm for arm, _, _ in requests(claims)))


# ---- arithmetic along the sets -----------------------------------------------------------------------------


def crossing(positions: Sequence[float], values: FloatArray, level: FloatArray) -> FloatArray:
    """Where rising values first reach a level, interpolated between neighbours.

    Args:
        positions: shape ``(points,)``, increasing: times, or logarithms of doses.
        values: shape ``(sets, points)``.
        level: shape ``(sets,)``.

    Returns:
        Shape ``(sets,)``; NaN where the first value is above the level, or none reaches it.
    """
    at = np.asarray(positions, dtype=np.float64)
    above = values >= level[:, np.newaxis]
    right = np.argmax(above, axis=1)
    row = np.arange(len(values))
    left = np.maximum(right - 1, 0)
    low, high = values[row, left], values[row, right]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (level - low) / (high - low)
        found = at[left] + share * (at[right] - at[left])
    return np.where(above[row, right] & (right > 0), found, np.nan)


def half_dose(doses: Sequence[float], left: FloatArray) -> FloatArray:
    """The EC50 of curves that fall from 1: the dose half-way to what is left at the highest dose.

    Args:
        doses: shape ``(doses,)``, above 0, increasing.
        left: shape ``(sets, doses)``, as fractions of the vehicle.

    Returns:
        Shape ``(sets,)``, interpolated in the logarithm of the dose; NaN where it lies outside the doses.
    """
    effect = 1.0 - left
    return np.exp(crossing(tuple(np.log(doses).tolist()), effect, 0.5 * effect[:, -1]))


def ranked(values: FloatArray, place: int) -> FloatArray:
    """The ``place``-th largest of each row of ``(sets, items)``, counted from 1; NaN where an item is NaN."""
    found = np.sort(values, axis=1)[:, -place]
    return np.where(np.any(np.isnan(values), axis=1), np.nan, found)


def spearman(one: FloatArray, other: FloatArray) -> FloatArray:
    """Rank correlation within each row of ``(sets, items)``; differences that solvers do not resolve are ties."""
    ranks = []
    for values in (one, other):
        difference = values[:, :, np.newaxis] - values[:, np.newaxis, :]
        tied = np.abs(difference) <= NOISE * np.abs(values[:, :, np.newaxis])
        rank = np.sum(np.where(tied, 0.5, difference > 0.0), axis=2)
        ranks.append(rank - np.mean(rank, axis=1, keepdims=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = np.sum(ranks[0] * ranks[1], axis=1) / np.sqrt(np.prod([np.sum(r * r, axis=1) for r in ranks], axis=0))
    return np.where(np.any(np.isnan(one) | np.isnan(other), axis=1), np.nan, rho)


def stack(values: Iterable[FloatArray]) -> FloatArray:
    """Values of shape ``(sets,)`` side by side: ``(sets, items)``."""
    return np.stack(list(values), axis=1)


def largest(*values: FloatArray) -> FloatArray:
    """The largest of several values of each set; NaN wins."""
    return functools.reduce(np.maximum, values)
