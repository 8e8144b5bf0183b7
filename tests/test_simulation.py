"""What `simulate` returns, against what can be solved by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from scipy.special import lambertw

from kinetics import Experiment, Model, Period, Solver, added, simulate, simulate_many
from kinetics.errors import IntegrationFailed, NoSteadyState
from kinetics.timecourse import Status

RTOL = 1e-6  # the integrator runs at rtol 1e-8 per step; measured errors stay near 4e-7


# --- closed forms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1e-3, 0.1, 5.0])
def test_decay_is_exponential_and_conserves_mass(decay, k):
    times = np.array([0.0, 0.1, 1.0, 3.0, 10.0, 30.0]) / k / 10.0
    course = simulate(decay, None, times, ["A", "P", "A + P"], parameters={"k": k})
    assert_allclose(course["A"], 10.0 * np.exp(-k * times), rtol=RTOL)
    assert_allclose(course["A + P"], 11.0, rtol=1e-12)  # a linear invariant is kept to rounding
    assert_allclose(course["P"], 11.0 - 10.0 * np.exp(-k * times), rtol=RTOL)


def test_reversible_binding_reaches_the_root_of_its_quadratic(binding):
    course = simulate(binding, None, [0.0, 1.0, math.inf], ["L", "R", "C", "L + C", "R + C"])
    total = 4.0 + 3.0 + 2.5
    complexes = 0.5 * (total - math.sqrt(total**2 - 4.0 * 4.0 * 3.0))
    assert course["C"][-1] == pytest.approx(complexes, rel=1e-6)  # the drift allowed at steady state
    assert_allclose(course["L + C"], 4.0, rtol=1e-12)
    assert_allclose(course["R + C"], 3.0, rtol=1e-12)
    assert course.times[-1] == math.inf
    assert course.status is Status.STEADY


def test_binding_kinetics_follow_the_logistic_closed_form(binding):
    """C(t) for A + B <-> C: both roots of the quadratic enter."""
    times = np.linspace(0.0, 5.0, 11)
    b, root = 4.0 + 3.0 + 2.5, math.sqrt((4.0 + 3.0 + 2.5) ** 2 - 4.0 * 12.0)
    low, high = 0.5 * (b - root), 0.5 * (b + root)
    e = np.exp(-0.2 * root * times)
    expected = low * high * (1.0 - e) / (high - low * e)
    assert_allclose(simulate(binding, None, times, ["C"])["C"], expected, rtol=RTOL)


def test_michaelis_menten_is_the_lambert_w():
    """Schnell and Mendoza (1997): S(t) = K W(S0/K exp((S0 - V t)/K))."""
    model = Model.load(
        "model mm()\n compartment c = 0.5; species S in c\n S -> ; c * V * S / (K + S)\n S = 8; V = 1.5; K = 2\nend",
        trusted=True,
    )
    times = np.linspace(0.0, 10.0, 21)
    expected = 2.0 * lambertw(8.0 / 2.0 * np.exp((8.0 - 1.5 * times) / 2.0)).real
    assert_allclose(simulate(model, None, times, ["S"])["S"], expected, rtol=RTOL)


def test_repeated_oral_doses_superpose(pk):
    """Bateman (1910) for each dose, added up: the model is linear."""
    k_a, k_e, dose = 0.5, 0.2, 40.0
    starts = [0.0, 8.0, 16.0, 24.0]
    times = np.linspace(0.0, 48.0, 49)
    course = simulate(pk, Experiment.repeated({"Gut": added(dose)}, every=8.0, times=4), times, ["Drug", "Gut"])
    since = np.maximum(times[:, None] - np.array(starts), 0.0)
    bateman = dose * k_a / (k_a - k_e) * (np.exp(-k_e * since) - np.exp(-k_a * since))
    assert_allclose(course["Drug"], bateman.sum(axis=1), rtol=RTOL, atol=1e-9)
    given = np.where(times[:, None] >= np.array(starts), dose * np.exp(-k_a * since), 0.0)
    assert_allclose(course["Gut"], given.sum(axis=1), rtol=RTOL, atol=1e-9)


def test_infusion_rises_to_rate_over_clearance_and_falls(pk):
    rate, k_e, length = 6.0, 0.2, 10.0
    times = np.linspace(0.0, 30.0, 31)
    got = simulate(pk, Experiment.infusion("rate", rate, duration=length), times, ["Drug"])["Drug"]
    during = rate / k_e * (1.0 - np.exp(-k_e * np.minimum(times, length)))
    assert_allclose(got, during * np.exp(-k_e * np.maximum(times - length, 0.0)), rtol=RTOL, atol=1e-12)


def test_stiff_robertson_agrees_with_radau():
    model = Model.load(
        "model robertson()\n x = 1; y = 0; z = 0\n x' = -0.04*x + 1e4*y*z\n"
        " y' = 0.04*x - 1e4*y*z - 3e7*y^2\n z' = 3e7*y^2\nend",
        trusted=True,
    )

    def rates(_t: float, s: np.ndarray) -> list[float]:
        x, y, z = s
        return [-0.04 * x + 1e4 * y * z, 0.04 * x - 1e4 * y * z - 3e7 * y * y, 3e7 * y * y]

    times = np.array([0.0, 0.4, 4.0, 40.0, 400.0])
    truth = solve_ivp(rates, (0.0, 400.0), [1.0, 0.0, 0.0], "Radau", times, rtol=1e-12, atol=1e-18).y.T
    got = simulate(model, None, times, ["x", "y", "z"]).values
    assert_allclose(got[1:], truth[1:], rtol=RTOL)


def test_bundled_model_agrees_with_itself_at_tolerances_100_times_tighter():
    model = Model.load("il7_stat5_imatinib")
    experiment = Experiment.steps(("2 h", {"Imatinib": "3 uM"}), ("30 min", {"IL7": "1 ng/ml"}))
    times = [0.0, 1.0, 5.0, 30.0, 120.0]
    rough = simulate(model, experiment, times, model.species)
    tight = simulate(model, experiment, times, model.species, solver=Solver().tighter())
    assert tight.solver == Solver(1e-10, 1e-14)
    # floor: 1e4 times the absolute tolerance (amounts of 1e-12 zmol in compartments of about 0.1 pL)
    assert_allclose(rough.values, tight.values, rtol=RTOL, atol=1e-8)


@pytest.mark.parametrize("volume, start", [(1.0, 10.0), (1e-12, 1e-9), (1e6, 1e6)])
def test_result_does_not_depend_on_the_units_the_model_is_written_in(volume, start):
    """A decay has one shape in nM and pL as in mol/l and l, where amounts are 1e-21."""
    model = Model.load(
        f"model m()\n compartment c = {volume}; species A in c\n A -> ; c*k*A\n A = {start}; k = 0.1\nend", trusted=True
    )
    times = np.array([0.0, 1.0, 10.0, 50.0])
    assert_allclose(simulate(model, None, times, ["A"])["A"] / start, np.exp(-0.1 * times), rtol=1e-5)


TINY = {
    "produced from nothing": "species D in c; -> D; c * r; r = 1e-9; D -> ; c * 0.2 * D; D = 0",
    "from a boundary species": "species D in c, $B in c; B -> D; c * 0.3 * B; B = 1e-9/0.3; D -> ; c * 0.2 * D; D = 0",
    "under a rate rule": "D = 0; D' = 1e-9 - 0.2 * D",
}


@pytest.mark.parametrize("body", TINY.values(), ids=TINY.keys())
def test_small_units_are_seen_although_nothing_is_there_at_the_start(body):
    """D rises to 5e-9 mol/l in a cell of 1 pl: an absolute tolerance of 1e-12 mol would see nothing at all."""
    model = Model.load(f"model m()\n compartment c = 1e-12\n {body}\nend", trusted=True)
    times = np.array([1.0, 5.0, 20.0])
    assert_allclose(simulate(model, None, times, ["D"])["D"], 5e-9 * (1.0 - np.exp(-0.2 * times)), rtol=1e-4)


def test_a_small_compartment_beside_a_large_one():
    """Bateman: Q in the medium feeds D in a cell a million times smaller."""
    model = Model.load(
        "model m()\n compartment cell = 1e-12; compartment medium = 1e-6; species D in cell, Q in medium\n"
        " Q -> D; cell * 0.3 * Q\n D -> ; cell * 0.2 * D\n D = 0; Q = 1e-9\nend",
        trusted=True,
    )
    times = np.array([1.0, 5.0, 20.0])
    loss = 0.3e-6  # of Q: the cell's share of the medium
    exact = 0.3e-9 / (0.2 - loss) * (np.exp(-loss * times) - np.exp(-0.2 * times))
    assert_allclose(simulate(model, None, times, ["D"])["D"], exact, rtol=1e-4)


def test_small_states_under_rate_rules():
    model = Model.load("model m()\n x = 1e-15; x' = -0.1 * x\nend", trusted=True)
    times = np.array([0.0, 10.0, 50.0])
    assert_allclose(simulate(model, None, times, ["x"])["x"], 1e-15 * np.exp(-0.1 * times), rtol=1e-4)


def test_output_does_not_depend_on_the_requested_grid(binding):
    coarse = simulate(binding, None, [0.0, 2.0], ["C", "L"]).values[-1]
    for grid in (np.linspace(0.0, 2.0, 500), np.array([2.0]), np.array([1e-9, 1.0, 1.999999, 2.0])):
        assert_allclose(simulate(binding, None, grid, ["C", "L"]).values[-1], coarse, rtol=1e-6)


def test_times_may_start_anywhere_after_the_experiment_begins(decay):
    """The raw engine takes the first of ``times`` for the start of the integration."""
    assert simulate(decay, None, [5.0, 10.0], ["A"])["A"] == pytest.approx(10.0 * np.exp([-0.5, -1.0]), rel=RTOL)
    assert simulate(decay, None, 5.0, "A")["A"] == pytest.approx(10.0 * math.exp(-0.5), rel=RTOL)
    assert simulate(decay, None, [0.0], ["A"])["A"].tolist() == [10.0]


# --- what is what: amounts, concentrations, boundary, initial assignments -------------------------------------

KINDS = """model kinds()
  compartment c = 2; species A in c, X in c, $B in c; substanceOnly species N in c
  A = 3; X = 8 / c; N = 5; B = 4
  J1: A -> X; c * k * A
  J2: N -> ; k * N
  J3: $B -> ; c * B
  k = 0.1
