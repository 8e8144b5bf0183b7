"""Criteria of claims A01-A32 and of what concerns untreated lines: receptor, BIM, death, resistance, IL-7."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from fits.steroid.arms import Arm, Cells, FloatArray, il7, line, viability
from fits.steroid.criteria import (
    NOISE,
    Criterion,
    Limits,
    criteria_of,
    crossing,
    half_dose,
    largest,
    ranked,
    spearman,
    stack,
)

PREDNISOLONE = 1000.0  # nM, wherever a claim says pred
DEXAMETHASONE = 1000.0  # nM, wherever a claim names no other dose
DEXAMETHASONE_RESCUE = 2500.0  # nM, A29
IL7_RESCUE = 25.0  # ng/ml, A29
IL7_LADDER = (0.01, 0.1, 0.3, 1.0, IL7_RESCUE, 100.0)  # ng/ml, A30
GSK3I_IX = 500.0  # nM, A37
VENETOCLAX = 100.0  # nM, A38
PREDNISOLONE_DOSES = (1.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 1000.0, 1e5, 694e3)  # nM
DEXAMETHASONE_DOSES = (0.1, 1.0, 2.0, 4.0, 8.0, 16.0, 100.0, 1000.0, 1e4)  # nM
HOURS = (*(float(hour) for hour in range(37)), *(float(hour) for hour in range(40, 73, 4)))  # A05

RESISTANT = ("mIL7R", "mJAK1", "mNRAS", "oeNRAS", "oeAKT")
WILD_TYPE = ("wtJAK1", "wtJAK3", "wtIL7R")
ACTIVATING = ("mIL7R", "mJAK1", "mNRAS")  # A24-A28
FAMILY = ("fold_BCL2", "fold_BCLXL", "fold_MCL1")
REACHES = ("arm_BCL2", "arm_GSK3", "arm_BIM")  # switches of the three ways in which signals reach the family


def predded(name: str) -> Arm:
    """A line in prednisolone."""
    return line(name).given(Prednisolone=PREDNISOLONE)


def dexed(name: str) -> Arm:
    """A line in dexamethasone."""
    return line(name).given(Dexamethasone=DEXAMETHASONE)


def with_il7(arm: Arm, ng_per_ml: float) -> Arm:
    """The same with IL-7 in the medium."""
    return arm.given(IL7=il7(ng_per_ml))


def fold(cells: Cells, arm: Arm, over: Arm, quantity: str, hours: float) -> FloatArray:
    """A quantity over that of another arm at the same time."""
    return cells(arm, quantity, hours) / cells(over, quantity, hours)


# ---- receptor, BIM, death in sensitive cells ---------------------------------------------------------------


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


# ---- resistant and sensitive lines -------------------------------------------------------------------------


def _resists(name: str, cells: Cells, limits: Limits) -> list[Criterion]:
    resistant, parental = viability(cells, predded(name)), viability(cells, predded("parental"))
    return [
        Criterion(f"viability of {name}", resistant, limits["smallest_resistant"], None, 0.1),
        Criterion("viability of parental", parental, None, limits["largest_parental"], 0.1),
    ]


def _inert(name: str, cells: Cells, limits: Limits) -> list[Criterion]:
    own, parental = viability(cells, predded(name)), viability(cells, predded("parental"))
    apart = np.abs(own - parental)
    return [
        Criterion(f"|viability of {name} - parental|", apart, None, limits["largest_difference"], 0.1),
        Criterion(f"viability of {name}", own, None, limits["largest_viability"], 0.1),
    ]


for _number, _line in enumerate(RESISTANT, start=10):
    criteria_of(f"A{_number}")(functools.partial(_resists, _line))
for _number, _line in enumerate(("mJAK3", *WILD_TYPE), start=15):
    criteria_of(f"A{_number}")(functools.partial(_inert, _line))


def _apart(cells: Cells, name: str, quantity: str, times: Sequence[float]) -> FloatArray:
    """The largest relative difference of a line from parental, over both steroids and the times."""
    ratios = [
        fold(cells, treated(name), treated("parental"), quantity, hours)
        for treated in (predded, dexed)
        for hours in times
    ]
    return largest(*(np.abs(ratio - 1.0) for ratio in ratios))


@criteria_of("A19")
def translocation(cells: Cells, limits: Limits) -> list[Criterion]:
    """At 1 h and 24 h of either steroid: the largest of the four differences counts."""
    return [
        Criterion(f"GRn of {name} off parental", _apart(cells, name, "GRn", (1.0, 24.0)), None, limits["largest"], 0.1)
        for name in RESISTANT
    ]


@criteria_of("A20")
def transactivation(cells: Cells, limits: Limits) -> list[Criterion]:
    """At 24 h of either steroid."""
    return [
        Criterion(f"{quantity} of {name} off parental", _apart(cells, name, quantity, (24.0,)), None, most, 0.1)
        for name in RESISTANT
        for quantity, most in (("GILZ_mRNA", limits["largest_GILZ"]), ("BIM_mRNA", limits["largest_BIM"]))
    ]


@criteria_of("A21")
def downstream(cells: Cells, limits: Limits) -> list[Criterion]:
    """Viability in prednisolone apart, GILZ at 24 h together."""
    parental = viability(cells, predded("parental"))
    found = []
    for name in RESISTANT:
        gain = viability(cells, predded(name)) - parental
        found.append(Criterion(f"viability of {name} - parental", gain, limits["smallest_difference"], None, 0.1))
        apart = _apart(cells, name, "GILZ_mRNA", (24.0,))
        found.append(Criterion(f"GILZ of {name} off parental", apart, None, limits["largest_GILZ"], 0.1))
    return found


@criteria_of("A22")
def silenced_locus(cells: Cells, limits: Limits) -> list[Criterion]:
    """BIM mRNA over the vehicle of the same line at 24 h and 72 h; GRn and GILZ at 24 h beside parental cells."""
    silenced, normal = dexed("silenced_BIM"), dexed("parental")
    mrna = largest(*(fold(cells, silenced, silenced.vehicle, "BIM_mRNA", hours) for hours in (24.0, 72.0)))
    found = [Criterion("BIM mRNA over vehicle", mrna, None, limits["largest_fold"], 0.2)]
    for quantity in ("GRn", "GILZ_mRNA"):
        apart = np.abs(fold(cells, silenced, normal, quantity, 24.0) - 1.0)
        found.append(Criterion(f"{quantity} off parental", apart, None, limits["largest_change"], 0.1))
    return [*found, Criterion("viability", viability(cells, silenced), limits["smallest_viability"], None, 0.1)]


def nodes(cells: Cells) -> Mapping[str, FloatArray]:
    """Viability at 1 uM prednisolone after a change at each node that A23 names, the best of its changes."""
    parental = predded("parental")
    changed = {
        "JAK": (predded("mIL7R"), predded("mJAK1")),
        "RAS": (predded("mNRAS"), predded("oeNRAS")),
        "AKT": (predded("oeAKT"),),
        "GSK3": (parental.given(GSK3i_IX=GSK3I_IX),),
        "BCL2 family": tuple(parental.like(**{name: 3.0}) for name in FAMILY),  # the factor of A04
        "BIM locus": (predded("silenced_BIM"),),
        "GR": (predded("GR_null"),),
    }
    return {node: largest(*(viability(cells, arm) for arm in arms)) for node, arms in changed.items()}


@criteria_of("A23")
def several_nodes(cells: Cells, limits: Limits) -> list[Criterion]:
    """As a count is a step, the viability at the node that completes the number is bounded instead."""
    place = int(limits["smallest_number"])
    value = ranked(stack(nodes(cells).values()), place)
    return [Criterion(f"viability at the node that is number {place}", value, limits["smallest_viability"], None, 0.1)]


# ---- signals without drug ----------------------------------------------------------------------------------


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


# ---- external results and negative controls ----------------------------------------------------------------


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


@criteria_of("X07")
def potency(cells: Cells, limits: Limits) -> list[Criterion]:
    """EC50 of viability at 72 h, half-way to what the highest dose leaves."""
    found = []
    for steroid, doses in (("Dexamethasone", DEXAMETHASONE_DOSES), ("Prednisolone", PREDNISOLONE_DOSES)):
        left = stack(viability(cells, line("parental").given(**{steroid: nM})) for nM in doses)
        low, high = limits[f"smallest_{steroid}"], limits[f"largest_{steroid}"]
        found.append(Criterion(f"EC50 of {steroid}, nM", half_dose(doses, left), low, high, 0.2 * low))
    return found


@criteria_of("N04")
def wild_type_inert(cells: Cells, limits: Limits) -> list[Criterion]:
    """In prednisolone, without IL-7."""
    parental = viability(cells, predded("parental"))
    return [
        Criterion(
            f"|viability of {name} - parental|",
            np.abs(viability(cells, predded(name)) - parental),
            None,
            limits["largest_difference"],
            0.1,
        )
        for name in WILD_TYPE
    ]


@criteria_of("N05")
def wild_type_there(cells: Cells, limits: Limits) -> list[Criterion]:
    """The amount of a JAK is its fold: the model has no other."""
    amounts = {"wtJAK1": "fold_JAK1", "wtJAK3": "fold_JAK3", "wtIL7R": "IL7R"}
    return [
        Criterion(
            f"amount of {quantity} over parental",
            fold(cells, line(name), line("parental"), quantity, 0.0),
            limits["smallest_fold"],
            None,
            0.5,
        )
        for name, quantity in amounts.items()
    ]


@criteria_of("N07")
def receptor_needed(cells: Cells, limits: Limits) -> list[Criterion]:
    """Dexamethasone on cells without NR3C1; flat means within what solvers resolve."""
    left = stack(viability(cells, line("GR_null").given(Dexamethasone=nM)) for nM in DEXAMETHASONE_DOSES)
    change = np.max(np.abs(left - 1.0), axis=1)
    return [Criterion("largest change of viability over the doses", change, None, NOISE, 0.1)]
