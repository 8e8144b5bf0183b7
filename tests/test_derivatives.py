"""Gradients against tight differences of order 4, through all that an experiment and an observable can hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from calibrations import CHAIN, INF, TIGHT, agrees, censor, free, load, make, measure, observe
from numpy.testing import assert_allclose

from fits.objective import compile_problem
from fits.priors import Prior
from kinetics.errors import KineticsError
from kinetics.experiment import Experiment, Period, added

# made, passed on and lost: a steady state that forgets its start
TURNOVER = """model turnover() compartment c=2; species A in c, B in c
  -> A; c*s; A -> B; c*k*A; B -> ; c*d*B; s=1; k=0.3; d=0.2; A=0; B=0; end"""
# conserved totals: a steady state that remembers them
BINDING = """model binding() compartment c=2; species L in c, R in c, C in c
  L + R -> C; c*(k_on*L*R - k_off*C); L=4; R=3; C=0; k_on=0.2; k_off=0.5; end"""
# two volumes, and a species in amounts between them
SIZES = """model sizes() compartment c=2, n=0.5; species A in c, B in n; substanceOnly species X in n
  A -> X; c*k*A; X -> B; q*X; A=10; X=1; B=0.5; k=0.3; q=0.2; end"""
# initial values that follow from each other
ASSIGNED = """model assigned() compartment c=1; species A in c, B in c; A -> B; c*k*A
  A=3*q; B=2*A; k=0.2; q=1.5; end"""
SWITCHED = """model switched() compartment c=1; species A in c
  -> A; c*piecewise(r, time<ts, 0); A -> ; c*k*A; A=0; r=2; k=0.3; ts=3; end"""
EVENTS = "model ev() compartment c=2; species A in c; A -> ; c*k*A; A=10; k=0.1; d=2; at (A<5): A=A+d; end"
TIMED = """model timed() compartment c=1; species A in c
  -> A; c*r*(1+exp(-time)); A -> ; c*k*A; A=0; r=1; k=0.5; end"""
# E is lost while it destroys A: the end depends on the whole course, and nothing is conserved
REMEMBERED = """model remembered() compartment c=1; species A in c, E in c
  A -> ; c*k*A*E; E -> ; c*d*E; A=10; E=1; k=0.3; d=0.5; end"""
RULED = "model ruled() compartment c=1; species A in c; A -> ; c*k*A; A=10; k=0.2; w=3; y := w*A; end"

NOMINAL = {
    "k": 0.3,
    "s": 1.1,
    "d": 0.2,
    "q": 0.8,
    "A": 8.0,
    "X": 1.2,
    "B": 0.5,
    "c": 2.2,
    "n": 0.6,
    "p": 1.3,
    "zz": 1.1,
}
DATA = [measure(0.0, 6.0), measure(1.0, 5.0), measure(4.0, 3.0), measure(9.0, 4.0)]


def parameters(*names):
    return [free(name, NOMINAL[name]) for name in names]


# --- periods, doses and starts -------------------------------------------------------------------------------

EXPERIMENTS = {
    "as it is": Experiment(),
    "a start other than 0": Experiment([Period(-2, {"A": 3})]),
    "a dose": Experiment([Period(0, {"A": "p"})]),
    "a dose as a formula": Experiment([Period(0, {"A": "5*p^2", "u": "log(p)"})]),
    "an added dose": Experiment([Period(0), Period(2, {"A": added(3)})]),
    "a dose on top": Experiment([Period(0), Period(2, {"A": "A + p", "B": "B/2"})]),
    "states exchanged": Experiment([Period(0), Period(2, {"A": "B", "B": "A"})]),
    "a rate changed": Experiment([Period(0), Period(2, {"k": "p*k"}), Period(5, {"k": "k/3"})]),
    "a rate set to a number and read": Experiment([Period(0, {"k": 0.4}), Period(2, {"A": "10*k"})]),
    "a rate set to another": Experiment([Period(0, {"k": "p/5"}), Period(4, {"A": "10*k", "k": "A/40"})]),
    "time in a formula": Experiment([Period(0), Period(2, {"A": "A + p*time"})]),
    "an input that changes": Experiment([Period(0, {"u": "p"}), Period(3, {"u": "zz"})]),
    "an input set late": Experiment([Period(0), Period(3, {"u": "p*u"})]),
    "changes between measurements": Experiment([Period(0)] + [Period(t, {"A": "A + p"}) for t in (1.5, 2.0, 2.5, 6.0)]),
    "changes when it is measured": Experiment([Period(0), Period(1, {"A": "p"}), Period(4, {"B": "A*p"})]),
    "two conditions": Experiment([Period(0, {"A": "p"}), Period(4, {"A": 3, "u": "p"})])
    + Experiment(Period(4, {"B": "zz"})),
}


@pytest.mark.parametrize("kind", EXPERIMENTS)
def test_experiments(kind):
    agrees(make(load(CHAIN), parameters("k", "p", "zz"), "(A + 0.1*B)*u", DATA, EXPERIMENTS[kind]))


@pytest.mark.parametrize("kind", [kind for kind in EXPERIMENTS if kind != "a start other than 0"])
def test_experiments_with_an_estimated_initial_value(kind):
    agrees(make(load(CHAIN), parameters("A", "p", "k", "zz"), "(A + 0.1*B)*u", DATA, EXPERIMENTS[kind]))


@pytest.mark.parametrize("start", [0.0, -INF])
def test_a_rate_in_terms_of_itself_from_the_start(start):
    """Exact or not, it is right and says which."""
    experiment = Experiment([Period(start, {"k": "k*p"}), Period(2, {"k": "k/2"})])
    objective = compile_problem(make(load(TURNOVER), parameters("k", "p"), "A", DATA[2:], experiment), TIGHT)
    found = agrees(objective, exact=None)
    assert found.exact is not bool(objective.inexact)


def test_parameters_of_some_experiments_only():
    experiments = {
        "e": Experiment([Period(0, {"A": "p"})]),
        "f": Experiment([Period(0, {"A": "zz"})]),
        "g": Experiment(),
    }
    data = [*DATA, measure(2.0, 3.0, "f"), measure(3.0, 3.0, "g", observable="z")]
    observables = [observe("A"), observe("q*B", "0.5", id="z")]
    found = agrees(make(load(CHAIN), parameters("k", "p", "zz", "q"), observables, data, experiments))
    assert_allclose(found.jacobian[:5, 3], 0.0)  # q only enters the last row
    assert_allclose(found.jacobian[4:, 1], 0.0)  # p only the first experiment


def test_conditions_with_the_same_formulas_and_other_numbers():
    experiments = {
        "e": Experiment([Period(0, {"A": 3}), Period(3, {"A": "A+p"})]),
        "f": Experiment([Period(0, {"A": 5}), Period(3, {"A": "A+p"})]),
    }
    agrees(make(load(CHAIN), parameters("k", "p"), "A", [*DATA, measure(5.0, 2.0, "f")], experiments))


@pytest.mark.parametrize("names", [("q",), ("k", "q", "B"), ("A", "B"), ("q", "A")])
@pytest.mark.parametrize("changes", [{}, {"q": "p"}, {"B": "p"}, {"A": 5}, {"A": "p"}, {"A": "2*q"}])
def test_chains_of_initial_assignments(names, changes):
    chosen = [free(name, NOMINAL[name]) for name in dict.fromkeys((*names, "p"))]
    agrees(make(load(ASSIGNED), chosen, "A + 10*B", DATA, Experiment([Period(0, changes)])))


def test_an_initial_assignment_replaced_by_a_value_of_the_model_or_of_the_problem():
    model = load(ASSIGNED, A=4.0)
    agrees(make(model, parameters("k", "q"), "A + 10*B + q", DATA))
    fixed = free("A", 4.0, estimate=False)
    found = agrees(make(load(ASSIGNED), [fixed, *parameters("k", "q")], "A + 10*B + q", DATA))
    assert_allclose(compile_problem(make(model, parameters("k"), "A+B", DATA)).simulate({"k": 0.2})[0], 12.0)
    assert len(found.gradient) == 2


# --- steady states -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [(0.0, 3.0, INF), (INF,)])
@pytest.mark.parametrize(
    "experiment",
    [
        Experiment(),
        Experiment([Period(-INF), Period(0, {"k": "k*p"})]),
        Experiment([Period(-INF, {"s": "p"}), Period(0, {"s": "3*d"}), Period(1, {"A": added(2), "k": "k+d"})]),
        Experiment([Period(-INF, {"s": 2}), Period(5, {"A": "A + p*time"})]),
    ],
)
def test_steady_states_that_forget_their_start(times, experiment):
    begin = 5.0 if experiment.periods and experiment.periods[-1].start.value == 5.0 else 0.0
    data = [measure(begin + time, 3.0) for time in times]
    agrees(make(load(TURNOVER), parameters("k", "d", "s", "p"), "A + 2*B", data, experiment))


@pytest.mark.parametrize("names", [("k_on", "k_off"), ("R", "k_on"), ("c", "p"), ("L", "R", "C")])
@pytest.mark.parametrize("changes", [{}, {"L": "p"}, {"L": 0}, {"k_on": "p/4"}])
def test_steady_states_that_remember_totals(names, changes):
    start = {"k_on": 0.25, "k_off": 0.4, "R": 2.5, "L": 3.5, "C": 0.5, "c": 1.8, "p": 2.0}
    chosen = [free(name, start[name]) for name in dict.fromkeys((*names, "p"))]
    experiment = Experiment([Period(-INF, changes), Period(0, {"L": added(2)})])
    agrees(
        make(load(BINDING), chosen, "C + 0.1*L", [measure(0.0, 1.0), measure(1.0, 2.0), measure(INF, 2.0)], experiment)
    )


def test_a_steady_state_by_hand():
    """B = s/d: d(s/d)/ds = 1/d, d(s/d)/dd = -s/d^2."""
    objective = compile_problem(make(load(TURNOVER), parameters("s", "d"), "B", [measure(INF, 0.0)]), TIGHT)
    found = objective.evaluate([1.1, 0.2], derivatives=True)
    assert_allclose(found.residuals, [5.5], rtol=1e-7)
    assert_allclose(found.jacobian, [[5.0, -27.5]], rtol=1e-6)


@pytest.mark.parametrize("scaled", [False, True])
def test_steady_states_under_rates_that_follow_the_clock_fall_back_to_differences(scaled):
    experiment = Experiment([Period(-INF), Period(0, {"r": 2})])
    names = ("k", "zz") if scaled else ("k",)
    objective = compile_problem(
        make(load(TIMED), parameters(*names), "zz*A" if scaled else "A", DATA, experiment), TIGHT
    )
    agrees(objective, exact=False, tolerance=1e-5)
    assert "time" in objective.inexact["k"]


@pytest.mark.parametrize("scaled", [False, True])
def test_a_steady_state_that_remembers_its_course_falls_back_to_differences(scaled):
    """A(inf) = A0 exp(-k E0/d): no implicit derivative knows that."""
    names = ("k", "d", "zz") if scaled else ("k", "d")
    problem = make(
        load(REMEMBERED), parameters(*names), "zz*A" if scaled else "A", [measure(1.0, 8.0), measure(INF, 3.0)]
    )
    found = agrees(problem, exact=False, tolerance=1e-5)
    left = 10.0 * math.exp(-0.3 / 0.2) * (1.1 if scaled else 1.0)
    assert_allclose(found.residuals[1], left - 3.0, rtol=1e-5)


# --- sizes and amounts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("c",), ("c", "n", "k"), ("X", "q"), ("A", "n"), ("B", "c")])
@pytest.mark.parametrize("formula", ["A + B", "X", "B*n + A*c"])
def test_sizes_and_amounts(names, formula):
    agrees(make(load(SIZES), parameters(*names, "zz"), f"zz*({formula})", DATA))


@pytest.mark.parametrize("names", [("c", "n"), ("B", "k"), ("X", "A")])
@pytest.mark.parametrize(
    "experiment",
    [
        Experiment([Period(0, {"n": "p"})]),
        Experiment([Period(0, {"n": "p"}), Period(2, {"c": "p*2", "n": 1.5})]),
        Experiment([Period(0), Period(2, {"n": "n*p", "X": "X + p"})]),
    ],
)
def test_sizes_set_by_conditions(names, experiment):
    agrees(make(load(SIZES), parameters(*names, "p"), "A + B + X", DATA, experiment))


def test_a_compartment_under_a_rule():
    """The file states the concentration at the start, whatever the volume: n' = -k n/c from n(0) = 3 c."""
    model = load("model m() compartment c; species A in c; c := 2+0.1*p; A -> ; k*A; A=3; k=0.3; p=1; end")
    problem = make(model, parameters("k", "p"), "A*c", [measure(0.0, 1.0), measure(4.0, 3.0)])
    size = 2.0 + 0.1 * 5.0
    exact = [3.0 * size, 3.0 * size * math.exp(-0.3 / size * 4.0)]
    assert_allclose(compile_problem(problem, TIGHT).simulate({"k": 0.3, "p": 5.0}), exact, rtol=1e-8)
    agrees(problem)


