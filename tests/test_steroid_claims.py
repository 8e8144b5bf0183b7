"""The criteria of the steroid claims: arithmetic on made-up cells, requests, the laboratory, and changes that break."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import spearmanr

import kinetics as kin
from fits.claims.checking import check
from fits.claims.ledger import How, declared_ranges, find_claim, ledger
from fits.claims.verdict import Status
from fits.steroid.arms import Arm, FloatArray, il7, line, viability
from fits.steroid.criteria import (
    CORE,
    HOPELESS,
    PANEL,
    REALISM,
    SECONDARY,
    Criterion,
    Recorder,
    arms,
    criteria,
    crossing,
    evaluate,
    half_dose,
    limits_of,
    ranked,
    requests,
    spearman,
)  # fmt: skip
from fits.steroid.drug_criteria import bliss, without_steroid
from fits.steroid.laboratory import QUANTITIES, Laboratory
from fits.steroid.lines import HOURS, PREDNISOLONE_DOSES
from fits.steroid.panel import Sample, design, pool_levels, random_panels, representative
from kinetics.errors import UnknownName
from kinetics.units import convert, quantity

ALL = (*CORE, *SECONDARY, *REALISM)


class Sheet:
    """Cells that show what is written down; ``live`` of a vehicle is 1 unless written."""

    def __init__(self, values: Mapping[tuple[Arm, str], Sequence[float]], sets: int) -> None:
        self.values, self.sets = values, sets

    def __call__(self, arm: Arm, quantity: str, hours: float | Sequence[float]) -> FloatArray:
        if (arm, quantity) not in self.values and quantity == "live":
            return np.ones(self.sets)
        return np.asarray(self.values[arm, quantity], dtype=np.float64)


# ---- criteria ------------------------------------------------------------------------------------------------


def test_a_criterion_holds_within_its_bounds_and_misses_by_the_distance():
    values = np.array([0.1, 0.2, 0.5, 0.8, 1.0, np.nan, np.inf])
    criterion = Criterion("viability", values, 0.2, 0.8, 0.1)
    assert criterion.holds.tolist() == [False, True, True, True, False, False, False]
    assert_allclose(criterion.miss, [1.0, 0.0, 0.0, 0.0, 2.0, HOPELESS, HOPELESS], atol=1e-12)
    assert criterion.bounds == "0.2 to 0.8"
    assert Criterion("gain", values, 1e-6, None, 0.1).bounds == "> 0"
    assert Criterion("rise", values, -1e-6, None, 0.1).bounds == ">= 0"
    assert Criterion("fold", values, None, 1.0 - 1e-6, 0.1).bounds == "< 1"


def test_half_dose_of_a_curve_that_is_straight_in_log_dose():
    """From 1 at 1 nM to 0.2 at 10,000 nM: half-way is at 100 nM; sets apart, and NaN where there is no half."""
    doses = (1.0, 10.0, 1000.0, 10000.0)
    straight = 1.0 - 0.8 * np.log10(doses) / 4.0
    found = half_dose(doses, np.stack([straight, np.full(4, 0.3), np.full(4, np.nan)]))
    assert_allclose(found, [100.0, np.nan, np.nan], rtol=1e-12)


@pytest.mark.parametrize("slope", [1.0, 2.0, 3.0])
def test_half_dose_of_a_hill_curve_on_the_grid_of_the_claims(slope):
    """Linear interpolation between doses a factor 2 apart is good to 4 %, small beside the windows of X07 and R02."""
    for ec50 in (30.0, 71.0, 140.0, 200.0):
        left = 1.0 - 0.86 / (1.0 + (ec50 / np.array(PREDNISOLONE_DOSES)) ** slope)
        assert half_dose(PREDNISOLONE_DOSES, left[np.newaxis])[0] == pytest.approx(ec50, rel=0.04)


def test_crossing_takes_the_first_rise():
    values = np.array([[0.0, 1.0, 0.0, 3.0], [2.0, 3.0, 4.0, 5.0], [0.0, 0.0, 0.0, 0.5]])
    assert_allclose(crossing((0.0, 2.0, 4.0, 6.0), values, np.array([0.5, 1.0, 1.0])), [1.0, np.nan, np.nan])


def test_ranks_and_ties_agree_with_scipy():
    random = np.random.default_rng(3)
    one, other = random.normal(size=(20, 6)), np.round(random.normal(size=(20, 6)), 1)
    expected = [spearmanr(a, b).statistic for a, b in zip(one, other, strict=True)]
    assert_allclose(spearman(one, other), expected, atol=1e-12)
    assert np.isnan(spearman(one[:1], np.full((1, 6), 0.3)))[0]  # all tied: no correlation
    assert_allclose(ranked(one, 2), np.sort(one, axis=1)[:, -2])
    assert np.isnan(ranked(np.array([[1.0, np.nan, 3.0]]), 1))[0]


def test_viability_needs_living_cells_to_compare_with():
    arm = line("parental").given(Prednisolone=1000.0)
    cells = Sheet({(arm, "live"): [0.3, 0.3], (arm.vehicle, "live"): [0.6, 1e-5]}, 2)
    assert_allclose(viability(cells, arm), [0.5, np.nan])


def test_resistance_is_scored_against_the_parental_line():
    """A10 on three sets: resistant, sensitive, and resistant where the parental line does not die either."""
    arms_of = {name: line(name).given(Prednisolone=1000.0) for name in ("mIL7R", "parental")}
    cells = Sheet({(arms_of["mIL7R"], "live"): [0.6, 0.3, 0.9], (arms_of["parental"], "live"): [0.1, 0.1, 0.8]}, 3)
    own, parental = criteria()["A10"](cells, limits_of("A10"))
    assert own.holds.tolist() == [True, False, True]
    assert parental.holds.tolist() == [True, True, False]
    assert_allclose(own.miss, [0.0, 2.5, 0.0])
    assert_allclose(parental.miss, [0.0, 0.0, 6.0])


def test_bliss_excess_is_expected_minus_observed():
    sample = design().samples[0]
    steroid = design().arm(sample).given(Prednisolone=1000.0)
    both = steroid.given(CI1040=1000.0)
    cells = Sheet({(steroid, "live"): [0.5], (without_steroid(both), "live"): [0.9], (both, "live"): [0.2]}, 1)
    assert_allclose(bliss(cells, sample, "MEK"), [0.5 * 0.9 - 0.2])


def test_il7_belongs_to_the_vehicle_and_inhibitors_do_not():
    arm = line("mIL7R").given(Prednisolone=1000.0, Ruxolitinib=500.0, IL7=il7(25.0))
    assert arm.vehicle == line("mIL7R").given(IL7=il7(25.0))
    assert without_steroid(arm) == line("mIL7R").given(Ruxolitinib=500.0, IL7=il7(25.0))
    assert il7(17.4) == pytest.approx(1.0)  # 17.4 ng/ml of 17.4 kDa


# ---- what is asked ---------------------------------------------------------------------------------------------


class Shuffled(Recorder):
    """Answers with anything, NaN included, and records."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = np.random.default_rng(seed)

    def __call__(self, arm: Arm, quantity: str, hours: float | Sequence[float]) -> FloatArray:
        shape = super().__call__(arm, quantity, hours).shape
        values = 10.0 ** self.random.uniform(-3.0, 1.0, (5, *shape[1:]))
        return np.where(self.random.uniform(size=values.shape) < 0.1, np.nan, values)


