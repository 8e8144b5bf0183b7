"""Dose-response curves of models: protocols, curves and dose matrices.

>>> control = DoseProtocol("IL7", doses("1 pg/ml", "100 ng/ml"), Readout.at("pSTAT5_total", "30 min"))
>>> treated = control.before(("24 h", {"Imatinib": "3 uM"}), ("1 h", {"Imatinib": 0}))
>>> len(treated.experiments())
21
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from kinetics.curves import CurveDescription, describe_points, dose_for
from kinetics.engine import Solver
from kinetics.errors import InputError, UnitError
from kinetics.experiment import Experiment, Given, Period
from kinetics.model import Model
from kinetics.observable import Readout, measure, percent_of_largest
from kinetics.progress import track
from kinetics.schedule import value_in
from kinetics.units import Quantity, quantity

if TYPE_CHECKING:
    import xarray

FloatArray = npt.NDArray[np.float64]
Dose = float | str | Quantity
Changes = Mapping[str, Given]


def _doses(given: Iterable[Dose], what: str) -> tuple[Quantity, ...]:
    read = tuple(quantity(dose, f"dose of {what}") for dose in given)
    if not read:
        raise InputError(f"no doses of {what} given")
    units = {dose.unit for dose in read if dose.value != 0.0}
    if len(units) > 1:
        raise UnitError(f"doses of {what} must share one unit, got {', '.join(sorted(map(repr, units)))}")
    unit = units.pop() if units else read[0].unit
    for dose in read:
        if not math.isfinite(dose.value) or dose.value < 0.0:
            raise InputError(f"a dose of {what} must be finite and not negative, got {dose}")
    values = [dose.value for dose in read]
    if any(later <= earlier for earlier, later in itertools.pairwise(values)):
        raise InputError(f"doses of {what} must increase strictly, got {', '.join(map(str, read[:8]))}")
    return tuple(Quantity(value, unit) for value in values)


@dataclass(frozen=True)
class DoseProtocol:
    """Doses of one substance given in one period of an experiment, and what is read.

    ``schedule`` holds everything but the dose; the dose goes into its ``period`` (the last by default).
    """

    target: str
    doses: tuple[Quantity, ...]
    readout: Readout
    schedule: Experiment
    period: int

    def __init__(
        self,
        target: str,
        doses: Iterable[Dose],
        readout: Readout,
        schedule: Experiment | None = None,
        period: int = -1,
    ) -> None:
        if isinstance(doses, str):
            raise InputError(f"doses must be several values, as doses('1 nM', '1 uM') gives, got {doses!r}")
        schedule = schedule or Experiment(Period(0.0))
        if not schedule.periods:
            schedule = Experiment(Period(0.0), schedule.id)
        if not -len(schedule.periods) <= period < len(schedule.periods):
            raise InputError(f"the schedule has {len(schedule.periods)} periods, there is no period {period}")
        object.__setattr__(self, "target", target)
        object.__setattr__(self, "doses", _doses(doses, target))
        object.__setattr__(self, "readout", readout)
        object.__setattr__(self, "schedule", schedule)
        object.__setattr__(self, "period", period)

    def before(self, *steps: tuple[float | str | Quantity, Changes]) -> DoseProtocol:
        """The same protocol with steps ``(duration, changes)`` before the first period (time 0 stays where it is)."""
        first = self.schedule.periods[0].start
        if math.isinf(first.value) or first.value != 0.0:
            raise InputError("steps can be put before a schedule that starts at time 0 only")
        lead = Experiment.steps(*steps, (math.inf, {}))
        periods = (*lead.periods[:-1], *(Period(p.start, p.conditions, p.id) for p in self.schedule.periods))
        period = self.period if self.period < 0 else self.period + len(steps)
        return DoseProtocol(self.target, self.doses, self.readout, Experiment(periods, self.schedule.id), period)

    def under(self, changes: Changes) -> DoseProtocol:
        """The same protocol under other conditions, applied as `Experiment.replacing` does."""
        return replace(self, schedule=self.schedule.replacing(changes))

    def experiments(self) -> list[Experiment]:
        """One experiment per dose."""
        made = []
        index = self.period % len(self.schedule.periods)
        for dose in self.doses:
            periods = list(self.schedule.periods)
            chosen = periods[index]
            merged: dict[str, Given] = {}
            for condition in chosen.conditions:
                merged.update(condition.changes)
            merged[self.target] = dose
            periods[index] = Period(chosen.start, merged, chosen.id)
            made.append(self.schedule.with_periods(periods, f"{self.target}={dose}"))
        return made

    def __reduce__(self) -> tuple[object, ...]:
        return (DoseProtocol, (self.target, self.doses, self.readout, self.schedule, self.period))


def check_dose_unit(model: Model, target: str, given: tuple[Quantity, ...]) -> str:
    """The unit in which doses are reported; refuses bare numbers where the model has a unit to mistake."""
    entity = model.entity(target)
    unit = next((dose.unit for dose in given if dose.value), given[0].unit)
    if not unit and entity.kind == "species" and entity.unit and any(dose.value for dose in given):
        raise UnitError(
            f"doses of {target!r} have no unit, and model {model.name!r} keeps it in {entity.unit!r}: write for "
            f"example '{given[-1].value:g} {entity.unit}'"
        )
    value_in(model, target, given[-1])  # doses share a unit, so one of them shows whether it can be meant
    return unit or entity.unit


@dataclass(frozen=True, eq=False)
class DoseResponseCurve:
    """Responses over doses, with what they are."""

    doses: FloatArray  # (n_doses,), dose_unit, increasing; may start with 0
    responses: FloatArray  # (n_doses,), response_unit
    dose_unit: str
    response_unit: str
    target: str
    readout: str
    label: str = ""
    model: str = ""
    solver: Solver | None = None

    def describe(self) -> CurveDescription:
        """EC50, bottom, top and Hill slope of the least-squares Hill curve, with what the doses do not show."""
        return describe_points(self.doses, self.responses)

    def dose_for(self, level: float) -> float:
        """The dose at which the curve crosses ``level`` (interpolated); NaN when it does not within its doses."""
        return dose_for(self.doses, self.responses, level)

    def percent_of_maximum(self, reference: DoseResponseCurve | None = None) -> DoseResponseCurve:
        """In percent of the largest response of ``reference`` (by default of the curve itself)."""
        percent = percent_of_largest(self.responses, (reference or self).responses, error=InputError)
        return replace(self, responses=percent, response_unit="%")

    def percent_inhibition(self, control: DoseResponseCurve | float) -> DoseResponseCurve:
        """In percent below a control: a value, or a curve at the same doses."""
        if isinstance(control, DoseResponseCurve):
            _same_doses(self, control)
            reference: float | FloatArray = control.responses
        else:
            reference = float(control)
        if np.any(np.asarray(reference) == 0.0):
            raise InputError("percent inhibition needs a control that is not 0")
        return replace(self, responses=100.0 * (1.0 - self.responses / reference), response_unit="%")

    def fold_over(self, reference: float | DoseResponseCurve) -> DoseResponseCurve:
        """Divided by a value, or dose by dose by a curve at the same doses."""
        if isinstance(reference, DoseResponseCurve):
            _same_doses(self, reference)
        value = reference.responses if isinstance(reference, DoseResponseCurve) else float(reference)
        if np.any(np.asarray(value) == 0.0):
            raise InputError("a fold change needs a reference that is not 0")
        return replace(self, responses=self.responses / value, response_unit="")

    def to_frame(self) -> pd.DataFrame:
        """Tidy: a row per dose, a unit beside every value."""
        return pd.DataFrame(
            {
                "model": self.model,
                "arm": self.label,
                "target": self.target,
                "dose": self.doses,
                "dose_unit": self.dose_unit,
                "readout": self.readout,
                "response": self.responses,
                "response_unit": self.response_unit,
            }
        )

    def to_xarray(self) -> xarray.DataArray:
        import xarray as xr

        return xr.DataArray(
            self.responses,
            dims=("dose",),
            coords={"dose": ("dose", self.doses, {"units": self.dose_unit})},
            name=self.readout,
            attrs={"units": self.response_unit, "target": self.target, "arm": self.label},
        )

    def _repr_html_(self) -> str:
        import html

        title = f"<p><b>{html.escape(self.label or self.target)}</b>: {html.escape(str(_said(self)))}</p>"
        return title + self.to_frame()[["dose", "dose_unit", "response", "response_unit"]].to_html(index=False)


def _said(curve: DoseResponseCurve) -> str:
    try:
        return f"{curve.describe()} ({curve.dose_unit})"
    except InputError as error:
        return str(error)


def _same_doses(one: DoseResponseCurve, other: DoseResponseCurve) -> None:
    if one.dose_unit != other.dose_unit or not np.array_equal(one.doses, other.doses):
        raise InputError("the two curves have different doses")


# --- running ------------------------------------------------------------------------------------------------


def _chunk(
    model: Model,
    experiments: Sequence[Experiment],
    readout: Readout,
    solver: Solver | None,
    parameters: Mapping[str, float] | None,
) -> FloatArray:
    return measure(model, experiments, readout, solver=solver, parameters=parameters, progress=False)


def _measured(
    model: Model,
    experiments: Sequence[Experiment],
    readout: Readout,
    solver: Solver | None,
    parameters: Mapping[str, float] | None,
    executor: Executor | None,
    progress: bool | None,
) -> FloatArray:
    """All read-outs, in worker processes where an executor is given.  A percentage of the maximum needs all of them."""
    plain = replace(readout, of_maximum=False)
    if executor is None or len(experiments) < 2:
        values = measure(model, experiments, plain, solver=solver, parameters=parameters, progress=progress)
    else:
        size = max(1, math.ceil(len(experiments) / (2 * (os.cpu_count() or 1))))
        futures = [
            executor.submit(_chunk, model, experiments[i : i + size], plain, solver, parameters)
            for i in range(0, len(experiments), size)
        ]
        with track("simulating", len(experiments), progress=progress, unit="experiments") as bar:
            parts = []
            for future in futures:
                parts.append(future.result())
                bar.advance(len(parts[-1]))
        values = np.concatenate(parts)
    return percent_of_largest(values, what=f"{readout!r}: ") if readout.of_maximum else values


def dose_response(
    model: Model,
    protocol: DoseProtocol,
    *,
    label: str = "",
    solver: Solver | None = None,
    parameters: Mapping[str, float] | None = None,
    executor: Executor | None = None,
    progress: bool | None = None,
) -> DoseResponseCurve:
    """Run a dose-response protocol on a model.

    What does not depend on the dose (a pre-incubation, a wash) is integrated once and shared by all doses;
    the result is bit-identical to running each dose from the start.

    Args:
        label: the name of the arm in frames and figures.
        parameters: values that replace the model's, in its units.
        executor: any ``concurrent.futures.Executor`` of processes; results do not depend on it.
        progress: whether to draw a bar when it takes long, by default where somebody looks.

    Raises:
        UnitError: doses without a unit where the model has one, or of the wrong dimension.
        What `simulate` raises.
    """
    unit = check_dose_unit(model, protocol.target, protocol.doses)
    responses = _measured(model, protocol.experiments(), protocol.readout, solver, parameters, executor, progress)
    own = protocol.readout.own_unit
    return DoseResponseCurve(
        np.array([dose.value for dose in protocol.doses]),
        responses,
        unit,
        model.unit_of(protocol.readout.formula) if own is None else own,
        protocol.target,
        protocol.readout.formula,
        label,
        model.name,
        solver or Solver(),
    )


@dataclass(frozen=True, eq=False)
class DoseMatrix:
    """Responses over the doses of two substances."""

    first: FloatArray  # (n_first,), first_unit
    second: FloatArray  # (n_second,), second_unit
    responses: FloatArray  # (n_first, n_second)
    first_unit: str
    second_unit: str
    response_unit: str
    targets: tuple[str, str]
    readout: str
    model: str = ""

    def to_frame(self) -> pd.DataFrame:
        """Tidy: a row per pair of doses."""
        one, two = np.meshgrid(self.first, self.second, indexing="ij")
        return pd.DataFrame(
            {
                "model": self.model,
                "drug1": self.targets[0],
                "dose1": one.ravel(),
                "unit1": self.first_unit,
                "drug2": self.targets[1],
                "dose2": two.ravel(),
                "unit2": self.second_unit,
                "readout": self.readout,
                "response": self.responses.ravel(),
                "response_unit": self.response_unit,
            }
        )

    def to_xarray(self) -> xarray.DataArray:
        import xarray as xr

        one, two = self.targets
        return xr.DataArray(
            self.responses,
            dims=(one, two),
            coords={
                one: (one, self.first, {"units": self.first_unit}),
                two: (two, self.second, {"units": self.second_unit}),
            },
            name=self.readout,
            attrs={"units": self.response_unit},
        )


def dose_matrix(
    model: Model,
    protocol: DoseProtocol,
    target: str,
    doses: Iterable[Dose],
    *,
    period: int = -1,
    solver: Solver | None = None,
    parameters: Mapping[str, float] | None = None,
    executor: Executor | None = None,
    progress: bool | None = None,
) -> DoseMatrix:
    """Every dose of ``protocol`` with every dose of a second ``target``, given in ``period`` of the schedule.

    The other arguments and the errors are those of `dose_response`.
    """
    if target == protocol.target:
        raise InputError(f"a dose matrix needs two different substances, got {target!r} twice")
    second = DoseProtocol(target, doses, protocol.readout, protocol.schedule, period)
    units = [check_dose_unit(model, item.target, item.doses) for item in (protocol, second)]
    experiments = [
        experiment
        for other in second.experiments()
        for experiment in replace(protocol, schedule=Experiment(other.periods)).experiments()
    ]
    values = _measured(model, experiments, protocol.readout, solver, parameters, executor, progress)
    own = protocol.readout.own_unit
    return DoseMatrix(
        np.array([dose.value for dose in protocol.doses]),
        np.array([dose.value for dose in second.doses]),
        values.reshape(len(second.doses), len(protocol.doses)).T.copy(),
        units[0],
        units[1],
        model.unit_of(protocol.readout.formula) if own is None else own,
        (protocol.target, target),
        protocol.readout.formula,
        model.name,
    )
