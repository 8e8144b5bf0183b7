"""Claims about T-cell numbers: each can be made to fail, draws use the criteria of the verdicts, ranges hold values."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

import kinetics as kin
from fits import report
from fits.claims import draws as drawing
from fits.claims import homeostasis, tcells
from fits.claims.bench import Bench
from fits.claims.checking import bundled_models, check
from fits.claims.draws import Draws
from fits.claims.homeostasis import CRITERIA
from fits.claims.ledger import MODELS, How, declared_ranges, find_claim
from fits.claims.verdict import Status, Verdict
from fits.reproduce import reproduce
from kinetics import pk
from kinetics.catalogue import find_model
from kinetics.errors import InputError, UnknownName
from kinetics.tone import SUBSETS

RANGES = declared_ranges("tcell_homeostasis")
N_DRAWS = 40


@pytest.fixture(scope="module")
def models() -> tuple[kin.Model, ...]:
    return bundled_models()


@pytest.fixture(scope="module")
def bench(models: tuple[kin.Model, ...]) -> Bench:
    return Bench({model.name: model for model in models})


@pytest.fixture(scope="module")
def verdicts(bench: Bench) -> dict[str, Verdict]:
    return {verdict.claim.id: verdict for verdict in check(only=sorted(CRITERIA), bench=bench)}


@pytest.fixture(scope="module")
def found(bench: Bench) -> Draws:
    return drawing.draw(bench, N_DRAWS)


# ---- every check can fail ------------------------------------------------------------------------------------

ONE_DRAW = {  # the draw, of 2,000, in which CD4 cells are not fewer under imatinib
    "k_death_max": 0.262, "k_death_min": 0.011, "K_survival": 0.868, "n_survival": 3.25, "k_div_basal": 0.436,
    "K_space": 308.0, "k_div_IL7": 1.15, "K_PI3K": 933.0, "n_PI3K": 1.87, "alone": 0.0611, "w_PI3K": 0.133,
    "K_TCR": 4.2, "IL7_healthy": 8.22, "k_IL7_clear": 2.53, "uptake_scale": 1.87, "pace": 0.211,
    "CD4_input_rel": 0.452,
}  # fmt: skip
BREAKING = [  # in the declared ranges of the model they belong to, as said in the ledger
    ("B12", {"K_survival": 2.0, "K_PI3K": 50.0, "IL7_healthy": 10.0}),
    ("B13", {"K_survival": 0.3}),
    ("B14", {"K_TCR": 10.0, "w_PI3K": 0.5, "k_div_IL7": 2.0, "K_PI3K": 50.0}),
    ("B15", {"KiTCR": 500.0}), ("B15", {"KiTCR": 3000.0}),
    ("B16", {"CD4_input_rel": 0.3}),
    ("B18", {"K_survival": 2.0}), ("B18", {"n_survival": 1.0}),
    ("B19", {"K_survival": 0.3}), ("B19", {"K_survival": 2.0}),
    ("B21", {"k_IL7_clear": 5.0}), ("B21", {"uptake_scale": 0.3}),
    ("N06", {"K_survival": 0.3}),
]  # fmt: skip


@pytest.mark.parametrize(("claim", "values"), [*BREAKING, ("B11", {"k_death_min": 0.3})])
def test_a_change_makes_the_claim_fail(models: tuple[kin.Model, ...], claim: str, values: dict[str, float]):
    (verdict,) = check(models, only=[claim], parameters=values)
    assert verdict.status is Status.FAILS, verdict.value


def test_cd4_cells_are_not_fewer_in_one_draw(bench: Bench):
    """B17 needs exposures of the draw as well, which are no parameters of a model."""
    base = homeostasis.setting_of(bench)
    values = {**base.values, **{name: np.array([value]) for name, value in ONE_DRAW.items()}}
    setting = replace(base, values={**values, "unbound_fraction_human": np.array([0.06])})
    numbers, _ = tcells.cohort(tcells.EngineRuns(bench.model("M3")), setting)
    assert numbers["smallest_supply"][0] >= 0.0
    assert not homeostasis.cd4_no_higher(numbers, {})[0]


def test_every_emergent_claim_has_a_breaking_change():
    broken = {claim for claim, _ in BREAKING} | {"B17", "X06", "B20"}  # above; in test_claims.py; fails as it is
    assert {claim for claim in CRITERIA if find_claim(claim).how is How.EMERGENT} <= broken


def test_breaking_changes_lie_in_the_declared_ranges():
    signalling = declared_ranges()
    for claim, values in [*BREAKING, ("B17", ONE_DRAW)]:
        for name, value in values.items():
            allowed = RANGES.get(name) or signalling[name]
            assert allowed.lower <= value <= allowed.upper, (claim, name)


def test_statuses(verdicts: dict[str, Verdict]):
    """What the model says today: all core claims hold, therapy and the ladder do not."""
    failing = {name for name, verdict in verdicts.items() if verdict.status is Status.FAILS}
    assert failing == {"B20", "X06"}
    for name in failing:
        assert find_claim(name).failing


def test_claims_whose_constants_were_moved_are_inputs():
    for name in ("B12", "B13", "B16", "B21"):
        assert find_claim(name).how is How.INPUT


def test_without_the_t_cell_model_nothing_about_it_is_answered(models: tuple[kin.Model, ...]):
    for verdict in check(models[:1], only=sorted(CRITERIA)):
        assert verdict.status is Status.NOT_ANSWERED and MODELS["M3"] in verdict.explanation


def test_no_healthy_steady_state_fails_in_words(models: tuple[kin.Model, ...]):
    (verdict,) = check(models, only=["B18"], parameters={"k_div_basal": 0.5, "K_space": 500.0, "K_survival": 0.3})
    assert verdict.status is Status.FAILS and "no healthy steady state" in verdict.explanation


# ---- ranges ------------------------------------------------------------------------------------------------


def test_ranges_hold_the_values_of_the_model(models: tuple[kin.Model, ...]):
    numbers = next(model for model in models if model.name == MODELS["M3"])
    variants = find_model(MODELS["M3"]).variants
    for name, allowed in RANGES.items():
        if name in tcells.EXPOSURES:
            number, who = name.rsplit("_", 1)
            value = pk.regimens()[who][number].value
            assert pk.regimens()[who][number].range == (allowed.lower, allowed.upper)
        elif name == "IL7_lymphopenic":
            value = variants["mouse_transfer"].values["IL7_start"]
        elif name == "CD4_input_rel":
            value = variants["leukaemia"].values[name]
        else:
            value = float(numbers.entity(name).value or 0.0)
        assert allowed.lower <= value <= allowed.upper and allowed.why and allowed.label, name


def test_values_that_were_not_moved_are_middles(models: tuple[kin.Model, ...]):
    moved = {"k_death_max", "k_IL7_clear", "uptake_scale", "CD4_input_rel"}
    numbers = next(model for model in models if model.name == MODELS["M3"])
    for name, allowed in RANGES.items():
        if name in tcells.EXPOSURES or name == "IL7_lymphopenic" or name in moved:
            continue
        value = float(numbers.entity(name).value or 0.0)
        assert value == pytest.approx(np.sqrt(allowed.lower * allowed.upper), rel=0.05), name


def test_ranges_of_an_unknown_model_are_refused():
    with pytest.raises(UnknownName, match="tcell_homeostasis"):
        declared_ranges("tcell")


# ---- draws -------------------------------------------------------------------------------------------------


def test_sample_is_log_uniform_and_follows_its_seed():
    values = drawing.sample(4000, seed=1)
    for name, allowed in RANGES.items():
        place = np.log(values[name] / allowed.lower) / np.log(allowed.upper / allowed.lower)
        assert place.min() >= 0.0 and place.max() <= 1.0
        assert place.mean() == pytest.approx(0.5, abs=4.0 * np.sqrt(1.0 / 12.0 / 4000.0))  # four standard errors
    assert np.array_equal(drawing.sample(5, seed=1)["pace"], drawing.sample(5, seed=1)["pace"])
    assert not np.array_equal(drawing.sample(5, seed=2)["pace"], drawing.sample(5, seed=1)["pace"])
    with pytest.raises(InputError, match="at least 1"):
        drawing.sample(0)


def test_draws_agree_with_the_engine(bench: Bench, found: Draws):
    """The first healthy draws, one by one on the engine: the same numbers to 1 %, so the same criteria are met."""
    base = homeostasis.setting_of(bench)
    runs = tcells.EngineRuns(bench.model("M3"))
    for k in np.flatnonzero(found.numbers["smallest_supply"] > 0.0)[:2].tolist():
        setting = replace(base, values={name: value[k : k + 1] for name, value in found.values.items()})
        cohort, main = tcells.cohort(runs, setting)
        alone = {**cohort, **tcells.transfer(runs, setting), **tcells.lymphopenia(runs, main, 3.0)}
        per_mass = float(bench.model("M3").entity("IL7_per_mass").value or 0.0)
        alone |= tcells.therapy(runs, main, per_mass, 10.0, 3.0)
        for name, value in alone.items():
            assert found.numbers[name][k] == pytest.approx(value[0], rel=0.01), name


def test_shares_count_draws(found: Draws):
    assert found.size == N_DRAWS and set(found.holding) == set(CRITERIA)
    assert found.share("B11").holding == N_DRAWS and found.share("X06").holding == 0
    core = found.together(found.core)
    assert core.holding <= min(found.share(claim).holding for claim in found.core)
    empty = found.numbers["smallest_supply"] < 0.0
    for claim in ("B16", "B17", "B18", "B19", "B20", "B21", "B22", "N06"):
        assert not np.any(found.holding[claim] & empty)
    assert len(found.sentences()) == 3


def test_not_a_number_meets_no_criterion(found: Draws):
    nothing: Mapping[str, np.ndarray] = {name: np.array([np.nan]) for name in (*found.numbers,)}
    for claim, criterion in CRITERIA.items():
        assert not criterion(dict(nothing), find_claim(claim).thresholds)[0], claim


@pytest.mark.slow  # the whole of reproduce, with the ensemble
def test_reproduce_shows_the_shares():
    shown = reproduce(draws=5)
    assert shown.draws is not None and shown.draws.size == 5
    table, page = shown.table(), report.page(shown)
    for claim in CRITERIA:
        verdict = next(v for v in shown.verdicts if v.claim.id == claim)
        assert verdict.shares["draws"] == shown.draws.share(claim)
        assert verdict.shares["draws"].words() in " ".join(table.split())
    assert "core claims about T-cell numbers together" in " ".join(table.split())
    assert '<section id="draws">' in page and str(drawing.SEED) in page


def test_the_script_prints_every_share(monkeypatch: pytest.MonkeyPatch, found: Draws):
    monkeypatch.setattr(drawing, "draw", lambda *a: found)
    out = io.StringIO()
    assert drawing.main(["--draws", "5"], out.write) == 0
    for claim in CRITERIA:
        assert f"{claim}  {found.share(claim).words()}" in out.getvalue()


# ---- experiments -------------------------------------------------------------------------------------------


def test_subsets_lose_in_the_order_of_their_receptors(verdicts: dict[str, Verdict]):
    """With its low receptor number memory CD8 loses most; with that of naive cells it no longer does."""
    numbers = verdicts["B18"].numbers
    assert numbers["memory_CD8_ratio"] == min(numbers[f"{cells}_ratio"] for cells in SUBSETS)
    assert numbers["memory_CD8_ratio_usual_receptors"] >= numbers["naive_CD8_ratio_usual_receptors"]


def test_exposures_reach_the_result(bench: Bench):
    base = homeostasis.setting_of(bench)
    runs = tcells.EngineRuns(bench.model("M3"))
    more = replace(base, values={**base.values, "unbound_fraction_mouse": np.array([0.1])})
    assert tcells.transfer(runs, more)["count_ratio_CD4"] < tcells.transfer(runs, base)["count_ratio_CD4"]
