"""A model that carries its experiment: what later periods change becomes events of the SBML.

Tools that read SBML then repeat a schedule without knowing what an `Experiment` is.  What the events of SBML cannot
say in the same words is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kinetics.errors import InputError, UnsupportedModel
from kinetics.expression import Expression, Number
from kinetics.mathml import MATHML, to_mathml
from kinetics.model import Model
from kinetics.rewriting import with_stated_values
from kinetics.sbml_library import libsbml_module
from kinetics.schedule import Stage

PREFIX = "kinetics_"  # of the identifiers that are added


def check_sayable(model: Model, stages: Sequence[Stage]) -> None:
    """Refuse a schedule that initial values and events of SBML cannot repeat.

    Raises:
        InputError: it starts with pre-equilibration, or with formulas, or changes what events treat otherwise.
        UnsupportedModel: the model has events of its own, whose order beside ours is not defined.
    """
    first, entities = stages[0], model.description.entities
    if math.isinf(first.start):
        raise InputError(
            "pre-equilibration cannot be written: SBML and SED-ML have no run until nothing changes that hands its "
            "state on to a time course; write a first period that is long enough instead"
        )
    for name, value in first.changes:
        if isinstance(value, Expression):
            raise InputError(f"the first period sets {name!r} by a formula, which initial values cannot repeat")
    species = [name for name, _ in first.changes if entities[name].kind == "species"]
    following = sorted(model.description.depends_on(species) - set(species)) if species else []
    if following:
        raise InputError(
            f"the first period sets {species[0]!r}, and the initial assignment of {following[0]!r} would follow it in "
            "SBML while here it does not"
        )
    if len(stages) > 1 and model.description.events:
        raise UnsupportedModel(
            f"model {model.name!r} has events of its own: in which order they and later periods happen is not defined"
        )
    for stage in stages[1:]:
        for name, _ in stage.changes:
            if entities[name].kind == "compartment":
                raise InputError(
                    f"a later period changes the compartment {name!r}: in SBML amounts stay and concentrations follow, "
                    "here concentrations stay"
                )
            if entities[name].assigned_initially and entities[name].constant:
                raise InputError(f"a later period changes {name!r}, whose initial assignment makes it a constant")


def uses_time(model: Model) -> bool:
    """Whether anything in the SBML refers to the time itself, so that a run from another time differs."""
    return "symbols/time" in model.sbml or "symbols/delay" in model.sbml


def from_zero(model: Model, stages: Sequence[Stage]) -> tuple[tuple[Stage, ...], float]:
    """The same schedule with its start at time 0, which more tools can run, and by how much it was moved.

    A model that refers to the time keeps its own.
    """
    named = any(isinstance(v, Expression) and "$time" in v.names for stage in stages for _, v in stage.changes)
    if uses_time(model) or named or not math.isfinite(stages[0].start):
        return tuple(stages), 0.0
    start = stages[0].start
    return tuple(Stage(stage.start - start, stage.changes) for stage in stages), start


def with_schedule(model: Model, stages: Sequence[Stage], parameters: Mapping[str, float] | None = None) -> str:
    """SBML of a model that does by itself what an experiment does to it, from the start of its first period.

    Args:
        stages: what `schedule.resolve` makes of an experiment.
        parameters: values that replace the model's, in its units.

    Raises:
        InputError, UnsupportedModel: see `check_sayable`; or the model is SBML Level 1, which has no such events.
    """
    check_sayable(model, stages)
    sbml = model.with_values(**dict(parameters or {})).to_sbml() if parameters else model.to_sbml()
    start = {name: value for name, value in stages[0].changes if not isinstance(value, Expression)}
    if start:
        sbml = with_stated_values(sbml, start)
    later = [stage for stage in stages[1:] if stage.changes]
    if not later:
        return sbml
    libsbml = libsbml_module()

    document = libsbml.readSBMLFromString(sbml)
    if document.getLevel() < 2:
        raise UnsupportedModel(f"model {model.name!r} is SBML Level 1, whose events differ: expected Level 2 or later")
    inside = document.getModel()
    for number, stage in enumerate(later, 1):
        event = inside.createEvent()
        event.setId(f"{PREFIX}period_{number + 1}")
        event.setUseValuesFromTriggerTime(True)
        trigger = event.createTrigger()
        if document.getLevel() > 2:
            trigger.setInitialValue(True)
            trigger.setPersistent(True)
        trigger.setMath(_ast(libsbml, _reached(stage.start)))
        for name, value in stage.changes:
            element = inside.getElementBySId(name)
            element.setConstant(False)  # an event changes it from now on
            assignment = event.createEventAssignment()
            assignment.setVariable(name)
            formula = value if isinstance(value, Expression) else Number(float(value))
            assignment.setMath(_ast(libsbml, to_mathml(formula)))
    return str(libsbml.writeSBMLToString(document))


def _reached(time: float) -> str:
    clock = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time"> time </csymbol>'
    return f'<math xmlns="{MATHML}"><apply><geq/>{clock}<cn> {time!r} </cn></apply></math>'


def _ast(libsbml: Any, math_text: str) -> Any:
    found = libsbml.readMathMLFromString(math_text)
    if found is None:
        raise InputError(f"libSBML does not read this formula: {math_text[:200]}")
    return found