@pytest.mark.parametrize("claim", ALL)
def test_requests_do_not_depend_on_values(claim):
    """And every criterion is an answer per set, whatever the numbers."""
    expected = list(dict.fromkeys(requests([claim])))
    for seed in range(3):
        cells = Shuffled(seed)
        with np.errstate(all="ignore"):
            found = evaluate([claim], cells)[claim]
        assert list(dict.fromkeys(cells.asked)) == expected
        for criterion in found:
            assert criterion.value.shape == criterion.holds.shape == criterion.miss.shape == (5,)
            assert np.all(np.isfinite(criterion.miss)) and np.all((criterion.miss == 0.0) == criterion.holds)
            assert criterion.scale > 0.0 and criterion.bounds


def test_core_claims_share_their_arms():
    """What a search simulates per set: few arms without the panel, which has eleven samples of its own."""
    assert len(arms(claim for claim in CORE if claim not in PANEL)) <= 90
    assert len(arms(("A40", "A41"))) == 11 * 10  # vehicle, prednisolone, four inhibitors, four pairs
    assert {quantity for _, quantity, _ in requests(ALL)} <= set(QUANTITIES)
    assert {hour for _, _, hours in requests(ALL) for hour in hours} <= set(HOURS)


def test_every_claim_of_the_ledger_about_this_model_has_criteria():
    """Cohorts and B-ALL are left out, each with its reason in the ledger."""
    own = {claim.id for claim in ledger() if "M2" in claim.models and not claim.open}
    assert set(CORE) | set(SECONDARY) <= own
    core = {claim.id for claim in ledger() if "M2" in claim.models and claim.priority == "core"}
    assert core == set(CORE)


