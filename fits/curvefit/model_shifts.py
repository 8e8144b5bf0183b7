"""The shift of a mechanistic model's curves, with the uncertainty of its parameters carried through.

Each draw of the parameters (samples of a posterior, of a bootstrap, of the normal approximation at an optimum) gives
a control and a treated curve, and those a shift; the intervals are quantiles over the draws.  A draw whose EC50 lies
outside of the doses is not left out: it counts as beyond them, so an interval that reaches there is open.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fits.curvefit.forms import FloatArray
from fits.curvefit.results import Estimate
from kinetics.curves import EC50Status
from kinetics.dosing import DoseProtocol, DoseResponseCurve, dose_response
from kinetics.engine import Solver
from kinetics.errors import InputError, SimulationError
from kinetics.model import Model
from kinetics.shift import Shift, compare

if TYPE_CHECKING:
    import pandas as pd

Draw = Mapping[str, float]
FEWEST = 20  # draws, for a quantile of 2.5 % to mean anything at all


@dataclass(frozen=True, eq=False)
class ModelShift:
    """Shifts over draws of the parameters, and their summary."""

    shifts: tuple[Shift, ...]
    delta_log10_ec50: Estimate
    dose_ratio: Estimate
    emax_ratio: Estimate
    delta_hill: Estimate
    control: FloatArray  # (draws, doses of the control)
    treated: FloatArray  # (draws, doses of the treated)
    curves: tuple[DoseResponseCurve, DoseResponseCurve]  # of the first draw, for doses, units and names
    failed: int
    example: str
    level: float

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        return self.delta_log10_ec50, self.dose_ratio, self.emax_ratio, self.delta_hill

    @property
    def sentences(self) -> tuple[str, ...]:
        """The shift in words."""
        said = [
            f"{100.0 * self.level:.3g} % intervals are quantiles over {len(self.shifts)} parameter sets.",
            *(f"{estimate}." for estimate in self.estimates),
        ]
        verdicts: dict[str, int] = {}
        for shift in self.shifts:
            verdicts[shift.verdict] = verdicts.get(shift.verdict, 0) + 1
        for verdict, count in sorted(verdicts.items(), key=lambda pair: -pair[1]):
            said.append(f"In {count / len(self.shifts):.0%} of them: {verdict}")
        if self.failed:
            said.append(f"{self.failed} more could not be simulated and are left out, the first with: {self.example}.")
        return tuple(said)

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def to_frame(self) -> pd.DataFrame:
        """A row per draw."""
        import pandas as pd

        rows = [(s.delta_log10_ec50, s.dose_ratio, s.emax_ratio, s.delta_hill, s.verdict) for s in self.shifts]
        return pd.DataFrame(rows, columns=["delta_log10_ec50", "dose_ratio", "emax_ratio", "delta_hill", "verdict"])


def model_shift(
    model: Model,
    control: DoseProtocol,
    treated: DoseProtocol,
    draws: Iterable[Draw],
    *,
    treated_changes: Draw | None = None,
    level: float = 0.95,
    labels: tuple[str, str] = ("control", "treated"),
    solver: Solver | None = None,
) -> ModelShift:
    """Simulate both arms for every draw and summarise the shifts.

    Args:
        draws: parameter values by name, in the model's units; parameters that are not named keep their value.
        treated_changes: values that hold in the treated arm only, on top of a draw: a mechanism.
        level: of the intervals.

    Raises:
        InputError: the level is none, or there are too few draws.
        SimulationError: fewer than 20 draws could be simulated.
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"level must lie between 0 and 1, got {level}")
    given = [dict(draw) for draw in draws]
    if len(given) < FEWEST:
        raise InputError(f"intervals over draws need at least {FEWEST} of them, got {len(given)}")
    shifts, pairs, failures = [], [], []
    for draw in given:
        try:
            one = dose_response(model, control, label=labels[0], parameters=draw, solver=solver)
            other = dose_response(
                model, treated, label=labels[1], parameters={**draw, **(treated_changes or {})}, solver=solver
            )
            shifts.append(compare(one, other))
        except SimulationError as error:
            failures.append(str(error))
            continue
        pairs.append((one, other))
    if len(shifts) < FEWEST:
        raise SimulationError(
            f"only {len(shifts)} of {len(given)} draws could be simulated, the first failed with: {failures[0]}"
        )
    return summarise(shifts, pairs, level, len(failures), failures[0] if failures else "")


def summarise(
    shifts: Sequence[Shift], pairs: Sequence[tuple[DoseResponseCurve, DoseResponseCurve]], level: float,
    failed: int = 0, example: str = "",
) -> ModelShift:  # fmt: skip
    """Quantiles of shifts, with draws outside of the doses beyond all numbers."""
    ratios = np.array([_censored(shift) for shift in shifts])
    delta = quantiles("delta log10 EC50", ratios, level)
    fold = Estimate(
        "dose ratio", 10.0**delta.value, None if delta.lower is None else 10.0**delta.lower,
        None if delta.upper is None else 10.0**delta.upper, words=delta.words,
    )  # fmt: skip
    return ModelShift(
        tuple(shifts), delta, fold,
        quantiles("Emax ratio", np.array([s.emax_ratio for s in shifts]), level),
        quantiles("delta Hill", np.array([s.delta_hill for s in shifts]), level),
        np.array([one.responses for one, _ in pairs]), np.array([other.responses for _, other in pairs]),
        pairs[0], failed, example, level,
    )  # fmt: skip


def _censored(shift: Shift) -> float:
    """Delta log10 EC50; infinite where one EC50 is known to lie beyond the doses, NaN where nothing can be said."""
    control, treated = shift.control.status, shift.treated.status
    if control is EC50Status.INSIDE and treated is EC50Status.INSIDE:
        return shift.delta_log10_ec50
    right = (control, treated) in ((EC50Status.INSIDE, EC50Status.ABOVE), (EC50Status.BELOW, EC50Status.INSIDE))
    left = (control, treated) in ((EC50Status.INSIDE, EC50Status.BELOW), (EC50Status.ABOVE, EC50Status.INSIDE))
    return math.inf if right else -math.inf if left else math.nan


def quantiles(name: str, values: FloatArray, level: float) -> Estimate:
    """Median and quantiles; ends are open where the draws beyond the doses, or without a number, reach into them."""
    missing = np.isnan(values)
    words = []
    if missing.any():
        words.append(f"{missing.mean():.0%} of the draws give no number and could lie on either side")
    beyond = np.isinf(values)
    if beyond.any():
        words.append(f"{beyond.mean():.0%} of the draws have an EC50 outside the tested range")
    tail = 0.5 * (1.0 - level)
    # What is not known could be anything: on the low side for the lower end, on the high side for the upper end.
    low = float(np.quantile(np.where(missing, -math.inf, values), tail, method="lower"))
    high = float(np.quantile(np.where(missing, math.inf, values), 1.0 - tail, method="higher"))
    known = values[~missing]
    middle = float(np.quantile(known, 0.5, method="nearest")) if len(known) else math.nan
    value = middle if math.isfinite(middle) else math.nan
    return Estimate(
        name, value, low if math.isfinite(low) else None, high if math.isfinite(high) else None, words=tuple(words)
    )
