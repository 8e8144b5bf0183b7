"""Criteria of claims A10-A23, N04 and N05: which lines resist, and what does not differ between them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from fits.steroid.arms import Cells, FloatArray, line, viability
from fits.steroid.criteria import (
    Criterion,
    Limits,
    criteria_of,
    largest,
    ranked,
    stack,
)
from fits.steroid.lines import (
    FAMILY,
    GSK3I_IX,
    RESISTANT,
    WILD_TYPE,
    dexed,
    fold,
    predded,
)


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
