"""The equations of the bundled IL-7 model; what holds of every bundled model is in test_bundled_models.py."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kinetics import antimony
from kinetics.catalogue import find_model

libsbml = pytest.importorskip("libsbml")
roadrunner = pytest.importorskip("roadrunner")

NAME = "il7_stat5_imatinib"
AVOGADRO = 602.214076  # molecules per zmol
LEDGER = Path(__file__).parents[1].parent / "shared" / "science" / "parameters.csv"


@pytest.fixture(scope="module")
def document() -> Any:
    return libsbml.readSBMLFromString(find_model(NAME).sbml())


@pytest.fixture(scope="module")
def model(document: Any) -> Any:
    return document.getModel()


@pytest.fixture()
def runner() -> Any:
    return roadrunner.RoadRunner(find_model(NAME).sbml())


def _concentration_rates(runner: Any) -> dict[str, float]:
    """nM/min by species, each in its own compartment."""
    inside = runner.model
    return dict(zip(inside.getFloatingSpeciesIds(), inside.getFloatingSpeciesConcentrationRates(), strict=True))


def _complaints(document: Any) -> list[str]:
    document.setConsistencyChecks(libsbml.LIBSBML_CAT_UNITS_CONSISTENCY, True)
    document.checkConsistency()
    return [document.getError(i).getMessage() for i in range(document.getNumErrors())]


# ---- equations -------------------------------------------------------------------------------------


def _rates(s: dict[str, float], p: dict[str, float]) -> dict[str, float]:
    """The equations of the feasibility study, written out by hand: nM/min in the cell and the medium."""
    v = p["cell"] / p["medium"]
    u = p["fu"] * s["Imatinib_cell"] / p["Kp_IMA"]
    jak = 1.0
    for rux, tofa in ((3.3, 1.6), (428.0, 0.16)):
        jak /= 1 + s["Ruxolitinib"] / rux + s["Tofacitinib"] / tofa + u / p["KiJAK"]
    activity = jak * (p["eps"] + (1 - p["eps"]) / (1 + u / p["KiLCK"]))
    bind = p["kon"] * s["IL7"] * s["IL7R"] - p["koff"] * s["IL7_IL7R"]
    assemble = p["k2on"] * s["IL7_IL7R"] * s["gc"] - p["k2off"] * s["IL7_IL7R_gc"]
    complexes = s["IL7_IL7R_gc"] + 0.5 * s["IL7_IL7R_gc_int"]
    phosphorylate = p["kp"] * activity * complexes * s["STAT5"] / (1 + s["CIS"] / 433)
    uptake = p["kin"] * s["Imatinib"] - p["kin"] / p["Kp_IMA"] * s["Imatinib_cell"]
    receptors, gammas = (p[n] / AVOGADRO / p["cell"] for n in ("IL7R_number", "gc_number"))
    nuclear = s["pSTAT5_nuc"]
    tcr = p["TCR"] / (1 + u / p["KiTCR"])
    return {
        "IL7": -v * bind,
        "Imatinib": -v * uptake,
        "Imatinib_cell": uptake,
        "IL7R": -bind + p["ke"] * (receptors - s["IL7R"]),
        "gc": -assemble + p["kg"] * (gammas - s["gc"]),
        "IL7_IL7R": bind - assemble - p["ke"] * s["IL7_IL7R"],
        "IL7_IL7R_gc": assemble - p["kea"] * s["IL7_IL7R_gc"],
        "IL7_IL7R_gc_int": p["kea"] * s["IL7_IL7R_gc"] - p["kdegi"] * s["IL7_IL7R_gc_int"],
        "STAT5": -phosphorylate + p["kd"] * s["pSTAT5"] + p["kexp"] * s["STAT5_nuc"],
        "pSTAT5": phosphorylate - (p["kd"] + p["kimp"]) * s["pSTAT5"],
        "pSTAT5_nuc": p["kimp"] * s["pSTAT5"] - p["kdn"] * nuclear,
        "STAT5_nuc": p["kdn"] * nuclear - p["kexp"] * s["STAT5_nuc"],
        "CIS_mRNA": 0.02 * nuclear / (60 + nuclear) - 0.03 * s["CIS_mRNA"],
        "CIS": 2 * s["CIS_mRNA"] - 0.008 * s["CIS"],
        "BCL2_mRNA": 0.0014 + 0.02 * nuclear / (p["Kb2"] + nuclear) - 0.0023 * s["BCL2_mRNA"],
        "BCL2": 0.12 * s["BCL2_mRNA"] - 0.00077 * s["BCL2"],
        "ppERK": 0.2 * (tcr * s["ERK"] - s["ppERK"]),
        "ERK": -0.2 * (tcr * s["ERK"] - s["ppERK"]),
    }


@pytest.mark.parametrize("seed", range(5))
def test_sbml_says_what_the_equations_say(runner, seed):
    random = np.random.default_rng(seed)
    species = [*runner.model.getFloatingSpeciesIds(), *runner.model.getBoundarySpeciesIds()]
    state = {name: 10.0 ** random.uniform(-2, 3) for name in species}
    runner["TCR"] = 0.7
    for name, value in state.items():
        runner.model[f"[{name}]"] = value
    names = ["medium", "cell", *runner.model.getGlobalParameterIds()]
    parameters = {name: float(runner[name]) for name in names}

    expected = _rates(state, parameters)

    rates = _concentration_rates(runner)
    assert set(expected) == set(rates)
    scale = max(map(abs, expected.values()))  # differences of large terms lose digits
    assert_allclose([rates[n] for n in expected], list(expected.values()), rtol=1e-9, atol=1e-12 * scale)


def test_state_before_treatment_is_a_steady_state(runner):
    """Nothing moves without IL-7, drug and TCR input; initial values are its closed form."""
    assert_allclose(list(_concentration_rates(runner).values()), 0.0, atol=1e-12)
    assert_allclose(runner["[IL7R]"], 19163 / AVOGADRO / 0.2, rtol=1e-12)
    assert_allclose(runner["[BCL2]"], 0.12 * 0.0014 / 0.0023 / 0.00077, rtol=1e-12)
    assert runner["pSTAT5_total"] == 0.0


def test_medium_of_a_cell_follows_from_the_density(runner):
    """2e6 cells/ml leave 500 pL to each, where 0.1 ng/ml of 17.4 kDa is 1,731 molecules."""
    assert_allclose(runner["medium"], 500.0, rtol=1e-12)
    molecules = 0.1 / 17.4 * runner["medium"] * AVOGADRO  # 0.1 ng/ml in nM, times pL, times 1/zmol
    assert_allclose(molecules, 1731, atol=1.0)  # printed without digits after the point


def test_recycling_of_gamma_c_moves_it_and_nothing_else(runner):
    runner.model["[IL7_IL7R_gc]"] = 10.0
    before = _concentration_rates(runner)
    runner["gc_recycling"] = 0.9
    after = _concentration_rates(runner)
    moved = {name: after[name] - before[name] for name in after if abs(after[name] - before[name]) > 1e-12}
    assert moved == {"gc": pytest.approx(0.9 * 0.03 * 10.0)}  # share x kea x complex


@pytest.mark.parametrize(
    ("parameter", "value", "quantity", "factor"),
    [
        ("fold_kinase", 0.1, "kinase_activity", 0.1),
        ("fold_phosphatase", 5.0, "phosphatase_activity", 5.0),
        ("fold_affinity", 0.1, "koff_now", 10.0),
        ("potency_kinase", 0.01, "kinase_activity", 1 / 16),  # 1500 nM unbound x 0.01 /nM = 15
        ("potency_phosphatase", 0.01, "phosphatase_activity", 16.0),
        ("potency_affinity", 0.01, "koff_now", 16.0),
        ("potency_IL7R_synthesis", 0.01, "IL7R_synthesis_now", 1 / 16),
        ("potency_IL7R_turnover", 0.01, "IL7R_turnover_now", 16.0),
    ],
)
def test_each_mechanism_has_a_parameter_that_does_nothing_by_default(runner, parameter, value, quantity, factor):
    runner.model["[Imatinib_cell]"] = 24000.0  # 3 uM in the medium, at equilibrium
    assert_allclose(runner["Imatinib_unbound"], 1500.0, rtol=1e-12)
    before = runner[quantity]
    runner[parameter] = value
    assert_allclose(runner[quantity] / before, factor, rtol=1e-12)


# ---- the document ----------------------------------------------------------------------------------


def test_unit_check_would_see_a_mistake():
    """Control of the test above: a rate constant in nM/min instead of 1/min must be reported."""
    wrong = find_model(NAME).antimony().replace("kd has per_min;", "kd has nM_per_min;")
    complaints = _complaints(libsbml.readSBMLFromString(antimony.to_sbml(wrong)))
    assert any("STAT5_dephosphorylation" in complaint for complaint in complaints)


def test_model_keeps_to_what_every_tool_reads(document, model):
    assert (document.getLevel(), document.getVersion()) == (3, 2)
    assert model.getNumEvents() == 0
    assert model.getNumConstraints() == 0
    rules = [model.getRule(i) for i in range(model.getNumRules())]
    assert all(rule.isAssignment() for rule in rules)
    assert not re.search(r"delay|rateOf|<rem/>|<quotient/>|<max/>|<min/>|<implies/>", find_model(NAME).sbml())
    species = [model.getSpecies(i) for i in range(model.getNumSpecies())]
    assert 17 <= len(species) <= 20
    assert not any(each.getHasOnlySubstanceUnits() for each in species)




@pytest.mark.skipif(not LEDGER.exists(), reason="the table of parameters is kept outside the repository")
def test_receptor_numbers_of_the_variants_are_those_of_the_table():
    with LEDGER.open(encoding="utf-8") as file:
        ledger = {row["id"]: row for row in csv.DictReader(file)}
    for variant, row in (("T_helper", "P023"), ("naive_CD4", "P024"), ("memory_CD4", "P025"), ("CD8", "P026"),
                         ("naive_CD8", "P027"), ("memory_CD8", "P028")):  # fmt: skip
        values = find_model(NAME).variants[variant].values
        printed = [float(number) for number in ledger[row]["value"].split(";")]
        assert [values["IL7R_number"], values["gc_number"]] == printed, variant