# ---- the panel -------------------------------------------------------------------------------------------------


def test_the_panel_follows_from_its_frequencies_and_seed():
    plan = design()
    assert sum(plan.frequencies.values()) == pytest.approx(1.0)
    assert plan.samples == representative(plan.frequencies, 11, plan.seed)
    assert plan.levels == pool_levels(plan.sd, 11)
    assert sorted(sample.level for sample in plan.samples) == list(range(11))
    assert plan.levels[5] == 1.0  # the median
    assert np.std(np.log(plan.levels)) == pytest.approx(plan.sd, rel=0.1)  # mid-points of strata lose the tails
    text = resources.files("fits.steroid").joinpath("panel.toml").read_text("utf-8")
    table = tomllib.loads(text)
    for row in (*table["classes"].values(), *table["scenarios"].values()):
        assert row["reason"] and row["label"] in ("recalled", "assumed")


def test_random_panels_are_drawn_from_the_frequencies():
    kinds, drawn = random_panels(4000)
    shares = np.bincount(drawn[..., 0].ravel(), minlength=len(kinds)) / drawn[..., 0].size
    for kind, share in zip(kinds, shares, strict=True):
        expected = design().frequencies[kind]
        assert share == pytest.approx(expected, abs=4.0 * np.sqrt(expected * (1.0 - expected) / drawn[..., 0].size))
    assert np.array_equal(drawn, random_panels(4000)[1])
    assert not np.array_equal(drawn, random_panels(4000, "PTEN_loss")[1])
    with pytest.raises(UnknownName, match="PTEN_loss"):
        random_panels(10, "PTEN")


def test_doses_of_the_panel_are_those_of_the_claims():
    for pathway, claim, text in (("MEK", "A34", "1 uM"), ("AKT", "A35", "1 uM"), ("PI3K/mTOR", "A44", "100 nM"),
                                 ("JAK", "A33", "0.5 uM")):  # fmt: skip
        drug, nM = design().drugs[pathway]
        assert text in find_claim(claim).protocol
        assert nM == pytest.approx(convert(quantity(text, "dose"), "nM", what="dose")), drug


@pytest.mark.parametrize(("responders", "holds"), [(5, False), (6, True), (11, True)])
def test_most_samples_means_six_of_eleven(responders, holds):
    """A40 and A41 on made-up samples in which each inhibitor adds 0.3 to some of them."""
    values = {}
    for number, sample in enumerate(design().samples):
        steroid = design().arm(sample).given(Prednisolone=1000.0)
        values[steroid, "live"] = [0.5]
        for drug, nM in design().drugs.values():
            values[steroid.given(**{drug: nM}), "live"] = [0.2 if number < responders else 0.4]
    cells = Sheet(values, 1)
    found = evaluate(["A40", "A41"], cells)
    assert [bool(criterion.holds[0]) for criterion in found["A40"]] == [holds] * 3
    assert not found["A41"][0].holds[0]  # more than two


# A set near the feasible one; with it and the bundled constants every other claim has been seen to hold.
NEAR = {"ksBIM": 22.0}


@pytest.mark.slow
def test_every_check_has_been_seen_to_hold(model):
    """A check that fails whatever the model does would be as empty as one that always holds."""
    claims = [claim for claim in (*CORE, *SECONDARY) if claim != "A40"]  # seen on made-up samples
    unseen = set(claims)
    for values in ({}, NEAR):
        lab = Laboratory(model, values)
        lab.prepare(claims)
        unseen -= {claim for claim, found in evaluate(claims, lab).items() if all(c.holds[0] for c in found)}
    assert not unseen


# ---- the laboratory --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> kin.Model:
    return kin.Model.load("gc_bim_tall")


@pytest.mark.parametrize(
    "arm",
    [line("parental").given(Prednisolone=1000.0), line("wtIL7R").given(Dexamethasone=2500.0, IL7=il7(25.0))],
    ids=["parental", "wtIL7R"],
)
def test_laboratory_agrees_with_plain_roadrunner(model, arm):
    roadrunner = pytest.importorskip("roadrunner")
    from kinetics.catalogue import find_model

    runner = roadrunner.RoadRunner(find_model("gc_bim_tall").sbml())
    runner.integrator.relative_tolerance, runner.integrator.absolute_tolerance = 1e-10, 1e-14
    for name, value in arm.background:
        runner[name] = value
    runner.model["[IL7R]"] = runner["fold_IL7R"] * runner["IL7R_0"]  # initial assignments do not follow by themselves
    runner["death_on"] = 0.0
    runner.simulate(0.0, 200.0, 2)
    for name, nM in arm.drugs:
        runner.model[f"[{name}]"] = nM
    runner["death_on"] = 1.0
    table = runner.simulate(times=[0.0, 24.0, 72.0], selections=["time", "live", "BIM_total", "[BIM]"])
    lab = Laboratory(model)
    for column, name in enumerate(("live", "BIM_total", "BIM"), start=1):
        found = lab(arm, name, (0.0, 24.0, 72.0))
        assert found.shape == (1, 3)
        assert_allclose(found[0], table[:, column], rtol=2e-5)  # the output grid alone moves 2.5e-6