end"""


@pytest.fixture(scope="module")
def kinds() -> Model:
    """A and B state a concentration, X an amount (8), N is an amount and is counted as such."""
    return Model.load(KINDS, trusted=True)


def test_species_read_as_concentration_or_as_amount(kinds):
    assert simulate(kinds, None, [0.0], ["A", "X", "N", "B", "N / c"]).values.tolist() == [[3.0, 4.0, 5.0, 4.0, 2.5]]


def test_amount_species_are_set_in_amounts(kinds):
    course = simulate(kinds, Experiment([Period(0.0, {"N": 7.0}), Period(2.0, {"N": added(1.0)})]), [0.0, 2.0], ["N"])
    assert course["N"].tolist() == pytest.approx([7.0, 7.0 * math.exp(-0.2) + 1.0], rel=RTOL)


@pytest.mark.parametrize("how", ["experiment", "parameters", "with_values"])
def test_volume_at_the_start_keeps_initial_concentrations_and_initial_amounts(kinds, how):
    changes = {"c": 4.0}
    if how == "experiment":
        course = simulate(kinds, Experiment(Period(0.0, changes)), [0.0], ["A", "X", "N", "B"])
    elif how == "parameters":
        course = simulate(kinds, None, [0.0], ["A", "X", "N", "B"], parameters=changes)
    else:
        course = simulate(kinds.with_values(**changes), None, [0.0], ["A", "X", "N", "B"])
    assert course.values.tolist() == [[3.0, 2.0, 5.0, 4.0]]  # X: 8 in a volume of 4


def test_volume_later_keeps_concentrations_and_leaves_amount_species_alone(kinds):
    course = simulate(kinds, Experiment([Period(0.0), Period(1.0, {"c": 4.0})]), [1.0], ["A", "X", "N", "B", "c"])
    decayed = math.exp(-0.1)
    expected = [3.0 * decayed, 4.0 + 3.0 * (1.0 - decayed), 5.0 * decayed, 4.0, 4.0]
    assert_allclose(course.values[0], expected, rtol=RTOL)


def test_volume_and_concentration_set_together_give_that_concentration(kinds):
    for start in (0.0, 1.0):
        change = Period(start, {"c": 4.0, "A": 6.0})
        experiment = Experiment([Period(0.0), change] if start else change)
        assert simulate(kinds, experiment, [start], ["A", "c"]).values.tolist() == [[6.0, 4.0]]


def test_boundary_species_stay_until_they_are_set(kinds):
    experiment = Experiment([Period(0.0), Period(1.0, {"B": 9.0}), Period(2.0, {"B": added(1.0)})])
    assert simulate(kinds, experiment, [0.0, 0.5, 1.0, 1.5, 2.5], ["B"])["B"].tolist() == [4.0, 4.0, 9.0, 9.0, 10.0]
    assert simulate(kinds, None, [0.0, 5.0], ["B"])["B"].tolist() == [4.0, 4.0]  # nothing is left of it


CHAIN = """model chain()
  compartment c = 1; species S in c
  k = 2; p = 3 * k; S = 5 * p; r := 2 * p
  S -> ; c * k * S
