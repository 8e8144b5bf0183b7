"""What is done to the cells: periods of conditions, in the words of PEtab v2.

An `Experiment` is a sequence of `Period`; each starts at a time and applies its `Condition` there.
The first period may start at ``-inf``: it runs to steady state before anything else (pre-equilibration).
All of this is frozen data that knows no model; names, units and formulas are checked against a model
when it is simulated.

>>> wash = Experiment.steps(
...     ("24 h", {"Imatinib": "3 uM"}),
...     ("1 h", {"Imatinib": 0}),
...     ("30 min", {"IL7": "1 ng/ml"}),
... )
>>> len(wash.periods)
3
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from kinetics.errors import InputError
from kinetics.expression import Expression
from kinetics.units import Quantity, quantity

# "3 uM", "24h", "5 1/nM/min" are values with a unit; "3*k", "k_on", "2^3" are formulas.
_WITH_UNIT = re.compile(
    r"\s*[+-]?(?>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:nan|inf)\b(?=\s*[A-Za-zµμ%]))\s*+"
    r"(?:[A-Za-zµμ%]|(?<=\s)1\s*/)"
)
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*\Z|\s*[+-]?(?:inf|nan)\s*\Z", re.I)


@dataclass(frozen=True)
class Added:
    """A bolus: this much on top of what is there when the period starts."""

    amount: Quantity


def added(value: str | float) -> Added:
    """``Condition({"Drug": added("3 uM")})`` adds to the current concentration instead of replacing it."""
    return Added(_checked(quantity(value, "added dose"), "added dose"))


Value = float | Quantity | Added | str | Expression  # text and expressions: formulas over species and parameters
Time = float | str | Quantity
Given = float | str | Quantity | Added | Expression  # what a change may be written as


def _checked(given: Quantity, what: str) -> Quantity:
    if not math.isfinite(given.value):
        raise InputError(f"{what} must be a finite number, got {given}")
    return given


def _value(target: str, value: Given) -> Value:
    if isinstance(value, Added):
        return value
    if isinstance(value, Quantity):
        return _checked(value, f"value of {target!r}")
    if isinstance(value, str):
        if _NUMBER.match(value) or _WITH_UNIT.match(value):
            return _checked(quantity(value, f"value of {target!r}"), f"value of {target!r}")
        if not value.strip():
            raise InputError(f"value of {target!r} is empty; expected a number, '3 uM' or a formula")
        return value
    if isinstance(value, Expression):
        return value
    if not isinstance(value, numbers.Real):
        raise InputError(f"value of {target!r} must be a number, text like '3 uM' or a formula, got {value!r}")
    number = float(value)
    if not math.isfinite(number):
        raise InputError(f"value of {target!r} must be finite, got {number}")
    return number


@dataclass(frozen=True)
class Condition:
    """What is set, by name: species (in concentration), parameters or compartments.

    Values are numbers in the model's unit, quantities (``"3 uM"``), `added` doses, or formulas over the
    state just before the period starts; all of them are evaluated before any is applied.
    """

    changes: Mapping[str, Value]
    id: str = ""

    def __init__(self, changes: Mapping[str, Given], id: str = "") -> None:
        if not isinstance(changes, Mapping):
            raise InputError(f"a condition needs a mapping of names to values, got {changes!r}")
        object.__setattr__(self, "changes", MappingProxyType({t: _value(t, v) for t, v in changes.items()}))
        object.__setattr__(self, "id", id)

    def __hash__(self) -> int:
        return hash((self.id, frozenset(self.changes.items())))

    def __reduce__(self) -> tuple[object, ...]:  # a mapping proxy cannot be pickled, workers need it
        return (Condition, (dict(self.changes), self.id))


def _time(value: Time, what: str) -> Quantity:
    given = quantity(value, what)
    if math.isnan(given.value):
        raise InputError(f"{what} must not be NaN")
    return given


@dataclass(frozen=True)
class Period:
    """From ``start`` on, under ``conditions``; ``start=-inf`` is pre-equilibration to steady state."""

    start: Quantity
    conditions: tuple[Condition, ...] = ()
    id: str = ""

    def __init__(
        self,
        start: Time,
        conditions: Condition | Mapping[str, Given] | Iterable[Condition] = (),
        id: str = "",
    ) -> None:
        begin = _time(start, "start of a period")
        if begin.value == math.inf:
            raise InputError("a period cannot start at +inf")
        object.__setattr__(self, "start", begin)
        if isinstance(conditions, Condition):
            conditions = (conditions,)
        elif isinstance(conditions, Mapping):
            conditions = (Condition(conditions),) if conditions else ()
        object.__setattr__(self, "conditions", tuple(conditions))
        object.__setattr__(self, "id", id)


def _in_order(periods: tuple[Period, ...]) -> tuple[Period, ...]:
    """By start, where the starts can be compared; numbers in a model's unit beside "2 h" cannot be, without a model."""
    from kinetics.units import factor

    units = {period.start.unit for period in periods if math.isfinite(period.start.value) and period.start.value}
    if "" in units and len(units) > 1:
        return periods
    base = next(iter(units), "")
    scale = {unit: factor(unit, base, what="start of a period") if unit != base else 1.0 for unit in units}
    return tuple(sorted(periods, key=lambda period: period.start.value * scale.get(period.start.unit, 1.0)))


