"""From the signalling to the T-cell model: the rate law, averages against the moving model, no pasted numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.testing import assert_allclose

import kinetics as kin
from kinetics import pk, tone
from kinetics.catalogue import parameter_sources
from kinetics.errors import InputError, UnknownName
from kinetics.tone import SUBSETS, DrugEffect, Response


@pytest.fixture(scope="module")
def signalling() -> kin.Model:
    return kin.Model.load("il7_stat5_imatinib")


@pytest.fixture(scope="module")
def laws(signalling: kin.Model) -> Mapping[str, Response]:
    return tone.responses(signalling)


@pytest.fixture(scope="module")
def effect(signalling: kin.Model) -> DrugEffect:
    return tone.drug_effect(signalling)


def test_rate_law_is_within_five_percent_of_the_simulated_surface(laws: Mapping[str, Response]):
    """The bound of the decision record, over IL-7 of 0.5-200 pg/ml and 0-3 uM unbound imatinib."""
    for law in laws.values():
        assert law.largest_error < 0.05, law.cells


def test_rate_law_holds_between_the_points_it_was_fitted_to(signalling: kin.Model, laws: Mapping[str, Response]):
    il7, unbound = 7.3, 0.17  # pg/ml, uM: on no grid
    for cells in ("naive_CD4", "memory_CD8"):
        receptors = tone._receptors(signalling, cells)
        course = kin.simulate(
            tone._held(signalling),
            kin.Experiment.steps(("60 d", {"IL7": f"{il7} pg/ml", "Imatinib": f"{unbound} uM"}), zero_at_last=False),
            ["60 d"],
            ["pSTAT5_fraction", "kinase_activity"],
            parameters=receptors,
        )
        expected = float(laws[cells].pSTAT5(il7, course["kinase_activity"][0]))
        assert expected == pytest.approx(float(course["pSTAT5_fraction"][0]), rel=0.05)


def test_numbers_of_the_t_cell_model_are_those_of_the_signalling_model(laws: Mapping[str, Response]):
    """They were written with four digits; whoever changes the signalling model must compute them again."""
    model = kin.Model.load("tcell_homeostasis")
    coupled = tone.as_parameters(laws)
    assert len(coupled) == 4 * len(SUBSETS)
    for name, value in coupled.items():
        assert model.entity(name).value == pytest.approx(value, rel=1e-3), name
        assert parameter_sources("tcell_homeostasis")[name].label == "calibrated"


def test_kinase_activity_and_tcr_tone_by_hand(signalling: kin.Model, effect: DrugEffect):
    """LCK and two JAKs, each 1/(1 + u/Ki); ppERK is x/(1 + x) with x = input/(1 + u/KiTCR)."""
    names = ("eps", "KiLCK", "KiJAK", "KiTCR", "kin", "Kp_IMA")
    at = {name: float(signalling.entity(name).value or 0.0) for name in names}
    unbound = np.array([0.0, 0.0004, 0.02, 0.118, 0.27, 1.5, 7.7])  # uM
    nM = 1e3 * unbound
    expected = (at["eps"] + (1 - at["eps"]) / (1 + nM / at["KiLCK"])) / (1 + nM / at["KiJAK"]) ** 2
    assert_allclose(effect.activity_at(unbound), expected, rtol=3e-3)  # interpolation
    for given in (tone.WEAK_TCR, tone.HALF_MAXIMAL_TCR):
        x = given / (1 + nM / at["KiTCR"])
        assert_allclose(effect.tcr_at(unbound, given), x / (1 + x) * (1 + given) / given, rtol=3e-3)
    assert effect.exchange == pytest.approx(60.0 * at["kin"] / at["Kp_IMA"])


@pytest.mark.parametrize(("who", "il7"), [("human", 3.2), ("human", 30.0), ("mouse", 24.0), ("mouse", 5.0)])
def test_averages_agree_with_the_moving_model(
    signalling: kin.Model, laws: Mapping[str, Response], effect: DrugEffect, who: str, il7: float
):
    """The signalling model under the plasma course itself, beside steady states put side by side: within 5 %."""
    dosing = pk.bundled(who)
    activity = effect.activity_at(tone.over_interval(dosing, effect))
    for cells in ("naive_CD4", "memory_CD8"):
        found = tone.tone(laws[cells], activity, il7)
        moving = tone.pSTAT5_while_moving(signalling, cells, dosing, il7)
        assert float(found.pSTAT5) == pytest.approx(float(np.mean(moving)), rel=0.05)
        assert float(found.lowest) == pytest.approx(float(np.min(moving)), rel=0.05)
        assert float(found.highest) == pytest.approx(float(np.max(moving)), rel=0.05)


@pytest.mark.parametrize("who", ["human", "mouse"])
def test_one_mean_activity_stands_for_the_interval(laws: Mapping[str, Response], effect: DrugEffect, who: str):
    """What is handed over is the mean kinase activity; the one that gives the mean pSTAT5 differs by less than 5 %."""
    activity = effect.activity_at(tone.over_interval(pk.bundled(who), effect))
    for law in laws.values():
        for il7 in (1.0, 5.0, 30.0, 100.0):
            exact = float(tone.tone(law, activity, il7).activity)
            assert exact == pytest.approx(float(np.mean(activity)), rel=0.05)


def test_overrides_reach_the_signalling_model(signalling: kin.Model, effect: DrugEffect, laws: Mapping[str, Response]):
    weaker = tone.drug_effect(signalling, parameters={"KiLCK": 400.0})
    assert float(weaker.activity_at(0.1)) > 2.0 * float(effect.activity_at(0.1))
    stronger = tone.response(signalling, "naive_CD8", parameters={"kp": 0.4})
    assert float(stronger.pSTAT5(3.0, 1.0)) > 1.2 * float(laws["naive_CD8"].pSTAT5(3.0, 1.0))


def test_inverse_of_the_law(laws: Mapping[str, Response]):
    law = laws["memory_CD4"]
    activity = np.array([0.05, 0.3, 1.0])
    assert_allclose(law.activity_for(law.pSTAT5(8.0, activity), 8.0), activity, rtol=1e-10)


def test_mistakes_are_refused(signalling: kin.Model, effect: DrugEffect):
    with pytest.raises(UnknownName, match="naive_CD4"):
        tone.response(signalling, "naive_CD44")
    with pytest.raises(InputError, match="0-10 uM"):
        effect.activity_at(11.0)
    with pytest.raises(UnknownName, match="TCR input"):
        effect.tcr_at(0.1, 0.7)
    with pytest.raises(InputError, match="do not respond"):
        tone.response(signalling, "naive_CD4", parameters={"kp": 0.0})
    with pytest.raises(InputError, match="nothing for it to lower"):
        tone.drug_effect(signalling, parameters={"k_ERK": 0.0})
