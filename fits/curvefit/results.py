"""What a fit says of each arm: EC50, Emax, Hill slope and area with intervals, and in words what cannot be said.

Intervals are profile likelihoods (`fits.profiles`) whose threshold accounts for the estimated noise.  An end is open
(``None``) where the data leave it open.  An EC50 outside of the tested doses is never a plain number: its value is
NaN, the extrapolation stands in ``extrapolated``, and a sentence says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import chdtrc, fdtrc, ndtri, stdtrit

from fits.constrained import descend
from fits.curvefit import quantities
from fits.curvefit.fitting import EVALUATIONS, CurveFits, JointFit
from fits.curvefit.forms import FloatArray
from fits.curvefit.likelihood import CurveObjective, Noise
from fits.curvefit.misfit import LackOfFit, lack_of_fit
from fits.profiles import Profile, profile, profile_quantity
from kinetics.curves import EC50Status
from kinetics.errors import InputError, SimulationError

if TYPE_CHECKING:
    import pandas as pd

FLAT_LEVEL = 0.05  # a curve is told from a horizontal line below this p-value
HALF = 0.5
FIXED = "fixed, not estimated"
BISECTIONS = 12


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; ``None`` is an open end."""

    name: str
    value: float  # NaN where the data do not give one
    lower: float | None
    upper: float | None
    unit: str = ""
    extrapolated: float = math.nan  # what the curve says outside of the tested doses
    words: tuple[str, ...] = ()  # what has to be known about it

    @property
    def interval(self) -> tuple[float | None, float | None]:
        return self.lower, self.upper

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if math.isnan(self.value) and (self.lower is None) != (self.upper is None):  # a bound is all there is
            bound = f"above {self.lower:.4g}" if self.lower is not None else f"below {self.upper:.4g}"
            return f"{self.name} {bound}{unit}" + "".join(f"; {word}" for word in self.words)
        shown = "not estimated" if math.isnan(self.value) else f"{self.value:.4g}{unit}"
        if self.lower is None and self.upper is None and (math.isnan(self.value) or FIXED in self.words):
            ends = ""
        else:
            low = "open" if self.lower is None else f"{self.lower:.4g}"
            high = "open" if self.upper is None else f"{self.upper:.4g}"
            ends = f" ({low} to {high})"
        return f"{self.name} {shown}{ends}" + "".join(f"; {word}" for word in self.words)


