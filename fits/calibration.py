"""The bundled calibration in a quick form: fit, intervals, band, ridges, sensitivity cases, claims.

``kinetics reproduce`` ends with it.  It takes the problem `il7_pstat5` as it is and keeps to what two cores do in a
minute: few starts, the scale, offset and noise level solved for (`fits.hierarchical`), profiles with wide steps.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import kinetics as kin
from fits.bands import bands, normal_draws
from fits.claims.checking import check
from fits.claims.ledger import MODELS, ledger
from fits.claims.verdict import Status, Verdict
from fits.curve_numbers import CurveNumber, CurveNumbers, replace_doses
from fits.evaluation import Evaluation
from fits.hierarchical import HierarchicalObjective
from fits.information import fisher
from fits.optimise import fit
from fits.parameters import Scale
from fits.problem_file import ProblemDescription, read_description
from fits.profiles import Profile, profile
from fits.result import FitResult
from fits.starts import StartDesign
from fits.terms import ReportedNumber
from fits.walk import Walk

FloatArray = npt.NDArray[np.float64]

BUNDLED = "il7_pstat5"
SHIFT, EMAX = "imatinib_shift", "imatinib_Emax"  # terms of the bundled problem
RIDGE = "ridge"  # its case in which several constants are free
RISE = 0.5  # of the objective: a change the data do not object to
GRID = tuple(float(f"{dose:.5g}") for dose in 10.0 ** np.linspace(0.0, 5.0, 26))  # pg/ml, as the measured doses
DRAWS = 120
PROFILE_RISE = 1.92  # the threshold of a 95 % profile interval of one parameter
RIDGE_POINTS = 6  # per constant
REACH = 0.5  # decades around the guess in which the first constant is refitted
COARSE = Walk(max_points=15, max_evaluations=40, rtol=1e-2)


@dataclass(frozen=True)
class Range:
    """A value and how far it may lie; an end that is ``None`` was not reached."""

    value: float
    lower: float | None
    upper: float | None

    @classmethod
    def of(cls, found: Profile) -> Range:
        """The interval of a profile in plain values."""
        return cls(found.scale.plain(found.optimum), found.plain(found.lower), found.plain(found.upper))

    def words(self, unit: str = "") -> str:
        """``0.21 (0.15 to 0.3) 1/nM/min``."""
        low, high = ("open" if end is None else f"{end:.3g}" for end in (self.lower, self.upper))
        return f"{self.value:.3g} ({low} to {high}) {unit}".rstrip()


@dataclass(frozen=True)
class CaseFit:
    """The same calibration under another assumption."""

    title: str
    estimated: Mapping[str, float]  # plain values of what was searched
    at_bound: str  # names of those that ended on a bound, "" for none
    nllh: float  # the objective
    ec50: float  # pg/ml, of the fitted curve at 10 min
    shift: float  # fold, ratio of the EC50s at 30 min with and without imatinib
    emax_ratio: float

    def words(self) -> str:
        """``measured at 1e5 cells/ml: kp 0.201, objective 69.50, ...``."""
        found = ", ".join(f"{name} {value:.3g}" for name, value in self.estimated.items())
        bound = f"; at a bound, so it does not fit: {self.at_bound}" if self.at_bound else ""
        return (
            f"{self.title}: {found}, objective {self.nllh:.2f}, EC50 {self.ec50:.3g} pg/ml, "
            f"shift {self.shift:.3g}-fold, Emax ratio {self.emax_ratio:.2g}{bound}"
        )


@dataclass(frozen=True, eq=False)
class RidgeReport:
    """What the data leave open when several constants are free: an ensemble of fits on a grid of all but the first.

    At every point of the grid the first constant is fitted again.
    """

    names: tuple[str, ...]  # the one that is refitted first
    bounds: Mapping[str, tuple[float, float]]
    sets: FloatArray  # (m, k) plain values
    objective: FloatArray  # (m,)
    shifts: FloatArray  # (m,) fold
    emax_ratios: FloatArray  # (m,)
    eigenvalues: FloatArray  # (k,), descending, of the information per decade around the main fit
    directions: FloatArray  # (k, k), rows in decades, the largest entry 1

    def accepted(self, rise: float) -> npt.NDArray[np.bool_]:
        """Sets whose objective is less than ``rise`` above the best of them, shape ``(m,)``."""
        return np.asarray(self.objective - np.min(self.objective) < rise)

    def range(self, name: str, rise: float) -> tuple[float, float]:
        """Lowest and highest value of a constant among the accepted sets."""
        chosen = self.sets[self.accepted(rise), self.names.index(name)]
        return float(np.min(chosen)), float(np.max(chosen))

    def shift(self, rise: float) -> tuple[float, float]:
        """Lowest and highest shift among the accepted sets."""
        chosen = self.shifts[self.accepted(rise)]
        return float(np.min(chosen)), float(np.max(chosen))

    def sentences(self) -> tuple[str, ...]:
        """The ridges in words."""
        names, (first, *rest) = self.names, self.names
        said = [
            f"Around the fit the information about {', '.join(names[:-1])} and {names[-1]} has the eigenvalues "
            f"{', '.join(f'{value:.2g}' for value in self.eigenvalues)} (per decade): the data settle "
            f"{_direction(names, self.directions[0])}."
        ]
        for value, row in zip(self.eigenvalues[1:].tolist(), self.directions[1:], strict=True):
            rise = 0.5 * value * float(row @ row)
            said.append(
                f"A decade along {_direction(names, row)} raises the objective by {rise:.2g} by its curvature: a ridge."
            )
        ranges = []
        for name in names:
            low, high = self.range(name, RISE)
            ends = [
                f"{end:.2g}" + (" (its bound)" if math.isclose(end, bound, rel_tol=1e-6) else "")
                for end, bound in zip((low, high), self.bounds[name], strict=True)
            ]
            ranges.append(f"{name} from {ends[0]} to {ends[1]}")
        said.append(
            f"On a grid of {' and '.join(rest)} with {first} refitted, {int(np.sum(self.accepted(RISE)))} of "
            f"{len(self.objective)} sets are within {RISE:g} of the best objective, {np.min(self.objective):.4f}: "
            f"{', '.join(ranges)}."
        )
        low, high = self.shift(PROFILE_RISE)
        said.append(
            f"Among the {int(np.sum(self.accepted(PROFILE_RISE)))} sets within {PROFILE_RISE:.3g}, as in a 95 % "
            f"profile, the shift by imatinib runs from {low:.3g}- to {high:.3g}-fold."
        )
        return tuple(said)


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the quick calibration found."""

    title: str
    source: str
    parameters: Mapping[str, float]  # plain values of all estimated parameters
    units: Mapping[str, str]
    nllh: float  # the objective at the optimum
    result: FitResult
    kp: Range  # 95 % profile interval
    shift: Range  # fold, over the same interval of kp
    emax_ratio: Range
    ec50: float  # pg/ml, of the fitted curve at 10 min
    doses: FloatArray  # (n_grid,), pg/ml
    fitted: FloatArray  # (n_grid,), response unit of the data
    lower: FloatArray  # (n_grid,), 95 % band of the curve
    upper: FloatArray  # (n_grid,)
    measured_doses: FloatArray  # (n_points,), pg/ml
    measured: FloatArray  # (n_points,)
    response_unit: str
    interval: str  # what the shift was told, in words
    ridge: RidgeReport
    cases: tuple[CaseFit, ...]
    verdicts: tuple[Verdict, ...]  # core claims about imatinib (B), checked on the calibrated model
    notes: tuple[str, ...]
    seconds: float

    @property
    def kept(self) -> bool:
        """Whether no answered core claim numbered B fails on the calibrated model."""
        return not any(verdict.status is Status.FAILS for verdict in self.verdicts)

    @property
    def claims(self) -> str:
        """The claims in one sentence."""
        answered = [verdict for verdict in self.verdicts if verdict.answered]
        failing = [verdict.claim.id for verdict in answered if verdict.status is Status.FAILS]
        if failing:
            return f"With the calibrated values {', '.join(failing)} of {len(answered)} core claims numbered B fail."
        ids = ", ".join(verdict.claim.id for verdict in answered)
        return f"With the calibrated values all {len(answered)} answered core claims numbered B hold ({ids})."

    def sentences(self) -> tuple[str, ...]:
        """What was found, for people."""
        agree = len(self.result.agreeing())
        return (
            f"{agree} of {len(self.result.starts)} starts reach the best objective, {self.nllh:.4f}; "
            f"scale, offset and noise level are solved for at every point.",
            f"kp = {self.kp.words(self.units['kp'])}, 95 % profile interval, everything else held.",
            f"The fitted curve has an EC50 of {self.ec50:.3g} pg/ml at 10 min; residual standard deviation "
            f"{self.parameters['sigma_gonnord']:.3g} {self.response_unit}.",
            f"Imatinib shifts the EC50 {self.shift.words()}-fold to the right and leaves "
            f"{self.emax_ratio.words()} of Emax, over the interval of kp. {self.interval}",
            *self.ridge.sentences(),
            self.claims,
        )


