"""Negative controls: changes that must not do what imatinib does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

import kinetics as kin
from fits.claims.bench import TREATED, WASH_24H, Assay, Bench, fold, ratio
from fits.claims.registry import Finding, answers

Numbers = Mapping[str, float]


def _emax_ratio(bench: Bench, treated: Assay, control: Assay) -> float:
    return ratio(float(np.max(bench.curve(treated).responses)), float(np.max(bench.curve(control).responses)))


@answers("N01")
def jak_only(bench: Bench, limits: Numbers) -> Finding:
    """Imatinib that acts on the JAKs alone, with its affinity for them, shifts nothing."""
    shift = bench.shift(replace(TREATED, values=(("eps", 1.0),)))
    holds = limits["smallest_shift"] <= shift <= limits["largest_shift"]
    return Finding(holds, f"shift {fold(shift)}", {"shift": shift})


@answers("N02")
def half_the_stat5(bench: Bench, limits: Numbers) -> Finding:
    """Half of the STAT5 pool halves the maximum and leaves the EC50."""
    control = Assay()
    halved = replace(control, values=(("fold_STAT5", 0.5),))
    ratio = _emax_ratio(bench, halved, control)
    shift = kin.compare(bench.curve(control), bench.curve(halved)).dose_ratio
    holds = (
        limits["smallest_emax"] <= ratio <= limits["largest_emax"]
        and limits["smallest_shift"] <= shift <= limits["largest_shift"]
    )
    return Finding(holds, f"Emax ratio {ratio:.3g}, EC50 ratio {shift:.3g}", {"emax_ratio": ratio, "ec50_ratio": shift})


@answers("N03")
def washed_for_a_day(bench: Bench, limits: Numbers) -> Finding:
    """A day after washing the curve is that of control cells."""
    washed = replace(TREATED, imatinib=WASH_24H)
    shift = bench.shift(washed)
    ratio = _emax_ratio(bench, washed, washed.vehicle)
    holds = (
        limits["smallest_shift"] <= shift <= limits["largest_shift"]
        and limits["smallest_emax"] <= ratio <= limits["largest_emax"]
    )
    return Finding(holds, f"shift {fold(shift)}, Emax ratio {ratio:.3g}", {"shift": shift, "emax_ratio": ratio})
