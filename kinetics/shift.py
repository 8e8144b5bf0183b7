"""The shift between two dose-response curves: EC50, Emax and Hill slope, in numbers and in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pandas as pd

from kinetics.curves import CurveDescription, EC50Status
from kinetics.dosing import DoseResponseCurve
from kinetics.errors import InputError, UnitError
from kinetics.units import factor

UNCHANGED_EC50 = 2.0  # a dose ratio within this factor is called no shift, the habit of the steroid literature
UNCHANGED_EMAX = 0.1  # a relative change of Emax below this is called none


NO_SPAN = (EC50Status.FLAT, EC50Status.NOT_HILL)


@dataclass(frozen=True)
class Shift:
    """How one curve differs from another: EC50, Emax and Hill slope, and the dose for half the control's maximum."""

    control: CurveDescription
    treated: CurveDescription
    delta_log10_ec50: float  # NaN when either EC50 lies outside the doses
    emax_ratio: float  # span of the treated curve over that of the control
    delta_hill: float
    equieffective_ratio: float  # ratio of the doses for half of the control's span; NaN when not reached
    dose_unit: str
    labels: tuple[str, str] = ("control", "treated")

    @property
    def dose_ratio(self) -> float:
        """EC50 of the treated curve over that of the control."""
        return float(10.0**self.delta_log10_ec50)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The shift in words."""
        control, treated = self.labels
        said = []
        for label, side in zip(self.labels, (self.control, self.treated), strict=True):
            if side.status is not EC50Status.INSIDE:
                said.append(f"{label}: {side.status.value}")
        if math.isnan(self.delta_log10_ec50):
            said.append("No EC50 shift can be given without extrapolating.")
        else:
            ratio = self.dose_ratio
            where = "right" if ratio >= 1.0 else "left"
            moves = f"moves {max(ratio, 1.0 / ratio):.3g}-fold to the {where}" if abs(ratio - 1.0) > 5e-3 else "stays"
            unit = f" {self.dose_unit}" if self.dose_unit else ""
            said.append(
                f"The EC50 {moves}, from {self.control.ec50:.3g} ({control}) to "
                f"{self.treated.ec50:.3g}{unit} ({treated})."
            )
        for label, side in zip(self.labels, (self.control, self.treated), strict=True):
            if not side.plateau_reached:
                said.append(
                    f"{label}: the highest dose shows {side.shown:.0%} of the fitted span, so Emax and Hill slope "
                    "cannot be compared without extrapolating."
                )
        if not math.isnan(self.emax_ratio):
            said.append(f"Emax becomes {self.emax_ratio:.3g} times that of {control}.")
        if not math.isnan(self.delta_hill):
            said.append(f"The Hill slope changes by {self.delta_hill:+.2g}.")
        said.append(self.verdict)
        return tuple(said)

    @property
    def verdict(self) -> str:
        """Whether this is a shift of EC50, a change of Emax, both or neither."""
        if math.isnan(self.delta_log10_ec50) or math.isnan(self.emax_ratio):
            return "What kind of change this is cannot be said from these doses."
        shifted = abs(self.delta_log10_ec50) > math.log10(UNCHANGED_EC50)
        changed = abs(self.emax_ratio - 1.0) > UNCHANGED_EMAX
        if shifted and changed:
            return "EC50 and Emax both change."
        if shifted:
            return f"A shift of EC50; Emax stays within {UNCHANGED_EMAX:.0%}."
        if changed:
            return f"A change of Emax; the EC50 stays within {UNCHANGED_EC50:g}x."
        return f"No change beyond {UNCHANGED_EC50:g}x in EC50 and {UNCHANGED_EMAX:.0%} in Emax."

    def __str__(self) -> str:
        return " ".join(self.sentences)

    def to_frame(self) -> pd.DataFrame:
        """One row per number, with its unit."""
        rows = [
            (f"EC50 {self.labels[0]}", self.control.ec50, self.dose_unit),
            (f"EC50 {self.labels[1]}", self.treated.ec50, self.dose_unit),
            ("delta log10 EC50", self.delta_log10_ec50, ""),
            ("dose ratio", self.dose_ratio, ""),
            ("dose ratio at half of the control's maximum", self.equieffective_ratio, ""),
            ("Emax ratio", self.emax_ratio, ""),
            ("delta Hill", self.delta_hill, ""),
        ]
        return pd.DataFrame(rows, columns=["quantity", "value", "unit"])


def compare(control: DoseResponseCurve, treated: DoseResponseCurve) -> Shift:
    """How ``treated`` differs from ``control``.

    Doses in another unit of the same dimension are converted; the curves may have different doses.

    Raises:
        InputError, UnitError: the curves are of different substances, or their units cannot be compared.
    """
    if control.target != treated.target:
        raise InputError(f"cannot compare doses of {control.target!r} with doses of {treated.target!r}")
    if control.response_unit != treated.response_unit:
        raise UnitError(
            f"cannot compare responses in {control.response_unit!r} with responses in {treated.response_unit!r}"
        )
    scale = 1.0
    if control.dose_unit != treated.dose_unit:
        scale = factor(treated.dose_unit, control.dose_unit, what="doses")
        treated = replace(treated, doses=treated.doses * scale, dose_unit=control.dose_unit)
    one, two = control.describe(), treated.describe()
    flat = not {EC50Status.FLAT, EC50Status.NOT_HILL}.isdisjoint((one.status, two.status))
    whole = one.plateau_reached and two.plateau_reached  # else the ends of the curves are extrapolated
    half = 0.5 * (one.bottom + one.top) if one.status is not EC50Status.FLAT else math.nan
    at_half = [math.nan if math.isnan(half) else curve.dose_for(half) for curve in (control, treated)]
    inside = one.status is EC50Status.INSIDE and two.status is EC50Status.INSIDE
    return Shift(
        one,
        two,
        math.log10(two.ec50 / one.ec50) if inside else math.nan,
        two.span / one.span
        if whole and one.status not in NO_SPAN and two.status is not EC50Status.NOT_HILL
        else math.nan,
        two.hill - one.hill if whole and not flat else math.nan,
        at_half[1] / at_half[0] if all(math.isfinite(v) for v in at_half) else math.nan,
        control.dose_unit,
        (control.label or "control", treated.label or "treated"),
    )
