"""What an experiment asks of a model, in the model's own names and units."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise

from kinetics.errors import InputError
from kinetics.experiment import Added, Experiment, Period, Value
from kinetics.expression import Expression, Number, Symbol
from kinetics.model import Model
from kinetics.units import Quantity, convert, quantity

SAME_TIME = 1e-12  # relative; times that differ by rounding are one

Changes = tuple[tuple[str, float | Expression], ...]  # what to set: values in the model's units, or formulas


@dataclass(frozen=True)
class Stage:
    """A period resolved against a model: when it starts, and what is set there in the model's units."""

    start: float
    changes: Changes


def time_in(model: Model, value: float | str | Quantity, what: str = "time") -> float:
    """A time in the model's unit; a plain number is taken to be in it."""
    given = quantity(value, what)
    if math.isnan(given.value):
        raise InputError(f"{what} must not be NaN")
    return convert(given, model.time_unit, what=what)


def value_in(model: Model, target: str, value: float | str | Quantity) -> float:
    """A dose or parameter value in the model's unit."""
    entity = model.entity(target)
    number = convert(
        quantity(value, f"value of {target!r}"),
        entity.unit,
        molar_mass=model.molar_masses.get(target),
        what=f"value of {target!r}",
    )
    check_value(model, target, number, str(value))
    return number


def check_value(model: Model, target: str, number: float, given: str = "") -> None:
    """Refuse a value that cannot be: not finite, a negative concentration, a compartment without size."""
    kind, shown = model.entity(target).kind, given or f"{number:g}"
    if not math.isfinite(number):
        raise InputError(f"value of {target!r} must be finite, got {shown}")
    if kind == "species" and number < 0.0:
        raise InputError(f"the concentration of {target!r} must not be negative, got {shown}")
    if kind == "compartment" and number <= 0.0:
        raise InputError(f"the size of compartment {target!r} must be positive, got {shown}")


def check_overrides(model: Model, parameters: Mapping[str, float]) -> None:
    """Refuse overrides that a person cannot mean: a constant that is positive in the model made negative.

    Raises:
        InputError, UnknownName: naming the parameter.
    """
    if not isinstance(parameters, Mapping):
        raise InputError(f"parameters are values by name, as in {{'k_on': 0.1}}, got {parameters!r}")
    for name, value in parameters.items():
        entity = model.entity(name)
        if isinstance(value, numbers.Real) and value < 0.0 and entity.value is not None and entity.value > 0.0:
            raise InputError(
                f"value of {name!r} must not be negative (model {model.name!r} has {entity.value:g}), got {value:g}"
            )


def _change(model: Model, target: str, value: Value, symbols: Collection[str]) -> float | Expression:
    entity = model.entity(target)
    if not entity.settable:
        raise InputError(f"{target!r} of model {model.name!r} cannot be set: {entity.why_fixed}")
    if isinstance(value, Added):
        return Symbol(target) + value_in(model, target, value.amount)
    if isinstance(value, str | Expression):
        formula = model.formula(value, f"value of {target!r}", symbols) if isinstance(value, str) else value
        if isinstance(formula, Number):
            check_value(model, target, formula.value)
            return formula.value
        return formula
    return value_in(model, target, value)


Resolved = dict[int, tuple[Period, Stage]]


def resolve(
    model: Model, experiment: Experiment | None, seen: Resolved | None = None, symbols: Collection[str] = ()
) -> tuple[Stage, ...]:
    """The periods in order of time, in the model's units; periods that start together become one.

    Args:
        symbols: names that formulas may use although the model lacks them (parameters of a calibration problem).
        seen: remembers periods by identity, so that what many experiments share is resolved once.

    Raises:
        UnknownName, UnitError, InputError: a change cannot be applied to this model.
    """
    seen = {} if seen is None else seen
    if experiment is not None and not isinstance(experiment, Experiment):
        raise InputError(f"expected an Experiment, got {experiment!r}")
    stages: list[Stage] = []
    for period in (experiment or Experiment()).periods:
        if id(period) not in seen:  # the entry keeps the period alive, so its id stays its own
            seen[id(period)] = (period, Stage(*_resolved(model, period, symbols)))
        stages.append(seen[id(period)][1])
    if not stages or math.isinf(stages[-1].start):
        stages.append(Stage(0.0, ()))
    if all(one.start < other.start and not same_time(one.start, other.start) for one, other in pairwise(stages)):
        return tuple(stages)
    merged: dict[float, Changes] = {}
    for stage in sorted(stages, key=lambda stage: stage.start):
        start = next((other for other in merged if same_time(stage.start, other)), stage.start)
        merged[start] = _joined(start, merged[start] + stage.changes) if start in merged else stage.changes
    return tuple(Stage(start, changes) for start, changes in merged.items())


def same_time(one: float, other: float) -> bool:
    """Whether two times differ by rounding at most."""
    return one == other or (
        math.isfinite(one) and math.isfinite(other) and abs(one - other) <= SAME_TIME * max(abs(one), abs(other))
    )


def _resolved(model: Model, period: Period, symbols: Collection[str]) -> tuple[float, Changes]:
    start = time_in(model, period.start, "start of a period") if math.isfinite(period.start.value) else -math.inf
    changes = [
        (target, _change(model, target, value, symbols))
        for condition in period.conditions
        for target, value in condition.changes.items()
    ]
    return start, _joined(start, tuple(changes))


def _joined(start: float, changes: Changes) -> Changes:
    """Changes in order of name; refuses a target that is set twice."""
    ordered = sorted(changes, key=lambda change: change[0])
    for (one, _), (other, _) in pairwise(ordered):
        if one == other:
            raise InputError(f"{one!r} is set twice at time {start:g}")
    return tuple(ordered)
