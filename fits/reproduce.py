"""Reproduce: simulate the published experiments, compare with the measured points, check every claim.

For the claims no parameter of a model is fitted.  The only two numbers determined from data are the scale and the
offset that turn simulated phospho-STAT5 (nM) into the arbitrary units of the measured points; they are solved
analytically.  What a fit of the bundled problem gives (`fits.calibration`) is shown beside them where it is asked for.
"""

from __future__ import annotations

import csv
import json
import math
import textwrap
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

import kinetics as kin
from fits.claims.bench import TREATED, Assay, Bench, at_dose, known_parameters
from fits.claims.checking import bundled_models, check
from fits.claims.draws import SEED, Draws, draw
from fits.claims.ledger import MODELS, PAPERS, How, ledger
from fits.claims.verdict import Status, Verdict
from fits.provenance import versions
from kinetics import catalogue
from kinetics.errors import InputError, InvalidModel, ModelNotFound
from kinetics.progress import track

if TYPE_CHECKING:
    from fits.calibration import Calibration
    from fits.steroid.predictions import Ensembled

FloatArray = npt.NDArray[np.float64]

SEARCHED = (
    "The core claims about steroids were the criteria of the search that gave gc_bim_tall its constants: that they "
    "hold says that one set of constants can carry them all, and is no test of the model."
)
POINTS_SOURCE = (
    "Gonnord et al. 2018, Science Signaling, figure S3C, digitised in github.com/meyer-lab/gc-cytokines c48ba92 (MIT); "
    "human CD4+ CCR7-high T cells, 10 min"
)
_MEASURED_GRID = tuple(f"{10.0**e:.6g} pg/ml" for e in np.arange(41) / 8.0)  # 1 to 1e5, holds all measured doses
CALIBRATION_AS_CLAIMS = 300  # the fit at the end takes about as long as this many claims


@dataclass(frozen=True)
class SubsetCurves:
    """IL-7 dose-response of one kind of cell with and without imatinib, paper protocol, read at 30 min."""

    cells: str  # "CD4" or "CD8"
    title: str  # "bulk CD4 T cells"
    control: kin.DoseResponseCurve  # doses in ng/ml, total pSTAT5 in nM
    imatinib: kin.DoseResponseCurve  # same doses
    shift: kin.Shift


@dataclass(frozen=True)
class AssayCase:
    """The 10-min curve under another assumption about the assay or the cells: what follows for EC50 and shift."""

    title: str
    ec50: float  # pg/ml; NaN where the curve has none within its doses
    hill: float
    rms: float  # misfit to the points after scale and offset, as a fraction of the measured top
    shift: float  # right-shift by imatinib in the paper protocol, dose for half of control maximum; inf: not reached


@dataclass(frozen=True)
class MeasuredComparison:
    """The untreated curve at 10 min beside the measured points."""

    doses: FloatArray  # (n_points,), pg/ml; every replicate is a point
    responses: FloatArray  # (n_points,), MFI
    replicates: tuple[int, ...]  # (n_points,)
    simulated: kin.DoseResponseCurve  # fine grid, doses in pg/ml, total pSTAT5 in nM at 10 min
    scale: float  # MFI per nM
    offset: float  # MFI
    rms: float  # root mean square misfit of the points, as a fraction of the measured top
    ec50: float  # pg/ml, of the simulated curve
    hill: float
    measured_ec50: float  # pg/ml, least-squares Hill curve through the points
    measured_hill: float
    measured_rms: float  # misfit of that free four-parameter curve: what a model can hope for
    cases: tuple[AssayCase, ...]  # what the unknown cell density and other receptor numbers would change
    source: str = POINTS_SOURCE

    @property
    def scaled(self) -> FloatArray:
        """The simulated curve in MFI, shape ``(n_grid,)``."""
        return np.asarray(self.offset + self.scale * self.simulated.responses, dtype=float)


