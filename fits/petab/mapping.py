"""PEtab's mapping table: names of a problem for entities of the model whose own ids PEtab cannot spell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fits.petab.files import Folder
from fits.petab.tables import Row, check_unique, read_tables
from kinetics.errors import UnknownName
from kinetics.model import Model

_LOCAL = re.compile(r"\$?([A-Za-z_]\w*)\.\$?([A-Za-z_]\w*)", re.ASCII)


def read_mapping(folder: Folder, entries: object) -> list[Row]:
    """Rows that name something in a model; the others are annotations only."""
    rows = read_tables(folder, entries, "mapping_files", ("petabEntityId", "modelEntityId"))
    check_unique(rows, "petabEntityId")
    return [row for row in rows if row["modelEntityId"] and row["modelEntityId"] != row["petabEntityId"]]


def apply_mapping(rows: Sequence[Row], models: Mapping[str, Model]) -> tuple[dict[str, Model], dict[str, str]]:
    """The models with local parameters made global under their PEtab names, and other aliases by name.

    Raises:
        UnknownName: no model has the entity.
    """
    changed, aliases = dict(models), {}
    for row in rows:
        name, target = row.identifier("petabEntityId"), row["modelEntityId"]
        known: set[str] = set()
        for key, model in changed.items():
            known |= set(model.description.entities)
            local = _LOCAL.fullmatch(target)
            if target in model.description.entities:
                aliases[name] = target
            elif local and (text := _with_global(model.sbml, local.group(1), local.group(2), name)):
                changed[key] = Model.load(text, trusted=True)  # it was tried before this change
            else:
                continue
            break
        else:
            raise UnknownName("model entity", target, known, row.where("modelEntityId"))
    return changed, aliases


def _with_global(sbml: str, reaction: str, local: str, name: str) -> str:
    """The SBML with a local parameter of a reaction moved out under a new name; ``""`` if there is none."""
    from kinetics.sbml_library import libsbml_module

    document = libsbml_module().readSBMLFromString(sbml)
    model = document.getModel()
    law = model.getReaction(reaction).getKineticLaw() if model.getReaction(reaction) else None
    if law is None or model.getElementBySId(name) is not None:
        return ""
    find, remove = (
        (law.getLocalParameter, law.removeLocalParameter)
        if document.getLevel() >= 3
        else (law.getParameter, law.removeParameter)
    )
    found = find(local)
    if found is None:
        return ""
    parameter = model.createParameter()
    parameter.setId(name)
    parameter.setConstant(True)
    if found.isSetValue():
        parameter.setValue(found.getValue())
    if found.isSetUnits():
        parameter.setUnits(found.getUnits())
    remove(local)
    math = law.getMath().deepCopy()
    math.renameSIdRefs(local, name)
    law.setMath(math)
    return str(libsbml_module().writeSBMLToString(document))


def renamed(text: str, aliases: Mapping[str, str]) -> str:
    """A formula with aliases replaced by what they stand for."""
    if not aliases:
        return text
    return re.sub(r"(?<![\w.])[A-Za-z_]\w*", lambda match: aliases.get(match.group(), match.group()), text)
