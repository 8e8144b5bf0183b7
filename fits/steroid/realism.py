"""Criteria of realism: what a set of constants must keep that no claim says.  ``realism.toml`` holds the numbers."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

from fits.steroid.arms import Cells, line, viability
from fits.steroid.criteria import Criterion, Limits, criteria_of, half_dose, stack
from fits.steroid.lines import IL7_RESCUE, RESISTANT, WILD_TYPE, dexed, predded, with_il7

HIGHEST = 1e5  # nM of prednisolone; the plateau
PLATEAU_DOSES = (10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 1000.0, HIGHEST)  # nM, shared with A01


@dataclass(frozen=True)
class Realism:
    """One row of ``realism.toml``."""

    statement: str
    criterion: str
    reason: str
    limits: Mapping[str, float]


@functools.cache
def realism() -> Mapping[str, Realism]:
    """By id, ``"R01"`` and on."""
    text = resources.files("fits.steroid").joinpath("realism.toml").read_text(encoding="utf-8")
    return MappingProxyType({name: Realism(**row) for name, row in tomllib.loads(text).items()})


@criteria_of("R01")
def plateau(cells: Cells, limits: Limits) -> list[Criterion]:
    """What the highest dose leaves."""
    left = viability(cells, line("parental").given(Prednisolone=HIGHEST))
    return [Criterion("viability at 100 uM prednisolone", left, limits["smallest"], limits["largest"], 0.05)]


@criteria_of("R02")
def ec50_stays(cells: Cells, limits: Limits) -> list[Criterion]:
    """Each curve has its own half: half-way to what its highest dose leaves."""
    found = {}
    for name in ("parental", *RESISTANT):
        left = stack(viability(cells, line(name).given(Prednisolone=dose)) for dose in PLATEAU_DOSES)
        found[name] = half_dose(PLATEAU_DOSES, left)
    bounds = (1.0 / limits["factor"], limits["factor"])
    return [
        Criterion(f"EC50 of {name} over parental", found[name] / found["parental"], *bounds, 0.2) for name in RESISTANT
    ]


@criteria_of("R03")
def wild_type_needs_il7(cells: Cells, limits: Limits) -> list[Criterion]:
    """In prednisolone with IL-7, over IL-7 alone."""
    left = viability(cells, with_il7(predded("wtIL7R"), IL7_RESCUE))
    return [Criterion("viability of wtIL7R with IL-7", left, limits["smallest"], None, 0.1)]


@criteria_of("R04")
def short_lived_mcl1(cells: Cells, limits: Limits) -> list[Criterion]:
    """Untreated."""
    hours = cells(line("parental"), "MCL1_half_life", 0.0)
    return [Criterion("half-life of MCL-1", hours, limits["smallest"], limits["largest"], 0.1)]


@criteria_of("R05")
def moderate_induction(cells: Cells, limits: Limits) -> list[Criterion]:
    """At 24 h of either steroid."""
    basal = cells(line("parental"), "BIM_mRNA", 24.0)
    return [
        Criterion(
            f"BIM mRNA, {steroid}, over vehicle",
            cells(arm, "BIM_mRNA", 24.0) / basal,
            limits["smallest"],
            limits["largest"],
            0.5,
        )
        for steroid, arm in (("dexamethasone", dexed("parental")), ("prednisolone", predded("parental")))
    ]


@criteria_of("R06")
def untreated_cells_live(cells: Cells, limits: Limits) -> list[Criterion]:
    """At 72 h, without drug."""
    return [
        Criterion(f"live cells of {name}", cells(line(name), "live", 72.0), limits["smallest"], None, 0.1)
        for name in ("parental", *RESISTANT, "mJAK3", *WILD_TYPE)
    ]
