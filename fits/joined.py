"""Several calibration problems as one: parameters of one name are shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from fits.parameters import Parameter
from fits.problem import Measurement, Observable, Problem
from fits.terms import NormalisedCurve
from kinetics.errors import InputError
from kinetics.experiment import Experiment
from kinetics.model import Model

_Item = TypeVar("_Item")


def join_problems(
    id: str, problems: Sequence[Problem], terms: Sequence[object] = (), more_notes: Sequence[str] = ()
) -> Problem:
    """Several problems of one model each as one; what has the same name must be the same.

    Args:
        terms: on top of those of the problems; with several models each must name its own.

    Raises:
        InputError: two problems describe a parameter, observable, experiment or model of one name differently.
    """
    models: dict[str, Model] = {}
    parameters: dict[str, Parameter] = {}
    observables: dict[str, Observable] = {}
    experiments: dict[str, Experiment] = {}
    rows: list[Measurement] = []
    notes = list(more_notes)
    all_terms: list[object] = []
    for problem in problems:
        if len(problem.models) != 1:
            raise InputError(f"problem {problem.id!r} has {len(problem.models)} models; those of one can be joined")
        ((name, model),) = problem.models.items()
        same = name in models and (models[name].sbml, dict(models[name].values)) == (model.sbml, dict(model.values))
        if name in models and not same:
            raise InputError(f"two joined problems have different models {name!r}: give one another model_id")
        models.setdefault(name, model)
        for parameter in problem.parameters.parameters:
            _add(parameters, parameter.id, parameter, "parameter")
        for observable in problem.observables.values():
            _add(observables, observable.id, observable, "observable")
        for key, experiment in problem.experiments.items():
            _add(experiments, key, experiment, "experiment")
        rows += [replace(row, model=name) for row in problem.measurements]
        notes += [note for note in problem.notes if note not in notes]
        all_terms += [_of_model(term, name) for term in problem.terms]
    if len(models) == 1:
        rows = [replace(row, model="") for row in rows]
    return Problem(
        id, models, parameters.values(), observables.values(), experiments, rows, notes, (*all_terms, *terms)
    )


def _of_model(term: object, name: str) -> object:
    return replace(term, model=name) if isinstance(term, NormalisedCurve) and not term.model else term


def _add(table: dict[str, _Item], name: str, item: _Item, what: str) -> None:
    if repr(table.setdefault(name, item)) != repr(item):
        raise InputError(f"{what} {name!r} is described differently in two of the joined problems")
