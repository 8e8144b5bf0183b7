"""What T cells sense in vivo, pSTAT5 and TCR tone: from the signalling model to the model of T-cell numbers.

IL-7 and drug are held at their concentrations until `il7_stat5_imatinib` no longer moves, for the receptor numbers of
each subset.  The resulting surface pSTAT5(IL-7, drug) is described by the rate law that `tcell_homeostasis` uses,

    occupancy = IL7 / (K + IL7)
    pSTAT5 = max * A * occupancy / (A * occupancy + kappa)
    uptake = U * occupancy

where A is the kinase activity that the drug leaves.  Signalling complexes and the ligand they take with them have one
saturation, which is why pSTAT5 and uptake share ``K``; the drug enters by A alone.  `Response.largest_error` says how
far the law is from the simulated surface (`docs/decisions/0008-coupling-signalling-to-cell-numbers.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator
from scipy.optimize import least_squares

from kinetics import catalogue
from kinetics.engine import Solver
from kinetics.errors import InputError, UnknownName
from kinetics.experiment import Experiment, Period
from kinetics.model import Model
from kinetics.pk import OralDosing
from kinetics.simulation import simulate, simulate_many

FloatArray = npt.NDArray[np.float64]

SUBSETS = ("naive_CD4", "memory_CD4", "naive_CD8", "memory_CD8")
IL7_RANGE = (0.5, 200.0)  # pg/ml: below healthy plasma to well above lymphopenic, tenfold therapy included
_IL7 = np.geomspace(*IL7_RANGE, 12)  # pg/ml
_UNBOUND = np.array([0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0])  # uM, to the highest peak in mouse
_FINE = np.concatenate(([0.0], np.geomspace(1e-3, 10.0, 41)))  # uM, for what needs no IL-7
_SETTLED = "60 d"  # many half-lives of the receptors (24 h), the slowest that pSTAT5 depends on
_DENSITY = 1e-3  # cells/ml: so few cells do not change what they are in
_CONSUMPTION = "cell * (kon * IL7 * IL7R - koff_now * IL7_IL7R) * molecules_per_zmol"  # molecules/cell/min, net binding
_PER_DAY = 1440.0
WEAK_TCR, HALF_MAXIMAL_TCR = 0.5, 1.0  # TCR input relative to the one that gives half of the maximal ppERK


@dataclass(frozen=True)
class Response:
    """pSTAT5 and IL-7 uptake of one subset at steady state, as a rate law fitted to simulations."""

    cells: str
    pSTAT5_max: float  # share of STAT5
    kappa: float  # kinase activity x occupancy that gives half of pSTAT5_max
    occupancy_K: float  # pg/ml of IL-7
    uptake_max: float  # molecules/cell/day
    largest_error: float  # relative, of pSTAT5 over IL7_RANGE and 0-3 uM unbound imatinib, and of uptake over IL7_RANGE

    def pSTAT5(self, il7: npt.ArrayLike, activity: npt.ArrayLike) -> FloatArray:
        """Share of STAT5 that is phosphorylated at ``il7`` (pg/ml) and kinase ``activity``; the two broadcast."""
        signal = np.asarray(activity, dtype=float) * self.occupancy(il7)
        return np.asarray(self.pSTAT5_max * signal / (signal + self.kappa), dtype=float)

    def occupancy(self, il7: npt.ArrayLike) -> FloatArray:
        """Signalling complexes at ``il7`` (pg/ml) relative to their maximum."""
        level = np.asarray(il7, dtype=float)
        return np.asarray(level / (self.occupancy_K + level), dtype=float)

    def activity_for(self, pSTAT5: npt.ArrayLike, il7: npt.ArrayLike) -> FloatArray:
        """The kinase activity that gives a pSTAT5 at ``il7``: the inverse of `pSTAT5`."""
        tone = np.asarray(pSTAT5, dtype=float)
        return np.asarray(self.kappa * tone / (self.occupancy(il7) * (self.pSTAT5_max - tone)), dtype=float)


@dataclass(frozen=True)
class DrugEffect:
    """What unbound imatinib leaves of the kinase activity and of the TCR tone, tabulated from the signalling model.

    Monotone cubic interpolation in the logarithm of the concentration; 1e-3 uM and less does next to nothing.
    """

    unbound: FloatArray  # (n,), uM, ascending from 0
    activity: FloatArray  # (n,), 1 without drug
    tcr: Mapping[float, FloatArray]  # TCR input -> (n,): ppERK relative to no drug
    exchange: float  # 1/h: rate at which cells and medium come to the same unbound concentration

    def activity_at(self, unbound: npt.ArrayLike) -> FloatArray:
        """Kinase activity at unbound concentrations in the cell (uM), 1 without drug."""
        return self._read(self.activity, unbound)

    def tcr_at(self, unbound: npt.ArrayLike, tcr_input: float = WEAK_TCR) -> FloatArray:
        """ppERK at a constant TCR input relative to no drug."""
        if tcr_input not in self.tcr:
            raise UnknownName("TCR input", f"{tcr_input:g}", [f"{key:g}" for key in self.tcr], "the tabulated inputs")
        return self._read(self.tcr[tcr_input], unbound)

    def _read(self, table: FloatArray, unbound: npt.ArrayLike) -> FloatArray:
        at = np.asarray(unbound, dtype=float)
        if np.any(at < 0.0) or np.any(at > self.unbound[-1]) or np.any(np.isnan(at)):
            raise InputError(f"unbound imatinib must lie in 0-{self.unbound[-1]:g} uM, got up to {np.max(at):g}")
        stretched = np.log1p(self.unbound / self.unbound[1])
        return np.asarray(PchipInterpolator(stretched, table)(np.log1p(at / self.unbound[1])), dtype=float)


@dataclass(frozen=True)
class Tone:
    """What a regimen leaves of signalling in one kind of cell, averaged over a dosing interval."""

    activity: FloatArray  # (*subjects,): the constant kinase activity that gives the average pSTAT5
    pSTAT5: FloatArray  # (*subjects,): its average, share of STAT5
    lowest: FloatArray  # (*subjects,): within the interval
    highest: FloatArray  # (*subjects,)


def _held(model: Model) -> Model:
    """The signalling model with so much medium per cell that nothing is used up, and drug given as unbound."""
    return model.with_values(cell_density=_DENSITY, fu=1.0)


def response(
    model: Model, cells: str, *, parameters: Mapping[str, float] | None = None, solver: Solver | None = None
) -> Response:
    """The steady response of one subset.

    Args:
        model: `il7_stat5_imatinib` or a variant of it.
        cells: a subset among its variants in the catalogue, for example ``"naive_CD4"``.
        parameters: values that replace those of the model; receptor numbers are the subset's.

    Raises:
        UnknownName: no such subset.
        IntegrationFailed: the signalling model cannot be simulated with these values.
    """
    receptors = _receptors(model, cells)
    experiments = [
        Experiment.steps((_SETTLED, {"IL7": f"{il7!r} pg/ml", "Imatinib": f"{unbound!r} uM"}), zero_at_last=False)
        for unbound in _UNBOUND.tolist()
        for il7 in _IL7.tolist()
    ]
    courses = simulate_many(
        _held(model),
        experiments,
        ["0 d", _SETTLED],
        {"pSTAT5": "pSTAT5_fraction", "activity": "kinase_activity", "uptake": _CONSUMPTION},
        solver=solver,
        parameters={**_allowed(model, parameters), **receptors},
    )
    read = {
        name: np.array([course[name][-1] for course in courses]).reshape(len(_UNBOUND), len(_IL7))
        for name in ("pSTAT5", "activity", "uptake")
    }
    return _fitted(cells, read["pSTAT5"], read["activity"] / read["activity"][0, 0], read["uptake"][0] * _PER_DAY)


def _receptors(model: Model, cells: str) -> dict[str, float]:
    variants = catalogue.find_model(model.name).variants
    if cells not in variants:
        raise UnknownName("subset", cells, variants, f"the variants of {model.name!r}")
    return dict(variants[cells].values)


def _allowed(model: Model, parameters: Mapping[str, float] | None) -> dict[str, float]:
    """Overrides that the signalling model has; those of how it is held in vivo are set here."""
    held = {"cell_density", "fu"}
    return {k: v for k, v in (parameters or {}).items() if k in model.description.entities and k not in held}


def _fitted(cells: str, pSTAT5: FloatArray, activity: FloatArray, uptake: FloatArray) -> Response:
    """Least squares of logarithms: relative errors count the same everywhere; pSTAT5 and uptake weigh the same."""
    weight = np.sqrt(pSTAT5.size / uptake.size)

    def of(logs: FloatArray) -> tuple[Response, FloatArray, FloatArray]:
        top, kappa, half, most = np.exp(logs).tolist()
        law = Response(cells, top, kappa, half, most, np.nan)
        tone = np.log(law.pSTAT5(_IL7, activity) / pSTAT5)
        return law, tone, np.log(most * law.occupancy(_IL7) / uptake)

    def residuals(logs: FloatArray) -> FloatArray:
        _, tone, taken = of(logs)
        return np.concatenate((tone.ravel(), weight * taken))

    if not (np.all(pSTAT5 > 0.0) and np.all(uptake > 0.0)):
        raise InputError(f"{cells} do not respond to IL-7 with these values, so there is no tone to describe")
    start = np.log([float(np.max(pSTAT5)), 0.3, 50.0, float(np.max(uptake))])
    law, tone, taken = of(least_squares(residuals, start).x)
    largest = float(np.max(np.abs(np.expm1(np.concatenate((tone.ravel(), taken))))))
    return Response(cells, law.pSTAT5_max, law.kappa, law.occupancy_K, law.uptake_max, largest)


def responses(
    model: Model,
    cells: Iterable[str] = SUBSETS,
    *,
    parameters: Mapping[str, float] | None = None,
    solver: Solver | None = None,
) -> Mapping[str, Response]:
    """`response` of several subsets, by name."""
    return MappingProxyType({name: response(model, name, parameters=parameters, solver=solver) for name in cells})


def drug_effect(
    model: Model,
    *,
    parameters: Mapping[str, float] | None = None,
    solver: Solver | None = None,
    inputs: Iterable[float] = (WEAK_TCR, HALF_MAXIMAL_TCR),
) -> DrugEffect:
    """What unbound imatinib, held until nothing moves, leaves of kinase activity and ppERK; the same in all subsets."""
    held, given = _held(model), _allowed(model, parameters)
    activity, tcr = np.empty(0), {}
    for tcr_input in inputs:
        experiments = [
            Experiment.steps((_SETTLED, {"Imatinib": f"{unbound!r} uM", "TCR": tcr_input}), zero_at_last=False)
            for unbound in _FINE.tolist()
        ]
        courses = simulate_many(
            held, experiments, ["0 d", _SETTLED], ["kinase_activity", "ppERK_fraction"], solver=solver, parameters=given
        )
        activity, erk = (
            np.array([course[name][-1] for course in courses]) for name in ("kinase_activity", "ppERK_fraction")
        )
        if not (activity[0] > 0.0 and erk[0] > 0.0):
            raise InputError("kinase activity and ppERK are 0 without drug with these values: nothing for it to lower")
        tcr[float(tcr_input)] = erk / erk[0]
    values = {name: given.get(name, model.entity(name).value) for name in ("kin", "Kp_IMA")}
    exchange = 60.0 * float(values["kin"] or 0.0) / float(values["Kp_IMA"] or 1.0)  # 1/min to 1/h
    return DrugEffect(_FINE, activity / activity[0], MappingProxyType(tcr), exchange)


def over_interval(dosing: OralDosing, effect: DrugEffect, points: int = 48) -> FloatArray:
    """Unbound imatinib in cells at the middles of equal parts of a dosing interval, shape ``(points, *subjects)``, uM.

    The mean over them is the time average (midpoint rule).
    """
    middles = (np.arange(points) + 0.5) * (dosing.interval / points)
    return dosing.unbound_in_cells(middles, effect.exchange)


def tone(law: Response, activity: FloatArray, il7: npt.ArrayLike) -> Tone:
    """pSTAT5 of one subset averaged over an interval, and the constant kinase activity that stands for it.

    pSTAT5 follows the drug in minutes to two hours (a test compares with the moving model); what it protects, BCL2, has
    a half-life of 15 h, and so sees the average.

    Args:
        activity: kinase activity over the interval, shape ``(n_points, *subjects)``.
        il7: level at which the average is taken, pg/ml.
    """
    course = law.pSTAT5(il7, activity)
    mean = np.mean(course, axis=0)
    return Tone(law.activity_for(mean, il7), mean, np.min(course, axis=0), np.max(course, axis=0))


def as_parameters(laws: Mapping[str, Response]) -> dict[str, float]:
    """The parameters of `tcell_homeostasis` that describe how each subset senses and takes up IL-7."""
    values: dict[str, float] = {}
    for cells, law in laws.items():
        values |= {
            f"pSTAT5_max_{cells}": law.pSTAT5_max,
            f"kappa_{cells}": law.kappa,
            f"occupancy_K_{cells}": law.occupancy_K,
            f"uptake_max_{cells}": law.uptake_max,
        }
    return values


def pSTAT5_while_moving(
    model: Model,
    cells: str,
    dosing: OralDosing,
    il7: float,
    *,
    doses: int = 10,
    pieces: int = 24,
    parameters: Mapping[str, float] | None = None,
    solver: Solver | None = None,
) -> FloatArray:
    """pSTAT5 over the last interval when the signalling model itself is given the plasma course, piece by piece.

    The check of `tone`, which puts steady states side by side: nothing is averaged or fitted here.

    Returns:
        Shares of STAT5 at the ends of ``pieces`` parts of the last interval.
    """
    before = Period(f"-{_SETTLED}", {"IL7": f"{il7!r} pg/ml"})
    course = dosing.held("Imatinib", doses=doses, pieces=pieces)
    step = dosing.interval / pieces
    times = [f"{(doses - 1) * dosing.interval + (k + 1) * step!r} h" for k in range(pieces)]
    given = {**_allowed(model, parameters), **_receptors(model, cells)}
    found = simulate(
        _held(model), Experiment([before, *course.periods]), times, ["pSTAT5_fraction"], solver=solver, parameters=given
    )
    return np.asarray(found["pSTAT5_fraction"], dtype=float)