# --- observables, noise, scales ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["normal", "laplace", "log-normal", "log-laplace", "log10-normal", "log10-laplace"])
def test_noise_that_moves_with_the_state_and_time(kind):
    observable = observe("zz*(A + 2*B)", "p + 0.1*A + 0.05*k*time + 0.1*y", distribution=kind)
    agrees(
        make(
            load(TURNOVER),
            parameters("k", "s", "p", "zz"),
            [observable],
            [*DATA[1:], censor(7.0, 1.0, 3.0), censor(8.0, 6.0)],
        )
    )


@pytest.mark.parametrize("scale", ["lin", "log", "log10"])
def test_scales_of_parameters(scale):
    chosen = [free(name, NOMINAL[name], scale=scale) for name in ("k", "A", "p", "zz", "q")]
    experiment = Experiment([Period(0), Period(2, {"A": "A + p"})])
    agrees(make(load(CHAIN), chosen, [observe("zz*A", "q")], DATA, experiment))


def test_priors():
    priors = {
        "k": free("k", 0.3, prior=Prior("normal", (0.1, 0.2))),
        "s": free("s", 1.1, scale="log10", prior=Prior("log-normal", (0.2, 0.3))),
        "d": free("d", 0.2, scale="log", prior=Prior("normal", (0.1, 0.3), scale="log10")),
        "p": free("p", 1.3, scale="log10", prior=Prior("gamma", (3.0, 5.0))),
    }
    agrees(make(load(TURNOVER), list(priors.values()), "p*B", DATA))


