"""Checks of the claims about IL-7, STAT5 and imatinib (Thiant et al. 2017), one small function each.

A check gets the bench and the numbers of its criterion and returns what it found.  Comparisons are written so
that NaN does not pass.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

import kinetics as kin
from fits.claims.bench import DRUG, NEVER, NO_WASH, PAPER, TREATED, WASH_24H, Assay, Bench, at_dose, fold, ratio
from fits.claims.ledger import find_claim
from fits.claims.registry import Finding, answers

Numbers = Mapping[str, float]
BOTH = (TREATED, replace(TREATED, cells="CD8"))
PRESENT = replace(TREATED, imatinib=NO_WASH)
DENSITIES = (5e5, 1e6, 2e6)  # cells/ml of cultures
WEAK_TCR = 0.5  # the input of the feasibility study, shown beside the half-maximal one
TCR_DOSES = tuple(f"{10.0**e:.6g}" for e in np.arange(-8, 17) / 4.0)
IMATINIB_DOSES = ("0 uM", *(f"{10.0**e:.6g} uM" for e in np.arange(-8, 17) / 8.0))


def _percent(share: float) -> str:
    return f"{100.0 * share:.3g} %"


# ---- IL-7 dose-response ------------------------------------------------------------------------------------


def _lowered(bench: Bench, treated: Assay, limits: Numbers) -> tuple[bool, str, dict[str, float]]:
    """The criterion of B01 on one kind of cells."""
    control, drug = bench.curve(treated.vehicle), bench.curve(treated)
    low = control.doses <= limits["highest_dose"] * (1.0 + 1e-9)
    pairs = zip(drug.responses[low].tolist(), control.responses[low].tolist(), strict=True)
    worst = float(np.max([ratio(*pair) for pair in pairs]))  # numpy's maximum, because it hands NaN on
    half, one = (bench.loss(treated, dose) for dose in (0.5, 1.0))  # ng/ml
    holds = worst < 1.0 and half >= limits["smallest_loss"] and one >= limits["smallest_loss"]
    cells = treated.cells
    text = f"{cells}: {_percent(half)} lower at 0.5, {_percent(one)} at 1 ng/ml; shift {fold(bench.shift(treated))}"
    numbers = {f"ratio_0.5_{cells}": 1.0 - half, f"ratio_1_{cells}": 1.0 - one, f"largest_ratio_{cells}": worst}
    return holds, text, numbers


@answers("B01")
def lowers_pstat5(bench: Bench, limits: Numbers) -> Finding:
    """Imatinib lowers pSTAT5 at low IL-7, bulk CD4 and bulk CD8."""
    parts = [_lowered(bench, treated, limits) for treated in BOTH]
    numbers = {name: value for part in parts for name, value in part[2].items()}
    return Finding(all(part[0] for part in parts), "; ".join(part[1] for part in parts), numbers)


@answers("B02")
def low_doses_suffice(bench: Bench, limits: Numbers) -> Finding:
    """0.5 and 1 ng/ml give most of the maximum in untreated cells."""
    control = bench.curve(TREATED.vehicle)
    largest = float(np.max(control.responses))
    half, one = (ratio(at_dose(control, dose), largest) for dose in (0.5, 1.0))
    holds = half >= limits["smallest_at_0.5"] and one >= limits["smallest_at_1"]
    return Finding(
        holds, f"{half:.3g} of maximum at 0.5, {one:.3g} at 1 ng/ml", {"fraction_0.5": half, "fraction_1": one}
    )


@answers("B03")
def shifts_right(bench: Bench, limits: Numbers) -> Finding:
    """Much more IL-7 is needed, by the dose for half of control maximum and by the curve's own EC50."""
    control, treated = bench.curve(TREATED.vehicle), bench.curve(TREATED)
    same_effect = bench.shift(TREATED)
    own = kin.compare(control, treated).dose_ratio
    holds = same_effect >= limits["smallest_shift"] and (own >= limits["smallest_shift"] or same_effect == NEVER)
    text = f"{fold(same_effect)} by the dose for half of control maximum, {own:.3g}x by the curve's own EC50"
    ec50 = control.describe().ec50
    return Finding(holds, text, {"shift": same_effect, "ec50_ratio": own, "ec50_control": ec50})


@answers("B04")
def high_doses_overcome(bench: Bench, limits: Numbers) -> Finding:
    """At 100 ng/ml the treated cells come close to the control maximum, bulk CD4 and bulk CD8."""
    found = {}
    for treated in BOTH:
        largest = float(np.max(bench.curve(treated.vehicle).responses))
        found[treated.cells] = ratio(bench.value(treated, 100.0), largest)
    holds = all(value >= limits["smallest_fraction"] for value in found.values())
    text = ", ".join(f"{cells} {value:.3g}" for cells, value in found.items()) + " of control maximum at 100 ng/ml"
    return Finding(holds, text, {f"fraction_{cells}": value for cells, value in found.items()})


