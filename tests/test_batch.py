"""Many lanes at a time: closed forms, order of convergence, the engine, and lanes that know nothing of one another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sbml_text import (
    call,
    compartment,
    conversion,
    document,
    event,
    many,
    name,
    number,
    parameters,
    rate,
    reaction,
    rule,
    species,
    start,
)  # fmt: skip

import kinetics as kin
from kinetics.batch import Batch
from kinetics.elimination import elimination
from kinetics.errors import InputError, UnknownName, UnsupportedModel

TIGHT = {"rtol": 1e-9, "atol": 1e-13}
TIMES = (0.0, 0.5, 2.0, 7.0)


def text_model(*body: str) -> kin.Model:
    return kin.Model.load(document(*body), trusted=True)


def ran(model: kin.Model, values: dict, lanes: int, outputs: tuple[str, ...], times=TIMES, **tolerances) -> np.ndarray:
    batch = Batch(model)
    return batch.run(batch.initial(values, lanes), values, times, outputs, **(tolerances or TIGHT))[0]


# ---- what can be solved by hand ----------------------------------------------------------------------------


def test_decay_chain_with_constants_of_each_lane():
    """A -> B -> 0 with rates k and m: Bateman (1910)."""
    model = kin.Model.load(
        "model chain()\n compartment c = 2; species A in c, B in c\n J1: A -> B; c*k*A\n J2: B -> ; c*m*B\n"
        " A = 3; B = 0; k = 1; m = 0.3\nend",
        trusted=True,
    )
    k, m = np.array([0.2, 1.0, 4.0]), np.array([0.3, 0.1, 30.0])
    found = ran(model, {"k": k, "m": m}, 3, ("A", "B"))
    t = np.array(TIMES)[:, None]
    assert_allclose(found[0], 3.0 * np.exp(-k * t), rtol=1e-7, atol=1e-11)
    assert_allclose(found[1], 3.0 * k / (m - k) * (np.exp(-k * t) - np.exp(-m * t)), rtol=1e-6, atol=1e-11)


def test_logistic_growth():
    """x' = r x (1 - x/K): Verhulst's curve, as a rate rule."""
    law = call("times", name("r"), name("x"), call("minus", number(1), call("divide", name("x"), name("K"))))
    model = text_model(parameters(x=0.1, r=1.0, K=2.0), many("Rules", rate("x", law)))
    r, capacity = np.array([0.5, 1.0, 3.0]), np.array([1.0, 2.0, 5.0])
    found = ran(model, {"r": r, "K": capacity}, 3, ("x",))[0]
    growth = np.exp(r * np.array(TIMES)[:, None])
    assert_allclose(found, capacity / (1.0 + (capacity / 0.1 - 1.0) / growth), rtol=1e-7)


def test_michaelis_menten_consumption():
    """Integrated Michaelis-Menten: S + Km ln S falls linearly (Henri 1903); no function of the solver is involved."""
    law = call(
        "times", name("c"), call("divide", call("times", name("V"), name("A")), call("plus", name("Km"), name("A")))
    )
    model = text_model(*conversion(law, V=1.0, Km=0.5))
    V, km = np.array([0.1, 1.0, 2.0]), np.array([0.5, 0.01, 3.0])
    found = ran(model, {"V": V, "Km": km}, 3, ("A",), times=(0.2, 0.7))[0]
    for time, left in zip((0.2, 0.7), found, strict=True):
        assert_allclose(left + km * np.log(left), 1.0 - V * time, atol=1e-7)


def test_order_of_convergence():
    """Error falls in proportion to the tolerance: steps of a method of order 4 scale as its fourth root."""
    law = call("times", name("x"), call("minus", number(1), name("x")))
    model = text_model(parameters(x=0.1), many("Rules", rate("x", law)))
    exact = 1.0 / (1.0 + 9.0 * np.exp(-5.0))
    tolerances = ({"rtol": tolerance, "atol": tolerance} for tolerance in (1e-4, 1e-7))
    errors = [abs(ran(model, {}, 1, ("x",), times=(5.0,), **each)[0, 0, 0] - exact) for each in tolerances]
    assert errors[0] < 1e-3 and errors[1] < 1e-6
    assert errors[1] < 1e-2 * errors[0]  # 1e-3 in the limit; a method that ignored its tolerance would give 1


def test_fixed_steps_show_order_four():
    """Halving a fixed step divides the error of one step-by-step run by about 2^4."""
    law = call("times", name("k"), name("x"), call("minus", number(1), name("x")))
    batch = Batch(text_model(parameters(x=0.1, k=1.0), many("Rules", rate("x", law))))
    rates, slopes = (part.prepare([np.float64(1.0)]) for part in (batch._rates, batch._slopes))

    def error(steps: int) -> float:
        y = np.array([[0.1]])
        for _ in range(steps):
            y, _ = batch._step(y, np.array([2.0 / steps]), rates, slopes)
        return abs(float(y[0, 0]) - 1.0 / (1.0 + 9.0 * np.exp(-2.0)))

    assert 3.5 < np.log2(error(8) / error(16)) < 5.5


def test_stiffness_does_not_cost_steps():
    """A rate of 1e9 beside one of 1: an explicit method would need 1e9 steps."""
    model = kin.Model.load("model stiff()\n x' = -k*(x - y); y' = -y; x = 0; y = 1; k = 1e9\nend", trusted=True)
    found = ran(model, {"k": np.array([1e3, 1e9])}, 2, ("x", "y"), times=(3.0,), rtol=1e-6, atol=1e-10)
    assert_allclose(found[0, 0], np.exp(-3.0) * np.array([1e3 / (1e3 - 1.0), 1.0]), rtol=1e-5)
    assert_allclose(found[1, 0], np.exp(-3.0), rtol=1e-5)


# ---- the engine, an independent implementation ---------------------------------------------------------------


def test_il7_model_agrees_with_the_engine():
    """Initial values are formulas of receptor numbers, IL-7 is used up and imatinib leaves the cell."""
    model = kin.Model.load("il7_stat5_imatinib")
    numbers = [5000.0, 19163.0, 40000.0]
    values = {"IL7R_number": np.array(numbers), "IL7": np.array([0.001, 0.01, 1.0]), "Imatinib": 100.0}
    found = ran(model, values, 3, ("pSTAT5_total", "IL7", "IL7R_surface"), times=(10.0, 30.0), rtol=1e-7, atol=1e-12)
    for lane, receptors in enumerate(numbers):
        dose = {"IL7": float(values["IL7"][lane]), "Imatinib": 100.0}
        course = kin.simulate(
            model, kin.Experiment(kin.Period(0.0, {n: f"{v!r} nM" for n, v in dose.items()})), [10.0, 30.0],
            ["pSTAT5_total", "IL7", "IL7R_surface"], parameters={"IL7R_number": receptors},
        )  # fmt: skip
        assert_allclose(found[:, :, lane], course.values.T, rtol=1e-5)


def test_steroid_model_agrees_with_the_engine():
    model = kin.Model.load("gc_bim_tall")
    values = {"fold_pool": np.array([0.7, 1.0, 1.4]), "mRAS": np.array([0.0, 1.0, 0.0]), "Dexamethasone": 30.0}
    found = ran(model, values, 3, ("live", "BIM_total", "GSK3"), times=(24.0, 72.0), rtol=1e-4, atol=1e-6)
    for lane in range(3):
        own = {"fold_pool": values["fold_pool"][lane], "mRAS": values["mRAS"][lane]}
        experiment = kin.Experiment(kin.Period(0.0, {"Dexamethasone": "30 nM"}))
        course = kin.simulate(model, experiment, [24.0, 72.0], ["live", "BIM_total", "GSK3"], parameters=own)
        assert_allclose(found[:, :, lane], course.values.T, rtol=1e-4, atol=1e-6)  # what the steps allow


SQUARE = call("power", name("A"), number(2))
TEXTS = {
    "mass action": conversion(),
    "square law": conversion(call("times", name("c"), name("k"), SQUARE)),
    "amounts": (
        compartment(), species("A", "B", amount=True), parameters(k=0.3),
        many("Reactions", reaction("J", "A", "B", call("times", name("k"), name("A")))),
    ),
    "stoichiometry": (
        compartment(), species("A", "B"), parameters(k=0.3),
        many("Reactions",
             reaction("J", "A", "B", call("times", name("k"), name("A")), stoichiometry='stoichiometry="2"')),
    ),
    "assignment": (
        compartment(), species("A", "B"), parameters(k=0.3, now=None),
        many("Rules", rule("now", call("divide", name("k"), call("plus", number(1), name("B"))))),
        many("Reactions", reaction("J", "A", "B", call("times", name("now"), name("A")))),
    ),
    "held": (
        compartment(), species("A", "B", boundary=True), parameters(x=1.0, k=0.2),
        many("Rules", rate("x", call("minus", call("times", name("k"), name("A")), name("x")))),
    ),
    "start": (
        compartment(), species("A", "B"), parameters(k=0.3, twice=None),
        many("InitialAssignments", start("twice", call("times", number(2), name("k"))),
             start("B", call("plus", name("twice"), name("A")))),
        many("Reactions", reaction("J", "A", "B", call("times", name("twice"), name("A")))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", TEXTS)
def test_sbml_texts_agree_with_the_engine(which):
    model = text_model(*TEXTS[which])
    observed = [n for n in ("A", "B", "x") if n in model.description.entities]
    rates = np.array([0.1, 0.3, 0.9])
    found = ran(model, {"k": rates}, 3, tuple(observed))
    for lane, k in enumerate(rates.tolist()):
        course = kin.simulate(model, None, list(TIMES), observed, parameters={"k": k})
        assert_allclose(found[:, :, lane], course.values.T, rtol=1e-6, atol=1e-10)


# ---- values at the start -------------------------------------------------------------------------------------


def test_initial_formulas_follow_the_constants_of_each_lane():
    """twice = 2 k and B(0) = twice + A(0); A(0) = 1."""
    batch = Batch(text_model(*TEXTS["start"]))
    k = np.array([0.1, 0.5])
    assert_allclose(batch.initial({"k": k}, 2), [[1.0, 1.0], 2.0 * k + 1.0])
    assert_allclose(batch.settled({"k": k}, 2)["twice"], 2.0 * k)


def test_what_follows_from_a_given_value_follows_it():
    """A value in place of the formula of `twice` reaches B(0), which starts from it, as it does on the engine."""
    model = text_model(*TEXTS["start"])
    batch, twice = Batch(model), np.array([0.2, 7.0])
    assert_allclose(batch.initial({"twice": twice}, 2)[1], twice + 1.0)
    assert_allclose(batch.initial({"A": np.array([3.0, 4.0])}, 2)[1], [3.6, 4.6])
    at_start = kin.simulate(model, None, [0.0], ["B"], parameters={"twice": 7.0})["B"][0]
    assert at_start == pytest.approx(8.0)


def test_settled_constants_do_not_follow_later_changes():
    """Initial assignments are of the start: with k changed on the way, `twice` stays."""
    batch = Batch(text_model(*TEXTS["start"]))
    settled = batch.settled({}, 1)
    state = batch.initial({}, 1)
    (kept,), _ = batch.run(state, {**settled, "k": 50.0}, (2.0,), ("A",), **TIGHT)
    assert_allclose(kept[0], np.exp(-0.6 * 2.0 / 2.0), rtol=1e-7)  # twice = 0.6, in a compartment of 2


def test_a_variant_runs_with_its_own_values():
    model = text_model(*conversion())
    assert_allclose(ran(model.with_values(k=0.7), {}, 1, ("A",))[0, :, 0], np.exp(-0.7 * np.array(TIMES)), rtol=1e-7)


# ---- lanes ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def steroid() -> Batch:
    return Batch(kin.Model.load("gc_bim_tall"))


def dosed(batch: Batch, pool: np.ndarray, dose: np.ndarray) -> np.ndarray:
    values = {"fold_pool": pool, "Dexamethasone": dose}
    return batch.run(batch.initial(values, len(pool)), values, (6.0, 24.0), ("live", "BIM"), rtol=1e-4, atol=1e-6)[0]


@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 11))
@settings(max_examples=2, deadline=None)
def test_a_lane_does_not_depend_on_its_neighbours(steroid: Batch, seed: int, cut: int):
    """Order and company change nothing: to rounding, because the last lanes of an array may go another way in numpy."""
    rng = np.random.default_rng(seed)
    pool, dose = np.exp(0.3 * rng.normal(size=12)), 10.0 ** rng.uniform(0, 4, 12)
    together = dosed(steroid, pool, dose)
    order = rng.permutation(12)
    assert_allclose(dosed(steroid, pool[order], dose[order]), together[:, :, order], rtol=1e-10)
    parts = [dosed(steroid, pool[part], dose[part]) for part in (slice(cut), slice(cut, None))]
    assert_allclose(np.concatenate(parts, axis=2), together, rtol=1e-10)


def test_numbers_and_arrays_are_the_same(steroid: Batch):
    one = dosed(steroid, np.full(3, 0.8), np.full(3, 100.0))
    state = steroid.initial({"fold_pool": 0.8, "Dexamethasone": 100.0}, 3)
    values = {"fold_pool": 0.8, "Dexamethasone": 100.0}
    assert_array_equal(steroid.run(state, values, (6.0, 24.0), ("live", "BIM"), rtol=1e-4, atol=1e-6)[0], one)


def test_a_failing_lane_is_nan_and_leaves_the_others_alone():
    """x' = k x^2 runs away at t = 1/(k x0); the other lane is x0/(1 - k x0 t)."""
    model = text_model(
        parameters(x=1.0, k=1.0), many("Rules", rate("x", call("times", name("k"), name("x"), name("x"))))
    )
    found = ran(model, {"k": np.array([1.0, 0.1, np.nan])}, 3, ("x",), times=(0.5, 2.0), rtol=1e-8, atol=1e-12)[0]
    assert_allclose(found[0, :2], [2.0, 1.0 / 0.95], rtol=1e-6)
    assert np.isnan(found[1, 0]) and np.isnan(found[:, 2]).all()
    assert_allclose(found[1, 1], 1.0 / 0.8, rtol=1e-6)
    assert_array_equal(found[:, 1], ran(model, {"k": 0.1}, 1, ("x",), times=(0.5, 2.0), rtol=1e-8, atol=1e-12)[0][:, 0])