end"""


@pytest.fixture(scope="module")
def chain() -> Model:
    """Initial assignments in a chain: p = 3 k, S = 5 p; and a rule r := 2 p."""
    return Model.load(CHAIN, trusted=True)


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({}, [2.0, 6.0, 30.0, 12.0]),
        ({"k": 4.0}, [4.0, 12.0, 60.0, 24.0]),
        ({"p": 1.0}, [2.0, 1.0, 5.0, 2.0]),
        ({"k": 4.0, "p": 1.0}, [4.0, 1.0, 5.0, 2.0]),
        ({"S": 7.0, "k": 4.0}, [4.0, 12.0, 7.0, 24.0]),
    ],
)
def test_initial_assignments_follow_overrides_and_give_way_to_them(chain, changes, expected):
    names = ["k", "p", "S", "r"]
    assert simulate(chain, None, [0.0], names, parameters=changes).values.tolist() == [expected]
    assert simulate(chain, Experiment(Period(0.0, changes)), [0.0], names).values.tolist() == [expected]
    assert simulate(chain.with_values(**changes), None, [0.0], names).values.tolist() == [expected]
    assert simulate(chain, None, [0.0], names).values.tolist() == [[2.0, 6.0, 30.0, 12.0]]  # nothing is left of it


def test_initial_assignments_are_not_evaluated_again_later(chain):
    course = simulate(chain, Experiment([Period(0.0), Period(1.0, {"k": 0.0})]), [1.0, 2.0], ["p", "S"])
    assert_allclose(course["p"], 6.0, rtol=0.0)
    assert_allclose(course["S"], 30.0 * math.exp(-2.0), rtol=RTOL)


# --- periods -------------------------------------------------------------------------------------------------


def test_changes_of_a_period_are_evaluated_on_the_state_before_all_of_them(kinds):
    swap = Experiment([Period(0.0), Period(1.0, {"A": "X", "X": "A", "k": "A + X"})])
    before = simulate(kinds, None, [1.0], ["A", "X"]).values[0]
    after = simulate(kinds, swap, [1.0], ["A", "X", "k"]).values[0]
    assert_allclose(after, [before[1], before[0], before.sum()], rtol=1e-12)


def test_a_time_on_a_boundary_shows_the_state_after_the_change(decay):
    experiment = Experiment([Period(0.0, {"A": 6.0}), Period(2.0, {"A": added(1.0)}), Period(4.0, {"A": 0.0})])
    course = simulate(decay, experiment, [0.0, 2.0, 4.0], ["A"])
    assert course["A"].tolist() == pytest.approx([6.0, 6.0 * math.exp(-0.2) + 1.0, 0.0], rel=RTOL)


def test_an_added_dose_at_the_very_start_adds_to_the_initial_value(decay):
    assert simulate(decay, Experiment(Period(0.0, {"A": added(2.5)})), [0.0], ["A"])["A"].tolist() == [12.5]


def test_a_change_can_take_time_into_account(decay):
    """``time`` in a formula is the time at which the period starts, also of the first and after pre-equilibration."""
    later = Experiment([Period(0.0), Period(4.0, {"A": "2 * time"})])
    assert simulate(decay, later, [4.0], ["A"])["A"].tolist() == [8.0]
    first = Experiment(Period(5.0, {"A": "time"}))
    assert simulate(decay, first, [5.0], ["A"])["A"].tolist() == [5.0]
    equilibrated = Experiment([Period(-math.inf), Period(4.0, {"A": "time"})])
    assert simulate(decay, equilibrated, [4.0], ["A"])["A"].tolist() == [4.0]


def test_experiments_can_start_at_any_time(decay):
    early, late = Experiment(Period(-30.0)), Experiment(Period(100.0))
    assert simulate(decay, early, [-30.0, -20.0], ["A"])["A"] == pytest.approx([10.0, 10.0 * math.exp(-1.0)], rel=RTOL)
    assert simulate(decay, late, [100.0, 110.0], ["A"])["A"] == pytest.approx([10.0, 10.0 * math.exp(-1.0)], rel=RTOL)


def test_rules_of_time_use_the_time_of_the_experiment():
    model = Model.load("model m()\n u := 2 * time; x = 0; x' = time\nend", trusted=True)
    course = simulate(model, Experiment(Period(3.0)), [3.0, 5.0], ["u", "x", "time"])
    assert_allclose(course.values, [[6.0, 0.0, 3.0], [10.0, 8.0, 5.0]], rtol=RTOL)


def test_periods_in_any_order_and_with_times_that_round_differently(decay):
    """0.1 + 0.2 is not 0.3; nobody means two different times by them."""
    forwards = Experiment([Period(0.0), Period(1.0, {"A": 3.0}), Period(2.0, {"A": 1.0})])
    backwards = Experiment(reversed(forwards.periods))
    one, two = (simulate(decay, e, [0.0, 1.5, 2.0], ["A"]).values for e in (forwards, backwards))
    assert np.array_equal(one, two)
    close = Experiment([Period(0.0), Period(0.3, {"A": 3.0})])
    assert simulate(decay, close, [0.1 + 0.2], ["A"])["A"][0] == pytest.approx(3.0, rel=1e-9)


def test_two_periods_within_rounding_of_each_other(decay):
    experiment = Experiment([Period(0.0), Period(0.3, {"k": 0.0}), Period(0.1 + 0.2, {"A": 3.0})])
    assert simulate(decay, experiment, [1.0], ["A"])["A"][0] == pytest.approx(3.0, rel=1e-9)


def test_last_times_before_later_periods_are_allowed(decay):
    experiment = Experiment([Period(0.0), Period(10.0, {"A": 100.0})])
    assert simulate(decay, experiment, [5.0], ["A"])["A"][0] == pytest.approx(10.0 * math.exp(-0.5), rel=RTOL)


# --- steady state --------------------------------------------------------------------------------------------


def test_pre_equilibration_reaches_the_known_steady_state(pk):
    experiment = Experiment([Period(-math.inf, {"rate": 3.0}), Period(0.0, {"rate": 0.0})])
    course = simulate(pk, experiment, [0.0, 5.0], ["Drug"])
    # the allowed drift is 1e-6 of the value
    assert_allclose(course["Drug"], [15.0, 15.0 * math.exp(-1.0)], rtol=2e-6)


@pytest.mark.parametrize("k_e", [1e-4, 0.2, 50.0])
def test_infinite_time_is_the_steady_state_whatever_the_rate(pk, k_e):
    course = simulate(pk, Experiment(Period(0.0, {"rate": 3.0})), [math.inf], ["Drug"], parameters={"k_e": k_e})
    assert course["Drug"][0] == pytest.approx(3.0 / k_e, rel=2e-6)


def test_steady_state_does_not_depend_on_the_units_of_the_model():
    model = Model.load(
        "model m()\n compartment c = 1e-12; species A in c, P in c\n A -> P; c*k*A\n A = 1e-9; P = 0; k = 0.1\nend",
        trusted=True,
    )
    assert simulate(model, None, [math.inf], ["P"])["P"][0] == pytest.approx(1e-9, rel=1e-5)


def test_steady_states_before_and_after_are_different_states(pk):
    experiment = Experiment([Period(-math.inf, {"rate": 2.0}), Period(0.0, {"rate": 4.0})])
    assert simulate(pk, experiment, [0.0, math.inf], ["Drug"])["Drug"] == pytest.approx([10.0, 20.0], rel=2e-6)


@pytest.mark.parametrize(
    "text",
    [
        "model grows()\n x = 1; x' = 1\nend",
        "model circles()\n x = 1; y = 0; x' = y; y' = -x\nend",
        "model lotka()\n x = 1; y = 0.5; x' = x - x*y; y' = x*y - y\nend",
    ],
    ids=["growth", "oscillator", "Lotka-Volterra"],
)
def test_no_steady_state_is_an_error_that_says_so(text):
    model = Model.load(text, trusted=True)
    for experiment, times in ((Experiment([Period(-math.inf), Period(0.0)]), [0.0]), (None, [math.inf])):
        with pytest.raises(NoSteadyState, match="steady state"):
            simulate(model, experiment, times, ["x"])


def test_exponential_growth_has_no_steady_state():
    model = Model.load("model grows()\n x = 1; x' = x\nend", trusted=True)
    with pytest.raises((NoSteadyState, IntegrationFailed), match="'grows'"):  # 1e308 is reached before long
        simulate(model, None, [math.inf], ["x"])


# --- shared periods ------------------------------------------------------------------------------------------

RULED = """model ruled()
  compartment c = 2; compartment v; v = 1; v' = 0.1 * v
  species A in c, S in v, E in c, F in c, $B in c
  decay: A -> ; c * k * A
  turn: E -> F; c * 0.3 * E * A
  A = 10; k = 0.1; S = 3; S' = -0.2 * S; p = 1; p' = 0.3 * p; q := p * A + S; B = 4; E = 7; F = 0; w := A * time