def _dip(curve: kin.DoseResponseCurve) -> float:
    """The deepest fall below an earlier response, as a fraction of the maximum."""
    fall = np.maximum.accumulate(curve.responses) - curve.responses
    return ratio(float(np.max(fall)), float(np.max(curve.responses)))


@answers("B05")
def graded(bench: Bench, limits: Numbers) -> Finding:
    """The response does not fall with dose in either arm."""
    control, treated = _dip(bench.curve(TREATED.vehicle)), _dip(bench.curve(TREATED))
    holds = control <= limits["largest_dip"] and treated <= limits["largest_dip"]
    text = f"largest dip {_percent(control)} of maximum in control, {_percent(treated)} with imatinib"
    return Finding(holds, text, {"dip_control": control, "dip_imatinib": treated})


@answers("B06")
def survives_washing(bench: Bench, limits: Numbers) -> Finding:
    """Half of the log-shift survives 1 h of washing, next to nothing survives 24 h."""
    shifts = [bench.shift(replace(TREATED, imatinib=steps)) for steps in (NO_WASH, PAPER, WASH_24H)]
    if shifts[0] == NEVER:
        return Finding(False, "without washing no dose reaches half of control maximum: no log-shift to compare", {})
    none, hour, day = (math.log10(shift) for shift in shifts)
    left_hour, left_day = ratio(hour, none), ratio(day, none)
    holds = none > 0.0 and left_hour >= limits["smallest_left_1h"] and left_day <= limits["largest_left_24h"]
    text = (
        f"{left_hour:.3g} of the log-shift left after 1 h, {left_day:.2g} after 24 h "
        f"(shift {fold(shifts[0])}, {fold(shifts[1])}, {fold(shifts[2])})"
    )
    numbers = {"left_1h": left_hour, "left_24h": left_day, "shift_no_wash": shifts[0], "shift_24h": shifts[2]}
    return Finding(holds, text, numbers)


@answers("B07")
def incubation_time(bench: Bench, limits: Numbers) -> Finding:
    """12 or 24 h of imatinib make no difference to the shift."""
    found = {}
    for hours in (12, 16, 24):
        found[hours] = bench.shift(replace(TREATED, imatinib=((f"{hours} h", DRUG), ("1 h", "0 uM"))))
    change = abs(ratio(found[24], found[12]) - 1.0)
    text = "shift " + ", ".join(f"{fold(shift)} after {hours} h" for hours, shift in found.items())
    numbers = {f"shift_{hours}h": shift for hours, shift in found.items()}
    return Finding(change < limits["largest_change"], text, {**numbers, "change": change})


@answers("B10")
def needs_jak(bench: Bench, limits: Numbers) -> Finding:
    """Ruxolitinib or tofacitinib, 1 uM each, all but abolish pSTAT5 at 1 ng/ml."""
    control = Assay().vehicle
    numbers: dict[str, float] = {}
    text, holds = [], True
    for drug in ("Ruxolitinib", "Tofacitinib"):
        inhibited = replace(control, during=((drug, "1 uM"),))
        left = {
            dose: ratio(bench.value(inhibited, dose), bench.value(control, dose)) for dose in (0.1, 1.0, 10.0, 100.0)
        }
        holds = holds and 1.0 - left[1.0] >= limits["smallest_inhibition"]
        numbers |= {f"left_{dose:g}_{drug}": value for dose, value in left.items()}
        text.append(f"{drug} {left[1.0]:.2g} left at 1 ng/ml ({left[100.0]:.2g} at 100)")
    return Finding(holds, "; ".join(text), numbers)


# ---- TCR and ERK ------------------------------------------------------------------------------------------


def _erk(imatinib: tuple[tuple[str, str], ...]) -> Assay:
    return Assay(imatinib=imatinib, readout="ppERK_fraction", target="TCR", doses=TCR_DOSES)


def half_maximal_input(bench: Bench) -> float:
    """The TCR input that gives half of the maximal ppERK without drug."""
    curve = bench.curve(_erk(PAPER).vehicle)
    return curve.dose_for(0.5 * float(np.max(curve.responses)))


