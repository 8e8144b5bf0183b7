"""The tables of PEtab version 2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fits.parameters import Parameter
from fits.petab.export import Export, Step
from fits.priors import LN10, Prior
from fits.problem import Distribution

Rows = list[dict[str, Any]]
Tables = dict[str, tuple[Sequence[str], Rows]]

# log10 noise of width sigma is natural-log noise of width sigma * ln(10): PEtab 2 has only the latter.
_NATURAL = {
    Distribution.LOG10_NORMAL: Distribution.LOG_NORMAL,
    Distribution.LOG10_LAPLACE: Distribution.LOG_LAPLACE,
}


def tables(export: Export) -> tuple[dict[str, object], Tables]:
    """The content of the YAML file, and columns and rows by table."""
    conditions, experiments = _conditions_and_experiments(export)
    found: Tables = {
        "conditions": (("*conditionId", "*targetId", "*targetValue"), conditions),
        "experiments": (("*experimentId", "*time", "*conditionId"), experiments),
        "observables": (
            (
                "*observableId",
                "observableName",
                "*observableFormula",
                "*noiseFormula",
                "noiseDistribution",
                "observablePlaceholders",
                "noisePlaceholders",
            ),
            _observables(export),
        ),
        "measurements": (
            (
                "*observableId",
                "*experimentId",
                "*time",
                "*measurement",
                "observableParameters",
                "noiseParameters",
                "modelId",
                "datasetId",
                "replicateId",
            ),
            measurements(export),
        ),
        "parameters": (
            (
                "*parameterId",
                "parameterName",
                "*lowerBound",
                "*upperBound",
                "*nominalValue",
                "*estimate",
                "priorDistribution",
                "priorParameters",
                "parameterScale",
            ),
            _parameters(export),
        ),
    }
    found = {name: table for name, table in found.items() if table[1]}
    content: dict[str, object] = {
        "format_version": "2.0.0",
        "model_files": {key: {"location": f"{key}.xml", "language": "sbml"} for key in export.models.values()},
    }
    content |= {f"{name.removesuffix('s')}_files": [f"{name}.tsv"] for name in found}
    return content, found


def _conditions_and_experiments(export: Export) -> tuple[Rows, Rows]:
    conditions: Rows = []
    experiments: Rows = []
    names: dict[tuple[object, ...], str] = {}
    done: set[str] = set()
    for course in export.courses:
        if not course.id or course.id in done:
            continue
        done.add(course.id)
        for step in course.steps:
            if step.changes and step.changes not in names:
                names[step.changes] = export.free(step.name)
                conditions += _condition(export, names[step.changes], step)
            name = names[step.changes] if step.changes else ""
            experiments.append({"experimentId": course.id, "time": step.start, "conditionId": name})
    return conditions, experiments


def _condition(export: Export, name: str, step: Step) -> Rows:
    rows: Rows = []
    estimated = {p.id for p in export.problem.parameters.parameters} - export.initial.keys()
    for target, value in step.changes:
        export.check(value, f"condition {name!r}")
        if target in estimated:
            export.losses.append(
                f"{target!r} is a parameter of the problem and is set by condition {name!r} as well, which PEtab "
                "forbids; other tools will refuse it"
            )
        rows.append({"conditionId": name, "targetId": target, "targetValue": str(value)})
    return rows


def _observables(export: Export) -> Rows:
    rows: Rows = []
    for name, models in export.used_observables().items():
        observable = export.problem.observables[name]
        noise = export.formula(observable.noise, observable, models)
        distribution = _NATURAL.get(observable.distribution, observable.distribution)
        if distribution is not observable.distribution:
            noise = f"({noise}) * {LN10!r}"
        rows.append(
            {
                "observableId": name,
                "observableName": observable.name,
                "observableFormula": export.formula(observable.formula, observable, models),
                "noiseFormula": noise,
                "noiseDistribution": distribution.value,
                "observablePlaceholders": ";".join(observable.observable_placeholders),
                "noisePlaceholders": ";".join(observable.noise_placeholders),
            }
        )
    return rows


def measurements(export: Export) -> Rows:
    """All rows that can be stated, in the order of the problem."""
    place = {id(row): number for number, row in enumerate(export.problem.measurements)}
    rows = [(place[id(row)], row, course) for course in export.courses for row in course.rows]
    several = len(export.problem.models) > 1
    return [
        {
            "observableId": row.observable,
            "experimentId": course.id,
            "time": row.time,
            "measurement": row.value,
            "observableParameters": export.overrides(row.observable_overrides),
            "noiseParameters": export.overrides(row.noise_overrides),
            "modelId": course.model if several else "",
            "datasetId": row.dataset,
            "replicateId": row.replicate,
        }
        for _, row, course in sorted(rows, key=lambda item: item[0])
    ]


# --- parameters ----------------------------------------------------------------------------------------------


def _parameters(export: Export) -> Rows:
    chosen = export.problem.parameters.parameters
    priors = {p.id: _prior(export, p) for p in chosen if p.estimate}
    endless = [
        p.id
        for p in chosen
        if p.estimate and priors[p.id] is None and not (math.isfinite(p.lower) and math.isfinite(p.upper))
    ]
    if endless and any(priors.values()):
        export.losses.append(
            f"priors were left out: once one parameter has a prior PEtab 2 gives each of them one, and {endless[0]!r} "
            "has neither a prior nor finite bounds"
        )
        priors = {}
    rows: Rows = []
    for parameter in chosen:
        prior = priors.get(parameter.id)
        rows.append(
            {
                "parameterId": export.parameter_name(parameter),
                "parameterName": parameter.name,
                "lowerBound": parameter.lower,
                "upperBound": parameter.upper,
                "nominalValue": parameter.nominal,
                "estimate": parameter.estimate,
                "priorDistribution": prior.family if prior else "",
                "priorParameters": ";".join(map(repr, prior.parameters)) if prior else "",
                "parameterScale": parameter.scale.value,
            }
        )
    return rows


def _prior(export: Export, parameter: Parameter) -> Prior | None:
    """The prior as PEtab 2 can state it, with a note where that is not the same."""
    prior = parameter.prior
    if parameter.start is not None:
        export.losses.append(f"where starts of {parameter.id!r} are drawn from: PEtab 2 does not state it")
    if prior is None:
        return None
    family, numbers = prior.family, prior.parameters
    if prior.scale != "lin":
        unit = LN10 if prior.scale == "log10" else 1.0
        if family not in ("normal", "laplace", "uniform"):
            export.losses.append(f"the prior of {parameter.id!r} ({family} of its logarithm) was left out")
            return None
        export.losses.append(
            f"the prior of {parameter.id!r} is a density of its logarithm; PEtab 2 states that of the value, so the "
            "log prior differs by the logarithm of the value and a constant"
        )
        numbers = tuple(unit * number for number in numbers)
        if family == "uniform":
            numbers = tuple(math.exp(number) for number in numbers)
        family = f"log-{family}"
    written = Prior(family, numbers, lower=parameter.lower, upper=parameter.upper)
    cut = prior.scale == "lin" and not math.isclose(written.mass, prior.mass, rel_tol=1e-9)
    if cut:
        export.losses.append(
            f"PEtab 2 cuts the prior of {parameter.id!r} off at its bounds, which adds a constant to the log prior"
        )
    return written
