"""Drawings of what was computed: time courses, dose-response curves, shifts and dose matrices.

The only module of this package that imports matplotlib.  Every function takes ``ax`` (``None`` makes a new
figure), returns the ``Axes``, never calls ``show()`` and computes nothing: what a figure says was worked out in
`kinetics.dosing` and can be had as a table.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kinetics.curves import EC50Status
from kinetics.dosing import DoseMatrix, DoseResponseCurve
from kinetics.errors import InputError
from kinetics.shift import UNCHANGED_EMAX, Shift, compare
from kinetics.timecourse import TimeCourse

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

# Okabe and Ito's palette, which colour-blind readers can tell apart; yellow is left out, it is too light on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # a second sign beside colour, for print in grey
GREY = "#555555"
SIZE = (6.4, 4.2)  # inches; readable at the width of a notebook
MOST_NUMBERS = 64  # cells of a heat map that still have room for a number
FORMATS = ("png", "svg", "pdf")

_STYLE = {
    "font.size": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.9,
    "lines.markersize": 5.0,
}


@dataclass(frozen=True, eq=False)
class MeasuredPoints:
    """Points from an experiment, in the units of the curve they are drawn beside."""

    doses: FloatArray  # (n,)
    responses: FloatArray  # (n,)
    errors: FloatArray | None = None  # (n,), half the length of the error bars
    label: str = "measured"

    def __post_init__(self) -> None:
        lengths = {np.shape(self.doses), np.shape(self.responses)}
        lengths |= {np.shape(self.errors)} if self.errors is not None else set()
        if len(lengths) != 1 or len(next(iter(lengths))) != 1:
            raise InputError(f"measured points need columns of one length, got shapes {sorted(lengths)}")


# --- figures ------------------------------------------------------------------------------------------------


def new_axes(width: float = SIZE[0], height: float = SIZE[1]) -> Axes:
    """Axes of a figure that no window or global state of pyplot knows; sizes in inches."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        ax: Axes = figure.add_subplot()
        return ax


def figure_axes(count: int, width: float, height: float) -> list[Axes]:
    """Axes beside each other in one figure, as `new_axes` makes it."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        return [figure.add_subplot(1, count, number + 1) for number in range(count)]


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot, rc_context  # notebooks show figures that pyplot made

    # The figure itself is made outside the context, which would undo what a notebook sets when pyplot first draws.
    figure = pyplot.figure(figsize=SIZE, layout="constrained")
    with rc_context(_STYLE):
        made: Axes = figure.add_subplot()
        return made


def _figure(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    if figure is None:
        raise InputError("these axes belong to no figure any more")
    return figure


def to_svg(ax: Axes) -> str:
    """The figure as SVG text, the same for the same figure: no date, no random identifiers."""
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.hashsalt": "cytokine-kinetics", "svg.fonttype": "path"}):
        _figure(ax).savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def save(ax: Axes, path: str | os.PathLike[str], *, dpi: int = 200) -> None:
    """Write the figure to a PNG, SVG or PDF file, as the ending says; beside first, then renamed.

    Raises:
        InputError: another ending.
        OSError: the file cannot be written.
    """
    target = Path(path)
    kind = target.suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise InputError(f"a figure is written as .png, .svg or .pdf, got {target.name!r}")
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if kind == "svg":
            beside.write_text(to_svg(ax), encoding="utf-8")
        else:
            _figure(ax).savefig(beside, format=kind, dpi=dpi)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


# --- words on axes ------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """Text that matplotlib takes literally: a dollar sign would start mathematics, control characters have no shape."""
    return "".join(c if c.isprintable() else "?" for c in text).replace("$", r"\$")


def _with_unit(name: str, unit: str) -> str:
    if unit in ("", "dimensionless"):
        return _plain(name)
    return _plain(f"{name} ({'µ' + unit[1:] if unit[:2] in ('uM', 'um', 'ug') else unit})")


def axis_label(name: str, unit: str = "") -> str:
    """A name and its unit as matplotlib shall show them, whatever characters are in them."""
    return _with_unit(name, unit)


def _number(value: float) -> str:
    """Three digits, without an exponent where it would only get in the way."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:.15g}" if rounded == 0.0 or 1e-4 <= abs(rounded) < 1e6 else f"{value:.3g}"


def _short(formula: str, most: int = 42) -> str:
    return formula if len(formula) <= most else formula[: most - 1] + "…"


# --- time courses -------------------------------------------------------------------------------------------


