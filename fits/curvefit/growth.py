"""GR metrics: growth-rate inhibition from counts at the start and at the end (Hafner et al. 2016,
doi:10.1038/nmeth.3853).

With x0 the count at time zero and x_c that of the untreated at the end, the count at dose d is::

    x(d) = x0 2^(g log2(1 + GR(d))),   g = log2(x_c / x0) doublings,   GR(d) = 1 + (GR_inf - 1) H(d; GEC50, h)

so that GR is 1 without effect, 0 for stasis and negative where cells are lost.  Counts at time zero and untreated
counts are data of the fit like all others: nothing is divided by a mean, and their noise is in the intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from fits.curvefit.fitting import BEYOND, search
from fits.curvefit.forms import SLOPES, FloatArray, sigmoid
from fits.curvefit.likelihood import CurveObjective, Noise
from fits.curvefit.quantities import NODES, WEIGHTS
from fits.curvefit.results import Estimate, inside, ratio_p_value
from fits.profiles import profile, profile_quantity
from fits.reported import ReportedCurve
from kinetics.curves import EC50Status
from kinetics.errors import InputError, SimulationError

NAMES = ("log2_x0", "log2_doublings", "gr_inf", "log_gec50", "log_hill")
LOWEST_GR = -0.999
FLAT_LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class GrowthMean:
    """Counts at time zero and at the end, as functions of `NAMES`; picklable."""

    doses: FloatArray  # (n,); 0 for counts at time zero
    at_start: np.ndarray  # (n,), bool

    def __call__(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        log2_x0, log2_g, gr_inf, log_gec50, log_hill = x
        g = 2.0**log2_g
        h, by_ec50, by_hill = sigmoid(self.doses, log_gec50, log_hill)
        late = np.where(self.at_start, 0.0, 1.0)
        gr = 1.0 + (gr_inf - 1.0) * h
        logs = np.log2(1.0 + gr)
        count = 2.0 ** (log2_x0 + late * g * logs)
        by_log = math.log(2.0) * count  # by the exponent
        by_gr = by_log * late * g / ((1.0 + gr) * math.log(2.0))
        jacobian = [
            by_log, by_log * late * logs * g * math.log(2.0), by_gr * h, by_gr * (gr_inf - 1.0) * by_ec50,
            by_gr * (gr_inf - 1.0) * by_hill,
        ]  # fmt: skip
        return count, np.stack(jacobian, axis=1)


@dataclass(frozen=True, eq=False)
class GrowthResult:
    """GR metrics of one arm, with intervals."""

    arm: str
    gr50: Estimate  # dose at which GR is 0.5
    gr_max: Estimate  # GR at the highest tested dose
    gr_inf: Estimate  # at infinite dose
    gec50: Estimate  # dose of half the effect on GR
    gr_aoc: Estimate  # area over the GR curve, over the tested doses, divided by its width
    doublings: Estimate  # of the untreated
    hill: Estimate
    x: FloatArray  # (5,), by `NAMES`
    objective: CurveObjective

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        return self.gr50, self.gr_max, self.gr_inf, self.gec50, self.hill, self.gr_aoc, self.doublings

    @property
    def sentences(self) -> tuple[str, ...]:
        return tuple(f"{self.arm or 'the curve'}: {estimate}." for estimate in self.estimates)

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def gr(self, doses: FloatArray) -> FloatArray:
        """The fitted GR curve, ``(m,)``."""
        h, _, _ = sigmoid(np.asarray(doses, dtype=float), self.x[3], self.x[4])
        return np.asarray(1.0 + (self.x[2] - 1.0) * h)


def growth_metrics(
    curve: ReportedCurve, arm: str | None = None, *, noise: Noise | str = Noise.PROPORTIONAL, level: float = 0.95
) -> GrowthResult:
    """GR metrics of one arm.

    Args:
        curve: counts with a column ``time``: 0 for counts at time zero, one later time for all others.
        noise: of counts; proportional to them by default, as counts of cells are.

    Raises:
        InputError: there are no counts at time zero or untreated ones, the times are more than two, or the untreated
            did not grow, so that there is no growth rate to compare with.
    """
    chosen = curve.arm(arm) if arm is not None else curve
    if len(chosen.arms) > 1:
        raise InputError(f"which arm? there are {', '.join(chosen.arms)}")
    kept = [point for point in chosen.points if not point.interval]
    start = np.array([point.time == 0.0 for point in kept], dtype=bool)
    ends = {point.time for point in kept if point.time != 0.0}
    if not start.any():
        raise InputError("GR metrics need counts at time zero: rows with time 0")
    if len(ends) != 1 or any(math.isnan(time) for time in ends):
        raise InputError(f"GR metrics need one later time for all other counts, got {sorted(ends)}")
    doses = np.array([0.0 if first else point.dose for point, first in zip(kept, start, strict=True)])
    counts = np.array([point.response for point in kept])
    if np.any(counts < 0.0):
        raise InputError(f"a count must not be negative, got {counts.min():g}")
    late = ~start
    untreated = counts[late & (doses == 0.0)]
    if not len(untreated):
        raise InputError("GR metrics need untreated counts at the end: rows with dose 0 at the later time")
    positive = np.unique(doses[doses > 0.0])
    if len(positive) < 3:
        raise InputError(f"GR metrics need at least three doses above 0, got {len(positive)}")
    x0, grown = float(np.mean(counts[start])), float(np.mean(untreated))
    if not (x0 > 0.0 and grown > 1.02 * x0):
        raise InputError(
            f"the untreated did not grow (from {x0:.4g} to {grown:.4g}): without growth there is no GR metric"
        )
    low, high = math.log10(positive[0]), math.log10(positive[-1])
    g = math.log2(grown / x0)
    lower = np.array([math.log2(x0) - 3.0, math.log2(g) - 3.0, LOWEST_GR, low - BEYOND, math.log(SLOPES[0])])
    upper = np.array([math.log2(x0) + 3.0, math.log2(g) + 3.0, 3.0, high + BEYOND, math.log(SLOPES[1])])
    errors = np.array([point.error for point in kept])
    sort = Noise.of(noise)
    if sort is Noise.STATED and np.any(np.isnan(errors)):
        raise InputError("noise='stated' needs an error beside every count")
    if sort is not Noise.STATED and len(counts) <= len(NAMES):
        raise InputError(f"{len(counts)} counts for {len(NAMES)} parameters leave none to estimate the noise from")
    objective = CurveObjective(NAMES, lower, upper, GrowthMean(doses, start), counts, sort, errors)
    last = float(np.mean(counts[late & (doses == positive[-1])]))
    end_gr = max(2.0 ** (math.log2(max(last, 1e-3 * x0) / x0) / g) - 1.0, LOWEST_GR + 0.01)
    starts = [
        np.array([math.log2(x0), math.log2(g), inf, middle, math.log(slope)])
        for inf in (end_gr, end_gr - 0.3)
        for middle in np.linspace(low, high, 5)
        for slope in (1.0, 3.0)
    ]
    x, value, _, _ = search(objective, starts)
    flat = _flat(objective, x, value)
    return _described(chosen, objective, x, level, float(positive[0]), float(positive[-1]), flat)


@dataclass(frozen=True, eq=False)
class _NoEffect:
    """The counts without any effect: the first two of `NAMES` alone."""

    mean: GrowthMean

    def __call__(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        count, jacobian = self.mean(np.array([x[0], x[1], 1.0, 0.0, 0.0]))
        return count, jacobian[:, :2]


def _flat(objective: CurveObjective, x: FloatArray, value: float) -> bool:
    assert isinstance(objective.mean, GrowthMean)
    small = CurveObjective(
        NAMES[:2], objective.lower[:2], objective.upper[:2], _NoEffect(objective.mean), objective.responses,
        objective.noise, objective.errors,
    )  # fmt: skip
    _, without, _, _ = search(small, [x[:2]])
    return ratio_p_value(objective, without - value, 3) >= FLAT_LEVEL


def _described(
    curve: ReportedCurve, objective: CurveObjective, x: FloatArray, level: float, lowest: float, highest: float,
    flat: bool,
) -> GrowthResult:  # fmt: skip
    asked = objective.profile_level(level)
    unit = curve.dose_unit
    none = ("no effect on growth is shown",)

    def parameter(i: int, name: str, plain: Callable[[float], float], unit: str = "") -> Estimate:
        found = profile(objective, x, NAMES[i], level=asked)
        ends = [None if end is None else plain(end) for end in found.interval]
        return Estimate(name, plain(found.optimum), ends[0], ends[1], unit)

    def derived(name: str, quantity: Callable[[FloatArray], tuple[float, FloatArray]]) -> Estimate:
        found = profile_quantity(objective, x, quantity, name=name, level=asked)
        return Estimate(name, found.optimum, found.lower, found.upper)

    grid = 10.0 ** (math.log10(lowest) + 0.5 * math.log10(highest / lowest) * (NODES + 1.0))

    def gr_at(doses: FloatArray, weights: FloatArray) -> Callable[[FloatArray], tuple[float, FloatArray]]:
        def value(at: FloatArray) -> tuple[float, FloatArray]:
            h, by_ec50, by_hill = sigmoid(doses, at[3], at[4])
            span = at[2] - 1.0
            slope = [0.0, 0.0, float(weights @ h), float(span * weights @ by_ec50), float(span * weights @ by_hill)]
            return float(weights @ (1.0 + span * h)), np.array(slope)

        return value

    def log_gr50(at: FloatArray) -> tuple[float, FloatArray]:
        def excess(log_dose: float) -> float:
            return gr_at(np.array([10.0**log_dose]), np.ones(1))(at)[0] - 0.5

        low, high = math.log10(lowest) - BEYOND, math.log10(highest) + BEYOND
        if excess(low) * excess(high) > 0.0:
            raise SimulationError("GR does not reach 0.5")
        found = float(brentq(excess, low, high))
        _, slope = gr_at(np.array([10.0**found]), np.ones(1))(at)
        return found, slope / slope[3]  # the curve depends on log dose - log GEC50

    over = gr_at(grid, -0.5 * WEIGHTS)

    def aoc(at: FloatArray) -> tuple[float, FloatArray]:
        value, slope = over(at)
        return 1.0 + value, slope

    gec50 = Estimate("GEC50", math.nan, None, None, unit, words=none)
    gr50, hill = (
        Estimate("GR50", math.nan, None, None, unit, words=none),
        Estimate("hill", math.nan, None, None, words=none),
    )
    if not flat:
        gec50 = inside(parameter(3, "GEC50", lambda v: 10.0**v, unit), lowest, highest, "GEC50")[1]
        hill = parameter(4, "hill", math.exp)
        gr50 = _gr50(log_gr50, x, derived, lowest, highest, unit)
    return GrowthResult(
        curve.arms[0], gr50, derived("GR_max", gr_at(np.array([highest]), np.ones(1))), parameter(2, "GR_inf", float),
        gec50, derived("GR_AOC", aoc), parameter(1, "doublings of the untreated", lambda v: 2.0**v), hill, x, objective,
    )  # fmt: skip


def _gr50(
    log_gr50: Callable[[FloatArray], tuple[float, FloatArray]], x: FloatArray,
    derived: Callable[[str, Callable[[FloatArray], tuple[float, FloatArray]]], Estimate],
    lowest: float, highest: float, unit: str,
) -> Estimate:  # fmt: skip
    try:
        log_gr50(x)
    except SimulationError:
        words: tuple[str, ...] = (f"not reached: GR is above 0.5 up to the highest dose, {highest:g} {unit}".rstrip(),)
        return Estimate("GR50", math.nan, None, None, unit, words=words)
    raw = derived("GR50", log_gr50)
    ends = [None if end is None else 10.0**end for end in raw.interval]
    status, shown = inside(
        Estimate("GR50", 10.0**raw.value, ends[0], ends[1], unit, words=raw.words), lowest, highest, "GR50"
    )
    if status is EC50Status.ABOVE:
        words = (f"not reached at the highest dose, {highest:g} {unit}".rstrip(), *shown.words)
        return Estimate("GR50", math.nan, shown.lower, shown.upper, unit, shown.extrapolated, words)
    return shown
