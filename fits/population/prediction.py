"""Where the wells of samples never seen are expected: a posterior predictive band of the population.

A draw takes the shared parameters from the normal approximation of their uncertainty, a random effect from the
population (or, where a dose of the sample is given, from its posterior), and the noise of wells, doses and curves.  A
band is the shortest interval that holds 90 % of the draws; a viability below 0 counts as 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fits.population.calibration import PopulationFit
from fits.population.marginal import GRID, LAST_DIGIT, Curves, Scatter, log_sum
from fits.population.problem import PopulationProblem
from fits.population.surface import Surface
from fits.population.tables import Well
from kinetics.errors import InputError

FloatArray = npt.NDArray[np.float64]
LEVEL = 0.9
SETS, DRAWS = 48, 9600  # draws of the shared parameters, and of everything together


def shortest(values: FloatArray, level: float = LEVEL) -> tuple[FloatArray, FloatArray]:
    """Ends of the shortest interval that holds a share ``level`` of the draws; draws along the first axis.

    Raises:
        InputError: a level outside of 0 and 1, or no draws.
    """
    if not 0.0 < level < 1.0 or len(values) < 2:
        raise InputError(f"a band needs a level between 0 and 1 and at least 2 draws, got {level}, {len(values)}")
    ordered = np.sort(values, axis=0)
    inside = min(len(ordered) - 1, max(1, int(np.ceil(level * len(ordered))) - 1))
    first = np.argmin(ordered[inside:] - ordered[: len(ordered) - inside], axis=0)
    low = np.take_along_axis(ordered, first[None], axis=0)[0]
    high = np.take_along_axis(ordered, first[None] + inside, axis=0)[0]
    return np.asarray(low), np.asarray(high)


@dataclass(frozen=True)
class Predicted:
    """A well and the band it was expected in."""

    well: Well
    lower: float
    upper: float
    given: bool = False  # whether a dose of the sample was given

    @property
    def inside(self) -> bool:
        return self.lower <= self.well.viability <= self.upper

    @property
    def width(self) -> float:
        return self.upper - self.lower


def given_dose(wells: Iterable[Well]) -> tuple[str, str, float]:
    """Which point of a sample is given: drug, screen, nM.

    The middle of the tested doses of its first curve, by drug and screen in alphabetical order (so dexamethasone where
    there is any); of two middles the higher.  The rule looks at doses only.

    Raises:
        InputError: there are no wells.
    """
    ordered = sorted(wells)
    if not ordered:
        raise InputError("a sample without wells has no dose that could be given")
    drug, screen = min((well.drug, well.screen) for well in ordered)
    doses = sorted({well.dose for well in ordered if (well.drug, well.screen) == (drug, screen)})
    return drug, screen, doses[len(doses) // 2]


class Predictor:
    """Bands for wells at given drugs and doses, from a calibration alone.

    Args:
        problem: what was calibrated; its wells are not looked at.
        found: the calibration.
        points: drugs and doses in nM that will be asked for.
        seed: of all draws.
        sets: draws of the shared parameters; 1 takes the estimates and leaves their uncertainty out.
        draws: of everything.
    """

    def __init__(
        self, problem: PopulationProblem, found: PopulationFit, points: Iterable[tuple[str, float]], *,
        seed: int = 0, sets: int = SETS, draws: int = DRAWS,
    ) -> None:  # fmt: skip
        if sets < 1 or draws < 100:
            raise InputError(f"a prediction needs at least 1 set and 100 draws, got {sets}, {draws}")
        self.points = tuple(sorted(set(points)))
        surface = Surface(problem, self.points)
        self.grid: FloatArray = np.linspace(surface.nodes[0], surface.nodes[-1], GRID)
        parameters = problem.parameters
        drawn = found.x[None] if sets == 1 else found.draws(sets, seed)
        plain = [parameters.plain(row) for row in drawn]
        names = [parameter.id for parameter in problem.structural]
        values = {name: np.array([row[name] for row in plain]) for name in names}
        self._surfaces = surface.on(surface.at_nodes(values), self.grid)  # (n_sets, n_points, n_grid)
        self._scatters = [Scatter.of(row) for row in plain]
        self._prior = np.stack([scatter.log_density(self.grid) for scatter in self._scatters])  # (n_sets, n_grid)
        self._draws, self._seed = draws, seed

    def bands(self, wells: Sequence[Well]) -> list[Predicted]:
        """Bands of samples about which nothing is known."""
        rng = np.random.default_rng([self._seed, 1])
        sets, where = self._chosen(self._prior, rng)
        drawn = self._wells(sets, where, list(self.points), rng, None)
        low, high = shortest(drawn)
        place = {point: i for i, point in enumerate(self.points)}
        return [
            Predicted(well, float(low[place[well.drug, well.dose]]), float(high[place[well.drug, well.dose]]))
            for well in wells
        ]

    def bands_given(self, wells: Sequence[Well]) -> list[Predicted]:
        """Bands of one sample whose wells at `given_dose` are known; those wells are not predicted.

        Raises:
            InputError: wells of several samples.
        """
        samples = {well.sample for well in wells}
        if len(samples) != 1:
            raise InputError(f"expected wells of one sample, got {len(samples)}")
        key = given_dose(wells)
        known = [well for well in wells if (well.drug, well.screen, well.dose) == key]
        others = [well for well in wells if (well.drug, well.screen, well.dose) != key]
        if not others:
            return []
        rng = np.random.default_rng([self._seed, 2])
        curves = Curves.of(known, self.points)
        likely = np.stack([
            curves.given(surface, scatter)[0] for surface, scatter in zip(self._surfaces, self._scatters, strict=True)
        ])  # fmt: skip
        sets, where = self._chosen(self._prior + likely, rng)
        found: list[Predicted] = []
        for curve in sorted({(well.drug, well.screen) for well in others}):
            mine = [well for well in others if (well.drug, well.screen) == curve]
            points = sorted({(well.drug, well.dose) for well in mine})
            plate = self._plate(sets, where, known, rng) if curve == key[:2] else None
            low, high = shortest(self._wells(sets, where, points, rng, plate))
            place = {point: i for i, point in enumerate(points)}
            for well in mine:
                i = place[well.drug, well.dose]
                found.append(Predicted(well, float(low[i]), float(high[i]), given=True))
        return found

    def _chosen(
        self, logs: FloatArray, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Draws of (set, random effect) by their probability, ``(n_draws,)`` each."""
        flat = logs.reshape(-1)
        chosen = rng.choice(len(flat), self._draws, p=np.exp(flat - log_sum(flat)))
        return chosen // logs.shape[1], chosen % logs.shape[1]

    def _of(self, name: str, sets: npt.NDArray[np.int64]) -> FloatArray:
        return np.array([getattr(scatter, name) for scatter in self._scatters])[sets]

    def _well_variance(self, sets: npt.NDArray[np.int64]) -> Callable[[FloatArray], FloatArray]:
        constant, relative = self._of("sd_well", sets), self._of("cv_well", sets)
        return lambda mu: np.asarray(LAST_DIGIT**2 + constant**2 + (relative * mu) ** 2)

    def _mu(
        self, sets: npt.NDArray[np.int64], where: npt.NDArray[np.int64], point: tuple[str, float]
    ) -> FloatArray:
        return np.asarray(self._surfaces[sets, self.points.index(point), where])

    def _wells(
        self, sets: npt.NDArray[np.int64], where: npt.NDArray[np.int64], points: Sequence[tuple[str, float]],
        rng: np.random.Generator, plate: FloatArray | None,
    ) -> FloatArray:  # fmt: skip
        """Drawn viabilities of one well per point, ``(n_draws, n_points)``."""
        count = len(sets)
        if plate is None:
            plate = rng.standard_normal(count) * self._of("cv_plate", sets)
        dose, well = self._of("sd_dose", sets), self._well_variance(sets)
        rows = []
        for point in points:
            mu = self._mu(sets, where, point)
            spread = np.sqrt(well(mu) + dose**2)
            rows.append(mu * (1.0 + plate) + spread * rng.standard_normal(count))
        return np.maximum(np.stack(rows, axis=1), 0.0)

    def _plate(
        self, sets: npt.NDArray[np.int64], where: npt.NDArray[np.int64], known: Sequence[Well],
        rng: np.random.Generator,
    ) -> FloatArray:  # fmt: skip
        """The error of the vehicle wells of the curve that was given, drawn from its posterior, ``(n_draws,)``."""
        mu = self._mu(sets, where, (known[0].drug, known[0].dose))
        variance = self._well_variance(sets)(mu) / len(known) + self._of("sd_dose", sets) ** 2
        prior = self._of("cv_plate", sets)
        off = float(np.mean([well.viability for well in known])) - mu
        precision = 1.0 + prior**2 * mu**2 / variance
        centre = prior**2 * mu * off / variance / precision
        return np.asarray(centre + prior / np.sqrt(precision) * rng.standard_normal(len(sets)))


