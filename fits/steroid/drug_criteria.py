"""Criteria of claims A33-A44, B25 and X08: inhibitors, alone and with glucocorticoids, and the panel of samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fits.steroid.arms import Arm, Cells, FloatArray, line, surviving, viability
from fits.steroid.criteria import NOISE, Criterion, Limits, criteria_of, ranked, stack
from fits.steroid.lines import (
    DEXAMETHASONE_RESCUE,
    GSK3I_IX,
    IL7_RESCUE,
    VENETOCLAX,
    dexed,
    fold,
    predded,
    with_il7,
)
from fits.steroid.panel import Sample, design

RUXOLITINIB = 500.0  # nM, A33
CI1040 = 1000.0  # nM, A34
CI1040_ALONE = 10000.0  # nM, X08: the highest dose of the screens
MK2206 = 1000.0  # nM, A35
S63845 = 100.0  # nM, A39
BEZ235 = 100.0  # nM, A44
IMATINIB = 3000.0  # nM, B25: the concentration of the imatinib paper
IL7_IN_VIVO = 0.02  # ng/ml, A43: the low end of the systemic range of B11; assumed
INHIBITORS = {"RUX": {"Ruxolitinib": RUXOLITINIB}, "CI-1040": {"CI1040": CI1040}, "MK-2206": {"MK2206": MK2206}}


def without_steroid(arm: Arm) -> Arm:
    """The same cells and medium without glucocorticoid: the inhibitor alone."""
    kept = tuple(item for item in arm.drugs if item[0] not in ("Prednisolone", "Dexamethasone"))
    return Arm(arm.background, kept)


def over_inhibitor(cells: Cells, arm: Arm, hours: float = 72.0) -> FloatArray:
    """Live cells over those of the inhibitor alone."""
    return surviving(cells, arm, without_steroid(arm), hours)


# ---- lines ---------------------------------------------------------------------------------------------------


@criteria_of("A33")
def ruxolitinib_reverses(cells: Cells, limits: Limits) -> list[Criterion]:
    """The claim's viability is over the inhibitor alone."""
    return [
        Criterion(
            f"viability of {name} over ruxolitinib alone",
            over_inhibitor(cells, predded(name).given(Ruxolitinib=RUXOLITINIB)),
            None,
            limits["largest"],
            0.1,
        )
        for name in ("mIL7R", "mJAK1")
    ]


@criteria_of("A34")
def mek_inhibitor_reverses(cells: Cells, limits: Limits) -> list[Criterion]:
    """CI-1040 with prednisolone, over vehicle."""
    left = viability(cells, predded("mNRAS").given(CI1040=CI1040))
    return [Criterion("viability of mNRAS", left, None, limits["largest"], 0.1)]


@criteria_of("A35")
def akt_inhibitor_reverses(cells: Cells, limits: Limits) -> list[Criterion]:
    """MK-2206 with prednisolone, over vehicle."""
    left = viability(cells, predded("oeAKT").given(MK2206=MK2206))
    return [Criterion("viability of oeAKT", left, None, limits["largest"], 0.1)]


@criteria_of("A36")
def reversal_is_specific(cells: Cells, limits: Limits) -> list[Criterion]:
    """What ruxolitinib and CI-1040 must not reverse, over vehicle."""
    return [
        Criterion(
            f"viability of {name} in prednisolone and {drug}",
            viability(cells, predded(name).given(**INHIBITORS[drug])),
            least,
            None,
            0.1,
        )
        for drug, name, least in (
            ("RUX", "mNRAS", limits["smallest_RUX"]),
            ("RUX", "oeAKT", limits["smallest_RUX"]),
            ("CI-1040", "oeAKT", limits["smallest_CI1040"]),
        )
    ]


@criteria_of("A37")
def gsk3_inhibitor_protects(cells: Cells, limits: Limits) -> list[Criterion]:
    """Viability with prednisolone, over vehicle; MCL-1 at 24 h of the inhibitor alone."""
    left = viability(cells, predded("parental").given(GSK3i_IX=GSK3I_IX))
    parental = line("parental")
    rise = fold(cells, parental.given(GSK3i_IX=GSK3I_IX), parental, "MCL1_all", 24.0)
    return [
        Criterion("viability", left, limits["smallest_viability"], None, 0.1),
        Criterion("MCL-1 over vehicle", rise, limits["smallest_fold"], None, 0.3),
    ]


def _bh3_mimetic(cells: Cells, limits: Limits, name: str, **drug: float) -> list[Criterion]:
    alone, both = viability(cells, line(name).given(**drug)), viability(cells, predded(name).given(**drug))
    return [
        Criterion("viability alone", alone, limits["smallest_alone"], None, 0.1),
        Criterion("viability with prednisolone", both, None, limits["largest_with"], 0.1),
    ]


@criteria_of("A38")
def venetoclax(cells: Cells, limits: Limits) -> list[Criterion]:
    """On the IL7R-mutant line."""
    return _bh3_mimetic(cells, limits, "mIL7R", Venetoclax=VENETOCLAX)


@criteria_of("A39")
def mcl1_inhibitor(cells: Cells, limits: Limits) -> list[Criterion]:
    """S63845 on the NRAS-mutant line."""
    return _bh3_mimetic(cells, limits, "mNRAS", S63845=S63845)


