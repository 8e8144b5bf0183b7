"""The bundled steroid model: its equations written by hand, and what must hold whatever its constants are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import kinetics as kin
from kinetics.catalogue import find_model

roadrunner = pytest.importorskip("roadrunner")

NAME = "gc_bim_tall"
PARTNERS = ("BCL2", "BCLXL", "MCL1")


@pytest.fixture()
def runner() -> Any:
    return roadrunner.RoadRunner(find_model(NAME).sbml())


@pytest.fixture(scope="module")
def model() -> kin.Model:
    return kin.Model.load(NAME)


def _rates(s: dict[str, float], p: dict[str, float]) -> dict[str, float]:
    """The equations written out by hand: nM/h, and 1/h for the fractions of cells."""
    # receptor
    nuclear = s["GRn_Dex"] + s["GRn_Pred"]
    gre = nuclear**2 / (p["Kgre"] ** 2 + nuclear**2)
    stat5, erk, akt = s["pSTAT5"] / p["STAT5_total"], s["ppERK"] / p["ERK_total"], s["pAKT"] / p["AKT_total"]
    imported = p["k_import"] / (1 + p["akt_gr"] * akt)
    dex = p["kon_Dex"] * (s["Dexamethasone"] * s["GR"] - p["Kd_Dex"] * s["GR_Dex"])
    pred = p["kon_Pred"] * (s["Prednisolone"] * s["GR"] - p["ratio_Pred_Dex"] * p["Kd_Dex"] * s["GR_Pred"])
    into_dex = imported * s["GR_Dex"] - p["k_export"] * s["GRn_Dex"]
    into_pred = imported * s["GR_Pred"] - p["k_export"] * s["GRn_Pred"]
    made = p["k_GR"] * p["fold_GR"] * p["GR_total"] * (1 + p["gr_auto"] * gre)
    # signals
    lck = p["eps"] + (1 - p["eps"]) / (1 + p["fu_IMA"] * s["Imatinib"] / p["KiLCK"])
    arm = s["IL7"] / (s["IL7"] + p["K_IL7"]) * lck
    drive = p["fold_JAK1"] * p["fold_JAK3"] * s["IL7R"] / p["IL7R_0"] * (p["b_JAK"] + p["w_IL7"] * arm)
    drive += p["w_mIL7R"] * p["mIL7R"] + p["w_mJAK1"] * p["mJAK1"] + p["w_mJAK3"] * p["mJAK3"]
    jak = drive ** p["n_JAK"] / (1 + drive ** p["n_JAK"])
    jak /= (1 + s["Ruxolitinib"] / p["KiJAK1_RUX"]) * (1 + s["Ruxolitinib"] / p["KiJAK3_RUX"])
    ras = p["r0"] + p["aRJ"] * jak + p["w_mRAS"] * p["mRAS"] + p["aNR"] * p["oeNRAS"]
    ras /= 1 + ras
    mek = ras / (1 + s["CI1040"] / p["Ki_CI1040"])
    pi3k = p["a0"] + p["aAJ"] * jak + p["aAR"] * ras + p["aAO"] * p["oeAKT"]
    pi3k /= 1 + pi3k
    pi3k /= 1 + s["MK2206"] / p["Ki_MK2206"] + s["BEZ235"] / p["Ki_BEZ235_PI3K"]
    mtor = akt / (akt + p["K_S6K"]) / (1 + s["BEZ235"] / p["Ki_BEZ235_mTOR"])
    gsk3 = 1 / ((1 + p["gA"] * akt + p["gE"] * erk) * (1 + s["GSK3i_IX"] / p["Ki_GSK3i"]))
    # what the parental line carries, and the three arms
    jak_0 = p["b_JAK"] ** p["n_JAK"] / (1 + p["b_JAK"] ** p["n_JAK"])
    erk_0 = (p["r0"] + p["aRJ"] * jak_0) / (1 + p["r0"] + p["aRJ"] * jak_0)
    akt_0 = p["a0"] + p["aAJ"] * jak_0 + p["aAR"] * erk_0
    akt_0 /= 1 + akt_0
    gsk3_0 = 1 / (1 + p["gA"] * akt_0 + p["gE"] * erk_0)

    def mix(now, parental, switch):
        return switch * now + (1 - switch) * parental

    stat5_bcl2, erk_bcl2, akt_bcl2 = (
        mix(now, parental, p["arm_BCL2"]) for now, parental in ((stat5, jak_0), (erk, erk_0), (akt, akt_0))
    )
    erk_bim, akt_bim = mix(erk, erk_0, p["arm_BIM"]), mix(akt, akt_0, p["arm_BIM"])
    gsk3_mcl1 = mix(gsk3, gsk3_0, p["arm_GSK3"])
    # the family
    off = p["kon_BH3"] * p["Kd_BH3"]
    on = {
        "BCL2": p["kon_BH3"] / (1 + p["fu_VEN"] * s["Venetoclax"] / p["Ki_VEN"]),
        "BCLXL": p["kon_BH3"],
        "MCL1": p["kon_BH3"] / (1 + s["S63845"] / p["Ki_S63845"]),
    }
    lost = {"BCL2": p["k_BCL2"], "BCLXL": p["k_BCLXL"], "MCL1": p["k_MCL1"] + p["kGM"] * gsk3_mcl1}
    bound = {**lost, "MCL1": p["k_MCL1_bound"] + p["bound_GSK3"] * p["kGM"] * gsk3_mcl1}
    synthesis = {
        "BCL2": p["ksB2"] * (1 + p["cB2"] * stat5_bcl2 + p["cB2A"] * akt_bcl2),
        "BCLXL": p["ksBX"] * (1 + p["cBXs"] * stat5_bcl2 + p["cBXe"] * erk_bcl2 + p["cBXa"] * akt_bcl2),
        "MCL1": p["ksM1"],
    }
    rates = {
        "GR": made - p["k_GR"] * s["GR"] - dex - pred,
        "GR_Dex": dex - into_dex - p["k_GR"] * s["GR_Dex"],
        "GR_Pred": pred - into_pred - p["k_GR"] * s["GR_Pred"],
        "GRn_Dex": into_dex - p["k_GR"] * s["GRn_Dex"],
        "GRn_Pred": into_pred - p["k_GR"] * s["GRn_Pred"],
        "GILZ_mRNA": p["k_GILZ"] * (p["GILZ_0"] * (1 + p["gGILZ"] * gre) - s["GILZ_mRNA"]),
        "IL7R": p["k_IL7R"] * (p["fold_IL7R"] * p["IL7R_0"] * (1 + p["gIL7R"] * gre) - s["IL7R"]),
        "pSTAT5": p["k_STAT5"] * (jak * p["STAT5_total"] - s["pSTAT5"]),
        "ppERK": p["k_ERK"] * (mek * p["ERK_total"] - s["ppERK"]),
        "pAKT": p["k_AKT"] * (pi3k * p["AKT_total"] - s["pAKT"]),
        "pS6K": p["k_S6K"] * (mtor * p["S6K_total"] - s["pS6K"]),
        "BIM_mRNA": p["k_BIM_mRNA"]
        * (p["BIM_mRNA_0"] * (1 + p["gBIM"] * gre * p["epiBIM"]) / (1 + p["cFOXO"] * akt_bim) - s["BIM_mRNA"]),
        "BIM": p["ksBIM"] * p["fold_BIM"] * s["BIM_mRNA"] - (p["k_BIM"] + p["kERKB"] * erk_bim) * s["BIM"],
        "PUMA": p["ksPU"] * (1 + p["gPU"] * gre) - p["k_PUMA"] * s["PUMA"],
    }
    for partner in PARTNERS:
        rates[partner] = synthesis[partner] * p["fold_pool"] * p[f"fold_{partner}"] - lost[partner] * s[partner]
        for killer in ("BIM", "PUMA"):
            binding = on[partner] * s[killer] * s[partner] - off * s[f"{killer}_{partner}"]
            rates[f"{killer}_{partner}"] = binding - bound[partner] * s[f"{killer}_{partner}"]
            released = p["bound_GSK3"] * p["kGM"] * gsk3_mcl1 * s[f"{killer}_MCL1"] if partner == "MCL1" else 0.0
            rates[killer] += released - binding
            rates[partner] -= binding
    # cells
    z = math.log((s["BIM"] + p["wP"] * s["PUMA"]) / p["theta"]) / p["sigma"]
    excess = s["intact"] - (1 - 0.5 * (1 + math.tanh(0.79788 * (z + 0.044715 * z**3))))
    firing = p["death_on"] * p["kdie"] * 0.5 * (excess + math.hypot(excess, p["smooth"] * s["intact"]))
    flow = (firing, *(p[k] * s[name] for k, name in (("k_BAX", "BAX_active"), ("k_cytC", "cytC_released"))))
    flow = (*flow, p["k_CASP3"] * s["CASP3_active"])
    rates |= {
        "intact": -flow[0],
        "BAX_active": flow[0] - flow[1],
        "cytC_released": flow[1] - flow[2],
        "CASP3_active": flow[2] - flow[3],
        "dead": flow[3],
    }
    return rates


CELLS = ("intact", "BAX_active", "cytC_released", "CASP3_active", "dead")


@pytest.mark.parametrize("seed", range(6))
def test_sbml_says_what_the_equations_say(runner, seed):
    random = np.random.default_rng(seed)
    inside = runner.model
    names = [name for name in inside.getGlobalParameterIds() if name not in CELLS]
    for flag in ("mIL7R", "mJAK1", "mJAK3", "mRAS", "oeNRAS", "oeAKT", "arm_BCL2", "arm_GSK3", "arm_BIM"):
        runner[flag] = random.uniform()
    runner["akt_gr"], runner["gr_auto"], runner["fold_JAK1"] = 0.7, 0.4, 1.7
    species = [*inside.getFloatingSpeciesIds(), *inside.getBoundarySpeciesIds()]
    state = {name: 10.0 ** random.uniform(-1, 2) for name in species}
    for name, value in state.items():
        inside[f"[{name}]"] = value
    fractions = dict(zip(CELLS, random.dirichlet(np.ones(5)).tolist(), strict=True))
    for name, value in fractions.items():
        runner[name] = value
    parameters = {name: float(runner[name]) for name in names}

    expected = _rates({**state, **fractions}, parameters)

    found = dict(zip(inside.getFloatingSpeciesIds(), inside.getFloatingSpeciesConcentrationRates(), strict=True))
    found |= {name: float(runner[f"{name}'"]) for name in CELLS}
    assert set(expected) == set(found)
    scale = max(map(abs, (expected[name] for name in expected if name not in CELLS)))  # large terms lose digits
    assert_allclose([found[n] for n in expected], list(expected.values()), rtol=1e-9, atol=1e-13 * scale)


# ---- what holds whatever the constants are -----------------------------------------------------------

LINES = [{}, {"mIL7R": 1.0}, {"mRAS": 1.0}, {"oeAKT": 1.0}, {"fold_GR": 0.0}]


Values = dict[str, float]


def _course(model: kin.Model, background: Values, drugs: dict[str, str], times: list[float], *names: str) -> Any:
    before, after = {**background, "death_on": 0.0}, {**drugs, "death_on": 1.0}
    experiment = kin.Experiment.steps(("200 h", before), ("72 h", after))
    return kin.simulate(model, experiment, [f"{time:g} h" for time in times], list(names))


@pytest.mark.parametrize("background", LINES, ids=str)
def test_cells_are_conserved_and_only_die(model, background):
    times = np.linspace(0.0, 72.0, 25).tolist()
    course = _course(model, background, {"Prednisolone": "1 uM"}, times, *CELLS, "live")
    fractions = np.stack([course[name] for name in CELLS])
    assert_allclose(fractions.sum(axis=0), 1.0, atol=1e-9)  # rates sum to zero; what is left is rounding
    assert_allclose(course["live"], 1.0 - course["dead"], atol=1e-9)
    assert np.all(fractions >= -1e-9)
    assert np.all(np.diff(course["dead"]) >= -1e-9)


@pytest.mark.parametrize("background", LINES, ids=str)
def test_without_drug_nothing_moves_but_cells_at_the_brink(model, background):
    family = ("BIM", "BIM_total", "PUMA_total", "BCL2_all", "BCLXL_all", "MCL1_all")
    names = (*family, "GILZ_mRNA", "IL7R", "ERK", "GR_all")
    course = _course(model, background, {}, [0.0, 24.0, 72.0], *names)
    for name in names:
        # the slowest pool has 200 h at 0.05 /h behind it: exp(-10) is 4.5e-5
        assert_allclose(course[name], course[name][0], rtol=2e-4, atol=1e-9, err_msg=name)


def test_receptor_is_conserved(model):
    """Synthesis and turnover balance, bound or not, as long as auto-regulation is off."""
    course = _course(model, {}, {"Dexamethasone": "1 uM", "Prednisolone": "1 uM"}, [0.0, 1.0, 24.0, 72.0], "GR_all")
    assert_allclose(course["GR_all"], model.entity("GR_total").value, rtol=1e-7)


def test_translocated_share_is_that_of_binding_and_transport(model):
    """At equilibrium L/(L + Kd/(1 + ki/ke)) of the receptor is bound, in the cytosol and the nucleus together."""
    course = _course(model, {"k_GR": 0.0}, {"Dexamethasone": "10 nM"}, [72.0], "GRn")
    value = {name: model.entity(name).value for name in ("Kd_Dex", "k_import", "k_export", "GR_total")}
    nuclear = value["k_import"] / value["k_export"]
    bound = 10.0 * (1.0 + nuclear) / (10.0 * (1.0 + nuclear) + value["Kd_Dex"])
    expected = value["GR_total"] * bound * nuclear / (1.0 + nuclear)
    assert_allclose(course["GRn"][0], expected, rtol=1e-6)


def test_without_receptor_steroids_do_nothing(model):
    doses = ["0 nM", "1 nM", "100 nM", "10 uM"]
    left = [_course(model, {"fold_GR": 0.0}, {"Dexamethasone": dose}, [72.0], "live")["live"][0] for dose in doses]
    assert_allclose(left, left[0], rtol=1e-9)


def test_what_is_left_is_the_share_of_higher_thresholds(model):
    """At long times intact cells are those whose log-normal threshold lies above the free activators."""
    course = _course(model, {}, {"Prednisolone": "1 uM"}, [300.0], "intact", "activators")
    z = math.log(course["activators"][0] / model.entity("theta").value) / model.entity("sigma").value
    above = 0.5 * math.erfc(z / math.sqrt(2.0))
    # the smooth distribution function is off by 3e-4 at most; at the smooth corner cells leak beyond their threshold,
    # after a time t by smooth x intact x sqrt(kdie t / 2), which is below 2e-4 here
    assert_allclose(course["intact"][0], above, atol=5e-4)


def test_removed_arms_carry_what_the_parental_line_does(model):
    """With all three switched off the mutation reaches nothing that decides."""
    off = {"arm_BCL2": 0.0, "arm_GSK3": 0.0, "arm_BIM": 0.0}
    names = ("BIM", "BCL2_all", "BCLXL_all", "MCL1_all", "BIM_mRNA")
    mutant = _course(model, {"mIL7R": 1.0, **off}, {}, [0.0], *names)
    parental = _course(model, {}, {}, [0.0], *names)
    for name in names:
        assert_allclose(mutant[name], parental[name], rtol=1e-6, err_msg=name)  # parental activities settle in 200 h
