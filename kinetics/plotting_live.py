"""A picture of curves that follows their numbers fast enough for a slider.

The axes are drawn once and kept as pixels; a change draws the curves alone upon them.  Only when a curve leaves the
picture, or becomes small in it, are the axes drawn anew.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kinetics.dosing import DoseResponseCurve
from kinetics.errors import InputError

if TYPE_CHECKING:
    from matplotlib.lines import Line2D

SMALL = 0.45  # of the height: a picture whose curves fill less is drawn anew


class LiveCurves:
    """Curves whose doses stay and whose responses change; dashed behind them, how they began.

    Attributes:
        png: the picture as it is now.
        axes_drawn: how often the axes had to be drawn.
    """

    def __init__(self, curves: Sequence[DoseResponseCurve]) -> None:
        from kinetics.plotting import new_axes, plot_dose_response

        self._ax: Any = new_axes()
        plot_dose_response(curves, self._ax)
        self._parts: list[list[tuple[Line2D, Any]]] = []  # by curve: lines, and which of its points they hold
        lines = list(self._ax.lines)
        for curve in reversed(curves):  # the last lines are those of the curves, one more for each with a dose 0
            above = curve.doses > 0.0
            parts = [] if above.all() else [(lines.pop(), ~above)]
            self._parts.insert(0, [(lines.pop(), above), *parts])
        self._began: list[Line2D] = []
        for line, _ in self._lines():
            pale = {"color": line.get_color(), "linestyle": "--", "linewidth": 1.0, "alpha": 0.5, "zorder": 1.3}
            self._began += self._ax.plot(*line.get_data(), **pale)
            line.set_animated(True)  # left out when the axes are drawn
        figure: Any = self._ax.figure
        self._canvas: Any = figure.canvas
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the axes stay where they are
        self.axes_drawn = 0
        self._fit(*self._extent())
        self.png = self._painted(1.0)

    def _lines(self) -> list[tuple[Line2D, Any]]:
        return [part for parts in self._parts for part in parts]

    def update(self, curves: Sequence[DoseResponseCurve]) -> bytes:
        """The picture, as PNG, of other responses at the same doses.

        Raises:
            InputError: these are not the curves the picture began with.
        """
        if len(curves) != len(self._parts):
            raise InputError(f"the picture has {len(self._parts)} curves, got {len(curves)}")
        for curve, parts in zip(curves, self._parts, strict=True):
            if len(curve.doses) != len(parts[0][1]):
                raise InputError(f"the picture has {len(parts[0][1])} doses in a curve, got {len(curve.doses)}")
            for line, chosen in parts:
                line.set_ydata(curve.responses[chosen])
        low, high = self._extent()
        bottom, top = self._ax.get_ylim()
        if low < bottom or high > top or high - low < SMALL * (top - bottom):
            self._fit(low, high)
        self.png = self._painted(1.0)
        return self.png

    def faded(self) -> bytes:
        """The last picture with pale curves, for when there are no new ones."""
        self.png = self._painted(0.25)
        return self.png

    def _extent(self) -> tuple[float, float]:
        columns = [line.get_ydata() for line, _ in self._lines()] + [line.get_ydata() for line in self._began]
        known = np.concatenate([np.asarray(column, dtype=float) for column in columns])
        known = known[np.isfinite(known)]
        return (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)

    def _fit(self, low: float, high: float) -> None:
        """Draw the axes for these values and keep their pixels."""
        room = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
        self._ax.set_ylim(low - room, high + room)
        self._canvas.draw()
        self._background = self._canvas.copy_from_bbox(self._ax.figure.bbox)
        self.axes_drawn += 1

    def _painted(self, alpha: float) -> bytes:
        from PIL import Image  # matplotlib needs it as well

        self._canvas.restore_region(self._background)
        for line, _ in self._lines():
            line.set_alpha(alpha)
            self._ax.draw_artist(line)
        out = io.BytesIO()
        pixels = np.asarray(self._canvas.buffer_rgba())[:, :, :3]
        Image.fromarray(np.ascontiguousarray(pixels)).save(out, format="png", compress_level=1)
        return out.getvalue()
