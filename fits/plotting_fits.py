"""Drawings of fits: waterfalls, fits against data, profiles, correlations, claims.

They take ``ax``, return ``ax`` and compute nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fits.claims.verdict import Verdict
    from fits.information import Fisher
    from fits.panels import Panel
    from fits.profiles import Profile
    from fits.result import FitResult
    from fits.sampling import Samples

MOST_SERIES = 7  # that colours and markers can tell apart
MOST_CELLS = 100  # of a matrix that still have room for a number
MOST_CLAIMS = 40  # rows of a table that can be read


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


def plot_correlations(found: Fisher | Samples, ax: Axes | None = None) -> Axes:
    """How estimates move together: a number between -1 and 1 for each pair, on the search scale.

    ``found`` is the curvature at an optimum or a posterior sample; what it does not settle is hatched.
    """
    from kinetics.plotting import GREY

    ax = _axes(ax)
    matrix = found.correlations
    size = len(matrix)
    ax.set_facecolor("#E4E4E4")
    ax.patch.set_hatch("////")
    ax.patch.set_edgecolor("white")
    # Blue over white to orange: the two ends stay apart for colour-blind readers.
    image = ax.imshow(np.ma.masked_invalid(matrix), cmap="PuOr_r", vmin=-1.0, vmax=1.0, aspect="equal")
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=0.0)
    step = 1 + (size - 1) // 30
    labels = [_words(name) for name in found.names[::step]]
    ax.xaxis.set_ticks(range(0, size, step), labels=labels, rotation=90 if size > 4 else 0)
    ax.yaxis.set_ticks(range(0, size, step), labels=labels)
    figure = ax.get_figure()
    assert figure is not None
    figure.colorbar(image, ax=ax, label="correlation")
    if size * size <= MOST_CELLS:
        for (row, column), value in np.ndenumerate(matrix):
            shown = f"{value:.2f}" if np.isfinite(value) else "none"
            dark = np.isfinite(value) and abs(value) > 0.7
            ax.text(
                column, row, shown, ha="center", va="center", fontsize="small",
                color="white" if dark else GREY if not np.isfinite(value) else "black",
            )  # fmt: skip
    return ax


def plot_claims(verdicts: Sequence[Verdict], ax: Axes | None = None) -> Axes:
    """A table of claims: what holds (filled circle), fails (cross) or has no answer (ring), with what was found.

    Raises:
        InputError: more claims than can be read; choose some.
    """
    from kinetics.errors import InputError
    from kinetics.plotting import COLOURS, GREY, new_axes

    if not 0 < len(verdicts) <= MOST_CLAIMS:
        raise InputError(f"a table of claims needs 1 to {MOST_CLAIMS} of them, got {len(verdicts)}")
    ax = new_axes(10.0, 0.7 + 0.42 * len(verdicts)) if ax is None else ax
    signs = {"holds": ("o", COLOURS[0], "full"), "fails": ("X", COLOURS[1], "full")}
    for row, verdict in enumerate(verdicts):
        marker, colour, fill = signs.get(verdict.status.value, ("o", GREY, "none"))
        ax.plot(0.012, row, marker=marker, color=colour, fillstyle=fill, markersize=9.0, clip_on=False)
        ax.text(0.035, row, _words(verdict.claim.id), va="center", fontsize="small", color=GREY)
        ax.text(0.085, row, _words(_cut(verdict.claim.statement, 78)), va="center", fontsize="small")
        ax.text(0.66, row, _words(_cut(verdict.value or verdict.status.value, 46)), va="center", fontsize="small")
        ax.axhline(row + 0.5, color="#E4E4E4", linewidth=0.8)
    for at, head in ((0.035, "claim"), (0.66, "found")):
        ax.text(at, -0.85, head, va="center", fontsize="small", color=GREY)
    counts = {word: sum(v.status.value == word for v in verdicts) for word in dict.fromkeys(("holds", "fails"))}
    rest = len(verdicts) - sum(counts.values())
    ax.set_title(
        f"{counts['holds']} hold, {counts['fails']} fail (x){f', {rest} without an answer (ring)' if rest else ''}",
        loc="left", fontsize="medium",
    )  # fmt: skip
    ax.set(xlim=(0.0, 1.0), ylim=(len(verdicts) - 0.5, -1.3))
    ax.axis("off")
    return ax


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
