"""Fits of measured curves: against R's drc, lmfit and brute force, then properties, then what cannot be fitted."""

from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest
from curve_data import DOSES, curve, points, ryegrass, s_alba
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fits.curvefit.fitting import JointMean, bounds_for, fit_curves, fit_layout
from fits.curvefit.forms import FORMS, form_named
from fits.curvefit.layout import arrange
from fits.curvefit.likelihood import CurveObjective, Noise
from fits.curvefit.misfit import few_runs, lack_of_fit
from fits.curvefit.points import points_of
from fits.curvefit.results import FIXED, curve_band, describe_arm, describe_arms, flatness, summary_sentences
from fits.information import fisher
from fits.reported import CurvePoint, ReportedCurve, parse_curve
from kinetics.curves import EC50Status, hill
from kinetics.errors import InputError, UnknownName

# --- knowledge ------------------------------------------------------------------------------------------------


def rss(part) -> float:
    f, _ = part.objective.mean(part.x)
    return float(np.sum((part.points.responses - f) ** 2))


def test_ryegrass_as_drc_fits_it():
    """LL.4: coefficients and logLik in drc's own tests (b 2.98221907127508, c 0.481413188446126, d 7.7929582936999,
    e 3.0579549665481, logLik -16.1551432181693); standard errors of ED.drc in drc's reference pages, version 3.0.6.
    """
    part = fit_curves(ryegrass()).part("ryegrass")
    bottom, top, log_ec50, log_hill = part.theta("ryegrass")
    # drc stops early: its optimum is higher than ours in the tenth digit, so its coefficients are good to 5e-6
    assert_allclose([math.exp(log_hill), top, bottom, 10**log_ec50],
                    [2.98221907127508, 0.481413188446126, 7.7929582936999, 3.0579549665481], rtol=2e-5)  # fmt: skip
    assert_allclose(part.nllh, 16.1551432181693, atol=1e-6)
    assert part.nllh <= 16.1551432181693
    # ED50 3.05795, standard error 0.18573: drc takes the observed information, and divides RSS by 24 - 4
    observed = fisher(part.objective, part.x, differences=True).covariance * 24.0 / 20.0
    assert_allclose(math.sqrt(observed[2, 2]) * math.log(10.0) * 10**log_ec50, 0.18573, atol=5e-6)  # printed digits


def test_ryegrass_in_five_parameters():
    """LL.5 of drc 3.0-1: RSS 5.277047, ED50 3.023549 (six digits, as frozen in the tests of pystatsbio)."""
    part = fit_curves(ryegrass(), "5pl").part("ryegrass")
    assert_allclose(rss(part), 5.277047, rtol=1e-6)
    assert_allclose(10 ** part.theta(0)[2], 3.023549, rtol=5e-5)  # flat there: drc's own stop leaves the fifth digit


def test_ryegrass_with_the_lower_limit_at_zero():
    """LL.3 of drc: b 2.47032679740345, d 7.85542595151039, e 3.2633581954173, RSS 6.62281981886554 (its stored fit)."""
    part = fit_curves(ryegrass(), "4pl", fixed={"top": 0.0}).part("ryegrass")
    bottom, top, log_ec50, log_hill = part.theta(0)
    assert top == 0.0
    assert_allclose([math.exp(log_hill), bottom, 10**log_ec50], [2.47032679740345, 7.85542595151039, 3.2633581954173],
                    rtol=2e-5)  # fmt: skip
    assert_allclose(rss(part), 6.62281981886554, rtol=1e-8)


def test_s_alba_with_shared_limits_as_drc_fits_it():
    """Summary in drc's reference page of S.alba: pmodels = data.frame(Herbicide, 1, 1, Herbicide)."""
    part = fit_curves(s_alba(), shared=("bottom", "top")).parts[0]
    ours = dict(zip(part.layout.names, part.x.tolist(), strict=True))
    printed = {
        "bottom": 3.854861, "top": 0.716559, "log_ec50[Bentazone]": math.log10(28.632355),
        "log_ec50[Glyphosate]": math.log10(66.890545), "log_hill[Bentazone]": math.log(5.046141),
        "log_hill[Glyphosate]": math.log(2.390218),
    }  # fmt: skip
    f, _ = part.objective.mean(np.array([printed[name] for name in part.layout.names]))
    theirs = float(np.sum((part.points.responses - f) ** 2))
    assert_allclose(math.sqrt(theirs / 62), 0.3705151, atol=5e-7)  # as printed, with 62 degrees of freedom
    assert part.objective.residual_degrees == 62
    # drc stopped a little above the optimum: its coefficients are within a fiftieth of the standard errors it prints
    assert rss(part) < theirs < rss(part) * (1.0 + 1e-5)
    errors = {
        "bottom": 0.076255, "top": 0.089245, "log_ec50[Bentazone]": 2.038098 / 28.632355 / math.log(10.0),
        "log_ec50[Glyphosate]": 5.968819 / 66.890545 / math.log(10.0), "log_hill[Bentazone]": 1.040135 / 5.046141,
        "log_hill[Glyphosate]": 0.495959 / 2.390218,
    }  # fmt: skip
    for name, value in printed.items():
        assert abs(ours[name] - value) < 0.02 * errors[name], name


