"""Criteria of claims A24-A32 and X03: signals of the mutations, IL-7, and the arms by which they protect."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from fits.steroid.arms import Arm, Cells, FloatArray, line, viability
from fits.steroid.criteria import (
    NOISE,
    Criterion,
    Limits,
    criteria_of,
    spearman,
    stack,
)
from fits.steroid.lines import (
    ACTIVATING,
    DEXAMETHASONE_RESCUE,
    IL7_LADDER,
    IL7_RESCUE,
    REACHES,
    VENETOCLAX,
    fold,
    predded,
    with_il7,
)


def _untreated(cells: Cells, names: Sequence[str], quantity: str) -> Mapping[str, FloatArray]:
    """A quantity of untreated lines over that of the parental one."""
    return {name: fold(cells, line(name), line("parental"), quantity, 0.0) for name in names}


@criteria_of("A24")
def erk_and_akt(cells: Cells, limits: Limits) -> list[Criterion]:
    """Untreated."""
    return [
        Criterion(f"{quantity} of {name} over parental", value, limits[f"smallest_{quantity}"], None, 0.3)
        for quantity in ("ERK", "AKT")
        for name, value in _untreated(cells, ACTIVATING, quantity).items()
    ]


def _raised(quantity: str, cells: Cells, limits: Limits) -> list[Criterion]:
    return [
        Criterion(f"{quantity} of {name} over parental", value, limits["smallest_fold"], None, 0.2)
        for name, value in _untreated(cells, ACTIVATING, quantity).items()
    ]


@criteria_of("A25")
def s6k(cells: Cells, limits: Limits) -> list[Criterion]:
    """Untreated."""
    return _raised("S6K", cells, {"smallest_fold": 1.0 + limits["smallest_rise"]})


criteria_of("A26")(functools.partial(_raised, "BCLXL_all"))


@criteria_of("A27")
def gsk3(cells: Cells, limits: Limits) -> list[Criterion]:
    """Untreated."""
    return [
        Criterion(f"active GSK3 of {name} over parental", value, None, limits["largest_fold"], 0.1)
        for name, value in _untreated(cells, (*ACTIVATING, "oeAKT"), "GSK3").items()
    ]


@criteria_of("A28")
def mcl1(cells: Cells, limits: Limits) -> list[Criterion]:
    """Untreated: amount and half-life, as the read-out names both."""
    return [*_raised("MCL1_all", cells, limits), *_raised("MCL1_half_life", cells, limits)]


# ---- IL-7 ----------------------------------------------------------------------------------------------------


@criteria_of("A29")
def il7_rescues(cells: Cells, limits: Limits) -> list[Criterion]:
    """At 72 h."""
    arm = line("parental").given(Dexamethasone=DEXAMETHASONE_RESCUE)
    rescued, dying = viability(cells, with_il7(arm, IL7_RESCUE)), viability(cells, arm)
    return [
        Criterion("viability with IL-7", rescued, limits["smallest_rescued"], None, 0.1),
        Criterion("viability without IL-7", dying, None, limits["largest_without"], 0.1),
    ]


@criteria_of("A30")
def rescue_tracks_bcl2(cells: Cells, limits: Limits) -> list[Criterion]:
    """BCL-2 of the treated cells at 72 h; its rise is that at 25 ng/ml over no IL-7."""
    arm = line("parental").given(Dexamethasone=DEXAMETHASONE_RESCUE)
    ladder = [with_il7(arm, dose) for dose in IL7_LADDER]
    left = stack(viability(cells, each) for each in ladder)
    rho = spearman(left, stack(cells(each, "BCL2_all", 72.0) for each in ladder))
    rise = fold(cells, with_il7(arm, IL7_RESCUE), arm, "BCL2_all", 72.0)
    return [
        Criterion("rank correlation of viability and BCL-2", rho, limits["smallest_rho"], None, 0.3),
        Criterion("BCL-2 with IL-7 over without", rise, limits["smallest_fold"], None, 0.3),
    ]


@criteria_of("A31")
def immature(cells: Cells, limits: Limits) -> list[Criterion]:
    """Sensitisation is the viability that venetoclax takes from cells in prednisolone."""

    def loss(arm: Arm) -> FloatArray:
        return viability(cells, arm) - viability(cells, arm.given(Venetoclax=VENETOCLAX))

    normal = predded("parental")
    found = []
    for factor in (limits["smallest_factor"], limits["largest_factor"]):
        raised = normal.like(fold_BCL2=factor)
        gain = viability(cells, raised) - viability(cells, normal)
        found.append(Criterion(f"viability gained, BCL-2 x{factor:g}", gain, NOISE, None, 0.1))
        more = loss(raised) - loss(normal)
        found.append(Criterion(f"sensitisation gained, BCL-2 x{factor:g}", more, NOISE, None, 0.1))
    return found


@criteria_of("A32")
def three_arms(cells: Cells, limits: Limits) -> list[Criterion]:
    """An arm is removed by holding what reaches it at the level of the parental line."""
    mutant = predded("mIL7R")
    whole, parental = viability(cells, mutant), viability(cells, predded("parental"))
    found = []
    for name in REACHES:
        lost = whole - viability(cells, mutant.like(**{name: 0.0}))
        found.append(Criterion(f"viability lost without {name}", lost, NOISE, None, 0.1))
    bare = np.abs(viability(cells, mutant.like(**dict.fromkeys(REACHES, 0.0))) - parental)
    most = limits["largest_difference"]
    return [*found, Criterion("|viability without all three - parental|", bare, None, most, 0.1)]


@criteria_of("X03")
def receptor_of_il7(cells: Cells, limits: Limits) -> list[Criterion]:
    """At 24 h, IL-7 as in A29."""
    parental = line("parental")
    treated = parental.given(Dexamethasone=DEXAMETHASONE_RESCUE)
    rise = fold(cells, treated, parental, "IL7R", 24.0)
    output = fold(cells, with_il7(treated, IL7_RESCUE), with_il7(parental, IL7_RESCUE), "STAT5", 24.0)
    return [
        Criterion("IL7R with dex over without", rise, limits["smallest_fold"], None, 0.3),
        Criterion("STAT5 with dex and IL-7 over IL-7 alone", output, 1.0 + NOISE, None, 0.2),
    ]
