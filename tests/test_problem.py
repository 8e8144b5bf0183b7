"""Problems as data: what belongs together is checked where the problem is made."""

from __future__ import annotations

import math
import pickle

import pytest
from calibrations import CHAIN, censor, free, load, make, measure, observe

from fits.objective import compile_problem
from fits.parameters import ParameterSet
from fits.problem import Distribution, Measurement, Problem, replace_problem
from kinetics.errors import FormulaError, InputError, UnknownName
from kinetics.experiment import Experiment, Period

ROWS = [measure(1.0, 9.0), measure(5.0, 6.0)]


@pytest.fixture(scope="module")
def chain():
    return load(CHAIN)


def test_distributions_know_their_base_and_transformation():
    table = {item.value: (item.base, item.transformation) for item in Distribution}
    assert table == {
        "normal": ("normal", "lin"),
        "laplace": ("laplace", "lin"),
        "log-normal": ("normal", "log"),
        "log-laplace": ("laplace", "log"),
        "log10-normal": ("normal", "log10"),
        "log10-laplace": ("laplace", "log10"),
    }


def test_a_problem_survives_pickling(chain):
    problem = make(chain, [free("k", 0.2)], "A", ROWS, Experiment([Period(0, {"A": "10*k"})]), notes=("a note",))
    copy = pickle.loads(pickle.dumps(problem))
    assert copy.measurements == problem.measurements
    assert copy.parameters == problem.parameters
    assert dict(copy.observables) == dict(problem.observables)
    assert dict(copy.experiments) == dict(problem.experiments)
    assert copy.notes == ("a note",)
    assert compile_problem(copy).evaluate([0.2]).value == compile_problem(problem).evaluate([0.2]).value


def test_equal_rows_are_replicates(chain):
    once = compile_problem(make(chain, [free("k")], [observe("A", "2")], [measure(1.0, 9.0)])).evaluate([0.2]).value
    twice = compile_problem(make(chain, [free("k")], [observe("A", "2")], [measure(1.0, 9.0)] * 2)).evaluate([0.2])
    assert twice.value == 2.0 * once


def test_replacing_parts(chain):
    problem = make(chain, [free("k", 0.2)], "A", ROWS)
    other = problem.with_parameters(ParameterSet([free("k", 0.4)]))
    assert other.parameters["k"].nominal == 0.4
    assert problem.parameters["k"].nominal == 0.2
    assert replace_problem(problem, measurements=ROWS[:1]).measurements == (ROWS[0],)
    with pytest.raises(UnknownName, match=r"'measurement'.*'measurements'"):
        replace_problem(problem, measurement=ROWS)


def test_what_does_not_belong_together(chain):
    def with_rows(*rows, **options):
        return make(chain, [free("k")], "A", rows, **options)

    with pytest.raises(UnknownName, match=r"observable named 'yy' in measurement 2 .*'y'"):
        with_rows(ROWS[0], measure(1.0, 2.0, observable="yy"))
    with pytest.raises(UnknownName, match=r"experiment named 'ee'.*'e'"):
        with_rows(measure(1.0, 2.0, "ee"))
    with pytest.raises(UnknownName, match=r"model named 'chan'.*'chain'"):
        with_rows(measure(1.0, 2.0, model="chan"))
    with pytest.raises(InputError, match="does not say which of the 2 models"):
        make({"a": chain, "b": chain}, [free("k")], "A", ROWS)
    with pytest.raises(InputError, match="has no measurements"):
        with_rows()
    with pytest.raises(InputError, match="has no model"):
        make({}, [free("k")], "A", ROWS)
    with pytest.raises(InputError, match="'y' is declared twice"):
        make(chain, [free("k")], [observe("A"), observe("B")], ROWS)
    with pytest.raises(InputError, match=r"measurement 1 .* needs 0 observable parameters, got 1"):
        with_rows(measure(1.0, 2.0, observable_overrides=(1.0,)))
    with pytest.raises(InputError, match="needs 1 noise parameters, got 0"):
        make(chain, [free("k")], [observe("A", "n", noise_placeholders=("n",))], ROWS)


@pytest.mark.parametrize(
    "make_row, message",
    [
        (lambda: measure(math.nan, 1.0), "'y' has no time"),
        (lambda: measure(1.0, math.inf), "must be finite, got inf"),
        (lambda: measure(1.0, math.nan), "neither a value nor limits"),
        (lambda: censor(1.0, 2.0, 1.0), "lower < upper, got 2, 1"),
        (lambda: censor(1.0, 2.0, 2.0), "lower < upper"),
        (lambda: Measurement("y", "e", 1.0, math.nan, lower=math.nan, upper=2.0), "limits"),
    ],
)
def test_measurements_that_say_nothing(make_row, message):
    with pytest.raises(InputError, match=message):
        make_row()


@pytest.mark.parametrize(
    "observables, experiment, rows, error, message",
    [
        ("AA", None, ROWS, UnknownName, "'AA' in observable 'y'.*'A'"),
        ("A +", None, ROWS, FormulaError, "A +"),
        (
            [observe("A", "sdd")],
            None,
            ROWS,
            FormulaError,
            "noise formula of observable 'y' names undefined 'sdd'.*'sd'",
        ),
        ("A", Experiment([Period(0, {"AX": 1.0})]), ROWS, UnknownName, "'AX'"),
        ("A", Experiment([Period(0, {"A": "kk"})]), ROWS, UnknownName, "'kk'.*'A'"),
        ("A", Experiment([Period(3)]), ROWS, InputError, "'e' .* starts at 3, but something was measured at 1"),
        (
            [observe("p*A", observable_placeholders=("p",))],
            None,
            [measure(1.0, 2.0, observable_overrides=("kx",))],
            FormulaError,
            "'y': 'p' is set to 'kx', which is no parameter",
        ),
    ],
)
def test_names_that_nothing_defines(chain, observables, experiment, rows, error, message):
    with pytest.raises(error, match=message):
        compile_problem(make(chain, [free("k"), free("sd")], observables, rows, experiment))


def test_parameters_that_the_model_computes_cannot_be_estimated():
    """Otherwise the parameter would do nothing, silently."""
    model = load("model m() compartment c=1; species A in c; J: A -> ; c*k*A; A=1; k=1; y := 2*A; end")
    for name in ("y", "J"):
        with pytest.raises(InputError, match=f"'{name}'.*cannot be set"):
            compile_problem(make(model, [free("k"), free(name, 1.0)], "A", ROWS))


def test_gradients_must_be_a_known_kind(chain):
    with pytest.raises(InputError, match=r"gradients must be .* got 'adjoint'"):
        compile_problem(make(chain, [free("k")], "A", ROWS), gradients="adjoint")


def test_problem_is_its_own_type(chain):
    assert isinstance(make(chain, [free("k")], "A", ROWS), Problem)
