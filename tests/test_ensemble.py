"""Ensembles: the bundled one keeps what it promises, is refused for another model, and can be computed two ways."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import kinetics as kin
from fits.claims.ledger import declared_ranges
from fits.steroid.arms import MODEL, Arm, il7, line
from fits.steroid.laboratory import Laboratory
from fits.steroid.many import Plan, requests
from fits.steroid.misfit import misfit
from fits.steroid.predictions import _prediction
from fits.steroid.search import Space, acceptance, against, spread
from kinetics import ensemble
from kinetics.batch import Batch
from kinetics.errors import InputError, ModelNotFound

ARMS = (
    line("parental").given(Prednisolone=1000.0),
    line("mIL7R").given(Prednisolone=1000.0, Ruxolitinib=500.0),
    line("parental").given(Dexamethasone=2500.0, IL7=il7(25.0)),
)
READ = (("live", 72.0), ("BIM_total", 24.0), ("ERK", 0.0))
TWO = (0, 45)  # members of different searches


@pytest.fixture(scope="module")
def model() -> kin.Model:
    return kin.Model.load(MODEL)


@pytest.fixture(scope="module")
def batch(model: kin.Model) -> Batch:
    return Batch(model)


@pytest.fixture(scope="module")
def bundled() -> ensemble.Ensemble:
    return ensemble.load(MODEL)


def _two(bundled: ensemble.Ensemble) -> dict[str, np.ndarray]:
    return {name: values[list(TWO)] for name, values in bundled.columns().items()}


# ---- the bundled ensemble ----------------------------------------------------------------------------------


def test_eighty_sets_of_eight_searches(bundled):
    rule = acceptance()["members"]
    searches, counts = np.unique(bundled.search, return_counts=True)
    assert len(bundled) == 80 >= rule["at_least"]
    assert searches.tolist() == [1, 2, 3, 4, 5, 6, 7, 8] and len(searches) >= rule["searches"]
    assert counts.max() <= rule["at_most_per_search"]
    assert len(bundled.provenance["misfit"]) == 80
    assert max(bundled.provenance["misfit"]) <= acceptance()["data"]["largest_misfit"]
    assert bundled.provenance["rule"] == acceptance()  # the rule was not changed afterwards


def test_members_lie_in_the_declared_ranges(bundled):
    ranges = declared_ranges(MODEL)
    assert set(bundled.names) == set(ranges)
    for name, values in bundled.columns().items():
        assert ranges[name].lower <= values.min() and values.max() <= ranges[name].upper, name
        assert bundled.provenance["ranges"][name] == [ranges[name].lower, ranges[name].upper]


def test_no_two_members_are_near_in_all_constants(bundled):
    logs = np.log(bundled.values)
    apart = np.max(np.abs(logs[:, np.newaxis] - logs), axis=2)[np.triu_indices(len(bundled), 1)]
    assert apart.min() > np.log1p(acceptance()["members"]["apart"]) - 1e-6  # constants are kept with seven digits


def test_the_constants_of_the_model_are_a_member(bundled, model):
    own = np.array([model.entity(name).value for name in bundled.names])
    assert np.min(np.max(np.abs(bundled.values / own - 1.0), axis=1)) < 1e-6


def test_the_model_is_the_one_it_was_made_for(bundled, model):
    bundled.check(model)
    bundled.check(model.with_values(ksBIM=10.0))  # is among those that differ
    models = bundled.models(model)
    assert len(models) == 80 == len(bundled)
    theta = kin.simulate(models[3], None, [0.0], ["theta"])["theta"][0]
    assert theta == list(bundled)[3]["theta"]


def test_another_constant_is_refused_in_words(bundled, model):
    with pytest.raises(InputError, match=r"other equations or constants .*run again python -m fits\.steroid\.search"):
        bundled.models(model.with_values(b_JAK=0.06))


def test_an_ensemble_that_is_not_there():
    with pytest.raises(ModelNotFound, match="gc_bim"):
        ensemble.load("gc_bim")


@pytest.mark.parametrize(
    "text", ["", "\n", "search,a\n", "a,b\n1,2\n", "search,a\n1,2\n1\n", "search,a\n1,many\n", "search,a\n1,nan\n"]
)
def test_a_damaged_table_is_refused(text):
    with pytest.raises(InputError, match="the ensemble of 'some' is damaged"):
        ensemble.parse("some", text, {})


def test_a_table_is_read_by_column():
    read = ensemble.parse("some", "search,a,b\n1,2,3\n2,4,5\n", {})
    assert read.names == ("a", "b") and read.search.tolist() == [1.0, 2.0]
    assert list(read) == [{"a": 2.0, "b": 3.0}, {"a": 4.0, "b": 5.0}]
    found = read.interval(lambda values: values["a"] + values["b"])
    assert (found.median, found.low, found.high, found.of) == (7.0, 5.0, 9.0, 2)
    assert str(found) == "7 (5 to 9) over 2 parameter sets"


def test_a_prediction_counts_the_members_without_it():
    found = _prediction("a dose", "nM", np.array([1.0, np.nan, 3.0]))
    assert found.words() == "a dose: 2 (1 to 3) nM; 1 sets do not reach it"


# ---- many sets at once -------------------------------------------------------------------------------------


def test_a_plan_agrees_with_the_engine(bundled, batch, model):
    asked = requests(lambda cells: [cells(arm, name, hours) for arm in ARMS for name, hours in READ])
    answers = Plan(batch, asked).run(_two(bundled), rtol=1e-6)
    for place, member in enumerate(TWO):
        lab = Laboratory(model, list(bundled)[member])
        lab.simulate(ARMS)
        for arm in ARMS:
            for name, hours in READ:
                assert_allclose(answers(arm, name, hours)[place], lab(arm, name, hours)[0], rtol=1e-4, atol=1e-6)


def test_what_was_not_requested_is_refused(bundled, batch):
    answers = Plan(batch, requests(lambda cells: cells(Arm(), "ERK", 0.0))).run(_two(bundled))
    with pytest.raises(InputError, match="not among the requests"):
        answers(Arm(), "ERK", 24.0)


def test_misfits_are_those_that_were_stored(bundled, batch):
    answers = Plan(batch, requests(misfit)).run(_two(bundled), rtol=1e-5)
    assert_allclose(misfit(answers)[0], [bundled.provenance["misfit"][member] for member in TWO], atol=1e-3)


# ---- the search --------------------------------------------------------------------------------------------


def test_spread_keeps_members_apart():
    space = Space(("a", "b"), np.log([1.0, 1.0]), np.log([10.0, 10.0]))
    points = np.random.default_rng(1).random((300, 2))
    chosen = spread(np.concatenate([points, points + 1e-4]), space, 12, 0.05)
    logs = chosen * np.log(10.0)
    apart = np.max(np.abs(logs[:, np.newaxis] - logs), axis=2)[np.triu_indices(len(chosen), 1)]
    assert len(chosen) == 12 and apart.min() > np.log(1.05)
    near = 0.5 + 1e-3 * points  # all within 5 %: one is enough
    assert len(spread(near, space, 12, 0.05)) == 1
    assert len(spread(np.empty((0, 2)), space, 12, 0.05)) == 0


def test_the_cube_ends_at_the_declared_ranges():
    space, ranges = Space.declared(), declared_ranges(MODEL)
    ends = space.sets(np.array([np.zeros(len(space.names)), np.ones(len(space.names))]))
    for name, values in ends.items():
        assert_allclose(values, [ranges[name].lower, ranges[name].upper], rtol=1e-12)


@pytest.mark.slow
def test_the_rule_accepts_a_member_and_refuses_a_broken_one(bundled, model):
    member = list(bundled)[TWO[1]]
    refused, left = against(member, model)
    assert not refused and left == pytest.approx(bundled.provenance["misfit"][TWO[1]], abs=1e-4)
    refused, left = against({**member, "theta": 40.0}, model)
    assert "A10: viability of parental" in refused and "misfit" in refused and left > 0.13
