"""Prediction bands: how far the parameters that the data allow let a prediction vary.

Three sources of parameters: samples of a posterior or bootstrap (`bands`), draws from the quadratic approximation
(`normal_draws`, the cheapest and the roughest), and profiles (`envelope` from points at hand, `profile_bands` exactly).
A band without noise is about the curve; one with noise is about the next measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fits.evaluation import FloatArray, Objective
from fits.information import Fisher, Point, point_of
from fits.profiles import Profile, profile_quantity
from fits.walk import Walk
from kinetics.errors import InputError, SimulationError

if TYPE_CHECKING:
    import pandas as pd

Predict = Callable[[FloatArray], FloatArray]
Noisy = Callable[[FloatArray, FloatArray, np.random.Generator], FloatArray]


@dataclass(frozen=True, eq=False)
class Band:
    """A prediction with its band, by output."""

    level: float
    lower: FloatArray  # (m,); -inf where a profile is open
    median: FloatArray  # (m,); of samples, or the prediction at the optimum
    upper: FloatArray  # (m,); inf where a profile is open
    noise: bool  # whether the band is about measurements rather than the curve
    used: int  # parameter vectors
    failed: int = 0  # that could not be simulated
    example: str = ""  # why the first of them could not

    def covers(self, values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Which of ``values``, shape ``(m,)``, lie in the band."""
        values = np.asarray(values, dtype=float)
        return np.asarray((values >= self.lower) & (values <= self.upper))

    def to_frame(self) -> pd.DataFrame:
        """A row per output."""
        import pandas as pd

        return pd.DataFrame({"lower": self.lower, "median": self.median, "upper": self.upper})

    def sentences(self) -> tuple[str, ...]:
        return tuple(self._sentences())

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def _sentences(self) -> Iterable[str]:
        about = "where the next measurements are expected" if self.noise else "where the curve itself lies"
        yield f"The {100.0 * self.level:.4g} % band says {about}, point by point; {self.used} parameter sets were used."
        if self.failed:
            yield f"{self.failed} more could not be simulated and are left out, the first with: {self.example}."
        open_ends = int(np.sum(~np.isfinite(self.lower) | ~np.isfinite(self.upper)))
        if open_ends:
            yield f"At {open_ends} of {len(self.median)} outputs the data leave the band open."


def bands(
    predict: Predict,
    samples: npt.ArrayLike,
    *,
    level: float = 0.95,
    noise: float | FloatArray | Noisy | None = None,
    draws: int = 10,
    seed: int = 0,
) -> Band:
    """Pointwise quantiles of a prediction over samples of the parameters.

    Args:
        predict: the outputs, shape ``(m,)``, at a search vector ``(n,)``; what it raises as `SimulationError` is
            counted and left out.
        samples: search vectors, shape ``(k, n)``.
        level: of the band.
        noise: to make it a band for measurements: the standard deviation of normal noise, one or ``(m,)``; or a
            function of search vector, prediction ``(m,)`` and random generator that returns noisy measurements.
        draws: of the noise, for each sample.
        seed: of the noise.

    Raises:
        InputError: arguments do not fit.
        SimulationError: fewer than two samples can be simulated.
    """
    tail = _tail(level)
    points = np.atleast_2d(np.asarray(samples, dtype=float))
    if draws < 1:
        raise InputError(f"draws must be at least 1, got {draws}")
    predicted, used, failures = _predictions(predict, points)
    if noise is not None:
        rng = np.random.default_rng(seed)
        noisy = noise if callable(noise) else _normal(noise)
        rows = [noisy(x, row, rng) for x, row in zip(used, predicted, strict=True) for _ in range(draws)]
        predicted = np.array(rows, dtype=float)
    low, middle, high = np.quantile(predicted, [tail, 0.5, 1.0 - tail], axis=0)
    example = failures[0] if failures else ""
    return Band(level, low, middle, high, noise is not None, len(used), len(failures), example)