def test_intervals_are_those_of_lmfit():
    lmfit = pytest.importorskip("lmfit")
    d, y = curve(ec50=0.7, bottom=0.2, top=1.3, slope=1.4, replicates=1, sigma=0.04, seed=3)
    part = fit_curves(points({"a": (d, y)})).part("a")

    def residual(p):
        return hill(d, p["bottom"].value, p["top"].value, 10 ** p["log_ec50"].value, math.exp(p["log_hill"].value)) - y

    start = lmfit.Parameters()
    for name, value in zip(part.layout.names, part.x, strict=True):
        start.add(name, value=value + 0.02)
    mini = lmfit.Minimizer(residual, start)
    found = mini.minimize(method="leastsq")
    assert_allclose([found.params[n].value for n in part.layout.names], part.x, atol=1e-5)
    ends = lmfit.conf_interval(mini, found, sigmas=[0.95])  # from the F distribution, as here
    result = describe_arm(part, "a")
    for name, ours, turn in (("log_ec50", "ec50", lambda v: 10**v), ("log_hill", "hill", math.exp),
                             ("top", "top", float), ("bottom", "bottom", float)):  # fmt: skip
        theirs = turn(ends[name][0][1]), turn(ends[name][2][1])
        assert_allclose(result[ours].interval, theirs, rtol=2e-3)  # lmfit refines its ends to about this much


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("falling", [False, True])
def test_derivatives_are_exact(name, falling):
    form = FORMS[name]
    values = {"bottom": 0.1, "middle": 0.5, "top": 1.3, "log_ec50": 0.2, "gap": 1.1, "log_hill": 0.3,
              "log_hill_2": -0.2, "log_skew": 0.6}  # fmt: skip
    theta = np.array([values[p] for p in form.parameters])
    if falling:
        theta[form.index("bottom")], theta[form.index("top")] = 1.3, 0.1
    f, jacobian = form.mean(DOSES, theta)
    step = 1e-6
    numeric = [(form.mean(DOSES, theta + e)[0] - form.mean(DOSES, theta - e)[0]) / (2 * step)
               for e in step * np.eye(len(theta))]  # fmt: skip
    assert_allclose(jacobian, np.transpose(numeric), atol=2e-9)
    assert f[0] == theta[form.index("bottom")]  # dose 0


def test_shapes_agree_where_they_are_the_same_curve():
    four = FORMS["4pl"].mean(DOSES, np.array([0.1, 1.2, 0.3, 0.4]))[0]
    assert_allclose(four, hill(DOSES, 0.1, 1.2, 10**0.3, math.exp(0.4)), rtol=1e-12)
    assert_allclose(FORMS["5pl"].mean(DOSES, np.array([0.1, 1.2, 0.3, 0.4, 0.0]))[0], four, rtol=1e-12)
    # half of the effect at EC50, whatever the skewness
    for theta in ([0.0, 2.0, 0.3, 0.4, 1.2], [2.0, 0.0, 0.3, 0.4, -1.2]):
        assert_allclose(FORMS["5pl"].mean(np.array([10**0.3]), np.array(theta))[0], 1.0, rtol=1e-12)
    two = FORMS["biphasic"].mean(DOSES, np.array([0.1, 0.6, 1.2, -1.0, 2.0, 0.0, 0.0]))[0]
    assert_allclose(two, hill(DOSES, 0.0, 0.5, 0.1, 1.0) + hill(DOSES, 0.1, 0.7, 10.0, 1.0), rtol=1e-12)


