"""What an SBML file must satisfy before the engine sees it.

libRoadRunner crashes on some files and computes wrong numbers from others without a word, so every model
passes through `read_sbml` first: a scan that needs no XML library (`kinetics.xmlscan`), submodels put
together (`kinetics.flattening`), libSBML's consistency checks, and what those leave out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinetics.circles import check_formulas
from kinetics.dependencies import Dependencies, analyse, formulas, nodes
from kinetics.errors import InvalidModel, UnsupportedModel
from kinetics.flattening import describe_errors, flatten, message
from kinetics.sbml_library import libsbml_module
from kinetics.xmlscan import is_text, load_text, scan_xml

_UNITS = "UNITS_CONSISTENCY"
_CATEGORIES = (
    _UNITS,
    "GENERAL_CONSISTENCY",
    "IDENTIFIER_CONSISTENCY",
    "MATHML_CONSISTENCY",
    "SBO_CONSISTENCY",
    "OVERDETERMINED_MODEL",
    "MODELING_PRACTICE",
)

MAX_SHOWN = 5  # messages of one kind
MAX_UNIT_WORK = 1_000_000  # sum of the squared sizes of all formulas


@dataclass(frozen=True)
class CheckedModel:
    """An SBML model that may be handed to the engine."""

    sbml: str  # flat, UTF-8, without the package comp
    name: str  # id of the model, else its name, else the stem of the file, else "model"
    origin: str  # name of the file without its folder, or "text"
    warnings: tuple[str, ...]  # what does not stop a simulation but a user should know
    missing: frozenset[str]  # identifiers without a value; see `kinetics.dependencies.missing_behind`


def read_sbml(source: str | os.PathLike[str]) -> CheckedModel:
    """Read a model, check it and make it flat.

    Args:
        source: the path of an SBML file, or SBML itself (a string that starts with ``<``).

    Returns:
        The checked model.  Values it leaves out are no error here; see `CheckedModel.missing`.

    Raises:
        ModelNotFound: there is no such file.
        InvalidModel: it is not SBML of Level 1 to 3, or SBML without a meaning.
        UnsupportedModel: it uses what the engine cannot simulate: algebraic rules, delays, fast reactions,
            packages other than ``comp`` that change what the model means.
    """
    path: Path | None = None
    if isinstance(source, str) and is_text(source):
        origin, text = "text", source
    else:
        name = os.fspath(source)
        if "\n" in name or not name.strip():
            shown = name.strip()[:40]
            raise InvalidModel(f"expected the path of an SBML file or SBML text (starting with <), got {shown!r}")
        path = Path(name)
        origin = path.name or str(name)
        text = load_text(path, origin)
    scan = scan_xml(text, origin)
    if "comp" in scan.packages:
        sbml = flatten(scan, path.parent if path else None, origin, path)
    else:
        sbml = scan.text

    libsbml = libsbml_module()

    document = libsbml.readSBMLFromString(sbml)
    model = document.getModel()
    if model is None:
        raise InvalidModel(f"{origin}: {describe_errors(document) or 'expected a <model> in the SBML, got none'}")
    if problems := describe_errors(document):
        raise InvalidModel(f"{origin}: {problems}")
    # Before libSBML's checks, which take minutes over what these refuse
    sizes = check_formulas(model, origin)
    notes = _check_consistency(document, origin)
    _check_supported(model, origin)
    needs = analyse(model)
    return CheckedModel(
        sbml=sbml,
        name=model.getId() or model.getName() or (path.stem if path else "") or "model",
        origin=origin,
        warnings=(*notes, *_warnings(model, scan.packages, needs), *_unit_summary(sbml, sizes)),
        missing=needs.missing_ids,
    )


def unit_report(sbml: str) -> tuple[str, ...]:
    """Every message of libSBML's unit consistency category, at any severity; empty when units agree.

    In Level 3 a rate law of the wrong dimension is only a warning (10541), and a number without a unit
    hides one (99505, 99508); a model is consistent only when nothing at all is reported.

    Raises:
        InvalidModel: ``sbml`` is no SBML.
    """
    libsbml = libsbml_module()

    document = libsbml.readSBMLFromString(scan_xml(sbml, "text").text)
    if document.getModel() is None:
        raise InvalidModel(f"text: {describe_errors(document) or 'expected a <model> in the SBML, got none'}")
    for category in _CATEGORIES:
        document.setConsistencyChecks(getattr(libsbml, f"LIBSBML_CAT_{category}"), category == _UNITS)
    document.getErrorLog().clearLog()  # what reading found is not about units
    document.checkConsistency()
    errors = (document.getError(i) for i in range(document.getNumErrors()))
    units = libsbml.LIBSBML_CAT_UNITS_CONSISTENCY
    return tuple(
        f"line {error.getLine()}: {message(error)} [libSBML {error.getErrorId()}]"
        for error in errors
        if error.getCategory() == units
    )


def _unit_summary(sbml: str, sizes: list[int]) -> tuple[str, ...]:
    # libSBML takes the square of a formula's size: 1.6 s for a sum of 1000 terms, minutes for 10 000
    if sum(size**2 for size in sizes) > MAX_UNIT_WORK:
        return ("units were not checked: the formulas are too long for it",)
    found = unit_report(sbml)
    if not found:
        return ()
    return (f"units do not agree or are not declared in {len(found)} places; first: {found[0]}",)


def _check_consistency(document: Any, origin: str) -> tuple[str, ...]:
    """Raise libSBML's errors; return its warnings about consistency (not about units, style or SBO)."""
    libsbml = libsbml_module()

    for category in ("UNITS_CONSISTENCY", "MODELING_PRACTICE", "SBO_CONSISTENCY"):
        document.setConsistencyChecks(getattr(libsbml, f"LIBSBML_CAT_{category}"), False)
    document.checkConsistency()
    if problems := describe_errors(document):
        raise InvalidModel(f"{origin}: {problems}")
    judged = {
        libsbml.LIBSBML_CAT_GENERAL_CONSISTENCY,
        libsbml.LIBSBML_CAT_IDENTIFIER_CONSISTENCY,
        libsbml.LIBSBML_CAT_MATHML_CONSISTENCY,
        libsbml.LIBSBML_CAT_OVERDETERMINED_MODEL,
    }
    errors = (document.getError(i) for i in range(document.getNumErrors()))
    notes = [f"line {error.getLine()}: {message(error)}" for error in errors if error.getCategory() in judged]
    return tuple(dict.fromkeys(notes))[:MAX_SHOWN]