@dataclass(frozen=True)
class Coverage:
    """How many wells lie inside of their bands."""

    inside: int
    wells: int
    width: float  # mean of the bands

    @classmethod
    def of(cls, predicted: Sequence[Predicted]) -> Coverage:
        """Raises `InputError` where there is nothing."""
        if not predicted:
            raise InputError("there are no predicted wells to count")
        width = float(np.mean([item.width for item in predicted]))
        return cls(sum(item.inside for item in predicted), len(predicted), width)

    @property
    def share(self) -> float:
        return self.inside / self.wells


def raw_spread(training: Iterable[Well], predicted: Iterable[Predicted]) -> tuple[Coverage, FloatArray] | None:
    """What the wells of the training samples alone say at the same drugs and doses.

    For every predicted well at a drug and dose of the training table: the shortest interval with 90 % of the training
    wells there.  Returns how many lie inside and the mean width, and the widths of the bands at those wells; ``None``
    where no dose is shared.
    """
    by_point: dict[tuple[str, float], list[float]] = {}
    for well in training:
        by_point.setdefault((well.drug, well.dose), []).append(well.viability)
    shared = [item for item in predicted if len(by_point.get((item.well.drug, item.well.dose), ())) > 1]
    if not shared:
        return None
    raw = []
    for item in shared:
        low, high = shortest(np.array(by_point[item.well.drug, item.well.dose])[:, None])
        raw.append(Predicted(item.well, float(low[0]), float(high[0])))
    return Coverage.of(raw), np.array([item.width for item in shared])