@pytest.mark.parametrize("noise", [Noise.CONSTANT, Noise.PROPORTIONAL, Noise.STATED])
@pytest.mark.parametrize("robust", [False, True])
def test_likelihood_gradient_and_information(noise, robust):
    d, y = curve(bottom=0.3, sigma=0.05)
    p = points({"a": (d, y)}, errors=np.full(len(d), 0.04))
    layout = arrange(FORMS["4pl"], ("a",))
    objective = CurveObjective(layout.names, *bounds_for(p, layout), JointMean(p, layout), y, noise, p.errors, robust)
    x = np.array([0.25, 1.1, 0.1, 0.1, math.log(0.06)])[: len(objective.names)]
    found = objective.evaluate(x, derivatives=True)
    step = 1e-6
    numeric = [(objective.evaluate(x + e).value - objective.evaluate(x - e).value) / (2 * step)
               for e in step * np.eye(len(x))]  # fmt: skip
    assert_allclose(found.gradient, numeric, rtol=2e-6, atol=2e-6)
    assert np.linalg.eigvalsh(found.hessian)[0] > 0.0
    # the expected information is the mean over data of the outer product of gradients, at the truth
    assert pickle.loads(pickle.dumps(objective)).evaluate(x).value == found.value


def test_the_concentrated_likelihood_is_the_normal_one():
    from scipy.stats import norm

    d, y = curve()
    part = fit_curves(points({"a": (d, y)})).part("a")
    f, _ = part.objective.mean(part.x)
    sigma = math.sqrt(np.mean((y - f) ** 2))
    assert_allclose(part.nllh, -norm.logpdf(y, f, sigma).sum(), rtol=1e-9)


@pytest.mark.parametrize("name", ["4pl", "5pl", "biphasic"])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_no_better_optimum_is_found_by_brute_force(name, seed):
    from scipy.optimize import differential_evolution

    d, y = curve(ec50=30.0, top=0.4, sigma=0.1, replicates=2, seed=seed)  # much noise and half a curve
    part = fit_curves(points({"a": (d, y)}), name).part("a")
    lower, upper = part.objective.lower, part.objective.upper
    best = differential_evolution(
        lambda x: part.objective.evaluate(x).value, list(zip(lower, upper, strict=True)), seed=seed, maxiter=80,
        popsize=8, tol=1e-10,
    )  # fmt: skip
    assert part.nllh <= best.fun + 1e-4  # what evolution leaves after its last step


def test_biphasic_curves_are_found():
    d = np.tile(np.array([0.0, *np.geomspace(1e-3, 1e3, 13)]), 3)
    truth = hill(d, 0.0, 0.5, 0.05, 1.0) + hill(d, 0.0, 0.5, 20.0, 1.0)
    y = truth + 0.01 * np.random.default_rng(0).standard_normal(len(d))
    result = describe_arms(fit_curves(points({"a": (d, y)}), "biphasic"))["a"]
    assert result["ec50"].lower < 0.05 < result["ec50"].upper
    assert result["ec50_2"].lower < 20.0 < result["ec50_2"].upper
    assert result["middle"].lower < 0.5 < result["middle"].upper


def test_an_outlier_moves_the_robust_fit_little():
    d, y = curve(sigma=0.02)
    spoilt = y.copy()
    spoilt[4] += 1.0
    plain, robust = (fit_curves(points({"a": (d, spoilt)}), robust=r).part("a").theta(0) for r in (False, True))
    clean = fit_curves(points({"a": (d, y)})).part("a").theta(0)
    assert abs(robust[2] - clean[2]) < 0.02 < 0.1 < abs(plain[2] - clean[2])


def test_area_under_a_hill_curve_in_closed_form():
    d, y = curve(sigma=1e-3)
    part = fit_curves(points({"a": (d, y)})).part("a")
    bottom, top, m, log_h = part.theta(0)
    h, low, high = math.exp(log_h), math.log10(0.01), math.log10(100.0)
    integral = sum(s * math.log1p(10 ** (h * (x - m))) for s, x in ((1.0, high), (-1.0, low))) / (h * math.log(10.0))
    result = describe_arm(part, "a")
    assert_allclose(result["auc"].value, bottom + (top - bottom) * integral / (high - low), rtol=1e-9)


