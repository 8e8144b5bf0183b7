"""Drawings of measured curves: fits beside their points, shifts, families under an inhibitor, Schild plots.

They take ``ax``, return the ``Axes`` and compute nothing but what a line needs to be drawn.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fits.curvefit.fitting import CurveFits, JointFit
from fits.curvefit.inhibition import FamilyFit, Inhibition, SchildResult
from fits.curvefit.points import Points
from fits.curvefit.results import curve_band
from fits.curvefit.shifts import MeasuredShift
from kinetics.curves import EC50Status
from kinetics.dosing import DoseResponseCurve
from kinetics.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ARMS = 7  # that colours and markers can tell apart
LINE = 160  # doses along a line
WIDTH = 80  # characters of a title in a line


def _axes(ax: Axes | None) -> Axes:
    from kinetics.plotting import new_axes

    return new_axes() if ax is None else ax


def _doses(points: Points) -> np.ndarray[Any, Any]:
    line = np.geomspace(points.lowest, points.highest, LINE)
    return np.append(0.0, line) if np.any(points.doses == 0.0) else line


def _measured(points: Points, arm: int, label: str) -> Any:
    from kinetics.plotting import MeasuredPoints

    rows = points.rows(arm)
    errors = points.errors[rows]
    known = np.isfinite(errors)
    return MeasuredPoints(
        points.doses[rows], points.responses[rows], np.where(known, errors, 0.0) if known.any() else None, label
    )


def _lines(ax: Axes | None, lines: Sequence[DoseResponseCurve], points: Sequence[Any]) -> Axes:
    """Lines without markers and points, each arm in one colour with one entry in the legend."""
    from kinetics.plotting import plot_dose_response

    ax = plot_dose_response(lines, _axes(ax), points=points, marker="")
    handles, labels = ax.get_legend_handles_labels()
    shown = {label: handle for handle, label in zip(handles, labels, strict=True)}  # the points come last
    if len(shown) > 1 or next(iter(shown), ""):
        ax.legend(shown.values(), shown.keys(), loc="best", frameon=False, fontsize="small")
    elif (legend := ax.get_legend()) is not None:
        legend.remove()
    return ax


def _line(label: str, doses: Any, responses: Any, points: Points, target: str) -> DoseResponseCurve:
    return DoseResponseCurve(
        doses, responses, points.dose_unit, points.response_unit, target or "dose", "response", label
    )


def plot_curves(
    fits: CurveFits, ax: Axes | None = None, *, arms: Sequence[str] | None = None, target: str = "", level: float = 0.95
) -> Axes:
    """Points, fitted curves and their bands; dose 0 stands left of a break in the axis.

    Args:
        arms: which ones; by default the first seven.
        target: what is dosed, for the label of the axis.

    Raises:
        InputError: more arms than can be told apart.
    """
    chosen = tuple(arms if arms is not None else fits.arms[:MOST_ARMS])
    if not 1 <= len(chosen) <= MOST_ARMS:
        raise InputError(f"a picture shows 1 to {MOST_ARMS} arms, got {len(chosen)}: name some of them")
    return _plot_parts([(fits.part(arm), arm) for arm in chosen], ax, target, level)


def _plot_parts(parts: Sequence[tuple[JointFit, str]], ax: Axes | None, target: str, level: float) -> Axes:
    from kinetics.plotting import COLOURS

    lines, measured, bands = [], [], []
    for fit, arm in parts:
        own = fit.points.of([arm])
        doses = _doses(own)
        lines.append(_line(arm, doses, fit.predict(arm, doses), own, target))
        measured.append(_measured(own, 0, arm or "measured"))
        bands.append((doses, *curve_band(fit, arm, doses, level)))
    ax = _lines(ax, lines, measured)
    for number, (doses, low, high) in enumerate(bands):
        above = doses > 0.0
        colour = COLOURS[number % len(COLOURS)]
        ax.fill_between(doses[above], low[above], high[above], color=colour, alpha=0.15, linewidth=0.0, zorder=1.5)
    _fit_height(ax, [point.responses for point in measured], [line.responses for line in lines])
    return ax


def _fit_height(ax: Axes, *values: Sequence[Any]) -> None:
    """The height of points and lines: a band that the data leave open must not flatten everything else."""
    every = np.concatenate([np.asarray(v, dtype=float) for group in values for v in group])
    low, high = float(every.min()), float(every.max())
    room = 0.08 * (high - low or abs(high) or 1.0)
    ax.set_ylim(low - room, high + room)


def plot_measured_shift(shift: MeasuredShift, ax: Axes | None = None, *, target: str = "") -> Axes:
    """Both arms with their bands, an arrow from one EC50 to the other, and the interval of where it ends.

    Where an EC50 lies outside of the doses there is no arrow, and the figure says so.
    """
    from kinetics.plotting import COLOURS, GREY

    ax = _plot_parts([(shift.fit, arm) for arm in shift.labels], ax, target, shift.level)
    sides = (shift.control, shift.treated)
    if any(side.status is not EC50Status.INSIDE for side in sides):
        ax.set_title("no EC50 shift can be given without extrapolating", fontsize="medium", color=GREY)
        return ax
    middles = [0.5 * (side["bottom"].value + side["top"].value) for side in sides]
    height = 0.5 * (middles[0] + middles[1])
    places = [side["ec50"].value for side in sides]
    low, high = ax.get_ylim()
    for colour, place, middle in zip(COLOURS, places, middles, strict=False):
        ax.plot([place, place], [low, middle], color=colour, linewidth=1.0, linestyle=":", zorder=1.2)
    ratio = shift.dose_ratio
    if max(ratio.value, 1.0 / ratio.value) > 1.15:  # a shorter arrow would be all head
        ax.annotate(
            "", xy=(places[1], height), xytext=(places[0], height),
            arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 1.3, "shrinkA": 2.0}, zorder=4,
        )  # fmt: skip
    left, right = ax.get_xlim()
    ends = [edge if end is None else min(max(places[0] * end, left), right)
            for end, edge in zip(ratio.interval, (left, right), strict=True)]  # fmt: skip
    below = height - 0.05 * (high - low)
    ax.plot(ends, [below, below], color=COLOURS[1], linewidth=3.0, alpha=0.55, solid_capstyle="butt", zorder=3.6)
    shown = ["open" if end is None else f"{end:.3g}" for end in ratio.interval]
    ax.set_title(f"dose ratio {ratio.value:.3g} ({shown[0]} to {shown[1]})", fontsize="medium")
    ax.set_ylim(low, high)
    return ax


def plot_family(
    found: Inhibition,
    ax: Axes | None = None,
    *,
    mechanism: str | None = None,
    target: str = "",
    inhibitor: str = "inhibitor",
) -> Axes:
    """Curves at every dose of the inhibitor, and one mechanism's fit to them; by default the closest one left.

    The title is the verdict, and says which mechanism the lines are where the data leave several.
    """
    left = found.supported or tuple(found.fits)
    name = mechanism or min(left, key=lambda other: found.fits[other].nllh)
    fit: FamilyFit = found.fits[name]
    points = fit.points
    levels = np.unique(points.inhibitor)
    if len(levels) > MOST_ARMS:
        raise InputError(f"a picture shows at most {MOST_ARMS} doses of the inhibitor, got {len(levels)}")
    lines, measured = [], []
    doses = _doses(points)
    from kinetics.plotting import MeasuredPoints

    for level in levels:
        label = f"{level:g} {points.inhibitor_unit} {inhibitor}".replace("  ", " ")
        rows = points.inhibitor == level
        lines.append(_line(label, doses, fit.predict(doses, float(level)), points, target))
        measured.append(MeasuredPoints(points.doses[rows], points.responses[rows], None, label))
    ax = _lines(ax, lines, measured)
    said = name if mechanism else found.verdict
    if mechanism is None and found.action is None:
        said = f"{said} Lines: {name}."
    ax.set_title(textwrap.fill(said, WIDTH), fontsize="small")
    return ax


def plot_family_with_schild(found: Inhibition, *, target: str = "", inhibitor: str = "inhibitor") -> Axes:
    """The family, and beside it the Schild plot where there is one; returns the axes of the family."""
    from kinetics.plotting import SIZE, figure_axes

    beside = found.schild is not None and bool(np.any(np.isfinite(found.schild.log_dr_minus_one)))
    axes = figure_axes(2 if beside else 1, SIZE[0] * (2 if beside else 1), SIZE[1])
    if beside and found.schild is not None:
        plot_schild(found.schild, axes[1])
    return plot_family(found, axes[0], target=target, inhibitor=inhibitor)


def plot_schild(schild: SchildResult, ax: Axes | None = None) -> Axes:
    """log10(dose ratio - 1) over log10 of the inhibitor's dose, the global fit, and a slope of 1."""
    from kinetics.plotting import COLOURS, GREY

    ax = _axes(ax)
    x = np.log10(schild.inhibitor)
    y = schild.log_dr_minus_one
    known = np.isfinite(y)
    ratio = 10.0**schild.log_ratios
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.where(known, schild.errors * ratio / (ratio - 1.0), np.nan)  # d log(r - 1) / d log r
    room = 0.4
    line = np.linspace(min(x.min(), schild.log_kb.value) - room, x.max() + room, 2)
    ax.plot(line, schild.slope.value * (line - schild.log_kb.value), color=COLOURS[0], label="global fit, slope "
            f"{schild.slope.value:.2f}")  # fmt: skip
    ax.plot(line, line - schild.log_kb.value, color=GREY, linestyle="--", linewidth=1.0, label="slope 1")
    ax.errorbar(
        x[known], y[known], yerr=error[known], fmt="o", color=COLOURS[1], markerfacecolor="white", markeredgewidth=1.5,
        capsize=3.0, linewidth=0, elinewidth=1.2, label="curve by curve, one standard error", zorder=3,
    )  # fmt: skip
    ax.axhline(0.0, color=GREY, linewidth=0.8)
    ax.axvline(schild.log_kb.value, color=GREY, linewidth=0.8, linestyle=":")
    unit = f" ({schild.unit})" if schild.unit else ""
    ax.set(xlabel=f"log10 inhibitor{unit}", ylabel="log10(dose ratio - 1)")
    pa2 = "" if np.isnan(schild.pa2.value) else f", pA2 {schild.pa2.value:.2f}"
    ax.set_title(f"slope {schild.slope.value:.2f}{pa2}", fontsize="medium")
    ax.legend(fontsize="small", frameon=False, loc="upper left")
    return ax
