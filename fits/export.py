"""The calibrated model: SBML and Antimony in which the fitted values are the model's own.

A value that an initial assignment would override replaces the assignment; every other initial assignment stays, so
that what follows from the fitted values follows in any other tool, too.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fits.problem import Problem
from kinetics import antimony
from kinetics.errors import InputError, InvalidModel, UnknownName
from kinetics.model import Model
from kinetics.sbml_library import libsbml_module
from kinetics.schedule import check_value


@dataclass(frozen=True)
class CalibratedModel:
    """A model with fitted values, as text, and what a reader has to know."""

    name: str
    sbml: str
    written: dict[str, float]  # values that were put into the model
    notes: tuple[str, ...]

    @property
    def antimony(self) -> str:
        """Antimony text; the notes are comments in it.

        Raises:
            InvalidModel: the model cannot be said in Antimony.
        """
        comments = "".join(f"// {_one_line(note)}\n" for note in self.notes)
        return comments + antimony.to_antimony(self.sbml)


def calibrated_model(problem: Problem, values: Mapping[str, float], model: str = "") -> CalibratedModel:
    """A model of a problem with fitted values in place of its own.

    Args:
        values: plain values by name; those that are no parameters of the model are listed in the notes.
        model: its name in the problem, where there are several.

    Raises:
        UnknownName, InputError: there is no such model, or it is not said which of several.
    """
    if model and model not in problem.models:
        raise UnknownName("model", model, problem.models, f"problem {problem.id!r}")
    if not model and len(problem.models) > 1:
        raise InputError(
            f"problem {problem.id!r} has {len(problem.models)} models ({', '.join(problem.models)}); say which"
        )
    chosen = problem.models[model] if model else next(iter(problem.models.values()))
    # A variant of a bundled model is a set of values, too.
    own = {name: float(value) for name, value in chosen.values.items()}
    mine = _in_model(chosen, values)
    sbml, replaced = with_values(chosen, {**own, **mine})
    notes = [
        f"Model {chosen.name} of problem {problem.id} with {len(mine)} fitted or fixed values: "
        + ", ".join(f"{name} = {value:.10g}" for name, value in mine.items())
        + "."
    ]
    if replaced:
        notes.append(
            f"The initial assignment of {', '.join(replaced)} was replaced by the value, which it would have "
            "overridden."
        )
    outside = sorted(set(values) - set(mine))
    if outside:
        notes.append(
            f"Not in the model, but in observables, noise or conditions of the problem: "
            f"{', '.join(f'{name} = {values[name]:.10g}' for name in outside)}."
        )
    conditions = sorted({target for target in _set_by_conditions(problem, chosen)})
    if conditions:
        listed = ", ".join(conditions[:12]) + (", ..." if len(conditions) > 12 else "")
        notes.append(
            f"Experiments of the problem set {listed}; here these have the model's own values, and export --petab "
            "writes the experiments."
        )
    return CalibratedModel(chosen.name, _with_notes(sbml, notes), {**own, **mine}, tuple(notes))


def _in_model(model: Model, values: Mapping[str, float]) -> dict[str, float]:
    entities = model.description.entities
    return {n: float(v) for n, v in values.items() if n in entities and entities[n].settable}


def _set_by_conditions(problem: Problem, model: Model) -> Iterable[str]:
    for experiment in problem.experiments.values():
        for period in experiment.periods:
            for condition in period.conditions:
                yield from (target for target in condition.changes if target in model.description.entities)


def with_values(model: Model, values: Mapping[str, float]) -> tuple[str, list[str]]:
    """The model's SBML with other values, and whose initial assignments were taken out for that.

    Species are concentrations, or amounts where the model says so, as everywhere here.

    Raises:
        InputError: a value cannot be, or the name is not one that can be set.
    """
    libsbml = libsbml_module()
    document = libsbml.readSBMLFromString(model.sbml)
    inside = document.getModel()
    replaced = []
    for name, value in values.items():
        entity = model.entity(name)
        if not entity.settable:
            raise InputError(f"{name!r} of model {model.name!r} cannot be set: {entity.why_fixed}")
        check_value(model, name, value)
        _set(inside, entity.kind, name, value, amount=entity.amount)
        if inside.removeInitialAssignment(name) is not None:
            replaced.append(name)
    text = str(libsbml.writeSBMLToString(document))
    _check(libsbml, model.name, text, values)
    return text, replaced


def _set(inside: Any, kind: str, name: str, value: float, *, amount: bool) -> None:
    if kind == "parameter":
        inside.getParameter(name).setValue(value)
    elif kind == "compartment":
        inside.getCompartment(name).setSize(value)
    else:
        species = inside.getSpecies(name)
        # Only one of the two may be stated.
        species.unsetInitialAmount()
        species.unsetInitialConcentration()
        (species.setInitialAmount if amount else species.setInitialConcentration)(value)


def _check(libsbml: Any, name: str, text: str, values: Mapping[str, float]) -> None:
    """What was written must be what was meant: libSBML refuses silently."""
    inside = libsbml.readSBMLFromString(text).getModel()
    for key, value in values.items():
        element = inside.getElementBySId(key)
        kept = [
            getattr(element, f"get{what}")()
            for what in ("Value", "Size", "InitialConcentration", "InitialAmount")
            if hasattr(element, f"isSet{what}") and getattr(element, f"isSet{what}")()
        ]
        if not any(math.isclose(found, value, rel_tol=1e-13) for found in kept):
            raise InvalidModel(f"the value {value:g} of {key!r} could not be written into the SBML of model {name!r}")


def _with_notes(sbml: str, notes: Sequence[str]) -> str:
    """The notes in front of those the model has."""
    libsbml = libsbml_module()
    document = libsbml.readSBMLFromString(sbml)
    inside = document.getModel()
    text = "".join(f"<p>{html.escape(_one_line(note))}</p>" for note in notes)
    body = f'<body xmlns="http://www.w3.org/1999/xhtml">{text}</body>'
    if inside.isSetNotes():
        inside.appendNotes(body)
    else:
        inside.setNotes(body)
    return str(libsbml.writeSBMLToString(document))


def _one_line(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff\ufffe\uffff]+", " ", text)
