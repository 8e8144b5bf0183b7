"""From a reported dose-response curve to a calibration problem: model, protocol, read-out, parameters, curve.

::

    curve = read_curve("il7.csv")
    protocol = curve.protocol("IL7", Readout.at("pSTAT5_total", "10 min"))
    described = DoseProblem(
        Model.load("il7_stat5_imatinib"), protocol, curve, {"kp": (0.02, 0.8, "log10")},
        scale="estimate", offset="estimate", noise="estimate",
    )
    result = fit(compile_problem(described.problem()), n_starts=10, seed=1)

Every dose is an experiment, and ``scale * read-out + offset`` is what was measured.  A read-out that is relative to
another condition, or in percent of the curve's maximum, is normalised inside the fit (`fits.terms.NormalisedCurve`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from fits.curve_numbers import check_readout, reading_time, replace_doses
from fits.parameters import Parameter, ParameterSet, Scale
from fits.problem import Distribution, Measurement, Observable, Problem
from fits.reported import CurvePoint, ReportedCurve
from fits.terms import NormalisedCurve, NormalisedPoint
from kinetics.dosing import DoseProtocol
from kinetics.errors import InputError, UnitError, UnknownName
from kinetics.experiment import Experiment
from kinetics.model import Model
from kinetics.observable import Readout, measure
from kinetics.schedule import time_in
from kinetics.units import Quantity, factor

FloatArray = npt.NDArray[np.float64]
Bounds = tuple[float, float] | tuple[float, float, str]
Given = str | float | Bounds  # "estimate", a number, or bounds to estimate between

WIDE = 1e3  # bounds of an estimated scale, as a factor around what the model's own values would need


@dataclass(frozen=True)
class DoseProblem:
    """A dose-response calibration in the words of the experiment; `problem` makes it a `Problem`.

    Attributes:
        model: with the values that are not estimated.
        protocol: what is done and read; its doses are replaced by those of the curve.  By arm, where there are several.
        curve: what was measured.
        parameters: bounds, and the scale of the search (``"log10"`` by default), by name; or a `Parameter`.
        scale: from the read-out to the units of the curve: ``"estimate"``, bounds, a number, or ``"fixed"`` (1).
        offset: added to that: ``"estimate"``, bounds, a number, or ``"none"`` (0).
        noise: the standard deviation: ``"estimate"``, bounds, a number, or ``"column"`` for the column ``error``.
        distribution: how measurements scatter.
        terms: of the objective, on top of the curve.
        dataset: names ``scale_<dataset>``, ``offset_<dataset>`` and ``sigma_<dataset>``.
    """

    model: Model
    protocol: DoseProtocol | Mapping[str, DoseProtocol]
    curve: ReportedCurve
    parameters: Mapping[str, Bounds | Parameter]
    scale: Given = ""
    offset: Given = ""
    noise: Given = ""
    distribution: Distribution = Distribution.NORMAL
    terms: Sequence[object] = ()
    id: str = ""
    dataset: str = "data"
    model_id: str = ""
    notes: Sequence[str] = field(default=())

    def problem(self) -> Problem:
        """The calibration problem.

        Raises:
            KineticsError: something does not fit the model, or is not said; the message names it.
        """
        return _Builder(self).problem()


def model_parameter(model: Model, name: str, given: Bounds | Parameter) -> Parameter:
    """A parameter of the problem that replaces a value of the model, which is its nominal value.

    Raises:
        UnknownName, InputError: the model has none of that name, it cannot be set, or the bounds cannot be meant.
    """
    if name not in model.description.entities:
        settable = [item.id for item in model.description.entities.values() if item.settable]
        raise UnknownName("parameter", name, settable, f"model {model.name!r}")
    entity = model.entity(name)
    if not entity.settable:
        raise InputError(f"{name!r} of model {model.name!r} is computed by a rule and cannot be estimated")
    value = float(model.values.get(name, math.nan if entity.value is None else entity.value))
    if isinstance(given, Parameter):
        if given.id != name:
            raise InputError(f"parameter {name!r} is described by a parameter called {given.id!r}")
        chosen = given
    else:
        chosen = estimated(name, given, Scale.LOG10)
    if math.isnan(chosen.nominal) and chosen.lower <= value <= chosen.upper and math.isfinite(value):
        chosen = replace(chosen, nominal=value)
    return chosen if chosen.unit else replace(chosen, unit=entity.unit)


def estimated(name: str, bounds: object, scale: Scale, nominal: float = math.nan) -> Parameter:
    """A free parameter from ``(lower, upper)`` or ``(lower, upper, "log10")``.

    Raises:
        InputError: they are no bounds.
    """
    if not isinstance(bounds, Sequence) or isinstance(bounds, str) or len(bounds) not in (2, 3):
        raise InputError(f"parameter {name!r} needs bounds such as (0.02, 0.8) or (0.02, 0.8, 'log10'), got {bounds!r}")
    lower, upper = bounds[0], bounds[1]
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in (lower, upper)):
        raise InputError(f"bounds of parameter {name!r} must be numbers, got {lower!r}, {upper!r}")
    if len(bounds) == 3:
        words = {item.value: item for item in Scale}
        if bounds[2] not in words:
            raise UnknownName("scale", str(bounds[2]), words, f"parameter {name!r}")
        scale = words[bounds[2]]
    if scale is not Scale.LIN and not lower > 0.0:
        raise InputError(
            f"parameter {name!r} is searched on the {scale.value} scale and needs 0 < lower < upper, got {lower:g}, "
            f"{upper:g}; write ({lower:g}, {upper:g}, 'lin') to search it as it is"
        )
    if not math.isnan(nominal):
        nominal = min(max(nominal, lower), upper)
    return Parameter(name, float(lower), float(upper), scale, nominal)


class _Builder:
    """One call of `DoseProblem.problem`."""

    def __init__(self, given: DoseProblem) -> None:
        self.given, self.model, self.curve = given, given.model, given.curve
        if not given.dataset.isidentifier():
            raise InputError(f"dataset must be letters, digits and _, got {given.dataset!r}")
        self.protocols = self._protocols()
        readouts = {protocol.readout for protocol in self.protocols.values()}
        self.normalised = any(readout.relative or readout.of_maximum for readout in readouts)
        self.notes: list[str] = [*given.curve.notes, *given.notes]
        self.own = [model_parameter(self.model, name, item) for name, item in given.parameters.items()]
        self.further: list[Parameter] = []
        if not self.own:
            raise InputError("there is no parameter to estimate: pass parameters={'name': (lower, upper)}")

    def _protocols(self) -> dict[str, DoseProtocol]:
        """By arm, with the doses of the arm."""
        given, arms = self.given.protocol, self.curve.arms
        if isinstance(given, DoseProtocol):
            if len(arms) > 1:
                raise InputError(
                    f"the curve has the arms {', '.join(map(repr, arms))}, but there is one protocol: say what was "
                    "done in each, protocol={" + f"{arms[0]!r}: ..., {arms[1]!r}: ..." + "}"
                )
            given = {arms[0]: given}
        for name in given:
            if name not in arms:
                raise UnknownName("arm", name, arms, "the curve")
        for name in arms:
            if name not in given:
                raise InputError(f"the curve has an arm {name!r}, and the protocol does not say what was done in it")
        for protocol in given.values():
            check_readout(replace(protocol.readout, relative=None, of_maximum=False), "the curve")
        return {name: replace_doses(given[name], self.curve.arm(name).doses) for name in arms}

    def problem(self) -> Problem:
        given = self.given
        rows, experiments, terms, observables = self._normalised() if self.normalised else self._measured()
        return Problem(
            given.id or f"{self.model.name}_{given.dataset}",
            {given.model_id or self.model.name: self.model},
            ParameterSet([*self.own, *self.further]),
            observables,
            experiments,
            rows,
            self.notes,
            (*terms, *given.terms),
        )

    # --- as measured -------------------------------------------------------------------------------------------

    def _measured(
        self,
    ) -> tuple[list[Measurement], dict[str, Experiment], list[object], list[Observable]]:
        given, name = self.given, self.given.dataset
        scale, offset = self._scale_and_offset()
        noise = self._noise()
        formulas = {protocol.readout.formula for protocol in self.protocols.values()}
        ids = {formula: name if len(formulas) == 1 else f"{name}_{i}" for i, formula in enumerate(sorted(formulas))}
        observables = []
        for formula, observable in ids.items():
            self.model.formula(formula, "read-out")
            text = f"({formula})" if not formula.isidentifier() else formula
            text = self._in_response_unit(text, formula) if self.given.scale == "fixed" else text
            text = text if scale == "1" else f"{scale} * {text}"
            text = text if offset == "0" else f"{text} + {offset}"
            per_row = f"noiseParameter1_{observable}"
            observables.append(
                Observable(
                    observable,
                    text,
                    per_row if noise is None else noise,
                    given.distribution,
                    noise_placeholders=(per_row,) if noise is None else (),
                    name=formula,
                    unit=self.curve.response_unit,
                )
            )
        rows, experiments = [], {}
        for arm, protocol in self.protocols.items():
            made = dict(zip([dose.value for dose in protocol.doses], protocol.experiments(), strict=True))
            names = {dose: _identifier(f"{name}_{arm or 'dose'}_{i + 1}") for i, dose in enumerate(made)}
            experiments.update({names[dose]: e.with_periods(e.periods, names[dose]) for dose, e in made.items()})
            for point in self.curve.arm(arm).points:
                rows.append(
                    Measurement(
                        ids[protocol.readout.formula], names[point.dose], self._time(point, protocol.readout),
                        point.response, noise_overrides=() if noise is not None else (point.error,),
                        lower=point.lower, upper=point.upper, dataset=name, replicate=point.replicate,
                        model=given.model_id,
                    )
                )  # fmt: skip
        return rows, experiments, [], observables

    def _in_response_unit(self, text: str, formula: str) -> str:
        """The read-out in the unit of the responses: without an estimated scale, units have to agree.

        Raises:
            InputError: the responses have a unit that the read-out's cannot be converted to.
        """
        model, data = self.model.unit_of(formula), self.curve.response_unit
        if {model, data} <= {"", "1", "dimensionless"} or model == data:
            return text
        if not data:
            self.notes.append(f"the responses have no unit and are taken to be in {model}, that of {formula!r}")
            return text
        if not model:
            raise InputError(
                f"the scale is fixed and the responses are in {data!r}, but read-out {formula!r} has no unit; write "
                "scale: estimate for arbitrary units"
            )
        try:
            ratio = factor(model, data, what="responses")
        except UnitError as error:
            raise InputError(f"{error}; write scale: estimate for arbitrary units") from None
        return text if ratio == 1.0 else f"{ratio!r} * {text}"

    def _time(self, point: CurvePoint, readout: Readout) -> float:
        if math.isnan(point.time):
            return reading_time(self.model, readout)
        return time_in(self.model, Quantity(point.time, self.curve.time_unit), "time of a point")

    def _span(self) -> tuple[float, float]:
        """Lowest response and span of the curve, limits counting where there is no response."""
        known = [
            value
            for point in self.curve.points
            for value in ((point.lower, point.upper) if point.interval else (point.response,))
            if math.isfinite(value)
        ]
        low, high = min(known), max(known)
        if not high > low:
            raise InputError(
                f"all responses of the curve are {low:g}, so bounds cannot be taken from it: pass numbers or "
                "(lower, upper) for scale, offset and noise"
            )
        return low, high - low

    def _scale_and_offset(self) -> tuple[str, str]:
        """What stands in the formula: the name of a parameter, or a number."""
        scale, offset = self.given.scale, self.given.offset
        bounds: tuple[float, float]
        for what, value, word, meaning in (
            ("scale", scale, "fixed", "where the curve is in the unit of the read-out"),
            ("offset", offset, "none", "where nothing is added"),
        ):
            if isinstance(value, str) and value not in ("estimate", word):
                raise InputError(
                    f"pass {what}='estimate', (lower, upper), a number, or {word!r} {meaning}; got {value!r}"
                )
        low, span = (0.0, 1.0) if scale != "estimate" and offset != "estimate" else self._span()
        texts = []
        for what, value, fixed in (("scale", scale, "1"), ("offset", offset, "0")):
            name = f"{what}_{self.given.dataset}"
            if value in ("fixed", "none"):
                texts.append(fixed)
            elif isinstance(value, int | float):
                texts.append(self._number(what, value))
            elif value != "estimate":
                texts.append(self._further(estimated(name, value, Scale.LOG10 if what == "scale" else Scale.LIN)))
            elif what == "scale":
                ratio = span / self._model_span()
                texts.append(self._further(estimated(name, (ratio / WIDE, ratio * WIDE), Scale.LOG10, ratio)))
                self.notes.append(f"{name} is searched from {ratio / WIDE:.3g} to {ratio * WIDE:.3g}")
            else:
                bounds = (min(low, 0.0) - span, low + span)
                texts.append(self._further(estimated(name, bounds, Scale.LIN, low)))
                self.notes.append(f"{name} is searched from {bounds[0]:.3g} to {bounds[1]:.3g}")
        return texts[0], texts[1]

    def _number(self, what: str, value: float) -> str:
        if not math.isfinite(value) or (what == "scale" and value == 0.0):
            raise InputError(f"{what} must be a finite number{' other than 0' if what == 'scale' else ''}, got {value}")
        return f"({value!r})" if value < 0.0 else f"{value!r}"

    def _model_span(self) -> float:
        """How far the read-out ranges over the doses at the nominal values."""
        values = {item.id: item.nominal for item in self.own if math.isfinite(item.nominal)}
        found = np.concatenate(
            [measure(self.model, p.experiments(), p.readout, parameters=values) for p in self.protocols.values()]
        )
        span = float(np.ptp(found))
        if not span > 1e-9 * float(np.max(np.abs(found))):
            raise InputError(
                f"the read-out of model {self.model.name!r} is {found[0]:g} at every dose, so the size of the scale "
                "cannot be told: pass scale=(lower, upper), and look at the protocol"
            )
        return span

    def _noise(self) -> str | None:
        """The formula of sigma; ``None``: a number per row."""
        noise, name = self.given.noise, f"sigma_{self.given.dataset}"
        if noise == "column":
            for point in self.curve.points:
                if math.isnan(point.error):
                    raise InputError(
                        f"noise='column' needs an error for every point, and that at dose {point.dose:g} has none: "
                        "fill the column 'error' with standard deviations, or pass noise='estimate'"
                    )
            return None
        if isinstance(noise, str) and noise != "estimate":
            raise InputError(f"pass noise='estimate', 'column', a standard deviation or (lower, upper); got {noise!r}")
        if isinstance(noise, int | float):
            if not (math.isfinite(noise) and noise > 0.0):
                raise InputError(f"noise is a standard deviation and must be positive, got {noise}")
            return repr(float(noise))
        if noise != "estimate":
            return self._further(estimated(name, noise, Scale.LOG10))
        if self.given.distribution.transformation != "lin":
            return self._further(estimated(name, (1e-3, 3.0), Scale.LOG10, 0.2))
        span = self._span()[1]
        return self._further(estimated(name, (1e-4 * span, span), Scale.LOG10, 0.1 * span))

    def _further(self, parameter: Parameter) -> str:
        if parameter.id in self.model.description.entities:
            raise InputError(f"model {self.model.name!r} has a {parameter.id!r} already: choose another dataset name")
        self.further.append(parameter)
        return parameter.id

    # --- normalised --------------------------------------------------------------------------------------------

    def _normalised(
        self,
    ) -> tuple[list[Measurement], dict[str, Experiment], list[object], list[Observable]]:
        given = self.given
        for what, value, word in (("scale", given.scale, "fixed"), ("offset", given.offset, "none")):
            if value not in (word, "", 1.0 if what == "scale" else 0.0):
                raise InputError(
                    f"a normalised read-out has no free {what}: pass {what}={word!r}, or a plain read-out with a scale"
                )
        if given.distribution is not Distribution.NORMAL:
            raise InputError(f"normalised curves have normal noise here, got {given.distribution.value!r}")
        noise = self._noise()
        error: float | str = 1.0 if noise is None else noise
        if noise is not None and not noise.isidentifier():
            error = float(noise)
        terms: list[object] = []
        for arm, protocol in self.protocols.items():
            if not (protocol.readout.relative or protocol.readout.of_maximum):
                raise InputError(f"arm {arm!r} is read as it is while another is normalised: use one read-out")
            points = self.curve.arm(arm).points
            for number, time in enumerate(sorted({self._time(point, protocol.readout) for point in points})):
                chosen = [point for point in points if self._time(point, protocol.readout) == time]
                when = replace(protocol.readout, time=Quantity(time, self.model.time_unit) if time < math.inf else None)
                made = replace(replace_doses(protocol, _doses(chosen, self.curve)), readout=when)
                place = {dose.value: index for index, dose in enumerate(made.doses)}
                name = _identifier(f"{given.dataset}_{arm or 'curve'}" + (f"_{number + 1}" if number else ""))
                rows = tuple(
                    NormalisedPoint(
                        place[p.dose], p.response, p.lower, p.upper, p.error if noise is None else None
                    )
                    for p in chosen
                )  # fmt: skip
                terms.append(NormalisedCurve(name, made, rows, error, given.model_id, self.curve.source))
        return [], {}, terms, []


def _doses(points: Sequence[CurvePoint], curve: ReportedCurve) -> list[Quantity]:
    return [Quantity(dose, curve.dose_unit) for dose in sorted({point.dose for point in points})]


def _identifier(text: str) -> str:
    return re.sub(r"\W", "_", text, flags=re.ASCII)
