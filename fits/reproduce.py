"""Reproduce: simulate the published experiments, compare with the measured points, check every claim.

No parameter of a model is fitted.  The only two numbers determined from data are the scale and the offset that
turn simulated phospho-STAT5 (nM) into the arbitrary units of the measured points; they are solved analytically.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

import numpy as np
import numpy.typing as npt
import pandas as pd

import kinetics as kin
from fits.claims.verdict import Status, Verdict

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SubsetCurves:
    """IL-7 dose-response of one kind of cell with and without imatinib, paper protocol, read at 30 min."""

    cells: str  # "CD4" or "CD8"
    title: str  # "bulk CD4 T cells"
    control: kin.DoseResponseCurve  # doses in ng/ml, total pSTAT5 in nM
    imatinib: kin.DoseResponseCurve  # same doses
    shift: kin.Shift


@dataclass(frozen=True)
class DensityCase:
    """The 10-min curve under one assumption about the assay: what follows for its EC50."""

    title: str  # "1e5 cells/ml", "Gonnord receptor numbers"
    ec50: float  # pg/ml; NaN where the curve has none
    hill: float
    rms: float  # misfit to the points after scale and offset, as a fraction of the measured top
    shift: float  # fold right-shift by imatinib in the paper protocol (dose for half of control maximum)


@dataclass(frozen=True)
class MeasuredComparison:
    """The untreated curve at 10 min beside the measured points (IL-7, CD4 CCR7-high T cells)."""

    doses: FloatArray  # (n_points,), pg/ml; every replicate is a point
    responses: FloatArray  # (n_points,), arbitrary units (median fluorescence)
    replicates: tuple[int, ...]  # (n_points,)
    simulated: kin.DoseResponseCurve  # fine grid, doses in pg/ml, total pSTAT5 in nM at 10 min
    scale: float  # arbitrary units per nM
    offset: float  # arbitrary units
    rms: float  # root mean square misfit of the points, as a fraction of the measured top
    ec50: float  # pg/ml, of the simulated curve
    hill: float
    measured_ec50: float  # pg/ml, least-squares Hill curve through the points
    measured_hill: float
    measured_rms: float  # misfit of that free four-parameter curve: what a model can hope for
    cases: tuple[DensityCase, ...]  # what the unknown cell density and receptor numbers would change
    source: str

    @property
    def scaled(self) -> FloatArray:
        """The simulated curve in the arbitrary units of the points, shape ``(n_grid,)``."""
        return np.asarray(self.offset + self.scale * self.simulated.responses, dtype=float)


@dataclass(frozen=True)
class Reproduction:
    """Everything `reproduce` found; the table, the JSON and the HTML page are views of it."""

    subsets: tuple[SubsetCurves, ...]  # CD4 first
    measured: MeasuredComparison
    verdicts: tuple[Verdict, ...]  # in the order of the ledger
    solver: kin.Solver
    timings: Mapping[str, float]  # seconds by step: "curves", "measured", "claims", "total"
    versions: Mapping[str, str]  # by package; "python" too

    @property
    def failures(self) -> tuple[Verdict, ...]:
        """Claims that fail, core ones first."""
        failed = [verdict for verdict in self.verdicts if verdict.status is Status.FAILS]
        return tuple(sorted(failed, key=lambda verdict: verdict.claim.priority != "core"))

    @property
    def unanswered_core(self) -> tuple[Verdict, ...]:
        return tuple(v for v in self.verdicts if v.claim.priority == "core" and v.status is Status.NOT_ANSWERED)

    @property
    def exit_status(self) -> int:
        """0 when every answered core claim holds, else 1."""
        return int(any(verdict.claim.priority == "core" for verdict in self.failures))
