"""Every bundled model as a document: in step with its source, units, annotation, and where its numbers come from."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from kinetics import antimony, catalogue
from kinetics.catalogue import find_model, parameter_sources

libsbml = pytest.importorskip("libsbml")

NAMES = [entry.name for entry in catalogue.models()]
LEDGER = Path(__file__).parents[1].parent / "shared" / "science" / "parameters.csv"
pytestmark = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    return {name: libsbml.readSBMLFromString(find_model(name).sbml()) for name in NAMES}


@pytest.fixture()
def document(documents: dict[str, Any], name: str) -> Any:
    return documents[name]


@pytest.fixture()
def model(document: Any) -> Any:
    return document.getModel()


def _complaints(document: Any) -> list[str]:
    document.setConsistencyChecks(libsbml.LIBSBML_CAT_UNITS_CONSISTENCY, True)
    document.checkConsistency()
    return [document.getError(i).getMessage() for i in range(document.getNumErrors())]


# ---- the document ----------------------------------------------------------------------------------


def test_sbml_is_the_translation_of_the_antimony(name: str):
    entry = find_model(name)
    assert antimony.in_step(entry.antimony(), entry.sbml()) == []


def test_units_are_consistent_at_every_severity(document: Any, name: str):
    assert _complaints(document.clone()) == []


MISTAKES = {  # a wrong unit, and the reaction that must be complained about
    "il7_stat5_imatinib": ("kd has per_min;", "kd has nM_per_min;", "STAT5_dephosphorylation"),
    "gc_bim_tall": ("k_PUMA has per_h;", "k_PUMA has nM_per_h;", "PUMA_degradation"),
    "tcell_homeostasis": ("k_IL7_clear has per_day;", "k_IL7_clear has per_ul;", "IL7_loss"),
}


def test_unit_check_would_see_a_mistake(name: str):
    """Control of the test above."""
    right, wrong, reaction = MISTAKES[name]
    text = find_model(name).antimony()
    assert right in text
    complaints = _complaints(libsbml.readSBMLFromString(antimony.to_sbml(text.replace(right, wrong))))
    assert any(reaction in complaint for complaint in complaints)


def test_model_keeps_to_what_every_tool_reads(document: Any, model: Any, name: str):
    assert (document.getLevel(), document.getVersion()) == (3, 2)
    assert model.getNumEvents() == 0
    assert model.getNumConstraints() == 0
    rules = [model.getRule(i) for i in range(model.getNumRules())]
    assert not any(rule.isAlgebraic() for rule in rules)
    assert not re.search(r"delay|rateOf|<rem/>|<quotient/>|<max/>|<min/>|<implies/>", find_model(name).sbml())
    species = [model.getSpecies(i) for i in range(model.getNumSpecies())]
    assert not any(each.getHasOnlySubstanceUnits() for each in species)


def test_initial_assignments_need_one_step(model: Any, name: str):
    """Each is a formula over plain numbers, so no tool can evaluate them in a wrong order."""
    targets = {model.getInitialAssignment(i).getSymbol() for i in range(model.getNumInitialAssignments())}
    ruled = {model.getRule(i).getVariable() for i in range(model.getNumRules())}
    for i in range(model.getNumInitialAssignments()):
        formula = libsbml.formulaToL3String(model.getInitialAssignment(i).getMath())
        assert not set(re.findall(r"[A-Za-z_]\w*", formula)) & (targets | ruled), formula


def test_literals_with_a_unit_are_declared_constants(model: Any, name: str):
    """What is left in the formulas are numbers without a dimension."""
    maths = [model.getReaction(i).getKineticLaw().getMath() for i in range(model.getNumReactions())]
    maths += [model.getRule(i).getMath() for i in range(model.getNumRules())]
    maths += [model.getInitialAssignment(i).getMath() for i in range(model.getNumInitialAssignments())]
    literals = {(node.getValue(), node.getUnits()) for math in maths for node in _nodes(math) if node.isNumber()}
    assert {unit for _, unit in literals} == {"dimensionless"}, literals
    numbers = {value for value, _ in literals}
    # the smooth normal distribution function of the thresholds has numbers of its own
    own = {
        "gc_bim_tall": {0.5, 0.79788, 0.044715, 2.0},  # 2: ln(2) of half-lives
        "tcell_homeostasis": {float(k) for k in range(2, 8)},  # numbers of divisions
    }
    assert numbers <= {1.0, *own.get(name, set())}, numbers


def _nodes(math: Any) -> list[Any]:
    children = [math.getChild(i) for i in range(math.getNumChildren())]
    if math.getType() == libsbml.AST_FUNCTION_ROOT:  # its first child is the degree, a qualifier and no factor
        children = children[-1:]
    return [math, *(node for child in children for node in _nodes(child))]


# ---- annotation ------------------------------------------------------------------------------------

_IDENTIFIER = re.compile(
    r"https://identifiers\.org/(?:"
    r"uniprot:(?:[OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2})"
    r"|CHEBI:\d+|GO:\d{7}|CL:\d{7}|doi:10\.\d{4,9}/\S+|pubmed:\d+|taxonomy:\d+)"
)
# Compounds whose identifier could not be confirmed carry none: a wrong one would be worse.
_UNCONFIRMED = {"gc_bim_tall": {"CI1040", "MK2206", "BEZ235", "GSK3i_IX", "S63845"}}
_PAPERS = {
    "il7_stat5_imatinib": "doi:10.1038/bcj.2017.29",
    "gc_bim_tall": "doi:10.1371/journal.pmed.1002208",
    "tcell_homeostasis": "doi:10.1038/bcj.2017.29",
}


def _resources(element: Any) -> list[str]:
    terms = [element.getCVTerm(i) for i in range(element.getNumCVTerms())]
    return [term.getResourceURI(i) for term in terms for i in range(term.getNumResources())]


def test_species_reactions_and_compartments_carry_an_sbo_term_of_their_kind(model: Any, name: str):
    sbo = libsbml.SBO
    for i in range(model.getNumSpecies()):
        assert sbo.isMaterialEntity(model.getSpecies(i).getSBOTerm()), model.getSpecies(i).getId()
    for i in range(model.getNumReactions()):
        assert sbo.isOccurringEntityRepresentation(model.getReaction(i).getSBOTerm()), model.getReaction(i).getId()
    for i in range(model.getNumParameters()):
        parameter = model.getParameter(i)
        if parameter.isSetSBOTerm():
            assert sbo.isQuantitativeParameter(parameter.getSBOTerm()), parameter.getId()
    assert model.getSBOTermID() == "SBO:0000293"


def test_everything_says_what_it_is_in_a_resolvable_form(model: Any, name: str):
    elements = [model.getSpecies(i) for i in range(model.getNumSpecies())]
    elements += [model.getCompartment(i) for i in range(model.getNumCompartments())]
    elements += [model.getReaction(i) for i in range(model.getNumReactions())]
    silent = {element.getId() for element in elements if not _resources(element)}
    assert silent == _UNCONFIRMED.get(name, set())
    for element in (*elements, model):
        for resource in _resources(element):
            assert _IDENTIFIER.fullmatch(resource), resource


def test_model_names_paper_species_and_makers(model: Any, name: str):
    assert f"https://identifiers.org/{_PAPERS[name]}" in _resources(model)
    assert "https://identifiers.org/taxonomy:9606" in _resources(model)
    history = model.getModelHistory()
    assert history.getNumCreators() == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*", history.getCreatedDate().getDateAsString())
    assert "BSD-3-Clause" in model.getNotesString()


# ---- where the numbers come from -------------------------------------------------------------------

_UNITS = {  # the unit in the note, by the id of the SBML unit
    "dimensionless": {"1"},
    "nM": {"nM"},
    "per_nM": {"1/nM"},
    "per_min": {"1/min"},
    "nM_per_min": {"nM/min"},
    "per_nM_per_min": {"1/nM/min"},
    "per_h": {"1/h"},
    "per_ul": {"cells/ul"},
    "per_day": {"1/d", "molecules/cell/day"},
    "pg_per_ml": {"pg/ml"},
    "molecules_per_pg": {"molecules/ul per pg/ml"},
    "per_ul_per_day": {"cells/ul/day", "molecules/ul/day"},
    "nM_per_h": {"nM/h"},
    "per_nM_per_h": {"1/nM/h"},
    "cells_per_ml": {"cells/ml"},
    "pL_cells_per_ml": {"pL cells/ml"},
    "item": {"molecules/cell"},
    "item_per_zmol": {"molecules/zmol"},
}


def test_every_parameter_states_unit_label_and_source(model: Any, name: str):
    sources = parameter_sources(name)
    ruled = {model.getRule(i).getVariable() for i in range(model.getNumRules())}
    given = [p for i in range(model.getNumParameters()) if (p := model.getParameter(i)).getId() not in ruled]
    compartments = {model.getCompartment(i).getId() for i in range(model.getNumCompartments())}
    assert {p.getId() for p in given} | compartments == set(sources)
    for parameter in given:
        source = sources[parameter.getId()]
        assert source.unit in _UNITS[parameter.getUnits()], parameter.getId()
        assert source.source and source.note, parameter.getId()


def test_sources_travel_into_the_sbml(model: Any, name: str):
    for parameter, source in parameter_sources(name).items():
        element = model.getParameter(parameter) or model.getCompartment(parameter)
        notes = " ".join(re.sub(r"<[^>]+>", "", element.getNotesString()).split())
        assert notes.startswith(f"{source.unit}; {source.label}; "), parameter


_TRUST = {"paper": 3, "looked up": 3, "recalled": 2, "feasibility": 1, "assumed": 1}


@pytest.mark.skipif(not LEDGER.exists(), reason="the table of parameters is kept outside the repository")
def test_no_label_is_better_than_its_row_in_the_table_of_parameters(name: str):
    with LEDGER.open(encoding="utf-8") as file:
        ledger = {row["id"]: row for row in csv.DictReader(file)}
    seen = 0
    for parameter, source in parameter_sources(name).items():
        row = re.search(r"\bP\d{3}\b", source.source)
        if row and source.label != "defined":
            assert _TRUST[source.label] <= _TRUST[ledger[row[0]]["label"]], parameter
            seen += 1
    assert seen >= 8