def quick_calibration(
    problem: str = BUNDLED, *, n_starts: int = 8, seed: int = 1, solver: kin.Solver | None = None
) -> Calibration:
    """Calibrate the bundled problem and say how sure one may be.

    Args:
        problem: a problem file of the same make as the bundled one: one data set, the terms ``imatinib_shift`` and
            ``imatinib_Emax``, a case ``ridge``.
        n_starts: local searches of the main fit.

    Raises:
        KineticsError: the problem cannot be read, or no start can be simulated.
    """
    began = time.perf_counter()
    described = read_description(problem)
    stated = described.problem()
    objective = HierarchicalObjective(stated, solver)
    result = _search(objective, n_starts, seed)
    best = objective.complete(result.best.x)
    values = stated.parameters.plain(best)
    kp = profile(objective, result, "kp", walk=COARSE, scales=_scales(objective))
    along = [objective.evaluate(x).details for x in (*kp.inside, result.best.x)]
    ends = kp.lower is None or kp.upper is None
    doses, fitted, low, high, ec50 = _band(described, objective, best, solver)
    points = described.data[0].curve.points
    own = _own(described, values)
    return Calibration(
        title=described.title,
        source=described.source,
        parameters=values,
        units={parameter.id: parameter.unit for parameter in stated.parameters.parameters},
        nllh=result.value,
        result=result,
        kp=Range.of(kp),
        shift=_spread([10.0 ** item[SHIFT] for item in along], ends),
        emax_ratio=_spread([item[EMAX] for item in along], ends),
        ec50=ec50,
        doses=doses,
        fitted=fitted,
        lower=low,
        upper=high,
        measured_doses=np.array([point.dose for point in points]),
        measured=np.array([point.response for point in points]),
        response_unit=described.data[0].curve.response_unit,
        interval=_told(described),
        ridge=_ridge(read_description(problem, case=RIDGE), own=own, solver=solver),
        cases=tuple(_case(problem, name, seed, solver) for name in described.cases if name != RIDGE),
        # T-cell numbers follow from what this model says of IL-7 and imatinib, so its model answers beside it.
        verdicts=check([described.model, kin.Model.load(MODELS["M3"])], _core_b(), own, solver=solver),
        notes=stated.notes,
        seconds=time.perf_counter() - began,
    )


