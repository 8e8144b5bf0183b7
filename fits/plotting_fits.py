"""Drawings of fits: waterfalls, fits against data, profiles.  They take ``ax``, return ``ax`` and compute nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fits.panels import Panel
    from fits.profiles import Profile
    from fits.result import FitResult

MOST_SERIES = 7  # that colours and markers can tell apart


def _axes(ax: Axes | None) -> Axes:
    from kinetics.plotting import new_axes

    return new_axes() if ax is None else ax


def _words(text: str) -> str:
    """Text as it stands: matplotlib reads mathematics between dollar signs, and stumbles over control characters."""
    return "".join(c if c.isprintable() else "?" for c in text).replace("$", r"\$")


def plot_waterfall(result: FitResult, ax: Axes | None = None) -> Axes:
    """The objective of every start above the best, ascending; open circles have not converged."""
    from kinetics.plotting import COLOURS, GREY

    ax = _axes(ax)
    starts = [start for start in result.starts if np.isfinite(start.value)]
    above = np.array([start.value - result.value for start in starts])
    number = np.arange(1, len(starts) + 1)
    done = np.array([start.reason.converged for start in starts], dtype=bool)
    ax.plot(number, above, color=GREY, linewidth=0.8, zorder=1)
    ax.plot(number[done], above[done], "o", color=COLOURS[0], label="converged")
    if not np.all(done):
        ax.plot(number[~done], above[~done], "o", color=COLOURS[1], fillstyle="none", label="not converged")
        ax.legend()
    ax.set_yscale("symlog", linthresh=0.1)  # 0.1 is what counts as the same optimum
    ax.set_ylim(-0.02, max(0.2, 2.0 * float(np.max(above, initial=0.0))))
    failed = len(result.starts) - len(starts)
    ax.set(xlabel=f"start, in order{f' ({failed} failed)' if failed else ''}", ylabel="objective above the best")
    ax.locator_params(axis="x", integer=True)
    return ax


def plot_panel(panel: Panel, ax: Axes | None = None) -> Axes:
    """Measurements with one sigma, and the model's line; dose axes are logarithmic with 0 shown."""
    from kinetics.plotting import COLOURS, GREY, MARKERS

    ax = _axes(ax)
    many = len(panel.series) > MOST_SERIES
    positive = [x for series in panel.series for x in (*series.x.tolist(), *series.model_x.tolist()) if x > 0.0]
    for number, series in enumerate(panel.series):
        colour = GREY if many else COLOURS[number % len(COLOURS)]
        style: dict[str, Any] = {"color": colour, "alpha": 0.6 if many else 1.0}
        known = np.isfinite(series.measured)
        middle = np.where(known, series.measured, np.where(np.isfinite(series.low), series.low, series.high))
        lengths = np.nan_to_num(np.abs([middle - series.low, series.high - middle]), posinf=0.0)
        ax.errorbar(
            series.x, middle, yerr=lengths, fmt="none" if many else MARKERS[number % len(MARKERS)], markersize=4.5,
            linewidth=0, elinewidth=0.9, label=None if many else _words(series.label), **style,
        )  # fmt: skip
        if many:
            ax.plot(series.x, middle, ".", **style)
        ax.plot(series.model_x, series.model_y, linewidth=1.6, **style)
    if panel.over_dose and positive:
        # A decade below the smallest dose is linear, so that 0 has a place beside it.
        ax.set_xscale("symlog", linthresh=min(positive), linscale=0.5)
        if all(x >= 0.0 for series in panel.series for x in series.x.tolist()):
            ax.set_xlim(left=-0.1 * min(positive) if len(positive) < _count(panel) else 0.8 * min(positive))
    ax.set(xlabel=_words(panel.x_label), ylabel=_words(panel.y_label), title=_words(panel.title))
    if not many and (len(panel.series) > 1 or panel.series[0].label):
        ax.legend(fontsize="small")
    return ax


def _count(panel: Panel) -> int:
    return sum(len(series.x) + len(series.model_x) for series in panel.series)


def plot_profile(profile: Profile, ax: Axes | None = None) -> Axes:
    """The objective above its minimum over the plain value, the threshold and the optimum."""
    from kinetics.plotting import COLOURS, GREY

    ax = _axes(ax)
    values = [profile.scale.plain(float(value)) for value in profile.values]
    ax.plot(values, profile.delta, marker="o", markersize=3.0, color=COLOURS[0])
    ax.axhline(profile.threshold, color=GREY, linestyle="--", linewidth=1.0)
    ax.axvline(profile.scale.plain(profile.optimum), color=COLOURS[1], linewidth=1.0)
    if profile.scale.value != "lin":
        ax.set_xscale("log")
    ax.set(xlabel=_words(profile.name), ylabel="objective above its minimum", ylim=(-0.05, 2.0 * profile.threshold))
    return ax