@dataclass(frozen=True)
class Reproduction:
    """Everything `reproduce` found; the table, the JSON and the HTML page are views of it."""

    subsets: tuple[SubsetCurves, ...]  # CD4 first
    measured: MeasuredComparison
    verdicts: tuple[Verdict, ...]  # in the order of the ledger
    solver: kin.Solver
    timings: Mapping[str, float]  # seconds by step: "models", "curves", "points", "claims", "total"
    versions: Mapping[str, str]  # by package; "python" too
    calibration: Calibration | None = None  # of the bundled problem, where it was asked for
    lines: tuple[kin.DoseResponseCurve, ...] = ()  # prednisolone on lines of T-ALL cells; empty without their model
    ensemble: Ensembled | None = None  # what the bundled ensemble of the steroid model says; None for other constants
    draws: Draws | None = None  # in which the claims about T-cell numbers hold, where they were asked for

    def with_status(self, status: Status) -> tuple[Verdict, ...]:
        """Verdicts of one status, core claims first, else in the order of the ledger."""
        chosen = [verdict for verdict in self.verdicts if verdict.status is status]
        return tuple(sorted(chosen, key=lambda verdict: verdict.claim.priority != "core"))

    @property
    def failures(self) -> tuple[Verdict, ...]:
        """Claims that fail, core ones first."""
        return self.with_status(Status.FAILS)

    @property
    def unanswered_core(self) -> tuple[Verdict, ...]:
        return tuple(v for v in self.with_status(Status.NOT_ANSWERED) if v.claim.priority == "core")

    @property
    def exit_status(self) -> int:
        """0 when every answered core claim holds, else 1."""
        return int(any(verdict.claim.priority == "core" for verdict in self.failures))

    @property
    def summary(self) -> str:
        """The last line of the table: how many core claims hold, fail and have no answer."""
        core = [verdict for verdict in self.verdicts if verdict.claim.priority == "core"]
        counts = {status: sum(verdict.status is status for verdict in core) for status in Status}
        return (
            f"{len(core)} core claims: {counts[Status.HOLDS]} hold, {counts[Status.FAILS]} fail, "
            f"{counts[Status.NOT_ANSWERED]} not answered by the bundled models."
        )

    def to_json(self) -> str:
        """One object per claim, see `Verdict.to_dict`."""
        return json.dumps([verdict.to_dict() for verdict in self.verdicts], indent=2, ensure_ascii=False)

    def table(self) -> str:
        """The result for people: curves, measured points, claims (failures first), counts."""
        lines = [*_curve_lines(self.subsets), "", *_point_lines(self.measured), ""]
        lines += self._section(Status.FAILS)
        for status in (Status.NOT_ANSWERED, Status.OUT_OF_SCOPE):
            lines += _open_lines(status, self.with_status(status))
        lines += self._section(Status.HOLDS)
        if self.ensemble is not None:
            lines += _prediction_lines(self.ensemble)
        if self.draws is not None:
            lines += _draw_lines(self.draws)
        if self.calibration is not None:
            lines += _calibration_lines(self.calibration)
        answered = [verdict for verdict in self.verdicts if verdict.answered]
        kinds = ", ".join(f"{sum(v.claim.how is how for v in answered)} {how.value}" for how in How)
        lines.append(f"{len(answered)} claims and controls answered: {kinds}.")
        lines += [*(textwrap.wrap(SEARCHED, _WIDTH) if self.lines else []), self.summary]
        return "\n".join(lines)

    def _section(self, status: Status) -> list[str]:
        """The claims of one status, by paper."""
        verdicts = self.with_status(status)
        lines = [f"{status.value.upper()} ({len(verdicts)})"] if verdicts else []
        for paper, group in by_paper(verdicts).items():
            lines += [f"- {paper} ({len(group)})", *map(_claim_lines, group), ""]
        return lines