end"""


@pytest.fixture(scope="module")
def ruled() -> Model:
    """Everything that can change: reactions, rate rules on species, parameters and compartments, rules of time."""
    return Model.load(RULED, trusted=True)


def _alike(model: Model, experiments: list[Experiment], times: list[float], names: list[str], **more: object) -> None:
    together = simulate_many(model, experiments, times, names, **more)
    for experiment, course in zip(experiments, together, strict=True):
        alone = simulate(model, experiment, times, names, **more)
        assert np.array_equal(course.values, alone.values)
        assert np.array_equal(course.times, alone.times)


def test_shared_periods_give_the_same_bits_as_single_runs(ruled):
    lead = [Period(-5.0, {"k": 0.2}), Period(3.0, {"A": added(2.0), "c": 3.0})]
    experiments = [Experiment([*lead, Period(5.0, {"A": added(dose), "B": dose})]) for dose in (0.0, 1.0, 30.0)]
    names = ["A", "S", "p", "q", "B", "v", "E", "F", "c", "w"]
    _alike(ruled, experiments, [-5.0, 0.0, 2.0, 3.0, 4.0, 5.0, 7.5], names)
    values = [course["B"][-1] for course in simulate_many(ruled, experiments, [7.5], names)]
    assert values == [0.0, 1.0, 30.0]  # the doses did arrive


def test_shared_periods_of_different_lengths_and_nested_stems(decay):
    stem = Experiment([Period(0.0), Period(2.0, {"k": 0.3})]).periods
    experiments = [
        Experiment(stem),
        Experiment([*stem, Period(3.0, {"A": 1.0})]),
        Experiment([*stem, Period(3.0, {"A": 1.0}), Period(4.0, {"k": 0.0})]),
        Experiment([*stem, Period(3.5, {"A": 1.0})]),
        Experiment([stem[0], Period(2.5, {"k": 0.3})]),
    ]
    _alike(decay, experiments, [0.0, 1.0, 2.0, 3.0, 3.5, 4.0, 6.0], ["A", "P", "k"])
    _alike(decay, experiments[::-1], [0.0, 1.0, 2.0, 3.0, 3.5, 4.0, 6.0], ["A", "P", "k"])


def test_shared_pre_equilibration_gives_the_same_bits(pk):
    stem = Period(-math.inf, {"rate": 3.0})
    experiments = [Experiment([stem, Period(0.0, {"Gut": added(dose)})]) for dose in (0.0, 1.0, 8.0)]
    _alike(pk, experiments, [0.0, 1.0, 20.0], ["Drug", "Gut"])


def test_shared_periods_with_parameters_of_the_call(decay):
    experiments = [Experiment([Period(0.0), Period(2.0, {"A": dose})]) for dose in (1.0, 2.0)]
    _alike(decay, experiments, [0.0, 3.0], ["A"], parameters={"k": 0.7})


def test_shared_periods_do_not_disturb_the_clock():
    """A formula over time, or over a rule of time, must not see the clock of the experiment that ran before."""
    model = Model.load(
        "model m()\n compartment c = 1; species A in c; A -> ; c*k*A; A = 10; k = 0.1; u := 2*time\nend", trusted=True
    )
    experiments = [
        Experiment([Period(0.0), Period(3.0, {"A": "u + 1"}), Period(5.0, {"A": f"u + time + {extra}"})])
        for extra in range(3)
    ]
    together = [course["A"][1] for course in simulate_many(model, experiments, [3.0, 5.0, 6.0], ["A"])]
    assert together == [15.0, 16.0, 17.0]
    _alike(model, experiments, [3.0, 5.0, 6.0], ["A", "u"])


_CHANGES = st.sampled_from(
    [{}, {"k": 0.3}, {"k": 0.0}, {"A": 4.0}, {"A": added(2.0)}, {"A": "A / 2", "k": 0.05}, {"A": "P", "P": "A"}]
)
_SCHEDULES = st.lists(
    st.tuples(st.sampled_from([-3.0, -1.0, -0.5, 0.0, 0.7, 2.0, 5.0]), _CHANGES),
    min_size=1,
    max_size=5,
    unique_by=lambda period: period[0],
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_SCHEDULES, min_size=1, max_size=4))
def test_any_schedules_give_piecewise_exponentials_and_the_bits_of_single_runs(decay, schedules):
    """A decays and P takes it up, so that every schedule can be followed by hand from change to change."""
    times = [5.0, 6.0, 9.0]
    experiments = [Experiment([Period(start, changes) for start, changes in schedule]) for schedule in schedules]
    _alike(decay, experiments, times, ["A", "P", "k"])
    for schedule, experiment in zip(schedules, experiments, strict=True):
        tight = Solver(1e-10, 1e-14)  # each period restarts the integrator, and errors of the default add up
        course = simulate(decay, experiment, times, ["A", "P"], solver=tight)
        for row, time in zip(course.values, times, strict=True):
            assert row == pytest.approx(_followed(schedule, time), rel=1e-6, abs=1e-9)


def _followed(schedule: list[tuple[float, dict[str, object]]], until: float) -> tuple[float, float]:
    a, p, k, now = 10.0, 1.0, 0.1, min(start for start, _ in schedule)
    for start, changes in [*sorted(schedule, key=lambda period: period[0]), (until, {})]:
        left = a * math.exp(-k * (start - now))
        a, p, now = left, p + a - left, start
        k = changes.get("k", k)
        dose = changes.get("A")
        if dose == "P":
            a, p = p, a
        elif dose == "A / 2":
            a = a / 2.0
        elif dose is not None:
            a = 4.0 if dose == 4.0 else a + 2.0
    return a, p


EVENTS = """model events()
  compartment c = 1; species A in c
  A -> ; c * k * A
  A = 10; k = 0.1; n = 0
  late: at 3 after (time > 2): A = A + 4
  low: at (A < 5): n = n + 1, A = 8