@dataclass(frozen=True, eq=False)
class ArmResult:
    """One arm's curve in numbers and words."""

    arm: str
    status: EC50Status
    estimates: dict[str, Estimate]  # by name: ec50, bottom, top, emax, hill, auc, and lc50 where asked for
    flat_p: float  # of the test against a horizontal line
    sigma: float  # of the noise; relative to the curve where it is proportional
    level: float
    lowest: float  # tested doses above 0
    highest: float
    dose_unit: str
    response_unit: str
    notes: tuple[str, ...] = field(default_factory=tuple)
    misfit: LackOfFit | None = None

    def __getitem__(self, name: str) -> Estimate:
        return self.estimates[name]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The arm in words."""
        name = self.arm or "the curve"
        return (f"{name}: {self.estimates['ec50']}.", *(str(e) + "." for k, e in self.estimates.items() if k != "ec50"),
                *self.notes)  # fmt: skip

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def to_frame(self) -> pd.DataFrame:
        """A row per quantity."""
        import pandas as pd

        rows = [
            (self.arm, e.name, e.value, e.lower, e.upper, e.unit, e.extrapolated, "; ".join(e.words))
            for e in self.estimates.values()
        ]
        columns = ["arm", "quantity", "value", "lower", "upper", "unit", "extrapolated", "words"]
        return pd.DataFrame(rows, columns=columns)


def describe_arms(fits: CurveFits, *, level: float = 0.95, lc: float | None = None) -> dict[str, ArmResult]:
    """Describe every fitted arm; see `describe_arm`."""
    return {arm: describe_arm(fits.part(arm), arm, level=level, lc=lc) for arm in fits.arms}


def describe_arm(fit: JointFit, arm: str, *, level: float = 0.95, lc: float | None = None) -> ArmResult:
    """Numbers with intervals for one arm.

    Args:
        lc: the fraction of the response at dose 0 whose dose is asked for; by default a half for falling curves
            (LC50, the absolute EC50) and none for rising ones.

    Raises:
        InputError: the level or the fraction is none.
    """
    if lc is not None and not lc > 0.0:
        raise InputError(f"lc must be a positive fraction of the response at dose 0, got {lc}")
    asked = fit.objective.profile_level(level)
    own = fit.points.of([arm])
    unit, response = own.dose_unit, own.response_unit
    flat_p = flatness(fit, arm)
    theta, form = fit.theta(arm), fit.layout.form
    found: dict[str, Estimate] = {}
    notes: list[str] = []
    status, found["ec50"] = _ec50(fit, arm, "log_ec50", asked, flat_p)
    flat = status is EC50Status.FLAT
    if flat:
        notes.append(
            f"A horizontal line is not rejected (p = {flat_p:.2g}, {len(own)} points): a dose effect is not shown, and "
            "EC50, Hill slope and absolute EC50 are not estimated."
        )
    if "gap" in form.parameters:
        found["ec50_2"] = _second(fit, arm, asked, flat)
    for name in ("bottom", "middle", "top"):
        if name in form.parameters:
            found[name] = _parameter(fit, arm, name, name, asked, lambda v: v, response)
    emax = interval_of(fit, quantities.span(fit, arm), "emax", asked, response)
    found["emax"] = _shown(fit, arm, emax)
    if "log_hill" in form.parameters and "gap" not in form.parameters:
        found["hill"] = (
            Estimate("hill", math.nan, None, None, words=("no dose effect is shown",))
            if flat
            else _parameter(fit, arm, "log_hill", "hill", asked, math.exp, "")
        )
    lowest, highest = own.lowest, own.highest
    if lowest < highest:
        auc = interval_of(fit, quantities.area(fit, arm, lowest, highest), "auc", asked, response)
        words = (f"mean response over log dose from {lowest:g} to {highest:g} {unit}".rstrip(),)
        found["auc"] = Estimate("auc", auc.value, auc.lower, auc.upper, auc.unit, words=(*words, *auc.words))
    falling = theta[form.index("top")] < theta[form.index("bottom")]
    if lc is not None or falling:
        fraction = HALF if lc is None else lc
        found["lc50"] = (
            Estimate(_lc_name(fraction), math.nan, None, None, unit, words=("no dose effect is shown",))
            if flat
            else _absolute(fit, arm, fraction, asked, lowest, highest)
        )
    if "lc50" in found and not np.any(own.doses == 0.0):
        notes.append("There is no point at dose 0: the fitted bottom stands for the response there in lc50.")
    misfit = _misfit(fit, arm)
    if not flat and misfit is not None and misfit.p_value < FLAT_LEVEL:
        notes.append(misfit.sentence)
    if fit.optima < 2 <= fit.searches:
        notes.append(f"Only one of {fit.searches} searches ended in this optimum: look at the curve.")
    return ArmResult(
        arm, status, found, flat_p, fit.sigma, level, lowest, highest, unit, response, tuple(notes), misfit
    )  # fmt: skip


# --- intervals ------------------------------------------------------------------------------------------------


def interval_of(fit: JointFit, quantity: quantities.Derived, name: str, asked: float, unit: str = "") -> Estimate:
    """A derived number with its profile interval; ``asked`` comes from `CurveObjective.profile_level`."""
    try:
        found = profile_quantity(fit.objective, fit.x, quantity, name=name, level=asked)
    except InputError:  # it does not depend on anything estimated
        return Estimate(name, quantity(fit.x)[0], None, None, unit, words=(FIXED,))
    return _of_profile(found, name, lambda v: v, unit)


def parameter_interval(
    fit: JointFit, parameter: str, name: str, asked: float, plain: Callable[[float], float], unit: str
) -> Estimate:
    """An estimated parameter with its profile interval."""
    return _of_profile(profile(fit.objective, fit.x, parameter, level=asked), name, plain, unit)


def _of_profile(found: Profile, name: str, plain: Callable[[float], float], unit: str) -> Estimate:
    words = []
    if found.gained > 1e-3:
        words.append(
            f"a better optimum (by {found.gained:.2g}) turned up on the way: the other numbers are out of date"
        )
    # An end that only a bound on another parameter makes is an open one: the bounds here are not knowledge.
    leaning = {side for side in ("lower", "upper") if any(n.startswith(f"The {side} end depends") for n in found.notes)}
    lower = None if found.lower is None or "lower" in leaning else plain(found.lower)
    upper = None if found.upper is None or "upper" in leaning else plain(found.upper)
    return Estimate(name, plain(found.optimum), lower, upper, unit, words=tuple(words))


def _parameter(
    fit: JointFit, arm: str, parameter: str, name: str, asked: float, plain: Callable[[float], float], unit: str
) -> Estimate:
    """A parameter of one arm's curve: one that is estimated, one that is fixed, or a combination."""
    number = fit.layout.arms.index(arm)
    row = fit.layout.row(number, parameter)
    place = fit.layout.form.index(parameter)
    if not np.any(row):
        return Estimate(name, plain(float(fit.theta(arm)[place])), None, None, unit, words=(FIXED,))
    if np.count_nonzero(row) == 1 and row.max() == 1.0 and fit.layout.offset[number, place] == 0.0:
        chosen = fit.layout.names[int(np.argmax(row))]
        return parameter_interval(fit, chosen, name, asked, plain, unit)
    slope = np.zeros(len(fit.layout.form.parameters))
    slope[place] = 1.0
    whole = interval_of(fit, quantities.from_theta(fit, arm, lambda t: (float(t[place]), slope)), name, asked, unit)
    ends = [None if end is None else plain(end) for end in whole.interval]
    return Estimate(name, plain(whole.value), ends[0], ends[1], unit, words=whole.words)


