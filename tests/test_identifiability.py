"""Fisher information in closed form; ridges, flat parameters and bounds, named in words and tried out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from likelihoods import Counts, NormalSample, Product, Regression, Shift
from numpy.testing import assert_allclose
from toys import Toy

from fits.identifiability import Verdict, identifiability
from fits.information import Curvature, fisher, threshold_of
from fits.optimise import fit
from fits.parameters import Scale
from fits.profiles import profiles
from fits.sloppiness import ridges
from kinetics.errors import InputError, SimulationError

RIDGE = [np.log10(2), np.log10(3), np.log10(2), 0.0]
LOGS = dict.fromkeys(("kp", "k2on", "c", "d"), "log10")


@pytest.mark.parametrize(
    "kind, source, rtol",
    [
        ({}, Curvature.GAUSS_NEWTON, 1e-8),
        ({"least_squares": False, "hessian": True}, Curvature.HESSIAN, 1e-8),
        ({"least_squares": False}, Curvature.DIFFERENCES, 1e-6),  # gradients are linear, rounding remains
    ],
)
def test_linear_regression(kind, source, rtol):
    line = Regression(**kind)
    found = fisher(line, line.best)
    assert found.curvature is source
    assert_allclose(found.matrix, np.linalg.inv(line.covariance), rtol=rtol)
    assert_allclose(found.covariance, line.covariance, rtol=rtol)
    assert_allclose(found.standard_errors, np.sqrt(np.diag(line.covariance)), rtol=rtol)
    assert_allclose(found.matrix @ found.eigenvectors, found.eigenvectors * found.eigenvalues, rtol=1e-9, atol=1e-6)
    half = 1.959963985 * found.standard_errors[0]
    assert_allclose(found.interval("a"), [line.best[0] - half, line.best[0] + half], rtol=1e-8)


def test_normal_sample():
    """n / sigma^2 for the mean and 2 n for ln sigma: 8 / 0.25 and 16."""
    found = fisher(NormalSample(), [2.0, math.log(0.5)])
    assert_allclose(found.matrix, [[32.0, 0.0], [0.0, 16.0]], rtol=1e-6, atol=1e-6)


def test_observed_information_holds_what_the_hessian_leaves_out():
    """A normal prior of sd 0.5 on d, in value and gradient alone: its information is 4."""

    @dataclass(frozen=True)
    class WithPrior(Product):
        least_squares: bool = False
        hessian: bool = True

        def evaluate(self, x, *, derivatives=False):
            found = super().evaluate(x, derivatives=derivatives)
            slope = None if found.gradient is None else found.gradient + np.array([0.0, 0.0, 0.0, 4.0 * x[3]])
            return replace(found, value=found.value + 2.0 * x[3] ** 2, gradient=slope)

    assert fisher(WithPrior(), RIDGE).matrix[3, 3] == 0.0
    found = fisher(WithPrior(), RIDGE, differences=True)
    assert found.curvature is Curvature.DIFFERENCES
    assert_allclose(found.standard_errors[2:], [0.1, 0.5], rtol=1e-6)


def test_ridge_and_flat_parameter_have_infinite_errors():
    found = fisher(Product(), RIDGE)
    assert_allclose(found.standard_errors, [np.inf, np.inf, 0.1, np.inf])
    assert found.interval("kp") == (None, None)


def test_parameter_held_at_its_bound():
    found = fisher(Counts(), [0.0, 1.0])
    assert math.isnan(found.standard_errors[0])  # the slope there is 4, not 0
    assert_allclose(found.standard_errors[1], 1.0, rtol=1e-6)
    assert found.at_bounds == {"rate": "lower"}


def test_ridge_is_named_with_its_direction():
    first, second = sorted(ridges(Product(), fisher(Product(), RIDGE, scales=LOGS)), key=lambda r: len(r.names))
    assert first.names == ("d",)
    assert first.sentence == "d is free on its own: raising d twofold changes the objective by less than 1e-6."
    assert set(second.names) == {"kp", "k2on"}
    assert_allclose(second.direction / second.direction[0], [1.0, -1.0, 0.0, 0.0], atol=1e-6)
    assert abs(second.change) < 1e-6 and abs(second.step) == pytest.approx(math.log10(2.0))
    one, other = second.names
    assert second.sentence == (
        f"log {one} + log {other} is fixed, log {one} - log {other} is free: raising {one} twofold and halving {other} "
        "changes the objective by less than 1e-6."
    )


def test_unequal_exponents_are_named():
    """kp * k2on**2 is fixed: along the ridge log kp falls by 2 where log k2on rises by 1."""
    product = Product(exponent=2.0)
    best = [np.log10(6.0) - 2 * 0.2, 0.2, np.log10(2), 0.0]
    ridge = next(r for r in ridges(product, fisher(product, best, scales=LOGS)) if len(r.names) == 2)
    assert ridge.names == ("kp", "k2on")
    assert ridge.sentence.startswith("log kp + 2 log k2on is fixed, log kp - 0.5 log k2on is free: raising kp twofold")
    assert "dividing k2on by 1.41" in ridge.sentence


@dataclass(frozen=True)
class TwoProducts(Toy):
    """a * b = 1 and c * d = 1, linear scale, nothing else."""

    names: tuple[str, ...] = ("a", "b", "c", "d")
    lower: np.ndarray = field(default_factory=lambda: np.array([0, 0, 0, 0], dtype=float))
    upper: np.ndarray = field(default_factory=lambda: np.array([99, 99, 99, 99], dtype=float))

    def residuals_at(self, x):
        return np.array([(x[0] * x[1] - 1.0) / 0.01, (x[2] * x[3] - 1.0) / 0.01])

    def jacobian_at(self, x):
        return np.array([[x[1], x[0], 0.0, 0.0], [0.0, 0.0, x[3], x[2]]]) / 0.01


def test_two_ridges_are_not_mixed_up():
    """Eigenvectors of two zero eigenvalues are arbitrary; and a product on a linear scale is a straight ridge in logs,
    though a tangent in values would leave it at once.
    """
    products = TwoProducts()
    found = ridges(products, fisher(products, [0.25, 4.0, 10.0, 0.1]))
    assert sorted(sorted(ridge.names) for ridge in found) == [["a", "b"], ["c", "d"]]
    for ridge in found:
        assert abs(ridge.change) < 1e-6
        assert "is fixed" in ridge.sentence and "twofold" in ridge.sentence


@dataclass(frozen=True)
class Sum(Toy):
    """x + y + z = 3 in values that may be negative."""

    names: tuple[str, ...] = ("x", "y", "z")
    lower: np.ndarray = field(default_factory=lambda: np.array([-9, -9, -9], dtype=float))
    upper: np.ndarray = field(default_factory=lambda: np.array([9, 9, 9], dtype=float))

    def residuals_at(self, x):
        return np.array([(np.sum(x) - 3.0) / 0.01])

    def jacobian_at(self, x):
        return np.full((1, 3), 100.0)


def test_values_that_may_be_negative():
    found = ridges(Sum(), fisher(Sum(), [1.0, 1.0, 1.0]))
    assert len(found) == 2
    for ridge in found:
        assert abs(np.sum(ridge.direction)) < 1e-9  # the sum stays
        assert abs(ridge.change) < 1e-6
        assert "moving" in ridge.sentence and "from 1 to" in ridge.sentence


def test_ridge_at_a_bound_is_tried_on_the_open_side():
    product = Product(upper=np.array([np.log10(2.0), 3.0, 3.0, 3.0]))
    ridge = next(r for r in ridges(product, fisher(product, RIDGE, scales=LOGS)) if len(r.names) == 2)
    assert math.isfinite(ridge.change)
    assert "halving kp" in ridge.sentence


def test_well_determined_problems_have_no_ridges():
    line = Regression()
    assert ridges(line, fisher(line, line.best)) == ()


def test_verdicts_by_curvature():
    found = identifiability(Product(), RIDGE, scales=LOGS)
    assert found.verdicts == {
        "kp": Verdict.FLAT, "k2on": Verdict.FLAT, "c": Verdict.IDENTIFIABLE, "d": Verdict.FLAT,
    }  # fmt: skip
    text = str(found)
    assert "1 of 4 parameters are identifiable: c." in text
    assert "3 of 4 parameters are not identifiable (flat): kp, k2on, d." in text
    assert "Judged by curvature alone" in text


def test_verdicts_by_profile_overrule_curvature():
    """No events: by curvature (0) the rate is open upwards, by its profile it ends at 0.48."""
    counts, optimum = Counts(), [0.0, 1.0]
    assert identifiability(counts, optimum).verdicts["rate"] is Verdict.FLAT
    found = identifiability(counts, optimum, profiles(counts, optimum))
    assert found.verdicts["rate"] is Verdict.NO_LOWER
    assert "1 of 2 parameters are bounded from above only: rate." in found.sentences()
    assert "At a bound: rate (lower)." in found.sentences()
    assert "Judged by curvature" not in str(found)
    frame = found.to_frame().set_index("parameter")
    assert frame.loc["rate", "at_bound"] == "lower" and frame.loc["rate", "judged_by"] == "profile"


def test_optimum_by_name_or_as_a_result():
    best = fit(Shift(), n_starts=2)
    by_result, by_name = fisher(Shift(), best), fisher(Shift(), best.parameters)
    assert_allclose(by_result.matrix, by_name.matrix)


def test_scales_come_from_the_objective_where_it_knows_them():
    from fits.parameters import Parameter, ParameterSet

    @dataclass(frozen=True)
    class Knowing(Product):
        @property
        def parameters(self):
            return ParameterSet(Parameter(name, 1e-3, 1e3, Scale.LOG10) for name in self.names)

    assert fisher(Knowing(), RIDGE).scales == (Scale.LOG10,) * 4


def test_threshold():
    assert_allclose(threshold_of(0.95), 3.841458820694124 / 2, rtol=1e-12)
    assert_allclose(threshold_of(0.99), 6.634896601021213 / 2, rtol=1e-12)


def test_bad_input():
    line = Regression()
    with pytest.raises(InputError, match="which is no parameter"):
        fisher(line, line.best, scales={"q": "log"})
    with pytest.raises(InputError, match="between 0 and 1"):
        threshold_of(1.0)
    with pytest.raises(InputError, match="needs 3 finite values"):
        fisher(line, [1.0, np.nan, 2.0])

    @dataclass(frozen=True)
    class Failing(Regression):
        def residuals_at(self, x):
            return np.full(12, np.nan)

    with pytest.raises(SimulationError, match="cannot be evaluated at the optimum"):
        fisher(Failing(), line.best)
