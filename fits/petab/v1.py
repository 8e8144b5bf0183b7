"""PEtab version 1: a wide condition table, pre-equilibration and simulation conditions, parameter scales."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fits.parameters import Parameter, Scale
from fits.petab.common import (
    DISTRIBUTIONS,
    check_known,
    check_parameter,
    check_sigma,
    check_target,
    expand,
    load_model,
    measurement,
    own_symbols,
)
from fits.petab.files import Folder, locations
from fits.petab.tables import IDENTIFIER, Row, as_number, check_unique, is_empty, read_tables
from fits.petab.v2 import SCALES, bounds, check_scale, prior_arguments
from fits.priors import Prior
from fits.problem import Measurement, Observable, Problem
from kinetics.description import Entity
from kinetics.errors import FormulaError, InputError
from kinetics.experiment import Condition, Experiment, Given, Period
from kinetics.expression import Expression
from kinetics.formula import parse
from kinetics.model import Model

_KEYS = frozenset(("format_version", "parameter_file", "problems", "extensions", "id", "problem_id"))
_NOT_TARGETS = frozenset(("conditionId", "conditionName"))
_TRUTH = {"1": True, "0": False, "1.0": True, "0.0": False, "true": True, "false": False, "True": True, "False": False}
_TRANSFORMATIONS = {"lin": "", "log": "log-", "log10": "log10-"}
_BASES = {"normal": "normal", "laplace": "laplace"}
# PEtab 1's words for priors: the family, and whether it is meant on the parameter's scale
_PRIORS = {
    "uniform": ("uniform", False),
    "normal": ("normal", False),
    "laplace": ("laplace", False),
    "logNormal": ("log-normal", False),
    "logLaplace": ("log-laplace", False),
    "parameterScaleUniform": ("uniform", True),
    "parameterScaleNormal": ("normal", True),
    "parameterScaleLaplace": ("laplace", True),
}


@dataclass(frozen=True)
class _Part:
    """One entry of ``problems``: a model with its tables."""

    model: Model
    conditions: list[Row]
    observables: list[Row]
    measurements: list[Row]


def read(content: Mapping[str, Any], folder: Folder, name: str, *, trusted: bool) -> Problem:
    """A problem from the content of its YAML file; see `fits.petab.read_petab`."""
    unknown = sorted(content.keys() - _KEYS)
    notes = [f"{folder.origin}: {key!r} is not part of PEtab 1 and was ignored" for key in unknown]
    rows = _required(folder, content.get("parameter_file"), "parameter_file", ("parameterId", "estimate"))
    check_unique(rows, "parameterId")
    names = frozenset(row.identifier("parameterId") for row in rows)
    entries = content.get("problems")
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{folder.origin}: problems: expected a list of models with their tables, got {entries!r:.60}")
    parts = [_part(entry, folder, f"problems[{index}]", trusted) for index, entry in enumerate(entries)]

    models: dict[str, Model] = {}
    observables: dict[str, Observable] = {}
    experiments: dict[str, Experiment] = {}
    measurements: list[Measurement] = []
    targets: dict[str, str] = {}
    for index, part in enumerate(parts):
        key = _free(part.model.name if IDENTIFIER.fullmatch(part.model.name) else f"model_{index}", models)
        models[key] = part.model
        reader = _Reader(part, names)
        found, read_observables, read_experiments = reader.read()
        new_names = {old: _shared(old, item, observables, index) for old, item in read_observables.items()}
        observables |= {new: replace(read_observables[old], id=new) for old, new in new_names.items()}
        new_ids = {old: _shared(old, item, experiments, index) for old, item in read_experiments.items()}
        experiments |= {new: Experiment(read_experiments[old].periods, new) for old, new in new_ids.items()}
        measurements += [
            replace(
                item,
                observable=new_names[item.observable],
                experiment=new_ids[item.experiment],
                model=key if len(parts) > 1 else "",
            )
            for item in found
        ]
        targets |= reader.targets
    for row in rows:
        check_parameter(row, row["parameterId"], models.values(), targets)
    parameters = [_parameter(row) for row in rows]
    return Problem(name, models, parameters, observables.values(), experiments, measurements, notes)


def _free(name: str, taken: Collection[str]) -> str:
    candidates = (name, *(f"{name}_{number}" for number in range(2, len(taken) + 3)))
    return next(candidate for candidate in candidates if candidate not in taken)


def _shared(name: str, item: Observable | Experiment, known: Mapping[str, Any], index: int) -> str:
    """The id in the whole problem: the same for what is the same, another one for what only has the same name."""
    if name not in known or known[name] == item:
        return name
    return _free(f"{name}__{index + 1}", known)


def _required(folder: Folder, entries: object, what: str, columns: tuple[str, ...]) -> list[Row]:
    if not entries:
        raise InputError(f"{folder.origin}: {what}: expected one or more files, got none")
    rows = read_tables(folder, entries, what, columns)
    if not rows:
        raise InputError(f"{folder.origin}: {what}: the tables have no rows")
    return rows


def _part(entry: object, folder: Folder, where: str, trusted: bool) -> _Part:
    if not isinstance(entry, Mapping):
        raise InputError(f"{folder.origin}: {where}: expected a mapping of sbml_files and tables, got {entry!r:.60}")
    if "model_files" in entry:
        files = entry["model_files"]
        items = list(files.values()) if isinstance(files, Mapping) else []
        if len(items) != 1 or not isinstance(items[0], Mapping):
            raise InputError(f"{folder.origin}: {where}: model_files: expected one model with location and language")
        location, language = items[0].get("location"), items[0].get("language")
    else:
        sbml = locations(entry.get("sbml_files"), folder.origin, f"{where}: sbml_files")
        if len(sbml) != 1:
            raise InputError(
                f"{folder.origin}: {where}: sbml_files: expected one SBML file, got {len(sbml)}; "
                "PEtab 1 says of no measurement which of several models it belongs to, so make one problem of each"
            )
        location, language = sbml[0], "sbml"
    path = folder.file(location, f"{where}: model")
    conditions = _required(folder, entry.get("condition_files"), f"{where}: condition_files", ("conditionId",))
    observables = _required(
        folder, entry.get("observable_files"), f"{where}: observable_files",
        ("observableId", "observableFormula", "noiseFormula"),
    )  # fmt: skip
    measurements = _required(
        folder, entry.get("measurement_files"), f"{where}: measurement_files",
        ("observableId", "simulationConditionId", "time", "measurement"),
    )  # fmt: skip
    model = load_model(path, language, f"{folder.origin}: {where}", trusted=trusted)
    return _Part(model, conditions, observables, measurements)


# --- parameters ----------------------------------------------------------------------------------------------


def _parameter(row: Row) -> Parameter:
    name, label = row["parameterId"], row["parameterName"]
    scale: Scale = row.choice("parameterScale", SCALES, "lin")
    if not row.choice("estimate", _TRUTH, ""):
        lower, upper = (row.number(c, infinite="+-", default=math.nan) for c in ("lowerBound", "upperBound"))
        nominal = row.number("nominalValue")
        return Parameter(name, lower, upper, scale, nominal, estimate=False, name=label)
    lower, upper = bounds(row)
    check_scale(row, scale, lower)
    nominal = row.number("nominalValue", default=math.nan)
    prior = _prior(row, "objectivePrior", scale, lower, upper)
    start = _prior(row, "initializationPrior", scale, lower, upper)
    return Parameter(name, lower, upper, scale, nominal, prior=prior, name=label, start=start)


def _prior(row: Row, kind: str, scale: Scale, lower: float, upper: float) -> Prior | None:
    """A prior as version 1 states it: never cut off, on the parameter's scale where its type says so.

    A uniform one between the bounds is no prior at all.
    """
    if not row[f"{kind}Type"]:
        return None
    family, on_scale = row.choice(f"{kind}Type", _PRIORS, "")
    column = f"{kind}Parameters"
    ends = (scale.scaled(lower), scale.scaled(upper)) if on_scale else (lower, upper)
    if not row[column]:
        if family != "uniform":
            raise row.fault(column, f"a {row[f'{kind}Type']} prior needs its parameters, got an empty cell")
        return None
    numbers = prior_arguments(row, column, family)
    if family == "uniform" and all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(numbers, ends, strict=True)):
        return None
    try:
        return Prior(family, numbers, scale=scale.value if on_scale else "lin")
    except InputError as error:
        raise row.fault(column, str(error)) from None


# --- conditions, observables, measurements -------------------------------------------------------------------


class _Reader:
    """The tables of one model."""

    def __init__(self, part: _Part, parameters: Collection[str]) -> None:
        self.part, self.model, self.parameters = part, part.model, parameters
        self.entities: Mapping[str, Entity] = part.model.description.entities
        self.own = own_symbols(part.model)
        check_unique(part.conditions, "conditionId")
        self.conditions = {row.text("conditionId", "a condition"): row for row in part.conditions}
        columns = dict.fromkeys(column for row in part.conditions for column in row.cells)
        self.columns = [column for column in columns if column not in _NOT_TARGETS]
        self.targets = {column: f"column of {part.conditions[0].file}" for column in self.columns}
        self.overriders = {*parameters, *(n for n, e in self.entities.items() if e.kind == "parameter")}
        self.outputs: list[str] = []  # columns that only formulas of observables know

    def read(self) -> tuple[list[Measurement], dict[str, Observable], dict[str, Experiment]]:
        check_unique(self.part.observables, "observableId")
        rows = self.part.observables
        written = {row.identifier("observableId"): self._formulas(row) for row in rows}
        symbols = {name for formulas in written.values() for item in formulas for name in item.names}
        for column in self.columns:
            if column in self.entities:
                check_target(self.part.conditions[0], column, column, self.entities[column])
            elif column in symbols and column not in self.parameters:
                self.outputs.append(column)
            else:
                check_known(self.part.conditions[0], column, "species, parameter or compartment", column, self.entities)
        observables = {row["observableId"]: self._observable(row, written[row["observableId"]]) for row in rows}
        experiments: dict[tuple[str, str], Experiment] = {}
        measurements = [self._measurement(row, observables, experiments) for row in self.part.measurements]
        return measurements, observables, {item.id: item for item in experiments.values()}

    # observables

    def _formulas(self, row: Row) -> tuple[Expression, Expression]:
        """Both formulas, read but not yet checked for names."""
        formula, noise = self._written(row)
        everything = set().union(*(_names(row, column, text) for column, text in _texts(formula, noise)))
        return tuple(  # type: ignore[return-value]  # two of them
            row.parsed(column, text, everything, self.own) for column, text in _texts(formula, noise)
        )

    def _written(self, row: Row) -> tuple[str, str]:
        """Both formulas as text; the noise may name the observable, unless that is the name of something else."""
        name = row["observableId"]
        formula = row.text("observableFormula", "a formula")
        noise = row.text("noiseFormula", "a number or a formula")
        return formula, noise if name in self.entities or name in self.parameters else expand(noise, name, formula)

    def _observable(self, row: Row, formulas: tuple[Expression, Expression]) -> Observable:
        name = row["observableId"]
        formula, noise = self._written(row)
        names = formulas[0].names | formulas[1].names
        mine = _placeholders(row, "observable", name, names)
        noisy = _placeholders(row, "noise", name, names)
        known = {*self.parameters, *self.entities, *self.outputs, *mine, *noisy}
        for column, text in _texts(formula, noise):
            row.parsed(column, text, known, self.own)
        check_sigma(row, formulas[1])
        base = row.choice("noiseDistribution", _BASES, "normal")
        transformation = row.choice("observableTransformation", _TRANSFORMATIONS, "lin")
        distribution = DISTRIBUTIONS[f"{transformation}{base}"]
        used = tuple(output for output in self.outputs if output in names)
        return Observable(name, formula, noise, distribution, (*mine, *used), noisy, row["observableName"])

    # conditions

    def _cell(self, condition: Row, column: str, chain: tuple[str, ...] = ()) -> float | str | None:
        """What a condition sets: a number, the id of a parameter, or ``None`` where the cell is empty.

        An id that is a column itself stands for what the same condition sets there.
        """
        text = condition.cells.get(column, "")
        if is_empty(text):
            return None
        number = as_number(text)
        if number is not None:
            if math.isinf(number):
                raise condition.fault(column, f"expected a finite number, got {text!r}")
            return number
        if text in self.columns and text != column:
            if text in chain:
                raise condition.fault(column, f"{', '.join(chain)} and {text} refer to each other in a circle")
            meant = self._cell(condition, text, (*chain, column))
            if meant is not None:
                return meant
        if text in self.parameters or text in self.entities:
            return text
        if not IDENTIFIER.fullmatch(text):
            raise condition.fault(column, f"expected a number or the id of a parameter, got {text!r}")
        check_known(condition, column, "parameter", text, {*self.parameters, *self.entities})
        return text

    def _changes(self, condition: Row) -> dict[str, float | str]:
        cells = {column: self._cell(condition, column) for column in self.columns if column in self.entities}
        return {column: value for column, value in cells.items() if value is not None}

    def _model_value(self, name: str) -> float | str | Expression | None:
        """What the model itself says of a constant."""
        initial = self.model.description.initial.get(name)
        if isinstance(initial, Expression):
            return initial
        return self.model.values.get(name, self.entities[name].value)

    def _experiment(self, row: Row, name: str) -> Experiment:
        before, during = row["preequilibrationConditionId"], row.text("simulationConditionId", "a condition")
        for column, condition in (("preequilibrationConditionId", before), ("simulationConditionId", during)):
            if condition:
                check_known(row, column, "condition", condition, self.conditions)
        changes: dict[str, Given] = dict(self._changes(self.conditions[during]))
        if not before:
            return Experiment(Period(0.0, Condition(changes, during)), name)
        first = self._changes(self.conditions[before])
        for target in first.keys() - changes.keys():
            # An empty cell leaves a state as the pre-equilibration left it; a constant returns to the model's value.
            if not _moves(self.entities[target]):
                value = self._model_value(target)
                if value is None:
                    raise self.conditions[during].fault(target, f"the model gives no value for {target!r}; state one")
                changes[target] = value
        return Experiment(
            [Period(-math.inf, Condition(first, before)), Period(0.0, Condition(changes, during))],
            name,
        )

    # measurements

    def _measurement(
        self, row: Row, observables: Mapping[str, Observable], experiments: dict[tuple[str, str], Experiment]
    ) -> Measurement:
        name = row.text("observableId", "an observable")
        check_known(row, "observableId", "observable", name, observables)
        key = (row["preequilibrationConditionId"], row["simulationConditionId"])
        if key not in experiments:
            label = _free(key[1] if not key[0] else f"{key[0]}__{key[1]}", {item.id for item in experiments.values()})
            experiments[key] = self._experiment(row, label)
        extra = []
        for placeholder in observables[name].observable_placeholders:
            if placeholder in self.outputs:
                condition = self.conditions[key[1]]
                value = self._cell(condition, placeholder)
                if value is None:
                    raise condition.fault(placeholder, "expected a value: the model has none to fall back on")
                extra.append(value)
        return measurement(row, observables[name], experiments[key].id, 0.0, self.overriders, extra=tuple(extra))


def _moves(entity: Entity) -> bool:
    return entity.kind == "species" or entity.rule == "rate"


def _texts(formula: str, noise: str) -> tuple[tuple[str, str], ...]:
    return (("observableFormula", formula), ("noiseFormula", noise))


def _names(row: Row, column: str, text: str) -> frozenset[str]:
    try:
        return parse(text).names
    except FormulaError as error:
        raise FormulaError(f"{row.where(column)}: {error}") from None


def _placeholders(row: Row, kind: str, observable: str, names: Collection[str]) -> tuple[str, ...]:
    """``observableParameter1_obs``, ``observableParameter2_obs``, ... in order of their number."""
    pattern = re.compile(rf"{kind}Parameter(\d+)_{re.escape(observable)}", re.ASCII)
    found = {int(match.group(1)): name for name in names if (match := pattern.fullmatch(name))}
    missing = sorted(set(range(1, len(found) + 1)) - found.keys())
    if missing:
        column = "observableFormula" if kind == "observable" else "noiseFormula"
        raise row.fault(
            column,
            f"placeholders are numbered from 1 without gaps, but {kind}Parameter{missing[0]}_{observable} is missing",
        )
    return tuple(found[number] for number in sorted(found))