def _warnings(model: Any, packages: frozenset[str], needs: Dependencies) -> Iterator[str]:
    lacking = list(needs.missing.values())
    yield from lacking[:MAX_SHOWN]
    if len(lacking) > MAX_SHOWN:
        yield f"{len(lacking) - MAX_SHOWN} more values are missing"
    for i in range(model.getNumCompartments()):
        compartment = model.getCompartment(i)
        if compartment.isSetSize() and compartment.getSize() <= 0.0:  # the engine computes with it all the same
            yield f"compartment {compartment.getId()!r} has size {compartment.getSize():g}, expected more than 0"
    if model.getNumConstraints():
        yield f"constraints of the model are not watched during a simulation ({model.getNumConstraints()})"
    ignored = sorted(packages - {"comp", "layout", "render", "groups"})
    if ignored:
        yield f"SBML packages that do not change a simulation are ignored: {', '.join(ignored)}"


def _check_supported(model: Any, origin: str) -> None:
    """Refuse what libRoadRunner cannot simulate, naming it."""
    libsbml = libsbml_module()

    found: list[str] = []
    for i in range(model.getNumRules()):
        rule = model.getRule(i)
        if rule.isAlgebraic():
            found.append(f"algebraic rule 0 = {_shorten(libsbml.formulaToL3String(rule.getMath()))}")
    for i in range(model.getNumReactions()):
        reaction = model.getReaction(i)
        if reaction.getFast():
            found.append(f"fast reaction {reaction.getId()!r}")
    delaying: set[str] = set()  # functions with delay() in them; one nobody calls does no harm
    for where, symbol, formula in formulas(model):
        kinds = {node.getType() for node in nodes(formula)}
        called = {node.getName() for node in nodes(formula) if node.getType() == libsbml.AST_FUNCTION}
        if where == "constraint":  # the engine ignores constraints
            continue
        if libsbml.AST_FUNCTION_DELAY in kinds or called & delaying:
            if formula.isLambda():
                delaying.add(symbol)
            else:
                found.append(f"delay() in the {where}")
        found += [
            f"factorial of {node.getChild(0).getValue():g} in the {where}, which is infinite (170 is the most)"
            for node in nodes(formula)  # the engine computes it step by step until its stack overflows
            if node.getType() == libsbml.AST_FUNCTION_FACTORIAL
            and node.getNumChildren() == 1
            and node.getChild(0).isNumber()
            and node.getChild(0).getValue() > 170
        ]
    if found:
        more = f" and {len(found) - MAX_SHOWN} more" if len(found) > MAX_SHOWN else ""
        raise UnsupportedModel(f"{origin}: cannot be simulated here: {'; '.join(found[:MAX_SHOWN])}{more}")


def _shorten(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