def _ec50(fit: JointFit, arm: str, parameter: str, asked: float, flat_p: float) -> tuple[EC50Status, Estimate]:
    own = fit.points.of([arm])
    unit, lowest, highest = own.dose_unit, own.lowest, own.highest
    if flat_p >= FLAT_LEVEL:
        return EC50Status.FLAT, Estimate("ec50", math.nan, None, None, unit, words=("no dose effect is shown",))
    raw = _parameter(fit, arm, parameter, "ec50", asked, lambda v: 10.0**v, unit)
    return inside(raw, lowest, highest, "ec50")


def inside(raw: Estimate, lowest: float, highest: float, name: str) -> tuple[EC50Status, Estimate]:
    """An estimated dose, which is a plain number only within the tested doses."""
    words = list(raw.words)
    status = EC50Status.INSIDE
    if raw.value < lowest:
        status = EC50Status.BELOW
    elif raw.value > highest:
        status = EC50Status.ABOVE
    if status is not EC50Status.INSIDE:
        edge, side = (lowest, "below") if status is EC50Status.BELOW else (highest, "above")
        words.append(
            f"outside the tested range: {side} {edge:g} {raw.unit}".rstrip() + f", by extrapolation {raw.value:.3g}"
        )
    for end, where in ((raw.lower, "lower"), (raw.upper, "upper")):
        if end is None:
            words.append(f"the data leave the {where} end of the interval open")
        elif not lowest <= end <= highest:
            words.append(f"the {where} end of the interval is outside the tested range")
    value, beyond = (raw.value, math.nan) if status is EC50Status.INSIDE else (math.nan, raw.value)
    return status, Estimate(name, value, raw.lower, raw.upper, raw.unit, beyond, tuple(words))


def _second(fit: JointFit, arm: str, asked: float, flat: bool) -> Estimate:
    """The EC50 of the second phase of a biphasic curve."""
    own, form = fit.points.of([arm]), fit.layout.form
    if flat:
        return Estimate("ec50_2", math.nan, None, None, own.dose_unit, words=("no dose effect is shown",))
    slope = np.zeros(len(form.parameters))
    slope[[form.index("log_ec50"), form.index("gap")]] = 1.0
    raw = interval_of(fit, quantities.from_theta(fit, arm, lambda t: (float(slope @ t), slope)), "ec50_2", asked)
    ends = [None if end is None else 10.0**end for end in raw.interval]
    plain = Estimate("ec50_2", 10.0**raw.value, ends[0], ends[1], own.dose_unit, words=raw.words)
    return inside(plain, own.lowest, own.highest, "ec50_2")[1]


