"""PEtab version 2: tables of conditions, experiments, observables, measurements, parameters and mappings."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
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
from fits.petab.files import Folder
from fits.petab.mapping import apply_mapping, read_mapping, renamed
from fits.petab.tables import IDENTIFIER, Row, check_unique, constant, read_tables
from fits.priors import FAMILIES, Prior, arguments_of
from fits.problem import Measurement, Observable, Problem
from kinetics.errors import InputError
from kinetics.experiment import Condition, Experiment, Given, Period
from kinetics.model import Model

LOG_SPAN = 100.0  # bounds further apart than this are searched on a logarithmic scale
_KEYS = frozenset(
    "format_version id name description model_files condition_files experiment_files measurement_files "  # noqa: SIM905
    "observable_files parameter_files parameter_file mapping_files extensions visualization_files".split()
)
_TRUTH = {"true": True, "false": False, "True": True, "False": False, "1": True, "0": False}
NOISE = {name: item for name, item in DISTRIBUTIONS.items() if not name.startswith("log10")}
SCALES = {item.value: item for item in Scale}


def read(content: Mapping[str, Any], folder: Folder, name: str, *, trusted: bool) -> Problem:
    """A problem from the content of its YAML file; see `fits.petab.read_petab`."""
    unknown = sorted(content.keys() - _KEYS)
    notes = [f"{folder.origin}: {key!r} is not part of PEtab 2 and was ignored" for key in unknown]
    mapping = read_mapping(folder, content.get("mapping_files"))
    models, aliases = apply_mapping(mapping, _models(content, folder, trusted))

    parameter_files = content.get("parameter_files", content.get("parameter_file"))
    parameter_rows = _required(folder, parameter_files, "parameter_files", ("parameterId", "estimate"))
    check_unique(parameter_rows, "parameterId")
    names = frozenset(renamed(row.identifier("parameterId"), aliases) for row in parameter_rows)

    condition_rows = read_tables(
        folder, content.get("condition_files"), "condition_files", ("conditionId", "targetId", "targetValue")
    )
    check_unique(condition_rows, "conditionId", "targetId")
    conditions = _conditions(condition_rows, models, names, aliases)
    targets = {renamed(row["targetId"], aliases): row.where("targetId") for row in condition_rows}
    for row in parameter_rows:
        check_parameter(row, renamed(row["parameterId"], aliases), models.values(), targets)
    parameters = _parameters(parameter_rows, aliases, notes)

    experiments = _experiments(
        read_tables(
            folder, content.get("experiment_files"), "experiment_files", ("experimentId", "time", "conditionId")
        ),
        conditions,
    )
    observable_rows = _required(
        folder,
        content.get("observable_files"),
        "observable_files",
        ("observableId", "observableFormula", "noiseFormula"),
    )
    check_unique(observable_rows, "observableId")
    observables = {row["observableId"]: _observable(row, models, names, aliases) for row in observable_rows}
    measurements = _measurements(
        _required(
            folder,
            content.get("measurement_files"),
            "measurement_files",
            ("observableId", "experimentId", "time", "measurement"),
        ),
        models,
        names,
        aliases,
        observables,
        experiments,
    )
    return Problem(name, models, parameters, observables.values(), experiments, measurements, notes)


def _required(folder: Folder, entries: object, what: str, columns: tuple[str, ...]) -> list[Row]:
    if not entries:
        raise InputError(f"{folder.origin}: {what}: expected a list of files, got none")
    rows = read_tables(folder, entries, what, columns)
    if not rows:
        raise InputError(f"{folder.origin}: {what}: the tables have no rows")
    return rows


# --- models, conditions, experiments -------------------------------------------------------------------------


def _models(content: Mapping[str, Any], folder: Folder, trusted: bool) -> dict[str, Model]:
    entries = content.get("model_files")
    if not isinstance(entries, Mapping) or not entries:
        raise InputError(
            f"{folder.origin}: model_files: expected model ids with location and language, got {entries!r:.60}"
        )
    models = {}
    for key, entry in entries.items():
        where = f"{folder.origin}: model_files: {key}"
        if not isinstance(key, str) or not IDENTIFIER.fullmatch(key):
            raise InputError(f"{folder.origin}: model_files: {key!r} is no identifier")
        if not isinstance(entry, Mapping) or not {"location", "language"} <= entry.keys():
            raise InputError(f"{where}: expected location and language, got {entry!r:.60}")
        path = folder.file(entry["location"], f"model_files: {key}")
        models[key] = load_model(path, entry["language"], where, trusted=trusted)
    return models


def _conditions(
    rows: list[Row], models: Mapping[str, Model], parameters: Collection[str], aliases: Mapping[str, str]
) -> dict[str, Condition]:
    changes: dict[str, dict[str, Given]] = {}
    for row in rows:
        condition = row.identifier("conditionId")
        target = renamed(row.text("targetId", "what to set"), aliases)
        entities = {name: model.description.entities for name, model in models.items()}
        check_known(row, "targetId", "model entity", target, set().union(*entities.values()))
        for table in entities.values():
            if target in table:
                check_target(row, "targetId", target, table[target])
        known = {*parameters, *set().union(*entities.values())}
        text = renamed(row.text("targetValue", "a number or a formula"), aliases)
        formula = row.parsed("targetValue", text, known, _own(models))
        value = constant(formula)
        if value is not None and not math.isfinite(value):
            raise row.fault("targetValue", f"expected a finite value, got {text!r}")
        changes.setdefault(condition, {})[target] = text if value is None else value
    return {name: Condition(values, name) for name, values in changes.items()}


def _own(models: Mapping[str, Model]) -> frozenset[str]:
    return frozenset[str]().union(*(own_symbols(model) for model in models.values()))


def _experiments(rows: list[Row], conditions: Mapping[str, Condition]) -> dict[str, Experiment]:
    check_unique(rows, "experimentId", "time", "conditionId")
    periods: dict[str, dict[float, list[Condition]]] = {}
    for row in rows:
        start = row.number("time", infinite="-")
        here = periods.setdefault(row.identifier("experimentId"), {}).setdefault(start, [])
        name = row["conditionId"]
        if not name:
            continue
        check_known(row, "conditionId", "condition", name, conditions)
        for other in here:
            if both := sorted(other.changes.keys() & conditions[name].changes.keys()):
                raise row.fault("conditionId", f"{both[0]!r} is set by {other.id!r} and {name!r} at the same time")
        here.append(conditions[name])
    return {
        name: Experiment([Period(start, table[start]) for start in sorted(table)], name)
        for name, table in periods.items()
    }


def first_time(experiment: Experiment) -> float:
    """When an experiment can be read for the first time: the start of its first period that is not -inf, or 0."""
    finite = [period.start.value for period in experiment.periods if math.isfinite(period.start.value)]
    return min(finite, default=0.0)


# --- parameters ----------------------------------------------------------------------------------------------


def _parameters(rows: list[Row], aliases: Mapping[str, str], notes: list[str]) -> list[Parameter]:
    estimated = [row for row in rows if row.choice("estimate", _TRUTH, "")]
    with_priors = any(row["priorDistribution"] for row in estimated)
    parameters, logarithmic = [], []
    for row in rows:
        given = row["parameterId"]
        name = renamed(given, aliases)
        label = row["parameterName"] or (given if name != given else "")
        if row not in estimated:
            nominal = row.number("nominalValue")
            lower, upper = (row.number(c, infinite="+-", default=math.nan) for c in ("lowerBound", "upperBound"))
            scale = row.choice("parameterScale", SCALES, "lin")
            parameters.append(Parameter(name, lower, upper, scale, nominal, estimate=False, name=label))
            continue
        lower, upper = bounds(row)
        nominal = row.number("nominalValue", default=math.nan)
        far = lower > 0.0 and math.isfinite(upper) and upper / lower > LOG_SPAN
        scale = row.choice("parameterScale", SCALES, "log10" if far else "lin")
        if far and not row["parameterScale"]:
            logarithmic.append(name)
        check_scale(row, scale, lower)
        prior = _prior(row, lower, upper) if with_priors else None
        parameters.append(Parameter(name, lower, upper, scale, nominal, prior=prior, name=label))
    if logarithmic:
        notes.append(
            f"PEtab 2 states no scale for the search: log10 was chosen where positive bounds are more than "
            f"{LOG_SPAN:g}-fold apart ({', '.join(logarithmic[:8])}{', ...' if len(logarithmic) > 8 else ''})"
        )
    return parameters


def bounds(row: Row) -> tuple[float, float]:
    """Lower and upper bound of an estimated parameter."""
    lower, upper = (row.number(column, infinite="+-") for column in ("lowerBound", "upperBound"))
    if not lower < upper:
        raise row.fault("upperBound", f"expected lowerBound < upperBound, got {lower:g}, {upper:g}; exchange them?")
    return lower, upper


def check_scale(row: Row, scale: Scale, lower: float) -> None:
    """Refuse negative values on a logarithmic scale."""
    if scale is not Scale.LIN and lower < 0.0:
        raise row.fault("lowerBound", f"the scale is {scale.value}, so the bound must not be negative, got {lower:g}")


def prior_arguments(row: Row, column: str, family: str) -> tuple[float, ...]:
    """The parameters of a prior, separated by semicolons."""
    names = arguments_of(family)
    numbers = row.overrides(column, ())
    if len(numbers) != len(names):
        raise row.fault(column, f"a {family} prior needs {'; '.join(names)}, got {row[column] or 'an empty cell'}")
    return tuple(float(number) for number in numbers)


def _prior(row: Row, lower: float, upper: float) -> Prior | None:
    family = row["priorDistribution"]
    if not family:
        if math.isinf(lower) or math.isinf(upper):
            raise row.fault(
                "priorDistribution",
                "other parameters have priors, so this one would be uniform between its bounds, which are not "
                "finite; state a prior or finite bounds",
            )
        return Prior("uniform", (lower, upper))
    row.choice("priorDistribution", {name: name for name in FAMILIES}, "")
    try:
        return Prior(family, prior_arguments(row, "priorParameters", family), lower=lower, upper=upper)
    except InputError as error:
        raise error if str(error).startswith(row.file) else row.fault("priorParameters", str(error)) from None


# --- observables and measurements ----------------------------------------------------------------------------


def _placeholders(row: Row, column: str, known: Collection[str]) -> tuple[str, ...]:
    found = tuple(part.strip() for part in row[column].split(";")) if row[column] else ()
    for name in found:
        if not IDENTIFIER.fullmatch(name):
            raise row.fault(column, f"expected identifiers separated by ';', got {row[column]!r}")
        if name in known:
            raise row.fault(column, f"{name!r} has a meaning in the problem already; give the placeholder another name")
    if len(set(found)) < len(found):
        raise row.fault(column, f"a placeholder is there twice: {row[column]!r}")
    return found


def _observable(
    row: Row, models: Mapping[str, Model], parameters: Collection[str], aliases: Mapping[str, str]
) -> Observable:
    name = row.identifier("observableId")
    entities = set().union(*(model.description.entities for model in models.values()))
    known = {*parameters, *entities}
    if name in known:
        raise row.fault("observableId", f"{name!r} is the name of something in the model or of a parameter")
    mine = _placeholders(row, "observablePlaceholders", known)
    noisy = _placeholders(row, "noisePlaceholders", known | set(mine))
    formula = renamed(row.text("observableFormula", "a formula"), aliases)
    row.parsed("observableFormula", formula, known | set(mine), _own(models))
    noise = expand(renamed(row.text("noiseFormula", "a number or a formula"), aliases), name, formula)
    check_sigma(row, row.parsed("noiseFormula", noise, {*known, *mine, *noisy}, _own(models)))
    return Observable(
        name,
        formula,
        noise,
        row.choice("noiseDistribution", NOISE, "normal"),
        mine,
        noisy,
        row["observableName"],
    )


def _measurements(
    rows: list[Row],
    models: Mapping[str, Model],
    parameters: Collection[str],
    aliases: Mapping[str, str],
    observables: Mapping[str, Observable],
    experiments: dict[str, Experiment],
) -> list[Measurement]:
    found, checked = [], set()
    overriders = {
        key: {*parameters, *aliases, *(n for n, e in model.description.entities.items() if e.kind == "parameter")}
        for key, model in models.items()
    }
    only = next(iter(models))
    for row in rows:
        name, experiment, model = row.text("observableId", "an observable"), row["experimentId"], row["modelId"]
        check_known(row, "observableId", "observable", name, observables)
        if not experiment:
            experiments.setdefault("", Experiment())  # the model as it is, from time 0
        check_known(row, "experimentId", "experiment", experiment, experiments)
        if model:
            check_known(row, "modelId", "model", model, models)
        elif len(models) > 1:
            raise row.fault("modelId", f"expected one of the {len(models)} models ({', '.join(models)}), got nothing")
        chosen = models[model or only]
        if (name, experiment, model) not in checked:
            checked.add((name, experiment, model))
            _check_use(row, chosen, observables[name], experiments[experiment], parameters)
        start = first_time(experiments[experiment])
        item = measurement(row, observables[name], experiment, start, overriders[model or only], model=model)
        found.append(item if not aliases else _unaliased(item, aliases))
    return found


def _unaliased(item: Measurement, aliases: Mapping[str, str]) -> Measurement:
    from dataclasses import replace

    def meant(values: tuple[str | float, ...]) -> tuple[str | float, ...]:
        return tuple(aliases.get(value, value) if isinstance(value, str) else value for value in values)

    return replace(
        item, observable_overrides=meant(item.observable_overrides), noise_overrides=meant(item.noise_overrides)
    )


def _check_use(
    row: Row, model: Model, observable: Observable, experiment: Experiment, parameters: Collection[str]
) -> None:
    """With several models, what one measurement uses must exist in its own model."""
    known = {*parameters, *model.description.entities}
    placeholders = {*observable.observable_placeholders, *observable.noise_placeholders}
    for text in (observable.formula, observable.noise):
        row.parsed("observableId", text, known | placeholders, own_symbols(model))
    for period in experiment.periods:
        for condition in period.conditions:
            for target, value in condition.changes.items():
                check_known(row, "experimentId", "model entity", target, model.description.entities)
                if isinstance(value, str):
                    row.parsed("experimentId", value, known, own_symbols(model))
