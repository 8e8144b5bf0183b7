"""The calibration of a problem over samples: estimates, each sample's own effect, what the data show and the model.

``calibrate`` fits; the result goes into a JSON file that predictions start from, with everything it depends on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fits.information import spread, threshold_of
from fits.local import Descent, Tolerance
from fits.optimise import fit
from fits.parameters import Scale
from fits.population.marginal import weights
from fits.population.objective import PopulationObjective, model_hash
from fits.population.problem import MEDIAN, PopulationProblem, read_population
from fits.problem_file import problem_path
from fits.provenance import Provenance, collect
from fits.result import FitResult
from fits.search import Limits
from fits.starts import StartDesign
from fits.store import encode
from kinetics.errors import InputError, ModelNotFound, SimulationError

FloatArray = npt.NDArray[np.float64]
BUNDLED = "tall_glucocorticoids"
FILE = "calibrated.json"
RERUN = "kinetics fit tall_glucocorticoids --write-calibrated"
LEVEL = 0.95
STARTS, SEED = 5, 1
# The likelihood is known to about 1e-3, because the model is integrated to 1e-4 and interpolated.
TOLERANCE = Tolerance(value=1e-5, gradient=1e-2, step=1e-5)
EVALUATIONS = 80


@dataclass(frozen=True)
class Estimate:
    """A shared parameter, plain, with its interval; an end is ``None`` where it is beyond the bounds."""

    value: float
    lower: float | None
    upper: float | None
    unit: str
    meaning: str
    at_bound: str = ""

    @property
    def words(self) -> str:
        ends = ["open" if end is None else f"{end:.3g}" for end in (self.lower, self.upper)]
        unit = "" if self.unit in ("", "dimensionless") else f" {self.unit}"
        bound = f", at its {self.at_bound} bound" if self.at_bound else ""
        return f"{self.value:.3g}{unit} ({ends[0]} to {ends[1]}{bound})"


@dataclass(frozen=True)
class SampleEffect:
    """A sample's own factor on the quantity with the random effect: posterior median and interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, eq=False)
class PopulationFit:
    """What a calibration over samples found, enough to predict from without the fit.

    ``x``, ``covariance`` and bounds are on the search scale (decades).  The covariance is the inverse of the observed
    information, in which no parameter is less known than its range.
    """

    problem: str
    case: str
    names: tuple[str, ...]
    x: FloatArray  # (n,)
    lower: FloatArray  # (n,)
    upper: FloatArray  # (n,)
    covariance: FloatArray  # (n, n)
    nllh: float
    wells: int
    rmse: float  # of wells, at each sample's own effect
    estimates: Mapping[str, Estimate]
    effects: Mapping[str, SampleEffect]
    starts: tuple[float, ...]  # the objective at the end of each start
    settings: Mapping[str, Any]
    fingerprint: Mapping[str, str]
    provenance: Provenance
    sentences: tuple[str, ...] = ()

    def draws(self, count: int, seed: int) -> FloatArray:
        """Search vectors from the normal approximation, cut off at the bounds, shape ``(count, n)``."""
        rng = np.random.default_rng(seed)
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        found: list[FloatArray] = []
        while len(found) < count:
            drawn = self.x + rng.standard_normal((count, len(self.x))) @ root.T
            # A parameter at its bound keeps the half of its distribution that is allowed.
            drawn = np.where(drawn < self.lower, 2.0 * self.lower - drawn, drawn)
            drawn = np.where(drawn > self.upper, 2.0 * self.upper - drawn, drawn)
            found += [row for row in drawn if np.all((row >= self.lower) & (row <= self.upper))]
        return np.array(found[:count])

    def to_dict(self) -> dict[str, Any]:
        """JSON types; floats keep every bit."""
        document = {
            "problem": self.problem, "case": self.case, "names": list(self.names), "x": self.x, "lower": self.lower,
            "upper": self.upper, "covariance": self.covariance, "nllh": self.nllh, "wells": self.wells,
            "rmse": self.rmse, "estimates": {name: vars(item) for name, item in self.estimates.items()},
            "effects": {name: vars(item) for name, item in self.effects.items()}, "starts": list(self.starts),
            "settings": dict(self.settings), "fingerprint": dict(self.fingerprint),
            "provenance": self.provenance.to_dict(), "sentences": list(self.sentences),
        }  # fmt: skip
        encoded: dict[str, Any] = encode(document)
        return encoded

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> PopulationFit:
        arrays = {name: np.array(document[name], dtype=float) for name in ("x", "lower", "upper", "covariance")}
        return cls(
            problem=document["problem"], case=document["case"], names=tuple(document["names"]),
            nllh=float(document["nllh"]), wells=int(document["wells"]), rmse=float(document["rmse"]),
            estimates={name: Estimate(**item) for name, item in document["estimates"].items()},
            effects={name: SampleEffect(**item) for name, item in document["effects"].items()},
            starts=tuple(float(value) for value in document["starts"]), settings=document["settings"],
            fingerprint=document["fingerprint"], provenance=Provenance.from_dict(document["provenance"]),
            sentences=tuple(document["sentences"]), **arrays,
        )  # fmt: skip