end"""


@pytest.fixture(scope="module")
def events() -> Model:
    """Sets A(5) = A(2) + 4 (an event at 2, delayed by 3) and tops A up to 8 when it falls below 5."""
    return Model.load(EVENTS, trusted=True)


def test_events_are_right_by_closed_form(events):
    times = np.array([0.0, 2.0, 4.9, 5.5])
    a5 = 10.0 * math.exp(-0.2) + 4.0  # SBML's default: A + 4 is evaluated when the event is triggered, at 2
    expected = np.where(times > 5.0, a5 * np.exp(-0.1 * (times - 5.0)), 10.0 * np.exp(-0.1 * times))
    assert_allclose(simulate(events, None, times, ["A"])["A"], expected, rtol=RTOL)
    # below 5 once ln(a5/5)/0.1 have gone by, then again every ln(8/5)/0.1
    first, every = 5.0 + math.log(a5 / 5.0) / 0.1, math.log(8.0 / 5.0) / 0.1
    count = simulate(events, None, [first - 0.01, first + 0.01, first + every + 0.01], ["n"])["n"]
    assert count.tolist() == [0.0, 1.0, 2.0]


def test_events_with_shared_periods_are_those_of_single_runs(events):
    experiments = [Experiment([Period(0.0), Period(3.0, {"A": dose})]) for dose in (6.0, 9.0, 20.0)]
    _alike(events, experiments, [0.0, 3.0, 4.0, 5.5, 30.0], ["A", "n"])


def test_delayed_events_survive_a_period_boundary(events):
    """The event at 2 waits until 5; a period starts at 3 in between."""
    course = simulate(events, Experiment([Period(0.0), Period(3.0, {"n": 7.0})]), [4.9, 5.1], ["A", "n"])
    expected = [10.0 * math.exp(-0.49), (10.0 * math.exp(-0.2) + 4.0) * math.exp(-0.01)]
    assert_allclose(course["A"], expected, rtol=RTOL)
    assert course["n"].tolist() == [7.0, 7.0]


def test_an_event_fires_when_a_condition_makes_its_trigger_true(events):
    """From A = 9 to A = 3 the trigger A < 5 goes from false to true, which is what SBML calls firing."""
    course = simulate(events, Experiment([Period(0.0), Period(1.0, {"A": 3.0})]), [1.5], ["A", "n"])
    assert course["n"].tolist() == [1.0]
    assert course["A"][0] == pytest.approx(8.0 * math.exp(-0.05), rel=RTOL)


def test_time_events_fire_after_pre_equilibration_too():
    model = Model.load(
        "model m()\n compartment c = 1; species A in c; A -> ; c*k*A; A = 10; k = 0.1\n at (time > 5): A = 100\nend",
        trusted=True,
    )
    experiment = Experiment([Period(-math.inf), Period(0.0, {"A": 10.0})])
    expected = [10.0, 10.0 * math.exp(-0.4), 100.0 * math.exp(-0.1)]
    assert_allclose(simulate(model, experiment, [0.0, 4.0, 6.0], ["A"])["A"], expected, rtol=RTOL)


# --- what comes back -----------------------------------------------------------------------------------------


def test_formulas_names_and_units_of_the_result(with_units):
    course = simulate(with_units, None, ["0 min", "0.5 h"], {"sum": "Drug + Other", "Drug": "Drug", "k": "k"})
    assert course.observables == ("sum", "Drug", "k")
    assert course.units == ("", "nM", "1/min")
    assert course.time_unit == "min"
    assert_allclose(course.times, [0.0, 30.0], rtol=1e-15)
    assert_allclose(course["sum"], 10.0, rtol=1e-12)
    frame = course.to_frame()
    assert list(frame.columns) == ["model", "experiment", "observable", "time", "time_unit", "value", "unit"]
    row = frame[(frame.observable == "Drug") & (frame.time == 30.0)].iloc[0]
    assert (row.value, row.unit) == (course["Drug"][1], "nM")
    assert course.to_frame(wide=True).loc[1, "Drug"] == course["Drug"][1]
    assert list(course) == list(course.observables)


def test_readouts_may_name_readouts(decay):
    model = Model.load(decay.sbml, readouts={"total": "A + P", "share": "A / total"}, trusted=True)
    course = simulate(model, None, [0.0], ["share", "total"])
    assert course.values.tolist() == [[10.0 / 11.0, 11.0]]
    assert simulate(model, None, [0.0]).observables == ("total", "share")  # readouts are what is shown by default


def test_result_does_not_change_when_the_engine_runs_again(decay):
    course = simulate(decay, None, [0.0, 1.0], ["A"])
    kept = course.values.copy()
    simulate(decay, None, [0.0, 50.0], ["A"], parameters={"k": 3.0})
    assert np.array_equal(course.values, kept)


def test_a_dose_is_not_diluted_by_a_volume_that_follows_a_parameter_of_the_same_condition():
    """IL-7 at 1 ng/ml is 1 ng/ml at any cell density; the medium per cell follows the density."""
    model = Model.load("il7_stat5_imatinib")
    together = Experiment(Period(0.0, {"IL7": 0.5, "cell_density": 1e5}))
    alone = Experiment(Period(0.0, {"IL7": 0.5}))
    one = simulate(model, together, [0.0, 30.0], ["IL7", "pSTAT5_total"])
    other = simulate(model, alone, [0.0, 30.0], ["IL7", "pSTAT5_total"], parameters={"cell_density": 1e5})
    assert one["IL7"][0] == 0.5
    assert_allclose(one.values, other.values, rtol=1e-9)
