"""Requests that cannot be meant, and models that cannot be computed: one clear error each, and nothing left behind.

Each error is of our own tree, names the thing, and says what was expected and what was got.  After each of them
the same process simulates correctly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from kinetics import (
    Condition,
    DoseProtocol,
    Experiment,
    Model,
    Period,
    Readout,
    Solver,
    added,
    dose_response,
    measure,
    simulate,
    simulate_many,
)
from kinetics.errors import (
    FormulaError,
    InputError,
    IntegrationFailed,
    KineticsError,
    MissingValue,
    ModelError,
    ModelNotFound,
    UnitError,
    UnknownName,
)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(decay) -> Iterator[None]:
    """After every test of this file the same process gives the same correct numbers."""
    yield
    course = simulate(decay, None, [0.0, 10.0], ["A", "k"])
    assert course["A"] == pytest.approx([10.0, 10.0 * math.exp(-1.0)], rel=1e-6)
    assert course["k"].tolist() == [0.1, 0.1]


# --- names ---------------------------------------------------------------------------------------------------


def test_unknown_names_come_with_the_nearest(binding):
    calls = [
        ("k_of", "k_off", lambda: simulate(binding, None, [1.0], ["C"], parameters={"k_of": 1.0})),
        ("k_onn", "k_on", lambda: simulate(binding, Experiment(Period(0.0, {"k_onn": 1.0})), [1.0], ["C"])),
        ("wel", "well", lambda: simulate(binding, None, [1.0], ["wel"])),
        ("welll", "well", lambda: simulate(binding, None, [1.0], ["C * welll"])),
        ("k_oN", "k_on", lambda: binding.with_values(k_oN=1.0)),
        ("K_ON", "k_on", lambda: simulate(binding, None, [1.0], ["K_ON"])),
        ("k_ofg", "k_off", lambda: simulate(binding, Experiment(Period(0.0, {"L": "2 * k_ofg"})), [1.0], ["C"])),
        ("k_ofg", "k_off", lambda: measure(binding, [Experiment()], Readout.at("k_ofg", 1.0))),
        ("k_ofg", "k_off", lambda: dose_response(binding, DoseProtocol("k_ofg", [1.0], Readout.at("C", 1.0)))),
    ]
    for wrong, right, call in calls:
        with pytest.raises(UnknownName, match=f"'{wrong}'.*did you mean.*'{right}'"):
            call()
    with pytest.raises(UnknownName, match=r"observable.*'CC'.*did you mean 'C'\?"):
        simulate(binding, None, [1.0], ["C"])["CC"]


def test_a_typo_in_a_period_that_is_never_reached_is_still_a_typo(decay):
    with pytest.raises(UnknownName, match="'kk'"):
        simulate(decay, Experiment([Period(0.0), Period(100.0, {"kk": 1.0})]), [1.0], ["A"])


def test_unknown_models_variants_and_readouts(decay):
    with pytest.raises(ModelNotFound, match="did you mean 'il7_stat5_imatinib'"):
        Model.load("il7_stat5_imatinb")
    with pytest.raises(UnknownName, match="variant"):
        decay.variant("memory")
    with pytest.raises(UnknownName, match="'B'"):
        Model.load(decay.sbml, readouts={"total": "A + B"}, trusted=True)
    with pytest.raises(InputError):
        Model.load("")


def test_what_is_not_settable_says_why():
    model = Model.load(
        "model m()\n compartment c = 1; species A in c; J: A -> ; c*k*A; A = 1; k = 1; r := 2*k\nend", trusted=True
    )
    for name, why in (("r", "assignment rule"), ("J", "reaction")):
        with pytest.raises(InputError, match=f"'{name}'.*{why}"):
            simulate(model, Experiment(Period(0.0, {name: 1.0})), [1.0], ["A"])
        with pytest.raises(InputError, match=f"'{name}'.*{why}"):
            simulate(model, None, [1.0], ["A"], parameters={name: 1.0})


# --- values --------------------------------------------------------------------------------------------------

NO_NUMBERS = [math.nan, math.inf, -math.inf, None, "abc", "3 nM", [1.0], np.array([1.0, 2.0]),
              pytest.param(object(), id="an object"), 1j]  # fmt: skip


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_parameters_of_the_call_are_finite_numbers(decay, value):
    with pytest.raises(InputError, match="'k'"):
        simulate(decay, None, [1.0], ["A"], parameters={"k": value})


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_values_of_a_model_are_finite_numbers_when_they_are_given(decay, value):
    with pytest.raises(InputError, match="'k'"):
        decay.with_values(k=value)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, None, [1.0], pytest.param(object(), id="an object"), 1j, ""], ids=repr
)
def test_values_of_a_condition_are_checked_when_it_is_made(value):
    with pytest.raises(InputError, match="'k'"):
        Condition({"k": value})


@pytest.mark.parametrize("value", [-1.0, "-1", added(-20.0), "A - 20", "-P"], ids=repr)
def test_concentrations_are_not_negative(decay, value):
    for start in (0.0, 1.0):
        change = Period(start, {"A": value})
        with pytest.raises(InputError, match="'A' must not be negative"):
            simulate(decay, Experiment([Period(0.0), change] if start else change), [2.0], ["A"])


def test_a_constant_that_is_positive_in_the_model_cannot_be_overridden_by_a_negative_one(decay):
    """A slip of the keyboard turns decay into growth; what is 0 or negative in the model may be anything."""
    for attempt in (
        lambda: simulate(decay, None, [1.0], ["A"], parameters={"k": -0.1}),
        lambda: decay.with_values(k=-0.1),
    ):
        with pytest.raises(InputError, match=r"'k' must not be negative.*0\.1.*got -0\.1"):
            attempt()
    shift = Model.load("model s()\n p = -1; x := p + 1\nend", trusted=True)
    assert simulate(shift, None, [1.0], ["x"], parameters={"p": -3.0})["x"][0] == -2.0


def test_a_formula_that_gives_nan_names_its_target(decay):
    for formula in ("P / (P - 1)", "ln(-A)", "sqrt(P - A)"):
        with pytest.raises(InputError, match=r"'k' must be finite, got (nan|inf)"):
            simulate(decay, Experiment(Period(0.0, {"k": formula})), [1.0], ["A"])


@pytest.mark.parametrize("formula", ["A +", "A ** ** 2", "import os", "A; k", "sin(", "__import__('os')"])
def test_broken_formulas_are_formula_errors(decay, formula):
    with pytest.raises(FormulaError, match="formula"):
        simulate(decay, Experiment(Period(0.0, {"k": formula})), [1.0], ["A"])
    with pytest.raises(FormulaError, match="formula"):
        simulate(decay, None, [1.0], [formula])


# --- times ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "times",
    [[], (), np.array([]), [1.0, 1.0], [2.0, 1.0], [math.nan], [0.0, math.nan], [-1.0], [-math.inf], [math.inf, 1.0],
     [math.inf, math.inf], [1.0, math.inf, math.inf], None, "soon", ["1 florp"], [None], [[0.0, 1.0]], np.zeros((2, 2)),
     {"a": 1}, pytest.param(object(), id="an object")],
    ids=repr,
)  # fmt: skip
def test_times_are_increasing_numbers(decay, times):
    with pytest.raises(InputError, match=r"time"):
        simulate(decay, None, times, ["A"])


def test_times_are_not_optional(decay):
    with pytest.raises(InputError, match="times are empty"):
        simulate(decay)


# --- the wrong kind of thing ---------------------------------------------------------------------------------


def test_observables_are_text(decay):
    for wrong in ([], {}, [3], [None], {"a": 3}):
        with pytest.raises(InputError):
            simulate_many(decay, [Experiment()], [1.0], wrong)
    with pytest.raises(InputError):
        simulate(decay, None, [1.0], [3])
    array = simulate(decay, None, [0.0], np.array(["A", "k"]))
    assert array.values.tolist() == [[10.0, 0.1]]
    generated = simulate(decay, None, [0.0], (name for name in ("A", "k")))
    assert generated.observables == ("A", "k")


def test_experiments_and_models_are_what_they_are_called(decay):
    for wrong in ({"A": 3.0}, Period(0.0), [Experiment()], "A=3"):
        with pytest.raises(InputError):
            simulate(decay, wrong, [1.0], ["A"])
    for wrong in ("decay", None, decay.sbml):
        with pytest.raises(InputError, match="model"):
            simulate(wrong, None, [1.0], ["A"])
    with pytest.raises(KineticsError):
        Model.load(42)


@pytest.mark.parametrize(
    "settings",
    [{"rtol": 0.0}, {"rtol": -1.0}, {"rtol": math.nan}, {"rtol": 1.0}, {"atol": 0.0}, {"atol": math.inf},
     {"max_steps": 0},
     {"rtol": "1e-8"}, {"atol": None}, {"max_steps": 1.5}],
    ids=repr,
)  # fmt: skip
def test_solver_settings_are_checked(settings):
    name = next(iter(settings))
    with pytest.raises(InputError, match=f"solver {name}"):
        Solver(**settings)


def test_counts_of_repeats_are_whole():
    for times in (1.5, "3", None, -1):
        with pytest.raises(InputError, match="number of doses"):
            Experiment.repeated({"A": 1.0}, every=1.0, times=times)


def test_units_of_the_wrong_dimension_name_the_target(with_units):
    with pytest.raises(UnitError, match=r"'Drug'.*'h'.*'nM'"):
        simulate(with_units, Experiment(Period(0.0, {"Drug": "3 h"})), ["1 h"], ["Drug"])
    with pytest.raises(UnitError, match=r"'kg'.*'min'"):
        simulate(with_units, None, ["1 kg"], ["Drug"])


# --- models that cannot be computed --------------------------------------------------------------------------

IMPOSSIBLE = {
    "blow-up": "x = 1; x' = x^2",
    "division by zero at the start": "x = 1; x' = 1 / (x - 1)",
    "division by a parameter of zero": "x = 1; z = 0; x' = 1 / z",
    "root of a negative number": "x = 1; y = 0; x' = -1; y' = sqrt(x)",
    "logarithm of zero": "x = 0; x' = ln(x)",
    "stiff blow-up": "x = 1; y = 1; x' = 1e12 * (y - x); y' = y^3",
    "exponential overflow": "x = 1; x' = exp(exp(exp(x)))",
}


@pytest.mark.parametrize("body", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_what_cannot_be_integrated_is_one_clear_error(body, capfd):
    model = Model.load(f"model hopeless()\n {body}\nend", trusted=True)
    with pytest.raises(IntegrationFailed) as caught:
        simulate(model, Experiment((), "arm 3"), [0.0, 3.0], ["x"])
    said = str(caught.value)
    for words in ("'hopeless'", "'arm 3'", "between times 0 and 3", "rtol=1e-08", "Try"):
        assert words in said
    assert len(said) < 1000
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert capfd.readouterr() == ("", "")


def test_the_error_names_the_parameters_of_the_call():
    model = Model.load("model hopeless()\n x = 1; a = 0.1; x' = a * x^2\nend", trusted=True)
    assert simulate(model, None, [0.0, 1.0], ["x"])["x"][-1] == pytest.approx(1.0 / 0.9, rel=1e-6)
    with pytest.raises(IntegrationFailed, match="with a=2"):
        simulate(model, None, [0.0, 1.0], ["x"], parameters={"a": 2.0})
    assert simulate(model, None, [0.0, 1.0], ["x"])["x"][-1] == pytest.approx(1.0 / 0.9, rel=1e-6)


def test_a_failure_in_a_later_period_says_between_which_times(decay):
    model = Model.load("model hopeless()\n x = 1; a = 0; x' = a * x^2\nend", trusted=True)
    with pytest.raises(IntegrationFailed, match="between times 5 and 8"):
        simulate(model, Experiment([Period(0.0), Period(5.0, {"a": 1.0})]), [0.0, 8.0], ["x"])


def test_one_hopeless_dose_is_the_error_of_the_curve():
    model = Model.load("model hopeless()\n x = 1; a = 0; x' = a * x^2\nend", trusted=True)
    with pytest.raises(IntegrationFailed, match="a=3"):
        dose_response(model, DoseProtocol("a", [0.1, 0.2, 3.0], Readout.at("x", 1.0)))
    good = dose_response(model, DoseProtocol("a", [0.1, 0.2], Readout.at("x", 1.0)))
    assert good.responses == pytest.approx([1.0 / 0.9, 1.0 / 0.8], rel=1e-6)


def test_a_missing_value_is_asked_for_only_where_it_matters():
    text = (
        "model gaps()\n compartment c = 1; species A in c, B in c; A -> ; c*k*A; B -> ; c*q*B; A = 1; B = 1; k = 1\nend"
    )
    model = Model.load(text, trusted=True)
    assert simulate(model, None, [1.0], ["A"])["A"][0] == pytest.approx(math.exp(-1.0), rel=1e-6)
    with pytest.raises(MissingValue, match="'q'"):
        simulate(model, None, [1.0], ["B"])
    given = simulate(model.with_values(q=2.0), None, [1.0], ["B"])
    assert given["B"][0] == pytest.approx(math.exp(-2.0), rel=1e-6)


def test_a_missing_value_given_in_the_call_or_in_the_first_period_is_not_missing():
    text = "model gaps()\n compartment c = 1; species B in c; B -> ; c*q*B; B = 1\nend"
    model = Model.load(text, trusted=True)
    for how in ({"parameters": {"q": 2.0}}, {"experiment": Experiment(Period(0.0, {"q": 2.0}))}):
        course = simulate(model, how.get("experiment"), [1.0], ["B"], parameters=how.get("parameters"))
        assert course["B"][0] == pytest.approx(math.exp(-2.0), rel=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "model m()\n A -> B; k*A*\n A = 1\nend",
        "model m()\n J: A -> ; nosuch(A)\n A = 1\nend",
        "<sbml>not really</sbml>",
        "<?xml version='1.0'?><html/>",
        "no model\nat all\n",
    ],
)
def test_text_that_is_no_model(text):
    with pytest.raises(ModelError) as caught:
        Model.load(text, trusted=True)
    assert len(str(caught.value)) > 20


def test_every_error_is_also_what_python_users_expect():
    assert issubclass(InputError, ValueError)
    assert issubclass(ModelNotFound, FileNotFoundError)
    for kind in (InputError, IntegrationFailed, MissingValue, ModelNotFound, UnitError, UnknownName):
        assert issubclass(kind, KineticsError)