def test_placeholders_by_row():
    observable = observe("o1*A + o2", "n1", observable_placeholders=("o1", "o2"), noise_placeholders=("n1",))
    data = [
        measure(1.0, 5.0, observable_overrides=("zz", 0.5), noise_overrides=("p",)),
        measure(1.0, 5.0, observable_overrides=("q", "s"), noise_overrides=(0.3,)),
        measure(3.0, 5.0, observable_overrides=(2.0, "zz"), noise_overrides=("s",)),
    ]
    agrees(make(load(CHAIN), parameters("k", "zz", "q", "s", "p"), [observable], data))


def test_assigned_quantities_and_parameters_that_only_enter_observables():
    agrees(make(load(RULED), [*parameters("k", "p"), free("w", 2.0)], "y*p + w", DATA))


def test_a_change_that_reads_an_assigned_quantity():
    experiment = Experiment([Period(0), Period(3, {"A": "y + p"})])
    agrees(make(load(RULED), [*parameters("k", "p"), free("w", 2.0)], "A", DATA, experiment))


def test_only_parameters_that_enter_observables():
    agrees(make(load(CHAIN), parameters("p", "zz"), [observe("p*A^zz", "0.5+0.1*p")], DATA))


def test_a_parameter_that_nothing_uses_has_slope_zero():
    found = compile_problem(make(load(CHAIN), parameters("k", "zz"), "A", DATA)).evaluate([0.3, 1.0], derivatives=True)
    assert found.gradient[1] == 0.0 and found.gradient[0] != 0.0 and found.exact


