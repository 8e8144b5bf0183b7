"""`Cells` for one model: arms simulated by the engine, each once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

import kinetics as kin
from fits.steroid.arms import EQUILIBRATION, Arm, FloatArray
from fits.steroid.criteria import arms
from fits.steroid.lines import HOURS

QUANTITIES = (
    "live", "intact", "BAX_active", "CASP3_active", "dead",
    "GRn", "gre", "GILZ_mRNA", "IL7R", "BIM_mRNA", "BIM", "BIM_total", "PUMA_total",
    "BCL2_all", "BCLXL_all", "MCL1_all", "MCL1_half_life", "STAT5", "ERK", "AKT", "S6K", "GSK3",
    "fold_JAK1", "fold_JAK3",
)  # fmt: skip


class Laboratory:
    """Cells of one model: an arm is simulated when first asked for, and remembered.

    Every arm is read on one grid of times, because an output grid changes the last digits of a simulation.
    """

    def __init__(
        self, model: kin.Model, parameters: Mapping[str, float] | None = None, solver: kin.Solver | None = None
    ) -> None:
        """``parameters`` replace those of the model; the background of an arm wins over them."""
        self.model, self.parameters, self.solver = model, dict(parameters or {}), solver
        self._values: dict[tuple[Arm, str], FloatArray] = {}  # (times,)

    def prepare(self, claims: Iterable[str]) -> None:
        """Simulate whatever these claims will ask for."""
        self.simulate(arms(claims))

    def simulate(self, wanted: Iterable[Arm], quantities: Sequence[str] = QUANTITIES) -> None:
        """Simulate these arms in one go, so that cells of one background are equilibrated once."""
        missing = [arm for arm in dict.fromkeys(wanted) if any((arm, name) not in self._values for name in quantities)]
        self._run(missing, quantities)

    def __call__(self, arm: Arm, quantity: str, hours: float | Sequence[float]) -> FloatArray:
        """Shape ``(1,)`` for one time, ``(1, times)`` for several; times are those of `HOURS`.

        Raises:
            InputError, UnknownName, IntegrationFailed: as of a simulation.
            ValueError: a time that is not on the grid.
        """
        if (arm, quantity) not in self._values:
            self._run([arm], QUANTITIES if quantity in QUANTITIES else (quantity,))
        values = self._values[arm, quantity]
        if isinstance(hours, Sequence):
            return values[np.newaxis, [HOURS.index(hour) for hour in hours]]
        return values[[HOURS.index(hours)]]

    def _run(self, wanted: Sequence[Arm], quantities: Sequence[str]) -> None:
        if not wanted:
            return
        experiments = [
            kin.Experiment.steps(
                (f"{EQUILIBRATION:g} h", {**dict(arm.background), "death_on": 0.0}),
                (f"{HOURS[-1]:g} h", {**{name: f"{nM!r} nM" for name, nM in arm.drugs}, "death_on": 1.0}),
                zero_at_last=True,
            )
            for arm in wanted
        ]
        times = [f"{hour:g} h" for hour in HOURS]
        courses = kin.simulate_many(
            self.model, experiments, times, quantities, solver=self.solver, parameters=self.parameters
        )
        for arm, course in zip(wanted, courses, strict=True):
            for quantity in quantities:
                self._values[arm, quantity] = course[quantity]