def _shown(fit: JointFit, arm: str, emax: Estimate) -> Estimate:
    """With a word on how much of it the highest dose shows."""
    from kinetics.curves import PLATEAU

    own = fit.points.of([arm])
    theta, form = fit.theta(arm), fit.layout.form
    whole = float(theta[form.index("top")] - theta[form.index("bottom")])
    if whole == 0.0 or "gap" in form.parameters:
        return emax
    part = float(fit.predict(arm, np.array([own.highest]))[0] - theta[form.index("bottom")]) / whole
    if part >= PLATEAU:
        return emax
    words = (*emax.words, f"by extrapolation: the highest dose shows {part:.0%} of it")
    return Estimate(emax.name, emax.value, emax.lower, emax.upper, emax.unit, words=words)


def _lc_name(fraction: float) -> str:
    return f"lc50 (dose for {fraction:g} of the response at dose 0)"


def _absolute(fit: JointFit, arm: str, fraction: float, asked: float, lowest: float, highest: float) -> Estimate:
    name, unit = _lc_name(fraction), fit.points.dose_unit
    quantity = quantities.log_dose_for(fit, arm, fraction=fraction)
    try:
        reached = quantity(fit.x)[0]
    except SimulationError:
        reached = math.inf
    if 10.0**reached <= highest:
        raw = interval_of(fit, quantity, name, asked, unit)
        ends = [None if end is None else 10.0**end for end in raw.interval]
        return inside(Estimate(name, 10.0**raw.value, ends[0], ends[1], unit, words=raw.words), lowest, highest, name)[
            1
        ]
    lower = _censored(fit, arm, fraction, asked, lowest, highest)
    beyond = 10.0**reached if math.isfinite(reached) else math.nan
    how = f"by extrapolation {beyond:.3g}" if math.isfinite(beyond) else "the fitted curve levels off before it"
    words = [f"not reached at the highest dose, {highest:g} {unit}".rstrip() + f" ({how})"]
    words.append(
        f"censored: above {lower:.3g} {unit}".rstrip() if lower is not None else "the data do not bound it from below"
    )
    return Estimate(name, math.nan, lower, None, unit, beyond, tuple(words))


def _censored(fit: JointFit, arm: str, fraction: float, asked: float, lowest: float, highest: float) -> float | None:
    """The dose below which the level is not reached, by inverting the test at single doses; at most the highest."""

    def compatible(dose: float) -> bool:
        at = interval_of(fit, quantities.response_at(fit, arm, dose, fraction), "excess", asked)
        falling = at.value > 0.0  # the curve is still above the level
        end = at.lower if falling else at.upper
        return end is None or (end <= 0.0 if falling else end >= 0.0)

    if not compatible(highest):
        return highest
    if compatible(lowest):
        return None
    low, high = math.log10(lowest), math.log10(highest)
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if compatible(10.0**middle) else (middle, high)
    return float(10.0**low)