def test_several_models():
    models = {"a": load(TURNOVER), "b": load(CHAIN), "c": load(CHAIN, A=5.0)}
    experiments = {"e": Experiment(), "f": Experiment([Period(0, {"k": "p/3"}), Period(1, {"k": "k*p"})])}
    data = [
        measure(1.0, 1.0, model="a"),
        measure(2.0, 1.5, model="b", observable="z"),
        measure(3.0, 2.0, "f", model="b", observable="z"),
        measure(3.0, 2.0, "f", model="c", observable="z"),
        measure(2.0, 2.0, "f", model="a"),
    ]
    chosen = parameters("k", "s", "p", "zz")
    agrees(make(models, chosen, [observe("B"), observe("zz*B", "0.3*zz", id="z")], data, experiments))


# --- what is not certain -------------------------------------------------------------------------------------


def test_a_switch_at_a_fixed_time_is_exact():
    agrees(make(load(SWITCHED), [free("k", 0.3), free("r", 2.0)], "A", [measure(2.0, 1.0), measure(5.0, 1.0)]))


def test_a_switch_that_moves_is_differenced_and_the_rest_is_exact():
    problem = make(load(SWITCHED), [free("k", 0.3), free("ts", 3.0)], "A", [measure(2.0, 1.0), measure(5.0, 1.0)])
    objective = compile_problem(problem, TIGHT)
    agrees(objective, exact=False, tolerance=1e-5)
    assert list(objective.inexact) == ["ts"]
    assert "moves with the parameter" in objective.inexact["ts"]