def test_an_unused_constant_without_value_breaks_nothing():
    """A piecewise branch that is never taken may hold NaN, for all lanes, while lanes arrive one after another."""
    law = (
        f"<piecewise><piece>{call('times', name('never'), name('x'))}{call('lt', name('x'), number(-1))}</piece>"
        f"<otherwise>{call('times', call('minus', name('k')), name('x'))}</otherwise></piecewise>"
    )
    model = text_model(parameters(x=1.0, k=1.0, never=1.0), many("Rules", rate("x", law)))
    k = np.array([0.01, 0.1, 1.0, 50.0, 300.0])
    found = ran(model, {"k": k, "never": np.nan}, 5, ("x",), times=(1.0,))[0, 0]
    assert_allclose(found, np.exp(-k), rtol=1e-6, atol=1e-10)


def test_the_given_state_is_not_changed(steroid: Batch):
    state = steroid.initial({}, 2)
    before = state.copy()
    steroid.run(state, {}, (1.0,), ("live",))
    assert_array_equal(state, before)


# ---- refusals --------------------------------------------------------------------------------------------------


def test_events_and_time_are_refused():
    with pytest.raises(UnsupportedModel, match="events"):
        Batch(text_model(*conversion(), many("Events", event("A", number(1), call("gt", name("A"), number(5))))))
    clock = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time">t</csymbol>'
    with pytest.raises(UnsupportedModel, match="time"):
        Batch(text_model(parameters(x=1.0), many("Rules", rate("x", clock))))
    seen = Batch(text_model(parameters(x=1.0, late=None), many("Rules", rate("x", name("x")), rule("late", clock))))
    with pytest.raises(UnsupportedModel, match="'late' depends on time"):
        seen.run(seen.initial({}, 1), {}, (1.0,), ("late",))


