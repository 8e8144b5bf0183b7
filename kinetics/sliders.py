"""``explore(model, protocol)``: a dose-response curve in a notebook that follows sliders for the parameters.

Needs ipywidgets (``pip install 'cytokine-kinetics[notebook]'``), which is imported when `explore` is called.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from kinetics.dosing import DoseProtocol, DoseResponseCurve, dose_response
from kinetics.engine import Solver
from kinetics.errors import InputError, KineticsError
from kinetics.model import Model

MOST_SLIDERS = 8  # that are shown unless more are asked for
AROUND = 100.0  # a slider goes from a hundredth to a hundred times the model's value where no range is known


class Range(Protocol):
    """Ends of a declared range, in the model's unit; what `fits.claims.ledger.declared_ranges` gives."""

    @property
    def lower(self) -> float: ...

    @property
    def upper(self) -> float: ...


Ranges = Mapping[str, tuple[float, float] | Range]


class Explorer:
    """Sliders, the curves they move, and the picture; a notebook shows it as the last value of a cell.

    Attributes:
        widget: everything, for `IPython.display.display`.
        sliders: by parameter; setting ``.value`` moves one.
        curves: the arms as they are now, the control first where there is one.
        message: what is said below the picture, as HTML; errors of a simulation, too.
    """

    def __init__(
        self,
        model: Model,
        protocols: Mapping[str, DoseProtocol],
        sliders: Mapping[str, tuple[float, float]],
        solver: Solver | None,
    ) -> None:
        widgets = _widgets()
        from kinetics.plotting_live import LiveCurves

        self._model, self._protocols, self._solver = model, protocols, solver
        self._start = {name: _value(model, name) for name in sliders}
        self.curves = self._simulated(self._start)
        self._picture = LiveCurves(self.curves)
        self.sliders = {name: _slider(widgets, model, name, *ends) for name, ends in sliders.items()}
        reset = widgets.Button(description="as in the model", tooltip="put every slider back")
        reset.on_click(lambda _: self.reset())
        self.picture = widgets.Image(value=self._picture.png, format="png")
        self.message = widgets.HTML(value=self._said())
        self._held = False
        for slider in self.sliders.values():
            slider.observe(self._moved, names="value")
        column = widgets.VBox([*self.sliders.values(), reset])
        self.widget = widgets.HBox([column, widgets.VBox([self.picture, self.message])])

    @property
    def values(self) -> dict[str, float]:
        """What the sliders stand at, in the model's units; ready for ``Model.with_values``."""
        return {name: float(slider.value) for name, slider in self.sliders.items()}

    def reset(self) -> None:
        """Every slider back to the model's value."""
        self._held = True
        try:
            for name, slider in self.sliders.items():
                slider.value = self._start[name]
        finally:
            self._held = False
        self._moved(None)

    def _moved(self, _: object) -> None:
        if self._held:
            return
        try:
            self.curves = self._simulated(self.values)
            self.picture.value = self._picture.update(self.curves)
            self.message.value = self._said()
        except KineticsError as error:  # a corner that cannot be simulated; the next move may leave it again
            self.picture.value = self._picture.faded()
            kind = html.escape(type(error).__name__)
            self.message.value = f"<b>{kind}</b>: {html.escape(str(error))} The pale curves are the last that could be."

    def _simulated(self, values: Mapping[str, float]) -> tuple[DoseResponseCurve, ...]:
        return tuple(
            dose_response(self._model, protocol, label=label, solver=self._solver, parameters=values, progress=False)
            for label, protocol in self._protocols.items()
        )

    def _said(self) -> str:
        """The dose for half of each curve's own span: quicker than a fitted Hill curve, and close to its EC50."""
        halves = [_half(curve) for curve in self.curves]
        said = []
        for curve, half in zip(self.curves, halves, strict=True):
            where = "is not reached within the doses" if math.isnan(half) else f"{half:.3g} {curve.dose_unit}".rstrip()
            said.append(f"{html.escape(curve.label)}: half-maximal dose {html.escape(where)}")
        if len(halves) == 2 and not any(map(math.isnan, halves)):
            said.append(f"ratio {halves[1] / halves[0]:.3g}")
        return "; ".join(said)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)


def _half(curve: DoseResponseCurve) -> float:
    low, high = float(curve.responses.min()), float(curve.responses.max())
    if math.isnan(low) or not high > low:
        return math.nan
    return curve.dose_for(0.5 * (low + high))