def search(
    objective: PopulationObjective, *, n_starts: int = STARTS, seed: int = SEED, store: str | Path | None = None,
    progress: bool | None = False, workers: int = 0,
) -> FitResult:
    """The multistart search; starts come from the middle half of each range, whose ends no sample could have."""
    quarter = 0.25 * (objective.upper - objective.lower)
    box = {
        name: (float(low + q), float(high - q))
        for name, low, high, q in zip(objective.names, objective.lower, objective.upper, quarter, strict=True)
    }
    design = StartDesign(candidates=1, box=box)
    limits = Limits(evaluations=EVALUATIONS)
    return fit(
        objective, n_starts=n_starts, seed=seed, design=design, limits=limits, tolerance=TOLERANCE, store=store,
        progress=progress, workers=workers,
    )  # fmt: skip


def descend(objective: PopulationObjective, x: FloatArray) -> tuple[FloatArray, float]:
    """One local search from a point: where it ends and the objective there.

    Raises:
        SimulationError: the point cannot be evaluated.
    """
    first = objective.evaluate(x, derivatives=True)
    if first.failed:
        raise SimulationError(f"the search cannot begin: {first.failure}")
    scale = objective.upper - objective.lower
    descent = Descent(
        lambda point: objective.evaluate(point, derivatives=True), x, first, objective.lower, objective.upper, scale,
        TOLERANCE,
    )  # fmt: skip
    descent.advance(EVALUATIONS)
    return descent.x, descent.evaluation.value


def calibrate(
    problem: PopulationProblem, *, n_starts: int = STARTS, seed: int = SEED, store: str | Path | None = None,
    progress: bool | None = False, workers: int = 0, start: FloatArray | None = None,
) -> PopulationFit:
    """Fit a problem over samples.

    Args:
        start: begin one local search here, on the search scale, instead of many starts.

    Raises:
        FitFailed, SimulationError: it cannot be evaluated anywhere.
        InputError: settings make no sense.
    """
    objective = PopulationObjective(problem)
    if start is None:
        result = search(objective, n_starts=n_starts, seed=seed, store=store, progress=progress, workers=workers)
        x, values = result.best.x, tuple(result.values.tolist())
    else:
        x, value = descend(objective, start)
        values = (value,)
    return assemble_fit(objective, x, values, {"seed": seed, "starts": len(values)})


def assemble_fit(
    objective: PopulationObjective, x: FloatArray, starts: Sequence[float], settings: Mapping[str, Any]
) -> PopulationFit:
    """What there is to say about an optimum."""
    problem = objective.problem
    covariance = spread(objective, x, objective.information(x))
    surface, scatter = objective.surfaces(x[None])[0], objective.scatter(x)
    nllh = -float(np.sum(objective.curves.marginal(surface, scatter, objective.grid)))
    own = weights(objective.curves.joint(surface, scatter, objective.grid))  # (n_samples, n_grid)
    rmse = _rmse(objective, surface, own)
    estimates = _estimates(objective, x, covariance)
    effects = {
        sample: SampleEffect(*np.exp(_quantiles(row, objective.grid, (0.5, 0.025, 0.975))).tolist())
        for sample, row in zip(objective.curves.samples, own, strict=True)
    }
    good = [value for value in starts if math.isfinite(value)]
    agreeing = sum(value <= min(good) + 0.1 for value in good)
    said = (
        f"{objective.curves.wells} wells of {len(objective.curves.samples)} samples in {len(objective.curves.keys)} "
        f"curves; minus log marginal likelihood {nllh:.2f}; {agreeing} of {len(starts)} starts agree within 0.1.",
        f"Residual standard deviation of wells {rmse:.3f} with each sample's own factor on {problem.effect.quantity}.",
        f"Intervals are {100 * LEVEL:g} %, from the observed information.",
    )
    return PopulationFit(
        problem.id, problem.case, objective.names, x, objective.lower, objective.upper, covariance, nllh,
        objective.curves.wells, rmse, estimates, effects, tuple(starts), settings, objective.fingerprint, collect(),
        said,
    )  # fmt: skip


