"""Claims about cohorts of T-ALL samples: the design is what it says, and each criterion can be met and missed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

import kinetics as kin
from fits.claims.bench import Bench
from fits.claims.checking import check
from fits.claims.ledger import How, find_claim
from fits.claims.verdict import Status, Verdict
from fits.steroid.virtual import Virtual, design, samples, simulate_samples

IDS = ["A07", "A08", "A09", "X01", "X02"]
BREAKING = [  # in the declared ranges of gc_bim_tall
    (("A07", "A08", "A09"), {"theta": 1.5, "ksBIM": 60.0}),
    (("X01",), {"theta": 40.0}),
    (("X02",), {  # one of 30 random draws: the threshold is out of reach of nearly every sample
        "Kgre": 6.505, "Kd_Dex": 16.369, "ratio_Pred_Dex": 6.693, "gBIM": 6.678, "cFOXO": 0.752, "ksBIM": 2.168,
        "kERKB": 0.102, "ksPU": 0.668, "gPU": 2.612, "ksB2": 18.555, "cB2": 0.559, "cB2A": 0.654, "ksBX": 0.622,
        "cBXs": 0.099, "cBXe": 0.916, "cBXa": 8.859, "ksM1": 166.586, "kGM": 2.29, "wP": 0.066, "theta": 35.772,
        "sigma": 0.367, "kdie": 0.094, "r0": 0.099, "aRJ": 0.701, "w_mRAS": 3.394, "aNR": 0.656, "a0": 0.25,
        "aAJ": 0.377, "aAR": 0.237, "aAO": 5.097, "gA": 13.901, "gE": 3.69,
    }),
]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> kin.Model:
    return kin.Model.load("gc_bim_tall")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that a test can afford; only what does not need the true size is asked of it."""
    monkeypatch.setitem(design(), "pool_size", 150)
    monkeypatch.setitem(design(), "replicates", 20)
    monkeypatch.setitem(design()["dexamethasone"], "curves", 100)


def made_up(n: int = 1000) -> Virtual:
    """Samples that meet every criterion: half of the mutated resist, as ruxolitinib has it, and Emax is all."""
    rng = np.random.default_rng(0)
    mutation = rng.choice(
        list(design()["mutations"]), n, p=[row["frequency"] for row in design()["mutations"].values()]
    )
    noise = 0.1 * rng.random(n)
    doses = np.array(design()["dexamethasone"]["nM"])
    plateau = rng.random(n)
    curves = 1.0 - (1.0 - plateau)[:, None] * doses / (doses + 5.0)
    rescued = np.where(np.arange(n) % 100 < 63, 0.9, 0.1)
    inhibited = np.where(np.arange(n) % 2 == 0, 0.1, 0.9)
    return Virtual(mutation, np.where(mutation == "none", 0.2, 0.6) + noise, curves, doses, rescued, inhibited)


def answered(virtual: Virtual, model: kin.Model) -> dict[str, Verdict]:
    bench = Bench({model.name: model})
    bench.kept("virtual samples", lambda: virtual)
    return {verdict.claim.id: verdict for verdict in check(bench=bench, only=IDS)}


# ---- the design ------------------------------------------------------------------------------------------------


def test_the_design_is_what_the_claims_speak_of():
    table = design()
    assert [table["cohorts"][name]["size"] for name in ("discovery", "extended", "external")] == [69, 146, 73]
    assert set(table["cohorts"]["extended"]["panel"]) == {"IL7R", "JAK1", "JAK3", "NF1", "NRAS", "KRAS", "AKT"}
    assert {"IL7R", "JAK1", "KRAS"} <= set(table["cohorts"]["discovery"]["panel"])
    assert table["mutations"]["JAK3"]["values"] == {}
    assert table["mutations"]["NF1"]["values"] == table["mutations"]["KRAS"]["values"] == {"mRAS": 1}
    assert sum(row["frequency"] for row in table["mutations"].values()) == pytest.approx(1.0)
    assert table["replicates"] >= 200
    for row in (*table["mutations"].values(), *table["spread"].values()):
        assert row["label"] in ("looked up", "recalled", "assumed", "feasibility") and row["reason"]


def test_samples_have_the_shares_and_the_spread_of_the_design(model: kin.Model):
    frame = samples().frame()
    for name, row in design()["mutations"].items():
        assert abs((frame["mutation"] == name).mean() - row["frequency"]) < 0.035  # four standard errors
    assert np.std(np.log(frame["fold_pool"])) == pytest.approx(0.28, rel=0.06)
    assert set(frame["epiBIM"]) == {0.05, 1.0} and set(frame["mRAS"]) == {0.0, 1.0}
    assert set(samples().quantities) <= model.description.entities.keys()