def _search(objective: HierarchicalObjective, n_starts: int, seed: int) -> FitResult:
    return fit(objective, n_starts=n_starts, seed=seed, design=StartDesign(candidates=1), progress=False)


def _own(described: ProblemDescription, values: Mapping[str, float]) -> dict[str, float]:
    """The estimated values that are the model's."""
    return {name: value for name, value in values.items() if name in described.model.description.entities}


def _core_b() -> list[str]:
    return [claim.id for claim in ledger() if claim.priority == "core" and claim.id.startswith("B")]


def _spread(values: Sequence[float], open_ended: bool) -> Range:
    """The range of a number over the points of a profile; the last is that of the optimum."""
    if open_ended:
        return Range(values[-1], None, None)
    return Range(values[-1], min(values), max(values))


def _told(described: ProblemDescription) -> str:
    """What the fit was told about the shift."""
    for term in described.terms:
        if isinstance(term, ReportedNumber) and term.id == SHIFT:
            return (
                f"The fit was told that log10 of the shift lies in [{term.lower:g}, {term.upper:g}], "
                f"{10.0**term.lower:.2g}- to {10.0**term.upper:.3g}-fold: bounds chosen by this project."
            )
    return ""


def _simulated(
    described: ProblemDescription, doses: Sequence[float], own: Mapping[str, float], solver: kin.Solver | None
) -> kin.DoseResponseCurve:
    """The read-out of the data set over other doses."""
    (part,) = described.data
    (protocol,) = [part.protocol] if isinstance(part.protocol, kin.DoseProtocol) else part.protocol.values()
    given = [kin.Quantity(dose, part.curve.dose_unit) for dose in doses]
    return kin.dose_response(described.model, replace_doses(protocol, given), solver=solver, parameters=own)


def _band(
    described: ProblemDescription, objective: HierarchicalObjective, best: FloatArray, solver: kin.Solver | None
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, float]:
    """Doses, the fitted curve in the unit of the data, its 95 % band from the information, and its EC50."""
    parameters = objective.problem.parameters
    name = described.data[0].dataset

    def predict(x: FloatArray) -> FloatArray:
        values = parameters.plain(x)
        curve = _simulated(described, GRID, _own(described, values), solver)
        return np.asarray(values[f"scale_{name}"] * curve.responses + values[f"offset_{name}"], dtype=float)

    draws = normal_draws(fisher(objective.flat, best), DRAWS, seed=0)
    band = bands(predict, draws)
    own = _own(described, parameters.plain(best))
    ec50 = _simulated(described, GRID, own, solver).describe().ec50
    return np.array(GRID), predict(best), band.lower, band.upper, ec50