def _estimates(objective: PopulationObjective, x: FloatArray, covariance: FloatArray) -> dict[str, Estimate]:
    half = math.sqrt(2.0 * threshold_of(LEVEL)) * np.sqrt(np.diag(covariance))
    found = {}
    for i, parameter in enumerate(objective.parameters.free):
        scale: Scale = parameter.scale
        low, high = float(x[i] - half[i]), float(x[i] + half[i])
        near = 1e-6 * float(objective.upper[i] - objective.lower[i])
        side = "lower" if x[i] - objective.lower[i] <= near else "upper" if objective.upper[i] - x[i] <= near else ""
        found[parameter.id] = Estimate(
            scale.plain(float(x[i])),
            scale.plain(low) if low > objective.lower[i] else None,
            scale.plain(high) if high < objective.upper[i] else None,
            parameter.unit, parameter.name, side,
        )  # fmt: skip
    return found


def _quantiles(probabilities: FloatArray, grid: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Quantiles of a distribution on the grid, interpolated between its points."""
    below = np.cumsum(probabilities) - 0.5 * probabilities
    return np.asarray(np.interp(np.array(levels), below, grid), dtype=float)


def _rmse(objective: PopulationObjective, surface: FloatArray, own: FloatArray) -> float:
    curves = objective.curves
    typical = own @ objective.grid  # posterior means of ln factor
    mu = np.stack([
        np.array([np.interp(typical[sample], objective.grid, surface[point]) for point in row])
        for sample, row in zip(curves.sample, curves.point, strict=True)
    ])  # fmt: skip
    total = np.sum(np.where(curves.counts > 0, curves.counts * (curves.means - mu) ** 2 + curves.squares, 0.0))
    return math.sqrt(float(total) / curves.wells)


# --- the file that predictions start from ------------------------------------------------------------------------


def calibrated_path(problem: str | Path = BUNDLED) -> Path:
    """Where the calibrated values of a problem lie: beside its file."""
    return problem_path(problem).parent / FILE


def read_calibrated(problem: str | Path = BUNDLED) -> tuple[PopulationProblem, PopulationFit]:
    """A problem and its stored calibration, which must belong to the model, data and problem as they are now.

    Raises:
        ModelNotFound: there is no calibration yet.
        InputError: it is of another model, other data or another problem, or damaged.
    """
    path, stated = calibrated_path(problem), read_population(problem)
    if not path.is_file():
        raise ModelNotFound(f"{stated.id} is not calibrated: there is no {FILE}; run '{RERUN}'")
    try:
        found = PopulationFit.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{FILE} of {stated.id} is damaged ({type(error).__name__}: {error}); run '{RERUN}'") from None
    now, then = dict(PopulationObjective(stated).fingerprint), dict(found.fingerprint)
    changed = sorted(part for part in {*now, *then} if now.get(part) != then.get(part))
    if changed:
        raise InputError(
            f"{FILE} of {stated.id} was made for another {' and '.join(changed)} (model {then.get('model', '?')}, now "
            f"{model_hash(stated)}): run '{RERUN}' to calibrate anew"
        )
    return stated, found


def median_quantity(problem: PopulationProblem, found: PopulationFit) -> float:
    """The typical sample's value of the quantity with the random effect."""
    entity = problem.model.entity(problem.effect.quantity).value or 0.0
    factor = found.estimates[MEDIAN].value if MEDIAN in found.estimates else 1.0
    return float(entity) * factor