def by_paper(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """Verdicts by where their claims come from, in the order of the papers."""
    groups: dict[str, list[Verdict]] = {paper: [] for paper in PAPERS.values()}
    for verdict in verdicts:
        groups.setdefault(verdict.claim.paper, []).append(verdict)
    return {paper: group for paper, group in groups.items() if group}


# --- running ------------------------------------------------------------------------------------------------


def reproduce(
    models: Iterable[kin.Model] | None = None,
    parameters: Mapping[str, float] | None = None,
    solver: kin.Solver | None = None,
    *,
    calibrate: bool = False,
    draws: int = 0,
    progress: bool | None = None,
) -> Reproduction:
    """Simulate, compare and check.

    Args:
        models: bundled models or variants and calibrated copies of them; default: the bundled.
        parameters: values that replace the models', in their units.
        solver: tolerances; default those of `kinetics.simulate`.
        calibrate: end with `fits.calibration.quick_calibration` of the bundled problem, about a minute; it starts from
            the bundled model, whatever ``models`` and ``parameters`` are.
        draws: number of parameter sets for the share in which each claim about T-cell numbers holds, about 7 s per
            1,000; 0 leaves the shares out.
        progress: whether to draw a bar once it takes long, by default where somebody looks.

    Raises:
        KineticsError: a curve of the figures cannot be simulated (a claim that cannot, fails instead).
    """
    clock = _Clock()
    on_bench = {model.name: model for model in (bundled_models() if models is None else models)}
    known_parameters(on_bench, parameters or {})
    if MODELS["M1"] not in on_bench:
        raise InputError(f"reproduce needs the model {MODELS['M1']!r}, got {', '.join(on_bench) or 'none'}")
    bench = Bench(on_bench, parameters, solver)
    clock.lap("models")
    claims = len(ledger())
    total = claims + (CALIBRATION_AS_CLAIMS if calibrate else 0)
    with track("reproducing", total, progress=progress, unit="steps") as bar:
        subsets = tuple(_subset(bench, cells) for cells in ("CD4", "CD8"))
        clock.lap("curves")
        measured = _measured(bench)
        clock.lap("points")
        verdicts = check(bench=bench, answered=bar.advance)
        clock.lap("claims")
        ensemble = _ensemble(bench)
        if ensemble is not None:
            verdicts = tuple(_with_ensemble(verdict, ensemble) for verdict in verdicts)
            clock.lap("ensemble")
        drawn = None
        if draws and MODELS["M3"] in on_bench:
            bar.advance(0, "drawing")
            drawn = draw(bench, draws, SEED)
            shares = {claim: {"draws": drawn.share(claim)} for claim in drawn.holding}
            verdicts = tuple(verdict.with_shares(shares.get(verdict.claim.id, {})) for verdict in verdicts)
            clock.lap("draws")
        calibration = None
        if calibrate:
            from fits.calibration import quick_calibration

            bar.advance(0, "calibrating")
            calibration = quick_calibration(solver=solver)
            clock.lap("calibration")
    return Reproduction(
        subsets, measured, verdicts, solver or kin.Solver(), clock.laps(), MappingProxyType(versions()), calibration,
        _lines(bench), ensemble, drawn,
    )  # fmt: skip


def _lines(bench: Bench) -> tuple[kin.DoseResponseCurve, ...]:
    """Prednisolone curves of the parental and the resistant lines."""
    from fits.claims import steroid
    from fits.steroid.lines import RESISTANT

    if MODELS["M2"] not in bench.models:
        return ()
    laboratory = steroid.laboratory(bench)
    return tuple(steroid.curve(laboratory, name) for name in ("parental", *RESISTANT))


def _ensemble(bench: Bench) -> Ensembled | None:
    """Over the bundled ensemble, where the steroid model on the bench is the one it was made for."""
    from fits.steroid.predictions import over_ensemble

    model = bench.models.get(MODELS["M2"])
    if model is None or bench.parameters:
        return None
    try:
        return over_ensemble(model)
    except (InputError, ModelNotFound):
        return None


def _with_ensemble(verdict: Verdict, ensemble: Ensembled) -> Verdict:
    name = verdict.claim.id
    if not verdict.answered or name not in ensemble.shares:
        return verdict
    with_shares = verdict.with_shares({"ensemble": ensemble.shares[name]})
    return replace(with_shares, intervals=ensemble.intervals[name])


class _Clock:
    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps[name], self._last = now - self._last, now

    def laps(self) -> Mapping[str, float]:
        return MappingProxyType({**self._laps, "total": self._last - self._start})


def _subset(bench: Bench, cells: str) -> SubsetCurves:
    treated = replace(TREATED, cells=cells)
    control, imatinib = bench.curve(treated.vehicle), bench.curve(treated)
    return SubsetCurves(cells, f"bulk {cells} T cells", control, imatinib, kin.compare(control, imatinib))


# --- the measured points ------------------------------------------------------------------------------------


def measured_points() -> tuple[FloatArray, FloatArray, tuple[int, ...]]:
    """Doses (pg/ml), responses (MFI) and replicate numbers of the bundled points, each of length ``n_points``.

    Raises:
        InvalidModel: the bundled table is damaged.
    """
    text = resources.files("fits").joinpath("data/il7_pstat5.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    if {(row["dose_unit"], row["response_unit"]) for row in rows} != {("pg/ml", "MFI")}:
        raise InvalidModel("fits/data/il7_pstat5.csv: expected doses in pg/ml and responses in MFI")
    doses = np.array([float(row["dose"]) for row in rows])
    responses = np.array([float(row["response"]) for row in rows])
    return doses, responses, tuple(int(row["replicate"]) for row in rows)


def _measured(bench: Bench) -> MeasuredComparison:
    doses, responses, replicates = measured_points()
    untreated = Assay(imatinib=(), at="10 min", doses=_MEASURED_GRID)
    simulated = bench.curve(untreated)
    free = replace(simulated, doses=doses, responses=responses, response_unit="MFI").describe()
    top = free.top
    scale, offset, rms = _scaled(simulated, doses, responses, top)
    own = simulated.describe()
    cases = tuple(
        _case(bench, title, values, untreated, doses, responses, top) for title, values in _assumptions().items()
    )
    return MeasuredComparison(
        doses, responses, replicates, simulated, scale, offset, rms, own.ec50, own.hill,
        free.ec50, free.hill, free.rms * abs(free.span) / top, cases,
    )  # fmt: skip


def _scaled(
    curve: kin.DoseResponseCurve, doses: FloatArray, responses: FloatArray, top: float
) -> tuple[float, float, float]:
    """Scale, offset and relative misfit of the least-squares line from simulated to measured responses."""
    at_points = np.array([at_dose(curve, dose) for dose in doses])
    columns = np.column_stack((at_points, np.ones_like(at_points)))
    (scale, offset), *_ = np.linalg.lstsq(columns, responses, rcond=None)
    rms = float(np.sqrt(np.mean((offset + scale * at_points - responses) ** 2)) / top)
    return float(scale), float(offset), rms


def _assumptions() -> dict[str, tuple[tuple[str, float], ...]]:
    """What is not known of the assay (its cell density), and the receptor numbers reported with it."""
    variants = catalogue.find_model(MODELS["M1"]).variants
    densities = {f"{density:.0e} cells/ml": (("cell_density", density),) for density in (1e5, 5e5, 1e6, 2e6)}
    numbers = {
        variants[name].title: tuple(variants[name].values.items()) for name in ("gonnord_numbers", "gonnord_recycling")
    }
    return {**densities, **numbers}


def _case(
    bench: Bench,
    title: str,
    values: tuple[tuple[str, float], ...],
    untreated: Assay,
    doses: FloatArray,
    responses: FloatArray,
    top: float,
) -> AssayCase:
    curve = bench.curve(replace(untreated, values=values))
    said = curve.describe()
    shift = bench.shift(replace(TREATED, values=values))
    return AssayCase(title, said.ec50, said.hill, _scaled(curve, doses, responses, top)[2], shift)


# --- text ---------------------------------------------------------------------------------------------------

_WIDTH = 110


def _curve_lines(subsets: Iterable[SubsetCurves]) -> list[str]:
    lines = ["IL-7 dose-response of pSTAT5 (24 h imatinib 3 uM or vehicle, wash, 1 h, IL-7 for 30 min)"]
    lines.append(f"  {'':<18}{'EC50 control':>16}{'EC50 imatinib':>16}{'EC50 ratio':>12}{'at half max':>13}{'Emax':>8}")
    for subset in subsets:
        shift = subset.shift
        lines.append(
            f"  {subset.title:<18}{shift.control.ec50:>10.3g} ng/ml{shift.treated.ec50:>10.3g} ng/ml"
            f"{shift.dose_ratio:>11.3g}x{shift.equieffective_ratio:>12.3g}x{shift.emax_ratio:>8.2g}"
        )
    lines.append("  at half max: ratio of the doses for half of the control's maximum; Emax: ratio to control")
    return lines


def _point_lines(measured: MeasuredComparison) -> list[str]:
    lines = [
        f"Untreated curve at 10 min beside {len(measured.doses)} measured points (nothing fitted but scale and offset)",
        f"  simulated EC50 {measured.ec50:.3g} pg/ml, Hill {measured.hill:.3g}; points EC50 "
        f"{measured.measured_ec50:.3g} pg/ml, Hill {measured.measured_hill:.3g}",
        f"  misfit {100 * measured.rms:.2g} % of the top; the best free Hill curve has "
        f"{100 * measured.measured_rms:.2g} %",
        f"  scale {measured.scale:.4g} MFI/nM, offset {measured.offset:.3g} MFI",
        "  what the unknown cell density and other receptor numbers would change:",
    ]
    for case in measured.cases:
        shift = "not reached" if math.isinf(case.shift) else f"{case.shift:.3g}x"
        numbers = f"EC50 {case.ec50:.3g} pg/ml, Hill {case.hill:.3g}, misfit {100 * case.rms:.2g} %, shift {shift}"
        lines += textwrap.wrap(f"{case.title}: {numbers}", _WIDTH, initial_indent="    ", subsequent_indent="      ")
    return [*lines, *textwrap.wrap(f"points: {measured.source}", _WIDTH, initial_indent="  ", subsequent_indent="  ")]


def _draw_lines(draws: Draws) -> list[str]:
    lines = ["DRAWS: the constants of the T-cell model are assumed or recalled, so its claims are shares"]
    for text in draws.sentences():
        lines += textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="    ")
    return [*lines, ""]


def _calibration_lines(calibration: Calibration) -> list[str]:
    lines = [f"CALIBRATION: {calibration.title}"]
    cases = (f"{case.words()}" for case in calibration.cases)
    for text in (*calibration.sentences(), "Under other assumptions:"):
        lines += textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="    ")
    for text in cases:
        lines += textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="      ")
    return [*lines, ""]