def curve_band(fit: JointFit, arm: str, doses: FloatArray, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Where the curve itself lies, point by point, in the linear approximation; lower and upper, ``(m,)`` each."""
    number, objective = fit.layout.arms.index(arm), fit.objective
    p = len(fit.layout.names)
    f, local = fit.layout.form.mean(np.asarray(doses, dtype=float), fit.theta(number))
    rows = local @ fit.layout.matrix[number]
    information = objective.evaluate(fit.x, derivatives=True).hessian
    assert information is not None
    covariance = np.linalg.pinv(information, rcond=1e-12, hermitian=True)[:p, :p]
    half = float(stdtrit(max(objective.residual_degrees, 1), 0.5 * (1.0 + level)))
    if objective.noise is Noise.STATED:
        half = float(ndtri(0.5 * (1.0 + level)))
    else:
        half *= math.sqrt(objective.n_data / max(objective.residual_degrees, 1))
    wide = half * np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", rows, covariance, rows), 0.0))
    return f - wide, f + wide


# --- is there an effect at all? -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Level:
    """The mean of a joint fit in which one arm is a constant, the last parameter."""

    fit: JointFit
    arm: int

    def __call__(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        f, jacobian = self.fit.objective.mean(x[:-1])
        rows = self.fit.points.arm == self.arm
        f[rows] = x[-1]
        jacobian = np.column_stack([np.where(rows[:, None], 0.0, jacobian), rows.astype(float)])
        return f, jacobian


def _misfit(fit: JointFit, arm: str) -> LackOfFit | None:
    """The test of one arm's shape, in units of sigma; none with stated errors, which replicates need not share."""
    own, fitted = fit.points.of([arm]), fit.predict(arm, fit.points.of([arm]).doses)
    if fit.objective.noise is Noise.STATED:
        return None
    size = fit.objective.size(fitted)[0]  # of one value where doses are equal
    return lack_of_fit(own.doses, own.responses / size, fitted / size, own_parameters(fit, arm))


def own_parameters(fit: JointFit, arm: str) -> int:
    """How many of the estimated parameters no other arm shares."""
    used = np.any(fit.layout.matrix != 0.0, axis=1)
    return int(np.sum(used[fit.layout.arms.index(arm)] & (used.sum(axis=0) == 1)))


def flatness(fit: JointFit, arm: str) -> float:
    """The p-value of a horizontal line for one arm against its curve; 0 where the arm has too little to itself."""
    number, own = fit.layout.arms.index(arm), own_parameters(fit, arm)
    if own < 2:
        return 0.0
    old = fit.objective
    rows = fit.points.arm == number
    middle = float(np.median(fit.points.responses[rows]))
    edge = float(np.ptp(fit.points.responses)) or 1.0
    p = len(old.curve_names)
    level = CurveObjective(
        (*old.curve_names, "level"), np.append(old.curve_lower, middle - 20 * edge),
        np.append(old.curve_upper, middle + 20 * edge), _Level(fit, number), old.responses, old.noise, old.errors,
        old.robust,
    )  # fmt: skip
    starts = [
        np.concatenate([fit.x[:p], [value], fit.x[p:]]) for value in (middle, float(np.mean(old.responses[rows])))
    ]
    if old.free_sigma:
        starts += [np.append(s[:-1], s[-1] + 1.0) for s in starts]
    lower, upper = level.lower, level.upper
    lowest = math.inf
    for start in starts:
        end = descend(
            lambda x: level.evaluate(x, derivatives=True),
            [np.clip(start, lower, upper)],
            lower,
            upper,
            upper - lower,
            EVALUATIONS,
        )
        if not isinstance(end, str):
            lowest = min(lowest, end.evaluation.value)
    return ratio_p_value(old, lowest - fit.nllh, own - 1)


def ratio_p_value(objective: CurveObjective, gain: float, degrees: int) -> float:
    """The p-value of a nested pair: ``gain`` is the smaller model's nllh above that of the larger, whose objective
    it is.

    With stated noise twice the gain is chi-square; with estimated noise ``(exp(2 gain / n) - 1) (n - p) / degrees`` is
    Fisher's F, exactly so for a linear model.
    """
    gain = max(gain, 0.0)
    if objective.noise is Noise.STATED:
        return float(chdtrc(degrees, 2.0 * gain))
    left = objective.residual_degrees
    if left < 1:
        return math.nan
    exponent = min(2.0 * gain / objective.n_data, 500.0)
    return float(fdtrc(degrees, left, math.expm1(exponent) * left / degrees))


def summary_sentences(results: Iterable[ArmResult], fits: CurveFits) -> tuple[str, ...]:
    """All arms in words, those that were not fitted included."""
    said = [sentence for result in results for sentence in result.sentences]
    said += [f"{arm or 'the curve'} was not fitted: {reason}." for arm, reason in fits.not_fitted.items()]
    return (*said, *(f"Warning: {warning}." for warning in fits.warnings), *fits.notes)
