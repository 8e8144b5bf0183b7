"""Criteria by hand, ratio tests from tables, and the sentences that say when data cannot decide."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fits.selection import Candidate, Criterion, Nested, compare
from kinetics.errors import InputError, UnknownName


def test_criteria_by_hand():
    """nllh 10, 3 parameters, 20 data: AIC 6 + 20; AICc + 24 / 16; BIC 3 ln 20 + 20."""
    candidate = Candidate(10.0, 3, 20)
    assert candidate.aic == 26.0
    assert candidate.aicc == 27.5
    assert_allclose(candidate.bic, 28.987196820661973, rtol=1e-15)


def test_aicc_tends_to_aic():
    assert_allclose(Candidate(10.0, 3, 10**9).aicc, 26.0, atol=1e-7)


@pytest.mark.parametrize("n_data, defined", [(4, False), (5, True)])
def test_aicc_needs_two_data_more_than_parameters(n_data, defined):
    assert math.isnan(Candidate(10.0, 3, n_data).aicc) is not defined


def test_weights_by_hand():
    """AIC 20, 22, 26: weights in proportion to 1, exp(-1), exp(-3)."""
    found = compare({"a": Candidate(9.0, 1, 30), "b": Candidate(9.0, 2, 30), "c": Candidate(11.0, 2, 30)},
                    criterion="AIC")  # fmt: skip
    raw = np.exp([0.0, -1.0, -3.0])
    assert_allclose(list(found.weights.values()), raw / raw.sum(), rtol=1e-12)
    assert found.delta == {"a": 0.0, "b": 2.0, "c": 6.0}
    assert found.ranking == ("a", "b", "c")


def test_data_that_cannot_decide():
    found = compare({"kinase": Candidate(10.0, 3, 20), "receptor loss": Candidate(10.2, 3, 20)})
    assert not found.decided and found.indistinct == ("kinase", "receptor loss")
    assert found.sentences()[0] == (
        "These data cannot tell kinase from receptor loss: AICc differs by 0.4, less than 2."
    )


def test_rule_is_strict_at_two():
    at = compare({"a": Candidate(10.0, 3, 20), "b": Candidate(11.0, 3, 20)})
    assert at.decided and at.sentences()[0].startswith("a is favoured: the next best, b, has AICc higher by 2.")
    below = compare({"a": Candidate(10.0, 3, 20), "b": Candidate(10.999, 3, 20)})
    assert not below.decided


def test_mechanisms_that_draw_the_same_curve():
    found = compare({"a": Candidate(10.0, 3, 20), "b": Candidate(10.01, 3, 20), "c": Candidate(30.0, 2, 20)})
    text = str(found)
    assert "a and b fit equally well with as many parameters" in text
    assert "Practically without support: c (+37.2)." in text  # 2 * 20 + (4 + 12/17) - (6 + 24/16)


def test_less_support_is_said():
    found = compare({"a": Candidate(10.0, 3, 20), "b": Candidate(12.5, 3, 20)})
    assert "Less supported: b (+5)." in found.sentences()


@pytest.mark.parametrize(
    "statistic, degrees, p",
    [(3.841458820694124, 1, 0.05), (5.991464547107979, 2, 0.05), (6.634896601021213, 1, 0.01)],
)  # quantiles of the chi-square distribution
def test_likelihood_ratio(statistic, degrees, p):
    found = compare(
        {"small": Candidate(10.0 + statistic / 2, 2, 50), "large": Candidate(10.0, 2 + degrees, 50)},
        nested=[("small", "large")],
    )
    (test,) = found.tests
    assert test.degrees == degrees
    assert_allclose([test.statistic, test.p_value], [statistic, p], rtol=1e-10)


def test_ratio_test_at_a_boundary_halves_p():
    pair = {"none": Candidate(11.0, 2, 50), "some": Candidate(10.0, 3, 50)}
    (plain,) = compare(pair, nested=[("none", "some")]).tests
    (mixed,) = compare(pair, nested=[Nested("none", "some", at_boundary=True)]).tests
    assert mixed.p_value == plain.p_value / 2
    same = {"none": Candidate(10.0, 2, 50), "some": Candidate(10.0, 3, 50)}
    assert compare(same, nested=[Nested("none", "some", at_boundary=True)]).tests[0].p_value == 1.0


def test_ratio_test_is_calibrated_on_nested_regressions():
    """1000 seeded data sets without a slope: p < 0.05 in 50 of them, within 26 to 76 but for one test in 3000."""
    rng, times = np.random.default_rng(7), np.linspace(-1.0, 1.0, 20)
    rejected = 0
    for _ in range(1000):
        y = rng.standard_normal(20)
        line = np.polynomial.Polynomial.fit(times, y, 1)(times)
        flat, sloped = 0.5 * np.sum((y - y.mean()) ** 2), 0.5 * np.sum((y - line) ** 2)
        found = compare({"flat": Candidate(flat, 1, 20), "line": Candidate(sloped, 2, 20)}, nested=[("flat", "line")])
        rejected += found.tests[0].p_value < 0.05
    assert 26 <= rejected <= 76


def test_sentences_of_ratio_tests():
    found = compare(
        {"small": Candidate(20.0, 2, 50), "large": Candidate(10.0, 3, 50), "larger": Candidate(9.9, 4, 50),
         "odd": Candidate(12.0, 4, 50)},
        nested=[("small", "large"), ("large", "larger"), ("large", "odd")],
    )  # fmt: skip
    first, second, third = (test.sentence for test in found.tests)
    assert first.startswith("The data need large: small is rejected (likelihood ratio 20, 1 df, p = 7.7e-06)")
    assert second.startswith("The data do not need larger beyond large")
    assert "odd contains large and yet fits worse by 2, which cannot be" in third
    assert math.isnan(found.tests[2].p_value)


def test_undefined_aicc_is_left_unranked():
    found = compare({"simple": Candidate(10.0, 2, 6), "rich": Candidate(1.0, 5, 6)})
    assert found.ranking == ("simple",) and not found.decided
    assert found.weights == {"simple": 1.0, "rich": 0.0}
    assert found.sentences() == (
        "AICc is undefined for rich: 5 parameters need at least 7 data, there are 6; it is not ranked.",
        "Only simple can be ranked, so nothing is decided.",
    )
    nothing = compare({"a": Candidate(1.0, 5, 6), "b": Candidate(1.0, 6, 6)})
    assert nothing.ranking == () and "too few to rank" in str(nothing)
    assert set(nothing.weights.values()) == {0.0}


def test_bic_may_choose_otherwise():
    """Two more parameters gain 3.5: AIC says 7 > 4, BIC says 7 < 2 ln 1000."""
    pair = {"small": Candidate(103.5, 2, 1000), "large": Candidate(100.0, 4, 1000)}
    assert compare(pair, criterion=Criterion.AIC).ranking[0] == "large"
    assert compare(pair, criterion="BIC").ranking[0] == "small"


def test_frame_is_ranked():
    frame = compare({"b": Candidate(12.0, 3, 20), "a": Candidate(10.0, 3, 20), "c": Candidate(1.0, 19, 20)}).to_frame()
    assert frame["candidate"].tolist() == ["a", "b", "c"]
    assert frame["delta_AICc"].tolist()[:2] == [0.0, 4.0] and math.isnan(frame["delta_AICc"][2])


def test_one_candidate():
    found = compare({"only": Candidate(10.0, 3, 20)})
    assert not found.decided and "nothing to compare" in str(found)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: compare({}), InputError, "no candidates"),
        (lambda: Candidate(math.inf, 3, 20), InputError, "nllh must be finite"),
        (lambda: Candidate(1.0, -1, 20), InputError, "n_parameters >= 0"),
        (lambda: compare({"a": Candidate(1, 1, 20), "b": Candidate(1, 1, 21)}), InputError, r"a \(20\), b \(21\)"),
        (lambda: compare({"a": Candidate(1, 1, 20)}, criterion="DIC"), InputError, "got 'DIC'"),
        (lambda: compare({"a": Candidate(1, 1, 20)}, nested=[("a", "bb")]), UnknownName, "no candidate named 'bb'"),
        (
            lambda: compare({"a": Candidate(1, 2, 20), "b": Candidate(1, 2, 20)}, nested=[("a", "b")]),
            InputError, "more parameters",
        ),
        (
            lambda: compare({"a": Candidate(1, 2, 20), "b": Candidate(1, 4, 20)}, nested=[Nested("a", "b", True)]),
            InputError, "one parameter",
        ),
    ],
)  # fmt: skip
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