@dataclass(frozen=True)
class Experiment:
    """Periods in order of time.  An empty one runs the model as it is, from time 0."""

    periods: tuple[Period, ...] = field(default=())
    id: str = ""

    def __init__(self, periods: Period | Iterable[Period] = (), id: str = "") -> None:
        given = (periods,) if isinstance(periods, Period) else tuple(periods)
        object.__setattr__(self, "id", id)
        for period in given:
            if not isinstance(period, Period):
                raise InputError(f"an experiment is made of periods, got {period!r}")
        object.__setattr__(self, "periods", _in_order(given))
        if sum(math.isinf(period.start.value) for period in self.periods) > 1:
            raise InputError("an experiment can have one pre-equilibration period (start=-inf), got several")

    @classmethod
    def steps(
        cls,
        *steps: tuple[Time, Mapping[str, Given]],
        equilibrate: Mapping[str, Given] | bool = False,
        zero_at_last: bool = True,
        id: str = "",
    ) -> Experiment:
        """Steps one after another, each ``(duration, changes)``.

        Args:
            equilibrate: run to steady state first, under these changes (``True``: under none).
            zero_at_last: time 0 is the start of the last step, earlier steps have negative times, so that a
                read-out "at 30 min" is 30 min after stimulation.  ``False``: time 0 is the start of the first.

        Example:
            >>> steps = Experiment.steps(("24 h", {"Drug": "3 uM"}), ("30 min", {"Ligand": "1 nM"}))
            >>> [str(period.start) for period in steps.periods]
            ['-24 h', '0 h']
        """
        from kinetics.units import factor

        if not steps:
            raise InputError("an experiment of steps needs at least one (duration, changes)")
        durations = [_time(duration, "duration of a step") for duration, _ in steps]
        for duration in durations:
            if not (duration.value > 0.0):
                raise InputError(f"the duration of a step must be positive, got {duration}")
        if any(math.isinf(duration.value) for duration in durations[:-1]):
            raise InputError("only the last step can last for ever")
        unit = durations[0].unit
        if len({bool(duration.unit) for duration in durations if math.isfinite(duration.value)}) > 1:
            raise InputError(f"durations need units on all steps or on none, got {[str(d) for d in durations]}")
        lengths = [d.value * (factor(d.unit, unit, what="duration") if unit else 1.0) for d in durations[:-1]]
        starts = [math.fsum(lengths[:index]) for index in range(len(steps))]
        if zero_at_last:
            starts = [start - starts[-1] for start in starts]
        periods = [Period(Quantity(start, unit), changes) for start, (_, changes) in zip(starts, steps, strict=True)]
        if equilibrate is not False:
            periods.insert(0, Period(-math.inf, {} if equilibrate is True else equilibrate))
        return cls(periods, id)

    @classmethod
    def repeated(
        cls,
        changes: Mapping[str, Given],
        *,
        every: Time,
        times: int,
        start: Time = 0.0,
        id: str = "",
    ) -> Experiment:
        """The same changes again and again, for example ``{"Gut": added("800 nM")}, every="12 h", times=14``."""
        interval, first = _time(every, "dosing interval"), _time(start, "first dose")
        if not (0.0 < interval.value < math.inf):
            raise InputError(f"the dosing interval must be positive and finite, got {interval}")
        if not isinstance(times, int) or times < 1:
            raise InputError(f"the number of doses must be a whole number of at least 1, got {times!r}")
        if first.value == 0.0:
            first = Quantity(0.0, interval.unit)
        if first.unit != interval.unit:
            raise InputError(f"first dose ({first}) and interval ({interval}) need the same unit")
        return cls([Period(Quantity(first.value + k * interval.value, first.unit), changes) for k in range(times)], id)

    @classmethod
    def infusion(
        cls, rate_parameter: str, rate: float | str, *, duration: Time, start: Time = 0.0, id: str = ""
    ) -> Experiment:
        """A constant rate for a while: ``rate_parameter`` is set to ``rate``, then to 0."""
        begin, length = _time(start, "start of the infusion"), _time(duration, "duration of the infusion")
        if not (0.0 < length.value < math.inf):
            raise InputError(f"the duration of an infusion must be positive and finite, got {length}")
        if begin.value == 0.0:
            begin = Quantity(0.0, length.unit)
        if begin.unit != length.unit:
            raise InputError(f"start ({begin}) and duration ({length}) of an infusion need the same unit")
        end = Quantity(begin.value + length.value, begin.unit)
        return cls([Period(begin, {rate_parameter: rate}), Period(end, {rate_parameter: 0.0})], id)

    def with_periods(self, periods: Iterable[Period], id: str) -> Experiment:
        """Other periods at the same starts, which therefore need no checks again."""
        made = object.__new__(Experiment)
        object.__setattr__(made, "periods", tuple(periods))
        object.__setattr__(made, "id", id)
        return made

    def __add__(self, other: Experiment) -> Experiment:
        """Both schedules together; conditions that meet at one time are applied as one."""
        return Experiment((*self.periods, *other.periods), self.id or other.id)

    def with_changes(self, changes: Mapping[str, Given]) -> Experiment:
        """The same experiment with further changes in its last period."""
        if not self.periods:
            return Experiment(Period(0.0, changes), self.id)
        last = self.periods[-1]
        merged: dict[str, Given] = {}
        for condition in last.conditions:
            merged.update(condition.changes)
        merged.update(changes)
        return Experiment((*self.periods[:-1], Period(last.start, merged, last.id)), self.id)

    def replacing(self, changes: Mapping[str, Given]) -> Experiment:
        """The same experiment with other values: wherever a target is set already; else in the last period.

        ``replacing({"Imatinib": 0})`` turns a treated experiment into its vehicle control.
        """
        rest = dict(changes)
        periods = []
        for period in self.periods:
            merged: dict[str, Given] = {}
            for condition in period.conditions:
                merged.update(condition.changes)
            for target in merged.keys() & changes.keys():
                merged[target] = changes[target]
                rest.pop(target, None)
            periods.append(Period(period.start, merged, period.id))
        replaced = Experiment(periods, self.id)
        return replaced.with_changes(rest) if rest else replaced