def _prediction_lines(ensemble: Ensembled) -> list[str]:
    lines = [f"PREDICTIONS of the steroid model: median and range over {ensemble.size} parameter sets"]
    for prediction in ensemble.predictions:
        lines += textwrap.wrap(prediction.words(), _WIDTH, initial_indent="  ", subsequent_indent="    ")
    lines.append("  Verdicts on the shift, by member (the search bounded the ratio of half-effect doses at 2):")
    for text in ensemble.verdicts:
        lines += textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="      ")
    return [*lines, ""]


def _claim_lines(verdict: Verdict) -> str:
    claim = verdict.claim
    how = claim.how.value if claim.how else ""
    rows = [
        ("", f"{claim.statement}  [{claim.priority}, {how}]"),
        ("found: ", verdict.value),
        ("criterion: ", claim.criterion),
        ("holds in: ", "; ".join(share.words() for share in verdict.shares.values())),
        ("over the ensemble: ", verdict.spread()),
        ("note: ", verdict.explanation),
    ]
    lines = []
    for index, (label, text) in enumerate(rows):
        if text:
            first = f"  {claim.id}  " if index == 0 else "       "
            lines += textwrap.wrap(label + text, _WIDTH, initial_indent=first, subsequent_indent="       ")
    return "\n".join(lines)


def _open_lines(status: Status, verdicts: tuple[Verdict, ...]) -> list[str]:
    """Claims without an answer, by reason."""
    if not verdicts:
        return []
    reasons: dict[str, list[str]] = {}
    for verdict in verdicts:
        reasons.setdefault(verdict.explanation, []).append(verdict.claim.id)
    lines = [f"{status.value.upper()} ({len(verdicts)})"]
    for reason, ids in reasons.items():
        text = f"{' '.join(sorted(ids))}: {reason}"
        lines += textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="    ")
    return [*lines, ""]
