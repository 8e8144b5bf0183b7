"""Experiments as data: steps, repeats, infusions, merging and replacing."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetics import Condition, Experiment, Period, Quantity, added, simulate
from kinetics.errors import InputError, UnitError, UnknownName


def _starts(experiment: Experiment) -> list[tuple[float, str]]:
    return [(period.start.value, period.start.unit) for period in experiment.periods]


# --- steps ---------------------------------------------------------------------------------------------------


def test_time_zero_is_the_start_of_the_last_step():
    wash = Experiment.steps(("24 h", {"Drug": "3 uM"}), ("1 h", {"Drug": 0}), ("30 min", {"Ligand": "1 nM"}))
    assert _starts(wash) == [(-25.0, "h"), (-1.0, "h"), (0.0, "h")]


def test_time_zero_can_be_the_start_of_the_first_step():
    wash = Experiment.steps(("24 h", {}), ("1 h", {}), ("30 min", {}), zero_at_last=False)
    assert _starts(wash) == [(0.0, "h"), (24.0, "h"), (25.0, "h")]


def test_steps_in_different_units_add_up():
    steps = Experiment.steps(("1 d", {}), ("90 min", {}), ("30 s", {}), ("1 h", {}), zero_at_last=False)
    expected = [0.0, 1.0, 1.0 + 90.0 / 1440.0, 1.0 + 90.0 / 1440.0 + 30.0 / 86400.0]
    assert [value for value, _ in _starts(steps)] == pytest.approx(expected, rel=1e-12)
    assert {unit for _, unit in _starts(steps)} == {"d"}


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8))
def test_the_last_step_starts_at_exactly_zero(durations):
    steps = Experiment.steps(*[(duration, {}) for duration in durations])
    starts = [value for value, _ in _starts(steps)]
    assert starts[-1] == 0.0
    assert starts == sorted(starts)
    assert starts[0] == pytest.approx(-math.fsum(durations[:-1]), rel=1e-12)


def test_equilibrate_puts_a_steady_state_first():
    plain = Experiment.steps((5.0, {}), equilibrate=True)
    assert _starts(plain)[0][0] == -math.inf
    assert plain.periods[0].conditions == ()
    under = Experiment.steps((5.0, {}), equilibrate={"k": 2.0})
    assert dict(under.periods[0].conditions[0].changes) == {"k": 2.0}
    assert len(Experiment.steps((5.0, {}), equilibrate=False).periods) == 1


def test_last_step_may_last_for_ever_the_others_may_not():
    assert _starts(Experiment.steps(("2 h", {}), (math.inf, {}))) == [(-2.0, "h"), (0.0, "h")]
    with pytest.raises(InputError, match="for ever"):
        Experiment.steps((math.inf, {}), ("2 h", {}))


@pytest.mark.parametrize("duration", [0.0, -1.0, "-3 h", math.nan, "nan h"])
def test_durations_must_be_positive(duration):
    with pytest.raises(InputError, match="duration of a step"):
        Experiment.steps((1.0 if isinstance(duration, float) else "1 h", {}), (duration, {}))


def test_durations_with_and_without_units_do_not_mix():
    with pytest.raises(InputError, match="units on all steps"):
        Experiment.steps(("24 h", {}), (30.0, {}))
    with pytest.raises(UnitError, match="duration"):
        Experiment.steps(("24 h", {}), ("3 nM", {}), ("1 h", {}))
    with pytest.raises(InputError, match="at least one"):
        Experiment.steps()


def test_steps_with_units_meet_a_model_in_minutes(with_units):
    experiment = Experiment.steps(("2 h", {"k": 0.0}), ("1 h", {"k": "6 1/h"}))
    course = simulate(with_units, experiment, ["-2 h", "0 min", "600 s"], ["Drug", "k"])
    assert course.times.tolist() == [-120.0, 0.0, 10.0]
    assert course["Drug"] == pytest.approx([10.0, 10.0, 10.0 * math.exp(-1.0)], rel=1e-6)
    assert course["k"] == pytest.approx([0.0, 0.1, 0.1], rel=1e-12)


# --- repeated, infusion, merging -----------------------------------------------------------------------------


def test_repeated_gives_the_same_changes_at_equal_intervals():
    doses = Experiment.repeated({"Gut": added("800 nM")}, every="12 h", times=4, start="6 h")
    assert _starts(doses) == [(6.0, "h"), (18.0, "h"), (30.0, "h"), (42.0, "h")]
    assert {dict(period.conditions[0].changes)["Gut"] for period in doses.periods} == {added("800 nM")}
    assert len(Experiment.repeated({"A": 1.0}, every=1.0, times=1).periods) == 1


@pytest.mark.parametrize(
    "wrong", [{"every": 0.0}, {"every": -1.0}, {"every": math.inf}, {"every": math.nan}, {"times": 0}]
)
def test_repeated_refuses_what_is_no_schedule(wrong):
    with pytest.raises(InputError):
        Experiment.repeated({"A": 1.0}, **{"every": 1.0, "times": 2, **wrong})


def test_repeated_needs_one_unit():
    with pytest.raises(InputError, match="same unit"):
        Experiment.repeated({"A": 1.0}, every="12 h", times=2, start=5.0)


def test_infusion_is_on_and_off():
    infusion = Experiment.infusion("rate", "3 nM/min", duration="2 h", start="1 h")
    assert _starts(infusion) == [(1.0, "h"), (3.0, "h")]
    assert [dict(p.conditions[0].changes)["rate"] for p in infusion.periods] == [Quantity(3.0, "nM/min"), 0.0]
    with pytest.raises(InputError, match="duration of an infusion"):
        Experiment.infusion("rate", 1.0, duration=0.0)


def test_merged_schedules_act_together(pk):
    """Superposition: the model is linear, so the sum of two schedules gives the sum of their results."""
    oral = Experiment.repeated({"Gut": added(10.0)}, every=6.0, times=3)
    infusion = Experiment.infusion("rate", 2.0, duration=4.0, start=6.0)  # meets the second dose
    times = [0.0, 3.0, 6.0, 8.0, 10.0, 12.0, 20.0]
    both, one = (simulate(pk, e, times, ["Drug"])["Drug"] for e in (oral + infusion, oral))
    other = simulate(pk, Experiment(Period(0.0)) + infusion, times, ["Drug"])["Drug"]
    assert both == pytest.approx(one + other, rel=1e-6, abs=1e-9)
    assert other[-1] > 0.5  # the infusion did happen
    backwards = simulate(pk, infusion + oral, times, ["Drug"])["Drug"]
    assert np.array_equal(backwards, both)


def test_an_infusion_that_starts_later_can_be_read_from_its_start_only(pk):
    with pytest.raises(InputError, match="before the first period"):
        simulate(pk, Experiment.infusion("rate", 1.0, duration=4.0, start=6.0), [0.0, 8.0], ["Drug"])


def test_one_target_set_twice_at_one_time_is_refused(pk):
    twice = Experiment(Period(0.0, {"rate": 1.0})) + Experiment(Period(0.0, {"rate": 2.0}))
    with pytest.raises(InputError, match="'rate' is set twice"):
        simulate(pk, twice, [1.0], ["Drug"])


def test_merging_keeps_an_id():
    assert (Experiment((), "a") + Experiment((), "b")).id == "a"
    assert (Experiment() + Experiment((), "b")).id == "b"


# --- with_changes, replacing ---------------------------------------------------------------------------------


def test_with_changes_adds_to_the_last_period_and_leaves_the_original():
    base = Experiment([Period(-1.0, {"A": 1.0}), Period(0.0, {"B": 2.0})])
    more = base.with_changes({"C": 3.0, "B": 4.0})
    assert dict(more.periods[-1].conditions[0].changes) == {"B": 4.0, "C": 3.0}
    assert more.periods[0] == base.periods[0]
    assert dict(base.periods[-1].conditions[0].changes) == {"B": 2.0}
    assert dict(Experiment().with_changes({"A": 1.0}).periods[0].conditions[0].changes) == {"A": 1.0}


def test_the_last_period_is_the_latest_one(decay):
    """Merging puts periods in the order of the sum, not of time."""
    merged = (Experiment(Period(10.0, {"k": 0.0})) + Experiment(Period(0.0, {"k": 0.1}))).with_changes({"A": 5.0})
    assert simulate(decay, merged, [0.0, 10.0], ["A"])["A"].tolist() == [10.0, 5.0]


def test_replacing_goes_where_the_target_is_set():
    treated = Experiment(
        [Period(-2.0, {"Drug": 3.0, "x": 1.0}), Period(-1.0, {"Drug": 1.0}), Period(0.0, {"IL7": 1.0})]
    )
    control = treated.replacing({"Drug": 0.0})
    assert [dict(period.conditions[0].changes) for period in control.periods] == [
        {"Drug": 0.0, "x": 1.0},
        {"Drug": 0.0},
        {"IL7": 1.0},
    ]
    elsewhere = treated.replacing({"k": 5.0})
    assert dict(elsewhere.periods[-1].conditions[0].changes) == {"IL7": 1.0, "k": 5.0}
    assert treated.replacing({}) == treated


def test_replacing_with_several_conditions_in_a_period_is_the_same_experiment(pk):
    split = Experiment(Period(0.0, [Condition({"rate": 1.0}), Condition({"k_e": 0.5})]))
    joined = Experiment(Period(0.0, {"rate": 2.0, "k_e": 0.5}))
    one, two = (simulate(pk, e, [3.0], ["Drug"]).values for e in (split.replacing({"rate": 2.0}), joined))
    assert np.array_equal(one, two)


# --- conditions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, expected",
    [
        ("3 uM", Quantity(3.0, "uM")),
        ("24h", Quantity(24.0, "h")),
        ("5 1/nM/min", Quantity(5.0, "1/nM/min")),
        ("1e-3 nM", Quantity(1e-3, "nM")),
        (".5nM", Quantity(0.5, "nM")),
        ("50 %", Quantity(50.0, "%")),
        ("3", Quantity(3.0, "")),
        (" 1e3 ", Quantity(1000.0, "")),
        ("3*k", "3*k"),
        ("2 * A", "2 * A"),
        ("1e3*k", "1e3*k"),
        ("1.5E-2 * k", "1.5E-2 * k"),
        ("2^3", "2^3"),
        ("k_on", "k_on"),
        ("-A", "-A"),
        ("10 / c", "10 / c"),
        ("1 / c", "1 / c"),
        ("(3)", "(3)"),
    ],
)
def test_text_is_a_quantity_or_a_formula(text, expected):
    assert Condition({"A": text}).changes["A"] == expected


def test_formulas_with_exponents_are_evaluated(decay):
    for text, value in (("1e1 * k", 1.0), ("2.5e-1*P", 0.25), ("1 / cell", 0.5), ("2^3", 8.0), ("-1 + P + 4", 4.0)):
        assert simulate(decay, Experiment(Period(0.0, {"A": text})), [0.0], ["A"])["A"].tolist() == [value]


@pytest.mark.parametrize("value", ["", "  ", math.nan, math.inf, "nan", "-inf", "1e999", None, [1.0], {}, "1e400 nM"])
def test_values_that_are_none_are_refused_when_the_condition_is_made(value):
    with pytest.raises(InputError, match="'A'"):
        Condition({"A": value})


def test_a_condition_is_frozen_and_hashable_data():
    changes = {"A": 1.0, "B": "3 nM", "C": added(2.0)}
    condition = Condition(changes, "mine")
    changes["A"] = 9.0
    assert condition.changes["A"] == 1.0
    with pytest.raises(TypeError):
        condition.changes["A"] = 2.0
    with pytest.raises(AttributeError):
        condition.id = "other"
    assert condition == Condition({"A": 1.0, "B": "3 nM", "C": added(2.0)}, "mine")
    assert hash(condition) == hash(Condition({"A": 1.0, "B": "3 nM", "C": added(2.0)}, "mine"))
    experiment = Experiment([Period(0.0, condition)], "e")
    assert pickle.loads(pickle.dumps(experiment)) == experiment


def test_equal_conditions_have_equal_hashes_whatever_their_order():
    one, two = Condition({"A": 1.0, "B": 2.0}), Condition({"B": 2.0, "A": 1.0})
    assert one == two
    assert hash(one) == hash(two)


@pytest.mark.parametrize("make", [lambda: Condition("A=3"), lambda: Condition([("A", 3)]), lambda: Experiment("steps")])
def test_the_wrong_kind_of_thing_is_refused(make):
    with pytest.raises(InputError):
        make()


@pytest.mark.parametrize("start", [math.inf, math.nan, "nan h"])
def test_periods_start_at_a_time(start):
    with pytest.raises(InputError, match="period"):
        Period(start)


def test_only_one_pre_equilibration():
    with pytest.raises(InputError, match="pre-equilibration"):
        Experiment([Period(-math.inf), Period(-math.inf)])


def test_experiments_know_no_model_until_they_are_run(decay):
    experiment = Experiment(Period(0.0, {"Q": "3 uM", "R": "S + T"}))
    with pytest.raises(UnknownName, match=r"'Q'|'R'"):
        simulate(decay, experiment, [0.0], ["A"])
