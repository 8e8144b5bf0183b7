"""Drawings of synergy: excess over a reference as heat map and as surface, and waterfalls of samples or pairs.

They take ``ax``, return ``ax`` and compute nothing.  Colours run from orange (antagonism) over white to violet
(synergy), which colour-blind readers can tell apart; what is beyond noise also carries a sign.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kinetics.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fits.synergy.outcome import Score, SurfaceFit, SynergyResult

FloatArray = npt.NDArray[np.float64]

COLOUR_MAP = "PuOr"
SMALLEST = 0.2  # of the colour scale, so that noise does not look like a finding
MOST_BARS = 60


def _axes(ax: Axes | None) -> Axes:
    from kinetics.plotting import new_axes

    return new_axes() if ax is None else ax


def _words(name: str, unit: str = "") -> str:
    from kinetics.plotting import axis_label

    return axis_label(name, unit)


def _score(result: SynergyResult, model: str) -> Score | SurfaceFit:
    if not (result.scores or result.fits):
        raise InputError("nothing was scored, so there is no excess to draw; the notes of the result say why")
    return result[model or next(iter((*result.scores, *result.fits)))]


def _excess(found: Score | SurfaceFit) -> tuple[FloatArray, FloatArray]:
    """Excess and corrected p-values at doses above 0, ``(n_first, n_second)`` without the margins."""
    from fits.synergy.outcome import Score

    if isinstance(found, Score):
        return found.excess, found.p_cells
    inside = found.excess[1:, 1:]
    return inside, np.full(inside.shape, np.nan)


def _limits(values: FloatArray) -> tuple[float, float]:
    most = max(SMALLEST, float(np.nanmax(np.abs(values))))
    return -most, most


def _ticks(ax: Axes, result: SynergyResult) -> None:
    data = result.combination
    for axis, doses in ((ax.xaxis, data.first[1:]), (ax.yaxis, data.second[1:])):
        step = 1 + (len(doses) - 1) // 12
        axis.set_ticks(range(0, len(doses), step), labels=[f"{dose:.3g}" for dose in doses[::step]])
    ax.tick_params(axis="x", rotation=45 if len(data.first) > 7 else 0)
    ax.set_xlabel(_words(data.drugs[0], data.units[0]))
    ax.set_ylabel(_words(data.drugs[1], data.units[1]))


def plot_excess(result: SynergyResult, model: str = "", ax: Axes | None = None, **style: Any) -> Axes:
    """Expected minus observed unaffected fraction of each combination; bold with a frame where beyond noise.

    Args:
        model: whose reference, as in ``"loewe"``; by default the first of the result.
        style: goes to ``Axes.imshow``.
    """
    from matplotlib.patches import Rectangle

    ax = _axes(ax)
    found = _score(result, model)
    excess, p = _excess(found)
    low, high = _limits(excess)
    look: dict[str, Any] = {"origin": "lower", "aspect": "auto", "cmap": COLOUR_MAP, "vmin": low, "vmax": high, **style}
    image = ax.imshow(np.ma.masked_invalid(excess.T), **look)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=0.0)
    _ticks(ax, result)
    ax.figure.colorbar(image, ax=ax, label="excess (synergy above 0)")
    small = excess.size <= 100
    for (i, j), value in np.ndenumerate(excess):
        beyond = p[i, j] < 0.05
        if beyond:
            for colour, width in (("white", 4.0), ("black", 1.6)):  # seen on the palest and on the darkest cell
                ax.add_patch(Rectangle((i - 0.46, j - 0.46), 0.92, 0.92, fill=False, edgecolor=colour, linewidth=width))
        if small:
            text = "none" if math.isnan(value) else f"{value + 0.0:.2f}".replace("-0.00", "0.00")
            light = abs(value) > 0.62 * high
            ax.text(
                i, j, text, ha="center", va="center", fontsize="small", fontweight="bold" if beyond else "normal",
                color="white" if light else "black",
            )  # fmt: skip
    framed = "; framed: beyond noise" if np.any(p < 0.05) else ""
    ax.set_title(f"excess over {found.model}{framed}", fontsize="medium")
    return ax


def plot_synergy_surface(result: SynergyResult, model: str = "", ax: Axes | None = None, **style: Any) -> Axes:
    """The same as level lines over logarithmic doses; dots are combinations, rings those beyond noise.

    Raises:
        InputError: fewer than two doses of a drug, or holes, between which no level lines can be drawn.
    """
    found = _score(result, model)
    excess, p = _excess(found)
    data = result.combination
    if min(excess.shape) < 2 or not np.all(np.isfinite(excess)):
        raise InputError("level lines need two doses of each drug and no holes; draw plot_excess")
    ax = _axes(ax)
    low, high = _limits(excess)
    one, two = data.first[1:], data.second[1:]
    levels = np.linspace(low, high, 15)
    look: dict[str, Any] = {"cmap": COLOUR_MAP, "levels": levels, **style}
    filled = ax.contourf(one, two, excess.T, **look)
    ax.contour(one, two, excess.T, levels=levels[1::2], colors="black", linewidths=0.5, alpha=0.5)
    x, y = (grid.ravel() for grid in np.meshgrid(one, two, indexing="ij"))
    ax.plot(x, y, ".", color="black", markersize=3.0)
    beyond = p.ravel() < 0.05
    ax.plot(x[beyond], y[beyond], "o", color="black", fillstyle="none", markersize=9.0, markeredgewidth=1.4)
    ax.set(xscale="log", yscale="log")
    ax.grid(visible=False)
    ax.set_xlabel(_words(data.drugs[0], data.units[0]))
    ax.set_ylabel(_words(data.drugs[1], data.units[1]))
    ax.figure.colorbar(filled, ax=ax, label="excess (synergy above 0)", format="%.2f")
    rings = "; rings: beyond noise" if np.any(beyond) else ""
    ax.set_title(f"excess over {found.model}{rings}", fontsize="medium")
    return ax


def plot_synergy_waterfall(results: Sequence[SynergyResult], model: str = "bliss", ax: Axes | None = None) -> Axes:
    """Mean excess of several samples or pairs with intervals, largest first; filled where beyond noise.

    Raises:
        InputError: no result, too many to read, or one without a score of this model.
    """
    if not results or len(results) > MOST_BARS:
        raise InputError(f"a waterfall shows 1 to {MOST_BARS} results, got {len(results)}")
    for result in results:
        if model not in result.scores:
            raise InputError(f"a result has no score {model!r}; it has {', '.join(result.scores) or 'none'}")
    from kinetics.plotting import GREY, new_axes

    ranked = sorted(results, key=lambda result: -result.scores[model].mean)
    if ax is None:
        ax = new_axes(max(4.5, 1.8 + 0.45 * len(ranked)), 5.2)
    colours = {"synergy": "#542788", "antagonism": "#B35806"}  # the ends of the colour map
    for number, result in enumerate(ranked):
        score = result.scores[model]
        colour = colours.get(score.verdict, GREY)
        plain = score.verdict not in colours
        ax.bar(number, score.mean, color="white" if plain else colour, edgecolor=colour, width=0.75, linewidth=1.2)
        if not math.isnan(score.mean_low):
            ax.plot([number, number], [score.mean_low, score.mean_high], color="black", linewidth=1.2)
    names = [_label(result, results) for result in ranked]
    ax.set_xticks(range(len(ranked)), labels=names, rotation=60, ha="right", rotation_mode="anchor", fontsize="small")
    ax.axhline(0.0, color="black", linewidth=0.8)
    ax.grid(visible=False, axis="x")
    ax.set_ylabel(f"mean excess over {ranked[0].scores[model].model}")
    ax.set_title("filled: beyond noise (p < 0.05)", fontsize="medium")
    return ax


def _label(result: SynergyResult, among: Sequence[SynergyResult]) -> str:
    """The sample, the pair, or both, whichever differs between the bars."""
    pairs = {other.combination.drugs for other in among}
    samples = {other.combination.sample for other in among}
    pair = " + ".join(result.combination.drugs)
    sample = result.combination.sample
    if len(samples) > 1:
        return _words(f"{sample}: {pair}" if len(pairs) > 1 else sample)
    return _words(pair)


def plot_synergy(result: SynergyResult, model: str = "") -> Axes:
    """A figure of two: the responses as dose matrix, and the excess over a reference; returns the second axes."""
    from kinetics.plotting import figure_axes, plot_dose_matrix

    left, right = figure_axes(2, 12.6, 4.8)
    plot_dose_matrix(result.combination.matrix(), left)
    found = _score(result, model)
    data = result.combination
    left.set_title(_words(f"{data.drugs[0]} with {data.drugs[1]}{f' in {data.sample}' if data.sample else ''}"))
    left.title.set_fontsize("medium")
    if not np.any(np.isfinite(_excess(found)[0])):
        raise InputError("there is no excess to draw")
    return plot_excess(result, model, right)