@pytest.mark.parametrize("names", [("k", "d"), ("k", "zz"), ("zz",), ("k", "d", "zz", "sd")])
def test_events_fall_back_to_differences_and_say_so(names):
    start = {"k": 0.2, "d": 2.0, "zz": 1.1, "sd": 0.5}
    chosen = [free(name, start[name]) for name in names]
    formula = "zz*A" if "zz" in names else "A"
    noise = "sd" if "sd" in names else "1"
    problem = make(
        load(EVENTS), chosen, [observe(formula, noise)], [measure(1.0, 8.0), measure(5.0, 3.0), measure(9.0, 4.0)]
    )
    objective = compile_problem(problem, TIGHT)
    agrees(objective, exact=None, tolerance=1e-5)
    if set(names) & {"k", "d"}:
        assert not objective.evaluate(objective.nominal, derivatives=True).exact
        assert "events" in objective.inexact[names[0]]


def test_a_model_with_events_beside_one_without():
    models = {"a": load(EVENTS), "b": load(CHAIN)}
    data = [measure(1.0, 8.0, model="a"), measure(5.0, 3.0, model="a"), measure(2.0, 3.0, model="b", observable="z")]
    problem = make(models, [*parameters("k", "zz"), free("u", 1.2)], [observe("A"), observe("u*zz*B", id="z")], data)
    agrees(problem, exact=False, tolerance=1e-5)


def test_exact_gradients_can_be_demanded():
    with pytest.raises(KineticsError, match=r"no exact derivative by 'k': .*events"):
        compile_problem(make(load(EVENTS), parameters("k"), "A", DATA), gradients="exact")
    compile_problem(make(load(CHAIN), parameters("k"), "A", DATA), gradients="exact")


def test_finite_differences_can_be_demanded():
    problem = make(load(CHAIN), parameters("k", "A", "zz"), "zz*A", DATA)
    rough, exact = (compile_problem(problem, TIGHT, gradients=kind) for kind in ("finite differences", "exact"))
    assert set(rough.inexact) == {"k", "A", "zz"}
    found, expected = (one.evaluate(one.nominal, derivatives=True) for one in (rough, exact))
    assert not found.exact and expected.exact
    assert_allclose(found.jacobian, expected.jacobian, rtol=1e-5, atol=1e-5)  # STEP^2 and 1e-12/STEP


@pytest.mark.parametrize("side", ["lower", "upper"])
def test_differences_at_a_bound_stay_inside(side):
    """One-sided there, so of first order: STEP times the second derivative."""
    bounds = {"lower": (0.3, 1.0), "upper": (0.1, 0.3)}[side]
    problem = make(load(CHAIN), [free("k", 0.3, *bounds)], "A", DATA)
    rough = compile_problem(problem, TIGHT, gradients="finite differences").evaluate([0.3], derivatives=True)
    exact = compile_problem(problem, TIGHT).evaluate([0.3], derivatives=True)
    assert_allclose(rough.jacobian, exact.jacobian, rtol=1e-3, atol=1e-6)


def test_differences_next_to_a_blow_up_keep_the_value():
    """A = 1/(1 - k t) at t = 5 exists at k = 0.19999, and not a step further."""
    model = load("model boom() compartment c=1; species A in c; -> A; c*k*A^2; A=1; k=0.1; end")
    objective = compile_problem(make(model, [free("k", 0.1)], "A", [measure(5.0, 1.0)]), gradients="finite differences")
    plain = objective.evaluate([0.19995])
    assert not plain.failed
    found = objective.evaluate([0.19995], derivatives=True)
    assert found.value == plain.value and found.gradient is not None and found.gradient[0] > 0.0


def test_a_nominal_point_that_cannot_be_simulated():
    model = load("model boom() compartment c=1; species A in c; -> A; c*k*A^2; A=1; k=0.1; end")
    objective = compile_problem(make(model, [free("k", 5.0)], "A", DATA[:3]), TIGHT)
    assert objective.evaluate([5.0], derivatives=True).failed
    agrees(objective, [0.1])


def test_a_gradient_far_from_the_point_its_mesh_was_learnt_at():
    """Rates a thousand times faster or slower than at the nominal point."""
    problem = make(load(TURNOVER), [free(n, NOMINAL[n], scale="log10") for n in ("k", "s", "d")], "A + B", DATA)
    objective = compile_problem(problem, TIGHT)
    for shift in ([3.0, 0.0, 0.0], [-3.0, 0.5, 0.0], [0.0, -2.0, 2.5], [2.0, 1.0, -2.0]):
        agrees(objective, objective.nominal + np.array(shift), tolerance=2e-5)