def _erk_losses(bench: Bench, limits: Numbers) -> tuple[bool, str, dict[str, float]]:
    half = half_maximal_input(bench)
    if math.isnan(half):
        return False, "ppERK has no half-maximum within the inputs tried", {}
    strong = half * limits["strong_over_suboptimal"]
    inputs = (half, strong, WEAK_TCR, 10.0 * WEAK_TCR)
    doses = tuple(f"{value:.9g}" for value in sorted(set(inputs)))
    treated = replace(_erk(PAPER), doses=doses)
    losses = {value: bench.loss(treated, float(f"{value:.9g}")) for value in inputs}
    holds = losses[half] >= limits["smallest_loss"] and losses[strong] < losses[half]
    text = (
        f"{_percent(losses[half])} lower at half-maximal TCR input ({half:.3g}), {_percent(losses[strong])} at "
        f"{limits['strong_over_suboptimal']:g} times that; at inputs {WEAK_TCR:g} and {10.0 * WEAK_TCR:g}: "
        f"{_percent(losses[WEAK_TCR])} and {_percent(losses[10.0 * WEAK_TCR])}"
    )
    numbers = {
        "loss_half_maximal": losses[half], "loss_strong": losses[strong], "half_maximal_input": half,
        "loss_weak": losses[WEAK_TCR], "loss_10_weak": losses[10.0 * WEAK_TCR],
    }  # fmt: skip
    return holds, text, numbers


def erk_left(bench: Bench) -> float:
    """ppERK after the protocol of B08 at the half-maximal TCR input, imatinib over vehicle."""
    return 1.0 - _erk_losses(bench, find_claim("B08").thresholds)[2]["loss_half_maximal"]


@answers("B08")
def lowers_erk(bench: Bench, limits: Numbers) -> Finding:
    """Imatinib lowers ppERK after a suboptimal TCR input, less so after a strong one."""
    return Finding(*_erk_losses(bench, limits))


@answers("B09")
def both_in_both(bench: Bench, limits: Numbers) -> Finding:
    """The criteria of B01 and B08 in CD4 and in CD8 cells; the ERK arm does not depend on receptor numbers."""
    parts = [_lowered(bench, treated, find_claim("B01").thresholds) for treated in BOTH]
    erk = _erk_losses(bench, find_claim("B08").thresholds)
    text = "; ".join([*(part[1] for part in parts), f"ERK: {erk[1]}"])
    numbers = {name: value for part in (*parts, erk) for name, value in part[2].items()}
    return Finding(all(part[0] for part in (*parts, erk)), text, numbers)


@answers("X05")
def tcr_potency(bench: Bench, limits: Numbers) -> Finding:
    """IC50 of imatinib on ppERK, drug present, at a weak and at the half-maximal TCR input: both must be in range."""
    found = {}
    for name, value in (("weak", WEAK_TCR), ("half", half_maximal_input(bench))):
        schedule = kin.Experiment.steps(("24 h", {}), ("30 min", {"TCR": value}))
        readout = kin.Readout.at("ppERK_fraction", "30 min")
        protocol = kin.DoseProtocol("Imatinib", IMATINIB_DOSES, readout, schedule, period=0)
        model = bench.cells("CD4")
        curve = kin.dose_response(model, protocol, solver=bench.solver, parameters=bench.settings("CD4"))
        found[name] = curve.dose_for(0.5 * float(curve.responses[0]))
    holds = all(limits["smallest_ic50"] <= value <= limits["largest_ic50"] for value in found.values())
    text = f"IC50 {found['weak']:.3g} uM at TCR input {WEAK_TCR:g}, {found['half']:.3g} uM at half-maximal input"
    return Finding(holds, text, {"ic50": found["weak"], "ic50_half_maximal": found["half"]})


# ---- BCL2, receptors, activated cells -----------------------------------------------------------------------


def bcl2_rises(bench: Bench) -> tuple[bool, str, dict[str, float]]:
    """A part of B11: BCL2 rises with IL-7 below 1 ng/ml over 24-72 h, imatinib that stays in the medium lowers it."""
    doses = tuple(f"{dose:g} ng/ml" for dose in (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9))
    numbers: dict[str, float] = {}
    holds = True
    for hours in (24, 48, 72):
        treated = replace(PRESENT, readout="BCL2", at=f"{hours} h", doses=doses)
        with_drug, control = bench.curve(treated).responses, bench.curve(treated.vehicle).responses
        basal = float(control[0])
        rises = all(later > earlier for earlier, later in itertools.pairwise(control))
        lowered = bool(np.all(with_drug[1:] < control[1:]))
        holds = holds and rises and lowered
        at = doses.index("0.1 ng/ml")
        numbers |= {
            f"fold_{hours}h": ratio(float(control[at]), basal),
            f"fold_drug_{hours}h": ratio(float(with_drug[at]), basal),
        }
    text = "BCL2 over its level without IL-7, at 0.1 ng/ml, control and imatinib: " + ", ".join(
        f"{numbers[f'fold_{hours}h']:.3g} and {numbers[f'fold_drug_{hours}h']:.3g} at {hours} h"
        for hours in (24, 48, 72)
    )
    return holds, text, numbers