def plot_time_course(
    course: TimeCourse, observables: Sequence[str] | None = None, ax: Axes | None = None, **style: Any
) -> Axes:
    """Observables over time, one line each; the steady state at infinite time is not drawn.

    Args:
        observables: which ones; by default all.
        style: goes to ``Axes.plot``.

    Raises:
        UnknownName: the time course has no such observable.
        InputError: there is no finite time to draw.
    """
    names = tuple(observables or course.observables)
    columns = [course[name] for name in names]
    units = [course.units[course.observables.index(name)] for name in names]
    shown = np.isfinite(course.times)
    if not shown.any():
        raise InputError("a plot over time needs at least one finite time, got none")
    ax = _axes(ax)
    shared = len(set(units)) == 1
    for index, (name, unit, column) in enumerate(zip(names, units, columns, strict=True)):
        look = {"color": COLOURS[index % len(COLOURS)], "linestyle": ("-", "--", ":", "-.")[index // len(COLOURS) % 4]}
        if np.count_nonzero(shown) < 12:  # few points: show where they are
            look["marker"] = MARKERS[index % len(MARKERS)]
        label = _plain(_short(name)) if shared else _with_unit(_short(name), unit)
        ax.plot(course.times[shown], column[shown], **{**look, "label": label, **style})
    ax.set_xlabel(_with_unit("time", course.time_unit))
    if len(names) == 1:
        ax.set_ylabel(_with_unit(_short(names[0]), units[0]))
    else:
        ax.set_ylabel(_with_unit("value", units[0]) if shared else "value, unit in the legend")
        # above the axes: inside, some line would run through it
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=min(3, len(names)), frameon=False)
    return ax


# --- dose-response ------------------------------------------------------------------------------------------


def plot_dose_response(
    curves: DoseResponseCurve | Sequence[DoseResponseCurve],
    ax: Axes | None = None,
    *,
    points: MeasuredPoints | Sequence[MeasuredPoints] = (),
    band: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    colours: Sequence[str] = COLOURS,
    **style: Any,
) -> Axes:
    """One or more curves over a logarithmic dose axis; dose 0 stands left of a break in the axis.

    Args:
        points: measured values, drawn as open symbols with error bars in the colour of the curve of the same rank.
        band: lower and upper limit at the doses of the first curve, each of its shape.
        style: goes to ``Axes.plot``.

    Raises:
        InputError: the curves have different units or targets, or no dose above 0.
    """
    drawn = (curves,) if isinstance(curves, DoseResponseCurve) else tuple(curves)
    measured = (points,) if isinstance(points, MeasuredPoints) else tuple(points)
    if not drawn:
        raise InputError("nothing to plot: expected at least one curve")
    first = drawn[0]
    for what, kinds in (
        ("targets", {curve.target for curve in drawn}),
        ("dose units", {curve.dose_unit for curve in drawn}),
        ("response units", {curve.response_unit for curve in drawn}),
    ):
        if len(kinds) > 1:
            raise InputError(f"curves in one plot need the same {what}, got {', '.join(map(repr, sorted(kinds)))}")
    every = np.concatenate([*(curve.doses for curve in drawn), *(np.asarray(item.doses, float) for item in measured)])
    positive = every[every > 0.0]
    if not len(positive):
        raise InputError("a dose axis needs at least one dose above 0")
    ax = _axes(ax)
    zero = _dose_axis(ax, float(positive.min()), float(positive.max()), bool(np.any(every == 0.0)))
    if band is not None:
        low, high = (np.asarray(side, dtype=float) for side in band)
        above = first.doses > 0.0
        ax.fill_between(
            first.doses[above], low[above], high[above], color=colours[0], alpha=0.16, linewidth=0.0, zorder=1.5
        )
    for index, curve in enumerate(drawn):
        colour = colours[index % len(colours)]
        above = curve.doses > 0.0
        label = _plain(_short(curve.label or (curve.target if len(drawn) == 1 else f"curve {index + 1}")))
        look = {"color": colour, "marker": MARKERS[index % len(MARKERS)], "label": label, **style}
        ax.plot(curve.doses[above], curve.responses[above], **look)
        if not above.all():
            ax.plot([zero], curve.responses[~above], **{**look, "linestyle": "none", "label": "_nolegend_"})
    for index, item in enumerate(measured):
        doses = np.asarray(item.doses, float)
        ax.errorbar(
            np.where(doses > 0.0, doses, zero), item.responses, yerr=item.errors,
            fmt=MARKERS[index % len(MARKERS)], markersize=7.0, markerfacecolor="white", markeredgewidth=1.5,
            color=colours[index % len(colours)] if len(drawn) > 1 else colours[(index + 1) % len(colours)],
            elinewidth=1.2, capsize=3.0, label=_plain(item.label), zorder=3.0,
        )  # fmt: skip
    ax.set_xlabel(_with_unit(first.target, first.dose_unit))
    ax.set_ylabel(_with_unit(_short(first.readout), first.response_unit))
    if len(drawn) + len(measured) > 1 or first.label:
        ax.legend(loc="best", frameon=False)
    return ax


def _dose_axis(ax: Axes, lowest: float, highest: float, with_zero: bool) -> float:
    """Make the x axis logarithmic with plain numbers; returns where dose 0 stands."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    ax.set_xscale("log")
    zero = float(lowest / 10.0**0.9)
    decades: list[float] = [
        10.0**k for k in range(math.ceil(math.log10(lowest) - 1e-9), math.floor(math.log10(highest) + 1e-9) + 1)
    ]
    if not decades:  # all doses within one decade
        decades = [lowest, highest] if highest > lowest else [lowest]
    step = 1 + (len(decades) - 1) // 8
    decades = decades[::-1][::step][::-1]
    plain = lowest >= 0.999e-4 and highest <= 1.001e5

    def written(value: float, _position: int | None = None) -> str:
        if with_zero and math.isclose(value, zero):
            return "0"
        if plain or not math.isclose(math.log10(value) % 1.0, 0.0, abs_tol=1e-6):
            return _number(value)
        return f"$10^{{{round(math.log10(value))}}}$"

    ax.xaxis.set_major_locator(FixedLocator([zero, *decades] if with_zero else decades))
    ax.xaxis.set_major_formatter(FuncFormatter(written))
    minor = [m * d for d in [decades[0] / 10.0, *decades] for m in range(2, 10) if lowest <= m * d <= highest * 1.0001]
    ax.xaxis.set_minor_locator(FixedLocator(minor if step == 1 else []))
    ax.xaxis.set_minor_formatter(NullFormatter())
    left = zero / 1.7 if with_zero else lowest / 1.5
    ax.set_xlim(left, highest * 1.5)
    if with_zero:
        _break(ax, lowest / 10.0**0.45)
    return zero


def _break(ax: Axes, at: float) -> None:
    """Two slanted strokes over a gap in the axis: left of them the scale does not go on."""
    across = ax.get_xaxis_transform()  # x in doses, y in parts of the height
    ax.plot([at / 1.13, at * 1.13], [0.0, 0.0], transform=across, color="white", linewidth=4.0, clip_on=False, zorder=5)
    for place in (at / 1.13, at * 1.13):
        ax.plot(
            [place / 1.07, place * 1.07], [-0.018, 0.018],
            transform=across, color="black", linewidth=0.9, clip_on=False, zorder=6,
        )  # fmt: skip


def plot_shift(
    control: DoseResponseCurve,
    treated: DoseResponseCurve,
    ax: Axes | None = None,
    *,
    points: Sequence[MeasuredPoints] = (),
    shift: Shift | None = None,
    interval: tuple[float, float] | None = None,
    **style: Any,
) -> Axes:
    """Two curves and the move of the EC50 between them, as `kinetics.dosing.compare` gives it.

    Where an EC50 lies outside the doses there is no arrow, and the figure says so.

    Args:
        points: measured values of the control and the treated arm, in this order.
        shift: what to write; by default ``compare(control, treated)``.
        interval: of the dose ratio, drawn as a bar around the treated EC50 and written in the title.

    Raises:
        InputError, UnitError: the curves cannot be compared, or the interval has no meaning.
    """
    shift = shift or compare(control, treated)
    if interval is not None and not 0.0 < interval[0] <= interval[1] < math.inf:
        raise InputError(f"the interval of a dose ratio needs 0 < lower <= upper, got {interval[0]}, {interval[1]}")
    ax = plot_dose_response([control, treated], ax, points=points, **style)
    sides = (shift.control, shift.treated)
    if any(side.status is not EC50Status.INSIDE for side in sides):
        ax.annotate(
            "no EC50 shift can be given from these doses", (0.5, 1.01), xycoords="axes fraction", ha="center",
            va="bottom", color=GREY, fontsize="small",
        )  # fmt: skip
        return ax
    middles = [side.bottom + 0.5 * side.span for side in sides]
    height = 0.5 * (middles[0] + middles[1])
    floor = ax.get_ylim()[0]
    for colour, side, middle in zip(COLOURS, sides, middles, strict=False):
        ax.plot([side.ec50, side.ec50], [floor, middle], color=colour, linewidth=1.0, linestyle=":", zorder=1.2)
        ax.plot([side.ec50], [middle], color=colour, marker="|", markersize=13.0, markeredgewidth=1.6, zorder=3.5)
    ax.set_ylim(bottom=floor)
    ratio = shift.dose_ratio
    if max(ratio, 1.0 / ratio) > 1.15:  # a shorter arrow would be all head
        ax.annotate(
            "", xy=(shift.treated.ec50, height), xytext=(shift.control.ec50, height),
            arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 1.3, "shrinkA": 3.0, "shrinkB": 3.0},
            zorder=4,
        )  # fmt: skip
    between = ""
    if interval is not None:
        ends = shift.control.ec50 * np.asarray(interval)
        ax.plot(ends, [height, height], color=COLOURS[1], linewidth=5.0, alpha=0.35, solid_capstyle="butt", zorder=2.2)
        ax.plot(ends, [height, height], color=COLOURS[1], marker="|", markersize=9.0, linestyle="none", zorder=3.6)
        low, high = interval if ratio >= 1.0 else (1.0 / interval[1], 1.0 / interval[0])
        between = f" (x {low:.3g} to {high:.3g})"
    ax.annotate(
        f"{max(ratio, 1.0 / ratio):.3g}-fold", xy=(math.sqrt(shift.control.ec50 * shift.treated.ec50), height),
        xytext=(0, 4), textcoords="offset points", ha="center", va="bottom", fontsize="medium", fontweight="bold",
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}, zorder=4.5,
    )  # fmt: skip
    if math.isfinite(shift.emax_ratio) and abs(shift.emax_ratio - 1.0) > UNCHANGED_EMAX:
        ends_of = [(0.99, side.top) for side in sides]  # of the width: beside the last dose
        ax.annotate(
            "", xy=ends_of[1], xytext=ends_of[0], xycoords=ax.get_yaxis_transform(),
            textcoords=ax.get_yaxis_transform(), annotation_clip=False,
            arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 1.3, "shrinkA": 0.0, "shrinkB": 0.0},
        )  # fmt: skip
    unit = f" {control.dose_unit}" if control.dose_unit else ""
    title = (
        f"EC50 {shift.control.ec50:.3g} to {shift.treated.ec50:.3g}{unit}{between}, "
        f"Emax {shift.emax_ratio:.2f} of control"
    )
    ax.set_title(_plain(title), fontsize="medium", pad=8.0)
    return ax


# --- dose matrices ------------------------------------------------------------------------------------------


def plot_dose_matrix(matrix: DoseMatrix, ax: Axes | None = None, **style: Any) -> Axes:
    """A heat map: doses of the first substance along x, of the second along y; a number in each cell of a small one.

    ``style`` goes to ``Axes.imshow``.
    """
    ax = _axes(ax)
    values = matrix.responses.T  # imshow wants rows along y
    look: dict[str, Any] = {"origin": "lower", "aspect": "auto", "cmap": "cividis", **style}
    image = ax.imshow(np.ma.masked_invalid(values), **look)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=0.0)
    for axis, doses in ((ax.xaxis, matrix.first), (ax.yaxis, matrix.second)):
        step = 1 + (len(doses) - 1) // 12
        axis.set_ticks(range(0, len(doses), step), labels=[_number(dose) for dose in doses[::step]])
    ax.tick_params(axis="x", rotation=45 if len(matrix.first) > 7 else 0)
    ax.set_xlabel(_with_unit(matrix.targets[0], matrix.first_unit))
    ax.set_ylabel(_with_unit(matrix.targets[1], matrix.second_unit))
    _figure(ax).colorbar(image, ax=ax, label=_with_unit(_short(matrix.readout), matrix.response_unit))
    if values.size <= MOST_NUMBERS:
        shades = np.ma.filled(image.norm(np.ma.masked_invalid(values)), 1.0)
        for (row, column), value in np.ndenumerate(values):
            dark = shades[row, column] < 0.55
            ax.text(
                column, row, _number(value) if math.isfinite(value) else "none", ha="center", va="center",
                color="white" if dark else "black", fontsize="small",
            )  # fmt: skip
    return ax
