"""Which mechanism explains a reported shift: what the intervals settle, and what they cannot."""

from __future__ import annotations

import math

import pytest

from fits.mechanisms import NO_EFFECT, Reported, compare_mechanisms
from kinetics.errors import InputError


@pytest.fixture(scope="module")
def comparison():
    return compare_mechanisms(mechanisms=("kinase", "receptor_loss", "affinity", "STAT5_pool"))


def test_interval_probability_by_hand():
    """Well inside the limits the probability is 1; at a limit it is one half."""
    reported = Reported(0.7, 2.3, 0.1)
    assert reported.nllh(1.5) == pytest.approx(0.0, abs=1e-12)
    assert reported.nllh(0.7) == pytest.approx(math.log(2.0))
    assert reported.nllh(math.nan) == math.inf


def test_what_shifts_the_curve_cannot_be_told_apart(comparison):
    """SCIENCE: kinase, receptors and affinity draw the same curve; no effect and a smaller STAT5 pool do not."""
    delta = comparison.selection.delta
    assert all(delta[name] < 2.0 for name in ("kinase", "receptor_loss", "affinity"))
    assert delta[NO_EFFECT] > 10.0 and delta["STAT5_pool"] > 10.0
    assert any("cannot tell" in sentence for sentence in comparison.sentences)


def test_best_sizes_meet_the_intervals(comparison):
    for name in ("kinase", "receptor_loss", "affinity"):
        effect = comparison.effects[name]
        assert 10.0**0.7 <= effect.dose_ratio <= 10.0**2.3
        assert effect.emax_ratio >= 0.8
        assert effect.factor < 1.0


def test_a_smaller_stat5_pool_moves_no_ec50(comparison):
    assert comparison.effects["STAT5_pool"].dose_ratio == pytest.approx(1.0, abs=0.05)


def test_a_reported_loss_of_maximum_alone_points_to_the_stat5_pool():
    """The same call with other numbers decides otherwise, so the verdict follows the data."""
    found = compare_mechanisms(
        shift=Reported(-0.1, 0.1, 0.02),
        emax=Reported(0.45, 0.55, 0.02),
        mechanisms=("kinase", "affinity", "STAT5_pool"),
    )
    assert found.selection.ranking[0] == "STAT5_pool"
    assert found.effects["STAT5_pool"].factor == pytest.approx(0.5, rel=0.15)


def test_a_mechanism_that_is_not_there():
    with pytest.raises(InputError, match="'kinas' must be one factor"):
        compare_mechanisms(mechanisms=("kinas",))
