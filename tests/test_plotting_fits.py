"""Correlations of estimates and tables of claims: what is drawn is what was found."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fits.claims.ledger import ledger
from fits.claims.verdict import Status, Verdict
from fits.information import correlations_of
from fits.plotting_fits import MOST_CLAIMS, plot_claims, plot_correlations
from kinetics.errors import InputError
from kinetics.plotting import new_axes


class Found:
    """What has names and correlations."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.correlations = matrix
        self.names = tuple(f"k_{i}" for i in range(len(matrix)))


def test_correlations_of_a_covariance():
    """Standard deviations 2 and 3, covariance 3: 3 / 6; a variance that is no number leaves none."""
    covariance = np.array([[4.0, 3.0, 0.0], [3.0, 9.0, 0.0], [0.0, 0.0, np.inf]])
    found = correlations_of(covariance)
    assert_allclose(found[:2, :2], [[1.0, 0.5], [0.5, 1.0]])
    assert np.all(np.isnan(found[2])) and np.all(np.isnan(found[:, 2]))


def test_every_correlation_is_drawn_and_written():
    matrix = np.array([[1.0, -0.93, np.nan], [-0.93, 1.0, np.nan], [np.nan, np.nan, np.nan]])
    ax = plot_correlations(Found(matrix), new_axes())
    drawn = ax.images[0].get_array()
    assert_allclose(drawn.filled(np.nan), matrix)
    assert ax.images[0].get_clim() == (-1.0, 1.0)
    said = [text.get_text() for text in ax.texts]
    assert said.count("-0.93") == 2 and said.count("none") == 5 and said.count("1.00") == 2
    assert [text.get_text() for text in ax.get_yticklabels()] == ["k_0", "k_1", "k_2"]


def test_a_large_matrix_has_no_numbers():
    assert len(plot_correlations(Found(np.eye(30)), new_axes()).texts) == 0


def test_a_table_of_claims_says_what_was_found():
    claims = ledger()[:3]
    verdicts = [
        Verdict(claims[0], Status.HOLDS, "12.8-fold"),
        Verdict(claims[1], Status.FAILS, "costs $5"),
        Verdict(claims[2], Status.NOT_ANSWERED),
    ]
    ax = plot_claims(verdicts)
    said = [text.get_text() for text in ax.texts]
    assert [claim.id for claim in claims] == [text for text in said if text in {claim.id for claim in claims}]
    assert "12.8-fold" in said and r"costs \$5" in said and "not answered" in said
    assert ax.get_title(loc="left") == "1 hold, 1 fail (x), 1 without an answer (ring)"
    signs = [line for line in ax.lines if line.get_marker() in ("o", "X")]
    assert [line.get_marker() for line in signs] == ["o", "X", "o"]  # told apart without colour, too
    assert signs[0].get_fillstyle() == "full" and signs[2].get_fillstyle() == "none"


@pytest.mark.parametrize("count", [0, MOST_CLAIMS + 1])
def test_tables_that_cannot_be_read_are_refused(count):
    with pytest.raises(InputError, match="1 to 40"):
        plot_claims([Verdict(ledger()[0], Status.HOLDS)] * count)