def test_absolute_ec50_in_closed_form_and_censored():
    d, y = curve(bottom=1.0, top=0.2, sigma=0.01)
    part = fit_curves(points({"a": (d, y)})).part("a")
    bottom, top, m, log_h = part.theta(0)
    share = (0.5 * bottom - bottom) / (top - bottom)
    exact = 10**m * (share / (1.0 - share)) ** (1.0 / math.exp(log_h))
    found = describe_arm(part, "a")["lc50"]
    assert_allclose(found.value, exact, rtol=1e-7)
    assert found.lower < exact < found.upper
    # levels off at 0.7: never reached, and the data know it
    d, y = curve(bottom=1.0, top=0.7, sigma=0.01)
    never = describe_arms(fit_curves(points({"a": (d, y)})))["a"]["lc50"]
    assert math.isnan(never.value) and never.upper is None and never.lower == 100.0
    assert "not reached at the highest dose, 100 nM (the fitted curve levels off before it)" in never.words[0]
    assert "censored: above 100 nM" in never.words[1]


def test_untreated_samples_are_data():
    """More controls make the bottom surer; dividing by their mean would not."""
    d, y = curve(bottom=1.0, top=0.1, sigma=0.05, replicates=1, doses=np.geomspace(0.01, 100.0, 9))
    widths = []
    for count in (2, 40):
        rows = [CurvePoint(float(a), float(b), arm="drug") for a, b in zip(d, y, strict=True)]
        noise = np.random.default_rng(1).standard_normal(count)
        rows += [CurvePoint(0.0, 1.0 + 0.05 * float(e), arm="DMSO") for e in noise]
        fits = fit_curves(ReportedCurve(tuple(rows), "nM"), controls="DMSO")
        assert fits.arms == ("drug",)
        bottom = describe_arms(fits)["drug"]["bottom"]
        widths.append(bottom.upper - bottom.lower)
    assert widths[1] < 0.5 * widths[0]


# --- properties -----------------------------------------------------------------------------------------------

SETTINGS = settings(max_examples=8, deadline=None)
ec50s = st.floats(0.05, 20.0)
seeds = st.integers(0, 2**20)


@SETTINGS
@given(ec50=ec50s, seed=seeds, log_factor=st.floats(-9.0, 9.0), scale=st.floats(1e-4, 1e4), shift=st.floats(-3.0, 3.0))
def test_ec50_follows_the_units(ec50, seed, log_factor, scale, shift):
    """Doses in another unit move the EC50 alone; responses in another unit or from another zero leave it."""
    d, y = curve(ec50=ec50, seed=seed)
    one = describe_arms(fit_curves(points({"a": (d, y)})))["a"]
    factor = 10.0**log_factor
    other = describe_arms(fit_curves(points({"a": (d * factor, scale * (y + shift))})))["a"]
    assert one.status is other.status
    for name, by in (("ec50", factor), ("hill", 1.0), ("emax", scale)):
        assert_allclose(other[name].value, one[name].value * by, rtol=2e-4)
        # ends are refined to 1e-5 of the threshold
        assert_allclose([math.nan if v is None else v for v in other[name].interval],
                        [math.nan if v is None else v * by for v in one[name].interval], rtol=2e-3)  # fmt: skip


@SETTINGS
@given(seed=seeds, data=st.data())
def test_the_order_of_the_points_does_not_matter(seed, data):
    d, y = curve(seed=seed)
    order = np.array(data.draw(st.permutations(range(len(d)))))
    one, other = (fit_curves(points({"a": (d[i], y[i])})).part("a") for i in (np.arange(len(d)), order))
    assert_allclose(other.x, one.x, atol=1e-5)
    assert_allclose(other.nllh, one.nllh, atol=1e-8)


@SETTINGS
@given(seed=seeds)
def test_sharing_costs_likelihood_and_never_gains_any(seed):
    both = points({"a": curve(seed=seed), "b": curve(ec50=3.0, seed=seed + 1)})
    layouts = [
        arrange(FORMS["4pl"], both.arms, shared) for shared in ((), ("bottom",), ("bottom", "log_hill"), ("all",))
    ]
    values = [fit_layout(both, layout, Noise.CONSTANT).nllh for layout in layouts]
    assert all(more >= less - 1e-7 for less, more in itertools.pairwise(values))


@SETTINGS
@given(seed=seeds, turn=st.booleans())
def test_a_larger_shape_fits_at_least_as_well(seed, turn):
    d, y = curve(seed=seed, bottom=1.0 if turn else 0.0, top=0.0 if turn else 1.0)
    values = [fit_curves(points({"a": (d, y)}), name).part("a").nllh for name in ("3pl", "4pl", "5pl")]
    assert values[0] >= values[1] - 1e-7 and values[1] >= values[2] - 1e-6