@pytest.mark.parametrize("times", [(), (1.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (np.nan,), (1.0, np.inf)])
def test_times_must_increase(steroid: Batch, times):
    with pytest.raises(InputError, match="times must increase from 0 on"):
        steroid.run(steroid.initial({}, 1), {}, times, ("live",))


def test_unknown_names_and_wrong_lengths_are_refused(steroid: Batch):
    state = steroid.initial({}, 2)
    with pytest.raises(UnknownName, match="fold_pool"):
        steroid.initial({"fold_pol": 1.0}, 2)
    with pytest.raises(UnknownName, match="live"):
        steroid.run(state, {}, (1.0,), ("lve",))
    with pytest.raises(InputError, match=r"one per lane \(2\), got shape \(3,\)"):
        steroid.run(state, {"fold_pool": np.ones(3)}, (1.0,), ("live",))
    with pytest.raises(InputError, match="the state must have shape"):
        steroid.run(state[:-1], {}, (1.0,), ("live",))


# ---- elimination, beside numpy's --------------------------------------------------------------------------------


@given(
    size=st.integers(1, 9),
    density=st.floats(0.0, 0.7),
    lanes=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_elimination_solves_random_sparse_systems(size: int, density: float, lanes: int, seed: int):
    """shift 1 - A with shift beyond the row sums of A, so that pivots from the diagonal are safe."""
    rng = np.random.default_rng(seed)
    pattern = rng.random((size, size)) < density
    places = [(int(i), int(j)) for i, j in np.argwhere(pattern)]
    system = elimination(size, [places[i] for i in rng.permutation(len(places))])
    assert system.places == tuple(places)  # sorted, whatever the order given
    values, right = rng.normal(size=(len(places), lanes)), rng.normal(size=(size, lanes))
    shift = 1.0 + 2.0 * size * rng.random(lanes) + np.abs(values).sum(axis=0)
    found = system.solve(system.factor(values, shift), right)
    for lane in range(lanes):
        matrix = shift[lane] * np.eye(size)
        for (row, column), value in zip(places, values[:, lane], strict=True):
            matrix[row, column] -= value
        assert_allclose(found[:, lane], np.linalg.solve(matrix, right[:, lane]), rtol=1e-9, atol=1e-12)


def test_elimination_of_an_arrow_fills_nothing():
    """Row and column 0 full: taken last, nothing fills in; taken first, everything would."""
    arrow = elimination(6, [(i, i) for i in range(6)] + [(0, i) for i in range(1, 6)] + [(i, 0) for i in range(1, 6)])
    assert arrow.fill == 0


def test_a_zero_pivot_is_not_finite():
    system = elimination(1, [(0, 0)])
    with np.errstate(all="ignore"):
        found = system.solve(system.factor(np.array([[2.0, 1.0]]), np.array([2.0, 2.0])), np.ones((1, 2)))
    assert not np.isfinite(found[0, 0]) and found[0, 1] == 1.0
