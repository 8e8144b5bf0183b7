"""Starting points: start i depends on (seed, i) alone and lies where it was asked to lie."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from toys import Rosenbrock, Unbounded

from fits.starts import STARTS_PER_BLOCK, Sampling, StartDesign, draw, draw_more, search_range
from kinetics.errors import InputError, UnknownName

ONE = StartDesign(candidates=1)


@pytest.mark.parametrize("sampling", list(Sampling))
def test_start_depends_on_seed_and_number_alone(sampling):
    objective = Unbounded() if sampling is Sampling.PRIOR else Rosenbrock()
    design = StartDesign(sampling, candidates=3)
    forward = [draw(objective, design, 7, i) for i in range(25)]
    backward = [draw(objective, design, 7, i) for i in reversed(range(25))][::-1]
    assert_array_equal(forward, backward)
    assert len(np.unique(np.vstack(forward), axis=0)) == 75  # nobody draws the same point twice
    assert not np.any(np.isin(draw(objective, design, 8, 0), forward[0]))


@pytest.mark.parametrize("candidates", [1, 4])
def test_every_block_of_starts_is_a_latin_hypercube(candidates):
    """Each of n equal slices of each axis holds exactly one of the n points of a block."""
    objective, design = Rosenbrock(), StartDesign(candidates=candidates)
    count = STARTS_PER_BLOCK * candidates
    for block in range(3):
        starts = range(block * STARTS_PER_BLOCK, (block + 1) * STARTS_PER_BLOCK)
        points = np.vstack([draw(objective, design, 3, i) for i in starts])
        slices = np.floor((points + 5.0) / 10.0 * count)
        assert_array_equal(np.sort(slices, axis=0), np.repeat(np.arange(count)[:, None], 2, axis=1))


def test_sobol_starts_fill_dyadic_boxes():
    """16 consecutive points of a scrambled Sobol sequence in two dimensions: one in each box of a 4 x 4 grid."""
    points = np.vstack([draw(Rosenbrock(), StartDesign("sobol", candidates=1), 3, i) for i in range(16)])
    cells = np.floor((points + 5.0) / 2.5)
    assert len(np.unique(cells, axis=0)) == 16


def test_starts_lie_within_the_box_asked_for():
    design = StartDesign(candidates=2, box={"y": (1.0, 2.0)})
    points = np.vstack([draw(Rosenbrock(), design, 0, i) for i in range(20)])
    assert points[:, 1].min() >= 1.0 and points[:, 1].max() <= 2.0
    assert points[:, 0].min() < -4.0 and points[:, 0].max() > 4.0  # two Latin hypercubes of 20 reach both ends
    assert_array_equal(search_range(Rosenbrock(), design, 0), [10.0, 1.0])
    assert np.all(draw_more(Rosenbrock(), design, 0, 0, 50)[:, 1] >= 1.0)


def test_prior_starts_follow_the_prior():
    """Mean (0, 1) and standard deviation (2, 0.5), each within four standard errors of 400 draws."""
    design = StartDesign(Sampling.PRIOR, candidates=1)
    points = np.vstack([draw(Unbounded(), design, 5, i) for i in range(400)])
    assert np.all(np.abs(points.mean(axis=0) - [0.0, 1.0]) < 4 * np.array([2.0, 0.5]) / 20)
    # 4 sd estimated from 200 draws: the estimate has a relative standard error of 1 / sqrt(400) = 5 %
    assert search_range(Unbounded(), design, 5) == pytest.approx([8.0, 2.0], rel=0.2)


def test_prior_starts_respect_bounds():
    objective = Unbounded(lower=np.array([0.0, -np.inf]), upper=np.array([1.0, np.inf]))
    points = np.vstack([draw(objective, StartDesign("prior"), 5, i) for i in range(20)])
    assert points[:, 0].min() >= 0.0 and points[:, 0].max() <= 1.0


def test_infinite_bounds_are_refused_with_what_to_write():
    with pytest.raises(InputError, match=r"'x' has no finite range.*bounds.*StartDesign\(box=.*prior"):
        draw(Unbounded(), ONE, 0, 0)
    box = StartDesign(candidates=1, box={"x": (-1.0, 1.0), "y": (0.0, 1.0)})
    assert np.all(np.abs(draw(Unbounded(), box, 0, 0)) <= 1.0)


def test_missing_prior_is_refused():
    with pytest.raises(InputError, match=r"no proper prior"):
        draw(Unbounded(prior=False), StartDesign("prior"), 0, 0)


def test_wrong_boxes_are_refused():
    with pytest.raises(UnknownName, match=r"no free parameter named 'z'"):
        draw(Rosenbrock(), StartDesign(box={"z": (0.0, 1.0)}), 0, 0)
    with pytest.raises(InputError, match=r"within its bounds -5 to 5.*got -9 to 1"):
        draw(Rosenbrock(), StartDesign(box={"x": (-9.0, 1.0)}), 0, 0)
    with pytest.raises(InputError, match=r"finite low < high, got 2.0, 1.0"):
        StartDesign(box={"x": (2.0, 1.0)})
    with pytest.raises(InputError, match=r"at least 1 candidate, got 0"):
        StartDesign(candidates=0)
