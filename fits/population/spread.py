"""What the samples show and what the calibrated population shows, measured in the same way.

Curves are described as in `fits.steroid.screens`.  The simulated curves have the design of the measured ones, noise
included.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fits.population.calibration import PopulationFit
from fits.population.marginal import GRID, Scatter
from fits.population.problem import PopulationProblem
from fits.population.surface import Surface
from fits.population.tables import Well
from fits.steroid.screens import Summary, summarised

FloatArray = npt.NDArray[np.float64]
COPIES = 4  # simulated panels


def simulated(problem: PopulationProblem, found: PopulationFit, *, copies: int = COPIES, seed: int = 0) -> list[Well]:
    """Virtual samples with the design of the measured ones, at the estimates; the copies are samples of their own."""
    points = sorted({(well.drug, well.dose) for well in problem.wells})
    surface = Surface(problem, points)
    grid: FloatArray = np.linspace(surface.nodes[0], surface.nodes[-1], GRID)
    plain = problem.parameters.plain(found.x)
    structural = {parameter.id: np.array([plain[parameter.id]]) for parameter in problem.structural}
    viability = surface.on(surface.at_nodes(structural), grid)[0]
    return drawn(problem.wells, points, viability, grid, Scatter.of(plain), copies=copies, seed=seed)


def drawn(
    design: Sequence[Well], points: Sequence[tuple[str, float]], surface: FloatArray, grid: FloatArray,
    scatter: Scatter, *, copies: int = 1, seed: int = 0,
) -> list[Well]:  # fmt: skip
    """Wells drawn from the population: random effects from the grid, then curves, doses and wells.

    Args:
        design: whose samples, drugs, screens and doses are copied.
        surface: viability, shape ``(n_points, n_grid)``.
    """
    rng = np.random.default_rng(seed)
    index = {point: i for i, point in enumerate(points)}
    chances = np.exp(scatter.log_density(grid))
    found: list[Well] = []
    for copy in range(copies):
        effects: dict[str, int] = {}
        plates: dict[tuple[str, str, str], float] = {}
        shared: dict[tuple[str, str, str, float], float] = {}
        for well in sorted(design):
            curve = (well.sample, well.drug, well.screen)
            if well.sample not in effects:
                effects[well.sample] = int(rng.choice(len(grid), p=chances))
            if curve not in plates:
                plates[curve] = scatter.cv_plate * rng.standard_normal()
            if (*curve, well.dose) not in shared:
                shared[(*curve, well.dose)] = scatter.sd_dose * rng.standard_normal()
            mu = float(surface[index[well.drug, well.dose], effects[well.sample]])
            noise = math.sqrt(float(scatter.well_variance(np.array(mu)))) * rng.standard_normal()
            value = mu * (1.0 + plates[curve]) + shared[(*curve, well.dose)] + noise
            name = well.sample if copies == 1 else f"{well.sample} {copy + 1}"
            found.append(replace(well, sample=name, viability=max(value, 0.0)))
    return found


def compared(
    problem: PopulationProblem, found: PopulationFit, *, seed: int = 0
) -> Mapping[str, tuple[Summary, Summary]]:
    """By drug: the samples as measured, and the calibrated population."""
    virtual = simulated(problem, found, seed=seed)
    return {
        drug: (
            summarised(well for well in problem.wells if well.drug == drug),
            summarised(well for well in virtual if well.drug == drug),
        )
        for drug in sorted({well.drug for well in problem.wells})
    }