@answers("B23")
def activated_cells(bench: Bench, limits: Numbers) -> Finding:
    """Cells with a tenth of the receptors lose less pSTAT5, in absolute terms, at systemic IL-7."""
    activated = replace(TREATED, values=(("fold_IL7R", limits["receptor_factor"]),))
    scored, shown = (0.02, 0.1), (0.5, 1.0)
    ratios, numbers = {}, {}
    for dose in (*scored, *shown):
        rest, active = ((bench.value(a.vehicle, dose) - bench.value(a, dose)) for a in (TREATED, activated))
        ratios[dose] = ratio(active, rest)
        numbers[f"ratio_{dose:g}"] = ratios[dose]
        numbers[f"relative_resting_{dose:g}"] = bench.loss(TREATED, dose)
        numbers[f"relative_activated_{dose:g}"] = bench.loss(activated, dose)
    holds = all(ratios[dose] < limits["largest_ratio"] for dose in scored)
    text = (
        "absolute loss, activated over resting: "
        + ", ".join(f"{ratio:.3g} at {dose:g}" for dose, ratio in ratios.items())
        + f" ng/ml; relative loss at 0.1 ng/ml {_percent(numbers['relative_activated_0.1'])} against "
        f"{_percent(numbers['relative_resting_0.1'])}"
    )
    return Finding(holds, text, numbers)


@answers("X04")
def receptor_half_life(bench: Bench, limits: Numbers) -> Finding:
    """Total IL-7Ra with synthesis off: time to half of it, with and without IL-7."""
    found = {}
    times = np.concatenate(([0.0], np.geomspace(1.0, 120.0 * 60.0, 200)))  # min
    for dose in (0.0, 1.0, 10.0, 50.0):
        course = kin.simulate(
            bench.cells("CD4"),
            kin.Experiment.steps(("120 h", {"IL7": f"{dose:g} ng/ml"})),
            [f"{time!r} min" for time in times.tolist()],
            ["IL7R_total"],
            solver=bench.solver,
            parameters=bench.settings("CD4", {"synthesis_rel": 0.0}),
        )
        left = course["IL7R_total"] / course["IL7R_total"][0]
        below = int(np.argmax(left < 0.5))
        if not below:
            found[dose] = math.inf
            continue
        # what is left falls from point to point, and nearly exponentially, so its logarithm is interpolated
        pair = slice(below - 1, below + 1)
        found[dose] = float(np.interp(-math.log(0.5), -np.log(left[pair]), times[pair]) / 60.0)
    hours, narrow, short, wide = (limits[n] for n in ("half_life", "tolerance", "half_life_IL7", "tolerance_IL7"))
    holds = abs(found[0.0] / hours - 1.0) <= narrow and all(
        abs(found[dose] / short - 1.0) <= wide for dose in (10.0, 50.0)
    )
    text = "half-life " + ", ".join(f"{value:.3g} h at {dose:g}" for dose, value in found.items()) + " ng/ml"
    return Finding(holds, text, {f"hours_{dose:g}": value for dose, value in found.items()})


def first_step(bench: Bench, limits: Numbers) -> tuple[bool, str, dict[str, float]]:
    """EC50 of BCL2 at 48 h over that of pSTAT5 at 30 min, by cells and density: the first two rungs of the ladder X06.

    The ladder was seen in CD8 cells, so these are scored; CD4 cells are shown beside them.
    """
    found: dict[tuple[str, float], float] = {}
    numbers: dict[str, float] = {}
    for cells in ("CD8", "CD4"):
        for density in DENSITIES:
            assay = Assay(cells=cells, values=(("cell_density", density),))
            early = bench.curve(assay).describe().ec50
            late = bench.curve(replace(assay, readout="BCL2", at="48 h")).describe().ec50
            found[cells, density] = late / early
            numbers |= {f"ec50_pSTAT5_{cells}_{density:.0e}": early, f"ec50_BCL2_{cells}_{density:.0e}": late}
            numbers[f"ratio_{cells}_{density:.0e}"] = late / early
    holds = all(found["CD8", density] >= limits["smallest_ratio"] for density in (1e6, 2e6))
    text = "EC50 of BCL2 over that of pSTAT5 at 5e5, 1e6, 2e6 cells/ml: " + "; ".join(
        f"{cells} " + ", ".join(f"{value:.3g}" for (which, _), value in found.items() if which == cells)
        for cells in ("CD8", "CD4")
    )
    return holds, text, numbers
