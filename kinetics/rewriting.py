"""SBML written anew: what the engine needs to be told differently, and models with other values."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kinetics.errors import UnknownName
from kinetics.sbml_library import libsbml_module

CLOCKLESS = "kinetics_symbol_called_time"  # the engine cannot tell a symbol called time from its clock


def without_time(sbml: str) -> str:
    """The model for the engine: a symbol called ``time`` under another name (see `Entity.selection`)."""
    libsbml = libsbml_module()

    document = libsbml.readSBMLFromString(sbml)
    document.getModel().getElementBySId("time").setId(CLOCKLESS)
    elements = document.getListOfAllElements()
    for index in range(elements.getSize()):
        elements.get(index).renameSIdRefs("time", CLOCKLESS)
    return str(libsbml.writeSBMLToString(document))


RATE_OF = "kinetics_rate_of_"


def with_rates(sbml: str, names: Collection[str]) -> str:
    """The model for the engine, with a parameter `RATE_OF` + name that holds d(amount)/dt of each species."""
    libsbml = libsbml_module()

    document = libsbml.readSBMLFromString(sbml)
    model = document.getModel()
    for name in names:
        species, rule = model.getSpecies(name), model.getRateRule(name)
        parameter = model.createParameter()
        parameter.setId(RATE_OF + name)
        parameter.setConstant(False)
        math = rule.getMath().deepCopy()
        compartment = model.getCompartment(species.getCompartment())
        if not species.getHasOnlySubstanceUnits() and compartment.getSpatialDimensions() != 0:
            product, size = libsbml.ASTNode(libsbml.AST_TIMES), libsbml.ASTNode(libsbml.AST_NAME)
            size.setName(species.getCompartment())
            product.addChild(math)
            product.addChild(size)
            math = product
        assignment = model.createAssignmentRule()
        assignment.setVariable(RATE_OF + name)
        assignment.setMath(math)
    return str(libsbml.writeSBMLToString(document))


def with_fillers(sbml: str, missing: Collection[str]) -> str:
    """The model for the engine, which wants a number for every parameter: 1 where a value is missing.

    Results that depend on a missing value are refused before, so the number is never seen.
    """
    libsbml = libsbml_module()

    document = libsbml.readSBMLFromString(sbml)
    model = document.getModel()
    for name in missing:
        parameter = model.getParameter(name)
        if parameter is not None:
            parameter.setValue(1.0)
    return str(libsbml.writeSBMLToString(document))


def with_stated_values(sbml: str, values: Mapping[str, float]) -> str:
    """The model with other parameters, compartment sizes and initial values (concentration, or amount where meant).

    Initial assignments of what is given are dropped; those that depend on it stay, and follow when the model is
    loaded.

    Raises:
        UnknownName: the model has no such parameter, compartment or species.
    """
    libsbml = libsbml_module()

    document = libsbml.readSBMLFromString(sbml)
    model = document.getModel()
    for name, value in values.items():
        species, compartment, parameter = model.getSpecies(name), model.getCompartment(name), model.getParameter(name)
        if species is not None:
            home = model.getCompartment(species.getCompartment())
            species.unsetInitialAmount()
            species.unsetInitialConcentration()
            if species.getHasOnlySubstanceUnits() or home.getSpatialDimensions() == 0:
                species.setInitialAmount(value)
            else:
                species.setInitialConcentration(value)
        elif compartment is not None:
            compartment.setSize(value)
        elif parameter is not None:
            parameter.setValue(value)
        else:
            known = [item.getId() for item in model.getListOfAllElements() if item.getId()]
            raise UnknownName("species, parameter or compartment", name, known, "the model")
        model.removeInitialAssignment(name)
    return str(libsbml.writeSBMLToString(document))