def explore(
    model: Model,
    protocol: DoseProtocol,
    parameters: Iterable[str] | None = None,
    *,
    control: DoseProtocol | None = None,
    ranges: Ranges | None = None,
    solver: Solver | None = None,
) -> Explorer:
    """Sliders for parameters of a model beside its dose-response curve, which follows them at once.

    Args:
        protocol: what is done and read.
        parameters: which get a slider; by default those with a range, else the ones the mechanisms of a bundled model
            change, else the first of the model that have a positive value.
        control: a second arm, drawn with the first; its curve follows the sliders as well.
        ranges: where a slider begins and ends, by parameter, in the model's unit; elsewhere it goes from a hundredth to
            a hundred times the model's value.  Sliders are logarithmic unless a range begins at 0 or below.
        solver: tolerances; a looser one is faster.

    Returns:
        What a notebook shows.  The simulation at the model's own values must work; where sliders lead to one that
        does not, the picture says so and stays.

    Raises:
        InputError: ipywidgets is not installed, a range has no meaning, or a value has no logarithm and no range.
        UnknownName: the model has no such parameter.
        What `dose_response` raises, at the model's own values.

    Example:
        >>> explore(model, treated, control=protocol, ranges=declared_ranges())  # doctest: +SKIP
    """
    known = dict(ranges or {})
    if isinstance(parameters, str):
        parameters = (parameters,)
    names = tuple(dict.fromkeys(_chosen(model, known) if parameters is None else parameters))
    if not names:
        raise InputError(f"model {model.name!r} has no parameter with a positive value; pass parameters and ranges")
    arms = {"control": control, "treated": protocol} if control is not None else {"curve": protocol}
    return Explorer(
        model,
        {label: arm for label, arm in arms.items() if arm is not None},
        {name: _ends(model, name, known.get(name)) for name in names},
        solver,
    )


def _chosen(model: Model, ranges: Ranges) -> list[str]:
    if ranges:
        return list(ranges)
    if model.entry is not None:
        changed = [name for item in model.entry.mechanisms.values() for name in item.values]
        if changed:
            return list(dict.fromkeys(changed))[:MOST_SLIDERS]
    free = [name for name in model.parameters if model.entity(name).settable and _positive(model, name)]
    return free[:MOST_SLIDERS]


def _positive(model: Model, name: str) -> bool:
    value = model.values.get(name, model.entity(name).value)
    return value is not None and math.isfinite(value) and value > 0.0


def _value(model: Model, name: str) -> float:
    value = model.values.get(name, model.entity(name).value)
    if value is None or not math.isfinite(value):
        raise InputError(f"{name!r} of model {model.name!r} has no value to begin with; set one with with_values(...)")
    return float(value)


def _ends(model: Model, name: str, given: tuple[float, float] | Range | None) -> tuple[float, float]:
    """Where a slider begins and ends; wide enough for the model's own value."""
    entity, value = model.entity(name), _value(model, name)
    if not entity.settable:
        raise InputError(f"{name!r} of model {model.name!r} cannot get a slider: {entity.why_fixed}")
    if given is None:
        if not value > 0.0:
            raise InputError(
                f"{name!r} is {value:g}, which a logarithmic slider cannot begin at; pass ranges={{{name!r}: (0, ...)}}"
            )
        return value / AROUND, value * AROUND
    low, high = given if isinstance(given, tuple) else (given.lower, given.upper)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"the range of {name!r} needs lower < upper, both finite, got {low}, {high}")
    if low > 0.0 and not value > 0.0:
        raise InputError(f"{name!r} is {value:g} and its range begins at {low:g}; let the range begin at {value:g}")
    return min(low, value), max(high, value)


def _slider(widgets: Any, model: Model, name: str, low: float, high: float) -> Any:
    unit = model.entity(name).unit
    label = f"{name} ({unit})" if unit and unit != "dimensionless" else name
    look = {
        "description": label, "value": _value(model, name), "readout_format": ".3g", "continuous_update": True,
        "style": {"description_width": "11em"}, "layout": widgets.Layout(width="26em"),
    }  # fmt: skip
    if low > 0.0:
        return widgets.FloatLogSlider(base=10.0, min=math.log10(low), max=math.log10(high), step=0.01, **look)
    return widgets.FloatSlider(min=low, max=high, step=(high - low) / 200.0, **look)


def _widgets() -> Any:
    try:
        import ipywidgets
    except ImportError:
        raise InputError("sliders need ipywidgets: pip install 'cytokine-kinetics[notebook]'") from None
    return ipywidgets