@pytest.mark.slow
def test_a_horizontal_line_is_rejected_no_more_often_than_it_should_be():
    """Without an effect the EC50 has no meaning, so the F test is not exact; it errs on the side of no effect."""
    rng = np.random.default_rng(1)
    p_values = []
    for _ in range(200):
        p = points({"a": (np.tile(DOSES, 2), 1.0 + 0.1 * rng.standard_normal(2 * len(DOSES)))})
        p_values.append(flatness(fit_curves(p).part("a"), "a"))
    assert np.mean(np.array(p_values) < 0.05) <= 0.08  # 5 % and two binomial standard errors


def test_a_clear_effect_is_no_horizontal_line():
    assert flatness(fit_curves(points({"a": curve()})).part("a"), "a") < 1e-10


def test_lack_of_fit_as_drc_has_it():
    """modelFit of drc for ryegrass, LL.4: F = 0.2411 with 3 and 17 degrees, p = 0.8665 (recalled, and recomputed)."""
    from scipy.stats import f as fisher_f

    result = describe_arm(fit_curves(ryegrass()).part("ryegrass"), "ryegrass")
    assert_allclose(result.misfit.p_value, fisher_f.sf(0.2411, 3, 17), atol=1e-3)
    assert "do not follow" not in str(result)


@pytest.mark.parametrize("plus, minus", [(3, 4), (5, 5), (1, 6)])
def test_runs_are_those_of_all_orders(plus, minus):
    """Against every order of the signs, counted one by one."""
    n = plus + minus
    orders = [[int(i in chosen) for i in range(n)] for chosen in itertools.combinations(range(n), plus)]
    counts = [1 + sum(a != b for a, b in itertools.pairwise(order)) for order in orders]
    for runs in range(2, plus + minus + 1):
        assert_allclose(few_runs(runs, plus, minus), sum(c <= runs for c in counts) / len(counts), rtol=1e-12)


def test_a_bell_does_not_follow_a_hill_curve():
    d = np.tile(np.geomspace(0.01, 100.0, 9), 2)
    bell = np.exp(-np.log10(d) ** 2) + 0.01 * np.random.default_rng(0).standard_normal(len(d))
    result = describe_arm(fit_curves(points({"a": (d, bell)})).part("a"), "a")
    assert result.misfit.p_value < 1e-6
    if result.status is not EC50Status.FLAT:
        assert "The points do not follow this shape" in str(result)
    waves = np.repeat([1.0, -1.0, 1.0], 4)
    assert lack_of_fit(np.arange(12.0), waves, np.zeros(12), 4).p_value < 0.05


def test_bands_hold_the_curve_and_open_with_the_level():
    d, y = curve()
    part = fit_curves(points({"a": (d, y)})).part("a")
    narrow, wide = (curve_band(part, "a", DOSES, level) for level in (0.5, 0.95))
    f = part.predict("a", DOSES)
    assert np.all((wide[0] < narrow[0]) & (narrow[0] < f) & (f < narrow[1]) & (narrow[1] < wide[1]))


# --- what cannot be said --------------------------------------------------------------------------------------


def test_an_ec50_outside_of_the_doses_is_no_number():
    d, y = curve(ec50=1500.0, sigma=0.004)
    result = describe_arms(fit_curves(points({"a": (d, y)})))["a"]
    assert result.status is EC50Status.ABOVE
    ec50 = result["ec50"]
    assert math.isnan(ec50.value) and ec50.extrapolated > 100.0
    assert "outside the tested range: above 100 nM" in ec50.words[0]
    assert "by extrapolation: the highest dose shows" in " ".join(result["emax"].words)
    d, y = curve(ec50=3e-3, sigma=0.004)
    low = describe_arms(fit_curves(points({"a": (d[d > 0], y[d > 0])}), fixed={"bottom": 0.0}))["a"]
    assert low.status is EC50Status.BELOW and math.isnan(low["ec50"].value)
    assert "outside the tested range: below 0.01 nM" in low["ec50"].words[0]


def test_a_flat_arm_has_no_ec50():
    noise = 0.1 * np.random.default_rng(5).standard_normal(30)
    result = describe_arms(fit_curves(points({"a": (np.tile(DOSES, 3), 2.0 + noise)})))["a"]
    assert result.status is EC50Status.FLAT
    assert math.isnan(result["ec50"].value) and math.isnan(result["hill"].value)
    assert "A horizontal line is not rejected" in str(result)