# --- several constants at once ---------------------------------------------------------------------------------


def _ridge(
    described: ProblemDescription, *, own: Mapping[str, float], solver: kin.Solver | None
) -> RidgeReport:
    """Fits of the first constant over a grid of the others; ``own`` are the values of the main fit."""
    stated = described.problem()
    objective = HierarchicalObjective(stated, solver)
    names, parameters = objective.names, objective.problem.parameters
    nominal = {name: parameters[name].nominal for name in names}
    centre = np.array([parameters[name].scale.scaled(own.get(name, nominal[name])) for name in names])
    around = fisher(objective, centre, scales={name: parameters[name].scale for name in names})
    order = np.argsort(-around.eigenvalues)
    rows = around.eigenvectors[:, order].T
    rows = rows / rows[np.arange(len(rows)), np.argmax(np.abs(rows), axis=1)][:, None]
    axes = [np.linspace(objective.lower[i], objective.upper[i], RIDGE_POINTS) for i in range(1, len(names))]
    found = [_refitted(objective, centre, rows[0], np.array(point)) for point in itertools.product(*axes)]
    kept = [item for item in found if item is not None]
    return RidgeReport(
        names=names,
        bounds={name: (parameters[name].lower, parameters[name].upper) for name in names},
        sets=np.array([[parameters[n].scale.plain(v) for n, v in zip(names, x, strict=True)] for x, _ in kept]),
        objective=np.array([evaluation.value for _, evaluation in kept]),
        shifts=np.array([10.0 ** evaluation.details[SHIFT] for _, evaluation in kept]),
        emax_ratios=np.array([evaluation.details[EMAX] for _, evaluation in kept]),
        eigenvalues=around.eigenvalues[order],
        directions=rows,
    )


def _refitted(
    objective: HierarchicalObjective, centre: FloatArray, stiff: FloatArray, others: FloatArray
) -> tuple[FloatArray, Evaluation] | None:
    """The best first constant beside given others, searched around where the stiff direction says; values suffice."""
    from scipy.optimize import minimize_scalar

    low, high = float(objective.lower[0]), float(objective.upper[0])
    guess = float(centre[0] - stiff[1:] @ (others - centre[1:]) / stiff[0])

    def value(first: float) -> float:
        found = objective.evaluate(np.array([first, *others])).value
        return found if math.isfinite(found) else 1e10

    ends = (min(max(guess - REACH, low), high - REACH), max(min(guess + REACH, high), low + REACH))
    best = minimize_scalar(value, bounds=ends, method="bounded", options={"xatol": 2e-3, "maxiter": 25})
    x = np.array([float(best.x), *others])
    evaluation = objective.evaluate(x)
    return None if evaluation.failed else (x, evaluation)


def _scales(objective: HierarchicalObjective) -> dict[str, Scale]:
    return {name: objective.problem.parameters[name].scale for name in objective.names}


def _direction(names: Sequence[str], weights: FloatArray) -> str:
    """``log kp + 0.96 log k2on - 0.9 log kd``."""
    text = ""
    for name, weight in zip(names, weights.tolist(), strict=True):
        if abs(weight) >= 0.05:
            sign = ("- " if weight < 0 else "") if not text else (" - " if weight < 0 else " + ")
            size = "" if math.isclose(abs(weight), 1.0, abs_tol=0.005) else f"{abs(weight):.2g} "
            text += f"{sign}{size}log {name}"
    return text


# --- other assumptions -------------------------------------------------------------------------------------------


def _case(problem: str, name: str, seed: int, solver: kin.Solver | None) -> CaseFit:
    described = read_description(problem, case=name)
    stated = described.problem()
    objective = HierarchicalObjective(stated, solver)
    result = _search(objective, 2, seed)
    values = stated.parameters.plain(objective.complete(result.best.x))
    numbers: Mapping[str, CurveNumber] = {term.id: term.number for term in described.terms}
    told = CurveNumbers(stated, numbers, solver)(objective.complete(result.best.x))
    curve = _simulated(described, GRID, _own(described, values), solver)
    return CaseFit(
        read_description(problem).cases[name],
        {key: values[key] for key in objective.names},
        ", ".join(f"{key} ({side})" for key, side in result.at_bounds().items()),
        result.value,
        curve.describe().ec50,
        float(10.0 ** told[SHIFT]),
        told[EMAX],
    )
