"""Do nominal 95 % intervals of measured curves cover 95 %?

    python benchmarks/coverage.py [--sets 1000] [--seed 1] [--only NAME]

Simulates data sets from known curves, fits each and counts how often the profile interval of every quantity holds
the truth (93 to 97 % is the aim; with 1,000 sets the binomial error of 95 % is 0.7 %).  Beside it, in brackets, the
coverage that the large-sample threshold chi2(1) would have had, from the same profiles.  An open end covers
everything on its side; how many intervals had one is shown as well.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fits.curvefit import quantities
from fits.curvefit.fitting import JointFit, fit_layout
from fits.curvefit.forms import FORMS
from fits.curvefit.layout import arrange
from fits.curvefit.likelihood import Noise
from fits.curvefit.points import Points
from fits.curvefit.shifts import pair_layout
from fits.profiles import Profile, profile, profile_quantity
from kinetics.curves import hill

LEVEL = 0.95


@dataclass
class Count:
    covered: int = 0
    large_sample: int = 0
    open_ends: int = 0
    sets: int = 0

    def add(self, truth: float, found: Profile) -> None:
        self.sets += 1
        low = -math.inf if found.lower is None else found.lower
        high = math.inf if found.upper is None else found.upper
        self.covered += low <= truth <= high
        self.open_ends += found.lower is None or found.upper is None
        # the profile between its points, against 1.92 in place of the F threshold
        delta = np.interp(truth, found.values, found.delta, left=np.inf, right=np.inf)
        self.large_sample += bool(delta <= 1.920729)

    def __str__(self) -> str:
        found, large = self.covered / self.sets, self.large_sample / self.sets
        return f"{found:6.1%} ({large:.1%}), open {self.open_ends / self.sets:.1%}"


@dataclass(frozen=True)
class Scenario:
    name: str
    doses: tuple[float, ...]
    replicates: int
    sigma: float
    noise: Noise = Noise.CONSTANT
    robust: bool = False
    outliers: float = 0.0  # share of points with ten times the noise
    pair: bool = False
    fixed: dict[str, float] = field(default_factory=dict)


TEN = (0.0, *np.geomspace(0.01, 100.0, 9).tolist())
SCENARIOS = (
    Scenario("10 doses in triplicate", TEN, 3, 0.05),
    Scenario("8 doses, one point each", (0.0, *np.geomspace(0.03, 100.0, 7).tolist()), 1, 0.03),
    Scenario("10 doses in triplicate, proportional noise", TEN, 3, 0.1, Noise.PROPORTIONAL),
    Scenario("10 doses in triplicate, 5 % outliers, Student's t", TEN, 3, 0.05, robust=True, outliers=0.05),
    Scenario("shift: two arms, 10 doses in duplicate", TEN, 2, 0.05, pair=True),
)
TRUTH = {"bottom": 0.1, "top": 1.0, "ec50": 0.8, "hill": 1.2}
TREATED = {"bottom": 0.1, "top": 0.85, "ec50": 6.0, "hill": 1.0}


def simulate(scenario: Scenario, rng: np.random.Generator) -> Points:
    arms = (TRUTH, TREATED) if scenario.pair else (TRUTH,)
    doses = np.tile(scenario.doses, scenario.replicates)
    y = np.concatenate([hill(doses, a["bottom"], a["top"], a["ec50"], a["hill"]) for a in arms])
    sigma = scenario.sigma * (y if scenario.noise is Noise.PROPORTIONAL else np.ones_like(y))
    wild = rng.random(len(y)) < scenario.outliers
    y = y + sigma * np.where(wild, 10.0, 1.0) * rng.standard_normal(len(y))
    nothing = np.full(len(y), np.nan)
    names = ("control", "treated")[: len(arms)]
    return Points(np.tile(doses, len(arms)), y, nothing, np.repeat(np.arange(len(arms)), len(doses)), names, nothing)


def targets(scenario: Scenario) -> dict[str, tuple[float, Callable[[JointFit, float], Profile]]]:
    def parameter(name: str) -> Callable[[JointFit, float], Profile]:
        return lambda fit, level: profile(fit.objective, fit.x, name, level=level)

    def derived(name: str, make: Callable[[JointFit], quantities.Derived]) -> Callable[[JointFit, float], Profile]:
        return lambda fit, level: profile_quantity(fit.objective, fit.x, make(fit), name=name, level=level)

    span = TRUTH["top"] - TRUTH["bottom"]
    if scenario.pair:
        other = TREATED["top"] - TREATED["bottom"]
        return {
            "delta log10 EC50": (math.log10(TREATED["ec50"] / TRUTH["ec50"]), parameter("delta_log_ec50")),
            "delta Emax": (other - span, parameter("delta_emax")),
            "Emax ratio": (
                other / span,
                derived(
                    "ratio", lambda f: quantities.ratio(quantities.span(f, "treated"), quantities.span(f, "control"))
                ),
            ),
            "delta Hill": (
                TREATED["hill"] - TRUTH["hill"],
                derived(
                    "hill",
                    lambda f: quantities.difference(
                        quantities.hill_slope(f, "treated"), quantities.hill_slope(f, "control")
                    ),
                ),
            ),
        }
    return {
        "log10 EC50": (math.log10(TRUTH["ec50"]), parameter("log_ec50")),
        "ln Hill": (math.log(TRUTH["hill"]), parameter("log_hill")),
        "top": (TRUTH["top"], parameter("top")),
        "Emax": (span, derived("emax", lambda f: quantities.span(f, "control"))),
    }


def run(scenario: Scenario, sets: int, seed: int) -> dict[str, Count]:
    rng = np.random.default_rng([seed, SCENARIOS.index(scenario)])
    wanted = targets(scenario)
    counts = {name: Count() for name in wanted}
    form = FORMS["4pl"]
    for _ in range(sets):
        points = simulate(scenario, rng)
        layout = pair_layout(form, points.arms, set(), {}) if scenario.pair else arrange(form, points.arms)
        fit = fit_layout(points, layout, scenario.noise, scenario.robust)
        level = fit.objective.profile_level(LEVEL)
        for name, (truth, interval) in wanted.items():
            counts[name].add(truth, interval(fit, level))
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    for scenario in SCENARIOS:
        if args.only and args.only not in scenario.name:
            continue
        started = time.perf_counter()
        counts = run(scenario, args.sets, args.seed)
        print(f"{scenario.name}, {args.sets} sets, {time.perf_counter() - started:.0f} s")
        for name, count in counts.items():
            print(f"  {name:18} {count}", flush=True)


if __name__ == "__main__":
    main()