def test_arms_that_cannot_be_fitted_are_named_and_the_others_are_fitted():
    d, y = curve()
    fits = fit_curves(points({
        "good": (d, y), "zero": (DOSES, np.zeros(10)), "constant": (DOSES, np.full(10, 3.0)),
        "one dose": (np.ones(4), np.arange(4.0)), "untreated": (np.zeros(4), np.arange(4.0)),
        "few": (np.array([0.0, 1.0, 10.0]), np.array([0.0, 0.5, 1.0])),
        "exact": (np.array([0.0, 0.1, 1.0, 10.0]), np.array([0.0, 0.1, 0.5, 1.0])),
    }))  # fmt: skip
    assert fits.arms == ("good",)
    assert "all its responses are 0" in fits.not_fitted["zero"]
    assert "all its responses are 3: a constant has no EC50" in fits.not_fitted["constant"]
    assert "all its points are at one dose (1)" in fits.not_fitted["one dose"]
    assert "all its points are at one dose (0)" in fits.not_fitted["untreated"]
    assert "3 distinct doses cannot settle the 4 parameters of a 4pl curve" in fits.not_fitted["few"]
    assert "4 points for 4 parameters leave none to estimate the noise from" in fits.not_fitted["exact"]
    assert any("few was not fitted" in s for s in summary_sentences(describe_arms(fits).values(), fits))
    with pytest.raises(InputError, match="arm 'few' was not fitted: 3 distinct doses"):
        fits.part("few")
    with pytest.raises(UnknownName, match="did you mean 'good'"):
        fits.part("goods")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"form": "6pl"}, "no shape named '6pl'"),
        ({"shared": ("slope",)}, "no parameter named 'slope' in a 4pl curve"),
        ({"fixed": {"hill": -1.0}}, "parameter 'hill' cannot be fixed at -1"),
        ({"fixed": {"top": math.nan}}, "parameter 'top' cannot be fixed at nan"),
        ({"shared": ("top",), "fixed": {"top": 1.0}}, "'top' is fixed at 1, so it cannot be shared"),
        ({"noise": "poisson"}, "noise must be 'constant', 'proportional' or 'stated', got 'poisson'"),
        ({"noise": "stated"}, "needs an error beside every point; 30 have none"),
    ],
)
def test_requests_without_a_meaning(change, message):
    with pytest.raises(InputError, match=message):
        fit_curves(points({"a": curve()}), **change)


def test_points_without_a_meaning():
    with pytest.raises(InputError, match="a dose must be finite and not negative, got -1"):
        points({"a": (np.array([-1.0, 1.0]), np.array([1.0, 2.0]))})
    with pytest.raises(InputError, match="a response must be finite"):
        points({"a": (np.array([0.0, 1.0]), np.array([1.0, np.nan]))})
    with pytest.raises(InputError, match="no point has a response"):
        points_of(parse_curve("dose (nM),lower\n1,2\n"))
    with pytest.raises(InputError, match="the controls 'a' have doses above 0"):
        points_of(parse_curve("dose (nM),response,arm\n1,2,a\n1,3,b\n"), controls="a")
    with pytest.raises(InputError, match="level must lie between 0 and 1"):
        describe_arms(fit_curves(points({"a": curve()})), level=95.0)
    with pytest.raises(InputError, match="lc must be a positive fraction"):
        describe_arms(fit_curves(points({"a": curve()})), lc=0.0)


def test_swapped_axes_are_noticed():
    d, y = curve(bottom=0.1, replicates=1, doses=np.geomspace(0.01, 100.0, 9))
    fits = fit_curves(points({"a": (np.abs(y), d)}))
    assert any("are the axes swapped?" in note for note in fits.warnings)
    assert not any("swapped" in note for note in fit_curves(points({"a": (d, y)})).notes)


def test_fixed_parameters_are_said_to_be_fixed():
    result = describe_arms(fit_curves(points({"a": curve()}), "3pl"))["a"]
    assert result["hill"].value == 1.0 and result["hill"].words == (FIXED,)
    assert form_named("3pl") is FORMS["3pl"]


def test_stated_errors_are_used_where_every_point_has_one():
    d, y = curve(sigma=0.03)
    fits = fit_curves(points({"a": (d, y)}, errors=np.full(len(d), 0.03)))
    assert fits.parts[0].objective.noise is Noise.STATED and "stated beside the points" in fits.notes[0]
    weights = np.full(len(d), 0.03)
    weights[3] = math.nan
    assert "stated for some points only" in fit_curves(points({"a": (d, y)}, errors=weights)).notes[0]