def normal_draws(fisher: Fisher, n: int, *, seed: int = 0) -> FloatArray:
    """Search vectors from the normal approximation between the bounds, shape ``(n, n_parameters)``.

    Raises:
        InputError: a parameter has no finite standard error: sample or profile instead.
    """
    errors, held = fisher.standard_errors, np.isnan(fisher.standard_errors)
    if np.any(np.isinf(errors)):
        name = fisher.names[int(np.argmax(np.isinf(errors)))]
        raise InputError(f"the data do not bound {name!r}, so there is no normal approximation: sample or profile")
    if n < 1:
        raise InputError(f"n must be at least 1, got {n}")
    covariance = np.where(held[:, None] | held[None, :], 0.0, fisher.covariance)
    size = np.where(held, 1.0, errors)
    values, vectors = np.linalg.eigh(covariance / np.outer(size, size))
    root = size[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))
    rng = np.random.default_rng(seed)
    found: list[FloatArray] = []
    for _ in range(1000):  # the normal distribution is cut off at the bounds, not piled up on them
        drawn = fisher.x + rng.standard_normal((n, len(errors))) @ root.T
        drawn[:, held] = fisher.x[held]
        found += [x for x in drawn if np.all(x >= fisher.lower) and np.all(x <= fisher.upper)]
        if len(found) >= n:
            return np.array(found[:n])
    raise InputError("the normal approximation lies almost wholly outside the bounds: sample or profile instead")


def envelope(predict: Predict, profiles: Iterable[Profile]) -> Band:
    """The range of a prediction over all points of some profiles that lie within their threshold.

    Points at hand are used, so it costs little; it can only be narrower than `profile_bands`.
    """
    chosen = list(profiles)
    if not chosen:
        raise InputError("an envelope needs at least one profile")
    best = min(chosen, key=lambda profile: profile.minimum)
    points = np.unique(np.concatenate([best.x[None, :], *(profile.inside for profile in chosen)]), axis=0)
    predicted, used, failures = _predictions(predict, points)
    middle = np.asarray(predict(best.x), dtype=float)
    low, high = np.min(predicted, axis=0), np.max(predicted, axis=0)
    return Band(best.level, low, middle, high, False, len(used), len(failures), failures[0] if failures else "")


def profile_bands(
    objective: Objective,
    optimum: Point,
    predict: Predict,
    *,
    sigma: float | FloatArray | None = None,
    level: float = 0.95,
    walk: Walk | None = None,
) -> tuple[Band, tuple[Profile, ...]]:
    """The profile of each output: exact for any shape of the objective, at the cost of one profile per output.

    With ``sigma``, the noise of a measurement, one or ``(m,)``, the band is widened to one for measurements as if the
    prediction were normal: each half-width is ``sqrt(half**2 + (z sigma)**2)``.
    """
    x = point_of(objective, optimum)
    outputs = np.asarray(predict(x), dtype=float)
    found: list[Profile] = []
    for i in range(len(outputs)):

        def output(point: FloatArray, i: int = i) -> float:
            return float(predict(point)[i])

        found.append(profile_quantity(objective, x, output, name=f"output {i}", level=level, walk=walk))
    low = np.array([-np.inf if profile.lower is None else profile.lower for profile in found])
    high = np.array([np.inf if profile.upper is None else profile.upper for profile in found])
    middle = np.array([profile.optimum for profile in found])
    band = Band(level, low, middle, high, False, sum(len(profile.values) for profile in found))
    if sigma is not None:
        half = np.sqrt(2.0 * found[0].threshold) * np.broadcast_to(np.asarray(sigma, dtype=float), middle.shape)
        band = replace(
            band,
            lower=middle - np.hypot(middle - low, half),
            upper=middle + np.hypot(high - middle, half),
            noise=True,
        )
    return band, tuple(found)


def _tail(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise InputError(f"level must lie between 0 and 1, got {level}")
    return 0.5 * (1.0 - level)


def _normal(sigma: float | FloatArray) -> Noisy:
    deviation = np.asarray(sigma, dtype=float)
    if not np.all(deviation > 0.0):
        raise InputError(f"the standard deviation of the noise must be positive, got {sigma}")

    def noisy(x: FloatArray, predicted: FloatArray, rng: np.random.Generator) -> FloatArray:
        return np.asarray(predicted + deviation * rng.standard_normal(predicted.shape))

    return noisy


def _predictions(predict: Predict, points: FloatArray) -> tuple[FloatArray, FloatArray, Sequence[str]]:
    """Predictions ``(k, m)``, the points they belong to ``(k, n)``, and why others failed."""
    rows: list[FloatArray] = []
    used: list[FloatArray] = []
    failures: list[str] = []
    for x in points:
        try:
            row = np.asarray(predict(x), dtype=float)
        except SimulationError as error:
            failures.append(str(error))
            continue
        if row.ndim != 1:
            raise InputError(f"a prediction must have shape (m,), got {row.shape}")
        if np.all(np.isfinite(row)):
            rows.append(row)
            used.append(x)
        else:
            failures.append("the prediction is not finite")
    if len(rows) < 2:
        raise SimulationError(
            f"a band needs two predictions or more, got {len(rows)}" + (f": {failures[0]}" if failures else "")
        )
    return np.array(rows), np.array(used), failures
