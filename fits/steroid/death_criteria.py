"""Criteria of claims A01-A06, X07 and N07: receptor, BIM and death in sensitive cells."""

from __future__ import annotations

import numpy as np

from fits.steroid.arms import Cells, line, viability
from fits.steroid.criteria import (
    NOISE,
    Criterion,
    Limits,
    criteria_of,
    crossing,
    half_dose,
    stack,
)
from fits.steroid.lines import (
    DEXAMETHASONE_DOSES,
    FAMILY,
    GSK3I_IX,
    HOURS,
    PREDNISOLONE,
    PREDNISOLONE_DOSES,
    dexed,
    fold,
    predded,
)


@criteria_of("A01")
def receptor(cells: Cells, limits: Limits) -> list[Criterion]:
    """GRn at 60 min is compared with the largest of all doses at 24 h."""
    parental = line("parental")
    found = []
    for steroid, doses, dose in (
        ("Dexamethasone", DEXAMETHASONE_DOSES, 100.0),
        ("Prednisolone", PREDNISOLONE_DOSES, PREDNISOLONE),
    ):
        drugged = [parental.given(**{steroid: nM}) for nM in doses]
        for quantity in ("GRn", "gre", "GILZ_mRNA"):
            levels = stack(cells(arm, quantity, 24.0) for arm in (parental, *drugged))
            top = np.max(levels, axis=1)
            rise = np.min(np.diff(levels, axis=1), axis=1) / top
            found.append(Criterion(f"smallest rise of {quantity} with {steroid}", rise, -NOISE, None, 0.1))
            if quantity == "GRn":
                early = cells(parental.given(**{steroid: dose}), "GRn", 1.0) / top
                found.append(Criterion(f"GRn at 60 min, {steroid}", early, limits["smallest_early"], None, 0.1))
                name = f"GRn without ligand over that with {steroid}"
                found.append(Criterion(name, levels[:, 0] / top, None, limits["largest_without"], 0.1))
    return found


@criteria_of("A02")
def bim_rises(cells: Cells, limits: Limits) -> list[Criterion]:
    """BIM mRNA and total BIM at 24 h, after either steroid."""
    return [
        Criterion(
            f"{quantity} over vehicle, {steroid}",
            fold(cells, arm, line("parental"), quantity, 24.0),
            limits["smallest_fold"],
            None,
            0.4,
        )
        for steroid, arm in (("dex", dexed("parental")), ("pred", predded("parental")))
        for quantity in ("BIM_mRNA", "BIM_total")
    ]


@criteria_of("A03")
def puma_rises(cells: Cells, limits: Limits) -> list[Criterion]:
    """Total PUMA at 24 h, after either steroid."""
    return [
        Criterion(
            f"PUMA over vehicle, {steroid}",
            fold(cells, arm, line("parental"), "PUMA_total", 24.0),
            limits["smallest_fold"],
            None,
            0.2,
        )
        for steroid, arm in (("dex", dexed("parental")), ("pred", predded("parental")))
    ]


@criteria_of("A04")
def family_counteracts(cells: Cells, limits: Limits) -> list[Criterion]:
    """Free BIM is read at 24 h, where most cells have not fired yet."""
    normal = predded("parental")
    found = []
    for name in FAMILY:
        raised = normal.like(**{name: limits["factor"]})
        free = fold(cells, raised, normal, "BIM", 24.0)
        found.append(Criterion(f"free BIM, {name} raised, over parental", free, None, 1.0 - NOISE, 0.2))
        gain = viability(cells, raised) - viability(cells, normal)
        found.append(Criterion(f"viability gained, {name} raised", gain, NOISE, None, 0.1))
    return found


@criteria_of("A05")
def order_of_events(cells: Cells, limits: Limits) -> list[Criterion]:
    """Half-times of BIM's rise and of the shares of cells that have passed a step; death when half of the cells are."""
    treated = predded("parental")
    intact, bax, caspase, dead, bim = (
        cells(treated, name, HOURS) for name in ("intact", "BAX_active", "CASP3_active", "dead", "BIM_total")
    )
    passed = {
        "BIM": bim - bim[:, :1],
        "BAX": 1.0 - intact,
        "cytC": 1.0 - intact - bax,
        "CASP3": caspase + dead,
    }
    half = {name: crossing(HOURS, values, 0.5 * np.max(values, axis=1)) for name, values in passed.items()}
    half["death"] = crossing(HOURS, dead, np.full(len(dead), 0.5))
    steps = (("BIM", "BAX", NOISE), ("BAX", "cytC", 0.0), ("cytC", "CASP3", 0.0), ("CASP3", "death", NOISE))
    found = [
        Criterion(f"hours from half of {one} to half of {other}", half[other] - half[one], least, None, 2.0)
        for one, other, least in steps
    ]
    untreated = np.max(cells(treated.vehicle, "CASP3_active", HOURS), axis=1) / np.max(caspase, axis=1)
    return [*found, Criterion("CASP3 in vehicle over its maximum", untreated, None, limits["largest_in_vehicle"], 0.1)]


@criteria_of("A06")
def gsk3_destroys_mcl1(cells: Cells, limits: Limits) -> list[Criterion]:
    """Without glucocorticoid, at 24 h of GSK3 inhibitor IX."""
    parental = line("parental")
    inhibited = parental.given(GSK3i_IX=GSK3I_IX)
    life = fold(cells, parental, inhibited, "MCL1_half_life", 24.0)
    rise = fold(cells, inhibited, parental, "MCL1_all", 24.0)
    return [
        Criterion("half-life of MCL-1 over that under GSK3 inhibitor", life, None, 1.0 - NOISE, 0.2),
        Criterion("MCL-1 under GSK3 inhibitor over vehicle", rise, limits["smallest_fold"], None, 0.3),
    ]


@criteria_of("X07")
def potency(cells: Cells, limits: Limits) -> list[Criterion]:
    """EC50 of viability at 72 h, half-way to what the highest dose leaves."""
    found = []
    for steroid, doses in (("Dexamethasone", DEXAMETHASONE_DOSES), ("Prednisolone", PREDNISOLONE_DOSES)):
        left = stack(viability(cells, line("parental").given(**{steroid: nM})) for nM in doses)
        low, high = limits[f"smallest_{steroid}"], limits[f"largest_{steroid}"]
        found.append(Criterion(f"EC50 of {steroid}, nM", half_dose(doses, left), low, high, 0.2 * low))
    return found


@criteria_of("N07")
def receptor_needed(cells: Cells, limits: Limits) -> list[Criterion]:
    """Dexamethasone on cells without NR3C1; flat means within what solvers resolve."""
    left = stack(viability(cells, line("GR_null").given(Dexamethasone=nM)) for nM in DEXAMETHASONE_DOSES)
    change = np.max(np.abs(left - 1.0), axis=1)
    return [Criterion("largest change of viability over the doses", change, None, NOISE, 0.1)]
