"""The local search against scipy's: evaluations per start that reaches the best minimum known.

Textbook problems from random starts, once with residuals (scipy: `least_squares`, trf) and once with gradients alone
(scipy: L-BFGS-B).  Derivatives are exact.  Counts do not depend on the computer.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.optimize import least_squares
from scipy.optimize import minimize as scipy_minimise

from fits.evaluation import Evaluation
from fits.local import Descent

NEAR = 0.01  # how close to the best objective counts as reaching it
TIMES = np.linspace(0.0, 5.0, 30)
DOSES = np.geomspace(1e-3, 1e3, 24)
NOISE = np.random.default_rng(0).normal(size=54) * 0.05
TWO_DECAYS = 3.0 * np.exp(-0.4 * TIMES) + 1.5 * np.exp(-2.5 * TIMES)
HILL = 0.1 + 2.0 * DOSES**1.3 / (DOSES**1.3 + 2.0**1.3) + NOISE[30:]


def rosenbrock(x):
    return np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])


def wood(x):
    return np.array(
        [
            10 * (x[1] - x[0] ** 2),
            1 - x[0],
            90**0.5 * (x[3] - x[2] ** 2),
            1 - x[2],
            10**0.5 * (x[1] + x[3] - 2),
            (x[1] - x[3]) / 10**0.5,
        ]
    )


def powell(x):
    return np.array([x[0] + 10 * x[1], 5**0.5 * (x[2] - x[3]), (x[1] - 2 * x[2]) ** 2, 10**0.5 * (x[0] - x[3]) ** 2])


def beale(x):
    return np.array([1.5 - x[0] * (1 - x[1]), 2.25 - x[0] * (1 - x[1] ** 2), 2.625 - x[0] * (1 - x[1] ** 3)])


def two_decays(x):
    return 10 ** x[0] * np.exp(-(10 ** x[1]) * TIMES) + 10 ** x[2] * np.exp(-(10 ** x[3]) * TIMES) - TWO_DECAYS


def noisy_decays(x):
    return (two_decays(x) - NOISE[:30]) / 0.05


def hill(x):
    steep = 10 ** x[2]
    return (10 ** x[0] + 10 ** x[1] * DOSES**steep / (DOSES**steep + (10 ** x[3]) ** steep) - HILL) / 0.05


PROBLEMS = {  # residuals, lower and upper bounds
    "Rosenbrock": (rosenbrock, [-5, -5], [5, 5]),
    "Rosenbrock, bound active": (rosenbrock, [-5, -5], [0.8, 5]),
    "Wood": (wood, [-5] * 4, [5] * 4),
    "Powell singular": (powell, [-5] * 4, [5] * 4),
    "Beale": (beale, [-4, -4], [4, 4]),
    "two decays, exact": (two_decays, [-3] * 4, [3] * 4),
    "two decays, noisy": (noisy_decays, [-5] * 4, [5] * 4),
    "Hill curve, noisy": (hill, [-5, -5, -1, -5], [5, 5, 1, 5]),
}


class Counted:
    """Residuals as an objective with exact derivatives, by the complex-step method, that counts its calls."""

    def __init__(self, residuals, with_residuals):
        self._residuals, self._with_residuals, self.calls = residuals, with_residuals, 0

    def __call__(self, x):
        self.calls += 1
        shifted = np.asarray(x, dtype=complex) + 1e-30j * np.eye(len(x))
        with np.errstate(all="ignore"):
            residuals = self._residuals(np.asarray(x, dtype=float))
            jacobian = np.array([np.imag(self._residuals(row)) / 1e-30 for row in shifted]).T
        if not (np.all(np.isfinite(residuals)) and np.all(np.isfinite(jacobian))):
            return Evaluation(np.inf, failure="overflow")
        value = 0.5 * float(residuals @ residuals)
        if self._with_residuals:
            return Evaluation(value, residuals=residuals, jacobian=jacobian)
        return Evaluation(value, jacobian.T @ residuals)


def ours(function, x, lower, upper):
    first = function(x)
    if first.failed:
        return np.inf
    descent = Descent(function, x, first, lower, upper, upper - lower)
    descent.advance(1000)
    return descent.evaluation.value


def scipy_least_squares(function, x, lower, upper):
    last = {}

    def residuals(x):
        last["x"], last["evaluation"] = x.copy(), function(x)
        found = last["evaluation"].residuals
        return np.full(last["count"], np.inf) if found is None else found

    def jacobian(x):
        return last["evaluation"].jacobian if np.array_equal(x, last["x"]) else function(x).jacobian

    first = function(x)
    if first.failed:
        return np.inf
    last["count"] = len(first.residuals)
    return least_squares(residuals, x, jac=jacobian, bounds=(lower, upper), max_nfev=1000).cost


def scipy_quasi_newton(function, x, lower, upper):
    def value_and_slope(x):
        evaluation = function(x)
        return (1e20, np.zeros(len(x))) if evaluation.failed else (evaluation.value, evaluation.gradient)

    options = {"maxiter": 1000, "maxfun": 1000, "ftol": 1e-10, "gtol": 1e-6}
    bounds = list(zip(lower, upper, strict=True))
    return scipy_minimise(value_and_slope, x, jac=True, method="L-BFGS-B", bounds=bounds, options=options).fun


COLUMNS = {  # title: whether residuals are given, solver
    "ours, residuals": (True, ours),
    "scipy least_squares": (True, scipy_least_squares),
    "ours, gradient": (False, ours),
    "scipy L-BFGS-B": (False, scipy_quasi_newton),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=30)
    arguments = parser.parse_args()
    print(f"evaluations per success (successes of {arguments.starts} starts)\n")
    print(f"| problem | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for name, (residuals, low, high) in PROBLEMS.items():
        lower, upper = np.array(low, dtype=float), np.array(high, dtype=float)
        starts = np.random.default_rng(1).uniform(lower, upper, (arguments.starts, len(lower)))
        values, calls = {}, {}
        for title, (with_residuals, solver) in COLUMNS.items():
            function = Counted(residuals, with_residuals)
            with np.errstate(all="ignore"):
                values[title] = np.array([solver(function, x, lower, upper) for x in starts])
            calls[title] = function.calls
        best = min(np.min(column) for column in values.values())
        successes = {title: int(np.sum(column <= best + NEAR)) for title, column in values.items()}
        cells = [f"{calls[t] / n:.0f} ({n})" if n else f"- (0, {calls[t]} calls)" for t, n in successes.items()]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
