"""A calibration problem: models, what was done, what was measured, and what is to be estimated.

Frozen data in the words of PEtab v2; it knows nothing of solvers or searches.  `fits.objective.compile_problem` makes
it a function of the parameters; `fits.petab` reads and writes it as PEtab.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fits.parameters import ParameterSet
from kinetics.errors import InputError, UnknownName
from kinetics.experiment import Experiment
from kinetics.model import Model


class Distribution(enum.Enum):
    """How a measurement scatters around the model's value; sigma is on the scale named."""

    NORMAL = "normal"
    LAPLACE = "laplace"
    LOG_NORMAL = "log-normal"  # ln(measurement) is normal around ln(model), sigma in ln units
    LOG_LAPLACE = "log-laplace"
    LOG10_NORMAL = "log10-normal"  # PEtab v1 only, sigma in log10 units
    LOG10_LAPLACE = "log10-laplace"

    @property
    def base(self) -> str:
        """``"normal"`` or ``"laplace"``: the distribution after the transformation."""
        return "laplace" if "laplace" in self.value else "normal"

    @property
    def transformation(self) -> str:
        """``"lin"``, ``"log"`` or ``"log10"``: what is applied to model and measurement."""
        return self.value.partition("-")[0] if self.value.startswith("log") else "lin"


@dataclass(frozen=True)
class Observable:
    """A quantity that was measured: a formula over species, parameters and placeholders, and its noise."""

    id: str
    formula: str
    noise: str  # formula of sigma
    distribution: Distribution = Distribution.NORMAL
    observable_placeholders: tuple[str, ...] = ()
    noise_placeholders: tuple[str, ...] = ()
    name: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Measurement:
    """One measured number; rows that are equal are replicates and both count."""

    observable: str
    experiment: str  # id in `Problem.experiments`
    time: float  # in the model's time unit; inf: steady state
    value: float  # NaN for censored data, whose limits say what is known
    observable_overrides: tuple[str | float, ...] = ()  # by placeholder: a number or a parameter
    noise_overrides: tuple[str | float, ...] = ()
    lower: float = -math.inf  # interval data: the value lies between these; one-sided: censored
    upper: float = math.inf
    model: str = ""  # id in `Problem.models`; "" where there is one model
    dataset: str = ""
    replicate: str = ""

    @property
    def censored(self) -> bool:
        return math.isnan(self.value)

    def __post_init__(self) -> None:
        if math.isnan(self.time):
            raise InputError(f"a measurement of {self.observable!r} has no time")
        if self.censored and not (self.lower < self.upper and (math.isfinite(self.lower) or math.isfinite(self.upper))):
            raise InputError(
                f"a measurement of {self.observable!r} has neither a value nor limits with lower < upper, "
                f"got {self.lower:g}, {self.upper:g}"
            )
        if not self.censored and not math.isfinite(self.value):
            raise InputError(f"a measurement of {self.observable!r} must be finite, got {self.value}")


@dataclass(frozen=True)
class Problem:
    """Everything a calibration needs, and nothing about how it is done."""

    id: str
    models: Mapping[str, Model]
    parameters: ParameterSet
    observables: Mapping[str, Observable]
    experiments: Mapping[str, Experiment]
    measurements: tuple[Measurement, ...]
    notes: tuple[str, ...] = field(default=())  # what a reader of the source had to decide
    terms: tuple[object, ...] = field(default=())  # further terms: reported shifts, hinge penalties (fits.terms)

    def __init__(
        self,
        id: str,
        models: Mapping[str, Model] | Model,
        parameters: ParameterSet | Iterable[object],
        observables: Iterable[Observable],
        experiments: Mapping[str, Experiment],
        measurements: Iterable[Measurement],
        notes: Iterable[str] = (),
        terms: Iterable[object] = (),
    ) -> None:
        put = object.__setattr__
        put(self, "id", id)
        put(self, "models", MappingProxyType({models.name: models} if isinstance(models, Model) else dict(models)))
        chosen = parameters if isinstance(parameters, ParameterSet) else ParameterSet(parameters)  # type: ignore[arg-type]  # one of the two it is
        put(self, "parameters", chosen)
        table: dict[str, Observable] = {}
        for observable in observables:
            if observable.id in table:
                raise InputError(f"observable {observable.id!r} is declared twice")
            table[observable.id] = observable
        put(self, "observables", MappingProxyType(table))
        put(self, "experiments", MappingProxyType(dict(experiments)))
        put(self, "measurements", tuple(measurements))
        put(self, "notes", tuple(notes))
        put(self, "terms", tuple(terms))
        self._check()

    def _check(self) -> None:
        if not self.models:
            raise InputError(f"problem {self.id!r} has no model")
        if not self.measurements and not self.terms:
            raise InputError(f"problem {self.id!r} has no measurements")
        for number, row in enumerate(self.measurements, start=1):
            where = f"measurement {number} of problem {self.id!r}"
            if row.observable not in self.observables:
                raise UnknownName("observable", row.observable, self.observables, where)
            if row.experiment not in self.experiments:
                raise UnknownName("experiment", row.experiment, self.experiments, where)
            if row.model and row.model not in self.models:
                raise UnknownName("model", row.model, self.models, where)
            if not row.model and len(self.models) > 1:
                raise InputError(f"{where} does not say which of the {len(self.models)} models it belongs to")
            observable = self.observables[row.observable]
            for given, wanted, what in (
                (row.observable_overrides, observable.observable_placeholders, "observable"),
                (row.noise_overrides, observable.noise_placeholders, "noise"),
            ):
                if len(given) != len(wanted):
                    raise InputError(f"{where} needs {len(wanted)} {what} parameters, got {len(given)}")

    def model_of(self, row: Measurement) -> Model:
        """The model a measurement belongs to."""
        return self.models[row.model] if row.model else next(iter(self.models.values()))

    def with_parameters(self, parameters: ParameterSet) -> Problem:
        """The same problem with other bounds, scales or fixed parameters."""
        return replace_problem(self, parameters=parameters)

    def __reduce__(self) -> tuple[object, ...]:  # mapping proxies cannot be pickled
        return (
            Problem,
            (
                self.id,
                dict(self.models),
                self.parameters,
                tuple(self.observables.values()),
                dict(self.experiments),
                self.measurements,
                self.notes,
                self.terms,
            ),
        )


def replace_problem(problem: Problem, **changes: object) -> Problem:
    """A problem with some fields replaced (`dataclasses.replace` for a class with its own ``__init__``)."""
    fields = {
        "id": problem.id,
        "models": problem.models,
        "parameters": problem.parameters,
        "observables": tuple(problem.observables.values()),
        "experiments": problem.experiments,
        "measurements": problem.measurements,
        "notes": problem.notes,
        "terms": problem.terms,
    }
    unknown = changes.keys() - fields.keys()
    if unknown:
        raise UnknownName("field", sorted(unknown)[0], fields, "a problem")
    return Problem(**{**fields, **changes})  # type: ignore[arg-type]  # its own fields
