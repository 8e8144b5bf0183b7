"""The search: known optima, bounds, failing regions, dying and hanging workers, any number of processes."""

from __future__ import annotations

import multiprocessing
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import lsq_linear
from toys import (
    Decay,
    DiesOnce,
    Guarded,
    Himmelblau,
    Hopeless,
    Rosenbrock,
    Slow,
    Toy,
    Treacherous,
    Unbounded,
    essence,
)

from fits.local import Descent, ExitReason, Tolerance, box_minimum
from fits.optimise import FitInterrupted, fit
from fits.search import Limits, Search, run_start
from fits.starts import StartDesign, draw
from fits.workers import WorkersFailed
from kinetics.errors import InputError

# The three sources of curvature: residuals, a Hessian, and nothing but gradients.
KINDS = {
    "residuals": {},
    "hessian": {"least_squares": False, "hessian": True},
    "gradient": {"least_squares": False},
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def finds(result, point, value, tolerance):
    """The fit found this minimum, and says so."""
    assert result.best.reason.converged
    assert result.value == pytest.approx(value, abs=1e-9)
    assert_allclose(list(result.parameters.values()), point, atol=tolerance)


@every_kind
def test_rosenbrock(kind):
    # value 1e-12 near a minimum with smallest curvature 0.5 is a distance of 2e-6; stopping at 1e-8 allows 2e-4
    finds(fit(Rosenbrock(**kind), n_starts=4), [1.0, 1.0], 0.0, 1e-3)


@every_kind
def test_bound_active_at_the_optimum_is_met_exactly(kind):
    result = fit(Rosenbrock(upper=np.array([0.8, 5.0]), **kind), n_starts=4)
    finds(result, [0.8, 0.64], 0.02, 1e-6)
    assert result.parameters["x"] == 0.8  # on the bound, not near it
    assert result.at_bounds() == {"x": "upper"}
    assert result.gradient_norm < 1e-4  # though the slope across the bound is -0.2


@every_kind
def test_noise_free_decay(kind):
    finds(fit(Decay(**kind), n_starts=5), [np.log10(3.0), np.log10(0.5)], 0.0, 1e-4)


def test_without_bounds_from_the_prior():
    result = fit(Unbounded(), n_starts=4, design=StartDesign("prior"))
    finds(result, [1.0, 1.0], 0.0, 1e-6)
    assert result.at_bounds() == {}


@every_kind
def test_multistart_finds_all_four_minima_of_himmelblau(kind):
    """Himmelblau (1972): (3, 2), (-2.805118, 3.131312), (-3.779310, -3.283186), (3.584428, -1.848126)."""
    result = fit(Himmelblau(**kind), n_starts=30, design=StartDesign(candidates=1))
    agreeing = result.agreeing()
    assert len(agreeing) == 30
    found = {tuple(np.round(start.x, 3)) for start in agreeing}
    assert found == {(3.0, 2.0), (-2.805, 3.131), (-3.779, -3.283), (3.584, -1.848)}
    assert "do not settle" in str(result)


def test_few_evaluations_are_needed():
    """Residuals spare evaluations: ten starts of a two-parameter fit take about ten each."""
    result = fit(Decay(), n_starts=10, design=StartDesign(candidates=1))
    assert sum(start.evaluations for start in result.starts) < 250


@pytest.mark.parametrize("seed", range(5))
def test_box_minimum_agrees_with_scipy(seed):
    """Least squares in a box, by scipy's bounded solver and by ours."""
    rng = np.random.default_rng(seed)
    matrix, right = rng.normal(size=(12, 6)), rng.normal(size=12)
    low, high = -rng.uniform(0.0, 0.2, 6), rng.uniform(0.0, 0.2, 6)
    step = box_minimum(-matrix.T @ right, matrix.T @ matrix, low, high)
    assert_allclose(step, lsq_linear(matrix, right, (low, high), tol=1e-14).x, atol=1e-8)
    assert np.any((step == low) | (step == high))


def test_box_minimum_of_a_singular_problem_lies_in_the_box():
    step = box_minimum(np.array([1.0, 1.0]), np.ones((2, 2)), np.full(2, -3.0), np.full(2, 3.0))
    assert step.sum() == pytest.approx(-1.0, abs=1e-6)


@every_kind
def test_failing_region_is_data(kind):
    """Trial points at which the simulation fails shrink the step; the count and the cause are in the result."""
    result = fit(Guarded(**kind), n_starts=10)
    finds(result, [1.0, 1.0], 0.0, 1e-3)
    assert all(not start.reason.failed for start in result.starts)
    assert sum(sum(start.failures.values()) for start in result.starts) > 10
    assert "CVODE gave up" in str(result)


def test_search_goes_on_after_a_failed_trial_point():
    """From (-1, 0) the whole Gauss-Newton step leads to (1, -3), out of the disc in which simulations succeed."""
    objective = Guarded()
    called = []

    def function(x):
        called.append(objective.evaluate(x, derivatives=True))
        return called[-1]

    start = np.array([-1.0, 0.0])
    first = objective.evaluate(start, derivatives=True)
    end = Descent(function, start, first, objective.lower, objective.upper, np.full(2, 40.0))
    assert end.advance(100).converged
    assert called[0].failed
    assert_allclose(end.x, [1.0, 1.0], atol=1e-6)


def test_start_without_a_single_point_says_why():
    result = fit(Hopeless(), n_starts=3, limits=Limits(redraws=7))
    assert not result.succeeded
    assert [start.reason for start in result.starts] == [ExitReason.NO_POINT] * 3
    assert [start.evaluations for start in result.starts] == [8 + 7] * 3
    text = str(result)
    assert "All 3 starts failed" in text and "step size too small" in text and "45 of 45 evaluations failed" in text


def test_derivatives_that_are_not_finite_count_as_failure():
    class Flat(Rosenbrock):
        def jacobian_at(self, x):
            return super().jacobian_at(x) * (np.nan if x[0] < 0.0 else 1.0)

    result = fit(Flat(), n_starts=6)
    finds(result, [1.0, 1.0], 0.0, 1e-6)
    assert "derivatives are not finite" in str(result)


@every_kind
def test_a_descent_that_pauses_goes_on_as_if_it_had_not(kind):
    objective, start = Rosenbrock(**kind), np.array([-2.0, 3.0])
    whole, paused = (Descent(*begin_at(objective, start)) for _ in range(2))
    assert whole.advance(200).converged
    assert paused.advance(4) is ExitReason.EVALUATIONS
    assert paused.advance(196).converged
    assert paused.x.tobytes() == whole.x.tobytes()
    assert paused.iterations == whole.iterations


def test_the_race_is_won_by_the_lowest():
    """Started alone from where the winner began, the search ends in the same bits."""
    objective = Himmelblau()
    record = run_start(objective, Search(), 3)
    candidates = [Descent(*begin_at(objective, x)) for x in draw(objective, StartDesign(), 0, 3)]
    for candidate in candidates:
        candidate.advance(StartDesign().heat)
    winner = min(candidates, key=lambda candidate: candidate.evaluation.value)
    winner.advance(1000)
    assert winner.x.tobytes() == record.x.tobytes()
    assert record.evaluations >= sum(1 + candidate.iterations for candidate in candidates)


def begin_at(objective, x):
    """The arguments of a descent from a point of a box ten wide."""
    first = objective.evaluate(x, derivatives=True)
    return partial(objective.evaluate, derivatives=True), x, first, objective.lower, objective.upper, np.full(2, 10.0)


def test_limits_end_a_start():
    never, design = Tolerance(1e-15, 1e-15, 1e-15), StartDesign(candidates=4, heat=2)
    few = run_start(Rosenbrock(), Search(design=design, limits=Limits(evaluations=3), tolerance=never), 0)
    assert few.reason is ExitReason.EVALUATIONS
    assert few.evaluations == 4 * (1 + 2) + 1  # every candidate and its heat of 2, and 1 more for the winner
    short = run_start(Slow(pause=0.05), Search(limits=Limits(start_seconds=0.15)), 0)
    assert short.reason is ExitReason.TIME
    assert np.isfinite(short.value)


def test_an_error_of_the_objective_costs_one_start():
    result = fit(Treacherous(trap="raise"), n_starts=20, design=StartDesign(candidates=1))
    failed = [start for start in result.starts if start.reason is ExitReason.ERROR]
    assert 0 < len(failed) < 10
    assert failed[0].message == "ZeroDivisionError: a bug in the objective"
    finds(result, [np.log10(3.0), np.log10(0.5)], 0.0, 1e-4)


@pytest.mark.parametrize("trap, reason", [("die", ExitReason.DIED), ("hang", ExitReason.HUNG)])
def test_a_worker_that_dies_or_hangs_costs_one_start(trap, reason):
    """The starts that meet no trap end exactly as they do where there is none."""
    design = StartDesign(candidates=1, box={"log10_k": (0.5, 1.6)})  # 1 of 11 parts of the box is the trap
    limits = Limits(evaluation_seconds=1.0)
    result = fit(Treacherous(trap=trap), n_starts=10, seed=1, design=design, limits=limits, workers=2)
    failed = [start for start in result.starts if start.reason.failed]
    assert [start.reason for start in failed] == [reason] * len(failed)
    assert 1 <= len(failed) <= 2
    undisturbed = {index: end for index, end in essence(fit(Decay(), n_starts=10, seed=1, design=design))}
    for start in result.starts:
        if not start.reason.failed:
            assert start.to_document() == undisturbed[start.index]
    assert f"1 of 10 starts failed, {reason.sentence}" in str(result) or len(failed) == 2


def test_a_start_whose_worker_died_by_accident_is_repeated(tmp_path):
    result = fit(DiesOnce(marker=tmp_path / "died"), n_starts=3, workers=1)
    assert essence(result) == essence(fit(Decay(), n_starts=3))


def test_any_number_of_workers_gives_the_same_bits():
    alone = fit(Decay(), n_starts=8, seed=4)
    for workers in (1, 3):
        assert essence(fit(Decay(), n_starts=8, seed=4, workers=workers)) == essence(alone)


def test_any_executor_gives_the_same_bits():
    alone = fit(Decay(), n_starts=8, seed=4)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert essence(fit(Decay(), n_starts=8, seed=4, executor=pool)) == essence(alone)
    with ThreadPoolExecutor(1) as pool:
        assert essence(fit(Decay(), n_starts=8, seed=4, executor=pool)) == essence(alone)


def test_executor_that_breaks_down_says_what_to_do():
    trap = Treacherous(trap="die", above=-9.0)
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    with pool, pytest.raises(WorkersFailed, match=r"pass workers="):
        fit(trap, n_starts=2, executor=pool)


def test_objective_that_cannot_travel_is_refused():
    class Local(Rosenbrock):
        pass

    with pytest.raises(InputError, match=r"cannot be sent to worker processes"):
        fit(Local(), n_starts=1, workers=1)


class Unloadable(Toy):
    def __reduce__(self):
        return (int, ("no number",))  # what loading runs: it raises


def test_objective_that_cannot_be_loaded_says_why():
    with pytest.raises(WorkersFailed, match=r"cannot load the objective: ValueError"):
        fit(Unloadable(), n_starts=1, workers=1)


def test_more_starts_keep_the_earlier_ones():
    few, many = fit(Himmelblau(), n_starts=5), fit(Himmelblau(), n_starts=9)
    assert [pair for pair in sorted(essence(many), key=lambda pair: pair[0])][:5] == sorted(
        essence(few), key=lambda pair: pair[0]
    )
    assert essence(fit(Himmelblau(), n_starts=5, seed=1)) != essence(few)


def test_interrupt_keeps_what_is_finished(tmp_path):
    """Ctrl-C reaches the main thread as KeyboardInterrupt, here raised by a timer."""
    import _thread

    objective, store, design = Slow(pause=0.01), tmp_path / "fit.sqlite", StartDesign(candidates=1)
    timer = threading.Timer(0.8, _thread.interrupt_main)
    timer.start()
    with pytest.raises(
        FitInterrupted, match=r"interrupted after \d+ of 60 starts, all kept in .*run the same"
    ) as caught:
        fit(objective, n_starts=60, store=store, design=design)
    timer.join()
    finished = len(caught.value.result.starts)
    assert 0 < finished < 60
    began = time.monotonic()
    again = fit(Slow(pause=0.0), n_starts=finished, store=store, design=design)  # all there: nothing is computed
    assert time.monotonic() - began < 1.0
    assert essence(again)[0] in essence(caught.value.result)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n_starts": 0}, "at least 1 start, got 0"),
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"workers": -2}, "got -2"),
        ({"workers": 2, "executor": ThreadPoolExecutor(1)}, "workers or an executor"),
    ],
)
def test_arguments_that_cannot_be_meant(arguments, message):
    with pytest.raises(InputError, match=message):
        fit(Rosenbrock(), **arguments)


def test_bounds_that_cannot_be_meant():
    with pytest.raises(InputError, match=r"parameter 'x' needs lower < upper, got 5.0, 5.0"):
        fit(Rosenbrock(lower=np.array([5.0, -5.0])))
    with pytest.raises(InputError, match=r"limit 'start_seconds' must be positive"):
        Limits(start_seconds=0.0)
