"""The tables of PEtab version 1, for problems it can say: a simulation after at most one pre-equilibration."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from fits.parameters import Parameter
from fits.petab.export import Course, Export
from fits.petab.write_v2 import Rows, Tables
from fits.priors import Prior
from kinetics.errors import InputError
from kinetics.expression import Expression, Number, Symbol
from kinetics.infix import format_number
from kinetics.model import Model

_PRIORS = {
    ("uniform", False): "uniform",
    ("normal", False): "normal",
    ("laplace", False): "laplace",
    ("log-normal", False): "logNormal",
    ("log-laplace", False): "logLaplace",
    ("uniform", True): "parameterScaleUniform",
    ("normal", True): "parameterScaleNormal",
    ("laplace", True): "parameterScaleLaplace",
}
_MEASUREMENTS = (
    "*observableId",
    "preequilibrationConditionId",
    "*simulationConditionId",
    "*time",
    "*measurement",
    "observableParameters",
    "noiseParameters",
    "datasetId",
    "replicateId",
)
_OBSERVABLES = (
    "*observableId",
    "observableName",
    "*observableFormula",
    "observableTransformation",
    "*noiseFormula",
    "noiseDistribution",
)
_PARAMETERS = (
    "*parameterId",
    "parameterName",
    "*parameterScale",
    "*lowerBound",
    "*upperBound",
    "*nominalValue",
    "*estimate",
    "initializationPriorType",
    "initializationPriorParameters",
    "objectivePriorType",
    "objectivePriorParameters",
)


def tables(export: Export) -> tuple[dict[str, object], Tables]:
    """The content of the YAML file, and columns and rows by table."""
    estimated = {p.id for p in export.problem.parameters.parameters} - export.initial.keys()
    courses = []
    for course in export.courses:
        if reason := _obstacle(course, estimated):
            export.losses.append(
                f"experiment {course.id or 'without name'!r} {reason}, which PEtab 1 cannot say; "
                f"its {len(course.rows)} measurements were left out"
            )
        else:
            courses.append(course)
    if not courses:
        raise InputError(f"nothing of problem {export.problem.id!r} can be said in PEtab 1: {'; '.join(export.losses)}")
    found: Tables = {}
    problems = []
    for name, key in list(export.models.items()):
        mine = [course for course in courses if course.model == key]
        if not mine:
            del export.models[name]
            continue
        suffix = f"_{key}" if len({course.model for course in courses}) > 1 else ""
        model = export.problem.models[name]
        observed = {row.observable for course in mine for row in course.rows}
        names: dict[str, tuple[str, str]] = {}
        found[f"conditions{suffix}"] = _conditions(export, model, mine, names)
        found[f"measurements{suffix}"] = (_MEASUREMENTS, _measurements(export, mine, names))
        found[f"observables{suffix}"] = (_OBSERVABLES, [_observable(export, o, model) for o in sorted(observed)])
        problems.append(
            {
                "sbml_files": [f"{key}.xml"],
                **{f"{t[:-1]}_files": [f"{t}{suffix}.tsv"] for t in ("conditions", "measurements", "observables")},
            }
        )
    found["parameters"] = (_PARAMETERS, [_parameter(export, p) for p in export.problem.parameters.parameters])
    return {"format_version": 1, "parameter_file": "parameters.tsv", "problems": problems}, found


def _obstacle(course: Course, estimated: Collection[str]) -> str:
    """Why version 1 cannot state an experiment; ``""`` where it can."""
    starts = [step.start for step in course.steps]
    if starts not in ([0.0], [-math.inf, 0.0]):
        return f"has periods that start at {', '.join(f'{start:g}' for start in starts)}"
    for step in course.steps:
        targets = {target for target, _ in step.changes}
        for target, value in step.changes:
            if not isinstance(value, Number | Symbol):
                return f"sets {target!r} to the formula {value}"
            if isinstance(value, Symbol) and (value.name in targets or value.name == "$time"):
                return f"sets {target!r} to {value}, which it changes at the same time"
            if target in estimated:
                return f"sets {target!r}, a parameter of the problem"
    return ""


def _conditions(
    export: Export, model: Model, courses: list[Course], names: dict[str, tuple[str, str]]
) -> tuple[tuple[str, ...], Rows]:
    """The wide table; ``names`` receives the pre-equilibration and the simulation condition of each experiment."""
    known: dict[tuple[tuple[str, Expression], ...], str] = {}
    for course in courses:
        if course.id in names:
            continue
        steps = course.steps
        if len(steps) == 2:
            # An empty cell would take a constant back to the model's value: say again what was set before.
            later = dict(steps[1].changes)
            kept = {t: v for t, v in steps[0].changes if t not in later and not _moves(model, t)}
            changes = tuple(sorted((later | kept).items(), key=lambda item: item[0]))
            steps = (steps[0], replace(steps[1], changes=changes))
        for step in steps:
            if step.changes not in known:
                known[step.changes] = export.free(step.name)
        found = [known[step.changes] for step in steps]
        names[course.id] = ("" if len(found) == 1 else found[0], found[-1])
    columns = sorted({target for changes in known for target, _ in changes})
    rows = [
        {"conditionId": name, **{target: _cell(value) for target, value in changes}} for changes, name in known.items()
    ]
    return ("*conditionId", *columns), rows


def _moves(model: Model, name: str) -> bool:
    entity = model.description.entities[name]
    return entity.kind == "species" or entity.rule == "rate"


def _cell(value: Expression) -> str:
    return value.name if isinstance(value, Symbol) else format_number(value.value) if isinstance(value, Number) else ""


def _measurements(export: Export, courses: list[Course], names: Mapping[str, tuple[str, str]]) -> Rows:
    return [
        {
            "observableId": row.observable,
            "preequilibrationConditionId": names[course.id][0],
            "simulationConditionId": names[course.id][1],
            "time": row.time,
            "measurement": row.value,
            "observableParameters": export.overrides(row.observable_overrides),
            "noiseParameters": export.overrides(row.noise_overrides),
            "datasetId": row.dataset,
            "replicateId": row.replicate,
        }
        for course in courses
        for row in course.rows
    ]


def _observable(export: Export, name: str, model: Model) -> dict[str, Any]:
    observable = export.problem.observables[name]
    numbered = {
        placeholder: f"{kind}Parameter{number}_{name}"
        for kind, placeholders in (
            ("observable", observable.observable_placeholders),
            ("noise", observable.noise_placeholders),
        )
        for number, placeholder in enumerate(placeholders, start=1)
    }

    def written(text: str) -> str:
        text = export.formula(text, observable, [model])
        return re.sub(r"(?<![\w.])[A-Za-z_]\w*", lambda match: numbered.get(match.group(), match.group()), text)

    return {
        "observableId": name,
        "observableName": observable.name,
        "observableFormula": written(observable.formula),
        "observableTransformation": observable.distribution.transformation,
        "noiseFormula": written(observable.noise),
        "noiseDistribution": observable.distribution.base,
    }


def _parameter(export: Export, parameter: Parameter) -> dict[str, Any]:
    objective = _prior(export, parameter, parameter.prior, "prior")
    start = _prior(export, parameter, parameter.start, "distribution of starts")
    return {
        "parameterId": export.parameter_name(parameter),
        "parameterName": parameter.name,
        "parameterScale": parameter.scale.value,
        "lowerBound": parameter.lower,
        "upperBound": parameter.upper,
        "nominalValue": parameter.nominal,
        "estimate": "1" if parameter.estimate else "0",
        "initializationPriorType": start[0],
        "initializationPriorParameters": start[1],
        "objectivePriorType": objective[0],
        "objectivePriorParameters": objective[1],
    }


def _prior(export: Export, parameter: Parameter, prior: Prior | None, what: str) -> tuple[str, str]:
    if prior is None or not parameter.estimate:
        return "", ""
    kind = _PRIORS.get((prior.family, prior.scale != "lin"))
    if kind is None or prior.scale not in ("lin", parameter.scale.value):
        export.losses.append(f"the {what} of {parameter.id!r} was left out: PEtab 1 has no {prior.family} for it")
        return "", ""
    if not math.isclose(prior.mass, 1.0, rel_tol=1e-9):
        export.losses.append(f"the {what} of {parameter.id!r} is cut off; PEtab 1 states it without, a constant apart")
    return kind, ";".join(map(repr, prior.parameters))