def test_an_arm_is_simulated_once_alone_or_in_company(model, monkeypatch):
    calls = []
    real = kin.simulate_many
    monkeypatch.setattr(kin, "simulate_many", lambda *a, **k: calls.append(len(a[1])) or real(*a, **k))
    together, alone = Laboratory(model), Laboratory(model)
    together.prepare(["A10"])
    together.prepare(["A10"])
    for claim in ("A10", "A11"):
        evaluate([claim], together)
    assert calls == [len(arms(["A10"])), 1, 1]  # A11 adds a line: its vehicle and its treated arm
    arm = line("mIL7R").given(Prednisolone=1000.0)
    assert_allclose(alone(arm, "live", 72.0), together(arm, "live", 72.0), rtol=1e-12)


def test_background_wins_over_overrides_and_unknown_times_are_refused(model):
    lab = Laboratory(model, {"mIL7R": 1.0, "epiBIM": 0.05})
    assert lab(Arm(), "ERK", 0.0) == pytest.approx(Laboratory(model)(line("mIL7R"), "ERK", 0.0))
    assert lab(Arm().like(mIL7R=0.0), "ERK", 0.0) == pytest.approx(Laboratory(model)(Arm(), "ERK", 0.0))
    assert lab(Arm(), "RAS", 0.0).shape == (1,)  # any symbol of the model
    with pytest.raises(ValueError):
        lab(Arm(), "live", 23.5)


# ---- every claim can fail --------------------------------------------------------------------------------------

ALIVE = {"ksBIM": 2.0, "theta": 40.0}  # BIM is slow and thresholds are high: nobody dies
DYING = {"ksBIM": 6.0, "kERKB": 0.1}  # under steroid BIM outruns what mutations add; untreated cells live
ACTIVE = {"r0": 0.5, "a0": 0.3}  # the parental line is active without mutation
# Little activity without mutation, which ERK turns into much BCL-XL: a third sample, of mutant JAK3, needs its JAK.
QUIET = {"ksPU": 8.0, "ksBX": 8.0, "cBXe": 12.0, "kGM": 4.4, "wP": 0.03, "r0": 0.041, "a0": 0.01, "aAR": 3.0}
BREAKING = {
    "A02": {"Kgre": 30.0, "gBIM": 1.5}, "A03": {"Kgre": 30.0, "gPU": 0.4}, "A04": ALIVE, "A05": ALIVE,
    "A06": {"kGM": 1.0, "gA": 15.0, "gE": 6.0, **ACTIVE},
    "A10": DYING, "A11": DYING, "A12": DYING, "A14": DYING,
    "A20": {"cFOXO": 1.0, "aAO": 8.0, "a0": 0.01}, "A21": ALIVE, "A22": {"gBIM": 8.0, "Kgre": 5.0}, "A23": DYING,
    "A24": {"r0": 0.5, "aRJ": 0.1}, "A25": ACTIVE, "A26": ACTIVE, "A27": {"gA": 1.0, "gE": 0.3},
    "A28": {"kGM": 1.0, "gA": 1.0, "gE": 0.3}, "A29": ALIVE, "A30": ALIVE, "A31": ALIVE, "A32": ALIVE,
    "A33": ALIVE, "A34": ALIVE, "A35": ALIVE, "A36": DYING, "A37": DYING, "A38": ALIVE, "A39": ALIVE, "A40": ALIVE,
    "A41": QUIET, "A42": ALIVE, "A43": ALIVE, "A44": ALIVE, "B25": ALIVE, "X08": {"theta": 1.5, "ksM1": 15.0},
}  # fmt: skip
BEYOND = {  # inputs, and what holds by construction: a change of what was set for the claim
    "A01": {"kon_Dex": 1e-4}, "A13": {"aNR": 0.01}, "A15": {"w_mJAK3": 1.5}, "A16": {"b_JAK": 0.5},
    "A17": {"b_JAK": 0.5}, "A18": {"b_JAK": 0.5}, "A19": {"akt_gr": 20.0}, "N04": {"b_JAK": 0.5},
    "X03": {"gIL7R": 0.1}, "X07": {"Kd_Dex": 200.0},
}  # fmt: skip


