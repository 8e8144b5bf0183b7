"""Parameters: scales and their inverses, order, fixing, and what cannot be meant."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fits.parameters import Parameter, ParameterSet, Scale
from fits.priors import Prior
from kinetics.errors import InputError, UnknownName

THREE = ParameterSet(
    [
        Parameter("k", 0.01, 100.0, Scale.LOG10, 1.0),
        Parameter("c", 0.0, 5.0, nominal=2.5, estimate=False),
        Parameter("s", 0.5, 8.0, Scale.LOG),
        Parameter("b", -3.0, 3.0, nominal=-1.0),
    ]
)


def test_scales_by_hand():
    assert Scale.LIN.scaled(-3.0) == -3.0
    assert_allclose([Scale.LOG.scaled(math.e), Scale.LOG10.scaled(1000.0)], [1.0, 3.0], rtol=1e-15)
    assert Scale.LOG.scaled(0.0) == Scale.LOG10.scaled(0.0) == -math.inf


@pytest.mark.parametrize("scale", list(Scale))
@pytest.mark.parametrize("value", [1e-300, 3e-7, 1.0, 2.5, 1e12])
def test_scales_are_inverse_to_each_other(scale, value):
    # an absolute rounding of ln(1e-300) = -690 is 1e-13 relative after exp
    assert_allclose(scale.plain(scale.scaled(value)), value, rtol=3e-13)


@pytest.mark.parametrize("scale", [Scale.LOG, Scale.LOG10])
def test_overflow_is_infinity_and_minus_infinity_is_zero(scale):
    assert scale.plain(1e4) == math.inf
    assert scale.plain(-math.inf) == 0.0


@pytest.mark.parametrize("scale", list(Scale))
def test_slopes_are_derivatives(scale):
    x, h = 0.7, 1e-5
    exact = (scale.plain(x + h) - scale.plain(x - h)) / (2.0 * h)
    assert_allclose(scale.slope(scale.plain(x)), exact, rtol=1e-9)  # h^2 and 1e-16/h


def test_the_search_vector_holds_the_free_parameters_in_order():
    assert THREE.names == ("k", "s", "b")
    assert_allclose(THREE.lower, [-2.0, math.log(0.5), -3.0], rtol=1e-15)
    assert_allclose(THREE.upper, [2.0, math.log(8.0), 3.0], rtol=1e-15)
    assert_allclose(THREE.nominal, [0.0, math.nan, -1.0])
    assert len(THREE) == 4
    assert [parameter.id for parameter in THREE] == ["k", "c", "s", "b"]


def test_plain_values_hold_fixed_parameters_too():
    values = THREE.plain([-1.0, math.log(3.0), 0.5])
    assert values == pytest.approx({"k": 0.1, "c": 2.5, "s": 3.0, "b": 0.5}, rel=1e-15)
    assert_allclose(THREE.scaled(values), [-1.0, math.log(3.0), 0.5], rtol=1e-15)
    assert_allclose(THREE.slopes(values), [0.1 * math.log(10.0), 3.0, 1.0], rtol=1e-15)


def test_a_nominal_zero_on_a_logarithmic_scale_is_no_point_to_start_from():
    chosen = ParameterSet([Parameter("k", 0.0, 1.0, Scale.LOG10, 0.0)])
    assert np.isnan(chosen.nominal[0])
    assert chosen.lower[0] == -math.inf


def test_fixing_and_restricting():
    fixed = THREE.with_fixed({"k": 7.0})
    assert fixed.names == ("s", "b")
    assert fixed.plain([0.0, 0.0])["k"] == 7.0
    assert THREE.names == ("k", "s", "b")  # as it was
    only = ParameterSet([THREE["k"], THREE["c"], THREE["b"]]).restricted(["b"])
    assert only.names == ("b",)
    assert only.plain([0.0]) == {"k": 1.0, "c": 2.5, "b": 0.0}


def test_fixing_what_is_not_there():
    with pytest.raises(UnknownName, match="'kk'"):
        THREE.with_fixed({"kk": 1.0})


def test_restricting_to_what_is_not_there():
    """A misspelt name must not silently fix everything."""
    with pytest.raises(UnknownName, match="'bb'"):
        ParameterSet([THREE["k"], THREE["b"]]).restricted(["bb"])


def test_pickle():
    assert repr(pickle.loads(pickle.dumps(THREE))) == repr(THREE)  # NaN equals nothing


def test_values_missing_or_misspelt():
    with pytest.raises(InputError, match=r"no value given for parameter 's' \(there is a 'ss'\)"):
        THREE.scaled({"k": 1.0, "ss": 1.0, "b": 1.0})
    with pytest.raises(UnknownName, match="'sx'"):
        THREE["sx"]


def test_a_vector_of_the_wrong_length():
    with pytest.raises(InputError, match=r"expected 3 values.*got shape \(2,\)"):
        THREE.plain([1.0, 2.0])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Parameter("k", 1.0, 0.1), r"'k' needs lower < upper, got 1, 0.1"),
        (lambda: Parameter("k", 1.0, 1.0), r"lower < upper"),
        (lambda: Parameter("k", math.nan, 1.0), r"lower < upper"),
        (lambda: Parameter("k", -1.0, 1.0, Scale.LOG10), r"log10 scale and needs lower >= 0, got -1"),
        (lambda: Parameter("k", 0.0, 1.0, nominal=math.inf), r"nominal value of parameter 'k' must be finite"),
        (lambda: Parameter("k", 0.0, 1.0, estimate=False), r"'k' is not estimated, so it needs a finite nominal"),
        (lambda: ParameterSet([Parameter("k", 0.0, 1.0), Parameter("k", 0.0, 2.0)]), r"'k' is declared twice"),
    ],
)
def test_what_cannot_be_meant(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_prior_keeps_its_place():
    chosen = Parameter("k", 0.0, 1.0, prior=Prior("normal", (0.5, 0.1)))
    assert ParameterSet([chosen])["k"].prior == Prior("normal", (0.5, 0.1))
