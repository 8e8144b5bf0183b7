"""Families of an agonist's curves at several doses of an inhibitor: Schild plot, pA2, and which mechanism they
support.

>>> found = compare_inhibition(curve)       # doctest: +SKIP
>>> print(found)                            # doctest: +SKIP

A verdict names one mechanism only where AICc sets it apart by 2 or more from every other that is not merely a larger
version of it; a larger one counts only if a likelihood ratio test needs it.  Receptor loss and mixed inhibition are the
same curves where the slope is 1: one is set apart from the other only if that test also rejects the curves that both
describe.  Else the sentence says "These data cannot tell".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fits.constrained import ParameterLine
from fits.curvefit.families import CANDIDATES, FAMILIES, NESTED, OVERLAPS, Action, Family
from fits.curvefit.fitting import BEYOND, EVALUATIONS, JointFit, _noise, fit_curves, search
from fits.curvefit.fitting import bounds_for as curve_bounds
from fits.curvefit.forms import FORMS, SLOPES, FloatArray
from fits.curvefit.layout import arrange
from fits.curvefit.likelihood import CurveObjective, Noise
from fits.curvefit.points import Points, points_of
from fits.curvefit.results import Estimate, ratio_p_value
from fits.profiles import profile
from fits.reported import ReportedCurve
from fits.selection import INDISTINCT, ROUNDING, Candidate, Criterion, RatioTest, Selection
from kinetics.errors import InputError, UnitError, UnknownName
from kinetics.units import factor

if TYPE_CHECKING:
    import pandas as pd

ENDLESS = 10.0  # decades that stand for infinity, so that a larger mechanism holds the one at its boundary
LOG_TAU = (-2.0, ENDLESS)
LOG_ALPHA = 4.0  # the highest; the lowest stands for 0 and depends on the doses
SCHILD_SLOPES = (0.2, 5.0)
KEPT = 5  # grid points from which a search starts
BASE = ("bottom", "top", "log_ec50", "log_hill")  # of the curve without inhibitor
SPARSE = 3.0  # points per parameter: below, AICc's correction outweighs what a test can show


@dataclass(frozen=True, eq=False)
class FamilyMean:
    """Responses at the points' pairs of doses; picklable."""

    family: Family
    agonist: FloatArray
    inhibitor: FloatArray

    def __call__(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self.family.mean(self.agonist, self.inhibitor, x)


@dataclass(frozen=True, eq=False)
class FamilyFit:
    """One mechanism fitted to all curves at once."""

    family: Family
    points: Points
    objective: CurveObjective
    x: FloatArray
    nllh: float

    @property
    def theta(self) -> FloatArray:
        return self.x[: len(self.family.parameters)]

    def predict(self, agonist: FloatArray, inhibitor: FloatArray | float) -> FloatArray:
        """Responses at pairs of doses, ``(m,)``."""
        doses = np.asarray(agonist, dtype=float)
        return self.family.mean(doses, np.broadcast_to(np.asarray(inhibitor, float), doses.shape), self.theta)[0]

    @property
    def candidate(self) -> Candidate:
        """For `fits.selection`."""
        return Candidate(self.nllh, self.objective.n_parameters, self.objective.n_data)


@dataclass(frozen=True, eq=False)
class SchildResult:
    """Dose ratios by inhibitor dose, and the global fit of Schild's equation through all points."""

    inhibitor: FloatArray  # (k,), doses above 0
    log_ratios: FloatArray  # (k,), log10(dose ratio); of curves with shared plateaus and Hill slope
    errors: FloatArray  # (k,), standard errors of them
    slope: Estimate
    log_kb: Estimate  # log10 K_B, in the inhibitor's unit: the dose that doubles the EC50
    pa2: Estimate  # -log10 of that in mol/l; NaN where the unit is not molar
    slope_is_one: RatioTest
    unit: str

    @property
    def log_dr_minus_one(self) -> FloatArray:
        """Schild's ordinate; NaN where the dose ratio is not above 1."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.log10(10.0**self.log_ratios - 1.0)
        return np.where(self.log_ratios > 0.0, found, np.nan)

    @property
    def sentences(self) -> tuple[str, ...]:
        said = [f"Schild: {self.slope}.", f"Schild: {self.log_kb}."]
        if not math.isnan(self.pa2.value):
            said.append(f"Schild: {self.pa2}.")
        if self.slope_is_one.p_value < self.slope_is_one.level:
            said.append(
                f"The Schild slope is not 1 (p = {self.slope_is_one.p_value:.2g}), so pA2 is not the pK_B of a "
                "competitive "
                "antagonist."
            )
        else:
            said.append(f"A Schild slope of 1 is not rejected (p = {self.slope_is_one.p_value:.2g}).")
        if np.any(self.log_ratios <= 0.0):
            shown = ", ".join(f"{b:g}" for b in self.inhibitor[self.log_ratios <= 0.0])
            said.append(
                f"At {shown} {self.unit} the curve does not move to the right, so it has no place in a Schild plot."
            )
        return tuple(said)


@dataclass(frozen=True, eq=False)
class Inhibition:
    """Mechanisms fitted to one family of curves, ranked."""

    fits: Mapping[str, FamilyFit]
    selection: Selection
    supported: tuple[str, ...]  # what is left once larger versions that the data do not need are set aside
    schild: SchildResult | None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reason: str = ""  # why the verdict is not that of AICc, where it is not

    @property
    def action(self) -> Action | None:
        """What the inhibitor does; ``None`` where these data cannot tell."""
        actions = {FAMILIES[name].action for name in self.supported}
        return actions.pop() if len(actions) == 1 else None

    @property
    def verdict(self) -> str:
        """The answer in one sentence or two."""
        if not self.supported:
            return "These data cannot tell: there are too few points to rank the mechanisms."
        if self.action is not None:
            return self.action.value
        *rest, last = self.supported
        return f"These data cannot tell {', '.join(rest)} from {last}."

    @property
    def sentences(self) -> tuple[str, ...]:
        """Verdict, ranking and tests, Schild analysis, notes."""
        schild = () if self.schild is None else self.schild.sentences
        reason = (self.reason,) if self.reason else ()
        warned = tuple(f"Warning: {warning}." for warning in self.warnings)
        return (self.verdict, *reason, *warned, *self.selection.sentences(), *schild, *self.notes)

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def to_frame(self) -> pd.DataFrame:
        """A row per mechanism, best first, with its parameters."""
        frame = self.selection.to_frame()
        for name in dict.fromkeys(p for fit in self.fits.values() for p in fit.family.parameters):
            frame[name] = [
                float(fit.theta[fit.family.parameters.index(name)]) if name in fit.family.parameters else math.nan
                for fit in (self.fits[str(n)] for n in frame["candidate"])
            ]
        return frame


def compare_inhibition(
    curve: ReportedCurve | Points,
    *,
    mechanisms: Iterable[str] = CANDIDATES,
    noise: Noise | str | None = None,
    robust: bool = False,
    level: float = 0.95,
    schild: bool = True,
) -> Inhibition:
    """Fit mechanisms to a family of curves and say which the data support.

    Args:
        curve: with a column ``inhibitor``; dose 0 of it, and at least one other, must be there.
        mechanisms: names in `fits.curvefit.families.FAMILIES`.
        level: of intervals; tests reject at one minus it.
        schild: whether Schild's equation is fitted as well.

    Raises:
        InputError, UnknownName: the points are no such family, or a mechanism is unknown.
    """
    points = curve if isinstance(curve, Points) else points_of(curve)
    names = tuple(dict.fromkeys(mechanisms))
    for name in names:
        if name not in FAMILIES:
            raise UnknownName("mechanism", name, FAMILIES, "the families of curves")
    _check_family(points)
    sort, notes = _noise(points, noise)
    by_dose = _by_dose(points)
    start = fit_curves(by_dose, "4pl", shared=("bottom", "top", "log_hill"), noise=sort, robust=robust).parts[0]
    loose = fit_curves(by_dose, "4pl", shared=("bottom", "log_hill"), noise=sort, robust=robust).parts[0]
    fits: dict[str, FamilyFit] = {}
    for name in sorted(names, key=lambda n: len(FAMILIES[n].parameters)):
        fits[name] = fit_family(points, FAMILIES[name], sort, robust, bases=(start, loose), smaller=fits)
    tests = tuple(
        _test(fits[small], fits[large], boundary, 1.0 - level)
        for small, large, boundary in NESTED
        if small in fits and large in fits
    )
    selection = Selection({name: fits[name].candidate for name in names}, Criterion.AICC, tests)
    shared = _overlaps(fits, 1.0 - level)
    selection = replace(selection, tests=(*tests, *shared.values()))
    supported, found = _supported(selection, shared), None
    supported, said = _not_none(selection, supported)
    if schild and "none" not in supported and _moves_right(start):
        found = _schild(points, start, fits, sort, robust, level)
    elif schild:
        notes.append("no Schild analysis: the EC50 does not rise with the inhibitor as far as these data show")
    return Inhibition(fits, selection, supported, found, (*points.notes, *notes), points.warnings, said)


def _moves_right(parallel: JointFit) -> bool:
    """Whether any curve with the inhibitor lies to the right of that without."""
    logs = [parallel.theta(arm)[2] for arm in range(len(parallel.layout.arms))]
    return bool(max(logs[1:]) > logs[0])


def _check_family(points: Points) -> None:
    if np.any(np.isnan(points.inhibitor)):
        raise InputError("a family of curves needs a dose of the inhibitor beside every point: name its column")
    levels = np.unique(points.inhibitor)
    if levels[0] != 0.0 or len(levels) < 2:
        raise InputError(
            "a family of curves needs the curve without inhibitor (dose 0) and at least one with it, got inhibitor "
            "doses "
            f"{', '.join(f'{b:g}' for b in levels[:6])}"
        )
    if np.any(points.inhibitor < 0.0):
        raise InputError("a dose of the inhibitor must not be negative")


def _by_dose(points: Points) -> Points:
    """Arms named after the dose of the inhibitor, ascending."""
    levels = np.unique(points.inhibitor)
    arm = np.searchsorted(levels, points.inhibitor).astype(np.int64)
    return Points(
        points.doses, points.responses, points.errors, arm, tuple(f"{b:g}" for b in levels), points.inhibitor,
        points.dose_unit, points.response_unit, points.inhibitor_unit,
    )  # fmt: skip


def fit_family(
    points: Points,
    family: Family,
    noise: Noise,
    robust: bool = False,
    *,
    bases: Iterable[JointFit] = (),
    smaller: Mapping[str, FamilyFit] | None = None,
) -> FamilyFit:
    """Fit one mechanism; starts come from the curves fitted dose by dose, from a grid, and from fits nested in it."""
    objective = CurveObjective(
        family.parameters, *_bounds(points, family), FamilyMean(family, points.doses, points.inhibitor),
        points.responses, noise, points.errors, robust,
    )  # fmt: skip
    tried: list[tuple[float, FloatArray]] = []
    for base in bases:
        tail = base.x[len(base.layout.names) :]
        plain = base.theta(0)
        for own in itertools.product(*(_grid(points, name) for name in family.own)):
            theta = np.append(plain, own)
            if family.name == "receptor loss":
                tau = 10.0 ** own[0]
                # the curve without inhibitor has the same EC50 and Emax: exact for n = 1
                theta = np.array([plain[0], plain[0] + (plain[1] - plain[0]) * (1 + tau) / tau,
                                  plain[2] + math.log10(1 + tau), plain[3], *own])  # fmt: skip
            x = np.clip(np.append(theta, tail), objective.lower, objective.upper)
            tried.append((objective.evaluate(x).value, x))
    tried.sort(key=lambda pair: pair[0])
    starts = [x for _, x in tried[:KEPT]]
    starts += [x for fit in (smaller or {}).values() for x in _from_smaller(fit, family, objective)]
    x, value, _, _ = search(objective, starts)
    return FamilyFit(family, points, objective, x, value)


def _from_smaller(fit: FamilyFit, family: Family, objective: CurveObjective) -> list[FloatArray]:
    """A nested fit as a start of a larger one, so that the larger is never worse for want of a start."""
    far = dict(zip(objective.names, objective.upper.tolist(), strict=True))
    near = dict(zip(objective.names, objective.lower.tolist(), strict=True))
    own = dict(zip(fit.family.parameters, fit.theta, strict=True))
    edges: dict[tuple[str, str], dict[str, float]] = {
        ("none", "competitive"): far, ("none", "uncompetitive"): far, ("none", "noncompetitive"): far,
        ("none", "mixed"): far, ("none", "schild"): {**far, "log_schild_slope": 0.0},
        ("none", "allosteric"): {**far, "log_alpha": 0.0},
        ("none", "receptor loss"): {**far, "log_ka": own.get("log_ec50", 0.0) + LOG_TAU[1]},
        ("competitive", "mixed"): {"log_kc": own.get("log_kb", 0.0), "log_ku": far.get("log_ku", 0.0)},
        ("uncompetitive", "mixed"): {"log_ku": own.get("log_ku", 0.0), "log_kc": far.get("log_kc", 0.0)},
        ("noncompetitive", "mixed"): {"log_kc": own.get("log_kb", 0.0), "log_ku": own.get("log_kb", 0.0)},
        ("competitive", "allosteric"): {"log_alpha": near.get("log_alpha", 0.0)},
        ("competitive", "schild"): {"log_schild_slope": 0.0},
        ("competitive", "receptor loss"): {
            "log_tau": LOG_TAU[1], "log_ka": own.get("log_ec50", 0.0) + LOG_TAU[1]
        },
    }  # fmt: skip
    edge = edges.get((fit.family.name, family.name))
    if edge is None:
        return []
    values = [own[name] if name in own and name in BASE else edge.get(name, own.get(name, 0.0))
              for name in family.parameters]  # fmt: skip
    return [np.append(values, fit.x[len(fit.family.parameters) :])]


def _bounds(points: Points, family: Family) -> tuple[FloatArray, FloatArray]:
    layout = arrange(FORMS["4pl"], ("",))
    low, high = (side.tolist() for side in curve_bounds(points, layout))
    positive = points.inhibitor[points.inhibitor > 0.0]
    k = (math.log10(float(positive.min())) - BEYOND, math.log10(float(positive.max())) + ENDLESS)
    edges = {
        "log_ka": (low[2], high[2] + LOG_TAU[1]),
        "log_tau": LOG_TAU, "log_alpha": (k[0] - k[1], LOG_ALPHA),
        "log_schild_slope": (math.log(SCHILD_SLOPES[0]), math.log(SCHILD_SLOPES[1])),
        "log_hill": (math.log(SLOPES[0]), math.log(SLOPES[1])),
        "bottom": (low[0], high[0]), "top": (low[1], high[1]), "log_ec50": (low[2], high[2]),
    }  # fmt: skip
    pairs = [edges.get(name, k) for name in family.parameters]
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])


def _grid(points: Points, name: str) -> tuple[float, ...]:
    if name == "log_tau":
        return (-0.5, 0.5, 1.5)
    if name == "log_alpha":
        return (-3.0, -1.5, -0.5, 0.5)
    if name == "log_schild_slope":
        return (0.0, math.log(0.6), math.log(1.6))
    positive = points.inhibitor[points.inhibitor > 0.0]
    low, high = math.log10(float(positive.min())) - 1.5, math.log10(float(positive.max())) + 1.5
    return tuple(np.arange(low, high + 0.25, 0.5).tolist())


def _test(small: FamilyFit, large: FamilyFit, boundary: bool, level: float) -> RatioTest:
    gain = small.nllh - large.nllh
    if abs(2.0 * gain) < ROUNDING:
        gain = max(gain, 0.0)
    degrees = len(large.family.parameters) - len(small.family.parameters)
    p = ratio_p_value(large.objective, gain, degrees)
    if boundary and degrees == 1:  # half of the time the best fit lies on the boundary: Self and Liang (1987)
        p = 0.5 * p if gain > 0.0 else 1.0
    if gain < 0.0:  # which cannot be: the search of the larger one has not come to its end
        p = math.nan
    return RatioTest(
        small.family.name, large.family.name, 2.0 * gain, degrees, p, level, boundary and degrees == 1 and gain > 0.0
    )


def _overlaps(fits: Mapping[str, FamilyFit], level: float) -> dict[tuple[str, str], RatioTest]:
    """By (the better, the other): whether the data need the better beyond the curves that both describe."""
    found = {}
    for one, another, parameter, value in OVERLAPS:
        if one not in fits or another not in fits:
            continue
        best, other = sorted((fits[one], fits[another]), key=lambda fit: fit.nllh)
        objective = best.objective
        scale = objective.upper - objective.lower
        held = ParameterLine(objective, objective.names.index(parameter), scale, EVALUATIONS).solve(value, [best.x])
        at = dict(zip(objective.names, held.x, strict=True))
        if best.family.name == "mixed" and not at["log_kc"] < at["log_ku"]:  # 1 + tau = K_u / K_c
            continue
        gain = max(held.value - best.nllh, 0.0)
        names = best.family.name, other.family.name
        small = f"the curves that {names[0]} and {names[1]} share"
        found[names] = RatioTest(small, names[0], 2.0 * gain, 1, ratio_p_value(objective, gain, 1), level)
    return found


def _supported(selection: Selection, shared: Mapping[tuple[str, str], RatioTest]) -> tuple[str, ...]:
    left = list(selection.indistinct)
    for test in selection.tests:
        if test.large in left and test.small in left and not test.p_value < test.level:
            left.remove(test.large)
    for (best, other), test in shared.items():
        # An other that is itself indistinct has been judged already; one that was removed is not needed.
        if best in left and other not in selection.indistinct and not test.p_value < test.level:
            left.append(other)
    return tuple(left)


def _not_none(selection: Selection, supported: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """What is left where a test rejects that there is no inhibition although AICc keeps it, and why.

    With few points AICc's correction of one parameter more can exceed any likelihood ratio that a test would take for
    chance; "none" then wins by its size alone.  The mechanisms whose tests reject it remain.
    """
    tests = [test for test in selection.tests if test.small == "none" and test.p_value < test.level]
    if "none" not in supported or not tests:
        return supported, ""
    left = list(dict.fromkeys([*(name for name in supported if name != "none"), *(test.large for test in tests)]))
    for test in selection.tests:
        if test.large in left and test.small in left and not test.p_value < test.level:
            left.remove(test.large)
    chosen = [selection.candidates[name] for name in left]
    n, k = chosen[0].n_data, max(candidate.n_parameters for candidate in chosen)
    lowest = min(tests, key=lambda test: test.p_value)
    said = f"That there is no inhibition is rejected (by {lowest.large}, p = {lowest.p_value:.2g})"
    if n < SPARSE * k:
        return tuple(left), (
            f"{said}; {n} points are too close to the number of parameters ({k}, noise included) for the ranking by "
            "AICc."
        )
    best = min(candidate.aicc for candidate in chosen)
    near = tuple(name for name in left if selection.candidates[name].aicc - best < INDISTINCT)
    return near, f"{said}, although AICc does not set it apart."


def _schild(
    points: Points, parallel: JointFit, fits: Mapping[str, FamilyFit], noise: Noise, robust: bool, level: float
) -> SchildResult:
    competitive = fits.get("competitive") or fit_family(
        points, FAMILIES["competitive"], noise, robust, bases=[parallel]
    )
    fit = fits.get("schild") or fit_family(
        points, FAMILIES["schild"], noise, robust, bases=[parallel], smaller={"competitive": competitive}
    )
    asked = fit.objective.profile_level(level)
    unit = points.inhibitor_unit

    def estimate(name: str, shown: str) -> Estimate:
        found = profile(fit.objective, fit.x, name, level=asked)
        turn = math.exp if name == "log_schild_slope" else (lambda v: v)
        ends = [None if end is None else turn(end) for end in found.interval]
        return Estimate(shown, turn(found.optimum), ends[0], ends[1])

    slope, log_kb = estimate("log_schild_slope", "slope"), estimate("log_kb", f"log10 K_B ({unit or 'no unit'})")
    try:
        molar = math.log10(factor(unit, "M", what="the inhibitor"))
        high, low = ((None if end is None else -(end + molar)) for end in log_kb.interval)
        pa2 = Estimate("pA2", -(log_kb.value + molar), low, high)
    except UnitError:
        pa2 = Estimate("pA2", math.nan, None, None, words=(f"needs a molar unit, got {unit!r}",))
    levels = np.unique(points.inhibitor)
    names = [f"log_ec50[{b:g}]" for b in levels]
    places = [parallel.layout.names.index(name) for name in names]
    information = parallel.objective.evaluate(parallel.x, derivatives=True).hessian
    assert information is not None
    covariance = np.linalg.pinv(information)
    logs = parallel.x[places]
    errors = [
        math.sqrt(max(covariance[p, p] + covariance[places[0], places[0]] - 2.0 * covariance[p, places[0]], 0.0))
        for p in places[1:]
    ]
    test = _test(competitive, fit, False, 1.0 - level)
    return SchildResult(levels[1:], logs[1:] - logs[0], np.array(errors), slope, log_kb, pa2, test, unit)