def test_replicates_are_cohorts_of_different_samples():
    virtual = made_up()
    first, second = list(virtual.replicates("discovery"))[:2]
    assert len(set(first.tolist())) == 69 and set(first.tolist()) != set(second.tolist())
    assert len(list(virtual.replicates("extended"))) == design()["replicates"]
    assert max(max(members) for members in virtual.replicates("external", 100)) < 100


# ---- the criteria, on samples made up ----------------------------------------------------------------------------


def test_every_criterion_can_be_met(model: kin.Model):
    for verdict in answered(made_up(), model).values():
        assert verdict.status is Status.HOLDS, verdict.value


def test_without_association_the_rank_test_rejects_its_level(model: kin.Model):
    """Under the null hypothesis p < 0.05 in 5 % of cohorts; requiring the order of medians too takes little away."""
    null = replace(made_up(4000), prednisolone=np.random.default_rng(1).random(4000))
    found = answered(null, model)
    for name in ("A08", "A09"):
        assert found[name].status is Status.FAILS
        assert found[name].numbers["share"] < 0.12


def test_samples_that_could_not_be_simulated_meet_nothing(model: kin.Model):
    virtual, nan = made_up(), np.full(1000, np.nan)
    broken = Virtual(virtual.mutation, nan, np.full_like(virtual.curves, np.nan), virtual.doses, nan, nan)
    for verdict in answered(broken, model).values():
        assert verdict.status is Status.FAILS


def test_area_that_hangs_on_the_ec50_misses_x02(model: kin.Model):
    virtual, rng = made_up(), np.random.default_rng(2)
    ec50 = 10.0 ** rng.uniform(0.5, 3.0, (1000, 1))
    curves = 1.0 - 0.9 * virtual.doses / (virtual.doses + ec50)
    curves[:, -1] = 0.1 + 0.01 * rng.random(1000)  # all samples end in about the same place
    verdict = answered(replace(virtual, curves=curves), model)["X02"]
    assert verdict.status is Status.FAILS and verdict.numbers["by_ec50"] > 0.9


def test_thresholds_are_those_of_the_ledger():
    """A09 is "as A08", so it has none of its own."""
    assert find_claim("A08").thresholds == {"largest_p": 0.05, "smallest_share": 0.8}
    assert not find_claim("A09").thresholds
    assert all(find_claim(name).how is How.EMERGENT and find_claim(name).why_how for name in IDS)


# ---- on the model ------------------------------------------------------------------------------------------------


def test_virtual_samples_agree_with_the_engine(model: kin.Model, few: None):
    virtual, drawn = simulate_samples(model), samples().values()
    table = design()
    for k in (0, 7):
        own = {name: float(values[k]) for name, values in drawn.items()}
        experiment = kin.Experiment.steps(("200 h", {"death_on": 0}), ("72 h", {"death_on": 1}))
        readout = kin.Readout.at("live", "72 h").fold_over({"Dexamethasone": 0, "Prednisolone": 0})
        doses = [experiment.with_changes({"Prednisolone": "1 uM"})]
        doses += [experiment.with_changes({"Dexamethasone": f"{dose} nM"}) for dose in table["dexamethasone"]["nM"]]
        found = kin.measure(model, doses, readout, parameters=own)
        assert_allclose([virtual.prednisolone[k], *virtual.curves[k]], found, atol=2e-4)  # the promise of the batch
        niche = experiment.with_changes({"IL7": "25 ng/ml", "Dexamethasone": "2.5 uM"})
        with_drug = niche.with_changes({"Ruxolitinib": "0.5 uM"})
        readout = kin.Readout.at("live", "48 h").fold_over({"Dexamethasone": 0, "Ruxolitinib": 0})
        found = kin.measure(model, [niche, with_drug], readout, parameters=own)
        assert_allclose([virtual.rescued[k], virtual.inhibited[k]], found, atol=2e-4)


@pytest.mark.parametrize(("claims", "values"), BREAKING)
def test_a_change_makes_the_claim_fail(model: kin.Model, few: None, claims, values):
    for verdict in check([model], only=claims, parameters=values):
        assert verdict.status is Status.FAILS, verdict.value


def test_emergent_claims_have_a_breaking_change():
    assert {claim for claims, _ in BREAKING for claim in claims} == set(IDS)


@pytest.mark.slow
def test_claims_on_the_bundled_model(model: kin.Model):
    """Each is answered in full; what fails says why."""
    bench = Bench({model.name: model})
    for verdict in check(bench=bench, only=IDS):
        assert verdict.status in (Status.HOLDS, Status.FAILS) and verdict.value and verdict.numbers
        assert verdict.explanation or verdict.status is Status.HOLDS