def _fails(model: kin.Model, claim: str, values: Mapping[str, float]) -> bool:
    lab = Laboratory(model, values)
    lab.prepare([claim])
    with np.errstate(all="ignore"):
        return not all(criterion.holds[0] for criterion in evaluate([claim], lab)[claim])


@pytest.mark.parametrize("claim", [*BREAKING, *BEYOND])
def test_a_change_makes_the_claim_fail(model, claim):
    assert _fails(model, claim, {**BREAKING, **BEYOND}[claim])


def test_every_emergent_claim_has_a_breaking_change_in_the_declared_ranges():
    ranges = declared_ranges("gc_bim_tall")
    own = {claim.id for claim in ledger() if claim.id in (*CORE, *SECONDARY) and claim.how is How.EMERGENT}
    assert own <= {*BREAKING}  # A40, an input, has one too
    for claim, values in BREAKING.items():
        for name, value in values.items():
            assert ranges[name].lower <= value <= ranges[name].upper, (claim, name)


def test_declared_ranges_hold_the_values_of_the_model(model):
    for name, allowed in declared_ranges("gc_bim_tall").items():
        assert allowed.lower <= model.entity(name).value <= allowed.upper, name
        assert allowed.why
    with pytest.raises(UnknownName, match="gc_bim_tall"):
        declared_ranges("gc_bim")


def test_claims_by_construction_hold_for_any_values_in_the_ranges(model):
    built_in = [claim.id for claim in ledger() if claim.id in ALL and claim.how is How.BY_CONSTRUCTION]
    assert built_in == ["A01", "A19", "N05", "N07"]
    random = np.random.default_rng(20161213)
    for _ in range(6):
        values = {
            name: float(np.exp(random.uniform(np.log(r.lower), np.log(r.upper))))
            for name, r in declared_ranges("gc_bim_tall").items()
        }
        if Laboratory(model, values)(line("parental"), "live", 72.0)[0] > 0.01:  # N07 needs cells to look at
            assert not any(_fails(model, claim, values) for claim in built_in), values


# ---- answers ---------------------------------------------------------------------------------------------------


def test_verdicts_say_every_number_beside_its_bound(model):
    (verdict,) = check([model], only=["A10"])
    assert verdict.answered
    assert "viability of mIL7R" in verdict.value and "(>= 0.55)" in verdict.value
    assert "The EC50" in verdict.value and "Emax becomes" in verdict.value  # the shift report
    assert verdict.numbers["viability of mIL7R"] == pytest.approx(
        viability(Laboratory(model), line("mIL7R").given(Prednisolone=1000.0))[0]
    )


def test_without_the_model_nothing_is_answered():
    for verdict in check([], only=[*CORE, *SECONDARY]):
        assert verdict.status is Status.NOT_ANSWERED
        assert "gc_bim_tall" in verdict.explanation


def test_a_failed_simulation_fails_the_claim_in_words(model):
    (verdict,) = check([model], only=["A02"], solver=kin.Solver(max_steps=2))
    assert verdict.status is Status.FAILS
    assert "gc_bim_tall" in verdict.explanation


def test_overrides_reach_the_cells_but_not_the_lines(model):
    usual, changed, own = (
        check([model], only=["A24"], parameters=values)[0].numbers for values in ({}, {"r0": 0.3}, {"mRAS": 0.0})
    )
    name = "ERK of mNRAS over parental"
    assert changed[name] < usual[name]
    assert own == pytest.approx(usual)


@pytest.mark.slow
def test_the_panel_says_how_many_random_panels_agree(model):
    (verdict,) = check([model], only=["A41"])
    counted = sum(bliss(Laboratory(model), sample, "JAK")[0] > 0.2 for sample in design().samples)
    assert verdict.numbers["JAK"] == counted
    assert 0.0 <= verdict.numbers["share"] <= 1.0
    assert "1000 random panels" in verdict.value


def test_random_panels_need_no_more_than_the_grid():
    """Every sample that can be drawn is a class and a level of the design."""
    kinds, drawn = random_panels(50)
    grid = {Sample(kind, level) for kind in design().frequencies for level in range(11)}
    assert {Sample(kinds[kind], level) for kind, level in drawn.reshape(-1, 2).tolist()} <= grid