@criteria_of("A43")
def ruxolitinib_in_vivo(cells: Cells, limits: Limits) -> list[Criterion]:
    """Cells that depend on IL-7: over-expressed wild-type receptor in systemic IL-7."""
    cultured = with_il7(line("wtIL7R"), IL7_IN_VIVO)
    treated = cultured.given(Ruxolitinib=RUXOLITINIB)
    alone = viability(cells, treated) - 1.0
    steroid = viability(cells, with_il7(predded("wtIL7R"), IL7_IN_VIVO))
    both = viability(cells, with_il7(predded("wtIL7R"), IL7_IN_VIVO).given(Ruxolitinib=RUXOLITINIB))
    value = np.minimum(alone, both - steroid)
    return [Criterion("viability gained by ruxolitinib, alone or with prednisolone", value, None, -NOISE, 0.1)]


@criteria_of("A44")
def bez235(cells: Cells, limits: Limits) -> list[Criterion]:
    """Viability over vehicle; BIM (total, and free) and MCL-1 over dexamethasone alone, at 24 h: what BEZ235 adds."""
    found = []
    for name in ("mNRAS", "oeAKT"):
        arm = dexed(name).given(BEZ235=BEZ235)
        total, free = (fold(cells, arm, dexed(name), quantity, 24.0) for quantity in ("BIM_total", "BIM"))
        mcl1 = fold(cells, arm, dexed(name), "MCL1_all", 24.0)
        found += [
            Criterion(f"viability of {name}", viability(cells, arm), None, limits[f"largest_{name}"], 0.1),
            Criterion(f"total BIM of {name} over dex alone", total, 1.0 + NOISE, None, 0.2),
            Criterion(f"free BIM of {name} over dex alone", free, 1.0 + NOISE, None, 0.2),
            Criterion(f"MCL-1 of {name} over dex alone", mcl1, None, 1.0 - NOISE, 0.2),
        ]
    return found


@criteria_of("B25")
def imatinib_sensitises(cells: Cells, limits: Limits) -> list[Criterion]:
    """Both viabilities are over the same medium without glucocorticoid, so that imatinib alone is no effect."""
    rescued = with_il7(line("parental").given(Dexamethasone=DEXAMETHASONE_RESCUE), IL7_RESCUE)
    gained = over_inhibitor(cells, rescued.given(Imatinib=IMATINIB)) - over_inhibitor(cells, rescued)
    return [Criterion("viability gained by imatinib with IL-7 and dexamethasone", gained, None, -NOISE, 0.1)]


@criteria_of("X08")
def inhibitors_alone(cells: Cells, limits: Limits) -> list[Criterion]:
    """On the parental line at 72 h, CI-1040 at the highest dose of the screens."""
    mek = viability(cells, line("parental").given(CI1040=CI1040_ALONE))
    akt = viability(cells, line("parental").given(MK2206=MK2206))
    return [
        Criterion("viability in CI-1040 10 uM", mek, limits["smallest_MEK"], None, 0.1),
        Criterion("viability in MK-2206 1 uM", akt, limits["smallest_AKT"], None, 0.1),
    ]


# ---- the panel -----------------------------------------------------------------------------------------------


def bliss(cells: Cells, sample: Sample, pathway: str, il7_dose: float = 0.0) -> FloatArray:
    """Expected minus observed viability of a sample in prednisolone and an inhibitor; positive is synergy."""
    plan = design()
    drug, nM = plan.drugs[pathway]
    untreated = plan.arm(sample)
    if il7_dose:
        untreated = with_il7(untreated, il7_dose)
    steroid, inhibitor = {"Prednisolone": plan.prednisolone}, {drug: nM}
    alone = viability(cells, untreated.given(**steroid)) * viability(cells, untreated.given(**inhibitor))
    return alone - viability(cells, untreated.given(**steroid).given(**inhibitor))


def panel(cells: Cells, pathway: str, il7_dose: float = 0.0) -> FloatArray:
    """Bliss excess of every sample of the panel, shape ``(sets, samples)``."""
    return stack(bliss(cells, sample, pathway, il7_dose) for sample in design().samples)


def _most(excess: Mapping[str, FloatArray], limits: Limits) -> list[Criterion]:
    place = int(limits["smallest_number"])
    return [
        Criterion(f"Bliss excess of sample number {place}, {pathway}", ranked(values, place), limits["cut"], None, 0.1)
        for pathway, values in excess.items()
    ]


@criteria_of("A40")
def most_samples(cells: Cells, limits: Limits) -> list[Criterion]:
    """Each of the three classes must do it: the sample that is number 6 is beyond the cut."""
    return _most({pathway: panel(cells, pathway) for pathway in ("MEK", "AKT", "PI3K/mTOR")}, limits)


@criteria_of("A41")
def few_samples(cells: Cells, limits: Limits) -> list[Criterion]:
    """The first sample too many stays below the cut."""
    place = int(limits["largest_number"]) + 1
    value = ranked(panel(cells, "JAK"), place)
    return [Criterion(f"Bliss excess of sample number {place}, ruxolitinib", value, None, limits["cut"], 0.1)]


@criteria_of("A42")
def some_with_il7(cells: Cells, limits: Limits) -> list[Criterion]:
    """As A41, with IL-7 in every medium."""
    return _most({"ruxolitinib with IL-7": panel(cells, "JAK", design().il7)}, limits)
