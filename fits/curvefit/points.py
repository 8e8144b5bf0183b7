"""The points of one or many arms as arrays, and what is too little or too odd to be fitted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fits.curvefit.forms import FloatArray, Form
from fits.reported import ReportedCurve
from kinetics.errors import InputError, UnknownName

IntArray = npt.NDArray[np.int64]
FLAT = 1e-9  # a spread below this fraction of the largest response is rounding


@dataclass(frozen=True, eq=False)
class Points:
    """Responses over doses, by arm; zero doses are points like any other."""

    doses: FloatArray  # (n,), dose_unit
    responses: FloatArray  # (n,), response_unit
    errors: FloatArray  # (n,), standard deviations; NaN where not stated
    arm: IntArray  # (n,), index into ``arms``
    arms: tuple[str, ...]
    inhibitor: FloatArray  # (n,), inhibitor_unit; NaN where there is no such column
    dose_unit: str = ""
    response_unit: str = ""
    inhibitor_unit: str = ""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()  # what belongs to every result of these points

    def __post_init__(self) -> None:
        lengths = {len(a) for a in (self.doses, self.responses, self.errors, self.arm, self.inhibitor)}
        if len(lengths) != 1 or not self.arms or not len(self.doses):
            raise InputError(f"points need columns of one length and at least one point, got lengths {sorted(lengths)}")
        if not (np.all(np.isfinite(self.doses)) and np.all(self.doses >= 0.0)):
            bad = self.doses[~(np.isfinite(self.doses) & (self.doses >= 0.0))][0]
            raise InputError(f"a dose must be finite and not negative, got {bad:g}")
        if not np.all(np.isfinite(self.responses)):
            raise InputError("a response must be finite")

    def __len__(self) -> int:
        return len(self.doses)

    @property
    def lowest(self) -> float:
        """The lowest dose above 0; NaN where there is none."""
        positive = self.doses[self.doses > 0.0]
        return float(positive.min()) if len(positive) else math.nan

    @property
    def highest(self) -> float:
        return float(self.doses.max())

    def of(self, arms: Iterable[str]) -> Points:
        """The points of some arms, in that order.

        Raises:
            UnknownName: there is no such arm.
        """
        chosen = tuple(arms)
        for name in chosen:
            if name not in self.arms:
                raise UnknownName("arm", name, self.arms, "the points")
        if len(set(chosen)) < len(chosen):
            raise InputError(f"an arm is named twice: {', '.join(chosen)}")
        rows = np.concatenate([np.flatnonzero(self.arm == self.arms.index(name)) for name in chosen])
        new = {self.arms.index(name): number for number, name in enumerate(chosen)}
        return replace(
            self, doses=self.doses[rows], responses=self.responses[rows], errors=self.errors[rows],
            arm=np.array([new[int(a)] for a in self.arm[rows]], dtype=np.int64), arms=chosen,
            inhibitor=self.inhibitor[rows],
        )  # fmt: skip

    def rows(self, arm: int) -> IntArray:
        return np.flatnonzero(self.arm == arm)

    def levels(self, arm: int | None = None) -> FloatArray:
        """Distinct doses, ascending; of one arm or of all."""
        return np.unique(self.doses if arm is None else self.doses[self.arm == arm])


def points_of(curve: ReportedCurve, *, controls: str = "", arms: Sequence[str] | None = None) -> Points:
    """The points of a reported curve as arrays.

    Args:
        controls: an arm whose points, all at dose 0, belong to every other arm: untreated wells that several drugs
            share.  They are kept as data: their points are put at dose 0 of the first arm, and fits share ``bottom``.
        arms: only these.

    Raises:
        InputError: there are no points with a response, or the controls have doses.
    """
    kept = [point for point in curve.points if not point.interval]
    notes = list(curve.notes)
    if dropped := len(curve.points) - len(kept):
        notes.append(f"{dropped} points known by limits only were not fitted")
    if not kept:
        raise InputError("no point has a response: limits alone make no curve")
    names = tuple(dict.fromkeys(point.arm for point in kept))
    if controls:
        if controls not in names:
            raise UnknownName("arm", controls, names, "the curve")
        if any(point.dose != 0.0 for point in kept if point.arm == controls):
            raise InputError(f"the controls {controls!r} have doses above 0: they are an arm of their own")
        names = tuple(name for name in names if name != controls)
        if not names:
            raise InputError(f"there is no arm beside the controls {controls!r}")
        kept = [replace(point, arm=names[0]) if point.arm == controls else point for point in kept]
        notes.append(
            f"the points of {controls!r} stand at dose 0 of {names[0]!r}; all arms share the response at dose 0"
        )
    made = Points(
        np.array([p.dose for p in kept], dtype=float),
        np.array([p.response for p in kept], dtype=float),
        np.array([p.error for p in kept], dtype=float),
        np.array([names.index(p.arm) for p in kept], dtype=np.int64),
        names,
        np.array([p.inhibitor for p in kept], dtype=float),
        curve.dose_unit, curve.response_unit, curve.inhibitor_unit, tuple(notes),
    )  # fmt: skip
    swapped = check_axes(made)
    made = replace(made, warnings=(*curve.warnings, *([swapped] if swapped else [])))
    return made if arms is None else made.of(arms)


def reason_not_to_fit(points: Points, arm: int, form: Form, own: int) -> str:
    """Why one arm cannot be fitted, in words; ``""`` where it can.

    Args:
        own: how many parameters only this arm can settle.
    """
    rows = points.rows(arm)
    levels = points.levels(arm)
    positive = levels[levels > 0.0]
    y = points.responses[rows]
    if len(levels) == 1:
        return f"all its points are at one dose ({levels[0]:g}), which shows no curve"
    if not len(positive):
        return "it has no dose above 0"
    if float(np.ptp(y)) <= FLAT * float(np.max(np.abs(y))):
        what = "0" if not np.any(y) else f"{y[0]:g}"
        return f"all its responses are {what}: a constant has no EC50, slope or Emax"
    if len(levels) < own:
        return (
            f"{len(levels)} distinct doses cannot settle the {own} parameters of a {form.name} curve that are its own: "
            "measure more doses, share or fix parameters, or take a simpler shape"
        )
    return ""


def check_axes(points: Points) -> str:
    """A warning where doses and responses look swapped, as in a digitised figure whose axes were mixed up.

    Doses of an experiment are few, repeated or evenly spaced on a log axis, and cover more than the responses do; where
    instead the "responses" are an exact dilution series and the "doses" are not, the columns are probably swapped.
    """
    if len(points.levels()) < 4:
        return ""
    x, y = points.levels(), np.unique(points.responses)
    if _dilution(y) and not _dilution(x):
        return (
            "the responses form a dilution series and the doses do not: are the axes swapped? "
            "Pass swap_axes=True (--swap-axes) if so"
        )
    return ""


def _dilution(values: FloatArray) -> bool:
    """Whether values are an evenly spaced series on a log axis over at least a decade and a half."""
    positive = values[values > 0.0]
    if len(positive) < 4 or len(positive) < len(values) - 1 or positive[-1] < 30.0 * positive[0]:
        return False
    steps = np.diff(np.log10(positive))
    return bool(np.max(steps) - np.min(steps) < 0.25 * float(np.median(steps)) + 0.03)
